//! What Rally, or whoever answers in its place, says to a token request and to the question whose a token is.
//! Does not: speak HTTP.
//! Used by: `properties`.

use rally_cred_core::{
    Sent,
    answer::{FormKind, RawAnswer, Retry, TokenAnswer, UserAnswer, read_token_answer, read_user_answer},
};
use rally_cred_proto::{Fault, Secret};
use serde_json::Value;
use zeroize::Zeroizing;

use super::{CANARY, LONG_CANARY, is_harmless, is_harmless_fault, secret, steers_nothing};

/// A secret that an answer may hold in one of its fields, and quote in another.
const HIDDEN: &str = "hidden-8a1c0";

/// The first byte of the input is the status, the second `Retry-After`, and the rest is the body.
const STATUSES: [u16; 12] = [200, 201, 302, 400, 401, 403, 404, 408, 429, 204, 500, 503];

/// An answer to a request that carried the canaries.
fn raw(status: u16, retry_after: Option<u32>, body: &[u8]) -> RawAnswer {
    let raw = RawAnswer::Arrived {
        status,
        retry_after,
        body: Zeroizing::new(body.to_vec()),
        sent: Sent::new([CANARY, LONG_CANARY].map(secret)),
    };
    is_harmless(&format!("{raw:?}"));
    raw
}

fn split(bytes: &[u8]) -> Option<(u16, Option<u32>, &[u8], Value)> {
    let ([status, retry_after], body) = bytes.split_first_chunk::<2>()?;
    let retry_after = (*retry_after != b'-').then_some(u32::from(*retry_after) * 100);
    // It is stricter with numbers and surrogates in what is passed over; nothing is compared then.
    let value = serde_json::from_slice(body).unwrap_or_default();
    Some((STATUSES[usize::from(*status) % STATUSES.len()], retry_after, body, value))
}

/// Rally is in trouble, whatever else it says.
fn is_passing(status: u16) -> bool {
    matches!(status, 300..=399 | 408 | 429 | 500..)
}

fn text<'a>(value: &'a Value, name: &str) -> Option<&'a str> {
    value.get(name)?.as_str().filter(|text| !text.is_empty())
}

/// A token is taken from a whole answer that is no error; no fault says what was sent, or what the answer hides.
pub(super) fn token_answer(bytes: &[u8]) {
    let Some((status, retry_after, body, value)) = split(bytes) else { return };
    let hides = ["access_token", "refresh_token", "client_secret", "code", "id_token"]
        .into_iter()
        .any(|name| text(&value, name) == Some(HIDDEN));
    let is_silent = |fault: &Fault| {
        is_harmless_fault(fault);
        assert!(!hides || !fault.to_string().contains(HIDDEN), "{fault}");
    };
    for form in [FormKind::Code, FormKind::Refresh] {
        let answer = read_token_answer(form, raw(status, retry_after, body));
        steers_nothing(&format!("{answer:?}"));
        match answer {
            TokenAnswer::Granted(grant) => {
                assert!((200..300).contains(&status) && text(&value, "error").is_none(), "{status} {value}");
                let [access, refresh] = [Some(grant.access_token), grant.refresh_token];
                let access = access.as_ref().map(Secret::expose);
                assert!(access.is_some_and(|token| token.bytes().all(|byte| matches!(byte, b' '..=b'~'))));
                if value.is_object() {
                    assert_eq!(access, text(&value, "access_token"));
                    assert_eq!(refresh.as_ref().map(Secret::expose), text(&value, "refresh_token"));
                }
                assert!(grant.expires_in.is_none_or(|life| (1..=u64::from(u32::MAX)).contains(&life)));
            }
            TokenAnswer::Refused(refusal) => {
                assert!(!is_passing(status), "{status} costs no token");
                is_silent(&refusal.fault);
            }
            TokenAnswer::Passing { fault, retry } => {
                assert_eq!(retry, retry_after.map_or(Retry::Later, Retry::After));
                is_silent(&fault);
            }
        }
    }
}

/// A name is the one in the answer, and fit to be shown; trouble of Rally's costs no token.
pub(super) fn user_answer(bytes: &[u8]) {
    let Some((status, retry_after, body, value)) = split(bytes) else { return };
    match read_user_answer(raw(status, retry_after, body)) {
        UserAnswer::Found { username, display_name } => {
            assert!((200..300).contains(&status), "{status}");
            for (found, name) in [(&username, "UserName"), (&display_name, "DisplayName")] {
                let Some(found) = found else { continue };
                steers_nothing(found);
                assert!(!found.contains('\n') && !found.contains(LONG_CANARY), "{found:?}");
                assert!(!found.is_empty() && found.chars().count() <= 300, "{found:?}");
                let is_said =
                    value["User"][name].as_str().is_some_and(|said| said == found || name == "DisplayName");
                assert!(is_said || value.is_null(), "{found:?}");
            }
        }
        UserAnswer::TokenRefused(fault) | UserAnswer::AddressNotAllowed(fault) => {
            assert!(!is_passing(status), "{status} costs no token");
            is_harmless_fault(&fault);
        }
        UserAnswer::Passing { fault, retry } => {
            assert_eq!(retry, retry_after.map_or(Retry::Later, Retry::After));
            is_harmless_fault(&fault);
        }
    }
}
