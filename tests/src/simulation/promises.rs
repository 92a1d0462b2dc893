//! What the broker promises, watched from outside: every effect and every outcome passes here.
//! Does not: look into the broker's state, so that it cannot be wrong in the same way.
//! Met by: `history`, which stops at the first broken promise.

use std::collections::{BTreeMap, HashMap, HashSet};

use rally_cred_proto::Answer;
use rally_credd::core::{
    event::{AskId, Epoch},
    time::{Tick, Ticks},
};

use super::rally::Rally;

/// Most token requests of one profile in a minute in which every one of them fails. Pauses double from one second, with
/// full jitter, so this many mean that they do not grow.
const MOST_FAILURES_A_MINUTE: usize = 40;

/// An open request.
#[derive(Debug)]
struct Open {
    deadline: Tick,
}

/// What was seen so far.
#[derive(Debug, Default)]
pub(super) struct Promises {
    open: BTreeMap<AskId, Open>,
    answered: HashSet<AskId>,
    signed_in: HashSet<AskId>,
    /// Tokens that a caller reported as bad, in this life of the daemon.
    erased: HashSet<String>,
    /// When a token was brought to the daemon, and how far the calendar was off then.
    brought: HashMap<String, (Tick, i64)>,
    listeners: BTreeMap<usize, Epoch>,
    posts: BTreeMap<usize, Epoch>,
    failures: BTreeMap<usize, Vec<Tick>>,
    /// Profiles whose code was just exchanged: a sign-in replaces the old grant, whatever Rally still thinks of it.
    replaced: HashSet<usize>,
    /// The refresh token that each profile's record last held.
    pub(super) owed: BTreeMap<usize, String>,
}

/// A promise that was broken.
pub(super) type Broken = String;

impl Promises {
    pub(super) fn asked(&mut self, id: AskId, deadline: Tick) {
        self.open.insert(id, Open { deadline });
    }

    pub(super) fn left(&mut self, id: AskId) {
        self.open.remove(&id);
        self.answered.insert(id);
    }

    pub(super) fn open_asks(&self) -> Vec<AskId> {
        self.open.keys().copied().collect()
    }

    /// Every caller gets exactly one answer.
    pub(super) fn replied(&mut self, id: AskId) -> Result<(), Broken> {
        match self.open.remove(&id) {
            Some(_) => {
                self.answered.insert(id);
                Ok(())
            }
            None if self.answered.contains(&id) => {
                Err(format!("{id:?} was answered twice, or after it left"))
            }
            None => Err(format!("{id:?} was answered and never asked")),
        }
    }

    pub(super) fn signed_in(&mut self, id: AskId) {
        self.signed_in.insert(id);
    }

    /// Once faults stop, a person who signs in is signed in.
    pub(super) fn not_signed_in(&self, login: AskId, profile: usize) -> Option<Broken> {
        (!self.signed_in.contains(&login))
            .then(|| format!("profile {profile} cannot be signed in to though all is well"))
    }

    /// No expired or erased token is ever answered.
    pub(super) fn handed_out(
        &self,
        answer: &Answer,
        rally: &Rally,
        now: Tick,
        calendar_off: i64,
    ) -> Result<(), Broken> {
        let Answer::Token(token) = answer else { return Ok(()) };
        let token = token.token.expose();
        if self.erased.contains(token) {
            return Err(format!("{token} was handed out after it was erased"));
        }
        let Some(ends) = rally.end_of(token) else { return Ok(()) };
        // The daemon counts from when the answer came, and after a restart it has only the calendar.
        let Some((brought, was_off)) = self.brought.get(token) else { return Ok(()) };
        let slack = Ticks(2000).0 + brought.0.saturating_sub(ends.0);
        let calendar_moved = *was_off != calendar_off;
        if now.0 > ends.0 + slack + LATENCY.0 && !calendar_moved {
            return Err(format!("{token} was handed out {} ms after its end", now.0 - ends.0));
        }
        Ok(())
    }

    pub(super) fn brought(&mut self, token: String, now: Tick, calendar_off: i64) {
        self.brought.insert(token, (now, calendar_off));
    }

