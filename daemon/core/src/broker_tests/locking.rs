//! The broker's decisions: locked, it hands out nothing, and forgets what the vault has.
//! Does not: touch anything real.
//! Used by: `cargo test`.

use rally_cred_proto::{
    git::Credential,
    message::{LockStatus, Status, Store, Waiting, WaitingOn},
};

use super::*;
use crate::profile::{LockSettings, StaticHosts};

const MINUTE: Ticks = Ticks::seconds(60);

impl Stage {
    fn lock(&mut self) -> AskId {
        self.ask(Ask::Lock)
    }

    fn unlock(&mut self) -> AskId {
        self.ask(Ask::Unlock)
    }

    /// Since when it is locked, and why.
    fn locked(&mut self) -> Option<LockStatus> {
        let status = self.ask(Ask::Status(StatusAsk::default()));
        match self.result(status) {
            Some(Reply::Status(status)) => {
                let Status { locked, .. } = &**status;
                locked.clone()
            }
            other => panic!("{other:?}"),
        }
    }

    fn locks_by_itself(settings: LockSettings) -> Self {
        let mut stage = Self::new();
        let config = Config { lock: settings, ..config_with(Keyring::Auto) };
        stage.broker = Broker::new(Facts::default(), config);
        stage.sign_in("access", Some("refresh"), 24 * HOUR);
        stage
    }

    /// The secrets that the daemon would have masked in an answer of Rally's: those that it holds.
    fn secrets_held(&mut self) -> Sent {
        self.ask(Ask::Check(CheckAsk { profile: None }));
        let checks = self.effects.iter().rev().find_map(|effect| match effect {
            Effect::Check { secrets, .. } => Some(secrets.clone()),
            _ => None,
        });
        checks.expect("a check")
    }

    fn holds(&mut self, secret: &str) -> bool {
        self.secrets_held().shown(secret) != secret
    }
}

#[test]
fn a_locked_daemon_hands_out_nothing_and_unlocked_it_has_everything_again() {
    let mut stage = Stage::signed_in("access-token", Some("refresh-token"), 24 * HOUR);
    assert!(stage.holds("access-token") && stage.holds("refresh-token") && stage.holds("client-secret"));
    let lock = stage.lock();
    assert!(stage.is_done(lock));
    assert_eq!(stage.notices(), []);
    assert!(!stage.holds("access-token") && !stage.holds("refresh-token") && !stage.holds("client-secret"));

    let get = stage.get(false);
    assert!(stage.result(get).is_none(), "it waits");
    let told = Waiting { profile: "default".to_owned(), on: WaitingOn::Unlock };
    assert!(stage.effects.iter().any(|effect| matches!(
        effect,
        Effect::Tell(id, message::Event::Waiting(waiting)) if *id == get && *waiting == told
    )));
    let status = stage.locked().unwrap();
    assert_eq!((status.since, status.by.as_str()), (T0.wall.0, "user"));
    let loads = stage.loads;
    stage.wait(MINUTE);
    assert!(stage.result(get).is_none());
    assert_eq!(stage.loads, loads, "nothing is read");
    let unlock = stage.unlock();
    assert!(stage.is_done(unlock));
    assert_eq!(stage.token(get), "access-token");
    assert_eq!(stage.locked(), None);
}

#[test]
fn whoever_waits_for_an_unlock_waits_as_long_as_they_said() {
    let mut stage = Stage::signed_in("access", Some("refresh"), 24 * HOUR);
    stage.lock();
    let impatient = stage.ask(Ask::Get(Get { wait: 0, ..Get::default() }));
    assert_eq!(stage.fault(impatient), FaultKind::Locked);
    let get = stage.ask(Ask::Get(Get { wait: 30, ..Get::default() }));
    stage.wait(Ticks::seconds(29));
    assert!(stage.result(get).is_none());
    stage.wait(Ticks::seconds(1));
    assert_eq!(stage.fault(get), FaultKind::Locked);
    let gone = stage.get(false);
    stage.play(Event::Left(gone));
    stage.unlock();
    assert!(stage.result(gone).is_none());
}

#[test]
fn what_has_no_wait_of_its_own_is_refused_at_once_and_a_sign_out_goes_on() {
    let mut stage = Stage::signed_in("access", Some("refresh"), 24 * HOUR);
    stage.lock();
    let login = stage.login(Some("client-secret"));
    assert_eq!(stage.fault(login), FaultKind::Locked);
    let report = stage.ask(erase("access"));
    assert_eq!(stage.fault(report), FaultKind::Locked);
    let out = stage.ask(logout(true, true));
    assert!(matches!(stage.result(out), Some(Reply::SignedOut(_))));
    stage.vault.clear();
    stage.unlock();
    assert_eq!(stage.refusal(), FaultKind::SignInNeeded);
}

