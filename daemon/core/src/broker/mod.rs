//! The broker: takes one event and says what to do. It finds the account that an event is for; the account decides.
//! Does not: block, fail, read a clock or do IO. A refusal is an effect too.
//! Used by: the driver, which owns it.

mod asks;
mod audit;
mod calendar;
mod forwarding;
mod gateways;
mod gather;
mod idle;
mod lock;
mod locking;
mod moves;
mod outages;
mod repair;
mod routes;
mod running;
mod turns;
mod wake_ups;
mod watchers;

use rally_cred_proto::message::ProfileState;

use crate::{
    account::Account,
    answer::{self, UserAnswer},
    dice::Dice,
    event::{AskId, Effect, Entry, Epoch, Event, Outcome},
    jobs::{Jobs, Owner},
    profile::{Config, Keyring, Profile},
    sent::Sent,
    static_credentials::StaticCredentials,
    step::Step,
    time::{Now, Tick, Ticks},
    vault::ItemKind,
};

use audit::Audit;
use calendar::Calendar;
use forwarding::Forwarding;
use gateways::Gateways;
use gather::{Beside, LogoutGathering, StatusGathering};
use idle::Idleness;
use lock::Lock;
use outages::Outages;
use routes::{Accounts, Routes};
use running::Stop;
use turns::Turns;
use wake_ups::WakeUps;
use watchers::Watchers;

pub use gather::Facts;

/// All decisions, and all the state that they need.
#[derive(Debug)]
pub struct Broker {
    facts: Facts,
    config: Config,
    calendar: Calendar,
    accounts: Accounts,
    routes: Routes,
    wake_ups: WakeUps,
    outages: Outages,
    statics: StaticCredentials,
    gateways: Gateways,
    forwarding: Forwarding,
    statuses: Vec<StatusGathering>,
    logouts: Vec<LogoutGathering>,
    watchers: Watchers,
    turns: Turns,
    reloads: Vec<AskId>,
    lock: Lock,
    audit: Audit,
    stop: Option<Stop>,
    /// Only where the service manager can start the daemon again.
    idleness: Option<Idleness>,
    jobs: Jobs,
    /// How many reads of the config file are under way.
    config_reads: u32,
}

impl Broker {
    /// A broker that knows only its configuration.
    pub fn new(facts: Facts, config: Config) -> Self {
        let account = |profile: &Profile| (profile.name.to_string(), Account::new(profile.clone()));
        Self {
            accounts: config.profiles.values().map(account).collect(),
            routes: Routes::new(&config, facts.config.clone()),
            wake_ups: WakeUps::default(),
            outages: Outages::default(),
            calendar: Calendar::default(),
            statics: StaticCredentials::new(config.static_hosts.clone()),
            gateways: Gateways::new(&config),
            forwarding: Forwarding::new(&config),
            statuses: Vec::new(),
            logouts: Vec::new(),
            watchers: Watchers::default(),
            turns: Turns::default(),
            reloads: Vec::new(),
            lock: Lock::new(config.lock),
            audit: Audit::default(),
            stop: None,
            idleness: None,
            jobs: Jobs::default(),
            config_reads: 0,
            facts,
            config,
        }
    }

    /// The same broker, which ends once it was idle for this long, if ever, and nothing would be lost.
    #[must_use]
    pub fn with_idle_exit(self, after: Option<Ticks>) -> Self {
        Self { idleness: after.map(Idleness::new), ..self }
    }

    /// Takes one event, and says what to do, in order.
    pub fn handle(&mut self, now: Now, dice: &mut dyn Dice, event: Event) -> Vec<Effect> {
        if let Event::VaultCalendar { least, most } = event {
            // The outcome that it came with, and that of whoever waits, follows. One of an earlier vault may come late.
            if matches!(self.config.keyring, Keyring::Kv2(_)) {
                self.calendar.heard(least, most);
            }
            return Vec::new();
        }
        let (issued, now) = (self.calendar.issued(now), self.calendar.now(now));
        let mut step = Step {
            now,
            issued,
            dice,
            keyring: self.config.keyring.clone(),
            is_locked: self.lock.is_closed(),
            is_stopping: self.stop.is_some(),
            jobs: std::mem::take(&mut self.jobs),
            effects: Vec::new(),
            read: Vec::new(),
            misdirected: Vec::new(),
        };
        if let Some(idleness) = &mut self.idleness {
            idleness.heard(now, &event);
        }
        if let Some(by) = self.lock.closes_by_itself(now, &event) {
            self.lock(&mut step, by);
        }
        self.lock.heard(now, &event);
        self.dispatch(&mut step, event);
        self.settle(&mut step);
        self.forwarding.settle(&mut step);
        self.tell_locked(&mut step);
        self.finish_gatherings(&mut step);
        self.watchers.tell(&mut step, &self.accounts);
        let await_vault = self.statics.await_vault() || self.gateways.await_vault();
        self.outages.watch(&mut step, await_vault);
        self.finish_stop(&mut step);
        self.leave_if_idle(&mut step);
        self.audit.settle(now, &mut step.effects);
        self.calendar.to_local(&mut step.effects);
        self.jobs = step.jobs;
        step.effects
    }

