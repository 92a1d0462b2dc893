//! One seeded history: chance picks what happens next, the broker answers, the promises are checked after every step.
//! Does not: print; a broken promise comes back with the steps that led to it.
//! Used by: `bin/simulate` and the suite.
#![expect(clippy::expect_used, reason = "a history that cannot be played is a mistake in the simulation")]

use std::collections::{BTreeMap, BTreeSet};

use rally_cred_core::{
    Sent,
    answer::{RawAnswer, TokenForm},
    event::{AskId, Consent, Effect, Epoch, Event, Fetched, Found, Outcome, Until},
    redirect::Redirect,
    time::{Now, Tick, Ticks, Wall},
};
use rally_cred_proto::{
    Ask, Fault, FaultKind, Reply, Secret,
    forwarding::Door,
    message::{Login, ProfileState, StatusAsk},
};

use super::{
    Cause, Planted, Played, Seeded, Transition,
    cast::{EPOCH_1970, START, name_of, number_of, secret},
    config_file::{ConfigFile, client_of_command},
    daemon::{Coming, Daemon, field},
    gateways::Gateways,
    planted::with_life,
    promises::{Broken, Grants, LATENCY},
    rally::{self, CLIENT_SECRET, Mood, Rally, SOURCE_SECRET},
    static_credentials::Statics,
    transitions::state_name,
    vault::{Health, Items, Wrote},
};

mod asks;
mod effects;
mod life;
mod tools;

/// A broken promise, with what is needed to see it again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The seed of the history.
    pub seed: u64,
    /// The step at which it broke.
    pub step: usize,
    /// The promise.
    pub broken: String,
    /// The last steps before it.
    pub steps: Vec<String>,
}

/// Steps that a violation shows.
const SHOWN: usize = 40;

/// One history, as far as it has got.
pub struct History {
    seed: u64,
    planted: Option<Planted>,
    /// Whether the world may still fail.
    is_troubled: bool,
    chance: Seeded,
    tick: Tick,
    /// Seconds by which the calendar is off from where it would be if nobody had set it.
    calendar_off: i64,
    /// What the config file says by now.
    file: ConfigFile,
    /// One, or two on one keyring, as a terminal with a runtime folder of its own brings about.
    daemons: Vec<Daemon>,
    /// Whether no other uses its keyring.
    is_alone: bool,
    /// The daemon that something happens to.
    at: usize,
    /// What the keyring holds.
    items: Items,
    health: Health,
    /// Whether the keyring was ever ill, so that something may wait before it is read again.
    was_ill: bool,
    rally: Rally,
    mood: Mood,
    grants: Grants,
    statics: Statics,
    gateways: Gateways,
    /// By profile: the token that its program gave last.
    given: BTreeMap<usize, String>,
    last_ask: u64,
    /// The request that is being decided.
    asking: Option<AskId>,
    step: usize,
    /// Events that the brokers have taken.
    events: usize,
    transitions: BTreeSet<Transition>,
    steps: Vec<String>,
}

impl std::fmt::Debug for History {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("History").field("seed", &self.seed).field("step", &self.step).finish_non_exhaustive()
    }
}

/// A program that is found out after it has asked.
const LATE: &str = "/bin/late";

/// Longer than the machine sleeps, night after night: what takes several calls of the vault goes on after each.
const NIGHTS: Ticks = Ticks::seconds(3 * 9 * 3600);

/// How long nothing must happen before a daemon ends whose service manager starts it again.
const IDLE_EXIT: Ticks = Ticks::seconds(900);

impl History {
    /// The history of this seed, before its first step.
    pub fn new(seed: u64) -> Self {
        Self::with_bug(seed, None)
    }

