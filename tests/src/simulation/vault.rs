//! The keyring as the simulation sees it: one call after the other, each with its own delay, and every kind of trouble; a
//! call that was given up in a prompt may still have its effect when somebody answers it.
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
    /// Each call hangs in a prompt until the shell gives it up; the prompt stays, and may be answered later.
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
    /// By account: what was last asked to stand there, `None` for nothing. The real shell keeps to it, whichever of
    /// several writes ends last.
    wishes: BTreeMap<String, Option<Secret>>,
    /// Writes that were given up, and when their prompts are answered: the account and what each was to write.
    late: Vec<(Tick, String, Option<Secret>)>,
    /// A planted bug: a late write puts its own text there, and not the newest.
    is_late_write_blind: bool,
}

/// Longest time until a prompt is answered that was given up.
const LONGEST_PROMPT: Ticks = Ticks::seconds(1800);

impl SimVault {
    /// An empty keyring, perhaps with the bug that a late write puts its own text there.
    pub(super) fn new(is_late_write_blind: bool) -> Self {
        Self { is_late_write_blind, ..Self::default() }
    }

    pub(super) fn call(&mut self, chance: &mut Seeded, now: Tick, health: Health, epoch: Epoch, call: Call) {
        let begins = self.busy_until.filter(|until| *until > now).unwrap_or(now);
        let takes = if health == Health::Hangs { DEADLINE } else { Ticks(chance.below(50)) };
        let ends = begins + takes;
        self.busy_until = Some(ends);
        let write = match &call {
            Call::Save(key, record) => Some((key.account(), Some(record.clone()))),
            Call::Erase(key) => Some((key.account(), None)),
            Call::Load(_) | Call::Swallow => None,
        };
        if let Some((account, wish)) = write {
            self.wishes.insert(account.clone(), wish.clone());
            // Only the first of several calls has begun; the others are dropped with their deadlines.
            if health == Health::Hangs && begins == now && chance.one_in(2) {
                let answered = ends + Ticks(chance.below(LONGEST_PROMPT.0));
                self.late.push((answered, account, wish));
            }
        }
        self.queue.push_back((ends, epoch, call, health));
    }

    pub(super) fn next_at(&self) -> Option<Tick> {
        let late = self.late.iter().map(|(at, ..)| *at);
        self.queue.front().map(|(at, ..)| *at).into_iter().chain(late).min()
    }

    /// Finishes the call that is next, which nobody hears of if it was given up.
    pub(super) fn finish_one(&mut self) -> Option<Event> {
        let next = self.next_at()?;
        if let Some(at) = self.late.iter().position(|(at, ..)| *at == next) {
            let (_, account, own) = self.late.swap_remove(at);
            let newest = self.wishes.get(&account).cloned().flatten();
            match if self.is_late_write_blind { own } else { newest } {
                Some(record) => self.items.insert(account, record),
                None => self.items.remove(&account),
            };
            return None;
        }
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
        // The keyring drops the prompts of a program that has ended.
        self.late.clear();
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
