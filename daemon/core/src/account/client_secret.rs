//! The client secret: where it comes from, and how far it is believed in.
//! Does not: read or write the vault, or run the command that gives it (the account orders that).
//! Used by: the account.

use rally_cred_proto::Secret;

use crate::{
    account::slot::Slot,
    event::Epoch,
    policy,
    time::{Now, Tick},
};

/// The client secret of one profile.
#[derive(Debug, Default)]
pub(super) struct ClientSecret {
    slot: Slot<Known>,
    trust: Trust,
    /// When the vault may be asked again though no caller waits for it.
    no_load_before: Option<Tick>,
}

#[derive(Debug)]
struct Known {
    secret: Secret,
    /// It comes from its source, so it does not go into the vault.
    is_fetched: bool,
}

/// How far the client secret is believed in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Trust {
    #[default]
    Full,
    /// Rally refused it so often in a row, and it is tried again.
    Doubted(u32),
    /// Rally refuses it; it stays in the vault until a better one is there.
    None,
}

/// What is known of the client secret.
#[derive(Debug)]
pub(super) enum Knowledge<'a> {
    /// The vault or its source has to be asked.
    Unread,
    /// One of them is being asked.
    Loading,
    /// There is none.
    Absent,
    /// No keyring answers.
    Missing,
    /// Rally refuses it. `is_fetched`: it comes from its source.
    Refused { is_fetched: bool },
    /// It can be used.
    Good(&'a Secret),
}

impl ClientSecret {
    pub(super) fn knowledge(&self) -> Knowledge<'_> {
        match &self.slot {
            Slot::Held(known) if self.trust == Trust::None => {
                Knowledge::Refused { is_fetched: known.is_fetched }
            }
            Slot::Held(known) => Knowledge::Good(&known.secret),
            Slot::Unread => Knowledge::Unread,
            Slot::Loading(_) => Knowledge::Loading,
            Slot::Empty => Knowledge::Absent,
            Slot::Missing => Knowledge::Missing,
        }
    }

    /// The secret, good or not.
    pub(super) fn held(&self) -> Option<&Secret> {
        self.slot.held().map(|known| &known.secret)
    }

    /// The secret, if the vault is to have it.
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

    /// Whether Rally refuses it.
    pub(super) fn is_refused(&self) -> bool {
        self.trust == Trust::None
    }

    /// Whether Rally has refused it lately.
    pub(super) fn is_doubted(&self) -> bool {
        self.trust != Trust::Full
    }

    /// Whether it is doubted and may be tried again.
    pub(super) fn is_on_trial(&self) -> bool {
        matches!(self.trust, Trust::Doubted(_)) && !self.is_fetched()
    }

    /// The vault or the source is being asked.
    pub(super) fn loading(&mut self, epoch: Epoch) {
        self.slot = Slot::Loading(epoch);
    }

    /// Neither has one.
    pub(super) fn absent(&mut self) {
        self.slot = Slot::Empty;
    }

    /// It could not be read now; without a caller it is not tried again soon. `is_missing`: no keyring answers, and the
    /// config file can do without.
    pub(super) fn failed(&mut self, now: Now, is_missing: bool) {
        self.slot = if is_missing { Slot::Missing } else { Slot::Unread };
        self.no_load_before = Some(now.tick + policy::UNASKED_LOAD);
    }

    /// It has to be read again before it is used.
    pub(super) fn unread(&mut self) {
        self.slot = Slot::Unread;
    }

    /// The vault gave it, or is to have it.
    pub(super) fn loaded(&mut self, secret: Secret) {
        self.slot = Slot::Held(Known { secret, is_fetched: false });
    }

    /// Its source gave it.
    pub(super) fn fetched(&mut self, secret: Secret) {
        self.slot = Slot::Held(Known { secret, is_fetched: true });
    }

    /// Rally has taken the held one.
    pub(super) fn accepted(&mut self) {
        self.trust = Trust::Full;
    }

    /// Rally refuses it, and is believed.
    pub(super) fn refused(&mut self) {
        self.trust = Trust::None;
    }

    /// Rally says that it is wrong. Whether it is believed: it is when it has said so several times, or when a person is
    /// there to give another.
    pub(super) fn doubt(&mut self, is_person_there: bool) -> bool {
        let times = match self.trust {
            Trust::Doubted(times) => times + 1,
            Trust::Full | Trust::None => 1,
        };
        let is_believed = times >= policy::REFUSALS || is_person_there;
        self.trust = if is_believed { Trust::None } else { Trust::Doubted(times) };
        is_believed
    }

    /// A refused one from the vault is tried once more.
    pub(super) fn reconsider(&mut self) -> bool {
        let is_worth_it = self.trust == Trust::None && !self.is_fetched();
        if is_worth_it {
            self.trust = Trust::Doubted(policy::REFUSALS);
        }
        is_worth_it
    }

    /// Looks for it from the beginning when it is next needed: in the vault, then at its source.
    pub(super) fn look_anew(&mut self) {
        self.slot = Slot::Unread;
        self.trust = Trust::Full;
    }

    /// Gives a keyring that did not answer the last time another chance.
    pub(super) fn forget_missing(&mut self) {
        self.slot.forget_missing();
    }

    /// When the vault may be asked without a caller.
    pub(super) fn no_load_before(&self) -> Option<Tick> {
        self.no_load_before
    }

    /// Whether a new process would know as much of it, once it is in the vault.
    pub(super) fn is_forgettable(&self) -> bool {
        self.trust == Trust::Full
    }
}
