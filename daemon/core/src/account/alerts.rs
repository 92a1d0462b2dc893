//! When to notify the user that a sign-in is needed.
//! Does not: notify (an effect orders it), or open a browser.
//! Used by: the account.

use crate::{
    policy,
    time::{Now, Tick},
};

#[derive(Debug, Default)]
pub(super) struct Alerts {
    /// When and why to notify, unless somebody who can be asked comes first.
    due: Option<(Tick, String)>,
    sent: u32,
    not_before: Option<Tick>,
}

impl Alerts {
    /// Notes that only a person can help. They are notified a moment later, unless they are asked meanwhile: a client
    /// asks without interaction first, and looks for a person only then.
    pub(super) fn want(&mut self, now: Now, why: &str) {
        if self.due.is_none() && self.not_before.is_none_or(|at| at <= now.tick) {
            self.due = Some((now.tick + policy::ALERT_GRACE, why.to_owned()));
        }
    }

    /// Somebody who can be asked is there.
    pub(super) fn seen_to(&mut self) {
        self.due = None;
    }

    /// Why to notify now, if it is time.
    pub(super) fn take_due(&mut self, now: Now) -> Option<String> {
        let (_, why) = self.due.take_if(|(at, _)| *at <= now.tick)?;
        self.sent += 1;
        self.not_before = Some(now.tick + policy::cool_down(self.sent));
        Some(why)
    }

    pub(super) fn due(&self) -> Option<Tick> {
        self.due.as_ref().map(|(at, _)| *at)
    }

    /// A sign-in succeeded, or was given up on purpose. Whether a notification is on the screen.
    pub(super) fn end(&mut self) -> bool {
        std::mem::take(self).sent > 0
    }

    /// Whether nothing is due, and no notification is shown, whose button would be dead without this process.
    pub(super) fn are_over(&self) -> bool {
        self.due.is_none() && self.sent == 0
    }
}
