//! The process as commands see it: variables, standard input, other programs.
//! Does not: decide anything, or read from a terminal; `rally-cred-commands` does that.
//! Used by: every command; tests replace [`Process`].

use std::io::{self, IsTerminal, Read, Write};
use std::process::{Command, ExitStatus, Output, Stdio};
use std::{env, ffi::OsString, fs, path::PathBuf, time::Duration};

use rally_cred_proto::{Deadline, Fault, FaultKind, native, socket, variables};

/// The process that a command runs in.
pub trait System {
    /// An environment variable; `None` also if it is empty.
    fn variable(&self, name: &str) -> Option<OsString>;
    /// Where the daemon's socket is.
    fn socket(&self) -> Result<PathBuf, Fault>;
    /// The path of this program, with links resolved. The daemon is searched beside it.
    fn executable(&self) -> Option<PathBuf>;
    /// Whether standard input is a terminal.
    fn stdin_is_terminal(&self) -> bool;
    /// Whether the user can read messages: on standard error, or on the controlling terminal.
    fn has_terminal(&self) -> bool;
    /// Standard input; reading fails with `TimedOut` at the deadline.
    fn stdin<'a>(&'a self, deadline: &'a mut Deadline) -> Box<dyn Read + 'a>;
    /// Whether standard input has data, or ends, within this time.
    fn stdin_begins_within(&self, patience: Duration) -> bool;
    /// Shows a warning, whatever the command.
    fn warn(&self, notice: &Fault);
    /// Runs a program without standard input, and returns its output.
    fn output_of(&self, command: &mut Command) -> io::Result<Output>;
    /// Starts a program without waiting for it.
    fn launch(&self, command: &mut Command) -> io::Result<()>;
    /// Execs a program, and returns only on failure. Where there is no exec, runs it and returns its exit code.
    fn run_in_place(&self, command: &mut Command) -> io::Result<u8>;
}

/// The real process.
#[derive(Clone, Copy, Debug)]
pub struct Process;

impl System for Process {
    fn variable(&self, name: &str) -> Option<OsString> {
        variables::variable(name)
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
        // The library's standard input would allocate a buffer of 8 KiB.
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
        // If waiting fails, the read says why.
        wait_for_stdin(Some(patience)).unwrap_or(true)
    }

    #[cfg(not(unix))]
    fn stdin_begins_within(&self, _patience: Duration) -> bool {
        true
    }

    fn warn(&self, notice: &Fault) {
        // A closed stream is ignored.
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

    /// Exit codes have 32 bits here, so that of the program is passed on without a detour.
    #[cfg(windows)]
    fn run_in_place(&self, command: &mut Command) -> io::Result<u8> {
        rally_cred_windows::leave_interrupts_to_children();
        end_as(command.status()?)
    }
}

/// Ends this process with the exit code of a program that stood in its place, all 32 bits of it.
#[cfg(windows)]
pub fn end_as(status: ExitStatus) -> ! {
    std::process::exit(status.code().unwrap_or(FaultKind::Failed.exit_code().into()))
}

/// The exit code of a program; `Failed` for a signal, or a code that does not fit.
pub fn exit_code(status: ExitStatus) -> u8 {
    status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(FaultKind::Failed.exit_code())
}

/// The fault of a thread or process that the system does not start for now.
pub fn no_thread(err: &io::Error) -> Fault {
    Fault::new(FaultKind::Failed, "the system starts no more threads or processes for this user")
        .why(err.to_string())
        .remedy(format!("{}, and run it again", native::MORE_THREADS))
}

/// Has started programs not inherit descriptors beyond the three standard streams that they are given: a pipe in a browser
/// or daemon would stay open until that ends. On Windows, it is this process's standard streams that they would inherit.
pub fn hold_back_descriptors() {
    #[cfg(unix)]
    close_fds::set_fds_cloexec(3, &[]);
    #[cfg(windows)]
    rally_cred_windows::hold_back_standard_handles();
}

/// Standard input with a deadline. It has no buffer, since poll does not see buffered bytes.
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
