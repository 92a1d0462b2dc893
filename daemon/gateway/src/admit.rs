//! Decides by a request's head whether it is passed on: who it is for, whether a browser sent it, whether it shows the
//! key, and where it goes, in this order.
//! Does not: read, wait, or look at the body; repair what is ambiguous; or say how a refusal is written (`trouble` does).
//! Used by: `forward`, for each request.

mod refusal;

use std::borrow::Cow;

use hyper::{
    Method,
    header::{HOST, HeaderMap, ORIGIN},
    http::request::Parts,
};
use percent_encoding::percent_decode_str;
use rally_cred_proto::Origin;

use crate::{
    key::{LocalKey, Presented},
    token_header::TokenHeader,
};
pub(crate) use refusal::Refusal;

/// What one gateway lets through.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    /// The port that it listens on.
    pub(crate) port: u16,
    /// The server that its requests are for.
    pub(crate) upstream: Origin,
    /// The servers beside it whose tunnels end here too.
    pub(crate) further: Vec<Origin>,
    pub(crate) key: LocalKey,
    /// How the server takes its token. The key may stand there too.
    pub(crate) header: TokenHeader,
    /// The paths that are open, each with all that is below it.
    pub(crate) paths: Vec<String>,
}

/// How a request came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// To the gateway's own port.
    Http,
    /// The same, over TLS.
    Https,
    /// Within a tunnel to the server that ends here.
    Tunnel,
}

/// What a request may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Admitted {
    /// It is passed on with a token.
    Request,
    /// It opens a tunnel to a server of the profile's, which ends here.
    OwnTunnel(Origin),
    /// It opens a tunnel to another server, which nobody reads.
    Tunnel {
        /// Its name or address, an IPv6 address in brackets.
        host: String,
        port: u16,
    },
}

/// Whether a request with this head is passed on, and as what.
pub(crate) fn admit(rules: &Rules, way: Way, head: &Parts) -> Result<Admitted, Refusal> {
    let is_connect = head.method == Method::CONNECT;
    if is_connect {
        if is_from_a_page(&head.headers) {
            return Err(Refusal::Browser);
        }
        return admit_tunnel(rules, way, head);
    }
    if head.uri.scheme().is_some() {
        return Err(Refusal::PlainProxy);
    }
    if !is_for_here(rules, way, &head.headers) {
        return Err(Refusal::ForeignHost);
    }
    if is_from_a_page(&head.headers) {
        return Err(Refusal::Browser);
    }
    match rules.key.presented(&head.headers, &rules.header.name) {
        Presented::Right => admit_path(&rules.paths, head.uri.path()).map(|()| Admitted::Request),
        Presented::Wrong => Err(Refusal::WrongKey),
        Presented::Disagreeing => Err(Refusal::KeysDisagree),
        Presented::Missing => Err(Refusal::NoKey),
    }
}

fn admit_tunnel(rules: &Rules, way: Way, head: &Parts) -> Result<Admitted, Refusal> {
    match rules.key.presented(&head.headers, &rules.header.name) {
        Presented::Right => (),
        Presented::Disagreeing => return Err(Refusal::KeysDisagree),
        Presented::Wrong | Presented::Missing => return Err(Refusal::NoProxyKey),
    }
    let target = head.uri.authority().filter(|authority| authority.port().is_some());
    let target = target.and_then(|target| Origin::from_git("https", target.as_str()));
    let target = target.filter(|_| way != Way::Tunnel).ok_or(Refusal::NoTunnel)?;
    if target == rules.upstream || rules.further.contains(&target) {
        return Ok(Admitted::OwnTunnel(target));
    }
    Ok(Admitted::Tunnel { host: target.host().to_owned(), port: target.port() })
}

/// Whether Host names this gateway, or the server within a tunnel to it. A name that a page can lead anywhere
/// (DNS rebinding) is neither, and over plain HTTP a page sends nothing else that gives it away.
fn is_for_here(rules: &Rules, way: Way, headers: &HeaderMap) -> bool {
    let mut hosts = headers.get_all(HOST).iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else { return false };
    let scheme = if way == Way::Http { "http" } else { "https" };
    let Some(named) = host.to_str().ok().and_then(|host| Origin::from_git(scheme, host)) else {
        return false;
    };
    match way {
        Way::Tunnel => named == rules.upstream,
        Way::Http | Way::Https => {
            named.port() == rules.port && matches!(named.host(), "127.0.0.1" | "localhost" | "[::1]")
        }
    }
}

