//! What a person sees of a sign-in, and what the daemon is told.
//! Does not: sign in anywhere (the integration tests do).
//! Used by: `cargo test`.

use std::{io::Cursor, sync::Mutex};

use serde_json::{Value, json};

use crate::terminal::Screen;
use crate::testing::{Act, Fake, FakeTerminal, Script, answer, run};

fn signed_in() -> Value {
    json!({"type": "signed_in", "profile": "default", "username": "me@example.com", "expires_at": 1_767_322_985,
           "already": false, "kept": true})
}

fn authorize() -> Value {
    json!({"type": "authorize", "profile": "default", "url": "https://rally1.rallydev.com/auth?x=1", "open": true,
           "timeout": 300})
}

fn fault(kind: &str) -> Value {
    json!({"type": "error", "kind": kind, "what": "it is so", "try": "this"})
}

fn typing_secret(secret: Option<&str>) -> FakeTerminal {
    FakeTerminal { typed_secret: secret.map(str::to_owned), ..FakeTerminal::default() }
}

fn typing_lines(lines: String) -> FakeTerminal {
    FakeTerminal { typed_lines: Mutex::new(Some(Box::new(Cursor::new(lines)))), ..FakeTerminal::default() }
}

const SIGNED_IN: &str =
    "profile default: signed in as me@example.com, token valid until 2026-01-02T03:03:05Z\n";

#[test]
fn the_browser_opens_and_the_address_is_shown_all_the_same() {
    let script = Script::new([answer([authorize(), signed_in()])]);
    let sys = script.sys().with("BROWSER", "firefox");
    assert_eq!(
        run("login", &sys).shown(),
        (
            0,
            SIGNED_IN.into(),
            "rally-cred: profile default: the browser opens this address to sign in, press \"Allow Access\" there:\n  \
             https://rally1.rallydev.com/auth?x=1\n\
             rally-cred: waiting for \"Allow Access\", at most 5 min\n"
                .into()
        )
    );
    assert_eq!(*sys.launched.lock().unwrap(), ["firefox https://rally1.rallydev.com/auth?x=1"]);
}

#[test]
fn no_browser_opens_if_none_is_wanted() {
    let script = Script::new([answer([authorize(), signed_in()])]);
    let sys = script.sys().with("BROWSER", "firefox");
    assert!(run("login --no-browser", &sys).stderr.contains(": open this address"));
    assert!(sys.launched.lock().unwrap().is_empty());
}

#[test]
fn the_request_says_what_the_command_line_says() {
    let plain = json!({"v": 1, "op": "login", "force": false, "timeout": 300, "can_paste": false});
    let full =
        json!({"v": 1, "op": "login", "profile": "work", "force": true, "timeout": 600, "can_paste": false});
    for (line, expected) in [("login", plain), ("login work --force --timeout 10m --no-autostart", full)] {
        let script = Script::new([answer([signed_in()])]);
        assert_eq!(run(line, &script.sys()).code, 0);
        assert_eq!(script.asked(), [expected]);
    }
    let script = Script::new([answer([signed_in()])]);
    run("login", &script.sys().with("RALLY_CRED_PROFILE", "home"));
    assert_eq!(script.asked()[0]["profile"], "home");
}

#[test]
fn what_the_person_should_know_of_the_outcome_is_said() {
    let notice =
        json!({"type": "notice", "kind": "vault_missing", "what": "no keyring answers", "try": "start one"});
    let unkept = json!({"type": "signed_in", "profile": "work", "already": true, "kept": false});
    let script = Script::new([answer([notice, unkept])]);
    assert_eq!(
        run("login work", &script.sys()).shown(),
        (
            0,
            "profile work: already signed in, until the daemon stops\n".into(),
            "rally-cred: warning: no keyring answers\n  try: start one\n".into()
        )
    );
}

