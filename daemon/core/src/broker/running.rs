//! The broker's own life: a new configuration, and its end, by a stop or because it is idle.
//! Does not: answer requests.
//! Used by: `broker`, of which this is a part.

use rally_cred_proto::{Fault, FaultKind, Reply};

use crate::{
    account::Account,
    broker::{Broker, calendar::Calendar, routes::Routes, wake_ups::WakeUps},
    event::{AskId, Effect, Entry},
    policy,
    profile::Config,
    step::Step,
    time::Tick,
};

/// A stop under way: who asked for it, and until when it waits for the vault.
#[derive(Debug)]
pub(super) struct Stop {
    asks: Vec<AskId>,
    pub(super) until: Tick,
}

impl Stop {
    pub(super) fn left(&mut self, id: AskId) {
        self.asks.retain(|ask| *ask != id);
    }
}

impl Broker {
    pub(super) fn read_config(&mut self, step: &mut Step<'_>) {
        self.config_reads += 1;
        step.effects.push(Effect::ReadConfig);
    }

    /// Takes the configuration, or why it cannot be used, and answers whoever asked for a reload.
    pub(super) fn config_read(&mut self, step: &mut Step<'_>, outcome: Result<Config, Fault>) {
        self.config_reads = self.config_reads.saturating_sub(1);
        let asks = std::mem::take(&mut self.reloads);
        let reply = match outcome {
            Ok(config) => {
                step.effects.push(Effect::Log(Entry::Reloaded { profiles: config.profiles.len() }));
                self.apply(step, config);
                Reply::Done
            }
            Err(fault) => {
                step.effects.push(Effect::Log(Entry::ReloadFailed(fault.clone())));
                Reply::Error(fault)
            }
        };
        step.reply_all(asks, &reply);
    }

    /// Applies a new configuration. A token stays only while base URL, client ID and scope are the same.
    fn apply(&mut self, step: &mut Step<'_>, config: Config) {
        let has_other_vault = self.config.keyring != config.keyring;
        if has_other_vault {
            step.keyring = config.keyring.clone();
            self.calendar = Calendar::default();
            step.effects.push(Effect::OpenVault(config.keyring.clone()));
        }
        let mut old = std::mem::take(&mut self.accounts);
        for profile in config.profiles.values() {
            let account = match old.remove(&*profile.name) {
                Some(account) if *account.profile() == *profile => account,
                Some(mut account) if account.profile().shapes_same_token(profile) => {
                    account.retire(step);
                    account.adopt(profile);
                    account
                }
                Some(mut account) => {
                    account.retire(step);
                    Account::new(profile.clone())
                }
                None => Account::new(profile.clone()),
            };
            self.accounts.insert(profile.name.to_string(), account);
        }
        for account in old.values_mut() {
            account.retire(step);
        }
        self.statics.apply(step, config.static_hosts.clone(), has_other_vault);
        if self.stop.is_none() {
            self.gateways.apply(step, &config, has_other_vault);
            self.turns.apply(step, &self.accounts);
            self.forwarding.apply(step, &config);
        }
        for (name, account) in &mut self.accounts {
            if let Err(fault) = self.forwarding.check_afar(name) {
                account.refuse_from_afar(step, &fault);
            }
        }
        self.lock.follow(config.lock);
        if self.config.notify != config.notify {
            step.effects.push(Effect::AlertBy(config.notify.clone()));
        }
        self.routes = Routes::new(&config, self.facts.config.clone());
        self.config = config;
        self.wake_ups = WakeUps::default();
        self.outages.forget_accounts();
        self.with_each_account(step, |account, step| {
            if has_other_vault {
                account.move_to_other_vault(step);
            }
            account.advance(step);
        });
        // Nobody waits for a profile that is gone.
        for status in &mut self.statuses {
            status.forget_missing(&self.accounts);
        }
    }

