//! The broker's decisions: static credentials, which git and others store here for servers that no profile is for.
//! Does not: test how they are matched (`static_record` does).
//! Used by: `cargo test`.

use rally_cred_proto::{git::Credential, message::Store};

use super::*;
use crate::profile::StaticHosts;

const HOST: &str = "git.example.com";

fn stage(keyring: Keyring) -> Stage {
    let mut stage = Stage::with(keyring.clone(), &["default"]);
    stage.broker = broker(keyring, StaticHosts::All);
    stage
}

fn broker(keyring: Keyring, static_hosts: StaticHosts) -> Broker {
    Broker::new(Facts::default(), config(keyring, static_hosts))
}

fn config(keyring: Keyring, static_hosts: StaticHosts) -> Config {
    Config { static_hosts, ..config_with(keyring) }
}

fn store(host: &str, username: &str, password: &str) -> Ask {
    let credential = Credential {
        username: Some(username.to_owned()),
        password: Some(secret(password)),
        ..Credential::default()
    };
    Ask::Store(Store { protocol: "https".to_owned(), host: host.to_owned(), path: None, credential })
}

fn erase_at(host: &str, password: Option<&str>) -> Ask {
    let target =
        Target { protocol: Some("https".to_owned()), host: Some(host.to_owned()), ..Target::default() };
    Ask::Erase(Erase { target, token: password.map(secret), credential: None })
}

