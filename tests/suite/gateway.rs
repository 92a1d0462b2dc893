//! Programs that read their key once, behind a gateway: what they get when their token ends, the daemon is killed, or nobody
//! is signed in; and gateways of the config file.
//! Does not: test what a gateway does with a request; its own crate does.
//! Used by: `main`.

mod faults;
mod reports;

use std::fs;

use rally_cred_tests::{
    sandbox::{Endpoint, Fault, Sandbox},
    world::{self, Running, World},
};
use serde_json::Value;

use crate::{
    sign_in::{sign_in, signed_in, signed_in_with_keyring, with_daemon},
    tools::Stage,
};

/// Asks for the user once for each line that it reads, with the key and the server that it had at its start, and prints
/// the status. While nobody listens, it asks again.
const TOOL: &str = r#"
while read -r line; do
    until status=$(curl --silent --output body --write-out '%{http_code}' --header "ZSESSIONID: $RALLY_API_KEY" \
        "$SERVER/slm/webservice/v2.0/user"); do :; done
    echo "$status"
done"#;

/// A gateway on plain HTTP, whose address its program has in `SERVER`.
const BY_HTTP: [&str; 5] = ["gateway", "--via", "http", "--set", "SERVER=base-url"];

/// A tool that reads its server from `SERVER`, started by these words.
fn start(world: &World, words: &[&str]) -> Running {
    world.start("rally-cred", &[words, &["--", "sh", "-c", TOOL]].concat())
}

fn status(tool: &mut Running) -> String {
    tool.write("ask\n");
    tool.next_line_of_stdout().unwrap()
}

/// Holds that Rally has seen no key but tokens of its own.
pub(crate) fn check_that_rally_saw_tokens_only(sandbox: &Sandbox) {
    let log = sandbox.log();
    let sent: Vec<_> = log.iter().filter_map(|entry| entry.header("zsessionid")).collect();
    assert!(!sent.is_empty() && sent.iter().all(|key| key.len() != 44), "{sent:?}");
}

pub(crate) fn shown(world: &World, name: &str) -> Value {
    world.client(&["gateway", "show", name, "--json"], "").succeeded().json()
}

/// The status of one request to a gateway, as curl prints it; 000 where nobody listens.
pub(crate) fn ask_once(world: &World, server: &str, key: &str) -> String {
    let header = format!("ZSESSIONID: {key}");
    let url = format!("{server}/slm/webservice/v2.0/user");
    let body = ["--silent", "--output", "body", "--write-out", "%{http_code}", "--header"];
    world.run("curl", &[&body[..], &[&header, &url]].concat(), "").stdout
}

fn port_of(shown: &Value) -> String {
    format!("http://127.0.0.1:{}", shown["port"])
}

#[test]
fn a_tool_that_reads_its_key_once_outlives_its_token_behind_a_gateway_and_not_with_exec() {
    let (sandbox, mut world, _daemon) = signed_in();
    world.set("SERVER", sandbox.base_url());
    let mut alone = start(&world, &["exec"]);
    let mut behind = start(&world, &BY_HTTP);
    assert_eq!((status(&mut alone), status(&mut behind)), ("200".to_owned(), "200".to_owned()));
    for _ in 0..3 {
        sandbox.expire_tokens();
        assert_eq!((status(&mut alone), status(&mut behind)), ("401".to_owned(), "200".to_owned()));
    }
    check_that_rally_saw_tokens_only(&sandbox);
}

#[test]
fn https_on_loopback_and_a_proxy_serve_tools_whose_token_ends_too() {
    let mut stage = Stage::new();
    stage.world.set("SERVER", stage.sandbox.base_url());
    let https = ["gateway", "--via", "https", "--set", "SERVER=base-url"];
    for words in [&https[..], &["gateway"]] {
        let mut tool = start(&stage.world, words);
        assert_eq!(status(&mut tool), "200");
        stage.sandbox.expire_tokens();
        assert_eq!(status(&mut tool), "200");
        tool.end().succeeded();
    }
    check_that_rally_saw_tokens_only(&stage.sandbox);
    let left = fs::read_dir(stage.world.path("run/rally-cred")).unwrap();
    let left: Vec<_> = left.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(left.iter().filter(|name| name.ends_with(".pem")).count(), 0, "{left:?}");
}

