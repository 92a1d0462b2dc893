//! `store`, `get` and `erase` of static credentials: one list for each server, read when it is first needed, one request
//! after the other.
//! Does not: know profiles, which come first, or how credentials are matched (`static_record` does).
//! Met by: `broker`, for servers that no profile is for.

use std::collections::{BTreeMap, VecDeque};

use rally_cred_proto::{
    Answer, Fault, FaultKind, Origin,
    message::{Erase, Get, StaticCredential, Store, Target},
};

use super::{
    account::Turn,
    event::{AskId, Effect, Entry as LogEntry, Epoch, Peer},
    policy,
    profile::{Keyring, StaticHosts},
    record::Decoded,
    static_record::{Entry, StaticRecord, Wanted},
    time::{Tick, Ticks},
    vault::{ItemKey, ItemKind, VaultTrouble},
};

/// The static credentials of every server that they are kept for.
#[derive(Debug, Default)]
pub(super) struct StaticCredentials {
    hosts: StaticHosts,
    shelves: BTreeMap<Server, Shelf>,
}

/// A server: git's protocol and host, in lower case.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Server {
    protocol: String,
    host: String,
}

/// What is known of one server's credentials, and who waits for it.
#[derive(Debug)]
struct Shelf {
    server: Server,
    known: Known,
    /// What was stored while no keyring answered; it goes there as soon as one does.
    unkept: StaticRecord,
    writing: Option<Writing>,
    waiting: VecDeque<Waiting>,
}

#[derive(Debug)]
enum Known {
    Unread,
    Loading(Epoch),
    Held(StaticRecord),
}

/// A write on its way to the vault, and whom to answer: nobody, if they left or had no time left.
#[derive(Debug)]
struct Writing {
    epoch: Epoch,
    ask: Option<(AskId, Tick)>,
}

#[derive(Debug)]
struct Waiting {
    id: AskId,
    deadline: Tick,
    wants: Wants,
}

#[derive(Debug)]
enum Wants {
    Get { peer: Peer, wanted: Wanted, takes_authtype: bool },
    Store(Entry),
    Erase(Wanted),
}

/// How long `store` and `erase` may take; each call of the vault has its own, shorter limit.
const PATIENCE: Ticks = Ticks::seconds(120);

impl StaticCredentials {
    pub(super) fn new(hosts: StaticHosts) -> Self {
        Self { hosts, shelves: BTreeMap::new() }
    }

    /// Answers a `get`, at once or later. `false` if no static credentials are kept for its server.
    pub(super) fn get(&mut self, turn: &mut Turn<'_>, id: AskId, peer: Peer, get: &Get) -> bool {
        let Some(server) = self.server_of(&get.target) else { return false };
        let wait = Ticks::seconds(u64::from(get.wait)).min(policy::LONGEST_WAIT);
        let Target { path, username, .. } = get.target.clone();
        let wanted = Wanted { path, username, ..Wanted::default() };
        let wants = Wants::Get { peer, wanted, takes_authtype: get.takes_authtype };
        self.ask(turn, server, Waiting { id, deadline: turn.now.tick + wait, wants });
        true
    }

    /// Answers a `store`, at once or later.
    pub(super) fn store(&mut self, turn: &mut Turn<'_>, id: AskId, store: Store) {
        let Store { protocol, host, path, credential } = store;
        let target = Target { protocol: Some(protocol), host: Some(host), ..Target::default() };
        let has_ended = credential.password_expiry_utc.is_some_and(|ends| ends <= turn.now.wall.0);
        match self.server_of(&target) {
            Some(server) if credential.is_complete() && !has_ended => {
                let wants = Wants::Store(Entry { path, credential });
                self.ask(turn, server, Waiting { id, deadline: turn.now.tick + PATIENCE, wants });
            }
            _ => turn.reply(id, Answer::Done),
        }
    }

