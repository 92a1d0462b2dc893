//! What the config file says, as types that cannot hold an unusable value.
//! Does not: read the file (`config` does).
//! Used by: the broker and every shell that talks to Rally.

use std::{collections::BTreeMap, path::PathBuf};

use rally_cred_proto::{Origin, shell_word::shell_word};
use url::{Host, Url};

use crate::also::{Also, TokenHeader};

/// The whole configuration. Its default is what holds without a config file: no profile.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// The profile served when none is named.
    pub default_profile: String,
    /// Where tokens are kept.
    pub keyring: Keyring,
    /// The profiles by name.
    pub profiles: BTreeMap<String, Profile>,
    /// The servers for which this is a plain credential store.
    pub static_hosts: StaticHosts,
    /// How the user is notified that a sign-in is needed.
    pub notify: Notify,
}

/// How the user is notified that a sign-in is needed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Notify {
    /// By a notification of the desktop, where there is one.
    #[default]
    Desktop,
    /// By this program with these arguments; what it is about is in its environment.
    Command {
        /// By its name or its whole path.
        program: PathBuf,
        /// As they stand; no shell reads them.
        arguments: Vec<String>,
    },
    /// Not at all.
    Off,
}

impl Config {
    /// Has every profile without a source of its own take its client secret from this file.
    pub fn use_client_secret_file(&mut self, file: &std::path::Path) {
        for profile in self.profiles.values_mut() {
            profile.client_secret_source.get_or_insert_with(|| SecretSource::File(file.to_owned()));
        }
    }
}

/// The servers that static credentials are kept for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StaticHosts {
    /// These, which may be none.
    Listed(Vec<Origin>),
    /// Every server, of every protocol.
    All,
}

impl Default for StaticHosts {
    fn default() -> Self {
        Self::Listed(Vec::new())
    }
}

impl StaticHosts {
    /// Whether git's protocol and host name one of them.
    pub fn cover(&self, protocol: &str, host: &str) -> bool {
        match self {
            Self::Listed(origins) => {
                Origin::from_git(protocol, host).is_some_and(|origin| origins.contains(&origin))
            }
            Self::All => true,
        }
    }

    /// Their names, `*` for all.
    pub fn names(&self) -> Vec<String> {
        match self {
            Self::Listed(origins) => origins.iter().map(Origin::to_string).collect(),
            Self::All => vec!["*".to_owned()],
        }
    }
}

/// Where tokens and client secrets are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Keyring {
    /// The OS keyring; where none answers, memory, with a warning.
    #[default]
    Auto,
    /// The OS keyring; where none answers, an error.
    Os,
    /// Memory: signed in until the daemon stops.
    Memory,
}

impl Keyring {
    /// The name in the config file.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Os => "os",
            Self::Memory => "memory",
        }
    }
}

/// A named Rally identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    /// Its name in the config file.
    pub name: String,
    /// Rally's address.
    pub base_url: BaseUrl,
    /// The OAuth client's public identifier.
    pub client_id: String,
    /// The callback URL, exactly as registered.
    pub redirect_uri: RedirectUri,
    /// The OAuth scope, `alm` unless configured.
    pub scope: String,
    /// Further certificate authorities, as a PEM file.
    pub ca_file: Option<PathBuf>,
    /// The Rally user that this profile is for, where the config file says so.
    pub username: Option<String>,
    /// Where the client secret comes from while the vault has none.
    pub client_secret_source: Option<SecretSource>,
    /// The servers beside Rally's own that its token is for.
    pub also: Vec<Also>,
}

/// A place outside the vault that has a client secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretSource {
    /// What a program prints, named by its path or to be found in `PATH`, with its arguments.
    Command {
        /// The program.
        program: PathBuf,
        /// Its arguments, which no shell sees.
        arguments: Vec<String>,
    },
    /// What stands in a file.
    File(PathBuf),
}

impl Profile {
    /// A command for this profile, such as `rally-cred login work`. The usual only profile need not be named.
    pub fn command(&self, verb: &str) -> String {
        match self.name.as_str() {
            "default" => format!("rally-cred {verb}"),
            name => format!("rally-cred {verb} {}", shell_word(name)),
        }
    }

    /// The header in which a server wants this profile's token; `None` if the token is not for that server.
    pub fn header_for(&self, server: &Origin) -> Option<&TokenHeader> {
        if server == self.base_url.origin() {
            return Some(&TokenHeader::RALLYS);
        }
        self.also.iter().find(|also| also.origin == *server).map(|also| &also.header)
    }

    /// Whether a token of one may be used for the other: base URL, client ID and scope are the same.
    pub fn shapes_same_token(&self, other: &Self) -> bool {
        self.base_url == other.base_url && self.client_id == other.client_id && self.scope == other.scope
    }
}

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
    /// Takes the address from the config file.
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

    /// `GET` here in a browser begins the flow.
    pub fn authorization_page(&self) -> Url {
        self.at("/login/oauth2/auth")
    }

    /// `POST` here turns a code or a refresh token into an access token.
    pub fn token_endpoint(&self) -> Url {
        self.at("/login/oauth2/token")
    }

    /// `GET` here with a ZSESSIONID tells whose it is: the cheapest check that a token works.
    pub fn user_query(&self) -> Url {
        let mut url = self.at("/slm/webservice/v2.0/user");
        url.set_query(Some("fetch=UserName,DisplayName,EmailAddress,ObjectID"));
        url
    }

    /// The page where a person revokes a grant.
    pub fn grants_page(&self) -> Url {
        self.account_page("/apps")
    }

    /// The page with a person's OAuth clients.
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

/// The callback URL, kept letter by letter as registered, since Rally compares it so.
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
}

impl RedirectUri {
    /// Takes the callback URL from the config file.
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

    /// Where to listen for it; `None` if it does not lead to this machine over http, so that only pasting is left.
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
        // Browsers leave the port out of `Host` when it is the scheme's own, and the URL type drops it then too.
        let host_header = self.url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
        Some(ListenAt { addresses, port: self.url.port_or_known_default()?, host_header })
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
        let one = RedirectUri::parse("http://127.0.0.1:8477/callback?x=1").unwrap().listen_at().unwrap();
        assert_eq!((one.addresses.len(), one.port, one.host_header.as_str()), (1, 8477, "127.0.0.1:8477"));
        assert_eq!(RedirectUri::parse("https://tools.example.com/callback").unwrap().listen_at(), None);
    }
}
