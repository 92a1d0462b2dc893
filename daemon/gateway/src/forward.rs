//! One request to Rally, or to a further server, and back: with a token in the place of the local key, and once more with another where Rally
//! refuses the first.
//! Does not: listen, or let a request in (`admit` does).
//! Used by: `server`.

use std::{
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, ready},
    time::Duration,
};

use http_body_util::{BodyExt, Empty};
use hyper::{
    HeaderMap, Method, Request, Response, StatusCode, Uri, Version,
    body::{Body, Bytes, Frame, Incoming, SizeHint},
    header::HOST,
    http::request::Parts,
};
use rally_cred_proto::{Fault, FaultKind, Secret, unpoisoned};

use crate::{
    admit::Way,
    counts::{Present, Tally},
    headers,
    queue::{Held, Share},
    refs::Rewriter,
    replay::{Attempt, Outgoing, Verdicts},
    socket::Ending,
    token_header::TokenHeader,
    tokens::Tokens,
    trouble::{Answer, BoxError, Trouble},
    upstream::{Inflow, Upstream},
};

/// A question that Rally answers to every token that is worth something.
const QUESTION: &str = "/slm/webservice/v2.0/user?fetch=ObjectID";

/// Rally, or another server that takes its tokens.
pub(crate) struct Destination {
    pub(crate) upstream: Upstream,
    pub(crate) header: TokenHeader,
    /// Whether it is Rally, which alone knows what a token is worth, and serves so many requests at once.
    pub(crate) is_rally: bool,
}

/// Passes requests on.
pub(crate) struct Forward {
    /// The gateway's.
    pub(crate) name: Arc<str>,
    pub(crate) rally: Arc<Destination>,
    pub(crate) tokens: Arc<dyn Tokens>,
    pub(crate) patience: Duration,
    pub(crate) share: Share,
    pub(crate) verdicts: Mutex<Verdicts>,
    pub(crate) tally: Arc<Tally>,
}

/// A request that can be sent again.
struct Prepared {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Outgoing,
}

