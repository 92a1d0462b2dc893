//! The gateways: which are to be open, for whom, and with which port, key and authority.
//! Does not: pass on a request, or make a key (whoever carries out `Effect::OpenGateway` does); or give tokens, for which a
//! gateway asks as every client does.
//! Used by: `broker`, which takes each outcome here.

mod gateway;

use std::collections::BTreeMap;

use rally_cred_proto::{Fault, FaultKind, Reply, gateway::OpenGateway};

use crate::{
    broker::routes::nearest_first,
    event::{AskId, Effect, Epoch, GatewayPlan, Outcome, Peer},
    policy,
    profile::{Config, GatewaySettings, Profile},
    step::Step,
    time::{Tick, Ticks},
};

use gateway::Gateway;

/// Every gateway that is open, or is to be, by name.
#[derive(Debug, Default)]
pub(super) struct Gateways(BTreeMap<String, Gateway>);

impl Gateways {
    pub(super) fn new(config: &Config) -> Self {
        Self(standing(config).collect())
    }

    /// Puts what the config file says into force. Whatever stays as it is goes on undisturbed.
    pub(super) fn apply(&mut self, step: &mut Step<'_>, config: &Config, has_other_vault: bool) {
        let mut wanted: BTreeMap<_, _> = standing(config).collect();
        for (name, mut old) in std::mem::take(&mut self.0) {
            if let Some(id) = old.lives_for() {
                let profile = config.profiles.get(old.profile());
                let fault = match profile.is_some_and(|profile| old.is_reached_by(profile)) {
                    true if wanted.contains_key(&name) => name_taken(&name),
                    true => {
                        self.0.insert(name, old);
                        continue;
                    }
                    false => profile_changed(old.profile()),
                };
                old.end(step, &fault);
                step.refuse(id, fault);
                continue;
            }
            let Some(new) = wanted.remove(&name) else {
                old.end(step, &unknown(&name));
                continue;
            };
            old.follow(step, new, has_other_vault);
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
        let tool: String =
            ask.tool.chars().filter(|c| c.is_ascii_alphanumeric() || "-_.".contains(*c)).collect();
        let mut name = format!("{tool}-{}", peer.pid.unwrap_or_default());
        while self.0.contains_key(&name) {
            name.push('+');
        }
        let plan = GatewayPlan {
            name: name.clone(),
            settings,
            profile,
            way_out: Some(ask.way_out),
            identity: ask.identity,
            opener: Some(peer.clone()),
        };
        let mut gateway = Gateway::new(plan, Some(id));
        gateway.begin(step);
        self.0.insert(name, gateway);
    }

    /// Shows how a gateway is reached, once it is open or cannot be opened.
    pub(super) fn show(&mut self, step: &mut Step<'_>, id: AskId, name: &str) -> Result<(), Fault> {
        self.find(name)?.show(step, id);
        Ok(())
    }

    /// Makes a gateway's key worthless. One of the config file gets another.
    pub(super) fn revoke(&mut self, step: &mut Step<'_>, id: AskId, name: &str) -> Result<(), Fault> {
        let gateway = self.find(name)?;
        if let Some(owner) = gateway.lives_for() {
            gateway.end(step, &unknown(name));
            self.0.remove(name);
            step.reply_all([owner, id], &Reply::Done);
        } else {
            gateway.revoke(step, id);
        }
        Ok(())
    }

    /// Lets a gateway go whose client left.
    pub(super) fn left(&mut self, step: &mut Step<'_>, id: AskId) {
        self.0.values_mut().for_each(|gateway| gateway.left(id));
        for (name, mut gateway) in self.0.extract_if(.., |_, gateway| gateway.lives_for() == Some(id)) {
            gateway.end(step, &unknown(&name));
        }
    }

    /// Takes what a job of this gateway came to. `false` if nobody waits for it any more.
    pub(super) fn heard(&mut self, step: &mut Step<'_>, name: &str, epoch: Epoch, outcome: Outcome) -> bool {
        let Some(gateway) = self.0.get_mut(name) else { return false };
        if !gateway.heard(step, epoch, outcome) {
            return false;
        }
        gateway.answer(step);
        if let (Some(id), Some(fault)) = (gateway.lives_for(), gateway.trouble()) {
            step.refuse(id, fault.clone());
            self.0.remove(name);
        }
        true
    }

    /// Does what is due.
    pub(super) fn time_passed(&mut self, step: &mut Step<'_>) {
        self.0.values_mut().for_each(|gateway| gateway.time_passed(step));
    }

    /// Whether one of them waits for the vault to be unlocked.
    pub(super) fn await_vault(&self) -> bool {
        self.0.values().any(Gateway::awaits_vault)
    }

    /// Goes on with that.
    pub(super) fn vault_unlocked(&mut self, step: &mut Step<'_>) {
        self.0.values_mut().for_each(|gateway| gateway.vault_unlocked(step));
    }

    /// When to call [`Gateways::time_passed`].
    pub(super) fn next_deadline(&self) -> Option<Tick> {
        self.0.values().filter_map(Gateway::next_deadline).min()
    }

    /// Closes all of them for good.
    pub(super) fn stop(&mut self, step: &mut Step<'_>, fault: &Fault) {
        for mut gateway in std::mem::take(&mut self.0).into_values() {
            gateway.end(step, fault);
            if let Some(id) = gateway.lives_for() {
                step.refuse(id, fault.clone());
            }
        }
    }

    /// Whether no tool counts on this process.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Tells a client of each, as far as is known here.
    pub(super) fn tell(&self, step: &mut Step<'_>, id: AskId) {
        let shown: Vec<_> = self.0.values().map(|gateway| (gateway.epoch(), gateway.status())).collect();
        if !shown.is_empty() {
            step.effects.push(Effect::TellGateways(id, shown));
        }
    }

    fn find(&mut self, name: &str) -> Result<&mut Gateway, Fault> {
        if !self.0.contains_key(name) {
            let unknown = unknown(name);
            return Err(match self.0.is_empty() {
                true => unknown.why("none is open, and the config file has none"),
                false => unknown
                    .why(format!("there are: {}", nearest_first(name, self.0.keys().map(String::as_str)))),
            });
        }
        self.0.get_mut(name).ok_or_else(|| unknown(name))
    }
}

fn unknown(name: &str) -> Fault {
    Fault::new(FaultKind::Failed, format!("there is no gateway {name}")).remedy("rally-cred gateway list")
}

fn standing(config: &Config) -> impl Iterator<Item = (String, Gateway)> {
    config.gateways.iter().filter_map(|(name, settings)| {
        let profile = config.profiles.get(&settings.profile)?;
        let plan = GatewayPlan {
            name: name.clone(),
            settings: settings.clone(),
            profile: profile.clone(),
            way_out: None,
            identity: None,
            opener: None,
        };
        Some((name.clone(), Gateway::new(plan, None)))
    })
}

fn profile_changed(profile: &str) -> Fault {
    Fault::new(FaultKind::ConfigBroken, format!("profile {profile} was changed or removed meanwhile"))
        .remedy("run the command again")
}

/// Its client asks again, and gets another name.
fn name_taken(name: &str) -> Fault {
    Fault::new(FaultKind::ConfigBroken, format!("the config file has a gateway {name} of its own now"))
        .remedy("run the command again")
}
