//! Static credentials through real programs: git clones and pushes with a password from the real keyring, and a Rally API
//! key is served as any token is.
//! Does not: try every rule of matching (`git_suite` and `core/static_record.rs` do).
//! Used by: `main`.

use rally_cred_tests::world::{self, Ended, Running, World};
use rally_cred_tests::{git_server::GitServer, keyring::KeyringSession};

use crate::sign_in::{question, value};

/// `me` with the password `right`, as RFC 7617 has it.
const RIGHT: &str = "Basic bWU6cmlnaHQ=";

/// A world with a real keyring whose daemon stores for these servers, and git set up to ask it.
fn world_for(hosts: &str) -> (KeyringSession, World, Running) {
    let keyring = KeyringSession::start();
    let mut world = World::new();
    world.join(&keyring);
    world.configure(&format!("keyring = \"os\"\n[static]\nhosts = [{hosts}]\n"));
    world.set("GIT_TERMINAL_PROMPT", "0");
    for (key, to) in [("credential.helper", "rally"), ("user.name", "x"), ("user.email", "x@example.com")] {
        world.run("git", &["config", "--global", key, to], "").succeeded();
    }
    let daemon = world.start_daemon();
    (keyring, world, daemon)
}

fn about(origin: &str, password: &str) -> String {
    format!("url={origin}\nusername=me\npassword={password}\n\n")
}

fn silent(ended: &Ended) {
    assert_eq!(*ended, Ended::in_silence());
}

#[test]
fn git_clones_and_pushes_with_a_stored_password_and_forgets_it_after_a_401() {
    let server = GitServer::start(RIGHT);
    let (_keyring, world, daemon) = world_for(&format!("\"{}\"", server.origin()));
    let remote = format!("{}/tools.git", server.origin());
    let refused = world.run("git", &["clone", "--quiet", &remote, "early"], "");
    assert_ne!(refused.code, Some(0), "nothing is stored yet");

    silent(&world.run("git", &["credential", "approve"], about(server.origin(), "right")));
    silent(&world.run("git", &["clone", "--quiet", &remote, "one"], ""));
    assert_eq!(std::fs::read_to_string(world.path("one/README")).unwrap(), "served\n");
    let commit = ["-C", "one", "commit", "--quiet", "--allow-empty", "-m", "second"];
    silent(&world.run("git", &commit, ""));
    silent(&world.run("git", &["-C", "one", "push", "--quiet"], ""));

    // Another daemon finds it in the keyring.
    daemon.signal("TERM");
    daemon.end();
    let _daemon = world.start_daemon();
    silent(&world.run("git", &["clone", "--quiet", &remote, "two"], ""));

    server.change_authorization("Basic bWU6bmV3");
    assert_ne!(world.run("git", &["clone", "--quiet", &remote, "three"], "").code, Some(0));
    let filled = world.run("git", &["credential", "fill"], format!("url={}\n\n", server.origin()));
    assert_ne!(filled.code, Some(0), "git erased what the server refused: {filled:?}");
    silent(&world.run("git", &["credential", "approve"], about(server.origin(), "new")));
    silent(&world.run("git", &["clone", "--quiet", &remote, "four"], ""));
}

#[test]
fn fill_approve_and_reject_keep_and_forget_a_password() {
    let (_keyring, world, _daemon) = world_for("\"*\"");
    silent(&world.run("git", &["credential", "approve"], about("https://git.example.com", "p")));
    let filled = world.run("git", &["credential", "fill"], "url=https://git.example.com\n\n");
    assert_eq!(value(&filled.stdout, "password"), Some("p"), "{filled:?}");
    silent(&world.run("git", &["credential", "reject"], about("https://git.example.com", "other")));
    world.run("git", &["credential", "fill"], "url=https://git.example.com\n\n").succeeded();
    silent(&world.run("git", &["credential", "reject"], &filled.stdout));
    assert_ne!(world.run("git", &["credential", "fill"], "url=https://git.example.com\n\n").code, Some(0));
}

#[test]
fn a_rally_api_key_is_served_as_any_token_is() {
    let sandbox = world::sandbox();
    let key = "_fakeApiKeyOfSomebody";
    sandbox.admit(key);
    let (_keyring, world, _daemon) = world_for(&format!("\"{}\"", sandbox.base_url()));
    silent(&world.client(&["store"], about(sandbox.base_url(), key)));
    let header = world.client(&["get", "--format", "header"], question(&sandbox));
    assert_eq!(header.stdout, format!("ZSESSIONID: {key}\n"), "{header:?}");
    let request = format!("{{\"uri\":\"{}/slm/webservice/v2.0/user\"}}", sandbox.base_url());
    let engflow = world.client(&["get"], request);
    assert_eq!(engflow.stdout, format!("{{\"headers\":{{\"ZSESSIONID\":[\"{key}\"]}}}}\n"), "{engflow:?}");
    let line = format!(
        "printf '{}' | rally-cred get --format curl | curl -K - --silent --fail {}/slm/webservice/v2.0/user",
        question(&sandbox).replace('\n', "\\n"),
        sandbox.base_url()
    );
    world.run("sh", &["-c", &line], "").showed("UserName");
    world.client(&["status"], "").showed(format!("stores   {}", sandbox.base_url()));
}

#[test]
fn a_locked_keyring_is_told_and_git_goes_on_to_its_next_helper() {
    let (mut keyring, world, daemon) = world_for("\"*\"");
    silent(&world.run("git", &["credential", "approve"], about("https://git.example.com", "p")));
    daemon.signal("TERM");
    daemon.end();
    keyring.lock();
    let _daemon = world.start_daemon();
    let next = "!echo username=next; echo password=next; :";
    world.run("git", &["config", "--global", "--add", "credential.helper", next], "").succeeded();
    let filled = world
        .run("git", &["credential", "fill"], "url=https://git.example.com\n\n")
        .told("the keyring is locked");
    assert_eq!(value(&filled.stdout, "password"), Some("next"), "{filled:?}");
    world.client(&["store"], about("https://git.example.com", "p2")).ended_with(7);
    keyring.restart_keyring(true);
    let got = world.client(&["get"], "protocol=https\nhost=git.example.com\n");
    assert_eq!(value(&got.stdout, "password"), Some("p"), "it heals by itself: {got:?}");
}
