//! git's own tests of credential helpers, unchanged, with the daemon as a store for every server in a real keyring.
//! Does not: get or build git (`tests/git-suite` does).
//! Used by: `main`.

use std::fs;
use std::path::{Path, PathBuf};

use rally_cred_tests::keyring::KeyringSession;
use rally_cred_tests::world::{Ended, World};

/// For a function of git's test library that no test of git runs for helpers from outside.
const AUTHTYPE: &str = r#"#!/bin/sh
test_description='credentials that are no passwords'
. ./test-lib.sh
. "$TEST_DIRECTORY"/lib-credential.sh
helper_test_clean rally
helper_test_authtype rally
helper_test_clean rally
test_done
"#;

fn tests_of_git() -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/git-suite/git/t");
    assert!(folder.join("test-lib.sh").exists(), "run tests/git-suite --prepare first");
    folder
}

/// Runs a script of git's test suite, with its working folder in the world's own.
fn run(script: &str, variables: &[(&str, &str)]) -> Ended {
    let keyring = KeyringSession::start();
    let mut world = World::new();
    world.join(&keyring);
    world.configure("keyring = \"os\"\n[static]\nhosts = [\"*\"]\n");
    world.set("GIT_TEST_CREDENTIAL_HELPER", "rally").set("TEST_NO_MALLOC_CHECK", "1");
    for (name, value) in variables {
        world.set(name, value);
    }
    let _daemon = world.start_daemon();
    let root = format!("--root={}", world.path("trash").display());
    let line = format!("cd '{}' && exec sh '{script}' '{root}' --verbose-log", tests_of_git().display());
    // The log goes beside the trash, and not into the shared tree.
    world.set("TEST_OUTPUT_DIRECTORY", world.path("").display());
    world.run("sh", &["-c", &line], "")
}

fn check(ended: &Ended, passed: usize) {
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.stdout.contains(&format!("# passed all {passed} test(s)")), "{}", ended.stdout);
}

#[test]
fn gits_tests_for_external_helpers_pass() {
    check(&run("./t0303-credential-external.sh", &[]), 21);
}

#[test]
fn gits_tests_for_external_helpers_pass_with_headers_longer_than_a_line_may_be() {
    check(&run("./t0303-credential-external.sh", &[("GIT_TEST_LONG_CRED_BUFFER", "65536")]), 21);
}

#[test]
fn gits_tests_of_authentication_schemes_pass() {
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("t0399-authtype.sh");
    fs::write(&script, AUTHTYPE).unwrap();
    check(&run(script.to_str().unwrap(), &[]), 7);
}
