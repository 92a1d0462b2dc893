//! What callers of a history store, and what they may expect of it: static credentials of two servers and two users.
//! Does not: look into the broker's state. With two daemons on one keyring, only who gets what is judged, as what one of
//! them has read may be out of date.
//! Used by: `history`.

use std::collections::{BTreeMap, HashMap, HashSet};

use rally_cred_core::event::AskId;
use rally_cred_proto::{
    Ask, Reply, Secret,
    git::Credential,
    message::{Erase, Get, StaticCredential, Store, Target},
};

use super::{
    Seeded,
    promises::{Broken, never},
    vault::Items,
};

/// A server and a user of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Owner {
    server: u64,
    user: u64,
}

/// What callers asked of static credentials, and were told.
#[derive(Debug, Default)]
pub(super) struct Statics {
    last: u64,
    /// Each password that was ever to be stored, and whose it is.
    stored: HashMap<String, Owner>,
    open: BTreeMap<AskId, Asked>,
    /// What has to be found: the last that the keyring took, if nothing was asked since that may change that. What is in
    /// memory only may be lost, as a keyring that comes back and fails does not get it a second time.
    held: BTreeMap<Owner, String>,
    /// What must not be given out again: it was erased or replaced.
    gone: HashSet<String>,
    /// What is in memory only, as those were told who stored it.
    in_memory: HashSet<String>,
    has_used_memory: bool,
}

#[derive(Debug)]
struct Asked {
    owner: Owner,
    does: Does,
    was_told: bool,
}

#[derive(Debug, PartialEq, Eq)]
enum Does {
    /// The password that has to be found.
    Get(Option<String>),
    Store(String),
    Erase(String),
}

impl Statics {
    /// Somebody asks for one, stores one, stores what they have again, or erases it.
    pub(super) fn ask(&mut self, chance: &mut Seeded, id: AskId, is_kept_here: bool) -> Ask {
        let owner = Owner { server: chance.below(2), user: chance.below(2) };
        let known = self.held.get(&owner).cloned();
        match (chance.below(8), known) {
            (0..=3, known) => self.get(id, owner, known, is_kept_here),
            (4, Some(password)) => self.erase(id, owner, password, is_kept_here),
            (5, Some(password)) => self.store(id, owner, password, is_kept_here),
            _ => {
                self.last += 1;
                self.store(id, owner, format!("password-{}", self.last), is_kept_here)
            }
        }
    }

    /// One that nobody has stored before.
    pub(super) fn store_one(&mut self, id: AskId) -> Ask {
        self.last += 1;
        self.store(id, Owner { server: 0, user: 0 }, format!("password-{}", self.last), true)
    }

    /// The owner of the last, who wants it.
    pub(super) fn get_one(&mut self, id: AskId) -> Ask {
        let owner = Owner { server: 0, user: 0 };
        let known = self.held.get(&owner).cloned();
        self.get(id, owner, known, true)
    }

    /// Whether it was stored, and nothing has changed that since.
    pub(super) fn is_one_held(&self) -> bool {
        self.open.is_empty() && self.held.contains_key(&Owner { server: 0, user: 0 })
    }

    fn get(&mut self, id: AskId, owner: Owner, known: Option<String>, is_kept_here: bool) -> Ask {
        self.note(id, owner, Does::Get(known), is_kept_here);
        Ask::Get(Get { target: owner.target(), wait: 60, ..Get::default() })
    }

    fn store(&mut self, id: AskId, owner: Owner, password: String, is_kept_here: bool) -> Ask {
        if is_kept_here {
            self.stored.insert(password.clone(), owner);
            self.held.remove(&owner);
            self.gone.remove(&password);
        }
        let credential = Credential {
            username: Some(owner.name()),
            password: Secret::parse(password.clone()).ok(),
            ..Credential::default()
        };
        self.note(id, owner, Does::Store(password), is_kept_here);
        Ask::Store(Store { protocol: "https".to_owned(), host: owner.host(), path: None, credential })
    }

    fn erase(&mut self, id: AskId, owner: Owner, password: String, is_kept_here: bool) -> Ask {
        if is_kept_here {
            self.held.remove(&owner);
        }
        let token = Secret::parse(password.clone()).ok();
        self.note(id, owner, Does::Erase(password), is_kept_here);
        Ask::Erase(Erase { target: owner.target(), token, credential: None })
    }

    fn note(&mut self, id: AskId, owner: Owner, does: Does, is_kept_here: bool) {
        if is_kept_here {
            self.open.insert(id, Asked { owner, does, was_told: false });
        }
    }

