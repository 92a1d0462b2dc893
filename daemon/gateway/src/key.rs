//! The local key: what a tool shows to the gateway in the place of a ZSESSIONID, and where in a request it may stand.
//! Does not: decide what becomes of a request (`admit` does).
//! Used by: `admit`; `identity`, which keeps it.

use base64::prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE_NO_PAD, Engine};
use hyper::{
    HeaderMap,
    header::{AUTHORIZATION, COOKIE, HeaderName, PROXY_AUTHORIZATION},
};
use rally_cred_proto::Secret;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// Rally's own header for an API key or an access token, and its cookie's name.
pub(crate) const ZSESSIONID: HeaderName = HeaderName::from_static("zsessionid");

/// A key of 256 random bits, worth something at its gateway only: `_`, as Rally's keys begin, and base64url, so that it
/// holds none but letters, digits, `-` and `_`, which tools check.
#[derive(Clone, Debug)]
pub struct LocalKey(Secret);

/// What a request shows of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Presented {
    /// The key, once or more, and nothing else in any place for one.
    Right,
    /// Something in a place for a key, and nowhere the key.
    Wrong,
    /// The key, and in another place something else. Whoever looks elsewhere would take it for another's request.
    Disagreeing,
    /// Nothing in any place for a key.
    Missing,
}

impl LocalKey {
    /// A new key. An error if the system has no randomness.
    pub fn fresh() -> Result<Self, getrandom::Error> {
        let mut bits = Zeroizing::new([0; 32]);
        getrandom::fill(bits.as_mut())?;
        let text = format!("_{}", BASE64_URL_SAFE_NO_PAD.encode(bits.as_ref()));
        Secret::parse(text).map(Self).map_err(|_| getrandom::Error::UNEXPECTED)
    }

    /// A key that [`LocalKey::fresh`] made earlier; `None` for any other text.
    pub fn parse(text: Secret) -> Option<Self> {
        let bits =
            BASE64_URL_SAFE_NO_PAD.decode(text.expose().strip_prefix('_')?).map(Zeroizing::new).ok()?;
        (bits.len() == 32).then_some(Self(text))
    }

    /// The key itself, for the tool that it is made for and the vault.
    pub fn secret(&self) -> &Secret {
        &self.0
    }

    /// What these headers show of the key: in ZSESSIONID, in a cookie of that name, in Authorization, in
    /// Proxy-Authorization, or in the server's own header; with the scheme Basic as user, as password, or as both; with
    /// any other, such as Bearer, as the one word after it. Compared in constant time.
    pub(crate) fn presented(&self, headers: &HeaderMap, own: &HeaderName) -> Presented {
        let mut shown = Presented::Missing;
        if ![ZSESSIONID, COOKIE, AUTHORIZATION, PROXY_AUTHORIZATION].contains(own) {
            for value in headers.get_all(own) {
                shown.add(self.is(value.as_bytes()) || self.is_authorized(value.as_bytes()));
            }
        }
        for value in headers.get_all(ZSESSIONID) {
            shown.add(self.is(value.as_bytes()));
        }
        for cookies in headers.get_all(COOKIE) {
            for cookie in cookies.as_bytes().split(|&byte| byte == b';') {
                let cookie = cookie.trim_ascii();
                let (name, value) = split_once(cookie, b'=').unwrap_or((cookie, b""));
                // The toolkit for .NET holds an empty one beside the key.
                if name.eq_ignore_ascii_case(ZSESSIONID.as_str().as_bytes()) && !value.is_empty() {
                    shown.add(self.is(value));
                }
            }
        }
        for name in [AUTHORIZATION, PROXY_AUTHORIZATION] {
            for value in headers.get_all(name) {
                shown.add(self.is_authorized(value.as_bytes()));
            }
        }
        shown
    }

    fn is(&self, text: &[u8]) -> bool {
        self.0.expose().as_bytes().ct_eq(text).into()
    }

    fn is_authorized(&self, value: &[u8]) -> bool {
        let Some((scheme, rest)) = split_once(value, b' ') else { return false };
        let rest = rest.trim_ascii();
        if !scheme.eq_ignore_ascii_case(b"basic") {
            return self.is(rest);
        }
        let decoded = BASE64_STANDARD.decode(rest).or_else(|_| BASE64_STANDARD_NO_PAD.decode(rest));
        let Ok(decoded) = decoded.map(Zeroizing::new) else { return false };
        let (user, password) = split_once(&decoded, b':').unwrap_or((&decoded, b""));
        // Where the key is one half, the other is a name, nothing, or the key again, but no other key.
        let has_form = |text: &[u8]| text.first() == Some(&b'_') && text.len() == self.0.expose().len();
        let is_harmless = |text: &[u8]| self.is(text) || !has_form(text);
        (self.is(user) && is_harmless(password)) || (self.is(password) && is_harmless(user))
    }
}

impl Presented {
    fn add(&mut self, is_right: bool) {
        *self = match (*self, is_right) {
            (Self::Missing | Self::Right, true) => Self::Right,
            (Self::Missing | Self::Wrong, false) => Self::Wrong,
            _ => Self::Disagreeing,
        };
    }
}

