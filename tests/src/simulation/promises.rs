//! What the broker promises, watched from outside: every effect and every outcome passes here.
//! Does not: look into the broker's state, so that it cannot be wrong in the same way.
//! Used by: `history`, which stops at the first broken promise.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Range;

use rally_cred_core::{
    event::{AskId, Consent, Epoch},
    policy::CONSENT_LASTS,
    time::{Tick, Ticks},
};
use rally_cred_proto::{Event, Fault, FaultKind, Reply};

use super::{
    cast::number_of,
    config_file::{ConfigFile, MCP, RALLY},
    rally::Rally,
};

/// Most token requests of one profile in a minute in which every one of them fails. Pauses double from one second, with
/// full jitter, so this many mean that they do not grow.
const MOST_FAILURES_A_MINUTE: usize = 40;

/// Most questions about one token in a minute: the pauses between those that callers cause by `erase` double from five
/// seconds, and `status --check` has its own.
const MOST_LOOK_UPS_A_MINUTE: usize = 15;

/// Most writes of one item in a minute that the vault does not take: pauses double from five seconds, and a caller or a
/// renewal may have it try at once.
const MOST_UNSAVED_A_MINUTE: usize = 20;

/// The profile that the forwarded socket gives, which is the default one.
const FORWARDED: &str = "p0";

/// What was seen so far.
#[derive(Debug, Default)]
pub(super) struct Promises {
    /// The open requests, and their deadlines.
    pub(super) open: BTreeMap<AskId, Tick>,
    answered: HashSet<AskId>,
    /// Those that wait for the vault to be unlocked, and the profile of each.
    pub(super) awaits_unlock: BTreeMap<AskId, String>,
    /// The servers that requests name.
    pub(super) servers: HashMap<AskId, String>,
    pub(super) signed_in: HashSet<AskId>,
    /// What another machine has asked.
    pub(super) afar: HashSet<AskId>,
    /// Tokens that a caller reported as bad, in this life of the daemon.
    pub(super) erased: HashSet<String>,
    /// When a caller reported one that is looked into later.
    pub(super) reported: HashMap<String, Tick>,
    listeners: BTreeMap<usize, Epoch>,
    posts: BTreeMap<usize, Epoch>,
    failures: BTreeMap<usize, Vec<Tick>>,
    /// By profile whose last token request failed for want of a network: how often that is another since.
    cut_off: BTreeMap<usize, Cut>,
    /// By profile: what became of its renewals for want of a network.
    held_up: BTreeMap<usize, HeldUp>,
    look_ups: HashMap<String, Vec<Tick>>,
    /// By item: when the vault did not take it, of late.
    unsaved: BTreeMap<String, Vec<Tick>>,
    /// By profile: the question to the source of its client secret, or to the program that gives its tokens.
    fetches: BTreeMap<usize, Epoch>,
    /// What the daemon must not end before: renewals and writes, with their profiles.
    pub(super) awaited: BTreeMap<Epoch, Option<usize>>,
    /// When it must have ended, once it was told to.
    ends_by: Option<Tick>,
    /// The program of each request, and when it asked.
    programs: HashMap<AskId, (String, Tick)>,
    /// Questions to the user about programs.
    pub(super) questions: HashSet<Epoch>,
    /// By profile and program: until when the user lets it have tokens.
    allowed: BTreeMap<(usize, String), Tick>,
    /// Requests that the user's word has let in.
    let_in: HashSet<(usize, AskId)>,
    pub(super) is_locked: bool,
    /// Whether the last that the vault said is that it is open.
    pub(super) is_vault_open: bool,
}

/// Token requests in a row that failed for want of a network.
#[derive(Debug, Default)]
struct Cut {
    times: usize,
    /// Whether the network is another since the last.
    is_over: bool,
}