/// Whether a page in a browser sent it. Sec-Fetch-Mode says nothing: Node's `fetch` sends it with every request.
fn is_from_a_page(headers: &HeaderMap) -> bool {
    headers.contains_key(ORIGIN) || headers.get_all("sec-fetch-site").iter().any(|site| site != "none")
}

fn admit_path(open: &[String], path: &str) -> Result<(), Refusal> {
    let path = plain_path(path).ok_or(Refusal::AmbiguousPath)?;
    let lower = path.to_ascii_lowercase();
    let segments: Vec<_> = lower.split('/').collect();
    let gives_credentials = segments.windows(2).any(|pair| match pair {
        // Older versions of the API write `authorize.js`.
        ["security", last] => last.split('.').next() == Some("authorize"),
        ["oauth2", last] => last.split('.').next() == Some("token"),
        _ => false,
    });
    if gives_credentials {
        return Err(Refusal::ClosedPath);
    }
    let is_below = |open: &String| {
        let rest = path.strip_prefix(open.trim_end_matches('/'));
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    if open.iter().any(is_below) { Ok(()) } else { Err(Refusal::OtherPath) }
}

/// The path without percent signs; `None` where servers differ in what it means: they undo percent-encoding before or
/// after they split it, once or twice, fold `//` or not, cut `;…` off a segment or not, and take `\` for `/` or not.
fn plain_path(path: &str) -> Option<Cow<'_, str>> {
    let decoded = percent_decode_str(path).decode_utf8().ok()?;
    let is_encoded_twice = || {
        let mut rest = decoded.split('%').skip(1);
        rest.any(|after| after.bytes().take(2).filter(u8::is_ascii_hexdigit).count() == 2)
    };
    let slashes = |text: &str| text.bytes().filter(|&byte| byte == b'/').count();
    let is_ambiguous = !decoded.starts_with('/')
        || slashes(path) != slashes(&decoded)
        || decoded.chars().any(|c| c.is_control() || matches!(c, '\\' | ';'))
        || decoded.contains("//")
        || decoded.split('/').any(|segment| matches!(segment, "." | ".."))
        || (decoded != path && is_encoded_twice());
    (!is_ambiguous).then_some(decoded)
}

#[cfg(test)]
mod tests {
    use hyper::{
        Request,
        header::{PROXY_AUTHENTICATE, WWW_AUTHENTICATE},
    };
    use rally_cred_proto::Secret;

    use super::*;

    /// Those that are open unless others are configured.
    const USUAL_PATHS: [&str; 3] = ["/slm/", "/analytics/", "/apps/"];

    const KEY: &str = "_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

    fn rally() -> Origin {
        Origin::from_uri("https://rally1.rallydev.com").unwrap()
    }

    /// Checks a request by its request line and headers, in which KEY stands for the key.
    fn check(way: Way, text: &str, expected: Result<Admitted, Refusal>) {
        let mut lines = text.lines();
        let (method, target) = lines.next().unwrap().split_once(' ').unwrap();
        let mut request = Request::builder().method(method).uri(target);
        for line in lines {
            let (name, value) = line.split_once(": ").unwrap();
            request = request.header(name, value.replace("KEY", KEY));
        }
        let rules = Rules {
            port: 4004,
            upstream: rally(),
            further: vec![Origin::from_uri("https://mcp.rallydev.com:8443").unwrap()],
            key: LocalKey::parse(Secret::parse(KEY.to_owned()).unwrap()).unwrap(),
            header: TokenHeader::RALLYS,
            paths: USUAL_PATHS.map(str::to_owned).to_vec(),
        };
        let (head, ()) = request.body(()).unwrap().into_parts();
        assert_eq!(admit(&rules, way, &head), expected, "{text}");
    }

    fn check_host(way: Way, host: &str, expected: Result<Admitted, Refusal>) {
        check(way, &format!("GET /slm/x\nHost: {host}\nZSESSIONID: KEY"), expected);
    }

