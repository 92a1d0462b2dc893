//! The way out: to Rally and further servers, with HTTP/2 where it is offered, and through the parent's proxy if there is one.
//! Does not: know tokens or what an answer means, follow redirects, or keep connections (`pool` does).
//! Used by: `forward`; `server`, for tunnels to other servers.

mod pool;

use std::{
    error::Error,
    fs,
    io::{self, Read},
    path::Path,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use hyper::{Request, Response, Uri};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder, MaybeHttpsStream};
use hyper_util::{
    client::{
        legacy::connect::{
            HttpConnector,
            proxy::{SocksV5, Tunnel},
        },
        proxy::matcher::Matcher,
    },
    rt::TokioIo,
};
use rally_cred_proto::{Fault, FaultKind, Origin, Secret, causes, own_file, plain::plain};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
};
use rustls_platform_verifier::Verifier;
use tokio::{net::TcpStream, time::timeout};
use tower_service::Service;

use crate::{
    replay::Attempt,
    trouble::{BoxError, Trouble},
};
pub(crate) use pool::Inflow;
#[cfg(test)]
pub(crate) use pool::MOST_PROMISES;
use pool::{NoAnswer, Pool};

/// Longest wait for a TCP connection.
const CONNECT_IN: Duration = Duration::from_secs(10);

/// Longest wait until a new connection can be used, with the parent's proxy and the TLS handshake.
const READY_IN: Duration = Duration::from_secs(15);

/// A connection on which nothing comes for so long is asked whether it lives, so that one that a sleep of the machine
/// has cut does not hold its requests for ever.
const ALIVE_EVERY: Duration = Duration::from_secs(20);

/// Largest `ca_file`; the bundles of whole operating systems have about 250 kB.
const LARGEST_CA_FILE: u64 = 4 * 1024 * 1024;

/// A connection to a server or to the proxy before it.
pub(crate) type Wire = MaybeHttpsStream<TokioIo<TcpStream>>;

/// Rally or another server, as requests reach it.
pub(crate) struct Upstream {
    pool: Pool,
    /// The server as it stands in an address: scheme, name, and port if it is not the scheme's own.
    pub(crate) origin: String,
}

impl Upstream {
    pub(crate) fn new(origin: &Origin, tls: ClientConfig, road: Road) -> Result<Self, Fault> {
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_all_versions()
            .wrap_connector(road);
        let pool = Pool::new(connector, origin).map_err(|error| {
            Fault::new(FaultKind::ConfigBroken, "the server's address fits no request").why(error.to_string())
        })?;
        Ok(Self { pool, origin: origin.to_string() })
    }

    /// Sends a request whose URI is a path, and gives the answer once its head is there.
    pub(crate) async fn send(&self, request: Request<Attempt>) -> Result<Response<Inflow>, Trouble> {
        self.pool.send(request).await.map_err(|error| match error {
            NoAnswer::Unreachable(error) => sort(error.as_ref(), true),
            NoAnswer::Silent => Trouble::silent(),
            NoAnswer::BrokenOff(error) => sort(&error, false),
            NoAnswer::Endless => Trouble::endless(),
        })
    }
}

/// Connects, by way of the parent's proxy where there is one. Loopback is reached directly: a proxy would look for it on
/// a machine of its own.
#[derive(Clone)]
pub(crate) struct Road {
    direct: HttpConnector,
    to_proxy: HttpsConnector<HttpConnector>,
    proxy: Option<Arc<Matcher>>,
}

impl Road {
    pub(crate) fn new(tls: &ClientConfig, proxy: Option<&Secret>, spared: &str) -> Result<Self, Fault> {
        let mut direct = HttpConnector::new();
        direct.enforce_http(false);
        direct.set_nodelay(true);
        direct.set_connect_timeout(Some(CONNECT_IN));
        direct.set_keepalive(Some(ALIVE_EVERY));
        direct.set_keepalive_interval(Some(ALIVE_EVERY / 4));
        direct.set_keepalive_retries(Some(3));
        // The same for what was sent and never acknowledged.
        #[cfg(target_os = "linux")]
        direct.set_tcp_user_timeout(Some(ALIVE_EVERY * 2));
        let to_proxy = HttpsConnectorBuilder::new()
            .with_tls_config(tls.clone())
            .https_or_http()
            .enable_http1()
            .wrap_connector(direct.clone());
        let matcher = proxy.map(|proxy| {
            let all = Matcher::builder().all(proxy.expose()).build();
            let anything = Uri::from_static("https://server.invalid");
            let known = all.intercept(&anything).filter(|found| kind(found.uri()).is_some());
            known.ok_or_else(|| {
                Fault::new(FaultKind::Unreachable, "the gateway's way out cannot be used")
                    .why("the proxy is neither a http, https nor socks5 address")
                    .remedy("set HTTPS_PROXY to the address of a proxy, such as http://proxy.example:8080")
            })?;
            Ok(Arc::new(Matcher::builder().all(proxy.expose()).no(spared).build()))
        });
        Ok(Self { direct, to_proxy, proxy: matcher.transpose()? })
    }

