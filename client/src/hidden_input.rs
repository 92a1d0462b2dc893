//! Reads a line from the terminal without showing it.
//! Does not: read from anything but the terminal of this process.
//! Met by: `surroundings`.

use std::io;

/// Shows a prompt on the terminal and reads one line, which is not echoed.
///
/// Echo is off before the prompt is shown, so that nothing typed in answer to it can be seen, however early it comes;
/// what was typed before is thrown away, as `readpassphrase` does.
#[cfg(unix)]
pub(crate) fn read_line(prompt: &str) -> io::Result<String> {
    use std::{
        fs::File,
        io::{BufRead, BufReader, Write},
    };

    use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

    /// Puts the terminal back, however the reading ends.
    struct Restore<'a>(&'a File, Termios);

    impl Drop for Restore<'_> {
        fn drop(&mut self) {
            // There is nobody left to tell if the terminal has gone.
            tcsetattr(self.0, OptionalActions::Now, &self.1).ok();
        }
    }

    let terminal = File::options().read(true).write(true).open("/dev/tty")?;
    let shown = tcgetattr(&terminal)?;
    let mut hidden = shown.clone();
    hidden.local_modes.remove(LocalModes::ECHO);
    hidden.local_modes.insert(LocalModes::ECHONL);
    tcsetattr(&terminal, OptionalActions::Flush, &hidden)?;
    let restore = Restore(&terminal, shown);
    (&terminal).write_all(prompt.as_bytes())?;
    let mut line = String::new();
    let count = BufReader::new(&terminal).read_line(&mut line)?;
    drop(restore);
    if count == 0 { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(line) }
}

#[cfg(not(unix))]
pub(crate) fn read_line(prompt: &str) -> io::Result<String> {
    rpassword::prompt_password(prompt)
}
