//! One profile's grant, and everybody who waits for it. An account is composed of parts, each with its own state and
//! none aware of the account; the files named for what an account does move them.
//! Does not: know other profiles, or how a request found this one (`broker` does).
//! Used by: `broker`.

// The parts.
mod alerts;
mod backoff;
mod client_secret;
mod consents;
mod cool_down;
mod job;
mod lease;
mod reports;
mod slot;
mod token;

// What an account does with them.
mod admission;
mod alerting;
mod every_part;
mod exchange;
mod fetching;
mod identity;
mod keeping;
mod leasing;
mod locking;
mod look;
mod renewal;
mod serving;
mod sign_in;
mod status;
mod suspicion;
mod unlocking;
mod view;

use rally_cred_proto::{
    Fault, FaultKind, Secret,
    message::WaitingOn,
    remedy::{Command, Remedy},
};

use crate::{
    account::{
        alerts::Alerts, backoff::Backoff, client_secret::ClientSecret, consents::Consents,
        cool_down::CoolDown, job::Job, lease::Lease, reports::Reports, slot::Slot, token::Token,
    },
    answer::Retry,
    event::{AskId, Epoch, Outcome},
    item::Item,
    jobs::Owner,
    policy,
    profile::Profile,
    step::Step,
    time::Tick,
    waiter::{Waiter, Wants},
};

pub(crate) use identity::is_user;
pub use sign_in::authorization_url;
pub(crate) use view::View;

/// One profile's grant, jobs and waiters.
#[derive(Debug)]
pub(crate) struct Account {
    profile: Profile,
    token: Token,
    token_item: Item,
    client_secret: ClientSecret,
    client_secret_item: Item,
    job: Job,
    /// Whose turn it is to renew, where many daemons share the vault.
    lease: Lease,
    /// In the order in which they came.
    waiters: Vec<Waiter>,
    /// Whose programs the user lets have a token, and who waits for that.
    consents: Consents,
    reports: Reports,
    cool_down: CoolDown,
    alerts: Alerts,
    /// The pause after a renewal that failed.
    backoff: Backoff,
    /// The pause after Rally could not say whose token it is.
    user_backoff: Backoff,
    /// The vault is locked. It is asked again once it is unlocked, or for a caller who does not wait for that.
    is_shut: bool,
    /// When to tell those who wait that the keyring is slow.
    keyring_news_at: Option<Tick>,
    last_used: Option<Tick>,
    fault: Option<Fault>,
    vault_fault: Option<Fault>,
}

impl Account {
    pub(crate) fn new(profile: Profile) -> Self {
        Self {
            profile,
            token: Token::default(),
            token_item: Item::default(),
            client_secret: ClientSecret::default(),
            client_secret_item: Item::default(),
            job: Job::None,
            lease: Lease::default(),
            waiters: Vec::new(),
            consents: Consents::default(),
            reports: Reports::default(),
            cool_down: CoolDown::default(),
            alerts: Alerts::default(),
            backoff: Backoff::default(),
            user_backoff: Backoff::default(),
            is_shut: false,
            keyring_news_at: None,
            last_used: None,
            fault: None,
            vault_fault: None,
        }
    }

    pub(crate) fn profile(&self) -> &Profile {
        &self.profile
    }

    /// Takes a request in, perhaps after another profile had no answer for it, and answers it at once if possible.
    pub(crate) fn ask(&mut self, step: &mut Step<'_>, mut waiter: Waiter) {
        (waiter.generation, waiter.told) = (self.token.generation(), false);
        if step.is_locked {
            step.tell_waiting(waiter.id, &self.profile.name, WaitingOn::Unlock);
        }
        self.token.forget_missing();
        self.client_secret.forget_missing();
        self.is_shut = false;
        if waiter.is_login() && !waiter.brings_client_secret() {
            self.reconsider_client_secret();
        }
        match waiter.wants {
            Wants::Get { .. } if !self.profile.gate.is_open() => self.apply(step, waiter),
            _ => self.waiters.push(waiter),
        }
        self.advance(step);
    }

