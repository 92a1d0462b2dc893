//! The blocking client's twin for programs that run on tokio; behind the feature `tokio`.
//! Does not: start a daemon, open a browser, or print. Brings no runtime up: it runs on the caller's.
//! Used by: any asynchronous Rust program that wants a ZSESSIONID.

use std::{io, path::Path, time::Duration};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use zeroize::Zeroizing;

#[cfg(unix)]
use crate::client::check_listener;
use crate::client::{CONNECTION, broken, check, ended, garbled, line_of, not_connected, too_late};
use crate::frame::{self, Lines};
use crate::{Answer, Event, Fault, Reply, Request, process::Process};

#[cfg(not(unix))]
use interprocess::local_socket::tokio::Stream;
#[cfg(unix)]
use tokio::net::UnixStream as Stream;

/// A connection to the daemon, as [`crate::Client`] is one. It runs on a tokio runtime with I/O and time enabled.
///
/// ```
/// use rally_cred_proto::{AsyncClient, Fault, FaultKind, Secret, message::{Get, Got}, socket};
///
/// async fn token() -> Result<Secret, Fault> {
///     let mut client = AsyncClient::connect(&socket::path()?).await?;
///     match client.ask(Get::default(), &mut |_event| {}).await? {
///         Got::Token(token) => Ok(token.token),
///         _ => Err(Fault::new(FaultKind::NoMatch, "there is no token")),
///     }
/// }
/// ```
#[derive(Debug)]
pub struct AsyncClient {
    stream: Stream,
    lines: Lines,
    patience: Option<Duration>,
}

impl AsyncClient {
    /// Connects, after a check that nobody else could have put the socket there, and before a byte is sent one that nobody
    /// else has. A daemon that does not let anybody in is given up after five seconds.
    ///
    /// [`FaultKind::NoDaemon`](crate::FaultKind::NoDaemon) if nobody listens: start a daemon and try again. Any other
    /// fault names what to mend.
    pub async fn connect(socket: &Path) -> Result<Self, Fault> {
        check(socket)?;
        let stream = connect(socket).await.map_err(|err| not_connected(socket, &err))?;
        #[cfg(unix)]
        check_listener(socket, crate::stream::listener_uid(&stream))?;
        #[cfg(windows)]
        check_owner(&stream, socket)?;
        Ok(Self { stream, lines: Lines::default(), patience: None })
    }

    /// The longest time that each [`AsyncClient::ask`] may take; without it, that waits as long as the daemon does.
    pub fn set_patience(&mut self, patience: Duration) {
        self.patience = Some(patience);
    }

    /// Asks, passes each event on, and returns the result. After a fault of kind `no_daemon`, `timed_out` or `failed` the
    /// connection is of no more use.
    ///
    /// A future that is dropped before its end leaves an answer on the way that the next request would take for its
    /// own. So drop the client with it; that takes the request back.
    pub async fn ask<R: Request>(
        &mut self,
        request: R,
        on_event: &mut (dyn FnMut(Event) + Send),
    ) -> Result<R::Done, Fault> {
        let line = line_of(&request.into())?;
        let reply = match self.patience {
            Some(patience) => match tokio::time::timeout(patience, self.reply_to(&line, on_event)).await {
                Ok(outcome) => outcome,
                Err(_) => Err(too_late(peer(&self.stream).and_then(Process::find))),
            },
            None => self.reply_to(&line, on_event).await,
        };
        R::result(reply?)
    }

    async fn reply_to(
        &mut self,
        line: &[u8],
        on_event: &mut (dyn FnMut(Event) + Send),
    ) -> Result<Reply, Fault> {
        self.stream.write_all(line).await.map_err(|err| broken(&err))?;
        loop {
            match self.next_answer().await? {
                Answer::Event(event) => on_event(event),
                Answer::Reply(Reply::Error(fault)) => return Err(fault),
                Answer::Reply(reply) => return Ok(reply),
            }
        }
    }

    async fn next_answer(&mut self) -> Result<Answer, Fault> {
        loop {
            if let Some(line) = self.lines.take().map_err(|err| garbled(&err))? {
                return frame::decode(&line).map_err(|err| garbled(&err));
            }
            let mut piece = Zeroizing::new([0; 4096]);
            match self.stream.read(&mut *piece).await.map_err(|err| broken(&err))? {
                0 => return Err(ended()),
                count => self.lines.add(piece.get(..count).unwrap_or_default()),
            }
        }
    }
}