impl Forward {
    /// Passes a request that was let in on to its server, and the answer back.
    pub(crate) async fn pass_on(
        &self,
        to: &Destination,
        way: Way,
        head: Parts,
        body: Incoming,
        ending: &Ending,
    ) -> Result<Answer, Trouble> {
        let Parts { method, uri, version, mut headers, .. } = head;
        let gateway = named(way, &headers);
        // What is to be rewritten must not come compressed.
        headers::to_rally(&mut headers, gateway.is_some());
        let body = Outgoing::new(body.map_err(Into::into).boxed_unsync(), Arc::clone(&self.tally));
        let request = Prepared { method, uri, headers, body };
        // Only Rally counts them, and another server's stream of events may last for days.
        let turn = if to.is_rally {
            let _waits = Present::new(&self.tally, |counts| &mut counts.waiting);
            let turn = self.share.turn(&self.name).await.map_err(Trouble::crowded);
            Some(turn.map_err(|trouble| if request.body.is_over() { trouble } else { trouble.closing() })?)
        } else {
            None
        };
        let active = Present::new(&self.tally, |counts| &mut counts.active);
        let answer = self.exchange(to, &request).await.map_err(|trouble| match request.body.malformed() {
            Some(malformed) => malformed.into(),
            None if request.body.is_over() => trouble,
            None => trouble.closing(),
        })?;
        if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
            return Err(Trouble::broken_off("it began to speak another protocol"));
        }
        let (mut head, body) = answer.into_parts();
        headers::to_tool(&mut head.headers);
        let mut rewriter = None;
        if let Some(gateway) = gateway {
            let rally = &to.upstream.origin;
            headers::redirect_to(&mut head.headers, rally, &gateway);
            if headers::may_have_refs(&head) {
                headers::forget_length(&mut head.headers);
                rewriter = (!body.is_end_stream()).then(|| Rewriter::new(rally, &gateway));
            }
        }
        head.version = Version::HTTP_11;
        let body = Streamed {
            body,
            rewriter,
            trailers: None,
            // Only there does an answer without a length end with its connection, as it does when that breaks.
            ending: (version == Version::HTTP_10).then(|| ending.clone()),
            tally: Arc::clone(&self.tally),
            _held: (turn, active),
        };
        Ok(Response::from_parts(head, body.boxed_unsync()))
    }

    /// The server's answer, from a second try if the first was refused. The first answer is kept until the second is there.
    async fn exchange(&self, to: &Destination, request: &Prepared) -> Result<Response<Inflow>, Trouble> {
        let token = {
            let _waits = Present::new(&self.tally, |counts| &mut counts.waiting);
            self.token().await.map_err(|fault| Trouble::no_token(&fault))?
        };
        let first = self.send(to, request, &token).await?;
        if first.status() != StatusCode::UNAUTHORIZED {
            return Ok(first);
        }
        request.body.pause();
        if !self.is_refused(to, &request.method, &token).await {
            request.body.resume();
            return Ok(first);
        }
        let token = {
            let _waits = Present::new(&self.tally, |counts| &mut counts.waiting);
            self.replace(&token).await.map_err(|fault| Trouble::no_token(&fault))?
        };
        self.tally.counts().renewals += 1;
        match self.send(to, request, &token).await {
            Ok(second) if second.status() == StatusCode::UNAUTHORIZED => {
                request.body.pause();
                self.ask_about(&token).await;
                request.body.resume();
                Ok(second)
            }
            Ok(second) => Ok(second),
            Err(trouble) if trouble.is_bad_gateway() => {
                self.tally.failed(&trouble.reason);
                Ok(first)
            }
            Err(trouble) => Err(trouble),
        }
    }

    /// Sends a request. One that changes nothing is sent again if its connection breaks before an answer, as one does
    /// that the other side closed while it was idle.
    async fn send(
        &self,
        to: &Destination,
        request: &Prepared,
        token: &Secret,
    ) -> Result<Response<Inflow>, Trouble> {
        let Some(attempt) = request.body.attempt() else { return Err(Trouble::sent_once()) };
        let mut outcome = self.send_once(to, request, attempt, token).await;
        if let Ok(answer) = &mut outcome
            && answer.status() == StatusCode::UNAUTHORIZED
        {
            // It waits for what Rally says of the token.
            answer.body_mut().take_in().await;
        }
        match outcome {
            Err(trouble)
                if trouble.is_broken_off() && matches!(request.method, Method::GET | Method::HEAD) =>
            {
                let Some(attempt) = request.body.attempt() else { return Err(trouble) };
                self.send_once(to, request, attempt, token).await
            }
            outcome => outcome,
        }
    }

    async fn send_once(
        &self,
        to: &Destination,
        request: &Prepared,
        attempt: Attempt,
        token: &Secret,
    ) -> Result<Response<Inflow>, Trouble> {
        let mut sent = Request::new(attempt);
        *sent.method_mut() = request.method.clone();
        *sent.uri_mut() = request.uri.clone();
        *sent.headers_mut() = request.headers.clone();
        let put = to.header.put(token, sent.headers_mut());
        put.map_err(|fault| Trouble::no_token(&fault))?;
        to.upstream.send(sent).await
    }

    /// A token that Rally has not refused.
    async fn token(&self) -> Result<Secret, Fault> {
        let token = self.tokens.token(self.patience).await?;
        let is_refused = self.verdicts().is_refused(&token);
        if is_refused { self.replace(&token).await } else { Ok(token) }
    }

    async fn replace(&self, refused: &Secret) -> Result<Secret, Fault> {
        let token = self.tokens.replace(refused, self.patience).await?;
        if self.verdicts().is_refused(&token) {
            return Err(Fault::new(
                FaultKind::TokenRefused,
                "Rally refuses the token, and there is no other",
            ));
        }
        Ok(token)
    }

    /// Whether a 401 of this server means that the token is worth nothing.
    async fn is_refused(&self, to: &Destination, method: &Method, token: &Secret) -> bool {
        let is_telling = to.is_rally && matches!(*method, Method::GET | Method::HEAD);
        let is_worthless = self.verdicts().is_worthless(is_telling, token);
        if !is_worthless {
            return self.ask_about(token).await;
        }
        self.verdicts().refuse(token);
        true
    }

    /// Asks Rally itself whether it refuses this token, and remembers the answer.
    async fn ask_about(&self, token: &Secret) -> bool {
        let body = Outgoing::new(
            Empty::new().map_err(|never| match never {}).boxed_unsync(),
            Arc::clone(&self.tally),
        );
        let uri = Uri::from_static(QUESTION);
        let question = Prepared { method: Method::GET, uri, headers: HeaderMap::new(), body };
        let is_taken =
            self.send(&self.rally, &question, token).await.is_ok_and(|answer| answer.status().is_success());
        if is_taken {
            self.verdicts().prove(token);
        } else {
            self.verdicts().refuse(token);
        }
        !is_taken
    }

    fn verdicts(&self) -> std::sync::MutexGuard<'_, Verdicts> {
        unpoisoned(&self.verdicts)
    }
}

