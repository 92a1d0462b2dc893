//! What clients may create, change and delete in the sandbox's WSAPI, and what they are told if they may not.
//! Does not: read in pages or refuse tokens; `wsapi` does.
//! Used by: the suite.

use serde_json::{Value, json};

use super::{Answer, Stage};

/// A client with a key, which needs no security token.
struct Client(Stage);

impl Client {
    async fn new() -> Client {
        let stage = Stage::new().await;
        stage.sandbox.admit("_key");
        Client(stage)
    }

    async fn send(&self, method: &str, path: &str, body: &str) -> Value {
        let request = self
            .0
            .http
            .request(method.parse().unwrap(), self.0.url(&format!("/slm/webservice/v2.0/{path}")))
            .header("ZSESSIONID", "_key")
            .body(body.to_owned());
        let answer = Answer::of(request.send().await.unwrap()).await;
        assert_eq!(answer.status, 200, "{method} {path}: {}", answer.text);
        answer.json()
    }

    async fn get(&self, path: &str) -> Value {
        self.0.wsapi("_key", path).await.json()
    }
}

#[tokio::test]
async fn an_artifact_that_was_made_is_found_changed_and_gone() {
    let client = Client::new().await;
    let body = r#"{"defect":{"Name":"new","Owner":"/user/41529001","Severity":"Cosmetic"}}"#;
    let made = client.send("POST", "defect/create?fetch=FormattedID,Project", body).await;
    let made = &made["CreateResult"];
    assert_eq!(made["Errors"], json!([]));
    assert_eq!(made["Object"]["FormattedID"], "DE5");
    assert_eq!(made["Object"]["Project"]["_refObjectName"], "Example Project");
    assert_eq!(made["Object"].get("Name"), None);
    assert_eq!(made["Object"]["_ref"], client.0.url("/slm/webservice/v2.0/defect/53000005"));

    let mut whole = client.get("defect/53000005").await["Defect"].clone();
    assert_eq!(whole["Owner"]["_refObjectName"], "Dana Example");
    // A client may send back all that it got.
    whole["Name"] = json!("newer");
    whole.as_object_mut().unwrap().retain(|name, _| name != "Errors" && name != "Warnings");
    let body = json!({ "Defect": whole }).to_string();
    let changed = client.send("PUT", "Defect/53000005", &body).await;
    assert_eq!(changed["OperationResult"]["Object"]["_refObjectName"], "newer", "{changed}");

    let found = client.get("defect?query=((Name = newer) AND (Owner = /user/41529001))").await;
    assert_eq!(found["QueryResult"]["TotalResultCount"], 1, "{found}");
    let deleted = client.send("DELETE", "defect/53000005", "").await;
    assert_eq!(deleted["OperationResult"]["Errors"], json!([]));
    let again = client.send("DELETE", "defect/53000005", "").await;
    assert_eq!(again["OperationResult"]["Errors"], json!(["Cannot find object to delete"]));
    let next = client.send("PUT", "defect/create", r#"{"Defect":{"Name":"next"}}"#).await;
    assert_eq!(next["CreateResult"]["Object"]["FormattedID"], "DE6");
    client.0.sandbox.reset();
    client.0.sandbox.admit("_key");
    assert_eq!(client.get("defect").await["QueryResult"]["TotalResultCount"], 4);
}

#[tokio::test]
async fn what_may_not_be_written_is_a_200_with_errors() {
    let client = Client::new().await;
    let rows = [
        ("defect/create", "not json", "Cannot parse object stream"),
        ("defect/create", r#"{"Task":{"Name":"x"}}"#, "not of type Defect"),
        ("defect/create", r#"{"Defect":{}}"#, "Validation error: Defect.Name should not be null"),
        ("defect/53000001", r#"{"Defect":{"Name":""}}"#, "Validation error: Defect.Name should not be null"),
        ("defect/create", r#"{"Defect":{"Name":"x","Nonsense":1}}"#, "value for Nonsense"),
        (
            "defect/create",
            r#"{"Defect":{"Name":"x","State":"Eaten"}}"#,
            "value for State: not an allowed value",
        ),
        (
            "defect/create",
            r#"{"Defect":{"Name":"x","Owner":"/user/1"}}"#,
            "value for Owner: cannot find object",
        ),
        ("defect/53000001", r#"{"Defect":{"FormattedID":"DE9"}}"#, "value for FormattedID: it is read-only"),
        ("defect/1", r#"{"Defect":{"Name":"x"}}"#, "Cannot find object to update"),
    ];
    for (path, body, wanted) in rows {
        let answer = client.send("POST", path, body).await;
        let result = answer.get("CreateResult").or(answer.get("OperationResult")).unwrap();
        assert!(result["Errors"][0].as_str().unwrap().contains(wanted), "{body}: {answer}");
    }
    assert_eq!(client.get("defect").await["QueryResult"]["TotalResultCount"], 4);
}

#[tokio::test]
async fn a_project_in_the_address_is_where_an_artifact_is_made_and_looked_for() {
    let client = Client::new().await;
    let body = r#"{"Task":{"Name":"elsewhere"}}"#;
    client.send("PUT", "task/create?key=None&project=project/43000002", body).await;
    for (project, count) in [("project/43000001", 3), ("/project/43000002", 1), ("", 4)] {
        let found = client.get(&format!("task?project={project}")).await;
        assert_eq!(found["QueryResult"]["TotalResultCount"], count, "{project}");
    }
}

#[tokio::test]
async fn references_lead_from_the_subscription_to_allowed_values() {
    let client = Client::new().await;
    let follow = async |reference: &Value| {
        let path = reference["_ref"].as_str().unwrap().split_once("/v2.0/").unwrap().1.to_owned();
        client.get(&path).await["QueryResult"]["Results"].clone()
    };
    let subscription = client.get("subscription").await["Subscription"].clone();
    let workspaces = follow(&subscription["Workspaces"]).await;
    let projects = follow(&workspaces[0]["Projects"]).await;
    assert_eq!(projects[1]["Name"], "Second Project");
    let profile = client.get("user").await["User"]["UserProfile"]["_ref"].clone();
    assert!(profile.as_str().unwrap().ends_with("/userprofile/41000001"), "{profile}");

    let types = client.get("typedefinition?query=(ElementName = Defect)&fetch=Attributes").await;
    let attributes = follow(&types["QueryResult"]["Results"][0]["Attributes"]).await;
    let severity =
        attributes.as_array().unwrap().iter().find(|one| one["ElementName"] == "Severity").unwrap();
    assert_eq!(follow(&severity["AllowedValues"]).await[3]["StringValue"], "Cosmetic");

    let id = &workspaces[0]["ObjectID"];
    let request = client.0.http.get(client.0.url(&format!("/slm/schema/v2.0/workspace/{id}")));
    let schema = Answer::of(request.header("ZSESSIONID", "_key").send().await.unwrap()).await.json();
    assert_eq!(schema["QueryResult"]["Results"][1]["Attributes"], attributes);
}

#[tokio::test]
async fn a_token_that_is_over_writes_nothing() {
    let client = Client::new().await;
    client.0.sandbox.expire_tokens();
    let request = client.0.http.delete(client.0.url("/slm/webservice/v2.0/defect/53000001"));
    let answer = Answer::of(request.header("ZSESSIONID", "_key").send().await.unwrap()).await;
    assert_eq!(answer.status, 401);
    assert!(answer.text.contains("Full authentication is required"));
    client.0.sandbox.admit("_key");
    assert_eq!(client.get("defect").await["QueryResult"]["TotalResultCount"], 4);
}
