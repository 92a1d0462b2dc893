//! What gateways, their tools and watchers do in a history, and what is checked of them after every event.
//! Does not: say when; chance does.
//! Used by: `history`, of which this is a part.

use std::collections::BTreeMap;

use rally_cred_core::{
    event::{AskId, Epoch, GatewayPlan, Outcome},
    time::{Tick, Ticks},
};
use rally_cred_proto::{
    Ask, Reply, Secret,
    gateway::{HoldTurns, NamedGateway, OpenGateway, WayOut},
    message::{Became, Get, News, ProfileState, WatchAsk},
};

use super::{
    super::{
        Planted,
        cast::{name_of, number_of, secret, target},
        daemon::Coming,
        gateways::Command,
        promises::{Broken, LATENCY},
        vault::{Health, Items},
    },
    History, NIGHTS,
};

/// Longer than any history.
const FOR_LIFE: Ticks = Ticks::seconds(1 << 30);

/// How long a request of a gateway's tool waits for a token.
const PATIENCE: u32 = 120;

impl History {
    /// A program is started behind a gateway of its own, or its client comes back after it lost its daemon.
    pub(super) fn open_for_command(&mut self, profile: usize) -> Result<(), Broken> {
        let fresh = Command { daemon: self.at, profile, identity: None };
        let lost = if self.chance.one_in(3) { None } else { self.gateways.comes_back(&mut self.chance) };
        let command = Command { daemon: self.at, ..lost.unwrap_or(fresh) };
        let identity = command.identity.as_deref().filter(|_| self.planted != Some(Planted::StrangeCommand));
        let ask = Ask::OpenGateway(OpenGateway {
            profile: Some(name_of(command.profile)),
            tool: "tool".to_owned(),
            via: None,
            wait: PATIENCE,
            way_out: WayOut::default(),
            identity: identity.and_then(secret),
        });
        self.gateways.opens_for(AskId(self.last_ask + 1), command);
        self.ask(ask, FOR_LIFE).map(drop)
    }

    pub(super) fn show_gateway(&mut self) -> Result<(), Broken> {
        let name = self.a_gateway_name();
        self.ask(Ask::ShowGateway(NamedGateway { name }), NIGHTS).map(drop)
    }

    pub(super) fn revoke(&mut self) -> Result<(), Broken> {
        let name = self.a_gateway_name();
        // Without a keyring it is the key that the daemon knows.
        let is_there = self.health != Health::Missing;
        self.gateways.revokes(AskId(self.last_ask + 1), self.at, &name, &self.items, is_there);
        self.ask(Ask::RevokeGateway(NamedGateway { name }), NIGHTS).map(drop)
    }

    /// One that is there, or one that may be in the config file.
    fn a_gateway_name(&mut self) -> String {
        let open = self.gateways.any_name(&mut self.chance, self.at);
        open.filter(|_| !self.chance.one_in(3)).unwrap_or_else(|| format!("g{}", self.chance.below(2)))
    }

    /// A tool's request needs a token.
    pub(super) fn lend(&mut self) -> Result<(), Broken> {
        match self.gateways.any(&mut self.chance, self.at) {
            Some((gateway, profile)) => self.lend_for(gateway, profile),
            None => Ok(()),
        }
    }

    fn lend_for(&mut self, gateway: Epoch, profile: usize) -> Result<(), Broken> {
        let clock = self.loan_clock();
        if let Some(token) = self.me().lending.current(clock, profile).map(str::to_owned) {
            self.note(|| format!("{gateway:?} sends {token} without a question"));
            return Ok(());
        }
        let id = AskId(self.last_ask + 1);
        self.me().lending.asks(id);
        let deadline = self.tick + Ticks::seconds(u64::from(PATIENCE));
        self.gateways.lends(AskId(self.last_ask + 1), self.at, gateway, profile, deadline);
        let of = if self.planted == Some(Planted::OtherProfile) { 0 } else { profile };
        let get = Get { target: target(of), wait: PATIENCE, awaits_sign_in: true, ..Get::default() };
        self.ask(Ask::Get(get), Ticks::seconds(u64::from(PATIENCE)))?;
        // Its task has its turn at once, or after others; somebody may report the token before that.
        match self.chance.below(4) {
            0 | 1 => self.deliver_due(),
            2 => self.erase(profile),
            _ => Ok(()),
        }
    }

