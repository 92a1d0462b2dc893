//! Connects to the daemon, and starts it first if it is not running: once, however many clients try.
//! Does not: know what the daemon does. Holds the lock `start.lock` beside the socket while it starts one.
//! Used by: `connection`, `daemon`, and `config`, which runs the daemon's program too.

use std::io::{self, BufRead, BufReader, PipeReader, Read};
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
#[cfg(unix)]
use std::process::{Child, Command, Stdio};
use std::{env::consts::EXE_SUFFIX, sync::mpsc, thread, time::Duration};

use rally_cred_proto::{
    Answer, Client, Deadline, Event, Fault, FaultKind, Reply, frame, lock::Lock, native, own_file,
    process::DAEMON, socket, variables,
};

#[cfg(windows)]
use rally_cred_windows::Started as Child;

use crate::forwarded;
#[cfg(unix)]
use crate::system::hold_back_descriptors;
use crate::system::{System, no_thread};

/// Longest time for the daemon to start. It takes a tenth of a second; this is for a very busy machine.
const PATIENCE: Duration = Duration::from_secs(5);

/// The address of the session bus, on which the keyring is.
#[cfg(unix)]
const BUS: &str = "DBUS_SESSION_BUS_ADDRESS";

/// Which daemon answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// The running one, or none.
    Never,
    /// The running one; it is started if there is none.
    Shared,
    /// One that is started for this client alone, and ends with it.
    Own,
}

impl From<bool> for Start {
    /// Whether the daemon may be started.
    fn from(autostart: bool) -> Self {
        if autostart { Self::Shared } else { Self::Never }
    }
}

/// Connects to the daemon; starts it if it is not running and `autostart` allows it.
pub fn connect(sys: &dyn System, autostart: bool, deadline: &mut Deadline) -> Result<Client, Fault> {
    let socket = sys.socket()?;
    match Client::connect_by(&socket, deadline) {
        Err(fault) if fault.kind == FaultKind::NoDaemon && socket::is_forwarded(&socket) => {
            return Err(forwarded::explain(&socket, fault));
        }
        Err(fault) if fault.kind == FaultKind::NoDaemon && autostart => {}
        Err(fault) if fault.kind == FaultKind::NoDaemon => return Err(out_of_reach(&socket).unwrap_or(fault)),
        done => return done,
    }
    check_paths(sys)?;
    let daemon = daemon_program(sys)?;
    let (done, outcome) = mpsc::channel();
    // Neither taking the lock nor reading from the daemon has a timeout.
    let thread = thread::Builder::new().spawn(move || done.send(start(&socket, &daemon)));
    thread.map_err(|err| no_thread(&err))?;
    deadline.start();
    let most = deadline.left().map_or(PATIENCE, |left| left.min(PATIENCE));
    let started = outcome
        .recv_timeout(most)
        .unwrap_or_else(|_| Err(not_started(format!("it was not ready after {} ms", most.as_millis()))))?;
    started.notices.iter().for_each(|notice| sys.warn(notice));
    Ok(started.client)
}

/// The daemon would refuse a relative path too, but it runs in another folder.
fn check_paths(sys: &dyn System) -> Result<(), Fault> {
    let mut names = [variables::CONFIG, variables::SECRET_FILE, variables::SIGN_IN_FILE].into_iter();
    names.try_for_each(|name| variables::path(name, sys.variable(name)).map(drop))
}

/// A daemon of this client alone. Dropping it waits for its end, since it may still have to save a token that it renewed;
/// the client is dropped before.
#[cfg(unix)]
pub(crate) struct Own(Option<Child>);

