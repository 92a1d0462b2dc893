//! What `get` asks, answers, says, and ends with.
//! Does not: run git or a daemon (the integration tests do); the daemon here is a script.
//! Used by: `cargo test`.

use serde_json::{Value, json};

use crate::testing::{Act, Fake, Script, answer, run};

const GIT: &str = "protocol=https\nhost=rally1.rallydev.com\n\n";
const ENGFLOW: &str = r#"{"uri":"https://rally1.rallydev.com/slm/webservice"}"#;

fn ops(asked: &[Value]) -> Vec<&str> {
    asked.iter().map(|ask| ask["op"].as_str().unwrap()).collect()
}

#[test]
fn a_daemon_that_is_too_old_is_replaced_if_it_is_idle_and_told_of_if_it_is_busy() {
    let done = || answer([json!({"type": "done"})]);
    let skew = || answer([fault("version_skew")]);
    let script = Script::new([skew(), done(), Act::Close, answer([token()])]);
    let got = run("get --format token", &script.sys());
    assert_eq!(got.shown(), (0, "_abc\n".into(), String::new()));
    assert_eq!(ops(&script.asked()), ["get", "make_way", "stop", "get"]);

    let busy =
        json!({"type": "error", "kind": "failed", "what": "the daemon is busy", "why": "it is locked"});
    let told =
        "rally-cred: it is so\n  why: because; it is not replaced by itself: it is locked\n  try: this\n";
    let script = Script::new([skew(), answer([busy])]);
    assert_eq!(run("get --format token", &script.sys()).shown(), (6, String::new(), told.into()));

    // One that its service manager starts again and again is asked twice and no more.
    let script = Script::new([skew(), done(), Act::Close, skew(), skew()]);
    assert_eq!(run("get --format token", &script.sys()).shown(), (6, String::new(), FAULT.into()));
    // One that is newer does not make way.
    let script = Script::new([skew(), skew()]);
    assert_eq!(run("get --format token", &script.sys()).shown(), (6, String::new(), FAULT.into()));
    // Nobody's daemon is ended by who may start none.
    let script = Script::new([skew()]);
    assert_eq!(run("get --no-autostart --format token", &script.sys()).shown().0, 6);
    assert_eq!(ops(&script.asked()), ["get"]);
}

fn token() -> Value {
    json!({"type": "token", "profile": "default", "base_url": "https://rally1.rallydev.com",
           "username": "me@example.com", "token": "_abc", "expires_at": 1_767_322_985})
}

fn fault(kind: &str) -> Value {
    json!({"type": "error", "kind": kind, "what": "it is so", "why": "because", "try": "this"})
}

fn authorize(open: bool) -> Value {
    json!({"type": "authorize", "profile": "default", "url": "https://rally1.rallydev.com/auth?x=1", "open": open,
           "timeout": 300})
}

const FAULT: &str = "rally-cred: it is so\n  why: because\n  try: this\n";

/// Runs `line` on `stdin` with a daemon that answers as given, where nobody can be asked.
fn check(line: &str, stdin: &str, answers: Vec<Value>, expected: (u8, &str, &str)) -> Vec<Value> {
    let script = Script::new([Act::Answer(answers)]);
    let done = run(line, &script.sys().reading(stdin));
    let (code, stdout, stderr) = done.shown();
    assert_eq!((code, stdout.as_str(), stderr.as_str()), expected, "{line} on {stdin}");
    script.asked()
}

#[test]
fn the_answer_has_the_format_of_the_request_unless_one_is_given() {
    let git = "username=me@example.com\npassword=_abc\npassword_expiry_utc=1767322985\n";
    let engflow = "{\"headers\":{\"ZSESSIONID\":[\"_abc\"]},\"expires\":\"2026-01-02T03:03:05Z\"}\n";
    let json = "{\"version\":1,\"profile\":\"default\",\"base_url\":\"https://rally1.rallydev.com\",\
                \"username\":\"me@example.com\",\"header\":\"ZSESSIONID\",\"token\":\"_abc\",\
                \"expires_at\":1767322985,\"expires\":\"2026-01-02T03:03:05Z\"}\n";
    for (line, stdin, stdout) in [
        ("get", GIT, git),
        ("get", "", git),
        ("get", " \n", git),
        ("get", ENGFLOW, engflow),
        ("get --format git", ENGFLOW, git),
        ("get --format engflow", GIT, engflow),
        ("get --format token", GIT, "_abc\n"),
        ("get --format header", "", "ZSESSIONID: _abc\n"),
        ("get --format headers", "", "{\"ZSESSIONID\":\"_abc\"}\n"),
        ("get --format json", "", json),
    ] {
        check(line, stdin, vec![token()], (0, stdout, ""));
    }
}

