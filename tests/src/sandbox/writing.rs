//! WSAPI v2.0 as it is written: artifacts are created, updated and deleted.
//! Does not: check the token (`gate` has let the request through), or whether a value is allowed.
//! Used by: pyral, rally-node, and tests of a ZSESSIONID that may write. The texts of the errors follow what was seen
//! of Rally; clients must not depend on them.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::response::Response;
use axum::routing::post;
use axum::{Extension, Router};
use serde_json::{Value, json};

use super::catalogue::Catalogue;
use super::control::Control;
use super::reading::{operation_result, result, unknown_type};
use super::record::{Entry, first};
use super::schema::{Rule, Type};
use super::shape::{Object, fetched};

/// Rally's toolkits write with either method.
pub(super) fn routes() -> Router<Arc<Control>> {
    Router::new()
        .route("/slm/webservice/v2.0/{kind}/create", post(create).put(create))
        .route("/slm/webservice/v2.0/{kind}/{id}", post(update).put(update).delete(delete))
}

async fn create(
    State(control): State<Arc<Control>>,
    Extension(entry): Extension<Entry>,
    Path(kind): Path<String>,
    body: Bytes,
) -> Response {
    let Some(known) = Type::named(&kind) else { return unknown_type(&entry) };
    let mut state = control.state();
    let catalogue = state.catalogue(control.shape());
    let fields = given(known, &body).map(|mut fields| {
        // pyral names the project in the address only.
        if let Some(project) = first(&entry.query, "project") {
            fields.entry("Project").or_insert(json!(project));
        }
        settable(&catalogue, known, fields)
    });
    match fields {
        Ok(fields) => {
            let object = state.backlog.add(control.shape(), known, fields);
            result("CreateResult", json!({ "Object": wanted(object, &entry) }), None)
        }
        Err(error) => result("CreateResult", json!({}), Some(error)),
    }
}

async fn update(
    State(control): State<Arc<Control>>,
    Extension(entry): Extension<Entry>,
    Path((kind, id)): Path<(String, i64)>,
    body: Bytes,
) -> Response {
    let Some(known) = Type::named(&kind) else { return unknown_type(&entry) };
    let mut state = control.state();
    let catalogue = state.catalogue(control.shape());
    let fields = given(known, &body).map(|fields| settable(&catalogue, known, fields));
    let not_found = || "Cannot find object to update".to_owned();
    let changed = fields.and_then(|fields| state.backlog.change(known, id, fields).ok_or_else(not_found));
    match changed {
        Ok(object) => operation_result(json!({ "Object": wanted(object, &entry) }), None),
        Err(error) => operation_result(json!({}), Some(error)),
    }
}

async fn delete(
    State(control): State<Arc<Control>>,
    Extension(entry): Extension<Entry>,
    Path((kind, id)): Path<(String, i64)>,
) -> Response {
    let Some(known) = Type::named(&kind) else { return unknown_type(&entry) };
    let removed = control.state().backlog.remove(known, id);
    operation_result(json!({}), (!removed).then(|| "Cannot find object to delete".to_owned()))
}

fn wanted(object: Object, entry: &Entry) -> Object {
    fetched(object, first(&entry.query, "fetch").unwrap_or("true"))
}

/// The fields of a body such as `{"Defect":{"Name":"…"}}`.
fn given(known: &Type, body: &[u8]) -> Result<Object, String> {
    let body: Object = serde_json::from_slice(body).map_err(|_| "Cannot parse object stream".to_owned())?;
    match body.into_iter().next() {
        Some((name, Value::Object(fields))) if known.name.eq_ignore_ascii_case(&name) => Ok(fields),
        _ => Err(format!("Cannot parse object stream: it is not of type {}", known.name)),
    }
}

/// The fields as they are kept: those that the type has and that may be set, which is not all that a client got with an
/// object and sends back.
fn settable(catalogue: &Catalogue<'_>, known: &Type, fields: Object) -> Object {
    let kept = fields.into_iter().filter_map(|(name, value)| {
        let attribute = known.attribute(&name).filter(|attribute| attribute.rule != Rule::ReadOnly)?;
        if attribute.attribute_type != "OBJECT" || value.is_null() {
            return Some((name, value));
        }
        let reference = value.get("_ref").unwrap_or(&value).as_str().unwrap_or_default();
        Some((name, json!(catalogue.reference(reference))))
    });
    kept.collect()
}
