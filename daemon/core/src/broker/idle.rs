//! When a daemon that its service manager can start again may end: it was idle for a while, and nothing would be lost.
//! Does not: know whether a client is connected; whoever carries out `Effect::ExitIfDeserted` does.
//! Used by: `broker`.

use crate::{
    event::Event,
    time::{Now, Tick, Ticks},
};

#[derive(Debug)]
pub(super) struct Idleness {
    /// How long it must be idle.
    after: Ticks,
    quiet_since: Option<Tick>,
}

impl Idleness {
    pub(super) fn new(after: Ticks) -> Self {
        Self { after, quiet_since: None }
    }

    pub(super) fn heard(&mut self, now: Now, event: &Event) {
        match event {
            // Nobody asks for anything by these.
            Event::TimePassed
            | Event::VaultUnlocked
            | Event::Online
            | Event::SessionLocked
            | Event::Sleeping
            | Event::Woke => self.quiet_since.get_or_insert(now.tick),
            _ => self.quiet_since.insert(now.tick),
        };
    }

    /// When to ask whether the daemon may end.
    pub(super) fn deadline(&self) -> Option<Tick> {
        self.quiet_since.map(|since| since + self.after)
    }

    /// Whether it was idle for long enough. If so, the time begins anew.
    pub(super) fn is_due(&mut self, now: Now) -> bool {
        let is_due = self.deadline().is_some_and(|at| at <= now.tick);
        if is_due {
            self.quiet_since = Some(now.tick);
        }
        is_due
    }
}
