//! What is known of an item in the vault: whether it is up to date, and the write that brings it up to date. One write
//! runs at a time, and only where the item is as believed, since another daemon may use the same keyring.
//! Does not: know what the item is for, or when it is to be read.
//! Used by: the account, for the token and for the client secret, and gateways.

use rally_cred_proto::Secret;

use crate::{
    event::Epoch,
    jobs::Owner,
    policy,
    step::Step,
    time::{Tick, Wall},
    vault::{Change, Changed, ItemKey, VaultTrouble, is_same},
};

#[derive(Debug, Default)]
pub(crate) struct Item {
    keeping: Keeping,
    /// While the item is out of date: what it is believed to hold.
    believed: Option<Secret>,
    /// Writes that failed, but may still happen late, when somebody answers the keyring's prompt.
    unsure: Vec<Option<Secret>>,
    failures: u32,
    conflicts: u32,
    /// When the user signed out, in seconds since 1970, until the vault has erased the item.
    void_since: Option<i64>,
}

#[derive(Debug, Default)]
enum Keeping {
    #[default]
    No,
    /// `is_outdated`: what the account holds has changed since the write began.
    Writing { epoch: Epoch, text: Option<Secret>, is_outdated: bool },
    /// `awaits_unlock`: the vault was locked or had not come.
    Retry { at: Tick, awaits_unlock: bool },
    /// The item is up to date; `lasts`: beyond the life of the daemon.
    Yes { lasts: bool },
}

#[derive(Debug)]
pub(crate) enum Written {
    Done,
    /// The item holds what the account held when the write began.
    Outdated,
    /// Another writer was there first. `was`: what the item was believed to hold.
    Conflict {
        found: Option<Secret>,
        was: Option<Secret>,
    },
    Failed(VaultTrouble),
}

/// After this many conflicts in a row, the next write waits: two daemons that disagree must not keep each other busy.
const MOST_CONFLICTS: u32 = 5;

/// How many late writes are remembered; fewer hang in a prompt at a time.
const MOST_UNSURE: usize = 16;

impl Item {
    /// An item that was just read.
    pub(crate) fn read() -> Self {
        Self { keeping: Keeping::Yes { lasts: true }, ..Self::default() }
    }

    /// The user signs out now, and what the item holds is to be erased. `held`: when the held token was signed in, which
    /// is later than now where the calendar was set back.
    pub(crate) fn void(&mut self, now: Wall, held: Option<i64>) {
        let held = held.map(|at| at.saturating_add(1));
        *self = Self { void_since: self.void_since.max(held).max(Some(now.0)), ..Self::default() };
    }

    /// What is known once another vault was chosen, which may be the same by another name: what was to be erased still is.
    pub(crate) fn moved(&self) -> Self {
        Self { void_since: self.void_since, ..Self::default() }
    }

    /// Whether a token of this sign-in was to be erased, and is still there.
    pub(crate) fn is_void(&self, signed_in_at: Option<i64>) -> bool {
        self.void_since.is_some() && signed_in_at < self.void_since
    }

    pub(crate) fn erased(&mut self) {
        self.void_since = None;
    }

    /// Whether a restart would find what is held.
    pub(crate) fn is_kept(&self) -> bool {
        matches!(self.keeping, Keeping::Yes { lasts: true })
    }

    /// Whether the item is believed up to date, for however long.
    pub(crate) fn is_current(&self) -> bool {
        matches!(self.keeping, Keeping::Yes { .. })
    }

    pub(crate) fn is_under_way(&self) -> bool {
        matches!(self.keeping, Keeping::Writing { .. })
    }

    pub(crate) fn is_writing(&self, epoch: Epoch) -> bool {
        matches!(self.keeping, Keeping::Writing { epoch: own, .. } if own == epoch)
    }

    pub(crate) fn again_at(&self) -> Option<Tick> {
        if let Keeping::Retry { at, .. } = self.keeping { Some(at) } else { None }
    }

