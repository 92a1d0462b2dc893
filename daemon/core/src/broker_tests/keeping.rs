//! The broker's decisions: the vault and signing out.
//! Does not: touch anything real.
//! Used by: `cargo test`.

use super::*;
use crate::vault::ItemKey;
use rally_cred_proto::remedy::Remedy;

#[test]
fn a_restarted_daemon_answers_from_the_vault_without_a_sign_in() {
    let mut stage = Stage::signed_in("access", Some("refresh"), 24 * HOUR);
    stage.restart();
    assert_eq!(stage.served(), "access");
    assert_eq!(stage.loads, 1);
    assert!(stage.posts().is_empty());
}

#[test]
fn the_second_login_finds_the_client_secret_in_the_vault() {
    let mut stage = Stage::signed_in("access", None, HOUR);
    stage.restart();
    stage.wait(Ticks::seconds(2 * HOUR));
    let login = stage.login(None);
    stage.allow("new", None, HOUR);
    assert!(matches!(stage.result(login), Some(Reply::SignedIn(done)) if done.kept && !done.already));
}

#[test]
fn a_login_reports_done_only_when_the_vault_has_the_token_and_the_secret() {
    let mut stage = Stage::new();
    let login = stage.login(Some("client-secret"));
    stage.bring_code();
    stage.answer_post(granted("access", Some("refresh"), HOUR));
    // The stage answers saves at once, so this looks at the effects of the last event by itself.
    let look_up = stage.look_up();
    let effects = stage.effects_of(look_up, Outcome::UserLookedUp(user()));
    let saves = effects.iter().filter_map(|effect| match effect {
        Effect::Change(epoch, change) => Some((*epoch, change.key.kind)),
        _ => None,
    });
    let (saves, kinds): (Vec<_>, Vec<_>) = saves.unzip();
    assert_eq!(kinds, [ItemKind::ClientSecret, ItemKind::Token]);
    assert!(!effects.iter().any(|effect| matches!(effect, Effect::Reply(..))));
    stage.hear(saves[0], Outcome::Changed(Ok(Changed::Done)));
    // A caller is not kept waiting for ever, but login waits for the vault's word.
    stage.wait(Ticks::seconds(15));
    assert!(stage.result(login).is_none());
    stage.hear(saves[1], Outcome::Changed(Ok(Changed::Done)));
    assert!(matches!(stage.result(login), Some(Reply::SignedIn(done)) if done.kept));
}

#[test]
fn a_get_is_served_from_memory_when_the_vault_is_slow() {
    let mut stage = Stage::signed_in("old", Some("refresh"), HOUR);
    stage.wait(Ticks::seconds(2 * HOUR));
    stage.effects.clear();
    let get = stage.get(false);
    let (epoch, _) = stage.posts()[0];
    let effects = stage.effects_of(epoch, Outcome::Answered(granted("new", Some("refresh2"), HOUR)));
    assert!(!effects.iter().any(|effect| matches!(effect, Effect::Reply(..))));
    stage.wait(Ticks::seconds(3));
    assert_eq!(stage.token(get), "new");
}

#[test]
fn a_locked_keyring_is_told_and_asked_again_the_next_time() {
    let mut stage = Stage::signed_in("access", None, HOUR);
    stage.restart();
    stage.vault_trouble = Some(VaultTrouble::Locked("prompt dismissed".to_owned()));
    let get = stage.get(true);
    assert_eq!(stage.fault(get), FaultKind::VaultLocked);
    stage.vault_trouble = None;
    assert_eq!(stage.served(), "access");
}

#[test]
fn a_keyring_that_was_unlocked_is_no_longer_shown_as_a_problem() {
    let mut stage = Stage::signed_in("access", None, HOUR);
    stage.restart();
    stage.vault_trouble = Some(VaultTrouble::Locked("prompt dismissed".to_owned()));
    stage.get(false);
    stage.ask(Ask::Status(StatusAsk::default()));
    let fault = stage.profiles()[0].fault.clone();
    assert_eq!(fault.map(|fault| fault.kind), Some(FaultKind::VaultLocked));
    stage.vault_trouble = None;
    stage.effects.clear();
    stage.ask(Ask::Status(StatusAsk::default()));
    assert_eq!((stage.profiles()[0].ready, stage.profiles()[0].fault.clone()), (true, None));
}

