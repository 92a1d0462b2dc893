//! The gateway's listener and its connections: what protocol each speaks, and who answers its requests.
//! Does not: pass a request on (`forward` does) or read a tunnel to another server (`tunnel` joins it).
//! Used by: the daemon, which opens and closes gateways.

use std::{
    convert::Infallible,
    io,
    net::TcpListener,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use http_body_util::{BodyExt, Empty};
use hyper::{
    Method, Request, Response,
    body::{Body, Incoming},
    server::conn::http1,
    service::service_fn,
    upgrade::OnUpgrade,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use rally_cred_proto::{Fault, FaultKind, Secret};
use rustls::ServerConfig;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    sync::watch,
    task::{AbortHandle, JoinSet},
    time::timeout,
};
use tokio_rustls::TlsAcceptor;

use crate::{
    admit::{Admitted, Rules, Way, admit},
    authority::Names,
    counts::{Counts, Tally, add_one},
    forward::{Answer, Forward},
    identity::Identity,
    settings::{Settings, Ways},
    socket::{Ending, Socket},
    tokens::Tokens,
    trouble::Trouble,
    tunnel,
    upstream::{Upstream, Wire},
};

/// Most connections at once. Tools hold a few each.
const MOST_CONNECTIONS: usize = 512;

/// How long a connection may be idle, or take for a head.
const IDLE: Duration = Duration::from_secs(300);

/// How long the listener rests when the system has no room for another connection.
const REST: Duration = Duration::from_millis(100);

/// An open gateway. It serves until it is closed or dropped; then its listener and all its connections end.
#[derive(Debug)]
pub struct Gateway {
    tally: Arc<Tally>,
    serving: AbortHandle,
    ended: watch::Receiver<()>,
}

impl Gateway {
    /// Serves a listener on loopback. Blocks for some milliseconds, while it reads the certificates that are trusted.
    ///
    /// `proxy` is the way out to servers that are not on this machine. An error says which of the settings cannot be
    /// used.
    pub async fn open(
        listener: TcpListener,
        settings: Settings,
        identity: Identity,
        tokens: Arc<dyn Tokens>,
        proxy: Option<Secret>,
    ) -> Result<Self, Fault> {
        let not_listening = |err: io::Error| {
            Fault::new(FaultKind::Failed, format!("gateway {} cannot listen", settings.name))
                .why(err.to_string())
        };
        listener.set_nonblocking(true).map_err(not_listening)?;
        let port = listener.local_addr().map_err(not_listening)?.port();
        let listener = tokio::net::TcpListener::from_std(listener).map_err(not_listening)?;
        let upstream = Upstream::new(
            settings.upstream.clone(),
            settings.ca_file.as_deref(),
            proxy.as_ref(),
            &settings.no_proxy,
        )?;
        let tls = |names| {
            identity.authority().tls(names).map(Arc::new).map_err(|error| {
                Fault::new(FaultKind::TlsFailed, "no certificate for the gateway").why(error.to_string())
            })
        };
        let tally = Arc::new(Tally::default());
        let server = Arc::new(Server {
            rules: Rules {
                port,
                upstream: settings.upstream,
                key: identity.key().clone(),
                paths: settings.paths,
            },
            ways: settings.ways,
            own_tls: tls(Names::Own)?,
            upstream_tls: tls(Names::Server)?,
            forward: Forward::new(upstream, tokens, settings.patience, Arc::clone(&tally)),
            tally: Arc::clone(&tally),
        });
        let (end, ended) = watch::channel(());
        let serving = tokio::spawn(async move {
            let _end = end;
            accept(listener, server).await;
        });
        Ok(Self { tally, serving: serving.abort_handle(), ended })
    }

    /// What it has done so far.
    pub fn counts(&self) -> Counts {
        self.tally.counts()
    }

    /// Ends the listener and all connections.
    pub fn close(&self) {
        self.serving.abort();
    }

    /// Comes back once the gateway serves no more.
    pub async fn closed(&self) {
        // Nothing is ever sent; an error says that the sender is gone.
        while self.ended.clone().changed().await.is_ok() {}
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.close();
    }
}

struct Server {
    rules: Rules,
    ways: Ways,
    own_tls: Arc<ServerConfig>,
    upstream_tls: Arc<ServerConfig>,
    forward: Forward,
    tally: Arc<Tally>,
}

async fn accept(listener: tokio::net::TcpListener, server: Arc<Server>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            // A slot is free only once its connection is gone.
            accepted = listener.accept(), if connections.len() < MOST_CONNECTIONS => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(connect(Arc::clone(&server), stream));
                }
                // The tool has left already, or the system has no room for it now.
                Err(_) => tokio::time::sleep(REST).await,
            },
            Some(_) = connections.join_next() => (),
        }
    }
}

/// What a TLS client sends first.
const TLS_HANDSHAKE: u8 = 0x16;

