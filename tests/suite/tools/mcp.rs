//! An MCP server by the official SDK: it reads `RALLY_INSTANCE` and `RALLY_API_KEY` once, when it starts.
//! Does not: test the SDK.
//! Used by: the suite.

use rally_cred_tests::world::Running;

use super::{Stage, file, python};

const PROJECTS: &str = "ok Example Project, Second Project";

/// An MCP client whose server is started by `rally-cred` with these words. It calls the server's tool for each line that
/// it reads.
fn start(stage: &Stage, words: &[&str]) -> Running {
    let (python, client, server) =
        (python(), file("tests/tools/with_mcp.py"), file("tests/tools/mcp_server.py"));
    let mut program = stage
        .world
        .start(&python, &[&[client.as_str(), "rally-cred"], words, &["--", &python, &server]].concat());
    assert_eq!(program.next_line_of_stdout().as_deref(), Some("ready"));
    program
}

fn call(program: &mut Running) -> String {
    program.write("\n");
    program.next_line_of_stdout().unwrap()
}

#[test]
fn an_mcp_server_that_exec_started_dies_with_its_token() {
    let stage = Stage::new();
    let mut program = start(&stage, &["exec", "--for", "mcp"]);
    assert_eq!(call(&mut program), PROJECTS);
    stage.sandbox.expire_tokens();
    assert_eq!(call(&mut program), "error Error executing tool project_names");
}
