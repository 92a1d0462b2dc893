//! One gateway: its states from its identity in the vault to the open port.
//! Does not: know the other gateways, or which are to be (`gateways` does).
//! Used by: `gateways`.

mod keeping;

use rally_cred_proto::{
    Fault, FaultKind, Reply, Secret,
    gateway::{GatewayStatus, OpenedGateway},
    message::Event,
};

use crate::{
    event::{AskId, Effect, Entry, Epoch, GatewayPlan, GatewayReady, Outcome},
    item::Item,
    jobs::Owner,
    policy,
    profile::{GatewaySettings, Profile},
    step::Step,
    time::{Tick, Ticks},
    vault::{ItemKey, ItemKind},
};

/// One of them.
#[derive(Debug)]
pub(super) struct Gateway {
    /// By what it is opened. Port, key and authority are in it once there are any.
    plan: GatewayPlan,
    /// The request that it lives for; `None` for one of the config file.
    lives_for: Option<AskId>,
    /// The identities before this one with the same key.
    earlier: Vec<Secret>,
    /// The port that it had last.
    port: Option<u16>,
    state: State,
    /// Why it could not be opened, until it can.
    trouble: Option<Fault>,
    /// Who wants to know how it is reached.
    asks: Vec<AskId>,
    /// Whether the vault was read, or need not be.
    is_read: bool,
    /// The vault was locked, or had not come, when it was read last.
    is_shut: bool,
    item: Item,
    /// Whether it was kept in another vault before, which may be this one by another name.
    was_moved: bool,
    /// Why the vault does not keep its identity.
    vault_fault: Option<Fault>,
    revocation: Revocation,
}

/// A key that is to be worthless for good, which is so once the vault has it no more.
#[derive(Debug, Default)]
struct Revocation {
    asks: Vec<AskId>,
    /// The identities that have it: port and authority may change.
    revoked: Vec<Secret>,
}

/// How far a gateway is.
#[derive(Debug)]
enum State {
    /// It is to be opened at this time.
    Due(Tick),
    /// The vault is asked for its identity.
    Reading(Epoch),
    /// It is being opened.
    Opening(Epoch),
    Open(Epoch, GatewayReady),
}

impl Gateway {
    /// One of this plan. `lives_for`: the request that it lives for; `None` for one of the config file.
    pub(super) fn new(plan: GatewayPlan, lives_for: Option<AskId>) -> Self {
        Self {
            plan,
            lives_for,
            earlier: Vec::new(),
            port: None,
            state: State::Due(Tick(0)),
            trouble: None,
            asks: Vec::new(),
            is_read: lives_for.is_some(),
            is_shut: false,
            item: Item::default(),
            was_moved: false,
            vault_fault: None,
            revocation: Revocation::default(),
        }
    }

    /// The request that it lives for; `None` for one of the config file.
    pub(super) fn lives_for(&self) -> Option<AskId> {
        self.lives_for
    }

    /// The name of its profile.
    pub(super) fn profile(&self) -> &str {
        &self.plan.settings.profile
    }

    /// Whether it passes on to where this profile's servers are, and nowhere else.
    pub(super) fn is_reached_by(&self, profile: &Profile) -> bool {
        let of =
            |profile: &Profile| (profile.base_url.clone(), profile.ca_file.clone(), profile.also.clone());
        of(profile) == of(&self.plan.profile)
    }

    /// Why it could not be opened, until it can.
    pub(super) fn trouble(&self) -> Option<&Fault> {
        self.trouble.as_ref()
    }

    /// When [`Gateway::time_passed`] has something to do.
    pub(super) fn next_deadline(&self) -> Option<Tick> {
        let opens_at = if let State::Due(at) = self.state { Some(at) } else { None };
        [opens_at, self.item.again_at()].into_iter().flatten().min()
    }

    /// Opens it, or has the vault keep its identity, if that is due.
    pub(super) fn time_passed(&mut self, step: &mut Step<'_>) {
        if self.item.again_at().is_some_and(|at| at <= step.now.tick) {
            self.save(step);
        }
        if matches!(self.state, State::Due(at) if at <= step.now.tick) {
            self.begin(step);
        }
    }

