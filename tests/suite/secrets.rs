//! No secret leaves the places that are meant for it: known secrets are planted, everything happens that can happen,
//! and all that the processes wrote or showed is searched.
//! Does not: look into the memory of a process.
//! Used by: `main`.

use std::os::unix::{ffi::OsStrExt, fs::DirBuilderExt, process::ExitStatusExt};
use std::{fs, path::Path};

use rally_cred_tests::sandbox::{Endpoint, Fault, Planted};
use rally_cred_tests::world::{self, Ended, World};

use crate::sign_in::{question, value, with_browser_at};

const CLIENT_SECRET: &str = "canary-client-secret";
const SECRETS: &str = "canary-client-secret canary-code canary-access canary-refresh canary-id-token canary-echoed-secret \
                       canary-password canary-stored-refresh";

fn find_secret(bytes: &[u8]) -> Option<&'static str> {
    SECRETS.split(' ').find(|secret| bytes.windows(secret.len()).any(|window| window == secret.as_bytes()))
}

fn assert_silent(place: &str, bytes: &[u8]) {
    assert_eq!(find_secret(bytes), None, "in {place}");
}

fn assert_shows_none(ended: &Ended) {
    assert_silent("standard output", ended.stdout.as_bytes());
    assert_silent("standard error", ended.stderr.as_bytes());
}

/// Arguments and environment of a process, as others can see them.
fn look_at_process(pid: u32) {
    for file in ["cmdline", "environ"] {
        let bytes = fs::read(Path::new("/proc").join(pid.to_string()).join(file)).unwrap_or_default();
        assert_silent(file, &bytes);
    }
}

