//! One gateway: its states from its identity in the vault to the open port, and its item in the vault.
//! Does not: know the other gateways, or which are to be (`gateways` does).
//! Used by: `gateways`.

use rally_cred_proto::{
    Fault, Reply, Secret,
    gateway::{GatewayStatus, OpenedGateway, WayOut},
    message::Event,
};

use crate::{
    event::{AskId, Effect, Entry, Epoch, GatewayPlan, GatewayReady, Outcome},
    jobs::Owner,
    policy,
    profile::{GatewaySettings, Keyring, Profile},
    step::Step,
    time::Tick,
    vault::{Change, Changed, ItemKey, ItemKind, is_same},
};

/// One of them.
#[derive(Debug)]
pub(super) struct Gateway {
    settings: GatewaySettings,
    profile: Profile,
    /// The request that it lives for; `None` for one of the config file.
    lives_for: Option<AskId>,
    way_out: Option<WayOut>,
    /// Port, key and authority, once there are any.
    identity: Option<Secret>,
    /// The port that it had last.
    port: Option<u16>,
    state: State,
    /// Why it could not be opened, until it can.
    trouble: Option<Fault>,
    /// Who wants to know how it is reached.
    asks: Vec<AskId>,
    item: Item,
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

/// What the vault has of a standing gateway.
#[derive(Debug, Default)]
struct Item {
    /// Whether it has been read, or need not be.
    is_read: bool,
    /// What it holds, as far as is known.
    holds: Option<Secret>,
    writing: Option<Epoch>,
    fault: Option<Fault>,
}

impl Gateway {
    /// One of the config file.
    pub(super) fn standing(settings: GatewaySettings, profile: Profile) -> Self {
        Self {
            settings,
            profile,
            lives_for: None,
            way_out: None,
            identity: None,
            port: None,
            state: State::Due(Tick(0)),
            trouble: None,
            asks: Vec::new(),
            item: Item::default(),
        }
    }

    /// One that lives as long as this request, perhaps with the identity that it had before.
    pub(super) fn of_command(
        id: AskId,
        settings: GatewaySettings,
        profile: Profile,
        way_out: WayOut,
        identity: Option<Secret>,
    ) -> Self {
        Self {
            lives_for: Some(id),
            way_out: Some(way_out),
            identity,
            item: Item { is_read: true, ..Item::default() },
            ..Self::standing(settings, profile)
        }
    }

    /// The request that it lives for; `None` for one of the config file.
    pub(super) fn lives_for(&self) -> Option<AskId> {
        self.lives_for
    }

    /// The name of its profile.
    pub(super) fn profile(&self) -> &str {
        &self.settings.profile
    }

    /// Whether it passes on to where this profile's Rally is.
    pub(super) fn is_reached_by(&self, profile: &Profile) -> bool {
        profile.base_url == self.profile.base_url && profile.ca_file == self.profile.ca_file
    }

    /// Why it could not be opened, until it can.
    pub(super) fn trouble(&self) -> Option<&Fault> {
        self.trouble.as_ref()
    }

    /// When it is to be opened.
    pub(super) fn due(&self) -> Option<Tick> {
        if let State::Due(at) = self.state { Some(at) } else { None }
    }

    /// What it is called by whoever opened it.
    pub(super) fn epoch(&self) -> Option<Epoch> {
        if let State::Open(epoch, _) = self.state { Some(epoch) } else { None }
    }

    /// Takes what the config file says of it now.
    pub(super) fn follow(&mut self, step: &mut Step<'_>, name: &str, new: Self, has_other_vault: bool) {
        if new.settings != self.settings || !self.is_reached_by(&new.profile) {
            self.close(step, name);
        }
        (self.settings, self.profile) = (new.settings, new.profile);
        if has_other_vault {
            // Whoever was given the key goes on using it.
            self.item = Item { is_read: self.identity.is_some(), ..Item::default() };
            self.save(step, name);
        }
    }