    #[test]
    fn a_page_that_is_led_here_by_its_own_name_gets_nothing() {
        for host in ["127.0.0.1:4004", "localhost:4004", "LocalHost:4004", "[::1]:4004"] {
            check_host(Way::Http, host, Ok(Admitted::Request));
            check_host(Way::Https, host, Ok(Admitted::Request));
        }
        for host in [
            "evil.example:4004",
            "127.0.0.1",
            "127.0.0.1:4005",
            "127.0.0.2:4004",
            "rally1.rallydev.com",
            "localhost.:4004",
            "localhost.evil.example:4004",
            "127.0.0.1:4004,evil.example",
            "user@127.0.0.1:4004",
            "",
        ] {
            check_host(Way::Http, host, Err(Refusal::ForeignHost));
        }
        check(Way::Http, "GET /slm/x\nZSESSIONID: KEY", Err(Refusal::ForeignHost));
        let twice = "GET /slm/x\nHost: localhost:4004\nHost: localhost:4004\nZSESSIONID: KEY";
        check(Way::Http, twice, Err(Refusal::ForeignHost));
        // Host is looked at before the key, so nothing is learned about that.
        check(Way::Http, "GET /slm/x\nHost: evil.example:4004", Err(Refusal::ForeignHost));
    }

    #[test]
    fn in_a_tunnel_host_is_the_profiles_server() {
        check_host(Way::Tunnel, "rally1.rallydev.com", Ok(Admitted::Request));
        check_host(Way::Tunnel, "Rally1.RallyDev.com:443", Ok(Admitted::Request));
        for host in ["127.0.0.1:4004", "rally1.rallydev.com:444", "eu1.rallydev.com", "rallydev.com"] {
            check_host(Way::Tunnel, host, Err(Refusal::ForeignHost));
        }
    }

    #[test]
    fn browsers_are_kept_out_and_nodes_fetch_is_not() {
        for line in ["Origin: null", "Origin: http://127.0.0.1:4004", "Sec-Fetch-Site: same-origin"] {
            let text = format!("GET /slm/x\nHost: 127.0.0.1:4004\n{line}\nZSESSIONID: KEY");
            check(Way::Http, &text, Err(Refusal::Browser));
        }
        check(
            Way::Http,
            "OPTIONS /slm/x\nHost: 127.0.0.1:4004\nOrigin: https://evil.example",
            Err(Refusal::Browser),
        );
        for line in ["Sec-Fetch-Mode: cors", "Sec-Fetch-Site: none", "Referer: http://a.example"] {
            let text = format!("GET /slm/x\nHost: 127.0.0.1:4004\n{line}\nZSESSIONID: KEY");
            check(Way::Http, &text, Ok(Admitted::Request));
        }
    }

    #[test]
    fn without_the_key_nothing_is_passed_on_and_a_toolkit_is_asked_for_it() {
        let head = "GET /login/oauth2/token\nHost: 127.0.0.1:4004";
        check(Way::Http, head, Err(Refusal::NoKey));
        check(Way::Http, &format!("{head}\nZSESSIONID: _abc"), Err(Refusal::WrongKey));
        check(
            Way::Http,
            &format!("{head}\nZSESSIONID: KEY\nCookie: ZSESSIONID=x"),
            Err(Refusal::KeysDisagree),
        );
        assert_eq!(Refusal::NoKey.challenge().unwrap().0, WWW_AUTHENTICATE);
        assert_eq!(Refusal::NoProxyKey.challenge().unwrap().0, PROXY_AUTHENTICATE);
        assert_eq!(Refusal::OtherPath.challenge(), None);
    }

    fn check_path(path: &str, expected: Result<(), Refusal>) {
        let paths = USUAL_PATHS.map(str::to_owned);
        assert_eq!(admit_path(&paths, path), expected, "{path}");
    }

    #[test]
    fn the_usual_paths_are_open_and_others_are_not() {
        for path in [
            "/slm/webservice/v2.0/defect",
            "/slm",
            "/slm/",
            "/slm/webservice/v2.0/Attachment/a%20b%C3%A4.png",
            "/slm/50%25",
            "/analytics/v2.0/service/rally/workspace/1/artifact/snapshot/query.js",
            "/apps/pigeon/api/v2/webhook",
        ] {
            check_path(path, Ok(()));
        }
        for path in ["/", "/login", "/SLM/x", "/slmx", "/slm.x/", "/x/slm/", "/analytic"] {
            check_path(path, Err(Refusal::OtherPath));
        }
        assert_eq!(admit_path(&["/apps/pigeon".to_owned()], "/apps/pigeon/api"), Ok(()));
        assert_eq!(admit_path(&["/apps/pigeon".to_owned()], "/apps/pigeonhole"), Err(Refusal::OtherPath));
        assert_eq!(admit_path(&["/".to_owned()], "/anything"), Ok(()));
    }

