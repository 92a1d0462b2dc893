//! An MCP server by the official SDK: it reads `RALLY_INSTANCE` and `RALLY_API_KEY` once, when it starts.
//! Does not: test the SDK.
//! Used by: the suite.

use std::fs;

use rally_cred_tests::toolkits::{file, python};
use rally_cred_tests::world::Running;
use serde_json::json;

use super::Stage;
use crate::sign_in::sign_in;

const PROJECTS: &str = "Example Project, Second Project";

/// A host whose MCP server is started by `rally-cred` with these words.
fn start(stage: &Stage, words: &[&str]) -> Running {
    let (python, server) = (python(), file("tests/tools/mcp_server.py"));
    let args = [words, &["--", &python, &server]].concat();
    let servers = json!({ "mcpServers": { "rally": { "command": "rally-cred", "args": args } } });
    fs::write(stage.world.path("mcp.json"), servers.to_string()).unwrap();
    stage.world.start(&python, &[&file("tests/tools/with_mcp.py"), "mcp.json"])
}

fn call(host: &mut Running) -> String {
    host.write("project_names\n");
    host.next_line_of_stdout().unwrap()
}

#[test]
fn an_mcp_server_that_exec_started_dies_with_its_token() {
    let stage = Stage::new();
    let mut host = start(&stage, &["exec", "--for", "mcp"]);
    assert_eq!(call(&mut host), PROJECTS);
    stage.sandbox.expire_tokens();
    assert_eq!(call(&mut host), "Error executing tool project_names");
}

#[test]
fn an_mcp_server_behind_a_gateway_outlives_its_token_its_daemon_and_a_sign_in() {
    let mut stage = Stage::new();
    let mut host = start(&stage, &["gateway", "--tool", "mcp"]);
    assert_eq!(call(&mut host), PROJECTS);
    for _ in 0..3 {
        stage.sandbox.expire_tokens();
        assert_eq!(call(&mut host), PROJECTS);
    }
    stage.restart_daemon();
    // Without a keyring the new daemon has no token.
    sign_in(&stage.world, &stage.sandbox);
    assert_eq!(call(&mut host), PROJECTS);
    // Killed, it would leave the gateway's command behind, which would start a daemon for it.
    host.end().succeeded();
}
