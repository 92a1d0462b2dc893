//! What can go wrong on purpose, where, and how often.
//! Does not: answer requests; `gate` carries a fault out.
//! Used by: the flag `--fault`, `/_sandbox/faults`, and `Sandbox::fault`.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// One planned fault: it meets the next requests at its endpoint. Faults for the same endpoint are used up one after another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// Which requests it meets.
    pub endpoint: Endpoint,
    /// What happens to them.
    #[serde(flatten)]
    pub fault: Fault,
    /// How many requests it meets; none: all of them, until the faults are cleared.
    #[serde(default)]
    pub times: Option<u32>,
}

/// A group of paths that can fail by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "fault", rename_all = "lowercase")]
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
        #[serde(default)]
        retry_after: Option<u64>,
    },
    /// Nothing is handled; a maintenance page as HTML with status 200.
    Html,
    /// Nothing is handled; status 200 and `application/json` with a body that is not JSON.
    Garbage,
    /// The request is handled, and the second half of the answer's body is cut off.
    Truncated,
    /// Nothing is handled; the connection closes without an answer.
    Drop,
    /// The request **is handled**, and the connection closes in place of the answer: a rotated refresh token is lost so.
    Lose,
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

impl Endpoint {
    /// The endpoint that a path belongs to; none for the rest, such as the sandbox's own control paths.
    pub(super) fn of(path: &str) -> Option<Endpoint> {
        match path {
            "/login/oauth2/auth" | "/login/oauth2/consent" => Some(Endpoint::Auth),
            "/login/oauth2/token" => Some(Endpoint::Token),
            "/slm/webservice/v2.0/user" => Some(Endpoint::User),
            _ => path.starts_with("/slm/").then_some(Endpoint::Wsapi),
        }
    }
}

/// Reads `ENDPOINT=FAULT[:VALUE][*TIMES]`: `token=status:429,30*2` answers two token requests with 429 and `Retry-After: 30`.
impl FromStr for Plan {
    type Err = String;

    fn from_str(text: &str) -> Result<Plan, String> {
        let (endpoint, rest) = text.split_once('=').ok_or("no = after the endpoint")?;
        let endpoint = match endpoint {
            "auth" => Endpoint::Auth,
            "token" => Endpoint::Token,
            "user" => Endpoint::User,
            "wsapi" => Endpoint::Wsapi,
            _ => return Err("the endpoint is none of auth, token, user, wsapi".into()),
        };
        let (fault, times) = match rest.rsplit_once('*') {
            Some((fault, times)) => (fault, Some(number(times)?)),
            None => (rest, None),
        };
        let (name, value) = match fault.split_once(':') {
            Some((name, value)) => (name, Some(value)),
            None => (fault, None),
        };
        let fault = match (name, value) {
            ("delay", Some(ms)) => Fault::Delay { ms: number(ms)? },
            ("status", Some(value)) => match value.split_once(',') {
                Some((status, after)) => {
                    Fault::Status { status: number(status)?, retry_after: Some(number(after)?) }
                }
                None => Fault::Status { status: number(value)?, retry_after: None },
            },
            ("redirect", Some(location)) => Fault::Redirect { location: location.into() },
            ("html", None) => Fault::Html,
            ("garbage", None) => Fault::Garbage,
            ("truncated", None) => Fault::Truncated,
            ("drop", None) => Fault::Drop,
            ("lose", None) => Fault::Lose,
            ("hang", None) => Fault::Hang,
            _ => {
                return Err(
                    "the fault is none of delay:MS, status:CODE[,SECONDS], html, garbage, truncated, \
                            drop, lose, hang, redirect:URL"
                        .into(),
                );
            }
        };
        Ok(Plan { endpoint, fault, times })
    }
}

fn number<N: FromStr>(text: &str) -> Result<N, String> {
    text.parse().map_err(|_| "a number is missing or too large".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_reads_the_same_from_a_flag_and_from_json() {
        let rows = [
            ("token=delay:200", r#"{"endpoint":"token","fault":"delay","ms":200}"#),
            (
                "token=status:429,30*2",
                r#"{"endpoint":"token","fault":"status","status":429,"retry_after":30,"times":2}"#,
            ),
            ("user=status:503", r#"{"endpoint":"user","fault":"status","status":503}"#),
            ("wsapi=html*1", r#"{"endpoint":"wsapi","fault":"html","times":1}"#),
            ("auth=hang", r#"{"endpoint":"auth","fault":"hang"}"#),
            (
                "token=redirect:https://example.com/a=b:c",
                r#"{"endpoint":"token","fault":"redirect","location":"https://example.com/a=b:c"}"#,
            ),
        ];
        for (flag, json) in rows {
            assert_eq!(flag.parse::<Plan>().unwrap(), serde_json::from_str::<Plan>(json).unwrap(), "{flag}");
        }
    }

    #[test]
    fn a_flag_that_makes_no_sense_is_refused() {
        for flag in [
            "",
            "token",
            "token=",
            "vault=html",
            "token=delay",
            "token=html:1",
            "token=html*x",
            "user=status:99999",
        ] {
            assert!(flag.parse::<Plan>().is_err(), "{flag}");
        }
    }
}