    /// Whether it waits for the vault to be unlocked.
    pub(super) fn awaits_vault(&self) -> bool {
        self.is_put_off_by_vault() || self.item.awaits_unlock()
    }

    fn is_put_off_by_vault(&self) -> bool {
        self.is_shut && matches!(self.state, State::Due(_))
    }

    /// Goes on with what waited for that.
    pub(super) fn vault_unlocked(&mut self, step: &mut Step<'_>) {
        self.item.hurry(step.now.tick);
        if self.is_put_off_by_vault() {
            self.state = State::Due(step.now.tick);
        }
        self.time_passed(step);
    }

    /// What it is called by whoever opened it.
    pub(super) fn epoch(&self) -> Option<Epoch> {
        if let State::Open(epoch, _) = self.state { Some(epoch) } else { None }
    }

    /// Takes what the config file says of it now.
    pub(super) fn follow(&mut self, step: &mut Step<'_>, new: Self, has_other_vault: bool) {
        if new.plan.settings != self.plan.settings || !self.is_reached_by(&new.plan.profile) {
            self.close(step);
        }
        (self.plan.settings, self.plan.profile) = (new.plan.settings, new.plan.profile);
        if has_other_vault {
            let moved = Fault::new(FaultKind::ConfigBroken, "the keyring was changed meanwhile");
            self.revocation.answer(step, &Reply::Error(moved.remedy("run the command again")));
            // Whoever was given the key goes on using it, unless the other vault has one already.
            (self.item, self.is_read) = (Item::default(), self.plan.identity.is_some());
            self.was_moved = true;
            match self.is_read {
                true => self.save(step),
                false if matches!(self.state, State::Due(_)) => {}
                false => {
                    self.close(step);
                    self.begin(step);
                }
            }
        }
    }

    /// Shows how it is reached, once it is open or cannot be opened.
    pub(super) fn show(&mut self, step: &mut Step<'_>, id: AskId) {
        self.asks.push(id);
        self.answer(step);
    }

    /// Makes its key worthless, and gives it another. Whoever asks hears so once a new daemon could not find it either.
    pub(super) fn revoke(&mut self, step: &mut Step<'_>, id: AskId) {
        self.revocation.asks.push(id);
        if !self.is_read {
            // What the vault gives is not taken. Perhaps it is asked already.
            if matches!(self.state, State::Due(_)) {
                self.begin(step);
            }
            return;
        }
        self.close(step);
        self.discard(step);
        self.begin(step);
    }

    /// Lets go whoever wants to know how it is reached.
    pub(super) fn left(&mut self, id: AskId) {
        self.asks.retain(|ask| *ask != id);
        self.revocation.asks.retain(|ask| *ask != id);
    }

    /// Closes it for good.
    pub(super) fn end(&mut self, step: &mut Step<'_>, fault: &Fault) {
        self.close(step);
        step.refuse_all(self.revocation.asks.drain(..).chain(self.asks.drain(..)), fault);
    }

    /// Closes it, if it is open or about to be.
    fn close(&mut self, step: &mut Step<'_>) {
        match std::mem::replace(&mut self.state, State::Due(Tick(0))) {
            State::Opening(epoch) => {
                step.jobs.end(epoch);
                step.effects.push(Effect::CloseGateway(epoch));
            }
            State::Open(epoch, _) => {
                step.effects.push(Effect::CloseGateway(epoch));
                step.effects.push(Effect::Log(Entry::GatewayClosed { name: self.plan.name.clone() }));
            }
            State::Due(_) | State::Reading(_) => {}
        }
    }

    /// Opens it, after its identity was looked for.
    pub(super) fn begin(&mut self, step: &mut Step<'_>) {
        if !self.is_read {
            self.state = State::Reading(step.load(self.owner(), self.key()));
            return;
        }
        let port = self.plan.settings.port.or(self.port);
        let settings = GatewaySettings { port, ..self.plan.settings.clone() };
        let plan = Box::new(GatewayPlan { settings, ..self.plan.clone() });
        self.state = State::Opening(step.begin(self.owner(), |epoch| Effect::OpenGateway(epoch, plan)));
    }