async fn connect(server: Arc<Server>, stream: TcpStream) {
    // A socket that cannot be set so is slower, and no worse.
    let _ = stream.set_nodelay(true);
    let mut first = [0];
    match timeout(IDLE, stream.peek(&mut first)).await {
        Ok(Ok(1)) => (),
        _ => return,
    }
    let socket = Socket::new(stream);
    let ending = socket.ending();
    if first != [TLS_HANDSHAKE] {
        serve(server, Way::Http, ending, socket).await;
    } else if server.ways.https
        && let Some(stream) = shake_hands(&server.own_tls, socket).await
    {
        serve(server, Way::Https, ending, stream).await;
    }
}

async fn shake_hands<IO: AsyncRead + AsyncWrite + Unpin>(
    config: &Arc<ServerConfig>,
    io: IO,
) -> Option<tokio_rustls::server::TlsStream<IO>> {
    timeout(IDLE, TlsAcceptor::from(Arc::clone(config)).accept(io)).await.ok()?.ok()
}

/// What becomes of a connection after its last request.
enum Onward {
    /// A tunnel to Rally, which ends here.
    Own(OnUpgrade),
    /// A tunnel to another server.
    Far(OnUpgrade, Box<TokioIo<Wire>>),
}

/// Answers the requests of a connection, and then of what is in its tunnel.
fn serve<IO>(
    server: Arc<Server>,
    way: Way,
    ending: Ending,
    io: IO,
) -> Pin<Box<dyn Future<Output = ()> + Send>>
where
    IO: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    Box::pin(async move {
        let onward = Mutex::new(None);
        let service = service_fn(|request| async {
            Ok::<_, Infallible>(server.answer(way, request, &ending, &onward).await)
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(IDLE)
            .serve_connection(TokioIo::new(io), service)
            .with_upgrades();
        // A connection that breaks is the tool's affair; it has seen it.
        let _ = connection.await;
        match onward.into_inner().unwrap_or_else(PoisonError::into_inner) {
            Some(Onward::Own(upgrade)) => {
                if let Ok(near) = upgrade.await
                    && let Some(stream) = shake_hands(&server.upstream_tls, TokioIo::new(near)).await
                {
                    serve(server, Way::Tunnel, ending, stream).await;
                }
            }
            Some(Onward::Far(upgrade, far)) => {
                if let Ok(near) = upgrade.await {
                    tunnel::join(near, far, &ending, &server.tally).await;
                }
            }
            None => (),
        }
    })
}

impl Server {
    async fn answer(
        &self,
        way: Way,
        mut request: Request<Incoming>,
        ending: &Ending,
        onward: &Mutex<Option<Onward>>,
    ) -> Answer {
        let upgrade = (request.method() == Method::CONNECT).then(|| hyper::upgrade::on(&mut request));
        let (head, body) = request.into_parts();
        let outcome = match self.admit(way, &head) {
            Err(trouble) => {
                add_one(&self.tally.refused);
                Err(trouble.closing_unless(body.is_end_stream()))
            }
            Ok(admitted) => {
                add_one(&self.tally.requests);
                match (admitted, upgrade) {
                    (Admitted::Request, _) => self.forward.pass_on(way, head, body, ending).await,
                    (Admitted::OwnTunnel, Some(upgrade)) => Ok(begun(onward, Onward::Own(upgrade))),
                    (Admitted::Tunnel { host, port }, Some(upgrade)) => {
                        add_one(&self.tally.tunnels);
                        let far = self.forward.upstream().road().connect(&host, port).await;
                        far.map(|far| begun(onward, Onward::Far(upgrade, Box::new(far))))
                    }
                    (Admitted::OwnTunnel | Admitted::Tunnel { .. }, None) => {
                        Err(Trouble::bad_request("a tunnel begins with CONNECT"))
                    }
                }
            }
        };
        outcome.unwrap_or_else(|trouble| {
            self.tally.failed(trouble.reason());
            trouble.into_answer()
        })
    }

    fn admit(&self, way: Way, head: &hyper::http::request::Parts) -> Result<Admitted, Trouble> {
        let admitted = admit(&self.rules, way, head)?;
        let is_open = match (&admitted, way) {
            (Admitted::Request, Way::Http) => self.ways.http,
            (Admitted::Request, Way::Https) => self.ways.https,
            (Admitted::Request, Way::Tunnel) | (Admitted::OwnTunnel | Admitted::Tunnel { .. }, _) => {
                self.ways.connect
            }
        };
        if is_open {
            Ok(admitted)
        } else {
            Err(Trouble::other_way("this gateway is not open for this way in"))
        }
    }
}

fn begun(onward: &Mutex<Option<Onward>>, next: Onward) -> Answer {
    *onward.lock().unwrap_or_else(PoisonError::into_inner) = Some(next);
    Response::new(Empty::new().map_err(|never| match never {}).boxed_unsync())
}
