//! The body of an answer on the redirect port: in one piece, or in two, the second as soon as it is known.
//! Does not: know what a page says.
//! Used by: `pages`.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use hyper::body::{Body, Bytes, Frame, SizeHint};

/// A page in one or two pieces on one connection. A page without scripts cannot ask again; and by then the port may be
/// closed, while this connection stays.
pub(super) struct Content {
    now: Option<Bytes>,
    later: Option<Pin<Box<dyn Future<Output = Bytes> + Send>>>,
}

impl Content {
    pub(super) fn whole(page: String) -> Self {
        Self { now: Some(page.into()), later: None }
    }

    pub(super) fn begun(page: String, rest: impl Future<Output = String> + Send + 'static) -> Self {
        Self { now: Some(page.into()), later: Some(Box::pin(async { rest.await.into() })) }
    }
}

impl Body for Content {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if let Some(now) = self.now.take() {
            return Poll::Ready(Some(Ok(Frame::data(now))));
        }
        let Some(later) = &mut self.later else { return Poll::Ready(None) };
        let Poll::Ready(rest) = later.as_mut().poll(cx) else { return Poll::Pending };
        self.later = None;
        Poll::Ready(Some(Ok(Frame::data(rest))))
    }

    fn is_end_stream(&self) -> bool {
        self.now.is_none() && self.later.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        match (&self.now, &self.later) {
            (now, None) => SizeHint::with_exact(now.as_ref().map_or(0, Bytes::len) as u64),
            (_, Some(_)) => SizeHint::default(),
        }
    }
}