impl Stage {
    fn password(&mut self, host: &str) -> Option<String> {
        let id = self.ask(for_host("https", host));
        match self.result(id) {
            Some(Reply::StaticCredential(given)) => {
                Some(given.credential.password.as_ref().unwrap().expose().to_owned())
            }
            Some(Reply::NoMatch) => None,
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn what_is_stored_for_a_server_is_given_there_and_nowhere_else_until_it_is_erased() {
    let mut stage = stage(Keyring::Os);
    assert_eq!(stage.password(HOST), None);
    stage.does(store(HOST, "me", "pass"));
    assert_eq!(stage.password("GIT.example.com").as_deref(), Some("pass"));
    assert_eq!(stage.password("example.com"), None);
    let http = stage.ask(for_host("http", HOST));
    assert!(matches!(stage.result(http), Some(Reply::NoMatch)));
    stage.does(erase_at(HOST, Some("other")));
    assert_eq!(stage.password(HOST).as_deref(), Some("pass"));
    stage.does(erase_at(HOST, Some("pass")));
    assert_eq!(stage.password(HOST), None);
    assert!(stage.vault.is_empty(), "no empty item stays behind");
}

#[test]
fn a_restarted_daemon_finds_them_and_reads_each_server_once() {
    let mut stage = stage(Keyring::Os);
    stage.ask(store(HOST, "me", "pass"));
    stage.broker = broker(Keyring::Os, StaticHosts::All);
    stage.loads = 0;
    for _ in 0..3 {
        assert_eq!(stage.password(HOST).as_deref(), Some("pass"));
    }
    assert_eq!(stage.loads, 1);
    stage.vault_trouble = Some(VaultTrouble::Locked("dismissed".to_owned()));
    assert_eq!(stage.password(HOST).as_deref(), Some("pass"), "a locked keyring stops nobody who was served");
}

#[test]
fn what_git_stores_after_each_use_is_not_written_again() {
    let mut stage = stage(Keyring::Os);
    for _ in 0..3 {
        stage.does(store(HOST, "me", "pass"));
    }
    assert_eq!(stage.saves, 1);
}

#[test]
fn only_servers_that_the_config_names_are_kept() {
    let mut stage = Stage::new();
    stage.does(store(HOST, "me", "pass"));
    assert!(stage.vault.is_empty() && stage.password(HOST).is_none() && stage.loads == 0);
}

#[test]
fn a_profile_comes_first_on_its_own_server_and_its_token_is_not_stored() {
    let mut stage = stage(Keyring::Os);
    stage.sign_in("access", None, HOUR);
    let before = stage.vault.len();
    stage.does(store("rally1.rallydev.com", "me@example.com", "access"));
    assert_eq!(stage.vault.len(), before);
    let get = stage.ask(for_host("https", "rally1.rallydev.com"));
    assert_eq!(stage.token(get), "access");
    // Another user of that server is none of the profile's.
    stage.does(store("rally1.rallydev.com", "robot", "_key"));
    assert_eq!(stage.vault.len(), before + 1);
}

#[test]
fn without_a_keyring_they_stay_in_memory_with_a_notice_and_go_there_as_soon_as_there_is_one() {
    let mut stage = stage(Keyring::Auto);
    stage.vault_trouble = Some(VaultTrouble::Missing("no bus".to_owned()));
    stage.does(store(HOST, "me", "pass"));
    assert_eq!(stage.notices(), [FaultKind::VaultMissing]);
    assert_eq!(stage.password(HOST).as_deref(), Some("pass"));
    stage.vault_trouble = None;
    assert_eq!(stage.password(HOST).as_deref(), Some("pass"));
    assert_eq!(stage.vault.len(), 1);
}

#[test]
fn a_get_that_no_keyring_could_be_asked_for_says_why_nothing_is_found() {
    for trouble in [VaultTrouble::Missing("no bus".to_owned()), VaultTrouble::NoCollection] {
        let mut stage = stage(Keyring::Auto);
        stage.ask(store(HOST, "me", "pass"));
        stage.broker = broker(Keyring::Auto, StaticHosts::All);
        stage.vault_trouble = Some(trouble);
        assert_eq!(stage.password(HOST), None);
        assert_eq!(stage.notices(), [FaultKind::VaultMissing]);
    }
}

#[test]
fn a_keyring_that_comes_late_loses_nothing_that_it_holds() {
    let mut stage = stage(Keyring::Auto);
    stage.ask(store(HOST, "old", "1"));
    stage.broker = broker(Keyring::Auto, StaticHosts::All);
    stage.vault_trouble = Some(VaultTrouble::Missing("no bus".to_owned()));
    stage.ask(store(HOST, "new", "2"));
    stage.vault_trouble = None;
    assert_eq!(stage.password(HOST).as_deref(), Some("2"));
    stage.ask(erase_at(HOST, Some("2")));
    assert_eq!(stage.password(HOST).as_deref(), Some("1"));
}

#[test]
fn a_keyring_that_fails_is_told_and_nothing_is_pretended() {
    let mut stage = stage(Keyring::Os);
    stage.vault_trouble = Some(VaultTrouble::Locked("dismissed".to_owned()));
    let id = stage.ask(store(HOST, "me", "pass"));
    assert_eq!(stage.fault(id), FaultKind::VaultLocked);
    assert_eq!(stage.password(HOST), None);
    assert_eq!(stage.notices(), [FaultKind::VaultLocked], "git asks others, and the person is told why");
    stage.vault_trouble = None;
    assert_eq!(stage.password(HOST), None, "what could not be kept is not given either");
}

#[test]
fn a_save_that_fails_is_told_to_whoever_stored_it_and_the_old_one_stays() {
    let mut stage = stage(Keyring::Os);
    stage.ask(store(HOST, "me", "old"));
    stage.vault_trouble = Some(VaultTrouble::Failed("disk full".to_owned()));
    let id = stage.ask(store(HOST, "me", "new"));
    assert_eq!(stage.fault(id), FaultKind::VaultFailed);
    stage.vault_trouble = None;
    assert_eq!(stage.password(HOST).as_deref(), Some("old"));
}

#[test]
fn a_record_that_is_not_understood_is_left_as_it_is() {
    let mut stage = stage(Keyring::Os);
    let account = format!("static:https://{HOST}");
    for record in [r#"{"v":2,"future":true}"#, "damaged"] {
        stage.vault.insert(account.clone(), secret(record));
        let id = stage.ask(store(HOST, "me", "pass"));
        assert_eq!(stage.fault(id), FaultKind::VaultFailed);
        assert_eq!(stage.vault[&account].expose(), record);
    }
}

#[test]
fn requests_wait_their_turn_and_no_longer_than_their_time() {
    let mut stage = stage(Keyring::Os);
    stage.vault_is_silent = true;
    let target =
        Target { protocol: Some("https".to_owned()), host: Some(HOST.to_owned()), ..Target::default() };
    let get = stage.ask(Ask::Get(Get { target, wait: 5, ..Get::default() }));
    let stored = stage.ask(store(HOST, "me", "pass"));
    let left = stage.ask(store(HOST, "gone", "pass"));
    stage.play(Event::Left(left));
    stage.wait(Ticks::seconds(6));
    assert!(matches!(stage.result(get), Some(Reply::NoMatch)));
    assert_eq!(stage.notices(), [FaultKind::TimedOut]);
    assert_eq!(stage.unanswered.len(), 1, "one question is enough for all of them");
    stage.vault_is_silent = false;
    stage.vault_says(Outcome::Loaded(Ok(None)));
    assert!(stage.is_done(stored));
    assert_eq!(stage.saves, 1, "whoever left stored nothing");
}

#[test]
fn a_keyring_that_answers_after_everybody_has_left_is_heard_all_the_same() {
    let mut stage = stage(Keyring::Auto);
    stage.vault_trouble = Some(VaultTrouble::Missing("no bus".to_owned()));
    stage.ask(store(HOST, "me", "pass"));
    stage.vault_is_silent = true;
    let get = stage.ask(for_host("https", HOST));
    stage.play(Event::Left(get));
    (stage.vault_is_silent, stage.vault_trouble) = (false, None);
    stage.vault_says(Outcome::Loaded(Ok(None)));
    assert_eq!(stage.vault.len(), 1, "what was in memory only goes there");
    assert_eq!(stage.password(HOST).as_deref(), Some("pass"));
}

#[test]
fn a_stop_waits_for_what_is_on_its_way_to_the_vault() {
    let mut stage = stage(Keyring::Os);
    stage.ask(store(HOST, "me", "old"));
    let held = stage.vault.values().next().cloned();
    stage.vault_is_silent = true;
    let id = stage.ask(store(HOST, "me", "new"));
    stage.vault_says(Outcome::Loaded(Ok(held)));
    stage.play(Event::StopWanted);
    assert_eq!(stage.fault(id), FaultKind::Stopping);
    let has_ended = |stage: &Stage| stage.effects.iter().any(|effect| matches!(effect, Effect::Exit));
    assert!(!has_ended(&stage));
    stage.vault_says(Outcome::Changed(Ok(Changed::Done)));
    assert!(has_ended(&stage));
}

#[test]
fn a_reload_reads_them_again_and_follows_the_list_of_servers() {
    let mut stage = stage(Keyring::Os);
    stage.ask(store(HOST, "me", "pass"));
    stage.vault.clear();
    stage.play(Event::ConfigRead(Ok(config(Keyring::Os, StaticHosts::All))));
    assert_eq!(stage.password(HOST), None);
    stage.ask(store(HOST, "me", "pass"));
    stage.play(Event::ConfigRead(Ok(config(Keyring::Os, StaticHosts::default()))));
    assert_eq!(stage.password(HOST), None);
    assert_eq!(stage.vault.len(), 1, "what is stored stays");
}

#[test]
fn what_two_daemons_store_for_one_server_is_found_by_both() {
    let mut stage = stage(Keyring::Os);
    stage.ask(store(HOST, "me", "mine"));
    // Another daemon on the same keyring, which has read the item before the first changes it.
    let mut other = self::stage(Keyring::Os);
    other.vault = stage.vault.clone();
    assert_eq!(other.password(HOST).as_deref(), Some("mine"));
    stage.does(store(HOST, "you", "yours"));
    other.vault = stage.vault.clone();
    other.does(store(HOST, "they", "theirs"));
    stage.vault = other.vault.clone();
    let kept = stage.vault.values().next().unwrap().expose().to_owned();
    assert!(["mine", "yours", "theirs"].iter().all(|password| kept.contains(password)), "{kept}");
    let get = |username: &str| {
        let target = Target {
            protocol: Some("https".to_owned()),
            host: Some(HOST.to_owned()),
            username: Some(username.to_owned()),
            ..Target::default()
        };
        Ask::Get(Get { target, ..Get::default() })
    };
    let id = stage.ask(get("they"));
    assert!(matches!(stage.result(id), Some(Reply::StaticCredential(_))), "what was read once is read again");
}

#[test]
fn what_git_stores_after_each_use_does_not_ask_the_keyring_again() {
    let mut stage = stage(Keyring::Os);
    stage.ask(store(HOST, "me", "pass"));
    let loads = stage.loads;
    for _ in 0..10 {
        assert_eq!(stage.password(HOST).as_deref(), Some("pass"));
        stage.does(store(HOST, "me", "pass"));
    }
    assert_eq!((stage.loads, stage.saves), (loads, 1));
}

#[test]
fn an_erase_that_no_keyring_hears_of_is_answered_with_a_notice() {
    let mut stage = stage(Keyring::Auto);
    stage.does(store(HOST, "me", "pass"));
    stage.broker = broker(Keyring::Auto, StaticHosts::All);
    stage.vault_trouble = Some(VaultTrouble::Missing("no bus".to_owned()));
    stage.does(erase_at(HOST, Some("pass")));
    assert_eq!(stage.notices(), [FaultKind::VaultMissing]);
}

#[test]
fn what_only_memory_has_is_not_lost_when_the_keyring_comes_back_and_fails() {
    let mut stage = stage(Keyring::Auto);
    stage.vault_trouble = Some(VaultTrouble::Missing("no bus".to_owned()));
    stage.does(store(HOST, "me", "pass"));
    stage.vault_trouble = None;
    stage.vault_is_silent = true;
    stage.ask(for_host("https", HOST));
    stage.vault_says(Outcome::Loaded(Ok(None)));
    stage.vault_is_silent = false;
    stage.vault_says(Outcome::Changed(Err(VaultTrouble::Failed("disk full".to_owned()))));
    assert_eq!(stage.password(HOST).as_deref(), Some("pass"));
    stage.does(store(HOST, "other", "word"));
    let kept = stage.vault[&format!("static:https://{HOST}")].expose();
    assert!(kept.contains("pass") && kept.contains("word"), "{kept}");
}

#[test]
fn a_store_that_came_too_late_for_its_caller_is_answered_once() {
    let mut stage = stage(Keyring::Os);
    stage.vault_is_silent = true;
    let id = stage.ask(store(HOST, "me", "pass"));
    stage.vault_says(Outcome::Loaded(Ok(None)));
    let Some(Effect::Change(epoch, _)) = stage.unanswered.pop() else { panic!("nothing is saved") };
    stage.wait(Ticks::seconds(200));
    assert_eq!(stage.fault(id), FaultKind::TimedOut);
    stage.vault_is_silent = false;
    stage.hear(epoch, Outcome::Changed(Ok(Changed::Conflict(None))));
    assert_eq!(stage.fault(id), FaultKind::TimedOut);
}

/// The same stage, whose daemon ends once it has been idle for ten minutes.
fn idling(keyring: Keyring) -> Stage {
    let mut stage = stage(keyring);
    stage.broker = stage.broker.with_idle_exit(Some(Ticks::seconds(600)));
    stage
}

fn has_ended(stage: &Stage) -> bool {
    stage.effects.iter().any(|effect| matches!(effect, Effect::ExitIfDeserted))
}

#[test]
fn where_memory_is_the_vault_a_stored_password_keeps_the_daemon_running() {
    let mut stage = idling(Keyring::Memory);
    stage.does(store(HOST, "me", "pass"));
    stage.wait(Ticks::seconds(30 * HOUR));
    assert!(!has_ended(&stage));
}

#[test]
fn a_client_that_leaves_while_memory_is_read_does_not_make_the_daemon_forget_what_it_holds() {
    let mut stage = idling(Keyring::Memory);
    stage.does(store(HOST, "me", "pass"));
    stage.vault_is_silent = true;
    let id = stage.ask(store(HOST, "other", "word"));
    stage.play(Event::Left(id));
    let held = stage.vault[&format!("static:https://{HOST}")].clone();
    stage.vault_says(Outcome::Loaded(Ok(Some(held))));
    stage.wait(Ticks::seconds(30 * HOUR));
    assert!(!has_ended(&stage));
}

#[test]
fn what_only_memory_has_goes_to_the_keyring_before_an_idle_daemon_ends() {
    let mut stage = idling(Keyring::Auto);
    stage.vault_trouble = Some(VaultTrouble::Missing("no bus".to_owned()));
    stage.does(store(HOST, "me", "pass"));
    stage.wait(Ticks::seconds(HOUR));
    assert!(!has_ended(&stage));
    stage.vault_trouble = None;
    stage.wait(Ticks::seconds(HOUR));
    assert!(stage.vault[&format!("static:https://{HOST}")].expose().contains("pass"));
    assert!(has_ended(&stage));
}

#[test]
fn a_get_that_waits_for_a_locked_keyring_is_answered_once_it_is_unlocked() {
    let mut stage = stage(Keyring::Auto);
    stage.ask(store(HOST, "me", "pass"));
    stage.broker = broker(Keyring::Auto, StaticHosts::All);
    stage.vault_trouble = Some(VaultTrouble::Locked("prompt dismissed".to_owned()));
    let Ask::Get(get) = for_host("https", HOST) else { panic!("no get") };
    let waits = stage.ask(Ask::Get(Get { wait: 600, awaits_unlock: true, ..get.clone() }));
    assert_eq!(stage.password(HOST), None, "whoever does not wait goes to git's next helper");
    stage.wait(Ticks::seconds(300));
    assert!(stage.result(waits).is_none() && stage.loads == 3, "{}", stage.loads);
    stage.vault_trouble = None;
    stage.play(Event::VaultUnlocked);
    assert!(matches!(stage.result(waits), Some(Reply::StaticCredential(_))));
}

#[test]
fn what_memory_holds_for_want_of_a_keyring_goes_there_once_it_comes_and_nobody_asks() {
    let mut stage = stage(Keyring::Auto);
    stage.vault_trouble = Some(VaultTrouble::Missing("no bus".to_owned()));
    stage.ask(store(HOST, "me", "pass"));
    stage.vault_trouble = None;
    stage.play(Event::VaultUnlocked);
    assert_eq!(stage.vault.len(), 1);
}

#[test]
fn a_keyring_that_does_not_take_what_memory_holds_is_not_asked_without_pause_because_it_is_open() {
    let mut stage = stage(Keyring::Auto);
    stage.vault_trouble = Some(VaultTrouble::Missing("no bus".to_owned()));
    stage.ask(store(HOST, "me", "pass"));
    assert!(stage.is_watching());
    stage.vault_trouble = Some(VaultTrouble::Failed("no space left on device".to_owned()));
    stage.play(Event::VaultUnlocked);
    assert!(!stage.is_watching());
    stage.vault_trouble = None;
    stage.ask(store(HOST, "you", "word"));
    assert!(stage.vault[&format!("static:https://{HOST}")].expose().contains("pass"));
}
