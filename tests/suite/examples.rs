//! The examples that other people's programs start from, run as they are.
//! Does not: run the examples in the Rust documentation (`cargo test` does).
//! Used by: `main`.

use std::fs;
use std::path::{Path, PathBuf};

use rally_cred_tests::world::{Ended, World, set_mode};

use crate::sign_in::{sign_in, with_browser};

fn example() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/rally_token.py")
}

/// Runs the example without the packages that this machine may have beside Python's own.
fn python(world: &World, arguments: &[&str]) -> Ended {
    let example = example().display().to_string();
    world.run("python3", &[&["-I", "-S", &example], arguments].concat(), "")
}

#[test]
fn fewer_than_fifty_lines_of_python_speak_the_socket_protocol() {
    assert!(fs::read_to_string(example()).unwrap().lines().count() < 50);
    let (sandbox, mut world) = with_browser();

    let absent = python(&world, &[]).refused(1).told("rally-cred daemon start");
    assert!(!absent.stderr.contains("Traceback"), "{absent:?}");

    let _daemon = world.start_daemon();
    python(&world, &[]).refused(1).told("rally-cred login");

    sign_in(&world, &sandbox);
    let token = world.client(&["get", "--format", "token"], "").stdout;
    for arguments in [&[][..], &["default"]] {
        let got = python(&world, arguments);
        assert_eq!((got.code, &got.stdout, got.stderr.as_str()), (Some(0), &token, ""), "{arguments:?}");
    }
    python(&world, &["unknown"]).refused(1);

    // The other places where the socket may be.
    world.set("RALLY_CRED_SOCKET", world.socket().display()).unset("XDG_RUNTIME_DIR");
    assert_eq!(python(&world, &[]).stdout, token);

    let folder = world.path("run/rally-cred");
    set_mode(&folder, 0o755);
    python(&world, &[]).refused(1).told("not safe");
    set_mode(&folder, 0o700);
}

#[test]
fn python_finds_a_daemon_without_a_runtime_folder() {
    let (sandbox, mut world) = with_browser();
    world.unset("XDG_RUNTIME_DIR");
    let _daemon = world.start_daemon();
    sign_in(&world, &sandbox);
    let token = world.client(&["get", "--format", "token"], "").stdout;
    let got = python(&world, &[]);
    assert_eq!((got.code, got.stdout), (Some(0), token), "{}", got.stderr);
}
