//! Which headers stay behind at the gateway, in each direction.
//! Does not: add the token, or look at a body.
//! Used by: `forward`.

use hyper::{
    HeaderMap, StatusCode,
    header::{
        ACCEPT_ENCODING, ALT_SVC, AUTHORIZATION, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE,
        COOKIE, EXPECT, HOST, HeaderName, HeaderValue, LOCATION, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION,
        SET_COOKIE, STRICT_TRANSPORT_SECURITY, TE, TRANSFER_ENCODING, UPGRADE,
    },
    http::response,
};

use crate::key::ZSESSIONID;

/// What is about one connection only (RFC 9110 §7.6.1), beside what `Connection` names.
const HOP_BY_HOP: [HeaderName; 6] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    TE,
    TRANSFER_ENCODING,
    UPGRADE,
];

/// What a request says to the gateway and not to Rally: the local key in any form, cookies, the name of the gateway, and
/// the question whether the body is wanted, which the gateway answers.
const FOR_THE_GATEWAY: [HeaderName; 7] = [
    ZSESSIONID,
    AUTHORIZATION,
    PROXY_AUTHORIZATION,
    COOKIE,
    HeaderName::from_static("cookie2"),
    HOST,
    EXPECT,
];

/// What an answer must not carry to a tool: sessions, and orders to go round the gateway.
const NOT_FOR_THE_TOOL: [HeaderName; 5] = [
    SET_COOKIE,
    HeaderName::from_static("set-cookie2"),
    PROXY_AUTHENTICATE,
    ALT_SVC,
    STRICT_TRANSPORT_SECURITY,
];

/// Makes a tool's headers those of a request to Rally, without a token yet. `is_rewritten`: the answer's body will be
/// read, so it must not come compressed.
pub(crate) fn to_rally(headers: &mut HeaderMap, is_rewritten: bool) {
    let takes_trailers = lists(headers, TE, "trailers");
    // A chunked body stays one: hyper adds no framing of its own to a GET.
    let is_chunked = headers.contains_key(TRANSFER_ENCODING);
    remove_hop_by_hop(headers);
    for name in &FOR_THE_GATEWAY {
        headers.remove(name);
    }
    if is_chunked {
        headers.remove(CONTENT_LENGTH);
        headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
    if takes_trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
    if is_rewritten {
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    }
}

/// Makes the headers of Rally's answer those of an answer to a tool.
pub(crate) fn to_tool(headers: &mut HeaderMap) {
    // hyper keeps a length beside chunks, and the two would part a reader's mind.
    if headers.contains_key(TRANSFER_ENCODING) {
        headers.remove(CONTENT_LENGTH);
    }
    remove_hop_by_hop(headers);
    for name in &NOT_FOR_THE_TOOL {
        headers.remove(name);
    }
}

/// Leads a redirect within Rally back to the gateway.
pub(crate) fn redirect_to(headers: &mut HeaderMap, upstream: &str, gateway: &str) {
    let Some(location) = headers.get(LOCATION).and_then(|value| value.to_str().ok()) else { return };
    let Some(rest) = location.strip_prefix(upstream) else { return };
    if (rest.is_empty() || rest.starts_with(['/', '?', '#']))
        && let Ok(value) = HeaderValue::from_str(&format!("{gateway}{rest}"))
    {
        headers.insert(LOCATION, value);
    }
}

/// Whether the body of an answer may hold addresses that would lead a tool round the gateway: JSON, also as a script, all
/// of it and not compressed.
pub(crate) fn may_have_refs(answer: &response::Parts) -> bool {
    let media_type =
        answer.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media_type = media_type.to_ascii_lowercase();
    answer.status != StatusCode::PARTIAL_CONTENT
        && !answer.headers.contains_key(CONTENT_ENCODING)
        && (media_type.contains("json") || media_type.contains("javascript"))
}

/// Removes what is true only of a body as Rally sent it.
pub(crate) fn forget_length(headers: &mut HeaderMap) {
    headers.remove(CONTENT_LENGTH);
    for name in ["content-md5", "digest", "content-digest", "repr-digest"] {
        headers.remove(name);
    }
}

fn remove_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        // The framing of a body is not for `Connection` to take away.
        .filter(|name| *name != CONTENT_LENGTH)
        .collect();
    for name in HOP_BY_HOP.iter().chain(&named) {
        headers.remove(name);
    }
}