#[cfg(unix)]
impl Own {
    /// Starts a daemon with one end of a connection as its standard input. It opens no socket and takes no lock, so that
    /// one that runs already goes on as it is.
    pub(crate) fn start(sys: &dyn System) -> Result<(Client, Self), Fault> {
        use std::os::{fd::OwnedFd, unix::net::UnixStream};
        check_paths(sys)?;
        let daemon = daemon_program(sys)?;
        let cannot = |err: &io::Error| match err.kind() {
            io::ErrorKind::WouldBlock => no_thread(err),
            _ => Fault::new(FaultKind::NoDaemon, "the daemon did not start")
                .why(format!("{}: {err}", daemon.display())),
        };
        let (ours, theirs) = UnixStream::pair().map_err(|err| cannot(&err))?;
        let client = Client::over(ours).map_err(|err| cannot(&err))?;
        let mut command = Command::new(&daemon);
        command.arg("--only-client").stdin(OwnedFd::from(theirs)).stdout(Stdio::null());
        // What concerns the caller is in the answer.
        let is_log_wanted = sys.variable("RALLY_CRED_LOG").is_some();
        command.stderr(if is_log_wanted { Stdio::inherit() } else { Stdio::null() });
        in_usual_place(&mut command);
        hold_back_descriptors();
        let child = command.spawn().map_err(|err| cannot(&err))?;
        Ok((client, Self(Some(child))))
    }
}

#[cfg(unix)]
impl Drop for Own {
    fn drop(&mut self) {
        let Some(mut child) = self.0.take() else { return };
        let (ended, end) = mpsc::channel();
        let waiting = thread::Builder::new().spawn(move || ended.send(child.wait()).ok());
        if waiting.is_ok() {
            // It limits its own end, so this is for one that hangs.
            end.recv_timeout(2 * PATIENCE).ok();
        }
    }
}

/// A daemon holds no folder, and looks for the user's usual bus if that of a shell is gone, which may outlive its session.
#[cfg(unix)]
fn in_usual_place(command: &mut Command) {
    command.current_dir("/");
    if std::env::var_os(BUS).is_some_and(|address| is_dead(&address)) {
        command.env_remove(BUS);
    }
}

/// A daemon that has just been started.
struct Started {
    client: Client,
    /// Its warnings.
    notices: Vec<Fault>,
}

/// The fault of a daemon that is running but out of reach, as when its socket was removed.
#[cfg(unix)]
fn out_of_reach(socket: &Path) -> Option<Fault> {
    let daemon = rally_cred_proto::lock::Holder::find(socket)?;
    let what = format!("the daemon, process {}, cannot be reached", daemon.pid());
    let why = format!("nobody answers at {}", socket.display());
    Some(Fault::new(FaultKind::NoDaemon, what).why(why).run("rally-cred daemon restart"))
}

#[cfg(not(unix))]
fn out_of_reach(_socket: &Path) -> Option<Fault> {
    None
}

/// The program `rally-credd`: beside this one, else in a folder that `PATH` names in full.
pub fn daemon_program(sys: &dyn System) -> Result<PathBuf, Fault> {
    let name = format!("{DAEMON}{EXE_SUFFIX}");
    let beside = sys.executable().map(|own| own.with_file_name(name)).filter(|program| program.is_file());
    beside.or_else(|| find_program(DAEMON, sys)).ok_or_else(|| {
        Fault::new(FaultKind::NoDaemon, "the program rally-credd is not found")
            .why("it lies neither beside rally-cred nor in PATH")
            .remedy("install rally-credd beside rally-cred")
    })
}

