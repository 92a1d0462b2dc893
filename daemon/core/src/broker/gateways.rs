//! The gateways: which are to be open, for whom, and with which port, key and authority.
//! Does not: pass on a request, or make a key (whoever carries out `Effect::OpenGateway` does); or give tokens, for which a
//! gateway asks as every client does.
//! Used by: `broker`, which takes each outcome here.

use std::collections::BTreeMap;

use rally_cred_proto::{
    Fault, FaultKind, Reply, Secret,
    gateway::{GatewayStatus, OpenGateway, OpenedGateway, WayOut},
    message::Event,
};

use crate::{
    broker::routes::nearest_first,
    event::{AskId, Effect, Entry, Epoch, GatewayPlan, GatewayReady, Outcome, Peer},
    jobs::Owner,
    policy,
    profile::{Config, GatewaySettings, Keyring, Profile},
    step::Step,
    time::{Tick, Ticks},
    vault::{Change, Changed, ItemKey, ItemKind, is_same},
};

/// Every gateway that is open, or is to be, by name.
#[derive(Debug, Default)]
pub(super) struct Gateways(BTreeMap<String, Gateway>);

/// One of them.
#[derive(Debug)]
struct Gateway {
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
    fn standing(settings: GatewaySettings, profile: Profile) -> Self {
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

    /// Closes it for good.
    fn end(&mut self, step: &mut Step<'_>, name: &str, fault: &Fault) {
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
    fn begin(&mut self, step: &mut Step<'_>, name: &str) {
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
    fn heard(&mut self, step: &mut Step<'_>, name: &str, epoch: Epoch, outcome: Outcome) -> bool {
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
    fn answer(&mut self, step: &mut Step<'_>, name: &str) {
        let reply = match (self.shown(name), &self.trouble) {
            (Some(shown), _) => Reply::ShownGateway(Box::new(shown)),
            (None, Some(fault)) => Reply::Error(fault.clone()),
            (None, None) => return,
        };
        self.asks.drain(..).for_each(|id| step.reply(id, reply.clone()));
    }

    fn status(&self, name: &str, keyring: Keyring) -> GatewayStatus {
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

impl Gateways {
    pub(super) fn new(config: &Config) -> Self {
        Self(standing(config).collect())
    }

    /// Puts what the config file says into force. Whatever stays as it is goes on undisturbed.
    pub(super) fn apply(&mut self, step: &mut Step<'_>, config: &Config, has_other_vault: bool) {
        let mut wanted: BTreeMap<_, _> = standing(config).collect();
        for (name, mut old) in std::mem::take(&mut self.0) {
            if let Some(id) = old.lives_for {
                let profile = config.profiles.get(&old.settings.profile);
                if profile.is_some_and(|profile| is_reached_alike(profile, &old.profile)) {
                    self.0.insert(name, old);
                } else {
                    let fault = profile_changed(&old.settings.profile);
                    old.end(step, &name, &fault);
                    step.reply(id, Reply::Error(fault));
                }
                continue;
            }
            let Some(new) = wanted.remove(&name) else {
                old.end(step, &name, &unknown(&name));
                continue;
            };
            if new.settings != old.settings || !is_reached_alike(&new.profile, &old.profile) {
                old.close(step, &name);
            }
            (old.settings, old.profile) = (new.settings, new.profile);
            if has_other_vault {
                // Whoever was given the key goes on using it.
                old.item = Item { is_read: old.identity.is_some(), ..Item::default() };
                old.save(step, &name);
            }
            self.0.insert(name, old);
        }
        self.0.append(&mut wanted);
    }

    /// Opens a gateway that lives as long as this request.
    pub(super) fn open(
        &mut self,
        step: &mut Step<'_>,
        id: AskId,
        peer: &Peer,
        ask: OpenGateway,
        profile: Profile,
    ) {
        let settings = GatewaySettings {
            via: ask.via,
            wait: Ticks::seconds(u64::from(ask.wait)).min(policy::LONGEST_WAIT),
            ..GatewaySettings::new(profile.name.to_string())
        };
        let mut gateway = Gateway::standing(settings, profile);
        (gateway.lives_for, gateway.way_out, gateway.identity) = (Some(id), Some(ask.way_out), ask.identity);
        gateway.item.is_read = true;
        let tool: String =
            ask.tool.chars().filter(|c| c.is_ascii_alphanumeric() || "-_.".contains(*c)).collect();
        let mut name = format!("{tool}-{}", peer.pid.unwrap_or_default());
        while self.0.contains_key(&name) {
            name.push('+');
        }
        gateway.begin(step, &name);
        self.0.insert(name, gateway);
    }

    /// Shows how a gateway is reached, once it is open or cannot be opened.
    pub(super) fn show(&mut self, step: &mut Step<'_>, id: AskId, name: &str) {
        match self.find(name) {
            Err(fault) => step.reply(id, Reply::Error(fault)),
            Ok(_) => {
                if let Some(gateway) = self.0.get_mut(name) {
                    gateway.asks.push(id);
                    gateway.answer(step, name);
                }
            }
        }
    }

    /// Makes a gateway's key worthless. One of the config file gets another.
    pub(super) fn revoke(&mut self, step: &mut Step<'_>, id: AskId, name: &str) {
        if let Err(fault) = self.find(name) {
            return step.reply(id, Reply::Error(fault));
        }
        if let Some(mut gateway) = self.0.remove(name) {
            if let Some(owner) = gateway.lives_for {
                gateway.end(step, name, &unknown(name));
                step.reply(owner, Reply::Done);
            } else {
                gateway.close(step, name);
                (gateway.identity, gateway.item.is_read) = (None, true);
                gateway.begin(step, name);
                self.0.insert(name.to_owned(), gateway);
            }
        }
        step.reply(id, Reply::Done);
    }

    /// Lets a gateway go whose client left.
    pub(super) fn left(&mut self, step: &mut Step<'_>, id: AskId) {
        self.0.values_mut().for_each(|gateway| gateway.asks.retain(|ask| *ask != id));
        let is_meant = |gateway: &Gateway| gateway.lives_for == Some(id);
        let Some(name) = self.0.iter().find_map(|(name, gateway)| is_meant(gateway).then(|| name.clone()))
        else {
            return;
        };
        if let Some(mut gateway) = self.0.remove(&name) {
            gateway.end(step, &name, &unknown(&name));
        }
    }

    /// Takes what a job of this gateway came to. `false` if nobody waits for it any more.
    pub(super) fn heard(&mut self, step: &mut Step<'_>, name: &str, epoch: Epoch, outcome: Outcome) -> bool {
        let Some(gateway) = self.0.get_mut(name) else { return false };
        if !gateway.heard(step, name, epoch, outcome) {
            return false;
        }
        gateway.answer(step, name);
        if let (Some(id), Some(fault)) = (gateway.lives_for, &gateway.trouble) {
            step.reply(id, Reply::Error(fault.clone()));
            self.0.remove(name);
        }
        true
    }

    /// Opens what is due.
    pub(super) fn time_passed(&mut self, step: &mut Step<'_>) {
        for (name, gateway) in &mut self.0 {
            if matches!(gateway.state, State::Due(at) if at <= step.now.tick) {
                gateway.begin(step, name);
            }
        }
    }

    /// When to call [`Gateways::time_passed`].
    pub(super) fn next_deadline(&self) -> Option<Tick> {
        let due = self.0.values().filter_map(|gateway| match gateway.state {
            State::Due(at) => Some(at),
            State::Reading(_) | State::Opening(_) | State::Open(..) => None,
        });
        due.min()
    }

    /// Closes all of them for good.
    pub(super) fn stop(&mut self, step: &mut Step<'_>, fault: &Fault) {
        for (name, mut gateway) in std::mem::take(&mut self.0) {
            gateway.end(step, &name, fault);
            if let Some(id) = gateway.lives_for {
                step.reply(id, Reply::Error(fault.clone()));
            }
        }
    }

    /// Whether no tool counts on this process.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Tells a client of each, as far as is known here.
    pub(super) fn tell(&self, step: &mut Step<'_>, id: AskId) {
        let shown = self.0.iter().map(|(name, gateway)| {
            let epoch = match gateway.state {
                State::Open(epoch, _) => Some(epoch),
                State::Due(_) | State::Reading(_) | State::Opening(_) => None,
            };
            (epoch, gateway.status(name, step.keyring))
        });
        let shown: Vec<_> = shown.collect();
        if !shown.is_empty() {
            step.effects.push(Effect::TellGateways(id, shown));
        }
    }

    fn find(&self, name: &str) -> Result<&Gateway, Fault> {
        self.0.get(name).ok_or_else(|| {
            let unknown = unknown(name);
            match self.0.is_empty() {
                true => unknown.why("none is open, and the config file has none"),
                false => unknown
                    .why(format!("there are: {}", nearest_first(name, self.0.keys().map(String::as_str)))),
            }
        })
    }
}

fn unknown(name: &str) -> Fault {
    Fault::new(FaultKind::Failed, format!("there is no gateway {name}")).remedy("rally-cred gateway list")
}

fn standing(config: &Config) -> impl Iterator<Item = (String, Gateway)> {
    config.gateways.iter().filter_map(|(name, settings)| {
        let profile = config.profiles.get(&settings.profile)?;
        Some((name.clone(), Gateway::standing(settings.clone(), profile.clone())))
    })
}

/// Whether a gateway of one passes on to where the other's would.
fn is_reached_alike(one: &Profile, other: &Profile) -> bool {
    one.base_url == other.base_url && one.ca_file == other.ca_file
}

fn key_of(name: &str) -> ItemKey {
    ItemKey { kind: ItemKind::Gateway, name: name.to_owned() }
}

fn profile_changed(profile: &str) -> Fault {
    Fault::new(FaultKind::ConfigBroken, format!("profile {profile} was changed or removed meanwhile"))
        .remedy("run the command again")
}
