//! Where the socket is: its folder, its lock and its file; how they are taken, and whether they are still there.
//! Does not: accept anybody (`ipc` does), or wait for a change (`lost` does).
//! Used by: `start`, which opens it, and `ipc`.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use interprocess::local_socket::{
    GenericFilePath, ListenerOptions,
    tokio::{Listener, prelude::*},
};
use rally_cred_proto::{
    Client, Fault, FaultKind,
    lock::{self, Lock},
    own_file, socket,
};

use super::Socket;

/// How long a new daemon waits for an old one that closed its socket but has not quite ended.
const PREDECESSOR: Duration = Duration::from_secs(3);

/// How long a daemon whose socket the service manager has replaced may take to end, once it is told to.
#[cfg(target_os = "linux")]
const REPLACED: Duration = Duration::from_secs(6);

/// How often the lock of the predecessor is looked at.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// What came of opening the socket.
#[cfg_attr(
    windows,
    expect(clippy::large_enum_variant, reason = "there is one, and it is taken apart at once")
)]
#[derive(Debug)]
pub enum Opened {
    /// It is ours.
    Ours(Socket),
    /// Another daemon serves it.
    OtherDaemon,
}

/// The socket's file, and the lock that makes this daemon the only one on it.
#[derive(Debug)]
pub(super) struct Place {
    path: PathBuf,
    lock: Lock,
    /// What clients find at the path, where the system has files for sockets.
    file: Option<FileId>,
    folder: Option<FileId>,
    /// Whether it is of our own making. A service manager's is its own to take away.
    is_ours: bool,
}

/// How the place is found when something has changed around it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// Clients come to this daemon.
    Well,
    /// The file is gone, and a new one can take its place.
    Removed,
    /// No client will come here again: the folder is gone, or the path leads to something else.
    Lost,
}

/// Makes the socket's folder, closed to others from the start, and the socket in it. Must run inside a runtime.
pub fn open(path: &Path) -> Result<Opened, Fault> {
    socket::check_length(path)?;
    make_folder(path)?;
    let lock_path = lock::path(path)?;
    let begun = Instant::now();
    let lock = loop {
        if let Some(lock) = take_lock(path, &lock_path)? {
            break lock;
        }
        if Client::connect(path).is_ok() {
            return Ok(Opened::OtherDaemon);
        }
        if begun.elapsed() > PREDECESSOR {
            return Err(locked(path, &lock_path));
        }
        std::thread::sleep(LOOK_AGAIN);
    };
    let (listener, file) = bind(path)?;
    let folder = folder_of(path);
    Ok(Opened::Ours(Socket {
        listener,
        place: Place { path: path.to_owned(), lock, file, folder, is_ours: true },
    }))
}

/// Takes the service manager's socket at this path. A daemon that a client started before the manager made its socket is
/// out of reach from then on, so it is told to stop. Must run inside a runtime.
#[cfg(target_os = "linux")]
pub fn adopt(listener: std::os::fd::OwnedFd, path: &Path) -> Result<Socket, Fault> {
    use interprocess::os::unix::uds_local_socket::tokio::Listener as UnixListener;
    use rally_cred_proto::lock::Holder;
    let lock_path = lock::path(path)?;
    let begun = Instant::now();
    let lock = loop {
        if let Some(lock) = take_lock(path, &lock_path)? {
            break lock;
        }
        if begun.elapsed() > REPLACED {
            return Err(locked(path, &lock_path));
        }
        // A second signal changes nothing.
        if let Some(holder) = Holder::find(path) {
            holder.terminate();
        }
        std::thread::sleep(LOOK_AGAIN);
    };
    let listener = UnixListener::try_from(listener).map_err(|err| {
        Fault::new(FaultKind::Failed, format!("the socket {} cannot be taken over", path.display()))
            .why(err.to_string())
    })?;
    let (file, folder) = (FileId::of(path).ok(), folder_of(path));
    let place = Place { path: path.to_owned(), lock, file, folder, is_ours: false };
    Ok(Socket { listener: listener.into(), place })
}

impl Place {
    /// The path at which clients look for the socket.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Looks whether clients still come here.
    pub(super) fn look(&self) -> Found {
        match FileId::of(&self.path) {
            Ok(found) if Some(&found) == self.file.as_ref() => Found::Well,
            Err(err)
                if err.kind() == io::ErrorKind::NotFound
                    && self.is_ours
                    && self.folder.is_some()
                    && folder_of(&self.path) == self.folder
                    && socket::check_folder(&self.path) == Ok(true) =>
            {
                Found::Removed
            }
            Ok(_) | Err(_) => Found::Lost,
        }
    }

    /// Makes the socket anew, with the lock, whose file may be gone as well.
    pub(super) fn bind_anew(&mut self) -> Result<Listener, Fault> {
        self.renew_lock()?;
        let (listener, file) = bind(&self.path)?;
        self.file = file;
        Ok(listener)
    }

    /// Sees to it that the lock is the one that others come to.
    pub(super) fn renew_lock(&mut self) -> Result<(), Fault> {
        let lock_path = lock::path(&self.path)?;
        if !self.lock.is_at(&lock_path) {
            self.lock = take_lock(&self.path, &lock_path)?.ok_or_else(|| locked(&self.path, &lock_path))?;
        }
        Ok(())
    }

    /// Takes the socket's file away, unless it is another's, or gone, or has made way for another daemon's.
    pub(super) fn vacate(&self) {
        if self.is_ours && self.file.is_some() && FileId::of(&self.path).ok() == self.file {
            fs::remove_file(&self.path).ok();
        }
    }
}

