//! What is known of an item of the vault: whether it holds what the account holds, and the write that brings it up to
//! date. One write is under way at a time, and each is made only where the item is as believed, since another daemon may
//! use the same keyring.
//! Does not: know what the item is for, or order the write (the account does).
//! Used by: the account, once for the token and once for the client secret.

use rally_cred_proto::Secret;

use crate::{
    event::Epoch,
    time::{Tick, Wall},
    vault::{Changed, VaultTrouble, is_same},
};

/// An item of the vault.
#[derive(Debug, Default)]
pub(super) struct Item {
    keeping: Keeping,
    /// While the item does not hold what the account holds: what it is believed to hold instead.
    believed: Option<Secret>,
    /// What was not written in time, and may have been written late, when somebody answered the keyring's prompt.
    unsure: Vec<Option<Secret>>,
    /// Writes in a row that failed.
    failures: u32,
    /// Writes in a row that met something unexpected.
    conflicts: u32,
    /// When a person signed out, in seconds since 1970, while the vault has not erased the item.
    void_since: Option<i64>,
}

#[derive(Debug, Default)]
enum Keeping {
    #[default]
    No,
    /// A write is under way. `is_outdated`: what the account holds has changed since.
    Writing {
        epoch: Epoch,
        text: Option<Secret>,
        is_outdated: bool,
    },
    RetryAt(Tick),
    /// It holds what the account holds; `lasts` unless it ends with the daemon.
    Yes {
        lasts: bool,
    },
}

/// What a write came to.
#[derive(Debug)]
pub(super) enum Written {
    /// The item holds what the account holds.
    Done,
    /// The item holds what the account held when the write began: it wants another.
    Outdated,
    /// Somebody else had put something there, which is believed from now on. `was`: what was believed before.
    Conflict { found: Option<Secret>, was: Option<Secret> },
    /// The vault did not take it.
    Failed(VaultTrouble),
}

/// Conflicts in a row after which the next write waits: two daemons that disagree must not keep each other busy.
const MOST_CONFLICTS: u32 = 5;

/// As many writes are remembered that may end late; fewer than these hang in a prompt at a time.
const MOST_UNSURE: usize = 16;

impl Item {
    /// The item of what was just read from it.
    pub(super) fn read() -> Self {
        Self { keeping: Keeping::Yes { lasts: true }, ..Self::default() }
    }

    /// The item of a person who signs out now: what stands there is of no use to them.
    pub(super) fn void(now: Wall) -> Self {
        Self { void_since: Some(now.0), ..Self::default() }
    }

    /// Whether a token of a sign-in before that was to be erased, and is there still.
    pub(super) fn is_void(&self, signed_in_at: Option<i64>) -> bool {
        self.void_since.is_some() && signed_in_at < self.void_since
    }

    /// The vault has erased the item.
    pub(super) fn erased(&mut self) {
        self.void_since = None;
    }

    /// Whether a restart would find what is held.
    pub(super) fn is_kept(&self) -> bool {
        matches!(self.keeping, Keeping::Yes { lasts: true })
    }

    /// Whether the item is believed to hold what the account holds, for however long.
    pub(super) fn is_current(&self) -> bool {
        matches!(self.keeping, Keeping::Yes { .. })
    }

    /// Whether a write is under way.
    pub(super) fn is_under_way(&self) -> bool {
        matches!(self.keeping, Keeping::Writing { .. })
    }

    /// Whether the write of this name is.
    pub(super) fn is_writing(&self, epoch: Epoch) -> bool {
        matches!(self.keeping, Keeping::Writing { epoch: own, .. } if own == epoch)
    }

    /// When to write again.
    pub(super) fn again_at(&self) -> Option<Tick> {
        match self.keeping {
            Keeping::RetryAt(at) => Some(at),
            Keeping::No | Keeping::Writing { .. } | Keeping::Yes { .. } => None,
        }
    }

    /// What the account holds is about to change; `held` gives the text of what it holds until now.
    pub(super) fn diverge(&mut self, held: impl FnOnce() -> Option<Secret>) {
        if self.is_current() {
            *self = Self { believed: held(), ..Self::default() };
        }
    }

    /// What the item is to hold from now on (`None`: it is to go). Unless another write is under way, `begin` orders one,
    /// from what it has to find there to this text.
    pub(super) fn order(
        &mut self,
        text: Option<Secret>,
        begin: impl FnOnce(Option<Secret>, Option<Secret>) -> Epoch,
    ) {
        if let Keeping::Writing { is_outdated, .. } = &mut self.keeping {
            *is_outdated = true;
            return;
        }
        let epoch = begin(self.believed.clone(), text.clone());
        self.keeping = Keeping::Writing { epoch, text, is_outdated: false };
    }

    /// Takes the outcome of the write of this name; `None` if it is not the one under way. `lasts`: whether the vault
    /// outlives the daemon.
    pub(super) fn written(
        &mut self,
        epoch: Epoch,
        outcome: Result<Changed, VaultTrouble>,
        lasts: bool,
        retry_at: impl FnOnce(u32) -> Tick,
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
                self.retry(retry_at);
                Written::Failed(VaultTrouble::Failed("another program keeps changing the item".to_owned()))
            }
            Err(trouble) => {
                if !self.wrote_late(text.as_ref()) {
                    self.unsure.truncate(MOST_UNSURE - 1);
                    self.unsure.insert(0, text);
                }
                self.retry(retry_at);
                Written::Failed(trouble)
            }
        })
    }

    fn wrote_late(&self, text: Option<&Secret>) -> bool {
        self.unsure.iter().any(|unsure| is_same(unsure.as_ref(), text))
    }

    /// Leaves the item as it is for a while.
    pub(super) fn retry(&mut self, retry_at: impl FnOnce(u32) -> Tick) {
        self.failures += 1;
        self.keeping = Keeping::RetryAt(retry_at(self.failures));
    }
}