    /// The same, with a bug planted.
    pub fn with_bug(seed: u64, planted: Option<Planted>) -> Self {
        let mut chance = Seeded::new(seed);
        let daemons = if chance.one_in(2) { 2 } else { 1 };
        let file = ConfigFile::new(&mut chance, daemons);
        let idle_exit = chance.one_in(2).then_some(IDLE_EXIT);
        let daemon = |number: usize| Daemon::new(seed ^ (number as u64) << 32, planted, &file, idle_exit);
        Self {
            seed,
            planted,
            is_troubled: true,
            tick: START,
            calendar_off: 0,
            daemons: (0..daemons).map(daemon).collect(),
            file,
            is_alone: daemons == 1,
            at: 0,
            items: Items::new(),
            health: Health::Works,
            was_ill: false,
            rally: Rally::default(),
            mood: Mood::Well,
            grants: Grants::default(),
            statics: Statics::default(),
            gateways: Gateways::default(),
            given: BTreeMap::new(),
            last_ask: 0,
            asking: None,
            step: 0,
            events: 0,
            transitions: BTreeSet::new(),
            steps: Vec::new(),
            chance,
        }
    }

    /// Plays steps of trouble until the broker has taken this many events, then lets everything work again and checks
    /// that all is well.
    pub fn play(mut self, events: usize) -> Result<Played, Violation> {
        while self.events < events {
            self.step += 1;
            let taken = self.step_by_chance().and_then(|()| {
                self.each_daemon(Self::tries_again)?;
                self.daemons.iter().try_for_each(|daemon| daemon.promises.nobody_waits_too_long(self.tick))
            });
            if let Err(broken) = taken {
                return Err(self.violation(broken));
            }
        }
        self.settle().map_err(|broken| self.violation(broken))?;
        Ok(Played { events: self.events, transitions: self.transitions })
    }

    fn violation(&self, broken: Broken) -> Violation {
        let steps = self.steps.iter().rev().take(SHOWN).rev().cloned().collect();
        Violation { seed: self.seed, step: self.step, broken, steps }
    }

    fn note(&mut self, what: impl FnOnce() -> String) {
        if self.steps.len() > 4 * SHOWN {
            self.steps.drain(..2 * SHOWN);
        }
        let line = format!("{:>9.1} s  {}", (self.tick - START).0 as f64 / 1000.0, what());
        self.steps.push(line);
    }

    fn step_by_chance(&mut self) -> Result<(), Broken> {
        let profile = self.chance.index(self.file.profiles());
        self.at = self.chance.index(self.daemons.len());
        // What two daemons do to one refresh token takes all of a history.
        let has_tools = self.is_alone || self.file.may_have_gateways();
        match self.chance.below(if has_tools { 123 } else { 100 }) {
            0..=26 => {
                let span = match self.chance.below(12) {
                    0..=5 => Ticks(self.chance.below(2000)),
                    6..=8 => Ticks::seconds(self.chance.below(60)),
                    9..=10 => Ticks::seconds(self.chance.below(900)),
                    _ => Ticks::seconds(self.chance.below(7200)),
                };
                self.pass(span)
            }
            27..=48 => self.get(profile),
            49..=54 => self.login(profile),
            55..=62 => self.answer_flow(profile),
            63..=67 => self.erase(profile),
            68..=69 => self.leave(),
            70 => self.lock_or_unlock(),
            71 => self.logout(profile),
            72 => self.ask_from_afar(profile),
            73 => {
                let status = StatusAsk { profile: None, check: self.chance.one_in(2) };
                self.ask(Ask::Status(status), Ticks::seconds(30)).map(drop)
            }
            74..=78 => self.ask_of_statics(),
            79..=83 => {
                use Mood::{Busy, Losing, Maintenance, Unreachable, Well};
                self.mood = self.pick(&[Well, Well, Unreachable, Busy, Maintenance, Losing]);
                self.daemons.iter_mut().for_each(|daemon| daemon.promises.reported.clear());
                self.note(|| "Rally's mood changed".to_owned());
                self.each_daemon(Self::network_changes)
            }
            84..=87 => {
                use Health::{Fails, Hangs, Locked, Missing, Works};
                let before = self.health;
                self.health = self.pick(&[Works, Works, Missing, Locked, Fails, Hangs]);
                self.was_ill |= self.health != Works;
                self.note(|| "the keyring's health changed".to_owned());
                match (before, self.health) {
                    (Missing | Locked, Works) => self.each_daemon(Self::keyring_opens),
                    _ => Ok(()),
                }
            }
            // Of two sign-ins by two daemons, only the calendar tells which is newer; so there it stays as it is.
            88 if self.daemons.len() > 1 => Ok(()),
            88 => {
                let jump = i64::try_from(self.chance.below(7200)).unwrap_or(0) - 3600;
                self.calendar_off += jump;
                self.note(|| format!("the calendar is set by {jump} s"));
                Ok(())
            }
            89 => {
                // The machine sleeps: nothing happens, and then everything is late at once.
                self.note(|| "the machine sleeps".to_owned());
                self.tick = self.tick + Ticks::seconds(self.chance.below(8 * 3600));
                self.each_daemon(|history| {
                    history.deliver_due()?;
                    history.play_event(Event::TimePassed)?;
                    history.may_be_online(Event::Woke)
                })
            }
            90 => {
                self.rally.revoke_all();
                self.note(|| "somebody revokes every grant".to_owned());
                Ok(())
            }
            91 => self.repeat_an_outcome(),
            92 => {
                self.file.edit(&mut self.chance);
                self.note(|| "somebody edits the config file".to_owned());
                Ok(())
            }
            93..=95 => self.reload(),
            96..=97 => self.stop(),
            98..=99 => self.crash(),
            100..=102 => self.open_for_command(profile),
            103 => self.show_gateway(),
            104..=106 => self.revoke(),
            107..=111 => self.lend(),
            112..=114 => self.lend_another(),
            115..=117 => self.hold_turns(profile),
            _ => self.watch(profile),
        }
    }

    fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        let at = self.chance.index(of.len());
        *of.get(at).expect("nothing to pick from")
    }

    fn now(&self) -> Now {
        let since = (self.tick - START).0;
        let seconds = i64::try_from(since / 1000).unwrap_or(0);
        Now {
            wall: Wall(EPOCH_1970 + seconds + self.calendar_off),
            into_second: Ticks(since % 1000),
            tick: self.tick,
        }
    }

    /// Lets time pass, with everything that falls due on the way, in order.
    fn pass(&mut self, span: Ticks) -> Result<(), Broken> {
        let end = self.tick + span;
        let keeps_time = self.planted != Some(Planted::NeverWakes);
        loop {
            let due = |daemon: &Daemon| {
                let deadline = daemon.broker.next_deadline().filter(|_| keeps_time);
                [deadline, daemon.next_at()].into_iter().flatten().min()
            };
            let Some(next) = self.daemons.iter().filter_map(due).min().filter(|at| *at <= end) else { break };
            self.tick = next.max(self.tick);
            self.each_daemon(|history| {
                let deadline = history.me().broker.next_deadline().filter(|_| keeps_time);
                history.deliver_due()?;
                if deadline.is_some_and(|at| at <= history.tick) {
                    let life = history.me().life;
                    history.play_event(Event::TimePassed)?;
                    let is_same = history.me().life == life;
                    if is_same && history.me().broker.next_deadline().is_some_and(|at| at <= history.tick) {
                        return Err("the broker wants to be woken at a time that has passed".to_owned());
                    }
                }
                Ok(())
            })?;
        }
        self.tick = end;
        Ok(())
    }

    /// The daemon that something happens to.
    fn me(&mut self) -> &mut Daemon {
        self.daemons.get_mut(self.at).expect("no such daemon")
    }

    fn each_daemon(&mut self, mut act: impl FnMut(&mut Self) -> Result<(), Broken>) -> Result<(), Broken> {
        let at = self.at;
        for number in 0..self.daemons.len() {
            self.at = number;
            act(self)?;
        }
        self.at = at;
        Ok(())
    }

    fn deliver_due(&mut self) -> Result<(), Broken> {
        loop {
            let daemon = self.daemons.get_mut(self.at).expect("no such daemon");
            let Some(vault) = daemon.due_vault(self.tick) else { break };
            let (outcome, wrote) = vault.finish_one(&mut self.items);
            self.wrote(wrote)?;
            if let Some((epoch, mut outcome)) = outcome {
                self.gateway_is_read(epoch, &mut outcome);
                if let Outcome::Changed(_) | Outcome::Erased(_) = &outcome {
                    self.me().promises.awaited.remove(&epoch);
                }
                self.vault_answers(&outcome);
                if !self.is_saved_again(epoch, &outcome)? {
                    self.hear(epoch, outcome)?;
                }
            }
        }
        loop {
            let tick = self.tick;
            let outcomes = &mut self.me().outcomes;
            let Some(at) = outcomes.iter().position(|(at, ..)| *at <= tick) else { return Ok(()) };
            let (_, epoch, coming) = outcomes.swap_remove(at);
            self.deliver(epoch, coming)?;
        }
    }

    /// An item of the keyring was written.
    fn wrote(&mut self, wrote: Option<Wrote>) -> Result<(), Broken> {
        let Some(Wrote { account, before, after, is_sign_out }) = wrote else { return Ok(()) };
        let Some(profile) = account.strip_prefix("token:").map(number_of) else { return Ok(()) };
        if is_sign_out {
            self.grants.signed_out(profile);
        }
        let refresh = |text: Option<Secret>| text.and_then(|text| field(&text, "refresh_token"));
        self.grants.wrote(profile, refresh(before), refresh(after), &self.rally)
    }

    fn deliver(&mut self, epoch: Epoch, coming: Coming) -> Result<(), Broken> {
        let obtained = match &coming {
            Coming::Answered { profile, .. } => Some(*profile),
            _ => None,
        };
        let outcome = match coming {
            Coming::Listening if self.is_troubled && self.chance.one_in(20) => {
                self.me().promises.ended_listening(epoch);
                Outcome::Listening(Err(Fault::new(FaultKind::PortTaken, "taken")))
            }
            Coming::Listening => Outcome::Listening(Ok(())),
            Coming::Answered { profile, form, client_id, client_secret, mood } => {
                let client = (client_id.as_str(), client_secret.as_str());
                let raw = self.rally.answer(&mut self.chance, self.tick, mood, client, &form);
                let failed = !matches!(&raw, RawAnswer::Arrived { status: 200, .. }) || mood != Mood::Well;
                let (tick, by_network) = (self.tick, matches!(mood, Mood::Unreachable | Mood::Losing));
                self.me().promises.post_ended(profile, epoch, failed, by_network, tick)?;
                if let (true, TokenForm::Refresh { .. }) = (by_network, &form) {
                    self.me().promises.is_held_up(profile);
                }
                if let RawAnswer::Arrived { body, .. } = &raw
                    && let Ok(answer) = serde_json::from_slice::<serde_json::Value>(body)
                    && let Some(token) = answer.get("access_token").and_then(|token| token.as_str())
                {
                    let refresh =
                        answer.get("refresh_token").and_then(|token| token.as_str()).map(str::to_owned);
                    match form {
                        TokenForm::Code { .. } => {
                            self.grants.signed_in(profile, refresh, self.tick);
                            // By a calendar that was set back, the sign-in of the item is the newer one.
                            let is_back = self.signed_in_at(profile) > Some(self.now().wall.0);
                            // And nobody can tell which of two OAuth clients a profile is to have.
                            let is_other =
                                |daemon: &Daemon| daemon.config.client_of(profile) != Some(client_id.clone());
                            if is_back || self.daemons.iter().any(is_other) {
                                self.grants.lose_count(profile);
                            }
                        }
                        TokenForm::Refresh { refresh_token } => {
                            self.grants.renewed(refresh_token.expose(), refresh);
                        }
                    }
                    self.grants.brought(token.to_owned(), self.tick, self.calendar_off);
                    self.daemons.iter_mut().for_each(|daemon| drop(daemon.fresh.remove(&profile)));
                    self.me().fresh.insert(profile, token.to_owned());
                }
                let raw = match self.planted {
                    Some(Planted::LongLives) => with_life(raw, |life| life * 10),
                    Some(Planted::ShortLives) => with_life(raw, |_| 1),
                    _ => raw,
                };
                self.me().answered.push(epoch);
                Outcome::Answered(raw)
            }
            Coming::LookedUp { mood, token } => return self.deliver_look_up(epoch, mood, &token),
            Coming::ConfigRead => return self.config_is_read(),
            Coming::Identified(program) => {
                program.found(Found { exe: None, caller: Some(LATE.into()) });
                Outcome::Identified
            }
            Coming::Consented { profile, program, consent } => {
                self.note(|| format!("{program} is let have tokens of {profile}: {consent:?}"));
                let tick = self.tick;
                self.me().promises.said(epoch, profile, &program, consent, tick);
                let nobody = || Fault::new(FaultKind::ConsentNeeded, "nobody can be asked");
                Outcome::Consented(match self.planted {
                    Some(Planted::DeafToDenial) => Ok(Consent::Session),
                    _ => consent.ok_or_else(nobody),
                })
            }
            Coming::Leaves(id) => return self.leaves(id),
            Coming::Watches if matches!(self.health, Health::Works | Health::Fails) => {
                return self.keyring_opens();
            }
            Coming::Watches => return Ok(()),
            Coming::Lends(id) => {
                self.lends(id);
                return Ok(());
            }
            Coming::GatewayOpens(plan) => {
                let fails = self.is_troubled && self.chance.one_in(20);
                let shares = self.planted == Some(Planted::SharedPort);
                Outcome::GatewayOpened(self.gateways.opens((self.at, epoch), &plan, fails, shares)?)
            }
            Coming::TokenFetched { profile } => Outcome::TokenFetched(self.program_gives(profile, epoch)?),
            Coming::Fetched { profile } => {
                self.note(|| format!("the source of profile {profile} answers"));
                self.me().promises.fetched(epoch);
                let fetched = match self.chance.below(8) {
                    0 | 1 if self.is_troubled => Err(Fault::new(FaultKind::ClientSecretNeeded, "it failed")),
                    2 if self.is_troubled => Ok("wrong-secret"),
                    _ => Ok(SOURCE_SECRET),
                };
                let text = |text| secret(text).expect("no secret");
                Outcome::ClientSecretFetched(fetched.map(text))
            }
        };
        self.me().was_stale = false;
        self.hear(epoch, outcome)?;
        // A token that the broker no longer wanted, it does not have.
        if let Some(profile) = obtained.filter(|_| self.me().was_stale) {
            self.me().fresh.remove(&profile);
        }
        Ok(())
    }

    /// What a profile's program gives: a new token, most of the time, or the last one again, which Rally may have refused.
    fn program_gives(&mut self, profile: usize, epoch: Epoch) -> Result<Result<Fetched, Fault>, Broken> {
        let (tick, fails) = (self.tick, self.is_troubled && self.chance.one_in(4));
        self.me().promises.fetched(epoch);
        self.me().promises.post_ended(profile, epoch, fails, false, tick)?;
        if fails {
            return Ok(Err(Fault::new(FaultKind::Failed, "it failed")));
        }
        let last = self.given.get(&profile).cloned().filter(|last| {
            let ends = self.rally.end_of(last);
            ends.is_none_or(|ends| ends > tick) && (self.is_troubled || self.rally.takes(last, tick))
        });
        let token = match last.filter(|_| self.chance.one_in(4)) {
            Some(last) => last,
            None => {
                let client = client_of_command(profile);
                self.rally.access_token(&mut self.chance, tick, &client).0
            }
        };
        self.note(|| format!("the program of profile {profile} gives {token}"));
        self.given.insert(profile, token.clone());
        self.grants.brought(token.clone(), tick, self.calendar_off);
        let left = self.rally.end_of(&token).map(|ends| (ends - tick).as_seconds());
        let until = left.map(|left| match self.chance.one_in(2) {
            true => Until::In(left),
            false => Until::At(self.now().wall.after(i64::try_from(left).unwrap_or(0))),
        });
        Ok(Ok(Fetched { token: secret(&token).expect("a token"), until }))
    }

    /// A token that Rally does not take is not served again, if the broker still wanted to know.
    fn deliver_look_up(&mut self, epoch: Epoch, mood: Mood, token: &str) -> Result<(), Broken> {
        let is_taken = self.rally.takes(token, self.tick);
        // While tokens are kept in memory, what is given up stays in the keyring, and comes back with it.
        let is_refuted = !is_taken
            && matches!(mood, Mood::Well | Mood::Losing)
            && !self.me().vault.is_memory()
            && self.me().promises.erased.insert(token.to_owned());
        self.me().was_stale = false;
        self.hear(epoch, Outcome::UserLookedUp(rally::user(mood, is_taken)))?;
        if is_refuted && self.me().was_stale {
            self.me().promises.erased.remove(token);
        }
        Ok(())
    }

    fn hear(&mut self, epoch: Epoch, outcome: Outcome) -> Result<(), Broken> {
        self.play_event(Event::Outcome(epoch, outcome))
    }

    fn play_event(&mut self, mut event: Event) -> Result<(), Broken> {
        if let (Some(Planted::OneDoor), Event::Asked { peer, .. }) = (self.planted, &mut event) {
            peer.door = Door::Own;
        }
        let daemon = self.daemons.get_mut(self.at).expect("no such daemon");
        daemon.lending.sees(&event, daemon.config.locks_with_session);
        if let (Some(Planted::OneTurn), Event::Asked { ask: Ask::HoldTurns(hold), .. }) =
            (self.planted, &mut event)
        {
            hold.turns = 1;
        }
        if let (Some(Planted::AnyPort), Event::Asked { ask: Ask::Get(get), .. }) = (self.planted, &mut event)
        {
            get.target.uri = get.target.uri.take().map(|uri| uri.replace(":444", ""));
        }
        match (self.planted, &event) {
            (Some(Planted::NeverWakes), Event::TimePassed)
            | (Some(Planted::NoAnswers), Event::Outcome(_, Outcome::Answered(_)))
            | (Some(Planted::NeverEnds), Event::StopWanted | Event::Asked { ask: Ask::Stop, .. }) => {
                return Ok(());
            }
            (Some(Planted::DeafToLock), Event::SessionLocked) => return Ok(()),
            (Some(Planted::DeafToLock), Event::Asked { id, ask: Ask::Lock, .. }) => {
                return self.take(Effect::Reply(*id, Reply::Done));
            }
            (Some(Planted::DeafToRevocation), Event::Asked { id, ask: Ask::RevokeGateway(_), .. }) => {
                return self.take(Effect::Reply(*id, Reply::Done));
            }
            (Some(bug), Event::Asked { id, peer, ask: Ask::Erase(erase) }) => {
                let is_deaf = match erase.target.host {
                    None => {
                        bug == Planted::DeafToErase
                            || bug == Planted::DeafToRefusal && peer.program.path().is_some()
                    }
                    Some(_) => bug == Planted::DeafToStaticErase,
                };
                if is_deaf {
                    return self.take(Effect::Reply(*id, Reply::Done));
                }
            }
            _ => {}
        }
        self.events += 1;
        self.gateways.begins();
        let cause = Cause::of(&event);
        let in_haste = match (self.planted, &event) {
            (Some(Planted::EndsInHaste), Event::StopWanted | Event::Asked { ask: Ask::Stop, .. }) => {
                Some(Effect::Exit)
            }
            (Some(Planted::IdleInHaste), Event::TimePassed) => Some(Effect::ExitIfDeserted),
            _ => None,
        };
        let now = self.now();
        let daemon = self.daemons.get_mut(self.at).expect("no such daemon");
        if self.planted != Some(Planted::DeafLoans) {
            daemon.lending.heard(&event);
        }
        let states = |daemon: &Daemon| -> BTreeMap<usize, ProfileState> {
            daemon.broker.states().map(|(name, state)| (number_of(name), state)).collect()
        };
        let before = states(daemon);
        let effects = daemon.broker.handle(now, &mut daemon.dice, event);
        for (profile, to) in states(daemon) {
            if let Some(from) = before.get(&profile).copied().filter(|from| *from != to) {
                self.transitions.insert(Transition { from: state_name(from), cause, to: state_name(to) });
            }
        }
        let life = daemon.life;
        for effect in effects.into_iter().chain(in_haste) {
            self.take(effect)?;
            if self.me().life != life {
                return Ok(());
            }
        }
        self.tools_are_served()
    }

    /// An outcome comes a second time.
    fn repeat_an_outcome(&mut self) -> Result<(), Broken> {
        let answered = self.me().answered.clone();
        if answered.is_empty() {
            return Ok(());
        }
        let epoch = self.pick(&answered);
        self.note(|| format!("{epoch:?} is answered a second time"));
        let body = zeroize::Zeroizing::new(br#"{"access_token":"stray","refresh_token":"stray"}"#.to_vec());
        let sent = Sent::default();
        self.hear(epoch, Outcome::Answered(RawAnswer::Arrived { status: 200, retry_after: None, body, sent }))
    }

    /// When somebody signed in for what the keyring has, by the calendar.
    fn signed_in_at(&self, profile: usize) -> Option<i64> {
        let record = self.items.get(&format!("token:{}", name_of(profile)))?;
        let record: serde_json::Value = serde_json::from_str(record.expose()).ok()?;
        record.get("signed_in_at")?.as_i64()
    }

    /// The refresh token that the keyring has.
    fn kept(&self, profile: usize) -> Option<String> {
        let record = self.items.get(&format!("token:{}", name_of(profile)));
        record.and_then(|record| field(record, "refresh_token"))
    }

    /// Faults stop. Within bounded time every profile serves again, and what is owed is in the vault.
    fn settle(&mut self) -> Result<(), Broken> {
        self.is_troubled = false;
        self.mood = Mood::Well;
        self.health = Health::Works;
        self.note(|| "faults stop".to_owned());
        self.each_daemon(Self::keyring_opens)?;
        self.each_daemon(Self::tools_leave)?;
        self.each_daemon(|history| history.play_event(Event::ReloadWanted))?;
        // A question to the vault that is under way may still end as the vault was.
        self.pass(Ticks::seconds(600))?;
        self.each_daemon(|history| history.ask(Ask::Unlock, NIGHTS).map(drop))?;
        // Longer than any pause that the broker may take: an hour at most, and the flows that are still open.
        self.pass(Ticks::seconds(2 * 3600))?;
        for daemon in &self.daemons {
            if let Some(id) = daemon.promises.open_asks().first() {
                return Err(format!("{id:?} was never answered"));
            }
        }
        self.owed_is_kept()?;
        for profile in
            (0..self.file.profiles()).filter(|profile| self.file.of(*profile).is_there).collect::<Vec<_>>()
        {
            // A secret that its source gave wrong is given up when Rally refuses it.
            if self.me().config.of(profile).has_source && self.signs_in(profile)?.is_none() {
                continue;
            }
            self.signs_in(profile)?.map_or(Ok(()), Err)?;
        }
        self.owed_is_kept()?;
        self.gateways_are_kept()?;
        self.serves_statics()?;
        self.daemons.iter().try_for_each(|daemon| daemon.promises.nobody_waits_too_long(self.tick))?;
        self.ends_when_idle()
    }

    /// A person signs in to a profile; what is wrong if they are not signed in. The client secret is typed where no source
    /// has it.
    fn signs_in(&mut self, profile: usize) -> Result<Option<Broken>, Broken> {
        let has_source = self.me().config.of(profile).has_source;
        let login = Login {
            profile: Some(name_of(profile)),
            client_secret: secret(CLIENT_SECRET).filter(|_| !has_source),
            force: true,
            timeout: 300,
            can_paste: false,
        };
        let login = self.ask(Ask::Login(login), Ticks::seconds(300))?;
        for _ in 0..20 {
            self.pass(Ticks::seconds(1))?;
            if self.me().promises.listener_of(profile).is_some() {
                break;
            }
        }
        if let (Some(epoch), Some(code)) =
            (self.me().promises.listener_of(profile), secret(&self.rally.code()))
        {
            self.hear(epoch, Outcome::Redirected(Redirect::Code(code)))?;
        }
        self.pass(LATENCY)?;
        self.pass(LATENCY)?;
        // The look-up may take its time, but by then the token is there, and may even have ended.
        self.pass(Ticks::seconds(10))?;
        Ok(self.me().promises.not_signed_in(login, profile))
    }

    fn owed_is_kept(&self) -> Result<(), Broken> {
        self.grants.are_kept(0..self.daemons.len(), |profile| self.kept(profile), &self.rally)
    }
}
