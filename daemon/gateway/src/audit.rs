//! What is told of each request for the log: which, and how it was answered.
//! Does not: hold a query, a header or a body, where secrets and people's data are; or write.
//! Used by: `server`, which tells it; the daemon, which writes it.

use std::{fmt, sync::Arc};

use hyper::{Method, http::request::Parts};

/// A request, and the status of its answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answered {
    /// Its method, as the tool has it.
    pub method: String,
    /// Its path without the query, or the server that a tunnel is to; as the tool has it.
    pub path: String,
    /// The status of Rally's answer, or of the gateway's own.
    pub status: u16,
}

impl Answered {
    /// A request with this head, before its answer is known.
    pub(crate) fn of(head: &Parts) -> Self {
        // What stands before the server's name may be a password.
        let path = match head.uri.authority().filter(|_| head.method == Method::CONNECT) {
            Some(server) => match server.port() {
                Some(port) => format!("{}:{port}", server.host()),
                None => server.host().to_owned(),
            },
            None => head.uri.path().to_owned(),
        };
        Self { method: head.method.to_string(), path, status: 0 }
    }
}

/// Whoever is told of each request once its answer begins.
#[derive(Clone)]
pub struct Audit(Arc<dyn Fn(Answered) + Send + Sync>);

impl Audit {
    /// Has this called, between the request and its answer; so it must be quick.
    pub fn to(tell: impl Fn(Answered) + Send + Sync + 'static) -> Self {
        Self(Arc::new(tell))
    }

    pub(crate) fn tell(&self, answered: Answered) {
        (self.0)(answered);
    }
}

impl fmt::Debug for Audit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Audit")
    }
}
