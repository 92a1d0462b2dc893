//! A keyring that is unlocked late, and a session bus that comes late or ends early, with a real gnome-keyring.
//! Does not: repeat what waits for which of them, which the broker's own tests play in virtual time.
//! Used by: `main`.

use std::process::Command;

use rally_cred_tests::keyring::KeyringSession;
use rally_cred_tests::sandbox::Sandbox;
use rally_cred_tests::world::{self, Running, World};

use crate::sign_in::{sign_in, signed_in_with_keyring, with_browser};

#[test]
fn a_get_that_waits_for_a_locked_keyring_is_answered_once_it_is_unlocked() {
    let (_sandbox, mut world, mut keyring, mut daemon) = signed_in_with_keyring();
    let token = world.client(&["get", "--format", "token"], "").succeeded().stdout;
    world.set("RALLY_CRED_LOG", "debug");
    let watches = |world: &World| world.log().matches("the keyring is watched").count();
    let unlock: [fn(&mut KeyringSession); 2] =
        [|keyring| keyring.unlock(), |keyring| keyring.restart_keyring(true)];
    for unlock in unlock {
        daemon.kill();
        keyring.lock();
        daemon = world.start_daemon();
        let refused = world.client(&["get", "--format", "token"], "");
        assert_eq!(refused.code, Some(7), "without --wait: {refused:?}");
        world
            .client(&["get", "--format", "token", "--wait", "1s"], "")
            .ended_with(7)
            .told("the keyring is locked");

        let before = watches(&world);
        let mut waiting = world.start("rally-cred", &["get", "--format", "token", "--wait", "10m"]);
        drop(waiting.0.stdin.take());
        waiting.wait_for_line("waiting for you to unlock the keyring");
        // From here on, only the keyring's own word says that it is unlocked.
        while watches(&world) == before {}
        unlock(&mut keyring);
        assert_eq!(waiting.end().stdout, token);
    }
}

#[test]
fn a_daemon_that_was_started_before_the_session_bus_saves_what_it_has_once_a_keyring_comes() {
    let (sandbox, mut world) = with_browser();
    world.configure(&format!("{}[static]\nhosts = [\"*\"]\n", world::profile_for(&sandbox)));
    world.unset("DBUS_SESSION_BUS_ADDRESS");
    let _daemon = world.start_daemon();
    sign_in(&world, &sandbox);
    assert_eq!(world.status()["profiles"][0]["kept"], false);
    world.client(&["store"], CREDENTIAL).succeeded();

    let keyring = KeyringSession::start_at(&world.path("run/bus"));
    // Nobody asks the daemon for anything meanwhile.
    for account in [ITEM_OF_CREDENTIAL, "token:default", "client-secret:default"] {
        while !is_kept(&keyring, account) {}
    }
    assert_eq!(world.status()["profiles"][0]["kept"], true);
}

/// A password for another server, which the daemon keeps until the keyring takes it.
const CREDENTIAL: &str = "protocol=https\nhost=git.example.com\nusername=me\npassword=pass\n\n";
const ITEM_OF_CREDENTIAL: &str = "static:https://git.example.com";

/// A user who is signed in, with the bus where their sessions find it.
fn signed_in_at_the_users_bus() -> (Sandbox, World, KeyringSession, Running) {
    let (sandbox, mut world) = with_browser();
    world.configure(&format!("{}[static]\nhosts = [\"*\"]\n", world::profile_for(&sandbox)));
    let keyring = KeyringSession::start_at(&world.path("run/bus"));
    world.set("DBUS_SESSION_BUS_ADDRESS", format!("unix:path={}", world.path("run/bus").display()));
    let daemon = world.start_daemon();
    sign_in(&world, &sandbox);
    (sandbox, world, keyring, daemon)
}

#[test]
fn a_bus_that_ends_and_comes_again_at_its_place_is_found_without_a_restart() {
    let (_sandbox, world, mut keyring, _daemon) = signed_in_at_the_users_bus();
    let token = world.get().succeeded();
    // What was connected to the old bus reads by the new one.
    keyring.restart_bus_at(&world.path("run/bus"));
    world.client(&["lock"], "").succeeded();
    world.client(&["unlock"], "").succeeded();
    assert_eq!(world.get(), token);
    // While there is none, what is in memory is given out.
    keyring.kill_bus();
    assert_eq!(world.get(), token);
    // What is to be saved is saved when the bus is there again, though nobody asks for anything.
    world.client(&["store"], CREDENTIAL).succeeded();
    keyring.restart_bus_at(&world.path("run/bus"));
    while !is_kept(&keyring, ITEM_OF_CREDENTIAL) {}
}

#[test]
fn a_renewal_that_waits_for_a_locked_keyring_is_saved_by_way_of_the_next_bus_if_that_one_ends() {
    let (sandbox, world, mut keyring, _daemon) = signed_in_at_the_users_bus();
    let old = world.get().succeeded().stdout;
    keyring.lock();
    assert!(sandbox.revoke(old.trim()));
    world.reject(sandbox.base_url(), old.trim_end());
    let new = world.get().succeeded().stdout;
    assert_ne!(new, old);
    keyring.restart_bus_at(&world.path("run/bus"));
    while !kept(&keyring, "token:default").contains(new.trim()) {}
}

#[test]
fn a_bus_at_another_place_is_not_found_and_the_error_names_the_old_one_and_what_helps() {
    let (_sandbox, mut world, mut keyring, mut daemon) = signed_in_at_the_users_bus();
    let token = world.get().succeeded();
    keyring.restart_bus_at(&world.path("run/bus-of-another-session"));
    assert_eq!(world.get(), token, "it is in memory");
    world.client(&["lock"], "").succeeded();
    world.client(&["unlock"], "");
    let lost = world.get().refused(3);
    assert!(
        lost.remedy().starts_with("rally-cred daemon restart, in a terminal of your desktop"),
        "{lost:?}"
    );
    let status = world.client(&["status"], "").stdout;
    let old_place = format!("there is no session bus at unix:path={}: ", world.path("run/bus").display());
    assert!(status.contains(&old_place), "{status}");
    // Done literally, where the new address is known.
    world.join(&keyring);
    world.client(&["daemon", "restart"], "").succeeded();
    daemon.wait();
    assert_eq!(world.get(), token);
}

fn is_kept(keyring: &KeyringSession, account: &str) -> bool {
    !kept(keyring, account).is_empty()
}

/// What the keyring has of ours under this name; empty if nothing.
fn kept(keyring: &KeyringSession, account: &str) -> String {
    let mut tool = Command::new("secret-tool");
    tool.args(["lookup", "service", "rally-cred", "username", account]).envs(keyring.env());
    String::from_utf8(tool.output().unwrap().stdout).unwrap()
}
