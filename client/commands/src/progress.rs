//! One line at the foot of a terminal that says what is waited for and how long yet.
//! Does not: write anything where no terminal is; there, `events` says what happens in lines.
//! Used by: `login`.

use std::any::Any;
use std::time::{Duration, Instant};

use rally_cred::output::Output;

use crate::terminal::{Screen, Terminal};

/// The line, and what keeps typed text out of it.
pub(crate) struct Progress<'a> {
    sys: &'a dyn Terminal,
    wait: Option<Wait>,
    drawn: bool,
    hidden_typing: Option<Box<dyn Any>>,
}

struct Wait {
    on: String,
    until: Option<Instant>,
}

impl<'a> Progress<'a> {
    pub(crate) fn new(sys: &'a dyn Terminal) -> Self {
        Self { sys, wait: None, drawn: false, hidden_typing: None }
    }

    pub(crate) fn is_live(&self) -> bool {
        self.sys.screen().is_some()
    }

    /// Waits for this from now on, no longer than `most` if that is known.
    pub(crate) fn wait_for(&mut self, now: Instant, on: impl Into<String>, most: Option<Duration>) {
        self.wait = Some(Wait { on: on.into(), until: most.map(|most| now + most) });
    }

    /// Hides what is typed, so that it does not break the line.
    pub(crate) fn hide_typing(&mut self) {
        if self.hidden_typing.is_none() {
            self.hidden_typing = Some(self.sys.hide_typing());
        }
    }

    /// Writes the line anew; returns how long it stays true.
    pub(crate) fn draw(&mut self, now: Instant, output: &mut Output<'_>) -> Option<Duration> {
        let (wait, screen) = (self.wait.as_ref()?, self.sys.screen()?);
        let left = wait.until.map(|until| until.saturating_duration_since(now));
        output.draw(&format!("\r\x1b[K{}", line(&wait.on, left, screen)));
        self.drawn = true;
        // To the end of the running second.
        left.map(|left| Duration::from_nanos(u64::from(left.subsec_nanos())).max(SHORTEST))
    }

    /// Takes the line away, so that others can be written.
    pub(crate) fn clear(&mut self, output: &mut Output<'_>) {
        if std::mem::take(&mut self.drawn) {
            output.draw("\r\x1b[K");
        }
    }
}

/// Shortest time between two drawings.
const SHORTEST: Duration = Duration::from_millis(50);

fn line(on: &str, left: Option<Duration>, screen: Screen) -> String {
    let left = left.map_or_else(String::new, |left| {
        let seconds = left.as_millis().div_ceil(1000);
        format!(", {}:{:02} left", seconds / 60, seconds % 60)
    });
    // A line that wraps cannot be written anew.
    let line: String =
        format!("waiting for {on}{left}").chars().take(screen.columns.saturating_sub(1)).collect();
    if screen.has_colour { format!("\x1b[2m{line}\x1b[0m") } else { line }
}

#[cfg(unix)]
#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Fake, FakeTerminal};

    const PLAIN: Screen = Screen { columns: 80, has_colour: false };

    #[test]
    fn the_line_counts_down_and_is_never_wider_than_the_screen() {
        let left = Some(Duration::from_millis(298_001));
        assert_eq!(line("Rally", left, PLAIN), "waiting for Rally, 4:59 left");
        assert_eq!(line("Rally", Some(Duration::ZERO), PLAIN), "waiting for Rally, 0:00 left");
        assert_eq!(line("Rally", None, PLAIN), "waiting for Rally");
        assert_eq!(line("Rally", left, Screen { columns: 10, ..PLAIN }), "waiting f");
        let coloured = line("Rally", None, Screen { has_colour: true, ..PLAIN });
        assert_eq!(coloured, "\x1b[2mwaiting for Rally\x1b[0m");
    }

    #[test]
    fn it_is_drawn_once_a_second_and_only_on_a_terminal() {
        let now = Instant::now();
        for (screen, expected) in [
            (Some(PLAIN), "\r\x1b[Kwaiting for Rally, 1:00 left\r\x1b[Kwaiting for Rally, 0:59 left\r\x1b[K"),
            (None, ""),
        ] {
            let terminal = FakeTerminal { screen, ..FakeTerminal::default() };
            let sys = Fake { terminal, ..Fake::default() };
            let mut stderr = Vec::new();
            let mut output = Output { stdout: &mut Vec::new(), stderr: &mut stderr };
            let mut progress = Progress::new(&sys);
            assert_eq!(progress.draw(now, &mut output), None, "nothing is waited for");
            progress.wait_for(now, "Rally", Some(Duration::from_secs(60)));
            for later in [Duration::from_millis(300), Duration::from_millis(1000)] {
                let stays = progress.draw(now + later, &mut output);
                let rest = if later.subsec_millis() == 0 { SHORTEST } else { Duration::from_millis(700) };
                assert_eq!(stays, screen.map(|_| rest));
            }
            progress.clear(&mut output);
            progress.clear(&mut output);
            assert_eq!(String::from_utf8(stderr).unwrap(), expected);
        }
    }
}
