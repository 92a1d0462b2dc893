//! The gateways of a history as the world outside the broker sees them: their ports, keys and tools, and what may be expected.
//! Does not: look into the broker's state, or pass on a request.
//! Used by: `history`.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use rally_cred_core::event::{AskId, Epoch, GatewayPlan, GatewayReady};
use rally_cred_core::time::Tick;
use rally_cred_proto::{Fault, FaultKind, Reply, gateway::OpenedGateway};

use super::{
    Seeded,
    cast::{number_of, secret},
    config_file::ConfigFile,
    promises::{Broken, never},
    vault::Items,
};

/// Every gateway of the machine, and what is known of its tools.
#[derive(Debug, Default)]
pub(super) struct Gateways {
    last: u16,
    /// By daemon and name on it: those that are open, or being opened.
    open: BTreeMap<(usize, Epoch), Open>,
    loans: BTreeMap<AskId, Loan>,
    /// Their requests that report a token.
    reports: HashSet<AskId>,
    /// Profiles of which a gateway was lent a token by the event that is being played.
    served: BTreeSet<usize>,
    /// The first of the requests that this event has done, among which are reports of a token. Who asked after it waits for
    /// what Rally says of that token.
    done: Option<AskId>,
    commands: BTreeMap<AskId, Command>,
    /// Clients that lost their daemon, and come back.
    lost: Vec<Command>,
    revoking: BTreeMap<AskId, Revoking>,
    revoked: HashSet<String>,
    /// Those that somebody wanted revoked, whether it was done or not.
    unwanted: HashSet<String>,
    /// By daemon and gateway: what the keyring gave.
    read: BTreeMap<(usize, String), String>,
}

#[derive(Debug)]
struct Open {
    name: String,
    profile: usize,
    /// The request that it lives for.
    lives_for: Option<AskId>,
    /// The key that it had before.
    had: Option<String>,
    /// Port and key, once it is open.
    reached: Option<(u16, String)>,
}

/// A request of a gateway for a token.
#[derive(Debug)]
struct Loan {
    daemon: usize,
    gateway: Epoch,
    profile: usize,
    deadline: Tick,
}

/// A program behind a gateway of its own.
#[derive(Clone, Debug)]
pub(super) struct Command {
    pub(super) daemon: usize,
    pub(super) profile: usize,
    /// What its client was given.
    pub(super) identity: Option<String>,
}

#[derive(Debug)]
struct Revoking {
    daemon: usize,
    name: String,
    key: Option<String>,
}

const FIRST_PORT: u16 = 20_000;

fn identity(key: &str, port: u16) -> String {
    format!("{key}@{port}")
}

fn key_and_port(identity: &str) -> (String, Option<u16>) {
    match identity.split_once('@') {
        Some((key, port)) => (key.to_owned(), port.parse().ok()),
        None => (identity.to_owned(), None),
    }
}

fn account(name: &str) -> String {
    format!("gateway:{name}")
}

impl Gateways {
    /// A gateway is to be opened. Under one name there is one at a time, and none has a key that was revoked or another
    /// than the one that the keyring gave. `asked`: the request that is being decided.
    pub(super) fn ordered(
        &mut self,
        daemon: usize,
        epoch: Epoch,
        plan: &GatewayPlan,
        asked: Option<AskId>,
    ) -> Result<(), Broken> {
        let name = &plan.name;
        if self.of(daemon).any(|(_, open)| open.name == *name) {
            return Err(format!("gateway {name} is opened a second time, as {epoch:?}"));
        }
        let key = plan.identity.as_ref().map(|identity| key_and_port(identity.expose()).0);
        if let Some(key) = key.as_ref().filter(|key| self.revoked.contains(*key)) {
            return Err(format!("gateway {name} is opened with {key}, which was revoked"));
        }
        let is_of_command = plan.way_out.is_some();
        if let (false, None, Some(read)) = (is_of_command, &key, self.read.get(&(daemon, name.clone()))) {
            return Err(format!("gateway {name} is opened without {read}, which the keyring has"));
        }
        let lives_for = asked.filter(|_| is_of_command);
        let profile = number_of(&plan.profile.name);
        self.open.insert(
            (daemon, epoch),
            Open { name: name.clone(), profile, lives_for, had: key, reached: None },
        );
        Ok(())
    }

