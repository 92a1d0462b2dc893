//! A small blocking client for the daemon's socket; [`crate::AsyncClient`] is its twin.
//! Does not: start a daemon, open a browser, or print. Takes no runtime along.
//! Used by: `rally-cred`, and any Rust program that wants a ZSESSIONID.

use std::{io, path::Path, time::Duration};

use zeroize::Zeroizing;

use crate::frame::{self, BadFrame, Lines};
use crate::{
    Answer, Ask, Deadline, Event, Fault, FaultKind, Reply, Request, VERSION, message::Versioned,
    process::Process, socket, stream::Stream,
};

/// How long a connection may take where no other limit is given. A daemon that works takes a moment.
pub(crate) const CONNECTION: Duration = Duration::from_secs(5);

/// A connection to the daemon. Requests follow each other on it, each answered before the next.
///
/// ```
/// use rally_cred_proto::{Client, Fault, FaultKind, Secret, message::{Get, Got}, socket};
///
/// fn token() -> Result<Secret, Fault> {
///     let mut client = Client::connect(&socket::path()?)?;
///     match client.ask(Get::default(), &mut |_event| {})? {
///         Got::Token(token) => Ok(token.token),
///         _ => Err(Fault::new(FaultKind::NoMatch, "there is no token")),
///     }
/// }
/// ```
#[derive(Debug)]
pub struct Client {
    stream: Stream,
    lines: Lines,
    is_usable: bool,
    patience: Option<Duration>,
}

impl Client {
    /// Connects, after a check that nobody else could have put the socket there, and before a byte is sent one that nobody
    /// else has. A daemon that does not let anybody in is given up after five seconds.
    ///
    /// [`FaultKind::NoDaemon`] if nobody listens: start a daemon and try again. Any other fault names what to mend.
    pub fn connect(socket: &Path) -> Result<Self, Fault> {
        Self::connect_by(socket, &mut Deadline::after(CONNECTION))
    }

    /// The same, with a deadline of the caller's.
    pub fn connect_by(socket: &Path, deadline: &mut Deadline) -> Result<Self, Fault> {
        check(socket)?;
        let stream = Stream::connect(socket, deadline).map_err(|err| not_connected(socket, &err))?;
        #[cfg(unix)]
        check_listener(socket, stream.listener_uid())?;
        #[cfg(windows)]
        stream.check_owner(socket)?;
        Ok(Self { stream, lines: Lines::default(), is_usable: true, patience: None })
    }

    /// A client over a connection that is there already, such as one end of a pair whose other end a daemon was given.
    #[cfg(unix)]
    pub fn over(connection: std::os::unix::net::UnixStream) -> io::Result<Self> {
        let stream = Stream::over(connection)?;
        Ok(Self { stream, lines: Lines::default(), is_usable: true, patience: None })
    }

    /// The longest time that each [`Client::ask`] may take; without it, that waits as long as the daemon does.
    pub fn set_patience(&mut self, patience: Duration) {
        self.patience = Some(patience);
    }

    /// The daemon's process, where the system tells and it is a daemon's.
    pub fn daemon(&self) -> Option<Process> {
        self.stream.peer().and_then(Process::find)
    }

    /// Whether the last request was answered, by whatever result; if not, the connection is of no more use.
    pub fn is_usable(&self) -> bool {
        self.is_usable
    }

    /// Asks, passes each event on, and returns the result. See [`Client::is_usable`] for whether a fault came from the
    /// daemon.
    pub fn ask<R: Request>(&mut self, request: R, on_event: &mut dyn FnMut(Event)) -> Result<R::Done, Fault> {
        let mut deadline = self.patience.map_or_else(Deadline::never, Deadline::after);
        self.ask_by(request, &mut deadline, on_event)
    }

    /// The same, with a deadline of the caller's.
    pub fn ask_by<R: Request>(
        &mut self,
        request: R,
        deadline: &mut Deadline,
        on_event: &mut dyn FnMut(Event),
    ) -> Result<R::Done, Fault> {
        R::result(self.reply_to(&request.into(), deadline, on_event)?)
    }

    /// The same for a request that may be sent again. [`Reply::Error`] becomes the `Err`; what else it is answered with is
    /// for [`Request::result`] to read.
    pub fn reply_to(
        &mut self,
        ask: &Ask,
        deadline: &mut Deadline,
        on_event: &mut dyn FnMut(Event),
    ) -> Result<Reply, Fault> {
        self.is_usable = false;
        self.stream.write_all(&line_of(ask)?, deadline).map_err(|err| self.lost(&err))?;
        loop {
            match self.next_answer(deadline)? {
                Answer::Event(event) => on_event(event),
                Answer::Reply(reply) => {
                    self.is_usable = true;
                    return match reply {
                        Reply::Error(fault) => Err(fault),
                        reply => Ok(reply),
                    };
                }
            }
        }
    }

