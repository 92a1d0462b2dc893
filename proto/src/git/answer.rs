//! What a helper answers to `get`: a credential as git's attributes.
//! Does not: choose the credential, or look at the clock: one that has ended is not for here.
//! Used by: the client, with a token of Rally or with a static credential.

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{Attributes, BadAttributes, MAX_LINE, NOTE};
use crate::{Secret, secret::line_breaker};

/// What a server is told to prove who asks. `None` is an absent part; an empty one is a part, as in git.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Credential {
    /// The user's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// The password that goes with the name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<Secret>,
    /// When the password ends, in seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_expiry_utc: Option<i64>,
    /// The OAuth refresh token, which git only passes along, so that the helper that made it finds it again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oauth_refresh_token: Option<Secret>,
    /// The authentication scheme of `credential`, such as `Bearer`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authtype: Option<String>,
    /// What follows the scheme in the header `Authorization`, in place of name and password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential: Option<Secret>,
}

impl Credential {
    /// Whether it proves anything: a name with a password, or a scheme with its credential. git's own stores keep no
    /// other.
    pub fn is_complete(&self) -> bool {
        (self.username.is_some() && self.password.is_some())
            || (self.authtype.is_some() && self.credential.is_some())
    }
}

/// The answer to `get` with a token of Rally. A caller that announced `authtype` is told not to store it, and one that
/// announced `state` is told whose it is. A token that goes behind an authentication scheme is a credential to a caller
/// that announced `authtype`, and a password to any other.
///
/// Host, protocol and refresh token are never part of it: what a helper answers overwrites what git knows.
pub fn encode_answer(
    request: &Attributes,
    profile: &str,
    scheme: Option<&str>,
    username: &str,
    token: &Secret,
    expires_at: Option<i64>,
) -> Result<Zeroizing<Vec<u8>>, BadAttributes> {
    let is_told = request.takes_authtype.then_some("1");
    let scheme = scheme.filter(|_| request.takes_authtype);
    let in_header = scheme.map(|_| token.expose());
    let in_pair = |text| Some(text).filter(|_| scheme.is_none());
    let expiry = expiry(expires_at);
    let note = request.takes_state.then(|| format!("{NOTE}{profile}"));
    encode(&[
        ("capability[]", is_told.and(Some("authtype"))),
        ("capability[]", note.as_ref().and(Some("state"))),
        ("ephemeral", is_told),
        ("authtype", scheme),
        ("credential", in_header),
        ("username", in_pair(username)),
        ("password", in_pair(token.expose())),
        ("password_expiry_utc", expiry.as_deref()),
        ("state[]", note.as_deref()),
    ])
}

/// The answer to `get` with a static credential, all of it.
///
/// Scheme and credential are for callers that announced `authtype`. If that leaves nothing that proves anything, the
/// answer is empty, so that git goes on as after a miss.
pub fn encode_credential(
    request: &Attributes,
    credential: &Credential,
) -> Result<Zeroizing<Vec<u8>>, BadAttributes> {
    let Credential { username, password, password_expiry_utc, oauth_refresh_token, authtype, credential } =
        credential;
    let scheme = authtype.as_deref().zip(credential.as_ref()).filter(|_| request.takes_authtype);
    if scheme.is_none() && password.is_none() {
        return Ok(Zeroizing::default());
    }
    let expiry = expiry(*password_expiry_utc);
    encode(&[
        ("capability[]", scheme.map(|_| "authtype")),
        ("authtype", scheme.map(|(authtype, _)| authtype)),
        ("credential", scheme.map(|(_, credential)| credential.expose())),
        ("username", username.as_deref()),
        ("password", password.as_ref().map(Secret::expose)),
        ("password_expiry_utc", expiry.as_deref()),
        ("oauth_refresh_token", oauth_refresh_token.as_ref().map(Secret::expose)),
    ])
}

/// git takes 0 for no end at all and a time before 1970 for one far ahead, so an end that long ago becomes second 1.
fn expiry(at: Option<i64>) -> Option<String> {
    at.map(|at| at.max(1).to_string())
}