/// The gateway as the tool has named it; `None` where the tool knows the server only.
fn named(way: Way, headers: &HeaderMap) -> Option<String> {
    let scheme = match way {
        Way::Http => "http",
        Way::Https => "https",
        Way::Tunnel => return None,
    };
    Some(format!("{scheme}://{}", headers.get(HOST)?.to_str().ok()?))
}

/// The body of an answer on its way to the tool.
struct Streamed {
    body: Inflow,
    rewriter: Option<Rewriter>,
    /// What comes after what the rewriter had kept.
    trailers: Option<HeaderMap>,
    ending: Option<Ending>,
    tally: Arc<Tally>,
    _held: (Option<Held>, Present),
}

impl Streamed {
    /// What goes on to the tool at this frame; `None` if it has to wait for the next.
    fn pass(&mut self, frame: Frame<Bytes>) -> Option<Frame<Bytes>> {
        match frame.into_data() {
            Ok(data) => {
                let data = match &mut self.rewriter {
                    Some(rewriter) => rewriter.push(&data).into(),
                    None => data,
                };
                (!data.is_empty()).then(|| self.data(data))
            }
            Err(frame) => match self.kept() {
                Some(kept) => {
                    self.trailers = frame.into_trailers().ok();
                    Some(kept)
                }
                None => Some(frame),
            },
        }
    }

    /// What the rewriter has kept, at the end of the body.
    fn kept(&mut self) -> Option<Frame<Bytes>> {
        let kept = self.rewriter.take().map(Rewriter::finish).filter(|kept| !kept.is_empty());
        kept.map(|kept| self.data(kept.into()))
    }

    fn data(&self, data: Bytes) -> Frame<Bytes> {
        self.tally.counts().down += data.len() as u64;
        Frame::data(data)
    }
}

impl Body for Streamed {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        loop {
            if let Some(trailers) = self.trailers.take() {
                return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
            }
            match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Ok(frame)) => {
                    if let Some(frame) = self.pass(frame) {
                        return Poll::Ready(Some(Ok(frame)));
                    }
                }
                Some(Err(error)) => {
                    self.tally.failed("Server Broke Off In Its Answer");
                    if let Some(ending) = &self.ending {
                        ending.breaks();
                    }
                    return Poll::Ready(Some(Err(error.into())));
                }
                None => return Poll::Ready(self.kept().map(Ok)),
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.rewriter.is_none() && self.trailers.is_none() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        if self.rewriter.is_some() { SizeHint::new() } else { self.body.size_hint() }
    }
}