/// A profile's renewals that failed for want of a network.
#[derive(Debug, Default)]
struct HeldUp {
    /// Whether the last token request is one.
    is_last: bool,
    /// Whether the network is another since, so that it is to be tried again.
    is_due: bool,
    /// How often the network was another after one, since a token came.
    early: usize,
}

/// As often in a row, another network is sure to have a renewal tried again at once.
const SURELY_EARLY: usize = 3;

/// A promise that was broken.
pub(super) type Broken = String;

/// What is promised not to be so, and how it is told if it is.
pub(super) fn never(is_so: bool, told: impl FnOnce() -> Broken) -> Result<(), Broken> {
    if is_so { Err(told()) } else { Ok(()) }
}

/// Notes that it has happened again, and says how often that is within a minute.
fn count_of_a_minute(times: &mut Vec<Tick>, now: Tick) -> usize {
    times.push(now);
    times.retain(|at| (now - *at) < Ticks::seconds(60));
    times.len()
}

impl Promises {
    /// Another machine is answered by a token or the status of a profile that is forwarded, or by nothing.
    pub(super) fn goes_afar(&self, id: AskId, answer: &Reply) -> Result<(), Broken> {
        let is_right = match answer {
            Reply::Token(token) => token.profile == FORWARDED,
            Reply::NoMatch | Reply::Status(_) | Reply::Error(_) => true,
            _ => false,
        };
        never(!is_right && self.afar.contains(&id), || {
            format!("another machine, {id:?}, was given what it may not have: {answer:?}")
        })
    }

    /// On the way to an answer, it hears of profiles that are forwarded only.
    pub(super) fn told_afar(&self, id: AskId, event: &Event) -> Result<(), Broken> {
        let is_right = match event {
            Event::Waiting(waiting) => waiting.profile == FORWARDED,
            Event::Profile(profile) => profile.profile == FORWARDED,
            Event::Notice(_) => true,
            _ => false,
        };
        never(!is_right && self.afar.contains(&id), || {
            format!("another machine, {id:?}, was told what is not its business: {event:?}")
        })
    }

    /// A sign-in is for somebody on this machine.
    pub(super) fn may_begin_sign_in(&self, asking: Option<AskId>) -> Result<(), Broken> {
        let is_afar = asking.is_some_and(|id| self.afar.contains(&id));
        never(is_afar || !self.open.is_empty() && self.open.keys().all(|id| self.afar.contains(id)), || {
            "a sign-in was begun for another machine".to_owned()
        })
    }

    /// Whoever waits for a locked vault is served once it is unlocked. `unread`: of this profile it is still not known what
    /// the vault has.
    pub(super) fn nobody_waits_for_an_open_vault(&self, unread: impl Fn(&str) -> bool) -> Result<(), Broken> {
        let mut waiting = self.awaits_unlock.iter().filter(|(id, _)| self.is_open(**id));
        match waiting.find(|(_, profile)| !self.is_locked && unread(profile)) {
            Some((id, _)) => Err(format!("{id:?} waits for the vault, which was unlocked")),
            None => Ok(()),
        }
    }

    pub(super) fn left(&mut self, id: AskId) {
        self.open.remove(&id);
        self.answered.insert(id);
    }

    pub(super) fn is_open(&self, id: AskId) -> bool {
        self.open.contains_key(&id)
    }

    pub(super) fn open_asks(&self) -> Vec<AskId> {
        self.open.keys().copied().collect()
    }

    /// Every caller gets exactly one answer.
    pub(super) fn replied(&mut self, id: AskId) -> Result<(), Broken> {
        match self.open.remove(&id) {
            Some(_) => {
                self.answered.insert(id);
                Ok(())
            }
            None if self.answered.contains(&id) => {
                Err(format!("{id:?} was answered twice, or after it left"))
            }
            None => Err(format!("{id:?} was answered and never asked")),
        }
    }

    /// Once faults stop, a person who signs in is signed in.
    pub(super) fn not_signed_in(&self, login: AskId, profile: usize) -> Option<Broken> {
        (!self.signed_in.contains(&login))
            .then(|| format!("profile {profile} cannot be signed in to though all is well"))
    }

