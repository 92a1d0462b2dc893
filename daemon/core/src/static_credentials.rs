//! `store`, `get` and `erase` of static credentials: which server a request is for, and whether any are kept for it.
//! Does not: know profiles, which come first, or what is kept (`static_shelf` does, for each server).
//! Used by: `broker`, for servers that no profile is for.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use rally_cred_proto::{
    Answer, Fault, FaultKind, Origin, Secret,
    message::{Erase, Get, Store, Target},
};

use super::{
    account::Step,
    event::{AskId, Epoch, Peer},
    policy,
    profile::StaticHosts,
    static_record::{Entry, Wanted},
    static_shelf::{HostStore, Known, Server, Waiting, Wants, refuse},
    time::{Tick, Ticks},
    vault::{Changed, VaultTrouble},
};

/// The static credentials of every server that they are kept for.
#[derive(Debug, Default)]
pub(super) struct StaticCredentials {
    hosts: StaticHosts,
    shelves: BTreeMap<Server, HostStore>,
    /// Those that wait for the vault, or that somebody waits for: a few, however many are held.
    busy: BTreeSet<Server>,
}

/// How long `store` and `erase` may take; each call of the vault has its own, shorter limit.
const PATIENCE: Ticks = Ticks::seconds(120);

impl StaticCredentials {
    pub(super) fn new(hosts: StaticHosts) -> Self {
        Self { hosts, ..Self::default() }
    }

    /// Answers a `get`, at once or later. `false` if no static credentials are kept for its server.
    pub(super) fn get(&mut self, step: &mut Step<'_>, id: AskId, peer: Peer, get: &Get) -> bool {
        let Some(server) = self.server_of(&get.target) else { return false };
        let wait = Ticks::seconds(u64::from(get.wait)).min(policy::LONGEST_WAIT);
        let Target { path, username, .. } = get.target.clone();
        let wanted = Wanted { path, username, ..Wanted::default() };
        let wants = Wants::Get { peer, wanted, takes_authtype: get.takes_authtype };
        self.ask(step, server, Waiting { id, deadline: step.now.tick + wait, wants });
        true
    }

    /// Answers a `store`, at once or later.
    pub(super) fn store(&mut self, step: &mut Step<'_>, id: AskId, store: Store) {
        let Store { protocol, host, path, credential } = store;
        let target = Target { protocol: Some(protocol), host: Some(host), ..Target::default() };
        let has_ended = credential.password_expiry_utc.is_some_and(|ends| ends <= step.now.wall.0);
        match self.server_of(&target) {
            Some(server) if credential.is_complete() && !has_ended => {
                let wants = Wants::Store(Entry { path, credential });
                self.ask(step, server, Waiting { id, deadline: step.now.tick + PATIENCE, wants });
            }
            _ => step.reply(id, Answer::Done),
        }
    }

    /// Answers an `erase`, at once or later.
    pub(super) fn erase(&mut self, step: &mut Step<'_>, id: AskId, erase: Erase) {
        let Some(server) = self.server_of(&erase.target) else { return step.reply(id, Answer::Done) };
        let Erase { target: Target { path, username, .. }, token, credential } = erase;
        let wants = Wants::Erase(Wanted { path, username, password: token, credential });
        self.ask(step, server, Waiting { id, deadline: step.now.tick + PATIENCE, wants });
    }

    fn ask(&mut self, step: &mut Step<'_>, server: Server, waiting: Waiting) {
        let shelf = self.shelves.entry(server.clone()).or_insert_with(|| HostStore::new(server.clone()));
        shelf.waiting.push_back(waiting);
        shelf.advance(step);
        self.settle(server);
    }

    /// The server of a request, if static credentials are kept for it.
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

    /// Takes what the vault gave. `false` if the job is none of these.
    pub(super) fn loaded(
        &mut self,
        step: &mut Step<'_>,
        epoch: Epoch,
        outcome: &Result<Option<Secret>, VaultTrouble>,
    ) -> bool {
        let is_its =
            |shelf: &HostStore| matches!(shelf.known, Known::Loading { epoch: own, .. } if own == epoch);
        self.with_busy(is_its, |shelf| {
            shelf.loaded(step, outcome);
            shelf.advance(step);
        })
    }

    /// Takes the vault's word on a write. `false` if the job is none of these.
    pub(super) fn changed(
        &mut self,
        step: &mut Step<'_>,
        epoch: Epoch,
        outcome: &Result<Changed, VaultTrouble>,
    ) -> bool {
        let is_its = |shelf: &HostStore| matches!(&shelf.writing, Some(writing) if writing.epoch == epoch);
        self.with_busy(is_its, |shelf| {
            shelf.changed(step, outcome);
            shelf.advance(step);
        })
    }

