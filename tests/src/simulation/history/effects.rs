//! What the broker orders in a history: each effect is checked against the promises, and carried out.
//! Does not: bring outcomes back; `history` does, when they are due.
//! Used by: `history`, of which this is a part.

use rally_cred_core::{
    answer::TokenForm,
    event::{Consent, Effect, Entry, Epoch, GrantStep, Outcome, Question},
    profile::{CommandLine, SecretSource},
    time::{Tick, Ticks},
    vault::{Change, ItemKey, ItemKind},
};
use rally_cred_proto::{
    Event, Reply,
    message::{Waiting, WaitingOn},
};

use super::{
    super::{
        Planted,
        cast::{FIRST_PORT, kind_of, name_of, number_of, secret},
        daemon::{Coming, field},
        promises::{Broken, LATENCY, may_renew},
        rally::SOURCE_SECRET,
        vault::{Call, Health},
    },
    History,
};

impl History {
    pub(super) fn take(&mut self, effect: Effect) -> Result<(), Broken> {
        if let Effect::Tell(id, event) = &effect {
            self.me().promises.told_afar(*id, event)?;
        }
        match effect {
            Effect::Log(Entry::Stale(_)) => self.me().was_stale = true,
            Effect::Log(Entry::Unlocked) => self.me().promises.unlocked()?,
            Effect::Log(Entry::Grant { profile, step: GrantStep::Adopted }) => {
                self.note(|| format!("{profile} takes over what the other daemon has stored"));
                self.me().fresh.remove(&number_of(&profile));
                self.me().promises.goes_on(number_of(&profile));
            }
            Effect::Tell(id, Event::Notice(fault)) => {
                self.note(|| format!("{id:?} is told: {}", fault.what));
                self.statics.told(id);
            }
            Effect::Tell(id, Event::News(news)) => self.told_news(id, &news),
            Effect::Tell(id, Event::Waiting(Waiting { profile, on: WaitingOn::KeyringUnlock })) => {
                self.note(|| format!("{id:?} waits for the keyring to be unlocked"));
                self.me().promises.awaits_unlock.insert(id, profile);
            }
            Effect::Tell(id, Event::Waiting(Waiting { on: WaitingOn::Consent | WaitingOn::Unlock, .. })) => {
                self.me().promises.awaits_unlock.remove(&id);
            }
            Effect::WatchVault(is_wanted) => {
                self.me().watches_vault = is_wanted;
                if is_wanted {
                    self.comes_later(Epoch(0), Coming::Watches);
                }
            }
            Effect::WatchNetwork(is_wanted) => self.me().watches_network = is_wanted,
            Effect::Tell(id, Event::GatewayOpen(opened)) => self.gateways.told(id, &opened)?,
            Effect::Tell(id, Event::TurnsHeld(_)) => self.me().turns.told(id),
            Effect::ReserveTurns { profile, turns } => {
                let (is_deceived, held) = (self.planted == Some(Planted::OneTurn), &mut self.me().turns);
                let profile = number_of(&profile);
                held.ordered(profile, if is_deceived { held.wanted(profile) } else { turns });
            }
            Effect::OpenGateway(epoch, plan) => self.open_gateway(epoch, plan)?,
            Effect::CloseGateway(_) if self.planted == Some(Planted::NeverCloses) => {}
            Effect::CloseGateway(epoch) => self.close_gateway(epoch),
            Effect::Identify(epoch, program) => {
                let at = self.tick;
                self.me().outcomes.push((at, epoch, Coming::Identified(program)));
            }
            Effect::AskConsent(epoch, question) => self.ask_consent(epoch, &question),
            Effect::WithdrawConsent(epoch) => drop(self.me().promises.questions.remove(&epoch)),
            Effect::Tell(..)
            | Effect::Log(_)
            | Effect::Alert(_)
            | Effect::AlertBy(_)
            | Effect::WithdrawAlert(_)
            | Effect::Check { .. }
            | Effect::OpenFiles { .. }
            | Effect::MoveItems { .. }
            | Effect::RepairItems { .. }
            | Effect::TellGateways(..)
            // Nobody forwards in a history.
            | Effect::OpenForward(_)
            | Effect::CloseForward
            | Effect::CloseSocket => {}
            Effect::OpenVault(keyring) => self.me().open_vault(&keyring),
            Effect::ReadConfig => {
                self.comes_within(20, Epoch(0), Coming::ConfigRead);
            }
            Effect::FetchClientSecret(epoch, source) => self.fetch(epoch, &source)?,
            Effect::FetchToken(epoch, command) => self.run_program(epoch, &command)?,
            Effect::Exit => self.ends()?,
            Effect::ExitIfDeserted if self.planted == Some(Planted::NeverIdle) => {}
            // Whoever watches, or has a gateway, is connected.
            Effect::ExitIfDeserted if self.has_lasting_client() => {}
            Effect::ExitIfDeserted => self.ends_idle()?,
            Effect::Reply(id, Reply::Token(token))
                if self.planted == Some(Planted::ServesOne)
                    && self.gateways.is_lent_to(id)
                    && self.gateways.has_served(number_of(&token.profile)) => {}
            Effect::Reply(id, answer) => {
                self.note(|| format!("{id:?} is answered: {}", kind_of(&answer)));
                let answers_twice = self.planted == Some(Planted::AnswersTwice);
                self.tools_are_answered(id, &answer)?;
                let daemon = self.daemons.get_mut(self.at).expect("no such daemon");
                daemon.promises.replied(id)?;
                let profile = daemon.asked_of.get(&id).copied();
                daemon.promises.hears_of_this_network(profile, &answer)?;
                if answers_twice {
                    daemon.promises.replied(id)?;
                }
                let (rally, grants) = (&self.rally, &self.grants);
                let now = (self.tick, self.calendar_off);
                daemon.promises.may_hand_out(&answer)?;
                daemon.promises.has_consent(id, &answer, &daemon.config)?;
                daemon.promises.goes_afar(id, &answer)?;
                daemon.promises.goes_to(id, &answer, &daemon.config)?;
                daemon.promises.handed_out(&answer, &daemon.config, rally, grants, now)?;
                let (items, is_alone) = (daemon.vault.items(&self.items), self.is_alone);
                self.statics.answered(id, &answer, items, is_alone)?;
                if let Reply::SignedIn(_) = &answer {
                    daemon.promises.signed_in.insert(id);
                }
                if let Reply::Token(token) = answer {
                    daemon.has_served = true;
                    daemon.tokens.push((number_of(&token.profile), token.token.expose().to_owned()));
                }
            }
            Effect::Load(epoch, mut key) => {
                if self.planted == Some(Planted::OtherServer) && key.kind == ItemKind::StaticCredentials {
                    key.name = key.name.replace("git0", "git1");
                }
                if key.kind == ItemKind::Gateway {
                    self.gateways.reads(self.at, &key.name);
                    self.me().gateway_reads.insert(key.name.clone(), epoch);
                }
                self.call_vault(epoch, Call::Load(key));
            }
            Effect::Unlock(epoch, _) => self.call_vault(epoch, Call::Unlock),
            Effect::Change(epoch, change) => self.change(epoch, change)?,
            Effect::Erase(epoch, key) => {
                self.me().promises.awaited.insert(epoch, None);
                self.call_vault(epoch, Call::Erase(key));
            }
            Effect::Listen(epoch, expected) => {
                let profile = usize::from(expected.redirect_uri.url().port().unwrap_or(0)) - FIRST_PORT;
                self.note(|| format!("profile {profile} listens as {epoch:?}"));
                let asking = self.asking;
                self.me().promises.may_begin_sign_in(asking)?;
                self.me().promises.listens(profile, epoch)?;
                if self.planted == Some(Planted::TwoFlows) {
                    self.me().promises.listens(profile, epoch)?;
                }
                self.comes_within(20, epoch, Coming::Listening);
            }
            Effect::EndListening(epoch, _) => self.me().promises.ended_listening(epoch),
            Effect::Post { epoch, profile, client_secret, form } => {
                let (client_id, profile) = (profile.client_id, number_of(&profile.name));
                self.note(|| format!("profile {profile} posts as {epoch:?}"));
                if self.me().promises.is_ending() && self.planted != Some(Planted::NeverEnds) {
                    return Err(format!("a daemon that stops begins a token request for profile {profile}"));
                }
                self.me().promises.posts(profile, epoch)?;
                if let TokenForm::Refresh { .. } = &form {
                    self.me().promises.awaited.insert(epoch, Some(profile));
                }
                if self.planted == Some(Planted::TwoTokenRequests) {
                    self.me().promises.posts(profile, epoch)?;
                }
                if let (TokenForm::Refresh { .. }, Some(token)) =
                    (&form, self.me().fresh.get(&profile).cloned())
                    && !self.grants.is_out_of_time(&token, self.calendar_off)
                {
                    may_renew(&token, &self.rally, self.tick)?;
                }
                let (at, mood) = (self.later(), self.mood);
                let client_secret = client_secret.expose().to_owned();
                let outcome = Coming::Answered { profile, form, client_id, client_secret, mood };
                self.me().outcomes.push((at, epoch, outcome));
            }
            Effect::LookUpUser { epoch, token, .. } => {
                let (at, mood, tick) = (self.later(), self.mood, self.tick);
                let token = token.expose().to_owned();
                self.me().promises.looks_up(&token, tick)?;
                self.me().outcomes.push((at, epoch, Coming::LookedUp { mood, token }));
            }
        }
        Ok(())
    }

