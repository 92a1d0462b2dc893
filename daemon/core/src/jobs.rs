//! The jobs under way and their owners, so that an outcome goes straight to whoever began the job.
//! Does not: know what a job is for; its owner tells a current outcome from a stale one.
//! Used by: the broker, and `step`, which begins every job.

use std::collections::BTreeMap;

use super::{
    event::{AskId, Epoch, Outcome},
    static_record::Server,
    vault::ItemKind,
};

#[derive(Clone, Debug)]
pub(super) enum Owner {
    /// The account of this profile.
    Account(String),
    /// The static credentials of this server.
    Statics(Server),
    /// Every `status` that asks Rally about the same token.
    Checks,
    /// The gateway of this name.
    Gateway(String),
    /// The restricted socket.
    Forwarding,
    /// The lock, which asks the vault to open.
    Lock,
    /// This request, which has the vault opened though the daemon is not locked.
    Opening(AskId),
    /// This request, which repairs items.
    Repair(AskId),
    /// A `logout`, which erases an item of this profile.
    Logout { ask: AskId, profile: String, item: ItemKind },
}

impl Owner {
    /// The request that a job belongs to, and nobody else.
    fn asker(&self) -> Option<AskId> {
        match self {
            Self::Opening(id) | Self::Repair(id) => Some(*id),
            _ => None,
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Jobs {
    last: u64,
    owners: BTreeMap<Epoch, Owner>,
}

impl Jobs {
    pub(super) fn begin(&mut self, owner: Owner) -> Epoch {
        self.last += 1;
        self.owners.insert(Epoch(self.last), owner);
        Epoch(self.last)
    }

    /// Ends a job; returns its owner.
    pub(super) fn end(&mut self, epoch: Epoch) -> Option<Owner> {
        self.owners.remove(&epoch)
    }

    /// The owner of the job with this outcome. A listener goes on after its outcomes, until the sign-in ends.
    pub(super) fn owner_of(&mut self, epoch: Epoch, outcome: &Outcome) -> Option<Owner> {
        match outcome {
            Outcome::Listening(_) | Outcome::Redirected(_) => self.owners.get(&epoch).cloned(),
            _ => self.end(epoch),
        }
    }

    /// Whether a sign-out is under way, though nobody may wait for it.
    pub(super) fn is_erasing(&self) -> bool {
        self.owners.values().any(|owner| matches!(owner, Owner::Logout { .. }))
    }

    /// Ends the jobs that belong to a request itself and are meant. Who asked.
    pub(super) fn end_asked(&mut self, is_meant: impl Fn(&Owner) -> bool) -> Vec<AskId> {
        let is_meant = |_: &Epoch, owner: &mut Owner| owner.asker().is_some() && is_meant(owner);
        self.owners.extract_if(.., is_meant).filter_map(|(_, owner)| owner.asker()).collect()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.owners.is_empty()
    }
}
