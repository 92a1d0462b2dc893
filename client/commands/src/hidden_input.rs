//! Switches the terminal's echo off, and restores it however this program ends or is stopped.
//! Does not: touch anything but the terminal of this process.
//! Used by: `terminal`.

#[cfg(not(unix))]
pub(crate) use elsewhere::{hide, read_line};
#[cfg(unix)]
pub(crate) use unix::{hide, read_line};

#[cfg(unix)]
mod unix {
    use std::io::{self, Read, Write};
    use std::sync::{Mutex, Once, mpsc};
    use std::{fs::File, thread};

    use rally_cred_proto::unpoisoned;
    use rustix::process::{getpgrp, getsid};
    use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
    use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP};
    use signal_hook::{iterator::Signals, low_level::emulate_default_handler};
    use zeroize::Zeroizing;

    /// Shows a prompt on the terminal and reads one line, which is not echoed.
    ///
    /// Echo is off before the prompt appears, so that early typing stays hidden too; what was typed before is discarded, as
    /// by `readpassphrase`. After a stop the prompt is shown again.
    pub(crate) fn read_line(prompt: &str) -> io::Result<Zeroizing<String>> {
        let mut terminal = open()?;
        let hidden = Hidden::begin(prompt, "", LocalModes::ECHONL, OptionalActions::Flush)?;
        terminal.write_all(prompt.as_bytes())?;
        // The only buffer that ever holds the secret.
        let mut line = Zeroizing::new([0; LONGEST]);
        let mut length = 0;
        while let Some(rest @ [_, ..]) = line.get_mut(length..) {
            match terminal.read(rest) {
                Ok(0) => break,
                Ok(count) => length += count,
                Err(err) if err.kind() == io::ErrorKind::Interrupted => {}
                Err(err) => return Err(err),
            }
            if line.get(..length).is_some_and(|typed| typed.ends_with(b"\n")) {
                break;
            }
        }
        drop(hidden);
        let typed = std::str::from_utf8(line.get(..length).unwrap_or_default());
        match typed.map_err(|_| io::ErrorKind::InvalidData)? {
            "" => Err(io::ErrorKind::UnexpectedEof.into()),
            typed => Ok(Zeroizing::new(typed.to_owned())),
        }
    }

    /// Echo is off until the returned value is dropped. On an interruption the program ends with this message.
    pub(crate) fn hide(farewell: &'static str) -> io::Result<impl Drop> {
        Hidden::begin("", farewell, LocalModes::empty(), OptionalActions::Now)
    }

    /// The longest line that a terminal gives.
    const LONGEST: usize = 4096;

    struct Hidden;

    /// The terminal whose echo is off, and its modes before and now.
    struct Terminal {
        device: File,
        before: Termios,
        now: Termios,
        prompt: String,
        farewell: &'static str,
    }

    static TERMINAL: Mutex<Option<Terminal>> = Mutex::new(None);

    impl Hidden {
        fn begin(
            prompt: &str,
            farewell: &'static str,
            shown: LocalModes,
            when: OptionalActions,
        ) -> io::Result<Self> {
            watch_signals()?;
            let device = open()?;
            let before = tcgetattr(&device)?;
            let mut now = before.clone();
            now.local_modes.remove(LocalModes::ECHO);
            now.local_modes.insert(shown);
            let mut terminal = unpoisoned(&TERMINAL);
            tcsetattr(&device, when, &now)?;
            *terminal = Some(Terminal { device, before, now, prompt: prompt.to_owned(), farewell });
            Ok(Self)
        }
    }

    impl Drop for Hidden {
        fn drop(&mut self) {
            if let Some(terminal) = unpoisoned(&TERMINAL).take() {
                terminal.set(&terminal.before);
            }
        }
    }

    impl Terminal {
        /// A terminal that is gone is ignored.
        fn set(&self, modes: &Termios) {
            tcsetattr(&self.device, OptionalActions::Now, modes).ok();
        }

        fn show(&mut self, text: &str) {
            self.device.write_all(text.as_bytes()).ok();
        }
    }

    /// From now on a signal that ends or stops this program restores the terminal first. The program then ends or stops by
    /// that signal, so that a loop in a shell ends too.
    fn watch_signals() -> io::Result<()> {
        static WATCH: Once = Once::new();
        let mut outcome = Ok(());
        WATCH.call_once(|| {
            // The thread first: signals that were caught and that nobody acts on could not end the program any more.
            let (caught, signals) = mpsc::channel::<Signals>();
            let watching = thread::Builder::new().spawn(move || {
                for signal in signals.recv().iter_mut().flat_map(Signals::forever) {
                    give_way(signal);
                }
            });
            outcome = watching
                .and_then(|_| Signals::new([SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP]))
                .map(|signals| caught.send(signals).unwrap_or_default());
        });
        outcome
    }

    /// Nobody else touches the terminal meanwhile, even if the program is stopped for long.
    fn give_way(signal: i32) {
        // Where no shell has made a job of this program, nobody would have it go on, and the system stops none such.
        if signal == SIGTSTP && getsid(None).is_ok_and(|session| session == getpgrp()) {
            return;
        }
        let mut terminal = unpoisoned(&TERMINAL);
        if let Some(terminal) = &mut *terminal {
            terminal.set(&terminal.before);
            match terminal.farewell {
                _ if signal == SIGTSTP => terminal.show("\n"),
                "" => terminal.show("\n"),
                farewell => terminal.show(&format!("\r\x1b[Krally-cred: {farewell}\n")),
            }
        }
        // It fails for signals that cannot end or stop a program, and these are others.
        emulate_default_handler(signal).ok();
        // It was stopped, and goes on. In the background, it is stopped here again until it has the terminal.
        if let Some(terminal) = &mut *terminal {
            terminal.set(&terminal.now);
            let prompt = std::mem::take(&mut terminal.prompt);
            terminal.show(&prompt);
            terminal.prompt = prompt;
        }
    }

    fn open() -> io::Result<File> {
        File::options().read(true).write(true).open("/dev/tty")
    }
}

#[cfg(not(unix))]
mod elsewhere {
    use std::io;

    use zeroize::Zeroizing;

    pub(crate) fn read_line(prompt: &str) -> io::Result<Zeroizing<String>> {
        rpassword::prompt_password(prompt).map(Zeroizing::new)
    }

    pub(crate) fn hide(_farewell: &'static str) -> io::Result<()> {
        Ok(())
    }
}
