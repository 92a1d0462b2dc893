//! Servers beside Rally's own that a profile names: the real git and the real curl get in with the token, and no other
//! server gets it.
//! Does not: try what the daemon decides (`broker_tests::further_servers` does) or every format (`get::tests`).
//! Used by: `main`.

use rally_cred_tests::{
    git_server::GitServer,
    sandbox::Sandbox,
    world::{self, Running, World},
};

use crate::sign_in::{sign_in, world_with_browser};

/// A server that nobody gets into yet, and a signed-in world whose profile names it.
fn with_server() -> (GitServer, Sandbox, World, Running) {
    let (server, sandbox) = (GitServer::start("nobody"), world::sandbox());
    let mut world = world_with_browser(&sandbox);
    world.set("GIT_TERMINAL_PROMPT", "0");
    let also = format!(
        "[[profile.default.also]]\norigin = \"{}\"\nheader = \"Authorization: Bearer\"\n",
        server.origin()
    );
    world.configure(&format!("{}{also}", world::profile_for(&sandbox)));
    let daemon = world.start_daemon();
    sign_in(&world, &sandbox);
    (server, sandbox, world, daemon)
}

/// Clones from a server, by a helper that is asked for every server.
fn clone(world: &World, server: &GitServer, to: &str) -> Option<i32> {
    let url = format!("{}/tools.git", server.origin());
    world.run("git", &["-c", "credential.helper=rally", "clone", "--quiet", &url, to], "").code
}

#[test]
fn git_clones_from_it_with_the_token_behind_the_scheme_and_a_refusal_does_not_cost_the_token() {
    let (server, sandbox, world, _daemon) = with_server();
    let token = world.token();
    // git's own helper protocol has schemes since 2.46; before, it sends a password.
    let knows_schemes =
        world.run("git", &["credential", "capability"], "").stdout.contains("capability authtype");
    assert_ne!(clone(&world, &server, "refused"), Some(0), "the server takes nothing yet");
    if knows_schemes {
        server.change_authorization(&format!("Bearer {token}"));
        assert_eq!(clone(&world, &server, "cloned"), Some(0));
    }
    // git has reported it as bad, and Rally takes it still.
    assert_eq!(world.token(), token);
    assert_eq!(sandbox.counters().refreshes(), 0);
}

#[test]
fn curl_gets_in_with_the_headers_and_another_port_of_the_machine_gets_nothing() {
    let (server, _sandbox, world, _daemon) = with_server();
    let other = GitServer::start("nobody");
    server.change_authorization(&format!("Bearer {}", world.token()));
    let url = format!("{}/tools.git/info/refs?service=git-upload-pack", server.origin());
    let line = format!(
        "echo 'url={url}' | rally-cred get --format header | curl --silent --fail --header @- '{url}' --output refs"
    );
    assert_eq!(world.run("sh", &["-c", &line], "").code, Some(0));
    for format in ["git", "engflow", "token", "header", "headers", "curl", "env"] {
        let got = world.client(&["get", "--format", format], format!("url={}\n\n", other.origin()));
        assert_eq!(got.stdout, "", "{format}: {got:?}");
    }
    assert_ne!(clone(&world, &other, "cloned"), Some(0));
}
