//! What `erase`, `store` and `capability` tell the daemon and the caller.
//! Does not: run git (the integration tests do).
//! Used by: `cargo test`.

use serde_json::json;

use crate::testing::{Fake, Script, answer, run};

fn silent() -> (u8, String, String) {
    (0, String::new(), String::new())
}

#[test]
fn capability_prints_exactly_what_is_understood() {
    let done = run("capability", &Fake::default());
    assert_eq!(done.shown(), (0, "version 0\ncapability authtype\ncapability state\n".into(), String::new()));
}

#[test]
fn store_passes_a_whole_credential_on_in_silence() {
    let script = Script::new([answer([json!({"type": "done"})]), answer([json!({"type": "done"})])]);
    let stdin = "protocol=https\nhost=a:8443\npath=p.git\nusername=u\npassword=p\npassword_expiry_utc=9999999999\n\
                 oauth_refresh_token=r\n\n";
    assert_eq!(run("store", &script.sys().reading(stdin)).shown(), silent());
    let stdin = "protocol=https\nhost=a\nauthtype=Bearer\ncredential=c\n";
    assert_eq!(run("store", &script.sys().reading(stdin)).shown(), silent());
    assert_eq!(
        script.asked(),
        [
            json!({"v": 1, "op": "store", "protocol": "https", "host": "a:8443", "path": "p.git",
                   "credential": {"username": "u", "password": "p", "password_expiry_utc": 9_999_999_999_i64,
                                  "oauth_refresh_token": "r"}}),
            json!({"v": 1, "op": "store", "protocol": "https", "host": "a",
                   "credential": {"authtype": "Bearer", "credential": "c"}}),
        ]
    );
}

#[test]
fn what_must_or_can_not_be_kept_is_not_even_told_to_the_daemon() {
    for stdin in [
        "",
        "protocol=https\nhost=a\nusername=u\npassword=p\nephemeral=1\n\n",
        "protocol=https\nhost=a\nusername=u\n\n",
        "protocol=https\nhost=a\nauthtype=Basic\n\n",
        "protocol=https\nhost=\nusername=u\npassword=p\n\n",
        "host=a\nusername=u\npassword=p\n\n",
    ] {
        let script = Script::new([]);
        assert_eq!(run("store", &script.sys().reading(stdin)).shown(), silent(), "{stdin}");
        assert!(script.asked().is_empty());
    }
}

#[test]
fn a_credential_that_the_keyring_does_not_take_is_told() {
    let stdin = "protocol=https\nhost=a\nusername=u\npassword=canary\n\n";
    let locked = json!({"type": "error", "kind": "vault_locked", "what": "the keyring is locked"});
    let done = run("store", &Script::new([answer([locked])]).sys().reading(stdin));
    assert_eq!(done.shown(), (7, String::new(), "rally-cred: the keyring is locked\n".into()));
    let notice = json!({"type": "notice", "kind": "vault_missing", "what": "it is kept in memory only"});
    let done = run("store", &Script::new([answer([notice, json!({"type": "done"})])]).sys().reading(stdin));
    assert_eq!(done.shown(), (0, String::new(), "rally-cred: warning: it is kept in memory only\n".into()));
}

#[test]
fn erase_passes_the_password_on_in_silence() {
    let script = Script::new([answer([json!({"type": "done"})])]);
    let stdin = "protocol=https\nhost=rally1.rallydev.com\nusername=oauth\npassword=_abc\n\n";
    assert_eq!(run("--profile work erase", &script.sys().reading(stdin)).shown(), silent());
    assert_eq!(
        script.asked(),
        [
            json!({"v": 1, "op": "erase", "profile": "work", "protocol": "https", "host": "rally1.rallydev.com",
                "username": "oauth", "token": "_abc"})
        ]
    );
}

#[test]
fn erase_is_about_the_profile_that_the_answer_came_from() {
    let script = Script::new([answer([json!({"type": "done"})]), answer([json!({"type": "done"})])]);
    let stdin = "capability[]=state\nprotocol=https\nhost=a\nusername=oauth\npassword=_abc\n\
                 state[]=other:x\nstate[]=rally-cred:profile=work\n\n";
    for line in ["erase", "--profile home erase"] {
        assert_eq!(run(line, &script.sys().reading(stdin)).shown(), silent());
    }
    let profiles: Vec<_> = script.asked().iter().map(|asked| asked["profile"].clone()).collect();
    assert_eq!(profiles, ["work", "home"]);
}

#[test]
fn erase_without_a_password_means_the_token_in_hand() {
    let script = Script::new([answer([json!({"type": "done"})])]);
    run("erase", &script.sys().reading("protocol=https\nhost=a\n"));
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
        assert_eq!(run("erase --profile work", &script.sys().reading(stdin)).shown(), silent(), "{stdin}");
        assert!(script.asked().is_empty());
    }
}

#[test]
fn erase_by_hand_is_about_the_profile() {
    let script = Script::new([answer([json!({"type": "done"})])]);
    assert_eq!(run("erase --profile work", &script.sys().reading("")).shown(), silent());
    assert_eq!(script.asked(), [json!({"v": 1, "op": "erase", "profile": "work"})]);
}

#[test]
fn erase_has_nothing_to_do_without_a_daemon_or_a_profile() {
    let stdin = "protocol=https\nhost=a\npassword=x\n";
    let home = tempfile::tempdir().unwrap();
    let sys = Fake { socket: Some(home.path().join("absent/agent.sock")), ..Fake::default() };
    assert_eq!(run("erase --no-autostart", &sys.reading(stdin)).shown(), silent());
    let script = Script::new([answer([json!({"type": "error", "kind": "not_configured", "what": "x"})])]);
    assert_eq!(run("erase", &script.sys().reading(stdin)).shown(), silent());
}

#[test]
fn a_malformed_erase_is_refused_without_being_shown() {
    let done = run("erase", &Fake::default().reading("protocol=https\nhost=a\npassword=canary\r\n"));
    assert_eq!((done.code, done.stdout.as_str(), done.stderr.lines().count()), (1, "", 2));
    assert!(!done.stderr.contains("canary"), "{}", done.stderr);
}
