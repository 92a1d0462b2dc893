//! What an account does while the daemon is locked: it forgets what the vault has, and hands out nothing.
//! Does not: know who locked it, or for how long.
//! Used by: `account`, of which this is a part.

use rally_cred_proto::{Fault, FaultKind, message::WaitingOn};

use crate::{
    account::{Account, job::Job, slot::Slot},
    lock::locked,
    step::Step,
    time::Tick,
};

impl Account {
    /// Ends what is under way, but a renewal: its answer may hold the only refresh token that works; nor is the program run
    /// twice at a time that gives the token. Whoever waits for a
    /// token goes on waiting; whoever wants something else is refused.
    pub(crate) fn lock(&mut self, step: &mut Step<'_>) {
        let fault = locked();
        self.abandon_flow(step, &fault);
        self.end_alerts(step);
        self.refuse_if(step, &fault, |_, _, waiter| !waiter.is_get());
        self.tell_all(step, WaitingOn::Unlock);
        self.forget_consents(step);
        self.advance(step);
    }

    /// Goes on with what waited. `was_held`: a token was held before, which is read again.
    pub(crate) fn unlock(&mut self, step: &mut Step<'_>, was_held: bool) {
        self.is_shut = false;
        if was_held && matches!(self.token.slot(), Slot::Unread) {
            self.load_token(step);
        }
        self.apply_again(step);
        self.advance(step);
    }

    /// What [`Account::advance`] does in the meantime.
    pub(super) fn rest(&mut self, step: &mut Step<'_>) {
        if !matches!(self.job, Job::Renewing(..) | Job::Fetching(_)) {
            self.job = Job::None;
        }
        self.reports.put_off();
        self.keyring_news_at = None;
        self.save_again(step);
        if !self.is_unsettled() {
            if self.token.held().is_none() || self.token_item.is_kept() {
                self.token.lock();
            }
            if self.client_secret.for_vault().is_none() || self.client_secret_item.is_kept() {
                self.client_secret.lock();
            }
        }
        self.refuse_late_applicants(step);
        let now = step.now.tick;
        self.refuse_if(step, &locked(), |_, _, waiter| waiter.deadline <= now);
    }

    /// When to come back to that though no event comes.
    pub(super) fn rest_until(&self) -> Option<Tick> {
        let waiting = self.waiters.iter().map(|waiter| waiter.deadline).min();
        [waiting, self.consents.due(), self.token_item.again_at(), self.client_secret_item.again_at()]
            .into_iter()
            .flatten()
            .min()
    }

    /// What is still held because the vault does not have it, as whoever locked is told.
    pub(crate) fn unforgotten(&self) -> Option<Fault> {
        let what = match (self.token.held().is_some(), self.client_secret.held().is_some()) {
            (false, false) => return None,
            (true, _) => "token",
            (false, true) => "client secret",
        };
        let what = format!("the {what} of profile {} stays in memory", self.profile.name);
        let fault = Fault::new(FaultKind::VaultMissing, what).why("the keyring does not have it");
        Some(match &self.vault_fault {
            Some(Fault { remedy: Some(remedy), .. }) => fault.remedy(remedy.clone()),
            _ => fault.remedy(self.profile.command("logout")),
        })
    }
}