    /// A person looks at the question, now or in some minutes.
    fn ask_consent(&mut self, epoch: Epoch, question: &Question) {
        let profile = number_of(&question.profile);
        self.note(|| format!("the user is asked about {} as {epoch:?}", question.program));
        self.me().promises.questions.insert(epoch);
        let consent = self.pick(&[
            Some(Consent::Once),
            Some(Consent::Session),
            Some(Consent::Session),
            Some(Consent::Denied),
            Some(Consent::Unanswered),
            None,
        ]);
        let program = question.program.clone();
        self.comes_within(300_000, epoch, Coming::Consented { profile, program, consent });
    }

    /// The source of a client secret is asked.
    fn fetch(&mut self, epoch: Epoch, source: &SecretSource) -> Result<(), Broken> {
        let SecretSource::File(name) = source else { return Ok(()) };
        let profile = number_of(&name.to_string_lossy());
        self.note(|| format!("the source of profile {profile} is asked as {epoch:?}"));
        self.me().promises.fetches(profile, epoch)?;
        if self.planted == Some(Planted::TwoFetches) {
            self.me().promises.fetches(profile, epoch)?;
        }
        if let (Some(Planted::KeptSource), Some(record)) = (self.planted, secret(SOURCE_SECRET)) {
            let key = ItemKey { kind: ItemKind::ClientSecret, name: name_of(profile) };
            self.take(Effect::Change(epoch, Change { key, from: None, to: Some(record) }))?;
        }
        self.comes_later(epoch, Coming::Fetched { profile });
        Ok(())
    }

