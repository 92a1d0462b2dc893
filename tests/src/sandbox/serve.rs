//! Connections: the loopback listener, TLS with a private CA, and one task per connection that a fault can cut.
//! Does not: look at requests.
//! Used by: `Sandbox`, which starts it and drops it.

use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use axum::routing::{get, post};
use axum::{Extension, Router, middleware};
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};
use rustls::ServerConfig;
use rustls::pki_types::PrivatePkcs8KeyDer;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::control::Control;
use super::gate::{Line, gate};
use super::options::{Certificate, Options};
use super::{HOST, login, reading, writing};

/// A sandbox that listens and does not answer yet.
pub(super) struct Bound {
    pub(super) control: Arc<Control>,
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
}

/// Rest after a failed accept: long enough not to spin, too short to notice.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

impl Bound {
    pub(super) async fn bind(mut options: Options) -> io::Result<Bound> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, options.port)).await?;
        options.port = listener.local_addr()?.port();
        let (scheme, tls, ca_pem) = if options.tls {
            let (config, ca_pem) = certified(options.certificate).map_err(io::Error::other)?;
            ("https", Some(TlsAcceptor::from(Arc::new(config))), Some(ca_pem))
        } else {
            ("http", None, None)
        };
        let base_url = format!("{scheme}://127.0.0.1:{}", options.port);
        Ok(Bound { control: Control::new(base_url, ca_pem, options), listener, tls })
    }

    /// Answers until it is dropped; all connections end with it.
    pub(super) async fn serve(self) {
        let router = Router::new()
            .route("/login/oauth2/auth", get(login::authorize))
            .route("/login/oauth2/consent", post(login::consent))
            .route("/login/oauth2/token", post(login::token))
            .merge(reading::routes())
            .merge(writing::routes())
            .fallback(reading::not_found)
            .method_not_allowed_fallback(reading::method_not_allowed)
            .layer(middleware::from_fn_with_state(self.control.clone(), gate))
            .with_state(self.control);
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, peer)) => {
                        let line = Line { peer: peer.ip(), cut: Arc::new(Notify::new()) };
                        connections.spawn(connection(stream, self.tls.clone(), router.clone(), line));
                    }
                    // Out of descriptors, most likely: some come back when open connections end.
                    Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
                },
                Some(_) = connections.join_next() => {}
            }
        }
    }
}

async fn connection(stream: TcpStream, tls: Option<TlsAcceptor>, router: Router, line: Line) {
    match tls {
        None => speak(stream, router, line).await,
        Some(tls) => {
            // A client that does not trust the CA ends here.
            if let Ok(stream) = tls.accept(stream).await {
                speak(stream, router, line).await;
            }
        }
    }
}

async fn speak(stream: impl AsyncRead + AsyncWrite + Unpin, router: Router, line: Line) {
    let cut = line.cut.clone();
    let service = TowerToHyperService::new(router.layer(Extension(line)));
    tokio::select! {
        // How a client ends its connection is its own affair.
        _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service) => {}
        () = cut.notified() => {}
    }
}

/// A fresh CA and a certificate from it.
fn certified(
    certificate: Certificate,
) -> Result<(ServerConfig, String), Box<dyn std::error::Error + Send + Sync>> {
    let ca_key = KeyPair::generate()?;
    let mut ca = CertificateParams::new(Vec::new())?;
    ca.distinguished_name.push(DnType::CommonName, "Rally sandbox CA");
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let ca_pem = ca.self_signed(&ca_key)?.pem();
    let issuer = Issuer::new(ca, ca_key);

    let key = KeyPair::generate()?;
    let hosts: &[&str] = match certificate {
        Certificate::OtherHost => &["elsewhere.test"],
        _ => &["localhost", "127.0.0.1", "::1", HOST],
    };
    let mut leaf = CertificateParams::new(hosts.iter().copied().map(String::from).collect::<Vec<_>>())?;
    match certificate {
        Certificate::Expired => leaf.not_after = date_time_ymd(2000, 1, 1),
        Certificate::NotYetValid => leaf.not_before = date_time_ymd(3000, 1, 1),
        Certificate::Sound | Certificate::OtherHost => {}
    }
    leaf.distinguished_name.push(DnType::CommonName, "Rally sandbox");
    leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    leaf.use_authority_key_identifier_extension = true;
    let leaf = leaf.signed_by(&key, &issuer)?;

    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![leaf.der().clone()], PrivatePkcs8KeyDer::from(key.serialize_der()).into())?;
    Ok((config, ca_pem))
}
