//! Seeded histories of fleets: many brokers on machines of their own, with calendars of their own, one vault and one Rally
//! between them; answers get lost or come late, and daemons die, sleep, or are cut off.
//! Does not: touch a clock, a socket or a file. What one daemon does alone, `history` plays.
//! Used by: `bin/simulate`, and the suite.
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a history that cannot be played is a mistake in the simulation"
)]

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    path::PathBuf,
    sync::Arc,
};

use rally_cred_core::{
    Broker, Facts,
    answer::{RawAnswer, SendTrouble, TokenForm},
    event::{AskId, Effect, Epoch, Event, Outcome, Peer},
    kv2::{Address, Kv2, ServerTrouble},
    policy::LEASE,
    profile::{BaseUrl, Config, Keyring, Profile, RedirectUri},
    redirect::Redirect,
    time::{Now, Tick, Ticks, Wall},
    vault::{Change, Changed, ItemKey, VaultTrouble, is_same},
};
use rally_cred_proto::{
    Ask, ProfileName, Reply, Secret,
    message::{Get, Login},
};

use super::{
    Seeded, Violation,
    cast::{EPOCH_1970, START},
    planted::bugs,
    promises::{Broken, never},
    rally::arrived,
};

bugs! {
    /// A bug between the brokers and their world.
    FleetBug {
        /// The vault makes every change, whatever the item holds.
        BlindChange: ONCE,
        /// No daemon sees another's lease.
        HiddenLease: ONCE,
        /// The lease of a daemon that died changes for ever, though nobody extends it.
        EternalLease: "no caller waits longer for a daemon that died than its lease lasts",
        /// Every machine's own calendar is believed.
        TrustedClocks: "an hour between two clocks makes no token end early or late",
        /// The vault says that it took a change, and did not.
        SwallowedChange: NEWEST,
        /// The vault puts back what the item held before.
        Restored: NEWEST,
    }
}

const ONCE: &str = "while a daemon may still renew, no other sends the same refresh token";
const NEWEST: &str = "a newer token that a living daemon got is kept, and no older one takes its place";

/// What a fleet did, to be counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Events that brokers took.
    pub events: usize,
    /// Token requests for a renewal.
    pub renewals: usize,
    /// Reads of the vault.
    pub reads: usize,
    /// Changes of the vault, refused ones included.
    pub changes: usize,
}

/// What is on its way, with the daemon and which of its lives it is of.
enum Coming {
    Call(Of, Epoch, Call),
    VaultAnswers(Of, Epoch, Outcome, i64),
    Post(Of, Epoch, TokenForm),
    Rally(Of, Epoch, Outcome),
    Redirect(Of, Epoch),
}

type Of = (usize, u64);

enum Call {
    Load(ItemKey),
    Change(Change),
    Erase(ItemKey),
}

struct Member {
    broker: Broker,
    dice: Seeded,
    life: u64,
    /// By how many milliseconds its machine's calendar is wrong.
    off: i64,
    bounds: Option<(i64, i64)>,
    open: BTreeMap<AskId, Tick>,
    /// The machine sleeps until then.
    sleeps_until: Option<Tick>,
    is_cut_off: bool,
}