    /// A caller is told something besides its answer.
    pub(super) fn told(&mut self, id: AskId) {
        if let Some(asked) = self.open.get_mut(&id) {
            asked.was_told = true;
        }
    }

    pub(super) fn left(&mut self, id: AskId) {
        self.open.remove(&id);
    }

    /// The daemon has ended, and what it had in memory with it.
    pub(super) fn ended(&mut self) {
        self.open.clear();
        self.in_memory.clear();
    }

    /// Another keyring, or other servers: what was said of the old ones says nothing of these.
    pub(super) fn moved(&mut self) {
        self.open.clear();
        self.held.clear();
        self.gone.clear();
    }

    /// No keyring answers, so memory stands in: what is there goes to the keyring with the next request for its server.
    pub(super) fn uses_memory(&mut self) {
        self.has_used_memory = true;
    }

    /// Whether something has to be found that the keyring does not have.
    pub(super) fn is_lost(&self, items: &Items) -> bool {
        self.held.iter().any(|(owner, password)| !owner.is_kept(password, items))
    }

    /// Takes an answer. `is_alone`: no other daemon uses the keyring.
    pub(super) fn answered(
        &mut self,
        id: AskId,
        reply: &Reply,
        items: &Items,
        is_alone: bool,
    ) -> Result<(), Broken> {
        let asked = self.open.remove(&id);
        if let Reply::StaticCredential(given) = reply {
            self.given(given, asked.as_ref(), is_alone)?;
        }
        let Some(Asked { owner, does, was_told }) = asked else { return Ok(()) };
        match (does, reply) {
            (Does::Get(Some(password)), Reply::NoMatch)
                if is_alone && !was_told && self.held.get(&owner) == Some(&password) =>
            {
                Err(format!("{password} was stored for {} and is not found", owner.name()))
            }
            (Does::Store(password), Reply::Done) => {
                if was_told {
                    self.in_memory.insert(password.clone());
                }
                if is_alone && !self.in_memory.contains(&password) && !owner.is_kept(&password, items) {
                    return Err(format!("{password} is said to be stored, and the keyring does not have it"));
                }
                // While no keyring answers, nothing is replaced or erased but in memory.
                let is_gone = |old: &str| !owner.is_kept(old, items) && !self.is_being_stored(old);
                let replaced = self.stored.iter().filter(|(old, of)| **of == owner && **old != password);
                let gone: Vec<_> = replaced.map(|(old, _)| old.clone()).filter(|old| is_gone(old)).collect();
                self.gone.extend(gone);
                if owner.is_kept(&password, items) && !self.open.values().any(|open| open.changes(owner)) {
                    self.held.insert(owner, password);
                }
                Ok(())
            }
            (Does::Erase(password), Reply::Done) if !self.is_being_stored(&password) => {
                let is_kept = owner.is_kept(&password, items);
                if is_alone && is_kept && !self.has_used_memory {
                    return Err(format!("{password} is said to be erased, and the keyring still has it"));
                }
                if !is_kept {
                    self.gone.insert(password);
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn is_being_stored(&self, password: &str) -> bool {
        self.open.values().any(|open| matches!(&open.does, Does::Store(of) if of == password))
    }

    fn given(&self, given: &StaticCredential, asked: Option<&Asked>, is_alone: bool) -> Result<(), Broken> {
        let password = given.credential.password.as_ref().map(Secret::expose).unwrap_or_default();
        let owner = self.stored.get(password);
        if owner.is_none() || asked.is_some_and(|asked| Some(&asked.owner) != owner) {
            return Err(format!("{password} of {owner:?} was given out for {asked:?}"));
        }
        never(is_alone && self.gone.contains(password), || {
            format!("{password} was given out after it was erased or replaced")
        })
    }
}

impl Asked {
    fn changes(&self, owner: Owner) -> bool {
        self.owner == owner && !matches!(self.does, Does::Get(_))
    }
}

impl Owner {
    fn host(self) -> String {
        format!("git{}.example.com", self.server)
    }

    fn name(self) -> String {
        format!("user{}", self.user)
    }

    fn target(self) -> Target {
        let (protocol, host, username) = (Some("https".to_owned()), Some(self.host()), Some(self.name()));
        Target { protocol, host, username, ..Target::default() }
    }

    fn is_kept(self, password: &str, items: &Items) -> bool {
        let item = items.get(&format!("static:https://{}", self.host()));
        item.is_some_and(|text| text.expose().contains(&format!("\"{password}\"")))
    }
}
