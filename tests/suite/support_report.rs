//! The support report of `rally-cred doctor --report`: what is in it, and what never is.
//! Does not: look at the checks themselves (`doctor` does).
//! Used by: `main`.

use std::{fs, os::unix::fs::PermissionsExt};

use rally_cred_tests::world;

use crate::{doctor::healthy, sign_in::with_browser};

#[test]
fn the_report_of_a_daemon_that_systemd_runs_has_its_journal() {
    let (_sandbox, mut world) = with_browser();
    world.stand_in("systemctl", "case $2 in show) ;; is-enabled) echo enabled ;; *) exit 1 ;; esac\n");
    world.stand_in("journalctl", "echo \"the journal, for $*\"\n");
    let path = world.path("report.txt");
    world.client(&["doctor", "--report", path.to_str().unwrap()], "");
    let report = fs::read_to_string(&path).unwrap();
    assert!(report.contains("the journal, for --user --unit=rally-cred.service"), "{report}");
}

#[test]
fn the_report_is_private_new_and_without_what_a_broken_config_file_holds() {
    let (sandbox, mut world, _keyring) = healthy();
    world.set("HTTPS_PROXY", "http://me:canary-proxy@127.0.0.1:1").set("RALLY_API_KEY", "_canary-key");
    world.configure(&format!("{}client_secret = \"canary-secret\"\n", world::profile_for(&sandbox)));
    let path = world.path("report.txt");
    let arguments = ["doctor", "--report", path.to_str().unwrap()];
    world.client(&arguments, "").ended_with(1);
    let report = fs::read_to_string(&path).unwrap();
    for expected in ["FAIL  config", "ok    vault", "HTTPS_PROXY", "\"release\":", "signed in"] {
        assert!(report.contains(expected), "no {expected:?} in {report}");
    }
    assert!(!report.contains("canary"), "{report}");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    world.client(&arguments, "").ended_with(1).told("name a file that does not exist yet");
    assert_eq!(fs::read_to_string(&path).unwrap(), report);
}