#[test]
fn a_sign_in_that_a_lock_meets_ends() {
    let mut stage = Stage::new();
    let login = stage.login(Some("client-secret"));
    stage.open_listener();
    stage.lock();
    assert_eq!(stage.fault(login), FaultKind::Locked);
    assert!(matches!(stage.page(), Page::Failed(fault) if fault.kind == FaultKind::Locked));
    assert!(!stage.holds("client-secret"));
}

#[test]
fn a_renewal_that_a_lock_meets_is_saved_before_it_is_forgotten() {
    let mut stage = Stage::signed_in("access", Some("refresh"), HOUR);
    stage.wait(Ticks::seconds(2 * HOUR));
    stage.effects.clear();
    let get = stage.ask(Ask::Get(Get { wait: 600, ..Get::default() }));
    assert_eq!(stage.posts().len(), 1);
    let lock = stage.lock();
    assert!(stage.result(lock).is_none(), "what Rally answers may be the only refresh token that works");
    stage.answer_post(granted("new-access", Some("new-refresh"), HOUR));
    assert!(stage.is_done(lock));
    assert!(stage.vault["token:default"].expose().contains("new-refresh"));
    assert!(!stage.holds("new-refresh") && !stage.holds("new-access"));
    assert!(stage.result(get).is_none());
    stage.unlock();
    assert_eq!(stage.token(get), "new-access");
}

#[test]
fn what_no_keyring_has_stays_in_memory_and_whoever_locks_is_told() {
    let mut stage = Stage::new();
    stage.vault_trouble = Some(VaultTrouble::Missing("none".to_owned()));
    stage.sign_in("access", Some("refresh"), 24 * HOUR);
    let lock = stage.lock();
    assert!(stage.is_done(lock));
    assert_eq!(stage.notices(), [FaultKind::VaultMissing]);
    let get = stage.get(false);
    assert!(stage.result(get).is_none());
    // There is nothing to ask, so an unlock is a word of the user's.
    stage.unlock();
    assert_eq!(stage.token(get), "access");
}

#[test]
fn what_the_keyring_takes_late_is_forgotten_then() {
    let mut stage = Stage::signed_in("old", Some("refresh"), 24 * HOUR);
    stage.vault_trouble = Some(VaultTrouble::Locked("a prompt".to_owned()));
    stage.sign_in_again("access-token", 24 * HOUR);
    let lock = stage.lock();
    assert!(stage.is_done(lock));
    assert!(stage.holds("access-token"));
    stage.vault_trouble = None;
    stage.wait(Ticks::seconds(2 * HOUR));
    assert!(stage.vault["token:default"].expose().contains("access-token"));
    assert!(!stage.holds("access-token"));
}

#[test]
fn a_keyring_that_stays_shut_keeps_the_daemon_locked() {
    let mut stage = Stage::signed_in("access", Some("refresh"), 24 * HOUR);
    stage.lock();
    stage.vault_trouble = Some(VaultTrouble::Locked("its prompt was dismissed".to_owned()));
    let get = stage.get(false);
    let unlock = stage.unlock();
    assert_eq!(stage.fault(unlock), FaultKind::VaultLocked);
    assert!(stage.result(get).is_none());
    assert!(stage.locked().is_some());
    stage.vault_trouble = None;
    stage.unlock();
    assert_eq!(stage.token(get), "access");
}

#[test]
fn a_lock_while_the_keyring_asks_overtakes_the_unlock() {
    let mut stage = Stage::signed_in("access", Some("refresh"), 24 * HOUR);
    stage.lock();
    stage.vault_is_silent = true;
    let unlock = stage.unlock();
    let second = stage.unlock();
    assert_eq!(stage.unanswered.len(), 1, "two who unlock are one prompt");
    let Some(Effect::Unlock(epoch, key)) = stage.unanswered.pop() else { panic!("no question") };
    assert_eq!(key.account(), "token:default");
    stage.lock();
    assert_eq!((stage.fault(unlock), stage.fault(second)), (FaultKind::Locked, FaultKind::Locked));
    stage.hear(epoch, Outcome::Unlocked(Ok(())));
    assert!(stage.locked().is_some());
}