#[test]
fn without_a_keyring_the_token_is_kept_in_memory_and_login_says_so() {
    let mut stage = Stage::new();
    stage.vault_trouble = Some(VaultTrouble::Missing("no bus".to_owned()));
    let login = stage.login(Some("client-secret"));
    stage.allow("access", None, HOUR);
    assert!(matches!(stage.result(login), Some(Reply::SignedIn(done)) if !done.kept));
    assert!(stage.notices().contains(&FaultKind::VaultMissing));
    assert_eq!(stage.served(), "access");
    // The keyring comes up later, and then takes what waited for it.
    stage.vault_trouble = None;
    stage.wait(Ticks::seconds(60));
    assert_eq!(stage.vault.len(), 2);
}

#[test]
fn with_keyring_os_a_missing_keyring_is_an_error() {
    for trouble in [VaultTrouble::Missing("no bus".to_owned()), VaultTrouble::NoCollection] {
        let mut stage = Stage::with(Keyring::Os, &["default"]);
        stage.vault_trouble = Some(trouble);
        let login = stage.login(Some("client-secret"));
        assert_eq!(stage.fault(login), FaultKind::VaultMissing);
        assert!(stage.posts().is_empty(), "nobody signs in for nothing");
    }
}

#[test]
fn with_keyring_os_a_login_is_not_done_while_the_keyring_does_not_keep_it() {
    for trouble in [
        VaultTrouble::Missing("it left".to_owned()),
        VaultTrouble::NoCollection,
        VaultTrouble::Locked("prompt dismissed".to_owned()),
        VaultTrouble::Failed("it answered with an error".to_owned()),
    ] {
        let kind = trouble.fault().kind;
        let mut stage = Stage::with(Keyring::Os, &["default"]);
        let login = stage.login(Some("client-secret"));
        stage.vault_trouble = Some(trouble);
        stage.allow("access", Some("refresh"), HOUR);
        assert_eq!(stage.fault(login), kind);
        let again = stage.login(None);
        assert_eq!(stage.fault(again), kind, "it is there already, and not kept either");
        // Nothing is lost: as soon as the keyring takes it, the same login is done.
        stage.vault_trouble = None;
        stage.wait(Ticks::seconds(60));
        let done = stage.login(None);
        assert!(matches!(stage.result(done), Some(Reply::SignedIn(done)) if done.kept && done.already));
        stage.restart();
        assert_eq!(stage.served(), "access");
    }
}

/// The one fault that a request was answered with.
fn told(stage: &Stage, id: AskId) -> String {
    let Some(Reply::Error(fault)) = stage.result(id) else { panic!("{:?}", stage.result(id)) };
    fault.to_string()
}

#[test]
fn a_keyring_that_could_not_be_asked_is_not_said_to_be_empty() {
    let mut stage = Stage::signed_in("access", Some("refresh"), HOUR);
    stage.restart();
    stage.vault_trouble = Some(VaultTrouble::Missing("no bus".to_owned()));
    let get = stage.get(false);
    assert!(told(&stage, get).contains("no keyring answers"), "{}", told(&stage, get));
    assert!(told(&stage, get).contains("in a terminal of your desktop"), "{}", told(&stage, get));
    let login = stage.login(None);
    assert_eq!(stage.fault(login), FaultKind::ClientSecretNeeded);
    assert!(told(&stage, login).contains("no keyring answers"), "{}", told(&stage, login));
    // As soon as it answers, what it holds is served.
    stage.vault_trouble = None;
    assert_eq!(stage.served(), "access");
    // Whoever signs out without it is told that it still has the token.
    stage.restart();
    stage.vault_trouble = Some(VaultTrouble::Missing("no bus".to_owned()));
    stage.effects.clear();
    stage.ask(logout(false, false));
    assert!(stage.notices().contains(&FaultKind::VaultMissing), "{:?}", stage.effects);
}