/// A fleet's history, as far as it has got.
pub struct Fleet {
    seed: u64,
    bug: Option<FleetBug>,
    chance: Seeded,
    tick: Tick,
    members: Vec<Member>,
    deadlines: BTreeSet<(Tick, usize)>,
    queue: BTreeMap<(Tick, u64), Coming>,
    last: u64,
    items: BTreeMap<String, Secret>,
    before: Option<Secret>,
    /// Longest time that the vault and Rally take, in milliseconds.
    vault_takes: u64,
    rally_takes: u64,
    /// Of how many answers of the vault one gets lost.
    loses_one_in: Option<u64>,
    rally_is_down: bool,
    is_calm: bool,
    token_life: u64,
    /// The refresh tokens that are good, with the sign-in that each goes back to; and when each access token ends.
    honoured: HashMap<String, u64>,
    ends: HashMap<String, Tick>,
    newest_access: Option<String>,
    /// By access token: its end for the daemon that got it, which counts from when it came.
    known_ends: HashMap<String, Tick>,
    /// By refresh token: who sent it first.
    sent: HashMap<String, Of>,
    /// When the vault last took a lease of a daemon.
    leased: HashMap<Of, Tick>,
    /// Who took the lease last.
    holder: Option<Of>,
    /// By refresh token, also a used one: the sign-in that it goes back to.
    origins: HashMap<String, u64>,
    /// By sign-in: the refresh token that Rally gave last, and who got it.
    given: HashMap<u64, (String, Of)>,
    counts: Counts,
    steps: Vec<String>,
}

const ITEM: &str = "token:default";

/// How long a daemon waits for the vault's answer.
const VAULT_PATIENCE: Ticks = Ticks::seconds(10);

impl Fleet {
    /// The history of this seed, with two to six daemons.
    pub fn new(seed: u64, bug: Option<FleetBug>) -> Self {
        let mut chance = Seeded::new(seed);
        let size = 2 + chance.index(5);
        let is_calm = chance.one_in(3);
        let life = [15, 60, 600, 3600].get(chance.index(4)).copied().unwrap_or(60);
        Self::of(seed, bug, size, is_calm, life)
    }

    fn of(seed: u64, bug: Option<FleetBug>, size: usize, is_calm: bool, token_life: u64) -> Self {
        let mut chance = Seeded::new(seed ^ 0xf1ee7);
        let members = (0..size).map(|number| Member {
            broker: broker(),
            dice: Seeded::new(seed ^ (number as u64) << 32),
            life: 0,
            off: i64::try_from(chance.below(7_200_000)).unwrap_or(0) - 3_600_000,
            bounds: None,
            open: BTreeMap::new(),
            sleeps_until: None,
            is_cut_off: false,
        });
        let members = members.collect();
        Self {
            seed,
            bug,
            chance,
            tick: START,
            members,
            deadlines: BTreeSet::new(),
            queue: BTreeMap::new(),
            last: 0,
            items: BTreeMap::new(),
            before: None,
            vault_takes: 50,
            rally_takes: 500,
            loses_one_in: None,
            rally_is_down: false,
            is_calm,
            token_life,
            honoured: HashMap::new(),
            ends: HashMap::new(),
            newest_access: None,
            known_ends: HashMap::new(),
            sent: HashMap::new(),
            leased: HashMap::new(),
            holder: None,
            origins: HashMap::new(),
            given: HashMap::new(),
            counts: Counts::default(),
            steps: Vec::new(),
        }
    }

    /// Plays this many steps, then lets everything work again, lets a daemon die with the lease, and checks that all is well.
    pub fn play(mut self, steps: usize) -> Result<Counts, Violation> {
        let mut step = 0;
        let mut all = || -> Result<(), Broken> {
            self.sign_in()?;
            while step < steps {
                step += 1;
                self.step_by_chance()?;
            }
            self.settle()
        };
        match all() {
            Ok(()) => Ok(self.counts),
            Err(broken) => {
                let steps = self.steps.iter().rev().take(40).rev().cloned().collect();
                Err(Violation { seed: self.seed, step, broken, steps })
            }
        }
    }

