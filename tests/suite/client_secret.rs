//! Client secrets that come from a command or a file, on real processes.
//! Does not: look at the secret in the keyring or typed by hand (`sign_in` does).
//! Used by: `main`.

use std::fs;

use rally_cred_tests::world;

use crate::sign_in::{with_browser_at, world_with_browser};

const SECRET: &str = "canary-client-secret";

#[test]
fn a_command_gives_the_secret_to_login_and_to_renewals_and_nobody_else_sees_it() {
    let sandbox = world::sandbox_with(|options| {
        options.client_secret = SECRET.to_owned();
        options.token_life = 1;
    });
    let mut world = world_with_browser(&sandbox);
    let _keyring = world.with_keyring();
    fs::write(world.path("secret"), format!("{SECRET}\n")).unwrap();
    let path = world.path("secret");
    let of = |command: &str| format!("{}client_secret_command = {command}\n", world::profile_for(&sandbox));
    world.configure(&of(&format!("[\"cat\", \"{}\"]", path.display())));
    world.set("RALLY_CRED_LOG", "trace");
    let mut daemon = world.start_daemon();
    let login = world.client(&["login"], "").succeeded();
    daemon.kill();
    // A new daemon has only the keyring and the command, and a token that has ended or is about to.
    let _daemon = world.start_daemon();
    let renewed = loop {
        let renewed = world.client(&["get", "--format", "token"], "").succeeded();
        if sandbox.counters().refreshes() > 0 {
            break renewed;
        }
    };
    let items = world.run("secret-tool", &["search", "--all", "service", "rally-cred"], "");
    let items = items.stdout + &items.stderr;
    assert!(items.contains("token:default") && !items.contains("client-secret"), "{items}");
    assert!(!format!("{login:?}{renewed:?}{}", world.log()).contains(SECRET));

    // One that fails is named, without its words.
    world.reconfigure(&of("[\"sh\", \"-c\", \"echo canary-word; exit 3\"]"));
    let login =
        world.client(&["login", "--force"], "").ended_with(1).told("why: sh ended with exit status: 3");
    assert!(!format!("{login:?}{}", world.log()).contains("canary"));
}

#[test]
fn a_file_gives_the_secret_to_a_daemon_that_a_client_starts_on_a_machine_without_keyring() {
    let (_sandbox, mut world) = with_browser_at(|options| options.client_secret = SECRET.to_owned());
    let path = world.path("secret");
    fs::write(&path, SECRET).unwrap();
    world.set("RALLY_CRED_CLIENT_SECRET_FILE", path.display());
    let login = world.client(&["login"], "").succeeded().told("no keyring answers");
    assert!(!format!("{login:?}{}", world.log()).contains(SECRET));

    world::set_mode(&path, 0o666);
    world.client(&["daemon", "restart"], "").succeeded();
    world.client(&["login"], "").ended_with(1).told("others may write to it");
}