    /// The program is run that gives a profile's tokens.
    fn run_program(&mut self, epoch: Epoch, command: &CommandLine) -> Result<(), Broken> {
        let profile = number_of(&command.program.to_string_lossy());
        self.note(|| format!("the program of profile {profile} is run as {epoch:?}"));
        self.me().promises.fetches(profile, epoch)?;
        if self.planted == Some(Planted::TwoPrograms) {
            self.me().promises.fetches(profile, epoch)?;
        }
        if self.planted == Some(Planted::KeptToken) {
            let key = ItemKey { kind: ItemKind::Token, name: name_of(profile) };
            self.take(Effect::Change(epoch, Change { key, from: None, to: secret("{}") }))?;
        }
        self.comes_later(epoch, Coming::TokenFetched { profile });
        Ok(())
    }

    /// An item is to be changed.
    fn change(&mut self, epoch: Epoch, change: Change) -> Result<(), Broken> {
        let Change { key, to, .. } = &change;
        if key.kind == ItemKind::Token {
            let refresh_token = to.as_ref().and_then(|record| field(record, "refresh_token"));
            self.note(|| format!("saves {refresh_token:?} for {}", key.name));
            let is_owed = !self.me().vault.is_memory();
            self.grants.wants_kept(self.at, number_of(&key.name), refresh_token.filter(|_| is_owed));
        }
        if key.kind == ItemKind::Token && self.me().config.of(number_of(&key.name)).has_command {
            return Err(format!("a program gives the tokens of {}, and one is kept", key.name));
        }
        if key.kind == ItemKind::ClientSecret
            && to.as_ref().is_some_and(|record| record.expose().contains(SOURCE_SECRET))
        {
            return Err(format!("the client secret of {} has a source, and is kept", key.name));
        }
        // A stop does not wait for a gateway's: whoever wants a key revoked is told that it was not.
        if key.kind != ItemKind::Gateway {
            let profile = (key.kind != ItemKind::StaticCredentials).then(|| number_of(&key.name));
            self.me().promises.awaited.insert(epoch, profile);
        }
        if key.kind != ItemKind::StaticCredentials {
            self.me().saves.insert(epoch, change.clone());
        }
        let is_locked = self.me().promises.is_locked;
        match (self.planted, key.kind) {
            (Some(Planted::LossyLock), ItemKind::Token) if is_locked => self.call_vault(epoch, Call::Swallow),
            (Some(Planted::SwallowedSave), ItemKind::Token)
            | (Some(Planted::SwallowedStore), ItemKind::StaticCredentials)
            | (Some(Planted::SwallowedIdentity), ItemKind::Gateway) => {
                self.call_vault(epoch, Call::Swallow);
            }
            _ => self.call_vault(epoch, Call::Change(change)),
        }
        Ok(())
    }

