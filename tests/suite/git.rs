//! The real git and the real curl, served by the real programs.
//! Does not: try attributes at random (`git_attributes` does).
//! Used by: `main`.

use rally_cred_tests::world::{Ended, World};

use crate::sign_in::{opened, question, sign_in, signed_in, value, with_daemon};

/// Sets git up as the README says.
fn configure_git(world: &World, base_url: &str) {
    let key = format!("credential.{base_url}.helper");
    for arguments in [["config", "--global", &key, "rally"], ["config", "--global", "user.name", "x"]] {
        world.run("git", &arguments, "").succeeded();
    }
}

#[test]
fn git_credential_fill_approve_and_reject_work_through_the_helper() {
    let (sandbox, world, _daemon) = with_daemon(&[("GIT_TERMINAL_PROMPT", "0")]);
    configure_git(&world, sandbox.base_url());
    sign_in(&world, &sandbox);
    let question = question(&sandbox);

    let filled = world.run("git", &["credential", "fill"], &question).succeeded();
    let token = value(&filled.stdout, "password").unwrap().to_owned();
    assert_eq!(value(&filled.stdout, "username"), Some(sandbox.options().user.user_name.as_str()));

    let approved = world.run("git", &["credential", "approve"], &filled.stdout);
    assert_eq!(approved, Ended::in_silence());

    // A program that may only read is told 401 too, so a token that Rally still takes is kept.
    let rejected = world.run("git", &["credential", "reject"], &filled.stdout);
    assert_eq!(rejected, Ended::in_silence());
    let kept = world.run("git", &["credential", "fill"], &question);
    assert_eq!(value(&kept.stdout, "password"), Some(token.as_str()));

    // A 401 makes git reject what it got, and the next fill brings a renewed token.
    assert!(sandbox.revoke(&token));
    let rejected = world.run("git", &["credential", "reject"], &filled.stdout);
    assert_eq!(rejected, Ended::in_silence());
    let again = world.run("git", &["credential", "fill"], &question);
    let renewed = value(&again.stdout, "password").unwrap();
    assert_ne!(renewed, token);
    assert_eq!(sandbox.counters().refreshes(), 1);
}

#[test]
fn git_stops_instead_of_asking_for_a_password_that_cannot_work() {
    let (sandbox, world, _daemon) = with_daemon(&[("CI", "1")]);
    configure_git(&world, sandbox.base_url());
    let filled = world
        .run("git", &["credential", "fill"], question(&sandbox))
        .told("told us to quit")
        .told("rally-cred login");
    assert_ne!(filled.code, Some(0));
}

#[test]
fn git_that_may_not_prompt_opens_no_browser() {
    let (sandbox, mut world, _daemon) = with_daemon(&[]);
    crate::sign_in::store_client_secret(&world, &sandbox);
    configure_git(&world, sandbox.base_url());
    let before = opened(&world).len();
    let fill = |world: &World, flags: &[&str]| {
        let filled = world.run("git", &[flags, &["credential", "fill"]].concat(), question(&sandbox));
        (filled.code, filled.stdout.is_empty(), filled.stderr.contains("told us to quit"))
    };
    let refused = (Some(128), true, true);
    assert_eq!(fill(&world, &["-c", "credential.interactive=false"]), refused);
    assert_eq!(fill(&world, &["-c", "credential.interactive=never"]), refused);
    world.set("GIT_TERMINAL_PROMPT", "0");
    assert_eq!(fill(&world, &[]), refused);
    assert_eq!(opened(&world).len(), before);
    // The same world, with nothing said against it, signs in.
    world.unset("GIT_TERMINAL_PROMPT");
    assert_eq!(fill(&world, &[]), (Some(0), false, false));
    assert_eq!(opened(&world).len(), before + 1);
}

