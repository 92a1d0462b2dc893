//! Judges a request on the redirect port: the browser that comes back to complete the sign-in, or anything else.
//! Does not: do IO, or know whether the redirect or a one-time address was used.
//! Used by: `listener`, for each request whose headers were read.

use hyper::{
    HeaderMap, Method, StatusCode,
    header::{self, AsHeaderName},
    http::request::Parts,
};

use rally_cred_core::redirect::{Expected, NotOurs, Target};

/// Why a request does not complete the sign-in. It is answered with a status and a page; the sign-in stays pending.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It was meant for another server, or another name was pointed at loopback (DNS rebinding).
    #[error("this address belongs to another server")]
    WrongHost,
    /// Only `GET` is a redirect; `HEAD`, `OPTIONS` and `POST` use nothing up.
    #[error("only a browser's GET is answered here")]
    WrongMethod,
    /// The browser loads it before the user follows, which may never happen.
    #[error("this page is not loaded ahead of time")]
    Prefetch,
    /// It was made for a script, an image or a frame.
    #[error("this page opens in a tab of its own only")]
    NotNavigation,
    /// The address is not the redirect.
    #[error("this address does not complete the sign-in: {0}")]
    NotOurs(NotOurs),
    /// A valid redirect came before.
    #[error("this address was already used")]
    Used,
    /// A browser was led to Rally before, by this one-time address.
    #[error("this address was already used")]
    StartUsed,
    /// A program of this other user asks, which may have read the address off another program's arguments.
    #[error("this is the sign-in of another user")]
    AnotherUser(u32),
    /// It is not known whose program asked, since it has gone.
    #[error("the program that asked is gone")]
    Gone,
}

impl Refusal {
    /// What the request is answered with.
    pub fn status(self) -> StatusCode {
        match self {
            Self::WrongHost => StatusCode::MISDIRECTED_REQUEST,
            Self::WrongMethod => StatusCode::METHOD_NOT_ALLOWED,
            // The browser drops a 5xx answer, and asks again when the user follows.
            Self::Prefetch => StatusCode::SERVICE_UNAVAILABLE,
            Self::NotNavigation => StatusCode::FORBIDDEN,
            Self::NotOurs(NotOurs::WrongPath) => StatusCode::NOT_FOUND,
            Self::NotOurs(_) => StatusCode::BAD_REQUEST,
            Self::Used | Self::StartUsed => StatusCode::CONFLICT,
            Self::AnotherUser(_) | Self::Gone => StatusCode::FORBIDDEN,
        }
    }
}

/// The only `Host` headers that are answered.
#[derive(Debug)]
pub struct Hosts {
    /// At the address of the redirect.
    pub redirect: String,
    /// At a one-time address: a literal one of loopback, so that no name leads elsewhere and no browser insists on https.
    pub start: String,
}

/// Reads the redirect, or a one-time address, out of a request.
///
/// `Origin` is ignored: some browsers keep it on the redirect after the consent form's POST, and a page that does not
/// know the state gets nowhere anyway.
pub fn read(request: &Parts, hosts: &Hosts, expected: &Expected) -> Result<Target, Refusal> {
    let Parts { headers, method, uri, .. } = request;
    let target = uri.path_and_query().map_or("/", |target| target.as_str());
    let host = if expected.is_start(target) { &hosts.start } else { &hosts.redirect };
    let is_host = |name: &str| name.eq_ignore_ascii_case(host);
    if !only(headers, header::HOST).is_some_and(is_host)
        || !uri.authority().is_none_or(|name| is_host(name.as_str()))
    {
        return Err(Refusal::WrongHost);
    }
    if method != Method::GET {
        return Err(Refusal::WrongMethod);
    }
    if says(headers, "sec-purpose", "prefetch")
        || says(headers, "purpose", "prefetch")
        || says(headers, "x-moz", "prefetch")
        || says(headers, "x-purpose", "preview")
    {
        return Err(Refusal::Prefetch);
    }
    // The redirect is a cross-site navigation of a whole tab. Browsers with Fetch Metadata say so in each request.
    if !may_be(headers, "sec-fetch-mode", "navigate") || !may_be(headers, "sec-fetch-dest", "document") {
        return Err(Refusal::NotNavigation);
    }
    expected.read_target(target).map_err(Refusal::NotOurs)
}

/// The header's value, if it occurs exactly once.
fn only(headers: &HeaderMap, name: impl AsHeaderName) -> Option<&str> {
    let mut values = headers.get_all(name).iter();
    let first = values.next()?.to_str().ok();
    if values.next().is_some() { None } else { first }
}

/// Whether the header's value begins with this word, as in `prefetch;prerender`.
fn says(headers: &HeaderMap, name: &str, word: &str) -> bool {
    let values = headers.get_all(name);
    values.iter().any(|value| value.as_bytes().split(|byte| *byte == b';').next() == Some(word.as_bytes()))
}

/// Whether the header is absent or has this value.
fn may_be(headers: &HeaderMap, name: &str, value: &str) -> bool {
    headers.get_all(name).iter().all(|found| found == value)
}

#[cfg(test)]
mod tests {
    use hyper::Request;
    use rally_cred_proto::Secret;

    use super::*;
    use rally_cred_core::{Sent, profile::RedirectUri, redirect::Start};

    const HOST: (&str, &str) = ("host", "localhost:8477");