    /// A token is answered for a server only that its profile is for, and with the header that this one wants.
    pub(super) fn goes_to(&self, id: AskId, answer: &Reply, config: &ConfigFile) -> Result<(), Broken> {
        let Reply::Token(token) = answer else { return Ok(()) };
        let told = token
            .also
            .as_ref()
            .map(|also| (also.origin.as_str(), also.header.as_str(), also.scheme.as_deref()));
        let is_right = match self.servers.get(&id).map(String::as_str) {
            None | Some(RALLY) => told.is_none(),
            Some(MCP) => {
                told == Some((MCP, "Authorization", Some("Bearer")))
                    && config.of(number_of(&token.profile)).names_mcp
            }
            Some(_) => false,
        };
        never(!is_right, || {
            format!("{} was answered for {:?}, as for {told:?}", token.profile, self.servers.get(&id))
        })
    }

    /// No expired or erased token is ever answered.
    pub(super) fn handed_out(
        &self,
        reply: &Reply,
        config: &ConfigFile,
        rally: &Rally,
        grants: &Grants,
        (now, calendar_off): (Tick, i64),
    ) -> Result<(), Broken> {
        let Reply::Token(token) = reply else { return Ok(()) };
        self.may_be_used(
            number_of(&token.profile),
            token.token.expose(),
            config,
            rally,
            grants,
            (now, calendar_off),
        )
    }

    /// No expired or erased token is ever used, nor one of another OAuth client.
    pub(super) fn may_be_used(
        &self,
        profile: usize,
        token: &str,
        config: &ConfigFile,
        rally: &Rally,
        grants: &Grants,
        (now, calendar_off): (Tick, i64),
    ) -> Result<(), Broken> {
        let client = config.client_of(profile);
        if client.as_deref() != rally.client_of(token) {
            return Err(format!("{token} was handed out, which is not of {client:?}"));
        }
        never(self.erased.contains(token), || format!("{token} was handed out after it was erased"))?;
        if self.reported.get(token).is_some_and(|at| now - *at > LONGEST_PAUSE) {
            return Err(format!("{token} was handed out though it was reported as bad long before"));
        }
        let Some(ends) = rally.end_of(token) else { return Ok(()) };
        // The daemon counts from when the answer came, and after a restart it has only the calendar.
        let Some((brought, was_off)) = grants.brought.get(token) else { return Ok(()) };
        let slack = Ticks(2000).0 + brought.0.saturating_sub(ends.0);
        let calendar_moved = *was_off != calendar_off;
        if now.0 > ends.0 + slack + LATENCY.0 && !calendar_moved {
            return Err(format!("{token} was handed out {} ms after its end", now.0 - ends.0));
        }
        Ok(())
    }

    /// Callers cannot make the daemon ask about one token again and again.
    pub(super) fn looks_up(&mut self, token: &str, now: Tick) -> Result<(), Broken> {
        let count = count_of_a_minute(self.look_ups.entry(token.to_owned()).or_default(), now);
        let told = || format!("Rally was asked about {token} {count} times within a minute");
        never(count > MOST_LOOK_UPS_A_MINUTE, told)
    }

    /// A caller reported a token that Rally indeed refuses, and it is looked into later.
    pub(super) fn reported(&mut self, token: &str, now: Tick) {
        self.reported.entry(token.to_owned()).or_insert(now);
    }

    /// A mark may end with the daemon, or with a profile's old OAuth client, if the vault did not take it.
    pub(super) fn forget_marks(&mut self) {
        self.erased.clear();
        self.reported.clear();
    }

    pub(super) fn locked(&mut self) {
        self.is_locked = true;
        self.held_up.values_mut().for_each(|held_up| (held_up.is_last, held_up.is_due) = (false, false));
        self.unsaid(|_| true);
    }