    /// Answers an `erase`, at once or later.
    pub(super) fn erase(&mut self, turn: &mut Turn<'_>, id: AskId, erase: Erase) {
        let Some(server) = self.server_of(&erase.target) else { return turn.reply(id, Answer::Done) };
        let Erase { target: Target { path, username, .. }, token, credential } = erase;
        let wants = Wants::Erase(Wanted { path, username, password: token, credential });
        self.ask(turn, server, Waiting { id, deadline: turn.now.tick + PATIENCE, wants });
    }

    fn ask(&mut self, turn: &mut Turn<'_>, server: Server, waiting: Waiting) {
        let shelf = self.shelves.entry(server.clone()).or_insert_with(|| Shelf::new(server.clone()));
        shelf.waiting.push_back(waiting);
        shelf.advance(turn);
        self.forget_idle();
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
        turn: &mut Turn<'_>,
        epoch: Epoch,
        outcome: &Result<Option<rally_cred_proto::Secret>, VaultTrouble>,
    ) -> bool {
        let is_its = |shelf: &&mut Shelf| matches!(shelf.known, Known::Loading(own) if own == epoch);
        let Some(shelf) = self.shelves.values_mut().find(is_its) else { return false };
        shelf.loaded(turn, outcome);
        shelf.advance(turn);
        self.forget_idle();
        true
    }

    /// Takes the vault's word on a save or an erase. `false` if the job is none of these.
    pub(super) fn written(
        &mut self,
        turn: &mut Turn<'_>,
        epoch: Epoch,
        outcome: &Result<(), VaultTrouble>,
    ) -> bool {
        let is_its = |shelf: &&mut Shelf| matches!(&shelf.writing, Some(writing) if writing.epoch == epoch);
        let Some(shelf) = self.shelves.values_mut().find(is_its) else { return false };
        shelf.written(turn, outcome);
        shelf.advance(turn);
        self.forget_idle();
        true
    }

    /// Lets a client go that left. What it has begun to write goes on.
    pub(super) fn left(&mut self, id: AskId) {
        for shelf in self.shelves.values_mut() {
            shelf.waiting.retain(|waiting| waiting.id != id);
            if let Some(writing) = &mut shelf.writing {
                writing.ask = writing.ask.take().filter(|(own, _)| *own != id);
            }
        }
    }

    /// When [`StaticCredentials::time_passed`] has something to do though nothing happens.
    pub(super) fn next_deadline(&self) -> Option<Tick> {
        let shelves = self.shelves.values();
        shelves
            .flat_map(|shelf| {
                let writing = shelf.writing.as_ref().and_then(|writing| writing.ask);
                shelf.waiting.iter().map(|waiting| waiting.deadline).chain(writing.map(|(_, at)| at))
            })
            .min()
    }

    /// Turns those away whose time has run out.
    pub(super) fn time_passed(&mut self, turn: &mut Turn<'_>) {
        let now = turn.now.tick;
        let fault = Fault::new(FaultKind::TimedOut, "the keyring did not answer in time")
            .remedy("unlock the keyring, then ask again");
        self.turn_away(turn, &fault, |deadline| deadline <= now);
    }

    /// Turns everybody away, as when the daemon stops.
    pub(super) fn fail_all(&mut self, turn: &mut Turn<'_>, fault: &Fault) {
        self.turn_away(turn, fault, |_| true);
    }

    fn turn_away(&mut self, turn: &mut Turn<'_>, fault: &Fault, is_meant: impl Fn(Tick) -> bool) {
        for shelf in self.shelves.values_mut() {
            let waiting = std::mem::take(&mut shelf.waiting);
            let (late, others): (VecDeque<_>, _) =
                waiting.into_iter().partition(|waiting| is_meant(waiting.deadline));
            shelf.waiting = others;
            for waiting in late {
                refuse(turn, &waiting, fault);
            }
            if let Some(writing) = &mut shelf.writing
                && let Some((id, _)) = writing.ask.take_if(|(_, deadline)| is_meant(*deadline))
            {
                turn.reply(id, Answer::Error(fault.clone()));
            }
        }
        self.forget_idle();
    }

    /// Whether something is on its way into the vault.
    pub(super) fn is_unsettled(&self) -> bool {
        self.shelves.values().any(|shelf| shelf.writing.is_some())
    }

