//! The addresses in a profile, of which no unusable one can be made: Rally's, with its pages, and the callback URL.
//! Does not: listen or connect.
//! Used by: `profile`, of which this is a part.

use rally_cred_proto::Origin;
use url::{Host, Url};

/// Rally's address: https, or http on loopback only; without path, query or user information.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BaseUrl {
    origin: Origin,
    url: Url,
}

/// Why a text is no [`BaseUrl`] or [`RedirectUri`]. The text itself is not shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadUrl {
    /// Not an absolute URL with a host.
    #[error("it is not a URL with a scheme and a host")]
    NotAUrl,
    /// A base URL must be https, or http on loopback.
    #[error("it must begin with https:// (http:// is for loopback addresses only)")]
    NotSecure,
    /// A base URL ends after host and port.
    #[error("it must end after the host and port")]
    HasMore,
    /// A redirect URI has no fragment and no user information.
    #[error("it must not hold a fragment or user information")]
    HasFragment,
}

impl BaseUrl {
    /// Parses the address in the config file.
    pub fn parse(text: &str) -> Result<Self, BadUrl> {
        let url = Url::parse(text).map_err(|_| BadUrl::NotAUrl)?;
        let origin = Origin::from_uri(text).ok_or(BadUrl::NotAUrl)?;
        if !origin.is_https() && !origin.is_loopback() {
            return Err(BadUrl::NotSecure);
        }
        if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
            return Err(BadUrl::HasMore);
        }
        Ok(Self { origin, url })
    }

    /// The server that tokens are for.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// `GET` in a browser begins the flow.
    pub fn authorization_page(&self) -> Url {
        self.at("/login/oauth2/auth")
    }

    /// `POST` turns a code or a refresh token into an access token.
    pub fn token_endpoint(&self) -> Url {
        self.at("/login/oauth2/token")
    }

    /// `GET` with a ZSESSIONID says whose it is: the cheapest check that a token works.
    pub fn user_query(&self) -> Url {
        let mut url = self.at("/slm/webservice/v2.0/user");
        url.set_query(Some("fetch=UserName,DisplayName,EmailAddress,ObjectID"));
        url
    }

    /// The page for revoking a grant.
    pub fn grants_page(&self) -> Url {
        self.account_page("/apps")
    }

    /// The page with the user's OAuth clients.
    pub fn clients_page(&self) -> Url {
        self.account_page("/clients")
    }

    fn account_page(&self, fragment: &str) -> Url {
        let mut url = self.at("/login/accounts/index.html");
        url.set_fragment(Some(fragment));
        url
    }

    fn at(&self, path: &str) -> Url {
        let mut url = self.url.clone();
        url.set_path(path);
        url
    }
}

/// The callback URL, exactly as registered, since Rally compares it literally.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedirectUri {
    text: String,
    url: Url,
}

/// The loopback addresses and port of a listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenAt {
    /// 127.0.0.1 and ::1 for `localhost`, otherwise the one address.
    pub addresses: Vec<std::net::IpAddr>,
    /// The port.
    pub port: u16,
    /// The only `Host` header that is answered.
    pub host_header: String,
    /// The same for the first address, whatever its name in the redirect URI.
    pub address_header: String,
}

impl RedirectUri {
    /// Parses the callback URL in the config file.
    pub fn parse(text: &str) -> Result<Self, BadUrl> {
        let url = Url::parse(text).map_err(|_| BadUrl::NotAUrl)?;
        if !url.has_host() || !matches!(url.scheme(), "http" | "https") {
            return Err(BadUrl::NotAUrl);
        }
        if url.fragment().is_some() || !url.username().is_empty() || url.password().is_some() {
            return Err(BadUrl::HasFragment);
        }
        Ok(Self { text: text.to_owned(), url })
    }

    /// The text as registered.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The text as a URL.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// Where to listen for it; `None` if it does not lead to this machine over http, so that it must be pasted.
    pub fn listen_at(&self) -> Option<ListenAt> {
        use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
        if self.url.scheme() != "http" {
            return None;
        }
        let addresses = match self.url.host()? {
            Host::Domain("localhost") => {
                vec![IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)]
            }
            Host::Ipv4(address) if address.is_loopback() => vec![IpAddr::V4(address)],
            Host::Ipv6(address) if address.is_loopback() => vec![IpAddr::V6(address)],
            Host::Domain(_) | Host::Ipv4(_) | Host::Ipv6(_) => return None,
        };
        let host = self.url.host_str()?;
        // Browsers omit the scheme's own port from `Host`, and so does the URL type.
        let host_header = self.url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
        let address = match *addresses.first()? {
            IpAddr::V4(address) => address.to_string(),
            IpAddr::V6(address) => format!("[{address}]"),
        };
        let address_header =
            self.url.port().map_or_else(|| address.clone(), |port| format!("{address}:{port}"));
        Some(ListenAt { addresses, port: self.url.port_or_known_default()?, host_header, address_header })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_url_is_https_or_loopback_and_nothing_more() {
        for good in [
            "https://rally1.rallydev.com",
            "https://eu1.rallydev.com/",
            "http://127.0.0.1:8080",
            "http://localhost:1",
        ] {
            assert!(BaseUrl::parse(good).is_ok(), "{good}");
        }
        for (bad, why) in [
            ("rally1.rallydev.com", BadUrl::NotAUrl),
            ("http://rally1.rallydev.com", BadUrl::NotSecure),
            ("https://rally1.rallydev.com/slm", BadUrl::HasMore),
            ("https://rally1.rallydev.com?x", BadUrl::HasMore),
            ("https://me@rally1.rallydev.com", BadUrl::NotAUrl),
            ("ftp://rally1.rallydev.com", BadUrl::NotAUrl),
        ] {
            assert_eq!(BaseUrl::parse(bad), Err(why), "{bad}");
        }
    }

    #[test]
    fn every_address_is_derived_from_the_base_url() {
        let base = BaseUrl::parse("https://eu1.rallydev.com").unwrap();
        assert_eq!(base.token_endpoint().as_str(), "https://eu1.rallydev.com/login/oauth2/token");
        assert_eq!(base.grants_page().as_str(), "https://eu1.rallydev.com/login/accounts/index.html#/apps");
    }

    #[test]
    fn localhost_listens_on_both_loopback_addresses_and_port_80_has_a_bare_host() {
        let both = RedirectUri::parse("http://localhost").unwrap().listen_at().unwrap();
        assert_eq!((both.addresses.len(), both.port, both.host_header.as_str()), (2, 80, "localhost"));
        assert_eq!(both.address_header, "127.0.0.1");
        let sixth = RedirectUri::parse("http://[::1]:8477/cb").unwrap().listen_at().unwrap();
        assert_eq!(sixth.address_header, "[::1]:8477");
        let one = RedirectUri::parse("http://127.0.0.1:8477/callback?x=1").unwrap().listen_at().unwrap();
        assert_eq!((one.addresses.len(), one.port, one.host_header.as_str()), (1, 8477, "127.0.0.1:8477"));
        assert_eq!(RedirectUri::parse("https://tools.example.com/callback").unwrap().listen_at(), None);
    }
}