/// A program in a folder that `PATH` names in full; a relative one would search the working directory.
pub fn find_program(name: &str, sys: &dyn System) -> Option<PathBuf> {
    let path = sys.variable("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .filter(|folder| folder.is_absolute())
        .map(|folder| folder.join(format!("{name}{EXE_SUFFIX}")))
        .find(|program| program.is_file())
}

/// Starts it, on a thread of its own.
fn start(socket: &Path, daemon: &Path) -> Result<Started, Fault> {
    let cannot = |what: &str, err: &io::Error| not_started(format!("{what}: {err}"));
    socket::check_owners(socket)?;
    socket::check_local(socket)?;
    let folder = socket::lock_folder(socket)?;
    own_file::make_folder(&folder).map_err(|err| {
        let told = cannot(&format!("{} cannot be made", folder.display()), &err);
        own_file::owner_remedy(&folder).into_iter().fold(told, Fault::remedy)
    })?;
    socket::check_folder(socket)?;
    let lock = folder.join("start.lock");
    let _lock = Lock::take(&lock).map_err(|err| {
        let told = cannot(&format!("its start cannot be locked by {}", lock.display()), &err);
        socket::in_the_way(told, socket, &lock)
    })?;
    // Another client may have started it while this one waited for the lock.
    match Client::connect(socket) {
        Err(fault) if fault.kind == FaultKind::NoDaemon => {}
        done => return done.map(|client| Started { client, notices: Vec::new() }),
    }
    let (output, mut child) = spawn(socket, daemon).map_err(|err| match err.kind() {
        io::ErrorKind::WouldBlock => no_thread(&err),
        _ => cannot(&daemon.display().to_string(), &err),
    })?;
    let mut notices = Vec::new();
    let outcome = await_ready(output, || child.wait(), &mut notices);
    // A daemon that was started in some other way meanwhile is as good.
    let client = Client::connect(socket).map_err(|fault| outcome.err().unwrap_or(fault))?;
    Ok(Started { client, notices })
}

/// Starts the daemon, with a pipe through which it says that it is ready.
#[cfg(unix)]
fn spawn(socket: &Path, daemon: &Path) -> io::Result<(PipeReader, Child)> {
    let (output, its_end) = io::pipe()?;
    let mut command = Command::new(daemon);
    command.arg("--detach").stdin(Stdio::null()).stdout(its_end).stderr(Stdio::null());
    in_usual_place(&mut command);
    // Client and daemon must use the same socket.
    command.env(socket::OVERRIDE, socket);
    hold_back_descriptors();
    command.spawn().map(|child| (output, child))
}

/// Starts the daemon, with a pipe through which it says that it is ready. It does not end with this console.
#[cfg(windows)]
fn spawn(socket: &Path, daemon: &Path) -> io::Result<(PipeReader, Child)> {
    let (output, its_end) = io::pipe()?;
    // Client and daemon must use the same pipe.
    let variable = (socket::OVERRIDE, socket.as_os_str());
    let daemon = rally_cred_windows::start_detached(daemon, "--detach", variable, its_end)?;
    Ok((output, daemon))
}

/// Whether this D-Bus address names a socket on which nobody listens. Only addresses of one path are tried; an empty one
/// counts as unset.
#[cfg(unix)]
fn is_dead(address: &std::ffi::OsStr) -> bool {
    let address = address.to_string_lossy();
    let path = address.strip_prefix("unix:path=").filter(|rest| !rest.contains([';', '%']));
    let path = path.and_then(|rest| rest.split(',').next());
    address.is_empty() || path.is_some_and(|path| std::os::unix::net::UnixStream::connect(path).is_err())
}

/// Waits until the daemon is ready. It says so in frames on its standard output: notices, then `done` or an error.
fn await_ready(
    output: PipeReader,
    wait: impl FnOnce() -> io::Result<ExitStatus>,
    notices: &mut Vec<Fault>,
) -> Result<(), Fault> {
    let mut output = BufReader::new(output).take(frame::MAX_FRAME as u64);
    loop {
        let mut line = Vec::new();
        output.read_until(b'\n', &mut line).map_err(|err| not_started(err.to_string()))?;
        if line.is_empty() {
            break;
        }
        match frame::decode(&line) {
            Ok(Answer::Event(Event::Notice(notice))) => notices.push(notice),
            Ok(Answer::Reply(Reply::Error(fault))) => return Err(fault),
            Ok(_) => return Ok(()),
            Err(err) => return Err(not_started(err.to_string())),
        }
    }
    // It closed its output without a result, so it has ended.
    let ended = wait().map_or_else(|err| err.to_string(), |status| status.to_string());
    Err(not_started(format!("it ended before it was ready, with {ended}")))
}

fn not_started(why: impl AsRef<str>) -> Fault {
    let log = socket::state_folder().map(|folder| folder.join("daemon.log").display().to_string());
    let fault = Fault::new(FaultKind::NoDaemon, "the daemon did not start").why(why);
    match log {
        Ok(log) => fault.remedy(format!("see {log}")),
        // Without a home folder there is no log either.
        Err(_) => fault.remedy(native!("set HOME to a folder of yours", windows: "sign in to Windows again")),
    }
}

#[cfg(unix)]
#[cfg(test)]
mod tests;