    fn next_answer(&mut self, deadline: &mut Deadline) -> Result<Answer, Fault> {
        loop {
            if let Some(line) = self.lines.take().map_err(|err| garbled(&err))? {
                return frame::decode(&line).map_err(|err| garbled(&err));
            }
            match self.lines.read(|room| self.stream.read(room, deadline)) {
                Ok(0) => return Err(ended()),
                Ok(_) => {}
                Err(err) if err.kind() == io::ErrorKind::Interrupted => {}
                Err(err) => return Err(self.lost(&err)),
            }
        }
    }

    fn lost(&self, err: &io::Error) -> Fault {
        match err.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => too_late(self.daemon()),
            _ => broken(err),
        }
    }
}

/// Whether somebody may have made the socket, and nobody else could have put it there.
pub(crate) fn check(socket: &Path) -> Result<(), Fault> {
    socket::check_length(socket)?;
    if socket::check_folder(socket)? { Ok(()) } else { Err(no_daemon("there is no socket")) }
}

/// Refuses a socket on which another user listens. Root may, which can read whatever is sent.
#[cfg(unix)]
pub(crate) fn check_listener(socket: &Path, uid: io::Result<u32>) -> Result<(), Fault> {
    let refuse = |why: String| {
        let what = format!("the socket {} is not served by a daemon of this user", socket.display());
        Err(socket::in_the_way(Fault::new(FaultKind::Failed, what).why(why), socket, socket))
    };
    match uid {
        Ok(0) => Ok(()),
        Ok(uid) => match crate::own_file::other_user(uid) {
            None => Ok(()),
            Some(me) => refuse(format!("uid {uid} listens there, and this program runs as uid {me}")),
        },
        Err(err) => refuse(format!("the system does not tell who listens there: {err}")),
    }
}

/// Why there is no connection.
pub(crate) fn not_connected(socket: &Path, err: &io::Error) -> Fault {
    match err.kind() {
        io::ErrorKind::TimedOut => too_late(None),
        io::ErrorKind::InvalidInput | io::ErrorKind::InvalidFilename => {
            Fault::new(FaultKind::Failed, format!("the socket path {} cannot be used", socket.display()))
                .why(err.to_string())
                .remedy(format!("set {} to another path", socket::OVERRIDE))
        }
        _ => no_daemon(err.to_string()),
    }
}

/// The request as it goes over the wire.
pub(crate) fn line_of(ask: &Ask) -> Result<Zeroizing<Vec<u8>>, Fault> {
    frame::encode(&Versioned { v: VERSION, ask }).map_err(|err| garbled(&err))
}

pub(crate) fn no_daemon(why: impl AsRef<str>) -> Fault {
    Fault::new(FaultKind::NoDaemon, "no rally-cred daemon answers").why(why).run("rally-cred daemon start")
}

/// A daemon that is silent. One that was stopped, by Ctrl-Z or a debugger, only has to go on.
pub(crate) fn too_late(daemon: Option<Process>) -> Fault {
    let fault = Fault::new(FaultKind::TimedOut, "the daemon did not answer in time");
    match daemon {
        Some(Process { pid, is_stopped: true }) => {
            fault.why(format!("its process {pid} is stopped")).remedy(format!("kill -CONT {pid}"))
        }
        Some(_) | None => fault.run("rally-cred daemon restart"),
    }
}

/// The end of the connection in the middle of an answer: whoever was asked has gone, and says nothing about its version.
pub(crate) fn ended() -> Fault {
    gone("it was stopped or killed, or it failed; its log may say more")
}

pub(crate) fn broken(err: &io::Error) -> Fault {
    gone(err.to_string())
}

fn gone(why: impl AsRef<str>) -> Fault {
    Fault::new(FaultKind::NoDaemon, "the daemon went away before it had answered")
        .why(why)
        .remedy("ask again, which starts a new one; if it goes away again, rally-cred doctor")
}

pub(crate) fn garbled(err: &BadFrame) -> Fault {
    match err {
        BadFrame::CutShort => ended(),
        _ => Fault::new(FaultKind::Failed, "the daemon and this program do not understand each other")
            .why(err.to_string())
            .run("rally-cred daemon restart"),
    }
}

#[cfg(target_os = "linux")]
#[cfg(test)]
mod tests {
    use std::{
        fs::Permissions,
        io::{BufRead, BufReader, Write},
        os::{
            fd::OwnedFd,
            unix::{fs::PermissionsExt, net::UnixListener},
        },
        path::PathBuf,
        sync::mpsc,
        thread,
        time::Instant,
    };

    use rustix::net::{AddressFamily, SocketAddrUnix, SocketType};
    use tempfile::TempDir;

    use super::*;
    use crate::message::Get;

    fn private_folder() -> (TempDir, PathBuf) {
        let folder = tempfile::Builder::new().permissions(Permissions::from_mode(0o700)).tempdir().unwrap();
        let socket = folder.path().join("agent.sock");
        (folder, socket)
    }

