//! One seeded history: chance picks what happens next, the broker answers, the promises are checked after every step.
//! Does not: print; a broken promise comes back with the steps that led to it.
//! Met by: `bin/simulate` and the suite.
#![expect(clippy::expect_used, reason = "a history that cannot be played is a mistake in the simulation")]

use std::collections::{BTreeMap, BTreeSet};

use rally_cred_proto::{
    Answer, Ask, Fault, FaultKind,
    message::{Erase, Get, Login, Logout, StatusAsk},
};
use rally_credd::core::{
    Broker, Sent,
    answer::{RawAnswer, TokenForm},
    event::{AskId, Effect, Entry, Epoch, Event, Peer},
    redirect::Redirect,
    time::{Now, Tick, Ticks, Wall},
    vault::ItemKind,
};

use super::{
    Cause, Planted, Played, Seeded, Transition,
    cast::{FIRST_PORT, broker, kind_of, name_of, number_of, secret, target, word_for},
    planted::{BrokerDice, lengthened},
    promises::{Broken, LATENCY, Promises},
    rally::{self, CLIENT_SECRET, Mood, Rally},
    transitions::state_name,
    vault::{self, Call, Health, SimVault},
};

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

/// An outcome on its way to the broker.
#[derive(Debug)]
enum Outcome {
    Listening,
    Answered { profile: usize, form: TokenForm, client_secret: String, mood: Mood },
    LookedUp { mood: Mood, token: String },
}

/// One history, as far as it has got.
pub struct History {
    seed: u64,
    planted: Option<Planted>,
    /// Whether the world may still fail.
    is_troubled: bool,
    chance: Seeded,
    dice: BrokerDice,
    tick: Tick,
    /// Seconds by which the calendar is off from where it would be if nobody had set it.
    calendar_off: i64,
    profiles: usize,
    broker: Broker,
    rally: Rally,
    mood: Mood,
    vault: SimVault,
    health: Health,
    outcomes: Vec<(Tick, Epoch, Outcome)>,
    promises: Promises,
    /// What each caller holds, to give it back by `erase`.
    tokens: Vec<(usize, String)>,
    last_ask: u64,
    step: usize,
    /// Events that the broker has taken.
    events: usize,
    /// Whether the broker dropped an outcome since this was last reset.
    was_stale: bool,
    transitions: BTreeSet<Transition>,
    steps: Vec<String>,
    now_signed_out: BTreeMap<usize, bool>,
}

impl std::fmt::Debug for History {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("History").field("seed", &self.seed).field("step", &self.step).finish_non_exhaustive()
    }
}

const START: Tick = Tick(1_000_000);
const EPOCH_1970: i64 = 1_780_000_000;

impl History {
    /// The history of this seed, before its first step.
    pub fn new(seed: u64) -> Self {
        Self::with_bug(seed, None)
    }

    /// The same, with a bug planted.
    pub fn with_bug(seed: u64, planted: Option<Planted>) -> Self {
        let mut chance = Seeded::new(seed);
        let profiles = 1 + usize::try_from(chance.below(3)).unwrap_or(0);
        Self {
            seed,
            planted,
            is_troubled: true,
            dice: BrokerDice {
                chance: Seeded::new(seed ^ 0xd1ce),
                has_jitter: planted != Some(Planted::NoBackoff),
            },
            tick: START,
            calendar_off: 0,
            profiles,
            broker: broker(profiles),
            rally: Rally::default(),
            mood: Mood::Well,
            vault: SimVault::new(planted == Some(Planted::LateSaveWins)),
            health: Health::Works,
            outcomes: Vec::new(),
            promises: Promises::default(),
            tokens: Vec::new(),
            last_ask: 0,
            step: 0,
            events: 0,
            was_stale: false,
            transitions: BTreeSet::new(),
            steps: Vec::new(),
            now_signed_out: BTreeMap::new(),
            chance,
        }
    }