    /// The broker's answer has reached a gateway.
    pub(super) fn lends(&mut self, id: AskId) {
        let (now, calendar_off) = (self.now(), self.calendar_off);
        let is_late = self.planted == Some(Planted::LateLoans);
        self.me().lending.lend(now, calendar_off, id, is_late);
    }

    /// What loans take for the time.
    fn loan_clock(&self) -> Tick {
        if self.planted == Some(Planted::LongLoans) { Tick(0) } else { self.tick }
    }

    /// A program that goes to Rally by itself wants some of its turns.
    pub(super) fn hold_turns(&mut self, profile: usize) -> Result<(), Broken> {
        let turns = u8::try_from(self.chance.below(14)).unwrap_or(0);
        let id = AskId(self.last_ask + 1);
        self.me().turns.asks(id, profile, turns);
        self.ask(Ask::HoldTurns(HoldTurns { profile: Some(name_of(profile)), turns }), FOR_LIFE).map(drop)
    }

    /// Rally has refused what a gateway sent, and its tool's request needs another token.
    pub(super) fn lend_another(&mut self) -> Result<(), Broken> {
        let Some((gateway, profile)) = self.gateways.any(&mut self.chance, self.at) else { return Ok(()) };
        let held =
            self.me().tokens.iter().rev().find(|(of, _)| *of == profile).map(|(_, token)| token.clone());
        let Some(token) = held else { return Ok(()) };
        match self.report(profile, &token, true)? {
            true => self.lend_for(gateway, profile),
            false => Ok(()),
        }
    }

    pub(super) fn watch(&mut self, profile: usize) -> Result<(), Broken> {
        let profile = (!self.chance.one_in(3)).then_some(profile);
        let id = AskId(self.last_ask + 1);
        self.me().watchers.add(id, profile);
        self.ask(Ask::Watch(WatchAsk { profile: profile.map(name_of) }), FOR_LIFE).map(drop)
    }

    pub(super) fn told_news(&mut self, id: AskId, news: &News) {
        self.note(|| format!("{id:?} is told that {} is {:?}", news.profile, news.what));
        let is_unheard = match news.what {
            Became::Held | Became::Obtained | Became::Renewed => self.planted == Some(Planted::UnheardToken),
            Became::Ended | Became::Refused => self.planted == Some(Planted::UnheardEnd),
            _ => self.planted == Some(Planted::UnheardNeed),
        };
        if !is_unheard {
            self.me().watchers.told(id, news);
        }
    }

    pub(super) fn open_gateway(&mut self, epoch: Epoch, plan: Box<GatewayPlan>) -> Result<(), Broken> {
        self.note(|| {
            let before = plan.identity.as_ref().map(Secret::expose);
            format!("gateway {} is opened as {epoch:?}, before {before:?}", plan.name)
        });
        self.gateways.ordered(self.at, epoch, &plan, self.asking)?;
        if self.planted == Some(Planted::TwoGateways) {
            self.gateways.ordered(self.at, epoch, &plan, self.asking)?;
        }
        self.comes_within(50, epoch, Coming::GatewayOpens(plan));
        Ok(())
    }

    pub(super) fn close_gateway(&mut self, epoch: Epoch) {
        self.note(|| format!("gateway {epoch:?} is closed"));
        let (tick, over) = (self.tick, self.gateways.closed(self.at, epoch));
        self.me().outcomes.extend(over.into_iter().map(|id| (tick, epoch, Coming::Leaves(id))));
    }

