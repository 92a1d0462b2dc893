//! The socket's place: its folder, lock and file; how they are taken, and whether they are still there.
//! Does not: accept connections (`ipc` does), or wait for a change (`lost` does).
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

/// How long a new daemon waits for one that has closed its socket but not quite ended.
const PREDECESSOR: Duration = Duration::from_secs(3);

/// How long a daemon whose socket the service manager replaced may take to stop.
#[cfg(target_os = "linux")]
const REPLACED: Duration = Duration::from_secs(6);

/// How often the lock is tried.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// The socket's file, and the lock by which this daemon is the only one there.
#[derive(Debug)]
pub(super) struct Place {
    path: PathBuf,
    /// None for a socket beside the first, whose lock holds off other daemons.
    lock: Option<Lock>,
    /// What is at the path, where sockets are files.
    file: Option<FileId>,
    folder: Option<FileId>,
    /// Whether this daemon made it. A service manager removes its own.
    is_ours: bool,
}

/// What a look at the place finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// Clients reach this daemon.
    Well,
    /// The file is gone, and can be made again.
    Removed,
    /// No client will reach this place: the folder is gone, or the path leads elsewhere.
    Lost,
}

/// Makes the socket and its folder, closed to others from the start; `None` if another daemon serves it. Must run inside a
/// runtime.
pub fn open(path: &Path) -> Result<Option<Socket>, Fault> {
    socket::check_length(path)?;
    socket::check_local(path)?;
    make_folder(path)?;
    let is_served = || Client::connect(path).is_ok();
    let Some(lock) = await_lock(path, PREDECESSOR, is_served)? else { return Ok(None) };
    let (listener, file) = bind(path)?;
    let folder = folder_of(path);
    let place = Place { path: path.to_owned(), lock: Some(lock), file, folder, is_ours: true };
    Ok(Some(Socket { listener, place }))
}

/// Makes a further socket in the folder of one that this daemon has. Must run inside a runtime.
pub(super) fn open_beside(path: &Path) -> Result<Socket, Fault> {
    if !cfg!(unix) {
        return Err(Fault::new(FaultKind::Failed, "nothing can be forwarded to another machine here")
            .why("ssh forwards sockets that are files, which this system does not have")
            .remedy("forward from a machine with Linux or macOS"));
    }
    socket::check_length(path)?;
    socket::check_folder(path)?;
    let (listener, file) = bind(path)?;
    let place = Place { path: path.to_owned(), lock: None, file, folder: folder_of(path), is_ours: true };
    Ok(Socket { listener, place })
}

/// Takes over the service manager's socket at this path. A daemon that a client started earlier is out of reach from
/// now on, so it is told to stop. Must run inside a runtime.
#[cfg(target_os = "linux")]
pub fn adopt(listener: std::os::fd::OwnedFd, path: &Path) -> Result<Socket, Fault> {
    use interprocess::os::unix::uds_local_socket::tokio::Listener as UnixListener;
    use rally_cred_proto::lock::Holder;
    let lock = await_lock(path, REPLACED, || {
        // Further signals change nothing.
        if let Some(holder) = Holder::find(path) {
            holder.terminate();
        }
        false
    })?;
    let listener = UnixListener::try_from(listener).map_err(|err| {
        Fault::new(FaultKind::Failed, format!("the socket {} cannot be taken over", path.display()))
            .why(err.to_string())
    })?;
    let (file, folder) = (FileId::of(path).ok(), folder_of(path));
    let place = Place { path: path.to_owned(), lock, file, folder, is_ours: false };
    Ok(Socket { listener: listener.into(), place })
}

impl Place {
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

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

    /// Makes the socket again, and the lock, whose file may be gone too.
    pub(super) fn bind_anew(&mut self) -> Result<Listener, Fault> {
        self.renew_lock()?;
        let (listener, file) = bind(&self.path)?;
        self.file = file;
        Ok(listener)
    }

