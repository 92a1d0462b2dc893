//! The broker's decisions: a client secret that comes from a command or a file; what a check is given to try.
//! Does not: touch anything real.
//! Used by: `cargo test`.

use super::*;
use crate::{policy, profile::SecretSource};

/// A stage whose profile has a source for its client secret.
fn with_source() -> Stage {
    let mut stage = Stage::new();
    stage.play(Event::ConfigRead(Ok(config_with_source())));
    stage
}

fn config_with_source() -> Config {
    let mut config = Config::of_one(profile("default"));
    config.use_client_secret_file(std::path::Path::new("/run/secret"));
    config
}

fn fetches(stage: &Stage) -> Vec<Epoch> {
    of_effects!(stage, Effect::FetchClientSecret(epoch, SecretSource::File(_)) => *epoch)
}

/// The source gives this.
fn give(stage: &mut Stage, text: &str) {
    let epoch = *fetches(stage).last().expect("no source was asked");
    stage.hear(epoch, Outcome::ClientSecretFetched(Ok(secret(text))));
}

#[test]
fn a_fetched_secret_signs_in_and_is_not_put_into_the_vault() {
    let mut stage = with_source();
    let login = stage.login(None);
    give(&mut stage, "fetched-secret");
    stage.allow("access", Some("refresh"), HOUR);
    assert!(matches!(stage.result(login), Some(Reply::SignedIn(done)) if done.kept));
    assert_eq!(stage.vault.keys().collect::<Vec<_>>(), ["token:default"]);
    // Its renewals are served after a restart too.
    stage.restart();
    stage.play(Event::ConfigRead(Ok(config_with_source())));
    stage.wait(Ticks::seconds(HOUR));
    stage.get(false);
    give(&mut stage, "fetched-secret");
    assert!(matches!(stage.posts()[0].1, TokenForm::Refresh { .. }));
    // Another vault is not given it either.
    stage.play(Event::ConfigRead(Ok(Config { keyring: Keyring::Memory, ..config_with_source() })));
    assert_eq!(stage.vault.keys().collect::<Vec<_>>(), ["token:default"]);
}

#[test]
fn what_the_vault_has_goes_first_and_what_a_person_gives_is_kept() {
    let mut stage = with_source();
    stage.sign_in("access", None, HOUR);
    assert!(stage.vault["client-secret:default"].expose().contains("client-secret"));
    stage.restart();
    stage.play(Event::ConfigRead(Ok(config_with_source())));
    stage.ask(Ask::Login(Login { force: true, ..login(None) }));
    assert_eq!(fetches(&stage), []);
    stage.listening();
}

#[test]
fn a_source_that_is_being_asked_is_not_asked_a_second_time_since_the_daemon_was_locked() {
    let mut stage = with_source();
    stage.login(None);
    stage.ask(Ask::Lock);
    stage.ask(Ask::Unlock);
    let login = stage.login(None);
    assert_eq!(fetches(&stage).len(), 1);
    give(&mut stage, "fetched-secret");
    stage.allow("access", Some("refresh"), HOUR);
    assert!(matches!(stage.result(login), Some(Reply::SignedIn(_))));
}

#[test]
fn a_source_that_gives_nothing_is_told_and_asked_again_by_the_next_request() {
    let mut stage = with_source();
    let login = stage.login(None);
    let epoch = fetches(&stage)[0];
    let fault = rally_cred_proto::Fault::new(FaultKind::Failed, "no secret");
    stage.hear(epoch, Outcome::ClientSecretFetched(Err(fault)));
    assert_eq!(stage.fault(login), FaultKind::Failed);
    stage.login(None);
    assert_eq!(fetches(&stage).len(), 2);
    // With a secret of the person's own, nobody is asked.
    let mut stage = with_source();
    stage.login(Some("given"));
    assert_eq!(fetches(&stage), []);
    stage.listening();
}

#[test]
fn a_refused_secret_is_fetched_anew_by_a_login_and_by_nothing_that_could_go_round() {
    let mut stage = with_source();
    stage.login(None);
    give(&mut stage, "old");
    stage.allow("access", Some("refresh"), 100);
    stage.wait(Ticks::seconds(200));
    for _ in 0..policy::REFUSALS {
        let get = stage.get(true);
        stage.answer_post(refused("invalid_client", "Invalid client"));
        assert!(matches!(stage.fault(get), FaultKind::ClientRefused | FaultKind::ClientSecretNeeded));
        stage.wait(Ticks::seconds(10));
    }
    let (posted, fetched) = (stage.posts().len(), fetches(&stage).len());
    let get = stage.get(true);
    assert_eq!(stage.fault(get), FaultKind::ClientSecretNeeded);
    assert_eq!((stage.posts().len(), fetches(&stage).len()), (posted, fetched));

    let login = stage.login(None);
    assert_eq!(fetches(&stage).len(), fetched + 1);
    give(&mut stage, "new");
    stage.allow("other", Some("refresh"), HOUR);
    assert!(matches!(stage.result(login), Some(Reply::SignedIn(_))));
}

#[test]
fn a_source_that_is_configured_later_is_asked_without_a_restart() {
    let mut stage = Stage::new();
    let login = stage.login(None);
    assert_eq!(stage.fault(login), FaultKind::ClientSecretNeeded);
    stage.play(Event::ConfigRead(Ok(config_with_source())));
    stage.login(None);
    assert_eq!(fetches(&stage).len(), 1);
}

#[test]
fn a_check_tries_each_profile_and_knows_whose_port_is_ours() {
    let mut stage = Stage::with(Keyring::Os, &["a", "b"]);
    let unknown = stage.ask(Ask::Check(CheckAsk { profile: Some("c".to_owned()) }));
    assert_eq!(stage.fault(unknown), FaultKind::UnknownProfile);
    stage.login(Some("client-secret"));
    stage.open_listener();
    let id = stage.ask(Ask::Check(CheckAsk::default()));
    let Some(Effect::Check { id: own, keyring, profiles, .. }) = stage.effects.last() else {
        panic!("no check in {:?}", stage.effects)
    };
    assert_eq!((*own, keyring), (id, &Keyring::Os));
    let ports: Vec<_> =
        profiles.iter().map(|(profile, is_listening)| (&*profile.name, *is_listening)).collect();
    assert_eq!(ports, [("a", true), ("b", false)]);
}

#[test]
fn an_answer_that_quotes_what_an_earlier_request_carried_does_not_show_it() {
    let mut stage = Stage::new();
    let login = stage.login(Some("given-secret"));
    stage.bring_code();
    stage.answer_post(granted("access-token-of-words", Some("refresh-token-of-words"), HOUR));
    let page = "Your IP address is not that of given-secret, refresh-token-of-words or YWNjZXNzLXRva2VuLW9mLXdvcmRz.";
    stage.answer_look_up(arrived(403, page));
    let Some(Reply::Error(fault)) = stage.result(login) else { panic!("{:?}", stage.result(login)) };
    assert_eq!(fault.why.as_deref(), Some("your IP address is not that of …, … or …"));
}

#[test]
fn a_fetched_secret_is_not_put_into_the_vault_that_a_reload_chooses_during_the_sign_in() {
    let mut stage = with_source();
    stage.login(None);
    give(&mut stage, "from-source");
    stage.play(Event::ConfigRead(Ok(Config { keyring: Keyring::Os, ..config_with_source() })));
    stage.allow("access", Some("refresh"), HOUR);
    assert_eq!(stage.served(), "access");
    assert!(!stage.vault.contains_key("client-secret:default"));
}
