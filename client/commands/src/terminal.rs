//! What interactive commands need beyond [`System`]: the terminal, the clock, and a `get` as a process.
//! Does not: decide anything.
//! Used by: these commands; tests replace [`Process`].

use std::io::{self, BufRead, IsTerminal, Read};
use std::process::{Command, Stdio};
use std::{any::Any, ffi::OsString, path::PathBuf, time::SystemTime};

use rally_cred::system::{Process, System, exit_code};
use rally_cred_proto::frame::MAX_FRAME;
use zeroize::Zeroizing;

use crate::hidden_input;

/// The process that an interactive command runs in.
pub(crate) trait Terminal: System {
    /// Seconds since 1970.
    fn now(&self) -> i64;
    /// Whether standard output is a terminal.
    fn stdout_is_terminal(&self) -> bool;
    /// The lines of standard input, for another thread.
    fn typed_lines(&self) -> Box<dyn BufRead + Send>;
    /// The terminal, if standard input and standard error are one and a line can be redrawn.
    fn screen(&self) -> Option<Screen>;
    /// Switches echo off until the returned value is dropped.
    fn hide_typing(&self) -> Box<dyn Any>;
    /// Reads a line from the terminal without echo.
    fn typed_secret(&self, prompt: &str) -> io::Result<Zeroizing<String>>;
    /// The folder in which relative paths begin.
    fn working_folder(&self) -> PathBuf;
    /// The name of this machine, where the system tells.
    fn host_name(&self) -> Option<String>;
    /// Runs this program in another process without standard input; returns its exit code and standard output.
    fn run_self(&self, arguments: &[OsString]) -> io::Result<(u8, Zeroizing<Vec<u8>>)>;
}

/// A terminal on which a line can be redrawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Screen {
    pub(crate) columns: usize,
    /// Whether colours are wanted (<https://no-color.org>).
    pub(crate) has_colour: bool,
}

/// The width of a terminal that does not report it.
const USUAL_COLUMNS: usize = 80;

impl Terminal for Process {
    fn now(&self) -> i64 {
        // A clock before 1970 is wrong. It is for display only; the daemon decides what is valid.
        SystemTime::UNIX_EPOCH.elapsed().map_or(0, |age| i64::try_from(age.as_secs()).unwrap_or(i64::MAX))
    }

    fn stdout_is_terminal(&self) -> bool {
        io::stdout().is_terminal()
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
        // If that fails, only the display suffers.
        Box::new(hidden_input::hide("sign-in cancelled").ok())
    }

    fn typed_secret(&self, prompt: &str) -> io::Result<Zeroizing<String>> {
        hidden_input::read_line(prompt)
    }

    fn working_folder(&self) -> PathBuf {
        ".".into()
    }

    #[cfg(unix)]
    fn host_name(&self) -> Option<String> {
        rustix::system::uname().nodename().to_str().ok().map(str::to_owned)
    }

    #[cfg(not(unix))]
    fn host_name(&self) -> Option<String> {
        self.variable("COMPUTERNAME")?.into_string().ok()
    }

    fn run_self(&self, arguments: &[OsString]) -> io::Result<(u8, Zeroizing<Vec<u8>>)> {
        let program = self.executable().ok_or(io::ErrorKind::NotFound)?;
        let mut child =
            Command::new(program).args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
        // Sized for the longest answer, since a growing vector leaves unwiped copies behind.
        let mut answer = Zeroizing::new(Vec::with_capacity(2 * MAX_FRAME));
        if let Some(stdout) = child.stdout.take() {
            stdout.take(MAX_FRAME as u64).read_to_end(&mut answer)?;
        }
        Ok((exit_code(child.wait()?), answer))
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
