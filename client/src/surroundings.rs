//! What the commands see of the process they run in: variables, terminal, clock, standard input, other programs.
//! Does not: decide anything from it.
//! Met by: every command; tests put their own in place of [`Process`].

use std::{
    env,
    ffi::OsString,
    fs,
    io::{self, BufRead, IsTerminal, Read},
    path::PathBuf,
    process::{Command, Stdio},
    time::{Duration, SystemTime},
};

use rally_cred_proto::{Fault, socket};

/// The process around a command.
pub(crate) trait Surroundings {
    /// An environment variable; `None` also if it is empty.
    fn variable(&self, name: &str) -> Option<OsString>;
    /// Where the daemon's socket is.
    fn socket(&self) -> Result<PathBuf, Fault>;
    /// The program that runs, with the links on its way resolved; the daemon is looked for beside it.
    fn executable(&self) -> Option<PathBuf>;
    /// Seconds since 1970.
    fn now(&self) -> i64;
    /// Whether a person types on standard input.
    fn stdin_is_terminal(&self) -> bool;
    /// Whether a person could read a message: on standard error, or on the terminal that the process belongs to.
    fn has_terminal(&self) -> bool;
    /// Standard input, which ends in an error when nothing has come for so long.
    fn stdin(&self, patience: Duration) -> Box<dyn Read + '_>;
    /// Standard input, line by line, for a thread of its own.
    fn typed_lines(&self) -> Box<dyn BufRead + Send>;
    /// A line typed on the terminal without echo.
    fn typed_secret(&self, prompt: &str) -> io::Result<String>;
    /// A setting of git, with everything that git's caller has overridden; `None` without git.
    fn git_setting(&self, name: &str) -> Option<String>;
    /// Starts a program and leaves it alone.
    fn launch(&self, command: &mut Command) -> io::Result<()>;
}

/// The real process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Process;

impl Surroundings for Process {
    fn variable(&self, name: &str) -> Option<OsString> {
        env::var_os(name).filter(|value| !value.is_empty())
    }

    fn socket(&self) -> Result<PathBuf, Fault> {
        socket::path()
    }

    fn executable(&self) -> Option<PathBuf> {
        let path = env::current_exe().ok()?;
        Some(fs::canonicalize(&path).unwrap_or(path))
    }

    fn now(&self) -> i64 {
        // A clock before 1970 is wrong; every token then looks as if it had long to go, and the daemon decides anyway.
        SystemTime::UNIX_EPOCH.elapsed().map_or(0, |age| i64::try_from(age.as_secs()).unwrap_or(i64::MAX))
    }

    fn stdin_is_terminal(&self) -> bool {
        io::stdin().is_terminal()
    }

    fn has_terminal(&self) -> bool {
        io::stderr().is_terminal()
            || fs::File::open(if cfg!(windows) { "CONIN$" } else { "/dev/tty" }).is_ok()
    }

    #[cfg(unix)]
    fn stdin(&self, patience: Duration) -> Box<dyn Read + '_> {
        Box::new(PatientStdin { patience })
    }

    #[cfg(not(unix))]
    fn stdin(&self, _patience: Duration) -> Box<dyn Read + '_> {
        Box::new(io::stdin().lock())
    }

    fn typed_lines(&self) -> Box<dyn BufRead + Send> {
        Box::new(io::BufReader::new(io::stdin()))
    }

    fn typed_secret(&self, prompt: &str) -> io::Result<String> {
        crate::hidden_input::read_line(prompt)
    }

    fn git_setting(&self, name: &str) -> Option<String> {
        let mut git = Command::new("git");
        git.args(["config", "--get", name]).stdin(Stdio::null()).stderr(Stdio::null());
        let found = git.output().ok().filter(|found| found.status.success())?;
        Some(String::from_utf8_lossy(&found.stdout).trim_end_matches(['\r', '\n']).to_owned())
    }

    fn launch(&self, command: &mut Command) -> io::Result<()> {
        hold_back_descriptors();
        command.spawn().map(drop)
    }
}

/// Keeps what this process got from its parent beyond the three standard streams from the programs that it starts and
/// that live on: whoever waits for such a pipe to close would wait for a browser or a daemon to end.
pub(crate) fn hold_back_descriptors() {
    #[cfg(unix)]
    close_fds::set_fds_cloexec(3, &[]);
}

/// Standard input that is waited for no longer than `patience` at a time. It has no buffer, since bytes that lie in one
/// cannot be waited for.
#[cfg(unix)]
struct PatientStdin {
    patience: Duration,
}

#[cfg(unix)]
impl Read for PatientStdin {
    fn read(&mut self, piece: &mut [u8]) -> io::Result<usize> {
        use rustix::event::{PollFd, PollFlags, Timespec, poll};
        let stdin = rustix::stdio::stdin();
        let patience = Timespec::try_from(self.patience).ok();
        match poll(&mut [PollFd::new(&stdin, PollFlags::IN)], patience.as_ref())? {
            0 => Err(io::ErrorKind::TimedOut.into()),
            _ => Ok(rustix::io::read(stdin, piece)?),
        }
    }
}
