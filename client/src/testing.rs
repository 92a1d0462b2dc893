//! A process, a daemon and a command line for the tests: all in one process, with buffers for streams.
//! Does not: touch the variables, the terminal or the home folder of whoever runs the tests.
//! Used by: the tests of every command; those of the commands that people type are in another package, and have this one's
//! feature `testing` for it.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, missing_docs, reason = "it is for tests alone")]

use std::ffi::{OsStr, OsString};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex};
use std::{
    collections::HashMap, fs, os::unix::fs::DirBuilderExt, os::unix::process::ExitStatusExt, thread,
    time::Duration,
};

use interprocess::local_socket::{GenericFilePath, Listener, ListenerOptions, Stream, prelude::*};
use rally_cred_proto::frame::{self, Lines};
use rally_cred_proto::{Deadline, Fault, FaultKind};
use serde_json::Value;
use tempfile::TempDir;

use crate::{hand_over, output::Output, system::System};

/// A process that a test makes up, without what only the commands that people type need.
pub type Fake = FakeOf<()>;

/// A process that a test makes up.
#[derive(Default)]
pub struct FakeOf<T> {
    pub variables: HashMap<String, OsString>,
    pub socket: Option<PathBuf>,
    pub executable: Option<PathBuf>,
    pub stdin: Vec<u8>,
    pub stdin_stays_open: bool,
    pub stdin_begins_late: bool,
    pub stdin_is_terminal: bool,
    pub has_terminal: bool,
    /// What other programs write, and their exit codes, by their command lines. No other program is installed.
    pub outputs: HashMap<String, (i32, String)>,
    /// The programs that were run to their end.
    pub ran: Mutex<Vec<String>>,
    pub missing_programs: Vec<String>,
    pub launched: Mutex<Vec<String>>,
    /// What a person was told whatever the command is.
    pub warned: Mutex<Vec<String>>,
    /// The program that took this one's place, as its arguments and the changes to its variables.
    pub became: Mutex<Option<Became>>,
    /// What only the commands that people type need.
    pub terminal: T,
}

/// A program that takes the place of the client.
#[derive(Debug, PartialEq, Eq)]
pub struct Became {
    pub line: String,
    pub given: Vec<(String, String)>,
    pub taken: Vec<String>,
}

impl<T: Default> FakeOf<T> {
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.variables.insert(name.to_owned(), value.into());
        self
    }

    /// With another program that is installed: what it writes for a command line, and its exit code.
    pub fn answering(mut self, line: &str, code: i32, stdout: &str) -> Self {
        self.outputs.insert(line.to_owned(), (code, stdout.to_owned()));
        self
    }

    /// A program that lies beside the `rally-credd` of this fixture.
    pub fn beside(fixture: &str) -> Self {
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
        Self { executable: Some(fixtures.join(fixture).join("rally-cred")), ..Self::default() }
    }

    pub fn reading(mut self, stdin: impl AsRef<[u8]>) -> Self {
        self.stdin = stdin.as_ref().to_owned();
        self
    }
}

impl<T> System for FakeOf<T> {
    fn variable(&self, name: &str) -> Option<OsString> {
        self.variables.get(name).filter(|value| !value.is_empty()).cloned()
    }

    fn socket(&self) -> Result<PathBuf, Fault> {
        self.socket.clone().ok_or_else(|| Fault::new(FaultKind::Failed, "this test has no socket"))
    }

    fn executable(&self) -> Option<PathBuf> {
        self.executable.clone()
    }

    fn stdin_is_terminal(&self) -> bool {
        self.stdin_is_terminal
    }

    fn has_terminal(&self) -> bool {
        self.has_terminal
    }

    fn stdin_begins_within(&self, _patience: Duration) -> bool {
        !(self.stdin_begins_late || self.stdin_stays_open && self.stdin.is_empty())
    }

    fn stdin<'a>(&'a self, _deadline: &'a mut Deadline) -> Box<dyn Read + 'a> {
        assert!(!self.stdin_is_terminal, "a terminal is read line by line only");
        match self.stdin_stays_open {
            true => Box::new(self.stdin.chain(StaysOpen)),
            false => Box::new(self.stdin.as_slice()),
        }
    }

    fn warn(&self, notice: &Fault) {
        self.warned.lock().unwrap().push(notice.to_string());
    }

    fn output_of(&self, command: &mut Command) -> io::Result<std::process::Output> {
        let line = words(command).join(" ");
        self.ran.lock().unwrap().push(line.clone());
        let (code, stdout) = self.outputs.get(&line).ok_or(io::ErrorKind::NotFound)?;
        let status = ExitStatus::from_raw(code << 8);
        Ok(std::process::Output { status, stdout: stdout.clone().into_bytes(), stderr: Vec::new() })
    }

    fn launch(&self, command: &mut Command) -> io::Result<()> {
        let words = words(command);
        if self.missing_programs.iter().any(|program| program == words[0]) {
            return Err(io::ErrorKind::NotFound.into());
        }
        self.launched.lock().unwrap().push(words.join(" "));
        Ok(())
    }

    fn run_in_place(&self, command: &mut Command) -> io::Result<u8> {
        let text = |text: &OsStr| text.to_str().unwrap().to_owned();
        let words = words(command);
        if self.missing_programs.iter().any(|program| program == words[0]) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let (given, taken): (Vec<_>, Vec<_>) = command.get_envs().partition(|(_, value)| value.is_some());
        *self.became.lock().unwrap() = Some(Became {
            line: words.join(" "),
            given: given.into_iter().map(|(name, value)| (text(name), text(value.unwrap()))).collect(),
            taken: taken.into_iter().map(|(name, _)| text(name)).collect(),
        });
        Ok(42)
    }
}