    /// It is opened now, if its port is free. `shares`: whatever has it.
    pub(super) fn opens(
        &mut self,
        (daemon, epoch): (usize, Epoch),
        plan: &GatewayPlan,
        fails: bool,
        shares: bool,
    ) -> Result<Result<GatewayReady, Fault>, Broken> {
        let fault = |what: &str| Ok(Err(Fault::new(FaultKind::PortTaken, what)));
        if !self.open.contains_key(&(daemon, epoch)) {
            return fault("it was closed again");
        }
        let before = plan.identity.as_ref().map(|identity| key_and_port(identity.expose()));
        let had = before.as_ref().and_then(|(_, port)| *port);
        let is_taken = |port: u16| {
            self.open.values().any(|open| open.reached.as_ref().is_some_and(|(taken, _)| *taken == port))
        };
        let port = plan.settings.port.or(had).unwrap_or(FIRST_PORT + self.last);
        if fails || is_taken(port) && !shares {
            self.open.remove(&(daemon, epoch));
            return fault("the port is taken");
        }
        never(is_taken(port), || format!("gateway {} has port {port}, as another has", plan.name))?;
        let key = before.map_or_else(|| format!("key-{}", self.last), |(key, _)| key);
        self.last += 1;
        if let Some(open) = self.open.get_mut(&(daemon, epoch)) {
            open.reached = Some((port, key.clone()));
        }
        let text = |text: &str| secret(text).ok_or_else(|| "no secret".to_owned());
        let identity = text(&identity(&key, port))?;
        Ok(Ok(GatewayReady { port, identity, key: text(&key)?, authority: "PEM".to_owned() }))
    }

    /// It is closed. Its requests are over; who waits for a token does so no more.
    pub(super) fn closed(&mut self, daemon: usize, epoch: Epoch) -> Vec<AskId> {
        self.open.remove(&(daemon, epoch));
        let over = self.loans.extract_if(.., |_, loan| (loan.daemon, loan.gateway) == (daemon, epoch));
        over.map(|(id, _)| id).collect()
    }

    /// The daemon has ended. Its commands' clients come back.
    pub(super) fn ended(&mut self, daemon: usize) {
        self.open.retain(|(of, _), _| *of != daemon);
        self.loans.retain(|_, loan| loan.daemon != daemon);
        self.revoking.retain(|_, revoking| revoking.daemon != daemon);
        self.read.retain(|(of, _), _| *of != daemon);
        let lost = self.commands.extract_if(.., |_, command| command.daemon == daemon);
        self.lost.extend(lost.map(|(_, command)| command).filter(|command| command.identity.is_some()));
    }

    /// The keyring gave this for a gateway.
    pub(super) fn has_read(&mut self, daemon: usize, name: &str, held: Option<&str>) {
        let is_revoking = self.revoking.values().any(|revoking| revoking.name == name);
        if let Some(held) = held.filter(|_| !is_revoking) {
            let (key, _) = key_and_port(held);
            if !self.unwanted.contains(&key) {
                self.read.insert((daemon, name.to_owned()), key);
            }
        }
    }

    /// The keyring is asked again.
    pub(super) fn reads(&mut self, daemon: usize, name: &str) {
        self.read.remove(&(daemon, name.to_owned()));
    }

    /// Another keyring is used from now on.
    pub(super) fn moved(&mut self, daemon: usize) {
        self.read.retain(|(of, _), _| *of != daemon);
    }

    fn of(&self, daemon: usize) -> impl Iterator<Item = (Epoch, &Open)> {
        self.open.iter().filter(move |((of, _), _)| *of == daemon).map(|((_, epoch), open)| (*epoch, open))
    }

