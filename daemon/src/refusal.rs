//! Answers a client that waits for a daemon which cannot start.
//! Does not: understand its request.
//! Used by: `activation` and `ipc`, each for the connections that it was handed.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    os::unix::net::UnixStream,
    time::Duration,
};

use rally_cred_proto::{Fault, Reply, frame};

/// Reads the request, for which the client has this long, and answers it with the fault.
pub(crate) fn refuse(stream: UnixStream, fault: &Fault, patience: Duration) -> io::Result<()> {
    let answer = frame::encode(&Reply::Error(fault.clone())).map_err(io::Error::other)?;
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(patience))?;
    stream.set_write_timeout(Some(patience))?;
    // Unread input would reset the connection before the answer is read.
    let mut request = zeroize::Zeroizing::new(Vec::new());
    BufReader::new(&stream).take(frame::MAX_FRAME as u64).read_until(b'\n', &mut request)?;
    (&stream).write_all(&answer)
}
