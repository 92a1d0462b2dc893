//! The growing pause after passing failures.
//! Does not: know what failed, or try again.
//! Used by: the account, for renewals and for looking up the user.

use rally_cred_proto::Fault;

use crate::{
    answer::Retry,
    brake::Brake,
    policy,
    step::Step,
    time::{Now, Tick},
};

#[derive(Debug, Default)]
pub(super) struct Backoff {
    until: Option<Tick>,
    failures: u32,
    fault: Option<Fault>,
    /// Whether the network was in the way of the last attempt.
    ends_online: bool,
    /// The last attempt is to be made again, since the network is another now.
    owes_retry: bool,
    /// How often the network may end it.
    brake: Brake,
    /// Refusals without a clear cause, in a row.
    unclear: u32,
}

impl Backoff {
    pub(super) fn is_on(&self, now: Now) -> bool {
        self.until.is_some_and(|until| now.tick < until)
    }

    /// Whether more than one attempt in a row has failed.
    pub(super) fn is_repeated(&self) -> bool {
        self.failures > 1
    }

    /// The last failure, while the pause lasts.
    pub(super) fn fault(&self, now: Now) -> Option<Fault> {
        self.fault.clone().filter(|_| self.is_on(now))
    }

    pub(super) fn until(&self) -> Option<Tick> {
        self.until
    }

    /// Begins a pause, longer than the last.
    pub(super) fn failed(&mut self, step: &mut Step<'_>, fault: Fault, retry: Retry) {
        self.failures += 1;
        self.until = Some(step.now.tick + policy::backoff(self.failures, retry, step.dice));
        (self.ends_online, self.owes_retry) = (retry == Retry::Online, false);
        self.fault = Some(fault);
    }

    /// Whether the last attempt is worth another once the network is another, however long ago it was.
    pub(super) fn awaits_network(&self) -> bool {
        self.ends_online
    }

    /// The network is another: ends a pause that it was the cause of. A network that comes and goes does that ever more
    /// rarely.
    pub(super) fn online(&mut self, now: Now) {
        if self.ends_online && self.brake.lets_count(now) {
            (self.until, self.ends_online, self.owes_retry) = (None, false, true);
        }
    }

    /// Whether the last attempt is to be made again now, though nobody asks.
    pub(super) fn owes_retry(&self) -> bool {
        self.owes_retry
    }

    /// Counts a refusal without a clear cause. Whether so many in a row are to be believed.
    pub(super) fn is_believed(&mut self) -> bool {
        self.unclear += 1;
        self.unclear >= policy::REFUSALS
    }
}