    /// Shows how it is reached, once it is open or cannot be opened.
    pub(super) fn show(&mut self, step: &mut Step<'_>, name: &str, id: AskId) {
        self.asks.push(id);
        self.answer(step, name);
    }

    /// Makes its key worthless, and gives it another.
    pub(super) fn revoke(&mut self, step: &mut Step<'_>, name: &str) {
        self.close(step, name);
        (self.identity, self.item.is_read) = (None, true);
        self.begin(step, name);
    }

    /// Lets go whoever wants to know how it is reached.
    pub(super) fn left(&mut self, id: AskId) {
        self.asks.retain(|ask| *ask != id);
    }

    /// Closes it for good.
    pub(super) fn end(&mut self, step: &mut Step<'_>, name: &str, fault: &Fault) {
        self.close(step, name);
        self.asks.drain(..).for_each(|id| step.reply(id, Reply::Error(fault.clone())));
    }

    /// Closes it, if it is open or about to be.
    fn close(&mut self, step: &mut Step<'_>, name: &str) {
        match std::mem::replace(&mut self.state, State::Due(Tick(0))) {
            State::Opening(epoch) => {
                step.jobs.end(epoch);
                step.effects.push(Effect::CloseGateway(epoch));
            }
            State::Open(epoch, _) => {
                step.effects.push(Effect::CloseGateway(epoch));
                step.effects.push(Effect::Log(Entry::GatewayClosed { name: name.to_owned() }));
            }
            State::Due(_) | State::Reading(_) => {}
        }
    }

    /// Opens it, after its identity was looked for.
    pub(super) fn begin(&mut self, step: &mut Step<'_>, name: &str) {
        let owner = Owner::Gateway(name.to_owned());
        if !self.item.is_read {
            let key = key_of(name);
            self.state = State::Reading(step.begin(owner, |epoch| Effect::Load(epoch, key)));
            return;
        }
        let plan = GatewayPlan {
            name: name.to_owned(),
            settings: GatewaySettings { port: self.settings.port.or(self.port), ..self.settings.clone() },
            profile: self.profile.clone(),
            way_out: self.way_out.clone(),
            identity: self.identity.clone(),
        };
        self.state = State::Opening(step.begin(owner, |epoch| Effect::OpenGateway(epoch, Box::new(plan))));
    }

    /// It cannot be opened now.
    fn put_off(&mut self, step: &mut Step<'_>, name: &str, fault: Fault) {
        if self.trouble.as_ref() != Some(&fault) {
            let name = name.to_owned();
            step.effects.push(Effect::Log(Entry::GatewayFailed { name, fault: fault.clone() }));
        }
        (self.state, self.trouble) = (State::Due(step.now.tick + policy::GATEWAY_PAUSE), Some(fault));
    }

    /// Has the vault keep its identity, if that holds another.
    fn save(&mut self, step: &mut Step<'_>, name: &str) {
        if self.lives_for.is_some()
            || self.item.writing.is_some()
            || is_same(self.item.holds.as_ref(), self.identity.as_ref())
        {
            return;
        }
        let change = Change { key: key_of(name), from: self.item.holds.clone(), to: self.identity.clone() };
        let owner = Owner::Gateway(name.to_owned());
        self.item.writing = Some(step.begin(owner, |epoch| Effect::Change(epoch, change)));
    }

