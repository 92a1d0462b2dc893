//! The broker's decisions: when a daemon that is started again on demand may end, and when it must stay.
//! Does not: touch anything real.
//! Used by: `cargo test`.

use rally_cred_proto::{Fault, gateway::HoldTurns, message::WatchAsk};

use super::*;

const AFTER: Ticks = Ticks::seconds(600);

fn stage() -> Stage {
    let mut stage = Stage::new();
    stage.broker = stage.broker.with_idle_exit(Some(AFTER));
    stage
}

impl Stage {
    /// Whoever wants this daemon to make way is told this, and it goes on.
    fn stays_for(&mut self, why: &str) {
        let asked = self.ask(Ask::MakeWay);
        let Some(Reply::Error(fault)) = self.result(asked) else { panic!("{why}: it made way") };
        assert_eq!((fault.kind, fault.why.as_deref()), (FaultKind::Failed, Some(why)));
        assert!(!self.effects.iter().any(|effect| matches!(effect, Effect::Exit)), "{why}");
    }
}

fn exits(stage: &Stage) -> usize {
    stage.effects.iter().filter(|effect| matches!(effect, Effect::ExitIfDeserted)).count()
}

#[test]
fn a_daemon_that_was_started_for_nothing_ends() {
    let mut stage = stage();
    stage.play(Event::TimePassed);
    stage.wait(Ticks::seconds(599));
    assert_eq!(exits(&stage), 0);
    stage.wait(Ticks::seconds(1));
    assert_eq!(exits(&stage), 1);
}

#[test]
fn each_request_begins_the_quiet_anew_and_a_kept_token_may_be_left() {
    let mut stage = stage();
    stage.sign_in("access", Some("refresh"), 8 * HOUR);
    stage.wait(Ticks::seconds(400));
    stage.get(false);
    stage.wait(Ticks::seconds(599));
    assert_eq!(exits(&stage), 0);
    stage.wait(Ticks::seconds(1));
    assert_eq!(exits(&stage), 1);
}

#[test]
fn while_a_client_is_connected_it_is_asked_again_after_as_long_a_time() {
    let mut stage = stage();
    stage.play(Event::TimePassed);
    stage.wait(Ticks::seconds(1800));
    assert_eq!(exits(&stage), 3);
}

#[test]
fn without_a_service_manager_it_never_ends() {
    let mut stage = Stage::signed_in("access", Some("refresh"), HOUR);
    stage.wait(Ticks::seconds(30 * HOUR));
    assert_eq!(exits(&stage), 0);
}

#[test]
fn a_token_in_memory_only_is_not_lost_and_leaves_once_the_vault_has_it() {
    let mut stage = stage();
    stage.vault_trouble = Some(VaultTrouble::Missing("gone".to_owned()));
    stage.sign_in("access", None, 30 * HOUR);
    stage.wait(Ticks::seconds(10 * HOUR));
    assert_eq!(exits(&stage), 0);
    stage.vault_trouble = None;
    stage.wait(Ticks::seconds(HOUR));
    assert!(stage.vault.contains_key("token:default"));
    assert!(exits(&stage) > 0);
}

#[test]
fn where_memory_is_the_vault_a_token_keeps_it_running() {
    let mut stage = Stage::with(Keyring::Memory, &["default"]);
    stage.broker = stage.broker.with_idle_exit(Some(AFTER));
    stage.sign_in("access", None, HOUR);
    stage.wait(Ticks::seconds(30 * HOUR));
    assert_eq!(exits(&stage), 0);
}

#[test]
fn a_sign_in_that_is_under_way_keeps_it_running() {
    let mut stage = stage();
    let login = stage.ask(Ask::Login(Login { timeout: 3600, ..login(Some("client-secret")) }));
    stage.open_listener();
    stage.wait(Ticks::seconds(3599));
    assert_eq!((exits(&stage), stage.result(login).is_some()), (0, false));
}

#[test]
fn a_renewal_that_is_under_way_keeps_it_running_and_its_token_is_saved_first() {
    let mut stage = stage();
    stage.sign_in("access", Some("refresh"), 7200);
    // Ahead of its end the token is renewed with nobody waiting; Rally takes its time.
    stage.get(false);
    while stage.posts().is_empty() {
        let at = stage.broker.next_deadline().unwrap();
        stage.wait(at - stage.now.tick);
    }
    let before = exits(&stage);
    stage.wait(Ticks::seconds(6000));
    assert_eq!(exits(&stage), before);
    stage.answer_post(granted("new", Some("rotated"), 8 * HOUR));
    assert!(stage.vault["token:default"].expose().contains("rotated"));
    stage.wait(AFTER);
    assert_eq!(exits(&stage), before + 1);
}