    /// A gateway of this daemon that tools can reach: what it is called, and its profile.
    pub(super) fn any(&self, chance: &mut Seeded, daemon: usize) -> Option<(Epoch, usize)> {
        let reached: Vec<_> = self.of(daemon).filter(|(_, open)| open.reached.is_some()).collect();
        reached.get(chance.index(reached.len())).map(|(epoch, open)| (*epoch, open.profile))
    }

    /// The name of any gateway of this daemon.
    pub(super) fn any_name(&self, chance: &mut Seeded, daemon: usize) -> Option<String> {
        let names: Vec<_> = self.of(daemon).map(|(_, open)| open.name.clone()).collect();
        names.get(chance.index(names.len())).cloned()
    }

    pub(super) fn lends(&mut self, id: AskId, daemon: usize, gateway: Epoch, profile: usize, deadline: Tick) {
        self.loans.insert(id, Loan { daemon, gateway, profile, deadline });
    }

    /// A gateway reports a token by this request.
    pub(super) fn reports(&mut self, id: AskId) {
        self.reports.insert(id);
    }

    pub(super) fn is_of_gateway(&self, id: AskId) -> bool {
        self.is_lent_to(id) || self.reports.contains(&id)
    }

    pub(super) fn is_lent_to(&self, id: AskId) -> bool {
        self.loans.contains_key(&id)
    }

    /// Whether a gateway was lent this profile's token by the event that is being played.
    pub(super) fn has_served(&self, profile: usize) -> bool {
        self.served.contains(&profile)
    }

    /// A client that lost its daemon, if there is one.
    pub(super) fn comes_back(&mut self, chance: &mut Seeded) -> Option<Command> {
        let at = chance.index(self.lost.len());
        (at < self.lost.len()).then(|| self.lost.swap_remove(at))
    }

    pub(super) fn opens_for(&mut self, id: AskId, command: Command) {
        self.commands.insert(id, command);
    }

    /// Whether this request lasts until somebody ends it.
    pub(super) fn is_of_command(&self, id: AskId) -> bool {
        self.commands.contains_key(&id)
    }

    /// A client hears how its gateway is reached: as it was before, if it had one.
    pub(super) fn told(&mut self, id: AskId, opened: &OpenedGateway) -> Result<(), Broken> {
        let Some(command) = self.commands.get_mut(&id) else {
            return Err(format!("{id:?} is told of gateway {}, which it has not", opened.name));
        };
        let now = opened.identity.as_ref().map(|identity| identity.expose().to_owned());
        if let Some(before) = command.identity.as_ref().filter(|before| now.as_ref() != Some(*before)) {
            return Err(format!("gateway {} was {before} for its command, and is {now:?}", opened.name));
        }
        command.identity = now;
        Ok(())
    }

    /// Somebody wants this gateway's key to be worthless: the one that the daemon knows, or that the keyring `items` has,
    /// `is_there` or not.
    pub(super) fn revokes(&mut self, id: AskId, daemon: usize, name: &str, items: &Items, is_there: bool) {
        self.read.retain(|(_, of), _| of != name);
        let open = self.of(daemon).find(|(_, open)| open.name == name);
        let held = items.get(&account(name)).map(|held| key_and_port(held.expose()).0);
        let key = match open {
            Some((_, open)) => open.reached.as_ref().map(|(_, key)| key.clone()).or_else(|| open.had.clone()),
            None => held.clone().filter(|_| is_there),
        };
        self.unwanted.extend(key.clone().into_iter().chain(held));
        self.revoking.insert(id, Revoking { daemon, name: name.to_owned(), key });
    }