fn words(command: &Command) -> Vec<&str> {
    std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|word| word.to_str().unwrap())
        .collect()
}

/// The end of a standard input that nobody closes, once waiting for it has become too long.
struct StaysOpen;

impl Read for StaysOpen {
    fn read(&mut self, _piece: &mut [u8]) -> io::Result<usize> {
        Err(io::ErrorKind::TimedOut.into())
    }
}

/// What a command line came to.
#[derive(Debug, PartialEq, Eq)]
pub struct Done {
    pub code: u8,
    pub stdout: String,
    pub stderr: String,
}

impl Done {
    pub fn shown(self) -> (u8, String, String) {
        (self.code, self.stdout, self.stderr)
    }
}

/// Runs a command line, cut at its spaces.
pub fn run(line: &str, sys: &Fake) -> Done {
    run_with(|args, _| hand_over::run(args, sys), line, sys)
}

/// Runs a command line, cut at its spaces, in a program in which `commands` runs what people type.
pub fn run_with<T>(
    commands: impl FnOnce(&[OsString], &mut Output<'_>) -> Result<u8, Fault>,
    line: &str,
    sys: &FakeOf<T>,
) -> Done {
    let args: Vec<_> = line.split_whitespace().map(OsString::from).collect();
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let code = crate::run(&args, commands, sys, &mut Output { stdout: &mut stdout, stderr: &mut stderr });
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Done { code, stdout: text(stdout), stderr: text(stderr) }
}

/// A folder for a socket, as the daemon makes it.
pub(crate) struct Place {
    home: TempDir,
}

impl Place {
    pub(crate) fn new() -> Self {
        let place = Self { home: tempfile::tempdir().unwrap() };
        fs::DirBuilder::new().mode(0o700).create(place.folder()).unwrap();
        place
    }

    pub(crate) fn folder(&self) -> PathBuf {
        self.home.path().join("run")
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.folder().join("agent.sock")
    }

    pub(crate) fn listen(path: &Path) -> Listener {
        ListenerOptions::new().name(path.to_fs_name::<GenericFilePath>().unwrap()).create_sync().unwrap()
    }
}

/// What the scripted daemon does with a request.
pub enum Act {
    /// Sends these messages, the last of them a result.
    Answer(Vec<Value>),
    /// Sends these, and the rest once a request on another connection has been answered by `done`.
    AnswerAround(Vec<Value>, Vec<Value>),
    /// Closes the connection.
    Close,
}

/// Short for [`Act::Answer`].
pub fn answer<const N: usize>(messages: [Value; N]) -> Act {
    Act::Answer(messages.into())
}

/// A daemon that acts as scripted, one request after the other, and keeps what it was asked.
pub struct Script {
    place: Place,
    asked: Receiver<Value>,
}

impl Script {
    pub fn new(acts: impl IntoIterator<Item = Act>) -> Self {
        let place = Place::new();
        let listener = Place::listen(&place.socket());
        let (sender, asked) = mpsc::channel();
        let acts = Arc::new(Mutex::new(acts.into_iter().collect::<Vec<_>>().into_iter()));
        // The threads end when their clients do; the one that listens ends with the tests.
        thread::spawn(move || {
            let held = Arc::new(Mutex::new(None));
            for stream in listener.incoming() {
                let (sender, acts, held) = (sender.clone(), Arc::clone(&acts), Arc::clone(&held));
                thread::spawn(move || {
                    let mut stream = stream.unwrap();
                    let mut lines = Lines::default();
                    while let Some(ask) = next(&mut stream, &mut lines) {
                        let act = acts.lock().unwrap().next();
                        sender.send(ask).ok();
                        match act {
                            Some(Act::Answer(messages)) => {
                                send(&mut stream, &messages);
                                let is_done = messages.iter().any(|message| message["type"] == "done");
                                let held = held.lock().unwrap().take_if(|_| is_done);
                                held.into_iter().for_each(|go: mpsc::Sender<()>| go.send(()).unwrap());
                            }
                            Some(Act::AnswerAround(before, after)) => {
                                let (go, gone) = mpsc::channel();
                                *held.lock().unwrap() = Some(go);
                                send(&mut stream, &before);
                                gone.recv().unwrap();
                                send(&mut stream, &after);
                            }
                            Some(Act::Close) | None => break,
                        }
                    }
                });
            }
        });
        Self { place, asked }
    }

    /// A process in which this daemon is found.
    pub fn sys<T: Default>(&self) -> FakeOf<T> {
        FakeOf { socket: Some(self.place.socket()), ..FakeOf::default() }
    }

    /// Everything it was asked so far.
    pub fn asked(&self) -> Vec<Value> {
        self.asked.try_iter().collect()
    }
}

fn next(stream: &mut Stream, lines: &mut Lines) -> Option<Value> {
    let mut piece = [0; 1024];
    loop {
        if let Some(line) = lines.take().unwrap() {
            return Some(frame::decode(&line).unwrap());
        }
        match stream.read(&mut piece) {
            Ok(0) | Err(_) => return None,
            Ok(count) => lines.add(&piece[..count]),
        }
    }
}

fn send(stream: &mut Stream, messages: &[Value]) {
    for message in messages {
        // A client that has gone is part of some tests.
        stream.write_all(&frame::encode(message).unwrap()).ok();
    }
}
