//! HTTP clients for one server each: proxies, certificates, names and deadlines; what goes wrong on the way, and what all
//! requests and answers have.
//! Does not: send a request.
//! Used by: `endpoint` and `vault`.

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
    Certificate, Client, ClientBuilder, Proxy, Response,
    dns::{Addrs, Name, Resolve, Resolving},
    header::{DATE, HeaderValue},
    redirect, retry,
};
use rustls::{RootCertStore, pki_types::CertificateDer, pki_types::pem::PemObject};
use tokio::runtime::Builder;
use zeroize::Zeroizing;

use crate::worker::{self, Undone};
use proxy::Way;
use rally_cred_core::{
    answer::{self, SendTrouble},
    profile::BaseUrl,
};
pub(crate) use sorting::sort;
use sorting::{exhausted, lowered};

/// Longest wait for a connection with its TLS handshake.
pub(crate) const CONNECT_IN: Duration = Duration::from_secs(5);

/// Largest `ca_file`; the bundles of whole operating systems have about 250 kB.
const LARGEST_CA_FILE: u64 = 4 * 1024 * 1024;

pub(crate) const USER_AGENT: &str = concat!("rally-cred/", env!("CARGO_PKG_VERSION"));

/// Runs an exchange on a thread of its own. hyper reads provisional answers (1xx) for as long as they come, and a server
/// that sends them without pause would keep everybody else here waiting.
pub(crate) async fn apart<T: Send + 'static>(
    exchange: impl Future<Output = T> + Send + 'static,
) -> Result<T, SendTrouble> {
    let exchange = Box::pin(exchange);
    let run = worker::run(move || {
        let runtime = Builder::new_current_thread().enable_all().build().map_err(Undone::NoDescriptor)?;
        Ok(runtime.block_on(exchange))
    });
    run.await.flatten().map_err(|undone| exhausted(&undone))
}

/// A client for the server, and the proxy on its way.
pub(crate) async fn client_for(
    base_url: &BaseUrl,
    ca_file: Option<&Path>,
) -> Result<(Client, Option<answer::Proxy>), SendTrouble> {
    let (base_url, ca_file) = (base_url.clone(), ca_file.map(Path::to_owned));
    let way = proxy::way_to(&base_url, |name| Some(env::var_os(name)?.to_string_lossy().into_owned()))?;
    let proxy = match &way {
        Way::Through(proxy, _) => Some(proxy.clone()),
        Way::Unsaid | Way::Direct => None,
    };
    let build = worker::run(move || client(Client::builder(), &base_url, way, ca_file.as_deref()));
    Ok((build.await.map_err(|undone| exhausted(&undone))??, proxy))
}

/// A client whose requests all go to the program that listens on this Unix socket.
pub(crate) fn client_through(socket: &Path) -> Result<Client, SendTrouble> {
    #[cfg(unix)]
    let builder = plain_client(Client::builder()).no_proxy().tls_certs_only([]).unix_socket(socket);
    #[cfg(not(unix))]
    return Err(SendTrouble::Unreachable(format!("there is no Unix socket {} here", socket.display())));
    #[cfg(unix)]
    builder.build().map_err(|error| sort(error, None))
}

/// What every client has: it goes where it is told, once.
fn plain_client(builder: ClientBuilder) -> ClientBuilder {
    // reqwest panics without a provider. An error means that there is one.
    let _ = rustls::crypto::ring::default_provider().install_default();
    builder
        .user_agent(USER_AGENT)
        .redirect(redirect::Policy::none())
        .retry(retry::never())
        .referer(false)
        .pool_max_idle_per_host(0)
        .connect_timeout(CONNECT_IN)
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
    let origin = base_url.origin();
    let mut builder = plain_client(builder).dns_resolver(Arc::new(Resolver)).https_only(origin.is_https());
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

/// The value of a header that is shown nowhere.
pub(crate) fn secret_header(secret: &Secret) -> Result<HeaderValue, SendTrouble> {
    let mut value = HeaderValue::from_bytes(secret.expose().as_bytes()).map_err(|_| SendTrouble::BadToken)?;
    value.set_sensitive(true);
    Ok(value)
}

/// When the server answered, in seconds since 1970, from the header `Date` (RFC 9110 §6.6.1).
pub(crate) fn date_of(response: &Response) -> Option<i64> {
    let date = response.headers().get(DATE)?.to_str().ok()?;
    Some(jiff::fmt::rfc2822::parse(date).ok()?.timestamp().as_second())
}

/// The body of an answer, of at most so many bytes.
pub(crate) async fn read_body(
    response: &mut Response,
    most: usize,
) -> Result<Zeroizing<Vec<u8>>, SendTrouble> {
    let mut body = Zeroizing::new(Vec::new());
    while let Some(chunk) = response.chunk().await.map_err(|error| sort(error, None))? {
        let length = body.len() + chunk.len();
        if length > most {
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
    Ok(body)
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