/// Asks for the user twelve times at once, and says when all are answered.
const TWELVE: &str = r#"
for _ in 1 2 3 4 5 6 7 8 9 10 11 12; do
    curl --silent --output /dev/null --header "ZSESSIONID: $RALLY_API_KEY" "$SERVER/slm/webservice/v2.0/user" &
done
wait
echo done"#;

#[test]
fn tools_of_one_user_have_twelve_requests_at_once_between_them() {
    let (sandbox, mut world, _daemon) = signed_in();
    world.set("SERVER", sandbox.base_url());
    sandbox.fault(Endpoint::User, Fault::Hang, None);
    let before = sandbox.counters().user_lookups;
    let mut busy = world.start("rally-cred", &[&BY_HTTP[..], &["--", "sh", "-c", TWELVE]].concat());
    sandbox.until(|counters| counters.user_lookups == before + 12).unwrap();
    let mut other = start(&world, &BY_HTTP);
    other.write("ask\n");
    let waits = || world.client(&["gateway", "list"], "").stdout.contains("waiting  1 requests");
    while sandbox.counters().user_lookups == before + 12 && !waits() {}
    assert_eq!(sandbox.counters().user_lookups, before + 12);
    sandbox.clear_faults();
    assert_eq!(busy.next_line_of_stdout().as_deref(), Some("done"));
    assert_eq!(other.next_line_of_stdout().as_deref(), Some("200"));
}

#[test]
fn a_program_without_a_gateway_has_its_share_of_the_turns_while_it_runs() {
    let (sandbox, mut world, _daemon) = signed_in();
    world.set("SERVER", sandbox.base_url());
    let share = ["exec", "--requests", "10", "--", "sh", "-c", "echo started; read -r line; exit 7"];
    let mut alone = world.start("rally-cred", &share);
    assert_eq!(alone.next_line_of_stdout().as_deref(), Some("started"));
    assert!(world.client(&["status"], "").stdout.contains("turns    10 of Rally's 12 are held by programs"));
    world
        .client(&["exec", "--requests", "2", "--", "true"], "")
        .told("Rally serves 12 of a user, and 1 of them are free");

    sandbox.fault(Endpoint::User, Fault::Hang, None);
    let before = sandbox.counters().user_lookups;
    let mut behind = world.start("rally-cred", &[&BY_HTTP[..], &["--", "sh", "-c", TWELVE]].concat());
    sandbox.until(|counters| counters.user_lookups == before + 2).unwrap();
    while !world.client(&["gateway", "list"], "").stdout.contains("waiting  10 requests") {}
    assert_eq!(sandbox.counters().user_lookups, before + 2);
    alone.write("go\n");
    assert_eq!(alone.wait().code(), Some(7));
    sandbox.until(|counters| counters.user_lookups == before + 12).unwrap();
    sandbox.clear_faults();
    assert_eq!(behind.next_line_of_stdout().as_deref(), Some("done"));
}

#[test]
fn a_script_in_python_with_rallys_address_in_its_code_outlives_its_token() {
    let stage = Stage::new();
    let script = format!(
        "import os, sys, urllib.request\n\
         for line in sys.stdin:\n    \
         request = urllib.request.Request('{}/slm/webservice/v2.0/user', \
         headers={{'ZSESSIONID': os.environ['RALLY_API_KEY']}})\n    \
         print(urllib.request.urlopen(request).status, flush=True)\n",
        stage.sandbox.base_url()
    );
    let mut tool = stage.world.start("rally-cred", &["gateway", "--", "python3", "-c", &script]);
    assert_eq!(status(&mut tool), "200");
    stage.sandbox.expire_tokens();
    assert_eq!(status(&mut tool), "200");
}

#[test]
fn a_tool_goes_on_after_its_daemon_was_killed() {
    let (sandbox, world, _keyring, mut daemon) = signed_in_with_keyring();
    let mut tool = start(&world, &BY_HTTP);
    assert_eq!(status(&mut tool), "200");
    daemon.kill();
    assert_eq!(status(&mut tool), "200");
    sandbox.expire_tokens();
    assert_eq!(status(&mut tool), "200");
}

