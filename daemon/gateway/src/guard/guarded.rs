//! A connection with a guard before it: what may pass is read from it, and what is refused is read as a request that
//! stands in its place, or as the end of a body.
//! Does not: decide (`Guard` does), or write anything of its own.
//! Used by: `server`.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    task::{Context, Poll, Waker, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Sleep, sleep},
};

use super::{Guard, malformed::Refused};

/// How long a connection that ended early takes in what its client still sends: one that sends all before it reads would
/// find its connection reset otherwise, and the answer gone.
const LINGER: Duration = Duration::from_secs(10);

/// How much is read at a time where a head has to be complete, and of what is not looked at.
const PIECE: usize = 8 * 1024;

/// A connection whose reading side passes through a [`Guard`].
pub(crate) struct Guarded<IO> {
    io: IO,
    guard: Guard,
    /// What was read and not handed on.
    held: Vec<u8>,
    /// How many of these may pass.
    passing: usize,
    /// A request was refused, or a body: nothing else is read.
    is_refused: bool,
    verdict: Verdict,
    /// Who waits for it.
    waiting: Option<Waker>,
    is_shut: bool,
    linger: Option<Pin<Box<Sleep>>>,
}

/// What became of a CONNECT: nothing after it is read until that is said.
#[derive(Clone, Default)]
pub(crate) struct Verdict(Arc<AtomicU8>);

impl Verdict {
    const TUNNEL: u8 = 1;
    const NO_TUNNEL: u8 = 2;

    /// It is answered with a tunnel: what follows passes as it is.
    pub(crate) fn tunnel(&self) {
        self.0.store(Self::TUNNEL, Ordering::Relaxed);
    }

    /// It is refused, and the connection kept: what follows is a request. To be said before the answer is given.
    pub(crate) fn no_tunnel(&self) {
        self.0.store(Self::NO_TUNNEL, Ordering::Relaxed);
    }
}

impl<IO> Guarded<IO> {
    pub(crate) fn new(io: IO) -> Self {
        Self {
            io,
            guard: Guard::new(),
            held: Vec::new(),
            passing: 0,
            is_refused: false,
            verdict: Verdict::default(),
            waiting: None,
            is_shut: false,
            linger: None,
        }
    }

    /// Where to say what became of a CONNECT on this connection.
    pub(crate) fn verdict(&self) -> Verdict {
        self.verdict.clone()
    }

    fn hear_verdict(&mut self) {
        if self.guard.waits() {
            match self.verdict.0.swap(0, Ordering::Relaxed) {
                Verdict::TUNNEL => self.guard.open_tunnel(),
                Verdict::NO_TUNNEL => self.guard.go_on(),
                _ => return,
            }
            if let Some(waker) = self.waiting.take() {
                waker.wake();
            }
        }
    }

    /// Hands on what may pass of what is held; whether that was anything.
    fn hand_on(&mut self, buffer: &mut ReadBuf<'_>) -> io::Result<bool> {
        if self.passing == 0 {
            self.passing = self.look()?;
        }
        let count = self.passing.min(buffer.remaining());
        buffer.put_slice(self.held.get(..count).unwrap_or_default());
        self.held.drain(..count);
        self.passing -= count;
        Ok(count > 0)
    }

    /// How many of the bytes that are held may pass. A refused head is replaced by what stands in for it.
    fn look(&mut self) -> io::Result<usize> {
        match self.guard.take(&self.held) {
            Ok(count) => Ok(count),
            Err(malformed) => {
                self.is_refused = true;
                self.held.clear();
                if !self.guard.is_between_requests() {
                    return Err(io::Error::new(io::ErrorKind::InvalidData, Refused(malformed)));
                }
                self.held = malformed.stand_in().into_bytes();
                Ok(self.held.len())
            }
        }
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for Guarded<IO> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.hear_verdict();
        loop {
            let may_look = !this.is_refused || this.passing > 0;
            if may_look && !this.held.is_empty() && this.hand_on(buffer)? {
                return Poll::Ready(Ok(()));
            }
            if this.is_refused || this.guard.waits() || buffer.remaining() == 0 {
                this.waiting = Some(context.waker().clone());
                return Poll::Pending;
            }
            if this.held.is_empty() {
                // Most bytes are of bodies: they go where they belong at once, and only what must wait is copied.
                let before = buffer.filled().len();
                ready!(Pin::new(&mut this.io).poll_read(context, buffer))?;
                let read = buffer.filled().get(before..).unwrap_or_default();
                if read.is_empty() {
                    return Poll::Ready(Ok(()));
                }
                let count = this.guard.take(read).unwrap_or(0);
                this.held.extend_from_slice(read.get(count..).unwrap_or_default());
                buffer.set_filled(before + count);
                if count > 0 {
                    return Poll::Ready(Ok(()));
                }
            } else {
                let mut piece = [0; PIECE];
                let mut read = ReadBuf::new(&mut piece);
                ready!(Pin::new(&mut this.io).poll_read(context, &mut read))?;
                if read.filled().is_empty() {
                    return Poll::Ready(Ok(()));
                }
                this.held.extend_from_slice(read.filled());
            }
        }
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Guarded<IO> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.hear_verdict();
        Pin::new(&mut this.io).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.hear_verdict();
        Pin::new(&mut this.io).poll_write_vectored(context, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_flush(context)
    }

    /// Ends the writing side; in the middle of a request, takes in what the client still sends, to its end or for
    /// ten seconds.
    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.is_shut {
            ready!(Pin::new(&mut this.io).poll_shutdown(context))?;
            this.is_shut = true;
        }
        if !this.is_refused && !this.guard.is_in_body() {
            return Poll::Ready(Ok(()));
        }
        let linger = this.linger.get_or_insert_with(|| Box::pin(sleep(LINGER)));
        loop {
            if linger.as_mut().poll(context).is_ready() {
                return Poll::Ready(Ok(()));
            }
            let mut piece = [0; PIECE];
            let mut read = ReadBuf::new(&mut piece);
            // However it ends, the answer is out.
            if ready!(Pin::new(&mut this.io).poll_read(context, &mut read)).is_err()
                || read.filled().is_empty()
            {
                return Poll::Ready(Ok(()));
            }
        }
    }
}
