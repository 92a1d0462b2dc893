//! How a client finds a daemon that runs, that it starts, that refuses, dies or hangs.
//! Does not: run the real daemon (the integration tests do); `fixtures` has stand-ins for it.
//! Used by: `cargo test`.

use std::fs::{self, File};
use std::{os::unix::fs::PermissionsExt, path::Path};

use super::*;
use crate::testing::{Fake, Place};

/// A process with a socket in `place`, and the `rally-credd` of a fixture beside the program.
fn sys(place: &Place, fixture: &str) -> Fake {
    Fake { socket: Some(place.socket()), ..Fake::beside(fixture) }
}

fn patient() -> Deadline {
    Deadline::after(Duration::from_secs(60))
}

fn refused(place: &Place, fixture: &str) -> Fault {
    connect(&sys(place, fixture), true, &mut patient()).unwrap_err()
}

fn read(place: &Place, name: &str) -> String {
    fs::read_to_string(place.folder().join(name)).unwrap()
}

#[test]
fn many_clients_at_once_start_one_daemon() {
    let place = Place::new();
    let _listener = Place::listen(&place.folder().join("hidden.sock"));
    thread::scope(|scope| {
        let clients: Vec<_> =
            (0..8).map(|_| scope.spawn(|| connect(&sys(&place, "starts"), true, &mut patient()))).collect();
        for client in clients {
            client.join().unwrap().unwrap();
        }
    });
    assert_eq!(read(&place, "started").lines().count(), 1);
}

#[test]
fn the_daemon_gets_its_own_folder_and_none_of_our_descriptors() {
    let place = Place::new();
    let _listener = Place::listen(&place.folder().join("hidden.sock"));
    let inherited = File::create(place.folder().join("inherited")).unwrap();
    // As if a parent had passed it on.
    rustix::io::fcntl_setfd(&inherited, rustix::io::FdFlags::empty()).unwrap();
    let sys = sys(&place, "starts");
    connect(&sys, true, &mut patient()).unwrap();
    assert_eq!(read(&place, "started"), "--detach in /\n");
    let descriptors = read(&place, "descriptors");
    for name in ["inherited", "start.lock"] {
        assert!(!descriptors.contains(name), "{descriptors}");
    }
    assert!(descriptors.contains("/dev/null"), "{descriptors}");
}

#[test]
fn a_missing_socket_folder_is_made_closed_to_others() {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("rally-cred");
    let sys = Fake { socket: Some(folder.join("agent.sock")), ..Fake::beside("refuses") };
    connect(&sys, true, &mut patient()).unwrap_err();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&folder), 0o700);
    assert_eq!(mode(&folder.join("start.lock")), 0o600);
}

#[test]
fn a_socket_folder_that_others_can_enter_is_refused_and_no_daemon_started() {
    let place = Place::new();
    fs::set_permissions(place.folder(), fs::Permissions::from_mode(0o711)).unwrap();
    let fault = refused(&place, "starts");
    assert_eq!((fault.kind, fault.why.as_deref()), (FaultKind::Failed, Some("its mode is 711")));
    assert!(!place.folder().join("started").exists());
}

#[test]
fn why_the_daemon_does_not_start_is_said() {
    let place = Place::new();
    let fault = refused(&place, "refuses");
    assert_eq!((fault.kind, fault.why.as_deref()), (FaultKind::ConfigBroken, Some("line 3")));

    let fault = refused(&place, "dies");
    assert_eq!(fault.kind, FaultKind::NoDaemon);
    assert_eq!(fault.why.as_deref(), Some("it ended before it was ready, with exit status: 7"));
    assert!(fault.remedy.unwrap().to_string().ends_with("daemon.log"));

    let fault = refused(&place, "no-such-fixture");
    assert_eq!(
        (fault.kind, fault.what.as_str()),
        (FaultKind::NoDaemon, "the program rally-credd is not found")
    );
}

#[test]
fn a_daemon_that_never_becomes_ready_is_waited_for_only_so_long() {
    let place = Place::new();
    let go = place.folder().join("go");
    assert!(Command::new("mkfifo").arg(&go).status().unwrap().success());
    let fault =
        connect(&sys(&place, "hangs"), true, &mut Deadline::after(Duration::from_millis(100))).unwrap_err();
    assert_eq!((fault.kind, fault.what.as_str()), (FaultKind::NoDaemon, "the daemon did not start"));
    assert!(fault.why.as_deref().is_some_and(|why| why.starts_with("it was not ready after ")));
    // Opens once the stand-in waits, and lets it end.
    drop(File::options().write(true).open(&go).unwrap());
}

#[test]
fn without_autostart_nothing_is_made_and_nothing_started() {
    let place = Place::new();
    let fault = connect(&sys(&place, "starts"), false, &mut patient()).unwrap_err();
    assert_eq!(fault.kind, FaultKind::NoDaemon);
    assert_eq!(fs::read_dir(place.folder()).unwrap().count(), 0);
}

#[test]
fn the_daemon_is_looked_for_in_path_but_never_in_a_relative_folder() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/dies");
    let find = |path: &str| daemon_program(&Fake::default().with("PATH", path));
    assert_eq!(find(&format!("/nowhere:{}", fixtures.display())), Ok(fixtures.join("rally-credd")));
    // Tests run in the folder of their package.
    assert!(Path::new("fixtures/dies/rally-credd").is_file());
    for path in ["fixtures/dies", "./fixtures/dies", ":.:", ""] {
        assert_eq!(find(path).unwrap_err().kind, FaultKind::NoDaemon, "{path}");
    }
}
