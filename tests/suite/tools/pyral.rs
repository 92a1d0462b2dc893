//! pyral, Rally's toolkit for Python: it reads `APIKEY` and `RALLY_SERVER` (host and port, always https).
//! Does not: test pyral itself.
//! Used by: the suite.

use rally_cred_tests::toolkits::{file, python};
use rally_cred_tests::world::Ended;

use super::{Stage, check_failed, check_worked};

const OUTPUT: &str = "\
subscription Example Company
projects Example Project, Second Project
stories US1, US5, US9, US13, US17, US21, US25
defect DE5 made by pyral Fixed Example Project
deleted True
";

/// pyral keeps cookies, so it can only be used where Rally hands out none that it refuses afterwards.
fn stage() -> Stage {
    Stage::with(|options| options.session_cookies = false)
}

fn run(stage: &Stage) -> Ended {
    stage.run(&["--for", "pyral"], &[&python(), &file("tests/tools/with_pyral.py")])
}

#[test]
fn pyral_lists_projects_and_stories_and_makes_changes_and_deletes_a_defect() {
    let stage = stage();
    check_worked(&run(&stage), OUTPUT);
    stage.check_requests(&stage.world.token(), 15);
}

#[test]
fn pyral_with_a_token_that_does_not_work_says_invalid_credentials_and_works_after_an_erase() {
    let stage = stage();
    let token = stage.spoil_token();
    check_failed(&run(&stage), 1, "Invalid credentials", &token);
    stage.world.reject(stage.sandbox.base_url(), &token);
    check_worked(&run(&stage), OUTPUT);
    assert_eq!(stage.sandbox.counters().refreshes(), 1);
}

#[test]
fn pyral_that_writes_with_a_read_only_token_fails_and_the_token_is_kept_when_that_is_reported() {
    let stage = stage();
    stage.sandbox.change(|options| options.read_only = true);
    let token = stage.world.token();
    let ended = run(&stage);
    check_failed(&ended, 1, "was not JSON content", &token);
    assert!(ended.stdout.contains("stories US1"), "{ended:?}");
    stage.world.reject(stage.sandbox.base_url(), &token);
    assert_eq!(stage.world.token(), token);
    assert_eq!(stage.sandbox.counters().refreshes(), 0);
}

/// A program that takes its time between two requests.
const SLOW: &str = r#"
from pyral import Rally, rallyWorkset
server, _, _, apikey, _, _ = rallyWorkset([])
rally = Rally(server, apikey=apikey)
print("ready", flush=True)
input()
answer = rally.get("Defect", fetch="Name")
print(bool(answer), answer.status_code)
rally.delete("Defect", 53000001)
"#;

#[test]
fn pyral_that_outlives_its_token_gets_an_untrue_answer_and_when_it_writes_an_error_without_a_401() {
    let stage = stage();
    let mut program = stage.start(&["--for", "pyral"], &[&python(), "-c", SLOW]);
    program.wait_for_text("ready\n");
    let token = stage.spoil_token();
    program.write("\n");
    let ended = program.end();
    check_failed(&ended, 1, "was not JSON content", &token);
    assert_eq!(ended.stdout, "False 401\n");
}

#[test]
fn a_key_in_a_config_file_of_pyral_beats_the_one_in_the_environment() {
    let mut stage = stage();
    let config = stage.world.path("rally-v2.0.cfg");
    std::fs::write(&config, "APIKEY = forgotten-long-ago\n").unwrap();
    let fails_with_a_warning = |stage: &Stage| {
        let ended = run(stage);
        check_failed(&ended, 1, "Invalid credentials", "forgotten-long-ago");
        assert!(ended.stderr.contains("pyral takes APIKEY from"), "{ended:?}");
    };
    fails_with_a_warning(&stage);
    std::fs::rename(&config, stage.world.path("elsewhere.cfg")).unwrap();
    check_worked(&run(&stage), OUTPUT);
    stage.world.set("RALLY_CONFIG", "elsewhere");
    fails_with_a_warning(&stage);
}

/// A program that asks again for each line that it reads, and writes.
const LONG: &str = r#"
import sys
from pyral import Rally, rallyWorkset
server, _, _, apikey, _, _ = rallyWorkset([])
rally = Rally(server, apikey=apikey)
print("ready", flush=True)
for _ in sys.stdin:
    answer = rally.get("Defect", fetch="Name")
    made = rally.create("Defect", {"Name": "made by pyral", "Severity": "Cosmetic"})
    print(bool(answer), answer.status_code, rally.delete("Defect", made.FormattedID), flush=True)
"#;

#[test]
fn pyral_behind_a_gateway_does_all_that_it_does_with_a_token_and_outlives_it() {
    // The cookies that pyral would keep and Rally would refuse do not reach it.
    let stage = Stage::new();
    let (python, script) = (python(), file("tests/tools/with_pyral.py"));
    let words = ["gateway", "--tool", "pyral", "--", &python];
    check_worked(&stage.world.client(&[&words[..], &[&script]].concat(), ""), OUTPUT);
    let mut program = stage.world.start("rally-cred", &[&words[..], &["-c", LONG]].concat());
    program.wait_for_text("ready\n");
    for _ in 0..3 {
        stage.sandbox.expire_tokens();
        program.write("\n");
        assert_eq!(program.next_line_of_stdout().as_deref(), Some("True 200 True"));
    }
    assert_eq!(stage.sandbox.counters().refreshes(), 3);
}
