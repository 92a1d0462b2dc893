//! The jobs under way and whose they are, so that an outcome goes straight to whoever ordered the job.
//! Does not: know what a job is for; its owner tells a current outcome from a late one.
//! Used by: the broker, and `step`, by which every job begins.

use std::collections::BTreeMap;

use super::{
    event::{AskId, Epoch, Outcome},
    static_record::Server,
    vault::ItemKind,
};

/// Whose a job is.
#[derive(Clone, Debug)]
pub(super) enum Owner {
    /// The account of this profile.
    Account(String),
    /// The static credentials of this server.
    Statics(Server),
    /// Every `status` that has Rally asked about the same token.
    Checks,
    /// A `logout`, which erases an item of this profile.
    Logout { ask: AskId, profile: String, item: ItemKind },
}

/// The jobs under way.
#[derive(Debug, Default)]
pub(super) struct Jobs {
    last: u64,
    owners: BTreeMap<Epoch, Owner>,
}

impl Jobs {
    /// A name for a new job.
    pub(super) fn begin(&mut self, owner: Owner) -> Epoch {
        self.last += 1;
        self.owners.insert(Epoch(self.last), owner);
        Epoch(self.last)
    }

    /// Takes a job off the list; whose it was.
    pub(super) fn end(&mut self, epoch: Epoch) -> Option<Owner> {
        self.owners.remove(&epoch)
    }

    /// Whose the job is that came to this. A listener goes on after its outcomes, until the sign-in ends.
    pub(super) fn owner_of(&mut self, epoch: Epoch, outcome: &Outcome) -> Option<Owner> {
        match outcome {
            Outcome::Listening(_) | Outcome::Redirected(_) => self.owners.get(&epoch).cloned(),
            _ => self.end(epoch),
        }
    }

    /// Whether somebody signs out, whoever still waits for that.
    pub(super) fn is_erasing(&self) -> bool {
        self.owners.values().any(|owner| matches!(owner, Owner::Logout { .. }))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.owners.is_empty()
    }
}
