//! rally-node, Rally's toolkit for Node: it reads `RALLY_API_KEY`; a server other than Rally's own is an option.
//! Does not: test rally-node itself.
//! Used by: the suite.

use rally_cred_tests::toolkits::file;
use rally_cred_tests::world::Ended;

use super::{Stage, check_failed, check_worked};

const OUTPUT: &str = "\
stories US1, US5, US9, US13, US17, US21, US25
defect DE5 made by rally-node Fixed Example Project
left 0
";

fn run(stage: &Stage) -> Ended {
    let script = file("tests/tools/with_rally_node.js");
    stage.run(&["--for", "rally-node", "--set", "RALLY_SERVER=base-url"], &["node", &script])
}

#[test]
fn rally_node_lists_stories_and_makes_changes_and_deletes_a_defect() {
    let stage = Stage::new();
    check_worked(&run(&stage), OUTPUT);
    stage.check_requests(&stage.world.token(), 8);
}

#[test]
fn rally_node_with_a_token_that_does_not_work_says_401_and_works_after_an_erase() {
    let stage = Stage::new();
    let token = stage.spoil_token();
    check_failed(&run(&stage), 1, "/hierarchicalrequirement: 401!", &token);
    stage.world.reject(stage.sandbox.base_url(), &token);
    check_worked(&run(&stage), OUTPUT);
    assert_eq!(stage.sandbox.counters().refreshes(), 1);
}

#[test]
fn rally_node_behind_a_gateway_does_all_that_it_does_with_a_token_though_that_has_ended() {
    let stage = Stage::new();
    stage.sandbox.expire_tokens();
    let words = ["gateway", "--tool", "rally-node", "--set", "RALLY_SERVER=base-url", "--", "node"];
    let script = file("tests/tools/with_rally_node.js");
    let ended = stage.world.client(&[&words[..], &[&script]].concat(), "");
    // Node warns that the sandbox has an address for a name.
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(0), OUTPUT), "{ended:?}");
    assert_eq!(stage.sandbox.counters().refreshes(), 1);
}
