//! The keyring as the simulation sees it: one call after the other, each with its own delay, and every kind of trouble; a
//! call that was given up in a prompt may still have its effect when somebody answers it.
//! Does not: read records beyond what the promises need.
//! Used by: `history`.

use std::collections::{BTreeMap, VecDeque};

use rally_cred_core::{
    event::{Epoch, Outcome},
    profile::Keyring,
    time::{Tick, Ticks},
    vault::{Change, Changed, ItemKey, VaultTrouble, is_same},
};
use rally_cred_proto::Secret;

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
    Unlock,
    Change(Change),
    Erase(ItemKey),
    /// A save that is reported as done and is not.
    Swallow,
}

/// What the keyring holds, by account. Every daemon of a history has the same.
pub(super) type Items = BTreeMap<String, Secret>;

/// An item that was written: its account, what it held, and what it holds now.
#[derive(Debug)]
pub(super) struct Wrote {
    pub(super) account: String,
    pub(super) before: Option<Secret>,
    pub(super) after: Option<Secret>,
    /// Whether a person wanted it gone, whatever it was.
    pub(super) is_sign_out: bool,
}

/// One daemon's way to the keyring: what it asked and was not answered.
#[derive(Debug, Default)]
pub(super) struct SimVault {
    queue: VecDeque<(Tick, Epoch, Call, Health)>,
    busy_until: Option<Tick>,
    /// By account: what was last asked to stand there. The real shell keeps to it, whichever of several writes ends last.
    pending_writes: BTreeMap<String, PendingWrite>,
    /// Writes that were given up, and when their prompts are answered: the account and what each was to write.
    late: Vec<(Tick, String, Option<Secret>)>,
    /// What it holds itself, where the config file wants memory in the keyring's place.
    memory: Option<Items>,
    bugs: Bugs,
}

/// Bugs that are planted in it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Bugs {
    /// A late write puts its own text there, and not the newest.
    pub(super) is_late_write_blind: bool,
    /// A change goes there whatever the item holds.
    pub(super) is_change_blind: bool,
}

#[derive(Debug, Default)]
struct PendingWrite {
    to: Option<Secret>,
    /// What must stand there, if it matters.
    from: Option<Option<Secret>>,
    /// What earlier writes that may still come to their end would put there.
    earlier: Vec<Option<Secret>>,
}

impl PendingWrite {
    fn may_replace(&self, found: Option<&Secret>) -> bool {
        self.from.as_ref().is_none_or(|from| {
            let known = [from, &self.to].into_iter().chain(&self.earlier);
            known.into_iter().any(|known| is_same(known.as_ref(), found))
        })
    }
}

/// Longest time until a prompt is answered that was given up.
const LONGEST_PROMPT: Ticks = Ticks::seconds(1800);

impl SimVault {
    /// A way to the keyring, or to memory, perhaps with bugs.
    pub(super) fn open(keyring: &Keyring, bugs: Bugs) -> Self {
        Self { memory: keyring.is_memory().then(Items::new), bugs, ..Self::default() }
    }

    /// What is kept at its end.
    pub(super) fn items<'a>(&'a self, keyring: &'a Items) -> &'a Items {
        self.memory.as_ref().unwrap_or(keyring)
    }

    pub(super) fn is_memory(&self) -> bool {
        self.memory.is_some()
    }

    pub(super) fn call(&mut self, chance: &mut Seeded, now: Tick, health: Health, epoch: Epoch, call: Call) {
        let health = if self.is_memory() { Health::Works } else { health };
        let begins = self.busy_until.filter(|until| *until > now).unwrap_or(now);
        let takes = if health == Health::Hangs { DEADLINE } else { Ticks(chance.below(50)) };
        let ends = begins + takes;
        self.busy_until = Some(ends);
        let write = match &call {
            Call::Change(change) => {
                Some((change.key.account(), change.to.clone(), Some(change.from.clone())))
            }
            Call::Erase(key) => Some((key.account(), None, None)),
            Call::Load(_) | Call::Unlock | Call::Swallow => None,
        };
        if let Some((account, to, from)) = write {
            let is_open = self.late.iter().any(|(_, late, _)| *late == account);
            let pending = self.pending_writes.entry(account.clone()).or_default();
            let old = std::mem::replace(&mut pending.to, to.clone());
            match is_open {
                true => pending.earlier.push(old),
                false => pending.earlier.clear(),
            }
            pending.from = from;
            // Only the first of several calls has begun; the others are dropped with their deadlines.
            if health == Health::Hangs && begins == now && chance.one_in(2) {
                let answered = ends + Ticks(chance.below(LONGEST_PROMPT.0));
                self.late.push((answered, account, to));
            }
        }
        self.queue.push_back((ends, epoch, call, health));
    }

