//! What the commands of the daemon's life do and say.
//! Does not: run the real daemon (the integration tests do).
//! Used by: `cargo test`.

use serde_json::{Value, json};

use crate::testing::{Act, Fake, Script, answer, run};

fn done() -> Act {
    answer([json!({"type": "done"})])
}

fn status() -> Act {
    answer([
        json!({"type": "status", "release": "0.1.0", "pid": 4711, "config": "c", "vault": {"kind": "os"},
                   "profiles": []}),
    ])
}

fn ops(script: &Script) -> Vec<Value> {
    script.asked().iter().map(|ask| ask["op"].clone()).collect()
}

#[test]
fn start_finds_the_daemon_that_runs() {
    let script = Script::new([status()]);
    let expected = (0, "the daemon runs already, process 4711\n".into(), String::new());
    assert_eq!(run("daemon start", &script.sys()).shown(), expected);
}

fn status_of(release: &str, pid: u32) -> Act {
    answer([
        json!({"type": "status", "release": release, "pid": pid, "config": "c", "vault": {"kind": "os"}}),
    ])
}

fn skew() -> Act {
    answer([
        json!({"type": "error", "kind": "version_skew", "what": "apart", "why": "so it is", "try": "restart"}),
    ])
}

fn busy() -> Act {
    answer([
        json!({"type": "error", "kind": "failed", "what": "the daemon is busy", "why": "a gateway is open"}),
    ])
}

#[test]
fn an_idle_daemon_of_an_older_release_or_version_is_replaced() {
    for (old, release) in [(status_of("0.0.9", 11), "0.0.9"), (skew(), "another")] {
        let script = Script::new([old, done(), Act::Close, status_of("0.0.9", 12)]);
        let told = format!("rally-cred: the daemon was of release {release}, and idle, so it is replaced\n");
        let expected = (0, "the daemon started, process 12\n".into(), told);
        assert_eq!(run("daemon start", &script.sys()).shown(), expected);
        assert_eq!(ops(&script), ["status", "make_way", "stop", "status"]);
    }
}

#[test]
fn a_busy_daemon_of_an_older_release_goes_on_and_what_it_does_is_told() {
    let script = Script::new([status_of("0.0.9", 11), busy()]);
    let done = run("daemon start", &script.sys());
    assert_eq!((done.code, done.stdout.as_str()), (0, "the daemon runs already, process 11\n"));
    let told = "older than this program; a gateway is open; rally-cred daemon restart";
    assert!(done.stderr.contains(told), "{done:?}");
    assert_eq!(ops(&script), ["status", "make_way"]);
}

#[test]
fn a_busy_daemon_of_another_version_is_a_fault_with_a_remedy() {
    let script = Script::new([skew(), busy()]);
    let expected = (6, String::new(), "rally-cred: apart\n  why: so it is\n  try: restart\n".into());
    assert_eq!(run("daemon start", &script.sys()).shown(), expected);
}

#[test]
fn a_daemon_of_this_release_or_a_newer_or_unknown_one_is_left_alone() {
    for release in [env!("CARGO_PKG_VERSION"), "0.1.1", "0.10.0", "1.0.0", "", "0.0", "0.0.9-rc.1", "x.y.z"] {
        let script = Script::new([status_of(release, 11)]);
        let expected = (0, "the daemon runs already, process 11\n".into(), String::new());
        assert_eq!(run("daemon start", &script.sys()).shown(), expected, "{release}");
    }
}

#[test]
fn stop_waits_for_the_end_of_the_connection() {
    let script = Script::new([done(), Act::Close]);
    assert_eq!(run("daemon stop", &script.sys()).shown(), (0, "the daemon stopped\n".into(), String::new()));
    assert_eq!(ops(&script), ["stop", "stop"]);
}

#[test]
fn restart_stops_and_starts() {
    let script = Script::new([done(), Act::Close, status()]);
    assert_eq!(run("daemon restart", &script.sys()).code, 0);
    assert_eq!(ops(&script), ["stop", "stop", "status"]);
}

#[test]
fn reload_passes_on_what_is_wrong_with_the_file() {
    let script = Script::new([done()]);
    assert_eq!(run("daemon reload", &script.sys()).code, 0);
    let broken =
        json!({"type": "error", "kind": "config_broken", "what": "line 3 is broken", "try": "mend it"});
    let script = Script::new([answer([broken])]);
    let expected = (1, String::new(), "rally-cred: line 3 is broken\n  try: mend it\n".into());
    assert_eq!(run("daemon reload", &script.sys()).shown(), expected);
}

#[test]
fn without_a_daemon_stop_is_content_and_reload_is_not() {
    let home = tempfile::tempdir().unwrap();
    let sys = Fake { socket: Some(home.path().join("absent/agent.sock")), ..Fake::default() };
    assert_eq!(run("daemon stop", &sys).shown(), (0, "no daemon runs\n".into(), String::new()));
    assert_eq!(run("daemon reload", &sys).code, 6);
}
