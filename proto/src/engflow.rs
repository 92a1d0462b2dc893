//! The JSON of EngFlow's credential helper protocol, which Bazel and other build tools speak.
//! Does not: decide whom to serve, or read the URI (see [`crate::Origin::from_uri`]).
//! Used by: the client, which a build tool starts as `… get`.
//!
//! A request is one object with a required `uri`; the answer is one with the headers to send and, if it is known, the
//! time until which the tool may keep them (EngFlow/credential-helper-spec, spec.md of 2024-02-15). Both protocols give
//! the operation in the same place, so [`looks_like_json`] tells them apart by the request. A URI that no profile is
//! for is answered with an error and exit code 1: `{}` would mean that no credentials are needed.
//!
//! ```
//! use rally_cred_proto::{Secret, engflow};
//! let input = br#"{"uri":"https://rally1.rallydev.com/slm/","later":[1]}"#;
//! assert!(engflow::looks_like_json(input));
//! assert_eq!(engflow::parse_request(input)?.uri, "https://rally1.rallydev.com/slm/");
//!
//! let token = Secret::parse("_abc".to_owned()).unwrap();
//! let answer = engflow::encode_answer(engflow::HEADER, &token, Some(1767322985)).unwrap();
//! assert_eq!(*answer, br#"{"headers":{"ZSESSIONID":["_abc"]},"expires":"2026-01-02T03:03:05Z"}"#);
//! # Ok::<(), engflow::BadRequest>(())
//! ```

use std::{collections::BTreeMap, io};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::{Secret, object::Object, secret::line_breaker};

/// The header in which Rally takes a token.
pub const HEADER: &str = "ZSESSIONID";

/// Longest request in bytes. It carries one URI, and no server takes one of more than a few kilobytes.
pub const MAX_REQUEST: usize = 64 * 1024;

/// A request. Unknown properties are ignored, as the specification asks.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Request {
    /// What the tool wants to reach.
    pub uri: String,
}

/// Why bytes are not a request: nothing is answered, the exit code is 1. Shows no part of the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadRequest {
    /// The request is longer than [`MAX_REQUEST`].
    #[error("the request is longer than {MAX_REQUEST} bytes")]
    TooLong,
    /// The request is not UTF-8.
    #[error("the request is not UTF-8 at byte {0}")]
    NotUtf8(usize),
    /// The request is not one JSON object.
    #[error("the request is not JSON at line {line}, column {column}")]
    NotJson {
        /// The line, from 1.
        line: usize,
        /// The byte in the line, from 1; 0 at the end of the line before.
        column: usize,
    },
    /// The request has no `uri`, more than one, or one that is not a text.
    #[error("the request has no single text named uri")]
    NoUri,
    /// The URI holds a CR, LF or NUL.
    #[error("uri holds a carriage return, line feed or NUL")]
    LineBreaker,
}

/// Whether a request is EngFlow's and not git's: its first byte that is not blank is `{`, which no attribute of git
/// begins with.
pub fn looks_like_json(input: &[u8]) -> bool {
    input.trim_ascii_start().first() == Some(&b'{')
}

/// Parses a whole request.
pub fn parse_request(input: &[u8]) -> Result<Request, BadRequest> {
    if input.len() > MAX_REQUEST {
        return Err(BadRequest::TooLong);
    }
    let text = str::from_utf8(input).map_err(|err| BadRequest::NotUtf8(err.valid_up_to()))?;
    // serde's own message can quote the value that it stumbled over, so only the place is passed on.
    let Object(request) =
        serde_json::from_str::<Object<Request>>(text).map_err(|err| match err.is_data() {
            true => BadRequest::NoUri,
            false => BadRequest::NotJson { line: err.line(), column: err.column() },
        })?;
    match line_breaker(request.uri.as_bytes()) {
        Some(_) => Err(BadRequest::LineBreaker),
        None => Ok(request),
    }
}

/// The answer: a header ([`HEADER`] for a token) with its value, and until when it is good in seconds since 1970. A time outside the calendar
/// of RFC 3339 is left out, and the tool then keeps the headers for as long as it likes.
pub fn encode_answer(
    header: &str,
    value: &Secret,
    expires_at: Option<i64>,
) -> io::Result<Zeroizing<Vec<u8>>> {
    let answer = Answer {
        headers: BTreeMap::from([(header, [value.expose()])]),
        expires: expires_at.and_then(|at| Timestamp::from_second(at).ok()).map(|at| at.to_string()),
    };
    let mut json = Zeroizing::new(Vec::with_capacity(128 + value.expose().len()));
    serde_json::to_writer(&mut *json, &answer)?;
    Ok(json)
}

