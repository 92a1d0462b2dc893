//! A little of WSAPI v2.0: the user behind the token, and reading stories, defects and tasks.
//! Does not: write, or check the token; `gate` has let the request through.
//! Met by: the daemon's look-up of the user, and whoever tries a ZSESSIONID.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Json, Router};
use serde_json::{Map, Value, json};

use super::artifacts::{self, Kind, fetched};
use super::control::Control;
use super::pages;
use super::query;
use super::record::{Entry, first};

pub(super) fn routes() -> Router<Arc<Control>> {
    Router::new()
        .route("/slm/webservice/v2.0/user", get(current_user))
        .route("/slm/webservice/v2.0/user/{id}", get(user))
        .route("/slm/webservice/v2.0/{kind}", get(list))
        .route("/slm/webservice/v2.0/{kind}/{id}", get(read))
}

/// Paths that neither Rally nor the sandbox has.
pub(super) async fn not_found(uri: Uri) -> Response {
    pages::jetty(StatusCode::NOT_FOUND, uri.path(), "Not Found")
}

/// Methods that the sandbox does not have.
pub(super) async fn method_not_allowed(uri: Uri) -> Response {
    pages::jetty(StatusCode::METHOD_NOT_ALLOWED, uri.path(), "Method Not Allowed")
}

async fn current_user(State(control): State<Arc<Control>>, Extension(entry): Extension<Entry>) -> Response {
    one("User", artifacts::user(&control.options().user), &entry)
}

async fn user(
    State(control): State<Arc<Control>>,
    Extension(entry): Extension<Entry>,
    Path(id): Path<String>,
) -> Response {
    let user = control.options().user;
    if user.object_id.to_string() == id {
        one("User", artifacts::user(&user), &entry)
    } else {
        no_such_object()
    }
}

async fn read(
    State(control): State<Arc<Control>>,
    Extension(entry): Extension<Entry>,
    Path((kind, id)): Path<(String, String)>,
) -> Response {
    let Some(kind) = Kind::named(&kind) else { return unknown_type(&entry) };
    let wanted = json!(id.parse::<u64>().ok());
    let all = artifacts::all(kind, &control.options().user);
    match all.into_iter().find(|artifact| artifact.get("ObjectID") == Some(&wanted)) {
        Some(artifact) => one(kind.type_name(), artifact, &entry),
        None => no_such_object(),
    }
}

/// A query: `query`, `fetch`, and pages by `start` (from 1) and `pagesize` (20 unless given, 2000 at most).
async fn list(
    State(control): State<Arc<Control>>,
    Extension(entry): Extension<Entry>,
    Path(kind): Path<String>,
) -> Response {
    let Some(kind) = Kind::named(&kind) else { return unknown_type(&entry) };
    let mut found = artifacts::all(kind, &control.options().user);
    if let Some(text) = first(&entry.query, "query").filter(|text| !text.trim().is_empty()) {
        let known: Vec<String> = found.iter().flat_map(|artifact| artifact.keys().cloned()).collect();
        match query::parse(text, kind.type_name(), &known) {
            Ok(condition) => found.retain(|artifact| condition.holds(artifact)),
            // An application error is a 200 with the error in the body, and counts that are all nought.
            Err(error) => return Json(query_result(&[error], 0, 0, 0, Vec::new())).into_response(),
        }
    }
    let number = |name| first(&entry.query, name).and_then(|text| text.parse::<usize>().ok());
    let start = number("start").unwrap_or(1).max(1);
    let page_size = number("pagesize").unwrap_or(20).clamp(1, 2000);
    let total = found.len();
    let fetch = first(&entry.query, "fetch").unwrap_or_default();
    let page =
        found.into_iter().skip(start - 1).take(page_size).map(|artifact| fetched(artifact, fetch)).collect();
    Json(query_result(&[], total, start, page_size, page)).into_response()
}

/// One object under its type's name, with its errors and warnings inside.
fn one(type_name: &str, object: Map<String, Value>, entry: &Entry) -> Response {
    let mut object = fetched(object, first(&entry.query, "fetch").unwrap_or("true"));
    object.remove("_type");
    object.insert("Errors".into(), json!([]));
    object.insert("Warnings".into(), json!([]));
    Json(json!({ type_name: object })).into_response()
}

fn query_result(
    errors: &[String],
    total: usize,
    start: usize,
    page_size: usize,
    page: Vec<Map<String, Value>>,
) -> Value {
    json!({ "QueryResult": {
        "_rallyAPIMajor": "2",
        "_rallyAPIMinor": "0",
        "Errors": errors,
        "Warnings": [],
        "TotalResultCount": total,
        "StartIndex": start,
        "PageSize": page_size,
        "Results": page,
    } })
}

fn no_such_object() -> Response {
    Json(json!({ "OperationResult": {
        "_rallyAPIMajor": "2",
        "_rallyAPIMinor": "0",
        "Errors": ["Cannot find object to read"],
        "Warnings": [],
    } }))
    .into_response()
}

/// What Rally says to a type it does not have is not known; the sandbox says 404.
fn unknown_type(entry: &Entry) -> Response {
    pages::jetty(StatusCode::NOT_FOUND, &entry.path, "Not Found")
}
