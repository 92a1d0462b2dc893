//! A daemon at the limits that the system sets: processes, descriptors, memory. It never ends; what it cannot do it tells,
//! and does once it can.
//! Does not: go below the memory that the smallest allocation needs, where every Rust program ends.
//! Used by: `main`.

use std::fs;

use rally_cred_tests::sandbox::Sandbox;
use rally_cred_tests::world::{self, Ended, Running, World};

use crate::sign_in::{password, question, value, with_browser, world_with_keyring};

/// A user of this test alone, since the limit of processes counts all that a user has.
const USER: &str = "48273";

/// What has to be before a program for it to run as that user.
const AS_USER: [&str; 6] = ["--reuid", USER, "--regid", USER, "--clear-groups", "--"];

/// Sets a limit of the daemon, as the user whose it is.
fn limit(world: &World, before: &[&str], daemon: &Running, what: &str) {
    let pid = daemon.0.id().to_string();
    let line = [before, &["prlimit", what, "--pid", &pid]].concat();
    world.run(line[0], &line[1..], "").succeeded();
}

fn log_in(world: &World, before: &[&str], sandbox: &Sandbox) -> Ended {
    let login = ["rally-cred", "login", "--client-secret-stdin", "--force", "--timeout", "2s"];
    let line = [before, &["timeout", "20"], &login].concat();
    world.run(line[0], &line[1..], &sandbox.options().client_secret)
}

/// All that a person sees of a fault is plain: no panic, and something to try.
fn check_fault(ended: &Ended, what: &str) {
    assert!(matches!(ended.code, Some(code) if code != 0 && code < 100), "{what}: {ended:?}");
    assert!(!ended.stderr.contains("panicked") && !ended.remedy().is_empty(), "{what}: {ended:?}");
}

#[test]
fn at_the_users_limit_of_processes_the_daemon_says_so_and_goes_on_when_there_is_room() {
    let (sandbox, world) = with_browser();
    world.configure(&format!("keyring = \"memory\"\n{}", world::profile_for(&sandbox)));
    world.give_to(USER);
    let as_user = |line: &[&str], stdin: &str| world.run("setpriv", &[&AS_USER[..], line].concat(), stdin);
    let mut daemon = world.start("setpriv", &[&AS_USER[..], &["rally-credd"]].concat());
    daemon.wait_for_line("ready");
    let in_world = [&["setpriv"], &AS_USER[..]].concat();

    limit(&world, &in_world, &daemon, "--nproc=1:");
    let refused = log_in(&world, &in_world, &sandbox);
    check_fault(&refused, "a sign-in");
    assert!(refused.stderr.contains("no more threads for this user"), "{refused:?}");
    let status = as_user(&["rally-cred", "status"], "").stdout;
    assert!(status.contains(&format!("(process {})", daemon.0.id())), "{status}");
    as_user(&["rally-cred", "doctor"], "").showed("no more threads for this user");

    limit(&world, &in_world, &daemon, "--nproc=4096:");
    log_in(&world, &in_world, &sandbox).succeeded();
    limit(&world, &in_world, &daemon, "--nproc=1:");
    let got = as_user(&["rally-cred", "get"], &question(&sandbox));
    assert!(value(&got.stdout, "password").is_some(), "{got:?}");
    as_user(&["rally-cred", "daemon", "stop"], "").succeeded();
    let log = daemon.end().succeeded();
    assert!(!log.stderr.contains("a part of the daemon failed"), "{log:?}");
}

