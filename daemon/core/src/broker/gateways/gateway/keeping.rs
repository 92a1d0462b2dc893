//! A gateway's identity in the vault: read, kept and discarded.
//! Does not: open or close the gateway but for another identity.
//! Used by: `gateway`, of which this is a part.

use rally_cred_proto::{Fault, Reply, Secret};

use super::Gateway;
use crate::{
    event::Epoch,
    item::{Item, Written},
    policy,
    step::Step,
    vault::{Changed, Read, VaultTrouble, is_same},
};

impl Gateway {
    /// Has the vault forget the identity. Another is made when it is opened next.
    pub(super) fn discard(&mut self, step: &mut Step<'_>) {
        self.revocation.revoked.append(&mut self.earlier);
        self.revocation.revoked.extend(self.plan.identity.clone());
        self.take_on(step, None);
        if self.item.is_current() {
            self.revocation.answer(step, &Reply::Done);
        }
    }

    /// Has this identity from now on, and the vault keep it.
    pub(super) fn take_on(&mut self, step: &mut Step<'_>, identity: Option<Secret>) {
        if !is_same(self.plan.identity.as_ref(), identity.as_ref()) {
            let before = std::mem::replace(&mut self.plan.identity, identity);
            self.earlier.extend(before.clone().filter(|_| self.plan.identity.is_some()));
            self.item.diverge(|| before);
            self.save(step);
        } else if !self.item.is_current() && !self.item.is_under_way() {
            self.save(step);
        }
    }

    /// Has the vault keep its identity, or forget it.
    pub(super) fn save(&mut self, step: &mut Step<'_>) {
        if self.lives_for.is_some() {
            return;
        }
        let (owner, key) = (self.owner(), self.key());
        self.item.order(step, owner, key, self.plan.identity.clone());
    }

    pub(super) fn loaded(&mut self, step: &mut Step<'_>, outcome: Read) {
        match outcome {
            Ok(held) => {
                (self.plan.identity, self.item, self.vault_fault) = (held, Item::read(), None);
                if !self.revocation.asks.is_empty() || self.is_revoked(self.plan.identity.as_ref()) {
                    self.discard(step);
                }
            }
            Err(trouble) if trouble.leaves_memory(&step.keyring) => {
                self.revocation.answer(step, &Reply::Error(trouble.fault()));
                self.vault_fault = Some(trouble.fault());
            }
            Err(trouble) => {
                self.is_shut = trouble.awaits_person();
                self.revocation.answer(step, &Reply::Error(trouble.fault()));
                return self.put_off(step, policy::UNASKED_LOAD, trouble.fault());
            }
        }
        (self.is_read, self.is_shut) = (true, false);
        self.begin(step);
    }

    /// Takes the outcome of the write that is under way.
    pub(super) fn changed(
        &mut self,
        step: &mut Step<'_>,
        epoch: Epoch,
        outcome: Result<Changed, VaultTrouble>,
    ) {
        match self.item.written(step, epoch, outcome, false) {
            None => {}
            Some(Written::Done) => {
                self.vault_fault = None;
                self.revocation.answer(step, &Reply::Done);
            }
            Some(Written::Outdated) => self.save(step),
            Some(Written::Conflict { found, .. }) if !self.revocation.asks.is_empty() => {
                self.revocation.revoked.extend(found);
                self.save(step);
            }
            Some(Written::Conflict { found, .. }) if self.is_revoked(found.as_ref()) => self.save(step),
            // Another daemon of the same keyring was quicker; whoever knows its key is to be let in here too.
            Some(Written::Conflict { found, .. }) => {
                self.close(step);
                (self.plan.identity, self.item, self.vault_fault) = (found, Item::read(), None);
                self.revocation.answer(step, &Reply::Done);
                self.begin(step);
            }
            Some(Written::Failed(trouble)) => {
                let fault = trouble.fault();
                let is_gone =
                    trouble.leaves_memory(&step.keyring) && !self.was_moved && !self.item.may_hold_some();
                let reply =
                    if is_gone { Reply::Done } else { Reply::Error(still_kept(&self.plan.name, &fault)) };
                self.revocation.answer(step, &reply);
                self.vault_fault = Some(fault);
            }
        }
    }

    fn is_revoked(&self, identity: Option<&Secret>) -> bool {
        identity
            .is_some_and(|identity| self.revocation.revoked.iter().any(|revoked| revoked.matches(identity)))
    }
}

/// A revocation that would not outlive the daemon.
fn still_kept(name: &str, fault: &Fault) -> Fault {
    Fault::new(
        fault.kind,
        format!("the key of gateway {name} is worth nothing now, but the keyring still has it"),
    )
    .why(fault.what.clone())
    .remedy("unlock the keyring, then run the command again, before the daemon ends")
}
