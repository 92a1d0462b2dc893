//! The commands that run the tests: which programs they test, and what they say of a run that failed.
//! Does not: run them whole.
//! Used by: `main`.

use std::process::{Command, Output};
use std::{collections::BTreeSet, path::Path};

use rally_cred_tests::world::{self, World};

use crate::tidy::root;

#[test]
fn no_program_is_tested_that_is_older_than_its_source() {
    let folder = world::programs();
    let said = world::building().arg("--message-format=json").output().unwrap();
    assert!(said.status.success(), "{said:?}");
    let mut programs = BTreeSet::new();
    for line in said.stdout.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        let artifact: serde_json::Value = serde_json::from_slice(line).unwrap();
        let Some(program) = artifact["executable"].as_str().map(Path::new) else { continue };
        assert_eq!(program.parent(), Some(folder.as_path()));
        assert_eq!(artifact["fresh"], true, "{} was built only now", program.display());
        programs.insert(program.file_name().unwrap().to_string_lossy().into_owned());
    }
    let wanted = ["git-credential-rally", "rally-cred", "rally-cred-commands", "rally-credd"];
    assert!(programs.iter().eq(wanted), "{programs:?}");
}

/// A script that counts as `tests/run` does, and its closing line.
fn counted(steps: &str) -> (Output, String) {
    let script = format!("set -euo pipefail; source tests/count.sh; {steps}");
    closing_line(Command::new("bash").args(["-c", &script]))
}

fn closing_line(script: &mut Command) -> (Output, String) {
    let ended = script.current_dir(root()).output().unwrap();
    let last = String::from_utf8_lossy(&ended.stdout).lines().last().unwrap_or_default().to_owned();
    (ended, last)
}

#[test]
fn a_run_that_failed_never_closes_with_no_failures() {
    let tests =
        |passed, failed| format!("echo 'test result: ok. {passed} passed; {failed} failed; 0 ignored'");
    for (steps, code, last) in [
        (format!("count {}; count {}", tests(3, 0), tests(2, 0)), Some(0), "5 passed, 0 failed"),
        (
            format!("count bash -c \"{}; false\"; count {}", tests(3, 2), tests(2, 0)),
            Some(1),
            "3 passed, 2 failed",
        ),
        (format!("count {}; step false", tests(3, 0)), Some(1), "3 passed, 1 failed"),
        ("count false".to_owned(), Some(1), "0 passed, 1 failed"),
        ("step bash -c \"kill -TERM $$\"".to_owned(), Some(143), "0 passed, 1 failed"),
        ("step bash -c \"kill -INT $$\"".to_owned(), Some(130), "0 passed, 1 failed"),
    ] {
        let (ended, closing) = counted(&steps);
        assert_eq!((ended.status.code(), closing.as_str()), (code, last), "{steps}: {ended:?}");
    }
}

#[test]
fn a_machine_on_which_nothing_is_installed_gets_a_closing_line_too() {
    let world = World::new();
    let folder = world.path("bin");
    std::fs::create_dir(&folder).unwrap();
    for program in ["awk", "bash", "dirname", "mktemp", "rm"] {
        let found = world.run("which", &[program], "").stdout;
        std::os::unix::fs::symlink(found.trim(), folder.join(program)).unwrap();
    }
    let mut run = Command::new("bash");
    let (ended, closing) = closing_line(run.args(["tests/run", "--no-install"]).env("PATH", &folder));
    assert_eq!((ended.status.code(), closing.as_str()), (Some(1), "0 passed, 1 failed"), "{ended:?}");
    assert!(String::from_utf8_lossy(&ended.stderr).contains("install these first: gcc "), "{ended:?}");
}