    /// A connection to a host, an IPv6 address in brackets, and port.
    pub(crate) async fn connect(&self, host: &str, port: u16) -> Result<TokioIo<Wire>, Trouble> {
        let uri = format!("https://{host}:{port}").parse();
        let uri = uri.map_err(|_| Trouble::bad_request("a tunnel leads to a name or an address"))?;
        let wire = timeout(READY_IN, self.clone().call(uri)).await.map_err(|_| Trouble::silent())?;
        Ok(TokioIo::new(wire.map_err(|error| sort(error.as_ref(), true))?))
    }
}

enum ProxyKind {
    Http,
    Socks { local_dns: bool },
}

fn kind(proxy: &Uri) -> Option<ProxyKind> {
    match proxy.scheme_str()? {
        "http" | "https" => Some(ProxyKind::Http),
        "socks5" => Some(ProxyKind::Socks { local_dns: true }),
        "socks5h" => Some(ProxyKind::Socks { local_dns: false }),
        _ => None,
    }
}

impl Service<Uri> for Road {
    type Response = Wire;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Wire, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, to: Uri) -> Self::Future {
        let is_loopback = Origin::from_uri(&to.to_string()).is_some_and(|origin| origin.is_loopback());
        let found = self.proxy.as_ref().filter(|_| !is_loopback).and_then(|proxy| proxy.intercept(&to));
        let mut direct = self.direct.clone();
        let Some(found) = found else {
            return Box::pin(async move { Ok(Wire::Http(direct.call(to).await?)) });
        };
        let proxy = found.uri().clone();
        match kind(&proxy) {
            Some(ProxyKind::Http) => {
                let mut tunnel = Tunnel::new(proxy, self.to_proxy.clone());
                if let Some(auth) = found.basic_auth() {
                    tunnel = tunnel.with_auth(auth.clone());
                }
                Box::pin(async move { tunnel.call(to).await.map_err(|error| AtProxy(error.into()).into()) })
            }
            Some(ProxyKind::Socks { local_dns }) => {
                let mut socks = SocksV5::new(proxy, direct).local_dns(local_dns);
                if let Some((user, password)) = found.raw_auth() {
                    socks = socks.with_auth(user.to_owned(), password.to_owned());
                }
                Box::pin(async move {
                    let wire = socks.call(to).await.map_err(|error| AtProxy(error.into()))?;
                    Ok(Wire::Http(wire))
                })
            }
            None => Box::pin(async { Err("the proxy is of another kind".into()) }),
        }
    }
}

/// What went wrong at the parent's proxy.
#[derive(Debug, thiserror::Error)]
#[error("the proxy did not connect")]
struct AtProxy(#[source] BoxError);

/// The system's authorities and those of the profile. Without TLS none are needed, and a machine without any must do.
/// May block for some milliseconds.
pub(crate) fn trust(needs_tls: bool, ca_file: Option<&Path>) -> Result<ClientConfig, Fault> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| distrust(&error.to_string()))?;
    if !needs_tls {
        return Ok(builder.with_root_certificates(RootCertStore::empty()).with_no_client_auth());
    }
    let extra = ca_file.map(certificates).transpose()?.unwrap_or_default();
    let verifier =
        Verifier::new_with_extra_roots(extra, provider).map_err(|error| distrust(&error.to_string()))?;
    Ok(builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier)).with_no_client_auth())
}

fn distrust(why: &str) -> Fault {
    Fault::new(FaultKind::TlsFailed, "no certificate authorities for the gateway").why(why)
}

/// The certificates in a PEM file; at least one.
fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Fault> {
    let bad = |why: String| {
        let place = plain(&path.display().to_string());
        Fault::new(FaultKind::TlsFailed, "the profile's ca_file cannot be used")
            .why(format!("{place}: {why}"))
    };
    let not_read = |error: io::Error| bad(error.to_string());
    let file: fs::File = own_file::open_to_read(path).map_err(not_read)?;
    let mut pem = Vec::new();
    file.take(LARGEST_CA_FILE).read_to_end(&mut pem).map_err(not_read)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_) => Err(bad("it holds no certificate".to_owned())),
        Err(_) => Err(bad("it is not PEM".to_owned())),
    }
}

/// What an error on the way out means to a tool.
fn sort(error: &(dyn Error + 'static), is_connect: bool) -> Trouble {
    let at_proxy = causes(error).any(|cause| cause.is::<AtProxy>());
    let last = causes(error).last().map(|cause| plain(&cause.to_string())).unwrap_or_default();
    if let Some(tls) = causes(error).find_map(|cause| cause.downcast_ref::<rustls::Error>()) {
        return Trouble::distrusted(&plain(&tls.to_string()));
    }
    match (at_proxy, is_connect) {
        (true, _) => Trouble::no_way_out(&last),
        (false, true) => Trouble::unreachable(&last),
        (false, false) => Trouble::broken_off(&last),
    }
}
