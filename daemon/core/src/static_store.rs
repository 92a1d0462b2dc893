//! One server's static credentials: read when they are first needed and before each change, since another daemon may
//! use the same keyring. Requests are served one after the other, and each write is in the vault before it is answered.
//! Does not: know which servers there are (`static_credentials` does), or how credentials match (`static_record` does).
//! Used by: `static_credentials`.

use std::collections::VecDeque;

use rally_cred_proto::{
    Fault, FaultKind, Reply, Secret,
    git::Credential,
    message::{StaticCredential, WaitingOn},
};

use super::{
    event::{AskId, Epoch, Outcome},
    jobs::Owner,
    lock::locked,
    record::{self, Decoded},
    static_record::{Entry, Server, StaticRecord, Wanted},
    step::Step,
    time::Tick,
    vault::{self, Change, Changed, ItemKey, ItemKind, Read, VaultTrouble},
};

/// What is known of one server's credentials, and who waits for it.
#[derive(Debug, Default)]
pub(super) struct HostStore {
    server: Server,
    known: Known,
    /// What was stored while no keyring answered; it goes there once one does.
    unkept: StaticRecord,
    writing: Option<Writing>,
    waiting: VecDeque<Waiting>,
    /// The vault is locked. It is asked again once it is unlocked, or for a caller who does not wait for that.
    is_shut: bool,
    /// The vault answered last, and not because it was locked, that it could not do what it was asked.
    has_refused: bool,
}

#[derive(Debug, Default)]
enum Known {
    #[default]
    Unread,
    /// It is being read; `was` is its last known content.
    Loading {
        epoch: Epoch,
        was: Option<Box<StaticRecord>>,
    },
    Held(Box<Held>),
}

/// The item's content when it was last read.
#[derive(Debug)]
struct Held {
    record: StaticRecord,
    /// The item's text; `None` if there was no item.
    text: Option<Secret>,
    /// It was read for the requests that are now served.
    is_fresh: bool,
}

#[derive(Debug)]
struct Writing {
    epoch: Epoch,
    /// Whom to answer; nobody, if they left or ran out of time.
    ask: Option<(AskId, Tick)>,
    text: Option<Secret>,
    /// What to do again if another daemon has changed the item.
    again: Again,
}

#[derive(Debug)]
enum Again {
    Request(Waiting),
    Keep(StaticRecord),
}

#[derive(Clone, Debug)]
pub(super) struct Waiting {
    pub(super) id: AskId,
    pub(super) deadline: Tick,
    pub(super) wants: Wants,
    /// Whether it was told that the vault is locked.
    told_to_unlock: bool,
}

impl Waiting {
    pub(super) fn new(id: AskId, deadline: Tick, wants: Wants) -> Self {
        Self { id, deadline, wants, told_to_unlock: false }
    }

    fn awaits_unlock(&self) -> bool {
        matches!(self.wants, Wants::Get { awaits_unlock: true, .. })
    }
}

#[derive(Clone, Debug)]
pub(super) enum Wants {
    Get { wanted: Wanted, takes_authtype: bool, awaits_unlock: bool },
    Store(Entry),
    Erase(Wanted),
}

impl HostStore {
    pub(super) fn new(server: Server) -> Self {
        Self { server, ..Self::default() }
    }

    /// Whether anything is under way, waited for, or in memory only.
    pub(super) fn has_work(&self) -> bool {
        self.writing.is_some() || !self.waiting.is_empty() || !self.unkept.is_empty()
    }

    /// Whether it waits for the vault or a deadline.
    pub(super) fn is_busy(&self) -> bool {
        self.has_work() || matches!(self.known, Known::Loading { .. })
    }

    /// Whether something waits for the vault to be unlocked, or to come.
    pub(super) fn awaits_vault(&self) -> bool {
        self.is_shut && !self.waiting.is_empty() || self.has_unkept() && !self.has_refused
    }

    /// Goes on with that.
    pub(super) fn vault_unlocked(&mut self, step: &mut Step<'_>) {
        self.is_shut = false;
        if self.has_unkept() && !self.has_refused {
            self.keep(step);
        }
        self.advance(step);
    }

    /// Whether it has no work, and holds nothing.
    pub(super) fn is_idle(&self) -> bool {
        let holds_nothing = match &self.known {
            Known::Unread => true,
            Known::Loading { .. } => false,
            Known::Held(held) => held.record.is_empty(),
        };
        !self.has_work() && holds_nothing
    }

    pub(super) fn server(&self) -> &Server {
        &self.server
    }

    fn owner(&self) -> Owner {
        Owner::Statics(self.server.clone())
    }

