//! When to wake each account, soonest first, so that a request costs the same whatever the number of profiles.
//! Does not: wake one.
//! Used by: `broker`.

use std::collections::{BTreeMap, BTreeSet};

use crate::time::Tick;

#[derive(Debug, Default)]
pub(super) struct WakeUps {
    queue: BTreeSet<(Tick, String)>,
    of: BTreeMap<String, Tick>,
}

impl WakeUps {
    /// Wakes an account at this time from now on, or not at all.
    pub(super) fn set(&mut self, name: &str, at: Option<Tick>) {
        if self.of.get(name).copied() == at {
            return;
        }
        if let Some((name, old)) = self.of.remove_entry(name) {
            self.queue.remove(&(old, name));
        }
        if let Some(at) = at {
            self.queue.insert((at, name.to_owned()));
            self.of.insert(name.to_owned(), at);
        }
    }

    /// The soonest.
    pub(super) fn first(&self) -> Option<Tick> {
        self.queue.first().map(|(at, _)| *at)
    }

    /// Those whose time has come.
    pub(super) fn due(&self, now: Tick) -> Vec<String> {
        self.queue.iter().take_while(|(at, _)| *at <= now).map(|(_, name)| name.clone()).collect()
    }
}
