//! The growing pause after passing failures.
//! Does not: know what failed, or try again.
//! Used by: the account, for renewals and for looking up the user.

use rally_cred_proto::Fault;

use crate::{
    policy,
    step::Step,
    time::{Now, Tick},
};

#[derive(Debug, Default)]
pub(super) struct Backoff {
    until: Option<Tick>,
    failures: u32,
    fault: Option<Fault>,
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
    pub(super) fn failed(&mut self, step: &mut Step<'_>, fault: Fault, retry_after: Option<u32>) {
        self.failures += 1;
        self.until = Some(step.now.tick + policy::backoff(self.failures, retry_after, step.dice));
        self.fault = Some(fault);
    }

    /// Counts a refusal without a clear cause. Whether so many in a row are to be believed.
    pub(super) fn is_believed(&mut self) -> bool {
        self.unclear += 1;
        self.unclear >= policy::REFUSALS
    }
}