#[test]
fn a_server_that_the_profile_names_beside_rally_gets_the_token_in_the_header_that_it_wants() {
    let at = |header: Value| {
        let mut token = token();
        token["also"] = header;
        token
    };
    let mcp = "https://mcp.rallydev.com";
    let bearer = at(json!({"origin": mcp, "header": "Authorization", "scheme": "Bearer"}));
    let engflow = r#"{"uri":"https://mcp.rallydev.com/mcp"}"#;
    let git = "protocol=https\nhost=mcp.rallydev.com\n\n";
    let with_authtype = format!("capability[]=authtype\n{git}");
    let variables =
        "export RALLY_API_KEY='_abc'\nexport RALLY_APIKEY='_abc'\nexport RALLY_ZSESSIONID='_abc'\n";
    let json = "{\"version\":1,\"profile\":\"default\",\"base_url\":\"https://mcp.rallydev.com\",\
                \"username\":\"me@example.com\",\"header\":\"Authorization\",\"token\":\"Bearer _abc\",\
                \"expires_at\":1767322985,\"expires\":\"2026-01-02T03:03:05Z\"}\n";
    let as_password = "username=me@example.com\npassword=_abc\npassword_expiry_utc=1767322985\n";
    for (line, stdin, stdout) in [
        (
            "get",
            engflow,
            "{\"headers\":{\"Authorization\":[\"Bearer _abc\"]},\"expires\":\"2026-01-02T03:03:05Z\"}\n",
        ),
        (
            "get --format headers",
            "url=https://mcp.rallydev.com/mcp\n",
            "{\"Authorization\":\"Bearer _abc\"}\n",
        ),
        ("get --format header", git, "Authorization: Bearer _abc\n"),
        ("get --format curl", git, "header = \"Authorization: Bearer _abc\"\n"),
        ("get --format token", git, "_abc\n"),
        ("get --format env", git, variables),
        ("get --format json", engflow, json),
        ("get", git, as_password),
        (
            "get",
            &with_authtype,
            "capability[]=authtype\nephemeral=1\nauthtype=Bearer\ncredential=_abc\n\
             password_expiry_utc=1767322985\n",
        ),
    ] {
        check(line, stdin, vec![bearer.clone()], (0, stdout, ""));
    }
    // git knows no other header, so there it is a password.
    let own = at(json!({"origin": mcp, "header": "X-Key", "scheme": "Token"}));
    check("get --format headers", engflow, vec![own.clone()], (0, "{\"X-Key\":\"Token _abc\"}\n", ""));
    check(
        "get",
        &with_authtype,
        vec![own],
        (0, &format!("capability[]=authtype\nephemeral=1\n{as_password}"), ""),
    );
    // What the daemon gives for one server is for no other.
    let no_match = "rally-cred: no profile is for this server\n  try: rally-cred status\n";
    check("get", ENGFLOW, vec![bearer.clone()], (1, "", no_match));
    check("get", GIT, vec![bearer], (0, "", ""));
    check("get", engflow, vec![token()], (1, "", no_match));
    let broken = at(json!({"origin": mcp, "header": "Authorization", "scheme": "a\nb"}));
    let cannot = "rally-cred: the daemon gave a header that cannot be written\n";
    let script = Script::new([answer([broken])]);
    let done = run("get", &script.sys().reading(engflow));
    assert_eq!((done.code, done.stdout.as_str()), (1, ""));
    assert!(done.stderr.starts_with(cannot), "{}", done.stderr);
}