    #[test]
    fn paths_that_give_credentials_are_closed_however_they_are_written() {
        for path in [
            "/slm/webservice/v2.0/security/authorize",
            "/slm/webservice/v2.0/security/authorize/",
            "/slm/webservice/v2.0/Security/Authorize",
            "/slm/webservice/1.43/security/authorize.js",
            "/slm/webservice/v2.0/security/%61uthorize",
            "/slm/webservice/v2.0/securit%79/authorize",
            "/login/oauth2/token",
            "/login/OAuth2/Token",
        ] {
            check_path(path, Err(Refusal::ClosedPath));
            assert_eq!(admit_path(&["/".to_owned()], path), Err(Refusal::ClosedPath), "{path}");
        }
        check_path("/slm/webservice/v2.0/security/authorized", Ok(()));
    }

    #[test]
    fn a_path_that_servers_read_in_several_ways_is_refused() {
        for path in [
            "*",
            "slm/x",
            "/slm/../login/oauth2/token",
            "/slm/..",
            "/slm/./x",
            "/slm//login",
            "//slm/x",
            "/slm/%2e%2e/login",
            "/slm/.%2E/login",
            "/slm/..%2flogin",
            "/slm/%2Fx",
            "/slm/..\\login",
            "/slm/%5clogin",
            "/slm/x%00",
            "/slm/x%0d%0ay",
            "/slm/..;/login",
            "/slm/webservice/v2.0/security/authorize;x=1",
            "/slm/webservice/v2.0/security/authorize%3bx",
            "/slm/%252e%252e/login",
            "/slm/webservice/v2.0/security/%2561uthorize",
            "/slm/%c0%ae%c0%ae/login",
            "/slm/%ff",
        ] {
            check_path(path, Err(Refusal::AmbiguousPath));
        }
    }

    #[test]
    fn a_tunnel_needs_the_key_and_ends_here_for_the_profiles_servers_only() {
        let check_to = |target: &str, expected| {
            let text = format!("CONNECT {target}\nProxy-Authorization: Bearer KEY\nHost: {target}");
            check(Way::Http, &text, expected);
        };
        check_to("rally1.rallydev.com:443", Ok(Admitted::OwnTunnel(rally())));
        check_to("RALLY1.rallydev.com:443", Ok(Admitted::OwnTunnel(rally())));
        let further = Origin::from_uri("https://mcp.rallydev.com:8443").unwrap();
        check_to("mcp.rallydev.com:8443", Ok(Admitted::OwnTunnel(further)));
        for (host, port) in [
            ("rally1.rallydev.com", 8443),
            ("mcp.rallydev.com", 443),
            ("x.mcp.rallydev.com", 8443),
            ("pypi.example", 443),
            ("[::1]", 22),
        ] {
            let tunnel = Admitted::Tunnel { host: host.to_owned(), port };
            check_to(&format!("{host}:{port}"), Ok(tunnel));
        }
        check_to("pypi.example", Err(Refusal::NoTunnel));
        check_to("pypi..example:443", Err(Refusal::NoTunnel));
        for line in ["Host: x.example:443", "Proxy-Authorization: Bearer _abc"] {
            check(Way::Http, &format!("CONNECT x.example:443\n{line}"), Err(Refusal::NoProxyKey));
        }
        let text = "CONNECT x.example:443\nProxy-Authorization: Bearer KEY";
        check(Way::Tunnel, text, Err(Refusal::NoTunnel));
        check(Way::Http, &format!("{text}\nOrigin: null"), Err(Refusal::Browser));
    }

    #[test]
    fn a_proxy_of_plain_http_is_refused_with_words_that_help() {
        let text = "GET http://rally1.rallydev.com/slm/x\nHost: rally1.rallydev.com\nZSESSIONID: KEY";
        check(Way::Http, text, Err(Refusal::PlainProxy));
        assert!(Refusal::PlainProxy.words().contains("HTTPS_PROXY"));
    }
}