    /// What each profile is doing, by name.
    pub fn states(&self) -> impl Iterator<Item = (&str, ProfileState)> {
        self.accounts.iter().map(|(name, account)| (name.as_str(), account.state()))
    }

    /// When to call again with [`Event::TimePassed`]. May change after each [`Broker::handle`].
    pub fn next_deadline(&self) -> Option<Tick> {
        let accounts = self.wake_ups.first();
        let stop = self.stop.as_ref().map(|stop| stop.until);
        let checks = self.statuses.iter().map(|status| status.until).min();
        let idle = self.idleness.as_ref().and_then(Idleness::deadline);
        let lock = self.lock.deadline();
        let (gateways, watched) = (self.gateways.next_deadline(), self.watchers.next_deadline());
        let forwarding = self.forwarding.next_deadline();
        let (statics, vault) = (self.statics.next_deadline(), self.outages.next_deadline());
        [accounts, stop, checks, statics, gateways, forwarding, idle, watched, lock, vault]
            .into_iter()
            .flatten()
            .min()
    }

    fn dispatch(&mut self, step: &mut Step<'_>, event: Event) {
        match event {
            Event::Asked { id, peer, ask } => self.asked(step, id, peer, ask),
            Event::Left(id) => self.left(step, id),
            Event::Outcome(epoch, outcome) => self.heard(step, epoch, outcome),
            // It is no business of any account's.
            Event::VaultCalendar { .. } => {}
            Event::ConfigRead(outcome) => self.config_read(step, outcome),
            Event::TimePassed => self.time_passed(step),
            Event::ReloadWanted => self.read_config(step),
            Event::StopWanted => self.stop(step, None),
            Event::VaultUnlocked if self.outages.believes(step.now) => self.vault_unlocked(step),
            Event::VaultUnlocked => {}
            Event::Online | Event::Woke => self.online(step),
            Event::SessionLocked | Event::Sleeping => {}
        }
    }

    /// Every secret that was sent to Rally, and may be quoted in any of its answers.
    fn secrets(&self) -> Sent {
        Sent::new(self.accounts.values().flat_map(Account::secrets).cloned())
    }

    /// Takes an outcome to the owner of its job.
    fn heard(&mut self, step: &mut Step<'_>, epoch: Epoch, outcome: Outcome) {
        let outcome = match outcome {
            Outcome::Answered(raw) => Outcome::Answered(raw.beside(self.secrets())),
            Outcome::UserLookedUp(raw) => Outcome::UserLookedUp(raw.beside(self.secrets())),
            outcome => outcome,
        };
        let is_current = match step.jobs.owner_of(epoch, &outcome) {
            Some(Owner::Account(name)) => {
                let mut is_current = false;
                self.with_account(step, &name, |account, step| {
                    is_current = account.heard(step, epoch, outcome);
                });
                is_current
            }
            Some(Owner::Statics(server)) => self.statics.heard(step, server, epoch, &outcome),
            Some(Owner::Gateway(name)) => self.gateways.heard(step, &name, epoch, outcome),
            Some(Owner::Forwarding) => self.forwarding.heard(step, epoch, outcome),
            Some(Owner::Opening(id)) => lock::opened(step, id, outcome),
            Some(Owner::Repair(id)) => self.repaired(step, id, outcome),
            Some(Owner::Lock) => self.unlocked(step, epoch, outcome),
            Some(Owner::Checks) => self.checked(step, epoch, outcome),
            Some(Owner::Logout { ask, profile, item }) => {
                self.erased(step, epoch, ask, &profile, item, &outcome)
            }
            None => false,
        };
        if !is_current {
            step.effects.push(Effect::Log(Entry::Stale(epoch)));
        }
    }

