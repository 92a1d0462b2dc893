//! The login server: the authorization page, its form, and the token endpoint (vendor article 140086).
//! Does not: keep grants (`grants`) or act on faults (`gate`).
//! Used by: the browser for the first two, the daemon's token endpoint for the third.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde::Serialize;
use serde_json::{Value, json};
use url::form_urlencoded::Serializer;

use super::control::Control;
use super::grants::{Grants, Request, Tokens};
use super::options::{ExpiresIn, Options};
use super::pages;
use super::record::Entry;

/// The five parameters of an authorization request; Rally documents exactly these.
const AUTHORIZATION: [&str; 5] = ["state", "response_type", "redirect_uri", "client_id", "scope"];

/// `GET /login/oauth2/auth`: shows the consent page, or says on a page of its own what is wrong with the request.
pub(super) async fn authorize(
    State(control): State<Arc<Control>>,
    Extension(entry): Extension<Entry>,
) -> Response {
    let mut state = control.state();
    let options = state.options.clone();
    let [given_state, response_type, redirect_uri, client_id, scope] =
        match exactly(&entry.query, AUTHORIZATION) {
            Ok(values) => values,
            Err(wrong) => return pages::refused(&wrong),
        };
    let reason = if response_type != "code" {
        "response_type must be code"
    } else if client_id != options.client_id {
        "no client with this client_id is registered"
    } else if redirect_uri != options.redirect_uri {
        "redirect_uri is not the callback URL that was registered for this client"
    } else if scope != options.scope {
        "this scope is not known"
    } else if given_state.is_empty() {
        "state is empty"
    } else {
        let request = Request { redirect_uri: redirect_uri.to_owned(), state: given_state.to_owned() };
        let ticket = state.grants.ask(request);
        return pages::consent(client_id, scope, redirect_uri, &options.user, &ticket);
    };
    pages::refused(reason)
}

/// `POST /login/oauth2/consent`: what the user pressed becomes the redirect back to the client.
/// The path and the fields are the sandbox's own; Rally's are not documented.
pub(super) async fn consent(
    State(control): State<Arc<Control>>,
    Extension(entry): Extension<Entry>,
) -> Response {
    let mut state = control.state();
    let Some(request) = entry.field("ticket").and_then(|ticket| state.grants.answer(ticket)) else {
        return pages::refused("this form was already used, or never shown");
    };
    let mut answer = Serializer::new(String::new());
    match entry.field("choice") {
        Some("allow") => {
            let code = state.grants.issue_code(Instant::now(), request.redirect_uri.clone());
            answer.append_pair("code", &code);
        }
        Some("deny") => {
            answer.append_pair("error", "access_denied");
            answer.append_pair("error_description", "The user denied the request");
        }
        _ => return pages::refused("neither Allow Access nor Deny was pressed"),
    }
    answer.append_pair("state", &request.state);
    // A callback URL may have a query of its own, which stays in front.
    let joint = if request.redirect_uri.contains('?') { '&' } else { '?' };
    let location = format!("{}{joint}{}", request.redirect_uri, answer.finish());
    (StatusCode::FOUND, [(header::LOCATION, location), (header::CACHE_CONTROL, "no-store".into())])
        .into_response()
}

/// `POST /login/oauth2/token`: a code or a refresh token becomes an access token.
pub(super) async fn token(
    State(control): State<Arc<Control>>,
    Extension(entry): Extension<Entry>,
) -> Response {
    let mut state = control.state();
    let options = state.options.clone();
    match redeem(&mut state.grants, &options, &entry) {
        Ok(tokens) => success(&options, tokens),
        Err(refused) => {
            // Rally's own statuses are not documented.
            let status = match refused.error {
                "invalid_client" => StatusCode::UNAUTHORIZED,
                _ => StatusCode::BAD_REQUEST,
            };
            let body = Refused {
                client_id: entry.field("client_id"),
                client_secret: entry.field("client_secret"),
                error_description: refused.description,
                error: refused.error,
            };
            (status, [(header::CACHE_CONTROL, "no-store")], Json(body)).into_response()
        }
    }
}

/// The documented error body. It gives back what the client sent, **its secret too**: clients must redact it.
#[derive(Serialize)]
struct Refused<'a> {
    client_id: Option<&'a str>,
    client_secret: Option<&'a str>,
    error_description: String,
    error: &'static str,
}

