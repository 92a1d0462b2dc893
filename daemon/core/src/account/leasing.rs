//! A renewal where many daemons share a vault: the item is read, the lease is taken by check-and-set, and only then is
//! the refresh token sent. The write of what Rally gave for it ends the lease.
//! Does not: renew without the lease, whatever the vault's trouble: what one daemon holds, another may have used.
//! Used by: `account`, of which this is a part.

use rally_cred_proto::{Fault, FaultKind};

use crate::{
    account::{
        Account,
        job::{Job, Look},
    },
    answer::Retry,
    event::Epoch,
    policy, record,
    step::Step,
    time::Tick,
    vault::{Change, Changed, ItemKind, VaultTrouble},
};

impl Account {
    /// Takes the next step towards a renewal.
    pub(super) fn begin_shared_renewal(&mut self, step: &mut Step<'_>) {
        if self.token_item.is_under_way() {
            self.job = Job::Saving(step.now.tick + policy::SHARED_LOOK_PATIENCE);
            return;
        }
        if !self.token_item.is_current() {
            // The vault may have it all the same, and another daemon may have gone on from it.
            let fault = self.vault_fault.clone().unwrap_or_else(|| {
                Fault::new(FaultKind::VaultFailed, "the vault has not taken the last token yet")
                    .run("rally-cred status")
            });
            return self.back_off(step, fault, Retry::Later);
        }
        if !self.token.was_read_now(step.now) {
            // In memory that no other daemon shares, there is nothing to see; and no lease is needed.
            if self.look(step, Look::BeforeRenewal).is_err() {
                self.send_refresh_token(step);
            }
            return;
        }
        let found = self.token.held().and_then(|record| record.lease.clone());
        // Where an attempt fails again and again, another daemon may have more luck.
        if !self.lease.may_take(step.now, found.as_ref(), self.backoff.is_repeated()) {
            let at = self.lease.look_again_at(step.now, step.dice);
            self.job = Job::Pausing(at, Look::BeforeRenewal);
            return;
        }
        let (lease, began) = (self.lease.claim(step.now, step.dice), step.now.tick);
        let Some(epoch) = self.write_lease(step, &lease) else { return };
        self.job = Job::Leasing(epoch, lease, began);
    }

    /// Orders the item to name this lease, if it still holds what was read.
    fn write_lease(&mut self, step: &mut Step<'_>, lease: &record::Lease) -> Option<Epoch> {
        let mut record = self.token.held()?.clone();
        record.lease = Some(lease.clone());
        let (from, to) = (self.lease.item().cloned(), record::encode(&record));
        Some(step.change(self.owner(), Change { key: self.key(ItemKind::Token), from, to }))
    }

    /// Takes the outcome of a change of the lease. `false` if it is of another.
    pub(super) fn leased(
        &mut self,
        step: &mut Step<'_>,
        epoch: Epoch,
        outcome: &Result<Changed, VaultTrouble>,
    ) -> bool {
        match std::mem::take(&mut self.job) {
            Job::Leasing(own, lease, began) if own == epoch => {
                self.lease_answered(step, lease, began, outcome);
            }
            Job::Renewing(renewal, sent, Some((own, lease))) if own == epoch => {
                self.job = Job::Renewing(renewal, sent, None);
                // A lease that is lost cannot be helped: Rally has the refresh token.
                match outcome {
                    Ok(Changed::Done) => self.holds_lease(lease, step.now.tick),
                    Ok(Changed::Conflict(_)) => {}
                    Err(_) => self.lease.taken(step.now.tick),
                }
            }
            other => {
                self.job = other;
                return false;
            }
        }
        true
    }

    fn lease_answered(
        &mut self,
        step: &mut Step<'_>,
        lease: record::Lease,
        began: Tick,
        outcome: &Result<Changed, VaultTrouble>,
    ) {
        match outcome {
            // So late, others may believe it ended before the answer of Rally is saved.
            Ok(Changed::Done) if step.now.tick - began >= policy::LEASE_EXTENSION => {
                self.job = Job::Pausing(step.now.tick, Look::BeforeRenewal);
            }
            // The lease ends by itself.
            Ok(Changed::Done) if step.is_stopping => {}
            Ok(Changed::Done) => {
                self.holds_lease(lease, began);
                self.send_refresh_token(step);
            }
            Ok(Changed::Conflict(found)) => {
                let before = self.token.generation();
                self.lease.read(found.clone());
                self.take_news(step, found.as_ref());
                if !self.token.is_newer_than(before) && self.token.held().is_some() {
                    let at = self.lease.look_again_at(step.now, step.dice);
                    self.job = Job::Pausing(at, Look::BeforeRenewal);
                }
            }
            Err(trouble) => self.stop_for_vault(step, trouble),
        }
    }

    /// Without the vault there is no renewal.
    pub(super) fn stop_for_vault(&mut self, step: &mut Step<'_>, trouble: &VaultTrouble) {
        let fault = trouble.fault();
        self.vault_fault = Some(fault.clone());
        self.back_off(step, fault, trouble.retry());
    }

    fn holds_lease(&mut self, lease: record::Lease, began: Tick) {
        self.token.leased(Some(lease));
        self.lease.read(self.token.text());
        self.lease.taken(began);
    }

    fn send_refresh_token(&mut self, step: &mut Step<'_>) {
        let secrets = self.client_secret.usable().cloned().zip(self.token.usable_refresh().cloned());
        let Some((client_secret, refresh_token)) = secrets else { return };
        self.post_refresh_token(step, client_secret, refresh_token);
    }

    /// Extends the lease while Rally has the request.
    pub(super) fn extend_lease_if_due(&mut self, step: &mut Step<'_>) {
        if !matches!(self.job, Job::Renewing(_, _, None)) || !self.lease.take_extension(step.now) {
            return;
        }
        let lease = self.lease.claim(step.now, step.dice);
        let Some(change) = self.write_lease(step, &lease) else { return };
        if let Job::Renewing(_, _, extension) = &mut self.job {
            *extension = Some((change, lease));
        }
    }

    /// What this daemon needs, only another can get, since this one may not write the vault: callers with a token wait for
    /// the next; nobody can sign in here.
    pub(super) fn await_other_daemons(&mut self, step: &mut Step<'_>) {
        if self.look_before_sign_in(step) {
            return;
        }
        let why = "this daemon may only read the vault, and another one of the fleet has to sign in";
        let fault = self
            .sign_in_needed(why)
            .remedy(format!("on a machine that may write: {}", self.profile.command("login")));
        if self.token.held().is_none() || self.validity(step.now).is_some() {
            return self.refuse(step, &fault);
        }
        self.refuse_if(step, &fault, |_, _, waiter| waiter.is_login());
        if !self.waiters.is_empty() {
            let at = self.lease.look_again_at(step.now, step.dice);
            self.job = Job::Pausing(at, Look::BeforeSignIn);
        }
    }
}