    pub(super) fn next_at(&self) -> Option<Tick> {
        let late = self.late.iter().map(|(at, ..)| *at);
        self.queue.front().map(|(at, ..)| *at).into_iter().chain(late).min()
    }

    /// Finishes the call that is next, which nobody hears of if it was given up.
    pub(super) fn finish_one(&mut self, keyring: &mut Items) -> (Option<(Epoch, Outcome)>, Option<Wrote>) {
        let Some(mut memory) = self.memory.take() else { return self.finish_one_in(keyring) };
        let (outcome, _) = self.finish_one_in(&mut memory);
        self.memory = Some(memory);
        (outcome, None)
    }

    fn finish_one_in(&mut self, items: &mut Items) -> (Option<(Epoch, Outcome)>, Option<Wrote>) {
        let Some(next) = self.next_at() else { return (None, None) };
        if let Some(at) = self.late.iter().position(|(at, ..)| *at == next) {
            let (_, account, own) = self.late.swap_remove(at);
            let pending = self.pending_writes.entry(account.clone()).or_default();
            if self.bugs.is_late_write_blind {
                return (None, Some(put(items, account, own)));
            }
            // A sign-out whose prompt is answered late takes whatever stands there by then.
            let is_sign_out = pending.from.is_none() && pending.to.is_none();
            let may = pending.may_replace(items.get(&account));
            let wrote = may.then(|| Wrote { is_sign_out, ..put(items, account, pending.to.clone()) });
            return (None, wrote);
        }
        let Some((_, epoch, call, health)) = self.queue.pop_front() else { return (None, None) };
        let trouble = match health {
            Health::Works => None,
            Health::Missing => Some(VaultTrouble::Missing("no bus".to_owned())),
            Health::Locked => Some(VaultTrouble::Locked("prompt dismissed".to_owned())),
            Health::Fails => Some(VaultTrouble::Failed("disk full".to_owned())),
            Health::Hangs => Some(VaultTrouble::Locked("did not answer".to_owned())),
        };
        let (outcome, wrote) = match (call, trouble) {
            (Call::Load(_), Some(trouble)) => (Outcome::Loaded(Err(trouble)), None),
            (Call::Unlock, trouble) => (Outcome::Unlocked(trouble.map_or(Ok(()), Err)), None),
            (Call::Change(_) | Call::Swallow, Some(trouble)) => (Outcome::Changed(Err(trouble)), None),
            (Call::Erase(_), Some(trouble)) => (Outcome::Erased(Err(trouble)), None),
            (Call::Load(key), None) => (Outcome::Loaded(Ok(items.get(&key.account()).cloned())), None),
            (Call::Swallow, None) => (Outcome::Changed(Ok(Changed::Done)), None),
            (Call::Change(Change { key, from, to }), None) => {
                let account = key.account();
                let found = items.get(&account);
                let earlier = self
                    .pending_writes
                    .get(&account)
                    .map(|pending| pending.earlier.as_slice())
                    .unwrap_or_default();
                let is_as_known =
                    [&from, &to].into_iter().chain(earlier).any(|known| is_same(known.as_ref(), found));
                if self.bugs.is_change_blind || is_as_known {
                    (Outcome::Changed(Ok(Changed::Done)), Some(put(items, account, to)))
                } else {
                    let found = found.cloned();
                    if let Some(pending) = self.pending_writes.get_mut(&account) {
                        (pending.to, pending.from) = (found.clone(), Some(found.clone()));
                    }
                    (Outcome::Changed(Ok(Changed::Conflict(found))), None)
                }
            }
            (Call::Erase(key), None) => {
                let wrote = Wrote { is_sign_out: true, ..put(items, key.account(), None) };
                (Outcome::Erased(Ok(())), Some(wrote))
            }
        };
        (Some((epoch, outcome)), wrote)
    }

    /// The daemon dies. A call that was under way may still have its effect, the others never begin.
    pub(super) fn abandon(&mut self, chance: &mut Seeded, items: &mut Items) -> Option<Wrote> {
        // The keyring drops the prompts of a program that has ended.
        self.late.clear();
        let wrote = if chance.one_in(2) { self.finish_one(items).1 } else { None };
        self.queue.clear();
        self.busy_until = None;
        wrote
    }
}

fn put(items: &mut Items, account: String, after: Option<Secret>) -> Wrote {
    let before = match after.clone() {
        Some(text) => items.insert(account.clone(), text),
        None => items.remove(&account),
    };
    Wrote { account, before, after, is_sign_out: false }
}