    /// What a fleet of this size does in one life of a token, an hour, if every daemon is asked every five minutes.
    pub fn count(size: usize) -> Counts {
        const LIVES: usize = 4;
        const LIFE: u64 = 3600;
        let mut fleet = Self::of(7, None, size, true, LIFE);
        let play = |fleet: &mut Self, lives: usize| -> Result<(), Broken> {
            for _ in 0..lives * 12 {
                for member in 0..size {
                    fleet.get(member, 30)?;
                }
                fleet.pass(Ticks::seconds(300))?;
            }
            Ok(())
        };
        fleet.sign_in().and_then(|()| play(&mut fleet, 1)).expect("a fleet without faults");
        fleet.counts = Counts::default();
        play(&mut fleet, LIVES).expect("a fleet without faults");
        let Counts { events, renewals, reads, changes } = fleet.counts;
        let per_life = |count: usize| count.div_ceil(LIVES);
        Counts {
            events: per_life(events),
            renewals: per_life(renewals),
            reads: per_life(reads),
            changes: per_life(changes),
        }
    }

    fn note(&mut self, what: impl FnOnce() -> String) {
        if self.steps.len() > 200 {
            self.steps.drain(..100);
        }
        let line = format!("{:>9.1} s  {}", (self.tick - START).0 as f64 / 1000.0, what());
        self.steps.push(line);
    }

    fn sign_in(&mut self) -> Result<(), Broken> {
        self.login(0)?;
        self.pass(Ticks::seconds(20))?;
        match self.items.contains_key(ITEM) {
            true => Ok(()),
            false if self.bug.is_some() => Err(format!("{NEWEST}: a sign-in")),
            false => Err("nobody is signed in".to_owned()),
        }
    }

    fn step_by_chance(&mut self) -> Result<(), Broken> {
        let at = self.chance.index(self.members.len());
        let life = self.token_life;
        match self.chance.below(if self.is_calm { 70 } else { 100 }) {
            0..=24 => {
                let most = [2, 2, 10, 60, life, life].get(self.chance.index(6)).copied().unwrap_or(2);
                let span = Ticks(self.chance.below(most * 1000));
                self.pass(span)
            }
            25..=59 => self.get(at, 60),
            60..=69 => {
                // All at once, as at the end of a token.
                (0..self.members.len()).try_for_each(|member| self.get(member, 60))
            }
            70..=74 => self.kill(at),
            75..=79 => {
                let span = Ticks::seconds(self.chance.below(90));
                self.note(|| format!("{at} sleeps for {} s", span.as_seconds()));
                let until = self.tick + span;
                self.member(at).sleeps_until = Some(until);
                Ok(())
            }
            80..=84 => {
                let is_cut_off = !self.member(at).is_cut_off;
                self.note(|| format!("{at} is cut off from the vault: {is_cut_off}"));
                self.member(at).is_cut_off = is_cut_off;
                Ok(())
            }
            85..=89 => {
                self.vault_takes =
                    [50, 50, 1000, 9000, 15_000].get(self.chance.index(5)).copied().unwrap_or(50);
                self.loses_one_in = self.chance.one_in(2).then_some(4);
                Ok(())
            }
            90..=95 => {
                self.rally_is_down = self.chance.one_in(3);
                self.rally_takes = [500, 500, 5000, 19_000].get(self.chance.index(4)).copied().unwrap_or(500);
                let down = self.rally_is_down;
                self.note(|| format!("Rally is down: {down}"));
                Ok(())
            }
            _ => self.login(at),
        }
    }

    fn member(&mut self, at: usize) -> &mut Member {
        self.members.get_mut(at).expect("no such daemon")
    }

    fn get(&mut self, at: usize, wait: u32) -> Result<(), Broken> {
        self.ask(at, Ask::Get(Get { wait, ..Get::default() }), Ticks::seconds(wait.into()))
    }

    fn login(&mut self, at: usize) -> Result<(), Broken> {
        let client_secret = Some(secret("client-secret"));
        let login = Login { profile: None, client_secret, force: true, timeout: 60, can_paste: false };
        self.ask(at, Ask::Login(login), Ticks::seconds(60))
    }

    fn ask(&mut self, at: usize, ask: Ask, wait: Ticks) -> Result<(), Broken> {
        if self.member(at).sleeps_until.is_some() {
            return Ok(());
        }
        self.last += 1;
        let (id, deadline) = (AskId(self.last), self.tick + wait);
        self.member(at).open.insert(id, deadline);
        self.hear(at, Event::Asked { id, peer: Peer::default(), ask })
    }

