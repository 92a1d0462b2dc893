//! What `erase`, `store` and `capability` tell the daemon and the caller.
//! Does not: run git (the integration tests do).
//! Met by: `cargo test`.

use serde_json::json;

use crate::testing::{Fake, Script, answer, run};

fn silent() -> (u8, String, String) {
    (0, String::new(), String::new())
}

#[test]
fn capability_prints_exactly_what_is_understood() {
    let done = run("capability", &Fake::default());
    assert_eq!(done.shown(), (0, "version 0\ncapability authtype\n".into(), String::new()));
}

#[test]
fn store_takes_anything_in_silence_and_asks_no_daemon() {
    for stdin in ["protocol=https\nhost=a\nusername=u\npassword=p\n\n", "", "broken\r\n", "no end"] {
        let around = Fake { stdin_stays_open: true, ..Fake::default() };
        assert_eq!(run("store", &around.reading(stdin)).shown(), silent());
    }
}

#[test]
fn erase_passes_the_password_on_in_silence() {
    let script = Script::new([answer([json!({"type": "done"})])]);
    let stdin = "protocol=https\nhost=rally1.rallydev.com\nusername=oauth\npassword=_abc\n\n";
    assert_eq!(run("--profile work erase", &script.around().reading(stdin)).shown(), silent());
    assert_eq!(
        script.asked(),
        [
            json!({"v": 1, "op": "erase", "profile": "work", "protocol": "https", "host": "rally1.rallydev.com",
                "username": "oauth", "token": "_abc"})
        ]
    );
}

#[test]
fn erase_without_a_password_means_the_token_in_hand() {
    let script = Script::new([answer([json!({"type": "done"})])]);
    run("erase", &script.around().reading("protocol=https\nhost=a\n"));
    assert_eq!(script.asked(), [json!({"v": 1, "op": "erase", "protocol": "https", "host": "a"})]);
}

#[test]
fn erase_without_a_server_asks_nothing() {
    for stdin in [
        "password=_abc\n",
        "protocol=https\npassword=_abc\n",
        "protocol=https\nhost=\n",
        "protocol=\nhost=a\n",
    ] {
        let script = Script::new([]);
        assert_eq!(run("erase --profile work", &script.around().reading(stdin)).shown(), silent(), "{stdin}");
        assert!(script.asked().is_empty());
    }
}

#[test]
fn erase_by_hand_is_about_the_profile() {
    let script = Script::new([answer([json!({"type": "done"})])]);
    assert_eq!(run("erase --profile work", &script.around().reading("")).shown(), silent());
    assert_eq!(script.asked(), [json!({"v": 1, "op": "erase", "profile": "work"})]);
}

#[test]
fn erase_has_nothing_to_do_without_a_daemon_or_a_profile() {
    let stdin = "protocol=https\nhost=a\npassword=x\n";
    let home = tempfile::tempdir().unwrap();
    let around = Fake { socket: Some(home.path().join("absent/agent.sock")), ..Fake::default() };
    assert_eq!(run("erase --no-autostart", &around.reading(stdin)).shown(), silent());
    let script = Script::new([answer([json!({"type": "error", "kind": "not_configured", "what": "x"})])]);
    assert_eq!(run("erase", &script.around().reading(stdin)).shown(), silent());
}

#[test]
fn a_malformed_erase_is_refused_without_being_shown() {
    let done = run("erase", &Fake::default().reading("protocol=https\nhost=a\npassword=canary\r\n"));
    assert_eq!((done.code, done.stdout.as_str(), done.stderr.lines().count()), (1, "", 1));
    assert!(!done.stderr.contains("canary"), "{}", done.stderr);
}
