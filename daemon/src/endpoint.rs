//! Sends the daemon's two requests to Rally, and returns what came, unread.
//! Does not: follow redirects, keep cookies or connections, retry, or understand an answer (`core::answer` does).
//! Used by: perform, which turns the broker's effects into calls.

mod proxy;
mod sorting;

use std::{
    env,
    io::{self, Read},
    net::ToSocketAddrs,
    path::Path,
    sync::Arc,
    time::Duration,
};

use rally_cred_proto::{Secret, own_file, plain::plain};
use reqwest::{
    Certificate, Client, ClientBuilder, Proxy, RequestBuilder, Response,
    dns::{Addrs, Name, Resolve, Resolving},
    header::{DATE, HeaderValue, RETRY_AFTER},
    redirect, retry,
};
use rustls::{RootCertStore, pki_types::CertificateDer, pki_types::pem::PemObject};
use zeroize::Zeroizing;

use crate::worker;
use proxy::Way;
use rally_cred_core::{
    Sent,
    answer::{RawAnswer, SendTrouble, TokenForm},
    profile::{BaseUrl, Profile},
};
use sorting::{exhausted, lowered, sort};

/// Sends the form to the profile's token endpoint, once.
pub async fn post_token(profile: &Profile, client_secret: &Secret, form: &TokenForm) -> RawAnswer {
    answer_in_time(profile, form.sent(client_secret), |client| {
        let fields = form.fields(&profile.client_id, client_secret);
        Ok(client.post(profile.base_url.token_endpoint()).form(&fields))
    })
    .await
    .0
}

/// Asks WSAPI whose token this is.
pub async fn find_user(profile: &Profile, token: &Secret) -> RawAnswer {
    answer_in_time(profile, Sent::new([token.clone()]), |client| {
        let mut value =
            HeaderValue::from_bytes(token.expose().as_bytes()).map_err(|_| SendTrouble::BadToken)?;
        value.set_sensitive(true);
        Ok(client.get(profile.base_url.user_query()).header("ZSESSIONID", value))
    })
    .await
    .0
}

/// Sends the user query without a token, which a healthy Rally refuses; also returns by how many seconds Rally's clock
/// is ahead of this machine's, if it said so.
pub async fn reach(profile: &Profile) -> (RawAnswer, Option<i64>) {
    answer_in_time(profile, Sent::default(), |client| Ok(client.get(profile.base_url.user_query()))).await
}

/// Longest wait for a connection with its TLS handshake.
const CONNECT_IN: Duration = Duration::from_secs(5);

/// Longest wait for a whole answer. Rally's WSAPI is known to take up to 10 seconds.
const ANSWER_IN: Duration = Duration::from_secs(20);

/// Largest body that is read. Rally's answers have about 1 kB, its error pages a few.
const LARGEST_BODY: usize = 256 * 1024;

/// Largest `ca_file`; the bundles of whole operating systems have about 250 kB.
const LARGEST_CA_FILE: u64 = 4 * 1024 * 1024;

const USER_AGENT: &str = concat!("rally-cred/", env!("CARGO_PKG_VERSION"));

/// The answer, and by how many seconds Rally's clock is ahead.
async fn answer_in_time(
    profile: &Profile,
    sent: Sent,
    request: impl FnOnce(Client) -> Result<RequestBuilder, SendTrouble>,
) -> (RawAnswer, Option<i64>) {
    let mut ahead = None;
    let exchange = async {
        let (base_url, ca_file) = (profile.base_url.clone(), profile.ca_file.clone());
        let way = proxy::way_to(&base_url, |name| Some(env::var_os(name)?.to_string_lossy().into_owned()))?;
        let proxy = match &way {
            Way::Through(proxy, _) => Some(proxy.clone()),
            Way::Unsaid | Way::Direct => None,
        };
        let build = worker::run(move || client(Client::builder(), &base_url, way, ca_file.as_deref()));
        let client = build.await.map_err(|undone| exhausted(&undone))??;
        let response = request(client)?.send().await.map_err(|error| sort(error, proxy.as_ref()))?;
        ahead = clock_ahead(jiff::Timestamp::now(), &response);
        read(response, sent).await
    };
    let answer = match tokio::time::timeout(ANSWER_IN, exchange).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(trouble)) => RawAnswer::Failed(trouble),
        Err(_) => RawAnswer::Failed(SendTrouble::TimedOut),
    };
    (answer, ahead)
}