    fn kill(&mut self, at: usize) -> Result<(), Broken> {
        self.note(|| format!("{at} dies and is started again"));
        let member = self.member(at);
        member.life += 1;
        member.broker = broker();
        member.bounds = None;
        member.open.clear();
        self.set_deadline(at, None);
        Ok(())
    }

    fn set_deadline(&mut self, at: usize, deadline: Option<Tick>) {
        self.deadlines.retain(|(_, of)| *of != at);
        self.deadlines.extend(deadline.map(|tick| (tick, at)));
    }

    /// Lets time pass, with all that falls due, in order.
    fn pass(&mut self, span: Ticks) -> Result<(), Broken> {
        let end = self.tick + span;
        loop {
            let coming = self.queue.first_key_value().map(|((tick, _), _)| *tick);
            let waking = self.members.iter().filter_map(|member| member.sleeps_until).min();
            let due = self
                .deadlines
                .iter()
                .find(|(_, at)| self.members.get(*at).is_some_and(|member| member.sleeps_until.is_none()));
            let (due, of) = due.map_or((None, 0), |(tick, at)| (Some(*tick), *at));
            let Some(next) = [coming, waking, due].into_iter().flatten().min().filter(|next| *next <= end)
            else {
                break;
            };
            self.tick = next.max(self.tick);
            let now = self.tick;
            for member in self.members.iter_mut() {
                member.sleeps_until = member.sleeps_until.filter(|until| *until > now);
            }
            if coming == Some(next) {
                let (_, coming) = self.queue.pop_first().expect("what comes next");
                self.arrives(coming)?;
            } else if due == Some(next) {
                self.hear(of, Event::TimePassed)?;
            }
        }
        self.tick = end;
        for member in &self.members {
            let late = member.open.iter().find(|(_, deadline)| **deadline < self.tick);
            if let Some((id, _)) = late.filter(|_| member.sleeps_until.is_none()) {
                return Err(format!("{id:?} still waits after its deadline"));
            }
        }
        Ok(())
    }

    fn send(&mut self, after: Ticks, coming: Coming) {
        self.last += 1;
        self.queue.insert((self.tick + after, self.last), coming);
    }

    fn true_ms(&self) -> i64 {
        EPOCH_1970 * 1000 + i64::try_from((self.tick - START).0).unwrap_or(0)
    }

    fn now(&self, at: usize) -> Now {
        let local = self.true_ms() + self.members.get(at).map_or(0, |member| member.off);
        let into_second = Ticks(local.rem_euclid(1000).unsigned_abs());
        Now { wall: Wall(local.div_euclid(1000)), into_second, tick: self.tick }
    }

    /// Whether it lives as it did, and is awake; what comes for a sleeper waits.
    fn is_there(&self, (at, life): Of) -> bool {
        self.members.get(at).is_some_and(|member| member.life == life)
    }