    /// Lets a client go that left. What it has begun to write goes on.
    pub(super) fn left(&mut self, id: AskId) {
        self.with_each_busy(|shelf| {
            shelf.waiting.retain(|waiting| waiting.id != id);
            if let Some(writing) = &mut shelf.writing {
                writing.ask = writing.ask.take().filter(|(own, _)| *own != id);
            }
        });
    }

    /// When [`StaticCredentials::time_passed`] has something to do though nothing happens.
    pub(super) fn next_deadline(&self) -> Option<Tick> {
        self.busy_shelves()
            .flat_map(|shelf| {
                let writing = shelf.writing.as_ref().and_then(|writing| writing.ask);
                shelf.waiting.iter().map(|waiting| waiting.deadline).chain(writing.map(|(_, at)| at))
            })
            .min()
    }

    /// Turns those away whose time has run out.
    pub(super) fn time_passed(&mut self, step: &mut Step<'_>) {
        let now = step.now.tick;
        let fault = Fault::new(FaultKind::TimedOut, "the keyring did not answer in time")
            .remedy("unlock the keyring, then ask again");
        self.turn_away(step, &fault, |deadline| deadline <= now);
    }

    /// Turns everybody away, as when the daemon stops.
    pub(super) fn fail_all(&mut self, step: &mut Step<'_>, fault: &Fault) {
        self.turn_away(step, fault, |_| true);
    }

    fn turn_away(&mut self, step: &mut Step<'_>, fault: &Fault, is_meant: impl Fn(Tick) -> bool) {
        self.with_each_busy(|shelf| {
            let waiting = std::mem::take(&mut shelf.waiting);
            let (late, others): (VecDeque<_>, _) =
                waiting.into_iter().partition(|waiting| is_meant(waiting.deadline));
            shelf.waiting = others;
            for waiting in late {
                refuse(step, &waiting, fault);
            }
            if let Some(writing) = &mut shelf.writing
                && let Some((id, _)) = writing.ask.take_if(|(_, deadline)| is_meant(*deadline))
            {
                step.reply(id, Answer::Error(fault.clone()));
            }
        });
    }

    /// Whether something is on its way into the vault.
    pub(super) fn is_unsettled(&self) -> bool {
        self.busy_shelves().any(|shelf| shelf.writing.is_some())
    }

    /// Whether a new process would find everything again, and nobody waits.
    pub(super) fn is_forgettable(&self) -> bool {
        !self.shelves.values().any(HostStore::has_work)
    }

    /// Puts a new configuration into force: everything is read again, perhaps from another vault.
    pub(super) fn apply(&mut self, step: &mut Step<'_>, hosts: StaticHosts) {
        self.hosts = hosts;
        let servers: Vec<_> = self.shelves.keys().cloned().collect();
        for server in servers {
            if let Some(shelf) = self.shelves.get_mut(&server) {
                shelf.known = Known::Unread;
                shelf.advance(step);
            }
            self.settle(server);
        }
    }

    /// The servers, as `status` names them.
    pub(super) fn host_names(&self) -> Vec<String> {
        self.hosts.names()
    }

    fn busy_shelves(&self) -> impl Iterator<Item = &HostStore> {
        self.busy.iter().filter_map(|server| self.shelves.get(server))
    }

    /// `false` if there is no such shelf.
    fn with_busy(&mut self, is_meant: impl Fn(&HostStore) -> bool, act: impl FnOnce(&mut HostStore)) -> bool {
        let meant = self.busy.iter().find(|server| self.shelves.get(server).is_some_and(&is_meant)).cloned();
        let Some(server) = meant else { return false };
        self.shelves.get_mut(&server).map(act);
        self.settle(server);
        true
    }

    fn with_each_busy(&mut self, mut act: impl FnMut(&mut HostStore)) {
        for server in self.busy.clone() {
            self.shelves.get_mut(&server).map(&mut act);
            self.settle(server);
        }
    }

    /// Notes whether a server is busy after something happened to it. One of which nothing is held takes no room: with
    /// `*`, git asks here for every server it meets.
    fn settle(&mut self, server: Server) {
        let shelf = self.shelves.get(&server);
        if shelf.is_some_and(HostStore::is_idle) {
            self.shelves.remove(&server);
            self.busy.remove(&server);
        } else if shelf.is_some_and(HostStore::is_busy) {
            self.busy.insert(server);
        } else {
            self.busy.remove(&server);
        }
    }
}
