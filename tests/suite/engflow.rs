//! EngFlow's credential helper protocol on real processes, as Bazel and other build tools speak it.
//! Does not: run a build tool. The specification's JSON schemas stand in `fixtures/`, and a validator holds both to them.
//! Used by: `main`.

use std::{fs, path::Path};

use rally_cred_tests::world::{Ended, World};
use serde_json::{Value, json};

use crate::sign_in::{opened, signed_in, value, with_daemon};

/// Whether a JSON text is what the schema of this name asks for.
fn is_valid(world: &World, schema: &str, text: &str) -> bool {
    let schema = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("fixtures/{schema}.schema.json"));
    let instance = world.path("instance.json");
    fs::write(&instance, text).unwrap();
    let [instance, schema] = [instance, schema].map(|path| path.display().to_string());
    world.run("jsonschema", &["--instance", &instance, &schema], "").code == Some(0)
}

fn get(world: &World, request: &Value) -> Ended {
    let request = request.to_string();
    assert!(is_valid(world, "engflow-request", &request), "{request}");
    world.client(&["get"], request)
}

#[test]
fn the_schemas_tell_right_from_wrong() {
    let world = World::new();
    for (schema, text, expected) in [
        ("engflow-request", r#"{"uri":"https://a"}"#, true),
        ("engflow-request", r#"{"uri":"https://a","later":1}"#, true),
        ("engflow-request", r#"{"url":"https://a"}"#, false),
        ("engflow-request", r#"{"uri":1}"#, false),
        ("engflow-request", r#"["uri"]"#, false),
        ("engflow-answer", "{}", true),
        ("engflow-answer", r#"{"headers":{"a":["b","c"]},"expires":"2026-01-02T03:04:05Z"}"#, true),
        ("engflow-answer", r#"{"headers":{"a":"b"}}"#, false),
        ("engflow-answer", r#"{"headers":{"a":[1]}}"#, false),
        ("engflow-answer", r#"{"expires":1767322985}"#, false),
        ("engflow-answer", r#"{"expires":"2026-01-02 03:04:05"}"#, false),
        ("engflow-answer", r#"{"token":"a"}"#, false),
    ] {
        assert_eq!(is_valid(&world, schema, text), expected, "{schema} {text}");
    }
}

#[test]
fn an_answer_is_what_the_specification_asks_for() {
    let (sandbox, world, _daemon) = signed_in();
    let uri = format!("{}/slm/webservice/v2.0/user", sandbox.base_url());
    let token = world.client(&["get", "--format", "json"], "").json();
    for request in
        [json!({"uri": uri}), json!({"uri": uri, "later": {"uri": "https://evil.example"}, "x": null})]
    {
        let got = get(&world, &request);
        assert_eq!((got.code, got.stderr.as_str()), (Some(0), ""), "{got:?}");
        assert!(is_valid(&world, "engflow-answer", &got.stdout), "{got:?}");
        let answer = got.json();
        assert_eq!(answer["headers"], json!({"ZSESSIONID": [token["token"]]}));
        let expires: jiff::Timestamp = answer["expires"].as_str().unwrap().parse().unwrap();
        assert_eq!(Some(expires.as_second()), token["expires_at"].as_i64());
    }
}

#[test]
fn what_is_not_ours_is_an_error_and_not_an_empty_answer() {
    let (sandbox, world, _daemon) = signed_in();
    let (_, host) = sandbox.base_url().split_once("://").unwrap();
    for uri in [
        format!("https://{host}/"),
        format!("grpcs://{host}/package.Service/Method"),
        format!("ftp://{host}/"),
        format!("http://{host}0/"),
        format!("http://u@{host}/"),
        "http://rally1.rallydev.com/".to_owned(),
        "https://rally1.rallydev.com/".to_owned(),
        "https://example.com/".to_owned(),
        host.to_owned(),
        "/slm".to_owned(),
        "urn:x".to_owned(),
        String::new(),
    ] {
        let got = get(&world, &json!({"uri": uri}));
        assert_eq!((got.code, got.stdout.as_str()), (Some(1), ""), "{uri}: {got:?}");
        assert!(got.stderr.starts_with("rally-cred: no profile is for this server\n"), "{uri}: {got:?}");
    }
}

#[test]
fn a_command_line_is_read_as_the_specification_has_it() {
    let (sandbox, world, _daemon) = signed_in();
    let request = json!({"uri": sandbox.base_url()}).to_string();
    for flags in [
        &["get", "--wait", "10s"][..],
        &["get", "--no-autostart", "--min-validity", "1s"],
        &["--profile", "default", "get"],
    ] {
        let got = world.client(flags, &request);
        assert!(got.code == Some(0) && is_valid(&world, "engflow-answer", &got.stdout), "{flags:?}: {got:?}");
    }
    // Further parameters may be an error, but then they are one and not half an answer.
    world.client(&["get", "--debug"], &request).refused(2);
    // Without a command: usage, and a failure.
    world.client(&[], &request).refused(2).told("Usage");
}

#[test]
fn a_sign_in_that_nobody_can_do_is_an_error_without_output() {
    let (sandbox, world, _daemon) = with_daemon(&[("CI", "1")]);
    let got = get(&world, &json!({"uri": sandbox.base_url()})).refused(3);
    assert!(got.stderr.contains("rally-cred login") && opened(&world).is_empty(), "{got:?}");
    assert_eq!(value(&got.stdout, "quit"), None);
}