    /// Whether a write waits for the vault to be unlocked, or to come.
    pub(crate) fn awaits_unlock(&self) -> bool {
        matches!(self.keeping, Keeping::Retry { awaits_unlock: true, .. })
    }

    /// A write that waits for that is due now.
    pub(crate) fn hurry(&mut self, now: Tick) {
        if let Keeping::Retry { at, awaits_unlock: true } = &mut self.keeping {
            *at = now;
        }
    }

    /// What the account holds is about to change; `held` is its text until now.
    pub(crate) fn diverge(&mut self, held: impl FnOnce() -> Option<Secret>) {
        if self.is_current() {
            *self = Self { believed: held(), ..Self::default() };
        }
    }

    /// Orders the item to hold this text, or to go, unless a write is under way.
    pub(crate) fn order(&mut self, step: &mut Step<'_>, owner: Owner, key: ItemKey, text: Option<Secret>) {
        if let Keeping::Writing { is_outdated, .. } = &mut self.keeping {
            *is_outdated = true;
            return;
        }
        let epoch = step.change(owner, Change { key, from: self.believed.clone(), to: text.clone() });
        self.keeping = Keeping::Writing { epoch, text, is_outdated: false };
    }

    /// Takes the outcome of a write; `None` if it is not the one under way. `is_shared`: other daemons wait for it.
    pub(crate) fn written(
        &mut self,
        step: &mut Step<'_>,
        epoch: Epoch,
        outcome: Result<Changed, VaultTrouble>,
        is_shared: bool,
    ) -> Option<Written> {
        let Keeping::Writing { epoch: own, text, is_outdated } = &mut self.keeping else { return None };
        if *own != epoch {
            return None;
        }
        let (text, is_outdated) = (text.take(), *is_outdated);
        self.keeping = Keeping::No;
        Some(match outcome {
            Ok(Changed::Done) if is_outdated => {
                self.believed = text;
                Written::Outdated
            }
            Ok(Changed::Done) => {
                let lasts = !step.keyring.is_memory();
                *self = Self { keeping: Keeping::Yes { lasts }, ..Self::default() };
                Written::Done
            }
            Ok(Changed::Conflict(found)) if self.wrote_late(found.as_ref()) => {
                self.believed = found;
                Written::Outdated
            }
            Ok(Changed::Conflict(found)) if self.conflicts < MOST_CONFLICTS => {
                self.conflicts += 1;
                let was = std::mem::replace(&mut self.believed, found.clone());
                Written::Conflict { found, was }
            }
            Ok(Changed::Conflict(_)) => {
                self.conflicts = 0;
                self.retry(step, is_shared, false);
                Written::Failed(VaultTrouble::Failed("another program keeps changing the item".to_owned()))
            }
            Err(trouble) => {
                // Where no keyring answers, none makes the write later.
                if !trouble.is_missing() && !self.wrote_late(text.as_ref()) {
                    self.unsure.truncate(MOST_UNSURE - 1);
                    self.unsure.insert(0, text);
                }
                self.retry(step, is_shared, trouble.awaits_person());
                Written::Failed(trouble)
            }
        })
    }

    /// Whether the vault may hold any text, though it is out of date.
    pub(crate) fn may_hold_some(&self) -> bool {
        self.believed.is_some() || self.unsure.iter().any(Option::is_some)
    }

    fn wrote_late(&self, text: Option<&Secret>) -> bool {
        self.unsure.iter().any(|unsure| is_same(unsure.as_ref(), text))
    }

    /// Leaves the item alone for a while. `awaits_unlock`: or until the vault is unlocked, or comes.
    pub(crate) fn retry(&mut self, step: &mut Step<'_>, is_shared: bool, awaits_unlock: bool) {
        self.failures += 1;
        let at = step.now.tick + policy::save_again(self.failures, is_shared, step.dice);
        self.keeping = Keeping::Retry { at, awaits_unlock };
    }
}
