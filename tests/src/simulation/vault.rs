//! The keyring as the simulation sees it: one call after the other, each with its own delay, and every kind of trouble.
//! Does not: read records beyond what the promises need.
//! Met by: `history`.

use std::collections::{BTreeMap, VecDeque};

use rally_cred_proto::Secret;
use rally_credd::core::{
    event::{Epoch, Event},
    time::{Tick, Ticks},
    vault::{ItemKey, VaultTrouble},
};

use super::Seeded;

/// How the keyring behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Health {
    Works,
    Missing,
    Locked,
    Fails,
    /// Each call hangs until the shell gives it up.
    Hangs,
}

/// The deadline that the real shell gives a call.
const DEADLINE: Ticks = Ticks::seconds(20);

#[derive(Debug)]
pub(super) enum Call {
    Load(ItemKey),
    Save(ItemKey, Secret),
    Erase(ItemKey),
    /// A save that is reported as done and is not.
    Swallow,
}

/// The keyring: what it holds, and what it was asked and has not answered.
#[derive(Debug, Default)]
pub(super) struct SimVault {
    pub(super) items: BTreeMap<String, Secret>,
    queue: VecDeque<(Tick, Epoch, Call, Health)>,
    busy_until: Option<Tick>,
}

impl SimVault {
    pub(super) fn call(&mut self, chance: &mut Seeded, now: Tick, health: Health, epoch: Epoch, call: Call) {
        let begins = self.busy_until.filter(|until| *until > now).unwrap_or(now);
        let takes = if health == Health::Hangs { DEADLINE } else { Ticks(chance.below(50)) };
        let ends = begins + takes;
        self.busy_until = Some(ends);
        self.queue.push_back((ends, epoch, call, health));
    }

    pub(super) fn next_at(&self) -> Option<Tick> {
        self.queue.front().map(|(at, ..)| *at)
    }

    /// Finishes the oldest call.
    pub(super) fn finish_one(&mut self) -> Option<Event> {
        let (_, epoch, call, health) = self.queue.pop_front()?;
        let trouble = match health {
            Health::Works => None,
            Health::Missing => Some(VaultTrouble::Missing("no bus".to_owned())),
            Health::Locked => Some(VaultTrouble::Locked("prompt dismissed".to_owned())),
            Health::Fails => Some(VaultTrouble::Failed("disk full".to_owned())),
            Health::Hangs => Some(VaultTrouble::Locked("did not answer".to_owned())),
        };
        Some(match (call, trouble) {
            (Call::Load(_), Some(trouble)) => Event::Loaded(epoch, Err(trouble)),
            (Call::Save(..) | Call::Swallow, Some(trouble)) => Event::Saved(epoch, Err(trouble)),
            (Call::Erase(_), Some(trouble)) => Event::Erased(epoch, Err(trouble)),
            (Call::Load(key), None) => Event::Loaded(epoch, Ok(self.items.get(&key.account()).cloned())),
            (Call::Save(key, record), None) => {
                self.items.insert(key.account(), record);
                Event::Saved(epoch, Ok(()))
            }
            (Call::Swallow, None) => Event::Saved(epoch, Ok(())),
            (Call::Erase(key), None) => {
                self.items.remove(&key.account());
                Event::Erased(epoch, Ok(()))
            }
        })
    }

    /// The daemon dies. A call that was under way may still have its effect, the others never begin.
    pub(super) fn abandon(&mut self, chance: &mut Seeded) {
        if chance.one_in(2) {
            self.finish_one();
        }
        self.queue.clear();
        self.busy_until = None;
    }
}

/// The field of a record.
pub(super) fn field(record: &Secret, name: &str) -> Option<String> {
    let record: serde_json::Value = serde_json::from_str(record.expose()).ok()?;
    Some(record.get(name)?.as_str()?.to_owned())
}
