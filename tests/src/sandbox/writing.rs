//! WSAPI v2.0 as it is written: artifacts are created, updated and deleted, or the answer says in `Errors` why not.
//! Does not: check the token; `gate` has let the request through.
//! Used by: pyral, rally-node, and whoever tries a ZSESSIONID that may write. The texts of the errors follow what was seen
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
use super::schema::{Attribute, Rule, Type};
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
    let checked = given(known, &body).and_then(|mut fields| {
        // pyral names the project in the address only.
        if let Some(project) = first(&entry.query, "project") {
            fields.entry("Project").or_insert(json!(project));
        }
        fields.entry("Name").or_insert(Value::Null);
        checked(&catalogue, known, fields, &Object::new())
    });
    match checked {
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
    let checked = match catalogue.find(known.name, id) {
        Some((_, now)) => given(known, &body).and_then(|fields| checked(&catalogue, known, fields, &now)),
        None => Err("Cannot find object to update".to_owned()),
    };
    match checked {
        Ok(fields) => {
            let object = state.backlog.change(known, id, fields).unwrap_or_default();
            operation_result(json!({ "Object": wanted(object, &entry) }), None)
        }
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

/// The fields as they are kept, if the artifact may have them. Names with an underscore are what a client got with an
/// object and sends back.
fn checked(catalogue: &Catalogue<'_>, known: &Type, fields: Object, now: &Object) -> Result<Object, String> {
    let mut kept = Object::new();
    for (name, value) in fields.into_iter().filter(|(name, _)| !name.starts_with('_')) {
        let Some(attribute) = known.attribute(&name) else {
            return Err(format!("Could not set value for {name}: {} has no such attribute", known.name));
        };
        if let Some(value) = checked_value(catalogue, known, attribute, value, now)? {
            kept.insert(name, value);
        }
    }
    Ok(kept)
}

/// The value as it is kept; none where it may not be set and is sent back unchanged.
fn checked_value(
    catalogue: &Catalogue<'_>,
    known: &Type,
    attribute: &Attribute,
    value: Value,
    now: &Object,
) -> Result<Option<Value>, String> {
    let refuse = |why: &str| Err(format!("Could not set value for {}: {why}", attribute.name));
    let is_empty = value.is_null() || value == json!("");
    match attribute.rule {
        Rule::ReadOnly if now.get(attribute.name) == Some(&value) => return Ok(None),
        Rule::ReadOnly => return refuse("it is read-only"),
        Rule::Required if is_empty => {
            return Err(format!("Validation error: {}.{} should not be null", known.name, attribute.name));
        }
        _ if value.is_null() => return Ok(Some(value)),
        _ => {}
    }
    if attribute.attribute_type == "OBJECT" {
        let text = value.get("_ref").unwrap_or(&value).as_str().unwrap_or_default();
        return match catalogue.reference(text) {
            Some(object) => Ok(Some(json!(object))),
            None => refuse("cannot find object"),
        };
    }
    if !attribute.values.is_empty() && !attribute.values.iter().any(|allowed| value == json!(allowed)) {
        return refuse("not an allowed value");
    }
    Ok(Some(value))
}