#[test]
fn git_is_told_not_to_store_the_token_if_it_understands_that() {
    let stdin = format!("capability[]=authtype\n{GIT}");
    let stdout = "capability[]=authtype\nephemeral=1\nusername=me@example.com\npassword=_abc\n\
                  password_expiry_utc=1767322985\n";
    check("get", &stdin, vec![token()], (0, stdout, ""));
}

#[test]
fn what_is_not_known_is_left_out_and_an_unknown_user_is_oauth() {
    let token =
        json!({"type": "token", "profile": "p", "base_url": "https://rally1.rallydev.com", "token": "_abc"});
    check("get", GIT, vec![token.clone()], (0, "username=oauth\npassword=_abc\n", ""));
    check("get", ENGFLOW, vec![token.clone()], (0, "{\"headers\":{\"ZSESSIONID\":[\"_abc\"]}}\n", ""));
    let json = "{\"version\":1,\"profile\":\"p\",\"base_url\":\"https://rally1.rallydev.com\",\
                \"header\":\"ZSESSIONID\",\"token\":\"_abc\"}\n";
    check("get --format json", GIT, vec![token], (0, json, ""));
}

#[test]
fn a_token_with_a_line_break_is_refused() {
    for breaker in ["\r", "\n", "\0"] {
        let token = json!({"type": "token", "profile": "p", "base_url": "https://rally1.rallydev.com",
                           "token": format!("canary{breaker}x")});
        let script = Script::new([answer([token])]);
        let done = run("get", &script.sys().reading(GIT));
        assert_eq!((done.code, done.stdout.as_str()), (1, ""));
        assert!(!done.stderr.contains("canary"), "{}", done.stderr);
    }
}

#[test]
fn the_request_says_whose_token_and_how_long_it_may_take() {
    for (line, stdin, expected) in [
        ("get", "", json!({"v": 1, "op": "get", "interactive": false, "wait": 120, "min_validity": 60})),
        (
            "get --wait 30s --min-validity 10m --profile work",
            GIT,
            json!({"v": 1, "op": "get", "profile": "work", "protocol": "https", "host": "rally1.rallydev.com",
                   "interactive": false, "wait": 30, "awaits_unlock": true, "min_validity": 600}),
        ),
        (
            "get",
            "protocol=https\nhost=rally1.rallydev.com\nusername=me\n",
            json!({"v": 1, "op": "get", "protocol": "https", "host": "rally1.rallydev.com", "username": "me",
                   "interactive": false, "wait": 120, "min_validity": 60}),
        ),
        (
            "get",
            ENGFLOW,
            json!({"v": 1, "op": "get", "uri": "https://rally1.rallydev.com/slm/webservice", "interactive": false,
                   "wait": 120, "min_validity": 60, "takes_authtype": true}),
        ),
        (
            "get",
            // An empty user name is a name; for a profile the daemon takes it for any.
            "capability[]=authtype\nprotocol=https\nhost=git.example.com\npath=caf\u{e9}/50%\nusername=\n",
            json!({"v": 1, "op": "get", "protocol": "https", "host": "git.example.com", "path": "caf\u{e9}/50%",
                   "username": "", "interactive": false, "wait": 120, "min_validity": 60, "takes_authtype": true}),
        ),
    ] {
        let script = Script::new([answer([token()])]);
        assert_eq!(run(line, &script.sys().reading(stdin)).code, 0);
        assert_eq!(script.asked(), [expected]);
    }
}

#[test]
fn a_path_that_is_no_text_stays_another_path_than_any_other() {
    let latin = super::text_of_path(b"caf\xe9/50%");
    assert_eq!(latin, "caf%E9/50%25");
    assert_eq!(super::text_of_path("caf\u{e9}/50%".as_bytes()), "caf\u{e9}/50%");
}

/// A static credential as the daemon gives it.
fn kept(protocol: &str, host: &str, credential: serde_json::Value) -> serde_json::Value {
    json!({"type": "static_credential", "protocol": protocol, "host": host, "credential": credential})
}

