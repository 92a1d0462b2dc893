//! Requests about several profiles, which are answered once the last profile is done.
//! Does not: change an account.
//! Used by: `broker`.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use rally_cred_proto::{
    Event, Fault, Reply, Secret,
    message::{Confinement, LockStatus, SignedOut, Status, VaultStatus},
};

use crate::{
    account::Account,
    answer::UserAnswer,
    broker::turns::Turns,
    event::{AskId, Effect, Epoch},
    jobs::Owner,
    profile::Keyring,
    step::Step,
    time::{Now, Tick, Ticks},
    vault::VaultTrouble,
};

/// What `status` says of the daemon itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// The release.
    pub release: String,
    /// The process.
    pub pid: u32,
    /// The config file.
    pub config: String,
    /// The variables that decide how Rally is reached, fit to be shown.
    pub network: BTreeMap<String, String>,
    /// The places that this machine has beside its OS keyring, as `keyring` in the config file names them.
    pub places: Vec<String>,
    /// What the daemon has given up, where the system knows such a thing.
    pub confinement: Option<Confinement>,
}

/// What a status says that neither the accounts nor the daemon itself know.
pub(super) struct Beside<'a> {
    pub(super) static_hosts: Vec<String>,
    pub(super) turns: &'a Turns,
    pub(super) forwards: Vec<String>,
    pub(super) locked: Option<LockStatus>,
}

#[derive(Debug)]
pub(super) struct StatusGathering {
    pub(super) id: AskId,
    profiles: Vec<String>,
    pub(super) unread: BTreeSet<String>,
    check: Check,
    pub(super) until: Tick,
}

#[derive(Debug, Default)]
enum Check {
    #[default]
    Unwanted,
    Wanted,
    Asked {
        open: HashMap<Epoch, (String, Secret)>,
        found: BTreeMap<String, Result<bool, Fault>>,
    },
}

impl StatusGathering {
    /// How long the vault may take before the accounts are reported as they are.
    pub(super) const READING: Ticks = Ticks::seconds(5);

    /// How long all of it may take; a look-up has a shorter limit.
    const WHOLE: Ticks = Ticks::seconds(30);

    pub(super) fn new(id: AskId, profiles: Vec<String>, check: bool, now: Now) -> Self {
        let unread = profiles.iter().cloned().collect();
        let check = if check { Check::Wanted } else { Check::Unwanted };
        Self { id, profiles, unread, check, until: now.tick + Self::WHOLE }
    }

    pub(super) fn forget_missing(&mut self, accounts: &BTreeMap<String, Account>) {
        self.profiles.retain(|name| accounts.contains_key(name));
        self.unread.retain(|name| accounts.contains_key(name));
    }

    /// The questions to Rally on its behalf.
    pub(super) fn open_checks(&self) -> impl Iterator<Item = (Epoch, String, Secret)> {
        let open = match &self.check {
            Check::Asked { open, .. } => Some(open),
            Check::Unwanted | Check::Wanted => None,
        };
        open.into_iter().flatten().map(|(epoch, (profile, token))| (*epoch, profile.clone(), token.clone()))
    }

    /// Asks Rally about each token, once all are read; joins a question that is under way, and skips a token that Rally
    /// accepted a moment ago.
    pub(super) fn look_up(
        &mut self,
        step: &mut Step<'_>,
        accounts: &BTreeMap<String, Account>,
        asked: &mut Vec<(Epoch, String, Secret)>,
    ) {
        if !self.unread.is_empty() || !matches!(self.check, Check::Wanted) {
            return;
        }
        let (mut open, mut found) = (HashMap::new(), BTreeMap::new());
        for account in self.profiles.iter().filter_map(|name| accounts.get(name)) {
            let name: &str = &account.profile().name;
            let Some(token) = account.access_token().cloned() else { continue };
            if account.was_taken_lately(step.now) {
                found.insert(name.to_owned(), Ok(true));
                continue;
            }
            let joined = asked.iter().find(|(_, profile, of)| profile == name && of.matches(&token));
            let epoch = joined.map(|(epoch, ..)| *epoch).unwrap_or_else(|| {
                let (profile, token) = (account.profile().clone(), token.clone());
                let epoch = step.begin(Owner::Checks, |epoch| Effect::LookUpUser {
                    epoch,
                    profile,
                    token: token.clone(),
                });
                asked.push((epoch, name.to_owned(), token.clone()));
                epoch
            });
            open.insert(epoch, (name.to_owned(), token));
        }
        self.check = Check::Asked { open, found };
    }

