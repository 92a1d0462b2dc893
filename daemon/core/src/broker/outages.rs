//! What is held up by a vault that is locked or has not come, or by the network, so that each is watched for as long as that
//! matters, and only then; and how often a vault that is said to be open is believed.
//! Does not: go on with what was held up (the accounts and their like do).
//! Used by: `broker`.

use std::collections::BTreeSet;

use crate::{
    event::Effect,
    policy,
    step::Step,
    time::{Now, Tick},
};

#[derive(Debug, Default)]
pub(super) struct Outages {
    vault: Outage,
    network: Outage,
    brake: Brake,
}

/// The accounts that wait for its end, and whether that is watched for.
#[derive(Debug, Default)]
struct Outage {
    accounts: BTreeSet<String>,
    is_watched: bool,
}

/// Whoever watches the vault may call it open though it takes nothing. Each time that this happens again, it is believed
/// later.
#[derive(Debug, Default)]
struct Brake {
    /// How often it was believed of late, and when it may be believed again.
    believed: u32,
    next: Option<Tick>,
    /// When what was said too soon is believed.
    due: Option<Tick>,
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
        self.brake.believes(now)
    }

    /// Whether word that came too soon is to be believed now.
    pub(super) fn is_due(&mut self, now: Now) -> bool {
        self.brake.due.is_some_and(|due| due <= now.tick) && self.brake.believes(now)
    }

    /// When [`Outages::is_due`] may hold.
    pub(super) fn next_deadline(&self) -> Option<Tick> {
        self.brake.due
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

impl Brake {
    fn believes(&mut self, now: Now) -> bool {
        if self.next.is_some_and(|next| now.tick < next) {
            self.due = self.next;
            return false;
        }
        if self.next.is_some_and(|next| now.tick - next >= policy::LONGEST_REST) {
            self.believed = 0;
        }
        self.believed += 1;
        self.next = Some(now.tick + policy::early_pause(self.believed));
        self.due = None;
        true
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
