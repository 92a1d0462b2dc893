//! What a static credential means to a caller that does not speak git: the header that it becomes.
//! Does not: keep or look for credentials (the daemon does).
//! Used by: `format`.

use base64::{Engine, prelude::BASE64_STANDARD};
use rally_cred_proto::{Secret, engflow, git::Credential, message::StaticCredential};
use zeroize::Zeroizing;

/// The header of HTTP's own authentication schemes.
pub(crate) const AUTHORIZATION: &str = "Authorization";

/// A header that proves who asks.
#[derive(Debug)]
pub(crate) struct Header {
    pub(crate) name: &'static str,
    pub(crate) value: Secret,
}

/// The header for the server of this credential, if it holds one.
///
/// A Rally API key goes where every token of Rally goes. Everything else is for `Authorization`: a scheme with its
/// credential as it stands, a name with its password as RFC 7617 has it.
pub(crate) fn header(of: &StaticCredential) -> Option<Header> {
    let Credential { username, password, authtype, credential, .. } = &of.credential;
    if let (Some(authtype), Some(credential)) = (authtype, credential) {
        return behind(authtype, credential).map(|value| Header { name: AUTHORIZATION, value });
    }
    let password = password.as_ref()?;
    if is_rally_key(&of.host, password) {
        return Some(Header { name: engflow::HEADER, value: password.clone() });
    }
    let pair = Zeroizing::new(format!("{}:{}", username.as_deref().unwrap_or_default(), password.expose()));
    let encoded = Zeroizing::new(BASE64_STANDARD.encode(pair.as_bytes()));
    Secret::parse(format!("Basic {}", *encoded)).ok().map(|value| Header { name: AUTHORIZATION, value })
}

/// What stands in a header with an authentication scheme. `None` if the scheme would break the line.
pub(crate) fn behind(scheme: &str, credential: &Secret) -> Option<Secret> {
    Secret::parse([scheme, " ", credential.expose()].concat()).ok()
}

/// Rally's API keys begin with an underscore; on Rally's own hosts there is nothing else.
fn is_rally_key(host: &str, password: &Secret) -> bool {
    let name = host.split(':').next().unwrap_or_default();
    password.expose().starts_with('_') || name.ends_with(".rallydev.com")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(host: &str, credential: Credential, expected: Option<(&str, &str)>) {
        let of = StaticCredential { protocol: "https".to_owned(), host: host.to_owned(), credential };
        let header = header(&of);
        assert_eq!(header.as_ref().map(|header| (header.name, header.value.expose())), expected, "{host}");
    }

    fn secret(text: &str) -> Option<Secret> {
        Some(Secret::parse(text.to_owned()).unwrap())
    }

    #[test]
    fn a_rally_key_is_a_zsessionid_and_everything_else_is_for_authorization() {
        let password = |username: Option<&str>, password: &str| Credential {
            username: username.map(str::to_owned),
            password: secret(password),
            ..Credential::default()
        };
        check("127.0.0.1:8443", password(Some("me"), "_key"), Some(("ZSESSIONID", "_key")));
        check("rally1.rallydev.com", password(Some("me"), "session"), Some(("ZSESSIONID", "session")));
        check("rally1.rallydev.com:443", password(None, "session"), Some(("ZSESSIONID", "session")));
        // RFC 7617, section 2.
        let aladdin = Some(("Authorization", "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="));
        check("git.example.com", password(Some("Aladdin"), "open sesame"), aladdin);
        check("evilrallydev.com", password(None, "x"), Some(("Authorization", "Basic Ong=")));
        let bearer = Credential {
            authtype: Some("Bearer".to_owned()),
            credential: secret("abc"),
            ..password(Some("me"), "_key")
        };
        check("git.example.com", bearer, Some(("Authorization", "Bearer abc")));
        check("git.example.com", Credential::default(), None);
    }
}
