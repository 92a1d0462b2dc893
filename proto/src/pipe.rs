//! Whose a pipe is: anybody may make one of this name, so a client looks before it writes a byte.
//! Does not: connect, or know what goes through.
//! Used by: both clients, on Windows.

use std::{io, os::windows::io::BorrowedHandle, path::Path};

use rally_cred_windows::{own_user, owner_of, user_of_process};

use crate::{Fault, FaultKind, socket};

/// Refuses a pipe that is not this user's, or whose server is not. The owner is who made it, and only administrators can
/// make one in another's name; the server's process, whose id is given, could have got it from its maker.
pub(crate) fn check(
    pipe: &Path,
    handle: BorrowedHandle<'_>,
    server: impl FnOnce() -> io::Result<u32>,
) -> Result<(), Fault> {
    let why = match stranger(handle, server) {
        Ok(None) => return Ok(()),
        Ok(Some(why)) => why,
        Err(err) => format!("the system does not tell whose it is: {err}"),
    };
    let what = format!("the pipe {} is not served by a daemon of this user", pipe.display());
    Err(Fault::new(FaultKind::Failed, what).why(why).remedy(socket::OTHER_PATH))
}

/// Who it is if it is somebody else.
fn stranger(
    handle: BorrowedHandle<'_>,
    server: impl FnOnce() -> io::Result<u32>,
) -> io::Result<Option<String>> {
    let me = own_user()?;
    let owner = owner_of(handle)?;
    if owner != me {
        return Ok(Some(format!("it belongs to {owner}, and this program runs as {me}")));
    }
    let pid = server()?;
    let user = user_of_process(pid)?;
    Ok((user != me).then(|| format!("process {pid} serves it as {user}, and this program runs as {me}")))
}