#[derive(Serialize)]
struct Answer<'a> {
    headers: BTreeMap<&'a str, [&'a str; 1]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires: Option<String>,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn answer(token: &str, expires_at: Option<i64>) -> String {
        let token = Secret::parse(token.to_owned()).unwrap();
        String::from_utf8(encode_answer(HEADER, &token, expires_at).unwrap().to_vec()).unwrap()
    }

    #[test]
    fn json_is_told_from_attributes_by_its_first_byte() {
        for (input, expected) in [
            ("{", true),
            (" \r\n\t{\"uri\":1}", true),
            ("", false),
            ("\n\n", false),
            ("protocol=https\n", false),
            ("a={", false),
            ("[{", false),
        ] {
            assert_eq!(looks_like_json(input.as_bytes()), expected, "{input}");
        }
    }

    #[test]
    fn unknown_properties_of_a_request_are_ignored() {
        let request = parse_request(br#" {"later":{"uri":2},"uri":"grpcs://a/\u00e9","x":null} "#).unwrap();
        assert_eq!(request.uri, "grpcs://a/é");
    }

    #[test]
    fn what_is_no_request_is_refused_without_being_shown() {
        for (input, expected) in [
            (r#"{"url":"canary"}"#, BadRequest::NoUri),
            (r#"{"uri":["canary"]}"#, BadRequest::NoUri),
            (r#"{"uri":null}"#, BadRequest::NoUri),
            (r#"{"uri":"canary","uri":"b"}"#, BadRequest::NoUri),
            (r#""canary""#, BadRequest::NoUri),
            (r#"["canary"]"#, BadRequest::NoUri),
            (r#"{"uri":"canary"} x"#, BadRequest::NotJson { line: 1, column: 18 }),
            ("{\n\"uri\":canary", BadRequest::NotJson { line: 2, column: 7 }),
            ("", BadRequest::NotJson { line: 1, column: 0 }),
            (r#"{"uri":"canary\n"}"#, BadRequest::LineBreaker),
            (r#"{"uri":"\rcanary"}"#, BadRequest::LineBreaker),
            (r#"{"uri":"canary\u0000"}"#, BadRequest::LineBreaker),
        ] {
            let fault = parse_request(input.as_bytes()).unwrap_err();
            assert_eq!(fault, expected, "{input}");
            assert!(!format!("{fault} {fault:?}").contains("canary"));
        }
        assert_eq!(parse_request(b"{\"x\":\"\xff\",\"uri\":\"a\"}").unwrap_err(), BadRequest::NotUtf8(6));
    }

    #[test]
    fn a_request_of_64_kib_passes_and_a_longer_one_does_not() {
        let request = |length: usize| format!(r#"{{"uri":"{}"}}"#, "a".repeat(length - 10));
        assert!(parse_request(request(MAX_REQUEST).as_bytes()).is_ok());
        assert_eq!(parse_request(request(MAX_REQUEST + 1).as_bytes()).unwrap_err(), BadRequest::TooLong);
    }

    #[test]
    fn an_answer_has_the_header_and_the_end_in_utc() {
        assert_eq!(answer("_a\"b", None), r#"{"headers":{"ZSESSIONID":["_a\"b"]}}"#);
        for (at, expected) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
            (253_402_207_200, "9999-12-30T22:00:00Z"),
        ] {
            let expected = format!(r#"{{"headers":{{"ZSESSIONID":["t"]}},"expires":"{expected}"}}"#);
            assert_eq!(answer("t", Some(at)), expected);
        }
    }

    #[test]
    fn a_time_beyond_the_calendar_is_left_out() {
        for at in [i64::MAX, i64::MIN, 253_402_300_800] {
            assert_eq!(answer("t", Some(at)), r#"{"headers":{"ZSESSIONID":["t"]}}"#);
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_parser_panic(input in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse_request(&input);
        }

        #[test]
        fn every_uri_is_read_back(uri in "[^\r\n\0]{0,60}") {
            let input = serde_json::json!({"uri": uri}).to_string();
            prop_assert_eq!(parse_request(input.as_bytes()).unwrap().uri, uri);
        }
    }
}
