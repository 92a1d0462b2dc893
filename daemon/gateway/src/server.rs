//! The gateway's listener and its connections: what protocol each speaks, and who answers its requests.
//! Does not: pass a request on (`forward` does) or read a tunnel to another server (`tunnel` joins it).
//! Used by: the daemon, which opens and closes gateways.

use std::{
    convert::Infallible,
    io, iter,
    net::{SocketAddr, TcpListener},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use http_body_util::{BodyExt, Empty};
use hyper::{
    Method, Request, Response,
    body::{Body, Incoming},
    header::UPGRADE,
    server::conn::http1,
    service::service_fn,
    upgrade::OnUpgrade,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use rally_cred_proto::{Fault, FaultKind, Origin, Secret, neighbour::Neighbour, unpoisoned};
use rustls::{ClientConfig, ServerConfig};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    sync::watch,
    task::{AbortHandle, JoinSet},
    time::timeout,
};
use tokio_rustls::TlsAcceptor;

use crate::{
    admit::{Admitted, Refusal, Rules, Way, admit},
    audit::{Answered, Audit},
    authority::Names,
    counts::{Counts, Tally},
    forward::{Destination, Forward},
    guard::{Guarded, HEAD_LIMIT, Malformed, Verdict},
    identity::Identity,
    settings::{Further, Settings, Ways},
    socket::{Ending, Socket},
    token_header::TokenHeader,
    tokens::Tokens,
    trouble::{Answer, Trouble},
    tunnel,
    upstream::{Road, Upstream, Wire, trust},
};

/// Most connections at once. Tools hold a few each.
const MOST_CONNECTIONS: usize = 512;

/// How long a connection may be idle, or take for a head.
const IDLE: Duration = Duration::from_secs(300);

/// Most that is read or written at once: more than the longest head. The system's allocator keeps what was once used for
/// larger pieces.
const READ_AT_ONCE: usize = HEAD_LIMIT + 8 * 1024;

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
        let further = settings.further.into_iter().filter(|further| further.origin.is_https());
        let further: Vec<_> = further.filter(|further| further.origin != settings.upstream).collect();
        let needs_tls = settings.upstream.is_https() || !further.is_empty();
        let trusted = trust(needs_tls, settings.ca_file.as_deref())?;
        let road = Road::new(&trusted, proxy.as_ref(), &settings.no_proxy)?;
        let rules = |upstream, header, further, paths| Rules {
            port,
            upstream,
            further,
            key: identity.key().clone(),
            header,
            paths,
        };
        let origins = further.iter().map(|further| further.origin.clone()).collect();
        let of_rally = rules(settings.upstream, TokenHeader::RALLYS, origins, settings.paths);
        let rally = Place::new(of_rally, true, &identity, &trusted, &road)?;
        let of_further = further.into_iter().map(|Further { origin, header }| {
            // Nothing is known of its paths.
            rules(origin, header, Vec::new(), vec!["/".to_owned()])
        });
        let further = of_further.map(|rules| Place::new(rules, false, &identity, &trusted, &road));
        let further = further.collect::<Result<_, _>>()?;
        let tally = Arc::new(Tally::default());
        let server = Arc::new(Server {
            ways: settings.ways,
            own_tls: tls(&identity, Names::Own)?,
            road,
            forward: Forward {
                name: settings.name.into(),
                rally: Arc::clone(&rally.to),
                tokens,
                patience: settings.patience,
                share: settings.share,
                verdicts: Mutex::default(),
                tally: Arc::clone(&tally),
            },
            rally,
            further,
            tally: Arc::clone(&tally),
            audit: settings.audit,
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
        self.tally.counts().clone()
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
    ways: Ways,
    own_tls: Arc<ServerConfig>,
    /// The way to servers that it does not answer for.
    road: Road,
    forward: Forward,
    rally: Arc<Place>,
    /// The other servers whose tunnels end here.
    further: Vec<Arc<Place>>,
    tally: Arc<Tally>,
    audit: Audit,
}

/// A server that a gateway answers for: whom it lets in, and where it passes them on.
struct Place {
    rules: Rules,
    /// For tunnels to it.
    tls: Arc<ServerConfig>,
    to: Arc<Destination>,
}

impl Place {
    fn new(
        rules: Rules,
        is_rally: bool,
        identity: &Identity,
        trusted: &ClientConfig,
        road: &Road,
    ) -> Result<Arc<Self>, Fault> {
        let upstream = Upstream::new(&rules.upstream, trusted.clone(), road.clone())?;
        let to = Arc::new(Destination { upstream, header: rules.header.clone(), is_rally });
        let tls = tls(identity, Names::Server(rules.upstream.host().to_owned()))?;
        Ok(Arc::new(Self { rules, tls, to }))
    }
}

fn tls(identity: &Identity, names: Names) -> Result<Arc<ServerConfig>, Fault> {
    identity.authority().tls(names).map(Arc::new).map_err(|error| {
        Fault::new(FaultKind::TlsFailed, "no certificate for the gateway").why(error.to_string())
    })
}

async fn accept(listener: tokio::net::TcpListener, server: Arc<Server>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            // A slot is free only once its connection is gone.
            accepted = listener.accept(), if connections.len() < MOST_CONNECTIONS => match accepted {
                Ok((stream, peer)) if is_ours(peer, &stream) => {
                    connections.spawn(connect(Arc::clone(&server), stream));
                }
                Ok(_) => {
                    server.tally.counts().refused += 1;
                    server.tally.failed("Another User Connected");
                }
                // The tool has left already, or the system has no room for it now.
                Err(_) => tokio::time::sleep(REST).await,
            },
            Some(_) = connections.join_next() => (),
        }
    }
}

