//! A keyring that cannot be asked is not one that is empty, and a sign-in that is reported done is one that can be served.
//! Does not: look at a keyring that is locked, slow or full (`trouble` does).
//! Used by: `main`.

use std::os::unix::fs::symlink;

use memchr::memmem;
use rally_cred_tests::keyring::KeyringSession;
use rally_cred_tests::world;

use crate::sign_in::{log_in, opened, password, signed_in_with_keyring, with_browser, world_with_keyring};

#[test]
fn a_daemon_without_a_bus_does_not_say_that_nothing_is_stored() {
    let (sandbox, mut world, keyring, mut daemon) = signed_in_with_keyring();
    let before = password(&world, &sandbox);
    daemon.kill();

    // As from a shell whose desktop session has ended.
    world.set("DBUS_SESSION_BUS_ADDRESS", "disabled:");
    let daemon = world.start_daemon();
    for (arguments, code) in [
        (&["get", "--interactive", "never", "--format", "token"][..], 3),
        (&["status"], 7),
        (&["get", "--interactive", "always", "--format", "token"], 3),
    ] {
        let ended = world.client(arguments, "");
        let said = ended.said();
        assert!(said.contains("no keyring answers") && !said.contains("is stored"), "{arguments:?}: {said}");
        assert!(said.contains("rally-cred daemon restart, in a terminal of your desktop"), "{said}");
        assert_eq!(ended.code, Some(code), "{arguments:?}: {ended:?}");
    }

    // What it says to try helps, done literally where the desktop's bus is known.
    world.join(&keyring);
    world.client(&["daemon", "restart"], "").succeeded();
    drop(daemon);
    assert_eq!(password(&world, &sandbox), before);
    assert_eq!(opened(&world).len(), 1, "nobody had to sign in again");
}

#[test]
fn a_sign_in_without_a_keyring_is_kept_in_no_file_and_whoever_signs_in_is_told() {
    let (sandbox, mut world) = with_browser();
    world.set("DBUS_SESSION_BUS_ADDRESS", "disabled:");
    let _daemon = world.start_daemon();
    log_in(&world, &sandbox).succeeded().showed("until the daemon stops");
    let token = password(&world, &sandbox).unwrap();
    for secret in [token, sandbox.options().client_secret] {
        for (path, bytes) in world.files() {
            assert!(memmem::find(&bytes, secret.as_bytes()).is_none(), "{secret} is in {}", path.display());
        }
    }
}

#[test]
fn a_shell_that_outlived_its_desktop_session_starts_a_daemon_that_finds_the_users_bus() {
    let (sandbox, mut world, keyring) = world_with_keyring();
    let address = keyring.env().remove(0).1;
    let socket = address.trim_start_matches("unix:path=").split(',').next().unwrap();
    symlink(socket, world.path("run/bus")).unwrap();
    for dead in [format!("unix:path={}", world.path("gone").display()), String::new()] {
        world.set("DBUS_SESSION_BUS_ADDRESS", &dead);
        let login =
            world.client(&["login", "--force", "--client-secret-stdin"], &sandbox.options().client_secret);
        assert_eq!((login.code, login.stderr.contains("warning: ")), (Some(0), false), "{dead:?}: {login:?}");
        assert!(!login.stdout.contains("until the daemon stops"), "{login:?}");
        world.client(&["daemon", "stop"], "").succeeded();
    }
    assert!(password(&world, &sandbox).is_some(), "a later daemon finds it in the keyring");
}

#[test]
fn keyring_os_without_a_collection_is_an_error_before_anybody_signs_in_and_its_remedy_makes_one() {
    let (sandbox, mut world) = with_browser();
    let mut keyring = KeyringSession::start_without_keyring();
    keyring.restart_keyring(false);
    world.join(&keyring);
    world.configure(&format!("keyring = \"os\"\n{}", world::profile_for(&sandbox)));
    let mut daemon = world.start_daemon();
    let login = || log_in(&world, &sandbox);
    let refused =
        login().ended_with(7).told("no default collection").told("gnome-keyring-daemon --replace --unlock");
    assert!(!refused.stderr.contains("start gnome-keyring"), "it runs: {refused:?}");
    assert_eq!(opened(&world).len(), 0, "nobody signs in for nothing");
    world.client(&["doctor"], "").showed("gnome-keyring-daemon --replace --unlock");
    world.client(&["get", "--format", "token"], "").ended_with(7);

    keyring.replace_and_unlock();
    login().succeeded();
    let before = password(&world, &sandbox);
    assert!(before.is_some());
    daemon.kill();
    let _daemon = world.start_daemon();
    assert_eq!(password(&world, &sandbox), before, "what was reported as done outlives the daemon");
}

#[test]
fn keyring_os_on_a_full_disk_does_not_report_a_sign_in_as_done() {
    let (sandbox, world, keyring) = world_with_keyring();
    world.configure(&format!("keyring = \"os\"\n{}", world::profile_for(&sandbox)));
    let mut daemon = world.start_daemon();
    keyring.set_disk_full(true);
    let secret = sandbox.options().client_secret;
    // The second one finds the token in memory, and the keyring as it was.
    for arguments in [&["login", "--client-secret-stdin"][..], &["login"]] {
        let ended = world.client(arguments, &secret).ended_with(7);
        assert!(ended.stderr.contains("the keyring failed") && ended.stdout.is_empty(), "{ended:?}");
    }
    keyring.set_disk_full(false);
    // The daemon tries again by itself within seconds, so nobody has to sign in once more.
    while !world.client(&["status"], "").stdout.contains("keeps tokens") {}
    world.client(&["login"], "").succeeded();
    assert_eq!(opened(&world).len(), 1);
    let before = password(&world, &sandbox);
    daemon.kill();
    let _daemon = world.start_daemon();
    assert_eq!(password(&world, &sandbox), before);
}