    /// A request is answered. `items`: the keyring, where this daemon is alone and uses it.
    pub(super) fn answered(
        &mut self,
        id: AskId,
        reply: &Reply,
        items: Option<&Items>,
        now: Tick,
    ) -> Result<(), Broken> {
        if matches!(reply, Reply::Done) {
            self.done = Some(self.done.map_or(id, |first| first.min(id)));
        }
        if let Some(command) = self.commands.remove(&id)
            && let (Reply::Error(_), true) = (reply, command.identity.is_some())
        {
            self.lost.push(command);
        }
        if let (Some(Revoking { daemon, name, key: Some(key) }), Reply::Done) =
            (self.revoking.remove(&id), reply)
        {
            self.is_worthless(daemon, &name, &key, items)?;
        }
        let (Some(loan), Reply::Token(token)) = (self.loans.remove(&id), reply) else { return Ok(()) };
        let Some(open) = self.open.get(&(loan.daemon, loan.gateway)) else { return Ok(()) };
        // Whoever is out of time is given a token that others wait to see saved.
        if now < loan.deadline {
            self.served.insert(loan.profile);
        }
        let key = open.reached.as_ref().map(|(_, key)| key);
        match key.filter(|key| self.revoked.contains(*key)) {
            Some(key) => Err(format!("gateway {} lends a token for {key}, which was revoked", open.name)),
            None if number_of(&token.profile) != open.profile => {
                Err(format!("gateway {} lends a token of {}", open.name, token.profile))
            }
            None => Ok(()),
        }
    }

    /// A revoked key opens nothing, and a new daemon would not find it.
    fn is_worthless(
        &mut self,
        daemon: usize,
        name: &str,
        key: &str,
        items: Option<&Items>,
    ) -> Result<(), Broken> {
        let has_key = |open: &Open| open.reached.as_ref().is_some_and(|(_, own)| own == key);
        if self.of(daemon).any(|(_, open)| has_key(open)) {
            return Err(format!("{key} of gateway {name} was revoked, and lets in"));
        }
        let Some(items) = items else { return Ok(()) };
        if items.get(&account(name)).is_some_and(|held| key_and_port(held.expose()).0 == key) {
            return Err(format!("{key} of gateway {name} was revoked, and the keyring has it"));
        }
        self.revoked.insert(key.to_owned());
        Ok(())
    }

    pub(super) fn left(&mut self, id: AskId) {
        self.commands.remove(&id);
        self.revoking.remove(&id);
        self.loans.remove(&id);
    }

    /// An event begins.
    pub(super) fn begins(&mut self) {
        self.served.clear();
        self.done = None;
    }

    /// An event is over: who waited for the same token has it, each gateway is one of the config file or of a client that
    /// is there, and a daemon that stops has none.
    pub(super) fn is_in_order(
        &self,
        daemon: usize,
        config: &ConfigFile,
        is_ending: bool,
        is_open: impl Fn(AskId) -> bool,
    ) -> Result<(), Broken> {
        let waits = |(id, loan): &(&AskId, &Loan)| {
            let came_before = self.done.is_none_or(|done| **id < done);
            loan.daemon == daemon && came_before && self.served.contains(&loan.profile)
        };
        if let Some((id, loan)) = self.loans.iter().find(waits) {
            return Err(format!("{id:?} waits for profile {}, though others were served", loan.profile));
        }
        for (epoch, Open { name, profile, lives_for, reached, had: _ }) in self.of(daemon) {
            let port = reached.as_ref().map(|(port, _)| *port);
            let is_right = match lives_for {
                Some(id) => is_open(*id) && config.of(*profile).is_there,
                None => config.has_gateway(name, *profile, port),
            };
            if is_ending || !is_right {
                return Err(format!("gateway {name} is open as {epoch:?} for profile {profile}, for nobody"));
            }
        }
        Ok(())
    }

    /// A gateway of the config file is open, and the keyring has its key.
    pub(super) fn is_kept(&self, daemon: usize, name: &str, items: Option<&Items>) -> Result<(), Broken> {
        let open = self.of(daemon).find(|(_, open)| open.name == name);
        let Some((port, key)) = open.and_then(|(_, open)| open.reached.as_ref()) else {
            return Err(format!("gateway {name} is not open though all is well"));
        };
        let Some(items) = items else { return Ok(()) };
        match items.get(&account(name)).map(|held| held.expose().to_owned()) {
            Some(held) if held == identity(key, *port) => Ok(()),
            held => Err(format!("gateway {name} has {key} at {port}, and the keyring has {held:?}")),
        }
    }
}
