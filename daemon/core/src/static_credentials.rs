//! `store`, `get` and `erase` of static credentials: which server a request is for, and whether it is configured.
//! Does not: know profiles, which come first, or what is kept (`static_store` does, for each server).
//! Used by: `broker`, for servers without a profile.

use std::collections::{BTreeMap, BTreeSet};

use rally_cred_proto::{
    Fault, FaultKind, Origin, Reply,
    message::{Erase, Get, Store, Target, WaitingOn},
};

use super::{
    event::{AskId, Epoch, Outcome},
    lock::locked,
    policy,
    profile::{Keyring, StaticHosts},
    static_record::{Entry, Server, Wanted},
    static_store::{HostStore, Waiting, Wants},
    step::Step,
    time::{Tick, Ticks},
};

#[derive(Debug, Default)]
pub(super) struct StaticCredentials {
    hosts: StaticHosts,
    stores: BTreeMap<Server, HostStore>,
    /// Those that wait for the vault or a deadline: a few, however many are held.
    busy: BTreeSet<Server>,
}

/// How long `store` and `erase` may take; each call of the vault has a shorter limit.
const PATIENCE: Ticks = Ticks::seconds(120);

impl StaticCredentials {
    pub(super) fn new(hosts: StaticHosts) -> Self {
        Self { hosts, ..Self::default() }
    }

    /// Answers a `get`, now or later. `false` if its server is not configured.
    pub(super) fn get(&mut self, step: &mut Step<'_>, id: AskId, get: &Get) -> bool {
        let Some(server) = self.server_of(&get.target) else { return false };
        let wait = Ticks::seconds(u64::from(get.wait)).min(policy::LONGEST_WAIT);
        let Target { path, username, .. } = get.target.clone();
        let wanted = Wanted { path, username, ..Wanted::default() };
        let (takes_authtype, awaits_unlock) = (get.takes_authtype, get.awaits_unlock);
        let wants = Wants::Get { wanted, takes_authtype, awaits_unlock };
        self.ask(step, server, Waiting::new(id, step.now.tick + wait, wants));
        true
    }

    pub(super) fn store(&mut self, step: &mut Step<'_>, id: AskId, store: Store) {
        let Store { protocol, host, path, credential } = store;
        let target = Target { protocol: Some(protocol), host: Some(host), ..Target::default() };
        let has_ended = credential.password_expiry_utc.is_some_and(|ends| ends <= step.now.wall.0);
        match self.server_of(&target) {
            Some(server) if credential.is_complete() && !has_ended => {
                let wants = Wants::Store(Entry { path, credential });
                self.ask(step, server, Waiting::new(id, step.now.tick + PATIENCE, wants));
            }
            _ => step.reply(id, Reply::Done),
        }
    }

    pub(super) fn erase(&mut self, step: &mut Step<'_>, id: AskId, erase: Erase) {
        let Some(server) = self.server_of(&erase.target) else { return step.reply(id, Reply::Done) };
        let Erase { target: Target { path, username, .. }, token, credential } = erase;
        let wants = Wants::Erase(Wanted { path, username, password: token, credential });
        self.ask(step, server, Waiting::new(id, step.now.tick + PATIENCE, wants));
    }

    fn ask(&mut self, step: &mut Step<'_>, server: Server, waiting: Waiting) {
        if step.is_locked {
            if !matches!(waiting.wants, Wants::Get { .. }) {
                return step.refuse(waiting.id, locked());
            }
            step.tell_waiting(waiting.id, &server.name(), WaitingOn::Unlock);
        }
        let store = self.stores.entry(server.clone()).or_insert_with(|| HostStore::new(server.clone()));
        store.ask(step, waiting);
        self.settle(server);
    }

    /// The server of a request, if it is configured.
    fn server_of(&self, target: &Target) -> Option<Server> {
        let server = match target {
            Target { uri: Some(uri), .. } => {
                let origin = Origin::from_uri(uri)?.to_string();
                let (protocol, host) = origin.split_once("://")?;
                Server { protocol: protocol.to_owned(), host: host.to_owned() }
            }
            Target { protocol: Some(protocol), host: Some(host), .. } => {
                Server { protocol: protocol.to_ascii_lowercase(), host: host.to_ascii_lowercase() }
            }
            _ => return None,
        };
        let is_whole = !server.protocol.is_empty() && !server.host.is_empty();
        (is_whole && self.hosts.cover(&server.protocol, &server.host)).then_some(server)
    }

    /// Takes the outcome of a job. `false` if it is stale.
    pub(super) fn heard(
        &mut self,
        step: &mut Step<'_>,
        server: Server,
        epoch: Epoch,
        outcome: &Outcome,
    ) -> bool {
        let is_current = self.stores.get_mut(&server).is_some_and(|store| store.heard(step, epoch, outcome));
        self.settle(server);
        is_current
    }