    pub(crate) fn has_waiter(&self, id: AskId) -> bool {
        self.consents.has_waiter(id) || self.waiters.iter().any(|waiter| waiter.id == id)
    }

    pub(crate) fn left(&mut self, step: &mut Step<'_>, id: AskId) {
        self.consents.left(id);
        self.waiters.retain(|waiter| waiter.id != id);
        self.drop_deserted_flow(step);
    }

    /// Takes the outcome of a job. `false` if it is stale.
    pub(crate) fn heard(&mut self, step: &mut Step<'_>, epoch: Epoch, outcome: Outcome) -> bool {
        let is_current = match outcome {
            Outcome::Loaded(outcome) => self.loaded(step, epoch, &outcome),
            Outcome::ClientSecretFetched(outcome) => self.client_secret_fetched(step, epoch, &outcome),
            Outcome::TokenFetched(outcome) => self.fetched(step, epoch, outcome),
            Outcome::Changed(outcome) => self.changed(step, epoch, outcome),
            Outcome::Listening(outcome) => self.listening(step, epoch, outcome),
            Outcome::Redirected(redirect) => self.redirected(step, epoch, redirect),
            Outcome::Answered(raw) => self.answered(step, epoch, raw),
            Outcome::UserLookedUp(raw) => self.user_looked_up(step, epoch, raw),
            Outcome::Identified => self.program_is_known(step, epoch),
            Outcome::Consented(consent) => self.consented(step, epoch, consent),
            Outcome::Erased(_) | Outcome::Unlocked(_) | Outcome::Repaired(..) => false,
            Outcome::GatewayOpened(_) | Outcome::ForwardOpened(_) => false,
        };
        if is_current {
            self.advance(step);
        }
        is_current
    }

    /// Does whatever time and state now call for. Every event of the account ends here.
    pub(crate) fn advance(&mut self, step: &mut Step<'_>) {
        if step.is_locked {
            return self.rest(step);
        }
        self.refuse_late_applicants(step);
        self.end_late_flow(step);
        if matches!(self.job, Job::Saving(until) if !self.is_saving() || until <= step.now.tick) {
            self.job = Job::None;
        }
        self.save_again(step);
        self.look_again_if_due(step);
        self.extend_lease_if_due(step);
        if step.is_stopping {
            return;
        }
        self.look_into_report(step);
        if matches!(self.token.slot(), Slot::Unread) && !self.waiters.is_empty() && !self.is_shut {
            self.load_token(step);
            self.keyring_news_at = Some(step.now.tick + policy::KEYRING_NEWS);
        }
        if !matches!(self.token.slot(), Slot::Loading(_)) {
            self.keyring_news_at = None;
        } else if self.keyring_news_at.take_if(|at| *at <= step.now.tick).is_some() {
            self.tell_all(step, WaitingOn::Keyring);
        }
        if !matches!(self.token.slot(), Slot::Unread | Slot::Loading(_)) {
            self.serve(step);
            // Nothing is begun for a caller whose time is up.
            self.turn_away_late(step);
            if self.job.is_none() {
                self.begin_work(step);
            }
        }
        self.turn_away_late(step);
        self.notify_if_due(step);
    }

