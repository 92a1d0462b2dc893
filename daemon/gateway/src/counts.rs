//! What a gateway has done so far.
//! Does not: time anything, or name a path.
//! Used by: `server`, `forward` and `tunnel`, which count; the daemon's `status`.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicU64, Ordering::Relaxed},
};

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
pub(crate) struct Tally {
    pub(crate) requests: AtomicU64,
    pub(crate) refused: AtomicU64,
    pub(crate) tunnels: AtomicU64,
    pub(crate) active: AtomicU64,
    pub(crate) waiting: AtomicU64,
    pub(crate) up: AtomicU64,
    pub(crate) down: AtomicU64,
    pub(crate) renewals: AtomicU64,
    last_error: Mutex<Option<String>>,
}

/// Counts one until it is dropped.
pub(crate) struct Present {
    tally: Arc<Tally>,
    count: fn(&Tally) -> &AtomicU64,
}

impl Tally {
    pub(crate) fn failed(&self, reason: &str) {
        *unpoisoned(&self.last_error) = Some(reason.to_owned());
    }

    pub(crate) fn counts(&self) -> Counts {
        let Self { requests, refused, tunnels, active, waiting, up, down, renewals, last_error } = self;
        Counts {
            requests: requests.load(Relaxed),
            refused: refused.load(Relaxed),
            tunnels: tunnels.load(Relaxed),
            active: active.load(Relaxed),
            waiting: waiting.load(Relaxed),
            up: up.load(Relaxed),
            down: down.load(Relaxed),
            renewals: renewals.load(Relaxed),
            last_error: unpoisoned(last_error).clone(),
        }
    }
}

/// One more.
pub(crate) fn add_one(count: &AtomicU64) {
    count.fetch_add(1, Relaxed);
}

/// So many bytes more.
pub(crate) fn add_bytes(count: &AtomicU64, bytes: usize) {
    count.fetch_add(bytes.try_into().unwrap_or(u64::MAX), Relaxed);
}

impl Present {
    pub(crate) fn new(tally: &Arc<Tally>, count: fn(&Tally) -> &AtomicU64) -> Self {
        add_one(count(tally));
        Self { tally: Arc::clone(tally), count }
    }
}

impl Drop for Present {
    fn drop(&mut self) {
        (self.count)(&self.tally).fetch_sub(1, Relaxed);
    }
}
