//! Faults on purpose, and the record.
//! Does not: depend on how fast the machine is; a delay has a lower bound only.
//! Used by: the suite.

use std::thread;
use std::time::{Duration, Instant};

use rally_cred_tests::sandbox::{Endpoint, Fault};
use serde_json::Value;

use super::{Stage, exchange};

/// A stage with a good token, whose user look-up meets one fault.
fn faulty(fault: Fault) -> Stage {
    let stage = Stage::new();
    stage.sandbox.admit("good");
    stage.sandbox.fault(Endpoint::User, fault, Some(1));
    stage
}

fn status(status: u16) -> Fault {
    Fault::Status { status, retry_after: None }
}

#[test]
fn each_fault_shapes_one_answer() {
    let (content_type, body) = ("text/plain".to_owned(), r#"{"access_token":"T"}"#.to_owned());
    let elsewhere = "http://127.0.0.1:9/elsewhere";
    for (fault, code, (header, value), text) in [
        (Fault::Status { status: 429, retry_after: Some(30) }, 429, ("retry-after", "30"), "HTTP ERROR 429"),
        (Fault::Html, 200, ("content-type", "text/html; charset=utf-8"), "<!doctype html>"),
        (Fault::Garbage, 200, ("content-type", "application/json"), ""),
        (Fault::Truncated, 200, ("content-type", "application/json"), ""),
        (Fault::Redirect { location: elsewhere.into() }, 302, ("location", elsewhere), ""),
        (
            Fault::Answer { status: 201, content_type, body: body.clone() },
            201,
            ("content-type", "text/plain"),
            &body,
        ),
    ] {
        let stage = faulty(fault.clone());
        let answer = stage.wsapi("good", "user");
        assert_eq!((answer.status, answer.header(header)), (code, value), "{fault:?}");
        assert!(answer.text.contains(text), "{fault:?}: {}", answer.text);
        if value == "application/json" {
            assert!(serde_json::from_str::<Value>(&answer.text).is_err(), "{fault:?}: {}", answer.text);
        }
        assert_eq!(stage.wsapi("good", "user").status, 200, "{fault:?}");
    }
}

#[test]
fn a_dropped_connection_has_no_answer_and_no_effect() {
    let stage = Stage::new();
    let code = stage.code();
    stage.sandbox.fault(Endpoint::Token, Fault::Drop, Some(1));
    assert!(stage.try_send(stage.token_request().form(&exchange(&code))).is_err());
    assert_eq!(stage.sandbox.log().last().unwrap().status, None);
    assert_eq!(stage.redeem(&code).status, 200);
}

#[test]
fn a_hanging_request_is_answered_when_the_faults_are_cleared() {
    let stage = faulty(Fault::Hang);
    thread::scope(|scope| {
        let hanging = scope.spawn(|| stage.wsapi("good", "user").status);
        stage.sandbox.until(|counters| counters.user_lookups == 1).unwrap();
        // Others pass meanwhile.
        let request = stage.http.get(stage.url("/slm/webservice/v2.0/task")).header("ZSESSIONID", "good");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        assert_eq!(runtime.block_on(request.send()).unwrap().status(), 200);
        assert!(!hanging.is_finished());
        stage.sandbox.clear_faults();
        assert_eq!(hanging.join().unwrap(), 200);
    });
}

#[test]
fn a_delayed_request_is_answered_no_sooner_than_told() {
    let stage = faulty(Fault::Delay { ms: 150 });
    let sent = Instant::now();
    assert_eq!(stage.wsapi("good", "user").status, 200);
    assert!(sent.elapsed() >= Duration::from_millis(150));
}

#[test]
fn faults_at_one_endpoint_come_in_order_and_leave_the_others_alone() {
    let stage = faulty(status(500));
    stage.sandbox.fault(Endpoint::User, status(503), Some(2));
    stage.sandbox.fault(Endpoint::Wsapi, status(408), None);
    let statuses = |path: &str| [0; 4].map(|_| stage.wsapi("good", path).status);
    assert_eq!(statuses("user"), [500, 503, 503, 200]);
    // Without a count a fault stays.
    assert_eq!(statuses("task"), [408; 4]);
    stage.sandbox.clear_faults();
    assert_eq!(statuses("task"), [200; 4]);
}

#[test]
fn the_login_endpoints_fail_too() {
    let stage = Stage::new();
    stage.sandbox.fault(Endpoint::Auth, status(503), Some(1));
    stage.sandbox.fault(Endpoint::Token, Fault::Html, Some(1));
    let page = stage.sandbox.browser().open(&stage.sandbox.authorization_url("abc")).unwrap();
    assert_eq!(page.status, 503);
    let code = stage.code();
    assert!(stage.redeem(&code).text.starts_with("<!doctype html>"));
    assert_eq!(stage.redeem(&code).status, 200);
}

#[test]
fn the_record_holds_each_request_with_its_secrets_and_status() {
    let stage = Stage::new();
    let (token, _) = stage.tokens();
    stage.wsapi(&token, "user?fetch=UserName");
    let log = stage.sandbox.log();
    let lines: Vec<_> =
        log.iter().map(|entry| (entry.method.as_str(), entry.path.as_str(), entry.status)).collect();
    let wanted = [
        ("GET", "/login/oauth2/auth", Some(200)),
        ("POST", "/login/oauth2/consent", Some(302)),
        ("POST", "/login/oauth2/token", Some(200)),
        ("GET", "/slm/webservice/v2.0/user", Some(200)),
    ];
    assert_eq!(lines, wanted);
    assert_eq!(log[2].field("client_secret"), Some("sandbox-client-secret"));
    assert_eq!(log[3].header("zsessionid"), Some(token.as_str()));
    assert_eq!(log[3].query, [("fetch".to_owned(), "UserName".to_owned())]);
    let counters = stage.sandbox.counters();
    assert_eq!((counters.authorizations, counters.consents, counters.user_lookups), (1, 1, 1));
    assert_eq!((counters.code_exchanges(), counters.refreshes(), counters.tokens()), (1, 0, 1));
}
