//! Serves the connections on the redirect port within bounds, so that junk cannot keep the redirect out.
//! Does not: open the port, or judge a request (`request` does).
//! Used by: `listener`, which owns the sockets and passes on what arrives.

use std::{
    collections::VecDeque,
    convert::Infallible,
    future::poll_fn,
    io,
    net::SocketAddr,
    pin::pin,
    sync::{Arc, OnceLock, Weak},
    task::Poll,
    time::Duration,
};

use hyper::{Request, body::Incoming, http::request::Parts, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy, sink},
    net::{TcpListener, TcpStream},
    sync::{mpsc, oneshot},
    task::{self, AbortHandle},
    time::{sleep, timeout},
};

use super::{
    pages::{self, Answer},
    request::{self, Hosts, Refusal},
};
use crate::episode::Episode;
use rally_cred_core::{
    event::Page,
    redirect::{Expected, Redirect, Target},
};
use rally_cred_proto::neighbour::Neighbour;

/// Accepts connections until the owner of the sockets is dropped, or this is aborted.
pub(super) async fn accept_all(sockets: Weak<[TcpListener]>, redirects: Arc<Redirects>) {
    let mut connections = Connections { connections: VecDeque::new(), redirects };
    let mut turn = 0_usize;
    let mut refused = Episode::default();
    while let Some(accepted) = accept(&sockets, turn).await {
        turn = turn.wrapping_add(1);
        match accepted {
            Ok(stream) => {
                if let Some(times) = refused.over() {
                    tracing::warn!(flow = "accept_failed", times, "it is over");
                }
                connections.admit(stream);
            }
            Err(err) => {
                if refused.happened(&err.to_string()) {
                    tracing::warn!(flow = "accept_failed", why = %err);
                }
                sleep(ACCEPT_PAUSE).await;
            }
        }
        // A request that is here already is read before the next connection can push it out.
        task::yield_now().await;
    }
}

/// Pause after the system refused a connection, for example because it is out of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The next connection on any address; `None` once the listener is dropped.
async fn accept(sockets: &Weak<[TcpListener]>, turn: usize) -> Option<io::Result<TcpStream>> {
    poll_fn(|cx| {
        let Some(sockets) = sockets.upgrade() else { return Poll::Ready(None) };
        // The addresses take turns, so that a flood on one does not block the other.
        let first = turn.checked_rem(sockets.len()).unwrap_or_default();
        for socket in sockets.iter().cycle().skip(first).take(sockets.len()) {
            if let Poll::Ready(accepted) = socket.poll_accept(cx) {
                return Poll::Ready(Some(accepted.map(|(stream, _)| stream)));
            }
        }
        Poll::Pending
    })
    .await
}

struct Connections {
    connections: VecDeque<AbortHandle>,
    redirects: Arc<Redirects>,
}

impl Connections {
    /// Admits a connection. If there are too many, the oldest goes: a browser sends its request at once, so the oldest
    /// is the least likely to be one.
    fn admit(&mut self, stream: TcpStream) {
        self.connections.retain(|connection| !connection.is_finished());
        if self.connections.len() >= self.redirects.limits.connections {
            let oldest =
                self.connections.iter().position(|connection| !self.redirects.is_taken_by(connection));
            if let Some(connection) = oldest.and_then(|at| self.connections.remove(at)) {
                connection.abort();
            }
        }
        self.connections.push_back(tokio::spawn(serve(stream, Arc::clone(&self.redirects))).abort_handle());
    }
}

impl Drop for Connections {
    fn drop(&mut self) {
        for connection in self.connections.iter().filter(|connection| !self.redirects.is_taken_by(connection))
        {
            connection.abort();
        }
    }
}

/// Serves one connection for one request.
async fn serve(stream: TcpStream, redirects: Arc<Redirects>) {
    let headers = redirects.limits.headers;
    let Ok(ends) = stream.peer_addr().and_then(|peer| Ok((peer, stream.local_addr()?))) else { return };
    let service = service_fn(move |request| Box::pin(answer(request, ends, Arc::clone(&redirects))));
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(headers)
        .keep_alive(false)
        .max_buf_size(LARGEST_HEAD)
        .serve_connection(TokioIo::new(stream), service);
    // Hyper answers what is not HTTP (400) or too large (431); its errors need no more.
    let _ = poll_fn(|cx| connection.poll_without_shutdown(cx)).await;
    let mut stream = connection.into_parts().io.into_inner();
    // A connection closed with unread input is reset, and the sender may lose the answer: read it to its end first.
    let rest = pin!(async {
        stream.shutdown().await?;
        copy(&mut stream.take(LARGEST_REST), &mut sink()).await
    });
    let _ = timeout(headers, rest).await;
}

/// Largest request head. Cookies ignore ports, so a browser sends `localhost` those of every program ever developed on
/// this machine: 16 KiB, the limit of common servers, is known to be too little.
const LARGEST_HEAD: usize = 64 * 1024;

