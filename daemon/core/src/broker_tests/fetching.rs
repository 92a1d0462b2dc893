//! The broker's decisions where a program gives a profile's tokens.
//! Does not: run a program.
//! Used by: `cargo test`.

use super::*;
use crate::{
    event::{Fetched, Until},
    profile::CommandLine,
};

fn with_command() -> Profile {
    let command = CommandLine { program: "give-token".into(), arguments: Vec::new() };
    Profile { token_command: Some(command), ..profile("default") }
}

fn config_with(keyring: Keyring, profile: Profile) -> Config {
    Config { keyring, ..Config::of_one(profile) }
}

/// A stage on which a program gives the tokens.
fn stage() -> Stage {
    let mut stage = Stage::new();
    stage.play(Event::ConfigRead(Ok(config_with(Keyring::Auto, with_command()))));
    stage
}

fn runs(stage: &Stage) -> Vec<Epoch> {
    of_effects!(stage, Effect::FetchToken(epoch, _) => *epoch)
}

fn give(stage: &mut Stage, token: &str, until: Option<Until>) {
    let epoch = *runs(stage).last().expect("no program was run");
    stage.hear(epoch, Outcome::TokenFetched(Ok(Fetched { token: secret(token), until })));
}

fn fail(stage: &mut Stage) {
    let epoch = *runs(stage).last().expect("no program was run");
    let fault = rally_cred_proto::Fault::new(FaultKind::Failed, "token_command gives no token");
    stage.hear(epoch, Outcome::TokenFetched(Err(fault)));
}

#[test]
fn a_program_gives_the_token_of_all_who_wait_and_nobody_signs_in() {
    let mut stage = stage();
    let gets = [false, true, false].map(|interactive| stage.get(interactive));
    assert_eq!(runs(&stage).len(), 1);
    give(&mut stage, "given", Some(Until::In(HOUR)));
    assert!(gets.into_iter().all(|get| stage.token(get) == "given"));
    let again = stage.get(false);
    assert_eq!((stage.token(again), runs(&stage).len()), ("given", 1));
    assert!(stage.urls_shown().is_empty() && stage.posts().is_empty());
}

#[test]
fn a_token_that_a_program_gave_is_neither_read_from_a_vault_nor_kept_in_one() {
    for keyring in [Keyring::Auto, Keyring::Memory, fleet::kv2(false), fleet::kv2(true)] {
        let mut stage = Stage::new();
        stage.vault.insert("token:default".to_owned(), secret("of another time"));
        stage.play(Event::ConfigRead(Ok(config_with(keyring, with_command()))));
        stage.get(false);
        give(&mut stage, "given", Some(Until::In(HOUR)));
        assert_eq!((stage.loads, stage.saves), (0, 0));
        stage.ask(Ask::Status(StatusAsk { profile: None, check: false }));
        let status = stage.profiles()[0];
        assert!(status.ready && status.renewable && status.kept, "{status:?}");
    }
}

#[test]
fn the_program_is_run_again_before_the_end_while_the_token_is_in_use() {
    for (until, end) in [(Until::In(1000), 1000), (Until::At(T0.wall.after(1000)), 1000)] {
        let mut stage = stage();
        stage.get(false);
        give(&mut stage, "first", Some(until));
        stage.wait(Ticks::seconds(end - 101));
        assert_eq!(runs(&stage).len(), 1);
        stage.wait(Ticks::seconds(30));
        assert_eq!(runs(&stage).len(), 2);
        // Meanwhile the first one is still good.
        assert_eq!(stage.served(), "first");
        give(&mut stage, "second", Some(Until::In(1000)));
        assert_eq!(stage.served(), "second");
    }
}

#[test]
fn a_token_without_an_end_is_given_until_it_is_reported_and_refused() {
    let mut stage = stage();
    stage.get(false);
    give(&mut stage, "first", None);
    stage.wait(Ticks::seconds(30 * 24 * HOUR));
    assert_eq!(runs(&stage).len(), 1);
    stage.ask(erase("first"));
    stage.answer_look_up(unauthorized());
    let get = stage.get(false);
    give(&mut stage, "second", None);
    assert_eq!(stage.token(get), "second");
}

#[test]
fn a_program_that_fails_is_told_and_run_again_after_growing_pauses_while_an_old_token_is_given() {
    let mut stage = stage();
    stage.get(false);
    give(&mut stage, "first", Some(Until::In(100)));
    stage.wait(Ticks::seconds(95));
    fail(&mut stage);
    assert_eq!(stage.served(), "first");
    stage.wait(Ticks::seconds(200));
    let before = runs(&stage).len();
    for _ in 0..10 {
        let get = stage.get(false);
        if stage.result(get).is_none() {
            fail(&mut stage);
        }
        assert_eq!(stage.fault(get), FaultKind::Failed);
    }
    assert!(runs(&stage).len() - before <= 1, "callers had it run again and again");
}

