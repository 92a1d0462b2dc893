//! A lock and an unlock, carried to everything that holds something.
//! Does not: say when (`lock` does).
//! Used by: `broker`, of which this is a part.

use rally_cred_proto::Reply;

use crate::{
    account::Account,
    broker::Broker,
    event::{Epoch, LockedBy, Outcome},
    step::Step,
};

impl Broker {
    pub(super) fn lock(&mut self, step: &mut Step<'_>, by: LockedBy) {
        let held = self.accounts.iter().filter(|(_, account)| account.has_token());
        let held = held.map(|(name, _)| name.clone()).collect();
        self.lock.close(step, by, held);
        self.statics.lock(step);
        self.with_each_account(step, Account::lock);
    }

    /// Takes the vault's answer to an `unlock`.
    pub(super) fn unlocked(&mut self, step: &mut Step<'_>, epoch: Epoch, outcome: Outcome) -> bool {
        let Some(opened) = self.lock.answered(step, epoch, outcome) else { return false };
        if let Some(held) = opened {
            self.statics.unlock(step);
            self.with_each_account(step, |account, step| {
                let was_held = held.iter().any(|name| **name == *account.profile().name);
                account.unlock(step, was_held);
            });
        }
        true
    }

    /// Tells whoever locked once all is forgotten that can be, and what is not.
    pub(super) fn tell_locked(&mut self, step: &mut Step<'_>) {
        let is_unsettled = self.accounts.values().any(Account::is_unsettled) || self.statics.is_unsettled();
        for id in self.lock.take_told(step.now, is_unsettled) {
            let accounts = self.accounts.values().filter_map(Account::unforgotten);
            for fault in accounts.chain(self.statics.unforgotten(&step.keyring)) {
                step.notice(id, fault);
            }
            step.reply(id, Reply::Done);
        }
    }
}
