//! What a browser sends to the redirect port, and what people paste out of its address bar.
//! Does not: open a port.
//! Used by: `properties`.

use std::{
    cell::RefCell,
    convert::Infallible,
    pin::pin,
    rc::Rc,
    task::{Context, Waker},
};

use hyper::{
    Request, Response, body::Incoming, http::request::Parts, server::conn::http1, service::service_fn,
};
use hyper_util::rt::TokioIo;
use rally_cred_core::{
    Sent,
    profile::RedirectUri,
    redirect::{Expected, Redirect, Start, Target},
};
use rally_credd::flow::request::{self, Hosts};
use url::{Url, form_urlencoded};

use super::{CANARY, LONG_CANARY, is_harmless, is_harmless_fault, secret};

const STATE: &str = "0b5ff0a5-9d4e-4f7c-8a6d-1f7a6f0c2b11";
const HOST: &str = "localhost:8477";
const START_HOST: &str = "127.0.0.1:8477";
/// The word of a one-time address.
const WORD: &str = "7d1f0f3e-one-time";

fn expected(redirect_uri: &str) -> Expected {
    Expected {
        redirect_uri: RedirectUri::parse(redirect_uri).unwrap(),
        state: secret(STATE),
        secrets: Sent::new([STATE, CANARY, LONG_CANARY].map(secret)),
        start: Start { leads_to: secret(CANARY), words: vec![secret(WORD)] },
    }
}

/// What completes a sign-in has the redirect URI's own query, our state once, and either one code or one error.
fn is_answer(query: &str, own: &[(&str, &str)]) {
    let mut pairs: Vec<_> = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    for (name, value) in own {
        pairs.remove(pairs.iter().position(|pair| (&*pair.0, &*pair.1) == (*name, *value)).unwrap());
    }
    let values = |name: &str| {
        let of = pairs.iter().filter(|(key, _)| key == name);
        of.map(|(_, value)| &**value).collect::<Vec<_>>()
    };
    assert_eq!(values("state"), [STATE], "{query:?}");
    assert_eq!(values("code").len() + values("error").len(), 1, "{query:?}");
}

fn check(redirect: &Redirect) {
    is_harmless(&format!("{redirect:?}"));
    if let Some(fault) = redirect.fault() {
        is_harmless_fault(&fault);
        assert!(!fault.to_string().contains(STATE));
    }
    match redirect {
        Redirect::Code(code) => {
            assert!(
                !code.expose().is_empty() && code.expose().bytes().all(|byte| matches!(byte, b' '..=b'~'))
            );
        }
        Redirect::Refused { error, description } => {
            for text in [Some(error), description.as_ref()].into_iter().flatten() {
                is_harmless(text);
                assert!(text.chars().count() <= 300 && !text.contains(STATE), "{text:?}");
            }
        }
    }
}

/// The query of an address, as whoever knows nothing of ours finds it.
fn query(address: &str) -> &str {
    let address = address.split('#').next().unwrap();
    address.split_once('?').map_or("", |(_, query)| query)
}

