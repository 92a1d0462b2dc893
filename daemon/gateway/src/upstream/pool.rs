//! Connections to Rally that are kept for the next request: one of HTTP/1.1 for each request at a time, or one of HTTP/2
//! for all.
//! Does not: find the way to Rally (`upstream` does), or send anything again that was begun.
//! Used by: `upstream`.

use std::{
    collections::VecDeque,
    future::poll_fn,
    pin::{Pin, pin},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use hyper::{
    Request, Response, Uri,
    body::{Body, Bytes, Frame, Incoming, SizeHint},
    client::conn::{TrySendError, http1, http2},
    header::{HOST, HeaderValue},
    http::uri::PathAndQuery,
};
use hyper_rustls::{HttpsConnector, MaybeHttpsStream};
use hyper_util::{
    client::legacy::connect::Connection as _,
    rt::{TokioExecutor, TokioTimer},
};
use rally_cred_proto::{Origin, unpoisoned};
use tokio::{
    task::coop,
    time::{Instant, sleep, timeout},
};
use tower_service::Service;

use crate::{
    replay::{Attempt, longer},
    trouble::BoxError,
    upstream::{ALIVE_EVERY, READY_IN, Road, Wire},
};

/// How long a connection is kept for the next request. Rally's load balancers close theirs after a minute or more.
const KEEP_IDLE: Duration = Duration::from_secs(55);

/// Most bytes of one answer that are taken in before the tool reads them, where many share a connection.
const STREAM_WINDOW: u32 = 256 * 1024;

/// More answers than there are at once, so that tools which do not read hold up nobody else.
const MOST_STREAMS: u32 = 16;

/// Most that is read at once where each answer has its connection, and longest head. The system's allocator keeps what
/// was once used for larger pieces.
const READ_AT_ONCE: usize = 64 * 1024;

/// Most provisional answers (1xx) before the answer itself; a server that sends more is about to send them without end.
pub(crate) const MOST_PROMISES: usize = 100;

/// Most pieces of a body that are taken in ahead.
const MOST_AHEAD: usize = 4;

/// Kept connections to one server.
pub(crate) struct Pool {
    connector: HttpsConnector<Road>,
    to: Uri,
    host: HeaderValue,
    kept: Arc<Mutex<Kept>>,
}

#[derive(Default)]
struct Kept {
    /// Since when each is idle.
    singles: Vec<(Instant, Single)>,
    /// When it was last used.
    shared: Option<(Instant, http2::SendRequest<Attempt>)>,
    /// Singles that are in use.
    in_use: usize,
    is_swept: bool,
}

/// Why a request got no answer.
#[derive(Debug)]
pub(crate) enum NoAnswer {
    /// There is no connection.
    Unreachable(BoxError),
    /// There is none in time.
    Silent,
    /// It ended.
    BrokenOff(hyper::Error),
    /// It brings one promise of an answer after the other.
    Endless,
}

/// A connection for a request.
enum Link {
    Single(Single),
    Shared(http2::SendRequest<Attempt>),
}

type Connection = http1::Connection<MaybeHttpsStream<Wire>, Attempt>;

/// A connection of HTTP/1.1. Whoever has it drives it in their own task: to hand each piece from one task to another costs
/// as much as all else that is done with a small answer.
struct Single {
    sender: http1::SendRequest<Attempt>,
    /// `None` once it has ended.
    connection: Option<Pin<Box<Connection>>>,
}

/// The place of a connection that is in use, to which it is given back if another request can be sent by it.
struct InUse {
    /// `None` before the answer, and where another task drives it to its end.
    single: Option<Single>,
    kept: Arc<Mutex<Kept>>,
}

/// The body of an answer, which comes as it is read.
pub(crate) struct Inflow {
    /// What was taken in before it was asked for.
    ahead: VecDeque<Result<Frame<Bytes>, hyper::Error>>,
    body: Incoming,
    /// After the body: what is left of that is dealt with before the connection is given back.
    by: Option<InUse>,
}

impl Pool {
    /// For a server. An error if its name fits no URI.
    pub(crate) fn new(connector: HttpsConnector<Road>, origin: &Origin) -> Result<Self, BoxError> {
        let to: Uri = origin.to_string().parse()?;
        let host = to.authority().map_or("", |authority| authority.as_str()).parse()?;
        Ok(Self { connector, to, host, kept: Arc::default() })
    }

    /// Sends a request for a path, and gives the answer once its head is there. A connection that ends before the request
    /// is begun, as one does that the other side closed while it was idle, is followed by another.
    pub(crate) async fn send(&self, mut request: Request<Attempt>) -> Result<Response<Inflow>, NoAnswer> {
        loop {
            let kept = poll_fn(|context| Poll::Ready(self.take(context))).await;
            let is_new = kept.is_none();
            let link = match kept {
                Some(link) => link,
                None => timeout(READY_IN, self.connect()).await.unwrap_or(Err(NoAnswer::Silent))?,
            };
            self.sweep();
            let sent = match link {
                Link::Single(single) => {
                    let sent = single.send(self.origin_form(request), self.in_use()).await;
                    sent.ok_or(NoAnswer::Endless)?
                }
                Link::Shared(mut sender) => {
                    let answer = sender.try_send_request(self.absolute_form(request)).await;
                    if answer.as_ref().is_err_and(|error| error.message().is_some()) {
                        unpoisoned(&self.kept).shared = None;
                    }
                    answer.map(|answer| answer.map(|body| Inflow::new(body, None)))
                }
            };
            match sent {
                Ok(answer) => return Ok(answer),
                Err(mut error) => match error.take_message().filter(|_| !is_new) {
                    Some(again) => request = again,
                    None => return Err(NoAnswer::BrokenOff(error.into_error())),
                },
            }
        }
    }

    /// A connection that is kept and still there.
    fn take(&self, context: &mut Context<'_>) -> Option<Link> {
        let mut kept = unpoisoned(&self.kept);
        kept.drop_old();
        if let Some((used, sender)) = &mut kept.shared {
            if !sender.is_closed() {
                *used = Instant::now();
                return Some(Link::Shared(sender.clone()));
            }
            kept.shared = None;
        }
        while let Some((_, mut single)) = kept.singles.pop() {
            single.drive(context);
            if single.is_idle() {
                return Some(Link::Single(single));
            }
        }
        None
    }

    fn in_use(&self) -> InUse {
        unpoisoned(&self.kept).in_use += 1;
        InUse { single: None, kept: Arc::clone(&self.kept) }
    }

    async fn connect(&self) -> Result<Link, NoAnswer> {
        let wire = self.connector.clone().call(self.to.clone()).await.map_err(NoAnswer::Unreachable)?;
        if wire.connected().is_negotiated_h2() {
            let (sender, connection) = http2::Builder::new(TokioExecutor::new())
                .timer(TokioTimer::new())
                .keep_alive_interval(ALIVE_EVERY)
                .initial_stream_window_size(STREAM_WINDOW)
                .initial_connection_window_size(STREAM_WINDOW * MOST_STREAMS)
                .handshake(wire)
                .await
                .map_err(NoAnswer::BrokenOff)?;
            // Whoever waits for an answer hears of its end.
            tokio::spawn(connection);
            unpoisoned(&self.kept).shared = Some((Instant::now(), sender.clone()));
            return Ok(Link::Shared(sender));
        }
        let (sender, connection) = http1::Builder::new()
            .max_buf_size(READ_AT_ONCE)
            .handshake(wire)
            .await
            .map_err(NoAnswer::BrokenOff)?;
        Ok(Link::Single(Single { sender, connection: Some(Box::pin(connection)) }))
    }

    /// Has connections closed that nobody uses any more.
    fn sweep(&self) {
        if std::mem::replace(&mut unpoisoned(&self.kept).is_swept, true) {
            return;
        }
        let kept = Arc::downgrade(&self.kept);
        tokio::spawn(async move {
            loop {
                sleep(KEEP_IDLE).await;
                let Some(kept) = kept.upgrade() else { return };
                let mut kept = unpoisoned(&kept);
                kept.drop_old();
                if kept.singles.is_empty() && kept.shared.is_none() && kept.in_use == 0 {
                    kept.is_swept = false;
                    return;
                }
            }
        });
    }

    /// As HTTP/1.1 has it: a path, and the server in a header.
    fn origin_form(&self, mut request: Request<Attempt>) -> Request<Attempt> {
        request.headers_mut().insert(HOST, self.host.clone());
        *request.uri_mut() = path_of(&request).into();
        request
    }

    /// As HTTP/2 has it: all in one.
    fn absolute_form(&self, mut request: Request<Attempt>) -> Request<Attempt> {
        request.headers_mut().remove(HOST);
        let mut parts = self.to.clone().into_parts();
        parts.path_and_query = Some(path_of(&request));
        // What has a scheme, an authority and a path is a URI.
        *request.uri_mut() = Uri::from_parts(parts).unwrap_or_default();
        request
    }
}

fn path_of(request: &Request<Attempt>) -> PathAndQuery {
    request.uri().path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"))
}

impl Kept {
    fn drop_old(&mut self) {
        let now = Instant::now();
        self.singles.retain(|(since, _)| now.duration_since(*since) < KEEP_IDLE);
        self.shared.take_if(|(used, _)| now.duration_since(*used) >= KEEP_IDLE);
    }
}

impl Single {
    fn drive(&mut self, context: &mut Context<'_>) {
        if let Some(connection) = &mut self.connection
            && connection.as_mut().poll(context).is_ready()
        {
            // Who waits for an answer hears of the end, and why; a request that was not begun is given back.
            self.connection = None;
        }
    }

    fn is_idle(&self) -> bool {
        self.connection.is_some() && self.sender.is_ready()
    }

    /// `None` if there are too many promises.
    async fn send(
        mut self,
        mut request: Request<Attempt>,
        mut place: InUse,
    ) -> Option<Result<Response<Inflow>, TrySendError<Request<Attempt>>>> {
        let outgoing = request.body().outgoing();
        let promises = Promises::counted_of(&mut request);
        let mut answer = pin!(self.sender.try_send_request(request));
        let answer = poll_fn(|context| {
            self.drive(context);
            match answer.as_mut().poll(context) {
                Poll::Pending if promises.are_too_many() => Poll::Ready(None),
                answer => answer.map(Some),
            }
        })
        .await?;
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => return Some(Err(error)),
        };
        if outgoing.is_over() {
            place.single = Some(self);
        } else if let Some(connection) = self.connection {
            // A tool that sends on while it gets an answer may read none of that before it has sent all.
            tokio::spawn(connection);
        }
        Some(Ok(answer.map(|body| Inflow::new(body, Some(place)))))
    }
}