#[test]
fn a_further_server_of_the_profile_gets_the_live_token_through_the_proxy_in_its_own_header() {
    // What the further server answers with a token that is not its own, every server may: 401.
    let further = world::sandbox_with(|options| options.tls = true);
    let mut stage = Stage::new();
    let authorities = [stage.sandbox.ca_pem().unwrap(), further.ca_pem().unwrap()].concat();
    fs::write(stage.world.path("ca.pem"), authorities).unwrap();
    let config = stage.world.config();
    let origin = further.base_url();
    let also =
        format!("[[profile.default.also]]\norigin = \"{origin}\"\nheader = \"Authorization: Bearer\"\n");
    stage.world.reconfigure(&format!("{config}{also}"));
    stage.world.set("SERVER", origin);
    stage.world.set("NO_PROXY", "127.0.0.1,localhost");
    let mut tool = start(&stage.world, &["gateway"]);
    let seen = || {
        further
            .log()
            .iter()
            .filter_map(|entry| entry.header("authorization").map(str::to_owned))
            .collect::<Vec<_>>()
    };
    let first = stage.world.token();
    assert_eq!(status(&mut tool), "401");
    assert_eq!(seen(), [format!("Bearer {first}")]);
    stage.sandbox.expire_tokens();
    assert_eq!(status(&mut tool), "401");
    let second = stage.world.token();
    assert_ne!(first, second);
    assert_eq!(seen()[1..], [format!("Bearer {first}"), format!("Bearer {second}")]);
    assert!(further.log().iter().all(|entry| entry.header("zsessionid").is_none()));
    let shown = stage.world.client(&["gateway", "list"], "").succeeded().stdout;
    assert!(shown.contains("1 renewals"), "{shown}");
}

#[test]
fn a_key_dies_with_its_program() {
    let (_sandbox, world, _daemon) = signed_in();
    let script = "echo \"$SERVER $RALLY_API_KEY\"; read -r line || :";
    let mut tool = world.start("rally-cred", &[&BY_HTTP[..], &["--", "sh", "-c", script]].concat());
    let line = tool.next_line_of_stdout().unwrap();
    let (server, key) = line.split_once(' ').unwrap();
    assert_eq!(ask_once(&world, server, key), "200");
    assert_eq!(ask_once(&world, server, "_another"), "401");
    tool.end().succeeded();
    // The daemon hears of the end a moment later.
    while ask_once(&world, server, key) != "000" {}
}

#[test]
fn a_revoked_key_is_refused_and_its_program_is_told() {
    let (_sandbox, world, _daemon) = signed_in();
    let mut tool = world.start("rally-cred", &["gateway", "--", "sh", "-c", "echo; read -r line"]);
    tool.next_line_of_stdout();
    let listed = world.client(&["gateway", "list"], "").succeeded().stdout;
    let name = listed.split_whitespace().nth(1).unwrap().to_owned();
    assert!(name.starts_with("sh-"), "{listed}");
    world.client(&["gateway", "revoke", &name], "").succeeded();
    assert!(tool.next_line_of_stderr().unwrap().contains("the gateway was revoked"));
    assert_eq!(world.client(&["gateway", "list"], "").succeeded().stdout, "no gateway is open\n");
}

#[test]
fn signals_go_to_the_program_and_its_exit_code_is_the_commands() {
    let (_sandbox, world, _daemon) = signed_in();
    let gateway = |script| ["gateway", "--", "sh", "-c", script];
    let mut tool = world.start("rally-cred", &gateway("trap 'echo caught; exit 7' TERM; echo; read -r line"));
    tool.next_line_of_stdout();
    tool.signal("TERM");
    assert_eq!(tool.next_line_of_stdout().as_deref(), Some("caught"));
    assert_eq!(tool.wait().code(), Some(7));
    assert_eq!(world.client(&gateway("exit 99"), "").code, Some(99));
    assert_eq!(world.client(&gateway("kill -TERM $$"), "").code, Some(143));
    world.client(&["gateway", "--", "no-such-program"], "").ended_with(127);
}

