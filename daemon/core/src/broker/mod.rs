//! The broker: takes one event and says what to do. Finds the account that an event is for; the account decides.
//! Does not: block, fail, read a clock or do IO. A refusal is an effect too.
//! Used by: the driver, which owns the only one.

mod gather;
mod idle;
mod routes;
mod running;
mod wake_ups;
mod watchers;

use rally_cred_proto::{
    Ask, Fault, FaultKind, Reply,
    message::{Get, Login, Logout, ProfileState, Target},
};

use crate::{
    account::Account,
    answer::{self, UserAnswer},
    dice::Dice,
    event::{AskId, Effect, Entry, Epoch, Event, Outcome, Peer},
    jobs::{Jobs, Owner},
    policy,
    profile::{Config, Profile},
    sent::Sent,
    static_credentials::StaticCredentials,
    step::Step,
    time::{Now, Tick, Ticks},
    vault::ItemKind,
    waiter::{Waiter, Wants},
};

use gather::{LogoutGathering, StatusGathering};
use idle::Idleness;
use routes::{Accounts, Routes};
use running::{Stop, stopping};
use wake_ups::WakeUps;
use watchers::Watchers;

pub use gather::Facts;

/// Everything that is decided, and all state that decisions need.
#[derive(Debug)]
pub struct Broker {
    facts: Facts,
    config: Config,
    accounts: Accounts,
    routes: Routes,
    wake_ups: WakeUps,
    statics: StaticCredentials,
    statuses: Vec<StatusGathering>,
    logouts: Vec<LogoutGathering>,
    watchers: Watchers,
    reloads: Vec<AskId>,
    stop: Option<Stop>,
    /// Only where the service manager starts the daemon again when it is needed.
    idleness: Option<Idleness>,
    jobs: Jobs,
    /// How often the config file is being read.
    config_reads: u32,
}

impl Broker {
    /// A broker that knows nothing but its configuration.
    pub fn new(facts: Facts, config: Config) -> Self {
        let account = |profile: &Profile| (profile.name.clone(), Account::new(profile.clone()));
        Self {
            accounts: config.profiles.values().map(account).collect(),
            routes: Routes::new(&config, facts.config.clone()),
            wake_ups: WakeUps::default(),
            statics: StaticCredentials::new(config.static_hosts.clone()),
            statuses: Vec::new(),
            logouts: Vec::new(),
            watchers: Watchers::default(),
            reloads: Vec::new(),
            stop: None,
            idleness: None,
            jobs: Jobs::default(),
            config_reads: 0,
            facts,
            config,
        }
    }

    /// The same broker, which orders the exit once nothing has happened for this long and nothing would be lost.
    #[must_use]
    pub fn with_idle_exit(self, after: Ticks) -> Self {
        Self { idleness: Some(Idleness::new(after)), ..self }
    }

    /// Takes one event and says what to do, in order.
    pub fn handle(&mut self, now: Now, dice: &mut dyn Dice, event: Event) -> Vec<Effect> {
        let mut step = Step {
            now,
            dice,
            keyring: self.config.keyring,
            jobs: std::mem::take(&mut self.jobs),
            effects: Vec::new(),
            read: Vec::new(),
            misdirected: Vec::new(),
        };
        if let Some(idleness) = &mut self.idleness {
            idleness.heard(now, &event);
        }
        self.dispatch(&mut step, event);
        self.settle(&mut step);
        self.finish_gatherings(&mut step);
        self.watchers.tell(&mut step, &self.accounts);
        self.finish_stop(&mut step);
        self.leave_if_idle(&mut step);
        self.jobs = step.jobs;
        step.effects
    }

    /// What each profile is doing, by name.
    pub fn states(&self) -> impl Iterator<Item = (&str, ProfileState)> {
        self.accounts.iter().map(|(name, account)| (name.as_str(), account.state()))
    }

