//! WSAPI v2.0 as it is read: one object, queries in pages, collections, and the schema.
//! Does not: change anything (`writing` does), or check the token; `gate` has let the request through.
//! Used by: the daemon's look-up of the user, and tests that try a ZSESSIONID. It has what pyral and rally-node ask for;
//! it does not sort, and `project` narrows a query while project scopes do not widen it.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Json, Router};
use serde_json::{Value, json};

use super::control::Control;
use super::pages;
use super::query;
use super::record::{Entry, first};
use super::schema::{self, Type};
use super::shape::{Object, fetched, target, versioned};

pub(super) fn routes() -> Router<Arc<Control>> {
    Router::new()
        .route("/slm/webservice/v2.0/security/authorize", get(authorize))
        .route("/slm/webservice/v2.0/{kind}", get(list))
        .route("/slm/webservice/v2.0/{kind}/{id}", get(read))
        .route("/slm/webservice/v2.0/{kind}/{id}/{collection}", get(members))
        .route("/slm/schema/v2.0/{scope}/{id}", get(schema))
}

/// Paths that neither Rally nor the sandbox has.
pub(super) async fn not_found(uri: Uri) -> Response {
    pages::jetty(StatusCode::NOT_FOUND, uri.path(), "Not Found")
}

/// Methods that the sandbox does not have.
pub(super) async fn method_not_allowed(uri: Uri) -> Response {
    pages::jetty(StatusCode::METHOD_NOT_ALLOWED, uri.path(), "Method Not Allowed")
}

/// The security token that a browser's session needs to write, and a key does not (vendor article 11568). It is not checked.
async fn authorize() -> Response {
    operation_result(json!({ "SecurityToken": "sandbox-security-token" }), None)
}

async fn read(
    State(control): State<Arc<Control>>,
    Extension(entry): Extension<Entry>,
    Path((kind, id)): Path<(String, String)>,
) -> Response {
    let state = control.state();
    let catalogue = state.catalogue(control.shape());
    if catalogue.all(&kind).is_none() {
        return unknown_type(&entry);
    }
    match id.parse().ok().and_then(|id| catalogue.find(&kind, id)) {
        Some((type_name, object)) => one(type_name, object, &entry),
        None => operation_result(json!({}), Some("Cannot find object to read".to_owned())),
    }
}

/// A query, but for the two types of which Rally has one object for a caller: asked without a query, that is the answer.
async fn list(
    State(control): State<Arc<Control>>,
    Extension(entry): Extension<Entry>,
    Path(kind): Path<String>,
) -> Response {
    let found = control.state().catalogue(control.shape()).all(&kind);
    let Some((type_name, mut objects)) = found else { return unknown_type(&entry) };
    let is_singleton = matches!(type_name, "User" | "Subscription");
    if is_singleton && first(&entry.query, "query").is_none() {
        return objects.pop().map_or_else(|| unknown_type(&entry), |object| one(type_name, object, &entry));
    }
    if let Some(project) =
        first(&entry.query, "project").and_then(target).filter(|_| Type::named(&kind).is_some())
    {
        objects.retain(|object| reference(object, "Project").and_then(target) == Some(project));
    }
    in_pages(type_name, objects, &entry, "")
}

/// A query among the members of a collection. Without `fetch` they come whole: so pyral reads allowed values.
async fn members(
    State(control): State<Arc<Control>>,
    Extension(entry): Extension<Entry>,
    Path((kind, id, collection)): Path<(String, String, String)>,
) -> Response {
    let id = id.parse().ok();
    let found = id.and_then(|id| control.state().catalogue(control.shape()).members(&kind, id, &collection));
    match found {
        Some((type_name, objects)) => in_pages(type_name, objects, &entry, "true"),
        None => unknown_type(&entry),
    }
}

/// The schema of a workspace or project: every type with its attributes written out.
async fn schema(State(control): State<Arc<Control>>, Path((scope, id)): Path<(String, i64)>) -> Response {
    if control.state().catalogue(control.shape()).find(&scope, id).is_none() {
        return operation_result(json!({}), Some("Cannot find object to read".to_owned()));
    }
    let definitions = schema::with_attributes(control.shape());
    query_result(None, definitions.len(), 1, definitions.len(), definitions)
}

/// Those objects that `query` names, `fetch`ed (as said, if the client does not say), in pages by `start` (from 1) and `pagesize` (20 unless given, 2000 at most).
fn in_pages(type_name: &'static str, mut found: Vec<Object>, entry: &Entry, unless_given: &str) -> Response {
    if let Some(text) = first(&entry.query, "query").filter(|text| !text.trim().is_empty()) {
        let known: Vec<String> = match Type::named(type_name) {
            Some(known) => known.attributes().map(|attribute| attribute.name.to_owned()).collect(),
            None => found.iter().flat_map(|object| object.keys().cloned()).collect(),
        };
        match query::parse(text, type_name, &known) {
            Ok(condition) => found.retain(|object| condition.holds(object)),
            // An application error is a 200 with the error in the body, and counts of zero.
            Err(error) => return query_result(Some(error), 0, 0, 0, Vec::new()),
        }
    }
    let number = |name| first(&entry.query, name).and_then(|text| text.parse::<usize>().ok());
    let start = number("start").unwrap_or(1).max(1);
    let page_size = number("pagesize").unwrap_or(20).clamp(1, 2000);
    let total = found.len();
    let fetch = first(&entry.query, "fetch").unwrap_or(unless_given);
    let page =
        found.into_iter().skip(start - 1).take(page_size).map(|object| fetched(object, fetch)).collect();
    query_result(None, total, start, page_size, page)
}

/// One object under its type's name, with its errors and warnings inside.
fn one(type_name: &str, object: Object, entry: &Entry) -> Response {
    let mut object = fetched(object, first(&entry.query, "fetch").unwrap_or("true"));
    object.remove("_type");
    object.insert("Errors".into(), json!([]));
    object.insert("Warnings".into(), json!([]));
    Json(json!({ type_name: object })).into_response()
}

fn query_result(
    error: Option<String>,
    total: usize,
    start: usize,
    page_size: usize,
    page: Vec<Object>,
) -> Response {
    let content = json!({
        "TotalResultCount": total,
        "StartIndex": start,
        "PageSize": page_size,
        "Results": page,
    });
    result("QueryResult", content, error)
}

/// The answer to what is neither a query nor a creation.
pub(super) fn operation_result(content: Value, error: Option<String>) -> Response {
    result("OperationResult", content, error)
}

/// An answer with its content, the error, and the warnings that the sandbox never has.
pub(super) fn result(name: &str, content: Value, error: Option<String>) -> Response {
    let mut result = versioned();
    result.insert("Errors".into(), json!(error.as_slice()));
    result.insert("Warnings".into(), json!([]));
    if let Value::Object(content) = content {
        result.extend(content);
    }
    Json(json!({ name: result })).into_response()
}

/// What Rally says to a type it does not have is not known; the sandbox says 404.
pub(super) fn unknown_type(entry: &Entry) -> Response {
    pages::jetty(StatusCode::NOT_FOUND, &entry.path, "Not Found")
}

/// Where an attribute that is another object points to.
fn reference<'a>(object: &'a Object, attribute: &str) -> Option<&'a str> {
    object.get(attribute)?.get("_ref")?.as_str()
}