/// Writes the lines that have a value, in a buffer of just their size, so that no copy is left behind.
fn encode(lines: &[(&'static str, Option<&str>)]) -> Result<Zeroizing<Vec<u8>>, BadAttributes> {
    let given = || lines.iter().filter_map(|(key, value)| Some((*key, (*value)?)));
    let length = given().map(|(key, value)| key.len() + value.len() + 2).sum();
    let mut encoded = Zeroizing::new(Vec::with_capacity(length));
    for (key, value) in given() {
        let at = encoded.len();
        for piece in [key, "=", value, "\n"] {
            encoded.extend_from_slice(piece.as_bytes());
        }
        if let Some(offset) = line_breaker(value.as_bytes()) {
            return Err(BadAttributes::LineBreaker { key, at: at + key.len() + 1 + offset });
        }
        if encoded.len() - at > MAX_LINE {
            return Err(BadAttributes::LineTooLong { at, length: encoded.len() - at });
        }
    }
    Ok(encoded)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::git::parse;

    fn secret(text: &str) -> Secret {
        Secret::parse(text.to_owned()).unwrap()
    }

    fn whole() -> Credential {
        Credential {
            username: Some("me".to_owned()),
            password: Some(secret("_abc")),
            password_expiry_utc: Some(9_999_999_999),
            oauth_refresh_token: Some(secret("rt")),
            authtype: Some("Bearer".to_owned()),
            credential: Some(secret("c")),
        }
    }

    fn check(request: &str, credential: &Credential, expected: &str) {
        let request = parse(request.as_bytes()).unwrap();
        let answer = encode_credential(&request, credential).unwrap();
        assert_eq!(str::from_utf8(&answer).unwrap(), expected);
    }

    #[test]
    fn the_answer_with_a_token_announces_only_what_the_request_announced() {
        let answer = |request: &str, expires_at| {
            let request = parse(request.as_bytes()).unwrap();
            let answer = encode_answer(&request, "work", None, "oauth", &secret("_abc"), expires_at).unwrap();
            String::from_utf8(answer.to_vec()).unwrap()
        };
        assert_eq!(answer("", None), "username=oauth\npassword=_abc\n");
        assert_eq!(
            answer("capability[]=state\n", Some(7)),
            "capability[]=state\nusername=oauth\npassword=_abc\npassword_expiry_utc=7\nstate[]=rally-cred:profile=work\n"
        );
        assert_eq!(
            answer("capability[]=authtype\n", None),
            "capability[]=authtype\nephemeral=1\nusername=oauth\npassword=_abc\n"
        );
    }

    #[test]
    fn a_token_behind_a_scheme_is_a_credential_to_a_caller_that_takes_one_and_a_password_to_others() {
        let answer = |request: &str| {
            let request = parse(request.as_bytes()).unwrap();
            let answer = encode_answer(&request, "work", Some("Bearer"), "oauth", &secret("_abc"), Some(7));
            String::from_utf8(answer.unwrap().to_vec()).unwrap()
        };
        assert_eq!(
            answer("capability[]=authtype\ncapability[]=state\n"),
            "capability[]=authtype\ncapability[]=state\nephemeral=1\nauthtype=Bearer\ncredential=_abc\n\
             password_expiry_utc=7\nstate[]=rally-cred:profile=work\n"
        );
        assert_eq!(answer(""), "username=oauth\npassword=_abc\npassword_expiry_utc=7\n");
    }

    #[test]
    fn a_static_credential_is_answered_in_full() {
        let basic = "username=me\npassword=_abc\npassword_expiry_utc=9999999999\noauth_refresh_token=rt\n";
        check("", &whole(), basic);
        check("capability[]=state\n", &whole(), basic);
        let scheme = "capability[]=authtype\nauthtype=Bearer\ncredential=c\n";
        check("capability[]=authtype\n", &whole(), &format!("{scheme}{basic}"));
        let empty =
            Credential { username: Some(String::new()), password: Some(secret("")), ..Credential::default() };
        check("capability[]=authtype\n", &empty, "username=\npassword=\n");
    }

    #[test]
    fn what_proves_nothing_to_this_caller_is_not_answered() {
        let bearer = Credential { password: None, ..whole() };
        check("", &bearer, "");
        assert!(bearer.is_complete());
        for (part, halved) in [
            ("authtype", Credential { authtype: None, ..bearer.clone() }),
            ("credential", Credential { credential: None, ..bearer.clone() }),
        ] {
            check("capability[]=authtype\n", &halved, "");
            assert!(!halved.is_complete(), "{part}");
        }
        assert!(!Credential { username: None, authtype: None, ..whole() }.is_complete());
        check("capability[]=authtype\n", &Credential::default(), "");
    }

    #[test]
    fn an_end_before_1970_is_not_taken_for_one_far_ahead() {
        for at in [0, -1, i64::MIN] {
            let ended = Credential { password_expiry_utc: Some(at), ..whole() };
            check("", &ended, "username=me\npassword=_abc\npassword_expiry_utc=1\noauth_refresh_token=rt\n");
        }
    }

    #[test]
    fn what_would_break_the_answer_is_refused_without_being_shown() {
        let request = parse(b"capability[]=authtype\n").unwrap();
        for breaker in ["\n", "\r", "\0"] {
            let text = format!("canary{breaker}host=evil");
            let fault = encode_answer(&request, "work", None, &text, &secret("t"), None).unwrap_err();
            assert!(matches!(fault, BadAttributes::LineBreaker { key: "username", .. }));
            for (key, credential) in [
                ("username", Credential { username: Some(text.clone()), ..whole() }),
                ("authtype", Credential { authtype: Some(text.clone()), ..whole() }),
            ] {
                let fault = encode_credential(&request, &credential).unwrap_err();
                assert!(matches!(fault, BadAttributes::LineBreaker { key: found, .. } if found == key));
                assert!(!format!("{fault} {fault:?}").contains("canary"));
            }
        }
        let room = MAX_LINE - "password=\n".len();
        assert!(encode_answer(&request, "work", None, "", &secret(&"a".repeat(room)), None).is_ok());
        let fault =
            encode_answer(&request, "work", None, "", &secret(&"a".repeat(room + 1)), None).unwrap_err();
        assert!(matches!(fault, BadAttributes::LineTooLong { length, .. } if length == MAX_LINE + 1));
    }

    #[test]
    fn the_buffer_has_just_the_size_of_the_answer() {
        let request = parse(b"capability[]=authtype\n").unwrap();
        let answer = encode_credential(&request, &whole()).unwrap();
        assert_eq!(answer.len(), answer.capacity());
    }

    fn text() -> impl Strategy<Value = Option<String>> {
        prop::option::of("[^\r\n\0]{0,40}")
    }

    fn hidden() -> impl Strategy<Value = Option<Secret>> {
        text().prop_map(|text| text.map(|text| secret(&text)))
    }

    fn exposed(secret: &Option<Secret>) -> Option<&str> {
        secret.as_ref().map(Secret::expose)
    }

    proptest! {
        #[test]
        fn what_is_answered_is_read_back(
            username in text(), password in hidden(), password_expiry_utc in prop::option::of(1i64..),
            oauth_refresh_token in hidden(), authtype in text(), credential in hidden(),
        ) {
            let given = Credential { username, password, password_expiry_utc, oauth_refresh_token, authtype, credential };
            let request = parse(b"capability[]=authtype\n").unwrap();
            let answer = encode_credential(&request, &given).unwrap();
            let found = parse(&answer).unwrap();
            prop_assert!(found.protocol.is_none() && found.host.is_none() && found.path.is_none() && !found.ephemeral);
            let found = found.into_credential();
            if given.password.is_some() || (given.authtype.is_some() && given.credential.is_some()) {
                prop_assert_eq!(exposed(&found.password), exposed(&given.password));
                prop_assert_eq!(exposed(&found.oauth_refresh_token), exposed(&given.oauth_refresh_token));
                prop_assert_eq!(found.username, given.username);
                prop_assert_eq!(found.password_expiry_utc, given.password_expiry_utc);
                if given.authtype.is_some() && given.credential.is_some() {
                    prop_assert_eq!(exposed(&found.credential), exposed(&given.credential));
                    prop_assert_eq!(found.authtype, given.authtype);
                }
            } else {
                prop_assert!(answer.is_empty());
            }
        }
    }
}
