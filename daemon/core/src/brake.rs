//! Lets something that is said again and again count ever more rarely, whoever says it.
//! Does not: know what it is, or remember what did not count.
//! Used by: `backoff`, for the network, and `outages`, for the vault.

use crate::{
    policy,
    time::{Now, Tick},
};

#[derive(Debug, Default)]
pub(crate) struct Brake {
    /// How often it counted of late, and when it may count again.
    times: u32,
    next: Option<Tick>,
}

impl Brake {
    /// Whether it counts now. After a calm time, it does as if for the first time.
    pub(crate) fn lets_count(&mut self, now: Now) -> bool {
        if self.next.is_some_and(|next| now.tick < next) {
            return false;
        }
        if self.next.is_some_and(|next| now.tick - next >= policy::LONGEST_REST) {
            self.times = 0;
        }
        self.times += 1;
        self.next = Some(now.tick + policy::early_pause(self.times));
        true
    }

    /// When it may count again.
    pub(crate) fn next(&self) -> Option<Tick> {
        self.next
    }
}