    fn key(&self) -> ItemKey {
        ItemKey { kind: ItemKind::StaticCredentials, name: self.server.name() }
    }

    pub(super) fn ask(&mut self, step: &mut Step<'_>, waiting: Waiting) {
        self.waiting.push_back(waiting);
        self.is_shut = false;
        self.advance(step);
    }

    pub(super) fn has_unkept(&self) -> bool {
        !self.unkept.is_empty()
    }

    pub(super) fn has_credentials(&self) -> bool {
        matches!(&self.known, Known::Held(held) if !held.record.is_empty())
    }

    /// Reads the vault, which gets what only memory has, if it answers.
    pub(super) fn keep(&mut self, step: &mut Step<'_>) {
        if self.writing.is_none() {
            self.load(step);
        }
    }

    pub(super) fn read_again(&mut self, step: &mut Step<'_>) {
        (self.known, self.is_shut) = (Known::Unread, false);
        self.advance(step);
    }

    /// Drops the request of a client that left; its write goes on.
    pub(super) fn left(&mut self, id: AskId) {
        self.waiting.retain(|waiting| waiting.id != id);
        if let Some(writing) = &mut self.writing {
            writing.ask = writing.ask.take().filter(|(own, _)| *own != id);
        }
    }

    pub(super) fn next_deadline(&self) -> Option<Tick> {
        let writing = self.writing.as_ref().and_then(|writing| writing.ask);
        self.waiting.iter().map(|waiting| waiting.deadline).chain(writing.map(|(_, at)| at)).min()
    }

    /// Refuses those whose deadline is meant.
    pub(super) fn turn_away(&mut self, step: &mut Step<'_>, fault: &Fault, is_meant: impl Fn(Tick) -> bool) {
        let (late, others): (VecDeque<_>, _) =
            std::mem::take(&mut self.waiting).into_iter().partition(|waiting| is_meant(waiting.deadline));
        self.waiting = others;
        for waiting in late {
            refuse(step, &waiting, fault);
        }
        if let Some(writing) = &mut self.writing
            && let Some((id, _)) = writing.ask.take_if(|(_, deadline)| is_meant(*deadline))
        {
            step.refuse(id, fault.clone());
        }
    }

    pub(super) fn is_writing(&self) -> bool {
        self.writing.is_some()
    }

    /// Takes the outcome of a job. `false` if it is stale.
    pub(super) fn heard(&mut self, step: &mut Step<'_>, epoch: Epoch, outcome: &Outcome) -> bool {
        match outcome {
            Outcome::Loaded(outcome) if matches!(self.known, Known::Loading { epoch: own, .. } if own == epoch) =>
            {
                self.loaded(step, outcome);
            }
            Outcome::Changed(outcome) if self.writing.as_ref().is_some_and(|own| own.epoch == epoch) => {
                self.changed(step, outcome);
            }
            _ => return false,
        }
        self.advance(step);
        true
    }

    /// Whoever asks for a credential waits from now on, and others are refused; a write goes on.
    pub(super) fn lock(&mut self, step: &mut Step<'_>) {
        let (waiting, refused): (VecDeque<_>, _) = std::mem::take(&mut self.waiting)
            .into_iter()
            .partition(|waiting| matches!(waiting.wants, Wants::Get { .. }));
        self.waiting = waiting;
        for waiting in &self.waiting {
            step.tell_waiting(waiting.id, &self.server.name(), WaitingOn::Unlock);
        }
        refused.into_iter().for_each(|waiting: Waiting| refuse(step, &waiting, &locked()));
        self.advance(step);
    }

    pub(super) fn unlock(&mut self, step: &mut Step<'_>) {
        self.is_shut = false;
        self.advance(step);
    }

    fn advance(&mut self, step: &mut Step<'_>) {
        if step.is_locked {
            // What is on its way to the vault is needed until it is there, and in memory it stays anyway.
            if self.writing.is_none() && self.unkept.is_empty() && !step.keyring.is_memory() {
                self.known = Known::Unread;
            }
            return;
        }
        while self.writing.is_none()
            && !self.is_shut
            && let Some(waiting) = self.waiting.pop_front()
        {
            let Known::Held(held) = &mut self.known else {
                self.waiting.push_front(waiting);
                return self.load(step);
            };
            let is_change = !matches!(waiting.wants, Wants::Get { .. });
            let found = match &waiting.wants {
                Wants::Get { wanted, takes_authtype, .. } => {
                    held.record.find(step.now.wall, wanted, *takes_authtype).cloned()
                }
                Wants::Store(_) | Wants::Erase(_) => None,
            };
            // What is held may be outdated. A hit will do, and so will what git stores after each use of it; a miss or
            // a change will not.
            let is_enough = match &waiting.wants {
                Wants::Get { .. } => found.is_some(),
                Wants::Store(entry) => !held.record.clone().put(entry.clone()),
                Wants::Erase(_) => false,
            };
            if !held.is_fresh && !is_enough {
                self.waiting.push_front(waiting);
                return self.load(step);
            }
            let again = is_change.then(|| waiting.clone());
            let has_changed = match waiting.wants {
                Wants::Get { .. } => {
                    self.answer_get(step, waiting.id, found);
                    continue;
                }
                Wants::Store(entry) => held.record.put(entry),
                Wants::Erase(wanted) => held.record.remove(&wanted),
            };
            match again.filter(|_| has_changed) {
                Some(again) => self.write(step, Some((waiting.id, waiting.deadline)), Again::Request(again)),
                None => step.reply(waiting.id, Reply::Done),
            }
        }
        if let Known::Held(held) = &mut self.known {
            held.is_fresh = false;
        }
    }

