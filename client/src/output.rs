//! The two streams a command writes to: answers on standard output, everything else on standard error.
//! Does not: write anything to standard output that the caller did not ask for, or pass on control characters.
//! Used by: every command.

use std::borrow::Cow;
use std::io::{self, Write};

use rally_cred_proto::plain::{visible, visible_json, visible_line};
use rally_cred_proto::{Fault, FaultKind};
use serde::Serialize;

/// Version of what `--json` and `--format json` print. It grows when a field changes its meaning or goes away.
const JSON_VERSION: u32 = 1;

/// Where a command writes.
pub struct Output<'a> {
    /// Answers, and nothing else.
    pub stdout: &'a mut dyn Write,
    /// Messages for the user.
    pub stderr: &'a mut dyn Write,
}

impl Output<'_> {
    /// Writes an answer for a program, byte for byte and in one write, so that it arrives whole or not at all. A closed
    /// pipe is not an error.
    pub fn answer(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        match self.stdout.write_all(bytes).and_then(|()| self.stdout.flush()) {
            Err(err) if err.kind() != io::ErrorKind::BrokenPipe => {
                Err(Fault::new(FaultKind::Failed, "the answer cannot be written")
                    .why(err.to_string())
                    .remedy("make room where standard output leads to, then ask again"))
            }
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Writes an answer for the user, which may have several lines.
    pub fn tell(&mut self, lines: impl AsRef<str>) -> Result<(), Fault> {
        self.answer(visible(lines.as_ref()).as_bytes())
    }

    /// The same for one line, given without its line break.
    pub fn tell_line(&mut self, line: impl AsRef<str>) -> Result<(), Fault> {
        self.answer(format!("{}\n", visible_line(line.as_ref())).as_bytes())
    }

    /// Writes an answer as one line of JSON with a `version`.
    pub fn answer_json(&mut self, answer: &impl Serialize) -> Result<(), Fault> {
        let line = versioned(answer)
            .map_err(|err| Fault::new(FaultKind::Failed, "the answer is not JSON").why(err.to_string()))?;
        self.answer(&line)
    }

    /// Passes an outcome on. A fault is written as one line of JSON too, for callers that asked for JSON.
    pub fn or_json_fault<T>(&mut self, outcome: Result<T, Fault>, is_json: bool) -> Result<T, Fault> {
        #[derive(Serialize)]
        struct Failure<'a> {
            error: &'a Fault,
        }
        if let (Err(error), true) = (&outcome, is_json) {
            self.answer_json(&Failure { error })?;
        }
        outcome
    }

    /// Shows text to the user, such as a prompt, without adding a line break. A closed stream is ignored.
    pub fn show(&mut self, text: &str) {
        self.draw(&visible(text));
    }

    /// Writes terminal control sequences, which `show` would take out.
    pub fn draw(&mut self, text: &str) {
        self.stderr.write_all(text.as_bytes()).and_then(|()| self.stderr.flush()).ok();
    }

    /// Tells the user something, in lines that begin with the program's name.
    pub fn say(&mut self, text: impl std::fmt::Display) {
        self.show(&format!("rally-cred: {text}\n"));
    }
}

/// Standard output without a buffer, since an answer is one write already.
#[cfg(unix)]
pub fn stdout() -> impl Write {
    struct Stdout;
    impl Write for Stdout {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            match rustix::io::write(rustix::stdio::stdout(), bytes) {
                // As in the standard library: a closed descriptor takes everything.
                Err(rustix::io::Errno::BADF) => Ok(bytes.len()),
                outcome => Ok(outcome?),
            }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    Stdout
}

/// Standard output; the library converts for a console.
#[cfg(not(unix))]
pub fn stdout() -> impl Write {
    io::stdout().lock()
}

fn versioned(answer: &impl Serialize) -> serde_json::Result<zeroize::Zeroizing<Vec<u8>>> {
    #[derive(Serialize)]
    struct Versioned<'a, T> {
        version: u32,
        #[serde(flatten)]
        answer: &'a T,
    }
    let mut line = zeroize::Zeroizing::new(Vec::with_capacity(4096));
    serde_json::to_writer(&mut *line, &Versioned { version: JSON_VERSION, answer })?;
    line.push(b'\n');
    if let Ok(Cow::Owned(visible)) = str::from_utf8(&line).map(visible_json) {
        line = zeroize::Zeroizing::new(visible.into_bytes());
    }
    Ok(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Broken(io::ErrorKind);

    impl Write for Broken {
        fn write(&mut self, _bytes: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_reader_that_has_gone_is_quiet_and_a_full_disk_is_not() {
        let answer = |kind| Output { stdout: &mut Broken(kind), stderr: &mut Vec::new() }.answer(b"x");
        assert_eq!(answer(io::ErrorKind::BrokenPipe), Ok(()));
        assert_eq!(answer(io::ErrorKind::StorageFull).unwrap_err().kind, FaultKind::Failed);
    }
}
