//! What a sandbox writes down: every request with its secrets, and how many there were of each kind.
//! Does not: decide anything.
//! Used by: `gate` (writes) and tests (read).

use std::collections::BTreeMap;

/// One request as it came in. It holds secrets in the clear: the sandbox only ever sees made-up ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The HTTP method.
    pub method: String,
    /// The path without the query.
    pub path: String,
    /// The query's pairs, decoded, in the order they were sent.
    pub query: Vec<(String, String)>,
    /// The headers, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The pairs of a form body, decoded; empty for any other body.
    pub form: Vec<(String, String)>,
    /// The answer's status; none while there is no answer, or if the connection was dropped in its place.
    pub status: Option<u16>,
    /// The answer's body, for token requests only.
    pub answer: Option<String>,
}

/// How many requests there were. A request counts when it has arrived, whatever comes of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Authorization pages asked for.
    pub authorizations: u64,
    /// Presses of "Allow Access" or "Deny".
    pub consents: u64,
    /// Token requests, by the `grant_type` they gave (empty if they gave none).
    pub token_requests: BTreeMap<String, u64>,
    /// Look-ups of the user behind a token.
    pub user_lookups: u64,
    /// Requests of all kinds that are finished: answered, dropped, or left by the client.
    pub finished: u64,
}

impl Entry {
    /// The first value of a header; the name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        first(&self.headers, name)
    }

    /// The first value of a form field.
    pub fn field(&self, name: &str) -> Option<&str> {
        first(&self.form, name)
    }
}

impl Counters {
    /// All token requests, of whatever grant type.
    pub fn tokens(&self) -> u64 {
        self.token_requests.values().sum()
    }

    /// Token requests that redeem a code.
    pub fn code_exchanges(&self) -> u64 {
        self.token_requests.get("authorization_code").copied().unwrap_or_default()
    }

    /// Token requests that use a refresh token.
    pub fn refreshes(&self) -> u64 {
        self.token_requests.get("refresh_token").copied().unwrap_or_default()
    }
}

/// The first value with this name.
pub(super) fn first<'a>(pairs: &'a [(String, String)], name: &str) -> Option<&'a str> {
    pairs.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
}