    /// Only the vault unlocks.
    pub(super) fn unlocked(&mut self) -> Result<(), Broken> {
        self.is_locked = false;
        never(!self.is_vault_open, || "the daemon was unlocked, and the vault was not asked".to_owned())
    }

    /// A locked daemon hands out nothing.
    pub(super) fn may_hand_out(&self, answer: &Reply) -> Result<(), Broken> {
        match answer {
            Reply::Token(_) | Reply::StaticCredential(_) if self.is_locked => {
                Err("a locked daemon handed out a secret".to_owned())
            }
            _ => Ok(()),
        }
    }

    pub(super) fn asks_for(&mut self, id: AskId, program: &str, now: Tick) {
        self.programs.insert(id, (program.to_owned(), now));
    }

    /// The user answers, which counts unless the question was withdrawn.
    pub(super) fn said(
        &mut self,
        epoch: Epoch,
        profile: usize,
        program: &str,
        said: Option<Consent>,
        now: Tick,
    ) {
        if !self.questions.remove(&epoch) {
            return;
        }
        if matches!(said, Some(Consent::Once | Consent::Session)) {
            let open =
                self.open.keys().filter(|id| self.programs.get(id).is_some_and(|(of, _)| of == program));
            self.let_in.extend(open.map(|id| (profile, *id)));
        }
        let key = (profile, program.to_owned());
        match said {
            Some(Consent::Session) => drop(self.allowed.insert(key, now + CONSENT_LASTS)),
            _ => drop(self.allowed.remove(&key)),
        }
    }

    /// What the user said is over.
    fn unsaid(&mut self, is_meant: impl Fn(usize) -> bool) {
        self.allowed.retain(|(profile, _), _| !is_meant(*profile));
        self.let_in.retain(|(profile, _)| !is_meant(*profile));
    }

    /// No token goes to a program that the user has not let have it, where the profile asks for that.
    pub(super) fn has_consent(&self, id: AskId, answer: &Reply, config: &ConfigFile) -> Result<(), Broken> {
        let Reply::Token(token) = answer else { return Ok(()) };
        let profile = number_of(&token.profile);
        if !config.of(profile).confirms || self.let_in.contains(&(profile, id)) {
            return Ok(());
        }
        let known = self.programs.get(&id);
        let until = known.and_then(|(program, _)| self.allowed.get(&(profile, program.clone())));
        match (known, until) {
            (Some((_, asked)), Some(until)) if asked < until => Ok(()),
            _ => Err(format!("{known:?} got a token of profile {profile} without the user's word")),
        }
    }

    /// At most one flow per profile at a time.
    pub(super) fn listens(&mut self, profile: usize, epoch: Epoch) -> Result<(), Broken> {
        match self.listeners.insert(profile, epoch) {
            Some(other) => Err(format!("profile {profile} has two flows, {other:?} and {epoch:?}")),
            None => Ok(()),
        }
    }

    pub(super) fn ended_listening(&mut self, epoch: Epoch) {
        self.listeners.retain(|_, open| *open != epoch);
    }

    pub(super) fn listener_of(&self, profile: usize) -> Option<Epoch> {
        self.listeners.get(&profile).copied()
    }

    /// At most one token request per profile at a time.
    pub(super) fn posts(&mut self, profile: usize, epoch: Epoch) -> Result<(), Broken> {
        self.goes_on(profile);
        match self.posts.insert(profile, epoch) {
            Some(other) => Err(format!("profile {profile} has two token requests, {other:?} and {epoch:?}")),
            None => Ok(()),
        }
    }

    /// A sign-out, or another OAuth client, lets jobs go that cannot be called back.
    pub(super) fn forgot(&mut self, profile: usize) {
        self.posts.remove(&profile);
        self.unsaid(|of| of == profile);
        self.cut_off.remove(&profile);
        self.moved(profile);
    }

