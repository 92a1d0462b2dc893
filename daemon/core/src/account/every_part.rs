//! What concerns every part of an account. Each of these takes the account apart by name, so that a new part cannot be left
//! out.
//! Does not: decide anything that only some parts know of.
//! Used by: the broker, and `account`, of which this is a part.

use crate::{
    account::{Account, backoff::Backoff, job::Job, lease::Lease},
    item::Item,
    step::Step,
    time::{Now, Tick},
};

impl Account {
    /// When [`Account::advance`] has something to do though no event comes.
    pub(crate) fn next_deadline(&self, step: &Step<'_>) -> Option<Tick> {
        if step.is_locked {
            return self.rest_until();
        }
        let Self {
            profile: _,
            // Renewal ahead of time depends on several parts.
            token,
            backoff: _,
            last_used: _,
            client_secret: _,
            token_item,
            client_secret_item,
            job,
            lease,
            waiters,
            consents,
            reports,
            // It holds back what is asked for, and does nothing by itself.
            cool_down: _,
            alerts,
            // It is reported to whoever asks, and does nothing by itself.
            user_backoff: _,
            // An event ends it.
            is_shut: _,
            keyring_news_at,
            fault: _,
            vault_fault: _,
        } = self;
        let brought_to_its_end = [
            token_item.again_at(),
            client_secret_item.again_at(),
            job.deadline(),
            lease.extend_at().filter(|_| matches!(job, Job::Renewing(_, _, None))),
        ];
        let begun = [
            self.renewal_due(step.now),
            waiters.iter().map(|waiter| waiter.deadline).min(),
            consents.due(),
            reports.due().filter(|_| token.access().is_some()),
            alerts.due(),
            *keyring_news_at,
        ];
        let begun = begun.into_iter().filter(|_| !step.is_stopping);
        brought_to_its_end.into_iter().chain(begun).flatten().min()
    }

    /// Whether a new process would find everything that matters: what is held is in the vault, nobody waits, no
    /// notification is shown whose button would be dead, and no pause that spares Rally or the user is forgotten.
    pub(crate) fn is_forgettable(&self, now: Now) -> bool {
        let Self {
            profile,
            token,
            token_item,
            client_secret,
            client_secret_item,
            job,
            // A new process waits for the end of a lease that this one left.
            lease: _,
            waiters,
            consents,
            reports,
            cool_down,
            alerts,
            backoff,
            // The next request reports it.
            user_backoff: _,
            // Somebody waits then.
            is_shut: _,
            keyring_news_at: _,
            // A token that nobody has used yet is renewed when it is asked for.
            last_used: _,
            fault: _,
            vault_fault: _,
        } = self;
        // A program that gives tokens is run again.
        (token.held().is_none() || token_item.is_kept() || profile.token_command.is_some())
            && (client_secret.for_vault().is_none() || client_secret_item.is_kept())
            && client_secret.is_trusted()
            && job.is_none()
            && waiters.is_empty()
            && consents.are_over(now)
            && !reports.is_open()
            && (reports.due().is_none() || token.access().is_none())
            && cool_down.is_forgettable(now)
            && alerts.are_over()
            && !backoff.is_on(now)
    }

    /// Forgets all jobs, whose outcomes become stale, and what belongs to the grant.
    pub(super) fn forget(&mut self, step: &mut Step<'_>) {
        self.end_alerts(step);
        self.forget_consents(step);
        let Self {
            profile: _,
            token,
            // A sign-out erases it.
            token_item: _,
            // The next sign-in uses it.
            client_secret: _,
            client_secret_item: _,
            job,
            lease,
            // The caller answers them.
            waiters: _,
            // Forgotten above, but for those who wait, whom the caller answers.
            consents: _,
            reports,
            // A sign-out is no answer to a sign-in.
            cool_down: _,
            // Ended above.
            alerts: _,
            backoff,
            user_backoff,
            is_shut,
            keyring_news_at: _,
            last_used: _,
            fault,
            vault_fault,
        } = self;
        token.forget();
        lease.over();
        *job = Job::None;
        reports.close();
        (*backoff, *user_backoff) = (Backoff::default(), Backoff::default());
        *is_shut = false;
        (*fault, *vault_fault) = (None, None);
    }

    /// The configuration chose another vault: what is held is saved there, the rest is read from it.
    pub(crate) fn move_to_other_vault(&mut self, step: &mut Step<'_>) {
        let Self {
            profile: _,
            token,
            token_item,
            client_secret,
            client_secret_item,
            job,
            lease,
            waiters: _,
            consents: _,
            reports: _,
            cool_down: _,
            alerts: _,
            backoff: _,
            user_backoff: _,
            is_shut,
            keyring_news_at: _,
            last_used: _,
            fault: _,
            vault_fault,
        } = self;
        (*token_item, *client_secret_item, *vault_fault) = (token_item.moved(), Item::default(), None);
        *is_shut = false;
        if matches!(job, Job::Looking(..) | Job::Pausing(..) | Job::Leasing(..)) {
            *job = Job::None;
        }
        *lease = Lease::default();
        let is_token_held = token.move_to_other_vault();
        let is_secret_held = client_secret.for_vault().is_some();
        if !is_secret_held {
            client_secret.look_anew();
        }
        // The secret first: a token without it could not be renewed after a crash between the two.
        if is_secret_held {
            self.save_client_secret(step);
        }
        if is_token_held {
            self.save_token(step);
        }
    }
}