    /// Takes Rally's answer, if it is for this request too. Returns the profile and the token that it is about.
    pub(super) fn looked_up(&mut self, epoch: Epoch, answer: &UserAnswer) -> Option<(String, Secret)> {
        let Check::Asked { open, found } = &mut self.check else { return None };
        let (profile, token) = open.remove(&epoch)?;
        let verdict = match answer {
            UserAnswer::Found { .. } => Ok(true),
            UserAnswer::TokenRefused(_) => Ok(false),
            UserAnswer::AddressNotAllowed(fault) | UserAnswer::Passing { fault, .. } => Err(fault.clone()),
        };
        found.insert(profile.clone(), verdict);
        Some((profile, token))
    }

    pub(super) fn is_complete(&self, now: Now) -> bool {
        let is_checked = match &self.check {
            Check::Unwanted => true,
            Check::Wanted => false,
            Check::Asked { open, .. } => open.is_empty(),
        };
        self.unread.is_empty() && is_checked || self.until <= now.tick
    }

    /// Reports each profile, then returns the result.
    pub(super) fn answer(
        &self,
        step: &mut Step<'_>,
        facts: &Facts,
        accounts: &BTreeMap<String, Account>,
        default: &str,
        beside: Beside<'_>,
    ) -> Reply {
        let Beside { static_hosts, turns, forwards, locked } = beside;
        for account in self.profiles.iter().filter_map(|name| accounts.get(name)) {
            let mut status = account.status(step.now, *account.profile().name == *default);
            status.held_turns = Some(turns.held(&account.profile().name)).filter(|turns| *turns > 0);
            if let Check::Asked { found, .. } = &self.check {
                match found.get(&*account.profile().name) {
                    Some(Ok(is_taken)) => {
                        status.checked = Some(*is_taken);
                        status.ready &= *is_taken;
                    }
                    Some(Err(fault)) => status.fault = Some(fault.clone()),
                    None => {}
                }
            }
            step.tell(self.id, Event::Profile(Box::new(status)));
        }
        let fault = accounts.values().find_map(|account| account.vault_fault().cloned());
        let was_used = accounts.values().any(Account::has_token);
        let keeps = match step.keyring {
            Keyring::Memory => Some(false),
            _ => (was_used || fault.is_some()).then_some(fault.is_none()),
        };
        // Whoever has chosen needs no proposal.
        let others = if step.keyring == Keyring::Auto { facts.places.clone() } else { Vec::new() };
        Reply::Status(Box::new(Status {
            release: facts.release.clone(),
            pid: facts.pid,
            config: facts.config.clone(),
            vault: VaultStatus { kind: step.keyring.name(), keeps, fault, others },
            static_hosts,
            network: Some(facts.network.clone()),
            confinement: facts.confinement,
            forwards,
            forwarded_by: None,
            locked,
        }))
    }
}

#[derive(Debug)]
pub(super) struct LogoutGathering {
    pub(super) id: AskId,
    open: HashSet<Epoch>,
    done: SignedOut,
    fault: Option<Fault>,
    /// Why an item that may exist was not erased, though the configuration can do without a keyring.
    unasked: Option<Fault>,
}

impl LogoutGathering {
    pub(super) fn new(id: AskId) -> Self {
        let done = SignedOut { profiles: Vec::new(), revoke_at: Vec::new() };
        Self { id, open: HashSet::new(), done, fault: None, unasked: None }
    }

    /// Adds items of a profile that are being erased.
    pub(super) fn erasing(&mut self, items: Vec<Epoch>, grants_page: &str) {
        self.open.extend(items);
        if !self.done.revoke_at.iter().any(|page| page == grants_page) {
            self.done.revoke_at.push(grants_page.to_owned());
        }
    }

    /// Takes the vault's answer on an item of this profile.
    pub(super) fn erased(
        &mut self,
        epoch: Epoch,
        profile: &str,
        outcome: &Result<(), VaultTrouble>,
        keyring: &Keyring,
    ) {
        self.open.remove(&epoch);
        match outcome {
            Ok(()) => {}
            // There may be none; but if there is, it comes back with the keyring.
            Err(trouble) if trouble.leaves_memory(keyring) => {
                self.unasked = Some(trouble.fault());
            }
            Err(trouble) => self.fault = Some(trouble.fault()),
        }
        if !self.done.profiles.iter().any(|done| done == profile) {
            self.done.profiles.push(profile.to_owned());
        }
    }

    pub(super) fn is_complete(&self) -> bool {
        self.open.is_empty()
    }

    pub(super) fn answer(self, step: &mut Step<'_>) {
        if let Some(fault) = self.fault {
            return step.refuse(self.id, fault);
        }
        step.effects.extend(self.unasked.map(|fault| Effect::Tell(self.id, Event::Notice(fault))));
        step.reply(self.id, Reply::SignedOut(self.done));
    }
}
