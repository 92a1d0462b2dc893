//! The socket: makes it, accepts peers of the same user, and gives each a session.
//! Does not: understand requests (`session` reads them, the broker decides).
//! Met by: `start`, which opens it, and `perform`, which closes the door.

mod session;

use std::{
    fs::{DirBuilder, File},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use interprocess::local_socket::{
    GenericFilePath, ListenerOptions,
    tokio::{Listener, Stream, prelude::*},
};
use rally_cred_proto::{Client, Fault, FaultKind, socket};
use tokio::sync::{Semaphore, watch};

use crate::{
    activation::Inherited,
    core::event::{AskId, Peer},
    driver::Inbox,
};

/// Connections served at once. More wait in the socket's queue; each of ours costs a task and a few kilobytes.
const CONNECTIONS: usize = 1024;

/// How long a new daemon waits for an old one that closed its door but has not quite ended.
const PREDECESSOR: Duration = Duration::from_secs(3);

/// How long a daemon whose socket the service manager has replaced may take to end, once it is told to.
#[cfg(target_os = "linux")]
const REPLACED: Duration = Duration::from_secs(6);

/// How often the lock of the predecessor is looked at.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Pause after the system refused a connection, for want of descriptors say; without it the loop would spin.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// The socket, and the lock that makes this daemon the only one on it.
#[derive(Debug)]
pub struct Socket {
    listener: Listener,
    lock: File,
    name: Option<Name>,
}

/// The file by which clients find a socket of our own making. A service manager's is its own to take away.
#[derive(Debug)]
struct Name {
    path: PathBuf,
    file: FileId,
}

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

/// Closes the socket to new connections.
#[derive(Debug)]
pub struct Door {
    name: Option<Name>,
    is_closed: watch::Sender<bool>,
    permits: Arc<Semaphore>,
    _lock: File,
}

impl Door {
    /// Takes the socket away, so that a client that was told of the end finds none.
    pub fn close(&self) {
        if self.is_closed.send_replace(true) {
            return;
        }
        // It may have been removed by hand, or have made way for another daemon's.
        if let Some(Name { path, file }) = &self.name
            && FileId::of(path).is_ok_and(|found| found == *file)
        {
            std::fs::remove_file(path).ok();
        }
    }

    /// Whether no client is connected. True until the caller awaits something: the whole daemon runs on one thread, so
    /// nobody is let in meanwhile.
    pub fn is_deserted(&self) -> bool {
        // One permit is held ready for whoever comes next.
        self.permits.available_permits() + 1 >= CONNECTIONS
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.close();
    }
}

/// Makes the socket's folder, closed to others from the start, and the socket in it. Must run inside a runtime.
pub fn open(path: &Path) -> Result<Opened, Fault> {
    let cannot = |fault: io::Error| {
        Fault::new(FaultKind::Failed, format!("the socket {} cannot be made", path.display()))
            .why(fault.to_string())
    };
    socket::check_length(path)?;
    make_folder(path)?;
    let lock_path = lock_path(path)?;
    let lock = open_lock(&lock_path).map_err(cannot)?;
    let begun = Instant::now();
    while !take_lock(&lock).map_err(cannot)? {
        if Client::connect(path).is_ok() {
            return Ok(Opened::OtherDaemon);
        }
        if begun.elapsed() > PREDECESSOR {
            return Err(locked(&lock_path));
        }
        std::thread::sleep(LOOK_AGAIN);
    }
    let name = path.to_fs_name::<GenericFilePath>().map_err(cannot)?;
    let options = ListenerOptions::new().name(name).try_overwrite(true).reclaim_name(false);
    let listener = closed_to_others(options).map_err(cannot)?.create_tokio().map_err(cannot)?;
    let name = FileId::of(path).ok().map(|file| Name { path: path.to_owned(), file });
    Ok(Opened::Ours(Socket { listener, lock, name }))
}

/// Takes the service manager's socket at this path. A daemon that a client started before the manager made its socket is
/// out of reach from then on, so it is told to stop. Must run inside a runtime.
#[cfg(target_os = "linux")]
pub fn adopt(inherited: Inherited, path: &Path) -> Result<Socket, Fault> {
    use interprocess::os::unix::uds_local_socket::tokio::Listener as UnixListener;
    let cannot = |fault: io::Error| {
        Fault::new(FaultKind::Failed, format!("the socket {} cannot be taken over", path.display()))
            .why(fault.to_string())
    };
    let lock_path = lock_path(path)?;
    let lock = open_lock(&lock_path).map_err(cannot)?;
    let begun = Instant::now();
    while !take_lock(&lock).map_err(cannot)? {
        if begun.elapsed() > REPLACED {
            return Err(locked(&lock_path));
        }
        // Whoever holds the lock wrote its number there, and lives.
        let holder = std::fs::read_to_string(&lock_path).ok().and_then(|text| text.trim().parse().ok());
        if let Some(holder) = holder.and_then(rustix::process::Pid::from_raw) {
            // A second signal changes nothing, and one that has just ended needs none.
            rustix::process::kill_process(holder, rustix::process::Signal::TERM).ok();
        }
        std::thread::sleep(LOOK_AGAIN);
    }
    let listener = UnixListener::try_from(std::os::fd::OwnedFd::from(inherited)).map_err(cannot)?;
    Ok(Socket { listener: listener.into(), lock, name: None })
}

/// No service manager here passes a socket on.
#[cfg(not(target_os = "linux"))]
pub fn adopt(_inherited: Inherited, path: &Path) -> Result<Socket, Fault> {
    Err(locked(&lock_path(path)?))
}

/// What the holder wrote into it stays until it is taken.
fn open_lock(path: &Path) -> io::Result<File> {
    File::options().write(true).create(true).truncate(false).open(path)
}

/// `false` if somebody else has it.
fn take_lock(mut lock: &File) -> io::Result<bool> {
    if lock.try_lock().is_err() {
        return Ok(false);
    }
    lock.set_len(0)?;
    writeln!(lock, "{}", std::process::id())?;
    Ok(true)
}

fn locked(lock_path: &Path) -> Fault {
    Fault::new(FaultKind::Failed, "another daemon holds the socket but does not answer")
        .why(format!("{} is locked", lock_path.display()))
        .remedy("rally-cred daemon stop")
}

/// Which file it is, whatever it is called.
#[derive(Debug, PartialEq, Eq)]
struct FileId(u64, u64);

impl FileId {
    #[cfg(unix)]
    fn of(path: &Path) -> io::Result<Self> {
        use std::os::unix::fs::MetadataExt;
        std::fs::symlink_metadata(path).map(|found| Self(found.dev(), found.ino()))
    }

    /// A pipe has no file; it is gone when it is closed.
    #[cfg(not(unix))]
    fn of(_path: &Path) -> io::Result<Self> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

fn lock_path(path: &Path) -> Result<PathBuf, Fault> {
    Ok(socket::lock_folder(path)?.join(path.file_name().unwrap_or_default()).with_extension("lock"))
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
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(&folder).map_err(|fault| {
        Fault::new(FaultKind::Failed, format!("the folder {} cannot be made", folder.display()))
            .why(fault.to_string())
    })?;
    // Somebody else may have been quicker.
    socket::check_folder(path).map(|_| ())
}

impl Socket {
    /// Begins to accept. The door closes it; the returned task ends once every session has.
    pub fn serve(self, inbox: Inbox) -> (Door, tokio::task::JoinHandle<()>) {
        let (is_closed, mut closing) = watch::channel(false);
        let Self { listener, lock, name } = self;
        let permits = Arc::new(Semaphore::new(CONNECTIONS));
        let door = Door { name, is_closed, permits: Arc::clone(&permits), _lock: lock };
        let serving = tokio::spawn(async move {
            let asks = Arc::new(AtomicU64::new(0));
            loop {
                let Ok(permit) = Arc::clone(&permits).acquire_owned().await else { return };
                let accepted = tokio::select! {
                    biased;
                    _ = closing.wait_for(|closed| *closed) => break,
                    accepted = listener.accept() => accepted,
                };
                match accepted.map(|stream| (peer_of(&stream), stream)) {
                    Ok((Ok(peer), stream)) => {
                        let next_id = {
                            let asks = Arc::clone(&asks);
                            move || AskId(asks.fetch_add(1, Ordering::Relaxed))
                        };
                        let (inbox, closing) = (inbox.clone(), closing.clone());
                        tokio::spawn(async move {
                            session::serve(stream, peer, inbox, closing, next_id).await;
                            drop(permit);
                        });
                    }
                    Ok((Err(stranger), _)) => tracing::warn!("refused a connection: {stranger}"),
                    Err(fault) => {
                        tracing::warn!("cannot accept a connection: {fault}");
                        tokio::time::sleep(ACCEPT_AGAIN).await;
                    }
                }
            }
            drop(listener);
            // Every permit back means that every session has written its last answer.
            permits.acquire_many(u32::try_from(CONNECTIONS).unwrap_or(u32::MAX)).await.map(drop).ok();
        });
        (door, serving)
    }
}

/// The program that a process runs. It is looked at once for a connection, as soon as there is one, since whoever asks
/// in haste may be gone when its request is noted.
#[cfg(unix)]
fn program_of(pid: u32) -> Option<Arc<str>> {
    let path = std::fs::read_link(format!("/proc/{pid}/exe")).ok()?;
    Some(rally_cred_proto::plain::plain(&path.to_string_lossy()).into())
}

/// Who is at the other end; an error names what is wrong with them.
fn peer_of(stream: &Stream) -> Result<Peer, String> {
    let peer = stream.peer_creds().map_err(|fault| fault.to_string())?;
    #[cfg(unix)]
    {
        // It stays the same for as long as the daemon runs.
        static OWN: std::sync::LazyLock<u32> =
            std::sync::LazyLock::new(|| rustix::process::geteuid().as_raw());
        let uid = peer.euid().ok_or("the system does not tell whose it is")?;
        if uid != *OWN {
            return Err(format!("it comes from uid {uid}"));
        }
        let pid = peer.pid().and_then(|pid| u32::try_from(pid).ok());
        Ok(Peer { pid, uid: Some(uid), program: pid.and_then(program_of) })
    }
    #[cfg(not(unix))]
    Ok(Peer { pid: peer.pid(), uid: None, program: None })
}