    /// Takes what a job came to. `false` if nobody waits for it any more.
    pub(super) fn heard(&mut self, step: &mut Step<'_>, name: &str, epoch: Epoch, outcome: Outcome) -> bool {
        match (outcome, &self.state) {
            (Outcome::Loaded(outcome), State::Reading(own)) if *own == epoch => {
                match outcome {
                    Ok(held) => (self.identity, self.item.holds) = (held.clone(), held),
                    Err(trouble) if trouble.is_missing() && step.keyring == Keyring::Auto => {
                        self.item.fault = Some(trouble.fault());
                    }
                    Err(trouble) => {
                        self.put_off(step, name, trouble.fault());
                        return true;
                    }
                }
                self.item.is_read = true;
                self.begin(step, name);
            }
            (Outcome::GatewayOpened(outcome), State::Opening(own)) if *own == epoch => {
                self.opened(step, name, epoch, outcome);
            }
            (Outcome::Changed(outcome), _) if self.item.writing == Some(epoch) => {
                self.item.writing = None;
                match outcome {
                    Ok(Changed::Done) => {
                        (self.item.holds, self.item.fault) = (self.identity.clone(), None);
                    }
                    // Another daemon of the same keyring was quicker; whoever knows its key is to be let in here too.
                    Ok(Changed::Conflict(held)) => {
                        (self.identity, self.item.holds) = (held.clone(), held);
                        self.close(step, name);
                        self.begin(step, name);
                    }
                    Err(trouble) => self.item.fault = Some(trouble.fault()),
                }
            }
            _ => return false,
        }
        true
    }

    fn opened(
        &mut self,
        step: &mut Step<'_>,
        name: &str,
        epoch: Epoch,
        outcome: Result<GatewayReady, Fault>,
    ) {
        match (outcome, self.lives_for) {
            (Ok(ready), id) => {
                (self.identity, self.trouble) = (Some(ready.identity.clone()), None);
                self.port = Some(ready.port);
                let (profile, port) = (self.profile.name.to_string(), ready.port);
                let entry = Entry::GatewayOpened { name: name.to_owned(), profile, port };
                step.effects.push(Effect::Log(entry));
                self.state = State::Open(epoch, ready);
                self.save(step, name);
                if let (Some(id), Some(opened)) = (id, self.shown(name)) {
                    let opened = OpenedGateway { identity: self.identity.clone(), ..opened };
                    step.effects.push(Effect::Tell(id, Event::GatewayOpen(Box::new(opened))));
                }
            }
            // Whoever asked is told by `Gateways::heard`, which lets it go.
            (Err(fault), _) => self.put_off(step, name, fault),
        }
    }

    /// How it is reached, if it is open.
    fn shown(&self, name: &str) -> Option<OpenedGateway> {
        let State::Open(_, ready) = &self.state else { return None };
        Some(OpenedGateway {
            name: name.to_owned(),
            profile: self.profile.name.to_string(),
            base_url: self.profile.base_url.origin().to_string(),
            port: ready.port,
            key: ready.key.clone(),
            authority: ready.authority.clone(),
            identity: None,
        })
    }

    /// Answers whoever wants to know how it is reached, if that is known.
    pub(super) fn answer(&mut self, step: &mut Step<'_>, name: &str) {
        let reply = match (self.shown(name), &self.trouble) {
            (Some(shown), _) => Reply::ShownGateway(Box::new(shown)),
            (None, Some(fault)) => Reply::Error(fault.clone()),
            (None, None) => return,
        };
        self.asks.drain(..).for_each(|id| step.reply(id, reply.clone()));
    }

    /// What is known of it here.
    pub(super) fn status(&self, name: &str, keyring: Keyring) -> GatewayStatus {
        let port = match &self.state {
            State::Open(_, ready) => Some(ready.port),
            State::Due(_) | State::Reading(_) | State::Opening(_) => None,
        };
        let is_kept = self.item.holds.is_some() && is_same(self.item.holds.as_ref(), self.identity.as_ref());
        GatewayStatus {
            name: name.to_owned(),
            profile: self.profile.name.to_string(),
            standing: self.lives_for.is_none(),
            port,
            via: self.settings.via,
            kept: self.lives_for.is_none() && is_kept && keyring != Keyring::Memory,
            requests: 0,
            waiting: 0,
            bytes_up: 0,
            bytes_down: 0,
            renewals: 0,
            last_error: None,
            fault: self.trouble.clone().or_else(|| self.item.fault.clone()),
        }
    }
}

fn key_of(name: &str) -> ItemKey {
    ItemKey { kind: ItemKind::Gateway, name: name.to_owned() }
}