struct TokenError {
    error: &'static str,
    description: String,
}

/// The documented success body, in the documented order.
#[derive(Serialize)]
struct Issued {
    id_token: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_token: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_in: Option<Value>,
    token_type: &'static str,
    access_token: String,
}

/// A JSON body has no form fields, so it is refused as a request without a grant type; so is a query in the URL.
fn redeem(grants: &mut Grants, options: &Options, entry: &Entry) -> Result<Tokens, TokenError> {
    let error = |error, description: &str| TokenError { error, description: description.to_owned() };
    if entry.header("cookie").is_some() {
        return Err(error("invalid_request", "Cookies are not accepted here"));
    }
    if entry.header("authorization").is_some() {
        return Err(error("invalid_client", "client_id and client_secret must be sent in the body"));
    }
    // Rally says invalid_grant where RFC 6749 has unsupported_grant_type.
    let wrong_grant =
        error("invalid_grant", "Invalid value for grant_type params - must be authorization_code");
    let refreshes = match entry.field("grant_type") {
        Some("authorization_code") => false,
        Some("refresh_token") if options.allow_refresh => true,
        _ => return Err(wrong_grant),
    };
    let invalid = |wrong: String| TokenError { error: "invalid_request", description: wrong };
    if !entry.query.is_empty() {
        return Err(error("invalid_request", "Parameters must be sent in the body"));
    }
    let (grant, redirect_uri, client_id, client_secret) = if refreshes {
        // Rally's own sample sends the redirect URI along; the program that ran in production did not.
        let (redirect, rest): (Vec<_>, Vec<_>) =
            entry.form.iter().cloned().partition(|(name, _)| name == "redirect_uri");
        let [_, grant, id, secret] =
            exactly(&rest, ["grant_type", "refresh_token", "client_id", "client_secret"]).map_err(invalid)?;
        if redirect.len() > 1 || redirect.iter().any(|(_, value)| *value != options.redirect_uri) {
            return Err(error("invalid_request", "Invalid value for redirect_uri params"));
        }
        (grant.to_owned(), String::new(), id.to_owned(), secret.to_owned())
    } else {
        let names = ["grant_type", "code", "redirect_uri", "client_id", "client_secret"];
        let [_, grant, redirect_uri, id, secret] = exactly(&entry.form, names).map_err(invalid)?;
        (grant.to_owned(), redirect_uri.to_owned(), id.to_owned(), secret.to_owned())
    };
    if client_id != options.client_id || client_secret != options.client_secret {
        return Err(error("invalid_client", "Invalid client_id or client_secret"));
    }
    let now = Instant::now();
    let tokens = if refreshes {
        grants.renew(now, options, &grant)
    } else {
        grants.redeem(now, options, &grant, &redirect_uri)
    };
    tokens.map_err(|refusal| error("invalid_grant", refusal.description()))
}

fn success(options: &Options, tokens: Tokens) -> Response {
    let Tokens { id_token, access_token, refresh_token } = tokens;
    let expires_in = match options.expires_in {
        ExpiresIn::Number => Some(json!(options.token_life)),
        ExpiresIn::Text => Some(json!(options.token_life.to_string())),
        ExpiresIn::Absent => None,
    };
    let body = Issued { id_token, refresh_token, expires_in, token_type: "Bearer", access_token };
    ([(header::CACHE_CONTROL, "no-store")], Json(body)).into_response()
}

/// The values of exactly these parameters, each given once, in this order; otherwise what is wrong.
fn exactly<'a, const N: usize>(
    pairs: &'a [(String, String)],
    names: [&str; N],
) -> Result<[&'a str; N], String> {
    if let Some((name, _)) = pairs.iter().find(|(name, _)| !names.contains(&name.as_str())) {
        return Err(format!("{name} is not a parameter of this request"));
    }
    let mut values = [""; N];
    for (value, name) in values.iter_mut().zip(names) {
        let mut given = pairs.iter().filter(|(key, _)| key == name);
        *value = &given.next().ok_or_else(|| format!("{name} is missing"))?.1;
        if given.next().is_some() {
            return Err(format!("{name} is given more than once"));
        }
    }
    Ok(values)
}