    fn load(&mut self, step: &mut Step<'_>) {
        let was = match std::mem::replace(&mut self.known, Known::Unread) {
            loading @ Known::Loading { .. } => {
                self.known = loading;
                return;
            }
            Known::Held(held) => Some(Box::new(held.record)),
            Known::Unread => None,
        };
        self.known = Known::Loading { epoch: step.load(self.owner(), self.key()), was };
    }

    fn answer_get(&self, step: &mut Step<'_>, id: AskId, found: Option<Credential>) {
        let Some(credential) = found else { return step.reply(id, Reply::NoMatch) };
        let Server { protocol, host } = self.server.clone();
        step.reply(id, Reply::StaticCredential(Box::new(StaticCredential { protocol, host, credential })));
    }

    fn write(&mut self, step: &mut Step<'_>, ask: Option<(AskId, Tick)>, again: Again) {
        let Known::Held(held) = &self.known else { return };
        let text = record::encode(&held.record).filter(|_| !held.record.is_empty());
        let change = Change { key: self.key(), from: held.text.clone(), to: text.clone() };
        let epoch = step.change(self.owner(), change);
        self.writing = Some(Writing { epoch, ask, text, again });
    }

    fn loaded(&mut self, step: &mut Step<'_>, outcome: &Read) {
        self.has_refused = is_refusal(outcome);
        let was = match std::mem::replace(&mut self.known, Known::Unread) {
            Known::Loading { was, .. } => was,
            Known::Unread | Known::Held(_) => None,
        };
        let record = match outcome {
            Ok(None) => Ok(StaticRecord::default()),
            Ok(Some(text)) => match StaticRecord::decode(text) {
                Decoded::Ours(record) => Ok(record),
                Decoded::OfOther | Decoded::Damaged => {
                    Err(self.unreadable("they are damaged").run(vault::REPAIR))
                }
                Decoded::Later => Err(self.unreadable("a later version of rally-cred wrote them").remedy(
                    format!("run that version, or take {} out of the keyring", self.key().account()),
                )),
            },
            Err(trouble) if trouble.leaves_memory(&step.keyring) => {
                // What was read from it is all there is now.
                if let Some(mut was) = was {
                    was.put_all(std::mem::take(&mut self.unkept));
                    self.unkept = *was;
                }
                return self.serve_without_keyring(step, trouble);
            }
            Err(trouble) => Err(trouble.fault()),
        };
        match record {
            Ok(mut record) => {
                let unkept = std::mem::take(&mut self.unkept);
                let has_more = record.put_all(unkept.clone());
                let text = outcome.as_ref().ok().cloned().flatten();
                self.known = Known::Held(Box::new(Held { record, text, is_fresh: true }));
                if has_more {
                    self.write(step, None, Again::Keep(unkept));
                }
            }
            Err(fault) => {
                if let Some(was) = was {
                    let (record, text) = (*was, None);
                    self.known = Known::Held(Box::new(Held { record, text, is_fresh: false }));
                }
                step.recovered(&self.server.name(), &fault);
                if step.is_locked {
                    // Whoever waits for an unlock goes on waiting.
                    return;
                }
                let may_wait = step.keyring.says_when_unlocked()
                    && outcome.as_ref().is_err_and(VaultTrouble::awaits_person);
                self.refuse_or_keep_waiting(step, may_wait, &fault);
            }
        }
    }