/// How much of a request is read and discarded after its answer.
const LARGEST_REST: u64 = 4 * 1024 * 1024;

async fn answer(
    request: Request<Incoming>,
    ends: (SocketAddr, SocketAddr),
    redirects: Arc<Redirects>,
) -> Result<Answer, Infallible> {
    let (request, _) = request.into_parts();
    Ok(redirects.answer(&request, ends).await)
}

/// The browser came back with the redirect.
#[derive(Debug)]
pub struct Arrival {
    /// What Rally answered.
    pub redirect: Redirect,
    /// Takes the page that the browser waits for, for about a minute; after that, or dropped, it gets a neutral one.
    pub page: oneshot::Sender<Page>,
}

/// What the connections share: the redirect that is expected, and whether it came.
pub(super) struct Redirects {
    expected: Expected,
    hosts: Hosts,
    limits: Limits,
    /// Set by the first valid redirect to the task of its connection.
    taken: OnceLock<Option<task::Id>>,
    /// The one-time addresses, each set by its first request.
    started: Vec<OnceLock<()>>,
    arrivals: mpsc::Sender<Arrival>,
}

impl Redirects {
    pub(super) fn new(
        expected: Expected,
        hosts: Hosts,
        limits: Limits,
        arrivals: mpsc::Sender<Arrival>,
    ) -> Arc<Self> {
        let started = expected.start.words.iter().map(|_| OnceLock::new()).collect();
        Arc::new(Self { expected, hosts, limits, taken: OnceLock::new(), started, arrivals })
    }

    async fn answer(&self, request: &Parts, ends: (SocketAddr, SocketAddr)) -> Answer {
        let outcome = match request::read(request, &self.hosts, &self.expected) {
            // Not sooner: the kernel's table is long while somebody floods the port.
            Ok(target) => from_this_user(ends).and_then(|()| match target {
                Target::Start(number) => self.start(number).map(Err),
                Target::Redirect(redirect) => self.take(redirect).map(Ok),
            }),
            Err(refusal) => Err(refusal),
        };
        match outcome {
            Ok(Ok(mut page)) => match timeout(self.limits.silence, &mut page).await {
                Ok(page) => pages::outcome(page.ok()),
                Err(_) => pages::slow_outcome(timeout(self.limits.page, page)),
            },
            Ok(Err(leads_to_rally)) => leads_to_rally,
            Err(refusal) => {
                if let Refusal::AnotherUser(uid) = refusal {
                    tracing::warn!(
                        flow = "another_user",
                        uid,
                        "refused another user's request for a sign-in"
                    );
                }
                tracing::debug!(flow = "request_refused", status = refusal.status().as_u16(), why = %refusal);
                pages::refusal(refusal)
            }
        }
    }

    /// Uses a one-time address up; returns what leads the browser to Rally.
    fn start(&self, number: usize) -> Result<Answer, Refusal> {
        let started = self.started.get(number).ok_or(Refusal::StartUsed)?;
        started.set(()).map_err(|()| Refusal::StartUsed)?;
        Ok(pages::leading_to(self.expected.start.leads_to.expose()))
    }

    /// Passes the redirect on, if it is the first; returns where its page will come from.
    fn take(&self, redirect: Redirect) -> Result<oneshot::Receiver<Page>, Refusal> {
        self.taken.set(task::try_id()).map_err(|_| Refusal::Used)?;
        let (page, answered) = oneshot::channel();
        // Fails only once the listener is dropped; the browser then gets the neutral page.
        let _ = self.arrivals.try_send(Arrival { redirect, page });
        Ok(answered)
    }

    fn is_taken_by(&self, connection: &AbortHandle) -> bool {
        self.taken.get() == Some(&Some(connection.id()))
    }
}

/// Refuses a request of another user, who may know a one-time address or the state from a program's arguments. A program
/// that is gone before it was answered is no browser, and may be anybody's.
fn from_this_user((peer, own): (SocketAddr, SocketAddr)) -> Result<(), Refusal> {
    let neighbour = Neighbour::find(peer, own);
    match neighbour.stranger() {
        Some(uid) => Err(Refusal::AnotherUser(uid)),
        None if neighbour == Neighbour::Gone => Err(Refusal::Gone),
        None => Ok(()),
    }
}

/// Bounds that keep junk from delaying the redirect.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Time for a connection to send its headers, and to close after its answer.
    pub(super) headers: Duration,
    /// How long a browser waits for its page before it is told that Rally is slow.
    pub(super) silence: Duration,
    /// How long after that it is told that the outcome is unknown.
    pub(super) page: Duration,
    pub(super) connections: usize,
}

/// Rally has 20 seconds to issue a token and 20 to say whose it is, so after a minute there is no outcome.
pub(super) const LIMITS: Limits = Limits {
    headers: Duration::from_secs(5),
    silence: Duration::from_secs(2),
    page: Duration::from_secs(58),
    connections: 64,
};
