//! The life of a daemon in a history: it reads its config file again, stops, ends for want of work, or dies, and is started
//! again.
//! Does not: say when; chance and the broker do.
//! Used by: `history`, of which this is a part.

use rally_cred_core::event::{Epoch, Event, Outcome};
use rally_cred_core::profile::{Config, Keyring};
use rally_cred_core::{
    policy::{CONSENT_LASTS, STOP_PATIENCE},
    time::Ticks,
};
use rally_cred_proto::{Ask, Fault, FaultKind, message::ProfileState};

use super::{
    super::Planted,
    super::config_file::ConfigFile,
    super::promises::{Broken, never},
    History, IDLE_EXIT, NIGHTS,
};

/// What a profile is doing, and the sign-in that waits for a person.
type Standing = (ProfileState, Option<Epoch>);

impl History {
    /// Somebody edits the config file, most of the time, and has the daemon read it: by a command or by a signal.
    pub(super) fn reload(&mut self) -> Result<(), Broken> {
        for _ in 0..self.chance.below(3) {
            self.file.edit(&mut self.chance);
        }
        self.note(|| "the config file is to be read again".to_owned());
        match self.chance.one_in(2) {
            true => self.ask(Ask::Reload, Ticks::seconds(5)).map(drop),
            false => self.play_event(Event::ReloadWanted),
        }
    }

    /// The config file was read. What it does not change is left alone, and so is everything if it cannot be used.
    pub(super) fn config_is_read(&mut self) -> Result<(), Broken> {
        let before: Vec<_> = (0..self.file.profiles()).map(|profile| self.standing(profile)).collect();
        // What is due may happen now.
        let is_quiet = self.me().broker.next_deadline().is_none_or(|at| at > self.tick);
        let (old, life) = (self.me().config.clone(), self.me().life);
        let is_broken = self.is_troubled && self.chance.one_in(6);
        let new = if is_broken { old.clone() } else { self.file.clone() };
        self.note(|| match is_broken {
            true => "the config file cannot be used".to_owned(),
            false => format!("the config file says {new:?}"),
        });
        self.follows(&old, &new);
        let read = match (is_broken, self.planted) {
            (true, Some(Planted::BadFileIsEmpty)) => Ok(Config::default()),
            (true, _) => Err(Fault::new(FaultKind::ConfigBroken, "it is broken")),
            (false, Some(Planted::DeafToReload)) => Ok(old.config()),
            (false, _) => Ok(new.config()),
        };
        self.play_event(Event::ConfigRead(read))?;
        if self.me().life != life {
            return Ok(());
        }
        self.me().config = new.clone();
        let is_left_alone = |profile| new.keyring == old.keyring && new.is_same_for(&old, profile);
        for (profile, before) in before.into_iter().enumerate() {
            let after = self.standing(profile);
            if is_quiet && is_left_alone(profile) && before != after {
                return Err(format!("profile {profile} was {before:?}, and after a reload is {after:?}"));
            }
        }
        Ok(())
    }

    fn standing(&self, profile: usize) -> Option<Standing> {
        let name = super::name_of(profile);
        let daemon = self.daemons.get(self.at).expect("no such daemon");
        let flow = daemon.promises.listener_of(profile);
        let state = daemon.broker.states().find(|(of, _)| *of == name).map(|(_, state)| state);
        state.map(|state| (state, flow))
    }

    /// The daemon goes from one configuration to another: what was promised of the old one ends.
    fn follows(&mut self, old: &ConfigFile, new: &ConfigFile) {
        for profile in 0..new.profiles() {
            if !old.is_same_for(new, profile) {
                self.me().promises.forgot(profile);
            }
            if old.client_of(profile) != new.client_of(profile) {
                self.grants.signed_out(profile);
                self.me().promises.forget_marks();
                self.me().fresh.remove(&profile);
            }
            if old.keyring != new.keyring {
                self.me().promises.moved(profile);
                self.gateways.moved(self.at);
                self.me().fresh.remove(&profile);
                self.grants.wants_kept(self.at, profile, None);
            }
        }
        if (&old.keyring, old.has_statics) != (&new.keyring, new.has_statics) {
            self.statics.moved();
        }
    }

    /// The user locks, by a command or together with the session, or unlocks.
    pub(super) fn lock_or_unlock(&mut self) -> Result<(), Broken> {
        match self.chance.below(5) {
            0 => {
                // A daemon that ends has other worries.
                if !self.me().promises.is_ending() {
                    self.me().promises.locked();
                }
                self.ask(Ask::Lock, STOP_PATIENCE).map(drop)
            }
            1 => {
                self.note(|| "the session is locked".to_owned());
                if self.me().config.locks_with_session {
                    self.me().promises.locked();
                }
                self.play_event(Event::SessionLocked)
            }
            _ => self.ask(Ask::Unlock, NIGHTS).map(drop),
        }
    }

    /// The vault answers, perhaps that it is open.
    pub(super) fn vault_answers(&mut self, outcome: &Outcome) {
        let is_open = match outcome {
            Outcome::Unlocked(Ok(())) => true,
            Outcome::Unlocked(Err(trouble)) => trouble.is_missing(),
            _ => false,
        };
        self.me().promises.is_vault_open = is_open;
    }