#[test]
fn a_token_that_is_useless_is_not_given_and_the_program_is_not_run_in_a_circle() {
    for until in [Until::In(0), Until::At(T0.wall), Until::At(Wall(0))] {
        let mut stage = stage();
        let get = stage.get(true);
        give(&mut stage, "ended", Some(until));
        assert_eq!((stage.fault(get), runs(&stage).len()), (FaultKind::Failed, 1));
    }
    let mut stage = stage();
    stage.get(false);
    give(&mut stage, "same", Some(Until::In(HOUR)));
    stage.ask(erase("same"));
    stage.answer_look_up(unauthorized());
    let get = stage.get(false);
    give(&mut stage, "same", Some(Until::In(HOUR)));
    assert_eq!((stage.fault(get), runs(&stage).len()), (FaultKind::Failed, 2));
}

#[test]
fn a_reported_token_that_the_program_gives_again_is_held_back_until_rally_has_answered() {
    let mut stage = stage();
    stage.get(false);
    give(&mut stage, "same", Some(Until::In(1000)));
    stage.wait(Ticks::seconds(905));
    stage.ask(erase("same"));
    give(&mut stage, "same", Some(Until::In(1000)));
    let get = stage.get(false);
    assert!(stage.result(get).is_none());
    stage.answer_look_up(unauthorized());
    give(&mut stage, "other", Some(Until::In(1000)));
    assert_eq!(stage.token(get), "other");
}

#[test]
fn a_token_that_was_reported_to_a_daemon_that_did_not_hold_it_is_looked_into_once_the_program_gives_it() {
    let mut stage = stage();
    stage.ask(erase("from an earlier daemon"));
    let get = stage.get(false);
    give(&mut stage, "from an earlier daemon", Some(Until::In(1000)));
    assert!(stage.result(get).is_none());
    stage.answer_look_up(unauthorized());
    give(&mut stage, "other", Some(Until::In(1000)));
    assert_eq!(stage.token(get), "other");
}

#[test]
fn a_login_runs_the_program_and_a_logout_forgets_what_it_gave() {
    let mut stage = stage();
    let login = stage.login(None);
    give(&mut stage, "first", Some(Until::In(HOUR)));
    assert!(matches!(stage.result(login), Some(Reply::SignedIn(done)) if done.kept && !done.already));
    let login = stage.login(None);
    assert!(matches!(stage.result(login), Some(Reply::SignedIn(done)) if done.already));
    let login = stage.ask(Ask::Login(Login { force: true, ..super::login(None) }));
    give(&mut stage, "second", Some(Until::In(HOUR)));
    assert!(matches!(stage.result(login), Some(Reply::SignedIn(done)) if !done.already));
    stage.ask(logout(false, false));
    let get = stage.get(false);
    give(&mut stage, "third", Some(Until::In(HOUR)));
    assert_eq!(stage.token(get), "third");
}

#[test]
fn a_lock_forgets_the_token_and_the_program_is_never_run_twice_at_a_time() {
    let mut stage = stage();
    stage.get(false);
    stage.ask(Ask::Lock);
    stage.ask(Ask::Unlock);
    let get = stage.get(false);
    assert_eq!(runs(&stage).len(), 1);
    give(&mut stage, "given", Some(Until::In(HOUR)));
    assert_eq!(stage.token(get), "given");
    stage.ask(Ask::Lock);
    stage.ask(Ask::Unlock);
    let get = stage.get(false);
    give(&mut stage, "another", Some(Until::In(HOUR)));
    assert_eq!(stage.token(get), "another");
}

#[test]
fn a_token_of_another_user_than_the_profiles_is_refused_and_the_message_names_the_program() {
    let mut stage = stage();
    let profile = Profile { username: Some("you@example.com".to_owned()), ..with_command() };
    stage.play(Event::ConfigRead(Ok(config_with(Keyring::Auto, profile))));
    let get = stage.get(false);
    give(&mut stage, "theirs", Some(Until::In(HOUR)));
    stage.answer_look_up(user());
    let Some(Reply::Error(fault)) = stage.result(get) else { panic!("{:?}", stage.result(get)) };
    assert!(fault.kind == FaultKind::Denied && fault.to_string().contains("token_command"), "{fault}");
    let again = stage.get(false);
    assert_eq!((stage.fault(again), runs(&stage).len()), (FaultKind::Denied, 1));
}

#[test]
fn another_program_gives_another_token() {
    let mut stage = stage();
    stage.get(false);
    give(&mut stage, "first", Some(Until::In(HOUR)));
    let command = CommandLine { program: "other".into(), arguments: Vec::new() };
    let other = Profile { token_command: Some(command), ..with_command() };
    stage.play(Event::ConfigRead(Ok(config_with(Keyring::Auto, other))));
    let get = stage.get(false);
    give(&mut stage, "second", Some(Until::In(HOUR)));
    assert_eq!(stage.token(get), "second");
}
