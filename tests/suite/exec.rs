//! `rally-cred exec` as a process: what the program it becomes sees, gets and returns.
//! Does not: test which variables go with which tool; the client's own tests do.
//! Used by: `main`.

use std::{fs, os::unix::process::ExitStatusExt};

use rally_cred_tests::sandbox::Sandbox;
use rally_cred_tests::world::{self, World};

use crate::sign_in::{signed_in_with_keyring, value, with_daemon};

/// A world that is signed in, and the token there.
fn signed_in() -> (Sandbox, World, world::Running, String) {
    let (sandbox, world, daemon) = crate::sign_in::signed_in();
    let token = world.token();
    (sandbox, world, daemon, token)
}

#[test]
fn the_program_sees_the_token_of_now_and_no_other() {
    let (_sandbox, mut world, _daemon, token) = signed_in();
    for stale in ["RALLY_API_KEY", "RALLY_API_TOKEN", "ZSESSIONID"] {
        world.set(stale, "_stale");
    }
    world.set("RALLY_SERVER", "elsewhere.example").set("APIKEY", "of-something-else");
    let seen = world.client(&["exec", "default", "--", "env"], "").succeeded();
    for name in ["RALLY_API_KEY", "RALLY_APIKEY", "RALLY_ZSESSIONID"] {
        assert_eq!(value(&seen.stdout, name), Some(token.as_str()), "{name}");
    }
    assert!(!seen.stdout.contains("_stale") && !seen.stdout.contains("elsewhere"), "{seen:?}");
    assert_eq!(value(&seen.stdout, "APIKEY"), Some("of-something-else"));
    assert!(seen.stderr.contains("RALLY_SERVER is not passed on"), "{seen:?}");
}

#[test]
fn the_program_takes_the_clients_place_with_its_signals_and_its_exit_code() {
    let (_sandbox, world, _daemon, _token) = signed_in();
    let script = "trap 'exit 7' TERM; echo $$; read line";
    let mut running = world.start("rally-cred", &["exec", "--", "sh", "-c", script]);
    assert_eq!(running.next_line_of_stdout(), Some(running.0.id().to_string()));
    running.signal("TERM");
    assert_eq!(running.wait().code(), Some(7));

    let mut running = world.start("rally-cred", &["exec", "--", "sh", "-c", "echo; read line"]);
    running.next_line_of_stdout();
    running.signal("TERM");
    assert_eq!(running.wait().signal(), Some(15));

    assert_eq!(world.client(&["exec", "--", "sh", "-c", "exit 99"], "").code, Some(99));
}

#[test]
fn a_broken_pipe_ends_the_program_as_it_would_by_itself() {
    let (_sandbox, world, _daemon, _token) = signed_in();
    let script = "{ rally-cred exec -- yes; echo $? >&2; } | head -n 1";
    let ended = world.run("sh", &["-c", script], "");
    assert_eq!(ended.stderr, "141\n", "{ended:?}");
}

#[test]
fn standard_input_and_descriptors_are_the_programs_even_if_a_daemon_had_to_be_started() {
    let (_sandbox, world, _keyring, mut daemon) = signed_in_with_keyring();
    daemon.stop();
    fs::write(world.path("file"), "from a descriptor").unwrap();
    let script = "exec 3<file; rally-cred exec -- sh -c 'cat; cat <&3'";
    let ended = world.run("sh", &["-c", script], "from standard input, ").succeeded();
    assert_eq!(ended.stdout, "from standard input, from a descriptor");
}

#[test]
fn a_program_that_cannot_be_run_ends_with_the_codes_of_env() {
    let (_sandbox, world, _daemon, _token) = signed_in();
    fs::write(world.path("text"), "no program").unwrap();
    for (program, code) in [("no-such-program", 127), ("./no-such-program", 127), ("./text", 126), (".", 126)]
    {
        let ended = world.client(&["exec", "--", program], "").told("cannot be run\n  why: ");
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(code), ""), "{program}");
        assert_eq!(world.run("env", &[program], "").code, Some(code), "{program}");
    }
}

#[test]
fn without_a_token_the_exit_code_says_why_and_nothing_runs() {
    let (_sandbox, world, _daemon) = with_daemon(&[]);
    world
        .client(&["exec", "--interactive", "never", "--", "touch", "ran"], "")
        .refused(3)
        .told("rally-cred login");
    assert!(!world.path("ran").exists());
    assert_eq!(world.client(&["exec", "nobody", "--", "true"], "").code, Some(2));
}

#[test]
fn the_token_stands_in_no_argument_list() {
    let (_sandbox, world, _daemon, token) = signed_in();
    let seen = world.client(&["exec", "--", "sh", "-c", "cat /proc/*/cmdline 2>/dev/null"], "");
    assert!(!seen.stdout.is_empty() && !seen.stdout.contains(&token), "{}", seen.stdout);
}
