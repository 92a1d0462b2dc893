//! Why a request is not passed on, in a status and in words.
//! Does not: decide that.
//! Used by: `admit`, which decides; `trouble`, which answers.

use hyper::{
    StatusCode,
    header::{HeaderName, PROXY_AUTHENTICATE, WWW_AUTHENTICATE},
};

/// Why a request is not passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// It is one for a proxy of plain HTTP.
    PlainProxy,
    /// It asks for a tunnel within a tunnel, or to what is no server.
    NoTunnel,
    /// It is for another server, or does not say for which: a browser may have been led here.
    ForeignHost,
    /// A page in a browser sent it.
    Browser,
    NoKey,
    WrongKey,
    KeysDisagree,
    /// It asks for a tunnel, without the key or with a wrong one.
    NoProxyKey,
    /// Servers may read its path in several ways.
    AmbiguousPath,
    /// Its answer would hold a credential.
    ClosedPath,
    /// The gateway is not for this path.
    OtherPath,
}

impl Refusal {
    pub(crate) const fn status(self) -> StatusCode {
        match self {
            Self::PlainProxy => StatusCode::NOT_IMPLEMENTED,
            Self::NoTunnel | Self::AmbiguousPath => StatusCode::BAD_REQUEST,
            Self::ForeignHost => StatusCode::MISDIRECTED_REQUEST,
            Self::Browser | Self::ClosedPath | Self::OtherPath => StatusCode::FORBIDDEN,
            Self::NoKey | Self::WrongKey | Self::KeysDisagree => StatusCode::UNAUTHORIZED,
            Self::NoProxyKey => StatusCode::PROXY_AUTHENTICATION_REQUIRED,
        }
    }

    /// A few words for the status line.
    pub(crate) const fn reason(self) -> &'static str {
        match self {
            Self::PlainProxy => "Only https Goes Through This Gateway",
            Self::NoTunnel => "No Tunnel To There",
            Self::ForeignHost => "Host Is Not This Gateway",
            Self::Browser => "Closed To Browsers",
            Self::NoKey => "Local Key Missing",
            Self::WrongKey => "Local Key Unknown",
            Self::KeysDisagree => "Keys Disagree",
            Self::NoProxyKey => "Local Key Needed In Proxy-Authorization",
            Self::AmbiguousPath => "Path Is Ambiguous",
            Self::ClosedPath => "Path Is Closed",
            Self::OtherPath => "Path Is Not Open",
        }
    }

    /// What is the matter and what to do, for people.
    pub(crate) const fn words(self) -> &'static str {
        match self {
            Self::PlainProxy => {
                "this gateway passes on https only: set it as HTTPS_PROXY and not as HTTP_PROXY, or use its own address \
                 as the server"
            }
            Self::NoTunnel => {
                "a tunnel leads to a name or address and a port, and not through another tunnel"
            }
            Self::ForeignHost => {
                "the request is for another server: use the gateway's own address as the server"
            }
            Self::Browser => "this gateway does not serve pages in browsers, only programs on this machine",
            Self::NoKey => "the request shows no key: send the gateway's local key as ZSESSIONID",
            Self::WrongKey => {
                "the key is not this gateway's: give the tool the local key, and not one of Rally's; a key ends with \
                 the program that it was made for"
            }
            Self::KeysDisagree => "the request shows the local key and another one: send the local key only",
            Self::NoProxyKey => {
                "a tunnel needs the gateway's local key: have it in the proxy's address, as http://rally:KEY@HOST:PORT"
            }
            Self::AmbiguousPath => {
                "the path has dots, slashes, semicolons or controls that servers read in different ways: write it \
                 plainly"
            }
            Self::ClosedPath => "the answer would hold a credential, which no tool needs behind this gateway",
            Self::OtherPath => {
                "this gateway is not open for this path: if the tool needs it, add it to the gateway's paths"
            }
        }
    }

    /// The header by which the answer asks for a key; some toolkits show theirs only when asked.
    pub(crate) fn challenge(self) -> Option<(HeaderName, &'static str)> {
        let name = match self {
            Self::NoKey | Self::WrongKey | Self::KeysDisagree => WWW_AUTHENTICATE,
            Self::NoProxyKey => PROXY_AUTHENTICATE,
            _ => return None,
        };
        Some((name, "Basic realm=\"rally-cred gateway\""))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_says_something_in_the_status_line_too_which_is_all_that_some_toolkits_show() {
        for refusal in [
            Refusal::PlainProxy,
            Refusal::NoTunnel,
            Refusal::ForeignHost,
            Refusal::Browser,
            Refusal::NoKey,
            Refusal::WrongKey,
            Refusal::KeysDisagree,
            Refusal::NoProxyKey,
            Refusal::AmbiguousPath,
            Refusal::ClosedPath,
            Refusal::OtherPath,
        ] {
            let (status, reason) = (refusal.status(), refusal.reason());
            assert!(status.is_client_error() || status.is_server_error(), "{reason}");
            assert!(
                reason.len() < 40 && reason.bytes().all(|b| b.is_ascii_graphic() || b == b' '),
                "{reason}"
            );
            assert_ne!(Some(reason), status.canonical_reason());
            assert_eq!(refusal.challenge().is_some(), [401, 407].contains(&status.as_u16()), "{reason}");
        }
    }
}