fn take_lock(path: &Path, lock_path: &Path) -> Result<Option<Lock>, Fault> {
    Lock::try_take(lock_path).map_err(|err| {
        let lock = lock_path.display();
        let told =
            Fault::new(FaultKind::Failed, format!("the lock {lock} cannot be used")).why(err.to_string());
        socket::in_the_way(told, path, lock_path)
    })
}

fn locked(path: &Path, lock_path: &Path) -> Fault {
    let fault = Fault::new(FaultKind::NoDaemon, "another daemon holds the socket but does not answer");
    #[cfg(unix)]
    let holder = lock::Holder::find(path).map(|holder| format!("process {} has locked", holder.pid()));
    #[cfg(not(unix))]
    let holder = Some(path).and(None::<String>);
    let who = holder.unwrap_or_else(|| "somebody has locked".to_owned());
    fault.why(format!("{who} {}", lock_path.display())).run("rally-cred daemon restart")
}

/// The socket, closed to others before it has a name. Of what is at the path, only a socket on which nobody listens any
/// more makes way.
fn bind(path: &Path) -> Result<(Listener, Option<FileId>), Fault> {
    let cannot = |err: io::Error| {
        Fault::new(FaultKind::Failed, format!("the socket {} cannot be made", path.display()))
            .why(err.to_string())
    };
    #[cfg(unix)]
    clear(path)?;
    let name = path.to_fs_name::<GenericFilePath>().map_err(cannot)?;
    let options = ListenerOptions::new().name(name).reclaim_name(false);
    let listener = closed_to_others(options).map_err(cannot)?.create_tokio().map_err(cannot)?;
    Ok((listener, FileId::of(path).ok()))
}

#[cfg(unix)]
fn clear(path: &Path) -> Result<(), Fault> {
    use std::os::unix::fs::FileTypeExt;
    let refuse = |why: &str| {
        let fault = Fault::new(FaultKind::Failed, format!("the socket {} cannot be made", path.display()));
        Err(socket::in_the_way(fault.why(why), path, path))
    };
    match fs::symlink_metadata(path) {
        Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(err) => refuse(&err.to_string()),
        Ok(found) if !found.file_type().is_socket() => refuse("something that is no socket is in its place"),
        Ok(_) if has_listener(path) => refuse("another program listens there"),
        Ok(_) => fs::remove_file(path).or_else(|err| refuse(&err.to_string())),
    }
}

/// Whether somebody listens on a socket, without waiting for them.
#[cfg(unix)]
fn has_listener(path: &Path) -> bool {
    use rustix::{
        io::{Errno, ioctl_fionbio},
        net::{AddressFamily, SocketAddrUnix, SocketType, connect, socket},
    };
    let connected = socket(AddressFamily::UNIX, SocketType::STREAM, None).and_then(|ours| {
        ioctl_fionbio(&ours, true)?;
        connect(&ours, &SocketAddrUnix::new(path)?)
    });
    // Their queue may be full, which `AGAIN` says.
    matches!(connected, Ok(()) | Err(Errno::AGAIN | Errno::INPROGRESS))
}

/// Which file it is, whatever it is called.
#[derive(Debug, PartialEq, Eq)]
struct FileId(u64, u64);

impl FileId {
    #[cfg(unix)]
    fn of(path: &Path) -> io::Result<Self> {
        use std::os::unix::fs::MetadataExt;
        fs::symlink_metadata(path).map(|found| Self(found.dev(), found.ino()))
    }

    /// A pipe has no file; it is gone when it is closed.
    #[cfg(not(unix))]
    fn of(_path: &Path) -> io::Result<Self> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

fn folder_of(path: &Path) -> Option<FileId> {
    FileId::of(path.parent()?).ok()
}

/// The mode is on the socket before it has a name.
#[cfg(all(unix, not(target_os = "macos")))]
fn closed_to_others(options: ListenerOptions<'_>) -> io::Result<ListenerOptions<'_>> {
    Ok(interprocess::os::unix::local_socket::ListenerOptionsExt::mode(options, 0o600))
}

/// macOS gives no socket a mode ahead of its name; the process's mask does it, and the folder lets nobody in.
#[cfg(target_os = "macos")]
fn closed_to_others(options: ListenerOptions<'_>) -> io::Result<ListenerOptions<'_>> {
    Ok(options)
}

/// Only the pipe's owner may use it, in a session on this machine. The owner is the user, or of a daemon that runs with
/// raised rights the administrators; the user's other programs are refused then. By default, everyone may read a pipe.
#[cfg(windows)]
fn closed_to_others(options: ListenerOptions<'_>) -> io::Result<ListenerOptions<'_>> {
    use interprocess::os::windows::{
        local_socket::ListenerOptionsExt, security_descriptor::SecurityDescriptor,
    };
    // In Windows' notation: protected from inheritance; all denied to the network (NU), all allowed to the owner (OW).
    let rights = widestring::u16cstr!("D:P(D;;GA;;;NU)(A;;GA;;;OW)");
    Ok(options.security_descriptor(SecurityDescriptor::deserialize(rights)?))
}

fn make_folder(path: &Path) -> Result<(), Fault> {
    let folder = socket::lock_folder(path)?;
    // A pipe has no folder that could be wrong, but its lock needs one.
    if socket::check_folder(path)? && (cfg!(unix) || folder.is_dir()) {
        return Ok(());
    }
    own_file::make_folder(&folder).map_err(|err| {
        let what = format!("the folder {} cannot be made", folder.display());
        let told = Fault::new(FaultKind::Failed, what).why(err.to_string());
        match own_file::owner_remedy(&folder) {
            Some(remedy) if socket::is_default(path) => told.remedy(remedy),
            _ => told.remedy("set RALLY_CRED_SOCKET to a path in a folder of your own"),
        }
    })?;
    // Somebody else may have been quicker.
    socket::check_folder(path).map(|_| ())
}
