//! A network that comes back while nobody asks, in a namespace of the test's own.
//! Does not: repeat what is tried again then, which the broker's own tests play in virtual time.
//! Used by: `main`.

use std::process::Command;

use rally_cred_tests::sandbox::{Endpoint, Fault};

use crate::sign_in::{sign_in, with_browser};

/// Tells a copy of this program that it is alone in a network namespace.
const ALONE: &str = "RALLY_CRED_ALONE_IN_NAMESPACE";

#[test]
fn a_renewal_that_failed_without_a_network_is_made_at_once_when_there_is_one_though_nobody_asks() {
    // Whoever is not root needs a namespace of users for it, which not every system allows.
    let kinds = [&["--net"][..], &["--net", "--user", "--map-root-user"]];
    let may_begin = |kind: &&&[&str]| {
        Command::new("unshare").args(**kind).arg("true").output().is_ok_and(|ended| ended.status.success())
    };
    let Some(kind) = kinds.iter().find(may_begin) else {
        println!("not tried: this user may make no network namespace");
        return;
    };
    let mut copy = Command::new("unshare");
    copy.args(*kind).arg(std::env::current_exe().unwrap());
    copy.args(["--exact", "offline::a_copy_of_this_program_loses_its_network", "--nocapture"]);
    let ended = copy.env(ALONE, "1").output().unwrap();
    assert!(ended.status.success(), "{ended:?}");
}

#[test]
fn a_copy_of_this_program_loses_its_network() {
    if std::env::var_os(ALONE).is_none() {
        return;
    }
    ip("link set lo up");
    let (sandbox, mut world) = with_browser();
    world.set("RALLY_CRED_LOG", "debug");
    let _daemon = world.start_daemon();
    sign_in(&world, &sandbox);
    let token = world.token();
    assert!(!world.log().contains("the network is watched"), "nothing is held up yet");

    // The connection breaks as it does where the network does.
    sandbox.fault(Endpoint::Token, Fault::Drop, None);
    sandbox.revoke(&token);
    world.reject(sandbox.base_url(), &token);
    world.client(&["get", "--format", "token"], "").ended_with(8);
    world.logged("the network is watched");

    sandbox.clear_faults();
    ip("address add 192.0.2.1/32 dev lo");
    world.logged("renewed the token");
}

fn ip(arguments: &str) {
    let ended = Command::new("ip").args(arguments.split(' ')).output().unwrap();
    assert!(ended.status.success(), "ip {arguments}: {ended:?}");
}
