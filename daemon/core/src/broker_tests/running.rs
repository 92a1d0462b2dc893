//! The broker's decisions: status, reload and stop.
//! Does not: touch anything real.
//! Used by: `cargo test`.

use super::*;
use crate::{policy, profile::CommandLine};

#[test]
fn a_reload_keeps_the_token_only_for_the_same_server_client_scope_user_and_programs() {
    let config = |change: &dyn Fn(&mut Profile)| {
        let mut changed = profile("default");
        change(&mut changed);
        Config::of_one(changed)
    };
    let check = |change: &dyn Fn(&mut Profile), is_kept: bool| {
        let mut stage = Stage::signed_in("access", None, HOUR);
        stage.play(Event::ConfigRead(Ok(config(change))));
        let get = stage.get(false);
        assert_eq!(matches!(stage.result(get), Some(Reply::Token(_))), is_kept);
    };
    check(&|_| {}, true);
    check(&|profile| profile.redirect_uri = RedirectUri::parse("http://localhost:9999/").unwrap(), true);
    check(&|profile| profile.scope = "other".to_owned(), false);
    check(&|profile| profile.client_id = "other".to_owned(), false);
    check(&|profile| profile.base_url = BaseUrl::parse("https://eu1.rallydev.com").unwrap(), false);
    let command = CommandLine { program: "store".into(), arguments: Vec::new() };
    check(&move |profile| profile.token_command = Some(command.clone()), false);
    check(&|profile| profile.username = Some("you@example.com".to_owned()), false);
    check(&|profile| profile.gate.allow = Some(vec!["/usr/bin/git".to_owned()]), false);
}

#[test]
fn a_broken_config_is_reported_and_the_old_one_stays_in_force() {
    let mut stage = Stage::signed_in("access", None, HOUR);
    let reload = stage.ask(Ask::Reload);
    let fault = rally_cred_proto::Fault::new(FaultKind::ConfigBroken, "line 3");
    stage.play(Event::ConfigRead(Err(fault)));
    assert_eq!(stage.fault(reload), FaultKind::ConfigBroken);
    assert_eq!(stage.served(), "access");
}

#[test]
fn status_with_check_asks_rally() {
    let mut stage = Stage::signed_in("access", None, HOUR);
    let status = stage.ask(Ask::Status(StatusAsk { profile: None, check: true }));
    assert!(stage.result(status).is_none());
    stage.answer_look_up(arrived(401, "<html>"));
    assert!(matches!(stage.result(status), Some(Reply::Status(_))));
    let shown = stage.profiles()[0];
    assert_eq!((shown.checked, shown.ready), (Some(false), false));
}

#[test]
fn an_unconfigured_daemon_says_so_and_git_hears_nothing() {
    let mut stage = Stage::new();
    stage.broker = Broker::new(Facts::default(), Config::default());
    assert_eq!(stage.refusal(), FaultKind::NotConfigured);
    let get = stage.ask(for_host("https", "github.com"));
    assert!(matches!(stage.result(get), Some(Reply::NoMatch)));
}

#[test]
fn status_shows_every_profile_and_reads_the_vault_first() {
    let mut stage = Stage::signed_in("access", Some("refresh"), HOUR);
    stage.restart();
    let status = stage.ask(Ask::Status(StatusAsk::default()));
    assert!(matches!(stage.result(status), Some(Reply::Status(_))));
    let shown = stage.profiles()[0];
    assert_eq!(
        (shown.state, shown.ready, shown.kept, shown.renewable),
        (ProfileState::SignedIn, true, true, true)
    );
    assert_eq!(shown.username.as_deref(), Some("me@example.com"));
    assert_eq!(shown.expires_at, Some(T0.wall.0 + 3600));
}

#[test]
fn a_stop_waits_for_the_vault_then_closes_the_socket_before_it_answers() {
    let mut stage = Stage::new();
    let login = stage.login(Some("client-secret"));
    stage.bring_code();
    stage.answer_post(granted("access", None, HOUR));
    let look_up = stage.look_up();
    let effects = stage.effects_of(look_up, Outcome::UserLookedUp(user()));
    let stop = stage.ask(Ask::Stop);
    assert_eq!(stage.fault(login), FaultKind::Stopping);
    assert!(stage.result(stop).is_none());
    for effect in effects {
        if let Effect::Change(epoch, _) = effect {
            stage.hear(epoch, Outcome::Changed(Ok(Changed::Done)));
        }
    }
    let end: Vec<_> = stage.effects.iter().rev().take(3).collect();
    assert!(matches!(end[..], [Effect::Exit, Effect::Reply(_, Reply::Done), Effect::CloseSocket]), "{end:?}");
}

#[test]
fn a_stop_waits_for_a_renewal_that_is_under_way() {
    let mut stage = Stage::signed_in("access", Some("refresh"), 100);
    stage.wait(Ticks::seconds(200));
    stage.get(false);
    let stop = stage.ask(Ask::Stop);
    assert!(stage.result(stop).is_none());
    stage.answer_post(granted("new", Some("rotated"), HOUR));
    assert!(stage.vault["token:default"].expose().contains("rotated"));
    assert!(stage.is_done(stop));
}

