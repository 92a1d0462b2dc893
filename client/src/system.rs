//! What every command sees of the process that it runs in: variables, standard input, other programs.
//! Does not: decide anything from it, or read from a terminal; what people type there is for `rally-cred-commands`.
//! Used by: every command; tests put their own in place of [`Process`].

use std::{
    env,
    ffi::OsString,
    fs,
    io::{self, IsTerminal, Read, Write},
    path::PathBuf,
    process::{Command, ExitStatus, Output, Stdio},
    time::Duration,
};

use rally_cred_proto::{Deadline, Fault, FaultKind, socket};

/// The process that a command runs in.
pub trait System {
    /// An environment variable; `None` also if it is empty.
    fn variable(&self, name: &str) -> Option<OsString>;
    /// Where the daemon's socket is.
    fn socket(&self) -> Result<PathBuf, Fault>;
    /// The program that runs, with the links on its way resolved; the daemon is looked for beside it.
    fn executable(&self) -> Option<PathBuf>;
    /// Whether a person types on standard input.
    fn stdin_is_terminal(&self) -> bool;
    /// Whether a person could read a message: on standard error, or on the terminal that the process belongs to.
    fn has_terminal(&self) -> bool;
    /// Standard input, which ends in an error when it has not come to its end by the deadline.
    fn stdin<'a>(&'a self, deadline: &'a mut Deadline) -> Box<dyn Read + 'a>;
    /// Whether standard input begins, or ends, within this time.
    fn stdin_begins_within(&self, patience: Duration) -> bool;
    /// Tells the person of something that is in nobody's way, whatever the command.
    fn warn(&self, notice: &Fault);
    /// Runs a program to its end, without standard input, and gives what it wrote.
    fn output_of(&self, command: &mut Command) -> io::Result<Output>;
    /// Starts a program and leaves it alone.
    fn launch(&self, command: &mut Command) -> io::Result<()>;
    /// Runs a program in the place of this one, and does not return. Where a process cannot become another program,
    /// waits for it and returns its exit code.
    fn run_in_place(&self, command: &mut Command) -> io::Result<u8>;
}

/// The real process.
#[derive(Clone, Copy, Debug)]
pub struct Process;

impl System for Process {
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

    #[cfg(unix)]
    fn stdin_is_terminal(&self) -> bool {
        // The library's standard input brings a buffer of 8 KiB along.
        rustix::termios::isatty(rustix::stdio::stdin())
    }

    #[cfg(not(unix))]
    fn stdin_is_terminal(&self) -> bool {
        io::stdin().is_terminal()
    }

    fn has_terminal(&self) -> bool {
        io::stderr().is_terminal()
            || fs::File::open(if cfg!(windows) { "CONIN$" } else { "/dev/tty" }).is_ok()
    }

    #[cfg(unix)]
    fn stdin<'a>(&'a self, deadline: &'a mut Deadline) -> Box<dyn Read + 'a> {
        Box::new(PatientStdin { deadline })
    }

    #[cfg(not(unix))]
    fn stdin<'a>(&'a self, _deadline: &'a mut Deadline) -> Box<dyn Read + 'a> {
        Box::new(io::stdin().lock())
    }

    #[cfg(unix)]
    fn stdin_begins_within(&self, patience: Duration) -> bool {
        // What cannot be waited for is read, and says why.
        wait_for_stdin(Some(patience)).unwrap_or(true)
    }

    #[cfg(not(unix))]
    fn stdin_begins_within(&self, _patience: Duration) -> bool {
        true
    }

    fn warn(&self, notice: &Fault) {
        // Where nobody listens any more, nothing is lost.
        writeln!(io::stderr(), "rally-cred: warning: {notice}").ok();
    }

    fn output_of(&self, command: &mut Command) -> io::Result<Output> {
        command.stdin(Stdio::null()).output()
    }

    fn launch(&self, command: &mut Command) -> io::Result<()> {
        hold_back_descriptors();
        command.spawn().map(drop)
    }

    #[cfg(unix)]
    fn run_in_place(&self, command: &mut Command) -> io::Result<u8> {
        Err(std::os::unix::process::CommandExt::exec(command))
    }

    #[cfg(not(unix))]
    fn run_in_place(&self, command: &mut Command) -> io::Result<u8> {
        command.status().map(exit_code)
    }
}

/// How a program ended. A code that does not fit, and an end without one, is a failure like any other.
pub fn exit_code(status: ExitStatus) -> u8 {
    status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(FaultKind::Failed.exit_code())
}

/// The system lets this user start no more threads or processes, which passes.
pub fn no_thread(fault: &io::Error) -> Fault {
    Fault::new(FaultKind::Failed, "the system starts no more threads or processes for this user")
        .why(fault.to_string())
        .remedy("end programs that you do not need, or raise the limit (ulimit -u), and run it again")
}

/// Keeps what this process got from its parent beyond the three standard streams from the programs that it starts and
/// that live on: whoever waits for such a pipe to close would wait for a browser or a daemon to end.
pub fn hold_back_descriptors() {
    #[cfg(unix)]
    close_fds::set_fds_cloexec(3, &[]);
}

/// Standard input that is not waited for beyond a deadline. It has no buffer, since bytes that lie in one cannot be
/// waited for.
#[cfg(unix)]
struct PatientStdin<'a> {
    deadline: &'a mut Deadline,
}

#[cfg(unix)]
impl Read for PatientStdin<'_> {
    fn read(&mut self, piece: &mut [u8]) -> io::Result<usize> {
        match self.deadline.wait(wait_for_stdin)? {
            true => Ok(rustix::io::read(rustix::stdio::stdin(), piece)?),
            false => Err(io::ErrorKind::TimedOut.into()),
        }
    }
}

#[cfg(unix)]
fn wait_for_stdin(most: Option<Duration>) -> rustix::io::Result<bool> {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let most = most.and_then(|most| Timespec::try_from(most).ok());
    poll(&mut [PollFd::new(&rustix::stdio::stdin(), PollFlags::IN)], most.as_ref()).map(|ready| ready > 0)
}
