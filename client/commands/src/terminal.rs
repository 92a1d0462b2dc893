//! What the commands that people type need beside [`System`]: the terminal, the clock, and a `get` of its own.
//! Does not: decide anything from it.
//! Used by: these commands; tests put their own in place of [`Process`].

use std::{
    any::Any,
    ffi::OsString,
    io::{self, BufRead, IsTerminal, Read},
    path::PathBuf,
    process::{Command, Stdio},
    time::SystemTime,
};

use rally_cred::system::{Process, System, exit_code};
use rally_cred_proto::frame::MAX_FRAME;
use zeroize::Zeroizing;

use crate::hidden_input;

/// The process that a command of people's runs in.
pub(crate) trait Terminal: System {
    /// Seconds since 1970.
    fn now(&self) -> i64;
    /// Whether a person reads standard output.
    fn stdout_is_terminal(&self) -> bool;
    /// Standard input, line by line, for a thread of its own.
    fn typed_lines(&self) -> Box<dyn BufRead + Send>;
    /// The terminal on which a person reads standard error and types; `None` if a line cannot be written anew there.
    fn screen(&self) -> Option<Screen>;
    /// Hides what is typed until the returned value is dropped; an interruption shows it again and ends the program.
    fn hide_typing(&self) -> Box<dyn Any>;
    /// A line typed on the terminal without echo.
    fn typed_secret(&self, prompt: &str) -> io::Result<Zeroizing<String>>;
    /// The folder in which relative paths begin.
    fn working_folder(&self) -> PathBuf;
    /// Runs this program in another process, without standard input; its exit code and what it answered.
    fn run_self(&self, arguments: &[OsString]) -> io::Result<(u8, Zeroizing<Vec<u8>>)>;
}

/// A terminal that can show a line anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Screen {
    /// How many characters fit in a line.
    pub(crate) columns: usize,
    /// Whether the person wants colours (<https://no-color.org>).
    pub(crate) has_colour: bool,
}

/// Taken where a terminal does not say how wide it is.
const USUAL_COLUMNS: usize = 80;

impl Terminal for Process {
    fn now(&self) -> i64 {
        // A clock before 1970 is wrong; every token then looks as if it had long to go, and the daemon decides anyway.
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
        // What cannot be hidden is shown, which harms no more than the looks.
        Box::new(hidden_input::hide("sign-in cancelled").ok())
    }

    fn typed_secret(&self, prompt: &str) -> io::Result<Zeroizing<String>> {
        hidden_input::read_line(prompt)
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
