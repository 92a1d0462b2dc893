//! The hands behind the curtain over HTTP, at `/_sandbox/`: what [`Control`] has as methods.
//! Does not: behave like Rally in any way.
//! Used by: anyone with curl, and tests of the program `rally-sandbox`.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::control::Control;
use super::fault::Plan;
use super::grants::Planted;
use super::options::Options;

type Shared = State<Arc<Control>>;

/// The control paths. `GET` looks, `POST` changes, `DELETE` clears; bodies are JSON.
pub(super) fn routes() -> Router<Arc<Control>> {
    Router::new()
        .route("/_sandbox/options", get(async |State(control): Shared| Json(control.options())).post(merge))
        .route(
            "/_sandbox/faults",
            get(async |State(control): Shared| Json(control.state().plans.clone()))
                .post(async |State(control): Shared, Json(plan): Json<Plan>| control.plan(plan))
                .delete(async |State(control): Shared| control.clear_faults()),
        )
        .route(
            "/_sandbox/plant",
            post(async |State(control): Shared, Json(planted): Json<Planted>| control.plant(planted)),
        )
        .route(
            "/_sandbox/admit",
            post(async |State(control): Shared, Json(one): Json<One>| control.admit(&one.token)),
        )
        .route("/_sandbox/revoke", post(revoke))
        .route("/_sandbox/revoke-all", post(async |State(control): Shared| control.revoke_all()))
        .route("/_sandbox/expire", post(async |State(control): Shared| control.expire_tokens()))
        .route("/_sandbox/reset", post(async |State(control): Shared| control.reset()))
        .route("/_sandbox/log", get(async |State(control): Shared| Json(control.log())))
        .route("/_sandbox/counters", get(async |State(control): Shared| Json(control.counters())))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct One {
    token: String,
}

/// 404 if the token was not known.
async fn revoke(State(control): Shared, Json(one): Json<One>) -> StatusCode {
    if control.revoke(&one.token) { StatusCode::OK } else { StatusCode::NOT_FOUND }
}

/// Changes the options that are named and leaves the others.
async fn merge(
    State(control): Shared,
    Json(named): Json<Map<String, Value>>,
) -> Result<Json<Options>, (StatusCode, String)> {
    let wrong = |error: serde_json::Error| (StatusCode::UNPROCESSABLE_ENTITY, error.to_string());
    let mut state = control.state();
    let mut all = serde_json::to_value(&state.options).map_err(wrong)?;
    overlay(&mut all, Value::Object(named));
    state.options = serde_json::from_value(all).map_err(wrong)?;
    Ok(Json(state.options.clone()))
}

/// Puts the named fields over the others; what is an object on both sides keeps the fields that are not named.
fn overlay(all: &mut Value, named: Value) {
    match (all, named) {
        (Value::Object(all), Value::Object(named)) => {
            for (name, value) in named {
                overlay(all.entry(name).or_insert(Value::Null), value);
            }
        }
        (one, value) => *one = value,
    }
}
