//! When a user is notified that only a person can help, and when that is over.
//! Does not: show anything (its effects say so).
//! Used by: `account`, of which this is a part.

use crate::{
    account::Account,
    event::{Alert, Effect, GrantStep},
    step::Step,
    waiter::Waiter,
};

impl Account {
    /// Notes that only a person can help.
    pub(super) fn want_alert(&mut self, step: &Step<'_>, why: &str) {
        if self.cool_down.left(step.now).is_none() {
            self.alerts.want(step.now, why);
        }
    }

    /// Notifies the user when it is time.
    pub(super) fn notify_if_due(&mut self, step: &mut Step<'_>) {
        if self.job.is_sign_in() || self.waiters.iter().any(Waiter::is_interactive) {
            self.alerts.seen_to();
        }
        let Some(why) = self.alerts.take_due(step.now) else { return };
        let alert = Alert {
            profile: self.profile.name.to_string(),
            why,
            // Until the token ends, a plain `login` would say that all is well.
            remedy: self.profile.command("login").arg("--force"),
            // A client secret needs a terminal to be typed on.
            has_button: !self.client_secret.is_refused(),
        };
        step.log(&self.profile.name, GrantStep::Alerted);
        step.effects.push(Effect::Alert(alert));
    }

    /// A sign-in succeeded, or was given up on purpose.
    pub(super) fn end_alerts(&mut self, step: &mut Step<'_>) {
        if self.alerts.end() {
            step.effects.push(Effect::WithdrawAlert(self.profile.name.to_string()));
        }
    }
}
