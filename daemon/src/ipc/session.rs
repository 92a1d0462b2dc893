//! One connection: reads a request, has it decided, writes the answers, and starts over.
//! Does not: decide, or make one client wait for another.
//! Used by: `ipc`, which starts one for each connection.

use std::{
    future::poll_fn,
    io,
    mem::MaybeUninit,
    pin::Pin,
    task::{Poll, ready},
    time::Duration,
};

use interprocess::local_socket::tokio::Stream;
use rally_cred_proto::{
    Answer, Ask, Fault, FaultKind, Reply, VERSION,
    forwarding::{self, Door},
    frame::{self, BadFrame, Lines},
    message::Preamble,
};
use tokio::{
    io::{AsyncRead, AsyncWriteExt, ReadBuf},
    sync::watch,
    time::timeout,
};
use zeroize::{Zeroize, Zeroizing};

use super::connections::Idle;
use crate::driver::{Driver, Pending};
use rally_cred_core::event::Peer;

/// How long a client may take to accept an answer. It is local, so a slower one has stopped.
const WRITING: Duration = Duration::from_secs(10);

/// Serves a connection until the client leaves or breaks the protocol, or until the socket closes and nothing is left to
/// answer. Whoever holds `idle` ends it when the client is silent for too long.
pub(super) async fn serve(
    mut stream: Stream,
    peer: Peer,
    driver: Driver,
    mut closed: watch::Receiver<bool>,
    idle: Idle,
) {
    let door = peer.door;
    let mut lines = Lines::default();
    loop {
        idle.begins();
        let line = tokio::select! {
            line = next_line(&mut stream, &mut lines) => line,
            _ = closed.wait_for(|closed| *closed) => return,
        };
        idle.ends();
        let line = match line {
            Ok(Some(line)) => line,
            Ok(None) => return,
            Err(broken) => {
                write(&mut stream, door, Answer::Reply(Reply::Error(bad_request(&broken.to_string()))))
                    .await
                    .ok();
                return;
            }
        };
        let ask = match read(&line) {
            Ok(ask) => ask,
            Err(fault) => {
                // The line was complete, so the next one can be understood.
                if write(&mut stream, door, Answer::Reply(Reply::Error(fault))).await.is_err() {
                    return;
                }
                continue;
            }
        };
        drop(line);
        if !relay(&mut stream, &mut lines, door, driver.ask(peer.clone(), ask)).await {
            return;
        }
    }
}

/// Writes answers up to the result. `false` if the client left, or the daemon ended, before it.
async fn relay(stream: &mut Stream, lines: &mut Lines, door: Door, mut pending: Pending) -> bool {
    loop {
        let answer = tokio::select! {
            biased;
            answer = pending.next() => answer,
            left = fill(stream, lines) => match left {
                // A client may send its next request early, within the limit of one frame.
                Ok(true) if lines.len() <= frame::MAX_FRAME => continue,
                Ok(_) | Err(_) => return false,
            },
        };
        let Some(answer) = answer else { return false };
        let is_result = matches!(answer, Answer::Reply(_));
        if write(stream, door, answer).await.is_err() {
            return false;
        }
        if is_result {
            return true;
        }
    }
}

/// The next frame; `None` if the client left before it.
async fn next_line(stream: &mut Stream, lines: &mut Lines) -> Result<Option<Zeroizing<Vec<u8>>>, BadFrame> {
    loop {
        if let Some(line) = lines.take()? {
            return Ok(Some(line));
        }
        match fill(stream, lines).await {
            Ok(true) => {}
            Ok(false) if lines.is_empty() => return Ok(None),
            Ok(false) | Err(_) => return Err(BadFrame::CutShort),
        }
    }
}

/// Reads what has arrived; `false` at the end of the stream.
async fn fill(stream: &mut Stream, lines: &mut Lines) -> io::Result<bool> {
    poll_fn(|context| {
        // Not in the future, so that an idle connection needs no room for it.
        let mut piece = [MaybeUninit::uninit(); 1024];
        let mut arrived = ReadBuf::uninit(&mut piece);
        ready!(Pin::new(&mut *stream).poll_read(context, &mut arrived))?;
        lines.add(arrived.filled());
        let is_open = !arrived.filled().is_empty();
        arrived.filled_mut().zeroize();
        Poll::Ready(Ok(is_open))
    })
    .await
}

/// The request in a line. Its version comes first, so that another version is told from nonsense.
fn read(line: &[u8]) -> Result<Ask, Fault> {
    let Preamble { v } = frame::decode(line).map_err(|err| bad_request(&err.to_string()))?;
    let ask = frame::decode::<Ask>(line);
    let is_for_all = match ask {
        Ok(Ask::Stop) => true,
        Ok(Ask::MakeWay) => v > VERSION,
        _ => false,
    };
    if v != VERSION && !is_for_all {
        let skew = Fault::new(FaultKind::VersionSkew, "client and daemon are of different versions")
            .why(format!("the client speaks version {v}, the daemon {VERSION}"));
        return Err(match v < VERSION {
            // A restart by an older program would bring back an older daemon.
            true => skew.remedy("run the program anew, and update it if it is still older than the daemon"),
            false => skew.run("rally-cred daemon restart"),
        });
    }
    let ask = ask.map_err(|err| bad_request(&err.to_string()))?;
    match ask.has_line_breaker() {
        true => Err(bad_request("a value holds a line break or a NUL")),
        false => Ok(ask),
    }
}

fn bad_request(why: &str) -> Fault {
    Fault::new(FaultKind::BadRequest, "the request is not understood").why(why)
}

async fn write(stream: &mut Stream, door: Door, answer: Answer) -> io::Result<()> {
    let answer = match door {
        Door::Own => answer,
        Door::Forwarded => match answer.to_afar(&forwarding::near()) {
            Some(answer) => answer,
            None => return Ok(()),
        },
    };
    let line = frame::encode(&answer).or_else(|_| {
        let fault = Fault::new(FaultKind::Failed, "the answer is too long").remedy("ask for one profile");
        frame::encode(&Reply::Error(fault))
    });
    let line = line.map_err(io::Error::other)?;
    timeout(WRITING, stream.write_all(&line)).await?
}
