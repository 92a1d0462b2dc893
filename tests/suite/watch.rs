//! `rally-cred watch` as a program that reacts would run it.
//! Does not: try each change (`broker_tests::watching` does).
//! Used by: `main`.

use rally_cred_tests::world::Running;
use serde_json::Value;

use crate::sign_in::{sign_in, signed_in, signed_in_with_keyring};

/// What the next line says became of something.
fn next(watch: &mut Running) -> String {
    let line = watch.next_line_of_stdout().unwrap();
    let line: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(line["version"], 1, "{line}");
    line["what"].as_str().unwrap().to_owned()
}

#[test]
fn a_program_hears_what_becomes_of_a_token_and_never_sees_it() {
    let (sandbox, world, _daemon) = signed_in();
    let mut watch = world.start("rally-cred", &["watch"]);
    let held = watch.next_line_of_stdout().unwrap();
    let line: Value = serde_json::from_str(&held).unwrap();
    assert_eq!((&line["what"], &line["profile"]), (&Value::from("held"), &Value::from("default")));
    assert!(line["expires_at"].is_i64(), "{line}");
    let token = world.token();
    assert!(!held.contains(&token), "{held}");

    assert!(sandbox.revoke(&token));
    assert_eq!(world.client(&["erase"], "").code, Some(0));
    assert_eq!(next(&mut watch), "refused");
    assert_eq!(world.client(&["get", "--format", "token"], "").code, Some(0));
    assert_eq!(next(&mut watch), "renewed");
    assert_eq!(world.client(&["logout"], "").code, Some(0));
    assert_eq!([next(&mut watch), next(&mut watch)], ["ended", "sign_in_needed"]);
    sign_in(&world, &sandbox);
    assert_eq!(next(&mut watch), "obtained");
    watch.signal("INT");
    assert_eq!(watch.end().code, None, "it ends by the signal");
}

#[test]
fn a_watch_goes_on_with_the_daemon_after_one_that_was_killed_and_starts_none_itself() {
    let (_sandbox, world, _keyring, mut daemon) = signed_in_with_keyring();
    let mut watch = world.start("rally-cred", &["watch", "default"]);
    assert_eq!(next(&mut watch), "held");
    daemon.kill();
    assert_eq!(next(&mut watch), "disconnected");
    assert_eq!(world.client(&["status"], "").code, Some(6), "nobody has started another");
    let _daemon = world.start_daemon();
    assert_eq!([next(&mut watch), next(&mut watch)], ["reconnected", "held"]);
}

#[test]
fn a_watch_of_a_profile_that_is_not_there_or_without_a_daemon_says_so() {
    let (_sandbox, world, _daemon) = signed_in();
    world.client(&["watch", "nobody"], "").refused(2);
    assert_eq!(world.client(&["daemon", "stop"], "").code, Some(0));
    world.client(&["watch", "--no-autostart"], "").refused(6);
}
