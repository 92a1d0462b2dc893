//! What a person, and a program, is shown of what a daemon found.
//! Does not: provoke real failures (the integration tests do).
//! Used by: `cargo test`.

use serde_json::{Value, json};

use crate::testing::{Fake, Script, answer, run};

const GIT: &str = r"git config --null --get-regexp ^credential\.(.*\.)?helper$";

fn profile(name: &str) -> Value {
    json!({"type": "profile", "profile": name, "default": true, "base_url": "https://rally1.rallydev.com",
           "state": "signed_in", "ready": true, "username": "me@example.com", "renewable": true, "kept": true,
           "waiting": 0, "checked": true})
}

fn status(release: &str) -> Value {
    json!({"type": "status", "release": release, "pid": 7, "config": "config.toml", "vault": {"kind": "auto"}})
}

fn finding(check: &str, profile: Option<&str>) -> Value {
    json!({"type": "finding", "check": check, "profile": profile, "note": "well"})
}

/// A machine on which all is well but for what the daemon answers to a check, by its release.
fn checks(release: &str, check: Vec<Value>) -> Vec<Value> {
    let script = Script::new([
        answer([status(release)]),
        answer([profile("default"), status(release)]),
        crate::testing::Act::Answer(check),
    ]);
    let sys = Fake { executable: Fake::beside("checks").executable, ..script.sys() };
    let sys =
        Fake { outputs: [(GIT.to_owned(), (0, "credential.helper\nrally\0".to_owned()))].into(), ..sys };
    let done = run("doctor --json", &sys);
    let json: Value = serde_json::from_str(&done.stdout).unwrap();
    assert_eq!(json["version"], 1);
    json["checks"].as_array().unwrap().clone()
}

fn find<'a>(checks: &'a [Value], name: &str) -> &'a Value {
    checks.iter().find(|check| check["check"] == name).unwrap()
}

#[test]
fn each_finding_is_a_check_and_what_was_not_tried_is_skipped() {
    let fault = json!({"kind": "tls_failed", "what": "not trusted", "try": "mend it"});
    let checks = checks(
        env!("CARGO_PKG_VERSION"),
        vec![
            finding("vault", None),
            finding("of_tomorrow", None),
            finding("redirect_port", Some("default")),
            json!({"type": "finding", "check": "tls", "profile": "default", "fault": fault}),
            json!({"type": "done"}),
        ],
    );
    for (name, verdict) in [
        ("daemon", "pass"),
        ("vault", "pass"),
        ("redirect_port", "pass"),
        ("rally", "skipped"),
        ("tls", "fail"),
        ("clock", "skipped"),
        ("sign_in", "pass"),
        ("git", "pass"),
        ("units", "skipped"),
    ] {
        assert_eq!(find(&checks, name)["verdict"], verdict, "{name}");
    }
    assert_eq!(find(&checks, "tls")["fault"]["try"], "mend it");
    assert_eq!(find(&checks, "tls")["profile"], "default");
}

#[test]
fn a_daemon_of_another_release_is_told_even_if_it_does_not_know_what_a_check_is() {
    let unknown = json!({"type": "error", "kind": "bad_request", "what": "the request is not understood"});
    let checks = checks("0.0.1", vec![unknown]);
    assert_eq!(find(&checks, "daemon")["fault"]["kind"], "version_skew");
    assert_eq!(find(&checks, "daemon")["fault"]["try"], "rally-cred daemon restart");
    assert_eq!(find(&checks, "vault")["verdict"], "skipped");
}
