//! The real git and the real curl, served by the real programs.
//! Does not: test static credentials.
//! Met by: `main`.

use rally_cred_tests::world::{self, World};

use crate::sign_in::{question, sign_in, value, world_with_browser};

/// Sets git up as the README says.
fn configure_git(world: &World, base_url: &str) {
    let key = format!("credential.{base_url}.helper");
    for arguments in [["config", "--global", &key, "rally"], ["config", "--global", "user.name", "x"]] {
        assert_eq!(world.run("git", &arguments, "").code, Some(0));
    }
}

#[test]
fn git_credential_fill_approve_and_reject_work_through_the_helper() {
    let sandbox = world::sandbox();
    let mut world = world_with_browser(&sandbox);
    world.set("GIT_TERMINAL_PROMPT", "0");
    let _daemon = world.start_daemon();
    configure_git(&world, sandbox.base_url());
    sign_in(&world, &sandbox);
    let question = question(&sandbox);

    let filled = world.run("git", &["credential", "fill"], &question);
    assert_eq!(filled.code, Some(0), "{filled:?}");
    let token = value(&filled.stdout, "password").unwrap().to_owned();
    assert_eq!(value(&filled.stdout, "username"), Some(sandbox.options().user.user_name.as_str()));

    let approved = world.run("git", &["credential", "approve"], &filled.stdout);
    assert_eq!((approved.code, approved.stdout.as_str(), approved.stderr.as_str()), (Some(0), "", ""));

    // A program that may only read is told 401 too, so a token that Rally still takes is kept.
    let rejected = world.run("git", &["credential", "reject"], &filled.stdout);
    assert_eq!((rejected.code, rejected.stdout.as_str(), rejected.stderr.as_str()), (Some(0), "", ""));
    let kept = world.run("git", &["credential", "fill"], &question);
    assert_eq!(value(&kept.stdout, "password"), Some(token.as_str()));

    // A 401 makes git reject what it got, and the next fill brings a renewed token.
    assert!(sandbox.revoke(&token));
    let rejected = world.run("git", &["credential", "reject"], &filled.stdout);
    assert_eq!((rejected.code, rejected.stdout.as_str(), rejected.stderr.as_str()), (Some(0), "", ""));
    let again = world.run("git", &["credential", "fill"], &question);
    let renewed = value(&again.stdout, "password").unwrap();
    assert_ne!(renewed, token);
    assert_eq!(sandbox.counters().refreshes(), 1);
}

#[test]
fn git_stops_instead_of_asking_for_a_password_that_cannot_work() {
    let sandbox = world::sandbox();
    let mut world = world_with_browser(&sandbox);
    world.set("CI", "1");
    let _daemon = world.start_daemon();
    configure_git(&world, sandbox.base_url());
    let filled = world.run("git", &["credential", "fill"], question(&sandbox));
    assert_ne!(filled.code, Some(0));
    assert!(filled.stderr.contains("told us to quit"), "{filled:?}");
    assert!(filled.stderr.contains("rally-cred login"), "{filled:?}");
}

#[test]
fn git_is_told_that_the_token_is_ephemeral_when_it_can_understand_that() {
    let sandbox = world::sandbox();
    let world = world_with_browser(&sandbox);
    let _daemon = world.start_daemon();
    sign_in(&world, &sandbox);
    let question = question(&sandbox);
    let plain = world.client(&["get"], &question).stdout;
    assert_eq!(value(&plain, "ephemeral"), None);
    let capable = world.client(&["get"], format!("capability[]=authtype\n{question}")).stdout;
    assert_eq!(value(&capable, "ephemeral"), Some("1"));
    assert!(capable.starts_with("capability[]=authtype\n"), "{capable}");
    assert_eq!(world.client(&["capability"], "").stdout, "version 0\ncapability authtype\n");
    for operation in ["store", "approve", "frobnicate"] {
        let ended = world.client(&[operation], &question);
        assert_eq!(
            (ended.code, ended.stdout.as_str(), ended.stderr.as_str()),
            (Some(0), "", ""),
            "{operation}"
        );
    }
}

#[test]
fn curl_takes_the_header_from_standard_input_and_rally_answers() {
    let sandbox = world::sandbox();
    let world = world_with_browser(&sandbox);
    let _daemon = world.start_daemon();
    sign_in(&world, &sandbox);
    let query = format!("{}/slm/webservice/v2.0/hierarchicalrequirement?fetch=Name", sandbox.base_url());
    let line = format!(
        "rally-cred get --format header </dev/null | curl --silent --show-error --fail --header @- '{query}'"
    );
    let ended = world.run("sh", &["-c", &line], "");
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let answer: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
    assert!(answer["QueryResult"]["Errors"].as_array().is_some_and(Vec::is_empty), "{answer}");
}
