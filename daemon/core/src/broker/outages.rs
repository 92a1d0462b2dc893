//! What is held up by a vault that is locked or has not come, so that it is watched for as long as that matters, and only
//! then.
//! Does not: go on with what was held up (the accounts and their like do).
//! Used by: `broker`.

use std::collections::BTreeSet;

use crate::{event::Effect, step::Step};

#[derive(Debug, Default)]
pub(super) struct Outages {
    /// The accounts that wait for the vault.
    vault: BTreeSet<String>,
    is_vault_watched: bool,
}

impl Outages {
    /// Takes whether this account waits for the vault.
    pub(super) fn set(&mut self, name: &str, awaits_vault: bool) {
        if !awaits_vault {
            self.vault.remove(name);
        } else if !self.vault.contains(name) {
            self.vault.insert(name.to_owned());
        }
    }

    pub(super) fn forget_accounts(&mut self) {
        self.vault.clear();
    }

    /// The accounts that wait for the vault.
    pub(super) fn of_vault(&self) -> Vec<String> {
        self.vault.iter().cloned().collect()
    }

    /// Has the vault watched, or no more. `others`: something else than an account waits for it.
    pub(super) fn watch(&mut self, step: &mut Step<'_>, others: bool) {
        let is_wanted = (others || !self.vault.is_empty()) && step.keyring.can_be_watched();
        if is_wanted != self.is_vault_watched {
            self.is_vault_watched = is_wanted;
            step.effects.push(Effect::WatchVault(is_wanted));
        }
    }
}
