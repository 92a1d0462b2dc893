//! Which server a request is for: scheme, host and port, compared exactly.
//! Does not: know subdomains, wildcards or paths. What it cannot read for certain, it does not read at all.
//! Used by: the daemon, which serves a token only to the origin of its profile.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

/// Rally's address for all but EU tenants: the base URL of a profile whose config names none.
pub const DEFAULT_BASE_URL: &str = "https://rally1.rallydev.com";

/// Scheme, host and port of a server. Two are equal only if all three are.
///
/// The host is lower case; the port is always known, so `https://a` and `https://a:443` are one origin.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Origin {
    is_https: bool,
    host: String,
    port: u16,
}

/// The scheme's name, and its own port.
const fn scheme(is_https: bool) -> (&'static str, u16) {
    if is_https { ("https", 443) } else { ("http", 80) }
}

impl Origin {
    /// The origin that git's `protocol` and `host` attributes name, the host with its port if there is one.
    ///
    /// `None` for anything but http and https, and for every host that is not a plain name, an IPv4 address or an IPv6
    /// address in brackets: user information, percent signs, spaces, empty labels and a trailing dot match nothing
    /// (CVE-2020-11008, CVE-2024-53858). International names are given in punycode.
    pub fn from_git(protocol: &str, host: &str) -> Option<Self> {
        let is_https = match protocol.to_ascii_lowercase().as_str() {
            "http" => false,
            "https" => true,
            _ => return None,
        };
        let (name, port) = split_port(host)?;
        let port = port.map_or(Some(scheme(is_https).1), parse_port)?;
        let name = name.to_ascii_lowercase();
        is_host(&name).then_some(Self { is_https, host: name, port })
    }

    /// The origin of a URI. `None` for other schemes, and wherever what stands between `://` and the path is not just
    /// what [`Origin::from_git`] takes for a host.
    ///
    /// The URL standard reads more: it undoes percent-encoding in a host, folds its characters, takes backslashes for
    /// slashes, and adds slashes that are not there. Programs differ in all of that, so where the token would go is not
    /// certain.
    pub fn from_uri(uri: &str) -> Option<Self> {
        // The URL standard drops tabs and line breaks, so they could stand anywhere.
        if uri.bytes().any(|b| b <= b' ' || b == b'\\' || b == 0x7f) {
            return None;
        }
        let (protocol, rest) = uri.split_once("://")?;
        let authority = rest.split(['/', '?', '#']).next()?;
        Self::from_git(protocol, authority)
    }

    /// Whether traffic to it stays on this machine: `localhost`, `127.0.0.0/8` or `[::1]`.
    pub fn is_loopback(&self) -> bool {
        self.host == "localhost"
            || self.host == "[::1]"
            || self.host.parse::<Ipv4Addr>().is_ok_and(|address| address.is_loopback())
    }

    /// Whether the scheme is https.
    pub fn is_https(&self) -> bool {
        self.is_https
    }

    /// The host, an IPv6 address in brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port, the scheme's own where none was written.
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, own_port) = scheme(self.is_https);
        write!(f, "{scheme}://{}", self.host)?;
        if self.port != own_port {
            write!(f, ":{}", self.port)?;
        }
        Ok(())
    }
}

/// Splits `host:port`; brackets around an IPv6 address keep its colons together.
fn split_port(host: &str) -> Option<(&str, Option<&str>)> {
    let after_brackets = host.rfind(']').map_or(0, |at| at + 1);
    match host.get(after_brackets..)?.split_once(':') {
        None => Some((host, None)),
        Some((rest, port)) => Some((host.get(..after_brackets + rest.len())?, Some(port))),
    }
}

fn parse_port(text: &str) -> Option<u16> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().ok()).flatten().filter(|port| *port != 0)
}

/// Whether a text in lower case is a host as the URL standard writes it, and so one that no URL parser makes another of:
/// an address in its usual form, or a name of plain labels whose last one cannot be taken for a number. What is no
/// punycode behind `xn--`, some refuse.
fn is_host(text: &str) -> bool {
    if let Some(address) = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return address.parse().is_ok_and(|parsed| written(parsed) == address);
    }
    let is_label = |label: &str| {
        !label.is_empty() && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
    };
    let is_number = |label: &str| match label.strip_prefix("0x") {
        Some(digits) => digits.bytes().all(|b| b.is_ascii_hexdigit()),
        None => label.bytes().all(|b| b.is_ascii_digit()),
    };
    let last = text.rsplit('.').next().unwrap_or(text);
    // Programs read numbers as IPv4 addresses in several ways, of which only the usual one is certain.
    text.split('.').all(is_label) && (!is_number(last) || text.parse::<Ipv4Addr>().is_ok())
}

