//! What is not the file that it should be, in the place of every file of ours: named pipes, devices, links, folders, and
//! file systems on which nothing can be written. And what the log grows to.
//! Does not: look at whose the files are (`ownership` does).
//! Used by: `main`.

use std::os::unix::fs::symlink;
use std::{fs, path::Path};

use rally_cred_tests::world::{self, Ended, World, set_mode};

use crate::setup::UNASKED;
use crate::sign_in::{question, sign_in, value, with_browser, with_browser_at};

/// The kinds of things that are no file, by what makes them.
const KINDS: [&str; 5] = ["pipe", "folder", "device", "link to a device", "dangling link"];

fn put(kind: &str, path: &Path) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let make = |program: &str, path: &Path, arguments: &[&str]| {
        let mut command = std::process::Command::new(program);
        assert!(command.arg(path).args(arguments).status().unwrap().success(), "{kind}");
    };
    // The device that gives zeros for ever. It is the test's own, lest a fault of ours harm the machine's.
    const ZEROS: [&str; 3] = ["c", "1", "5"];
    match kind {
        "pipe" => make("mkfifo", path, &[]),
        "folder" => fs::create_dir(path).unwrap(),
        "device" => make("mknod", path, &ZEROS),
        "link to a device" => {
            let device = path.with_extension("device");
            make("mknod", &device, &ZEROS);
            symlink(device, path).unwrap();
        }
        "dangling link" => symlink("/nowhere/at-all", path).unwrap(),
        _ => unreachable!(),
    }
}

/// Runs a command that must not hang.
fn run(world: &World, arguments: &[&str], stdin: impl AsRef<[u8]>) -> Ended {
    let ended = world.run("timeout", &[&["20", "rally-cred"], arguments].concat(), stdin);
    assert_ne!(ended.code, Some(124), "{arguments:?} hangs");
    ended
}

#[test]
fn whatever_is_in_the_place_of_the_log_the_daemon_serves_without_and_warns_once() {
    for kind in KINDS {
        let (sandbox, world) = with_browser();
        put(kind, &world.path("state/rally-cred/daemon.log"));
        let started = run(&world, &["daemon", "start"], "");
        assert_eq!(started.code, Some(0), "{kind}: {started:?}");
        assert_eq!(started.stderr.matches("rally-cred: warning: the log ").count(), 1, "{kind}: {started:?}");
        sign_in(&world, &sandbox);
        let got = run(&world, &["get"], question(&sandbox));
        assert!(value(&got.stdout, "password").is_some() && got.stderr.is_empty(), "{kind}: {got:?}");
        // What is said to help, helps.
        let remedy = world.follow(&started);
        assert_eq!(run(&world, &["daemon", "restart"], "").stderr, "", "{kind}: {remedy}");
        world.logged("ready");
    }
}

#[test]
fn where_no_state_can_be_written_the_daemon_serves_without_a_log() {
    let (sandbox, mut world) = with_browser();
    // A file system of the system's own, on which not even root can make a folder.
    world.set("XDG_STATE_HOME", "/proc/1");
    run(&world, &["daemon", "start"], "").succeeded().told("XDG_STATE_HOME");
    sign_in(&world, &sandbox);
}

#[test]
fn a_container_whose_home_is_the_root_folder_is_served() {
    let world = World::new();
    world.give_to("48272:48272");
    let user =
        ["--reuid", "48272", "--regid", "48272", "--clear-groups", "env", "-u", "XDG_STATE_HOME", "HOME=/"];
    let started = world
        .run("setpriv", &[&user[..], &["timeout", "20", "rally-cred", "daemon", "start"]].concat(), "")
        .succeeded();
    assert!(started.stdout.starts_with("the daemon started"), "{started:?}");
    assert_eq!(started.stderr.matches("warning").count(), 1, "{started:?}");
    world.run("setpriv", &[&user[..], &["rally-cred", "daemon", "stop"]].concat(), "").succeeded();
}

#[test]
fn whatever_is_in_the_place_of_a_lock_is_told_at_once_with_the_command_that_mends_it() {
    for lock in ["run/rally-cred/agent.lock", "run/rally-cred/start.lock"] {
        for kind in KINDS {
            let world = World::new();
            put(kind, &world.path(lock));
            set_mode(world.path("run/rally-cred"), 0o700);
            let refused = run(&world, &["daemon", "start"], "");
            assert!(matches!(refused.code, Some(1 | 6)), "{lock} {kind}: {refused:?}");
            let remedy = world.follow(&refused);
            let started = run(&world, &["daemon", "start"], "");
            assert_eq!(started.code, Some(0), "{lock} {kind}: {remedy}: {started:?}");
        }
    }
}