    /// The keyring is unlocked, or has come. Whoever waits for that is served, unless the daemon is locked itself.
    pub(super) fn keyring_opens(&mut self) -> Result<(), Broken> {
        let is_deaf = self.planted == Some(Planted::DeafToUnlock);
        if self.me().watches_vault && !is_deaf {
            self.play_event(Event::VaultUnlocked)?;
        }
        let daemon = self.daemons.get(self.at).expect("no such daemon");
        let unread = |profile: &str| {
            let mut states = daemon.broker.states();
            states.any(|(name, state)| name == profile && state == ProfileState::Unread)
        };
        daemon.promises.nobody_waits_for_an_open_vault(unread)
    }

    /// The network is another, and Rally may be reached by it or not. Now and then it comes and goes.
    pub(super) fn network_changes(&mut self) -> Result<(), Broken> {
        let times = if self.chance.one_in(10) { 50 } else { 1 };
        for _ in 0..times {
            self.me().promises.network_changed();
            if self.me().watches_network {
                self.may_be_online(Event::Online)?;
            }
        }
        Ok(())
    }

    /// The network is another, or the machine has slept.
    pub(super) fn may_be_online(&mut self, event: Event) -> Result<(), Broken> {
        self.me().promises.may_be_online();
        match self.planted {
            Some(Planted::DeafToNetwork) => Ok(()),
            _ => self.play_event(event),
        }
    }

    /// Whoever waits for nothing has tried again what the network was in the way of. The client secret, which that takes, is
    /// not read soon after the keyring or its source has failed.
    pub(super) fn tries_again(&mut self) -> Result<(), Broken> {
        let is_busy = self.me().next_at().is_some();
        let is_idle = |profile| {
            let is_at_hand = !self.was_ill && !self.file.of(profile).has_source;
            !is_busy
                && is_at_hand
                && self.standing(profile).is_some_and(|(state, _)| state == ProfileState::SignedIn)
        };
        self.daemons.get(self.at).map_or(Ok(()), |daemon| daemon.promises.tries_again(is_idle))
    }

    /// Somebody stops the daemon, by a command or by a signal.
    pub(super) fn stop(&mut self) -> Result<(), Broken> {
        self.note(|| "a daemon is told to stop".to_owned());
        let by = self.tick + STOP_PATIENCE;
        self.me().promises.must_end(by);
        match self.chance.one_in(2) {
            true => self.ask(Ask::Stop, STOP_PATIENCE).map(drop),
            false => self.play_event(Event::StopWanted),
        }
    }

    /// The daemon has done what it was told to stop for.
    pub(super) fn ends(&mut self) -> Result<(), Broken> {
        self.note(|| "a daemon has stopped".to_owned());
        let tick = self.tick;
        self.me().promises.ends(tick)?;
        self.start_again()
    }

    /// The daemon ends if no client is connected, since nobody has needed it for long; a new one has to find everything.
    pub(super) fn ends_idle(&mut self) -> Result<(), Broken> {
        self.note(|| "a daemon ends for want of work".to_owned());
        let tick = self.tick;
        self.me().promises.ends(tick)?;
        if let Some((_, epoch, outcome)) = self.me().outcomes.first() {
            return Err(format!("the daemon ended for want of work, before {epoch:?} brought {outcome:?}"));
        }
        self.grants.are_kept(self.at..self.at + 1, |profile| self.kept(profile), &self.rally)?;
        if self.is_alone && self.statics.is_lost(&self.items) {
            return Err("the daemon ended with a static credential that only it had".to_owned());
        }
        self.me().idle_ends += 1;
        self.start_again()
    }

    /// Once all is well and nobody asks for anything, a daemon ends that will be started again.
    pub(super) fn ends_when_idle(&mut self) -> Result<(), Broken> {
        // What is in memory alone would be lost, and tokens that are used are renewed ahead of their end.
        let config = &self.me().config;
        let has_gateways = config.wanted_gateways().next().is_some();
        let is_busy = config.keyring == Keyring::Memory || config.locks_with_session || has_gateways;
        let is_busy = is_busy || self.me().has_served;
        if self.me().idle_exit.is_none() || is_busy {
            return Ok(());
        }
        let before = self.me().idle_ends;
        // What the user said of programs is forgotten by then.
        let remembered = if self.me().config.has_confirming() { CONSENT_LASTS } else { Ticks(0) };
        self.pass(Ticks(2 * IDLE_EXIT.0 + remembered.0))?;
        never(self.me().idle_ends == before, || "nobody needs a daemon, and it runs".to_owned())
    }

    /// The daemon dies and is started again on the same vault.
    pub(super) fn crash(&mut self) -> Result<(), Broken> {
        self.note(|| "a daemon dies and is started again".to_owned());
        self.start_again()
    }

    fn start_again(&mut self) -> Result<(), Broken> {
        let (old, new) = (self.me().config.clone(), self.file.clone());
        self.note(|| format!("a daemon starts, and the config file says {new:?}"));
        let daemon = self.daemons.get_mut(self.at).expect("no such daemon");
        let wrote = daemon.start_again(&mut self.chance, &mut self.items, &new);
        self.gateways.ended(self.at);
        wrote.into_iter().try_for_each(|wrote| self.wrote(Some(wrote)))?;
        match new.keyring {
            Keyring::Memory => self.statics.moved(),
            _ => self.statics.ended(),
        }
        self.follows(&old, &new);
        for profile in 0..new.profiles() {
            // What the vault did not get is lost with the daemon; what it has is owed.
            let kept = self.kept(profile).filter(|_| new.keyring != Keyring::Memory);
            self.grants.wants_kept(self.at, profile, kept);
        }
        Ok(())
    }
}
