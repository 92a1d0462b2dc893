//! `lock` and `unlock`, on real processes, a real keyring and a stand-in for logind.
//! Does not: repeat who waits for how long, which the broker's own tests play in virtual time.
//! Used by: `main`.

use rally_cred_tests::keyring::KeyringSession;
use rally_cred_tests::logind::{Logind, own_user};
use rally_cred_tests::sandbox::Sandbox;
use rally_cred_tests::world::{self, World};

use crate::sign_in::{sign_in, with_browser};

/// A person who signed in, and whose keyring has that.
fn signed_in(keyring: &KeyringSession, config: &str) -> (Sandbox, World) {
    let (sandbox, mut world) = with_browser();
    world.configure(&format!("{config}{}", world::profile_for(&sandbox)));
    world.join(keyring);
    world.client(&["daemon", "start"], "").succeeded();
    sign_in(&world, &sandbox);
    (sandbox, world)
}

#[test]
fn a_locked_daemon_gives_nothing_and_a_get_that_waits_is_answered_once_it_is_unlocked() {
    let keyring = KeyringSession::start();
    let (_sandbox, world) = signed_in(&keyring, "");
    let token = world.client(&["get", "--format", "token"], "").stdout;
    let locked = world.client(&["lock"], "");
    assert_eq!((locked.code, locked.stdout.as_str(), locked.stderr.as_str()), (Some(0), "locked\n", ""));

    let refused = world.client(&["get", "--format", "token", "--wait", "0"], "").refused(9);
    assert_eq!(refused.remedy(), "rally-cred unlock");
    world.client(&["status"], "").ended_with(9).showed("\nlock     locked ");
    assert_eq!(world.status()["locked"]["by"], "user");
    assert_eq!(world.client(&["login"], "").code, Some(9));

    for format in ["token", "git"] {
        let mut waiting = world.start("rally-cred", &["get", "--format", format]);
        drop(waiting.0.stdin.take());
        waiting.wait_for_line("waiting for you to unlock");
        world.follow(&refused);
        waiting.end().showed(token.trim());
        world.client(&["lock"], "").succeeded();
    }
}

#[test]
fn an_unlock_is_as_good_as_the_keyrings_own() {
    let mut keyring = KeyringSession::start();
    let (_sandbox, world) = signed_in(&keyring, "");
    world.client(&["lock"], "").succeeded();
    // Without a prompter, whoever wants it open is refused.
    keyring.lock();
    world.client(&["unlock"], "").ended_with(7);
    assert_eq!(world.client(&["get", "--wait", "0", "--format", "token"], "").code, Some(9));
    keyring.restart_keyring(true);
    world.client(&["unlock"], "").succeeded();
    world.token();
}

#[test]
fn the_tool_behind_a_gateway_is_told_at_once_and_in_rallys_shape() {
    let keyring = KeyringSession::start();
    let (_sandbox, world) = signed_in(&keyring, "");
    world.client(&["lock"], "").succeeded();
    let line = "curl --silent --write-out '\\n%{http_code}' --header \"ZSESSIONID: $RALLY_API_KEY\" \
                \"$SERVER/slm/webservice/v2.0/user\"";
    let told =
        world.client(&["gateway", "--via", "http", "--set", "SERVER=base-url", "--", "sh", "-c", line], "");
    let (body, code) = told.stdout.rsplit_once('\n').unwrap();
    assert_eq!(code, "503", "{told:?}");
    let body: serde_json::Value = serde_json::from_str(body).unwrap();
    let error = &body["OperationResult"]["Errors"][0];
    assert_eq!(error, "rally-cred is locked; try: rally-cred unlock");
}

#[test]
fn it_locks_with_the_session_and_when_the_machine_sleeps_if_the_config_file_says_so() {
    let keyring = KeyringSession::start();
    let logind = Logind::start();
    let (sandbox, mut world) = with_browser();
    logind.join(&mut world);
    world.join(&keyring);
    world.set("RALLY_CRED_LOG", "debug");
    let profile = world::profile_for(&sandbox);
    world.configure(&format!("{profile}[lock]\non = [\"session\", \"sleep\"]\n"));
    let _daemon = world.start_daemon();
    world.logged("logind is watched");
    logind.lock_of_another();
    world.logged(&format!("a session was locked uid={}", own_user() + 1));
    assert!(world.status().get("locked").is_none(), "another user's session is none of ours");
    for (by, happen) in [
        ("session", (&|| logind.lock()) as &dyn Fn()),
        ("sleep", &|| {
            logind.suspend(true);
            logind.suspend(false);
        }),
    ] {
        happen();
        while world.status()["locked"]["by"] != by {}
        world.client(&["unlock"], "").succeeded();
        assert!(world.status().get("locked").is_none());
    }
    // Without the section, it stays open.
    world.reconfigure(&profile);
    logind.lock();
    logind.suspend(true);
    logind.suspend(false);
    let times_woken = || world.log().matches("is_beginning=false").count();
    while times_woken() < 2 {
        world.status();
    }
    assert!(world.status().get("locked").is_none());
}

#[test]
fn where_no_daemon_runs_a_lock_has_nothing_to_do() {
    let world = World::new();
    let locked = world.client(&["lock"], "");
    assert_eq!((locked.code, locked.stdout.as_str()), (Some(0), "no daemon runs, so nothing is held\n"));
    assert_eq!(world.client(&["unlock", "--no-autostart"], "").code, Some(6));
}