    /// Plays steps of trouble until the broker has taken this many events, then lets everything work again and checks
    /// that all is well.
    pub fn play(mut self, events: usize) -> Result<Played, Violation> {
        while self.events < events {
            self.step += 1;
            let taken = self.step_by_chance().and_then(|()| self.promises.nobody_waits_too_long(self.tick));
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
        let profile = usize::try_from(self.chance.below(self.profiles as u64)).unwrap_or(0);
        match self.chance.below(100) {
            0..=29 => {
                let span = match self.chance.below(12) {
                    0..=5 => Ticks(self.chance.below(2000)),
                    6..=8 => Ticks::seconds(self.chance.below(60)),
                    9..=10 => Ticks::seconds(self.chance.below(900)),
                    _ => Ticks::seconds(self.chance.below(7200)),
                };
                self.pass(span)
            }
            30..=54 => self.get(profile),
            55..=61 => self.login(profile),
            62..=69 => self.answer_flow(profile),
            70..=75 => self.erase(profile),
            76..=78 => self.leave(),
            79..=80 => self.logout(profile),
            81..=83 => {
                let status = StatusAsk { profile: None, check: self.chance.one_in(2) };
                self.ask(Ask::Status(status), Ticks::seconds(30)).map(drop)
            }
            84..=88 => {
                let moods =
                    [Mood::Well, Mood::Well, Mood::Unreachable, Mood::Busy, Mood::Maintenance, Mood::Losing];
                self.mood = self.pick(&moods);
                self.note(|| "Rally's mood changed".to_owned());
                Ok(())
            }
            89..=92 => {
                let healths = [
                    Health::Works,
                    Health::Works,
                    Health::Missing,
                    Health::Locked,
                    Health::Fails,
                    Health::Hangs,
                ];
                self.health = self.pick(&healths);
                self.note(|| "the keyring's health changed".to_owned());
                Ok(())
            }
            93 => {
                let jump = i64::try_from(self.chance.below(7200)).unwrap_or(0) - 3600;
                self.calendar_off += jump;
                self.note(|| format!("the calendar is set by {jump} s"));
                Ok(())
            }
            94 => {
                // The machine sleeps: nothing happens, and then everything is late at once.
                self.note(|| "the machine sleeps".to_owned());
                self.tick = self.tick + Ticks::seconds(self.chance.below(8 * 3600));
                self.deliver_due()?;
                self.play_event(Event::TimePassed)
            }
            95 => {
                self.rally.revoke_all();
                self.note(|| "somebody revokes every grant".to_owned());
                Ok(())
            }
            96 => self.repeat_an_outcome(),
            _ => {
                self.crash();
                Ok(())
            }
        }
    }

    fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        let at = usize::try_from(self.chance.below(of.len() as u64)).unwrap_or(0);
        *of.get(at).expect("nothing to pick from")
    }

    fn now(&self) -> Now {
        let since = i64::try_from((self.tick - START).0 / 1000).unwrap_or(0);
        Now { tick: self.tick, wall: Wall(EPOCH_1970 + since + self.calendar_off) }
    }

    /// Lets time pass, with everything that falls due on the way, in order.
    fn pass(&mut self, span: Ticks) -> Result<(), Broken> {
        let end = self.tick + span;
        loop {
            let keeps_time = self.planted != Some(Planted::NeverWakes);
            let deadline = self.broker.next_deadline().filter(|_| keeps_time).map(|at| at.max(self.tick));
            let outcome = self.outcomes.iter().map(|(at, ..)| *at).min();
            let Some(next) =
                [deadline, outcome, self.vault.next_at()].into_iter().flatten().min().filter(|at| *at <= end)
            else {
                break;
            };
            self.tick = next.max(self.tick);
            self.deliver_due()?;
            if deadline.is_some_and(|at| at <= self.tick) {
                self.play_event(Event::TimePassed)?;
                if self.broker.next_deadline().is_some_and(|at| at <= self.tick) {
                    return Err("the broker wants to be woken at a time that has passed".to_owned());
                }
            }
        }
        self.tick = end;
        Ok(())
    }