    /// Refuses those who wait for the vault, but not those who wait for it to be unlocked, if that may be.
    fn refuse_or_keep_waiting(&mut self, step: &mut Step<'_>, may_wait: bool, fault: &Fault) {
        for mut waiting in std::mem::take(&mut self.waiting) {
            if !may_wait || !waiting.awaits_unlock() {
                refuse(step, &waiting, fault);
                continue;
            }
            self.is_shut = true;
            if !std::mem::replace(&mut waiting.told_to_unlock, true) {
                step.tell_waiting(waiting.id, &self.server.name(), WaitingOn::KeyringUnlock);
            }
            self.waiting.push_back(waiting);
        }
    }

    /// Where no keyring answers, and the configuration allows that, memory stands in until one does.
    fn serve_without_keyring(&mut self, step: &mut Step<'_>, trouble: &VaultTrouble) {
        if step.is_locked {
            return;
        }
        for Waiting { id, wants, .. } in std::mem::take(&mut self.waiting) {
            match wants {
                Wants::Get { wanted, takes_authtype, awaits_unlock: _ } => {
                    let found = self.unkept.find(step.now.wall, &wanted, takes_authtype).cloned();
                    if found.is_none() {
                        // The keyring may have it.
                        step.notice(id, trouble.fault());
                    }
                    self.answer_get(step, id, found);
                }
                Wants::Store(entry) => {
                    if self.unkept.put(entry) {
                        let notice = self.in_memory_only(trouble);
                        step.notice(id, notice);
                    }
                    step.reply(id, Reply::Done);
                }
                Wants::Erase(wanted) => {
                    self.unkept.remove(&wanted);
                    // The keyring may have it.
                    step.notice(id, trouble.fault());
                    step.reply(id, Reply::Done);
                }
            }
        }
    }

    /// What the vault does not take is not held either, and whoever stored it is told so.
    fn changed(&mut self, step: &mut Step<'_>, outcome: &Result<Changed, VaultTrouble>) {
        let Some(Writing { ask, text, again, .. }) = self.writing.take() else { return };
        self.has_refused = is_refusal(outcome);
        match outcome {
            Ok(Changed::Done) => {
                if let Known::Held(held) = &mut self.known {
                    held.text = text;
                }
                if let Some((id, _)) = ask {
                    step.reply(id, Reply::Done);
                }
            }
            // It is read again, and the request made to what is found.
            Ok(Changed::Conflict(_)) => {
                self.known = Known::Unread;
                match again {
                    // Whoever left, or ran out of time, is not answered again.
                    Again::Request(_) if ask.is_none() => {}
                    Again::Request(waiting) => self.waiting.push_front(waiting),
                    Again::Keep(record) => {
                        self.unkept.put_all(record);
                        self.load(step);
                    }
                }
            }
            Err(trouble) => {
                if trouble.leaves_memory(&step.keyring)
                    && let Known::Held(held) = &self.known
                {
                    // The keyring left between read and write: what is held is all there is.
                    self.unkept = held.record.clone();
                    if let Some((id, _)) = ask {
                        let notice = self.in_memory_only(trouble);
                        step.notice(id, notice);
                        step.reply(id, Reply::Done);
                    }
                } else {
                    let fault = trouble.fault();
                    step.recovered(&self.server.name(), &fault);
                    if let Some((id, _)) = ask {
                        step.refuse(id, fault);
                    }
                    // It is served from memory, and goes to the vault with the next read.
                    if let Again::Keep(record) = again {
                        self.unkept.put_all(record);
                        return;
                    }
                }
                self.known = Known::Unread;
            }
        }
    }

    fn unreadable(&self, why: &str) -> Fault {
        let name = self.server.name();
        Fault::new(FaultKind::VaultFailed, format!("the stored credentials of {name} are not understood"))
            .why(why)
    }

    /// It goes to the keyring with the next request once there is one.
    fn in_memory_only(&self, trouble: &VaultTrouble) -> Fault {
        let Fault { what, remedy, .. } = trouble.fault();
        let told = format!("the credential of {} is kept in memory only", self.server.name());
        let told = Fault::new(FaultKind::VaultMissing, told).why(what);
        match remedy {
            Some(remedy) => told.remedy(remedy),
            None => told,
        }
    }
}

/// Whether the vault was asked in vain, though it was open.
fn is_refusal<T>(outcome: &Result<T, VaultTrouble>) -> bool {
    outcome.as_ref().is_err_and(|trouble| !trouble.awaits_person())
}

/// A `get` that cannot be looked up gets no match, with the reason, so that git asks its other helpers.
fn refuse(step: &mut Step<'_>, waiting: &Waiting, fault: &Fault) {
    match waiting.wants {
        Wants::Get { .. } => {
            step.notice(waiting.id, fault.clone());
            step.reply(waiting.id, Reply::NoMatch);
        }
        Wants::Store(_) | Wants::Erase(_) => step.refuse(waiting.id, fault.clone()),
    }
}