    /// Another keyring lets go what was on its way to the old one, and the question to the source of a client secret.
    pub(super) fn moved(&mut self, profile: usize) {
        // The client secret is asked for anew, and may not be had unasked.
        self.goes_on(profile);
        self.fetches.remove(&profile);
        self.awaited.retain(|_, of| *of != Some(profile));
    }

    /// What the vault does not take is put to it ever more rarely.
    pub(super) fn saved(&mut self, account: String, is_taken: bool, now: Tick) -> Result<(), Broken> {
        if is_taken {
            self.unsaved.remove(&account);
            return Ok(());
        }
        let count = count_of_a_minute(self.unsaved.entry(account.clone()).or_default(), now);
        let told = || format!("{account} was put to the vault {count} times within a minute");
        never(count > MOST_UNSAVED_A_MINUTE, told)
    }

    /// At most one question to a profile's source at a time.
    pub(super) fn fetches(&mut self, profile: usize, epoch: Epoch) -> Result<(), Broken> {
        match self.fetches.insert(profile, epoch) {
            Some(other) => Err(format!("profile {profile}'s source is asked as {other:?} and {epoch:?}")),
            None => Ok(()),
        }
    }

    pub(super) fn fetched(&mut self, epoch: Epoch) {
        self.fetches.retain(|_, open| *open != epoch);
    }

    /// It was told to stop.
    pub(super) fn must_end(&mut self, by: Tick) {
        self.ends_by.get_or_insert(by);
    }

    pub(super) fn is_ending(&self) -> bool {
        self.ends_by.is_some()
    }

    /// It ends of its own will: nobody waits for it, and unless it has no more time, nothing is on its way.
    pub(super) fn ends(&self, now: Tick) -> Result<(), Broken> {
        if let Some(id) = self.open.keys().next() {
            return Err(format!("the daemon ended, and {id:?} was not answered"));
        }
        match self.awaited.first_key_value() {
            Some((epoch, _)) if self.ends_by.is_none_or(|by| now < by) => {
                Err(format!("the daemon ended while {epoch:?} was under way"))
            }
            _ => Ok(()),
        }
    }

    pub(super) fn network_changed(&mut self) {
        self.cut_off.values_mut().for_each(|cut| cut.is_over = true);
    }

    /// A renewal has failed for want of a network.
    pub(super) fn is_held_up(&mut self, profile: usize) {
        self.held_up.entry(profile).or_default().is_last = true;
    }

    /// What the profile does next is not due to the network any more.
    pub(super) fn goes_on(&mut self, profile: usize) {
        if let Some(held_up) = self.held_up.get_mut(&profile) {
            (held_up.is_last, held_up.is_due) = (false, false);
        }
    }

    /// The network is another, or may be after a sleep.
    pub(super) fn may_be_online(&mut self) {
        for held_up in self.held_up.values_mut().filter(|held_up| held_up.is_last) {
            held_up.is_last = false;
            held_up.early += 1;
            held_up.is_due = held_up.early <= SURELY_EARLY && !self.is_locked;
        }
    }

    /// Once the network is another, a renewal that failed for want of one is tried again, though nobody asks. `is_idle`:
    /// this profile is signed in, and does nothing.
    pub(super) fn tries_again(&self, is_idle: impl Fn(usize) -> bool) -> Result<(), Broken> {
        // A locked daemon tries nothing.
        let rests = self.is_ending() || self.is_locked;
        let mut due = self.held_up.iter().filter(|(_, held_up)| held_up.is_due && !rests);
        match due.find(|(profile, _)| is_idle(**profile)) {
            Some((profile, _)) => Err(format!(
                "the network is another, and the renewal of profile {profile} is not tried again that failed for want of one"
            )),
            None => Ok(()),
        }
    }