/// From the header `Date`, in whole seconds (RFC 9110 §6.6.1).
fn clock_ahead(now: jiff::Timestamp, response: &Response) -> Option<i64> {
    let date = jiff::fmt::rfc2822::parse(response.headers().get(DATE)?.to_str().ok()?).ok()?;
    Some(date.timestamp().as_second().saturating_sub(now.as_second()))
}

/// A client for one base URL. Requests are hours apart, so each has one of its own: a changed `ca_file`, new system
/// certificates or a new proxy count at once, and no connection is dead after the machine slept. Reads the system's
/// certificates, which may block for some milliseconds.
fn client(
    builder: ClientBuilder,
    base_url: &BaseUrl,
    way: Way,
    ca_file: Option<&Path>,
) -> Result<Client, SendTrouble> {
    // reqwest panics without a provider. An error means that there is one.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let origin = base_url.origin();
    let mut builder = builder
        .user_agent(USER_AGENT)
        .redirect(redirect::Policy::none())
        .retry(retry::never())
        .referer(false)
        .pool_max_idle_per_host(0)
        .connect_timeout(CONNECT_IN)
        .dns_resolver(Arc::new(Resolver))
        .https_only(origin.is_https());
    builder = match way {
        Way::Unsaid => builder,
        Way::Direct => builder.no_proxy(),
        Way::Through(proxy, value) => {
            builder.proxy(Proxy::all(value.expose()).map_err(|_| SendTrouble::BadProxy(proxy.variable))?)
        }
    };
    builder = match ca_file {
        // No TLS, no certificates: a machine may have none.
        _ if !origin.is_https() => builder.tls_certs_only([]),
        Some(path) => builder.tls_certs_merge(certificates(path)?),
        None => builder,
    };
    builder.build().map_err(|error| sort(error, None))
}

/// Resolves names like every program on this machine.
struct Resolver;

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            // The port is set by the caller.
            let found = worker::run(move || (name.as_str(), 0).to_socket_addrs()).await??;
            Ok(Box::new(found) as Addrs)
        })
    }
}

/// The certificates in a PEM file: at least one, and all of them accepted by the verifier.
fn certificates(path: &Path) -> Result<Vec<Certificate>, SendTrouble> {
    let bad = |why: &str| SendTrouble::BadCaFile(format!("{}: {why}", plain(&path.display().to_string())));
    let not_read = |err: io::Error| bad(&lowered(&err.to_string()));
    let file = own_file::open_to_read(path).map_err(not_read)?;
    let mut pem = Vec::new();
    file.take(LARGEST_CA_FILE + 1).read_to_end(&mut pem).map_err(not_read)?;
    if pem.len() as u64 > LARGEST_CA_FILE {
        return Err(bad("it is not a file of certificates"));
    }
    let mut roots = RootCertStore::empty();
    let mut certificates = Vec::new();
    for der in CertificateDer::pem_slice_iter(&pem) {
        let der = der.map_err(|_| bad("it is not PEM"))?;
        certificates.push(Certificate::from_der(&der).map_err(|_| bad("a certificate in it is broken"))?);
        roots.add(der).map_err(|_| bad("a certificate in it is broken"))?;
    }
    if certificates.is_empty() { Err(bad("it holds no certificate")) } else { Ok(certificates) }
}

async fn read(mut response: Response, sent: Sent) -> Result<RawAnswer, SendTrouble> {
    let status = response.status().as_u16();
    let retry_after = response
        .headers()
        .get(RETRY_AFTER)
        .and_then(|value| parse_retry_after(jiff::Timestamp::now(), value.to_str().ok()?));
    let mut body = Zeroizing::new(Vec::new());
    while let Some(chunk) = response.chunk().await.map_err(|error| sort(error, None))? {
        let length = body.len() + chunk.len();
        if length > LARGEST_BODY {
            return Err(SendTrouble::TooLarge);
        }
        if length > body.capacity() {
            // A vector that grows by itself leaves an unwiped copy behind.
            let mut wider = Zeroizing::new(Vec::with_capacity(2 * length));
            wider.extend_from_slice(&body);
            body = wider;
        }
        body.extend_from_slice(&chunk);
    }
    Ok(RawAnswer::Arrived { status, retry_after, body, sent })
}

/// Seconds from now, given as a number or a date (RFC 9110 §10.2.3).
fn parse_retry_after(now: jiff::Timestamp, text: &str) -> Option<u32> {
    let text = text.trim();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(text.parse().unwrap_or(u32::MAX));
    }
    let then = jiff::fmt::rfc2822::parse(text).ok()?.timestamp();
    u32::try_from(then.as_second().saturating_sub(now.as_second()).max(0)).ok()
}

#[cfg(test)]
mod tests;
