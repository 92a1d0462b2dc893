//! The client secret: where it comes from, and how far it is trusted.
//! Does not: read or write the vault, or run the command that prints it (the account orders that).
//! Used by: the account.

use rally_cred_proto::Secret;

use crate::{
    account::slot::{Slot, Unreadable},
    event::Epoch,
    policy,
    time::{Now, Tick},
};

#[derive(Debug, Default)]
pub(super) struct ClientSecret {
    slot: Slot<Known>,
    trust: Trust,
    /// When the vault may be asked again though no caller waits.
    no_load_before: Option<Tick>,
    /// Whether the vault was locked, or had not come, when it was asked last.
    awaits_unlock: bool,
}

#[derive(Debug)]
pub(super) struct Known {
    secret: Secret,
    /// It comes from its source, so it does not go into the vault.
    is_fetched: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Trust {
    #[default]
    Full,
    /// Rally refused it this many times in a row; it is tried again.
    Doubted(u32),
    /// Rally refuses it. It stays in the vault until there is a better one.
    None,
}

impl ClientSecret {
    pub(super) fn slot(&self) -> &Slot<Known> {
        &self.slot
    }

    /// The secret, unless Rally refuses it.
    pub(super) fn usable(&self) -> Option<&Secret> {
        self.held().filter(|_| self.trust != Trust::None)
    }

    pub(super) fn held(&self) -> Option<&Secret> {
        self.slot.held().map(|known| &known.secret)
    }

    /// The secret, if it belongs in the vault.
    pub(super) fn for_vault(&self) -> Option<&Secret> {
        self.slot.held().filter(|known| !known.is_fetched).map(|known| &known.secret)
    }

    pub(super) fn is_fetched(&self) -> bool {
        self.slot.held().is_some_and(|known| known.is_fetched)
    }

    pub(super) fn is_loading(&self, epoch: Epoch) -> bool {
        self.slot.is_loading(epoch)
    }

    /// Whether a renewal may be tried with it, once it is read.
    pub(super) fn may_serve(&self) -> bool {
        self.trust != Trust::None && !matches!(self.slot, Slot::Empty | Slot::Missing)
    }

    pub(super) fn is_refused(&self) -> bool {
        self.trust == Trust::None
    }

    /// Whether Rally has not refused it lately. One that is not trusted must not be forgotten: a new process would ask
    /// Rally again.
    pub(super) fn is_trusted(&self) -> bool {
        self.trust == Trust::Full
    }

    /// Whether Rally refused it, and it may be tried once more.
    pub(super) fn is_on_trial(&self) -> bool {
        matches!(self.trust, Trust::Doubted(_)) && !self.is_fetched()
    }

    pub(super) fn loading(&mut self, epoch: Epoch) {
        self.slot = Slot::Loading(epoch);
    }

    pub(super) fn absent(&mut self) {
        self.slot = Slot::Empty;
    }

    /// It could not be read; without a caller it is not tried again soon.
    pub(super) fn unreadable(&mut self, now: Now, why: Unreadable) {
        self.slot.unreadable(why);
        self.no_load_before = Some(now.tick + policy::UNASKED_LOAD);
        self.awaits_unlock = why != Unreadable::Failed;
    }

    /// The vault is unlocked, or has come, and may be asked again at once if it was in the way.
    pub(super) fn hurry(&mut self) {
        if std::mem::take(&mut self.awaits_unlock) {
            self.no_load_before = None;
        }
    }

    /// Whether the vault is to be asked again, and that is put off.
    pub(super) fn is_put_off(&self, now: Now) -> bool {
        matches!(self.slot, Slot::Unread) && self.no_load_before.is_some_and(|at| now.tick < at)
    }

    /// Whether that waits for the vault to be unlocked, or to come.
    pub(super) fn awaits_unlock(&self, now: Now) -> bool {
        self.awaits_unlock && self.is_put_off(now)
    }

    /// Forgets it, which the vault or its source has. It is read again before it is used. What is being read comes first,
    /// since a source is not asked twice at once.
    pub(super) fn lock(&mut self) {
        if !matches!(self.slot, Slot::Empty | Slot::Loading(_)) {
            self.slot = Slot::Unread;
        }
    }

    /// It is read again before it is used.
    pub(super) fn unread(&mut self) {
        self.slot = Slot::Unread;
    }

    /// Holds it. `is_fetched`: from its source, so that the vault does not get it.
    pub(super) fn hold(&mut self, secret: Secret, is_fetched: bool) {
        self.slot = Slot::Held(Known { secret, is_fetched });
    }

    pub(super) fn accepted(&mut self) {
        self.trust = Trust::Full;
    }

    /// Rally refuses it, which is believed.
    pub(super) fn refused(&mut self) {
        self.trust = Trust::None;
    }

    /// Rally refuses it. Whether that is believed: after several refusals in a row, or when a person can enter another.
    pub(super) fn doubt(&mut self, is_person_there: bool) -> bool {
        let times = match self.trust {
            Trust::Doubted(times) => times + 1,
            Trust::Full | Trust::None => 1,
        };
        let is_believed = times >= policy::REFUSALS || is_person_there;
        self.trust = if is_believed { Trust::None } else { Trust::Doubted(times) };
        is_believed
    }

    /// Lets a refused one from the vault be tried once more. Whether there is one.
    pub(super) fn reconsider(&mut self) -> bool {
        let is_worth_it = self.trust == Trust::None && !self.is_fetched();
        if is_worth_it {
            self.trust = Trust::Doubted(policy::REFUSALS);
        }
        is_worth_it
    }

    /// Forgets it: the next use asks the vault, then the source.
    pub(super) fn look_anew(&mut self) {
        self.slot = Slot::Unread;
        self.trust = Trust::Full;
    }

    /// Lets the next request ask a keyring that did not answer the last time.
    pub(super) fn forget_missing(&mut self) {
        self.slot.forget_missing();
    }

    pub(super) fn no_load_before(&self) -> Option<Tick> {
        self.no_load_before
    }
}
