//! Whether and when the user is notified that a sign-in is needed, while no program of theirs could ask.
//! Does not: notify (an effect says so), or open a browser.
//! Used by: the account.

use crate::{
    policy,
    time::{Now, Tick},
};

/// The notification that is due, and those that were sent.
#[derive(Debug, Default)]
pub(super) struct Alerts {
    /// When to notify, and why, unless somebody comes who can be asked.
    due: Option<(Tick, String)>,
    sent: u32,
    not_before: Option<Tick>,
}

impl Alerts {
    /// Notes that nobody but a person can help. They are notified a moment later, unless they are asked meanwhile: a
    /// client asks without interaction first, and looks for a person only then.
    pub(super) fn want(&mut self, now: Now, why: &str) {
        if self.due.is_none() && self.not_before.is_none_or(|at| at <= now.tick) {
            self.due = Some((now.tick + policy::ALERT_GRACE, why.to_owned()));
        }
    }

    /// Somebody is there who can be asked.
    pub(super) fn seen_to(&mut self) {
        self.due = None;
    }

    /// Why to notify now, if the time has come.
    pub(super) fn take_due(&mut self, now: Now) -> Option<String> {
        let (_, why) = self.due.take_if(|(at, _)| *at <= now.tick)?;
        self.sent += 1;
        self.not_before = Some(now.tick + policy::cool_down(self.sent));
        Some(why)
    }

    /// When to notify.
    pub(super) fn due(&self) -> Option<Tick> {
        self.due.as_ref().map(|(at, _)| *at)
    }

    /// A sign-in helped, or was given up on purpose: what comes next is a new matter. Whether a notification stands.
    pub(super) fn end(&mut self) -> bool {
        std::mem::take(self).sent > 0
    }

    /// Whether nothing is due, and no notification stands whose button would be dead without this process.
    pub(super) fn are_over(&self) -> bool {
        self.due.is_none() && self.sent == 0
    }
}
