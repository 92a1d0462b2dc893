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