/// How many promises of an answer have come.
#[derive(Clone, Default)]
struct Promises(Arc<AtomicUsize>);

impl Promises {
    fn counted_of(request: &mut Request<Attempt>) -> Self {
        let promises = Self::default();
        let counted = promises.clone();
        hyper::ext::on_informational(request, move |_| {
            counted.0.fetch_add(1, Ordering::Relaxed);
            if counted.are_too_many() {
                end_turn();
            }
        });
        promises
    }

    fn are_too_many(&self) -> bool {
        self.0.load(Ordering::Relaxed) > MOST_PROMISES
    }
}

/// Has the connection read no more in this turn of its task: it would go on for as long as something comes.
fn end_turn() {
    // More than a turn has; one that has no limit is not ended.
    for _ in 0..1024 {
        match coop::poll_proceed(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(unit) => unit.made_progress(),
            Poll::Pending => return,
        }
    }
}

impl Drop for InUse {
    fn drop(&mut self) {
        let single = self.single.take().and_then(|mut single| {
            single.drive(&mut Context::from_waker(Waker::noop()));
            single.is_idle().then_some(single)
        });
        let mut kept = unpoisoned(&self.kept);
        kept.in_use -= 1;
        kept.singles.extend(single.map(|single| (Instant::now(), single)));
    }
}

impl Inflow {
    fn new(body: Incoming, by: Option<InUse>) -> Self {
        Self { ahead: VecDeque::new(), body, by }
    }

    /// Takes in what is at hand of a short body that will not be read at once, so that its connection is free again.
    pub(crate) async fn take_in(&mut self) {
        poll_fn(|context| {
            while self.ahead.len() < MOST_AHEAD {
                match self.poll_next(context) {
                    Poll::Ready(Some(frame)) => self.ahead.push_back(frame),
                    Poll::Ready(None) => {
                        self.by = None;
                        break;
                    }
                    Poll::Pending => break,
                }
            }
            Poll::Ready(())
        })
        .await;
    }

    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(context);
        match self.by.as_mut().and_then(|by| by.single.as_mut()) {
            Some(single) if frame.is_pending() => {
                single.drive(context);
                Pin::new(&mut self.body).poll_frame(context)
            }
            _ => frame,
        }
    }
}

impl Body for Inflow {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match self.ahead.pop_front() {
            Some(frame) => Poll::Ready(Some(frame)),
            None => self.poll_next(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.ahead.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let ahead = self.ahead.iter().flatten().filter_map(Frame::data_ref);
        longer(&self.body.size_hint(), ahead.map(Bytes::len).sum())
    }
}
