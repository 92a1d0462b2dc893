//! `rally-cred doctor` on real processes: each failure that can be provoked is recognised, named by its kind, and mended
//! by the command that stands beside it.
//! Does not: judge how it looks (unit tests do).
//! Used by: `main`.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::{chown, symlink};
use std::{fs, net::TcpListener, os::unix::net::UnixListener, thread};

use rally_cred_tests::keyring::KeyringSession;
use rally_cred_tests::sandbox::{Endpoint, Fault, Sandbox};
use rally_cred_tests::world::{self, World, make_private, set_mode};
use serde_json::Value;

use crate::sign_in::{begin, sign_in, with_browser, with_browser_at, world_with_browser, world_with_keyring};

/// What `doctor --json` printed, with its exit code.
fn examine(world: &World, flags: &[&str]) -> (Option<i32>, Value) {
    let ended = world.client(&[&["doctor", "--json"], flags].concat(), "");
    let json = serde_json::from_str(&ended.stdout).unwrap();
    (ended.code, json)
}

fn find<'a>(json: &'a Value, check: &str) -> &'a Value {
    let checks = json["checks"].as_array().unwrap();
    checks.iter().find(|found| found["check"] == check).unwrap()
}

/// The fault of a check that has to fail, with its remedy.
fn fault(world: &World, flags: &[&str], check: &str, kind: &str) -> String {
    let (code, json) = examine(world, flags);
    assert_ne!(code, Some(0), "{json:#}");
    assert_eq!(json["ok"], false);
    let found = find(&json, check);
    assert_eq!((&found["verdict"], &found["fault"]["kind"]), (&"fail".into(), &kind.into()), "{json:#}");
    let shown = world.client(&[&["doctor"], flags].concat(), "");
    let what = found["fault"]["what"].as_str().unwrap();
    let line = shown.stdout.lines().find(|line| line.starts_with("FAIL") && line.contains(check));
    assert!(line.is_some_and(|line| line.ends_with(what)), "{shown:?}");
    found["fault"]["try"].as_str().unwrap_or_default().to_owned()
}

/// Has the remedy run as a person would run it, after which the check passes.
fn mended_by(world: &World, remedy: &str, check: &str) {
    let ended = world.run("sh", &["-c", remedy], "");
    assert_eq!(ended.code, Some(0), "{remedy}: {ended:?}");
    passes(world, check);
}

fn passes(world: &World, check: &str) {
    verdict(world, check, "pass");
}

/// Holds that a check comes to this.
fn verdict(world: &World, check: &str, verdict: &str) {
    let (_, json) = examine(world, &[]);
    assert_eq!(find(&json, check)["verdict"], verdict, "{json:#}");
}

/// What a check says beside its verdict.
fn note(world: &World, check: &str) -> String {
    find(&examine(world, &[]).1, check)["note"].as_str().unwrap().to_owned()
}

/// A world in which somebody has signed in, with a keyring, and git knows of it.
pub(crate) fn healthy() -> (Sandbox, World, KeyringSession) {
    let (sandbox, world, keyring) = world_with_keyring();
    sign_in(&world, &sandbox);
    let key = format!("credential.{}.helper", sandbox.base_url());
    world.run("git", &["config", "--global", &key, "rally"], "").succeeded();
    (sandbox, world, keyring)
}

#[test]
fn all_is_well_on_a_machine_that_is_set_up_and_nothing_is_left_in_the_keyring() {
    let (_sandbox, world, _keyring) = healthy();
    let items = || world.run("secret-tool", &["search", "--all", "service", "rally-cred"], "").stderr;
    let before = items();
    let (code, json) = examine(&world, &[]);
    assert_eq!((code, &json["ok"]), (Some(0), &true.into()), "{json:#}");
    let checks: Vec<_> =
        json["checks"].as_array().unwrap().iter().map(|check| check["check"].as_str().unwrap()).collect();
    let expected = "config permissions path socket daemon vault redirect_port rally tls clock sign_in network \
                    confinement git git_store units";
    assert_eq!(checks.join(" "), expected);
    assert!(!before.contains("check:") && items() == before, "{before}");
    assert!(world.log().lines().all(|line| !line.contains("WARN")), "{}", world.log());
}