/// A request that completes a sign-in is a browser's GET for our host with our state; pasted, its address does too.
pub(super) fn redirect(bytes: &[u8]) {
    let Some(request) = heard(bytes) else { return };
    let expected = expected("http://localhost:8477/cb");
    let hosts = Hosts { redirect: HOST.to_owned(), start: START_HOST.to_owned() };
    let redirect = match request::read(&request, &hosts, &expected) {
        Ok(Target::Redirect(redirect)) => redirect,
        Ok(Target::Start(number)) => {
            assert_eq!(number, 0);
            return assert!(String::from_utf8_lossy(bytes).contains(WORD));
        }
        Err(refusal) => {
            assert!(refusal.status().is_client_error() || refusal.status().is_server_error());
            return is_harmless(&format!("{refusal} {refusal:?}"));
        }
    };
    check(&redirect);
    let text = String::from_utf8_lossy(bytes);
    let mut lines = text.trim_start_matches(['\r', '\n']).split('\n').map(|line| line.trim_end_matches('\r'));
    let target = lines.next().unwrap().strip_prefix("GET ").unwrap().split(' ').next().unwrap();
    is_answer(query(target), &[]);
    let headers = lines.take_while(|line| !line.is_empty()).filter_map(|line| line.split_once(':'));
    let headers: Vec<_> = headers.map(|(name, value)| (name.to_ascii_lowercase(), value.trim())).collect();
    let values = |name: &str| {
        headers.iter().filter(|(found, _)| found == name).map(|(_, value)| *value).collect::<Vec<_>>()
    };
    assert!(matches!(values("host")[..], [host] if host.eq_ignore_ascii_case(HOST)), "{headers:?}");
    assert!(values("sec-fetch-mode").iter().all(|mode| *mode == "navigate"), "{headers:?}");
    assert!(values("sec-fetch-dest").iter().all(|dest| *dest == "document"), "{headers:?}");

    // A browser encodes whatever else is in an address.
    let path = request.uri.path_and_query().unwrap().as_str();
    if path.bytes().all(|byte| byte.is_ascii_graphic()) {
        let pasted = expected.read_pasted(&format!("http://{HOST}{path}")).unwrap();
        assert_eq!(exposed(&pasted), exposed(&redirect));
    }
}

fn exposed(redirect: &Redirect) -> String {
    match redirect {
        Redirect::Code(code) => code.expose().to_owned(),
        Redirect::Refused { error, description } => format!("{error} {description:?}"),
    }
}

/// The request in these bytes, read by the library that reads them on the redirect port. It waits for nothing, so no
/// runtime is needed.
fn heard(bytes: &[u8]) -> Option<Parts> {
    let heard = Rc::new(RefCell::new(None));
    let service = service_fn(|request: Request<Incoming>| {
        let is_second = heard.borrow_mut().replace(request.into_parts().0).is_some();
        assert!(!is_second, "one connection has one request");
        async { Ok::<_, Infallible>(Response::new(String::new())) }
    });
    let stream = TokioIo::new(tokio::io::join(bytes, tokio::io::sink()));
    let mut connection = pin!(http1::Builder::new().keep_alive(false).serve_connection(stream, service));
    let mut context = Context::from_waker(Waker::noop());
    // Whoever yields is asked again; a few times are enough for what is this short.
    for _ in 0..64 {
        if connection.as_mut().poll(&mut context).is_ready() {
            break;
        }
    }
    heard.take()
}

/// A pasted address that completes a sign-in has our state, whatever else is in it.
pub(super) fn pasted(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    let own_query = [("x", "1"), ("state", "own")];
    for (redirect_uri, own) in [
        ("http://localhost:8477/cb", &[][..]),
        ("https://tools.example.com/callback?x=1&state=own", &own_query),
    ] {
        let expected = expected(redirect_uri);
        match expected.read_pasted(text) {
            Ok(redirect) => {
                check(&redirect);
                let whole: String = unquoted(text).chars().filter(|letter| !letter.is_whitespace()).collect();
                is_answer(query(&whole), own);
            }
            Err(not_ours) => is_harmless_fault(&not_ours.fault()),
        }
        if let Ok(Target::Redirect(redirect)) = expected.read_target(text) {
            check(&redirect);
            let origin = Url::parse(redirect_uri).unwrap().origin().ascii_serialization();
            if text.starts_with('/') && text.bytes().all(|byte| byte.is_ascii_graphic()) {
                let pasted = expected.read_pasted(&format!("{origin}{text}")).unwrap();
                assert_eq!(exposed(&pasted), exposed(&redirect));
            }
        }
    }
}

/// The text without white space and quotes around it, however many.
fn unquoted(text: &str) -> &str {
    let mut text = text.trim();
    while text.starts_with(['"', '\'', '`', '<', '(', '“', '„']) {
        let mut inside = text.chars();
        inside.next();
        inside.next_back();
        text = inside.as_str().trim();
    }
    text
}