    fn erased(
        &mut self,
        step: &Step<'_>,
        epoch: Epoch,
        ask: AskId,
        profile: &str,
        item: ItemKind,
        outcome: &Outcome,
    ) -> bool {
        let Outcome::Erased(outcome) = outcome else { return false };
        if let (Ok(()), Some(account)) = (outcome, self.accounts.get_mut(profile)) {
            account.erased(item);
        }
        for logout in self.logouts.iter_mut().filter(|logout| logout.id == ask) {
            logout.erased(epoch, profile, outcome, &step.keyring);
        }
        true
    }

    /// Lets an account act, and reschedules it.
    fn with_account(&mut self, step: &mut Step<'_>, name: &str, f: impl FnOnce(&mut Account, &mut Step<'_>)) {
        let Some(account) = self.accounts.get_mut(name) else { return };
        f(account, step);
        self.wake_ups.set(name, account.next_deadline(step));
        self.outages.set(name, account.awaits_vault(step.now), account.awaits_network());
    }

    /// Settles what accounts passed on: status requests that waited for a read, and requests for another user.
    fn settle(&mut self, step: &mut Step<'_>) {
        while let Some((from, waiter)) = step.misdirected.pop() {
            self.redirect(step, &from, waiter);
        }
        for (id, name) in step.read.drain(..) {
            for status in self.statuses.iter_mut().filter(|status| status.id == id) {
                status.unread.remove(&name);
            }
        }
    }

    /// Takes Rally's answer on a token that a `status` asked about.
    fn checked(&mut self, step: &mut Step<'_>, epoch: Epoch, outcome: Outcome) -> bool {
        let Outcome::UserLookedUp(raw) = outcome else { return false };
        let answer = answer::read_user_answer(raw);
        // One question may serve several requests; its answer counts once.
        let checked = self.statuses.iter_mut().filter_map(|status| status.looked_up(epoch, &answer)).last();
        let Some((profile, token)) = checked else { return false };
        self.with_account(step, &profile, |account, step| {
            match &answer {
                // A 401 counts more than the expiry, whoever asked.
                UserAnswer::TokenRefused(_) => account.refuted(step, &token),
                UserAnswer::Found { username, .. } => {
                    account.token_is_of(step, &token, username.as_deref());
                }
                UserAnswer::AddressNotAllowed(_) | UserAnswer::Passing { .. } => {}
            }
            account.advance(step);
        });
        true
    }

    fn with_each_account(&mut self, step: &mut Step<'_>, mut act: impl FnMut(&mut Account, &mut Step<'_>)) {
        let names: Vec<_> = self.accounts.keys().cloned().collect();
        for name in names {
            self.with_account(step, &name, &mut act);
        }
    }

    /// Has all go on that waited for it.
    fn vault_unlocked(&mut self, step: &mut Step<'_>) {
        for name in self.outages.of_vault() {
            self.with_account(step, &name, Account::vault_unlocked);
        }
        self.statics.vault_unlocked(step);
        self.gateways.vault_unlocked(step);
    }

    /// Has all be tried again that the network was in the way of.
    fn online(&mut self, step: &mut Step<'_>) {
        for name in self.outages.of_network() {
            self.with_account(step, &name, Account::online);
        }
    }

    fn time_passed(&mut self, step: &mut Step<'_>) {
        if self.outages.is_due(step.now) {
            self.vault_unlocked(step);
        }
        self.statics.time_passed(step);
        self.gateways.time_passed(step);
        for name in self.wake_ups.due(step.now.tick) {
            self.with_account(step, &name, |account, step| account.advance(step));
        }
    }

    fn finish_gatherings(&mut self, step: &mut Step<'_>) {
        let default = self.routes.default_name();
        let mut asked: Vec<_> = self.statuses.iter().flat_map(StatusGathering::open_checks).collect();
        for status in &mut self.statuses {
            status.look_up(step, &self.accounts, &mut asked);
        }
        let (done, waiting): (Vec<_>, Vec<_>) = std::mem::take(&mut self.statuses)
            .into_iter()
            .partition(|status| status.is_complete(step.now) || self.stop.is_some());
        self.statuses = waiting;
        for status in done {
            let (static_hosts, forwards) = (self.statics.host_names(), self.forwarding.shown());
            let beside = Beside { static_hosts, turns: &self.turns, forwards, locked: self.lock.status() };
            let reply = status.answer(step, &self.facts, &self.accounts, default, beside);
            self.gateways.tell(step, status.id);
            step.reply(status.id, reply);
        }
        let (done, waiting): (Vec<_>, _) =
            std::mem::take(&mut self.logouts).into_iter().partition(LogoutGathering::is_complete);
        self.logouts = waiting;
        for logout in done {
            logout.answer(step);
        }
    }
}
