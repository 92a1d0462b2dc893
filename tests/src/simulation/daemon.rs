//! One daemon of a history: its broker, its way to the keyring, what is on its way to it, and what it has promised.
//! Does not: decide what happens.
//! Used by: `history`, in which one or two of them share a keyring and a Rally.

use std::collections::BTreeMap;

use rally_cred_core::{Broker, answer::TokenForm, event::Epoch, time::Tick};
use rally_cred_proto::Secret;

use super::{
    Planted, Seeded,
    cast::broker,
    planted::BrokerDice,
    promises::Promises,
    rally::Mood,
    vault::{Bugs, Items, SimVault, Wrote},
};

/// An outcome on its way to the broker.
#[derive(Debug)]
pub(super) enum Outcome {
    Listening,
    Answered { profile: usize, form: TokenForm, client_secret: String, mood: Mood },
    LookedUp { mood: Mood, token: String },
}

/// A daemon.
pub(super) struct Daemon {
    pub(super) broker: Broker,
    pub(super) dice: BrokerDice,
    pub(super) vault: SimVault,
    pub(super) outcomes: Vec<(Tick, Epoch, Outcome)>,
    /// The token requests that Rally has answered.
    pub(super) answered: Vec<Epoch>,
    pub(super) promises: Promises,
    /// Whether the broker dropped an outcome since this was last reset.
    pub(super) was_stale: bool,
    /// What each of its callers holds, to give it back by `erase`.
    pub(super) tokens: Vec<(usize, String)>,
    /// The token that it got last for a profile, unless somebody has reported it since.
    pub(super) fresh: BTreeMap<usize, String>,
}

impl Daemon {
    pub(super) fn new(seed: u64, planted: Option<Planted>, profiles: usize) -> Self {
        let bugs = Bugs {
            is_late_write_blind: planted == Some(Planted::LateSaveWins),
            is_change_blind: planted == Some(Planted::BlindChange),
        };
        Self {
            broker: broker(profiles),
            dice: BrokerDice {
                chance: Seeded::new(seed ^ 0xd1ce),
                has_jitter: planted != Some(Planted::NoBackoff),
            },
            vault: SimVault::new(bugs),
            outcomes: Vec::new(),
            answered: Vec::new(),
            promises: Promises::default(),
            was_stale: false,
            tokens: Vec::new(),
            fresh: BTreeMap::new(),
        }
    }

    /// It dies and is started again.
    pub(super) fn crash(&mut self, chance: &mut Seeded, items: &mut Items, profiles: usize) -> Option<Wrote> {
        let wrote = self.vault.abandon(chance, items);
        self.outcomes.clear();
        self.answered.clear();
        self.promises.crashed();
        self.fresh.clear();
        self.broker = broker(profiles);
        wrote
    }

    /// When something is due that nobody has to ask for.
    pub(super) fn next_at(&self) -> Option<Tick> {
        let outcome = self.outcomes.iter().map(|(at, ..)| *at).min();
        [outcome, self.vault.next_at()].into_iter().flatten().min()
    }
}

/// The field of a record.
pub(super) fn field(record: &Secret, name: &str) -> Option<String> {
    let record: serde_json::Value = serde_json::from_str(record.expose()).ok()?;
    Some(record.get(name)?.as_str()?.to_owned())
}