    /// Nobody is refused for want of the network before. A network that comes and goes may be waited for.
    pub(super) fn hears_of_this_network(&self, profile: Option<usize>, answer: &Reply) -> Result<(), Broken> {
        let (Some(profile), Reply::Error(Fault { kind: FaultKind::Unreachable, what, .. })) =
            (profile, answer)
        else {
            return Ok(());
        };
        match self.cut_off.get(&profile) {
            Some(cut) if cut.is_over && cut.times <= 2 && !what.starts_with("it is not known yet") => {
                Err(format!("profile {profile} was refused, since there was no network before"))
            }
            _ => Ok(()),
        }
    }

    /// Attempts that fail become rarer.
    pub(super) fn post_ended(
        &mut self,
        profile: usize,
        epoch: Epoch,
        failed: bool,
        by_network: bool,
        now: Tick,
    ) -> Result<(), Broken> {
        if by_network {
            let cut = self.cut_off.entry(profile).or_default();
            *cut = Cut { times: cut.times + 1, is_over: false };
        } else {
            self.cut_off.remove(&profile);
        }
        self.goes_on(profile);
        self.posts.retain(|_, open| *open != epoch);
        self.awaited.remove(&epoch);
        let failures = self.failures.entry(profile).or_default();
        if !failed {
            self.held_up.remove(&profile);
            failures.clear();
            return Ok(());
        }
        let count = count_of_a_minute(failures, now);
        never(count > MOST_FAILURES_A_MINUTE, || {
            format!("profile {profile} failed {count} times within a minute")
        })
    }

    /// Every caller gets its answer by its deadline.
    pub(super) fn nobody_waits_too_long(&self, now: Tick) -> Result<(), Broken> {
        if self.ends_by.is_some_and(|by| by < now) {
            return Err("the daemon was told to stop, and runs".to_owned());
        }
        match self.open.iter().find(|(_, deadline)| **deadline < now) {
            Some((id, deadline)) => {
                Err(format!("{id:?} still waits {} ms after its deadline", (now - *deadline).0))
            }
            None => Ok(()),
        }
    }

    /// The daemon has ended, in whatever way: what it was asked is forgotten, what was in flight is lost.
    pub(super) fn ended(&mut self) {
        self.answered.extend(std::mem::take(&mut self.open).into_keys());
        self.awaits_unlock.clear();
        self.cut_off.clear();
        self.held_up.clear();
        self.listeners.clear();
        self.posts.clear();
        self.forget_marks();
        self.fetches.clear();
        self.awaited.clear();
        self.ends_by = None;
        self.is_locked = false;
        self.questions.clear();
        self.unsaid(|_| true);
    }
}

/// Longest time until a report is looked into and Rally has answered.
const LONGEST_PAUSE: Ticks = Ticks::seconds(60 + 20 + 1);

/// Longest time that a request to Rally takes in a history.
pub(super) const LATENCY: Ticks = Ticks::seconds(20);

/// What all daemons of a history owe together: the grants that Rally gave them, and what became of them.
#[derive(Debug, Default)]
pub(super) struct Grants {
    /// When an access token was brought to a daemon, and how far the calendar was off then.
    brought: HashMap<String, (Tick, i64)>,
    /// By refresh token: the sign-in that it goes back to.
    sign_ins: HashMap<String, u64>,
    /// By profile: its newest sign-in, unless somebody has signed out since.
    newest: BTreeMap<usize, u64>,
    last: u64,
    signed_in_at: BTreeMap<usize, Tick>,
    /// By daemon and profile: the refresh token that it last wanted the keyring to keep.
    owed: BTreeMap<(usize, usize), String>,
}

impl Grants {
    pub(super) fn brought(&mut self, token: String, now: Tick, calendar_off: i64) {
        self.brought.insert(token, (now, calendar_off));
    }

    /// Whether the calendar was moved since this access token was brought, or that is not known.
    pub(super) fn is_out_of_time(&self, token: &str, calendar_off: i64) -> bool {
        self.brought.get(token).is_none_or(|(_, was_off)| *was_off != calendar_off)
    }