#[test]
fn without_a_sign_in_a_tool_is_told_what_to_do_in_rallys_own_shape() {
    let (_sandbox, world, _daemon) = with_daemon(&[]);
    let words = ["gateway", "--via", "http", "--wait", "1s", "--set", "SERVER=base-url"];
    let mut tool = start(&world, &words);
    assert_ne!(status(&mut tool), "200");
    let body: Value = serde_json::from_slice(&fs::read(world.path("body")).unwrap()).unwrap();
    let error = body["OperationResult"]["Errors"][0].as_str().unwrap();
    assert!(error.contains("sign-in") && error.contains("rally-cred login"), "{error}");
}

#[test]
fn a_sign_out_ends_what_a_tool_that_was_just_served_may_send() {
    let (sandbox, world, _daemon) = signed_in();
    let words = ["gateway", "--via", "http", "--wait", "1s", "--set", "SERVER=base-url"];
    let mut tool = start(&world, &words);
    assert_eq!(status(&mut tool), "200");
    world.client(&["logout"], "").succeeded();
    let before = sandbox.log().len();
    assert_ne!(status(&mut tool), "200");
    assert_eq!(sandbox.log().len(), before, "Rally was asked with a token of before");
}

#[test]
fn a_tool_that_was_started_before_the_sign_in_is_served_after_it() {
    let (sandbox, world, _daemon) = with_daemon(&[]);
    let mut tool = start(&world, &["gateway", "--via", "http", "--wait", "1h", "--set", "SERVER=base-url"]);
    tool.write("ask\n");
    sign_in(&world, &sandbox);
    assert_eq!(tool.next_line_of_stdout().as_deref(), Some("200"));
}

#[test]
fn a_gateway_of_the_config_file_has_the_same_port_and_key_after_a_restart_and_goes_with_its_entry() {
    let (sandbox, world, _keyring, daemon) = signed_in_with_keyring();
    world.reconfigure(&format!("{}[gateway.mcp]\nmode = \"http\"\n", world::profile_for(&sandbox)));
    let before = shown(&world, "mcp");
    // From 32768 up, a connection of another program could take it while no daemon runs.
    assert!(before["port"].as_u64() < Some(32768), "{before}");
    let key = before["key"].as_str().unwrap();
    assert_eq!(ask_once(&world, &port_of(&before), key), "200");
    // The keyring is to have it before the daemon is killed.
    while !world.client(&["gateway", "list"], "").stdout.contains("the same after a restart") {}
    drop(daemon);
    let _daemon = world.start_daemon();
    let after = shown(&world, "mcp");
    assert_eq!((&after["port"], &after["key"]), (&before["port"], &before["key"]));
    assert_eq!(ask_once(&world, &port_of(&before), key), "200");
    world.client(&["gateway", "revoke", "mcp"], "").succeeded();
    let revoked = shown(&world, "mcp");
    assert_eq!((revoked["port"] == before["port"], revoked["key"] == before["key"]), (true, false));
    assert_eq!(ask_once(&world, &port_of(&before), key), "401");
    world.reconfigure(&world::profile_for(&sandbox));
    assert_eq!(ask_once(&world, &port_of(&before), key), "000");
}

#[test]
fn a_gateway_that_is_closed_and_opened_at_once_finds_its_port_free() {
    let (sandbox, world, _daemon) = signed_in();
    world.reconfigure(&format!("{}[gateway.mcp]\n", world::profile_for(&sandbox)));
    let first = shown(&world, "mcp");
    for _ in 0..30 {
        world.client(&["gateway", "revoke", "mcp"], "").succeeded();
        assert_eq!(shown(&world, "mcp")["port"], first["port"]);
    }
}

#[test]
fn a_taken_port_is_one_clear_fault() {
    let (sandbox, world, _daemon) = signed_in();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    world.reconfigure(&format!("{}[gateway.mcp]\nport = {port}\n", world::profile_for(&sandbox)));
    world.client(&["gateway", "show", "mcp"], "").told(format!("port {port} of gateway mcp is taken"));
    assert!(world.client(&["status"], "").stdout.contains("is taken"));
}
