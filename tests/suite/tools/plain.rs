//! Programs that know nothing of Rally: curl by a config on standard input, and Python's requests by the example.
//! Does not: test `--header @-`; `git` does.
//! Used by: the suite.

use rally_cred_tests::toolkits::{file, python};
use rally_cred_tests::world::Ended;

use super::{Stage, check_failed, check_worked};

const STORIES: &str = "\
US1 Sign in once a day
US2 Keep the key out of shell history
US3 Say why access was refused
US4 Renew before the meeting, not in it
US5 Survive a closed laptop lid
US6 Sign in once a day
US7 Keep the key out of shell history
US8 Say why access was refused
US9 Renew before the meeting, not in it
US10 Survive a closed laptop lid
";

fn requests(stage: &Stage) -> Ended {
    let example = file("examples/rally_requests.py");
    stage.run(&["--set", "RALLY_BASE_URL=base-url"], &[&python(), &example])
}

fn curl(stage: &Stage, more: &str) -> Ended {
    let address = format!("{}/slm/webservice/v2.0", stage.sandbox.base_url());
    let line = format!(
        "rally-cred get --format curl </dev/null | curl -K - --silent --show-error --fail {}",
        more.replace("WSAPI", &address)
    );
    stage.world.run("sh", &["-c", &line], "")
}

#[test]
fn the_example_with_requests_lists_stories() {
    let stage = Stage::new();
    check_worked(&requests(&stage), STORIES);
    stage.check_requests(&stage.world.token(), 2);
}

#[test]
fn the_example_with_requests_says_401_and_works_after_an_erase() {
    let stage = Stage::new();
    let token = stage.spoil_token();
    check_failed(&requests(&stage), 1, "401 Client Error", &token);
    stage.world.reject(stage.sandbox.base_url(), &token);
    check_worked(&requests(&stage), STORIES);
    assert_eq!(stage.sandbox.counters().refreshes(), 1);
}

#[test]
fn curl_takes_a_config_from_standard_input_and_reads_and_writes() {
    let stage = Stage::new();
    let listed = curl(&stage, "'WSAPI/defect?fetch=FormattedID'");
    assert_eq!((listed.code, listed.stderr.as_str()), (Some(0), ""));
    let answer = listed.json();
    assert_eq!(answer["QueryResult"]["TotalResultCount"], 4);

    let made = curl(&stage, r#"--json '{"Defect":{"Name":"made by curl"}}' WSAPI/defect/create"#);
    let answer = made.json();
    assert_eq!(answer["CreateResult"]["Object"]["FormattedID"], "DE5", "{answer}");
    stage.check_requests(&stage.world.token(), 3);
}

#[test]
fn curl_says_401_and_works_after_an_erase() {
    let stage = Stage::new();
    let token = stage.spoil_token();
    check_failed(&curl(&stage, "WSAPI/defect"), 22, "401", &token);
    stage.world.reject(stage.sandbox.base_url(), &token);
    curl(&stage, "WSAPI/defect").succeeded();
    assert_eq!(stage.sandbox.counters().refreshes(), 1);
}