    /// Whether a new process would find everything again, and nobody waits.
    pub(super) fn is_forgettable(&self) -> bool {
        let is_forgettable =
            |shelf: &Shelf| shelf.unkept.is_empty() && shelf.waiting.is_empty() && shelf.writing.is_none();
        self.shelves.values().all(is_forgettable)
    }

    /// Puts a new configuration into force: everything is read again, perhaps from another vault.
    pub(super) fn apply(&mut self, turn: &mut Turn<'_>, hosts: StaticHosts) {
        self.hosts = hosts;
        for shelf in self.shelves.values_mut() {
            shelf.known = Known::Unread;
            shelf.advance(turn);
        }
        self.forget_idle();
    }

    /// The servers, as `status` names them.
    pub(super) fn host_names(&self) -> Vec<String> {
        self.hosts.names()
    }

    /// A server of which nothing is held takes no room: with `*`, git asks here for every server it meets.
    fn forget_idle(&mut self) {
        self.shelves.retain(|_, shelf| {
            let has_work = shelf.writing.is_some() || !shelf.waiting.is_empty() || !shelf.unkept.is_empty();
            has_work || matches!(&shelf.known, Known::Held(record) if !record.is_empty())
        });
    }
}

impl Shelf {
    fn new(server: Server) -> Self {
        Self {
            server,
            known: Known::Unread,
            unkept: StaticRecord::default(),
            writing: None,
            waiting: VecDeque::new(),
        }
    }

    fn name(&self) -> String {
        format!("{}://{}", self.server.protocol, self.server.host)
    }

    fn key(&self) -> ItemKey {
        ItemKey { kind: ItemKind::StaticCredentials, name: self.name() }
    }

    /// Answers whoever can be answered, in the order in which they came.
    fn advance(&mut self, turn: &mut Turn<'_>) {
        while self.writing.is_none() && !self.waiting.is_empty() {
            let Known::Held(record) = &mut self.known else {
                if matches!(self.known, Known::Unread) {
                    let epoch = turn.epoch();
                    self.known = Known::Loading(epoch);
                    turn.effects.push(Effect::Load(epoch, self.key()));
                }
                return;
            };
            let Some(Waiting { id, deadline, wants }) = self.waiting.pop_front() else { return };
            let has_changed = match wants {
                Wants::Get { peer, wanted, takes_authtype } => {
                    let found = record.find(turn.now.wall, &wanted, takes_authtype).cloned();
                    self.answer_get(turn, id, peer, found);
                    continue;
                }
                Wants::Store(entry) => record.put(entry),
                Wants::Erase(wanted) => record.remove(&wanted),
            };
            match has_changed {
                true => self.write(turn, Some((id, deadline))),
                false => turn.reply(id, Answer::Done),
            }
        }
    }

    fn answer_get(
        &self,
        turn: &mut Turn<'_>,
        id: AskId,
        peer: Peer,
        found: Option<rally_cred_proto::git::Credential>,
    ) {
        let Some(credential) = found else { return turn.reply(id, Answer::NoMatch) };
        turn.effects.push(Effect::Log(LogEntry::HandedStatic { server: self.name(), peer }));
        let Server { protocol, host } = self.server.clone();
        turn.reply(id, Answer::StaticCredential(StaticCredential { protocol, host, credential }));
    }

    /// Brings what is held to the vault.
    fn write(&mut self, turn: &mut Turn<'_>, ask: Option<(AskId, Tick)>) {
        let Known::Held(record) = &self.known else { return };
        let epoch = turn.epoch();
        match record.encode().filter(|_| !record.is_empty()) {
            Some(text) => turn.effects.push(Effect::Save(epoch, self.key(), text)),
            None => turn.effects.push(Effect::Erase(epoch, self.key())),
        }
        self.writing = Some(Writing { epoch, ask });
    }

