//! The part of WSAPI that the sandbox has, and who is let in.
//! Does not: test the query language; `query` does.
//! Used by: the suite.

use serde_json::json;

use super::{Answer, Stage};

const UNAUTHENTICATED: &str = "Full authentication is required to access this resource";

fn signed_in() -> (Stage, String) {
    let stage = Stage::new();
    let (token, _) = stage.tokens();
    (stage, token)
}

fn check_jetty(answer: &Answer, status: u16, reason: &str) {
    assert_eq!(answer.status, status, "{}", answer.text);
    assert!(answer.header("content-type").starts_with("text/html"));
    assert!(answer.text.contains(&format!("<title>Error {status} {reason}")), "{}", answer.text);
    assert!(answer.text.contains("Powered by Jetty"));
}

#[test]
fn the_user_behind_a_token_has_the_documented_shape() {
    let (stage, token) = signed_in();
    let answer = stage.wsapi(&token, "user?fetch=UserName,DisplayName,EmailAddress,ObjectID");
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

#[test]
fn a_missing_unknown_revoked_or_expired_token_is_a_401_page() {
    let (stage, token) = signed_in();
    check_jetty(&stage.get("/slm/webservice/v2.0/user"), 401, UNAUTHENTICATED);
    check_jetty(&stage.wsapi("unknown", "user"), 401, UNAUTHENTICATED);
    assert!(stage.sandbox.revoke(&token));
    check_jetty(&stage.wsapi(&token, "user"), 401, UNAUTHENTICATED);
    let (token, _) = stage.tokens();
    stage.sandbox.expire_tokens();
    check_jetty(&stage.wsapi(&token, "defect"), 401, UNAUTHENTICATED);
}

#[test]
fn a_refresh_token_is_no_access_token() {
    let stage = Stage::new();
    check_jetty(&stage.wsapi(&stage.tokens().1, "user"), 401, UNAUTHENTICATED);
}

#[test]
fn expired_access_tokens_leave_the_refresh_token_good() {
    let stage = Stage::new();
    let (_, refresh_token) = stage.tokens();
    stage.sandbox.expire_tokens();
    let (token, _) = stage.refresh(&refresh_token).tokens();
    assert_eq!(stage.wsapi(&token, "user").status, 200);
}

#[test]
fn an_admitted_token_works_without_a_flow() {
    let stage = Stage::new();
    stage.sandbox.admit("_an-api-key");
    assert_eq!(stage.wsapi("_an-api-key", "user").status, 200);
    stage.sandbox.revoke_all();
    assert_eq!(stage.wsapi("_an-api-key", "user").status, 401);
}

#[test]
fn a_cookie_beside_the_zsessionid_is_refused() {
    let (stage, token) = signed_in();
    let first = stage.wsapi(&token, "user");
    let cookie = first.header("set-cookie").split(';').next().unwrap();
    let request = stage.http.get(stage.url("/slm/webservice/v2.0/user")).header("ZSESSIONID", token);
    let answer = stage.send(request.header("cookie", cookie));
    assert_eq!(answer.status, 401);
    let errors = json!(["Not authorized to perform action: Invalid key"]);
    assert_eq!(answer.json()["OperationResult"]["Errors"], errors);
}

#[test]
fn an_address_that_is_not_allowed_is_a_404_page() {
    let (stage, token) = signed_in();
    stage.sandbox.change(|options| options.address_refused = true);
    let reason = "Your IP address, 127.0.0.1, is not within the allowed range that your subscription administrator has configured.";
    check_jetty(&stage.wsapi(&token, "user"), 404, reason);
}

#[test]
fn an_unknown_attribute_is_a_200_with_errors() {
    let (stage, token) = signed_in();
    let answer = stage.wsapi(&token, "task?query=(Nonsense%20%3D%201)");
    assert_eq!(answer.status, 200);
    let result = &answer.json()["QueryResult"];
    assert!(result["Errors"][0].as_str().unwrap().contains("\"Nonsense\" on type Task"), "{result}");
    assert_eq!(result["TotalResultCount"], 0);
}

#[test]
fn an_object_that_does_not_exist_is_a_200_with_errors() {
    let (stage, token) = signed_in();
    assert_eq!(stage.wsapi(&token, "task/54000001").json()["Task"]["FormattedID"], "TA1");
    assert_eq!(stage.wsapi(&token, "user/41529001").json()["User"]["Errors"], json!([]));
    for path in ["task/1", "user/1", "defect/54000001"] {
        let answer = stage.wsapi(&token, path);
        assert_eq!(answer.status, 200);
        assert_eq!(answer.json()["OperationResult"]["Errors"], json!(["Cannot find object to read"]));
    }
    check_jetty(&stage.wsapi(&token, "nonsense"), 404, "Not Found");
}
