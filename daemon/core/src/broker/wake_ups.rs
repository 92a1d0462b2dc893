//! When each account is to be woken.
//! Does not: wake it.
//! Used by: `broker`.

use std::collections::{BTreeMap, BTreeSet};

use crate::time::Tick;

/// When to wake which account, soonest first.
#[derive(Debug, Default)]
pub(super) struct WakeUps {
    queue: BTreeSet<(Tick, String)>,
    of: BTreeMap<String, Tick>,
}

impl WakeUps {
    /// Reschedules an account.
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

    pub(super) fn first(&self) -> Option<Tick> {
        self.queue.first().map(|(at, _)| *at)
    }

    pub(super) fn due(&self, now: Tick) -> Vec<String> {
        self.queue.iter().take_while(|(at, _)| *at <= now).map(|(_, name)| name.clone()).collect()
    }
}
