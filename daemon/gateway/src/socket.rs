//! A tool's end of a connection, which ends so that the tool sees what happened.
//! Does not: read what passes.
//! Used by: `server`.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::{Sleep, sleep},
};

/// How long a tool that is still sending is listened to after its answer. Many read it only when all is sent.
const LINGER: Duration = Duration::from_secs(30);

/// How a connection is to end.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ending(Arc<Choice>);

#[derive(Debug, Default)]
struct Choice {
    is_broken: AtomicBool,
    is_tunnel: AtomicBool,
}

impl Ending {
    /// As an error: the tool must not take what it got for the whole.
    pub(crate) fn breaks(&self) {
        self.0.is_broken.store(true, Relaxed);
    }

    /// Each direction by itself.
    pub(crate) fn is_a_tunnels(&self) {
        self.0.is_tunnel.store(true, Relaxed);
    }
}

/// A connection to a tool. A close waits until the tool has sent what it is sending and drops that, since a close with
/// unread bytes would take the answer away from it.
pub(crate) struct Socket {
    stream: TcpStream,
    ending: Ending,
    lingering: Option<Pin<Box<Sleep>>>,
}

impl Socket {
    pub(crate) fn new(stream: TcpStream) -> Self {
        Self { stream, ending: Ending::default(), lingering: None }
    }

    pub(crate) fn ending(&self) -> Ending {
        self.ending.clone()
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let time = match &mut this.lingering {
            Some(time) => time,
            None => {
                ready!(Pin::new(&mut this.stream).poll_shutdown(cx))?;
                if this.ending.0.is_tunnel.load(Relaxed) {
                    return Poll::Ready(Ok(()));
                }
                this.lingering.insert(Box::pin(sleep(LINGER)))
            }
        };
        let mut space = [0; 16 * 1024];
        loop {
            if time.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Ok(()));
            }
            let mut dropped = ReadBuf::new(&mut space);
            match ready!(Pin::new(&mut this.stream).poll_read(cx, &mut dropped)) {
                Ok(()) if !dropped.filled().is_empty() => (),
                // The tool has closed, or has gone without.
                Ok(()) | Err(_) => return Poll::Ready(Ok(())),
            }
        }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        if self.ending.0.is_broken.load(Relaxed) {
            // A connection that is gone needs no reset.
            let _ = self.stream.set_zero_linger();
        }
    }
}
