//! Tokens that a program gives, where the config file names one: nobody signs in, Rally renews nothing, and the vault has no
//! part in it. To renew is to run the program again.
//! Does not: run it, or read what it prints (the shell `token_command` does).
//! Used by: `account`, of which this is a part.

use rally_cred_proto::{Fault, FaultKind};

use crate::{
    account::{Account, backoff::Backoff, identity::Identity, job::Job},
    answer::Retry,
    event::{Effect, Epoch, Fetched, GrantStep, Until},
    item::Item,
    profile::CommandLine,
    record::TokenRecord,
    step::Step,
    waiter::Waiter,
};

impl Account {
    /// Whether a program gives this profile's tokens.
    pub(super) fn has_command(&self) -> bool {
        self.profile.token_command.is_some()
    }

    /// What is known before the program was run: the vault is not asked, and would not have what is held.
    pub(super) fn begin_without_vault(&mut self, step: &Step<'_>) {
        self.token.read(step.now);
        self.token_item = Item::read();
    }

    pub(super) fn begin_fetch(&mut self, step: &mut Step<'_>, command: CommandLine) {
        let epoch = step.begin(self.owner(), |epoch| Effect::FetchToken(epoch, command));
        self.job = Job::Fetching(epoch);
    }

    /// Takes what the program gave. `false` if nobody waits for it.
    pub(super) fn fetched(
        &mut self,
        step: &mut Step<'_>,
        epoch: Epoch,
        outcome: Result<Fetched, Fault>,
    ) -> bool {
        if !matches!(self.job, Job::Fetching(own) if own == epoch) {
            return false;
        }
        self.job = Job::None;
        if let Err(fault) = outcome.and_then(|fetched| self.take_fetched(step, fetched)) {
            self.back_off(step, fault, Retry::Later);
        }
        true
    }

    fn take_fetched(&mut self, step: &mut Step<'_>, fetched: Fetched) -> Result<(), Fault> {
        let useless = |what: &str| {
            Fault::new(FaultKind::Failed, format!("token_command gives a token that {what}"))
                .remedy("run it in a terminal, and have it give another")
        };
        if self.token.is_refused(&fetched.token) {
            return Err(useless("Rally has refused"));
        }
        let is_other = self.token.access().is_some_and(|held| !held.matches(&fetched.token));
        let mut record = TokenRecord::new(&self.profile, step.issued.0);
        record.access_token = Some(fetched.token);
        record.expires_at = fetched.until.map(|until| match until {
            Until::In(seconds) => step.issued.after(i64::try_from(seconds).unwrap_or(i64::MAX)).0,
            // A part of this second is over.
            Until::At(wall) => wall.0.saturating_sub(i64::from(step.now.into_second.0 > 0)),
        });
        // Whoever signs in is done with the next token.
        let is_sign_in = self.token.held().is_none() || self.waiters.iter().any(Waiter::is_login);
        // A program may give the same token again, and what was reported of it still counts.
        if is_other {
            self.reports.new_token();
        }
        self.end_alerts(step);
        self.token.obtained(step.now, step.dice, record, is_sign_in);
        if self.token.validity(step.now).is_none() {
            return Err(useless("has ended"));
        }
        step.log(&self.profile.name, GrantStep::Fetched);
        if self.identity(None) == Identity::Right {
            self.backoff = Backoff::default();
        }
        self.fault = None;
        Ok(())
    }
}