#[test]
fn whoever_unlocks_hears_at_once_that_the_session_was_locked_meanwhile_and_the_token_comes_back_later() {
    let mut stage = Stage::locks_by_itself(LockSettings { on_session: true, on_sleep: false, idle: None });
    stage.lock();
    stage.vault_is_silent = true;
    let unlock = stage.unlock();
    let Some(Effect::Unlock(epoch, _)) = stage.unanswered.pop() else { panic!("no question") };
    stage.play(Event::SessionLocked);
    assert_eq!(stage.fault(unlock), FaultKind::Locked);
    stage.hear(epoch, Outcome::Unlocked(Ok(())));
    assert!(stage.locked().is_some());
    stage.vault_is_silent = false;
    stage.unlock();
    assert_eq!(stage.served(), "access");
}

#[test]
fn static_credentials_are_locked_too() {
    let mut stage = Stage::new();
    let config = Config { static_hosts: StaticHosts::All, ..Config::default() };
    stage.broker = Broker::new(Facts::default(), config);
    let credential = Credential { password: Some(secret("password")), ..Credential::default() };
    let credential = Credential { username: Some("me".to_owned()), ..credential };
    let store = |credential: &Credential| {
        let (protocol, host) = ("https".to_owned(), "git.example.com".to_owned());
        Ask::Store(Store { protocol, host, path: None, credential: credential.clone() })
    };
    stage.ask(store(&credential));
    stage.lock();
    let get = stage.ask(for_host("https", "git.example.com"));
    assert!(stage.result(get).is_none());
    let refused = stage.ask(store(&credential));
    assert_eq!(stage.fault(refused), FaultKind::Locked);
    let loads = stage.loads;
    stage.unlock();
    assert!(matches!(stage.result(get), Some(Reply::StaticCredential(_))));
    assert_eq!(stage.loads, loads + 1, "it was forgotten");
    stage.lock();
    let late = stage.ask(for_host("https", "git.example.com"));
    stage.wait(Ticks::seconds(HOUR));
    assert!(matches!(stage.result(late), Some(Reply::NoMatch)));
    assert_eq!(stage.notices().last(), Some(&FaultKind::Locked));
}

#[test]
fn a_credential_in_memory_is_not_handed_out_after_a_lock_by_an_answer_of_the_keyring_that_came_late() {
    for trouble in [VaultTrouble::Missing("no bus".to_owned()), VaultTrouble::Failed("broken".to_owned())] {
        let mut stage = Stage::new();
        let config = Config { static_hosts: StaticHosts::All, ..Config::default() };
        stage.broker = Broker::new(Facts::default(), config);
        stage.vault_trouble = Some(VaultTrouble::Missing("no bus".to_owned()));
        let (protocol, host) = ("https".to_owned(), "git.example.com".to_owned());
        let credential = Credential { password: Some(secret("password")), ..Credential::default() };
        let credential = Credential { username: Some("me".to_owned()), ..credential };
        stage.ask(Ask::Store(Store { protocol, host, path: None, credential }));
        stage.vault_is_silent = true;
        let get = stage.ask(for_host("https", "git.example.com"));
        let Some(Effect::Load(epoch, _)) = stage.unanswered.pop() else { panic!("no question") };
        stage.lock();
        stage.hear(epoch, Outcome::Loaded(Err(trouble.clone())));
        assert!(stage.result(get).is_none(), "{trouble:?}");
        stage.vault_is_silent = false;
        stage.unlock();
        assert!(matches!(stage.result(get), Some(Reply::StaticCredential(_))), "{trouble:?}");
    }
}

#[test]
fn a_token_that_was_reported_before_a_lock_is_held_back_after_it_until_rally_was_asked() {
    let mut stage = Stage::signed_in("access", Some("refresh"), 24 * HOUR);
    stage.ask(erase("access"));
    stage.lock();
    stage.unlock();
    let get = stage.get(false);
    assert!(stage.result(get).is_none());
    stage.answer_look_up(user());
    assert_eq!(stage.token(get), "access");
}

#[test]
fn a_daemon_that_was_locked_does_not_end_for_want_of_work_with_credentials_that_only_its_memory_has() {
    let mut stage = Stage::new();
    let config = Config { keyring: Keyring::Memory, static_hosts: StaticHosts::All, ..Config::default() };
    stage.broker = Broker::new(Facts::default(), config).with_idle_exit(Some(Ticks::seconds(HOUR)));
    let (protocol, host) = ("https".to_owned(), "git.example.com".to_owned());
    let credential = Credential { password: Some(secret("password")), ..Credential::default() };
    let credential = Credential { username: Some("me".to_owned()), ..credential };
    stage.ask(Ask::Store(Store { protocol, host, path: None, credential }));
    stage.lock();
    stage.unlock();
    stage.wait(Ticks::seconds(2 * HOUR));
    assert!(!stage.effects.iter().any(|effect| matches!(effect, Effect::ExitIfDeserted)));
}

