//! What an account does while the vault is locked: whoever said that they can wait does, and all that was held up goes on
//! once it is unlocked.
//! Does not: watch the vault (the broker orders that for all accounts).
//! Used by: `account`, of which this is a part.

use rally_cred_proto::{Fault, message::WaitingOn};

use crate::{account::Account, step::Step, time::Now, vault::VaultTrouble, waiter::Waiter};

impl Account {
    /// The vault could not be read: refuses those who wait for it, but not those who wait for it to be unlocked.
    pub(super) fn refuse_or_keep_waiting(
        &mut self,
        step: &mut Step<'_>,
        trouble: &VaultTrouble,
        fault: &Fault,
    ) {
        // A token that is still good is given out at once.
        let may_wait =
            trouble.awaits_person() && step.keyring.says_when_unlocked() && self.validity(step.now).is_none();
        self.refuse_if(step, fault, |account, step, waiter| {
            !(account.awaits_vault_only(step.now, waiter) || may_wait && waiter.awaits_unlock())
        });
        self.is_shut = may_wait && self.waiters.iter().any(Waiter::awaits_unlock);
        if self.is_shut {
            for waiter in self.waiters.iter_mut().filter(|waiter| waiter.awaits_unlock()) {
                if !std::mem::replace(&mut waiter.told_to_unlock, true) {
                    step.tell_waiting(waiter.id, &self.profile.name, WaitingOn::KeyringUnlock);
                }
            }
        }
    }

    /// Whether something waits for the vault to be unlocked, or to come.
    pub(crate) fn awaits_vault(&self, now: Now) -> bool {
        self.is_shut && self.waiters.iter().any(Waiter::awaits_unlock)
            || self.token_item.awaits_unlock()
            || self.client_secret_item.awaits_unlock()
            || self.client_secret.awaits_unlock(now)
    }

    /// Goes on with that.
    pub(crate) fn vault_unlocked(&mut self, step: &mut Step<'_>) {
        self.is_shut = false;
        self.token_item.hurry(step.now.tick);
        self.client_secret_item.hurry(step.now.tick);
        self.client_secret.hurry();
        self.advance(step);
    }
}
