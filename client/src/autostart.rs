//! Connects to the daemon, and starts one first if none listens: one only, whatever the number of clients.
//! Does not: know what the daemon does. Holds the lock `start.lock` beside the socket while it starts one.
//! Met by: `connection`, `daemon`, and `config`, which runs the daemon's program too.

use std::{
    ffi::OsString,
    fs::{self, File},
    io::{self, BufRead, BufReader, Read},
    path::{Path, PathBuf, absolute},
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use rally_cred_proto::{Answer, Client, Fault, FaultKind, frame, network, socket};

use crate::surroundings::{Surroundings, hold_back_descriptors};

/// Longest time for a daemon to start. A start takes a tenth of a second; this is for a machine that is very busy.
const PATIENCE: Duration = Duration::from_secs(5);

/// Windows' flag for a process that has no console.
#[cfg(windows)]
const DETACHED_PROCESS: u32 = 8;

/// Variables that hold a path, which the daemon would look for from its own folder.
const PATHS: [&str; 2] = ["RALLY_CRED_CONFIG", "RALLY_CRED_CLIENT_SECRET_FILE"];

/// Connects to the daemon; if none listens and `autostart` allows, starts one and connects to that.
pub(crate) fn connect(around: &dyn Surroundings, autostart: bool) -> Result<Client, Fault> {
    connect_within(PATIENCE, around, autostart)
}

fn connect_within(patience: Duration, around: &dyn Surroundings, autostart: bool) -> Result<Client, Fault> {
    let socket = around.socket()?;
    match Client::connect(&socket) {
        Err(fault) if fault.kind == FaultKind::NoDaemon && autostart => {}
        done => return done,
    }
    let daemon = daemon_program(around)?;
    let paths = PATHS.iter().filter_map(|name| Some(((*name).into(), around.variable(name)?))).collect();
    let starter = Starter { socket, daemon, paths };
    let (done, outcome) = mpsc::channel();
    // Neither the lock nor a read from the daemon has a time limit of its own.
    thread::spawn(move || done.send(starter.start()));
    outcome.recv_timeout(patience).unwrap_or_else(|_| {
        Err(not_started(format!("it was not ready after {} seconds", patience.as_secs())))
    })
}

/// The program `rally-credd`: beside this one, else in a folder that `PATH` names in full.
pub(crate) fn daemon_program(around: &dyn Surroundings) -> Result<PathBuf, Fault> {
    let name = format!("rally-credd{}", std::env::consts::EXE_SUFFIX);
    let beside = around.executable().and_then(|path| Some(path.parent()?.to_owned()));
    let path = around.variable("PATH").unwrap_or_default();
    beside
        .into_iter()
        .chain(std::env::split_paths(&path))
        // A relative one would find whatever lies in the working directory.
        .filter(|folder| folder.is_absolute())
        .map(|folder| folder.join(&name))
        .find(|program| program.is_file())
        .ok_or_else(|| {
            Fault::new(FaultKind::NoDaemon, "the program rally-credd is not found")
                .why("it lies neither beside rally-cred nor in PATH")
                .remedy("install rally-credd beside rally-cred")
        })
}

/// What the thread that starts the daemon needs.
struct Starter {
    socket: PathBuf,
    daemon: PathBuf,
    paths: Vec<(OsString, OsString)>,
}

impl Starter {
    fn start(&self) -> Result<Client, Fault> {
        let cannot = |what: &str, fault: &io::Error| not_started(format!("{what}: {fault}"));
        let folder = socket::lock_folder(&self.socket)?;
        make_folder(&folder)
            .map_err(|fault| cannot(&format!("{} cannot be made", folder.display()), &fault))?;
        socket::check_folder(&self.socket)?;
        let _lock =
            lock(&folder.join("start.lock")).map_err(|fault| cannot("its start cannot be locked", &fault))?;
        // Whoever held the lock before may have started one.
        match Client::connect(&self.socket) {
            Err(fault) if fault.kind == FaultKind::NoDaemon => {}
            done => return done,
        }
        let child = self.spawn().map_err(|fault| cannot(&self.daemon.display().to_string(), &fault))?;
        let outcome = await_ready(child);
        // A daemon that was started some other way meanwhile is as good.
        Client::connect(&self.socket).map_err(|fault| outcome.err().unwrap_or(fault))
    }

    fn spawn(&self) -> io::Result<Child> {
        let mut command = Command::new(&self.daemon);
        command.arg("--detach").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        command.current_dir("/");
        for (name, path) in &self.paths {
            command.env(name, absolute(path)?);
        }
        // An empty variable counts as none, which the libraries that read these do not know.
        let is_empty = |name: &&&str| std::env::var_os(name).is_some_and(|value| value.is_empty());
        for name in network::GROUPS.into_iter().flatten().filter(is_empty) {
            command.env_remove(name);
        }
        // Both must come to the same socket.
        command.env(socket::OVERRIDE, absolute(&self.socket)?);
        // It must not end with this console.
        #[cfg(windows)]
        std::os::windows::process::CommandExt::creation_flags(&mut command, DETACHED_PROCESS);
        hold_back_descriptors();
        command.spawn()
    }
}

/// Waits until the daemon serves. It says so in one frame on its standard output: `done`, or the error.
fn await_ready(mut child: Child) -> Result<(), Fault> {
    let mut line = Vec::new();
    if let Some(stdout) = child.stdout.take() {
        let mut stdout = BufReader::new(stdout).take(frame::MAX_FRAME as u64);
        stdout.read_until(b'\n', &mut line).map_err(|fault| not_started(fault.to_string()))?;
    }
    if line.is_empty() {
        // It closed its output without a word, so it has ended.
        let ended = child.wait().map_or_else(|fault| fault.to_string(), |status| status.to_string());
        return Err(not_started(format!("it ended before it was ready, with {ended}")));
    }
    match frame::decode(&line) {
        Ok(Answer::Error(fault)) => Err(fault),
        Ok(_) => Ok(()),
        Err(fault) => Err(not_started(fault.to_string())),
    }
}

/// Makes the folder with its mode, so that nobody can enter it meanwhile.
fn make_folder(folder: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

/// Locked until the file is dropped, or this process ends in whatever way.
fn lock(path: &Path) -> io::Result<File> {
    let mut options = File::options();
    options.write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.open(path)?;
    file.lock()?;
    Ok(file)
}

fn not_started(why: impl AsRef<str>) -> Fault {
    let log = socket::state_folder().map(|folder| folder.join("daemon.log").display().to_string());
    let fault = Fault::new(FaultKind::NoDaemon, "the daemon did not start").why(why);
    match log {
        Ok(log) => fault.remedy(format!("see {log}")),
        // Without a home there is no log either.
        Err(_) => fault.remedy("set HOME to a folder of yours"),
    }
}

#[cfg(unix)]
#[cfg(test)]
mod tests;
