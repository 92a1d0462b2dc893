//! The broker: takes one event and says what to do. It finds the account that an event is for; the account decides.
//! Does not: block, fail, read a clock or do IO. A refusal is an effect too.
//! Used by: the driver, which owns it.

mod audit;
mod calendar;
mod forwarding;
mod gateways;
mod gather;
mod idle;
mod lock;
mod outages;
mod repair;
mod routes;
mod running;
mod turns;
mod wake_ups;
mod watchers;

use rally_cred_proto::{
    Ask, Fault, FaultKind, Reply,
    forwarding::Door,
    message::{Get, MoveItems, MoveStep, ProfileState, Target, UnlockKeyring},
};

use crate::{
    account::Account,
    answer::{self, UserAnswer},
    dice::Dice,
    event::{AskId, Effect, Entry, Epoch, Event, LockedBy, Outcome, Peer},
    jobs::{Jobs, Owner},
    lock::locked,
    policy,
    profile::{Config, Keyring, Profile},
    sent::Sent,
    static_credentials::StaticCredentials,
    step::Step,
    time::{Now, Tick, Ticks},
    vault::ItemKind,
    waiter::{Waiter, Wants},
};

use audit::Audit;
use calendar::Calendar;
use forwarding::Forwarding;
use gateways::Gateways;
use gather::{Beside, LogoutGathering, StatusGathering};
use idle::Idleness;
use lock::Lock;
use outages::Outages;
use routes::{Accounts, Route, Routes};
use running::{Stop, stopping};
use turns::Turns;
use wake_ups::WakeUps;
use watchers::Watchers;

pub use gather::Facts;

