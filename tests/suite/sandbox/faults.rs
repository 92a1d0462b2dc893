//! Faults on purpose, the control paths, and the record.
//! Does not: depend on how fast the machine is; a delay has a lower bound only.
//! Used by: the suite.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rally_cred_tests::sandbox::{Counters, Endpoint, Fault, Options, Planted};
use serde_json::{Value, json};

use super::{Stage, exchange, renewal};

/// A stage with a good token, whose user look-up meets one fault.
async fn faulty(fault: Fault) -> Stage {
    let stage = Stage::new().await;
    stage.sandbox.admit("good");
    stage.sandbox.fault(Endpoint::User, fault, Some(1));
    stage
}

#[tokio::test]
async fn a_status_comes_as_a_page_with_retry_after() {
    let stage = faulty(Fault::Status { status: 429, retry_after: Some(30) }).await;
    let answer = stage.wsapi("good", "user").await;
    assert_eq!((answer.status, answer.header("retry-after")), (429, "30"));
    assert!(answer.text.contains("HTTP ERROR 429"), "{}", answer.text);
    assert_eq!(stage.wsapi("good", "user").await.status, 200);
}

#[tokio::test]
async fn html_comes_in_place_of_json() {
    let stage = faulty(Fault::Html).await;
    let answer = stage.wsapi("good", "user").await;
    assert_eq!(answer.status, 200);
    assert!(answer.header("content-type").starts_with("text/html"));
}

#[tokio::test]
async fn garbage_and_truncated_json_are_not_json() {
    for fault in [Fault::Garbage, Fault::Truncated] {
        let stage = faulty(fault).await;
        let answer = stage.wsapi("good", "user").await;
        assert_eq!((answer.status, answer.header("content-type")), (200, "application/json"));
        assert!(serde_json::from_str::<Value>(&answer.text).is_err(), "{}", answer.text);
        assert_eq!(stage.wsapi("good", "user").await.status, 200);
    }
}

#[tokio::test]
async fn a_redirect_goes_where_it_is_told() {
    let stage = faulty(Fault::Redirect { location: "http://127.0.0.1:9/elsewhere".into() }).await;
    let answer = stage.wsapi("good", "user").await;
    assert_eq!((answer.status, answer.header("location")), (302, "http://127.0.0.1:9/elsewhere"));
}