    pub(super) fn left(&mut self, id: AskId) {
        self.with_each_busy(|store| store.left(id));
    }

    /// When [`StaticCredentials::time_passed`] has something to do though no event comes.
    pub(super) fn next_deadline(&self) -> Option<Tick> {
        self.busy_stores().filter_map(HostStore::next_deadline).min()
    }

    /// Forgets what the vault has; whoever asks for a credential waits from now on, and others are refused.
    pub(super) fn lock(&mut self, step: &mut Step<'_>) {
        let servers = self.stores.keys().cloned().collect();
        self.with_each(servers, |store| store.lock(step));
    }

    /// Serves those who waited.
    pub(super) fn unlock(&mut self, step: &mut Step<'_>) {
        self.with_each_busy(|store| store.unlock(step));
    }

    /// Whether something waits for the vault to be unlocked, or to come.
    pub(super) fn await_vault(&self) -> bool {
        self.busy_stores().any(HostStore::awaits_vault)
    }

    /// Goes on with that.
    pub(super) fn vault_unlocked(&mut self, step: &mut Step<'_>) {
        self.with_each_busy(|store| store.vault_unlocked(step));
    }

    /// What stays in memory of a locked daemon, as whoever locked is told.
    pub(super) fn unforgotten(&self, keyring: &Keyring) -> Option<Fault> {
        let is_memory = *keyring == Keyring::Memory && self.hosts != StaticHosts::default();
        let unkept = self.stores.values().find(|store| store.has_unkept()).map(|store| store.server().name());
        let whose = unkept.or_else(|| is_memory.then(|| "every server".to_owned()))?;
        let what = format!("the credentials of {whose} stay in memory");
        Some(Fault::new(FaultKind::VaultMissing, what).why("no keyring has them"))
    }

    /// Refuses those whose time is up.
    pub(super) fn time_passed(&mut self, step: &mut Step<'_>) {
        let now = step.now.tick;
        let fault = match step.is_locked {
            true => locked(),
            false => Fault::new(FaultKind::TimedOut, "the keyring did not answer in time")
                .remedy("unlock the keyring, then ask again"),
        };
        self.with_each_busy(|store| store.turn_away(step, &fault, |deadline| deadline <= now));
    }

    pub(super) fn fail_all(&mut self, step: &mut Step<'_>, fault: &Fault) {
        self.with_each_busy(|store| store.turn_away(step, fault, |_| true));
    }

    pub(super) fn is_unsettled(&self) -> bool {
        self.busy_stores().any(HostStore::is_writing)
    }

    /// Whether a new process would find everything, and nobody waits.
    pub(super) fn is_forgettable(&self, keyring: &Keyring) -> bool {
        let is_memory = keyring.is_memory();
        !self.stores.values().any(|store| store.has_work() || is_memory && store.has_credentials())
    }

    /// Tries to save what only memory has.
    pub(super) fn keep_what_memory_has(&mut self, step: &mut Step<'_>) {
        let unkept = self.stores.iter().filter(|(_, store)| store.has_unkept());
        let servers: Vec<_> = unkept.map(|(server, _)| server.clone()).collect();
        self.with_each(servers, |store| store.keep(step));
    }

    /// Applies a new configuration. Everything is read again, perhaps from another vault; only what memory keeps as the
    /// vault is known to be unchanged.
    pub(super) fn apply(&mut self, step: &mut Step<'_>, hosts: StaticHosts, has_other_vault: bool) {
        self.hosts = hosts;
        let is_known = step.keyring.is_memory() && !has_other_vault;
        let servers: Vec<_> = self.stores.keys().filter(|_| !is_known).cloned().collect();
        self.with_each(servers, |store| store.read_again(step));
    }

    pub(super) fn host_names(&self) -> Vec<String> {
        self.hosts.names()
    }

    fn busy_stores(&self) -> impl Iterator<Item = &HostStore> {
        self.busy.iter().filter_map(|server| self.stores.get(server))
    }

    fn with_each_busy(&mut self, act: impl FnMut(&mut HostStore)) {
        self.with_each(self.busy.iter().cloned().collect(), act);
    }

    fn with_each(&mut self, servers: Vec<Server>, mut act: impl FnMut(&mut HostStore)) {
        for server in servers {
            self.stores.get_mut(&server).map(&mut act);
            self.settle(server);
        }
    }

    /// Updates whether a server is busy. One with nothing held is removed: with `*`, git asks here about every server
    /// it meets.
    fn settle(&mut self, server: Server) {
        let store = self.stores.get(&server);
        if store.is_some_and(HostStore::is_idle) {
            self.stores.remove(&server);
            self.busy.remove(&server);
        } else if store.is_some_and(HostStore::is_busy) {
            self.busy.insert(server);
        } else {
            self.busy.remove(&server);
        }
    }
}
