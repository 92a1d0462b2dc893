//! What a tool behind a gateway sees when something fails, as the table in docs/troubleshooting.md has it.
//! Does not: have the machine sleep, which the broker's own tests do with virtual time.
//! Used by: `gateway`.

use std::{fs, os::unix::fs::MetadataExt};

use rally_cred_tests::{
    sandbox::{Endpoint, Fault, Sandbox},
    world::{self, Running, World},
};
use serde_json::Value;

use super::{ask_once, port_of, shown};
use crate::{
    sign_in::{sign_in, signed_in, signed_in_with_keyring},
    tools::{Stage, wait_for_gateway},
};

/// Asks for the user once for each line that it reads, and prints the status and curl's exit code.
const TOOL: &str = r#"
while read -r line; do
    status=$(curl --silent --output body --write-out '%{http_code}' --header "ZSESSIONID: $RALLY_API_KEY" \
        "$SERVER/slm/webservice/v2.0/user"); echo "$status $?"
done"#;

/// What it prints where all is well.
const SERVED: &str = "200 0";

/// A tool whose command says what it has to say in the file `told`.
fn start(world: &World, wait: &str) -> Running {
    let words = ["rally-cred", "gateway", "--via", "http", "--wait", wait, "--set", "SERVER=base-url"];
    let program = ["--", "sh", "-c", TOOL];
    let mut tool = world.start("sh", &[&["-c", "exec \"$@\" 2>>told", "sh"], &words[..], &program].concat());
    assert_eq!(ask(&mut tool), SERVED);
    tool
}

fn ask(tool: &mut Running) -> String {
    tool.try_ask("ask").unwrap()
}

/// The one error in the answer, which has Rally's own shape.
fn told(world: &World) -> String {
    let body: Value = serde_json::from_slice(&fs::read(world.path("body")).unwrap()).unwrap();
    body["OperationResult"]["Errors"][0].as_str().unwrap().to_owned()
}

#[test]
fn a_rally_that_is_down_is_told_at_once_and_the_tool_is_served_when_it_is_back() {
    let (sandbox, world, _daemon) = signed_in();
    let mut tool = start(&world, "1h");
    let token = world.token();
    let mut options = sandbox.options();
    options.port = url::Url::parse(sandbox.base_url()).unwrap().port().unwrap();
    drop(sandbox);
    assert_eq!(ask(&mut tool), "502 0");
    assert!(told(&world).starts_with("server cannot be reached: "), "{}", told(&world));
    let sandbox = Sandbox::start(options).unwrap();
    sandbox.admit(&token);
    assert_eq!(ask(&mut tool), SERVED);
}

#[test]
fn a_slow_rally_is_waited_for_as_long_as_the_tool_waits() {
    let (sandbox, world, _daemon) = signed_in();
    let mut tool = start(&world, "1s");
    sandbox.fault(Endpoint::User, Fault::Hang, Some(1));
    let before = sandbox.counters().user_lookups;
    tool.write("ask\n");
    sandbox.until(|counters| counters.user_lookups > before).unwrap();
    sandbox.clear_faults();
    assert_eq!(tool.next_line_of_stdout().as_deref(), Some(SERVED));
}

#[test]
fn an_answer_that_breaks_off_breaks_at_the_tool_by_every_way_and_the_next_request_is_served() {
    let mut stage = Stage::new();
    stage.world.set("SERVER", stage.sandbox.base_url());
    for via in ["http", "https", "connect"] {
        let words = ["gateway", "--via", via, "--set", "SERVER=base-url", "--", "sh", "-c", TOOL];
        let mut tool = stage.world.start("rally-cred", &words);
        assert_eq!(ask(&mut tool), SERVED);
        stage.sandbox.fault(Endpoint::User, Fault::BreaksOff, Some(1));
        // A part of the body, or, where the break overtakes the head, nothing.
        let broken = ask(&mut tool);
        assert!(["200 18", "200 56", "000 52"].contains(&broken.as_str()), "{via}: {broken}");
        let listed = stage.world.client(&["gateway", "list"], "").stdout;
        assert!(listed.contains("Server Broke Off In Its Answer"), "{listed}");
        assert_eq!(ask(&mut tool), SERVED);
        tool.end().succeeded();
    }
}