    fn deliver_due(&mut self) -> Result<(), Broken> {
        while self.vault.next_at().is_some_and(|at| at <= self.tick) {
            if let Some(event) = self.vault.finish_one() {
                self.play_event(event)?;
            }
        }
        while let Some(at) = self.outcomes.iter().position(|(at, ..)| *at <= self.tick) {
            let (_, epoch, outcome) = self.outcomes.swap_remove(at);
            self.deliver(epoch, outcome)?;
        }
        Ok(())
    }

    fn deliver(&mut self, epoch: Epoch, outcome: Outcome) -> Result<(), Broken> {
        let event = match outcome {
            Outcome::Listening if self.is_troubled && self.chance.one_in(20) => {
                self.promises.ended_listening(epoch);
                Event::Listening(epoch, Err(Fault::new(FaultKind::PortTaken, "taken")))
            }
            Outcome::Listening => Event::Listening(epoch, Ok(())),
            Outcome::Answered { profile, form, client_secret, mood } => {
                let raw = self.rally.answer(&mut self.chance, self.tick, mood, &client_secret, &form);
                let failed = !matches!(&raw, RawAnswer::Arrived { status: 200, .. }) || mood != Mood::Well;
                self.promises.post_ended(profile, epoch, failed, self.tick)?;
                if let RawAnswer::Arrived { body, .. } = &raw
                    && let Ok(answer) = serde_json::from_slice::<serde_json::Value>(body)
                    && let Some(token) = answer.get("access_token").and_then(|token| token.as_str())
                {
                    if matches!(form, TokenForm::Code { .. }) {
                        self.promises.granted_anew(profile);
                    }
                    self.promises.brought(token.to_owned(), self.tick, self.calendar_off);
                }
                Event::Answered(
                    epoch,
                    if self.planted == Some(Planted::LongLives) { lengthened(raw) } else { raw },
                )
            }
            Outcome::LookedUp { mood, token } => return self.deliver_look_up(epoch, mood, &token),
        };
        self.play_event(event)
    }

    /// A token that Rally does not take is not served again, if the broker still wanted to know.
    fn deliver_look_up(&mut self, epoch: Epoch, mood: Mood, token: &str) -> Result<(), Broken> {
        let is_taken = self.rally.takes(token, self.tick);
        let is_refuted =
            !is_taken && matches!(mood, Mood::Well | Mood::Losing) && self.promises.erased(token);
        self.was_stale = false;
        self.play_event(Event::UserLookedUp(epoch, rally::user(mood, is_taken)))?;
        if is_refuted && self.was_stale {
            self.promises.not_erased(token);
        }
        Ok(())
    }

    fn play_event(&mut self, event: Event) -> Result<(), Broken> {
        match (self.planted, &event) {
            (Some(Planted::NeverWakes), Event::TimePassed)
            | (Some(Planted::NoAnswers), Event::Answered(..)) => return Ok(()),
            (Some(Planted::DeafToErase), Event::Asked { id, ask: Ask::Erase(_), .. }) => {
                return self.take(Effect::Reply(*id, Answer::Done));
            }
            _ => {}
        }
        self.events += 1;
        let cause = Cause::of(&event);
        let before: Vec<_> = self.broker.states().map(|(_, state)| state).collect();
        let effects = self.broker.handle(self.now(), &mut self.dice, event);
        for (from, (_, to)) in before.into_iter().zip(self.broker.states()) {
            if from != to {
                self.transitions.insert(Transition { from: state_name(from), cause, to: state_name(to) });
            }
        }
        for effect in effects {
            self.take(effect)?;
        }
        Ok(())
    }

