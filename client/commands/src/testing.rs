//! A command line for the tests, and a terminal beside the stand-ins that `rally_cred` has.
//! Does not: touch the variables, the terminal or the home folder of whoever runs the tests.
//! Used by: the tests of every command.

use std::io::{self, BufRead, Cursor};
use std::{any::Any, ffi::OsString, path::PathBuf, sync::Mutex};

pub(crate) use rally_cred::testing::{Act, Became, Done, Script, answer};
use rally_cred::testing::{FakeOf, run_with};
use zeroize::Zeroizing;

use crate::cli;
use crate::terminal::{Screen, Terminal};

/// The time in every test: 2026-01-01T03:03:05Z.
pub(crate) const NOW: i64 = 1_767_236_585;

/// A process that a test makes up.
pub(crate) type Fake = FakeOf<FakeTerminal>;

/// Its terminal.
#[derive(Default)]
pub(crate) struct FakeTerminal {
    pub(crate) typed_lines: Mutex<Option<Box<dyn BufRead + Send>>>,
    pub(crate) typed_secret: Option<String>,
    pub(crate) prompts: Mutex<Vec<String>>,
    pub(crate) screen: Option<Screen>,
    pub(crate) working_folder: PathBuf,
    pub(crate) host_name: Option<String>,
}

impl Terminal for Fake {
    fn now(&self) -> i64 {
        NOW
    }

    fn stdout_is_terminal(&self) -> bool {
        false
    }

    fn typed_lines(&self) -> Box<dyn BufRead + Send> {
        let lines = self.terminal.typed_lines.lock().unwrap().take();
        lines.unwrap_or_else(|| Box::new(Cursor::new(Vec::new())))
    }

    fn screen(&self) -> Option<Screen> {
        self.terminal.screen
    }

    fn hide_typing(&self) -> Box<dyn Any> {
        Box::new(())
    }

    fn typed_secret(&self, prompt: &str) -> io::Result<Zeroizing<String>> {
        self.terminal.prompts.lock().unwrap().push(prompt.to_owned());
        self.terminal.typed_secret.clone().map(Zeroizing::new).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn working_folder(&self) -> PathBuf {
        self.terminal.working_folder.clone()
    }

    fn host_name(&self) -> Option<String> {
        self.terminal.host_name.clone()
    }

    fn run_self(&self, arguments: &[OsString]) -> io::Result<(u8, Zeroizing<Vec<u8>>)> {
        let words: Vec<_> = arguments.iter().map(|word| word.to_str().unwrap()).collect();
        let done = run(&words.join(" "), self);
        Ok((done.code, Zeroizing::new(done.stdout.into_bytes())))
    }
}

/// Runs a command line, cut at its spaces.
pub(crate) fn run(line: &str, sys: &Fake) -> Done {
    run_with(|args, output| cli::run(args, sys, output), line, sys)
}
