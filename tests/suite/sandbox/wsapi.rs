//! The part of WSAPI that the sandbox has, and who is let in.
//! Does not: test the query language; `query` does.
//! Used by: the suite.

use std::sync::Arc;

use rally_cred_tests::sandbox::{Endpoint, Fault};
use serde_json::json;

use super::{Answer, Stage};

const UNAUTHENTICATED: &str = "Full authentication is required to access this resource";

async fn signed_in() -> (Stage, String) {
    let stage = Stage::new().await;
    let token = stage.tokens().await["access_token"].as_str().unwrap().to_owned();
    (stage, token)
}

fn check_jetty(answer: &Answer, status: u16, reason: &str) {
    assert_eq!(answer.status, status, "{}", answer.text);
    assert!(answer.header("content-type").starts_with("text/html"));
    assert!(answer.text.contains(&format!("<title>Error {status} {reason}")), "{}", answer.text);
    assert!(answer.text.contains("Powered by Jetty"));
}

#[tokio::test]
async fn the_user_behind_a_token_has_the_documented_shape() {
    let (stage, token) = signed_in().await;
    let answer = stage.wsapi(&token, "user?fetch=UserName,DisplayName,EmailAddress,ObjectID").await;
    assert_eq!(answer.status, 200);
    let wanted = json!({ "User": {
        "_rallyAPIMajor": "2",
        "_rallyAPIMinor": "0",
        "_ref": stage.url("/slm/webservice/v2.0/user/41529001"),
        "_refObjectName": "Dana Example",
        "UserName": "dana@example.com",
        "DisplayName": "Dana Example",
        "EmailAddress": "dana@example.com",
        "ObjectID": 41529001,
        "Errors": [],
        "Warnings": [],
    } });
    assert_eq!(answer.json(), wanted);
}

#[tokio::test]
async fn a_missing_unknown_revoked_or_expired_token_is_a_401_page() {
    let (stage, token) = signed_in().await;
    check_jetty(&stage.get("/slm/webservice/v2.0/user").await, 401, UNAUTHENTICATED);
    check_jetty(&stage.wsapi("unknown", "user").await, 401, UNAUTHENTICATED);
    assert!(stage.sandbox.revoke(&token));
    check_jetty(&stage.wsapi(&token, "user").await, 401, UNAUTHENTICATED);
    let token = stage.tokens().await["access_token"].as_str().unwrap().to_owned();
    stage.sandbox.expire_tokens();
    check_jetty(&stage.wsapi(&token, "defect").await, 401, UNAUTHENTICATED);
}

#[tokio::test]
async fn a_refresh_token_is_no_access_token() {
    let stage = Stage::new().await;
    let tokens = stage.tokens().await;
    check_jetty(&stage.wsapi(tokens["refresh_token"].as_str().unwrap(), "user").await, 401, UNAUTHENTICATED);
}

#[tokio::test]
async fn expired_access_tokens_leave_the_refresh_token_good() {
    let stage = Stage::new().await;
    let tokens = stage.tokens().await;
    stage.sandbox.expire_tokens();
    let renewed = stage.refresh(tokens["refresh_token"].as_str().unwrap()).await.json();
    assert_eq!(stage.wsapi(renewed["access_token"].as_str().unwrap(), "user").await.status, 200);
}

#[tokio::test]
async fn an_admitted_token_works_without_a_flow() {
    let stage = Stage::new().await;
    stage.sandbox.admit("_an-api-key");
    assert_eq!(stage.wsapi("_an-api-key", "user").await.status, 200);
    stage.sandbox.revoke_all();
    assert_eq!(stage.wsapi("_an-api-key", "user").await.status, 401);
}

#[tokio::test]
async fn a_cookie_beside_the_zsessionid_is_refused() {
    let (stage, token) = signed_in().await;
    let first = stage.wsapi(&token, "user").await;
    let cookie = first.header("set-cookie").split(';').next().unwrap();
    let request = stage.http.get(stage.url("/slm/webservice/v2.0/user")).header("ZSESSIONID", token);
    let answer = Answer::of(request.header("cookie", cookie).send().await.unwrap()).await;
    assert_eq!(answer.status, 401);
    let errors = json!(["Not authorized to perform action: Invalid key"]);
    assert_eq!(answer.json()["OperationResult"]["Errors"], errors);
}

#[tokio::test]
async fn an_address_that_is_not_allowed_is_a_404_page() {
    let (stage, token) = signed_in().await;
    stage.sandbox.change(|options| options.address_refused = true);
    let reason = "Your IP address, 127.0.0.1, is not within the allowed range that your subscription administrator has configured.";
    check_jetty(&stage.wsapi(&token, "user").await, 404, reason);
}

#[tokio::test]
async fn thirteen_requests_at_once_are_one_too_many() {
    let (stage, token) = signed_in().await;
    let stage = Arc::new(stage);
    stage.sandbox.fault(Endpoint::Wsapi, Fault::Hang, None);
    let open: Vec<_> = (0..12)
        .map(|_| {
            let (stage, token) = (stage.clone(), token.clone());
            tokio::spawn(async move { stage.wsapi(&token, "defect").await.status })
        })
        .collect();
    stage.sandbox.until(|counters| counters.in_flight == 12).await.unwrap();
    // The limit is the user's: it holds for every path of WSAPI together.
    check_jetty(&stage.wsapi(&token, "user").await, 429, "Too many concurrent requests");
    // A stranger is not the user, and is told so as always.
    check_jetty(&stage.wsapi("unknown", "user").await, 401, UNAUTHENTICATED);

    stage.sandbox.clear_faults();
    for request in open {
        assert_eq!(request.await.unwrap(), 200);
    }
    stage.sandbox.until(|counters| counters.in_flight == 0).await.unwrap();
    assert_eq!(stage.wsapi(&token, "user").await.status, 200);
    assert_eq!(stage.sandbox.counters().peak_in_flight, 12);
}

#[tokio::test]
async fn a_request_that_its_client_gives_up_is_no_longer_open() {
    let (stage, token) = signed_in().await;
    let stage = Arc::new(stage);
    stage.sandbox.fault(Endpoint::User, Fault::Hang, None);
    let request = tokio::spawn({
        let (stage, token) = (stage.clone(), token.clone());
        async move { stage.wsapi(&token, "user").await.status }
    });
    stage.sandbox.until(|counters| counters.in_flight == 1).await.unwrap();
    request.abort();
    stage.sandbox.until(|counters| counters.in_flight == 0).await.unwrap();
}

#[tokio::test]
async fn an_unknown_attribute_is_a_200_with_errors() {
    let (stage, token) = signed_in().await;
    let answer = stage.wsapi(&token, "task?query=(Nonsense%20%3D%201)").await;
    assert_eq!(answer.status, 200);
    let result = &answer.json()["QueryResult"];
    assert!(result["Errors"][0].as_str().unwrap().contains("\"Nonsense\" on type Task"), "{result}");
    assert_eq!(result["TotalResultCount"], 0);
}

#[tokio::test]
async fn an_object_that_does_not_exist_is_a_200_with_errors() {
    let (stage, token) = signed_in().await;
    assert_eq!(stage.wsapi(&token, "task/54000001").await.json()["Task"]["FormattedID"], "TA1");
    assert_eq!(stage.wsapi(&token, "user/41529001").await.json()["User"]["Errors"], json!([]));
    for path in ["task/1", "user/1", "defect/54000001"] {
        let answer = stage.wsapi(&token, path).await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.json()["OperationResult"]["Errors"], json!(["Cannot find object to read"]));
    }
    check_jetty(&stage.wsapi(&token, "nonsense").await, 404, "Not Found");
}