#[test]
fn an_item_that_the_vault_has_not_yet_erased_keeps_it_running() {
    let mut stage = stage();
    stage.sign_in("access", None, HOUR);
    stage.vault_is_silent = true;
    let logout = stage.ask(logout(false, false));
    // The client does not wait for it.
    stage.play(Event::Left(logout));
    stage.wait(Ticks::seconds(6000));
    assert_eq!(exits(&stage), 0);
    stage.vault_says(Outcome::Erased(Ok(())));
    stage.wait(AFTER);
    assert_eq!(exits(&stage), 1);
}

#[test]
fn a_daemon_that_the_config_file_has_forward_does_not_end_for_want_of_work() {
    let mut stage = stage();
    let forward = |forward| Config { forward, ..config_with(Keyring::Auto) };
    stage.play(Event::ConfigRead(Ok(forward(Some(vec!["default".to_owned()])))));
    let ordered = of_effects!(stage, Effect::OpenForward(epoch) => *epoch);
    stage.hear(ordered[0], Outcome::ForwardOpened(Ok("/run/forward.sock".to_owned())));
    stage.wait(Ticks(3 * AFTER.0));
    assert_eq!(exits(&stage), 0);
    stage.play(Event::ConfigRead(Ok(forward(None))));
    stage.wait(AFTER);
    assert_eq!(exits(&stage), 1);
}

#[test]
fn the_pause_between_tabs_is_not_forgotten() {
    let mut stage = stage();
    stage.sign_in("access", None, HOUR);
    stage.lose_token();
    stage.get(true);
    stage.deny();
    stage.wait(Ticks::seconds(3600));
    assert_eq!(exits(&stage), 0);
    stage.wait(Ticks::seconds(1200));
    assert!(exits(&stage) > 0);
}

#[test]
fn whoever_was_told_of_a_needed_sign_in_finds_the_button_alive_and_is_not_told_again_by_a_new_process() {
    let mut stage = stage();
    stage.sign_in("access", Some("refresh"), HOUR);
    stage.get(false);
    while stage.posts().is_empty() {
        let at = stage.broker.next_deadline().unwrap();
        stage.wait(at - stage.now.tick);
    }
    stage.refuse_refresh_token();
    stage.answer_look_up(user());
    stage.effects.clear();
    stage.wait(Ticks::seconds(100 * HOUR));
    assert_eq!(exits(&stage), 0);
    stage.ask(Ask::Login(Login { force: true, ..login(None) }));
    stage.allow("new", Some("refresh"), HOUR);
    stage.wait(AFTER);
    assert_eq!(exits(&stage), 1);
}

#[test]
fn a_reload_that_is_under_way_keeps_it_running() {
    let mut stage = stage();
    stage.play(Event::ReloadWanted);
    stage.wait(Ticks::seconds(1200));
    assert_eq!(exits(&stage), 0);
    stage.play(Event::ConfigRead(Err(Fault::new(FaultKind::ConfigBroken, "line 3"))));
    stage.wait(AFTER);
    assert_eq!(exits(&stage), 1);
}

#[test]
fn a_daemon_that_nobody_would_miss_makes_way_for_a_newer_one() {
    for is_signed_in in [false, true] {
        let mut stage = Stage::new();
        if is_signed_in {
            stage.sign_in("access", Some("refresh"), HOUR);
        }
        stage.does(Ask::MakeWay);
        assert!(stage.effects.iter().any(|effect| matches!(effect, Effect::Exit)));
    }
}

#[test]
fn a_daemon_that_somebody_would_miss_goes_on_and_says_why() {
    type Occupy = fn(&mut Stage);
    let asked: [(Ask, &str); 4] = [
        (Ask::Lock, "it is locked"),
        (Ask::Watch(WatchAsk::default()), "somebody watches its tokens"),
        (Ask::Forward, "it is forwarded to another machine"),
        (Ask::HoldTurns(HoldTurns { profile: None, turns: 1 }), "a program holds turns at Rally"),
    ];
    for (ask, why) in asked {
        let mut stage = Stage::new();
        stage.ask(ask);
        stage.stays_for(why);
    }
    let cases: [(Occupy, &str); 5] = [
        (
            |stage| {
                stage.open_for_a_command(None);
            },
            "a gateway is open",
        ),
        (|stage| stage.play(Event::ReloadWanted), "a request is under way"),
        (
            |stage| {
                stage.login(Some("client-secret"));
                stage.open_listener();
            },
            "a request is under way",
        ),
        (
            |stage| {
                stage.vault_trouble = Some(VaultTrouble::Missing("gone".to_owned()));
                stage.sign_in("access", None, HOUR);
            },
            "profile default is in use, or what it has is in memory only",
        ),
        (
            |stage| {
                let files = Keyring::parse("file", &Config::default().file_key).unwrap();
                stage.play(Event::ConfigRead(Ok(Config { keyring: files, ..Config::default() })));
            },
            "somebody has opened its encrypted files",
        ),
    ];
    for (occupy, why) in cases {
        let mut stage = Stage::new();
        occupy(&mut stage);
        stage.stays_for(why);
    }
}