    /// It cannot be opened now.
    fn put_off(&mut self, step: &mut Step<'_>, pause: Ticks, fault: Fault) {
        if self.trouble.as_ref() != Some(&fault) {
            let name = self.plan.name.clone();
            step.effects.push(Effect::Log(Entry::GatewayFailed { name, fault: fault.clone() }));
        }
        (self.state, self.trouble) = (State::Due(step.now.tick + pause), Some(fault));
    }

    /// Takes what a job came to. `false` if nobody waits for it any more.
    pub(super) fn heard(&mut self, step: &mut Step<'_>, epoch: Epoch, outcome: Outcome) -> bool {
        match (outcome, &self.state) {
            (Outcome::Loaded(outcome), State::Reading(own)) if *own == epoch => {
                self.loaded(step, outcome);
            }
            (Outcome::GatewayOpened(outcome), State::Opening(own)) if *own == epoch => {
                self.opened(step, epoch, outcome);
            }
            (Outcome::Changed(outcome), _) if self.item.is_writing(epoch) => {
                self.changed(step, epoch, outcome);
            }
            _ => return false,
        }
        true
    }

    fn opened(&mut self, step: &mut Step<'_>, epoch: Epoch, outcome: Result<GatewayReady, Fault>) {
        match outcome {
            Ok(ready) => {
                (self.port, self.trouble) = (Some(ready.port), None);
                let identity = ready.identity.clone();
                let (profile, port) = (self.plan.profile.name.to_string(), ready.port);
                let entry = Entry::GatewayOpened { name: self.plan.name.clone(), profile, port };
                step.effects.push(Effect::Log(entry));
                self.state = State::Open(epoch, ready);
                self.take_on(step, Some(identity));
                if let (Some(id), Some(opened)) = (self.lives_for, self.shown()) {
                    let opened = OpenedGateway { identity: self.plan.identity.clone(), ..opened };
                    step.tell(id, Event::GatewayOpen(Box::new(opened)));
                }
            }
            // Whoever asked is told by `Gateways::heard`, which lets it go.
            Err(fault) => self.put_off(step, policy::GATEWAY_PAUSE, fault),
        }
    }

    /// How it is reached, if it is open.
    fn shown(&self) -> Option<OpenedGateway> {
        let State::Open(_, ready) = &self.state else { return None };
        Some(OpenedGateway {
            name: self.plan.name.clone(),
            profile: self.plan.profile.name.to_string(),
            base_url: self.plan.profile.base_url.origin().to_string(),
            also: self.plan.profile.also_through_gateways().map(|also| also.origin.to_string()).collect(),
            port: ready.port,
            key: ready.key.clone(),
            authority: ready.authority.clone(),
            identity: None,
        })
    }

    /// Answers whoever wants to know how it is reached, if that is known.
    pub(super) fn answer(&mut self, step: &mut Step<'_>) {
        let reply = match (self.shown(), &self.trouble) {
            (Some(shown), _) => Reply::ShownGateway(Box::new(shown)),
            (None, Some(fault)) => Reply::Error(fault.clone()),
            (None, None) => return,
        };
        step.reply_all(self.asks.drain(..), &reply);
    }

    fn owner(&self) -> Owner {
        Owner::Gateway(self.plan.name.clone())
    }

    fn key(&self) -> ItemKey {
        ItemKey { kind: ItemKind::Gateway, name: self.plan.name.clone() }
    }

    /// What is known of it here.
    pub(super) fn status(&self) -> GatewayStatus {
        let port = if let State::Open(_, ready) = &self.state { Some(ready.port) } else { None };
        GatewayStatus {
            name: self.plan.name.clone(),
            profile: self.plan.profile.name.to_string(),
            standing: self.lives_for.is_none(),
            port,
            via: self.plan.settings.via,
            kept: self.lives_for.is_none() && self.plan.identity.is_some() && self.item.is_kept(),
            requests: 0,
            waiting: 0,
            bytes_up: 0,
            bytes_down: 0,
            renewals: 0,
            last_error: None,
            fault: self.trouble.clone().or_else(|| self.vault_fault.clone()),
        }
    }
}

impl Revocation {
    fn answer(&mut self, step: &mut Step<'_>, reply: &Reply) {
        step.reply_all(self.asks.drain(..), reply);
    }
}