    fn arrives(&mut self, coming: Coming) -> Result<(), Broken> {
        match coming {
            Coming::Call(of, epoch, call) => self.call_arrives(of, epoch, call),
            Coming::VaultAnswers(of, ..) | Coming::Rally(of, ..) | Coming::Redirect(of, _)
                if !self.is_there(of) =>
            {
                Ok(())
            }
            Coming::VaultAnswers(of, ..) | Coming::Rally(of, ..) | Coming::Redirect(of, _)
                if self.member(of.0).sleeps_until.is_some() =>
            {
                let until = self.member(of.0).sleeps_until.expect("it sleeps");
                self.send(until - self.tick, coming);
                Ok(())
            }
            Coming::VaultAnswers((at, _), epoch, outcome, sent) => {
                let (true_ms, bug) = (self.true_ms(), self.bug);
                let member = self.member(at);
                let (came, date) = (true_ms + member.off, true_ms.div_euclid(1000) * 1000);
                let (least, most) = (date - came, date + 999 - sent);
                let bounds = match member.bounds {
                    Some((low, high)) if low.max(least) <= high.min(most) => (low.max(least), high.min(most)),
                    _ => (least, most),
                };
                if bug != Some(FleetBug::TrustedClocks) && member.bounds.replace(bounds) != Some(bounds) {
                    self.hear(at, Event::VaultCalendar { least: bounds.0, most: bounds.1 })?;
                }
                self.hear(at, Event::Outcome(epoch, outcome))
            }
            Coming::Post(of, epoch, form) => {
                let raw = self.rally_handles(of, &form);
                if let RawAnswer::Failed(_) | RawAnswer::Arrived { status: 400.., .. } = &raw {
                    self.note(|| format!("Rally refuses {}, or is down", of.0));
                }
                let after = Ticks(self.chance.below(self.rally_takes / 2 + 1));
                self.send(after, Coming::Rally(of, epoch, Outcome::Answered(raw)));
                Ok(())
            }
            Coming::Rally((at, _), epoch, outcome) => {
                if let Outcome::Answered(RawAnswer::Arrived { body, .. }) = &outcome
                    && let Ok(answer) = serde_json::from_slice::<serde_json::Value>(body)
                    && let Some(access) = answer["access_token"].as_str()
                {
                    self.known_ends.insert(access.to_owned(), self.tick + Ticks::seconds(self.token_life));
                }
                self.hear(at, Event::Outcome(epoch, outcome))
            }
            Coming::Redirect((at, _), epoch) => {
                self.hear(at, Event::Outcome(epoch, Outcome::Listening(Ok(()))))?;
                let code = Outcome::Redirected(Redirect::Code(secret("code")));
                self.hear(at, Event::Outcome(epoch, code))
            }
        }
    }

    fn hear(&mut self, at: usize, event: Event) -> Result<(), Broken> {
        self.counts.events += 1;
        let now = self.now(at);
        let member = self.members.get_mut(at).expect("no such daemon");
        let effects = member.broker.handle(now, &mut member.dice, event);
        let deadline = member.broker.next_deadline();
        self.set_deadline(at, deadline);
        effects.into_iter().try_for_each(|effect| self.take(at, effect))
    }

