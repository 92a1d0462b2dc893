//! A Rally that speaks TLS, and tools that do.
//! Does not: check the gateway's authority (`authority` has tests of its own).
//! Used by: the tests beside it.

use std::{convert::Infallible, io::Write, sync::Arc, time::Duration};

use http_body_util::Full;
use hyper::{
    Request, Response, Version,
    body::{Bytes, Incoming},
    server::conn::http2,
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rally_cred_proto::Origin;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, pem::PemObject},
};
use tempfile::NamedTempFile;
use tokio::{
    net::{TcpListener, TcpStream},
    time::timeout,
};
use tokio_rustls::{TlsAcceptor, TlsConnector, client, server};

use super::world::{Peer, SOON, World};
use crate::{Further, Identity, TokenHeader};

/// A gateway before a Rally that speaks TLS, and another server that takes its tokens.
pub(super) struct Secure {
    pub(super) world: World,
    /// Host and port of Rally.
    pub(super) name: String,
    further: TcpListener,
    pub(super) further_name: String,
    acceptor: TlsAcceptor,
}

impl Secure {
    /// Rally offers these protocols. The gateway trusts it if it is given Rally's certificate.
    pub(super) async fn open(protocols: &[&str], is_trusted: bool) -> Self {
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed(["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
        let mut ca_file = NamedTempFile::new().unwrap();
        ca_file.write_all(cert.pem().as_bytes()).unwrap();
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![cert.der().clone()], signing_key.serialize_der().try_into().unwrap())
            .unwrap();
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let name = format!("localhost:{}", listener.local_addr().unwrap().port());
        let upstream = format!("https://{name}");
        let trusted = is_trusted.then(|| ca_file.path().to_owned());
        let further = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let further_name = further.local_addr().unwrap().to_string();
        let world = World::before(listener, &upstream, None, 10, |settings| {
            settings.ca_file = trusted;
            settings.further.push(Further {
                origin: Origin::from_git("https", &further_name).unwrap(),
                header: TokenHeader::new("X-Token", Some("Bearer")).unwrap(),
            });
        })
        .await;
        Self { world, name, further, further_name, acceptor: TlsAcceptor::from(Arc::new(config)) }
    }

    /// The next connection to Rally, if the gateway trusts it.
    pub(super) async fn rally(&self) -> Option<Peer<server::TlsStream<TcpStream>>> {
        self.accept(&self.world.rally, &self.name).await
    }

    /// The next connection to the other server.
    pub(super) async fn further(&self) -> Peer<server::TlsStream<TcpStream>> {
        self.accept(&self.further, &self.further_name).await.unwrap()
    }

    async fn accept(&self, at: &TcpListener, name: &str) -> Option<Peer<server::TlsStream<TcpStream>>> {
        let (stream, _) = timeout(SOON, at.accept()).await.expect("no connection").unwrap();
        let stream = self.acceptor.accept(stream).await.ok()?;
        Some(Peer { stream, host: name.to_owned(), key: String::new() })
    }

    /// Whether nobody has connected to the other server beside those who were let in.
    pub(super) async fn nobody_asked_the_further_server(&self) -> bool {
        timeout(Duration::ZERO, self.further.accept()).await.is_err()
    }

    /// Serves one connection with HTTP/2.
    pub(super) async fn serve_http_2<B>(&self, answer: impl Fn(Request<Incoming>) -> B)
    where
        B: Future<Output = Response<Full<Bytes>>> + Send + 'static,
    {
        let peer = self.rally().await.unwrap();
        let service = service_fn(|request: Request<Incoming>| {
            assert_eq!(request.version(), Version::HTTP_2);
            let answer = answer(request);
            async { Ok::<_, Infallible>(answer.await) }
        });
        let connection = http2::Builder::new(TokioExecutor::new());
        connection.serve_connection(TokioIo::new(peer.stream), service).await.unwrap();
    }
}

impl Peer<TcpStream> {
    /// The same over TLS, with trust in nobody but the gateway's authority.
    pub(super) async fn secured(
        self,
        identity: &Identity,
        name: &'static str,
    ) -> Peer<client::TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        let pem = identity.authority().certificate_pem();
        roots.add(CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let connector = TlsConnector::from(Arc::new(config));
        let connected = connector.connect(name.try_into().unwrap(), self.stream);
        let stream = timeout(SOON, connected).await.expect("no TLS").unwrap();
        Peer { stream, host: self.host, key: self.key }
    }
}