/// Whether a header that is a list of words holds this one.
fn lists(headers: &HeaderMap, name: HeaderName, word: &str) -> bool {
    let mut values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    values.any(|value| value.split([',', ';']).any(|item| item.trim().eq_ignore_ascii_case(word)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[&str]) -> HeaderMap {
        let parse = |line: &&str| {
            let (name, value) = line.split_once(": ").unwrap();
            (HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value).unwrap())
        };
        lines.iter().map(parse).collect()
    }

    fn check(change: impl FnOnce(&mut HeaderMap), before: &[&str], after: &[&str]) {
        let mut changed = headers(before);
        change(&mut changed);
        assert_eq!(changed, headers(after), "{before:?}");
    }

    #[test]
    fn a_request_loses_its_key_in_every_form_and_its_cookies() {
        check(
            |headers| to_rally(headers, false),
            &[
                "Host: 127.0.0.1:1",
                "ZSESSIONID: _k",
                "Cookie: ZSESSIONID=_k; a=b",
                "Cookie: c=d",
                "Authorization: Basic eDp5",
                "Proxy-Authorization: Bearer _k",
                "Accept: */*",
            ],
            &["Accept: */*"],
        );
    }

    #[test]
    fn what_is_about_one_connection_stays_behind_and_so_does_what_connection_names() {
        let before = [
            "Connection: keep-alive, X-One",
            "Connection: x-two",
            "Keep-Alive: timeout=5",
            "Proxy-Connection: keep-alive",
            "X-One: 1",
            "X-Two: 2",
            "X-Three: 3",
            "TE: gzip",
            "Upgrade: h2c",
        ];
        check(|headers| to_rally(headers, false), &before, &["X-Three: 3"]);
        check(to_tool, &before, &["X-Three: 3"]);
    }

    #[test]
    fn connection_cannot_take_a_length_away() {
        check(
            |headers| to_rally(headers, false),
            &["Connection: content-length", "Content-Length: 5"],
            &["Content-Length: 5"],
        );
    }

    #[test]
    fn framing_and_the_wish_for_trailers_are_said_anew() {
        check(
            |headers| to_rally(headers, false),
            &[
                "Transfer-Encoding: chunked",
                "TE: trailers, deflate",
                "Connection: TE",
                "Expect: 100-continue",
            ],
            &["Transfer-Encoding: chunked", "TE: trailers"],
        );
    }

    #[test]
    fn an_answer_that_is_rewritten_is_asked_for_uncompressed_and_any_other_as_the_tool_wants_it() {
        let before = ["Accept-Encoding: gzip, br"];
        check(|headers| to_rally(headers, true), &before, &["Accept-Encoding: identity"]);
        check(|headers| to_rally(headers, false), &before, &before);
    }

    #[test]
    fn an_answer_loses_sessions_and_ways_round_the_gateway() {
        check(
            to_tool,
            &[
                "Set-Cookie: ZSESSIONID=live",
                "Set-Cookie: JSESSIONID=1",
                "Alt-Svc: h3=\":443\"",
                "Strict-Transport-Security: max-age=1",
                "Content-Encoding: gzip",
            ],
            &["Content-Encoding: gzip"],
        );
    }

    #[test]
    fn a_length_beside_chunks_is_dropped() {
        check(to_tool, &["Transfer-Encoding: chunked", "Content-Length: 5", "ETag: x"], &["ETag: x"]);
        check(to_tool, &["Content-Length: 5"], &["Content-Length: 5"]);
    }

    #[test]
    fn a_redirect_within_rally_leads_to_the_gateway_and_any_other_stays() {
        let redirect =
            |headers: &mut HeaderMap| redirect_to(headers, "https://a.example", "http://127.0.0.1:1");
        check(redirect, &["Location: https://a.example/x?y"], &["Location: http://127.0.0.1:1/x?y"]);
        check(redirect, &["Location: https://a.example"], &["Location: http://127.0.0.1:1"]);
        for stays in ["Location: https://a.example.org/x", "Location: https://a.example:444/", "Location: /x"]
        {
            check(redirect, &[stays], &[stays]);
        }
    }
}
