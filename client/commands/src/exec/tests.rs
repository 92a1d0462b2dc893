//! What `exec` gives to a program, takes from it, and says.
//! Does not: become another program; what it would become is noted.
//! Used by: `cargo test`.

use std::fs;

use serde_json::{Value, json};

use crate::testing::{Became, Fake, FakeTerminal, Script, answer, run};
use crate::variables;

fn token() -> Value {
    json!({"type": "token", "profile": "work", "base_url": "https://eu1.rallydev.com", "token": "_abc"})
}

/// What the program of this line becomes, and what is said meanwhile.
fn became(line: &str, change: impl FnOnce(Fake) -> Fake) -> (Became, String) {
    let script = Script::new([answer([token()])]);
    let sys = change(script.sys());
    let done = run(line, &sys);
    assert_eq!((done.code, done.stdout.as_str()), (42, ""), "{line}: {}", done.stderr);
    (sys.became.into_inner().unwrap().unwrap(), done.stderr)
}

fn pairs(given: &[(&str, &str)]) -> Vec<(String, String)> {
    given.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn the_program_gets_the_usual_three_unless_a_tool_or_a_variable_is_named() {
    let three =
        [("RALLY_APIKEY", "_abc"), ("RALLY_API_KEY", "_abc"), ("RALLY_ZSESSIONID", "_abc")].as_slice();
    for (flags, expected) in [
        ("", three),
        ("--for pyral", &[("APIKEY", "_abc"), ("RALLY_SERVER", "eu1.rallydev.com")]),
        ("--for rally-node", &[("RALLY_API_KEY", "_abc")]),
        ("--for ruby", &[("RALLY_API_KEY", "_abc")]),
        ("--for rally-tui", &[("RALLY_APIKEY", "_abc"), ("RALLY_SERVER", "eu1.rallydev.com")]),
        ("--for rally-cli", &[("RALLY_APIKEY", "_abc"), ("RALLY_SERVER", "eu1.rallydev.com")]),
        ("--for clojure", &[("API_KEY", "_abc"), ("RALLY_HOST", "https://eu1.rallydev.com")]),
        (
            "--for mcp",
            &[
                ("RALLY_APIKEY", "_abc"),
                ("RALLY_API_KEY", "_abc"),
                ("RALLY_INSTANCE", "https://eu1.rallydev.com"),
            ],
        ),
        (
            "--for rally-node --for clojure --set X=wsapi-url --set API_KEY=server",
            &[
                ("API_KEY", "eu1.rallydev.com"),
                ("RALLY_API_KEY", "_abc"),
                ("RALLY_HOST", "https://eu1.rallydev.com"),
                ("X", "https://eu1.rallydev.com/slm/webservice/v2.0"),
            ],
        ),
    ] {
        let (became, said) = became(&format!("exec {flags} -- tool --flag x"), |sys| sys);
        assert_eq!((became.line.as_str(), said.as_str()), ("tool --flag x", ""));
        assert_eq!(became.given, pairs(expected), "{flags}");
    }
}

#[test]
fn tokens_of_the_parent_are_taken_away_even_where_no_variable_takes_their_place() {
    let (became, _) = became("exec --for pyral -- tool", |sys| sys);
    let mut tokens = variables::TOKENS.map(str::to_owned).to_vec();
    tokens.sort();
    assert_eq!(became.taken, tokens);
}

#[test]
fn a_server_of_the_parent_is_taken_away_if_the_token_is_not_for_it() {
    let (foreign, said) = became("exec -- tool", |sys| {
        sys.with("RALLY_SERVER", "rally1.rallydev.com").with("RALLY_HOST", "https://eu1.rallydev.com")
    });
    assert!(foreign.taken.contains(&"RALLY_SERVER".to_owned()));
    assert!(!foreign.taken.contains(&"RALLY_HOST".to_owned()));
    assert_eq!(
        said,
        "rally-cred: warning: RALLY_SERVER is not passed on\n  why: it names another server than profile work has\n  \
         try: unset it, or add --set RALLY_SERVER=server, =base-url or =wsapi-url\n"
    );
    let (given, said) =
        became("exec --set RALLY_SERVER=server -- tool", |sys| sys.with("RALLY_SERVER", "elsewhere"));
    assert!(given.given.contains(&("RALLY_SERVER".to_owned(), "eu1.rallydev.com".to_owned())));
    assert_eq!(said, "");
}

#[test]
fn a_config_file_of_pyral_that_beats_the_variables_is_warned_of() {
    let folder = tempfile::tempdir().unwrap();
    for (name, text, key) in [
        ("rally-v2.0.cfg", "WORKSPACE = W\nAPIKEY=_old\n", Some("APIKEY")),
        ("rally-v2.0.cfg", "SERVER  =  rally1.rallydev.com\n", Some("SERVER")),
        ("rally-v2.0.cfg", "SERVER = eu1.rallydev.com\nUSER = me\nPROJECT = P\n# APIKEY = x\n", None),
        ("rally-v1.43.cfg", "APIKEY=_old\n", None),
        ("named", "APIKEY=_old\n", Some("APIKEY")),
        ("named.cfg", "APIKEY=_old\n", Some("APIKEY")),
    ] {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        let within = |sys: Fake| {
            let terminal =
                FakeTerminal { working_folder: folder.path().to_owned(), ..FakeTerminal::default() };
            Fake { terminal, ..sys }.with("RALLY_CONFIG", "named")
        };
        let (_, said) = became("exec --for pyral -- tool", within);
        let expected = key.map(|key| {
            format!(
                "rally-cred: warning: pyral takes {key} from {}\n  why: it prefers its config file to the \
                 variables\n  try: take the line {key}=… out of the file\n",
                path.display()
            )
        });
        assert_eq!(said, expected.unwrap_or_default(), "{name}: {text}");
        // Nobody else reads these files.
        assert_eq!(became("exec -- tool", within).1, "");
        fs::remove_file(path).unwrap();
    }
}

#[test]
fn the_get_behind_it_is_asked_as_the_flags_say() {
    let script = Script::new([answer([token()])]);
    let line = "exec work --min-validity 8h --wait 10s --interactive never --no-autostart -- tool --wait 1s";
    assert_eq!(run(line, &script.sys()).code, 42);
    let expected = json!({"v": 1, "op": "get", "profile": "work", "interactive": false, "wait": 10, "awaits_unlock": true,
                          "min_validity": 28800});
    assert_eq!(script.asked(), [expected]);
}

#[test]
fn without_a_token_the_program_does_not_run() {
    let fault = json!({"type": "error", "kind": "sign_in_needed", "what": "no sign-in"});
    let script = Script::new([answer([fault])]);
    let sys = script.sys();
    let done = run("exec --interactive never -- tool", &sys);
    assert_eq!((done.code, done.stdout.as_str()), (3, ""));
    assert!(sys.became.lock().unwrap().is_none());
}

#[test]
fn a_program_that_is_not_there_ends_as_in_a_shell() {
    let script = Script::new([answer([token()])]);
    let sys = Fake { missing_programs: vec!["nowhere".to_owned()], ..script.sys() };
    let done = run("exec -- nowhere", &sys);
    assert_eq!((done.code, done.stdout.as_str()), (127, ""));
    assert!(done.stderr.starts_with("rally-cred: nowhere cannot be run\n  why: "), "{}", done.stderr);
}

#[test]
fn a_wrong_command_line_is_usage() {
    for line in [
        "exec",
        "exec work",
        "exec work tool",
        "exec --for make -- tool",
        "exec --set A-B -- tool",
        "exec --set X=password -- tool",
        "exec --wait soon -- tool",
        "exec --format json -- tool",
    ] {
        let done = run(line, &Fake::default());
        assert_eq!((done.code, done.stdout.as_str()), (2, ""), "{line}");
    }
}
