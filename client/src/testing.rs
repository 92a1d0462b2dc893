//! Surroundings that a test makes up.
//! Does not: touch the process it runs in.
//! Met by: unit tests of this crate.

use std::{
    collections::HashMap,
    ffi::OsString,
    io::{self, BufRead, Cursor, Read},
    path::PathBuf,
    process::Command,
    sync::Mutex,
    time::Duration,
};

use rally_cred_proto::Fault;

use crate::surroundings::Surroundings;

/// Made-up surroundings; what is not set is not there.
#[derive(Debug, Default)]
pub(crate) struct Fake {
    pub(crate) variables: HashMap<String, OsString>,
    pub(crate) socket: PathBuf,
    pub(crate) executable: Option<PathBuf>,
    pub(crate) stdin: Option<Vec<u8>>,
    pub(crate) has_terminal: bool,
    pub(crate) git_setting: Option<String>,
    pub(crate) missing_programs: Vec<String>,
    pub(crate) launched: Mutex<Vec<String>>,
}

impl Fake {
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.variables.insert(name.to_owned(), value.into());
        self
    }
}

impl Surroundings for Fake {
    fn variable(&self, name: &str) -> Option<OsString> {
        self.variables.get(name).filter(|value| !value.is_empty()).cloned()
    }

    fn socket(&self) -> Result<PathBuf, Fault> {
        Ok(self.socket.clone())
    }

    fn executable(&self) -> Option<PathBuf> {
        self.executable.clone()
    }

    fn now(&self) -> i64 {
        1_780_000_000
    }

    fn stdin_is_terminal(&self) -> bool {
        self.stdin.is_none()
    }

    fn has_terminal(&self) -> bool {
        self.has_terminal
    }

    fn stdin(&self, _patience: Duration) -> Box<dyn Read + '_> {
        Box::new(Cursor::new(self.stdin.clone().unwrap_or_default()))
    }

    fn typed_lines(&self) -> Box<dyn BufRead + Send> {
        Box::new(Cursor::new(Vec::new()))
    }

    fn typed_secret(&self, _prompt: &str) -> io::Result<String> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn git_setting(&self, _name: &str) -> Option<String> {
        self.git_setting.clone()
    }

    fn launch(&self, command: &mut Command) -> io::Result<()> {
        let words = std::iter::once(command.get_program()).chain(command.get_args());
        let line = words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ");
        if self.missing_programs.iter().any(|missing| line.starts_with(missing.as_str())) {
            return Err(io::ErrorKind::NotFound.into());
        }
        self.launched.lock().unwrap().push(line);
        Ok(())
    }
}
