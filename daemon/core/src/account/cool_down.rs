//! The cool-down after a sign-in that nobody answered: until it ends, no browser tab is opened unasked.
//! Does not: hold back a `login`, by which a person asks for one.
//! Used by: the account.

use crate::{
    policy,
    time::{Now, Tick, Ticks},
};

/// The cool-down. It grows with each sign-in in a row that nobody answered.
#[derive(Debug, Default)]
pub(super) struct CoolDown {
    misses: u32,
    until: Option<Tick>,
    /// Whether a person had answered, and the network was in the way.
    ends_online: bool,
}

impl CoolDown {
    /// A sign-in failed or was not answered.
    pub(super) fn missed(&mut self, now: Now) {
        self.misses += 1;
        self.until = Some(now.tick + policy::cool_down(self.misses));
        self.ends_online = false;
    }

    /// The sign-in failed for want of a network.
    pub(super) fn is_of_network(&mut self) {
        self.ends_online = true;
    }

    pub(super) fn awaits_network(&self) -> bool {
        self.ends_online
    }

    /// The network is another.
    pub(super) fn online(&mut self) {
        if std::mem::take(&mut self.ends_online) {
            self.until = None;
        }
    }

    pub(super) fn left(&self, now: Now) -> Option<Ticks> {
        self.until.filter(|until| now.tick < *until).map(|until| until - now.tick)
    }

    /// Whether a new process may start without it.
    pub(super) fn is_forgettable(&self, now: Now) -> bool {
        policy::is_cool_down_forgettable(now, self.until)
    }
}
