//! What a tool is told when its request gets no answer of Rally's: in the shape of Rally's own errors, and in the status
//! line, which is all that some toolkits show.
//! Does not: decide that there is trouble.
//! Used by: `forward`, `tunnel` and `server`, which answer with one; `upstream`.

use std::{borrow::Cow, error::Error};

use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use hyper::{
    Response, StatusCode,
    body::Bytes,
    ext::ReasonPhrase,
    header::{CACHE_CONTROL, CONNECTION, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER},
};
use rally_cred_proto::{Fault, FaultKind};
use serde_json::json;

use crate::{admit::Refusal, guard::Malformed, turns::Busy};

/// Most characters of a status line's reason.
const LONGEST_REASON: usize = 120;

const BROKE_OFF: &str = "Server Broke Off";

/// What a tool gets.
pub(crate) type Answer = Response<UnsyncBoxBody<Bytes, BoxError>>;

/// What goes wrong below HTTP.
pub(crate) type BoxError = Box<dyn Error + Send + Sync>;

/// Why a request gets no answer of Rally's.
#[derive(Debug)]
pub(crate) struct Trouble {
    status: StatusCode,
    /// In a few words.
    pub(crate) reason: String,
    /// The same with cause and remedy.
    words: String,
    header: Option<(HeaderName, Cow<'static, str>)>,
    /// The rest of the request is not read, and the connection ends with the answer.
    is_last: bool,
}

impl Trouble {
    fn new(status: StatusCode, reason: &str, words: String) -> Self {
        Self { status, reason: reason.to_owned(), words, header: None, is_last: false }
    }

    fn bad_gateway(reason: &str, why: &str) -> Self {
        Self::new(StatusCode::BAD_GATEWAY, reason, format!("{}: {why}", lowered(reason)))
    }

    /// The request itself cannot be passed on.
    pub(crate) fn bad_request(words: &str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "Bad Request", words.to_owned())
    }

    /// The gateway is not set to be used in this way.
    pub(crate) fn other_way(words: &str) -> Self {
        Self::new(StatusCode::FORBIDDEN, "Gateway Is Closed To This Way", words.to_owned())
    }

    /// The answer would show the headers that Rally gets.
    pub(crate) fn echo() -> Self {
        let words = "an answer to TRACE repeats the request with its token, which no tool is to see";
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "TRACE Would Show The Token", words.to_owned())
    }

    /// Rally, or another server, cannot be reached.
    pub(crate) fn unreachable(why: &str) -> Self {
        Self::bad_gateway("Server Cannot Be Reached", why)
    }

    /// The parent's proxy did not lead there.
    pub(crate) fn no_way_out(why: &str) -> Self {
        Self::bad_gateway("Proxy Does Not Lead There", why)
    }

    /// The server's certificate is not trusted.
    pub(crate) fn distrusted(why: &str) -> Self {
        Self::bad_gateway("Certificate Is Not Trusted", why)
    }

    /// The server is there, and does not say so much that it could be asked.
    pub(crate) fn silent() -> Self {
        let words = "the server took the connection and then said nothing";
        Self::new(StatusCode::GATEWAY_TIMEOUT, "Server Does Not Answer", words.to_owned())
    }

    /// Rally broke off before it answered.
    pub(crate) fn broken_off(why: &str) -> Self {
        Self::bad_gateway(BROKE_OFF, why)
    }

    /// Rally sends one provisional answer after the other, and no answer.
    pub(crate) fn endless() -> Self {
        Self::bad_gateway("Server Only Promises An Answer", "it sends provisional answers (1xx) without end")
    }

    /// Whether the other side is to blame.
    pub(crate) fn is_bad_gateway(&self) -> bool {
        matches!(self.status, StatusCode::BAD_GATEWAY | StatusCode::GATEWAY_TIMEOUT)
    }

    pub(crate) fn is_broken_off(&self) -> bool {
        self.reason == BROKE_OFF
    }

    /// As many requests wait as may.
    pub(crate) fn crowded(busy: Busy) -> Self {
        let words =
            "too many requests wait for Rally, which serves 12 of a user's at once: send fewer at a time";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "Too Many Requests Wait", words.to_owned())
            .retry_after(busy.retry_after)
    }

    /// Rally refused the token in the middle of a body that is not held. By now there is another.
    pub(crate) fn sent_once() -> Self {
        let words = "the token ended while this request was sent, and its body is too large to be sent again by the \
                     gateway: there is a new token now, so send the request again";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "Token Was Renewed - Send Again", words.to_owned())
            .retry_after(0)
    }

    /// There is no token.
    pub(crate) fn no_token(fault: &Fault) -> Self {
        let words = fault.to_string().split("\n  ").collect::<Vec<_>>().join("; ");
        let status = match fault.kind {
            FaultKind::Unreachable | FaultKind::TlsFailed | FaultKind::BadAnswer => StatusCode::BAD_GATEWAY,
            _ => StatusCode::SERVICE_UNAVAILABLE,
        };
        Self::new(status, &format!("No Token - {}", fault.what), words)
    }

    fn retry_after(mut self, seconds: u64) -> Self {
        self.header = Some((RETRY_AFTER, seconds.to_string().into()));
        self
    }

    /// The same, and the connection ends with it, since the rest of the request is not read.
    pub(crate) fn closing(mut self) -> Self {
        self.is_last = true;
        self
    }

    /// The answer.
    pub(crate) fn into_answer(self) -> Answer {
        let body = json!({ "OperationResult": {
            "_rallyAPIMajor": "2",
            "_rallyAPIMinor": "0",
            "Errors": [self.words],
            "Warnings": [],
        }});
        let body = Full::new(Bytes::from(body.to_string())).map_err(|never| match never {}).boxed_unsync();
        let mut answer = Response::new(body);
        *answer.status_mut() = self.status;
        let reason: String =
            self.reason.chars().filter(|c| matches!(c, ' '..='~')).take(LONGEST_REASON).collect();
        if let Ok(reason) = ReasonPhrase::try_from(reason.into_bytes()) {
            answer.extensions_mut().insert(reason);
        }
        let headers = answer.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if self.is_last {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        if let Some((name, value)) = self.header
            && let Ok(value) = HeaderValue::from_str(&value)
        {
            headers.insert(name, value);
        }
        answer
    }
}

impl From<Refusal> for Trouble {
    fn from(refusal: Refusal) -> Self {
        Self {
            header: refusal.challenge().map(|(name, value)| (name, value.into())),
            ..Self::new(refusal.status(), refusal.reason(), refusal.words().to_owned())
        }
    }
}

impl From<Malformed> for Trouble {
    fn from(malformed: Malformed) -> Self {
        Self::new(malformed.status(), malformed.reason(), malformed.words().to_owned()).closing()
    }
}

fn lowered(text: &str) -> String {
    let mut letters = text.chars();
    letters
        .next()
        .map(|first| first.to_lowercase().chain(letters.map(|c| c.to_ascii_lowercase())).collect())
        .unwrap_or_default()
}
