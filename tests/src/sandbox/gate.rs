//! What every request passes before its handler: the record, WSAPI's admission, the planned fault, and Rally's cookie.
//! Does not: know what the handlers answer.
//! Used by: the router in `serve`.

use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes, HttpBody, to_bytes};
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use hyper::body::Frame;
use jiff::{Timestamp, ToSpan, fmt::rfc2822::DateTimePrinter};
use serde_json::json;
use tokio::sync::Notify;
use url::form_urlencoded;
use uuid::Uuid;

use super::control::Control;
use super::fault::{Endpoint, Fault};
use super::pages;
use super::record::Entry;

/// The connection a request came on: who is at its other end, and a way to cut it.
#[derive(Clone)]
pub(super) struct Line {
    pub(super) peer: IpAddr,
    pub(super) cut: Arc<Notify>,
}

/// Bodies beyond this are refused: no request of the flow or of WSAPI's queries comes near it.
const MAX_BODY: usize = 1024 * 1024;

/// Records the request, then answers it, or does to it what was planned.
pub(super) async fn gate(
    State(control): State<Arc<Control>>,
    Extension(line): Extension<Line>,
    request: Request,
    next: Next,
) -> Response {
    let (parts, body) = request.into_parts();
    let Some(endpoint) = Endpoint::of(parts.uri.path()) else {
        return next.run(Request::from_parts(parts, body)).await;
    };
    let Ok(body) = to_bytes(body, MAX_BODY).await else {
        return pages::jetty(StatusCode::PAYLOAD_TOO_LARGE, parts.uri.path(), "Request body is too large");
    };
    let entry = written_down(&parts, &body);
    let path = entry.path.clone();
    let visit = control.arrived(endpoint, entry.clone());

    let refusal = match endpoint {
        Endpoint::Auth | Endpoint::Token => None,
        Endpoint::User | Endpoint::Wsapi => refusal(&control, &entry, line.peer),
    };
    let mut cleared = control.clearings();
    let fault = control.next_fault(endpoint);
    let handled = async move {
        if let Some(refusal) = refusal {
            return refusal.into_response(&path);
        }
        let mut request = Request::from_parts(parts, Body::from(body));
        request.extensions_mut().insert(entry);
        next.run(request).await
    };
    let mut answer = match fault {
        None => handled.await,
        Some(Fault::Delay { ms }) => {
            tokio::time::sleep(Duration::from_millis(ms)).await;
            handled.await
        }
        Some(Fault::Hang) => {
            // An error here means that the sandbox is going away, and this request with it.
            let _ = cleared.changed().await;
            handled.await
        }
        Some(Fault::Truncated) => halved(handled.await).await,
        Some(Fault::BreaksOff) => broken_off(handled.await).await,
        Some(Fault::Drop) => hang_up(&line).await,
        Some(Fault::Status { status, retry_after }) => out_of_order(status, retry_after, visit.path()),
        Some(Fault::Html) => pages::maintenance(),
        Some(Fault::Garbage) => with_type("application/json", "{]\u{0}not json"),
        Some(Fault::Redirect { location }) => {
            let location = HeaderValue::try_from(location).unwrap_or(HeaderValue::from_static("/"));
            (StatusCode::FOUND, [(header::LOCATION, location)]).into_response()
        }
        Some(Fault::Answer { status, content_type, body }) => {
            (status_of(status), with_type(&content_type, body)).into_response()
        }
    };
    match control.options().clock_ahead {
        // The server writes the right one.
        0 => {}
        ahead => answer.headers_mut().extend(date(ahead)),
    }
    if control.options().session_cookies {
        answer.headers_mut().extend(session_cookie(control.base_url()));
    }
    if endpoint == Endpoint::Token {
        let (parts, body) = answer.into_parts();
        let body = to_bytes(body, MAX_BODY).await.unwrap_or_default();
        visit.answered(parts.status, Some(String::from_utf8_lossy(&body).into_owned()));
        Response::from_parts(parts, Body::from(body))
    } else {
        visit.answered(answer.status(), None);
        answer
    }
}

/// The header `Date` of a clock that is so many seconds ahead.
fn date(ahead: i64) -> Option<(HeaderName, HeaderValue)> {
    let then = Timestamp::now().checked_add(ahead.seconds()).ok()?;
    let text = DateTimePrinter::new().timestamp_to_rfc9110_string(&then).ok()?;
    Some((header::DATE, HeaderValue::try_from(text).ok()?))
}

