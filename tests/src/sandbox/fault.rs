//! What can go wrong on purpose, where, and how often.
//! Does not: answer requests; `gate` carries a fault out.
//! Used by: `Control::fault` and `gate`.

/// One planned fault: it meets the next requests at its endpoint. Faults for the same endpoint are used up one after another.
pub(super) struct Plan {
    /// Which requests it meets.
    pub(super) endpoint: Endpoint,
    /// What happens to them.
    pub(super) fault: Fault,
    /// How many requests it meets; none: all of them, until the faults are cleared.
    pub(super) times: Option<u32>,
}

/// A group of paths that can fail by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// The authorization page and its form.
    Auth,
    /// The token endpoint.
    Token,
    /// WSAPI's look-up of the user behind a token.
    User,
    /// Every other WSAPI path.
    Wsapi,
}

/// What happens to a request in place of, or on the way to, its answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The request is handled, this many milliseconds late.
    Delay {
        /// Milliseconds.
        ms: u64,
    },
    /// Nothing is handled; a Jetty page with this status, and `Retry-After` if given.
    Status {
        /// HTTP status, such as 503, 408 or 429.
        status: u16,
        /// Seconds for the `Retry-After` header.
        retry_after: Option<u64>,
    },
    /// Nothing is handled; a maintenance page as HTML with status 200.
    Html,
    /// Nothing is handled; status 200 and `application/json` with a body that is not JSON.
    Garbage,
    /// The request is handled, and the second half of the answer's body is cut off.
    Truncated,
    /// The request is handled, and the connection breaks in the middle of the answer's body.
    BreaksOff,
    /// Nothing is handled; the connection closes without an answer.
    Drop,
    /// No answer while the faults are not cleared; after that the request is handled.
    Hang,
    /// Nothing is handled; 302 to this address.
    Redirect {
        /// Value of the `Location` header.
        location: String,
    },
    /// Nothing is handled; exactly this answer.
    Answer {
        /// HTTP status.
        status: u16,
        /// Value of the `Content-Type` header.
        content_type: String,
        /// The body.
        body: String,
    },
}

impl Fault {
    /// An answer in JSON.
    pub fn json(status: u16, body: &str) -> Self {
        Self::Answer { status, content_type: "application/json".to_owned(), body: body.to_owned() }
    }

    /// An answer in HTML.
    pub fn page(status: u16, body: &str) -> Self {
        Self::Answer { status, content_type: "text/html".to_owned(), body: body.to_owned() }
    }
}

impl Endpoint {
    /// The endpoint that a path belongs to; none for what Rally does not have.
    pub(super) fn of(path: &str) -> Option<Endpoint> {
        match path {
            "/login/oauth2/auth" | "/login/oauth2/consent" => Some(Endpoint::Auth),
            "/login/oauth2/token" => Some(Endpoint::Token),
            "/slm/webservice/v2.0/user" => Some(Endpoint::User),
            _ => path.starts_with("/slm/").then_some(Endpoint::Wsapi),
        }
    }
}