    /// Begins what the remaining waiters need, or refuses them.
    fn begin_work(&mut self, step: &mut Step<'_>) {
        // Whoever forces a new sign-in does not wait for the verdict on the old token.
        let is_forced = |waiter: &Waiter| matches!(waiter.wants, Wants::Login { force: true, .. });
        if self.reports.is_open() && !self.waiters.iter().any(is_forced) {
            return;
        }
        if self.waiters.iter().any(|waiter| self.awaits_user(step, waiter)) {
            self.begin_identification(step);
            if !self.job.is_none() {
                return;
            }
        }
        let needs_more = |waiter: &Waiter| !self.awaits_vault_only(step.now, waiter);
        let is_waited_for = self.waiters.iter().any(needs_more);
        if step.keyring.is_read_only() && !self.has_command() {
            if is_waited_for {
                self.await_other_daemons(step);
            }
        } else if self.waiters.iter().any(|waiter| waiter.is_login() && needs_more(waiter)) {
            if self.has_command() || self.wants_secret_tried() {
                self.begin_renewal(step);
            } else {
                self.begin_flow(step);
            }
        } else if self.is_renewable() && !self.backoff.is_on(step.now) {
            if self.has_ended_unserved(step.now) {
                let fault = Fault::new(FaultKind::TimedOut, "the token ended before it could be given out")
                    .why("Rally gives out tokens that live too short, or the keyring takes too long")
                    .run("rally-cred doctor");
                self.back_off(step, fault, Retry::After(1));
            } else if is_waited_for || self.is_renewal_due(step.now) {
                self.begin_renewal(step);
            }
        } else if self.is_renewable() {
            if let Some(fault) = self.backoff.fault(step.now) {
                self.refuse(step, &fault);
            }
        } else if is_waited_for && !self.look_before_sign_in(step) {
            self.begin_flow(step);
        }
    }

    /// Takes the changed profile, whose tokens are the same.
    pub(crate) fn adopt(&mut self, profile: &Profile) {
        let has_other_source = self.profile.client_secret_source != profile.client_secret_source;
        if has_other_source && self.client_secret.for_vault().is_none() {
            self.client_secret.look_anew();
        }
        self.profile = profile.clone();
    }

    /// Ends what is under way, since the profile was changed or removed.
    pub(crate) fn retire(&mut self, step: &mut Step<'_>) {
        let what = format!("profile {} was changed meanwhile", self.profile.name);
        self.stop(step, &Fault::new(FaultKind::ConfigBroken, what).remedy("ask again"));
        self.end_alerts(step);
    }

    /// Begins nothing more, and answers everybody with this fault.
    pub(crate) fn stop(&mut self, step: &mut Step<'_>, fault: &Fault) {
        self.abandon_flow(step, fault);
        self.forget_consents(step);
        self.refuse_applicants(step, fault);
        self.fail_all(step, fault);
    }

    /// Whether a token is being saved, or will be once Rally has answered; it may be the only refresh token that works.
    pub(crate) fn is_unsettled(&self) -> bool {
        self.is_saving() || matches!(self.job, Job::Renewing(..))
    }

    /// Every secret that was sent to Rally for this account, or is about to be, and what came back.
    pub(crate) fn secrets(&self) -> impl Iterator<Item = &Secret> {
        let new = if let Job::LookingUp(_, _, record) = &self.job { Some(&**record) } else { None };
        let new = new.into_iter().flat_map(|record| [&record.access_token, &record.refresh_token]).flatten();
        let flow = self.job.flow().map(|flow| &flow.client_secret);
        self.token.secrets().chain(new).chain(flow).chain(self.client_secret.held())
    }

    fn owner(&self) -> Owner {
        Owner::Account(self.profile.name.to_string())
    }

    /// Rally's answer gives a remedy for any profile; this names the profile in it.
    fn name_in_remedy(&self, mut fault: Fault) -> Fault {
        if let Some(Remedy { command: Some(command), .. }) = &mut fault.remedy
            && let Some(flags) = command.words().strip_prefix(Command::new("rally-cred login").words())
        {
            *command = flags.iter().fold(self.profile.command("login"), Command::arg);
        }
        fault
    }

    fn sign_in_needed(&self, why: &str) -> Fault {
        Fault::new(FaultKind::SignInNeeded, format!("no sign-in for profile {}", self.profile.name))
            .why(why)
            .remedy(self.profile.command("login"))
    }
}