    /// A write has come to something. Whether it is put to the vault once more, unheard, as one bug does.
    pub(super) fn is_saved_again(&mut self, epoch: Epoch, outcome: &Outcome) -> Result<bool, Broken> {
        let Outcome::Changed(outcome) = outcome else { return Ok(false) };
        let Some(change) = self.me().saves.remove(&epoch) else { return Ok(false) };
        let tick = self.tick;
        self.me().promises.saved(change.key.account(), outcome.is_ok(), tick)?;
        let is_restless = self.planted == Some(Planted::RestlessSaves) && outcome.is_err();
        if is_restless {
            self.me().saves.insert(epoch, change.clone());
            self.call_vault(epoch, Call::Change(change));
        }
        Ok(is_restless)
    }

    fn call_vault(&mut self, epoch: Epoch, call: Call) {
        if self.health == Health::Missing {
            self.statics.uses_memory();
        }
        let daemon = self.daemons.get_mut(self.at).expect("no such daemon");
        daemon.vault.call(&mut self.chance, self.tick, self.health, epoch, call);
    }

    /// What is ordered now comes to something within so many milliseconds.
    pub(super) fn comes_within(&mut self, most: u64, epoch: Epoch, coming: Coming) {
        let at = self.tick + Ticks(self.chance.below(most));
        self.me().outcomes.push((at, epoch, coming));
    }

    fn comes_later(&mut self, epoch: Epoch, coming: Coming) {
        let at = self.later();
        self.me().outcomes.push((at, epoch, coming));
    }

    /// When a request that is sent now is answered.
    fn later(&mut self) -> Tick {
        let most = if self.is_troubled && self.chance.one_in(10) { LATENCY.0 } else { 500 };
        self.tick + Ticks(self.chance.below(most))
    }
}