    /// A socket at which nobody is let in, and those who wait before it until there is no room for one more.
    pub(crate) fn full(socket: &Path) -> (UnixListener, Vec<Client>) {
        let listener: OwnedFd = rustix::net::socket(AddressFamily::UNIX, SocketType::STREAM, None).unwrap();
        rustix::net::bind(&listener, &SocketAddrUnix::new(socket).unwrap()).unwrap();
        rustix::net::listen(&listener, 0).unwrap();
        let connect = || Client::connect_by(socket, &mut Deadline::after(Duration::from_millis(20)));
        let waiting = std::iter::from_fn(|| connect().ok()).collect();
        (UnixListener::from(listener), waiting)
    }

    #[test]
    fn a_daemon_that_lets_nobody_in_is_given_up_in_time() {
        let (_folder, socket) = private_folder();
        let (listener, waiting) = full(&socket);
        let begun = Instant::now();
        let fault =
            Client::connect_by(&socket, &mut Deadline::after(Duration::from_millis(100))).unwrap_err();
        assert_eq!((fault.kind, begun.elapsed() >= Duration::from_millis(100)), (FaultKind::TimedOut, true));
        // With room in time, it is let in.
        let (done, connected) = mpsc::channel();
        let path = socket.clone();
        thread::spawn(move || done.send(Client::connect(&path).map(drop)));
        for _ in 0..=waiting.len() {
            listener.accept().unwrap();
        }
        assert_eq!(connected.recv().unwrap(), Ok(()));
    }

    #[cfg(feature = "tokio")]
    #[tokio::test]
    async fn an_asynchronous_client_waits_for_room_as_well() {
        let (_folder, socket) = private_folder();
        let (listener, waiting) = full(&socket);
        let count = waiting.len();
        let letting_in =
            thread::spawn(move || (0..=count).map(|_| listener.accept().unwrap().0).collect::<Vec<_>>());
        crate::AsyncClient::connect(&socket).await.unwrap();
        assert_eq!(letting_in.join().unwrap().len(), count + 1);
    }

    /// A socket on which another user listens, in a folder of this user's; `None` where only this user can be had.
    fn of_another_user(socket: &Path) -> Option<UnixListener> {
        use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};
        if !rustix::process::geteuid().is_root() {
            return None;
        }
        let shared = tempfile::tempdir().unwrap();
        std::fs::set_permissions(shared.path(), Permissions::from_mode(0o777)).unwrap();
        let path = shared.path().join("socket");
        let listener = thread::scope(|scope| {
            let listen = || {
                let (uid, gid) = (rustix::fs::Uid::from_raw(65_534), rustix::fs::Gid::from_raw(65_534));
                set_thread_groups(&[]).unwrap();
                set_thread_res_gid(gid, gid, gid).unwrap();
                set_thread_res_uid(uid, uid, uid).unwrap();
                UnixListener::bind(&path).unwrap()
            };
            scope.spawn(listen).join().unwrap()
        });
        std::fs::rename(path, socket).unwrap();
        Some(listener)
    }

    /// What the next who has connected has sent, up to their end.
    fn sent_to(listener: &UnixListener) -> Vec<u8> {
        let mut sent = Vec::new();
        std::io::Read::read_to_end(&mut listener.accept().unwrap().0, &mut sent).unwrap();
        sent
    }

    #[test]
    fn a_socket_of_another_user_is_sent_nothing() {
        let (_folder, socket) = private_folder();
        let Some(listener) = of_another_user(&socket) else { return };
        let fault = Client::connect(&socket).unwrap_err();
        let why = "uid 65534 listens there, and this program runs as uid 0";
        assert_eq!((fault.kind, fault.why.as_deref()), (FaultKind::Failed, Some(why)));
        assert_eq!(sent_to(&listener), b"");
    }

    #[cfg(feature = "tokio")]
    #[tokio::test]
    async fn an_asynchronous_client_sends_a_socket_of_another_user_nothing_either() {
        let (_folder, socket) = private_folder();
        let Some(listener) = of_another_user(&socket) else { return };
        let fault = crate::AsyncClient::connect(&socket).await.unwrap_err();
        assert!(fault.why.is_some_and(|why| why.starts_with("uid 65534 listens there")));
        assert_eq!(sent_to(&listener), b"");
    }

    #[test]
    fn the_news_of_a_daemon_does_not_lengthen_the_time_for_its_answer() {
        let (_folder, socket) = private_folder();
        let listener = UnixListener::bind(&socket).unwrap();
        let talking = thread::spawn(move || {
            let (mut client, _) = listener.accept().unwrap();
            BufReader::new(&client).read_line(&mut String::new()).unwrap();
            // Until it hangs up.
            while client.write_all(b"{\"type\":\"waiting\",\"profile\":\"p\",\"on\":\"renewal\"}\n").is_ok() {
            }
        });
        let mut client = Client::connect(&socket).unwrap();
        client.set_patience(Duration::from_millis(100));
        let fault = client.ask(Get::default(), &mut |_| {}).unwrap_err();
        assert_eq!((fault.kind, client.is_usable()), (FaultKind::TimedOut, false));
        drop(client);
        talking.join().unwrap();
    }
}
