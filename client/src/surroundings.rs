//! What the commands see of the process they run in: variables, terminal, clock, standard input, other programs.
//! Does not: decide anything from it.
//! Used by: every command; tests put their own in place of [`Process`].

use std::{
    any::Any,
    env,
    ffi::OsString,
    fs,
    io::{self, BufRead, IsTerminal, Read, Write},
    path::PathBuf,
    process::{Command, ExitStatus, Output, Stdio},
    time::{Duration, SystemTime},
};

use rally_cred_proto::{Deadline, Fault, FaultKind, frame::MAX_FRAME, socket};
use zeroize::Zeroizing;

use crate::hidden_input;

/// The process around a command.
pub trait Surroundings {
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
    /// Whether a person reads standard output.
    fn stdout_is_terminal(&self) -> bool;
    /// Whether a person could read a message: on standard error, or on the terminal that the process belongs to.
    fn has_terminal(&self) -> bool;
    /// Standard input, which ends in an error when it has not come to its end by the deadline.
    fn stdin<'a>(&'a self, deadline: &'a mut Deadline) -> Box<dyn Read + 'a>;
    /// Whether standard input begins, or ends, within this time.
    fn stdin_begins_within(&self, patience: Duration) -> bool;
    /// Standard input, line by line, for a thread of its own.
    fn typed_lines(&self) -> Box<dyn BufRead + Send>;
    /// The terminal on which a person reads standard error and types; `None` if a line cannot be written anew there.
    fn screen(&self) -> Option<Screen>;
    /// Hides what is typed until the returned value is dropped; an interruption shows it again and ends the program.
    fn hide_typing(&self) -> Box<dyn Any>;
    /// A line typed on the terminal without echo.
    fn typed_secret(&self, prompt: &str) -> io::Result<Zeroizing<String>>;
    /// A setting of git, with everything that git's caller has overridden; `None` without git.
    fn git_setting(&self, name: &str) -> Option<String>;
    /// Tells the person of something that is in nobody's way, whatever the command.
    fn warn(&self, notice: &Fault);
    /// Runs a program to its end, without standard input, and gives what it wrote.
    fn output_of(&self, command: &mut Command) -> io::Result<Output>;
    /// Starts a program and leaves it alone.
    fn launch(&self, command: &mut Command) -> io::Result<()>;
    /// The folder in which relative paths begin.
    fn working_folder(&self) -> PathBuf;
    /// Runs this program in another process, without standard input; its exit code and what it answered.
    fn run_self(&self, arguments: &[OsString]) -> io::Result<(u8, Zeroizing<Vec<u8>>)>;
    /// Runs a program in the place of this one, and does not return. Where a process cannot become another program,
    /// waits for it and returns its exit code.
    fn run_in_place(&self, command: &mut Command) -> io::Result<u8>;
}

/// A terminal that can show a line anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Screen {
    /// How many characters fit in a line.
    pub columns: usize,
    /// Whether the person wants colours (<https://no-color.org>).
    pub has_colour: bool,
}

/// Taken where a terminal does not say how wide it is.
const USUAL_COLUMNS: usize = 80;

/// The real process.
#[derive(Clone, Copy, Debug)]
pub struct Process;

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

    #[cfg(unix)]
    fn stdin_is_terminal(&self) -> bool {
        // The library's standard input brings a buffer of 8 KiB along.
        rustix::termios::isatty(rustix::stdio::stdin())
    }

    #[cfg(not(unix))]
    fn stdin_is_terminal(&self) -> bool {
        io::stdin().is_terminal()
    }

    fn stdout_is_terminal(&self) -> bool {
        io::stdout().is_terminal()
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

    fn typed_lines(&self) -> Box<dyn BufRead + Send> {
        Box::new(io::BufReader::new(io::stdin()))
    }

    fn screen(&self) -> Option<Screen> {
        let can_redraw = self.variable("TERM").is_some_and(|term| term != "dumb");
        (can_redraw && self.stdin_is_terminal() && io::stderr().is_terminal()).then(|| Screen {
            columns: columns().unwrap_or(USUAL_COLUMNS),
            has_colour: self.variable("NO_COLOR").is_none(),
        })
    }

    fn hide_typing(&self) -> Box<dyn Any> {
        // What cannot be hidden is shown, which harms no more than the looks.
        Box::new(hidden_input::hide("sign-in cancelled").ok())
    }

    fn typed_secret(&self, prompt: &str) -> io::Result<Zeroizing<String>> {
        hidden_input::read_line(prompt)
    }

    fn git_setting(&self, name: &str) -> Option<String> {
        let mut git = Command::new("git");
        git.args(["config", "--get", name]).stdin(Stdio::null()).stderr(Stdio::null());
        let found = git.output().ok().filter(|found| found.status.success())?;
        Some(String::from_utf8_lossy(&found.stdout).trim_end_matches(['\r', '\n']).to_owned())
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

    fn working_folder(&self) -> PathBuf {
        ".".into()
    }

    fn run_self(&self, arguments: &[OsString]) -> io::Result<(u8, Zeroizing<Vec<u8>>)> {
        let program = self.executable().ok_or(io::ErrorKind::NotFound)?;
        let mut child =
            Command::new(program).args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
        // Room for the longest answer, since a vector that grows leaves copies behind that nobody wipes.
        let mut answer = Zeroizing::new(Vec::with_capacity(2 * MAX_FRAME));
        if let Some(stdout) = child.stdout.take() {
            stdout.take(MAX_FRAME as u64).read_to_end(&mut answer)?;
        }
        Ok((exit_code(child.wait()?), answer))
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

#[cfg(unix)]
fn columns() -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(io::stderr()).ok()?;
    Some(usize::from(size.ws_col)).filter(|columns| *columns > 0)
}

#[cfg(not(unix))]
fn columns() -> Option<usize> {
    None
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