#[test]
fn a_config_file_that_cannot_be_used_is_named_with_its_line() {
    let (sandbox, world, _keyring) = healthy();
    world.configure(&format!("{}colour = \"red\"\n", world::profile_for(&sandbox)));
    let remedy = fault(&world, &[], "config", "config_broken");
    assert!(remedy.contains("remove it"), "{remedy}");
    world.client(&["daemon", "stop"], "").succeeded();
    fault(&world, &[], "daemon", "config_broken");
    // Without any, the daemon runs, and has nothing to serve.
    fs::remove_file(world.path("config/rally-cred/config.toml")).unwrap();
    verdict(&world, "config", "fail");
    verdict(&world, "git", "skipped");
}

#[test]
fn modes_that_let_others_in_are_found_and_the_remedy_closes_them() {
    let (_sandbox, mut world, _keyring) = healthy();
    let home = world.path("");
    let open = |path: &str, mode| {
        set_mode(home.join(path), mode);
    };
    open("config/rally-cred/config.toml", 0o666);
    fault(&world, &[], "config", "config_broken");
    mended_by(&world, &fault(&world, &[], "permissions", "failed"), "permissions");
    passes(&world, "config");
    // A remedy is a command for a shell, whatever the folder is called.
    let odd = world.path("it's mine");
    fs::rename(world.path("config"), &odd).unwrap();
    world.set("XDG_CONFIG_HOME", odd.display());
    open("it's mine/rally-cred", 0o777);
    mended_by(&world, &fault(&world, &[], "permissions", "failed"), "permissions");
    for (path, mode) in [("state/rally-cred/daemon.log", 0o644), ("run/rally-cred/agent.sock", 0o666)] {
        open(path, mode);
        mended_by(&world, &fault(&world, &[], "permissions", "failed"), "permissions");
    }
    open("run/rally-cred", 0o755);
    let remedy = fault(&world, &[], "socket", "failed");
    verdict(&world, "daemon", "skipped");
    mended_by(&world, &remedy, "socket");
}

#[test]
fn a_socket_folder_that_is_a_link_is_not_followed_but_put_aside() {
    let (_sandbox, world, _keyring) = healthy();
    world.client(&["daemon", "stop"], "").succeeded();
    fs::rename(world.path("run/rally-cred"), world.path("elsewhere")).unwrap();
    symlink(world.path("elsewhere"), world.path("run/rally-cred")).unwrap();
    mended_by(&world, &fault(&world, &[], "socket", "failed"), "socket");
    assert!(fs::symlink_metadata(world.path("run/rally-cred.old")).unwrap().is_symlink());
}

#[test]
fn a_socket_folder_of_somebody_else_is_put_aside() {
    let (_sandbox, world, _keyring) = healthy();
    world.client(&["daemon", "stop"], "").succeeded();
    if let Err(why) = chown(world.path("run/rally-cred"), Some(1), None) {
        println!("passed over: nothing can be given to somebody else here: {why}");
        return;
    }
    mended_by(&world, &fault(&world, &[], "socket", "failed"), "socket");
}

#[test]
fn what_the_config_file_must_not_say_is_named_by_line_and_key() {
    let (sandbox, world, _keyring) = healthy();
    let good = world::profile_for(&sandbox);
    for (line, key) in [
        ("pkce = \"yes\"", "pkce"),
        ("scope = 7", "scope"),
        ("base_url = \"http://rally1.rallydev.com\"", "base_url"),
        ("redirect_uri = \"localhost\"", "redirect_uri"),
        ("client_secret_command = \"pass\"", "client_secret_command"),
        ("ca_file = \"relative.pem\"", "ca_file"),
    ] {
        let name = line.split_once(' ').unwrap().0;
        let others: String =
            good.lines().filter(|line| !line.starts_with(name)).map(|line| format!("{line}\n")).collect();
        world.configure(&format!("{others}{line}\n"));
        let (_, json) = examine(&world, &[]);
        let what = find(&json, "config")["fault"]["what"].as_str().unwrap_or_default();
        let lines = others.lines().count() + 1;
        assert!(what.contains(&format!("line {lines}")) && what.contains(key), "{line}: {json:#}");
    }
}

