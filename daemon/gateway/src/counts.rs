//! What a gateway has done so far.
//! Does not: time anything, or name a path.
//! Used by: `server`, `forward` and `tunnel`, which count; the daemon's `status`.

use std::sync::{Arc, Mutex, MutexGuard};

use rally_cred_proto::unpoisoned;

/// What a gateway has done since it was opened, for `status`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Requests that were let in.
    pub requests: u64,
    /// Requests that were not.
    pub refused: u64,
    /// Tunnels to other servers.
    pub tunnels: u64,
    /// Requests at Rally now.
    pub active: u64,
    /// Requests that wait for their turn or a token now.
    pub waiting: u64,
    /// Bytes of bodies and tunnels from tools.
    pub up: u64,
    /// Bytes of bodies and tunnels to tools.
    pub down: u64,
    /// Requests whose token Rally refused and that got another one.
    pub renewals: u64,
    /// The last reason why a request got no answer of Rally's.
    pub last_error: Option<String>,
}

/// Counts, kept up to date.
#[derive(Debug, Default)]
pub(crate) struct Tally(Mutex<Counts>);

impl Tally {
    /// The counts so far. To be let go at once: every request counts here.
    pub(crate) fn counts(&self) -> MutexGuard<'_, Counts> {
        unpoisoned(&self.0)
    }

    pub(crate) fn failed(&self, reason: &str) {
        self.counts().last_error = Some(reason.to_owned());
    }
}

/// Counts one until it is dropped.
pub(crate) struct Present {
    tally: Arc<Tally>,
    count: fn(&mut Counts) -> &mut u64,
}

impl Present {
    pub(crate) fn new(tally: &Arc<Tally>, count: fn(&mut Counts) -> &mut u64) -> Self {
        *count(&mut tally.counts()) += 1;
        Self { tally: Arc::clone(tally), count }
    }
}

impl Drop for Present {
    fn drop(&mut self) {
        *(self.count)(&mut self.tally.counts()) -= 1;
    }
}