    /// The keyring has answered, perhaps of a gateway.
    pub(super) fn gateway_is_read(&mut self, epoch: Epoch, outcome: &mut Outcome) {
        let Outcome::Loaded(Ok(held)) = outcome else { return };
        let reads = &self.me().gateway_reads;
        let Some(name) = reads.iter().find(|(_, read)| **read == epoch).map(|(name, _)| name.clone()) else {
            return;
        };
        // What another daemon reads, writes and revokes meanwhile is not followed here.
        if self.is_alone {
            self.gateways.has_read(self.at, &name, held.as_ref().map(Secret::expose));
        }
        if self.planted == Some(Planted::LosesIdentity) {
            *held = None;
        }
    }

    pub(super) fn tools_are_answered(&mut self, id: AskId, reply: &Reply) -> Result<(), Broken> {
        let asked = self.me().asked_of.remove(&id);
        self.me().watchers.answered(id, reply, asked);
        self.me().turns.gone(id);
        if let Reply::Token(token) = reply
            && self.me().lending.answered(id, token)
        {
            let tick = self.tick;
            self.me().outcomes.push((tick, Epoch(0), Coming::Lends(id)));
        }
        let daemon = self.daemons.get(self.at).expect("no such daemon");
        let items: Option<&Items> = (self.is_alone && !daemon.vault.is_memory()).then_some(&self.items);
        self.gateways.answered(id, reply, items, self.tick)
    }

    /// An event is over.
    pub(super) fn tools_are_served(&mut self) -> Result<(), Broken> {
        let (tick, calendar_off) = (self.tick, self.calendar_off);
        let (clock, now) = (self.loan_clock(), self.now());
        let daemon = self.daemons.get_mut(self.at).expect("no such daemon");
        let standing: BTreeMap<_, _> =
            daemon.broker.states().map(|(name, state)| (number_of(name), state)).collect();
        let awaits_person = |profile| standing.get(&profile) == Some(&ProfileState::SignedOut);
        daemon.watchers.are_told(awaits_person)?;
        let (promises, grants, rally) = (&daemon.promises, &self.grants, &self.rally);
        for (profile, token) in daemon.lending.sent(clock, now, calendar_off)? {
            promises.may_be_used(profile, token, &daemon.config, rally, grants, (tick, calendar_off))?;
        }
        if !promises.is_ending() {
            daemon.turns.are_in_order(daemon.config.profiles())?;
        }
        daemon.watchers.know_ends(|_, token| {
            let is_late = rally.end_of(token).is_some_and(|ends| tick.0 > ends.0 + 2 * LATENCY.0 + 2000);
            is_late && !grants.is_out_of_time(token, calendar_off)
        })?;
        self.gateways.is_in_order(self.at, &daemon.config, promises.is_ending(), |id| promises.is_open(id))
    }

    /// Whether somebody is connected who waits for no answer.
    pub(super) fn has_lasting_client(&mut self) -> bool {
        let open = self.me().promises.open_asks();
        open.into_iter().any(|id| self.is_lasting(id))
    }

    fn is_lasting(&mut self, id: AskId) -> bool {
        self.gateways.is_of_command(id) || self.me().watchers.is_one(id) || self.me().turns.is_holder(id)
    }

    /// Faults stop, and the programs end that were started for gateways, to watch and to hold turns.
    pub(super) fn tools_leave(&mut self) -> Result<(), Broken> {
        for id in self.me().promises.open_asks() {
            if self.is_lasting(id) {
                self.leaves(id)?;
            }
        }
        Ok(())
    }

    /// Each gateway of the config file is open, and opens again as it is.
    pub(super) fn gateways_are_kept(&mut self) -> Result<(), Broken> {
        if !self.is_alone {
            return Ok(());
        }
        let config = self.me().config.clone();
        let items = (!config.keyring.is_memory()).then_some(&self.items);
        config.wanted_gateways().try_for_each(|(name, _)| self.gateways.is_kept(self.at, &name, items))
    }
}