    fn take(&mut self, effect: Effect) -> Result<(), Broken> {
        match effect {
            Effect::Log(Entry::Stale(_)) => self.was_stale = true,
            Effect::Tell(..)
            | Effect::Log(_)
            | Effect::OpenVault(_)
            | Effect::Alert(_)
            | Effect::AlertBy(_)
            | Effect::WithdrawAlert(_)
            | Effect::ReadConfig
            | Effect::Check { .. }
            | Effect::FetchClientSecret(..)
            | Effect::CloseDoor
            | Effect::Exit
            | Effect::ExitIfDeserted => {}
            Effect::Reply(id, answer) => {
                self.note(|| format!("{id:?} is answered: {}", kind_of(&answer)));
                self.promises.replied(id)?;
                if self.planted == Some(Planted::AnswersTwice) {
                    self.promises.replied(id)?;
                }
                self.promises.handed_out(&answer, &self.rally, self.tick, self.calendar_off)?;
                if let Answer::SignedIn(_) = &answer {
                    self.promises.signed_in(id);
                }
                if let Answer::Token(token) = answer {
                    self.tokens.push((number_of(&token.profile), token.token.expose().to_owned()));
                }
            }
            Effect::Load(epoch, key) => self.call_vault(epoch, Call::Load(key)),
            Effect::Save(epoch, key, record) => {
                if key.kind == ItemKind::Token {
                    let refresh_token = vault::field(&record, "refresh_token");
                    self.note(|| format!("saves {refresh_token:?} for {}", key.name));
                    self.promises.saves(
                        number_of(&key.name),
                        vault::field(&record, "refresh_token"),
                        &self.rally,
                    )?;
                }
                match self.planted {
                    Some(Planted::SwallowedSave) => self.call_vault(epoch, Call::Swallow),
                    _ => self.call_vault(epoch, Call::Save(key, record)),
                }
            }
            Effect::Erase(epoch, key) => {
                if key.kind == ItemKind::Token
                    && !self.now_signed_out.remove(&number_of(&key.name)).unwrap_or(false)
                {
                    self.promises.saves(number_of(&key.name), None, &self.rally)?;
                }
                self.call_vault(epoch, Call::Erase(key));
            }
            Effect::Listen(epoch, expected) => {
                let profile = usize::from(expected.redirect_uri.url().port().unwrap_or(0)) - FIRST_PORT;
                self.note(|| format!("profile {profile} listens as {epoch:?}"));
                self.promises.listens(profile, epoch)?;
                if self.planted == Some(Planted::TwoFlows) {
                    self.promises.listens(profile, epoch)?;
                }
                let at = self.tick + Ticks(self.chance.below(20));
                self.outcomes.push((at, epoch, Outcome::Listening));
            }
            Effect::EndListening(epoch, _) => self.promises.ended_listening(epoch),
            Effect::Post { epoch, profile, client_secret, form } => {
                let profile = number_of(&profile.name);
                self.note(|| format!("profile {profile} posts as {epoch:?}"));
                self.promises.posts(profile, epoch)?;
                if self.planted == Some(Planted::TwoTokenRequests) {
                    self.promises.posts(profile, epoch)?;
                }
                let at = self.later();
                let client_secret = client_secret.expose().to_owned();
                self.outcomes.push((
                    at,
                    epoch,
                    Outcome::Answered { profile, form, client_secret, mood: self.mood },
                ));
            }
            Effect::LookUpUser { epoch, token, .. } => {
                let at = self.later();
                let token = token.expose().to_owned();
                self.outcomes.push((at, epoch, Outcome::LookedUp { mood: self.mood, token }));
            }
        }
        Ok(())
    }

    fn call_vault(&mut self, epoch: Epoch, call: Call) {
        self.vault.call(&mut self.chance, self.tick, self.health, epoch, call);
    }

    /// When a request that is sent now is answered.
    fn later(&mut self) -> Tick {
        let most = if self.is_troubled && self.chance.one_in(10) { LATENCY.0 } else { 500 };
        self.tick + Ticks(self.chance.below(most))
    }

