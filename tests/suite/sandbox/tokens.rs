//! The token endpoint.
//! Does not: wait for a life to end; `grants` has those tests, with made-up clocks.
//! Used by: the suite.

use rally_cred_tests::sandbox::{ExpiresIn, Options, Planted};
use serde_json::{Value, json};

use super::{Answer, Stage, exchange, renewal};

const WRONG_GRANT: &str = "Invalid value for grant_type params - must be authorization_code";

fn text<'a>(body: &'a Value, field: &str) -> &'a str {
    body[field].as_str().unwrap()
}

fn check_refused(answer: &Answer, status: u16, error: &str, description: &str) {
    let body = answer.json();
    assert_eq!((answer.status, text(&body, "error")), (status, error), "{body}");
    assert!(text(&body, "error_description").contains(description), "{body}");
}

#[tokio::test]
async fn a_code_becomes_the_documented_answer() {
    let stage = Stage::new().await;
    stage.sandbox.plant(Planted {
        access_token: Some("the-access".into()),
        refresh_token: Some("the-refresh".into()),
        id_token: Some("the-id".into()),
        ..Planted::default()
    });
    let answer = stage.redeem(&stage.code().await).await;
    let wanted = r#"{"id_token":"the-id","refresh_token":"the-refresh","expires_in":86400,"token_type":"Bearer","access_token":"the-access"}"#;
    assert_eq!((answer.status, answer.text.as_str()), (200, wanted));
}

#[tokio::test]
async fn expires_in_can_be_a_text_or_absent_and_the_refresh_token_can_be_absent() {
    let stage = Stage::new().await;
    stage.sandbox.change(|options| options.expires_in = ExpiresIn::Text);
    assert_eq!(stage.tokens().await["expires_in"], json!("86400"));
    stage.sandbox.change(|options| {
        options.expires_in = ExpiresIn::Absent;
        options.allow_refresh = false;
    });
    let body = stage.tokens().await;
    assert_eq!((body.get("expires_in"), body.get("refresh_token")), (None, None));
}

#[tokio::test]
async fn a_code_works_once() {
    let stage = Stage::new().await;
    let code = stage.code().await;
    assert_eq!(stage.redeem(&code).await.status, 200);
    check_refused(&stage.redeem(&code).await, 400, "invalid_grant", "Invalid authorization code");
}

#[tokio::test]
async fn a_code_with_another_redirect_uri_is_refused() {
    let stage = Stage::new().await;
    let code = stage.code().await;
    let mut form = exchange(&code);
    form[1].1 = "http://localhost:8477/callback/";
    check_refused(&stage.post_token(&form).await, 400, "invalid_grant", "redirect_uri");
}

#[tokio::test]
async fn an_expired_code_is_refused() {
    let stage = Stage::new().await;
    let code = stage.code().await;
    stage.sandbox.expire_tokens();
    check_refused(&stage.redeem(&code).await, 400, "invalid_grant", "expired");
}

#[tokio::test]
async fn an_error_gives_the_client_its_secret_back() {
    let stage = Stage::new().await;
    let mut form = exchange("no-such-code");
    form[4].1 = "wrong secret";
    let answer = stage.post_token(&form).await;
    let wanted = r#"{"client_id":"sandbox-client","client_secret":"wrong secret","error_description":"Invalid client_id or client_secret","error":"invalid_client"}"#;
    assert_eq!((answer.status, answer.text.as_str()), (401, wanted));
}

#[tokio::test]
async fn a_wrong_grant_type_is_an_invalid_grant() {
    let stage = Stage::new().await;
    let mut form = exchange("code");
    form[2].1 = "password";
    check_refused(&stage.post_token(&form).await, 400, "invalid_grant", WRONG_GRANT);
    stage.sandbox.change(|options| options.allow_refresh = false);
    check_refused(&stage.refresh("any").await, 400, "invalid_grant", WRONG_GRANT);
}

#[tokio::test]
async fn a_json_body_is_refused() {
    let stage = Stage::new().await;
    let form = exchange("code");
    let body: serde_json::Map<String, Value> =
        form.iter().map(|(name, value)| ((*name).into(), json!(value))).collect();
    let request =
        stage.http.post(stage.url("/login/oauth2/token")).header("content-type", "application/json");
    let answer = Answer::of(request.body(json!(body).to_string()).send().await.unwrap()).await;
    check_refused(&answer, 400, "invalid_grant", WRONG_GRANT);
    assert_eq!(answer.json()["client_secret"], Value::Null);
}

