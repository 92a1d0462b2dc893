//! What a shell is told may come next.
//! Does not: run a shell (the integration tests do).
//! Used by: `cargo test`.

use clap::ValueEnum;
use serde_json::{Value, json};

use crate::testing::{Act, Fake, Script, run};

fn named(name: &str) -> Value {
    json!({"type": "profile", "profile": name, "default": false, "base_url": "https://rally1.rallydev.com",
           "state": "unread", "ready": false, "renewable": false, "kept": false, "waiting": 0})
}

fn daemon() -> Script {
    let status =
        json!({"type": "status", "release": "0.1.0", "pid": 1, "config": "/x", "vault": {"kind": "memory"}});
    Script::new([Act::Answer(vec![named("work"), named("home"), named("$(touch x)"), status])])
}

/// The words that may stand where `line` ends. `/` is an empty word.
fn words(line: &str, sys: Fake) -> Vec<String> {
    let stdin: String = line.split(' ').map(|word| word.replace('/', "") + "\n").collect();
    let done = run("__complete", &sys.reading(stdin));
    assert_eq!((done.code, done.stderr.as_str()), (0, ""), "{line}");
    done.stdout.lines().map(|line| line.split('\t').next().unwrap().to_owned()).collect()
}

#[test]
fn commands_flags_and_values_are_completed_as_far_as_they_are_known() {
    for (line, expected) in [
        ("ge", ["get"].as_slice()),
        ("lo", &["login", "logout", "lock"]),
        ("config /", &["path", "check", "help"]),
        ("daemon re", &["restart", "reload"]),
        ("completions /", &["bash", "zsh", "fish", "powershell"]),
        ("get --f", &["--format"]),
        ("get --format e", &["engflow", "env", "env-fish", "env-powershell"]),
        ("get --format=h", &["--format=header", "--format=headers"]),
        ("get --format = h", &["header", "headers"]),
        (
            "get --format =",
            &[
                "git",
                "engflow",
                "token",
                "header",
                "headers",
                "json",
                "env",
                "env-fish",
                "env-powershell",
                "curl",
            ],
        ),
        ("exec --for p", &["pyral"]),
        ("exec --for pyral --fo", &["--for"]),
        ("login --no-browser --no", &["--no-autostart"]),
        ("login --timeout /", &[]),
        ("config check /", &[]),
        ("exec -- ge", &[]),
        ("nonsense", &[]),
        ("get --nonsense=", &[]),
    ] {
        assert_eq!(words(line, Fake::default()), expected, "{line}");
    }
}

#[test]
fn what_a_word_means_is_told_with_it() {
    let done = run("__complete", &Fake::default().reading("logi\n"));
    assert_eq!(done.stdout, "login\tSign in now\n");
    for line in run("__complete", &Fake::default().reading("get\n--\n")).stdout.lines() {
        assert!(line.split_once('\t').is_some_and(|(_, meaning)| !meaning.is_empty()), "{line}");
    }
}

#[test]
fn names_of_profiles_come_from_the_daemon_wherever_one_may_stand() {
    for (line, expected) in [
        ("login /", ["work", "home"].as_slice()),
        ("login --force w", &["work"]),
        ("logout h", &["home"]),
        ("status --check w", &["work"]),
        ("exec --for mcp w", &["work"]),
        ("get --profile /", &["work", "home"]),
        ("get --profile=w", &["--profile=work"]),
        ("login work /", &[]),
    ] {
        assert_eq!(words(line, daemon().sys()), expected, "{line}");
    }
}

#[test]
fn the_daemon_is_asked_only_where_a_profile_may_stand() {
    let script = daemon();
    for line in ["/", "login --", "get --format e", "exec work -- w"] {
        words(line, script.sys());
    }
    assert_eq!(script.asked(), Vec::<Value>::new());
}

#[test]
fn without_a_daemon_or_a_request_there_is_silence() {
    let home = tempfile::tempdir().unwrap();
    let sys = Fake { socket: Some(home.path().join("absent/agent.sock")), ..Fake::default() };
    assert_eq!(words("login /", sys), Vec::<String>::new());
    assert_eq!(run("__complete", &Fake::default()).shown(), (0, String::new(), String::new()));
    assert_eq!(
        run("__complete", &Fake::default().reading(b"\xff\n")).shown(),
        (0, String::new(), String::new())
    );
}

#[test]
fn the_script_of_a_shell_is_printed() {
    for shell in super::Shell::value_variants() {
        let script = shell.script();
        let done = run(&format!("completions {shell}"), &Fake::default());
        assert_eq!(done.shown(), (0, script.to_owned(), String::new()));
        assert!(script.contains(&format!("rally-cred {}", super::COMMAND)), "{shell}");
    }
    assert_eq!(run("completions tcsh", &Fake::default()).code, 2);
}