fn split_once(text: &[u8], at: u8) -> Option<(&[u8], &[u8])> {
    let place = text.iter().position(|&byte| byte == at)?;
    let (before, after) = text.split_at_checked(place)?;
    Some((before, after.split_first()?.1))
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    fn key() -> LocalKey {
        LocalKey::parse(Secret::parse(format!("_{}", "k".repeat(42) + "A")).unwrap()).unwrap()
    }

    /// Checks what is seen in headers, in which KEY stands for the key, OTHER for one of another gateway, and what is in
    /// angle brackets is written in base64.
    fn check(lines: &[&str], expected: Presented) {
        let key = key();
        let mut headers = HeaderMap::new();
        for line in lines {
            let other = format!("_{}", "o".repeat(42) + "A");
            let mut line = line.replace("KEY", key.secret().expose()).replace("OTHER", &other);
            if let Some((before, rest)) = line.clone().split_once('<') {
                line = format!("{before}{}", BASE64_STANDARD.encode(rest.trim_end_matches('>')));
            }
            let (name, value) = line.split_once(": ").unwrap();
            headers.append(
                HeaderName::from_bytes(name.as_bytes()).unwrap(),
                HeaderValue::from_str(value).unwrap(),
            );
        }
        assert_eq!(key.presented(&headers, &HeaderName::from_static("x-own")), expected, "{lines:?}");
    }

    #[test]
    fn each_toolkit_is_known_by_the_way_it_shows_its_key() {
        for line in [
            "ZSESSIONID: KEY",
            "zsessionid: KEY",
            "ZSessionID: KEY",
            "Cookie: ZSESSIONID=KEY",
            "Cookie: a=b; zsessionid=KEY; c",
            "Authorization: Bearer KEY",
            "authorization: bearer  KEY",
            // One MCP server does this.
            "Authorization: ApiKey KEY",
            "Authorization: Basic <apikey:KEY>",
            "Authorization: Basic <KEY:>",
            "Authorization: Basic <KEY>",
            "Authorization: basic <KEY:_>",
            // As the toolkit for .NET does.
            "Authorization: Basic <KEY:KEY>",
            "Proxy-Authorization: Basic <rally:KEY>",
            "Proxy-Authorization: Bearer KEY",
            "X-Own: KEY",
            "X-Own: Token KEY",
        ] {
            check(&[line], Presented::Right);
        }
        check(
            &["ZSESSIONID: KEY", "Cookie: ZSESSIONID=", "Authorization: Basic <KEY:KEY>"],
            Presented::Right,
        );
        check(&["Cookie: ZSESSIONID=KEY", "Cookie: JSESSIONID=x"], Presented::Right);
    }

    #[test]
    fn what_is_not_the_key_is_not_taken_for_it() {
        for line in [
            "ZSESSIONID: OTHER",
            "ZSESSIONID: ",
            "ZSESSIONID: KEYx",
            "ZSESSIONID: KEY, KEY",
            "ZSESSIONID: Bearer KEY",
            "Cookie: ZSESSIONID=OTHER",
            "Cookie: ZSESSIONID=\"KEY\"",
            "Authorization: KEY",
            "Authorization: ",
            "Authorization: Bearer",
            "Authorization: Bearer KEY KEY",
            "Authorization: Basic KEY",
            "Authorization: Basic <user:password>",
            "Authorization: Basic <KEY:OTHER>",
            "Authorization: Basic <OTHER:KEY>",
            "Proxy-Authorization: Basic <:>",
        ] {
            check(&[line], Presented::Wrong);
        }
        for lines in [&[][..], &["Cookie: a=KEY; ZSESSIONID; ZSESSIONID="], &["X-ZSESSIONID: KEY"]] {
            check(lines, Presented::Missing);
        }
    }

    #[test]
    fn a_key_beside_another_is_refused() {
        check(&["ZSESSIONID: KEY", "ZSESSIONID: OTHER"], Presented::Disagreeing);
        check(&["Cookie: ZSESSIONID=KEY; ZSESSIONID=OTHER"], Presented::Disagreeing);
        check(&["ZSESSIONID: KEY", "X-Own: OTHER"], Presented::Disagreeing);
        check(&["ZSESSIONID: KEY", "Authorization: Basic <user:password>"], Presented::Disagreeing);
        check(&["Proxy-Authorization: Basic <rally:OTHER>", "ZSESSIONID: KEY"], Presented::Disagreeing);
    }

    #[test]
    fn keys_differ_look_like_rallys_and_are_taken_again() {
        let (one, other) = (LocalKey::fresh().unwrap(), LocalKey::fresh().unwrap());
        assert!(!one.secret().matches(other.secret()));
        let text = one.secret().expose();
        assert_eq!((text.len(), text.chars().next()), (44, Some('_')));
        assert!(text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_'), "{text}");
        assert!(LocalKey::parse(one.secret().clone()).unwrap().secret().matches(one.secret()));
        for other in ["", "_", "_abc", &text[1..], &format!("{text}A"), &text.replace('_', "+")] {
            assert!(LocalKey::parse(Secret::parse(other.to_owned()).unwrap()).is_none(), "{other}");
        }
    }
}
