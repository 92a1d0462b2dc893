//! The lock that makes a daemon the only one on its socket, and by which one is found whose socket is gone.
//! Does not: trust the number that stands in the file; the system says who holds the lock.
//! Used by: the daemon, which holds it, and the commands for its life.

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};

use crate::{Fault, own_file, socket};

/// A lock of this process, until it is dropped or the process ends in whatever way.
#[derive(Debug)]
pub struct Lock {
    file: File,
}

/// The file that the daemon of this socket locks. Its name cannot be that of another file of ours, or of a file that
/// has to do with something else.
pub fn path(socket: &Path) -> Result<PathBuf, Fault> {
    let name = socket.file_name().unwrap_or_default();
    let mut lock = name.to_owned();
    match name == "agent.sock" {
        true => lock = "agent.lock".into(),
        false => lock.push(".agent.lock"),
    }
    Ok(socket::lock_folder(socket)?.join(lock))
}

impl Lock {
    /// Takes the lock and writes this process's number into it; `None` if another process has it.
    pub fn try_take(path: &Path) -> io::Result<Option<Self>> {
        let mut file = own_file::open_to_lock(path)?;
        check_content(&mut file)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(std::fs::TryLockError::WouldBlock) => return Ok(None),
            Err(std::fs::TryLockError::Error(err)) => return Err(err),
        }
        file.set_len(0)?;
        file.rewind()?;
        writeln!(file, "{}", std::process::id())?;
        // A second lock, of the kind whose holder the system tells. Without it the daemon is as good, but not found.
        #[cfg(unix)]
        rustix::fs::fcntl_lock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive).ok();
        Ok(Some(Self { file }))
    }

    /// Waits for the lock, and leaves the file as it is.
    pub fn take(path: &Path) -> io::Result<Self> {
        let file = own_file::open_to_lock(path)?;
        file.lock()?;
        Ok(Self { file })
    }

    /// Whether this is still the lock that others come to: its file may have been removed or replaced.
    #[cfg(unix)]
    pub fn is_at(&self, path: &Path) -> bool {
        use std::os::unix::fs::MetadataExt;
        let id = |found: std::fs::Metadata| (found.dev(), found.ino());
        let ours = self.file.metadata().map(id).ok();
        ours.is_some() && std::fs::symlink_metadata(path).map(id).ok() == ours
    }

    /// Elsewhere the system keeps a file that is open in its place.
    #[cfg(not(unix))]
    pub fn is_at(&self, path: &Path) -> bool {
        let _ = (&self.file, path);
        true
    }
}

/// A lock holds a number or nothing. What holds anything else is no lock, and is not overwritten.
fn check_content(file: &mut File) -> io::Result<()> {
    let mut content = Vec::new();
    file.take(32).read_to_end(&mut content)?;
    match content.iter().all(|byte| byte.is_ascii_digit() || byte.is_ascii_whitespace()) {
        true => Ok(()),
        false => Err(io::Error::new(io::ErrorKind::InvalidInput, "it holds something that is not ours")),
    }
}

#[cfg(unix)]
pub use holder::Holder;

#[cfg(unix)]
mod holder {
    use std::{fs::File, path::Path, time::Duration};

    use rustix::process::{Flock, FlockType, Pid, fcntl_getlk};

    use crate::own_file;

    /// The process that holds a daemon's lock.
    #[derive(Debug)]
    pub struct Holder {
        pid: Pid,
        #[cfg(not(target_os = "linux"))]
        file: File,
        /// A name for the process that is never another's, whatever happens to its number.
        #[cfg(target_os = "linux")]
        handle: std::os::fd::OwnedFd,
    }

    impl Holder {
        /// Who holds the lock of the daemon on this socket, if anybody does and the system tells.
        pub fn find(socket: &Path) -> Option<Self> {
            let path = super::path(socket).ok().filter(|path| path.exists())?;
            let file = own_file::open_to_read(&path).ok()?;
            let pid = holder_of(&file)?;
            #[cfg(target_os = "linux")]
            {
                let handle = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).ok()?;
                // The process that held it before may have ended, and the handle be for another.
                (holder_of(&file)? == pid).then_some(Self { pid, handle })
            }
            #[cfg(not(target_os = "linux"))]
            Some(Self { pid, file })
        }

        /// The number of the process.
        pub fn pid(&self) -> i32 {
            self.pid.as_raw_nonzero().get()
        }

        /// Asks the process to end in order.
        pub fn terminate(&self) {
            let signal = rustix::process::Signal::TERM;
            // One that has just ended needs none.
            #[cfg(target_os = "linux")]
            rustix::process::pidfd_send_signal(&self.handle, signal).ok();
            #[cfg(not(target_os = "linux"))]
            if holder_of(&self.file) == Some(self.pid) {
                rustix::process::kill_process(self.pid, signal).ok();
            }
        }

        /// Waits for its end, so long at most; whether it has come.
        #[cfg(target_os = "linux")]
        pub fn has_ended_within(&self, patience: Duration) -> bool {
            use rustix::event::{PollFd, PollFlags, Timespec, poll};
            let begun = std::time::Instant::now();
            loop {
                let left = Timespec::try_from(patience.saturating_sub(begun.elapsed())).ok();
                match poll(&mut [PollFd::new(&self.handle, PollFlags::IN)], left.as_ref()) {
                    Err(rustix::io::Errno::INTR) => {}
                    outcome => return outcome.is_ok_and(|ready| ready > 0),
                }
            }
        }

        /// Waits for its end, so long at most; whether it has come.
        #[cfg(not(target_os = "linux"))]
        pub fn has_ended_within(&self, patience: Duration) -> bool {
            const LOOK_AGAIN: Duration = Duration::from_millis(20);
            let begun = std::time::Instant::now();
            while holder_of(&self.file) == Some(self.pid) {
                if begun.elapsed() > patience {
                    return false;
                }
                std::thread::sleep(LOOK_AGAIN);
            }
            true
        }
    }

    fn holder_of(file: &File) -> Option<Pid> {
        fcntl_getlk(file, &Flock::from(FlockType::ReadLock)).ok().flatten()?.pid
    }
}

#[cfg(unix)]
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_holds_something_else_is_no_lock_and_stays_as_it_is() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("agent.lock");
        std::fs::write(&file, "precious").unwrap();
        assert_eq!(Lock::try_take(&file).unwrap_err().to_string(), "it holds something that is not ours");
        assert_eq!(std::fs::read(&file).unwrap(), b"precious");
        std::fs::write(&file, "4711\n").unwrap();
        let lock = Lock::try_take(&file).unwrap().unwrap();
        assert_eq!(std::fs::read_to_string(&file).unwrap(), format!("{}\n", std::process::id()));
        assert!(Lock::try_take(&file).unwrap().is_none());
        assert!(lock.is_at(&file));
        std::fs::remove_file(&file).unwrap();
        assert!(!lock.is_at(&file));
    }

    #[test]
    fn a_number_in_a_file_that_nobody_locks_is_nobody() {
        let home = tempfile::tempdir().unwrap();
        let socket = home.path().join("agent.sock");
        assert!(Holder::find(&socket).is_none());
        std::fs::write(home.path().join("agent.lock"), format!("{}\n", std::process::id())).unwrap();
        assert!(Holder::find(&socket).is_none());
    }
}
