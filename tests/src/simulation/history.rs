//! One seeded history: chance picks what happens next, the broker answers, the promises are checked after every step.
//! Does not: print; a broken promise comes back with the steps that led to it.
//! Used by: `bin/simulate` and the suite.
#![expect(clippy::expect_used, reason = "a history that cannot be played is a mistake in the simulation")]

use std::collections::BTreeSet;

use rally_cred_core::{
    Sent,
    answer::{RawAnswer, TokenForm},
    event::{AskId, Effect, Entry, Epoch, Event, GrantStep, Peer},
    redirect::Redirect,
    time::{Now, Tick, Ticks, Wall},
    vault::ItemKind,
};
use rally_cred_proto::{
    Answer, Ask, Fault, FaultKind, Secret,
    message::{Erase, Get, Login, Logout, StatusAsk},
};

use super::{
    Cause, Planted, Played, Seeded, Transition,
    cast::{FIRST_PORT, kind_of, name_of, number_of, secret, target, word_for},
    daemon::{Daemon, Outcome, field},
    planted::with_life,
    promises::{Broken, Grants, LATENCY, may_renew},
    rally::{self, CLIENT_SECRET, Mood, Rally},
    transitions::state_name,
    vault::{Call, Health, Items, Wrote},
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
    profiles: usize,
    /// One, or two on one keyring, as a terminal with a runtime folder of its own brings about.
    daemons: Vec<Daemon>,
    /// The daemon that something happens to.
    at: usize,
    /// What the keyring holds.
    items: Items,
    health: Health,
    rally: Rally,
    mood: Mood,
    grants: Grants,
    last_ask: u64,
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
        let daemons = if chance.one_in(2) { 2 } else { 1 };
        Self {
            seed,
            planted,
            is_troubled: true,
            tick: START,
            calendar_off: 0,
            profiles,
            daemons: (0..daemons).map(|number| Daemon::new(seed ^ number << 32, planted, profiles)).collect(),
            at: 0,
            items: Items::new(),
            health: Health::Works,
            rally: Rally::default(),
            mood: Mood::Well,
            grants: Grants::default(),
            last_ask: 0,
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
        let profile = usize::try_from(self.chance.below(self.profiles as u64)).unwrap_or(0);
        self.at = usize::try_from(self.chance.below(self.daemons.len() as u64)).unwrap_or(0);
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
                self.daemons.iter_mut().for_each(|daemon| daemon.promises.forget_reports());
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
            // Of two sign-ins by two daemons, only the calendar tells which is newer; so there it stays as it is.
            93 if self.daemons.len() > 1 => Ok(()),
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
                self.each_daemon(|history| {
                    history.deliver_due()?;
                    history.play_event(Event::TimePassed)
                })
            }
            95 => {
                self.rally.revoke_all();
                self.note(|| "somebody revokes every grant".to_owned());
                Ok(())
            }
            96 => self.repeat_an_outcome(),
            _ => self.crash(),
        }
    }

    fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        let at = usize::try_from(self.chance.below(of.len() as u64)).unwrap_or(0);
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
                    history.play_event(Event::TimePassed)?;
                    if history.me().broker.next_deadline().is_some_and(|at| at <= history.tick) {
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
        while self.me().vault.next_at().is_some_and(|at| at <= self.tick) {
            let daemon = self.daemons.get_mut(self.at).expect("no such daemon");
            let (event, wrote) = daemon.vault.finish_one(&mut self.items);
            self.wrote(wrote)?;
            if let Some(event) = event {
                self.play_event(event)?;
            }
        }
        loop {
            let tick = self.tick;
            let outcomes = &mut self.me().outcomes;
            let Some(at) = outcomes.iter().position(|(at, ..)| *at <= tick) else { return Ok(()) };
            let (_, epoch, outcome) = outcomes.swap_remove(at);
            self.deliver(epoch, outcome)?;
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

    fn deliver(&mut self, epoch: Epoch, outcome: Outcome) -> Result<(), Broken> {
        let event = match outcome {
            Outcome::Listening if self.is_troubled && self.chance.one_in(20) => {
                self.me().promises.ended_listening(epoch);
                Event::Listening(epoch, Err(Fault::new(FaultKind::PortTaken, "taken")))
            }
            Outcome::Listening => Event::Listening(epoch, Ok(())),
            Outcome::Answered { profile, form, client_secret, mood } => {
                let raw = self.rally.answer(&mut self.chance, self.tick, mood, &client_secret, &form);
                let failed = !matches!(&raw, RawAnswer::Arrived { status: 200, .. }) || mood != Mood::Well;
                let tick = self.tick;
                self.me().promises.post_ended(profile, epoch, failed, tick)?;
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
                            if self.signed_in_at(profile) > Some(self.now().wall.0) {
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
                Event::Answered(epoch, raw)
            }
            Outcome::LookedUp { mood, token } => return self.deliver_look_up(epoch, mood, &token),
        };
        self.play_event(event)
    }

    /// A token that Rally does not take is not served again, if the broker still wanted to know.
    fn deliver_look_up(&mut self, epoch: Epoch, mood: Mood, token: &str) -> Result<(), Broken> {
        let is_taken = self.rally.takes(token, self.tick);
        let is_refuted =
            !is_taken && matches!(mood, Mood::Well | Mood::Losing) && self.me().promises.erased(token);
        self.me().was_stale = false;
        self.play_event(Event::UserLookedUp(epoch, rally::user(mood, is_taken)))?;
        if is_refuted && self.me().was_stale {
            self.me().promises.not_erased(token);
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
        let now = self.now();
        let daemon = self.daemons.get_mut(self.at).expect("no such daemon");
        let before: Vec<_> = daemon.broker.states().map(|(_, state)| state).collect();
        let effects = daemon.broker.handle(now, &mut daemon.dice, event);
        for (from, (_, to)) in before.into_iter().zip(daemon.broker.states()) {
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
            Effect::Log(Entry::Stale(_)) => self.me().was_stale = true,
            Effect::Log(Entry::Grant { profile, step: GrantStep::Adopted }) => {
                self.note(|| format!("{profile} takes over what the other daemon has stored"));
                self.me().fresh.remove(&number_of(&profile));
            }
            Effect::Tell(..)
            | Effect::Log(_)
            | Effect::OpenVault(_)
            | Effect::Alert(_)
            | Effect::AlertBy(_)
            | Effect::WithdrawAlert(_)
            | Effect::ReadConfig
            | Effect::Check { .. }
            | Effect::FetchClientSecret(..)
            | Effect::CloseSocket
            | Effect::Exit
            | Effect::ExitIfDeserted => {}
            Effect::Reply(id, answer) => {
                self.note(|| format!("{id:?} is answered: {}", kind_of(&answer)));
                let answers_twice = self.planted == Some(Planted::AnswersTwice);
                let daemon = self.daemons.get_mut(self.at).expect("no such daemon");
                daemon.promises.replied(id)?;
                if answers_twice {
                    daemon.promises.replied(id)?;
                }
                let (rally, grants) = (&self.rally, &self.grants);
                daemon.promises.handed_out(&answer, rally, grants, self.tick, self.calendar_off)?;
                if let Answer::SignedIn(_) = &answer {
                    daemon.promises.signed_in(id);
                }
                if let Answer::Token(token) = answer {
                    daemon.tokens.push((number_of(&token.profile), token.token.expose().to_owned()));
                }
            }
            Effect::Load(epoch, key) => self.call_vault(epoch, Call::Load(key)),
            Effect::Change(epoch, change) => {
                if change.key.kind == ItemKind::Token {
                    let refresh_token = change.to.as_ref().and_then(|record| field(record, "refresh_token"));
                    self.note(|| format!("saves {refresh_token:?} for {}", change.key.name));
                    self.grants.wants_kept(number_of(&change.key.name), refresh_token);
                }
                match self.planted {
                    Some(Planted::SwallowedSave) => self.call_vault(epoch, Call::Swallow),
                    _ => self.call_vault(epoch, Call::Change(change)),
                }
            }
            Effect::Erase(epoch, key) => self.call_vault(epoch, Call::Erase(key)),
            Effect::Listen(epoch, expected) => {
                let profile = usize::from(expected.redirect_uri.url().port().unwrap_or(0)) - FIRST_PORT;
                self.note(|| format!("profile {profile} listens as {epoch:?}"));
                self.me().promises.listens(profile, epoch)?;
                if self.planted == Some(Planted::TwoFlows) {
                    self.me().promises.listens(profile, epoch)?;
                }
                let at = self.tick + Ticks(self.chance.below(20));
                self.me().outcomes.push((at, epoch, Outcome::Listening));
            }
            Effect::EndListening(epoch, _) => self.me().promises.ended_listening(epoch),
            Effect::Post { epoch, profile, client_secret, form } => {
                let profile = number_of(&profile.name);
                self.note(|| format!("profile {profile} posts as {epoch:?}"));
                self.me().promises.posts(profile, epoch)?;
                if self.planted == Some(Planted::TwoTokenRequests) {
                    self.me().promises.posts(profile, epoch)?;
                }
                if let (TokenForm::Refresh { .. }, Some(token)) =
                    (&form, self.me().fresh.get(&profile).cloned())
                    && !self.grants.is_out_of_time(&token, self.calendar_off)
                {
                    may_renew(&token, &self.rally, self.tick)?;
                }
                let (at, mood) = (self.later(), self.mood);
                let client_secret = client_secret.expose().to_owned();
                let outcome = Outcome::Answered { profile, form, client_secret, mood };
                self.me().outcomes.push((at, epoch, outcome));
            }
            Effect::LookUpUser { epoch, token, .. } => {
                let (at, mood, tick) = (self.later(), self.mood, self.tick);
                let token = token.expose().to_owned();
                self.me().promises.looks_up(&token, tick)?;
                self.me().outcomes.push((at, epoch, Outcome::LookedUp { mood, token }));
            }
        }
        Ok(())
    }

    fn call_vault(&mut self, epoch: Epoch, call: Call) {
        let daemon = self.daemons.get_mut(self.at).expect("no such daemon");
        daemon.vault.call(&mut self.chance, self.tick, self.health, epoch, call);
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
        let deadline = self.tick + wait;
        self.me().promises.asked(id, deadline);
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
        let Some(epoch) = self.me().promises.listener_of(profile) else { return Ok(()) };
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
        let known =
            self.me().tokens.iter().rev().filter(|(of, _)| *of == profile).map(|(_, token)| token.clone());
        let Some(token) = known.take(back + 1).last() else { return Ok(()) };
        // Half of the callers were right, the others may only read.
        if self.chance.one_in(2) {
            self.rally.revoke(&token);
        }
        let was_well = self.mood == Mood::Well;
        // A question that is on its way already may meet the mood that Rally was in when it was sent.
        let is_asked = |(_, _, outcome): &(Tick, Epoch, Outcome)| matches!(outcome, Outcome::LookedUp { token: of, .. } if *of == token);
        let was_asked = self.me().outcomes.iter().any(is_asked);
        self.me().fresh.remove(&profile);
        let erase = Erase { target: target(profile), token: secret(&token), credential: None };
        let id = self.ask(Ask::Erase(erase), Ticks::seconds(120))?;
        // It counts once the daemon has said that it heard, if Rally can confirm it.
        let was_heard = !self.me().promises.open_asks().contains(&id);
        if was_heard && was_well && !was_asked && !self.rally.takes(&token, self.tick) {
            let tick = self.tick;
            match self.me().outcomes.iter().any(is_asked) {
                true => drop(self.me().promises.erased(&token)),
                false => self.me().promises.reported(&token, tick),
            }
        }
        Ok(())
    }

    fn leave(&mut self) -> Result<(), Broken> {
        let open = self.me().promises.open_asks();
        if open.is_empty() {
            return Ok(());
        }
        let id = self.pick(&open);
        self.note(|| format!("{id:?} leaves"));
        self.me().promises.left(id);
        self.play_event(Event::Left(id))
    }

    fn logout(&mut self, profile: usize) -> Result<(), Broken> {
        self.me().promises.forgot(profile);
        self.grants.signed_out(profile);
        self.me().tokens.retain(|(of, _)| *of != profile);
        let logout = Logout { profile: Some(name_of(profile)), all: false, client_secret: false };
        // A sign-out waits for the vault, whose every call has a deadline; so many may be before it.
        self.ask(Ask::Logout(logout), Ticks::seconds(3600)).map(drop)
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
        self.play_event(Event::Answered(
            epoch,
            RawAnswer::Arrived { status: 200, retry_after: None, body, sent },
        ))
    }

    /// The daemon dies and is started again on the same vault.
    fn crash(&mut self) -> Result<(), Broken> {
        self.note(|| "a daemon dies and is started again".to_owned());
        let daemon = self.daemons.get_mut(self.at).expect("no such daemon");
        let wrote = daemon.crash(&mut self.chance, &mut self.items, self.profiles);
        self.wrote(wrote)?;
        for profile in 0..self.profiles {
            let kept = self.kept(profile);
            // What the vault did not get is lost with the daemon; what it has is owed.
            self.grants.wants_kept(profile, kept);
        }
        Ok(())
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
        // Longer than any pause that the broker may take: an hour at most, and the flows that are still open.
        self.pass(Ticks::seconds(2 * 3600))?;
        for daemon in &self.daemons {
            if let Some(id) = daemon.promises.open_asks().first() {
                return Err(format!("{id:?} was never answered"));
            }
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
                if self.me().promises.listener_of(profile).is_some() {
                    break;
                }
            }
            if let (Some(epoch), Some(code)) =
                (self.me().promises.listener_of(profile), secret(&self.rally.code()))
            {
                self.play_event(Event::Redirected(epoch, Redirect::Code(code)))?;
            }
            self.pass(LATENCY)?;
            self.pass(LATENCY)?;
            // The look-up may take its time, but by then the token is there, and may even have ended.
            self.pass(Ticks::seconds(10))?;
            if let Some(broken) = self.me().promises.not_signed_in(login, profile) {
                return Err(broken);
            }
        }
        self.owed_is_kept()?;
        self.daemons.iter().try_for_each(|daemon| daemon.promises.nobody_waits_too_long(self.tick))
    }

    fn owed_is_kept(&self) -> Result<(), Broken> {
        self.grants.are_kept(|profile| self.kept(profile), &self.rally)
    }
}
