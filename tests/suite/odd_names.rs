//! Folders, files and arguments whose names would steer a terminal: none of that reaches it, and what helps still helps.
//! Does not: try what servers send (`trouble` and `secrets` do).
//! Used by: `main`.

use std::{ffi::OsStr, fs, os::unix::ffi::OsStrExt, os::unix::fs::PermissionsExt};

use rally_cred_proto::plain::plain;
use rally_cred_tests::world::World;

use crate::sign_in::with_browser;

/// A name that sets a title, turns red, goes up a line, and reverses what follows.
const ODD: &str = "a\u{1b}]0;x\u{7}\u{1b}[31m\u{9b}A\u{202e}b's\nok   daemon";

/// Whether a text shows nothing but itself, line by line.
fn is_plain(text: &str) -> bool {
    text.lines().all(|line| line.chars().all(|c| plain(&c.to_string()).contains(c)))
}

/// A world whose config and state lie in such a folder.
fn odd_world() -> World {
    let (_sandbox, mut world) = with_browser();
    let folder = world.path(ODD);
    fs::rename(world.path("config"), &folder).unwrap();
    world.set("XDG_CONFIG_HOME", folder.display()).set("XDG_STATE_HOME", folder.display());
    world.set("XDG_RUNTIME_DIR", folder.display());
    fs::set_permissions(folder, fs::Permissions::from_mode(0o700)).unwrap();
    world
}

#[test]
fn names_that_would_steer_a_terminal_are_shown_and_do_nothing() {
    let world = odd_world();
    let file = world.path("x.toml").display().to_string() + ODD;
    let report = world.path("report").display().to_string() + ODD;
    for line in [
        ["rally-cred", "doctor"].as_slice(),
        &["rally-cred", "doctor", "--json"],
        &["rally-cred", "doctor", "--report", &report],
        &["rally-cred", "doctor", "--report", &report],
        &["rally-cred", "config", "check"],
        &["rally-cred", "config", "check", &file],
        &["rally-cred", "config", ODD],
        &["rally-cred", "setup", "--dry-run", "--git", "yes", "--completions", "bash", "--client-id", "x"],
        &["rally-cred", "setup", "--dry-run", "--client-id", "x", "--base-url", ODD],
        &["rally-cred", "setup", ODD, "--dry-run", "--client-id", "x"],
        &["rally-cred", "setup", "--units", ODD],
        &["rally-cred", "login", ODD, "--no-autostart"],
        &["rally-cred", "login", "--timeout", ODD],
        &["rally-cred", "status", "--json"],
        &["rally-cred", "status", ODD],
        &["rally-cred", "get", "--profile", ODD],
        &["rally-cred", "get", ODD],
        &["rally-cred", "get", "--format", ODD],
        &["rally-cred", ODD, "--help"],
        &["rally-cred", "--colour", ODD],
        &["rally-cred", "exec", "--set", ODD, "--", "true"],
        &["rally-cred", "completions", ODD],
        &["rally-credd", "--check-config"],
        &["rally-credd", "--check-config", &file],
        &["rally-credd", ODD],
        &["rally-credd", "--idle-exit", ODD],
    ] {
        let ended = world.run(line[0], &line[1..], "");
        assert!(is_plain(&ended.stdout) && is_plain(&ended.stderr), "{line:?}: {ended:?}");
        let fakes = |text: &str| text.lines().any(|line| line.starts_with("ok   daemon"));
        assert!(!fakes(&ended.stdout) && !fakes(&ended.stderr), "{line:?}: {ended:?}");
    }
    assert!(is_plain(&fs::read_to_string(&report).unwrap()));
    fs::set_permissions(world.path(ODD).join("rally-cred"), fs::Permissions::from_mode(0o700)).unwrap();
    let mut daemon = world.start("rally-credd", &[]);
    let ready = daemon.wait_for_line("ready");
    assert!(is_plain(&ready) && ready.ends_with("agent.sock"), "{ready}");
}

#[test]
fn a_script_gets_the_path_as_it_is_and_a_terminal_what_it_may_show() {
    let mut world = odd_world();
    let whole = format!("{}/rally-cred/config.toml\n", world.path(ODD).display());
    assert_eq!(world.client(&["config", "path"], "").stdout, whole);
    let shown = world.at_terminal("rally-cred config path").end().stdout;
    assert!(is_plain(shown.trim_end()) && shown.lines().count() == 1 && shown.contains("31m"), "{shown:?}");
    // What is no text in any language is a path all the same.
    let bytes = b"/no\xfftext/config.toml";
    let mut command = world.command("rally-cred");
    command.args(["config", "path"]).env("RALLY_CRED_CONFIG", OsStr::from_bytes(bytes));
    assert_eq!(command.output().unwrap().stdout, [bytes.as_slice(), b"\n"].concat());
    world.unset("XDG_RUNTIME_DIR");
}

#[test]
fn a_remedy_for_an_odd_name_is_for_that_name() {
    let world = odd_world();
    let folder = world.path(ODD).join("rally-cred");
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).unwrap();
    let shown = world.client(&["doctor", "--no-autostart"], "").stdout;
    let remedy = shown.lines().find_map(|line| line.trim().strip_prefix("try: chmod")).unwrap();
    assert_eq!(world.run("sh", &["-c", &format!("chmod{remedy}")], "").code, Some(0), "{remedy}");
    assert_eq!(fs::metadata(folder).unwrap().permissions().mode() & 0o777, 0o755);
}
