//! A keyring that is unlocked late, and a session bus that comes late, with a real gnome-keyring.
//! Does not: repeat what waits for which of them, which the broker's own tests play in virtual time.
//! Used by: `main`.

use std::process::Command;

use rally_cred_tests::keyring::KeyringSession;
use rally_cred_tests::world;

use crate::sign_in::{sign_in, signed_in_with_keyring, with_browser};

#[test]
fn a_get_that_waits_for_a_locked_keyring_is_answered_once_it_is_unlocked() {
    let (_sandbox, world, mut keyring, mut daemon) = signed_in_with_keyring();
    let token = world.client(&["get", "--format", "token"], "").succeeded().stdout;
    let unlock: [fn(&mut KeyringSession); 2] =
        [|keyring| keyring.unlock(), |keyring| keyring.restart_keyring(true)];
    for unlock in unlock {
        daemon.kill();
        keyring.lock();
        daemon = world.start_daemon();
        let refused = world.client(&["get", "--format", "token"], "");
        assert_eq!(refused.code, Some(7), "without --wait: {refused:?}");
        let in_vain = world.client(&["get", "--format", "token", "--wait", "1s"], "");
        assert_eq!(in_vain.code, Some(7), "{in_vain:?}");
        assert!(in_vain.stderr.contains("the keyring is locked"), "{in_vain:?}");

        let mut waiting = world.start("rally-cred", &["get", "--format", "token", "--wait", "10m"]);
        drop(waiting.0.stdin.take());
        waiting.wait_for_line("waiting for you to unlock the keyring");
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
    let credential = "protocol=https\nhost=git.example.com\nusername=me\npassword=pass\n\n";
    world.client(&["store"], credential).succeeded();

    let keyring = KeyringSession::start_at(&world.path("run/bus"));
    // Nobody asks the daemon for anything meanwhile.
    for account in ["static:https://git.example.com", "token:default", "client-secret:default"] {
        while !is_kept(&keyring, account) {}
    }
    assert_eq!(world.status()["profiles"][0]["kept"], true);
}

fn is_kept(keyring: &KeyringSession, account: &str) -> bool {
    let mut tool = Command::new("secret-tool");
    tool.args(["lookup", "service", "rally-cred", "username", account]).envs(keyring.env());
    !tool.output().unwrap().stdout.is_empty()
}