    /// A code was turned into a new grant: the old one is no longer owed.
    pub(super) fn signed_in(&mut self, profile: usize, refresh_token: Option<String>, now: Tick) {
        self.last += 1;
        // Of two sign-ins in one second, daemons cannot tell which is newer, so neither is owed.
        let before = self.signed_in_at.insert(profile, now);
        match before.is_some_and(|before| (now - before) < Ticks::seconds(1)) {
            true => self.newest.remove(&profile),
            false => self.newest.insert(profile, self.last),
        };
        if let Some(token) = refresh_token {
            self.sign_ins.insert(token, self.last);
        }
    }

    /// A refresh token was turned into the next.
    pub(super) fn renewed(&mut self, from: &str, to: Option<String>) {
        if let (Some(sign_in), Some(to)) = (self.sign_ins.get(from).copied(), to) {
            self.sign_ins.insert(to, sign_in);
        }
    }

    /// The daemons cannot tell that the newest sign-in is the newest.
    pub(super) fn lose_count(&mut self, profile: usize) {
        self.newest.remove(&profile);
    }

    /// Somebody signed out: nothing is owed.
    pub(super) fn signed_out(&mut self, profile: usize) {
        self.newest.remove(&profile);
        self.owed.retain(|(_, of), _| *of != profile);
    }

    fn is_owed(&self, profile: usize, token: &str, rally: &Rally) -> bool {
        let sign_in = self.sign_ins.get(token);
        rally.honours(token) && sign_in.is_some() && sign_in == self.newest.get(&profile)
    }

    /// A daemon wants this to be kept.
    pub(super) fn wants_kept(&mut self, daemon: usize, profile: usize, refresh_token: Option<String>) {
        match refresh_token {
            Some(token) => self.owed.insert((daemon, profile), token),
            None => self.owed.remove(&(daemon, profile)),
        };
    }

    /// A refresh token of the newest sign-in that Rally honours is not put out of the vault by one that it does not.
    pub(super) fn wrote(
        &self,
        profile: usize,
        before: Option<String>,
        after: Option<String>,
        rally: &Rally,
    ) -> Result<(), Broken> {
        let Some(before) = before.filter(|before| self.is_owed(profile, before, rally)) else {
            return Ok(());
        };
        match after {
            None => Err(format!("{before} of profile {profile} is honoured, and was dropped")),
            Some(after) if after != before && !rally.honours(&after) => {
                Err(format!("{before} of profile {profile} was replaced by {after}, which is dead"))
            }
            Some(_) => Ok(()),
        }
    }

    /// While the vault works, a refresh token that Rally honours is in it, if one of these daemons owes one.
    pub(super) fn are_kept(
        &self,
        daemons: Range<usize>,
        kept: impl Fn(usize) -> Option<String>,
        rally: &Rally,
    ) -> Result<(), Broken> {
        for ((_, profile), token) in self.owed.iter().filter(|((daemon, _), _)| daemons.contains(daemon)) {
            let kept = kept(*profile);
            let is_kept = kept.as_ref().is_some_and(|kept| rally.honours(kept));
            if self.is_owed(*profile, token, rally) && !is_kept {
                return Err(format!("{token} of profile {profile} is honoured, and the vault has {kept:?}"));
            }
        }
        Ok(())
    }
}

/// No token is renewed that is good for longer than anybody asked: callers ask for 600 s at most, and whoever asks for
/// more than a token's whole life gets a minute, or a tenth of that life.
pub(super) fn may_renew(token: &str, rally: &Rally, now: Tick) -> Result<(), Broken> {
    let (Some(life), Some(ends)) = (rally.life_of(token), rally.end_of(token)) else { return Ok(()) };
    let most = match life {
        600.. => 600,
        60.. => 60,
        _ => life / 10,
    };
    let left = (ends - now).as_seconds();
    never(rally.takes(token, now) && left > most + 3, || {
        format!("{token} was renewed, though it is good for {left} s of {life}")
    })
}
