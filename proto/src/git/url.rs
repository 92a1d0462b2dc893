//! git's `url` attribute, split into its parts the way git splits it.
//! Does not: follow the URL standard where git does not, or judge the host (see [`crate::Origin`]).
//! Used by: `git::parse`.

use zeroize::Zeroizing;

use super::{Attributes, BadAttributes, Value};
use crate::secret::line_breaker;

/// The parts of a URL: `proto://[user[:password]@]host[/path]`, as `credential_from_url` in git's credential.c reads it.
///
/// A missing host is an empty one, as in `cert:///path`; every other missing part is absent. The first `/`, `?` or `#`
/// ends the host. CR, LF and NUL are refused when percent-encoded too (CVE-2020-5260).
pub(super) fn parse(url: Value<'_>) -> Result<Attributes, BadAttributes> {
    let at = url.at;
    let text = |key, bytes| Value { key, bytes: &decode(key, bytes, at)?, at }.text();
    let secret = |key, bytes| Value { key, bytes: &decode(key, bytes, at)?, at }.secret();

    let scheme = url.bytes.windows(3).position(|three| three == b"://").filter(|length| *length > 0);
    let (protocol, rest) = url.bytes.split_at(scheme.ok_or(BadAttributes::NoProtocol(at))?);
    let rest = rest.strip_prefix(b"://").unwrap_or_default();
    let host_end = rest.iter().position(|byte| matches!(byte, b'/' | b'?' | b'#')).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(host_end);
    let (user, host) = split(authority, b'@').map_or((None, authority), |(user, host)| (Some(user), host));
    let (username, password) = match user {
        None => (None, None),
        Some(user) => split(user, b':').map_or((Some(user), None), |(name, word)| (Some(name), Some(word))),
    };
    Ok(Attributes {
        protocol: Some(Value { key: "protocol", bytes: protocol, at }.text()?),
        host: Some(text("host", host)?),
        path: trim_path(path, at)?,
        username: username.map(|bytes| text("username", bytes)).transpose()?,
        password: password.map(|bytes| secret("password", bytes)).transpose()?,
        ..Attributes::default()
    })
}

/// The path without the slashes around it, of which git keeps one if nothing else is there.
fn trim_path(raw: &[u8], at: usize) -> Result<Option<Vec<u8>>, BadAttributes> {
    let begin = raw.iter().position(|byte| *byte != b'/').unwrap_or(raw.len());
    let mut path = decode("path", raw.get(begin..).unwrap_or_default(), at)?.to_vec();
    while path.len() > 1 && path.ends_with(b"/") {
        path.pop();
    }
    Ok(Some(path).filter(|path| !path.is_empty()))
}

/// The part with its percent-encoding undone. Like git, leaves alone what is no encoding, and what stands before a
/// colon: a host with a port is compared as it was written.
fn decode(key: &'static str, part: &[u8], at: usize) -> Result<Zeroizing<Vec<u8>>, BadAttributes> {
    let mut decoded = Zeroizing::new(Vec::with_capacity(part.len()));
    let (as_written, mut rest) = part.split_at(part.iter().position(|byte| *byte == b':').unwrap_or(0));
    decoded.extend_from_slice(as_written);
    while let [first, after @ ..] = rest {
        let encoded = match rest {
            [b'%', high, low, after @ ..] => hex(*high, *low).map(|byte| (byte, after)),
            _ => None,
        };
        let (byte, after) = encoded.unwrap_or((*first, after));
        decoded.push(byte);
        rest = after;
    }
    match line_breaker(&decoded) {
        Some(_) => Err(BadAttributes::LineBreaker { key, at }),
        None => Ok(decoded),
    }
}

fn hex(high: u8, low: u8) -> Option<u8> {
    let digit = |digit: u8| char::from(digit).to_digit(16);
    u8::try_from(digit(high)? * 16 + digit(low)?).ok()
}

