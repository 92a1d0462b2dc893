//! `status --audit` and the log: which program was given a token, on real processes.
//! Does not: repeat what is remembered, which the broker's own tests play.
//! Used by: `main`.

use std::{fs, path::PathBuf};

use rally_cred_tests::world::World;
use serde_json::Value;

use crate::sign_in::signed_in;

/// Has a client ask until the last decision knows who did. That is found out beside the answer, so a client that ends
/// at once, on a busy machine, may stay unknown.
fn known(world: &World, asks: impl Fn()) -> Value {
    loop {
        asks();
        let last = last_of_audit(world);
        if last["exe"].is_string() && last["caller"].is_string() {
            return last;
        }
    }
}

pub(crate) fn last_of_audit(world: &World) -> Value {
    let shown = world.client(&["status", "--audit", "--json"], "").succeeded().json();
    shown["audit"].as_array().unwrap().last().unwrap().clone()
}

/// The program that runs this test, and so starts the clients.
pub(crate) fn this() -> PathBuf {
    fs::canonicalize(std::env::current_exe().unwrap()).unwrap()
}

#[test]
fn an_audit_names_the_program_that_started_the_client_and_what_it_got() {
    let (_sandbox, world, _daemon) = signed_in();
    let handed = known(&world, || drop(world.client(&["get", "--format", "token"], "").succeeded()));
    world.client(&["lock"], "").succeeded();
    let refused = known(&world, || {
        world.client(&["get", "--format", "token", "--wait", "0"], "").ended_with(9);
    });
    for decision in [&handed, &refused] {
        assert_eq!(decision["caller"].as_str(), this().to_str(), "{decision}");
        assert!(decision["exe"].as_str().unwrap().ends_with("/rally-cred"), "{decision}");
        assert!(decision["pid"].is_u64() && decision["uid"].is_u64(), "{decision}");
        assert_eq!((&decision["profile"], &decision["forwarded"]), (&"default".into(), &false.into()));
    }
    assert_eq!((&handed["verdict"], &refused["verdict"]), (&"token".into(), &"refused".into()));
    assert_eq!(refused["kind"], "locked");

    let shown = world.client(&["status", "--audit"], "").succeeded().stdout;
    let caller = this().display().to_string();
    let is_shown = |verdict: &str| {
        let start = format!("Z  {verdict}  profile default  ");
        shown.lines().any(|line| line.contains(&start) && line.contains(&caller))
    };
    assert!(is_shown("token") && is_shown("refused") && shown.contains("rally-cred is locked"), "{shown}");
}

#[test]
fn a_program_that_asks_by_itself_is_named_itself_though_it_is_a_copy_of_the_client() {
    let (_sandbox, world, _daemon) = signed_in();
    let copy = world.path("rally-cred");
    World::copy_program(&rally_cred_tests::world::programs().join("rally-cred"), &copy);
    let ask = || drop(world.run(copy.to_str().unwrap(), &["get", "--format", "token"], "").succeeded());
    let decision = known(&world, ask);
    let copy = fs::canonicalize(&copy).unwrap();
    assert_eq!(decision["caller"].as_str(), copy.to_str());
}

#[test]
fn the_log_names_the_program_and_its_caller_and_no_secret_is_in_an_audit() {
    let (_sandbox, world, mut daemon) = signed_in();
    let get = || world.client(&["get", "--format", "token"], "").succeeded().stdout;
    let token = get();
    known(&world, || drop(get()));
    let shown = world.client(&["status", "--audit", "--json"], "").succeeded().stdout;
    assert!(!shown.contains(token.trim()), "{shown}");
    // Its end writes what is still to be written.
    daemon.stop();
    let log = world.log();
    let line = log.lines().rfind(|line| line.contains("handed out a token")).unwrap();
    assert!(line.contains(&format!("caller=\"{}\"", this().display())), "{line}");
    assert!(line.contains("/rally-cred\""), "{line}");
}

#[test]
fn an_audit_begins_anew_with_the_daemon() {
    let (_sandbox, world, mut daemon) = signed_in();
    world.token();
    daemon.stop();
    let _daemon = world.start_daemon();
    let shown = world.client(&["status", "--audit"], "").succeeded();
    assert_eq!(shown.stdout, "nobody has asked for a token since the daemon started\n");
}
