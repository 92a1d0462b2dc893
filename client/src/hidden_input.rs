//! Keeps what is typed on the terminal from being shown, and puts the terminal back however this program ends.
//! Does not: touch anything but the terminal of this process.
//! Met by: `surroundings`.

#[cfg(not(unix))]
pub(crate) use elsewhere::{hide, read_line};
#[cfg(unix)]
pub(crate) use unix::{hide, read_line};

#[cfg(unix)]
mod unix {
    use std::{
        fs::File,
        io::{self, BufRead, BufReader, Write},
        sync::{Mutex, Once, PoisonError},
        thread,
    };

    use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
    use signal_hook::{
        consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM},
        iterator::Signals,
        low_level::emulate_default_handler,
    };

    /// Shows a prompt on the terminal and reads one line, which is not echoed.
    ///
    /// Echo is off before the prompt is shown, so that nothing typed in answer to it can be seen, however early it comes;
    /// what was typed before is thrown away, as `readpassphrase` does.
    pub(crate) fn read_line(prompt: &str) -> io::Result<String> {
        let mut terminal = open()?;
        let hidden = Hidden::begin("", LocalModes::ECHONL, OptionalActions::Flush)?;
        terminal.write_all(prompt.as_bytes())?;
        let mut line = String::new();
        let count = BufReader::new(terminal).read_line(&mut line)?;
        drop(hidden);
        if count == 0 { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(line) }
    }

    /// Hides what is typed until the returned value is dropped. An interruption ends the program with these words.
    pub(crate) fn hide(farewell: &'static str) -> io::Result<impl Drop> {
        Hidden::begin(farewell, LocalModes::empty(), OptionalActions::Now)
    }

    struct Hidden;

    /// The terminal whose echo is off, as it was before.
    struct Before {
        terminal: File,
        modes: Termios,
        farewell: &'static str,
    }

    static BEFORE: Mutex<Option<Before>> = Mutex::new(None);

    impl Hidden {
        fn begin(farewell: &'static str, shown: LocalModes, when: OptionalActions) -> io::Result<Self> {
            watch_interruptions()?;
            let terminal = open()?;
            let modes = tcgetattr(&terminal)?;
            let mut hidden = modes.clone();
            hidden.local_modes.remove(LocalModes::ECHO);
            hidden.local_modes.insert(shown);
            let mut before = BEFORE.lock().unwrap_or_else(PoisonError::into_inner);
            tcsetattr(&terminal, when, &hidden)?;
            *before = Some(Before { terminal, modes, farewell });
            Ok(Self)
        }
    }

    impl Drop for Hidden {
        fn drop(&mut self) {
            restore();
        }
    }

    /// Puts the terminal back, once; gives back what an interruption is to say there.
    fn restore() -> Option<Before> {
        let before = BEFORE.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        // There is nobody left to tell if the terminal has gone.
        tcsetattr(&before.terminal, OptionalActions::Now, &before.modes).ok();
        Some(before)
    }

    /// From now on a signal that ends this program puts the terminal back first. The program then ends by the signal
    /// itself, so that a shell that runs it in a loop ends the loop too.
    fn watch_interruptions() -> io::Result<()> {
        static WATCH: Once = Once::new();
        let mut outcome = Ok(());
        WATCH.call_once(|| {
            outcome = Signals::new([SIGHUP, SIGINT, SIGQUIT, SIGTERM]).map(|mut signals| {
                thread::spawn(move || {
                    for signal in signals.forever() {
                        match restore() {
                            Some(Before { mut terminal, farewell, .. }) if !farewell.is_empty() => {
                                write!(terminal, "\r\x1b[Krally-cred: {farewell}\n").ok();
                            }
                            Some(Before { mut terminal, .. }) => drop(terminal.write_all(b"\n")),
                            None => {}
                        }
                        // It fails for signals that cannot end a program, and these are others.
                        emulate_default_handler(signal).ok();
                    }
                });
            });
        });
        outcome
    }

    fn open() -> io::Result<File> {
        File::options().read(true).write(true).open("/dev/tty")
    }
}

#[cfg(not(unix))]
mod elsewhere {
    use std::io;

    pub(crate) fn read_line(prompt: &str) -> io::Result<String> {
        rpassword::prompt_password(prompt)
    }

    pub(crate) fn hide(_farewell: &'static str) -> io::Result<()> {
        Ok(())
    }
}
