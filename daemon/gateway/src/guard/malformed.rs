//! What makes a request unreadable, and how that gets past the HTTP library to whoever answers it.
//! Does not: read a request.
//! Used by: `guard`, of which this is a part.

use hyper::{StatusCode, http::request::Parts};
use rally_cred_proto::causes;

/// The method of a request that stands in the place of a refused one ([`Malformed::stand_in`]).
pub(super) const STAND_IN: &str = "REFUSED";

/// What makes a request unreadable for certain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Malformed {
    /// Too long, or too many headers.
    TooLong,
    /// A CR or LF that stands alone.
    LineBreak,
    /// Another control character.
    Control,
    RequestLine,
    Target,
    Version,
    /// A header's name, what stands around it, or a header over several lines.
    Field,
    /// None, several, or an unreadable one.
    Host,
    /// A Content-Length that is no number, or several.
    Length,
    /// A Transfer-Encoding other than `chunked`, or with HTTP/1.0, or several.
    Encoding,
    /// A length and chunks, or a body where there is none.
    Framing,
    Chunk,
    Trailer,
}

impl Malformed {
    pub(super) const ALL: [Self; 13] = [
        Self::TooLong,
        Self::LineBreak,
        Self::Control,
        Self::RequestLine,
        Self::Target,
        Self::Version,
        Self::Field,
        Self::Host,
        Self::Length,
        Self::Encoding,
        Self::Framing,
        Self::Chunk,
        Self::Trailer,
    ];

    pub(crate) const fn status(self) -> StatusCode {
        match self {
            Self::TooLong => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            _ => StatusCode::BAD_REQUEST,
        }
    }

    /// A few words for the status line.
    pub(crate) const fn reason(self) -> &'static str {
        match self {
            Self::TooLong => "Request Head Too Long",
            Self::LineBreak => "Stray Line Break",
            Self::Control => "Control Character In Head",
            Self::RequestLine => "Request Line Unreadable",
            Self::Target => "Request Target Unreadable",
            Self::Version => "HTTP Version Unknown",
            Self::Field => "Header Unreadable",
            Self::Host => "Not One Host",
            Self::Length => "Content-Length Unclear",
            Self::Encoding => "Transfer-Encoding Unclear",
            Self::Framing => "Length And Chunks Disagree",
            Self::Chunk => "Chunk Unreadable",
            Self::Trailer => "Trailer Unreadable",
        }
    }

    /// What is the matter, for people.
    pub(crate) const fn words(self) -> &'static str {
        match self {
            Self::TooLong => "the request's head is longer than 64 KiB or has more than 100 headers",
            Self::LineBreak => "a line of the request's head does not end with CR and LF together",
            Self::Control => "the request's head has a control character",
            Self::RequestLine => {
                "the request line is not a method, a target and a version with one space between them"
            }
            Self::Target => "the request's target is no path, and no address that a proxy is asked for",
            Self::Version => "the request is not of HTTP/1.1 or HTTP/1.0",
            Self::Field => "a header is not a name, a colon and a value on one line",
            Self::Host => "the request has no Host, or more than one",
            Self::Length => "Content-Length is not one number",
            Self::Encoding => "Transfer-Encoding is not just chunked, or the request is of HTTP/1.0",
            Self::Framing => "the request has both a length and chunks, or a body where there is none",
            Self::Chunk => "a chunk of the body does not have its form",
            Self::Trailer => {
                "the trailers after the body are too long, unreadable, or of a kind that belongs in the head"
            }
        }
    }

    /// The head of a request that the HTTP library gets instead of a refused one, so that the refusal is answered after
    /// all that came before it, and the connection closed. No such request comes from outside.
    pub(super) fn stand_in(self) -> String {
        let number = Self::ALL.iter().position(|one| *one == self).unwrap_or_default();
        format!("{STAND_IN} /{number} HTTP/1.1\r\nHost:\r\nConnection: close\r\n\r\n")
    }

    /// Why a request was refused, if this is what stands in its place.
    pub(crate) fn of(head: &Parts) -> Option<Self> {
        let number = head.uri.path().strip_prefix('/').filter(|_| head.method.as_str() == STAND_IN)?;
        Self::ALL.get(number.parse::<usize>().ok()?).copied()
    }

    /// Why a body broke off, if it did so because it was refused.
    pub(crate) fn in_error(error: &(dyn std::error::Error + 'static)) -> Option<Self> {
        causes(error).find_map(|cause| cause.downcast_ref::<Refused>()).map(|refused| refused.0)
    }
}

/// The error of a connection whose body was refused.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.words())]
pub(super) struct Refused(pub(super) Malformed);
