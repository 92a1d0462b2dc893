//! A small blocking client for the daemon's socket.
//! Does not: start a daemon, open a browser, or print. Takes no runtime along.
//! Met by: `rally-cred`, and any Rust program that wants a ZSESSIONID.

use std::{
    io::{self, Read, Write},
    path::Path,
    time::Duration,
};

use interprocess::local_socket::{GenericFilePath, Stream, prelude::*};

use crate::{
    Answer, Ask, Fault, FaultKind, VERSION,
    frame::{self, BadFrame, Lines},
    message::Request,
    socket,
};

/// A connection to the daemon. Requests follow each other on it, each answered before the next.
///
/// ```no_run
/// use rally_cred_proto::{Answer, Ask, Client, message::Get, socket};
/// let mut client = Client::connect(&socket::path()?)?;
/// match client.ask(&Ask::Get(Get::default()), &mut |_event| {})? {
///     Answer::Token(token) => println!("{} has a token", token.profile),
///     other => println!("{other:?}"),
/// }
/// # Ok::<(), rally_cred_proto::Fault>(())
/// ```
#[derive(Debug)]
pub struct Client {
    stream: Stream,
    lines: Lines,
}

impl Client {
    /// Connects, after a check that nobody else could have put the socket there.
    ///
    /// [`FaultKind::NoDaemon`] if nobody listens: start a daemon and try again. Any other fault names what to mend.
    pub fn connect(socket: &Path) -> Result<Self, Fault> {
        let no_daemon = |why: String| {
            Fault::new(FaultKind::NoDaemon, "no rally-cred daemon answers")
                .why(why)
                .remedy("rally-cred daemon start")
        };
        if !socket::check_folder(socket)? {
            return Err(no_daemon("there is no socket".to_owned()));
        }
        let name = socket.to_fs_name::<GenericFilePath>().map_err(|fault| {
            Fault::new(FaultKind::Failed, format!("the socket path {} cannot be used", socket.display()))
                .why(fault.to_string())
        })?;
        let stream = Stream::connect(name).map_err(|fault| no_daemon(fault.to_string()))?;
        Ok(Self { stream, lines: Lines::default() })
    }

    /// Longest silence of the daemon before an answer counts as lost; without it, waits as long as the daemon does.
    pub fn set_patience(&self, patience: Duration) -> Result<(), Fault> {
        self.stream.set_recv_timeout(Some(patience)).map_err(|fault| broken(&fault))
    }

    /// Asks, passes each event on, and returns the result: never an event, never [`Answer::Error`], which becomes the
    /// `Err`. After a fault of kind `no_daemon` or `failed` the connection is of no more use.
    pub fn ask(&mut self, ask: &Ask, on_event: &mut dyn FnMut(Answer)) -> Result<Answer, Fault> {
        let line = frame::encode(&Request { v: VERSION, ask }).map_err(|fault| garbled(&fault))?;
        self.stream.write_all(&line).map_err(|fault| broken(&fault))?;
        loop {
            match self.next_answer()? {
                Answer::Error(fault) => return Err(fault),
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
            let mut piece = zeroize::Zeroizing::new([0; 4096]);
            match self.stream.read(&mut *piece) {
                Ok(0) => return Err(garbled(&BadFrame::CutShort)),
                Ok(count) => self.lines.add(piece.get(..count).unwrap_or_default()),
                Err(fault) if fault.kind() == io::ErrorKind::Interrupted => {}
                Err(fault) if matches!(fault.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                    return Err(Fault::new(FaultKind::TimedOut, "the daemon did not answer in time")
                        .remedy("rally-cred status"));
                }
                Err(fault) => return Err(broken(&fault)),
            }
        }
    }
}

fn broken(fault: &io::Error) -> Fault {
    Fault::new(FaultKind::NoDaemon, "the connection to the daemon broke")
        .why(fault.to_string())
        .remedy("rally-cred daemon start")
}

fn garbled(fault: &BadFrame) -> Fault {
    let kind = if *fault == BadFrame::CutShort { FaultKind::NoDaemon } else { FaultKind::Failed };
    Fault::new(kind, "the daemon and this program do not understand each other")
        .why(fault.to_string())
        .remedy("rally-cred daemon restart")
}