    fn ask(&mut self, ask: Ask, wait: Ticks) -> Result<AskId, Broken> {
        self.last_ask += 1;
        let id = AskId(self.last_ask);
        self.note(|| format!("{id:?} asks {}", word_for(&ask)));
        self.promises.asked(id, self.tick + wait);
        self.play_event(Event::Asked { id, peer: Peer::default(), ask })?;
        Ok(id)
    }

    fn get(&mut self, profile: usize) -> Result<(), Broken> {
        let wait = u32::try_from(self.chance.below(180)).unwrap_or(0);
        let get = Get {
            target: target(profile),
            interactive: self.chance.one_in(3),
            wait,
            min_validity: self.pick(&[0, 60, 60, 600]),
            takes_authtype: false,
        };
        self.ask(Ask::Get(get), Ticks::seconds(u64::from(wait))).map(drop)
    }

    fn login(&mut self, profile: usize) -> Result<(), Broken> {
        let client_secret = match self.chance.below(4) {
            0 => None,
            1 if self.chance.one_in(4) => Some("wrong-secret"),
            _ => Some(CLIENT_SECRET),
        };
        let timeout = u32::try_from(1 + self.chance.below(400)).unwrap_or(1);
        let login = Login {
            profile: Some(name_of(profile)),
            client_secret: client_secret.and_then(secret),
            force: self.chance.one_in(3),
            timeout,
            can_paste: self.chance.one_in(2),
        };
        self.ask(Ask::Login(login), Ticks::seconds(u64::from(timeout))).map(drop)
    }

    /// A person presses a button, if there is a page to press it on.
    fn answer_flow(&mut self, profile: usize) -> Result<(), Broken> {
        let Some(epoch) = self.promises.listener_of(profile) else { return Ok(()) };
        let redirect = if self.chance.one_in(5) {
            Redirect::Refused { error: "access_denied".to_owned(), description: None }
        } else {
            let Some(code) = secret(&self.rally.code()) else { return Ok(()) };
            Redirect::Code(code)
        };
        self.note(|| format!("a person answers {epoch:?}"));
        self.play_event(Event::Redirected(epoch, redirect))
    }

    fn erase(&mut self, profile: usize) -> Result<(), Broken> {
        // One of the last three that its callers were given.
        let back = usize::try_from(self.chance.below(3)).unwrap_or(0);
        let known = self.tokens.iter().rev().filter(|(of, _)| *of == profile).map(|(_, token)| token.clone());
        let Some(token) = known.take(back + 1).last() else { return Ok(()) };
        // Half of the callers were right, the others may only read.
        if self.chance.one_in(2) {
            self.rally.revoke(&token);
        }
        let was_well = self.mood == Mood::Well;
        // A question that is on its way already may meet the mood that Rally was in when it was sent.
        let is_asked = |(_, _, outcome): &(Tick, Epoch, Outcome)| matches!(outcome, Outcome::LookedUp { token: of, .. } if *of == token);
        let was_asked = self.outcomes.iter().any(is_asked);
        let erase = Erase { target: target(profile), token: secret(&token), credential: None };
        let id = self.ask(Ask::Erase(erase), Ticks::seconds(120))?;
        // It counts once the daemon has said that it heard, if Rally can confirm it.
        let was_heard = !self.promises.open_asks().contains(&id);
        if was_heard && was_well && !was_asked && !self.rally.takes(&token, self.tick) {
            self.promises.erased(&token);
        }
        Ok(())
    }

    fn leave(&mut self) -> Result<(), Broken> {
        let open = self.promises.open_asks();
        if open.is_empty() {
            return Ok(());
        }
        let id = self.pick(&open);
        self.note(|| format!("{id:?} leaves"));
        self.promises.left(id);
        self.play_event(Event::Left(id))
    }