    fn judge(method: &str, target: &str, headers: &[(&str, &str)]) -> Result<(), (Refusal, u16)> {
        let mut request = Request::builder().method(method).uri(target);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let secret = |text: &str| Secret::parse(text.to_owned()).unwrap();
        let expected = Expected {
            redirect_uri: RedirectUri::parse("http://localhost:8477/cb").unwrap(),
            state: secret("right"),
            secrets: Sent::default(),
            start: Start { leads_to: secret("https://rally.example/auth"), words: vec![secret("word")] },
        };
        let (parts, ()) = request.body(()).unwrap().into_parts();
        let hosts = Hosts { redirect: HOST.1.to_owned(), start: "127.0.0.1:8477".to_owned() };
        read(&parts, &hosts, &expected).map(drop).map_err(|refusal| (refusal, refusal.status().as_u16()))
    }

    #[test]
    fn a_browser_that_follows_the_redirect_is_let_in() {
        for headers in [
            &[][..],
            &[
                ("sec-fetch-site", "cross-site"),
                ("sec-fetch-mode", "navigate"),
                ("sec-fetch-dest", "document"),
            ],
            &[("sec-fetch-site", "none"), ("sec-fetch-mode", "navigate"), ("sec-fetch-user", "?1")],
            &[("origin", "null"), ("cookie", "other=1"), ("purpose", "none")],
        ] {
            let headers = [&[HOST], headers].concat();
            assert_eq!(judge("GET", "/cb?code=abc&state=right", &headers), Ok(()), "{headers:?}");
        }
        assert_eq!(judge("GET", "/cb?code=abc&state=right", &[("host", "LocalHost:8477")]), Ok(()));
        assert_eq!(judge("GET", "http://localhost:8477/cb?code=abc&state=right", &[HOST]), Ok(()));
    }

    #[test]
    fn a_one_time_address_is_answered_at_loopback_itself_and_under_no_name() {
        let by_address = ("host", "127.0.0.1:8477");
        assert_eq!(judge("GET", "/start/word", &[by_address]), Ok(()));
        assert_eq!(judge("GET", "/start/word", &[HOST]), Err((Refusal::WrongHost, 421)));
        let stale = judge("GET", "/start/other", &[by_address]);
        assert_eq!(stale, Err((Refusal::NotOurs(NotOurs::WrongState), 400)));
        for (name, value, refusal, status) in [
            ("sec-purpose", "prefetch", Refusal::Prefetch, 503),
            ("sec-fetch-dest", "iframe", Refusal::NotNavigation, 403),
            ("sec-fetch-mode", "no-cors", Refusal::NotNavigation, 403),
        ] {
            let refused = judge("GET", "/start/word", &[by_address, (name, value)]);
            assert_eq!(refused, Err((refusal, status)), "{name}: {value}");
        }
    }

    #[test]
    fn a_request_for_another_host_is_misdirected() {
        for headers in [
            &[][..],
            &[("host", "localhost")],
            &[("host", "localhost:80")],
            &[("host", "127.0.0.1:8477")],
            &[("host", "evil.example:8477")],
            &[("host", "")],
            &[HOST, HOST],
            &[HOST, ("host", "evil.example")],
        ] {
            let refused = judge("GET", "/cb?code=abc&state=right", headers);
            assert_eq!(refused, Err((Refusal::WrongHost, 421)), "{headers:?}");
        }
        let absolute = judge("GET", "http://evil.example/cb?code=abc&state=right", &[HOST]);
        assert_eq!(absolute, Err((Refusal::WrongHost, 421)));
    }

    #[test]
    fn other_methods_prefetches_and_subresources_use_nothing_up() {
        for method in ["HEAD", "POST", "PUT", "OPTIONS", "DELETE", "BREW"] {
            let refused = judge(method, "/cb?code=abc&state=right", &[HOST]);
            assert_eq!(refused, Err((Refusal::WrongMethod, 405)), "{method}");
        }
        for (name, value, refusal, status) in [
            ("sec-purpose", "prefetch", Refusal::Prefetch, 503),
            ("sec-purpose", "prefetch;prerender", Refusal::Prefetch, 503),
            ("purpose", "prefetch", Refusal::Prefetch, 503),
            ("x-moz", "prefetch", Refusal::Prefetch, 503),
            ("x-purpose", "preview", Refusal::Prefetch, 503),
            ("sec-fetch-mode", "no-cors", Refusal::NotNavigation, 403),
            ("sec-fetch-mode", "cors", Refusal::NotNavigation, 403),
            ("sec-fetch-mode", "websocket", Refusal::NotNavigation, 403),
            ("sec-fetch-dest", "iframe", Refusal::NotNavigation, 403),
            ("sec-fetch-dest", "image", Refusal::NotNavigation, 403),
        ] {
            let refused = judge("GET", "/cb?code=abc&state=right", &[HOST, (name, value)]);
            assert_eq!(refused, Err((refusal, status)), "{name}: {value}");
        }
    }

    #[test]
    fn another_address_is_refused_by_reason() {
        for (target, not_ours, status) in [
            ("/favicon.ico", NotOurs::WrongPath, 404),
            ("*", NotOurs::WrongPath, 404),
            ("/cb", NotOurs::NoState, 400),
            ("/cb?code=abc&state=wrong", NotOurs::WrongState, 400),
            ("/cb?code=abc&code=abc&state=right", NotOurs::Repeated, 400),
        ] {
            assert_eq!(judge("GET", target, &[HOST]), Err((Refusal::NotOurs(not_ours), status)), "{target}");
        }
    }
}
