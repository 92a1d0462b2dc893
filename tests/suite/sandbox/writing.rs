//! What clients create, change and delete in the sandbox's WSAPI.
//! Does not: read in pages or refuse tokens (`wsapi` does), or what the toolkits in `suite/tools` show by their runs.
//! Used by: the suite.

use serde_json::{Value, json};

use super::Stage;

/// A client with a key, which needs no security token.
struct Client(Stage);

impl Client {
    fn new() -> Client {
        let stage = Stage::new();
        stage.sandbox.admit("_key");
        Client(stage)
    }

    fn send(&self, method: &str, path: &str, body: &str) -> Value {
        let request = self
            .0
            .http
            .request(method.parse().unwrap(), self.0.url(&format!("/slm/webservice/v2.0/{path}")))
            .header("ZSESSIONID", "_key")
            .body(body.to_owned());
        let answer = self.0.send(request);
        assert_eq!(answer.status, 200, "{method} {path}: {}", answer.text);
        answer.json()
    }

    fn get(&self, path: &str) -> Value {
        self.0.wsapi("_key", path).json()
    }
}

#[test]
fn an_artifact_that_was_made_is_found_changed_and_gone() {
    let client = Client::new();
    let body = r#"{"defect":{"Name":"new","Owner":"/user/41529001","Severity":"Cosmetic"}}"#;
    let made = client.send("POST", "defect/create?fetch=FormattedID,Project", body);
    let made = &made["CreateResult"];
    assert_eq!(made["Errors"], json!([]));
    assert_eq!(made["Object"]["FormattedID"], "DE5");
    assert_eq!(made["Object"]["Project"]["_refObjectName"], "Example Project");
    assert_eq!(made["Object"].get("Name"), None);
    assert_eq!(made["Object"]["_ref"], client.0.url("/slm/webservice/v2.0/defect/53000005"));

    let mut whole = client.get("defect/53000005")["Defect"].clone();
    assert_eq!(whole["Owner"]["_refObjectName"], "Dana Example");
    // A client may send back all that it got.
    whole["Name"] = json!("newer");
    whole.as_object_mut().unwrap().retain(|name, _| name != "Errors" && name != "Warnings");
    let body = json!({ "Defect": whole }).to_string();
    let changed = client.send("PUT", "Defect/53000005", &body);
    assert_eq!(changed["OperationResult"]["Object"]["_refObjectName"], "newer", "{changed}");

    let found = client.get("defect?query=((Name = newer) AND (Owner = /user/41529001))");
    assert_eq!(found["QueryResult"]["TotalResultCount"], 1, "{found}");
    let deleted = client.send("DELETE", "defect/53000005", "");
    assert_eq!(deleted["OperationResult"]["Errors"], json!([]));
    for (method, body) in [("DELETE", ""), ("PUT", body.as_str())] {
        let again = client.send(method, "defect/53000005", body);
        let error = again["OperationResult"]["Errors"][0].as_str().unwrap();
        assert!(error.starts_with("Cannot find object to "), "{again}");
    }
    let next = client.send("PUT", "defect/create", r#"{"Defect":{"Name":"next"}}"#);
    assert_eq!(next["CreateResult"]["Object"]["FormattedID"], "DE6");
}

#[test]
fn a_token_that_is_over_writes_nothing() {
    let client = Client::new();
    client.0.sandbox.expire_tokens();
    let request = client.0.http.delete(client.0.url("/slm/webservice/v2.0/defect/53000001"));
    let answer = client.0.send(request.header("ZSESSIONID", "_key"));
    assert_eq!(answer.status, 401);
    assert!(answer.text.contains("Full authentication is required"));
    client.0.sandbox.admit("_key");
    assert_eq!(client.get("defect")["QueryResult"]["TotalResultCount"], 4);
}