const MOVE_HELP: &str = "rally-cred keyring migrate --help";

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

    /// The same broker, which ends once it was idle for this long and nothing would be lost.
    #[must_use]
    pub fn with_idle_exit(self, after: Ticks) -> Self {
        Self { idleness: Some(Idleness::new(after)), ..self }
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
        [accounts, stop, checks, self.statics.next_deadline(), gateways, forwarding, idle, watched, lock]
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
            Event::VaultUnlocked => self.vault_unlocked(step),
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

    /// Takes a request for another user than this profile's to the next profile that may match.
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
            .filter(|name| self.forwarding.lets_have(&waiter.peer, name))
            .find(|name| !waiter.tried.contains(name))
            .cloned();
        match next {
            Some(name) => {
                self.audit.is_for(waiter.id, &name);
                self.with_account(step, &name, |account, step| account.take_over(step, waiter));
            }
            None => step.reply(waiter.id, Reply::NoMatch),
        }
    }

    fn asked(&mut self, step: &mut Step<'_>, id: AskId, peer: Peer, ask: Ask) {
        if let Err(fault) = self.try_asked(step, id, peer, ask) {
            step.reply(id, Reply::Error(fault));
        }
    }

    /// Takes a request; a fault answers it.
    fn try_asked(&mut self, step: &mut Step<'_>, id: AskId, peer: Peer, ask: Ask) -> Result<(), Fault> {
        self.audit.asked(id, &peer, &ask);
        if self.stop.is_some() && !matches!(ask, Ask::Stop) {
            return Err(stopping());
        }
        let ask = match peer.door {
            Door::Own => ask,
            Door::Forwarded => self.taken_from_afar(&peer, ask)?,
        };
        match ask {
            Ask::Get(get) => match self.route(&peer, &get.target)? {
                Some(route) => {
                    let wait = Ticks::seconds(u64::from(get.wait)).min(policy::LONGEST_WAIT);
                    let wants = Wants::Get {
                        server: route.server,
                        is_named: get.target.profile.is_some(),
                        username: get.target.username,
                        interactive: get.interactive,
                        awaits_sign_in: get.awaits_sign_in,
                        awaits_unlock: get.awaits_unlock,
                        min_validity: i64::from(get.min_validity),
                    };
                    self.ask_account(step, &route.profile, id, peer, wait, wants);
                }
                None if peer.door == Door::Own && self.statics.get(step, id, &get) => {}
                None => step.reply(id, Reply::NoMatch),
            },
            Ask::Erase(erase) => match self.route(&peer, &erase.target)? {
                Some(route) => {
                    let wait = Ticks::seconds(u64::from(Get::default_wait()));
                    // Where it was given with a scheme, it comes back as what follows the scheme.
                    let wants = Wants::Erase(erase.token.or(erase.credential));
                    self.ask_account(step, &route.profile, id, peer, wait, wants);
                }
                None => self.statics.erase(step, id, erase),
            },
            Ask::Store(store) => {
                let target = Target {
                    protocol: Some(store.protocol.clone()),
                    host: Some(store.host.clone()),
                    username: store.credential.username.clone(),
                    ..Target::default()
                };
                match self.route(&peer, &target)? {
                    // The daemon has every token that it issued.
                    Some(_) => step.reply(id, Reply::Done),
                    None => self.statics.store(step, id, store),
                }
            }
            Ask::Login(login) => {
                let name = self.routes.named(&self.accounts, login.profile.as_deref())?;
                let timeout = Ticks::seconds(u64::from(login.timeout)).min(policy::LONGEST_FLOW);
                let wants = Wants::Login {
                    // A secret is verified by a sign-in, so a valid token is no reason to skip it.
                    force: login.force || login.client_secret.is_some(),
                    client_secret: login.client_secret,
                    can_paste: login.can_paste,
                };
                self.ask_account(step, &name, id, peer, timeout, wants);
            }
            Ask::Paste(paste) => {
                let name = self.routes.named(&self.accounts, paste.profile.as_deref())?;
                self.with_account(step, &name, |account, step| {
                    let pasted = account.pasted(step, &paste.redirect);
                    step.reply(id, pasted.map_or_else(Reply::Error, |()| Reply::Done));
                    account.advance(step);
                });
            }
            Ask::Logout(logout) => {
                let names = match logout.profile.as_deref() {
                    None if logout.all => self.accounts.keys().cloned().collect(),
                    name => vec![self.routes.named(&self.accounts, name)?],
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
            Ask::Status(status) => {
                let mut names = self.routes.named_or_all(&self.accounts, status.profile.as_deref())?;
                names.retain(|name| self.forwarding.lets_have(&peer, name));
                self.statuses.push(StatusGathering::new(id, names.clone(), status.check, step.now));
                self.read_all(step, id, &peer, &names);
            }
            Ask::Check(check) => {
                let names = self.routes.named_or_all(&self.accounts, check.profile.as_deref())?;
                let accounts = names.iter().filter_map(|name| self.accounts.get(name));
                let profiles =
                    accounts.map(|account| (account.profile().clone(), account.is_listening())).collect();
                let secrets = self.secrets();
                step.effects.push(Effect::Check { id, keyring: step.keyring.clone(), profiles, secrets });
            }
            Ask::Watch(watch) => {
                let names = self.routes.named_or_all(&self.accounts, watch.profile.as_deref())?;
                self.watchers.add(id, watch.profile);
                self.read_all(step, id, &peer, &names);
            }
            Ask::OpenGateway(open) => {
                let name = self.routes.named(&self.accounts, open.profile.as_deref())?;
                if let Some(account) = self.accounts.get(&name) {
                    self.gateways.open(step, id, &peer, open, account.profile().clone());
                }
            }
            Ask::HoldTurns(ask) => {
                let name = self.routes.named(&self.accounts, ask.profile.as_deref())?;
                self.turns.hold(step, id, name, &ask)?;
            }
            Ask::ShowGateway(ask) => self.gateways.show(step, id, &ask.name),
            Ask::RevokeGateway(ask) => self.gateways.revoke(step, id, &ask.name),
            Ask::Forward => self.forwarding.hold(step, id),
            Ask::Audit => self.audit.tell(step, id),
            Ask::Lock => {
                if !step.is_locked {
                    self.lock(step, LockedBy::User);
                }
                self.lock.tell_when_closed(step, id);
            }
            Ask::Unlock => self.lock.ask_vault(step, id, self.routes.default_name()),
            Ask::UnlockKeyring(UnlockKeyring { passphrase, is_new }) => {
                step.effects.push(Effect::OpenFiles { id, passphrase, is_new });
            }
            Ask::MoveItems(ask) => step.effects.push(self.move_items(id, &ask)?),
            Ask::RepairItems(ask) => self.repair(step, id, ask)?,
            Ask::Reload => {
                self.reloads.push(id);
                self.read_config(step);
            }
            Ask::Stop => self.stop(step, Some(id)),
            Ask::MakeWay => self.make_way(step, id)?,
            _ => {
                return Err(Fault::new(FaultKind::VersionSkew, "this request is not known")
                    .why("the daemon is older than the program that asked")
                    .run("rally-cred daemon restart"));
            }
        }
        Ok(())
    }

    /// What moves items. Nothing is deleted from a place that is in use.
    fn move_items(&self, id: AskId, ask: &MoveItems) -> Result<Effect, Fault> {
        let wrong = |what: &str| Fault::new(FaultKind::BadRequest, what);
        let parse = |text: &str| {
            Keyring::parse(text, &self.config.file_key)
                .filter(|keyring| !keyring.is_memory())
                .ok_or_else(|| wrong("there is no such place to move tokens").remedy(MOVE_HELP))
        };
        let from = ask.from.as_deref().map_or_else(|| Ok(self.config.keyring.clone()), parse)?;
        let to = parse(&ask.to)?;
        if from.is_same_place(&to) {
            return Err(wrong("tokens are kept there already").remedy(MOVE_HELP));
        }
        if from.is_memory() {
            return Err(wrong("what is in memory is not moved").remedy("change `keyring` in the config file"));
        }
        let is_in_use = self.config.keyring.is_same_place(&to);
        if ask.step == MoveStep::Delete && !is_in_use {
            return Err(wrong("nothing is deleted before the new place is in use")
                .remedy(format!("set keyring = \"{}\" in the config file", to.name())));
        }
        Ok(Effect::MoveItems { id, from, to, step: ask.step, is_in_use })
    }

    /// What another machine may have of a request.
    fn taken_from_afar(&self, peer: &Peer, ask: Ask) -> Result<Ask, Fault> {
        ask.from_afar().and_then(|ask| {
            let named = match &ask {
                Ask::Get(Get { target, .. }) if target.profile.is_none() && target.names_server() => {
                    return Ok(ask);
                }
                Ask::Get(Get { target, .. }) => Some(target.profile.as_deref()),
                Ask::Status(status) => status.profile.as_deref().map(Some),
                _ => None,
            };
            let check = |name| self.forwarding.check(peer, name, self.routes.default_name());
            named.map_or(Ok(()), check).map(|()| ask)
        })
    }

    /// The profile of a request, among those that whoever asks may have; `None` if its server has none.
    fn route(&self, peer: &Peer, target: &Target) -> Result<Option<Route>, Fault> {
        self.routes.find(&self.accounts, target, |name| self.forwarding.lets_have(peer, name))
    }

    /// Has the vault read for these profiles, if it was not yet.
    fn read_all(&mut self, step: &mut Step<'_>, id: AskId, peer: &Peer, names: &[String]) {
        for name in names {
            self.ask_account(step, name, id, peer.clone(), StatusGathering::READING, Wants::Reading);
        }
    }

    fn ask_account(
        &mut self,
        step: &mut Step<'_>,
        name: &str,
        id: AskId,
        peer: Peer,
        wait: Ticks,
        wants: Wants,
    ) {
        self.audit.is_for(id, name);
        match wants {
            Wants::Login { .. } | Wants::Erase(_) if step.is_locked => {
                return step.reply(id, Reply::Error(locked()));
            }
            // It is shown as it is.
            Wants::Reading if step.is_locked => return step.read.push((id, name.to_owned())),
            _ => {}
        }
        let deadline = step.now.tick + wait;
        self.with_account(step, name, |account, step| account.ask(step, id, peer, deadline, wants));
    }

    fn left(&mut self, step: &mut Step<'_>, id: AskId) {
        self.audit.left(id);
        self.statuses.retain(|status| status.id != id);
        self.logouts.retain(|logout| logout.id != id);
        self.watchers.left(id);
        self.turns.left(step, id);
        self.reloads.retain(|ask| *ask != id);
        if let Some(stop) = &mut self.stop {
            stop.left(id);
        }
        self.lock.left(id);
        // A repair goes on, and what it mended is heard of.
        step.jobs.end_asked(|owner| matches!(owner, Owner::Opening(own) if *own == id));
        self.statics.left(id);
        self.gateways.left(step, id);
        self.forwarding.left(id);
        let waited_at = self.accounts.iter().filter(|(_, account)| account.has_waiter(id));
        let names: Vec<_> = waited_at.map(|(name, _)| name.clone()).collect();
        for name in names {
            self.with_account(step, &name, |account, step| account.left(step, id));
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

    fn lock(&mut self, step: &mut Step<'_>, by: LockedBy) {
        let held = self.accounts.iter().filter(|(_, account)| account.has_token());
        let held = held.map(|(name, _)| name.clone()).collect();
        self.lock.close(step, by, held);
        self.statics.lock(step);
        self.with_each_account(step, Account::lock);
    }

    /// Takes the vault's answer to an `unlock`.
    fn unlocked(&mut self, step: &mut Step<'_>, epoch: Epoch, outcome: Outcome) -> bool {
        let Some(opened) = self.lock.answered(step, epoch, outcome) else { return false };
        if let Some(held) = opened {
            self.statics.unlock(step);
            self.with_each_account(step, |account, step| {
                let was_held = held.iter().any(|name| **name == *account.profile().name);
                account.unlock(step, was_held);
            });
        }
        true
    }

    /// Tells whoever locked once all is forgotten that can be, and what is not.
    fn tell_locked(&mut self, step: &mut Step<'_>) {
        let is_unsettled = self.accounts.values().any(Account::is_unsettled) || self.statics.is_unsettled();
        for id in self.lock.take_told(step.now, is_unsettled) {
            let accounts = self.accounts.values().filter_map(Account::unforgotten);
            for fault in accounts.chain(self.statics.unforgotten(&step.keyring)) {
                step.effects.push(Effect::Tell(id, rally_cred_proto::Event::Notice(fault)));
            }
            step.reply(id, Reply::Done);
        }
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

    fn read_config(&mut self, step: &mut Step<'_>) {
        self.config_reads += 1;
        step.effects.push(Effect::ReadConfig);
    }

    fn time_passed(&mut self, step: &mut Step<'_>) {
        self.statics.time_passed(step);
        self.gateways.time_passed(step);
        for name in self.wake_ups.due(step.now.tick) {
            self.with_account(step, &name, |account, step| account.advance(step));
        }
    }

    /// Ends the daemon if it was idle for long and a new process would find everything.
    fn leave_if_idle(&mut self, step: &mut Step<'_>) {
        let Some(idleness) = &mut self.idleness else { return };
        if !idleness.is_due(step.now) {
            return;
        }
        // The vault may take now what it did not take before.
        self.statics.keep_what_memory_has(step);
        if self.stop.is_none()
            && !self.lock.needs_this_process()
            && !self.forwarding.is_standing()
            && self.need_of_this_process(step).is_none()
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