    /// Ensures that the lock is the one that other daemons try.
    pub(super) fn renew_lock(&mut self) -> Result<(), Fault> {
        let Some(lock) = &mut self.lock else { return Ok(()) };
        let lock_path = lock::path(&self.path)?;
        if !lock.is_at(&lock_path) {
            *lock = take_lock(&self.path, &lock_path)?.ok_or_else(|| locked(&self.path, &lock_path))?;
        }
        Ok(())
    }

    /// Removes the socket's file, unless another daemon has replaced it.
    pub(super) fn vacate(&self) {
        if self.is_ours && self.file.is_some() && FileId::of(&self.path).ok() == self.file {
            fs::remove_file(&self.path).ok();
        }
    }
}

/// The lock, once nobody else has it, who may take so long to leave it. `None` if it is not to be waited for.
fn await_lock(path: &Path, patience: Duration, gives_up: impl Fn() -> bool) -> Result<Option<Lock>, Fault> {
    let lock_path = lock::path(path)?;
    let begun = Instant::now();
    loop {
        if let Some(lock) = take_lock(path, &lock_path)? {
            return Ok(Some(lock));
        }
        if gives_up() {
            return Ok(None);
        }
        if begun.elapsed() > patience {
            return Err(locked(path, &lock_path));
        }
        std::thread::sleep(LOOK_AGAIN);
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

/// The socket, closed to others before it has a name. Only a socket on which nobody listens makes way for it.
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

/// Whether somebody listens on a socket, found without waiting for them.
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
    // `AGAIN`: their queue is full.
    matches!(connected, Ok(()) | Err(Errno::AGAIN | Errno::INPROGRESS))
}

/// The identity of a file, whatever its name.
#[derive(Debug, PartialEq, Eq)]
struct FileId(u64, u64);

impl FileId {
    #[cfg(unix)]
    fn of(path: &Path) -> io::Result<Self> {
        use std::os::unix::fs::MetadataExt;
        fs::symlink_metadata(path).map(|found| Self(found.dev(), found.ino()))
    }

    /// A pipe is no file; it is gone once it is closed.
    #[cfg(not(unix))]
    fn of(_path: &Path) -> io::Result<Self> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

fn folder_of(path: &Path) -> Option<FileId> {
    FileId::of(path.parent()?).ok()
}

/// The socket gets its mode before its name.
#[cfg(all(unix, not(target_os = "macos")))]
fn closed_to_others(options: ListenerOptions<'_>) -> io::Result<ListenerOptions<'_>> {
    Ok(interprocess::os::unix::local_socket::ListenerOptionsExt::mode(options, 0o600))
}

/// macOS sets no mode ahead of the name; the umask does, and the folder lets nobody in.
#[cfg(target_os = "macos")]
fn closed_to_others(options: ListenerOptions<'_>) -> io::Result<ListenerOptions<'_>> {
    Ok(options)
}

/// Only this user may use the pipe, in a session on this machine; by default, everyone may read one. The user owns it by
/// name: what is made with raised rights would belong to the administrators, and clients look at the owner.
#[cfg(windows)]
fn closed_to_others(options: ListenerOptions<'_>) -> io::Result<ListenerOptions<'_>> {
    use interprocess::os::windows::{
        local_socket::ListenerOptionsExt, security_descriptor::SecurityDescriptor,
    };
    let user = rally_cred_windows::own_user()?;
    // Protected from inheritance; all denied to the network (NU), all allowed to the user.
    let rights = format!("O:{user}D:P(D;;GA;;;NU)(A;;GA;;;{user})");
    let rights = widestring::U16CString::from_str(rights).map_err(io::Error::other)?;
    Ok(options.security_descriptor(SecurityDescriptor::deserialize(&rights)?))
}

fn make_folder(path: &Path) -> Result<(), Fault> {
    let folder = socket::lock_folder(path)?;
    // A pipe needs no folder, but its lock does.
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
    // Somebody else may have made it first.
    socket::check_folder(path).map(|_| ())
}