#[test]
fn a_daemon_that_stops_begins_no_renewal_that_its_end_would_cut_short() {
    let mut stage = Stage::with(Keyring::Auto, &["default", "work"]);
    stage.sign_in("access", Some("refresh"), 100);
    stage.get(false);
    stage.wait(Ticks::seconds(200));
    stage.get(false);
    stage.answer_post(RawAnswer::Failed(SendTrouble::Unreachable("no route".to_owned())));
    // The stop waits for the keyring to take the token of `work`.
    stage.ask(Ask::Login(Login { profile: Some("work".to_owned()), ..login(Some("client-secret")) }));
    let epoch = stage.open_listener();
    stage.hear(epoch, Outcome::Redirected(Redirect::Code(secret("code"))));
    stage.answer_post(granted("access", Some("refresh"), HOUR));
    stage.vault_is_silent = true;
    stage.answer_look_up(user());
    stage.effects.clear();
    let stop = stage.ask(Ask::Stop);
    let profiles = ["default", "work"].map(|name| (name.to_owned(), profile(name))).into();
    let reload = Event::ConfigRead(Ok(Config { profiles, ..config_with(Keyring::Auto) }));
    stage.play(Event::Online);
    stage.play(reload);
    stage.wait(policy::LOOK_PATIENCE);
    assert!(stage.result(stop).is_none());
    assert_eq!(stage.posts().len(), 0);
}

#[test]
fn a_status_takes_no_longer_when_a_reload_changes_a_profile_that_is_still_being_read() {
    let mut stage = Stage::with(Keyring::Auto, &["default", "work"]);
    stage.vault_is_silent = true;
    let status = stage.ask(Ask::Status(StatusAsk { profile: None, check: false }));
    let mut config = config_with(Keyring::Auto);
    config.profiles.insert("work".to_owned(), Profile { client_id: "other".to_owned(), ..profile("work") });
    stage.play(Event::ConfigRead(Ok(config)));
    stage.wait(Ticks::seconds(5));
    assert!(matches!(stage.result(status), Some(Reply::Status(_))));
}

#[test]
fn a_renewed_token_that_the_keyring_did_not_take_survives_another_setting_of_the_keyring() {
    let mut stage = Stage::signed_in("access", Some("R1"), 100);
    stage.wait(Ticks::seconds(200));
    stage.vault_trouble = Some(VaultTrouble::Locked("no prompt".to_owned()));
    stage.get(false);
    stage.answer_post(granted("new", Some("R2"), HOUR));
    stage.vault_trouble = None;
    stage.play(Event::ConfigRead(Ok(config_with(Keyring::Os))));
    stage.wait(Ticks::seconds(60));
    assert!(stage.vault["token:default"].expose().contains("R2"));
    assert_eq!(stage.served(), "new");
}

#[test]
fn a_stop_waits_for_a_sign_out_that_is_under_way() {
    let mut stage = Stage::signed_in("access", None, HOUR);
    stage.vault_is_silent = true;
    let logout = stage.ask(logout(false, false));
    let stop = stage.ask(Ask::Stop);
    assert!(stage.result(stop).is_none());
    stage.vault_says(Outcome::Erased(Ok(())));
    assert!(matches!(stage.result(logout), Some(Reply::SignedOut(_))));
    assert!(stage.is_done(stop));
}

#[test]
fn a_stop_waits_for_a_sign_out_though_whoever_wanted_it_has_left() {
    let mut stage = Stage::signed_in("access", None, HOUR);
    stage.vault_is_silent = true;
    let logout = stage.ask(logout(false, false));
    stage.play(Event::Left(logout));
    let stop = stage.ask(Ask::Stop);
    assert!(stage.result(stop).is_none());
    stage.vault_says(Outcome::Erased(Ok(())));
    assert!(stage.is_done(stop));
}

#[test]
fn a_sign_out_that_the_keyring_holds_up_beyond_a_stop_is_answered_all_the_same() {
    let mut stage = Stage::signed_in("access", None, HOUR);
    stage.vault_is_silent = true;
    let logout = stage.ask(logout(false, false));
    let stop = stage.ask(Ask::Stop);
    stage.pass_to(stage.now.tick + Ticks::seconds(10));
    stage.play(Event::TimePassed);
    assert_eq!(stage.fault(logout), FaultKind::Stopping);
    assert!(stage.is_done(stop));
}

#[test]
fn a_reload_that_a_stop_overtakes_is_answered() {
    let mut stage = Stage::new();
    let reload = stage.ask(Ask::Reload);
    stage.ask(Ask::Stop);
    assert_eq!(stage.fault(reload), FaultKind::Stopping);
}

#[test]
fn whoever_asked_for_a_stop_and_left_is_not_answered() {
    let mut stage = Stage::signed_in("access", Some("refresh"), 100);
    stage.wait(Ticks::seconds(200));
    stage.get(false);
    let stop = stage.ask(Ask::Stop);
    stage.play(Event::Left(stop));
    stage.answer_post(granted("new", Some("rotated"), HOUR));
    assert!(stage.effects.iter().any(|effect| matches!(effect, Effect::Exit)));
    assert!(stage.result(stop).is_none());
}
