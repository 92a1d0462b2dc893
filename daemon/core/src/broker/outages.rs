//! What is held up by a vault that is locked or has not come, or by the network, so that each is watched for as long as that
//! matters, and only then; and how often a vault that is said to be open is believed.
//! Does not: go on with what was held up (the accounts and their like do).
//! Used by: `broker`.

use std::collections::BTreeSet;

use crate::{
    brake::Brake,
    event::Effect,
    step::Step,
    time::{Now, Tick},
};

#[derive(Debug, Default)]
pub(super) struct Outages {
    vault: Outage,
    network: Outage,
    /// Whoever watches the vault may call it open though it takes nothing.
    brake: Brake,
    /// When what was said too soon is believed.
    due: Option<Tick>,
}

/// The accounts that wait for its end, and whether that is watched for.
#[derive(Debug, Default)]
struct Outage {
    accounts: BTreeSet<String>,
    is_watched: bool,
}

impl Outages {
    /// Takes what this account waits for.
    pub(super) fn set(&mut self, name: &str, awaits_vault: bool, awaits_network: bool) {
        self.vault.set(name, awaits_vault);
        self.network.set(name, awaits_network);
    }

    pub(super) fn forget_accounts(&mut self) {
        self.vault.accounts.clear();
        self.network.accounts.clear();
    }

    /// The accounts that wait for the vault.
    pub(super) fn of_vault(&self) -> Vec<String> {
        self.vault.accounts.iter().cloned().collect()
    }

    /// Takes word that the vault is open. Whether to believe it now; else [`Outages::is_due`] tells later.
    pub(super) fn believes(&mut self, now: Now) -> bool {
        let is_believed = self.brake.lets_count(now);
        self.due = self.brake.next().filter(|_| !is_believed);
        is_believed
    }

    /// Whether word that came too soon is to be believed now.
    pub(super) fn is_due(&mut self, now: Now) -> bool {
        self.due.is_some_and(|due| due <= now.tick) && self.believes(now)
    }

    /// When [`Outages::is_due`] may hold.
    pub(super) fn next_deadline(&self) -> Option<Tick> {
        self.due
    }

    /// The accounts that wait for the network.
    pub(super) fn of_network(&self) -> Vec<String> {
        self.network.accounts.iter().cloned().collect()
    }

    /// Has both watched, or no more. `others_await_vault`: something else than an account waits for the vault.
    pub(super) fn watch(&mut self, step: &mut Step<'_>, others_await_vault: bool) {
        let awaits_vault = others_await_vault || !self.vault.accounts.is_empty();
        self.vault.watch(step, awaits_vault && step.keyring.can_be_watched(), Effect::WatchVault);
        let awaits_network = !self.network.accounts.is_empty();
        self.network.watch(step, awaits_network, Effect::WatchNetwork);
    }
}

impl Outage {
    fn set(&mut self, name: &str, is_awaited: bool) {
        if !is_awaited {
            self.accounts.remove(name);
        } else if !self.accounts.contains(name) {
            self.accounts.insert(name.to_owned());
        }
    }

    fn watch(&mut self, step: &mut Step<'_>, is_wanted: bool, order: fn(bool) -> Effect) {
        if is_wanted != self.is_watched {
            self.is_watched = is_wanted;
            step.effects.push(order(is_wanted));
        }
    }
}