    fn loaded(
        &mut self,
        turn: &mut Turn<'_>,
        outcome: &Result<Option<rally_cred_proto::Secret>, VaultTrouble>,
    ) {
        let record = match outcome {
            Ok(None) => Ok(StaticRecord::default()),
            Ok(Some(text)) => match StaticRecord::decode(text) {
                Decoded::Ours(record) => Ok(record),
                Decoded::OfOther | Decoded::Damaged => Err(self.unreadable("it is damaged")),
                Decoded::Later => Err(self.unreadable("a later version of rally-cred wrote it")),
            },
            Err(VaultTrouble::Missing(_)) if turn.keyring == Keyring::Auto => {
                return self.serve_without_keyring(turn);
            }
            Err(trouble) => Err(trouble.fault()),
        };
        match record {
            Ok(mut record) => {
                let has_more = record.put_all(std::mem::take(&mut self.unkept));
                self.known = Known::Held(record);
                if has_more {
                    self.write(turn, None);
                }
            }
            Err(fault) => {
                self.known = Known::Unread;
                turn.coped(&self.name(), &fault);
                for waiting in std::mem::take(&mut self.waiting) {
                    refuse(turn, &waiting, &fault);
                }
            }
        }
    }

    /// Where no keyring answers, and the config file allows it, memory stands in for it until one does.
    fn serve_without_keyring(&mut self, turn: &mut Turn<'_>) {
        self.known = Known::Unread;
        for Waiting { id, wants, .. } in std::mem::take(&mut self.waiting) {
            match wants {
                Wants::Get { peer, wanted, takes_authtype } => {
                    let found = self.unkept.find(turn.now.wall, &wanted, takes_authtype).cloned();
                    self.answer_get(turn, id, peer, found);
                }
                Wants::Store(entry) => {
                    if self.unkept.put(entry) {
                        turn.effects.push(Effect::Tell(id, Answer::Notice(self.in_memory_only())));
                    }
                    turn.reply(id, Answer::Done);
                }
                Wants::Erase(wanted) => {
                    self.unkept.remove(&wanted);
                    turn.reply(id, Answer::Done);
                }
            }
        }
    }

    /// What did not get into the vault is not held either: whoever stored it was told so.
    fn written(&mut self, turn: &mut Turn<'_>, outcome: &Result<(), VaultTrouble>) {
        let Some(Writing { ask, .. }) = self.writing.take() else { return };
        match (outcome, ask) {
            (Ok(()), Some((id, _))) => turn.reply(id, Answer::Done),
            (Ok(()), None) => {}
            (Err(trouble), ask) => {
                if let (VaultTrouble::Missing(_), Keyring::Auto, Known::Held(record)) =
                    (trouble, turn.keyring, &self.known)
                {
                    // The keyring left between reading and writing: what is held is all that there is.
                    self.unkept = record.clone();
                    if let Some((id, _)) = ask {
                        turn.effects.push(Effect::Tell(id, Answer::Notice(self.in_memory_only())));
                        turn.reply(id, Answer::Done);
                    }
                } else {
                    let fault = trouble.fault();
                    turn.coped(&self.name(), &fault);
                    if let Some((id, _)) = ask {
                        turn.reply(id, Answer::Error(fault));
                    }
                }
                self.known = Known::Unread;
            }
        }
    }

    fn unreadable(&self, why: &str) -> Fault {
        let name = self.name();
        Fault::new(FaultKind::VaultFailed, format!("the stored credentials of {name} are not understood"))
            .why(why)
            .remedy(format!("take the item {} out of the keyring", self.key().account()))
    }

    fn in_memory_only(&self) -> Fault {
        Fault::new(
            FaultKind::VaultMissing,
            format!("the credential of {} is kept in memory only", self.name()),
        )
        .why("no keyring answers")
        .remedy("start gnome-keyring or KWallet; it goes there with the next request")
    }
}

/// A `get` that cannot be looked up is none of ours, so that git asks its other helpers, and is told why.
fn refuse(turn: &mut Turn<'_>, waiting: &Waiting, fault: &Fault) {
    match waiting.wants {
        Wants::Get { .. } => {
            turn.effects.push(Effect::Tell(waiting.id, Answer::Notice(fault.clone())));
            turn.reply(waiting.id, Answer::NoMatch);
        }
        Wants::Store(_) | Wants::Erase(_) => turn.reply(waiting.id, Answer::Error(fault.clone())),
    }
}