    pub(super) fn stop(&mut self, step: &mut Step<'_>, ask: Option<AskId>) {
        match &mut self.stop {
            Some(stop) => stop.asks.extend(ask),
            None => {
                step.effects.push(Effect::Log(Entry::Stopping));
                self.stop = Some(Stop {
                    asks: ask.into_iter().collect(),
                    until: step.now.tick + policy::STOP_PATIENCE,
                });
                step.refuse_all(self.reloads.drain(..), &stopping());
                self.statics.fail_all(step, &stopping());
                self.gateways.stop(step, &stopping());
                self.forwarding.stop(step, &stopping());
                self.watchers.fail_all(step, &stopping());
                self.turns.fail_all(step, &stopping());
                self.lock.fail_all(step, &stopping());
                let asked = step.jobs.end_asked(|_| true);
                step.refuse_all(asked, &stopping());
                for account in self.accounts.values_mut() {
                    account.stop(step, &stopping());
                }
            }
        }
    }

    /// Stops if a new process would find everything; if not, the fault says what it would not.
    pub(super) fn make_way(&mut self, step: &mut Step<'_>, id: AskId) -> Result<(), Fault> {
        if let Some(why) = self.need_of_this_process(step) {
            return Err(Fault::new(FaultKind::Failed, "the daemon is busy")
                .why(why)
                .run("rally-cred daemon restart"));
        }
        self.stop(step, Some(id));
        Ok(())
    }

    /// Ends the daemon if it was idle for long and a new process would find everything.
    pub(super) fn leave_if_idle(&mut self, step: &mut Step<'_>) {
        let Some(idleness) = &mut self.idleness else { return };
        if !idleness.is_due(step.now) {
            return;
        }
        // The vault may take now what it did not take before.
        self.statics.keep_what_memory_has(step);
        if self.stop.is_none()
            && !self.lock.needs_this_process()
            && !self.forwarding.is_standing()
            && self.need_of_this_process(step).is_none()
        {
            step.effects.push(Effect::ExitIfDeserted);
        }
    }

    /// What a new process would not find, or who waits for this one.
    fn need_of_this_process(&self, step: &Step<'_>) -> Option<String> {
        let needs = [
            (self.lock.is_closed(), "it is locked"),
            (!self.gateways.is_empty(), "a gateway is open"),
            (self.forwarding.is_held(), "it is forwarded to another machine"),
            (!self.watchers.is_empty(), "somebody watches its tokens"),
            (!self.turns.is_empty(), "a program holds turns at Rally"),
            (!self.statics.is_forgettable(&step.keyring), "a stored password is in memory only"),
            (step.keyring.is_opened_by_a_person(), "somebody has opened its encrypted files"),
            (
                !step.jobs.is_empty()
                    || self.config_reads > 0
                    || !self.statuses.is_empty()
                    || !self.logouts.is_empty(),
                "a request is under way",
            ),
        ];
        let need = needs.into_iter().find_map(|(is_so, need)| is_so.then(|| need.to_owned()));
        let mut accounts = self.accounts.iter();
        need.or_else(|| {
            let (name, _) = accounts.find(|(_, account)| !account.is_forgettable(step.now))?;
            Some(format!("profile {name} is in use, or what it has is in memory only"))
        })
    }

    /// Ends once the vault has what is being written, or its time is up.
    pub(super) fn finish_stop(&mut self, step: &mut Step<'_>) {
        let Some(stop) = &mut self.stop else { return };
        let is_unsettled = self.accounts.values().any(Account::is_unsettled)
            || self.statics.is_unsettled()
            || step.jobs.is_erasing();
        if stop.until <= step.now.tick || !is_unsettled {
            step.refuse_all(self.logouts.drain(..).map(|logout| logout.id), &stopping());
            step.effects.push(Effect::CloseSocket);
            step.reply_all(stop.asks.drain(..), &Reply::Done);
            step.effects.push(Effect::Exit);
        }
    }
}

pub(super) fn stopping() -> Fault {
    Fault::new(FaultKind::Stopping, "the daemon is stopping").run("rally-cred daemon start")
}