#[test]
fn a_static_credential_is_given_whole_to_git_and_as_a_header_to_others() {
    let request = "protocol=https\nhost=git.example.com\n\n";
    let whole = || {
        let credential = json!({"username": "me", "password": "p", "password_expiry_utc": 1_767_322_985,
                                "oauth_refresh_token": "r"});
        vec![kept("https", "git.example.com", credential)]
    };
    let lines = "username=me\npassword=p\npassword_expiry_utc=1767322985\noauth_refresh_token=r\n";
    check("get", request, whole(), (0, lines, ""));
    check("get --format header", request, whole(), (0, "Authorization: Basic bWU6cA==\n", ""));
    check("get --format token", request, whole(), (0, "p\n", ""));
    let engflow = "{\"uri\":\"https://git.example.com/x\"}";
    let answer =
        "{\"headers\":{\"Authorization\":[\"Basic bWU6cA==\"]},\"expires\":\"2026-01-02T03:03:05Z\"}\n";
    check("get", engflow, whole(), (0, answer, ""));
    let key = vec![kept("https", "git.example.com", json!({"username": "me", "password": "_key"}))];
    check("get --format header", request, key, (0, "ZSESSIONID: _key\n", ""));
    let bearer = || vec![kept("https", "git.example.com", json!({"authtype": "Bearer", "credential": "c"}))];
    check("get", request, bearer(), (0, "", ""));
    let request = format!("capability[]=authtype\n{request}");
    check("get", &request, bearer(), (0, "capability[]=authtype\nauthtype=Bearer\ncredential=c\n", ""));
}

#[test]
fn a_static_credential_of_another_server_is_not_given() {
    for request in ["protocol=http\nhost=git.example.com\n", "protocol=https\nhost=git.example.com:8443\n"] {
        let credential = json!({"username": "me", "password": "p"});
        check("get", request, vec![kept("https", "git.example.com", credential)], (0, "", ""));
    }
}

#[test]
fn credentials_that_cannot_be_looked_for_are_told_and_git_may_ask_others() {
    let locked = json!({"type": "notice", "kind": "vault_locked", "what": "the keyring is locked"});
    let answers = vec![locked, json!({"type": "no_match"})];
    check("get", GIT, answers, (7, "", "rally-cred: the keyring is locked\n"));
}

#[test]
fn git_hears_nothing_of_a_server_that_is_not_ours() {
    check("get", GIT, vec![json!({"type": "no_match"})], (0, "", ""));
    // Without a profile no server is.
    check("get", GIT, vec![fault("not_configured")], (0, "", ""));
}