/// An IPv6 address as the URL standard writes it: unlike here, without dots in one that stands for an IPv4 address.
fn written(address: Ipv6Addr) -> String {
    match (address.to_ipv4_mapped(), address.segments()) {
        (Some(_), [.., high, low]) => format!("::ffff:{high:x}:{low:x}"),
        (None, _) => address.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(protocol: &str, host: &str, expected: Option<&str>) {
        let origin = Origin::from_git(protocol, host).map(|origin| origin.to_string());
        assert_eq!(origin.as_deref(), expected, "{protocol} {host}");
    }

    #[test]
    fn git_attributes_name_an_origin() {
        check("https", "rally1.rallydev.com", Some("https://rally1.rallydev.com"));
        check("HTTPS", "Rally1.RallyDev.com:443", Some("https://rally1.rallydev.com"));
        check("http", "127.0.0.1:8080", Some("http://127.0.0.1:8080"));
        check("https", "[::1]:8443", Some("https://[::1]:8443"));
        check("https", "[::FFFF:7f00:1]", Some("https://[::ffff:7f00:1]"));
        check("https", "a_b.0xg.example-1", Some("https://a_b.0xg.example-1"));
    }

    #[test]
    fn what_is_not_certainly_a_host_matches_nothing() {
        for host in [
            "",
            ":443",
            "a:",
            "a:0",
            "a:65536",
            "a:+1",
            "a:1:2",
            "a b",
            "user@a",
            "a/b",
            "a?b",
            "a#b",
            "a%2eb",
            "a.",
            ".a",
            "a..b",
            "[::1",
            "::1",
            "a\\b",
            "ä.example",
            "0x7f.1",
            "127.1",
            "a\u{0}",
            "[::1]x",
            "[::01]",
            "[0::1]",
            "[::ffff:127.0.0.1]",
            "[fe80::1%25eth0]",
            "[::1].a",
            "a.0x7f",
            "a.0x",
            "a.08",
            "127.0.0.01",
            "256.1.1.1",
            "1.2.3.4.5",
        ] {
            check("https", host, None);
        }
        for protocol in ["", "ssh", "ftp", "https:", "https ", " https", "cert"] {
            check(protocol, "a.example", None);
        }
    }

    #[test]
    fn uris_name_an_origin_and_tricks_do_not() {
        let read = |uri| Origin::from_uri(uri).map(|origin| origin.to_string());
        assert_eq!(
            read("https://Rally1.rallydev.com/slm?x=1#y").as_deref(),
            Some("https://rally1.rallydev.com")
        );
        assert_eq!(
            read("https://rally1.rallydev.com:444").as_deref(),
            Some("https://rally1.rallydev.com:444")
        );
        for uri in [
            "https://rally1.rallydev.com@evil.example/",
            "https://u@rally1.rallydev.com/",
            "https://u:p@a/",
            "file:///etc",
            "a.example",
            "https://",
            "https:\\\\a.example",
            "https://a.example\n",
            "https://a.example./",
            "https://a%2eexample/",
            "https://\u{ff41}.example/",
            "https://a\u{3002}example/",
            "https://a\u{ad}.example/",
            "https://0x7f.1/",
            "https://@a.example/",
            "https://:@a.example/",
            "https:a.example/",
            "https:/a.example/",
            "https:///a.example/",
            "https://a.example:/",
            "grpcs://a.example",
            "//a.example",
            // Where others drop a blank or turn a backslash, they may read another address.
            "https://a.example/ x",
            "https://a.example/\t",
            "https://a.example/\\x",
            "https://a.example/\u{7f}",
        ] {
            let origin = read(uri);
            assert!(origin.is_none(), "{uri} gave {origin:?}");
        }
        assert_eq!(
            read("https://evil.example/https://rally1.rallydev.com").as_deref(),
            Some("https://evil.example")
        );
    }

    #[test]
    fn loopback_is_known_by_name_and_by_address() {
        for (host, expected) in [
            ("localhost", true),
            ("127.0.0.1", true),
            ("127.9.9.9", true),
            ("[::1]", true),
            ("localhost.example", false),
            ("128.0.0.1", false),
        ] {
            assert_eq!(Origin::from_git("http", host).unwrap().is_loopback(), expected, "{host}");
        }
    }

    proptest! {
        /// The URL parser of browsers, and of the HTTP library here, has another way to the same hosts.
        #[test]
        fn a_host_is_one_that_the_url_standard_takes_as_it_stands(
            host in prop_oneof!["[a-c0-9x._-]{1,12}", r"\[[0-3a:f.]{2,20}\]", r"[0-9.]{1,15}", r"[a-zA-Z.]{1,9}"]
        ) {
            // That standard also takes a dot at the end, and checks letters that are written in punycode.
            prop_assume!(!host.split('.').any(|label| label.is_empty() || label.contains("xn--")));
            let host = host.to_ascii_lowercase();
            let url = url::Url::parse(&format!("https://{host}/")).ok();
            let is_unchanged = url.is_some_and(|url| url.host_str() == Some(&host));
            prop_assert_eq!(Origin::from_git("https", &host).is_some(), is_unchanged, "{}", host);
        }
    }
}
