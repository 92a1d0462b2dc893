//! What a 401 means for the request that got it, and the body that is kept for a second try.
//! Does not: send, or renew a token.
//! Used by: `forward`.

use std::{
    mem,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard},
    task::{Context, Poll, Waker, ready},
};

use http_body_util::combinators::UnsyncBoxBody;
use hyper::{
    HeaderMap,
    body::{Body, Bytes, Frame, SizeHint},
};
use rally_cred_proto::{Secret, unpoisoned};

use crate::{counts::Tally, guard::Malformed, trouble::BoxError};

/// Most of a body that is held for a second try. Rally's API takes no more than a few hundred kB of JSON.
pub(crate) const LARGEST_HELD: usize = 1024 * 1024;

/// What Rally has said about tokens with 401, so that one which is refused is never sent again, and one which is fine is
/// not replaced for a path that is closed to its user.
#[derive(Debug, Default)]
pub(crate) struct Verdicts {
    refused: Option<Secret>,
    /// Refused for some request, and taken for another after that.
    proven: Option<Secret>,
}

impl Verdicts {
    /// Whether it is clear from a 401 that this token is worth nothing any more. `is_telling`: Rally answers the request to
    /// every token that is worth something. Only a GET tells that: a read-only key gets 401 for every write.
    pub(crate) fn is_worthless(&self, is_telling: bool, token: &Secret) -> bool {
        let is_proven = self.proven.as_ref().is_some_and(|proven| proven.matches(token));
        self.is_refused(token) || (is_telling && !is_proven)
    }

    /// Whether Rally has refused this token.
    pub(crate) fn is_refused(&self, token: &Secret) -> bool {
        self.refused.as_ref().is_some_and(|refused| refused.matches(token))
    }

    pub(crate) fn refuse(&mut self, token: &Secret) {
        self.refused = Some(token.clone());
    }

    pub(crate) fn prove(&mut self, token: &Secret) {
        self.proven = Some(token.clone());
    }
}

/// Where a body comes from.
pub(crate) type Source = UnsyncBoxBody<Bytes, BoxError>;

/// The body of a tool's request, sent while it comes in. Its beginning is held until that is too large, so that it can
/// be sent again, and the rest then goes on from the tool.
#[derive(Clone)]
pub(crate) struct Outgoing(Arc<Mutex<Held>>);

struct Held {
    source: Source,
    /// What has come in, while that is little enough.
    kept: Option<Vec<u8>>,
    trailers: Option<HeaderMap>,
    /// Nothing more comes in.
    is_over: bool,
    /// Why the guard let no more in.
    malformed: Option<Malformed>,
    /// The try that may read; earlier ones are abandoned.
    attempt: u32,
    is_paused: bool,
    /// The try that waits while the body is paused.
    waiting: Option<Waker>,
    tally: Arc<Tally>,
}

impl Outgoing {
    pub(crate) fn new(source: Source, tally: Arc<Tally>) -> Self {
        let is_over = source.is_end_stream();
        Self(Arc::new(Mutex::new(Held {
            source,
            kept: Some(Vec::new()),
            trailers: None,
            is_over,
            malformed: None,
            attempt: 0,
            is_paused: false,
            waiting: None,
            tally,
        })))
    }

    /// The body for another try, from its beginning; the try before it is abandoned. `None` if the beginning is not held
    /// any more.
    pub(crate) fn attempt(&self) -> Option<Attempt> {
        let mut held = self.lock();
        let begins_with = Bytes::copy_from_slice(held.kept.as_ref()?);
        held.attempt += 1;
        held.resume();
        Some(Attempt { body: self.clone(), number: held.attempt, begins_with, is_done: false })
    }

    /// Reads no more from the tool until the answer to what was sent so far is understood.
    pub(crate) fn pause(&self) {
        self.lock().is_paused = true;
    }

    /// Goes on with the try that was paused.
    pub(crate) fn resume(&self) {
        self.lock().resume();
    }

    /// Whether the tool has sent all of it.
    pub(crate) fn is_over(&self) -> bool {
        self.lock().is_over
    }

    /// Why the guard let no more of it in, if it did not.
    pub(crate) fn malformed(&self) -> Option<Malformed> {
        self.lock().malformed
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        unpoisoned(&self.0)
    }
}

impl Held {
    fn resume(&mut self) {
        self.is_paused = false;
        if let Some(waker) = self.waiting.take() {
            waker.wake();
        }
    }

    fn keep(&mut self, data: &Bytes) {
        self.tally.counts().up += data.len() as u64;
        self.kept =
            self.kept.take().filter(|kept| kept.len() + data.len() <= LARGEST_HELD).map(|mut kept| {
                kept.extend_from_slice(data);
                kept
            });
    }
}

/// One try to send a body.
pub(crate) struct Attempt {
    body: Outgoing,
    number: u32,
    /// What earlier tries have read.
    begins_with: Bytes,
    is_done: bool,
}

impl Attempt {
    /// The body that it sends.
    pub(crate) fn outgoing(&self) -> Outgoing {
        self.body.clone()
    }
}

impl Body for Attempt {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        let mut held = this.body.lock();
        if this.is_done {
            return Poll::Ready(None);
        }
        if held.attempt != this.number {
            return Poll::Ready(Some(Err("the request is sent anew".into())));
        }
        if !this.begins_with.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(mem::take(&mut this.begins_with)))));
        }
        if held.is_over {
            this.is_done = true;
            return Poll::Ready(held.trailers.clone().map(|trailers| Ok(Frame::trailers(trailers))));
        }
        // Whoever pauses the body, or abandons this try, wakes it.
        held.waiting = Some(cx.waker().clone());
        if held.is_paused {
            return Poll::Pending;
        }
        let frame = ready!(Pin::new(&mut held.source).poll_frame(cx));
        match &frame {
            Some(Ok(frame)) => match (frame.data_ref(), frame.trailers_ref()) {
                (Some(data), _) => {
                    let data = data.clone();
                    held.keep(&data);
                    held.is_over = held.source.is_end_stream();
                }
                (None, Some(trailers)) => {
                    held.trailers = Some(trailers.clone());
                    held.is_over = true;
                    this.is_done = true;
                }
                (None, None) => (),
            },
            // The tool has left or is not listened to any more, so there is nothing to send again.
            Some(Err(error)) => {
                held.kept = None;
                held.malformed = Malformed::in_error(error.as_ref());
            }
            None => {
                held.is_over = true;
                this.is_done = true;
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        let held = self.body.lock();
        self.is_done || (held.is_over && held.trailers.is_none() && self.begins_with.is_empty())
    }

    fn size_hint(&self) -> SizeHint {
        longer(&self.body.lock().source.size_hint(), self.begins_with.len())
    }
}

/// How long a body is behind so many bytes.
pub(crate) fn longer(rest: &SizeHint, ahead: usize) -> SizeHint {
    let mut hint = SizeHint::new();
    hint.set_lower(rest.lower() + ahead as u64);
    if let Some(upper) = rest.upper() {
        hint.set_upper(upper + ahead as u64);
    }
    hint
}
