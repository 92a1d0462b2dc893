//! A connection to a message bus on the daemon's own thread, since the bus library's threads would cost memory all day.
//! Does not: know what is on the bus.
//! Used by: `logind` and `vault`, which wait for signals.

use std::{
    future::poll_fn,
    io,
    os::{
        fd::{BorrowedFd, OwnedFd},
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr, UnixStream as StdStream},
    },
    path::Path,
    pin::{Pin, pin},
    time::Duration,
};

use async_trait::async_trait;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
    time::timeout,
};
use zbus::{
    Address, Connection, Message, MessageStream,
    address::transport::{Transport, UnixSocket},
    connection::{
        Builder,
        socket::{BoxedSplit, ReadHalf, WriteHalf},
    },
    export::futures_core::Stream,
};

/// How long a bus, or a service on it, may take for an answer.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// Connects to the bus. Whatever is done with it, [`drive`] does.
pub async fn connect(address: &Address) -> zbus::Result<Connection> {
    let connecting = async {
        let (reading, writing) = open(address).await?.into_split();
        let socket = BoxedSplit::new(Box::new(Reading(reading)), Box::new(Writing(writing)));
        Builder::socket(socket).internal_executor(false).build().await
    };
    timeout(PATIENCE, connecting).await.map_err(io::Error::from)?
}

/// The file that the bus listens at, if it is one.
pub fn socket_file(address: &Address) -> Option<&Path> {
    match address.transport() {
        Transport::Unix(at) => match at.path() {
            UnixSocket::File(path) => Some(path),
            _ => None,
        },
        _ => None,
    }
}

async fn open(address: &Address) -> zbus::Result<UnixStream> {
    if let Some(path) = socket_file(address) {
        return Ok(UnixStream::connect(path).await?);
    }
    let Transport::Unix(at) = address.transport() else { return Err(zbus::Error::Unsupported) };
    let UnixSocket::Abstract(name) = at.path() else { return Err(zbus::Error::Unsupported) };
    let stream = StdStream::connect_addr(&SocketAddr::from_abstract_name(name.as_encoded_bytes())?)?;
    stream.set_nonblocking(true)?;
    Ok(UnixStream::from_std(stream)?)
}

/// Does what is to be done on this bus, and runs the library meanwhile.
pub async fn drive<T>(bus: &Connection, work: impl Future<Output = T>) -> T {
    let executor = bus.executor().clone();
    let mut work = pin!(work);
    loop {
        tokio::select! {
            outcome = &mut work => return outcome,
            () = executor.tick() => {}
        }
    }
}

/// The next of these signals; `None` once the bus is gone.
pub async fn next(signals: &mut MessageStream) -> Option<zbus::Result<Message>> {
    poll_fn(|cx| Pin::new(&mut *signals).poll_next(cx)).await
}

/// The bus's answers, by this thread's runtime. No descriptors are passed.
#[derive(Debug)]
struct Reading(OwnedReadHalf);

#[async_trait]
impl ReadHalf for Reading {
    async fn recvmsg(&mut self, room: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
        Ok((self.0.read(room).await?, Vec::new()))
    }
}

#[derive(Debug)]
struct Writing(OwnedWriteHalf);

#[async_trait]
impl WriteHalf for Writing {
    async fn sendmsg(&mut self, bytes: &[u8], _: &[BorrowedFd<'_>]) -> io::Result<usize> {
        self.0.write(bytes).await
    }

    async fn close(&mut self) -> io::Result<()> {
        self.0.shutdown().await
    }
}