#[test]
fn whatever_is_in_the_place_of_the_config_file_is_told_at_once() {
    for kind in KINDS {
        let world = World::new();
        let config = world.path("config/rally-cred/config.toml");
        put(kind, &config);
        for command in [&["config", "check"][..], &["doctor", "--no-autostart"], &UNASKED] {
            let ended = run(&world, command, "");
            assert_ne!(ended.code, Some(0), "{kind} {command:?}: {ended:?}");
            assert!(fs::symlink_metadata(&config).is_ok_and(|found| !found.is_file()), "{kind} {command:?}");
        }
    }
}

#[test]
fn whatever_is_in_the_place_of_the_record_of_setup_is_told_at_once_with_the_command_that_mends_it() {
    for kind in KINDS {
        let (_sandbox, world) = with_browser();
        put(kind, &world.path("state/rally-cred/setup.json"));
        let removed = run(&world, &["setup", "--remove"], "");
        if kind != "dangling link" {
            assert_eq!(removed.code, Some(1), "{kind}: {removed:?}");
            let remedy = world.follow(&removed);
            assert_eq!(run(&world, &["setup", "--remove"], "").code, Some(0), "{kind}: {remedy}");
        }
    }
}

#[test]
fn files_of_certificates_and_of_client_secrets_that_are_none_are_told_at_once() {
    for kind in KINDS {
        let (sandbox, mut world) = with_browser_at(|options| options.tls = true);
        let (authority, secret) = (world.path("ca.pem"), world.path("secret"));
        put(kind, &authority);
        put(kind, &secret);
        world.configure(&format!("{}ca_file = \"{}\"\n", world::profile_for(&sandbox), authority.display()));
        world.set("RALLY_CRED_CLIENT_SECRET_FILE", secret.display());
        let got = run(&world, &["get", "--interactive", "never"], question(&sandbox));
        assert!(got.stdout.contains("quit=1"), "{kind}: {got:?}");
        let checked = run(&world, &["doctor"], "");
        assert!(checked.stdout.contains("the profile's ca_file cannot be used"), "{kind}: {checked:?}");
    }
}

#[test]
fn the_log_of_a_daemon_that_runs_stays_bounded_and_keeps_its_last_lines() {
    let (sandbox, world) = with_browser();
    sign_in(&world, &sandbox);
    world.client(&["daemon", "stop"], "").succeeded();
    let (log, old) =
        (world.path("state/rally-cred/daemon.log"), world.path("state/rally-cred/daemon.log.old"));
    let before = "x".repeat(usize::try_from(rally_credd::log::LONGEST).unwrap() - 1000) + "\n";
    fs::write(&log, &before).unwrap();
    world.client(&["daemon", "start"], "").succeeded();
    assert_eq!(fs::read_to_string(&log).unwrap().len().min(before.len()), before.len(), "it is not full yet");
    sign_in(&world, &sandbox);
    for _ in 0..20 {
        world.client(&["get"], question(&sandbox)).succeeded();
    }
    world.client(&["daemon", "stop"], "").succeeded();
    let (new, old) = (fs::read_to_string(&log).unwrap(), fs::read_to_string(old).unwrap());
    assert!(new.len() < 100_000, "{}", new.len());
    assert!(old.starts_with(&before) && old.len() < before.len() + 2000, "{}", old.len());
    assert_eq!((old + &new).matches("handed out a token").count(), 20);
    assert!(new.contains("stopping"), "{new}");
}

#[test]
fn clients_that_cannot_be_accepted_are_one_line_an_episode_with_a_count_at_its_end() {
    let world = World::new();
    let mut daemon = world.start("rally-credd", &[]);
    daemon.wait_for_line("ready");
    let pid = daemon.0.id().to_string();
    let limit = |files: &str| {
        let line = [&format!("--nofile={files}"), "--pid", &pid];
        world.run("prlimit", &line.map(|word| word as &str), "").succeeded();
    };
    limit("3:4096");
    // Nobody takes this request for a second, in which the daemon tries ten times.
    assert_eq!(world.run("timeout", &["1", "rally-cred", "status"], "").code, Some(124));
    limit("4096:4096");
    assert_eq!(world.client(&["status"], "").code, Some(1), "no profile is configured");
    world.client(&["daemon", "stop"], "").succeeded();
    let log = daemon.end().stderr;
    assert_eq!(log.matches("cannot accept a connection").count(), 1, "{log}");
    let end = log.lines().find(|line| line.contains("could not be accepted")).unwrap();
    let times = end.split("times=").nth(1).unwrap();
    let digits: String = times.chars().filter(char::is_ascii_digit).collect();
    assert!(digits.parse::<u32>().unwrap() > 1, "{end}");
}