    /// When to call again with [`Event::TimePassed`]. May change after any [`Broker::handle`].
    pub fn next_deadline(&self) -> Option<Tick> {
        let accounts = self.wake_ups.first();
        let stop = self.stop.as_ref().map(|stop| stop.until);
        let checks = self.statuses.iter().map(StatusGathering::deadline).min();
        let idle = self.idleness.as_ref().and_then(Idleness::deadline);
        let watched = self.watchers.next_deadline();
        [accounts, stop, checks, self.statics.next_deadline(), idle, watched].into_iter().flatten().min()
    }

    fn dispatch(&mut self, step: &mut Step<'_>, event: Event) {
        match event {
            Event::Asked { id, peer, ask } => self.asked(step, id, peer, ask),
            Event::Left(id) => self.left(step, id),
            Event::Outcome(epoch, outcome) => self.heard(step, epoch, outcome),
            Event::ConfigRead(outcome) => self.config_read(step, outcome),
            Event::TimePassed => self.time_passed(step),
            Event::ReloadWanted => self.read_config(step),
            Event::StopWanted => self.stop(step, None),
        }
    }

    /// What was sent to Rally some time, and may be quoted by any answer of it.
    fn secrets(&self) -> Sent {
        Sent::new(self.accounts.values().flat_map(Account::secrets).cloned())
    }

