//! Judges a request on the redirect port: the browser that comes back to complete the sign-in, or anything else.
//! Does not: do IO, or know whether the redirect was used.
//! Used by: `listener`, for each request whose headers were read.

use hyper::{
    HeaderMap, Method, StatusCode,
    header::{self, AsHeaderName},
    http::request::Parts,
};

use rally_cred_core::redirect::{Expected, NotOurs, Redirect};

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
            Self::Used => StatusCode::CONFLICT,
        }
    }
}

/// Reads the redirect out of a request. `host` is the only `Host` that is answered.
///
/// `Origin` is ignored: some browsers keep it on the redirect after the consent form's POST, and a page that does not
/// know the state gets nowhere anyway.
pub fn read(request: &Parts, host: &str, expected: &Expected) -> Result<Redirect, Refusal> {
    let Parts { headers, method, uri, .. } = request;
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
    let target = uri.path_and_query().map_or("/", |target| target.as_str());
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
    use rally_cred_core::{Sent, profile::RedirectUri};

    const HOST: (&str, &str) = ("host", "localhost:8477");

    fn judge(method: &str, target: &str, headers: &[(&str, &str)]) -> Result<(), (Refusal, u16)> {
        let mut request = Request::builder().method(method).uri(target);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let expected = Expected {
            redirect_uri: RedirectUri::parse("http://localhost:8477/cb").unwrap(),
            state: Secret::parse("right".to_owned()).unwrap(),
            secrets: Sent::default(),
        };
        let (parts, ()) = request.body(()).unwrap().into_parts();
        read(&parts, HOST.1, &expected).map(drop).map_err(|refusal| (refusal, refusal.status().as_u16()))
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