#[test]
fn planted_secrets_are_found_nowhere_but_in_answers() {
    let (sandbox, mut world) = with_browser_at(|options| options.client_secret = CLIENT_SECRET.to_owned());
    let profile = world::profile_for(&sandbox);
    world.configure(&format!("{profile}[static]\nhosts = [\"https://git.example.com\"]\n"));
    // Debug output of the other libraries is off at every level, and ours holds no payload.
    world.set("RALLY_CRED_LOG", "trace").set("RUST_LOG", "trace").set("RUST_BACKTRACE", "full");
    let mut keyring = world.with_keyring();
    let mut daemon = world.start_daemon();
    let plant = || {
        sandbox.plant(Planted {
            code: Some("canary-code".to_owned()),
            access_token: Some("canary-access".to_owned()),
            refresh_token: Some("canary-refresh".to_owned()),
            id_token: Some("canary-id-token".to_owned()),
        });
    };

    // A sign-in that Rally refuses, with the secret echoed in its error as Rally does.
    let echo = r#"{"client_id":"c","client_secret":"canary-echoed-secret","error_description":"bad canary-echoed-secret","error":"invalid_grant"}"#;
    for fault in [
        Fault::json(400, echo),
        Fault::json(200, r#"{"access_token":"canary-access\nhost=evil"}"#),
        Fault::page(500, "<html>canary-access"),
        Fault::Truncated,
    ] {
        plant();
        sandbox.fault(Endpoint::Token, fault, Some(1));
        let mut login = world.start("rally-cred", &["login", "--client-secret-stdin"]);
        login.write(&format!("{CLIENT_SECRET}\n"));
        look_at_process(login.0.id());
        let ended = login.end();
        assert_ne!(ended.code, Some(0));
        assert_shows_none(&ended);
    }

    // One that works, a status, and every kind of request that must not show the token.
    plant();
    let login = world.client(&["login", "--client-secret-stdin"], format!("{CLIENT_SECRET}\n")).succeeded();
    assert_shows_none(&login);
    look_at_process(daemon.0.id());
    let got = world.client(&["get"], question(&sandbox));
    assert_eq!(value(&got.stdout, "password"), Some("canary-access"));
    assert!(!got.stdout.contains("canary-refresh"), "the refresh token is never handed out");
    let report = world.path("report.txt").display().to_string();
    for arguments in [
        &["status"][..],
        &["status", "--json", "--check"],
        &["doctor", "--json"],
        &["doctor", "--report", &report],
        &["config", "check"],
        &["daemon", "reload"],
    ] {
        assert_shows_none(&world.client(arguments, ""));
    }

    // A static credential that is kept, given, not taken by a locked keyring, and erased.
    let stored = "protocol=https\nhost=git.example.com\nusername=me\npassword=canary-password\n\
                  oauth_refresh_token=canary-stored-refresh\n\n";
    assert_shows_none(&world.client(&["store"], stored));
    let kept = world.client(&["get"], "protocol=https\nhost=git.example.com\n\n");
    assert_eq!(value(&kept.stdout, "password"), Some("canary-password"));
    keyring.lock();
    let refused = world.client(&["store"], stored.replace("username=me", "username=other")).ended_with(7);
    assert_shows_none(&refused);
    assert_shows_none(&world.client(&["erase"], stored));
    keyring.restart_keyring(true);

    // A renewal that fails, a pasted address that is wrong, and an erase.
    assert!(sandbox.revoke("canary-access"));
    sandbox.fault(Endpoint::Token, Fault::Html, Some(1));
    let erase = format!("{}password=canary-access\n", question(&sandbox).replace("\n\n", "\n"));
    assert_shows_none(&world.client(&["erase"], erase));
    assert_shows_none(&world.client(&["get", "--format", "json"], ""));
    assert_shows_none(&world.client(&["logout", "--all"], ""));
    daemon.stop();

    let log = world.log();
    assert!(log.contains("handed out a token") && log.contains("DEBUG"), "the log was written: {log}");
    // The answers above are all that may hold a secret; files are logs, sockets' leftovers and the keyring's own store.
    for (path, bytes) in world.files() {
        assert_silent(&path.display().to_string(), &bytes);
        assert_silent("a file name", path.as_os_str().as_bytes());
    }
}

#[test]
fn the_processes_cannot_be_dumped() {
    let sandbox = world::sandbox();
    let world = World::new();
    world.configure_for(&sandbox);
    // Many systems dump nothing unless somebody asks for it.
    let asking = "ulimit -Sc \"$(ulimit -Hc)\" && exec rally-credd";
    let mut daemon = world.start("sh", &["-c", asking]);
    daemon.wait_for_line("ready");
    let limits = fs::read_to_string(format!("/proc/{}/limits", daemon.0.id())).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    let limits: Vec<_> = core.split_whitespace().skip(4).take(2).collect();
    assert_eq!(limits, ["0", "0"], "soft and hard");
}

/// Whether the system writes a dump of this program, which says on standard error when it runs, if it crashes in a folder
/// where the daemon's confinement lets it write.
fn is_dumped(program: &[&str]) -> bool {
    let world = World::new();
    let folder = world.path("state/rally-cred");
    fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder).unwrap();
    let line = format!("ulimit -c unlimited && cd {} && exec \"$@\"", folder.display());
    let mut process = world.start("sh", &[&["-c", &line, "sh"], program].concat());
    process.wait_for_line("ready");
    process.signal("ABRT");
    process.wait().core_dumped()
}

#[test]
fn a_daemon_that_crashes_is_not_dumped_where_another_program_is() {
    if !is_dumped(&["sh", "-c", "echo ready >&2; exec cat"]) {
        eprintln!("not tried: this system dumps no program");
        return;
    }
    assert!(!is_dumped(&["rally-credd"]));
}

#[test]
fn another_program_of_the_user_can_neither_read_the_daemons_memory_nor_trace_it() {
    const USER: &str = "48274";
    let world = World::new();
    if !rustix::process::geteuid().is_root() {
        eprintln!("left out: this test has to run as root, to become another user");
        return;
    }
    world.give_to(USER);
    let as_user = ["--reuid", USER, "--regid", USER, "--clear-groups", "--bounding-set=-all", "--"];
    let start = |program: &[&str]| {
        let mut process = world.start("setpriv", &[&as_user[..], program].concat());
        process.next_line_of_stdout();
        process
    };
    let can_read = |of: u32| {
        ["mem", "environ", "maps", "auxv"].map(|file| {
            let path = format!("/proc/{of}/{file}");
            world.run("setpriv", &[&as_user[..], &["sh", "-c", "exec 3<\"$0\"", &path]].concat(), "").code
                == Some(0)
        })
    };
    let (other, daemon) = (start(&["sh", "-c", "echo ready; exec cat"]), start(&["rally-credd", "--detach"]));
    assert_eq!(can_read(other.0.id()), [true; 4], "what can be read of another program");
    assert_eq!(can_read(daemon.0.id()), [false; 4]);
}