/// Why WSAPI does not even look at a request.
enum Refusal {
    /// The subscription allows other addresses only [read in rally-wsapi's fixture].
    Address(IpAddr),
    /// No token, an unknown one, one that is over, or one that may not write.
    Token,
    /// A cookie beside the token. The text is documented (vendor article 127054), the status is not.
    Cookie,
}

impl Refusal {
    fn into_response(self, path: &str) -> Response {
        match self {
            Refusal::Address(peer) => {
                let reason = format!(
                    "Your IP address, {peer}, is not within the allowed range that your subscription administrator has configured."
                );
                pages::jetty(StatusCode::NOT_FOUND, path, &reason)
            }
            Refusal::Token => {
                let reason = "Full authentication is required to access this resource";
                pages::jetty(StatusCode::UNAUTHORIZED, path, reason)
            }
            Refusal::Cookie => {
                let errors = ["Not authorized to perform action: Invalid key"];
                (
                    StatusCode::UNAUTHORIZED,
                    Json(json!({ "OperationResult": { "Errors": errors, "Warnings": [] } })),
                )
                    .into_response()
            }
        }
    }
}

fn refusal(control: &Control, entry: &Entry, peer: IpAddr) -> Option<Refusal> {
    let state = control.state();
    if state.options.address_refused {
        return Some(Refusal::Address(peer));
    }
    let Some(token) = entry.header("zsessionid") else { return Some(Refusal::Token) };
    if entry.header("cookie").is_some() {
        return Some(Refusal::Cookie);
    }
    let may_not_write = state.options.read_only && entry.method != "GET";
    (may_not_write || !state.grants.admits(Instant::now(), token)).then_some(Refusal::Token)
}

fn written_down(parts: &Parts, body: &[u8]) -> Entry {
    let pairs = |bytes| form_urlencoded::parse(bytes).into_owned().collect();
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let is_form = parts
        .headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next())
        .is_some_and(|value| value.trim().eq_ignore_ascii_case("application/x-www-form-urlencoded"));
    Entry {
        method: parts.method.to_string(),
        path: parts.uri.path().to_owned(),
        query: pairs(parts.uri.query().unwrap_or_default().as_bytes()),
        headers: parts.headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect(),
        form: if is_form { pairs(body) } else { Vec::new() },
        status: None,
        answer: None,
    }
}

/// What Rally hands out with its answers; a client that keeps it is refused at its next request.
fn session_cookie(base_url: &str) -> Option<(HeaderName, HeaderValue)> {
    let secure = if base_url.starts_with("https") { "; Secure" } else { "" };
    let cookie = format!("JSESSIONID={}; Path=/; HttpOnly{secure}", Uuid::new_v4().simple());
    Some((header::SET_COOKIE, HeaderValue::try_from(cookie).ok()?))
}

/// Ends the connection. This future never ends: it is dropped together with the connection.
async fn hang_up(line: &Line) -> Response {
    line.cut.notify_one();
    std::future::pending().await
}

async fn halved(answer: Response) -> Response {
    let (mut parts, body) = answer.into_parts();
    let body = to_bytes(body, usize::MAX).await.unwrap_or_default();
    parts.headers.remove(header::CONTENT_LENGTH);
    Response::from_parts(parts, Body::from(body.slice(..body.len() / 2)))
}

/// Half of a body, then an error, whereupon the server closes the connection.
struct Half(Option<Bytes>);

impl HttpBody for Half {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let half = self.0.take().map(Frame::data);
        Poll::Ready(Some(half.ok_or_else(|| io::ErrorKind::ConnectionReset.into())))
    }
}

async fn broken_off(answer: Response) -> Response {
    let (mut parts, body) = answer.into_parts();
    let body = to_bytes(body, usize::MAX).await.unwrap_or_default();
    parts.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
    Response::from_parts(parts, Body::new(Half(Some(body.slice(..body.len() / 2)))))
}

fn out_of_order(status: u16, retry_after: Option<u64>, path: &str) -> Response {
    let status = status_of(status);
    let mut answer = pages::jetty(status, path, status.canonical_reason().unwrap_or("Out of order"));
    if let Some(seconds) = retry_after {
        answer.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    answer
}

fn with_type(content_type: &str, body: impl Into<Body>) -> Response {
    let mut answer = Response::new(body.into());
    if let Ok(value) = HeaderValue::try_from(content_type) {
        answer.headers_mut().insert::<HeaderName>(header::CONTENT_TYPE, value);
    }
    answer
}

/// The status of a fault; one that HTTP does not have becomes 500.
fn status_of(status: u16) -> StatusCode {
    StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}
