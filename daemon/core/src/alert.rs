//! Whether one profile's person is told that a sign-in is needed, though no program of theirs could ask.
//! Does not: tell anybody (its effect says so), or open a browser.
//! Used by: `account`, of which this is a part.

use super::{
    account::{Account, Job, Wants},
    event::{Alert, Effect, GrantStep},
    policy,
    renewal::Trust,
    step::Step,
    time::Tick,
};

/// What is to be told, and what was.
#[derive(Debug, Default)]
pub(super) struct Alerts {
    /// When to tell, and why, unless somebody comes who can be asked.
    due: Option<(Tick, String)>,
    sent: u32,
    not_before: Option<Tick>,
}

impl Alerts {
    /// Whether nobody is to be told anything, or was told of what is still so.
    pub(super) fn are_over(&self) -> bool {
        self.due.is_none() && self.sent == 0
    }
}

impl Account {
    /// Notes that nobody but a person can help. The person is told a moment later, if nobody asks them meanwhile: a
    /// client asks without interaction first, and looks for a person only then.
    pub(super) fn want_alert(&mut self, step: &Step<'_>, why: &str) {
        let is_soon = [self.alerts.not_before, self.cool_down.until()]
            .into_iter()
            .flatten()
            .any(|until| step.now.tick < until);
        if self.alerts.due.is_none() && !is_soon {
            self.alerts.due = Some((step.now.tick + policy::ALERT_GRACE, why.to_owned()));
        }
    }

    /// Tells the person, when the time has come.
    pub(super) fn alert_if_due(&mut self, step: &mut Step<'_>) {
        if self.is_somebody_looking() {
            self.alerts.due = None;
        }
        let Some((_, why)) = self.alerts.due.take_if(|(at, _)| *at <= step.now.tick) else { return };
        self.alerts.sent += 1;
        self.alerts.not_before = Some(step.now.tick + policy::cool_down(self.alerts.sent));
        let alert = Alert {
            profile: self.profile.name.clone(),
            why,
            // Until the token ends, a plain `login` would say that all is well.
            remedy: format!("{} --force", self.login_command()),
            // A client secret is typed on a terminal, which a button has not.
            has_button: self.trust != Trust::None,
        };
        step.log(&self.profile.name, GrantStep::Alerted);
        step.effects.push(Effect::Alert(alert));
    }

    /// A sign-in helped, or was given up on purpose: what comes next is a new matter.
    pub(super) fn end_alerts(&mut self, step: &mut Step<'_>) {
        if std::mem::take(&mut self.alerts).sent > 0 {
            step.effects.push(Effect::WithdrawAlert(self.profile.name.clone()));
        }
    }

    pub(super) fn alert_due(&self) -> Option<Tick> {
        self.alerts.due.as_ref().map(|(at, _)| *at)
    }

    fn is_somebody_looking(&self) -> bool {
        matches!(self.job, Job::Flow(_) | Job::Exchanging(..) | Job::LookingUp(..))
            || self.waiters.iter().any(|waiter| {
                matches!(waiter.wants, Wants::Login { .. } | Wants::Get { interactive: true, .. })
            })
    }
}