#[test]
fn a_failed_sign_in_ends_with_the_code_of_its_fault() {
    for (kind, code) in
        [("denied", 4), ("timed_out", 5), ("vault_locked", 7), ("unreachable", 8), ("port_taken", 1)]
    {
        let script = Script::new([answer([fault(kind)])]);
        let expected = (code, String::new(), "rally-cred: it is so\n  try: this\n".to_owned());
        assert_eq!(run("login", &script.sys()).shown(), expected);
    }
}

#[test]
fn a_missing_client_secret_is_asked_for_and_the_sign_in_goes_on() {
    let script = Script::new([answer([fault("client_secret_needed")]), answer([signed_in()])]);
    let sys = Fake { terminal: typing_secret(Some("s3cret\n")), ..script.sys() };
    assert_eq!(run("login work", &sys).shown(), (0, SIGNED_IN.into(), String::new()));
    assert_eq!(*sys.terminal.prompts.lock().unwrap(), ["Client secret for profile work: "]);
    let secrets: Vec<_> = script.asked().iter().map(|ask| ask.get("client_secret").cloned()).collect();
    assert_eq!(secrets, [None, Some("s3cret".into())]);
}

#[test]
fn without_a_terminal_or_with_an_empty_line_the_missing_secret_is_the_fault() {
    for typed_secret in [None, Some("")] {
        let script = Script::new([answer([fault("client_secret_needed")])]);
        let sys = Fake { terminal: typing_secret(typed_secret), ..script.sys() };
        assert_eq!(run("login", &sys).code, 3);
        assert_eq!(*sys.terminal.prompts.lock().unwrap(), ["Client secret for the default profile: "]);
    }
}

#[test]
fn the_client_secret_is_the_first_line_of_standard_input() {
    for stdin in ["s3cret\nmore\n", "s3cret", "s3cret\r\n"] {
        let script = Script::new([answer([signed_in()])]);
        assert_eq!(run("login --client-secret-stdin", &script.sys().reading(stdin)).code, 0);
        assert_eq!(script.asked()[0]["client_secret"], "s3cret");
    }
    for stdin in ["", "\n", "a\0b\n"] {
        let script = Script::new([]);
        assert_eq!(run("login --client-secret-stdin", &script.sys().reading(stdin)).code, 3);
        assert!(script.asked().is_empty());
    }
}

#[test]
fn a_secret_that_was_given_and_is_still_missing_is_not_asked_for_again() {
    let script = Script::new([answer([fault("client_secret_needed")])]);
    let sys = Fake { terminal: typing_secret(Some("x")), ..script.sys() }.reading("s3cret\n");
    assert_eq!(run("login --client-secret-stdin", &sys).code, 3);
    assert!(sys.terminal.prompts.lock().unwrap().is_empty());
}

#[test]
fn a_pasted_address_goes_to_the_daemon_while_the_sign_in_waits() {
    let address = "http://localhost:8477/callback?code=c&state=s";
    let script = Script::new([
        Act::AnswerAround(vec![authorize()], vec![signed_in()]),
        answer([json!({"type": "done"})]),
    ]);
    let sys =
        Fake { stdin_is_terminal: true, terminal: typing_lines(format!("\n  {address} \n")), ..script.sys() };
    let done = run("login work --no-browser", &sys);
    assert_eq!((done.code, done.stdout.as_str()), (0, SIGNED_IN));
    assert!(done.stderr.contains("at most 5 min; if the browser"), "{}", done.stderr);
    assert!(done.stderr.contains("paste its address here; Ctrl-C cancels\n"), "{}", done.stderr);
    assert_eq!(
        script.asked(),
        [
            json!({"v": 1, "op": "login", "profile": "work", "force": false, "timeout": 300, "can_paste": true}),
            json!({"v": 1, "op": "paste", "profile": "work", "redirect": address}),
        ]
    );
}