fn split(bytes: &[u8], at: u8) -> Option<(&[u8], &[u8])> {
    let (before, after) = bytes.split_at(bytes.iter().position(|byte| *byte == at)?);
    Some((before, after.get(1..)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `git credential fill` 2.47 passes on for the same URL, in the order protocol, host, path, username, password.
    fn check(url: &str, expected: [Option<&str>; 5]) {
        let found = parse(Value { key: "url", bytes: url.as_bytes(), at: 7 }).unwrap();
        let path = found.path.map(|path| String::from_utf8(path).unwrap());
        let password = found.password.as_ref().map(|password| password.expose());
        let parts = [
            found.protocol.as_deref(),
            found.host.as_deref(),
            path.as_deref(),
            found.username.as_deref(),
            password,
        ];
        assert_eq!(parts, expected, "{url}");
    }

    #[test]
    fn a_url_is_split_as_git_splits_it() {
        let https = Some("https");
        check("https://example.com", [https, Some("example.com"), None, None, None]);
        check("https://example.com:8443/", [https, Some("example.com:8443"), None, None, None]);
        check("HTTPS://[::1]:3/d", [Some("HTTPS"), Some("[::1]:3"), Some("d"), None, None]);
        check("https://u@host/x.git", [https, Some("host"), Some("x.git"), Some("u"), None]);
        check("https://u:p@host", [https, Some("host"), None, Some("u"), Some("p")]);
        check("https://:p@c/d", [https, Some("c"), Some("d"), Some(""), Some("p")]);
        check("https://u:@c", [https, Some("c"), None, Some("u"), Some("")]);
        check("https://@c/d", [https, Some("c"), Some("d"), Some(""), None]);
        check("https://a@b@c/d", [https, Some("b@c"), Some("d"), Some("a"), None]);
        check("https://host?x=1@y", [https, Some("host"), Some("?x=1@y"), None, None]);
        check("https://host#a", [https, Some("host"), Some("#a"), None, None]);
        check("https://host/////", [https, Some("host"), None, None, None]);
        check("https://host//a/b//", [https, Some("host"), Some("a/b"), None, None]);
    }

    #[test]
    fn a_missing_host_is_empty_and_not_absent() {
        check("cert:///path/to/file", [Some("cert"), Some(""), Some("path/to/file"), None, None]);
        check("https://", [Some("https"), Some(""), None, None, None]);
    }

    #[test]
    fn percent_encoding_is_undone_where_git_undoes_it() {
        let https = Some("https");
        check(
            "https://u%40x:p%3aq@h%6Fst/a%20b",
            [https, Some("host"), Some("a b"), Some("u@x"), Some("p:q")],
        );
        check(
            "https://u:p%40:q%40@c/d%20:e%20",
            [https, Some("c"), Some("d%20:e "), Some("u"), Some("p%40:q@")],
        );
        check("https://ex%61mple.com:8443", [https, Some("ex%61mple.com:8443"), None, None, None]);
        check("https://host%zzname%4/a+b%", [https, Some("host%zzname%4"), Some("a+b%"), None, None]);
        check("https://host/%2f", [https, Some("host"), Some("/"), None, None]);
        check("https://host/a%2f", [https, Some("host"), Some("a"), None, None]);
        check("ht%74p://host", [Some("ht%74p"), Some("host"), None, None, None]);
    }

    #[test]
    fn a_url_that_hides_a_line_break_or_names_no_protocol_is_refused() {
        let refused = |url: &[u8]| parse(Value { key: "url", bytes: url, at: 7 }).unwrap_err();
        for encoded in ["%0a", "%0A", "%0d", "%00"] {
            let hidden = |key| BadAttributes::LineBreaker { key, at: 7 };
            assert_eq!(refused(format!("https://a{encoded}b/").as_bytes()), hidden("host"));
            assert_eq!(refused(format!("https://a/{encoded}").as_bytes()), hidden("path"));
            assert_eq!(refused(format!("https://{encoded}@a").as_bytes()), hidden("username"));
            assert_eq!(refused(format!("https://u:{encoded}@a").as_bytes()), hidden("password"));
        }
        for url in ["example.com/x", "://example.com", "", "https:/a", "https:a"] {
            assert_eq!(refused(url.as_bytes()), BadAttributes::NoProtocol(7), "{url}");
        }
        assert_eq!(refused(b"https://a%ff"), BadAttributes::NotUtf8 { key: "host", at: 7 });
    }
}
