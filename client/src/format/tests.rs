//! What each format writes, read again by the program it is for, or by the rules of one.
//! Does not: run fish or PowerShell, which few machines have; their quotes are read by their documented rules.
//! Used by: `cargo test`.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::{fs, net::TcpListener, thread};

use proptest::{collection::vec, prelude::*};
use rally_cred_proto::{FaultKind, message::Token};
use serde_json::Value;

use super::*;

fn token(secret: &str) -> Token {
    Token {
        profile: "default".to_owned(),
        base_url: "https://rally1.rallydev.com".to_owned(),
        username: Some("me@example.com".to_owned()),
        token: Secret::parse(secret.to_owned()).unwrap(),
        expires_at: Some(1_767_322_985),
        also: None,
    }
}

fn written(token: &Token, format: Format) -> String {
    let mut stdout = Vec::new();
    give_token(token, format, None, &mut Output { stdout: &mut stdout, stderr: &mut Vec::new() }).unwrap();
    String::from_utf8(stdout).unwrap()
}

fn written_as(secret: &str, name: &str) -> String {
    written(&token(secret), Format::parse(name).unwrap())
}

/// Whatever a [`Secret`] can hold, with a weakness for what some language takes for a quote or a command.
fn secrets() -> impl Strategy<Value = String> {
    let characters = prop_oneof![
        prop::sample::select(r#"'"\`$!#%&;|<>(){}[]*?~=^ "#.chars().collect::<Vec<_>>()),
        prop::char::range('\u{2018}', '\u{201f}'),
        any::<char>().prop_filter("a secret is one line", |c| !matches!(*c, '\r' | '\n' | '\0')),
    ];
    vec(characters, 1..40).prop_map(String::from_iter)
}

/// Runs a program on this standard input; what it printed.
fn printed(command: &mut Command, stdin: &str) -> Vec<u8> {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(stdin.as_bytes()).unwrap();
    let done = child.wait_with_output().unwrap();
    assert!(done.status.success(), "{command:?}");
    done.stdout
}

#[test]
fn the_assignments_of_each_shell_look_as_its_users_write_them() {
    for (format, expected) in [
        ("env", "export RALLY_API_KEY='_a'\nexport RALLY_APIKEY='_a'\nexport RALLY_ZSESSIONID='_a'\n"),
        (
            "env-fish",
            "set -gx RALLY_API_KEY '_a'\nset -gx RALLY_APIKEY '_a'\nset -gx RALLY_ZSESSIONID '_a'\n",
        ),
        (
            "env-powershell",
            "$env:RALLY_API_KEY = '_a'\n$env:RALLY_APIKEY = '_a'\n$env:RALLY_ZSESSIONID = '_a'\n",
        ),
        ("curl", "header = \"ZSESSIONID: _a\"\n"),
    ] {
        assert_eq!(written_as("_a", format), expected, "{format}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]

    #[test]
    fn what_sh_evaluates_is_the_token(secrets in vec(secrets(), 60)) {
        let print = r#"printf '%s\0%s\0%s\0' "$RALLY_API_KEY" "$RALLY_APIKEY" "$RALLY_ZSESSIONID""#;
        let script: String = secrets.iter().map(|secret| written_as(secret, "env") + print + "\n").collect();
        let expected: String = secrets.iter().map(|secret| format!("{secret}\0").repeat(3)).collect();
        for shell in ["sh", "bash"] {
            let seen = printed(Command::new(shell).env("LC_ALL", "C.UTF-8"), &script);
            prop_assert_eq!(String::from_utf8_lossy(&seen), expected.as_str(), "{}", shell);
        }
    }

    #[test]
    fn what_curl_sends_is_the_token(secrets in vec(secrets(), 8)) {
        for secret in secrets {
            // A header of nothing but blanks is one that curl leaves out.
            let secret = format!("_{secret}");
            prop_assert_eq!(sent_by_curl(&written_as(&secret, "curl")), format!("ZSESSIONID: {secret}"));
        }
    }
}

proptest! {
    #[test]
    fn what_a_reader_of_json_finds_among_the_headers_is_the_token(secret in secrets()) {
        let headers: Value = serde_json::from_str(&written_as(&secret, "headers")).unwrap();
        prop_assert_eq!(headers, serde_json::json!({"ZSESSIONID": secret}));
    }
}

/// The header that curl sends when it gets this config on its standard input.
fn sent_by_curl(config: &str) -> String {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let server = thread::spawn(move || {
        let mut reader = BufReader::new(listener.accept().unwrap().0);
        let mut found = Vec::new();
        loop {
            let mut line = Vec::new();
            reader.read_until(b'\n', &mut line).unwrap();
            let line = line.strip_suffix(b"\r\n").unwrap();
            match line {
                b"" => break,
                line if line.starts_with(b"ZSESSIONID") => found = line.to_owned(),
                _ => {}
            }
        }
        reader.get_mut().write_all(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n").unwrap();
        String::from_utf8(found).unwrap()
    });
    let mut curl = Command::new("curl");
    printed(
        curl.args(["--disable", "--silent", "--show-error", "--fail", "--noproxy", "*", "-K", "-", &url]),
        config,
    );
    server.join().unwrap()
}

proptest! {
    #[test]
    fn what_fish_reads_between_its_quotes_is_the_token(secret in secrets()) {
        let text = written_as(&secret, "env-fish");
        let quoted = text.lines().next().unwrap().strip_prefix("set -gx RALLY_API_KEY '").unwrap();
        // A backslash stands for itself but in front of a quote or of another.
        prop_assert_eq!(read(quoted, |c, next| c == '\\' && matches!(next, '\'' | '\\'), |c| c == '\''), secret);
    }

    #[test]
    fn what_powershell_reads_between_its_quotes_is_the_token(secret in secrets()) {
        let text = written_as(&secret, "env-powershell");
        let quoted = text.lines().next().unwrap().strip_prefix("$env:RALLY_API_KEY = '").unwrap();
        let is_quote = |c| matches!(c, '\'' | '\u{2018}' | '\u{2019}' | '\u{201a}' | '\u{201b}');
        prop_assert_eq!(read(quoted, |c, next| is_quote(c) && is_quote(next), is_quote), secret);
    }
}

/// Reads up to the closing quote, which has to be the last character. Where `pairs` says so, of two characters only the
/// second counts.
fn read(quoted: &str, pairs: impl Fn(char, char) -> bool, closes: impl Fn(char) -> bool) -> String {
    let mut text = String::new();
    let mut characters = quoted.chars().peekable();
    while let Some(c) = characters.next() {
        match characters.peek() {
            Some(next) if pairs(c, *next) => text.extend(characters.next()),
            Some(_) if closes(c) => panic!("the quotes close too early"),
            None if closes(c) => return text,
            _ => text.push(c),
        }
    }
    panic!("the quotes do not close")
}

/// Whether `value` is what a part of the schema describes, as far as this schema goes: `const`, `type`, `required` and
/// `properties`. A field that the schema does not name is one that it lacks.
fn check(schema: &Value, value: &Value, at: &str) {
    if let Some(expected) = schema.get("const") {
        assert_eq!(value, expected, "{at}");
        return;
    }
    match schema["type"].as_str().unwrap() {
        "string" => assert!(value.is_string(), "{at}"),
        "integer" => assert!(value.is_i64(), "{at}"),
        _ => {
            let (properties, fields) = (&schema["properties"], value.as_object().unwrap());
            for name in schema["required"].as_array().unwrap() {
                assert!(fields.contains_key(name.as_str().unwrap()), "{at} lacks {name}");
            }
            for (name, value) in fields {
                check(properties.get(name).unwrap_or_else(|| panic!("{at} has {name}")), value, name);
            }
        }
    }
}

#[test]
fn the_schema_describes_what_is_printed() {
    let schema = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/get.schema.json")).unwrap();
    let schema: Value = serde_json::from_str(&schema).unwrap();
    let names = |fields: &Value| -> Vec<_> { fields.as_object().unwrap().keys().cloned().collect() };
    let parsed = |text: &str| -> Value { serde_json::from_str(text).unwrap() };

    let shape = &schema["$defs"]["token"];
    let full = parsed(&written_as("_abc", "json"));
    check(shape, &full, "token");
    assert_eq!(names(&full), names(&shape["properties"]));
    let key = git::Credential {
        password: Some(Secret::parse("_key".to_owned()).unwrap()),
        ..git::Credential::default()
    };
    let of = StaticCredential { protocol: "https".to_owned(), host: "a".to_owned(), credential: key };
    let mut stdout = Vec::new();
    give_static(&of, Format::Json, None, &mut Output { stdout: &mut stdout, stderr: &mut Vec::new() })
        .unwrap();
    let bare = parsed(&String::from_utf8(stdout).unwrap());
    check(shape, &bare, "token");
    let mut required: Vec<String> = serde_json::from_value(shape["required"].clone()).unwrap();
    required.sort();
    assert_eq!(names(&bare), required);

    let shape = &schema["$defs"]["failure"];
    let failure = |fault: &Fault| {
        let mut stdout = Vec::new();
        Output { stdout: &mut stdout, stderr: &mut Vec::new() }
            .or_json_fault::<()>(Err(fault.clone()), true)
            .unwrap_err();
        parsed(&String::from_utf8(stdout).unwrap())
    };
    check(shape, &failure(&Fault::new(FaultKind::Failed, "x")), "failure");
    let full = failure(&Fault::new(FaultKind::Failed, "x").why("y").remedy("z"));
    check(shape, &full, "failure");
    assert_eq!(names(&full["error"]), names(&shape["properties"]["error"]["properties"]));
    let kinds: Vec<_> = FaultKind::ALL.iter().map(|kind| Value::from(kind.name())).collect();
    assert_eq!(shape["properties"]["error"]["properties"]["kind"]["examples"], Value::from(kinds));
}