#[test]
fn git_hears_nothing_from_a_helper_that_has_nothing() {
    let (sandbox, world, _daemon) = with_daemon(&[("GIT_ASKPASS", "false"), ("GIT_TERMINAL_PROMPT", "0")]);
    sign_in(&world, &sandbox);
    let other = "protocol=https\nhost=example.com\n\n";
    let with_helper = world.run("git", &["-c", "credential.helper=rally", "credential", "fill"], other);
    let without = world.run("git", &["credential", "fill"], other);
    assert_eq!(with_helper, without);
    for operation in ["get", "store", "erase"] {
        let attributes = format!("username=u\npassword=p\n{other}");
        let ended = world.run("git-credential-rally", &[operation], attributes);
        assert_eq!(ended, Ended::in_silence(), "{operation}");
    }
}

#[test]
fn git_is_told_that_the_token_is_ephemeral_when_it_can_understand_that() {
    let (sandbox, world, _daemon) = with_daemon(&[]);
    configure_git(&world, sandbox.base_url());
    sign_in(&world, &sandbox);
    let question = question(&sandbox);
    let plain = world.client(&["get"], &question).stdout;
    assert_eq!(value(&plain, "ephemeral"), None);
    let announced = format!("capability[]=authtype\ncapability[]=state\n{question}");
    let capable = world.client(&["get"], &announced).stdout;
    assert_eq!(value(&capable, "ephemeral"), Some("1"));
    assert!(capable.starts_with("capability[]=authtype\ncapability[]=state\n"), "{capable}");
    assert_eq!(value(&capable, "state[]"), Some("rally-cred:profile=default"));
    let told = world.client(&["capability"], "").stdout;
    assert_eq!(told, "version 0\ncapability authtype\ncapability state\n");

    // The same through git, which hands on what both ends have announced; before 2.46 it knew no capabilities.
    let knows_authtype =
        world.run("git", &["credential", "capability"], "").stdout.contains("capability authtype");
    for (request, expected) in [(&question, None), (&announced, knows_authtype.then_some("1"))] {
        let filled = world.run("git", &["credential", "fill"], request);
        assert!(value(&filled.stdout, "password").is_some(), "{filled:?}");
        assert_eq!(value(&filled.stdout, "ephemeral"), expected, "{filled:?}");
    }
}

#[test]
fn what_a_server_says_of_itself_is_not_mistaken_for_an_attribute() {
    let (sandbox, world, _daemon) = with_daemon(&[]);
    configure_git(&world, sandbox.base_url());
    sign_in(&world, &sandbox);
    for length in [1000, 1023, 1024, 4095, 4096, 65_000] {
        let header = format!("wwwauth[]=Basic realm=\"{}host=example.com", "a".repeat(length));
        let filled = world.run("git", &["credential", "fill"], format!("{header}\n{}", question(&sandbox)));
        assert!(value(&filled.stdout, "password").is_some(), "{length}: {filled:?}");
    }
}

#[test]
fn operations_that_have_nothing_to_do_take_their_input_and_are_silent() {
    let (_sandbox, world, _daemon) = signed_in();
    for operation in ["store", "approve", "frobnicate", "frobnicate --loudly x"] {
        let line = format!("printf '%0500000d=b\\n' 0 | rally-cred {operation}");
        // A writer that is cut off by the end of its reader says so with its exit code.
        let ended = world.run("bash", &["-o", "pipefail", "-c", &line], "");
        assert_eq!(ended, Ended::in_silence(), "{operation}");
    }
}

#[test]
fn curl_takes_the_header_from_standard_input_and_rally_answers() {
    let (sandbox, world, _daemon) = signed_in();
    let query = format!("{}/slm/webservice/v2.0/hierarchicalrequirement?fetch=Name", sandbox.base_url());
    let line = format!(
        "rally-cred get --format header </dev/null | curl --silent --show-error --fail --header @- '{query}'"
    );
    let ended = world.run("sh", &["-c", &line], "").succeeded();
    let answer = ended.json();
    assert!(answer["QueryResult"]["Errors"].as_array().is_some_and(Vec::is_empty), "{answer}");
}