#[test]
fn it_locks_by_itself_on_what_the_config_file_names_and_on_nothing_else() {
    let on = |on_session, on_sleep| LockSettings { on_session, on_sleep, idle: None };
    for (settings, session, sleep) in [
        (on(false, false), None, None),
        (on(true, false), Some("session"), None),
        (on(false, true), None, Some("sleep")),
        (on(true, true), Some("session"), Some("sleep")),
    ] {
        for (event, expected) in [(Event::SessionLocked, session), (Event::Sleeping, sleep)] {
            let mut stage = Stage::locks_by_itself(settings);
            stage.play(event);
            stage.play(Event::Woke);
            let locked = stage.locked().map(|locked| locked.by);
            assert_eq!(locked.as_deref(), expected, "{settings:?}");
            assert_eq!(stage.holds("access"), expected.is_none());
        }
    }
}

#[test]
fn it_locks_after_idle_time_which_only_uses_interrupt() {
    let idle = Some(Ticks::seconds(30 * 60));
    let mut stage = Stage::locks_by_itself(LockSettings { idle, ..LockSettings::default() });
    stage.wait(Ticks::seconds(29 * 60));
    stage.get(false);
    stage.wait(Ticks::seconds(29 * 60));
    assert_eq!(stage.locked(), None, "to look on is no use");
    stage.wait(MINUTE);
    assert_eq!(stage.locked().map(|locked| locked.by).as_deref(), Some("idle"));
    stage.unlock();
    assert_eq!(stage.locked(), None);
    // Not even the first request after a suspend is served.
    stage.pass_to(stage.now.tick + Ticks::seconds(2 * HOUR));
    let get = stage.get(false);
    assert!(stage.result(get).is_none());
}

#[test]
fn a_daemon_that_is_locked_or_would_lock_does_not_end_for_want_of_work() {
    let ends = |stage: &mut Stage| {
        stage.get(false);
        stage.wait(Ticks::seconds(2 * HOUR));
        stage.effects.iter().any(|effect| matches!(effect, Effect::ExitIfDeserted))
    };
    for (settings, is_locked, expected) in [
        (LockSettings::default(), false, true),
        (LockSettings::default(), true, false),
        (LockSettings { on_session: true, ..LockSettings::default() }, false, false),
    ] {
        let mut stage = Stage::locks_by_itself(settings);
        stage.broker = stage.broker.with_idle_exit(Some(Ticks::seconds(900)));
        if is_locked {
            stage.lock();
        }
        assert_eq!(ends(&mut stage), expected, "{settings:?} {is_locked}");
    }
}

#[test]
fn whoever_watches_hears_that_a_locked_token_is_gone_and_is_there_again() {
    let mut stage = Stage::signed_in("access", Some("refresh"), 24 * HOUR);
    let watch = stage.ask(Ask::Watch(message::WatchAsk { profile: None }));
    stage.lock();
    stage.unlock();
    let heard = stage.effects.iter().filter_map(|effect| match effect {
        Effect::Tell(id, message::Event::News(news)) if *id == watch => Some(news.what),
        _ => None,
    });
    use message::Became::{Ended, Held};
    assert_eq!(heard.collect::<Vec<_>>(), [Held, Ended, Held]);
}

#[test]
fn whoever_opens_a_vault_that_hangs_is_answered_by_a_stop_and_not_after_they_left() {
    let mut stage = Stage::new();
    stage.vault_is_silent = true;
    let [left, stays] = [Ask::Unlock, Ask::Unlock].map(|ask| stage.ask(ask));
    stage.play(Event::Left(left));
    let Some(Effect::Unlock(epoch, _)) = stage.unanswered.first() else { panic!("{:?}", stage.unanswered) };
    stage.hear(*epoch, Outcome::Unlocked(Ok(())));
    assert!(stage.result(left).is_none());
    stage.play(Event::StopWanted);
    assert_eq!(stage.fault(stays), FaultKind::Stopping);
}

#[test]
fn whoever_waits_for_a_repair_is_answered_by_a_stop() {
    let mut stage = Stage::new();
    stage.vault_is_silent = true;
    let repair = stage.ask(Ask::RepairItems(message::RepairItems { profile: None, mend: Vec::new() }));
    assert!(stage.result(repair).is_none());
    stage.play(Event::StopWanted);
    assert_eq!(stage.fault(repair), FaultKind::Stopping);
}