#[test]
fn logout_forgets_the_token_and_keeps_the_client_secret() {
    let mut stage = Stage::signed_in("access", Some("refresh"), HOUR);
    let logout = stage.ask(logout(false, false));
    assert!(matches!(stage.result(logout), Some(Reply::SignedOut(done)) if done.profiles == ["default"]));
    assert_eq!(stage.vault.keys().collect::<Vec<_>>(), ["client-secret:default"]);
    assert_eq!(stage.refusal(), FaultKind::SignInNeeded);
}

#[test]
fn logout_forgets_the_client_secret_only_when_asked_to() {
    let mut stage = Stage::signed_in("access", Some("refresh"), HOUR);
    let logout = stage.ask(logout(false, true));
    assert!(matches!(stage.result(logout), Some(Reply::SignedOut(done)) if done.profiles == ["default"]));
    assert!(stage.vault.is_empty());
    let login = stage.login(None);
    assert_eq!(stage.fault(login), FaultKind::ClientSecretNeeded);
}

#[test]
fn a_token_that_a_sign_out_could_not_erase_stays_away_though_the_calendar_was_set_back() {
    let mut stage = Stage::signed_in("access", Some("refresh"), HOUR);
    stage.now.wall = stage.now.wall.after(-900);
    stage.vault_trouble = Some(VaultTrouble::Locked("prompt dismissed".to_owned()));
    let logout = stage.ask(logout(false, false));
    assert_eq!(stage.fault(logout), FaultKind::VaultLocked);
    stage.vault_trouble = None;
    stage.wait(crate::policy::LOOK_PAUSE);
    assert_eq!(stage.refusal(), FaultKind::SignInNeeded);
}

#[test]
fn a_token_that_is_being_signed_out_does_not_come_back_by_another_name_of_the_keyring() {
    let mut stage = Stage::signed_in("access", Some("refresh"), HOUR);
    stage.vault_is_silent = true;
    stage.ask(logout(false, false));
    stage.vault_is_silent = false;
    stage.play(Event::ConfigRead(Ok(config_with(Keyring::Os))));
    assert_eq!(stage.refusal(), FaultKind::SignInNeeded);
}

#[test]
fn logout_gives_nobody_the_token_on_the_way_out() {
    let mut stage = Stage::signed_in("access", Some("refresh"), HOUR);
    stage.ask(erase("access"));
    let get = stage.get(false);
    stage.ask(logout(false, false));
    assert_eq!(stage.fault(get), FaultKind::Denied);
}

#[test]
fn logout_ends_a_pending_flow_and_its_late_answer_signs_nobody_in() {
    let mut stage = Stage::new();
    let login = stage.login(Some("client-secret"));
    stage.bring_code();
    stage.ask(logout(true, false));
    assert_eq!(stage.fault(login), FaultKind::Denied);
    stage.answer_post(granted("access", None, HOUR));
    assert!(stage.vault.is_empty());
}

#[test]
fn a_login_that_waits_for_a_slow_vault_opens_no_second_tab() {
    let mut stage = Stage::new();
    stage.login(Some("client-secret"));
    stage.bring_code();
    stage.answer_post(granted("access", None, HOUR));
    let look_up = stage.look_up();
    // The saves that this orders are never answered.
    stage.effects_of(look_up, Outcome::UserLookedUp(user()));
    stage.effects.clear();
    stage.wait(Ticks::seconds(10));
    assert!(!stage.effects.iter().any(|effect| matches!(effect, Effect::Listen(..))), "{:?}", stage.effects);
}

#[test]
fn a_keyring_that_gives_no_client_secret_is_not_asked_round_and_round() {
    let mut stage = Stage::signed_in("access", Some("refresh"), HOUR);
    stage.restart();
    assert_eq!(stage.served(), "access");
    stage.vault_trouble = Some(VaultTrouble::Locked("prompt dismissed".to_owned()));
    stage.loads = 0;
    stage.wait(Ticks::seconds(HOUR - 1));
    assert!((1..=10).contains(&stage.loads), "asked {} times", stage.loads);
}

