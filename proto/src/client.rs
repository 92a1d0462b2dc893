//! A small blocking client for the daemon's socket; [`crate::AsyncClient`] is its twin.
//! Does not: start a daemon, open a browser, or print. Takes no runtime along.
//! Met by: `rally-cred`, and any Rust program that wants a ZSESSIONID.

use std::{
    io::{self, Read, Write},
    path::Path,
    time::Duration,
};

use interprocess::local_socket::{GenericFilePath, Name, Stream, prelude::*};
use zeroize::Zeroizing;

use crate::{
    Answer, Ask, Fault, FaultKind, VERSION,
    frame::{self, BadFrame, Lines},
    message::Request,
    socket,
};

/// A connection to the daemon. Requests follow each other on it, each answered before the next.
///
/// ```
/// use rally_cred_proto::{Answer, Ask, Client, Fault, FaultKind, Secret, message::Get};
///
/// fn token(socket: &std::path::Path) -> Result<Secret, Fault> {
///     let mut client = Client::connect(socket)?;
///     match client.ask(&Ask::Get(Get::default()), &mut |_event| {})? {
///         Answer::Token(token) => Ok(token.token),
///         other => Err(Fault::new(FaultKind::Failed, format!("a get was answered by {other:?}"))),
///     }
/// }
///
/// // The daemon's own socket is at `rally_cred_proto::socket::path()?`. Here a thread plays the daemon.
/// # #[cfg(unix)] {
/// # use std::{fs::Permissions, io::{BufRead, BufReader, Write}, os::unix::{fs::PermissionsExt, net::UnixListener}};
/// # let folder = tempfile::Builder::new().permissions(Permissions::from_mode(0o700)).tempdir().unwrap();
/// # let socket = folder.path().join("agent.sock");
/// # let listener = UnixListener::bind(&socket).unwrap();
/// # std::thread::spawn(move || {
/// #     let (mut daemon, _) = listener.accept().unwrap();
/// #     let mut request = String::new();
/// #     BufReader::new(&daemon).read_line(&mut request).unwrap();
/// #     assert!(request.starts_with(r#"{"v":1,"op":"get""#));
/// #     daemon.write_all(br#"{"type":"waiting","profile":"default","on":"renewal"}"#).unwrap();
/// #     daemon.write_all(b"\n").unwrap();
/// #     daemon.write_all(br#"{"type":"token","profile":"default","base_url":"https://a","token":"_abc"}"#).unwrap();
/// #     daemon.write_all(b"\n").unwrap();
/// # });
/// assert_eq!(token(&socket)?.expose(), "_abc");
/// # }
/// # Ok::<(), Fault>(())
/// ```
#[derive(Debug)]
pub struct Client {
    stream: Stream,
    lines: Lines,
    is_usable: bool,
}

impl Client {
    /// Connects, after a check that nobody else could have put the socket there.
    ///
    /// [`FaultKind::NoDaemon`] if nobody listens: start a daemon and try again. Any other fault names what to mend.
    pub fn connect(socket: &Path) -> Result<Self, Fault> {
        let stream = Stream::connect(name_of(socket)?).map_err(|fault| no_daemon(fault.to_string()))?;
        Ok(Self { stream, lines: Lines::default(), is_usable: true })
    }

    /// Longest silence of the daemon before an answer counts as lost; without it, waits as long as the daemon does.
    pub fn set_patience(&self, patience: Duration) -> Result<(), Fault> {
        self.stream.set_recv_timeout(Some(patience)).map_err(|fault| broken(&fault))
    }

    /// Whether the last request was answered, by whatever result; if not, the connection is of no more use.
    pub fn is_usable(&self) -> bool {
        self.is_usable
    }

    /// Asks, passes each event on, and returns the result: never an event, never [`Answer::Error`], which becomes the
    /// `Err`. See [`Client::is_usable`] for whether that came from the daemon.
    pub fn ask(&mut self, ask: &Ask, on_event: &mut dyn FnMut(Answer)) -> Result<Answer, Fault> {
        self.is_usable = false;
        let result = self.result_of(ask, on_event)?;
        self.is_usable = true;
        match result {
            Answer::Error(fault) => Err(fault),
            result => Ok(result),
        }
    }

    fn result_of(&mut self, ask: &Ask, on_event: &mut dyn FnMut(Answer)) -> Result<Answer, Fault> {
        self.stream.write_all(&line_of(ask)?).map_err(|fault| broken(&fault))?;
        loop {
            match self.next_answer()? {
                event if event.is_event() => on_event(event),
                result => return Ok(result),
            }
        }
    }

    fn next_answer(&mut self) -> Result<Answer, Fault> {
        loop {
            if let Some(line) = self.lines.take().map_err(|fault| garbled(&fault))? {
                return frame::decode(&line).map_err(|fault| garbled(&fault));
            }
            match self.lines.read(|room| self.stream.read(room)) {
                Ok(0) => return Err(ended()),
                Ok(_) => {}
                Err(fault) if fault.kind() == io::ErrorKind::Interrupted => {}
                Err(fault) if matches!(fault.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                    return Err(too_late());
                }
                Err(fault) => return Err(broken(&fault)),
            }
        }
    }
}

/// The socket's name, after a check that nobody else could have put it there.
pub(crate) fn name_of(socket: &Path) -> Result<Name<'_>, Fault> {
    socket::check_length(socket)?;
    if !socket::check_folder(socket)? {
        return Err(no_daemon("there is no socket"));
    }
    socket.to_fs_name::<GenericFilePath>().map_err(|fault| {
        Fault::new(FaultKind::Failed, format!("the socket path {} cannot be used", socket.display()))
            .why(fault.to_string())
            .remedy(format!("set {} to another path", socket::OVERRIDE))
    })
}

/// The request as it goes over the wire.
pub(crate) fn line_of(ask: &Ask) -> Result<Zeroizing<Vec<u8>>, Fault> {
    frame::encode(&Request { v: VERSION, ask }).map_err(|fault| garbled(&fault))
}

pub(crate) fn no_daemon(why: impl AsRef<str>) -> Fault {
    Fault::new(FaultKind::NoDaemon, "no rally-cred daemon answers").why(why).remedy("rally-cred daemon start")
}

pub(crate) fn too_late() -> Fault {
    Fault::new(FaultKind::TimedOut, "the daemon did not answer in time").remedy("rally-cred status")
}

/// The end of the connection in the middle of an answer: whoever was asked has gone, and says nothing about its version.
pub(crate) fn ended() -> Fault {
    gone("it was stopped or killed, or it failed; its log may say more")
}

pub(crate) fn broken(fault: &io::Error) -> Fault {
    gone(fault.to_string())
}

fn gone(why: impl AsRef<str>) -> Fault {
    Fault::new(FaultKind::NoDaemon, "the daemon went away before it had answered")
        .why(why)
        .remedy("ask again, which starts a new one; if it goes away again, rally-cred doctor")
}

pub(crate) fn garbled(fault: &BadFrame) -> Fault {
    match fault {
        BadFrame::CutShort => ended(),
        _ => Fault::new(FaultKind::Failed, "the daemon and this program do not understand each other")
            .why(fault.to_string())
            .remedy("rally-cred daemon restart"),
    }
}