#[test]
fn a_secret_that_cannot_be_had_and_a_renewal_that_is_refused_are_told_as_the_sign_in_that_they_prevent() {
    let (sandbox, world, _keyring) = healthy();
    let refusal = Fault::json(400, r#"{"error":"invalid_grant","error_description":"canary"}"#);
    let token = world.client(&["get", "--profile", "default", "--format", "token"], "").stdout;
    assert!(sandbox.revoke(token.trim()));
    sandbox.fault(Endpoint::Token, refusal, None);
    world.client(&["erase"], "").succeeded();
    world.client(&["get", "--interactive", "never"], "").ended_with(3);
    let remedy = fault(&world, &[], "sign_in", "token_refused");
    sandbox.clear_faults();
    mended_by(&world, &remedy, "sign_in");

    world.client(&["logout", "--forget-client-secret"], "").succeeded();
    world.reconfigure(&format!("{}client_secret_command = [\"false\"]\n", world::profile_for(&sandbox)));
    world.client(&["login"], "").ended_with(1);
    fault(&world, &[], "sign_in", "failed");
}

#[test]
fn without_a_daemon_what_only_it_can_try_is_skipped() {
    let (_sandbox, world, _keyring) = healthy();
    world.client(&["daemon", "stop"], "").succeeded();
    let remedy = fault(&world, &["--no-autostart"], "daemon", "no_daemon");
    let (code, json) = examine(&world, &["--no-autostart"]);
    assert_eq!((code, &find(&json, "vault")["verdict"]), (Some(6), &"skipped".into()));
    mended_by(&world, &remedy, "daemon");
    // What a client starts by itself is no fault.
    world.client(&["daemon", "stop"], "").succeeded();
    assert_eq!(examine(&world, &[]).0, Some(0));
}

#[test]
fn a_daemon_that_speaks_another_version_is_told_to_be_restarted() {
    let world = World::new();
    make_private(world.path("run/rally-cred"));
    let listener = UnixListener::bind(world.socket()).unwrap();
    set_mode(world.socket(), 0o600);
    // It ends with the test's process.
    thread::spawn(move || {
        for mut peer in listener.incoming().flatten() {
            let mut line = String::new();
            BufReader::new(peer.try_clone().unwrap()).read_line(&mut line).unwrap();
            let skew = r#"{"type":"error","kind":"version_skew","what":"client and daemon are of different versions","why":"x","try":"rally-cred daemon restart"}"#;
            writeln!(peer, "{skew}").unwrap();
        }
    });
    assert_eq!(fault(&world, &[], "daemon", "version_skew"), "rally-cred daemon restart");
}

#[test]
fn a_keyring_that_is_locked_missing_or_failing_is_told_apart() {
    let (_sandbox, world, mut keyring) = healthy();
    keyring.lock();
    assert!(fault(&world, &[], "vault", "vault_locked").contains("unlock"));
    keyring.restart_keyring(true);
    passes(&world, "vault");
    keyring.set_disk_full(true);
    fault(&world, &[], "vault", "vault_failed");
    keyring.set_disk_full(false);
    passes(&world, "vault");
    drop(keyring);
    world.client(&["daemon", "restart"], "").succeeded();
    let (_, json) = examine(&world, &[]);
    assert_eq!(find(&json, "vault")["fault"]["kind"], "vault_missing", "{json:#}");
}

#[test]
fn memory_is_fine_where_the_config_file_asks_for_it() {
    let (sandbox, world) = with_browser();
    assert!(fault(&world, &[], "vault", "vault_missing").contains("or \"memory\""));
    world.reconfigure(&format!("keyring = \"memory\"\n{}", world::profile_for(&sandbox)));
    passes(&world, "vault");
}

#[test]
fn a_redirect_port_that_is_taken_is_named_unless_a_sign_in_has_it() {
    let (sandbox, world) = with_browser();
    let port = url::Url::parse(&sandbox.options().redirect_uri).unwrap().port().unwrap();
    let other = TcpListener::bind(("127.0.0.1", port)).unwrap();
    let remedy = fault(&world, &[], "redirect_port", "port_taken");
    assert!(remedy.contains(&port.to_string()), "{remedy}");
    drop(other);
    passes(&world, "redirect_port");
    let _login = begin(&world, &sandbox.options().client_secret, &[]);
    passes(&world, "redirect_port");
}

#[test]
fn a_redirect_port_that_this_user_may_not_have_is_named() {
    let sandbox =
        world::sandbox_with(|options| options.redirect_uri = "http://localhost/callback".to_owned());
    let world = world_with_browser(&sandbox);
    let _daemon = crate::trouble::start_daemon_without_low_ports(&world);
    assert!(fault(&world, &[], "redirect_port", "port_forbidden").contains("1023"));
}

#[test]
fn rally_that_is_not_there_or_not_itself_is_recognised() {
    let (sandbox, world, _keyring) = healthy();
    for (trouble, kind) in [
        (Fault::Html, "bad_answer"),
        (Fault::Garbage, "bad_answer"),
        (Fault::Status { status: 429, retry_after: Some(1) }, "unreachable"),
        (Fault::Status { status: 503, retry_after: None }, "unreachable"),
        (Fault::Redirect { location: "http://127.0.0.1:1/".to_owned() }, "bad_answer"),
        (Fault::Drop, "unreachable"),
    ] {
        sandbox.fault(Endpoint::User, trouble, None);
        fault(&world, &[], "rally", kind);
        sandbox.clear_faults();
    }
    sandbox.change(|options| options.address_refused = true);
    fault(&world, &[], "rally", "address_not_allowed");
    sandbox.change(|options| options.address_refused = false);
    passes(&world, "rally");
    drop(sandbox);
    fault(&world, &[], "rally", "unreachable");
    verdict(&world, "tls", "skipped");
}

#[test]
fn a_certificate_that_is_not_trusted_is_recognised_until_ca_file_names_its_authority() {
    let (sandbox, mut world) = with_browser_at(|options| options.tls = true);
    assert!(fault(&world, &[], "tls", "tls_failed").contains("ca_file"));
    let authority = world.trust(&sandbox);
    world.client(&["daemon", "reload"], "").succeeded();
    passes(&world, "tls");
    fs::write(authority, "no certificate").unwrap();
    fault(&world, &[], "tls", "tls_failed");
}

#[test]
fn a_clock_that_is_a_minute_off_is_told_with_the_distance() {
    let (sandbox, world, _keyring) = healthy();
    passes(&world, "clock");
    for (ahead, side) in [(300, "behind"), (-300, "ahead of")] {
        sandbox.change(|options| options.clock_ahead = ahead);
        assert_eq!(fault(&world, &[], "clock", "failed"), "timedatectl set-ntp true");
        let (_, json) = examine(&world, &[]);
        let why = find(&json, "clock")["fault"]["why"].as_str().unwrap().to_owned();
        assert!(why.contains(side), "{why}");
    }
}

#[test]
fn a_sign_in_that_is_missing_or_that_rally_refuses_is_told_with_the_command_that_helps() {
    let (sandbox, world, _keyring) = healthy();
    sandbox.change(|options| options.allow_refresh = false);
    let token = world.client(&["get", "--profile", "default", "--format", "token"], "").stdout;
    assert!(sandbox.revoke(token.trim()));
    // What is found out by asking is acted on, so the next look finds no token at all.
    let (_, json) = examine(&world, &[]);
    let found = find(&json, "sign_in");
    assert_eq!(found["fault"]["kind"], "token_refused", "{json:#}");
    mended_by(&world, found["fault"]["try"].as_str().unwrap(), "sign_in");
    world.client(&["logout"], "").succeeded();
    mended_by(&world, &fault(&world, &[], "sign_in", "sign_in_needed"), "sign_in");
}

#[test]
fn git_that_nobody_wants_is_no_fault_and_the_note_has_it_ask() {
    let (sandbox, world, _keyring) = world_with_keyring();
    sign_in(&world, &sandbox);
    // Other helpers for the same server stay, but git forgets them.
    let key = format!("credential.{}.helper", sandbox.base_url());
    for helper in ["cache", "store"] {
        world.run("git", &["config", "--global", "--add", &key, helper], "").succeeded();
    }
    let (code, json) = examine(&world, &[]);
    assert_eq!((code, &find(&json, "git")["verdict"]), (Some(0), &"skipped".into()), "{json:#}");
    let note = find(&json, "git")["note"].as_str().unwrap().to_owned();
    mended_by(&world, note.split_once("if it should: ").unwrap().1, "git");
    let helpers = world.run("git", &["config", "--global", "--get-all", &key], "").stdout;
    assert_eq!(helpers, "cache\nstore\n\nrally\n");
    // An empty one takes it out again, which nobody can have wanted who put it in.
    world.run("git", &["config", "--global", "--add", &key, ""], "").succeeded();
    mended_by(&world, &fault(&world, &[], "git", "failed"), "git");
    // So does one for all servers behind it, which nothing gets past that is only added.
    let all = ["config", "--global", "--add", "credential.helper", ""];
    world.run("git", &all, "").succeeded();
    mended_by(&world, &fault(&world, &[], "git", "failed"), "git");
}

#[test]
fn a_helper_that_git_cannot_find_is_told_with_the_folder_to_name() {
    let (sandbox, mut world) = with_browser();
    world.set("PATH", "/usr/local/bin:/usr/bin:/bin");
    // Without git, it need not be found.
    verdict(&world, "path", "skipped");
    let key = format!("credential.{}.helper", sandbox.base_url());
    world.run("git", &["config", "--global", &key, "rally"], "").succeeded();
    let remedy = fault(&world, &[], "path", "failed");
    assert_eq!(remedy, format!("export PATH=\"{}:$PATH\"", world::programs().display()));
    let found = world.run("sh", &["-c", &format!("{remedy}; exec rally-cred doctor --json")], "");
    let json = found.json();
    assert_eq!(find(&json, "path")["verdict"], "pass", "{json:#}");
    // By its path git finds it anyway, and that is what doctor says where the name leads nowhere.
    world.run("git", &["config", "--global", "--unset", &key], "").succeeded();
    mended_by(&world, note(&world, "git").split_once("if it should: ").unwrap().1, "git");
    verdict(&world, "path", "skipped");
}

#[test]
fn the_config_file_that_is_judged_is_the_one_that_the_daemon_reads() {
    let (sandbox, mut world, _keyring) = healthy();
    // The daemon was started by a shell with this folder; the next one names another.
    let theirs = world.path("config/rally-cred/config.toml");
    let good = fs::read_to_string(&theirs).unwrap();
    world.set("XDG_CONFIG_HOME", world.path("elsewhere").display());
    let (code, json) = examine(&world, &[]);
    let note = find(&json, "config")["note"].as_str().unwrap().to_owned();
    assert_eq!(code, Some(0), "{json:#}");
    assert!(note.contains(theirs.to_str().unwrap()) && note.contains("does not exist"), "{note}");
    // What is wrong is what the daemon reads, whatever is in the other file.
    fs::create_dir_all(world.path("elsewhere/rally-cred")).unwrap();
    fs::write(world.path("elsewhere/rally-cred/config.toml"), &good).unwrap();
    world.configure(&format!("{good}colour = \"red\"\n"));
    fault(&world, &[], "config", "config_broken");
    // And where both are good, they are still two.
    world.configure(&good);
    let remedy = fault(&world, &[], "config", "failed");
    let (_, json) = examine(&world, &[]);
    let what = find(&json, "config")["fault"]["what"].as_str().unwrap().to_owned();
    assert!(what.contains(theirs.to_str().unwrap()) && what.contains("elsewhere/rally-cred"), "{what}");
    mended_by(&world, &remedy, "config");
    let _ = sandbox;
}

#[test]
fn units_that_are_disabled_or_have_failed_are_told() {
    let (_sandbox, mut world) = with_browser();
    // It has one file for each unit's state.
    world.stand_in(
        "systemctl",
        "case $2 in\n\
        show) ;;\n\
        is-failed) test \"$(cat \"$HOME/$3\" 2>/dev/null)\" = failed ;;\n\
        is-enabled) cat \"$HOME/$3\" 2>/dev/null || { echo not-found; exit 4; } ;;\n\
        enable) echo enabled > \"$HOME/$4\" ;;\n\
        restart) echo enabled > \"$HOME/$3\" ;;\n\
        esac\n",
    );
    passes(&world, "units");
    fs::write(world.path("rally-cred.socket"), "disabled\n").unwrap();
    mended_by(&world, &fault(&world, &[], "units", "failed"), "units");
    fs::write(world.path("rally-cred.service"), "failed\n").unwrap();
    mended_by(&world, &fault(&world, &[], "units", "failed"), "units");
}