#[test]
fn a_daemon_is_started_by_a_client_at_the_users_limit_or_it_is_said_why_not() {
    let world = World::new();
    world.give_to(USER);
    for processes in 1..8 {
        let limit = format!("--nproc={processes}");
        let line = [&AS_USER[..], &["prlimit", &limit, "timeout", "20", "rally-cred", "status"]].concat();
        let started = [&AS_USER[..], &["prlimit", &limit, "rally-cred", "daemon", "start"]].concat();
        let ended = world.run("setpriv", &started, "");
        match ended.code {
            Some(0) => {}
            _ => check_fault(&ended, &limit),
        }
        world.run("setpriv", &line, "");
        let stop = world.run("setpriv", &[&AS_USER[..], &["rally-cred", "daemon", "stop"]].concat(), "");
        assert_eq!(stop.code, Some(0), "{limit}: {stop:?}");
    }
}

#[test]
fn a_daemon_that_may_open_too_few_files_says_so_at_its_start() {
    let world = World::new();
    let mut has_started = false;
    for files in (4..64).step_by(4) {
        let limit = format!("--nofile={files}");
        let mut daemon = world.start("prlimit", &[&limit, "rally-credd", "--detach"]);
        let word = daemon.next_line_of_stdout().unwrap_or_default();
        if word == r#"{"type":"done"}"# {
            assert_eq!(world.client(&["daemon", "stop"], "").code, Some(0), "{limit}");
            has_started = true;
        } else {
            // Below this, not even the system's loader can open what the program needs.
            assert!(word.contains("ulimit -n") || files == 4, "{limit}: {word:?} {:?}", daemon.end());
            assert!(!has_started, "{limit}: {word:?}");
        }
    }
    assert!(has_started);
}

#[test]
fn at_each_limit_of_descriptors_the_daemon_lives_and_signs_in_once_it_may() {
    let (sandbox, world, _keyring) = world_with_keyring();
    let daemon = world.start_daemon();
    for has_keyring in [false, true] {
        let open = fs::read_dir(format!("/proc/{}/fd", daemon.0.id())).unwrap().count();
        for room in 1..14 {
            limit(&world, &[], &daemon, &format!("--nofile={}:4096", open + room));
            let ended = log_in(&world, &[], &sandbox);
            if ended.code != Some(0) {
                check_fault(&ended, &format!("room for {room}"));
                // The keyring is asked first. Once it is open, there may be room for a listener and none for the browser.
                assert!(has_keyring || ended.stderr.contains(" files"), "room for {room}: {ended:?}");
            }
        }
        limit(&world, &[], &daemon, "--nofile=4096:4096");
        crate::sign_in::log_in(&world, &sandbox).succeeded();
    }
    assert!(password(&world, &sandbox).is_some());
    world.client(&["daemon", "stop"], "").succeeded();
    daemon.end().succeeded();
}

#[test]
fn without_memory_for_a_thread_the_daemon_lives_and_the_keyring_is_asked_once_there_is_some() {
    let (sandbox, world, _keyring) = world_with_keyring();
    let mut daemon = world.start("rally-credd", &[]);
    daemon.wait_for_line("ready");
    let status = fs::read_to_string(format!("/proc/{}/status", daemon.0.id())).unwrap();
    let size = status.lines().find_map(|line| line.strip_prefix("VmSize:")).unwrap();
    let kilobytes: u64 = size.trim().trim_end_matches(" kB").parse().unwrap();
    // Enough for all that is allocated in passing, and for the daemon's own stack, without which the kernel ends it; then
    // for a thread or two, whose stacks have two megabytes and a page.
    for room in 2..20 {
        limit(&world, &[], &daemon, &format!("--as={}:", (kilobytes + room * 1024) * 1024));
        let ended = log_in(&world, &[], &sandbox);
        if ended.code != Some(0) {
            check_fault(&ended, &format!("room for {room} MiB"));
        }
    }
    limit(&world, &[], &daemon, "--as=unlimited:");
    crate::sign_in::log_in(&world, &sandbox).succeeded();
    world.client(&["daemon", "stop"], "").succeeded();
    daemon.end().succeeded();
    let got = world.client(&["get"], question(&sandbox));
    assert!(value(&got.stdout, "password").is_some(), "the keyring has it: {got:?}");
}