/// Whether a connection is from a program of this user, or of root, which can read any key; also where that cannot be
/// told, since the local key is asked for anyway.
fn is_ours(peer: SocketAddr, stream: &TcpStream) -> bool {
    !stream.local_addr().is_ok_and(|own| Neighbour::find(peer, own).stranger().is_some())
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
    let ending = Ending::default();
    let socket = Socket { stream, ending: ending.clone() };
    let place = Arc::clone(&server.rally);
    if first != [TLS_HANDSHAKE] {
        serve(server, place, Way::Http, ending, socket).await;
    } else if server.ways.https
        && let Some(stream) = shake_hands(&server.own_tls, socket).await
    {
        serve(server, place, Way::Https, ending, stream).await;
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
    /// Nothing: a tunnel, or another protocol, was asked for and not granted.
    Nowhere,
    /// A tunnel to a server that it answers for.
    Own(Arc<Place>),
    /// A tunnel to another server.
    Far(Box<TokioIo<Wire>>),
}

/// Where a connection is told what becomes of it.
struct Handover {
    /// To the guard, which lets nothing pass behind a CONNECT before that.
    verdict: Verdict,
    /// Once anything but a plain request has come. The HTTP library then leaves the connection open behind its last
    /// answer, for whoever goes on with it.
    onward: Mutex<Option<(OnUpgrade, Onward)>>,
}

impl Handover {
    fn asked(&self, upgrade: OnUpgrade) {
        *self.onward() = Some((upgrade, Onward::Nowhere));
    }

    /// The last answer of a connection of requests.
    fn to(&self, onward: Onward) -> Answer {
        self.verdict.tunnel();
        if let Some((_, place)) = &mut *self.onward() {
            *place = onward;
        }
        Response::new(Empty::new().map_err(|never| match never {}).boxed_unsync())
    }

    fn onward(&self) -> MutexGuard<'_, Option<(OnUpgrade, Onward)>> {
        unpoisoned(&self.onward)
    }
}