    /// Takes what a job came to, to whoever ordered it.
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
            logout.erased(epoch, profile, outcome, step.keyring);
        }
        true
    }

    /// Lets an account act, and reschedules it.
    fn with_account(
        &mut self,
        step: &mut Step<'_>,
        name: &str,
        act: impl FnOnce(&mut Account, &mut Step<'_>),
    ) {
        let Some(account) = self.accounts.get_mut(name) else { return };
        act(account, step);
        let at = account.next_deadline(step.now);
        self.wake_ups.set(name, at);
    }

    /// Settles what accounts have handed on: status requests for which one was read, and requests of another one's user.
    fn settle(&mut self, step: &mut Step<'_>) {
        while let Some((from, waiter)) = step.misdirected.pop() {
            self.redirect(step, &from, waiter);
        }
        for (id, name) in step.read.drain(..) {
            for status in self.statuses.iter_mut().filter(|status| status.id == id) {
                status.was_read(&name);
            }
        }
    }

    /// Takes a request whose user is not this profile's to the next that may be right.
    fn redirect(&mut self, step: &mut Step<'_>, from: &str, mut waiter: Waiter) {
        waiter.tried.push(from.to_owned());
        let (Wants::Get { server, username, is_named: false, .. }, Some(account)) =
            (&waiter.wants, self.accounts.get(from))
        else {
            return step.reply(waiter.id, Reply::NoMatch);
        };
        let origin = server.as_ref().unwrap_or_else(|| account.profile().base_url.origin());
        let next = self
            .routes
            .candidates(&self.accounts, origin, username.as_deref())
            .find(|name| !waiter.tried.contains(name))
            .cloned();
        match next {
            Some(name) => self.with_account(step, &name, |account, step| account.take_over(step, waiter)),
            None => step.reply(waiter.id, Reply::NoMatch),
        }
    }

    fn asked(&mut self, step: &mut Step<'_>, id: AskId, peer: Peer, ask: Ask) {
        if self.stop.is_some() && !matches!(ask, Ask::Stop) {
            step.reply(id, Reply::Error(stopping()));
            return;
        }
        match ask {
            Ask::Get(get) => self.asked_get(step, id, peer, get),
            Ask::Erase(erase) => match self.routes.find(&self.accounts, &erase.target) {
                Ok(Some(route)) => {
                    let deadline = step.now.tick + Ticks::seconds(u64::from(Get::default_wait()));
                    // Where it was given with a scheme, it comes back as what follows the scheme.
                    let wants = Wants::Erase(erase.token.or(erase.credential));
                    self.with_account(step, &route.profile, |account, step| {
                        account.ask(step, id, peer, deadline, wants)
                    });
                }
                Ok(None) => self.statics.erase(step, id, erase),
                Err(fault) => step.reply(id, Reply::Error(fault)),
            },
            Ask::Store(store) => {
                let target = Target {
                    protocol: Some(store.protocol.clone()),
                    host: Some(store.host.clone()),
                    username: store.credential.username.clone(),
                    ..Target::default()
                };
                match self.routes.find(&self.accounts, &target) {
                    // A token that the daemon gave out itself, it has already.
                    Ok(Some(_)) => step.reply(id, Reply::Done),
                    Ok(None) => self.statics.store(step, id, store),
                    Err(fault) => step.reply(id, Reply::Error(fault)),
                }
            }
            Ask::Login(login) => self.asked_login(step, id, peer, login),
            Ask::Paste(paste) => match self.routes.named(&self.accounts, paste.profile.as_deref()) {
                Ok(name) => self.with_account(step, &name, |account, step| {
                    let reply =
                        account.pasted(step, &paste.redirect).map_or_else(Reply::Error, |()| Reply::Done);
                    step.reply(id, reply);
                    account.advance(step);
                }),
                Err(fault) => step.reply(id, Reply::Error(fault)),
            },
            Ask::Logout(logout) => self.asked_logout(step, id, &logout),
            Ask::Status(status) => {
                match self.routes.named_or_all(&self.accounts, status.profile.as_deref()) {
                    Ok(names) => {
                        self.statuses.push(StatusGathering::new(id, names.clone(), status.check, step.now));
                        self.read_all(step, id, &peer, &names);
                    }
                    Err(fault) => step.reply(id, Reply::Error(fault)),
                }
            }
            Ask::Check(check) => match self.routes.named_or_all(&self.accounts, check.profile.as_deref()) {
                Ok(names) => {
                    let accounts = names.iter().filter_map(|name| self.accounts.get(name));
                    let profiles =
                        accounts.map(|account| (account.profile().clone(), account.is_listening())).collect();
                    let secrets = self.secrets();
                    step.effects.push(Effect::Check { id, keyring: step.keyring, profiles, secrets });
                }
                Err(fault) => step.reply(id, Reply::Error(fault)),
            },
            Ask::Watch(watch) => match self.routes.named_or_all(&self.accounts, watch.profile.as_deref()) {
                Ok(names) => {
                    self.watchers.add(id, watch.profile);
                    self.read_all(step, id, &peer, &names);
                }
                Err(fault) => step.reply(id, Reply::Error(fault)),
            },
            Ask::Reload => {
                self.reloads.push(id);
                self.read_config(step);
            }
            Ask::Stop => self.stop(step, Some(id)),
            _ => {
                let fault = Fault::new(FaultKind::BadRequest, "this request is not known")
                    .why("the daemon is older than the program that asked")
                    .remedy("rally-cred daemon restart");
                step.reply(id, Reply::Error(fault));
            }
        }
    }

    /// Has the vault read for these profiles, if it was not yet.
    fn read_all(&mut self, step: &mut Step<'_>, id: AskId, peer: &Peer, names: &[String]) {
        let deadline = step.now.tick + StatusGathering::READING;
        for name in names {
            self.with_account(step, name, |account, step| {
                account.ask(step, id, peer.clone(), deadline, Wants::Reading)
            });
        }
    }

    fn asked_get(&mut self, step: &mut Step<'_>, id: AskId, peer: Peer, get: Get) {
        let route = match self.routes.find(&self.accounts, &get.target) {
            Ok(Some(route)) => route,
            Ok(None) => {
                if !self.statics.get(step, id, peer, &get) {
                    step.reply(id, Reply::NoMatch);
                }
                return;
            }
            Err(fault) => return step.reply(id, Reply::Error(fault)),
        };
        let wait = Ticks::seconds(u64::from(get.wait)).min(policy::LONGEST_WAIT);
        let wants = Wants::Get {
            server: route.server,
            is_named: get.target.profile.is_some(),
            username: get.target.username,
            interactive: get.interactive,
            min_validity: i64::from(get.min_validity),
        };
        let deadline = step.now.tick + wait;
        self.with_account(step, &route.profile, |account, step| account.ask(step, id, peer, deadline, wants));
    }

    fn asked_login(&mut self, step: &mut Step<'_>, id: AskId, peer: Peer, login: Login) {
        let name = match self.routes.named(&self.accounts, login.profile.as_deref()) {
            Ok(name) => name,
            Err(fault) => return step.reply(id, Reply::Error(fault)),
        };
        let timeout = Ticks::seconds(u64::from(login.timeout)).min(policy::LONGEST_FLOW);
        let wants = Wants::Login {
            // A secret is proved by signing in with it, so a valid token is no reason to leave it.
            force: login.force || login.client_secret.is_some(),
            client_secret: login.client_secret,
            can_paste: login.can_paste,
        };
        let deadline = step.now.tick + timeout;
        self.with_account(step, &name, |account, step| account.ask(step, id, peer, deadline, wants));
    }

    fn asked_logout(&mut self, step: &mut Step<'_>, id: AskId, logout: &Logout) {
        let names = match logout.profile.as_deref() {
            None if logout.all => Ok(self.accounts.keys().cloned().collect()),
            name => self.routes.named(&self.accounts, name).map(|name| vec![name]),
        };
        let names = match names {
            Ok(names) => names,
            Err(fault) => return step.reply(id, Reply::Error(fault)),
        };
        let mut gathering = LogoutGathering::new(id);
        for name in names {
            self.with_account(step, &name, |account, step| {
                let erasing = account.sign_out(step, id, logout.client_secret);
                gathering.erasing(erasing, account.profile().base_url.grants_page().as_str());
            });
        }
        self.logouts.push(gathering);
    }

    fn left(&mut self, step: &mut Step<'_>, id: AskId) {
        self.statuses.retain(|status| status.id != id);
        self.logouts.retain(|logout| logout.id != id);
        self.watchers.left(id);
        self.reloads.retain(|ask| *ask != id);
        if let Some(stop) = &mut self.stop {
            stop.left(id);
        }
        self.statics.left(id);
        let waited_at = self.accounts.iter().filter(|(_, account)| account.has_waiter(id));
        let names: Vec<_> = waited_at.map(|(name, _)| name.clone()).collect();
        for name in names {
            self.with_account(step, &name, |account, step| account.left(step, id));
        }
    }

    /// Takes Rally's word on a token that a `status` has asked about.
    fn checked(&mut self, step: &mut Step<'_>, epoch: Epoch, outcome: Outcome) -> bool {
        let Outcome::UserLookedUp(raw) = outcome else { return false };
        let answer = answer::read_user_answer(raw);
        // One question may be on behalf of several requests; what it says of the token is said once.
        let checked = self.statuses.iter_mut().filter_map(|status| status.looked_up(epoch, &answer)).last();
        let Some(checked) = checked else { return false };
        self.with_account(step, &checked.profile, |account, step| {
            match &answer {
                // A 401 is believed over the clock, whoever asked.
                UserAnswer::TokenRefused(_) => account.refuted(step, &checked.token),
                UserAnswer::Found { username, .. } => {
                    account.token_is_of(step, &checked.token, username.as_deref());
                }
                UserAnswer::AddressNotAllowed(_) | UserAnswer::Passing { .. } => {}
            }
            account.advance(step);
        });
        true
    }

    fn read_config(&mut self, step: &mut Step<'_>) {
        self.config_reads += 1;
        step.effects.push(Effect::ReadConfig);
    }

    fn time_passed(&mut self, step: &mut Step<'_>) {
        self.statics.time_passed(step);
        for name in self.wake_ups.due(step.now.tick) {
            self.with_account(step, &name, |account, step| account.advance(step));
        }
    }

    /// Orders the exit if nothing has happened for long and a new process would find everything again.
    fn leave_if_idle(&mut self, step: &mut Step<'_>) {
        let Some(idleness) = &mut self.idleness else { return };
        if !idleness.is_due(step.now) {
            return;
        }
        // It may take now what it did not take when it was asked to.
        self.statics.keep_what_memory_has(step);
        if step.jobs.is_empty()
            && self.config_reads == 0
            && self.stop.is_none()
            && self.statuses.is_empty()
            && self.logouts.is_empty()
            && self.statics.is_forgettable(step.keyring)
            && self.accounts.values().all(|account| account.is_forgettable(step.now))
        {
            step.effects.push(Effect::ExitIfDeserted);
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
            let reply = status.answer(step, &self.facts, &self.accounts, default, self.statics.host_names());
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
