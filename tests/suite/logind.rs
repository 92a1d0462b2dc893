//! What the daemon hears of systemd-logind, on a bus of the test.
//! Does not: say what it does then.
//! Used by: `main`.

use std::fs;

use rally_cred_tests::logind::{Logind, own_user};
use rally_cred_tests::world::World;

#[test]
fn sessions_that_are_locked_and_sleep_are_heard_of_from_logind_alone_and_cost_no_thread() {
    let logind = Logind::start();
    let mut world = World::new();
    logind.join(&mut world);
    world.set("RALLY_CRED_LOG", "debug");
    let mut daemon = world.start_daemon();
    world.logged("logind is watched");
    // Its own, and the one outside of the sandbox.
    let threads = fs::read_dir(format!("/proc/{}/task", daemon.0.id())).unwrap().count();
    assert_eq!(threads, 2, "none is there for logind");

    // Each comes after the one before it, so whatever was not heard by then is not heard at all.
    logind.forge_suspend(false);
    logind.suspend(true);
    world.logged("is_beginning=true");
    assert!(!world.log().contains("is_beginning=false"), "{}", world.log());
    logind.suspend(false);
    world.logged("is_beginning=false");
    logind.lock_of_another();
    logind.lock();
    world.logged(&format!("a session was locked uid={}", own_user()));
    daemon.stop();
}

#[test]
fn a_daemon_without_a_system_bus_says_so_once_at_debug_level() {
    let mut world = World::new();
    world.set("RALLY_CRED_LOG", "debug");
    let mut daemon = world.start_daemon();
    world.logged("logind is not watched");
    daemon.stop();
    assert_eq!(world.log().matches("logind").count(), 1, "{}", world.log());
}