    fn logout(&mut self, profile: usize) -> Result<(), Broken> {
        self.promises.forgot(profile);
        self.now_signed_out.insert(profile, true);
        self.tokens.retain(|(of, _)| *of != profile);
        let logout = Logout { profile: Some(name_of(profile)), all: false, client_secret: false };
        // A sign-out waits for the vault, whose every call has a deadline; so many may be before it.
        self.ask(Ask::Logout(logout), Ticks::seconds(3600)).map(drop)
    }

    /// An outcome comes a second time.
    fn repeat_an_outcome(&mut self) -> Result<(), Broken> {
        let epoch = Epoch(1 + self.chance.below(200));
        self.note(|| format!("{epoch:?} is answered out of turn"));
        if self.outcomes.iter().any(|(_, open, _)| *open == epoch) {
            return Ok(());
        }
        let body = zeroize::Zeroizing::new(br#"{"access_token":"stray","refresh_token":"stray"}"#.to_vec());
        let sent = Sent::default();
        self.play_event(Event::Answered(
            epoch,
            RawAnswer::Arrived { status: 200, retry_after: None, body, sent },
        ))
    }

    /// The daemon dies and is started again on the same vault.
    fn crash(&mut self) {
        self.note(|| "the daemon dies and is started again".to_owned());
        self.vault.abandon(&mut self.chance);
        self.outcomes.clear();
        self.promises.crashed();
        self.now_signed_out.clear();
        self.broker = broker(self.profiles);
        // What the vault did not get is lost with the daemon; what it has is owed.
        self.promises.owed.clear();
        for profile in 0..self.profiles {
            let record = self.vault.items.get(&format!("token:{}", name_of(profile)));
            if let Some(token) = record.and_then(|record| vault::field(record, "refresh_token")) {
                self.promises.owed.insert(profile, token);
            }
        }
    }

    /// Faults stop. Within bounded time every profile serves again, and what is owed is in the vault.
    fn settle(&mut self) -> Result<(), Broken> {
        self.is_troubled = false;
        self.mood = Mood::Well;
        self.health = Health::Works;
        self.note(|| "faults stop".to_owned());
        // Longer than any pause that the broker may take: an hour at most, and the flows that are still open.
        self.pass(Ticks::seconds(2 * 3600))?;
        if let Some(id) = self.promises.open_asks().first() {
            return Err(format!("{id:?} was never answered"));
        }
        self.owed_is_kept()?;
        for profile in 0..self.profiles {
            let login = Login {
                profile: Some(name_of(profile)),
                client_secret: secret(CLIENT_SECRET),
                force: true,
                timeout: 300,
                can_paste: false,
            };
            let login = self.ask(Ask::Login(login), Ticks::seconds(300))?;
            for _ in 0..20 {
                self.pass(Ticks::seconds(1))?;
                if self.promises.listener_of(profile).is_some() {
                    break;
                }
            }
            if let (Some(epoch), Some(code)) =
                (self.promises.listener_of(profile), secret(&self.rally.code()))
            {
                self.play_event(Event::Redirected(epoch, Redirect::Code(code)))?;
            }
            self.pass(LATENCY)?;
            self.pass(LATENCY)?;
            // The look-up may take its time, but by then the token is there, and may even have ended.
            self.pass(Ticks::seconds(10))?;
            if let Some(broken) = self.promises.not_signed_in(login, profile) {
                return Err(broken);
            }
        }
        self.owed_is_kept()?;
        self.promises.nobody_waits_too_long(self.tick)
    }

    /// While the vault works, every refresh token that Rally honours is in it.
    fn owed_is_kept(&self) -> Result<(), Broken> {
        for (profile, token) in &self.promises.owed {
            let record = self.vault.items.get(&format!("token:{}", name_of(*profile)));
            let kept = record.and_then(|record| vault::field(record, "refresh_token"));
            if self.rally.honours(token) && kept.as_deref() != Some(token) {
                return Err(format!("{token} of profile {profile} is honoured, and the vault has {kept:?}"));
            }
        }
        Ok(())
    }
}
