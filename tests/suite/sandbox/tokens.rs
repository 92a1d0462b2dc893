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

#[test]
fn a_code_becomes_the_documented_answer() {
    let stage = Stage::new();
    stage.sandbox.plant(Planted {
        access_token: Some("the-access".into()),
        refresh_token: Some("the-refresh".into()),
        id_token: Some("the-id".into()),
        ..Planted::default()
    });
    let answer = stage.redeem(&stage.code());
    let wanted = r#"{"id_token":"the-id","refresh_token":"the-refresh","expires_in":86400,"token_type":"Bearer","access_token":"the-access"}"#;
    assert_eq!((answer.status, answer.text.as_str()), (200, wanted));
}

#[test]
fn expires_in_can_be_a_text_or_absent_and_the_refresh_token_can_be_absent() {
    let stage = Stage::new();
    stage.sandbox.change(|options| options.expires_in = ExpiresIn::Text);
    assert_eq!(stage.redeem(&stage.code()).json()["expires_in"], "86400");
    stage.sandbox.change(|options| {
        options.expires_in = ExpiresIn::Absent;
        options.allow_refresh = false;
    });
    let body = stage.redeem(&stage.code()).json();
    assert_eq!((body.get("expires_in"), body.get("refresh_token")), (None, None));
}

#[test]
fn a_code_works_once() {
    let stage = Stage::new();
    let code = stage.code();
    assert_eq!(stage.redeem(&code).status, 200);
    check_refused(&stage.redeem(&code), 400, "invalid_grant", "Invalid authorization code");
}

#[test]
fn a_code_with_another_redirect_uri_is_refused() {
    let stage = Stage::new();
    let code = stage.code();
    let mut form = exchange(&code);
    form[1].1 = "http://localhost:8477/callback/";
    check_refused(&stage.post_token(&form), 400, "invalid_grant", "redirect_uri");
}

#[test]
fn an_expired_code_is_refused() {
    let stage = Stage::new();
    let code = stage.code();
    stage.sandbox.expire_tokens();
    check_refused(&stage.redeem(&code), 400, "invalid_grant", "expired");
}

#[test]
fn an_error_gives_the_client_its_secret_back() {
    let stage = Stage::new();
    let mut form = exchange("no-such-code");
    form[4].1 = "wrong secret";
    let answer = stage.post_token(&form);
    let wanted = r#"{"client_id":"sandbox-client","client_secret":"wrong secret","error_description":"Invalid client_id or client_secret","error":"invalid_client"}"#;
    assert_eq!((answer.status, answer.text.as_str()), (401, wanted));
}

#[test]
fn a_wrong_grant_type_is_an_invalid_grant() {
    let stage = Stage::new();
    let mut form = exchange("code");
    form[2].1 = "password";
    check_refused(&stage.post_token(&form), 400, "invalid_grant", WRONG_GRANT);
    stage.sandbox.change(|options| options.allow_refresh = false);
    check_refused(&stage.refresh("any"), 400, "invalid_grant", WRONG_GRANT);
}

#[test]
fn what_is_not_a_form_with_the_client_in_it_is_refused() {
    let stage = Stage::new();
    let code = stage.code();
    let form = exchange(&code);
    let json: serde_json::Map<String, Value> =
        form.iter().map(|(name, value)| ((*name).into(), json!(value))).collect();
    let text = form.map(|(name, value)| format!("{name}={value}")).join("&");
    let request = || stage.token_request();
    let with_query = stage.http.post(stage.url("/login/oauth2/token?client_secret=x"));
    for (request, status, error, description) in [
        (
            request().header("content-type", "application/json").body(json!(json).to_string()),
            400,
            "invalid_grant",
            WRONG_GRANT,
        ),
        (request().header("content-type", "text/plain").body(text), 400, "invalid_grant", WRONG_GRANT),
        (
            request().form(&form[..3]).basic_auth("sandbox-client", Some("sandbox-client-secret")),
            401,
            "invalid_client",
            "in the body",
        ),
        (request().form(&form).header("cookie", "a=b"), 400, "invalid_request", "Cookies"),
        (with_query.form(&form), 400, "invalid_request", "in the body"),
    ] {
        check_refused(&stage.send(request), status, error, description);
    }
    assert_eq!(stage.redeem(&code).status, 200);
}

#[test]
fn a_token_request_with_other_than_the_documented_fields_is_refused() {
    let stage = Stage::new();
    let form = exchange("code");
    for gone in [0, 1, 3, 4] {
        let rest: Vec<_> =
            form.iter().enumerate().filter(|(index, _)| *index != gone).map(|(_, pair)| *pair).collect();
        let missing = format!("{} is missing", form[gone].0);
        check_refused(&stage.post_token(&rest), 400, "invalid_request", &missing);
    }
    let twice = [&form[..], &form[..1]].concat();
    check_refused(&stage.post_token(&twice), 400, "invalid_request", "code is given more than once");
    let more = [&form[..], &[("scope", "alm")]].concat();
    check_refused(&stage.post_token(&more), 400, "invalid_request", "scope is not a parameter");
}

#[test]
fn a_refresh_token_dies_when_it_is_rotated() {
    let stage = Stage::new();
    let first = stage.tokens();
    let second = stage.refresh(&first.1).tokens();
    assert!(first.0 != second.0 && first.1 != second.1);
    check_refused(&stage.refresh(&first.1), 400, "invalid_grant", "Invalid refresh token");
    assert_eq!(stage.refresh(&second.1).status, 200);
}

#[test]
fn a_refresh_token_lives_on_without_rotation() {
    let stage = Stage::with(Options { rotate_refresh: false, ..Options::default() });
    let (_, refresh_token) = stage.tokens();
    for _ in 0..2 {
        assert_eq!(stage.refresh(&refresh_token).tokens().1, refresh_token);
    }
}

#[test]
fn a_refresh_may_name_the_registered_redirect_uri_and_no_other() {
    let stage = Stage::new();
    let (_, refresh_token) = stage.tokens();
    let form = renewal(&refresh_token);
    let wrong = [&form[..], &[("redirect_uri", "http://localhost/")]].concat();
    check_refused(&stage.post_token(&wrong), 400, "invalid_request", "redirect_uri");
    let right = [&form[..], &[("redirect_uri", "http://localhost:8477/callback")]].concat();
    assert_eq!(stage.post_token(&right).status, 200);
}