#[test]
fn a_refused_paste_is_told_and_the_next_one_taken() {
    let script = Script::new([
        Act::AnswerAround(vec![authorize()], vec![signed_in()]),
        answer([fault("bad_redirect")]),
        answer([json!({"type": "done"})]),
    ]);
    let sys = Fake {
        stdin_is_terminal: true,
        terminal: typing_lines("nonsense\nhttp://localhost:8477/callback?x\n".to_owned()),
        ..script.sys()
    };
    let done = run("login --no-browser", &sys);
    assert_eq!((done.code, script.asked().len()), (0, 3));
    assert!(done.stderr.contains("rally-cred: it is so\n  try: this\n"), "{}", done.stderr);
    assert!(!done.stderr.contains("nonsense"), "{}", done.stderr);
}

#[test]
fn an_address_that_the_terminal_broke_into_lines_is_put_together() {
    let parts = ["http://localhost:8477/callback?co", "de=c&sta", "te=s"];
    let refused = || answer([fault("bad_redirect")]);
    let script = Script::new([
        Act::AnswerAround(vec![authorize()], vec![signed_in()]),
        refused(),
        refused(),
        refused(),
        refused(),
        answer([json!({"type": "done"})]),
    ]);
    let lines = format!("{}\n  {}  \n{}\n", parts[0], parts[1], parts[2]);
    let sys = Fake { stdin_is_terminal: true, terminal: typing_lines(lines), ..script.sys() };
    let done = run("login --no-browser", &sys);
    assert_eq!(done.code, 0, "{}", done.stderr);
    let pasted: Vec<_> = script.asked().iter().skip(1).map(|ask| ask["redirect"].clone()).collect();
    let first_two = format!("{}{}", parts[0], parts[1]);
    let expected = [parts[0], parts[1], &first_two, parts[2], &parts.concat()];
    assert_eq!(pasted, expected);
}

#[test]
fn over_ssh_the_way_back_for_the_browser_is_shown_ready_to_copy() {
    let mut authorize = authorize();
    authorize["start"] = "http://127.0.0.1:8477/start/word".into();
    let script = Script::new([answer([authorize, signed_in()])]);
    let terminal = FakeTerminal { host_name: Some("build-box".to_owned()), ..FakeTerminal::default() };
    let sys = Fake { terminal, ..script.sys() }
        .with("SSH_CONNECTION", "192.0.2.7 50222 198.51.100.4 22")
        .with("LOGNAME", "dana");
    let shown = run("login", &sys).stderr;
    assert!(shown.contains("own machine:\n  ssh -N -L 8477:127.0.0.1:8477 dana@build-box\n"), "{shown}");
}

#[test]
fn the_address_is_drawn_for_a_telephone_only_if_that_is_wanted() {
    for (line, is_drawn) in [("login", false), ("login --qr", true)] {
        let script = Script::new([answer([authorize(), signed_in()])]);
        let shown = run(line, &script.sys()).stderr;
        assert_eq!(shown.contains("█▀▀"), is_drawn, "{shown}");
    }
}

#[test]
fn on_a_terminal_one_line_at_its_foot_says_what_is_waited_for() {
    let waiting = |on: &str| json!({"type": "waiting", "profile": "default", "on": on});
    let script = Script::new([answer([waiting("keyring"), authorize(), waiting("exchange"), signed_in()])]);
    let screen = Some(Screen { columns: 80, has_colour: false });
    let terminal = FakeTerminal { screen, ..FakeTerminal::default() };
    let sys = Fake { terminal, stdin_is_terminal: true, ..script.sys() };
    let done = run("login --no-browser", &sys);
    assert_eq!((done.code, done.stdout.as_str()), (0, SIGNED_IN));
    let lines: Vec<_> = done.stderr.split("\r\u{1b}[K").filter(|line| !line.is_empty()).collect();
    let [keyring, told, countdown, .., exchange] = lines.as_slice() else { panic!("{lines:?}") };
    assert_eq!(*keyring, "waiting for the keyring; it may ask to be unlocked");
    assert!(
        told.ends_with("paste its address here and press Enter (it stays hidden); Ctrl-C cancels\n"),
        "{told}"
    );
    assert!(countdown.starts_with("waiting for \"Allow Access\" in the browser, "), "{countdown}");
    assert_eq!(*exchange, "waiting for Rally to give the token");
}