#[test]
fn a_request_whose_token_cannot_be_renewed_any_more_waits_for_a_person_and_goes_on_after_the_sign_in() {
    let (sandbox, world, _daemon) = signed_in();
    let (mut patient, mut hasty) = (start(&world, "1h"), start(&world, "1s"));
    sandbox.revoke_all();
    patient.write("ask\n");
    // A refusal is believed after a while only.
    while world.get().code != Some(3) {}
    assert_eq!(ask(&mut hasty), "503 0");
    assert!(told(&world).contains("rally-cred login"), "{}", told(&world));
    sign_in(&world, &sandbox);
    assert_eq!(patient.next_line_of_stdout().as_deref(), Some(SERVED));
    assert_eq!(ask(&mut hasty), SERVED);
}

#[test]
fn a_locked_keyring_is_not_noticed_before_the_daemon_starts_anew_and_then_told() {
    let (sandbox, world, mut keyring, mut daemon) = signed_in_with_keyring();
    let mut tool = start(&world, "1s");
    keyring.lock();
    sandbox.expire_tokens();
    assert_eq!(ask(&mut tool), SERVED);
    // What this daemon could not store ends with it.
    keyring.restart_keyring(true);
    sign_in(&world, &sandbox);
    keyring.lock();
    daemon.kill();
    let _daemon = world.start_daemon();
    wait_for_gateway(&world);
    assert_eq!(ask(&mut tool), "503 0");
    assert!(told(&world).contains("the keyring is locked"), "{}", told(&world));
    keyring.restart_keyring(true);
    assert_eq!(ask(&mut tool), SERVED);
}

#[test]
fn a_request_under_way_when_the_daemon_is_killed_breaks_and_the_next_is_served() {
    let (sandbox, world, _keyring, mut daemon) = signed_in_with_keyring();
    let mut tool = start(&world, "1s");
    sandbox.fault(Endpoint::User, Fault::Hang, Some(1));
    let before = sandbox.counters().user_lookups;
    tool.write("ask\n");
    sandbox.until(|counters| counters.user_lookups > before).unwrap();
    daemon.kill();
    let broken = tool.next_line_of_stdout().unwrap();
    // No answer, or a reset connection.
    assert!(["000 52", "000 56"].contains(&broken.as_str()), "{broken}");
    sandbox.clear_faults();
    wait_for_gateway(&world);
    assert_eq!(ask(&mut tool), SERVED);
}

#[test]
fn a_daemon_that_was_told_to_stop_is_not_started_by_a_gateway_and_the_next_client_brings_that_back() {
    let (_sandbox, world, _keyring, _daemon) = signed_in_with_keyring();
    let mut tool = start(&world, "1s");
    world.client(&["daemon", "stop"], "").succeeded();
    let told = || fs::read_to_string(world.path("told")).unwrap_or_default();
    while !told().contains("the daemon was stopped") {
        let listed = world.client(&["gateway", "list"], "");
        assert!(!listed.stdout.contains("127.0.0.1:"), "{listed:?}");
    }
    assert_eq!(ask(&mut tool), "000 7");
    assert!(!world.socket().exists());
    world.token();
    wait_for_gateway(&world);
    assert_eq!(ask(&mut tool), SERVED);
}

#[test]
fn a_connection_of_another_user_is_dropped_before_its_key_is_looked_at() {
    let (sandbox, world, _daemon) = signed_in();
    world.reconfigure(&format!("{}[gateway.mcp]\n", world::profile_for(&sandbox)));
    let gateway = shown(&world, "mcp");
    let (server, key) = (port_of(&gateway), gateway["key"].as_str().unwrap());
    assert_eq!(ask_once(&world, &server, key), "200");
    if fs::metadata("/proc/self").unwrap().uid() != 0 {
        eprintln!("not tried: only root can be another user");
        return;
    }
    // The key is right, and no answer says so, nor would one say that it is wrong.
    for key in [key, "_another"] {
        let header = format!("ZSESSIONID: {key}");
        let nobody =
            ["--reuid=65534", "--regid=65534", "--clear-groups", "curl", "--silent", "--header", &header];
        let url = format!("{server}/slm/webservice/v2.0/user");
        let ended = world.run("setpriv", &[&nobody[..], &["--write-out", "%{http_code}", &url]].concat(), "");
        assert_eq!(ended.stdout, "000", "{ended:?}");
        assert!([Some(52), Some(56)].contains(&ended.code), "{ended:?}");
    }
    let listed = world.client(&["gateway", "list"], "").stdout;
    assert!(listed.contains("Another User Connected"), "{listed}");
    assert_eq!(ask_once(&world, &server, key), "200");
}
