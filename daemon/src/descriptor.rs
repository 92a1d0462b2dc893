//! A descriptor of the kernel's that is no stream, such as one for events, read by the runtime.
//! Does not: read more than one message at a time.
//! Used by: `netlink`, `vault` and `ipc`.

use std::{io, os::fd::OwnedFd};

use rustix::io::Errno;
use tokio::io::unix::AsyncFd;

/// An open one, which closes with this.
#[derive(Debug)]
pub struct Descriptor(AsyncFd<OwnedFd>);

impl Descriptor {
    /// Takes a descriptor that does not block.
    #[expect(
        deprecated,
        reason = "what the new constructor wants promised by unsafe code, an `OwnedFd` keeps by itself"
    )]
    pub fn new(descriptor: OwnedFd) -> io::Result<Self> {
        Ok(Self(AsyncFd::new(descriptor)?))
    }

    /// Waits for the next message; returns how much of the room it takes.
    pub async fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        loop {
            let mut ready = self.0.readable_mut().await?;
            match rustix::io::read(ready.get_inner(), &mut *room) {
                Err(Errno::WOULDBLOCK) => ready.clear_ready(),
                outcome => return Ok(outcome?),
            }
        }
    }

    /// Takes whatever is there, and drops it.
    pub fn drain(&mut self, room: &mut [u8]) {
        while rustix::io::read(self.0.get_ref(), &mut *room).is_ok_and(|read| read > 0) {}
    }
}