/// Answers the requests of a connection, and then of what is in its tunnel.
fn serve<IO>(
    server: Arc<Server>,
    place: Arc<Place>,
    way: Way,
    ending: Ending,
    io: IO,
) -> Pin<Box<dyn Future<Output = ()> + Send>>
where
    IO: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    Box::pin(async move {
        let io = Guarded::new(io);
        let handover = Handover { verdict: io.verdict(), onward: Mutex::new(None) };
        let service = service_fn(|request| async {
            Ok::<_, Infallible>(server.answer(&place, way, request, &ending, &handover).await)
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(IDLE)
            .max_buf_size(READ_AT_ONCE)
            .serve_connection(TokioIo::new(io), service)
            .with_upgrades();
        // A connection that breaks is the tool's affair; it has seen it.
        let _ = connection.await;
        let onward = handover.onward.into_inner().unwrap_or_else(PoisonError::into_inner);
        let Some((upgrade, onward)) = onward else { return };
        let Ok(near) = upgrade.await else { return };
        match onward {
            Onward::Nowhere => {
                // A tool that still sends reads its last answer after that. It may have left.
                let _ = TokioIo::new(near).shutdown().await;
            }
            Onward::Own(place) => {
                if let Some(stream) = shake_hands(&place.tls, TokioIo::new(near)).await {
                    serve(server, place, Way::Tunnel, ending, stream).await;
                }
            }
            Onward::Far(far) => tunnel::join(near, far, &ending, &server.tally).await,
        }
    })
}

impl Server {
    async fn answer(
        &self,
        place: &Place,
        way: Way,
        mut request: Request<Incoming>,
        ending: &Ending,
        handover: &Handover,
    ) -> Answer {
        let is_connect = request.method() == Method::CONNECT;
        if is_connect || request.headers().contains_key(UPGRADE) {
            handover.asked(hyper::upgrade::on(&mut request));
        }
        let (head, body) = request.into_parts();
        let mut answered = Answered::of(&head);
        let outcome = match self.admit(&place.rules, way, &head) {
            Err(trouble) => {
                self.tally.counts().refused += 1;
                Err(if body.is_end_stream() { trouble } else { trouble.closing() })
            }
            Ok(admitted) => {
                self.tally.counts().requests += 1;
                match admitted {
                    Admitted::Request => self.forward.pass_on(&place.to, way, head, body, ending).await,
                    Admitted::OwnTunnel(origin) => match self.place(&origin) {
                        Some(place) => Ok(handover.to(Onward::Own(Arc::clone(place)))),
                        None => Err(Refusal::NoTunnel.into()),
                    },
                    Admitted::Tunnel { host, port } => {
                        self.tally.counts().tunnels += 1;
                        let far = self.road.connect(&host, port).await;
                        far.map(|far| handover.to(Onward::Far(Box::new(far))))
                    }
                }
            }
        };
        let answer = outcome.unwrap_or_else(|trouble| {
            if is_connect {
                handover.verdict.no_tunnel();
            }
            self.tally.failed(&trouble.reason);
            trouble.into_answer()
        });
        answered.status = answer.status().as_u16();
        self.audit.tell(answered);
        answer
    }

    /// The one that is exactly this server.
    fn place(&self, origin: &Origin) -> Option<&Arc<Place>> {
        iter::once(&self.rally).chain(&self.further).find(|place| place.rules.upstream == *origin)
    }

    fn admit(
        &self,
        rules: &Rules,
        way: Way,
        head: &hyper::http::request::Parts,
    ) -> Result<Admitted, Trouble> {
        if let Some(malformed) = Malformed::of(head) {
            return Err(malformed.into());
        }
        let admitted = admit(rules, way, head)?;
        if head.method == Method::TRACE {
            return Err(Trouble::echo());
        }
        let is_open = match (&admitted, way) {
            (Admitted::Request, Way::Http) => self.ways.http,
            (Admitted::Request, Way::Https) => self.ways.https,
            (Admitted::Request, Way::Tunnel) | (Admitted::OwnTunnel(_) | Admitted::Tunnel { .. }, _) => {
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
