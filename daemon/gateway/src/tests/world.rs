//! A gateway with a tool before it and a Rally behind it, both of which are raw connections, and the tokens that it gets.
//! Does not: say anything of HTTP by itself; the tests write what each side sends.
//! Used by: the tests beside it.

use std::{
    iter,
    net::{Ipv4Addr, TcpListener},
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use rally_cred_proto::{Fault, FaultKind, Origin, Secret};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    time::timeout,
};

use crate::{Audit, Gateway, Identity, Later, Settings, Share, Tokens, Ways};

/// How long a test waits for what must come; only one that fails waits so long.
pub(super) const SOON: Duration = Duration::from_secs(20);

/// The tokens of a profile: `token-1`, and after each renewal the next.
#[derive(Debug)]
pub(super) struct Purse {
    current: Mutex<u32>,
    /// How many there are before a person must sign in.
    pub(super) most: u32,
}

impl Purse {
    pub(super) fn renewals(&self) -> u32 {
        *self.current.lock().unwrap() - 1
    }

    fn numbered(number: u32) -> Secret {
        Secret::parse(format!("token-{number}")).unwrap()
    }

    fn sign_in_needed() -> Fault {
        Fault::new(FaultKind::SignInNeeded, "no sign-in for profile default").why("the grant was revoked")
    }
}

impl Tokens for Purse {
    fn token(&self, _patience: Duration) -> Later<'_, Result<Secret, Fault>> {
        Box::pin(async {
            let current = *self.current.lock().unwrap();
            if current > self.most { Err(Self::sign_in_needed()) } else { Ok(Self::numbered(current)) }
        })
    }

    fn replace(&self, refused: &Secret, _patience: Duration) -> Later<'_, Result<Secret, Fault>> {
        let refused = refused.clone();
        Box::pin(async move {
            let mut current = self.current.lock().unwrap();
            if Self::numbered(*current).matches(&refused) {
                *current += 1;
            }
            if *current > self.most { Err(Self::sign_in_needed()) } else { Ok(Self::numbered(*current)) }
        })
    }
}

/// A gateway, its Rally, and its tokens.
pub(super) struct World {
    pub(super) gateway: Gateway,
    pub(super) identity: Identity,
    pub(super) purse: Arc<Purse>,
    pub(super) rally: tokio::net::TcpListener,
}

impl World {
    /// A gateway to a Rally that speaks plain HTTP.
    pub(super) async fn open() -> Self {
        Self::with(10, |_| ()).await
    }

    /// A gateway with other settings, and so many tokens before a person must sign in.
    pub(super) async fn with(most: u32, change: impl FnOnce(&mut Settings)) -> Self {
        let rally = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let upstream = format!("http://{}", rally.local_addr().unwrap());
        Self::before(rally, &upstream, None, most, change).await
    }

    pub(super) async fn before(
        rally: tokio::net::TcpListener,
        upstream: &str,
        proxy: Option<&str>,
        most: u32,
        change: impl FnOnce(&mut Settings),
    ) -> Self {
        let upstream = Origin::from_uri(upstream).unwrap();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let purse = Arc::new(Purse { current: Mutex::new(1), most });
        let mut settings = Settings {
            name: "test".to_owned(),
            upstream,
            further: Vec::new(),
            ca_file: None,
            no_proxy: String::new(),
            ways: Ways { http: true, https: true, connect: true },
            paths: ["/slm/", "/analytics/", "/apps/"].map(str::to_owned).to_vec(),
            patience: Duration::from_secs(30),
            share: Share::default(),
            audit: Audit::to(|_| ()),
        };
        change(&mut settings);
        let further = settings.further.iter().map(|further| further.origin.host());
        let hosts: Vec<_> = iter::once(settings.upstream.host()).chain(further).collect();
        let identity = Identity::fresh(port, &hosts, SystemTime::now()).unwrap();
        let tokens = Arc::clone(&purse) as Arc<dyn Tokens>;
        let proxy = proxy.map(|proxy| Secret::parse(proxy.to_owned()).unwrap());
        let gateway = Gateway::open(listener, settings, identity.clone(), tokens, proxy).await.unwrap();
        Self { gateway, identity, purse, rally }
    }

    /// A connection of a tool, in whose texts `{host}` and `{key}` stand for the gateway's.
    pub(super) async fn tool(&self) -> Peer<TcpStream> {
        let host = format!("127.0.0.1:{}", self.identity.port());
        let stream = TcpStream::connect(&host).await.unwrap();
        Peer { stream, host, key: self.identity.key().secret().expose().to_owned() }
    }

    /// The next connection to Rally.
    pub(super) async fn rally(&self) -> Peer<TcpStream> {
        let (stream, _) = timeout(SOON, self.rally.accept()).await.expect("no connection to Rally").unwrap();
        Peer { stream, host: self.rally.local_addr().unwrap().to_string(), key: String::new() }
    }