    /// Whether that is news.
    pub(super) fn erased(&mut self, token: &str) -> bool {
        self.erased.insert(token.to_owned())
    }

    pub(super) fn not_erased(&mut self, token: &str) {
        self.erased.remove(token);
    }

    /// At most one flow per profile at a time.
    pub(super) fn listens(&mut self, profile: usize, epoch: Epoch) -> Result<(), Broken> {
        match self.listeners.insert(profile, epoch) {
            Some(other) => Err(format!("profile {profile} has two flows, {other:?} and {epoch:?}")),
            None => Ok(()),
        }
    }

    pub(super) fn ended_listening(&mut self, epoch: Epoch) {
        self.listeners.retain(|_, open| *open != epoch);
    }

    pub(super) fn listener_of(&self, profile: usize) -> Option<Epoch> {
        self.listeners.get(&profile).copied()
    }

    /// At most one token request per profile at a time.
    pub(super) fn posts(&mut self, profile: usize, epoch: Epoch) -> Result<(), Broken> {
        match self.posts.insert(profile, epoch) {
            Some(other) => Err(format!("profile {profile} has two token requests, {other:?} and {epoch:?}")),
            None => Ok(()),
        }
    }

    /// A sign-out lets a request go that cannot be called back.
    pub(super) fn forgot(&mut self, profile: usize) {
        self.posts.remove(&profile);
        self.owed.remove(&profile);
    }

    /// Attempts that fail become rarer.
    pub(super) fn post_ended(
        &mut self,
        profile: usize,
        epoch: Epoch,
        failed: bool,
        now: Tick,
    ) -> Result<(), Broken> {
        self.posts.retain(|_, open| *open != epoch);
        let failures = self.failures.entry(profile).or_default();
        if !failed {
            failures.clear();
            return Ok(());
        }
        failures.push(now);
        failures.retain(|at| (now - *at) < Ticks::seconds(60));
        match failures.len() {
            count if count > MOST_FAILURES_A_MINUTE => {
                Err(format!("profile {profile} failed {count} times within a minute"))
            }
            _ => Ok(()),
        }
    }

    /// Every caller gets its answer by its deadline.
    pub(super) fn nobody_waits_too_long(&self, now: Tick) -> Result<(), Broken> {
        match self.open.iter().find(|(_, open)| open.deadline < now) {
            Some((id, open)) => {
                Err(format!("{id:?} still waits {} ms after its deadline", (now - open.deadline).0))
            }
            None => Ok(()),
        }
    }

    /// A refresh token that Rally still honours is not put out of the vault by one that it does not.
    pub(super) fn saves(
        &mut self,
        profile: usize,
        refresh_token: Option<String>,
        rally: &Rally,
    ) -> Result<(), Broken> {
        // The old record may be saved once more before the new one.
        let is_old = self.owed.get(&profile) == refresh_token.as_ref();
        let is_replaced = !is_old && self.replaced.remove(&profile);
        let owed = self.owed.get(&profile).filter(|owed| rally.honours(owed) && !is_replaced);
        match (owed, &refresh_token) {
            (Some(owed), None) => {
                return Err(format!("{owed} of profile {profile} is honoured, and was dropped"));
            }
            (Some(owed), Some(new)) if owed != new && !rally.honours(new) => {
                return Err(format!("{owed} of profile {profile} was replaced by {new}, which is dead"));
            }
            _ => {}
        }
        match refresh_token {
            Some(token) => self.owed.insert(profile, token),
            None => self.owed.remove(&profile),
        };
        Ok(())
    }

    /// A code was turned into a new grant.
    pub(super) fn granted_anew(&mut self, profile: usize) {
        self.replaced.insert(profile);
    }

    /// The daemon died: what it was asked is forgotten, what was in flight is lost.
    pub(super) fn crashed(&mut self) {
        self.answered.extend(std::mem::take(&mut self.open).into_keys());
        self.listeners.clear();
        self.posts.clear();
        self.replaced.clear();
        // The mark may have died with the daemon, if the vault did not take it.
        self.erased.clear();
    }
}

/// Longest time that a request to Rally takes in a history.
pub(super) const LATENCY: Ticks = Ticks::seconds(20);