    fn take(&mut self, at: usize, effect: Effect) -> Result<(), Broken> {
        let of = (at, self.member(at).life);
        match effect {
            Effect::Load(epoch, key) => self.calls(of, epoch, Call::Load(key)),
            Effect::Change(epoch, change) => self.calls(of, epoch, Call::Change(change)),
            Effect::Erase(epoch, key) => self.calls(of, epoch, Call::Erase(key)),
            Effect::Listen(epoch, _) => self.send(Ticks(10), Coming::Redirect(of, epoch)),
            Effect::Post { epoch, form, .. } => {
                if let TokenForm::Refresh { refresh_token } = &form {
                    self.counts.renewals += 1;
                    let token = refresh_token.expose().to_owned();
                    self.note(|| format!("{at} sends {token}"));
                    self.may_send(of, &token)?;
                }
                let after = Ticks(self.chance.below(self.rally_takes / 2 + 1));
                self.send(after, Coming::Post(of, epoch, form));
            }
            Effect::LookUpUser { epoch, token, .. } => {
                let is_good = self.ends.get(token.expose()).is_some_and(|ends| self.tick < *ends);
                let raw = match is_good {
                    true => {
                        arrived(200, r#"{"User":{"UserName":"me@example.com","Errors":[],"Warnings":[]}}"#)
                    }
                    false => arrived(401, "<html>Full authentication is required</html>"),
                };
                self.send(Ticks(100), Coming::Rally(of, epoch, Outcome::UserLookedUp(raw)));
            }
            Effect::Reply(id, reply) => {
                self.member(at).open.remove(&id).ok_or_else(|| format!("{id:?} was answered twice"))?;
                if let Reply::Token(token) = reply {
                    let ends = self.known_ends.get(token.token.expose()).copied().unwrap_or(Tick(0));
                    if self.tick > ends {
                        return Err(format!("{at} gave out a token {} after its end", (self.tick - ends).0));
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// While a daemon may still renew, no other sends the same refresh token.
    fn may_send(&mut self, of: Of, token: &str) -> Result<(), Broken> {
        let first = *self.sent.entry(token.to_owned()).or_insert(of);
        if first != of {
            let quiet = self.leased.get(&first).map_or(Ticks(0), |at| self.tick - *at);
            if self.is_calm || quiet < LEASE {
                return Err(format!(
                    "{of:?} sends {token}, which {first:?} sent, {} ms after its lease",
                    quiet.0
                ));
            }
        }
        // Nor is a token renewed that is good for much longer than anybody asked.
        if self.is_calm
            && let Some(ends) = self.newest_access.as_ref().and_then(|access| self.ends.get(access))
        {
            let left = (*ends - self.tick).0;
            let most = match self.token_life {
                60.. => (self.token_life * 100).clamp(60_000, 300_000),
                life => life * 100,
            };
            never(left > most + 4000, || format!("{of:?} renews a token that is good for {left} ms"))?;
        }
        Ok(())
    }

    fn calls(&mut self, of: Of, epoch: Epoch, call: Call) {
        match &call {
            Call::Load(_) => self.counts.reads += 1,
            Call::Change(_) | Call::Erase(_) => self.counts.changes += 1,
        }
        if self.member(of.0).is_cut_off {
            return self.fails(of, epoch, &call, Ticks(10));
        }
        let after = Ticks(self.chance.below(self.vault_takes));
        if after > VAULT_PATIENCE {
            // It is done so late that nobody waits for it.
            self.fails(of, epoch, &call, VAULT_PATIENCE);
            return self.send(after, Coming::Call((of.0, u64::MAX), epoch, call));
        }
        self.send(after, Coming::Call(of, epoch, call));
    }

    fn fails(&mut self, of: Of, epoch: Epoch, call: &Call, after: Ticks) {
        let trouble = ServerTrouble::Unreachable { address: "vault".to_owned(), why: "lost".to_owned() };
        let trouble = VaultTrouble::Server(trouble);
        let outcome = match call {
            Call::Load(_) => Outcome::Loaded(Err(trouble)),
            Call::Change(_) => Outcome::Changed(Err(trouble)),
            Call::Erase(_) => Outcome::Erased(Err(trouble)),
        };
        let sent = self.true_ms() + self.members.get(of.0).map_or(0, |member| member.off);
        self.send(after, Coming::VaultAnswers(of, epoch, outcome, sent));
    }

    fn call_arrives(&mut self, of: Of, epoch: Epoch, call: Call) -> Result<(), Broken> {
        let sent = self.true_ms() + self.members.get(of.0).map_or(0, |member| member.off);
        let is_lost = self.loses_one_in.is_some_and(|times| self.chance.one_in(times));
        if is_lost {
            self.fails(of, epoch, &call, VAULT_PATIENCE);
        }
        let outcome = match call {
            Call::Load(key) => Outcome::Loaded(Ok(self.read(&key.account()))),
            Call::Change(Change { key, from, to }) => {
                let account = key.account();
                let found = self.items.get(&account).cloned();
                let is_blind = self.bug == Some(FleetBug::BlindChange);
                let changed = match is_same(found.as_ref(), to.as_ref()) {
                    true => Changed::Done,
                    false if !is_blind && !is_same(self.read(&account).as_ref(), from.as_ref()) => {
                        Changed::Conflict(self.read(&account))
                    }
                    false => {
                        self.put(of, &account, to)?;
                        Changed::Done
                    }
                };
                Outcome::Changed(Ok(changed))
            }
            Call::Erase(key) => {
                self.items.remove(&key.account());
                Outcome::Erased(Ok(()))
            }
        };
        if !is_lost {
            let after = Ticks(self.chance.below(self.vault_takes.min(1000)));
            self.send(after, Coming::VaultAnswers(of, epoch, outcome, sent));
        }
        Ok(())
    }

    /// What the vault gives out.
    fn read(&mut self, account: &str) -> Option<Secret> {
        let is_left = self.holder.is_some_and(|holder| !self.is_there(holder));
        if account == ITEM && is_left && self.bug == Some(FleetBug::EternalLease) {
            let turn = self.chance.below(u64::MAX);
            let item = self.items.get_mut(account)?;
            let mut record = json(item);
            if record.pointer("/lease/turn").is_some() {
                record["lease"]["turn"] = turn.into();
                *item = secret(&record.to_string());
            }
        }
        let item = self.items.get(account).cloned()?;
        match self.bug {
            Some(FleetBug::HiddenLease) if account == ITEM => {
                let mut record = json(&item);
                record.as_object_mut()?.remove("lease");
                Some(secret(&record.to_string()))
            }
            _ => Some(item),
        }
    }

    fn put(&mut self, of: Of, account: &str, to: Option<Secret>) -> Result<(), Broken> {
        if account != ITEM {
            if let Some(to) = to {
                self.items.insert(account.to_owned(), to);
            }
            return Ok(());
        }
        let Some(to) = to else { return Err(format!("{NEWEST}: it was erased")) };
        let (old, new) = (self.items.get(ITEM).map(json), json(&to));
        if new.pointer("/lease").is_some() {
            self.leased.insert(of, self.tick);
            self.holder = Some(of);
        }
        let number = |record: &serde_json::Value| record["generation"].as_u64().unwrap_or(0);
        if let Some(old) = old.as_ref().filter(|old| old["signed_in_at"] == new["signed_in_at"])
            && number(old) > number(&new)
        {
            return Err(format!("{NEWEST}: {} after {}", number(&new), number(old)));
        }
        let to = match self.bug {
            Some(FleetBug::SwallowedChange) if old.is_some() && new.pointer("/lease").is_none() => {
                return Ok(());
            }
            Some(FleetBug::Restored) if self.chance.one_in(8) => self.before.clone().unwrap_or(to),
            _ => to,
        };
        let refresh = json(&to)["refresh_token"].as_str().unwrap_or_default().to_owned();
        self.note(|| {
            format!(
                "{of:?} writes {refresh}{}",
                if new.pointer("/lease").is_some() { ", leased" } else { "" }
            )
        });
        self.before = self.items.insert(ITEM.to_owned(), to);
        Ok(())
    }

    fn rally_handles(&mut self, of: Of, form: &TokenForm) -> RawAnswer {
        if self.rally_is_down {
            return RawAnswer::Failed(SendTrouble::Unreachable("no route".to_owned()));
        }
        self.last += 1;
        let sign_in = match form {
            TokenForm::Code { .. } => Some(self.last),
            TokenForm::Refresh { refresh_token } => self.honoured.remove(refresh_token.expose()),
        };
        let Some(sign_in) = sign_in else {
            let body = r#"{"client_id":"c","client_secret":"s","error_description":"it was used","error":"invalid_grant"}"#;
            return arrived(400, body);
        };
        let (access, refresh) = (format!("access-{}", self.last), format!("refresh-{}", self.last));
        self.ends.insert(access.clone(), self.tick + Ticks::seconds(self.token_life));
        self.newest_access = Some(access.clone());
        self.honoured.insert(refresh.clone(), sign_in);
        self.origins.insert(refresh.clone(), sign_in);
        self.given.insert(sign_in, (refresh.clone(), of));
        let life = self.token_life;
        let names = format!(r#""access_token":"{access}","refresh_token":"{refresh}""#);
        arrived(200, &format!(r#"{{"expires_in":{life},"token_type":"Bearer",{names}}}"#))
    }

    /// Faults stop. Then a daemon dies while it holds the lease, and nobody waits for it for longer than that counts.
    fn settle(&mut self) -> Result<(), Broken> {
        self.note(|| "faults stop".to_owned());
        (self.vault_takes, self.rally_takes, self.loses_one_in, self.rally_is_down) = (50, 500, None, false);
        for member in &mut self.members {
            (member.sleeps_until, member.is_cut_off) = (None, false);
        }
        self.pass(Ticks::seconds(700))?;
        self.newest_is_kept()?;
        if !self.is_kept_good() {
            // A daemon died with the only good one, and a person has to sign in again.
            self.login(0)?;
            self.pass(Ticks::seconds(700))?;
        }
        // Whoever is asked after the end of the token begins to renew it, and dies.
        self.pass(Ticks::seconds(self.token_life + 1))?;
        (self.rally_takes, self.rally_is_down, self.is_calm) = (20_000, true, false);
        self.get(0, 60)?;
        self.pass(Ticks(400))?;
        self.kill(0)?;
        self.pass(Ticks(20_001))?;
        (self.rally_is_down, self.rally_takes) = (false, 500);
        self.pass(Ticks(LEASE.0 - 20_000 + 1000))?;
        let asked: Vec<_> = (1..self.members.len()).collect();
        for member in &asked {
            self.get(*member, 60)?;
        }
        // Whoever has seen the lease only now waits for as long as it counts, and a pause.
        self.pass(Ticks(LEASE.0 + 12_000))?;
        if let Some(at) = self.members.iter().position(|member| !member.open.is_empty()) {
            return Err(format!("{at} still waits for a daemon that died long ago"));
        }
        let good = self.newest_access.as_ref().and_then(|access| self.ends.get(access));
        match good.is_some_and(|ends| *ends + Ticks::seconds(60) > self.tick) {
            true => self.newest_is_kept(),
            false => Err("nobody has renewed after a daemon died".to_owned()),
        }
    }

    fn kept(&self) -> Option<String> {
        Some(json(self.items.get(ITEM)?)["refresh_token"].as_str()?.to_owned())
    }

    fn is_kept_good(&self) -> bool {
        self.kept().is_some_and(|kept| self.honoured.contains_key(&kept))
    }

    /// What Rally gave last for the sign-in in the vault is there, once all that is under way has come to its end, unless
    /// the daemon that got it is dead.
    fn newest_is_kept(&mut self) -> Result<(), Broken> {
        while let Some(((last, _), _)) = self.queue.last_key_value() {
            self.pass(*last - self.tick)?;
        }
        let kept = self.kept().unwrap_or_default();
        match self.origins.get(&kept).and_then(|sign_in| self.given.get(sign_in)) {
            Some((token, of)) if *token != kept && self.is_there(*of) => {
                Err(format!("{NEWEST}: {of:?} has {token}, and the vault {kept}"))
            }
            _ => Ok(()),
        }
    }
}

fn json(text: &Secret) -> serde_json::Value {
    serde_json::from_str(text.expose()).unwrap_or_default()
}

fn secret(text: &str) -> Secret {
    Secret::parse(text.to_owned()).expect("no secret")
}

fn broker() -> Broker {
    let profile = Profile::new(
        ProfileName::parse("default").expect("a name"),
        BaseUrl::parse("https://rally1.rallydev.com").expect("a URL"),
        "client".to_owned(),
        RedirectUri::parse("http://localhost:8477/callback").expect("a URL"),
    );
    let vault = Kv2::new(Address::Socket(PathBuf::from("/run/bao.sock")));
    let config = Config { keyring: Keyring::Kv2(Arc::new(vault)), ..Config::of_one(profile) };
    Broker::new(Facts::default(), config)
}
