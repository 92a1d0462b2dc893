//! `get --no-daemon`: an answer from what is stored, by a daemon that nobody else meets and that leaves nothing behind.
//! Does not: run the documents for CI (`ci` does).
//! Used by: `main`.

use std::fs;

use rally_cred_tests::sandbox::Sandbox;
use rally_cred_tests::world::{self, World};

use crate::sign_in::{sign_in, signed_in_with_keyring, with_browser, world_with_browser};

const TOKEN: [&str; 8] =
    ["get", "--no-daemon", "--profile", "default", "--format", "token", "--interactive", "never"];

/// The item of the token in the keyring.
const ITEM: [&str; 4] = ["service", "rally-cred", "username", "token:default"];

/// The sign-in of a person with a keyring, as a file beside one with the client secret.
pub(crate) fn handed_in(sandbox: &Sandbox, world: &mut World) {
    let mut person = world_with_browser(sandbox);
    let keyring = rally_cred_tests::keyring::KeyringSession::start();
    person.join(&keyring);
    let mut daemon = person.start_daemon();
    sign_in(&person, sandbox);
    daemon.stop();
    let record = person.run("secret-tool", &[&["lookup"], &ITEM[..]].concat(), "").succeeded().stdout;
    for (name, text) in [("sign-in", &record), ("client-secret", &sandbox.options().client_secret)] {
        fs::write(world.path(name), format!("{text}\n")).unwrap();
    }
    world.set("RALLY_CRED_SIGN_IN_FILE", world.path("sign-in").display());
    world.set("RALLY_CRED_CLIENT_SECRET_FILE", world.path("client-secret").display());
}

#[test]
fn the_keyring_is_read_once_and_nothing_is_left() {
    let (_sandbox, mut world, _keyring, mut daemon) = signed_in_with_keyring();
    let shared = world.client(&["get", "--profile", "default", "--format", "token"], "").succeeded();
    daemon.stop();
    let folder = world.path("run/rally-cred");
    fs::remove_dir_all(&folder).unwrap();
    let own = world.client(&TOKEN, "");
    assert_eq!((own.code, own.stdout, own.stderr.as_str()), (Some(0), shared.stdout, ""));
    assert!(!folder.exists(), "neither a socket nor a lock");
    // It has ended when the client has.
    world.set("RALLY_CRED_LOG", "info");
    let own = world.client(&TOKEN, "").succeeded();
    assert!(own.stderr.trim_end().ends_with("stopped"), "{own:?}");
}

#[test]
fn a_daemon_that_runs_goes_on_and_keeps_its_gateways() {
    let (sandbox, world, _keyring, _daemon) = signed_in_with_keyring();
    let port = world::free_port();
    world.reconfigure(&format!("{}[gateway.page]\nport = {port}\n", world::profile_for(&sandbox)));
    while world.status()["gateways"][0]["port"].is_null() {}
    let before = world.status();
    let own = world.client(&TOKEN, "");
    assert_eq!((own.code, own.stderr.as_str()), (Some(0), ""), "{own:?}");
    assert_eq!(own.stdout, world.client(&["get", "--profile", "default", "--format", "token"], "").stdout);
    let after = world.status();
    assert_eq!(before["gateways"][0]["port"], port);
    assert!(before["pid"].is_u64());
    assert_eq!(before["pid"], after["pid"]);
    assert_eq!(after["gateways"][0]["port"], port);
}

#[test]
fn a_token_that_it_renews_is_saved_before_the_client_ends() {
    let (sandbox, world, _keyring, mut daemon) = signed_in_with_keyring();
    daemon.stop();
    sandbox.change(|options| options.rotate_refresh = true);
    let lookup = [&["lookup"], &ITEM[..]].concat();
    let record = without_access_token(&world.run("secret-tool", &lookup, "").succeeded().stdout);
    world.run("secret-tool", &[&["store", "--label=x"], &ITEM[..]].concat(), record).succeeded();
    let first = world.client(&TOKEN, "").succeeded().stdout;
    assert_eq!(sandbox.counters().refreshes(), 1);
    // The old refresh token is dead, and the new access token is where the next one finds it.
    let second = world.client(&TOKEN, "").succeeded().stdout;
    assert_eq!((first, sandbox.counters().refreshes()), (second, 1));
}

#[test]
fn a_container_without_keyring_home_and_runtime_folder_is_served_from_files() {
    let (sandbox, mut world) = with_browser();
    world.configure(&format!("keyring = \"memory\"\n{}", world::profile_for(&sandbox)));
    handed_in(&sandbox, &mut world);
    world.set("RALLY_CRED_CONFIG", world.path("config/rally-cred/config.toml").display());
    for name in ["HOME", "XDG_RUNTIME_DIR", "XDG_STATE_HOME", "XDG_CONFIG_HOME", "DBUS_SESSION_BUS_ADDRESS"] {
        world.unset(name);
    }
    let files = world.files();
    let got = world.client(&TOKEN, "");
    assert_eq!((got.code, got.stderr.as_str()), (Some(0), ""), "{got:?}");
    assert!(sandbox.admits(got.stdout.trim(), std::time::Instant::now()), "{got:?}");
    assert_eq!(world.files(), files);
    // A token that has ended is renewed by what the files hold.
    sandbox.revoke(got.stdout.trim());
    let record = fs::read_to_string(world.path("sign-in")).unwrap();
    fs::write(world.path("sign-in"), without_access_token(&record)).unwrap();
    let renewed = world.client(&TOKEN, "").succeeded();
    assert_ne!(renewed.stdout, got.stdout);
    assert_eq!(sandbox.counters().refreshes(), 1);
}

pub(crate) fn without_access_token(record: &str) -> String {
    let mut record: serde_json::Value = serde_json::from_str(record).unwrap();
    record.as_object_mut().unwrap().remove("access_token");
    record.to_string()
}

#[test]
fn what_keeps_it_from_answering_is_told_as_by_a_daemon_that_runs() {
    let (_sandbox, mut world) = with_browser();
    world.client(&TOKEN, "").refused(3);
    world.configure("nonsense = 1\n");
    world.client(&TOKEN, "").ended_with(1).told("nonsense");
    world.set("RALLY_CRED_SIGN_IN_FILE", "sign-in");
    world.client(&TOKEN, "").told("RALLY_CRED_SIGN_IN_FILE is not an absolute path");
    world
        .run("rally-credd", &["--only-client"], "")
        .ended_with(1)
        .told("standard input is no connection of a client");
}

#[test]
fn a_sign_in_file_that_others_may_write_to_is_not_believed() {
    use std::os::unix::fs::PermissionsExt;
    let (sandbox, mut world) = with_browser();
    world.configure(&format!("keyring = \"memory\"\n{}", world::profile_for(&sandbox)));
    handed_in(&sandbox, &mut world);
    fs::set_permissions(world.path("sign-in"), fs::Permissions::from_mode(0o666)).unwrap();
    world.client(&TOKEN, "").refused(7).told("others may write to it");
}