/// Where many wait to be let in, a thread waits for room: a socket does not tell a runtime of it.
#[cfg(unix)]
async fn connect(socket: &Path) -> io::Result<Stream> {
    use crate::{Deadline, stream};
    let stream = match stream::connect(socket, &mut Deadline::after(Duration::ZERO)) {
        Err(err) if err.kind() == io::ErrorKind::TimedOut => {
            let socket = socket.to_owned();
            let wait = move || stream::connect(&socket, &mut Deadline::after(CONNECTION));
            tokio::task::spawn_blocking(wait).await.map_err(io::Error::other)?
        }
        outcome => outcome,
    };
    Stream::from_std(stream?)
}

#[cfg(not(unix))]
async fn connect(socket: &Path) -> io::Result<Stream> {
    use interprocess::local_socket::{GenericFilePath, tokio::prelude::*};
    let connecting = Stream::connect(socket.to_fs_name::<GenericFilePath>()?);
    tokio::time::timeout(CONNECTION, connecting).await.map_err(|_| io::ErrorKind::TimedOut)?
}

#[cfg(windows)]
fn check_owner(stream: &Stream, socket: &Path) -> Result<(), Fault> {
    use std::os::windows::io::AsHandle;
    let Stream::NamedPipe(pipe) = stream;
    crate::pipe::check(socket, pipe.inner().as_handle(), || pipe.inner().server_process_id())
}

/// The process that listens, where the system tells.
#[cfg(unix)]
fn peer(stream: &Stream) -> Option<u32> {
    stream.peer_cred().ok()?.pid().and_then(|pid| u32::try_from(pid).ok())
}

#[cfg(not(unix))]
fn peer(_stream: &Stream) -> Option<u32> {
    None
}

#[cfg(unix)]
#[cfg(test)]
mod tests {
    use std::{
        fs::Permissions,
        os::unix::{fs::PermissionsExt, net::UnixListener},
        path::PathBuf,
    };

    use tempfile::TempDir;
    use tokio::io::{AsyncBufReadExt, BufReader};

    use super::*;
    use crate::{
        FaultKind,
        message::{Get, Got},
    };

    fn private_folder() -> TempDir {
        tempfile::Builder::new().permissions(Permissions::from_mode(0o700)).tempdir().unwrap()
    }

    /// A daemon that takes one request on each connection, writes these bytes, and keeps the connection open or not.
    fn daemon(answer: &'static [u8], keeps_open: bool) -> (TempDir, PathBuf) {
        let folder = private_folder();
        let socket = folder.path().join("agent.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        listener.set_nonblocking(true).unwrap();
        let listener = tokio::net::UnixListener::from_std(listener).unwrap();
        tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            let mut stream = BufReader::new(stream);
            stream.read_line(&mut String::new()).await.unwrap();
            stream.write_all(answer).await.unwrap();
            if keeps_open {
                std::future::pending::<()>().await;
            }
        });
        (folder, socket)
    }

    /// The events and the result of a `get`, as their types.
    async fn get(socket: &Path) -> (usize, Result<Got, Fault>) {
        let mut events = 0;
        let result = async {
            let mut client = AsyncClient::connect(socket).await?;
            client.set_patience(Duration::from_secs(5));
            client.ask(Get::default(), &mut |_| events += 1).await
        };
        let result = result.await;
        (events, result)
    }

    #[tokio::test]
    async fn events_are_passed_on_and_the_result_returned() {
        let (_folder, socket) = daemon(
            b"{\"type\":\"of_tomorrow\"}\n{\"type\":\"waiting\",\"profile\":\"p\",\"on\":\"renewal\"}\n{\"type\":\"no_match\"}\n",
            true,
        );
        let (events, result) = get(&socket).await;
        assert!(matches!(result, Ok(Got::NoMatch)), "{result:?}");
        assert_eq!(events, 2);
    }

    #[tokio::test(start_paused = true)]
    async fn what_goes_wrong_is_told_apart() {
        let fault = |result: (usize, Result<Got, Fault>)| result.1.unwrap_err().kind;
        for (answer, keeps_open, expected) in [
            (
                b"{\"type\":\"error\",\"kind\":\"denied\",\"what\":\"x\"}\n".as_slice(),
                true,
                FaultKind::Denied,
            ),
            (b"", true, FaultKind::TimedOut),
            (b"{\"type\":", true, FaultKind::TimedOut),
            (b"{\"type\":", false, FaultKind::NoDaemon),
            (b"", false, FaultKind::NoDaemon),
            (b"hello\n", true, FaultKind::Failed),
        ] {
            let (_folder, socket) = daemon(answer, keeps_open);
            assert_eq!(fault(get(&socket).await), expected, "{}", answer.escape_ascii());
        }
        let folder = private_folder();
        assert_eq!(fault(get(&folder.path().join("agent.sock")).await), FaultKind::NoDaemon);
        assert_eq!(fault(get(&folder.path().join("absent/agent.sock")).await), FaultKind::NoDaemon);
    }
}