#[tokio::test]
async fn an_answer_can_be_given_word_for_word() {
    let (content_type, body) = ("text/plain".to_owned(), r#"{"access_token":"T"}"#.to_owned());
    let stage = faulty(Fault::Answer { status: 201, content_type, body }).await;
    let answer = stage.wsapi("good", "user").await;
    let wanted = (201, "text/plain", r#"{"access_token":"T"}"#);
    assert_eq!((answer.status, answer.header("content-type"), answer.text.as_str()), wanted);
}

#[tokio::test]
async fn a_dropped_connection_has_no_answer_and_no_effect() {
    let stage = Stage::new().await;
    let code = stage.code().await;
    stage.sandbox.fault(Endpoint::Token, Fault::Drop, Some(1));
    let request = stage.http.post(stage.url("/login/oauth2/token")).form(&exchange(&code));
    assert!(request.send().await.is_err());
    assert_eq!(stage.sandbox.log().last().unwrap().status, None);
    assert_eq!(stage.redeem(&code).await.status, 200);
}

#[tokio::test]
async fn a_lost_answer_has_its_effect_all_the_same() {
    let stage = Stage::new().await;
    let tokens = stage.tokens().await;
    let refresh_token = tokens["refresh_token"].as_str().unwrap();
    stage.sandbox.plant(Planted { refresh_token: Some("lost".into()), ..Planted::default() });
    stage.sandbox.fault(Endpoint::Token, Fault::Lose, Some(1));
    let request = stage.http.post(stage.url("/login/oauth2/token")).form(&renewal(refresh_token));
    assert!(request.send().await.is_err());
    assert_eq!(stage.refresh(refresh_token).await.status, 400);
    assert_eq!(stage.refresh("lost").await.status, 200);
}

#[tokio::test]
async fn a_hanging_request_is_answered_when_the_faults_are_cleared() {
    let stage = Arc::new(faulty(Fault::Hang).await);
    let hanging = tokio::spawn({
        let stage = stage.clone();
        async move { stage.wsapi("good", "user").await.status }
    });
    stage.sandbox.until(|counters| counters.in_flight == 1).await.unwrap();
    // Others pass meanwhile.
    assert_eq!(stage.wsapi("good", "user").await.status, 200);
    assert!(!hanging.is_finished());
    stage.sandbox.clear_faults();
    assert_eq!(hanging.await.unwrap(), 200);
}

#[tokio::test]
async fn a_delayed_request_is_answered_no_sooner_than_told() {
    let stage = faulty(Fault::Delay { ms: 150 }).await;
    let sent = Instant::now();
    assert_eq!(stage.wsapi("good", "user").await.status, 200);
    assert!(sent.elapsed() >= Duration::from_millis(150));
}

#[tokio::test]
async fn faults_at_one_endpoint_come_in_order_and_leave_the_others_alone() {
    let stage = faulty(Fault::Status { status: 500, retry_after: None }).await;
    stage.sandbox.plan("user=status:503*2".parse().unwrap());
    stage.sandbox.plan("wsapi=status:408".parse().unwrap());
    let mut statuses = Vec::new();
    for _ in 0..4 {
        statuses.push(stage.wsapi("good", "user").await.status);
    }
    assert_eq!(statuses, [500, 503, 503, 200]);
    // Without a count a fault stays.
    for _ in 0..3 {
        assert_eq!(stage.wsapi("good", "task").await.status, 408);
    }
    stage.sandbox.clear_faults();
    assert_eq!(stage.wsapi("good", "task").await.status, 200);
    assert!(
        stage.sandbox.browser().open(&stage.sandbox.authorization_url("abc")).await.unwrap().status == 200
    );
}

#[tokio::test]
async fn the_login_endpoints_fail_too() {
    let stage = Stage::new().await;
    stage.sandbox.fault(Endpoint::Auth, Fault::Status { status: 503, retry_after: None }, Some(1));
    stage.sandbox.fault(Endpoint::Token, Fault::Html, Some(1));
    let page = stage.sandbox.browser().open(&stage.sandbox.authorization_url("abc")).await.unwrap();
    assert_eq!(page.status, 503);
    let code = stage.code().await;
    assert!(stage.redeem(&code).await.text.starts_with("<!doctype html>"));
    assert_eq!(stage.redeem(&code).await.status, 200);
}

#[tokio::test]
async fn everything_can_be_steered_over_http() {
    let stage = Stage::new().await;
    let steps = [
        ("/_sandbox/plant", r#"{"access_token":"planted","refresh_token":"planted-too"}"#),
        ("/_sandbox/options", r#"{"token_life":5,"user":{"ObjectID":41529}}"#),
        ("/_sandbox/options", r#"{"user":{"UserName":"lee@example.com"}}"#),
        ("/_sandbox/faults", r#"{"endpoint":"token","fault":"status","status":503,"times":1}"#),
        ("/_sandbox/admit", r#"{"token":"key"}"#),
    ];
    for (path, body) in steps {
        assert_eq!(stage.control(path, body).await, 200, "{path}");
    }
    let code = stage.code().await;
    assert_eq!(stage.redeem(&code).await.status, 503);
    let tokens = stage.redeem(&code).await.json();
    assert_eq!((&tokens["access_token"], &tokens["expires_in"]), (&json!("planted"), &json!(5)));
    let user = &stage.wsapi("key", "user").await.json()["User"];
    assert_eq!((&user["UserName"], &user["ObjectID"]), (&json!("lee@example.com"), &json!(41529)));

    assert_eq!(stage.control("/_sandbox/revoke", r#"{"token":"key"}"#).await, 200);
    assert_eq!(stage.control("/_sandbox/revoke", r#"{"token":"key"}"#).await, 404);
    assert_eq!(stage.wsapi("key", "user").await.status, 401);
    assert_eq!(stage.control("/_sandbox/expire", "").await, 200);
    assert_eq!(stage.wsapi("planted", "user").await.status, 401);
    assert_eq!(stage.control("/_sandbox/revoke-all", "").await, 200);
    assert_eq!(stage.refresh("planted-too").await.status, 400);

    let counters: Counters = serde_json::from_str(&stage.get("/_sandbox/counters").await.text).unwrap();
    assert_eq!(counters, stage.sandbox.counters());
    assert_eq!((counters.code_exchanges(), counters.refreshes(), counters.tokens()), (2, 1, 3));
    assert_eq!((counters.authorizations, counters.consents, counters.user_lookups), (1, 1, 3));
    let log: Value = stage.get("/_sandbox/log").await.json();
    assert_eq!(log[3]["form"][0], json!(["code", code]));

    assert_eq!(stage.control("/_sandbox/options", r#"{"token_lief":5}"#).await, 422);
    assert_eq!(stage.control("/_sandbox/reset", "").await, 200);
    assert_eq!((stage.sandbox.log(), stage.sandbox.counters()), (Vec::new(), Counters::default()));
    let port = stage.sandbox.options().port;
    assert_eq!(stage.sandbox.options(), Options { port, ..Options::default() });
}

#[tokio::test]
async fn the_record_holds_each_request_with_its_secrets_and_status() {
    let stage = Stage::new().await;
    let token = stage.tokens().await["access_token"].as_str().unwrap().to_owned();
    stage.wsapi(&token, "user?fetch=UserName").await;
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
}