#[test]
fn callers_hear_of_the_keyring_only_if_it_keeps_them_waiting() {
    let is_news = |effect: &Effect| matches!(effect, Effect::Tell(_, message::Event::Waiting(_)));
    let mut stage = Stage::new();
    stage.get(false);
    assert!(!stage.effects.iter().any(is_news), "it answered at once");

    let mut stage = Stage::new();
    stage.vault_is_silent = true;
    for _ in 0..3 {
        stage.get(false);
    }
    stage.wait(Ticks(499));
    assert!(!stage.effects.iter().any(is_news));
    stage.wait(Ticks(1));
    stage.wait(Ticks::seconds(30));
    assert_eq!(stage.effects.iter().filter(|effect| is_news(effect)).count(), 3, "each caller is told once");
}

#[test]
fn the_command_for_a_record_that_is_not_understood_means_its_profile_however_it_is_called() {
    for (names, name, login, logout) in [
        (&["default"][..], "default", "rally-cred login", "run that version, or rally-cred logout"),
        (&["work"], "work", "rally-cred login work", "run that version, or rally-cred logout work"),
        (
            &["work", "default"],
            "default",
            "rally-cred login default",
            "run that version, or rally-cred logout default",
        ),
    ] {
        let repair = format!("rally-cred keyring repair, then {login}");
        for (record, remedy) in [("damaged", repair.as_str()), (r#"{"v":2,"future":true}"#, logout)] {
            let mut stage = Stage::with(Keyring::Auto, names);
            stage.vault.insert(format!("token:{name}"), secret(record));
            stage.ask(Ask::Status(StatusAsk { profile: Some(name.to_owned()), check: false }));
            let fault = stage.profiles()[0].fault.clone().unwrap();
            assert_eq!(fault.remedy.as_ref().map(Remedy::to_string).as_deref(), Some(remedy), "{fault:?}");
        }
    }
}

impl Stage {
    fn repair(&mut self) -> AskId {
        self.ask(Ask::RepairItems(message::RepairItems { profile: None, mend: Vec::new() }))
    }

    /// These items of the default profile are damaged, and are mended.
    fn mends(&mut self, kinds: &[ItemKind]) {
        let keys: Vec<_> =
            kinds.iter().map(|kind| ItemKey { kind: *kind, name: "default".to_owned() }).collect();
        let repair = self.repair();
        for key in &keys {
            self.vault.remove(&key.account());
        }
        let ordered = of_effects!(self, Effect::RepairItems { epoch, .. } => *epoch);
        self.hear(ordered[0], Outcome::Repaired(keys, Ok(())));
        assert!(self.is_done(repair));
    }
}

#[test]
fn what_the_daemon_holds_takes_the_place_of_what_was_damaged_and_survives_a_restart() {
    let mut stage = Stage::signed_in("access", Some("refresh"), 100);
    stage.mends(&[ItemKind::Token, ItemKind::ClientSecret]);
    stage.restart();
    stage.wait(Ticks::seconds(200));
    let get = stage.get(false);
    stage.answer_post(granted("new", None, HOUR));
    assert_eq!(stage.token(get), "new");
}

#[test]
fn a_status_complains_of_a_damaged_token_until_it_is_mended() {
    let mut stage = Stage::new();
    stage.vault.insert("token:default".to_owned(), secret("damaged"));
    let complains = |stage: &mut Stage| {
        stage.effects.clear();
        stage.ask(Ask::Status(StatusAsk::default()));
        stage.profiles()[0].fault.is_some()
    };
    assert!(complains(&mut stage));
    stage.mends(&[ItemKind::Token]);
    assert!(!complains(&mut stage));
}

#[test]
fn memory_and_a_vault_that_machines_share_are_not_repaired() {
    for keyring in [Keyring::Memory, super::fleet::kv2(false), super::fleet::kv2(true)] {
        let mut stage = Stage::with(keyring, &["default"]);
        let repair = stage.repair();
        assert_eq!(stage.fault(repair), FaultKind::BadRequest);
    }
}