#[tokio::test]
async fn a_form_that_is_not_called_a_form_is_refused() {
    let stage = Stage::new().await;
    let form = exchange(&stage.code().await).map(|(name, value)| format!("{name}={value}")).join("&");
    let request = stage.http.post(stage.url("/login/oauth2/token")).header("content-type", "text/plain");
    let answer = Answer::of(request.body(form).send().await.unwrap()).await;
    check_refused(&answer, 400, "invalid_grant", WRONG_GRANT);
}

#[tokio::test]
async fn http_basic_is_refused() {
    let stage = Stage::new().await;
    let code = stage.code().await;
    let request = stage.http.post(stage.url("/login/oauth2/token")).form(&exchange(&code)[..3]);
    let answer =
        Answer::of(request.basic_auth("sandbox-client", Some("sandbox-client-secret")).send().await.unwrap());
    check_refused(&answer.await, 401, "invalid_client", "in the body");
}

#[tokio::test]
async fn a_cookie_at_the_token_endpoint_is_refused() {
    let stage = Stage::new().await;
    let code = stage.code().await;
    let request =
        stage.http.post(stage.url("/login/oauth2/token")).form(&exchange(&code)).header("cookie", "a=b");
    check_refused(&Answer::of(request.send().await.unwrap()).await, 400, "invalid_request", "Cookies");
}

#[tokio::test]
async fn a_token_request_with_other_than_the_documented_fields_is_refused() {
    let stage = Stage::new().await;
    let form = exchange("code");
    for gone in [0, 1, 3, 4] {
        let rest: Vec<_> =
            form.iter().enumerate().filter(|(index, _)| *index != gone).map(|(_, pair)| *pair).collect();
        check_refused(
            &stage.post_token(&rest).await,
            400,
            "invalid_request",
            &format!("{} is missing", form[gone].0),
        );
    }
    let twice = [&form[..], &form[..1]].concat();
    check_refused(&stage.post_token(&twice).await, 400, "invalid_request", "code is given more than once");
    let more = [&form[..], &[("scope", "alm")]].concat();
    check_refused(&stage.post_token(&more).await, 400, "invalid_request", "scope is not a parameter");
    let request = stage.http.post(stage.url("/login/oauth2/token?client_secret=x")).form(&form);
    check_refused(&Answer::of(request.send().await.unwrap()).await, 400, "invalid_request", "in the body");
}

#[tokio::test]
async fn a_refresh_token_dies_when_it_is_rotated() {
    let stage = Stage::new().await;
    let first = stage.tokens().await;
    let second = stage.refresh(text(&first, "refresh_token")).await.json();
    assert_ne!(first["refresh_token"], second["refresh_token"]);
    assert_ne!(first["access_token"], second["access_token"]);
    check_refused(
        &stage.refresh(text(&first, "refresh_token")).await,
        400,
        "invalid_grant",
        "Invalid refresh token",
    );
    assert_eq!(stage.refresh(text(&second, "refresh_token")).await.status, 200);
}

#[tokio::test]
async fn a_refresh_token_lives_on_without_rotation() {
    let stage = Stage::with(Options { rotate_refresh: false, ..Options::default() }).await;
    let first = stage.tokens().await;
    for _ in 0..2 {
        let next = stage.refresh(text(&first, "refresh_token")).await.json();
        assert_eq!(first["refresh_token"], next["refresh_token"]);
    }
}

#[tokio::test]
async fn a_refresh_may_name_the_registered_redirect_uri_and_no_other() {
    let stage = Stage::new().await;
    let first = stage.tokens().await;
    let form = renewal(text(&first, "refresh_token"));
    let wrong = [&form[..], &[("redirect_uri", "http://localhost/")]].concat();
    check_refused(&stage.post_token(&wrong).await, 400, "invalid_request", "redirect_uri");
    let right = [&form[..], &[("redirect_uri", "http://localhost:8477/callback")]].concat();
    assert_eq!(stage.post_token(&right).await.status, 200);
}

#[tokio::test]
async fn the_statuses_of_refusals_can_be_set() {
    let stage =
        Stage::with(Options { error_status: 200, client_error_status: 403, ..Options::default() }).await;
    check_refused(&stage.redeem("no-such-code").await, 200, "invalid_grant", "Invalid authorization code");
    let mut form = exchange("code");
    form[3].1 = "stranger";
    check_refused(&stage.post_token(&form).await, 403, "invalid_client", "Invalid client_id");
}