#[test]
fn a_token_for_another_server_than_the_one_asked_for_is_not_given() {
    for stdin in [
        "protocol=https\nhost=github.com\n",
        "protocol=http\nhost=rally1.rallydev.com\n",
        "protocol=https\nhost=rally1.rallydev.com:8443\n",
        "protocol=https\nhost=rally1.rallydev.com.evil.example\n",
    ] {
        check("get", stdin, vec![token()], (0, "", ""));
    }
    let no_match = "rally-cred: no profile is for this server\n  try: rally-cred status\n";
    check("get", r#"{"uri":"https://github.com/"}"#, vec![token()], (1, "", no_match));
}

#[test]
fn a_request_without_host_or_protocol_is_not_even_asked() {
    for stdin in [
        "protocol=https\n",
        "host=rally1.rallydev.com\n",
        "protocol=https\nhost=\n",
        "protocol=\nhost=rally1.rallydev.com\n",
        "username=me\n",
        "url=https:///x\n",
    ] {
        let asked = check("get", stdin, vec![token()], (0, "", ""));
        assert_eq!(asked, Vec::<Value>::new(), "{stdin}");
    }
}

#[test]
fn every_other_format_than_gits_fails_for_a_server_that_is_not_ours() {
    let no_match = "rally-cred: no profile is for this server\n  try: rally-cred status\n";
    check("get", ENGFLOW, vec![json!({"type": "no_match"})], (1, "", no_match));
    check("get --format token", GIT, vec![json!({"type": "no_match"})], (1, "", no_match));
    check("get --format header", "protocol=https\n", vec![], (1, "", no_match));
    let json = "{\"version\":1,\"error\":{\"kind\":\"no_match\",\"what\":\"no profile is for this server\",\
                \"try\":\"rally-cred status\"}}\n";
    check("get --format json", GIT, vec![json!({"type": "no_match"})], (1, json, no_match));
}

#[test]
fn git_is_told_to_quit_where_the_server_is_ours_and_no_token_can_be_had() {
    for kind in [
        "sign_in_needed",
        "client_secret_needed",
        "denied",
        "address_not_allowed",
        "timed_out",
        "vault_locked",
        "unreachable",
        "tls_failed",
    ] {
        check("get", GIT, vec![fault(kind)], (0, "quit=1\n", FAULT));
    }
}

#[test]
fn git_asks_for_no_password_of_a_server_of_ours_whose_sign_in_finds_its_port_taken() {
    for kind in ["port_taken", "port_forbidden"] {
        check("get", GIT, vec![fault(kind)], (0, "quit=1\n", FAULT));
    }
}

#[test]
fn git_goes_on_where_the_fault_may_have_nothing_to_do_with_its_server() {
    for (kind, code) in [
        ("config_broken", 1),
        ("unknown_profile", 2),
        ("version_skew", 6),
        ("bad_request", 1),
        ("of_tomorrow", 1),
    ] {
        check("get", GIT, vec![fault(kind)], (code, "", FAULT));
    }
}

#[test]
fn other_callers_get_the_exit_code_of_the_fault() {
    for (kind, code) in
        [("sign_in_needed", 3), ("denied", 4), ("timed_out", 5), ("vault_locked", 7), ("unreachable", 8)]
    {
        check("get", ENGFLOW, vec![fault(kind)], (code, "", FAULT));
        check("get", "", vec![fault(kind)], (code, "", FAULT));
        check("get --format token", GIT, vec![fault(kind)], (code, "", FAULT));
        check("get --format headers", "", vec![fault(kind)], (code, "", FAULT));
        let json = format!(
            "{{\"version\":1,\"error\":{{\"kind\":\"{kind}\",\"what\":\"it is so\",\"why\":\"because\",\"try\":\"this\"}}}}\n"
        );
        check("get --format json", "", vec![fault(kind)], (code, &json, FAULT));
    }
}

#[test]
fn without_a_daemon_git_is_told_why_and_goes_on() {
    let home = tempfile::tempdir().unwrap();
    let sys = Fake { socket: Some(home.path().join("absent/agent.sock")), ..Fake::default() };
    let done = run("get --no-autostart", &sys.reading(GIT));
    assert_eq!((done.code, done.stdout.as_str()), (6, ""));
    assert!(done.stderr.starts_with("rally-cred: no rally-cred daemon answers\n"), "{}", done.stderr);
}

#[test]
fn a_malformed_request_is_refused_without_being_shown() {
    for stdin in [
        "protocol=https\nhost=canary\r\n".to_owned(),
        "host=canary\0\n".to_owned(),
        "canary\n".to_owned(),
        format!("host={}\n", "canary".repeat(20_000)),
        r#"{"uri":"canary\n"}"#.to_owned(),
        r#"{"canary":1}"#.to_owned(),
    ] {
        let script = Script::new([]);
        let done = run("get", &script.sys().reading(&stdin));
        assert_eq!((done.code, done.stdout.as_str()), (1, ""));
        assert!(done.stderr.starts_with("rally-cred: "), "{}", done.stderr);
        let lines: Vec<_> = done.stderr.lines().collect();
        assert!(matches!(lines.as_slice(), [_, remedy] if remedy.starts_with("  try: ")), "{lines:?}");
        assert!(!done.stderr.contains("canary"), "{}", done.stderr);
        assert!(script.asked().is_empty());
    }
}

#[test]
fn standard_input_that_nobody_closes_is_not_waited_for_forever() {
    let script = Script::new([]);
    let sys = Fake { stdin_stays_open: true, ..script.sys() };
    let done = run("get", &sys.reading("protocol=https\n"));
    assert_eq!((done.code, done.stdout.as_str()), (5, ""));
}

#[test]
fn git_that_keeps_standard_input_open_after_the_blank_line_is_answered() {
    let script = Script::new([answer([token()])]);
    let sys = Fake { stdin_stays_open: true, ..script.sys() };
    assert_eq!(run("get --format token", &sys.reading(GIT)).shown(), (0, "_abc\n".into(), String::new()));
}

#[test]
fn standard_input_is_not_read_where_the_flags_say_everything() {
    let script = Script::new([answer([token()])]);
    let sys = Fake { stdin_stays_open: true, ..script.sys() };
    let done = run("get --profile work --format token", &sys.reading("the next line of a script"));
    assert_eq!(done.shown(), (0, "_abc\n".into(), String::new()));
}

fn profile(name: &str) -> Value {
    json!({"type": "profile", "profile": name, "default": name == "default", "base_url": "https://rally1.rallydev.com",
           "state": "signed_in", "ready": true, "renewable": true, "kept": true, "waiting": 0})
}

fn status(static_hosts: &[&str]) -> Value {
    json!({"type": "status", "release": "1", "pid": 7, "config": "c", "vault": {"kind": "auto"},
           "static_hosts": static_hosts})
}

#[test]
fn a_format_without_a_request_is_answered_though_standard_input_stays_open() {
    let script = Script::new([answer([profile("default"), status(&[])]), answer([token()])]);
    let sys = Fake { stdin_stays_open: true, ..script.sys() };
    assert_eq!(run("get --format token", &sys).shown(), (0, "_abc\n".into(), String::new()));
    // A profile that a variable names is one.
    let script = Script::new([answer([token()])]);
    let sys = Fake { stdin_stays_open: true, ..script.sys() }.with("RALLY_CRED_PROFILE", "home");
    assert_eq!(run("get --format token", &sys).shown(), (0, "_abc\n".into(), String::new()));
    assert_eq!(script.asked()[0]["profile"], "home");
}

#[test]
fn where_a_late_request_could_mean_another_server_it_is_waited_for() {
    for (profiles, hosts) in
        [(vec![profile("default"), profile("b")], [].as_slice()), (vec![profile("default")], &["https://a"])]
    {
        let answers = || profiles.iter().cloned().chain([status(hosts)]).collect();
        let script = Script::new([Act::Answer(answers()), answer([token()])]);
        let sys = Fake { stdin_begins_late: true, ..script.sys() }.reading(GIT);
        assert_eq!(run("get --format token", &sys).stdout, "_abc\n");
        assert_eq!(script.asked()[1]["host"], "rally1.rallydev.com");

        let script = Script::new([Act::Answer(answers())]);
        let sys = Fake { stdin_stays_open: true, ..script.sys() };
        let done = run("get --format token", &sys);
        assert_eq!((done.code, done.stdout.as_str()), (5, ""));
        assert!(
            done.stderr.ends_with("  try: rally-cred get --format token </dev/null\n"),
            "{}",
            done.stderr
        );
    }
}

#[test]
fn on_a_terminal_the_default_profile_is_meant() {
    let script = Script::new([answer([token()])]);
    let sys = Fake { stdin_is_terminal: true, ..script.sys() };
    assert_eq!(run("get --format token", &sys).stdout, "_abc\n");
}

#[test]
fn a_good_token_is_given_without_a_thought_about_people() {
    let script = Script::new([answer([token()])]);
    let sys = Fake { has_terminal: true, ..script.sys() }.reading(GIT);
    assert_eq!(run("get", &sys).code, 0);
    assert_eq!(script.asked().len(), 1);
    assert!(sys.ran.lock().unwrap().is_empty());
}

#[test]
fn a_person_who_may_be_asked_signs_in_and_the_browser_opens_once() {
    let waiting = json!({"type": "waiting", "profile": "default", "on": "exchange"});
    let script = Script::new([
        answer([fault("sign_in_needed")]),
        answer([authorize(true), waiting, authorize(false), token()]),
    ]);
    let sys = Fake { has_terminal: true, ..script.sys() }.with("BROWSER", "firefox").reading(GIT);
    let done = run("get", &sys);
    assert_eq!(done.code, 0);
    assert!(done.stdout.contains("password=_abc\n"));
    assert_eq!(
        done.stderr,
        "rally-cred: profile default: the browser opens this address to sign in, press \"Allow Access\" there:\n  \
         https://rally1.rallydev.com/auth?x=1\n\
         rally-cred: profile default: waiting for Rally to give the token\n\
         rally-cred: profile default: open this address to sign in, press \"Allow Access\" there:\n  \
         https://rally1.rallydev.com/auth?x=1\n"
    );
    assert_eq!(*sys.launched.lock().unwrap(), ["firefox https://rally1.rallydev.com/auth?x=1"]);
    let asked: Vec<_> = script.asked().iter().map(|ask| ask["interactive"].clone()).collect();
    assert_eq!(asked, [false, true]);
}

#[test]
fn the_state_is_shown_and_stands_in_no_browsers_arguments() {
    let mut authorize = authorize(true);
    authorize["start"] = json!("http://127.0.0.1:8477/start/word");
    let script = Script::new([answer([authorize, token()])]);
    let sys = Fake { has_terminal: true, ..script.sys() }.with("BROWSER", "firefox").reading(GIT);
    let done = run("get", &sys);
    assert!(done.stderr.ends_with("\n  https://rally1.rallydev.com/auth?x=1\n"), "{}", done.stderr);
    assert_eq!(*sys.launched.lock().unwrap(), ["firefox http://127.0.0.1:8477/start/word"]);
}

#[test]
fn nobody_is_asked_where_that_is_ruled_out() {
    for (flags, git_setting, variable, asked) in [
        ("--interactive never", None, None, [false].as_slice()),
        ("", Some("false"), None, &[false]),
        ("", None, Some("CI"), &[false]),
        ("--interactive always", Some("false"), Some("CI"), &[true]),
    ] {
        let script = Script::new([answer([fault("sign_in_needed")])]);
        let sys = Fake { has_terminal: true, ..script.sys() };
        let sys = match git_setting {
            Some(value) => sys.answering("git config --get credential.interactive", 0, value),
            None => sys,
        };
        let sys = variable.into_iter().fold(sys, |sys, name| sys.with(name, "true"));
        assert_eq!(run(&format!("get {flags}"), &sys.reading(GIT)).stdout, "quit=1\n");
        let interactive: Vec<_> =
            script.asked().iter().map(|ask| ask["interactive"].as_bool().unwrap()).collect();
        assert_eq!(interactive, asked, "{flags} {git_setting:?} {variable:?}");
    }
}

#[test]
fn a_sign_in_cannot_help_with_other_faults_so_nobody_is_asked() {
    let script = Script::new([answer([fault("client_secret_needed")])]);
    let sys = Fake { has_terminal: true, ..script.sys() };
    run("get", &sys.reading(GIT));
    assert_eq!(script.asked().len(), 1);
}

#[test]
fn news_is_told_to_whoever_did_not_ask_in_gits_name() {
    let notice =
        json!({"type": "notice", "kind": "vault_missing", "what": "no keyring answers", "try": "start one"});
    let waiting = json!({"type": "waiting", "profile": "default", "on": "keyring"});
    let later = json!({"type": "of_tomorrow"});
    let events = vec![waiting, notice, later, token()];
    check(
        "get --format token",
        "",
        events.clone(),
        (
            0,
            "_abc\n",
            "rally-cred: profile default: waiting for the keyring; it may ask to be unlocked\n\
         rally-cred: warning: no keyring answers\n  try: start one\n",
        ),
    );
    let git = "username=me@example.com\npassword=_abc\npassword_expiry_utc=1767322985\n";
    check("get", GIT, events, (0, git, ""));
}

#[test]
fn a_daemon_that_stops_while_it_is_asked_is_asked_again() {
    for first in [Act::Close, answer([fault("stopping")])] {
        let script = Script::new([first, answer([token()])]);
        assert_eq!(run("get --format token", &script.sys().reading("")).stdout, "_abc\n");
    }
    // But not for ever, and not when a person has been asked meanwhile.
    let script = Script::new([answer([fault("stopping")]), answer([fault("stopping")])]);
    assert_eq!(run("get --format token", &script.sys().reading("")).code, 6);
    assert_eq!(script.asked().len(), 2);
    let script = Script::new([answer([authorize(false), fault("stopping")])]);
    assert_eq!(run("get --format token --interactive always", &script.sys().reading("")).code, 6);
    assert_eq!(script.asked().len(), 1);
}