    /// A tool that has asked for this (see [`Peer::ask`]), and the connection to Rally on which the head of that came.
    pub(super) async fn asked(&self, request: &str) -> (Peer<TcpStream>, Peer<TcpStream>) {
        let mut tool = self.tool().await;
        tool.ask(request).await;
        let mut rally = self.rally().await;
        rally.head().await;
        (tool, rally)
    }

    /// Waits until no byte of a body flows any more.
    pub(super) async fn stalled(&self) {
        let (mut flowed, mut still) = ((0, 0), 0);
        while still < 10_000 {
            tokio::task::yield_now().await;
            let counts = self.gateway.counts();
            still = if (counts.up, counts.down) == flowed { still + 1 } else { 0 };
            flowed = (counts.up, counts.down);
        }
    }

    /// Whether nobody has connected to Rally beside those who were let in.
    pub(super) async fn nobody_else_asked(&self) -> bool {
        timeout(Duration::ZERO, self.rally.accept()).await.is_err()
    }
}

/// An address that nobody listens at or can, as long as the socket is held.
pub(super) fn nobody() -> (TcpSocket, String) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let address = socket.local_addr().unwrap().to_string();
    (socket, address)
}

/// One end of a connection.
pub(super) struct Peer<IO> {
    pub(super) stream: IO,
    pub(super) host: String,
    pub(super) key: String,
}

/// How a connection ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum End {
    Closed,
    Reset,
}

impl<IO: AsyncRead + AsyncWrite + Unpin> Peer<IO> {
    /// Sends a text in which a line ends with `\n`.
    pub(super) async fn send(&mut self, text: &str) {
        let text = text.replace("{host}", &self.host).replace("{key}", &self.key).replace('\n', "\r\n");
        self.stream.write_all(text.as_bytes()).await.unwrap();
        self.stream.flush().await.unwrap();
    }

    /// The next head, its header lines in order of the alphabet, without the date.
    pub(super) async fn head(&mut self) -> String {
        let head = self.text_until("\r\n\r\n").await;
        let mut lines: Vec<_> =
            head.trim_end().split("\r\n").filter(|line| !line.starts_with("date: ")).collect();
        lines[1..].sort_unstable();
        lines.join("\n").replace(&self.host, "{host}")
    }

    /// All up to and with this.
    pub(super) async fn text_until(&mut self, end: &str) -> String {
        let mut read = Vec::new();
        while !read.ends_with(end.as_bytes()) {
            let byte = timeout(SOON, self.stream.read_u8()).await;
            let seen = String::from_utf8_lossy(&read);
            let byte = byte.unwrap_or_else(|_| panic!("no {end:?} after {seen:?}"));
            read.push(byte.unwrap_or_else(|error| panic!("{error} after {seen:?}")));
        }
        String::from_utf8(read).unwrap()
    }

    /// So many bytes.
    pub(super) async fn bytes(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        timeout(SOON, self.stream.read_exact(&mut bytes)).await.expect("too few bytes").unwrap();
        bytes
    }

    /// All that comes, and how it ends.
    pub(super) async fn rest(&mut self) -> (String, End) {
        let mut rest = Vec::new();
        let ended =
            timeout(SOON, self.stream.read_to_end(&mut rest)).await.expect("the connection stays open");
        let end = if ended.is_ok() { End::Closed } else { End::Reset };
        (String::from_utf8_lossy(&rest).into_owned(), end)
    }

    /// Reads a head of this status, and says it.
    pub(super) async fn hears(&mut self, status: &str) -> String {
        let head = self.head().await;
        assert!(head.starts_with(&format!("HTTP/1.1 {status}")), "{head}");
        head
    }

    /// Sends a request for its first line; further lines are headers, and the body behind an empty line.
    pub(super) async fn ask(&mut self, request: &str) {
        let (line, rest) = request.split_once('\n').unwrap_or((request, "\n"));
        self.send(&format!("{line} HTTP/1.1\nHost: {{host}}\nZSESSIONID: {{key}}\n{rest}")).await;
    }

    /// Sends an answer with a short body.
    pub(super) async fn answer(&mut self, status: &str, body: &str) {
        self.send(&format!("HTTP/1.1 {status}\nContent-Length: {}\n\n{body}", body.len())).await;
    }

    /// Sends this body, which the tool gets.
    pub(super) async fn serve(&mut self, tool: &mut Peer<impl AsyncRead + AsyncWrite + Unpin>, body: &str) {
        self.answer("200 OK", body).await;
        assert_eq!(tool.head().await, format!("HTTP/1.1 200 OK\ncontent-length: {}", body.len()));
        assert_eq!(tool.bytes(body.len()).await, body.as_bytes());
    }
}
