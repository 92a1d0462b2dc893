//! One profile's grant and everybody who waits for it. An account is composed of parts, each with its own state, which
//! know nothing of it; the files named for what an account does move them.
//! Does not: know other profiles, or how a request found this one (`broker` does).
//! Used by: `broker`.

// The parts.
mod alerts;
mod backoff;
mod client_secret;
mod cool_down;
mod flow;
mod item;
mod job;
mod reports;
mod slot;
mod token;
mod waiters;

// What an account does with them.
mod identity;
mod keeping;
mod look;
mod notifying;
mod renewal;
mod serving;
mod sign_in;
mod status;
mod suspicion;
mod view;

use rally_cred_proto::{Fault, FaultKind, Secret, message::WaitingOn};

use crate::{
    account::{
        alerts::Alerts, backoff::Backoff, client_secret::ClientSecret, cool_down::CoolDown, item::Item,
        job::Job, reports::Reports, slot::Slot, token::Token, waiters::Waiters,
    },
    event::{AskId, Epoch, Outcome, Peer},
    jobs::Owner,
    policy,
    profile::Profile,
    step::Step,
    time::{Now, Tick},
    waiter::{Waiter, Wants},
};

pub(crate) use identity::is_user;
pub use sign_in::authorization_url;
pub(crate) use view::View;

/// One profile's grant, jobs and waiters. Where something is asked of every part, the account is taken apart by name, so
/// that a new part cannot be left out.
#[derive(Debug)]
pub(crate) struct Account {
    profile: Profile,
    token: Token,
    /// What the vault has of the token.
    token_item: Item,
    client_secret: ClientSecret,
    /// What the vault has of the client secret.
    client_secret_item: Item,
    job: Job,
    waiters: Waiters,
    reports: Reports,
    cool_down: CoolDown,
    alerts: Alerts,
    /// The pause after a renewal that failed.
    backoff: Backoff,
    /// The pause after Rally could not say whose the token is.
    user_backoff: Backoff,
    /// When those who wait for the vault to give the token are told so.
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
            waiters: Waiters::default(),
            reports: Reports::default(),
            cool_down: CoolDown::default(),
            alerts: Alerts::default(),
            backoff: Backoff::default(),
            user_backoff: Backoff::default(),
            keyring_news_at: None,
            last_used: None,
            fault: None,
            vault_fault: None,
        }
    }

    pub(crate) fn profile(&self) -> &Profile {
        &self.profile
    }

    /// Takes a request in, and answers it at once if that can be done.
    pub(crate) fn ask(&mut self, step: &mut Step<'_>, id: AskId, peer: Peer, deadline: Tick, wants: Wants) {
        let (generation, tried) = (self.token.generation(), Vec::new());
        self.take_in(step, Waiter { id, peer, deadline, generation, wants, told: false, tried });
    }

    /// Takes in a request that another profile had no answer for.
    pub(crate) fn take_over(&mut self, step: &mut Step<'_>, waiter: Waiter) {
        let generation = self.token.generation();
        self.take_in(step, Waiter { generation, told: false, ..waiter });
    }

    fn take_in(&mut self, step: &mut Step<'_>, waiter: Waiter) {
        self.token.forget_missing();
        self.client_secret.forget_missing();
        if waiter.is_login() && !waiter.brings_client_secret() {
            self.reconsider_client_secret();
        }
        self.waiters.push(waiter);
        self.advance(step);
    }

    /// Whether this request waits here.
    pub(crate) fn has_waiter(&self, id: AskId) -> bool {
        self.waiters.has(id)
    }

    /// Lets a client go that waited here and left.
    pub(crate) fn left(&mut self, step: &mut Step<'_>, id: AskId) {
        self.waiters.left(id);
        self.drop_deserted_flow(step);
    }

    /// Takes what a job of this account came to. `false` if nobody waits for it any more.
    pub(crate) fn heard(&mut self, step: &mut Step<'_>, epoch: Epoch, outcome: Outcome) -> bool {
        let is_current = match outcome {
            Outcome::Loaded(outcome) => self.loaded(step, epoch, &outcome),
            Outcome::ClientSecretFetched(outcome) => self.client_secret_fetched(step, epoch, &outcome),
            Outcome::Changed(outcome) => self.changed(step, epoch, outcome),
            Outcome::Listening(outcome) => self.listening(step, epoch, outcome),
            Outcome::Redirected(redirect) => self.redirected(step, epoch, redirect),
            Outcome::Answered(raw) => self.answered(step, epoch, raw),
            Outcome::UserLookedUp(raw) => self.user_looked_up(step, epoch, raw),
            Outcome::Erased(_) => false,
        };
        if is_current {
            self.advance(step);
        }
        is_current
    }

    /// Does whatever the time and the state now call for. Every event of the account ends here.
    pub(crate) fn advance(&mut self, step: &mut Step<'_>) {
        self.end_late_flow(step);
        if matches!(self.job, Job::Saving(until) if !self.is_saving() || until <= step.now.tick) {
            self.job = Job::None;
        }
        self.save_again(step);
        self.look_again_if_due(step);
        self.look_into_report(step);
        if matches!(self.token.slot(), Slot::Unread) && !self.waiters.is_empty() {
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
            // Nothing is begun for somebody whose time is up.
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
        // Whoever wants a new sign-in at any rate does not wait for the verdict on the old.
        let is_forced = |waiter: &Waiter| matches!(waiter.wants, Wants::Login { force: true, .. });
        if self.reports.is_open() && !self.waiters.any(is_forced) {
            return;
        }
        if self.waiters.any(|waiter| self.awaits_user(step, waiter)) {
            self.begin_identification(step);
            if !self.job.is_none() {
                return;
            }
        }
        let needs_more = |waiter: &Waiter| !self.awaits_vault_only(step.now, waiter);
        let is_waited_for = self.waiters.any(needs_more);
        if self.waiters.any(|waiter| waiter.is_login() && needs_more(waiter)) {
            if self.wants_secret_tried() {
                self.begin_renewal(step);
            } else {
                self.begin_flow(step);
            }
        } else if self.is_renewable() && !self.backoff.is_on(step.now) {
            if self.has_ended_unserved(step.now) {
                let fault = Fault::new(FaultKind::TimedOut, "the token ended before it could be given out")
                    .why("Rally gives out tokens that live too short, or the keyring takes too long")
                    .remedy("rally-cred doctor");
                self.back_off(step, fault, Some(1));
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

    /// When [`Account::advance`] has something to do though nothing happens.
    pub(crate) fn next_deadline(&self, now: Now) -> Option<Tick> {
        let Self {
            profile: _,
            // A renewal ahead of time depends on several parts.
            token: _,
            backoff: _,
            last_used: _,
            client_secret: _,
            token_item,
            client_secret_item,
            job,
            waiters,
            reports,
            // It holds back what somebody asks for, and does nothing by itself.
            cool_down: _,
            alerts,
            // Whoever asks is told of it, and it does nothing by itself.
            user_backoff: _,
            keyring_news_at,
            fault: _,
            vault_fault: _,
        } = self;
        [
            self.renewal_due(now),
            token_item.again_at(),
            client_secret_item.again_at(),
            job.deadline(),
            waiters.next_deadline(),
            reports.due(),
            alerts.due(),
            *keyring_news_at,
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Whether a new process would find everything again that matters: what is held is in the vault, nobody waits, nobody
    /// was told what is not yet mended, whose button would be dead, and no pause is forgotten that keeps Rally or a person
    /// from being asked too often.
    pub(crate) fn is_forgettable(&self, now: Now) -> bool {
        let Self {
            profile: _,
            token,
            token_item,
            client_secret,
            client_secret_item,
            job,
            waiters,
            reports,
            cool_down,
            alerts,
            backoff,
            // The first that asks anew tells.
            user_backoff: _,
            keyring_news_at: _,
            // A token that nobody has used yet is not renewed ahead of time, and is renewed when it is asked for.
            last_used: _,
            fault: _,
            vault_fault: _,
        } = self;
        (token.held().is_none() || token_item.is_kept())
            && (client_secret.for_vault().is_none() || client_secret_item.is_kept())
            && client_secret.is_forgettable()
            && job.is_none()
            && waiters.is_empty()
            && !reports.is_open()
            && reports.due().is_none()
            && cool_down.is_forgettable(now)
            && alerts.are_over()
            && !backoff.is_on(now)
    }

    /// Forgets all jobs, whose outcomes become stale, and what belongs to the grant, as at a sign-out.
    fn forget(&mut self, step: &mut Step<'_>) {
        self.end_alerts(step);
        let Self {
            profile: _,
            token,
            // A sign-out erases it.
            token_item: _,
            // The next sign-in uses it.
            client_secret: _,
            client_secret_item: _,
            job,
            // The caller answers them.
            waiters: _,
            reports,
            // A person who signs out has not answered.
            cool_down: _,
            // Ended above.
            alerts: _,
            backoff,
            user_backoff,
            keyring_news_at: _,
            last_used: _,
            fault,
            vault_fault,
        } = self;
        token.forget();
        *job = Job::None;
        reports.close();
        (*backoff, *user_backoff) = (Backoff::default(), Backoff::default());
        (*fault, *vault_fault) = (None, None);
    }

    /// The config file chose another vault: what is held goes there, what is not is looked for there.
    pub(crate) fn move_to_other_vault(&mut self, step: &mut Step<'_>) {
        let Self {
            profile: _,
            token,
            token_item,
            client_secret,
            client_secret_item,
            job,
            waiters: _,
            reports: _,
            cool_down: _,
            alerts: _,
            backoff: _,
            user_backoff: _,
            keyring_news_at: _,
            last_used: _,
            fault: _,
            vault_fault,
        } = self;
        (*token_item, *client_secret_item, *vault_fault) = (Item::default(), Item::default(), None);
        if matches!(job, Job::Looking(..) | Job::Pausing(..)) {
            *job = Job::None;
        }
        let is_token_held = token.move_to_other_vault();
        let is_secret_held = client_secret.for_vault().is_some();
        if !is_secret_held {
            client_secret.look_anew();
        }
        // The secret first: a token without it could not be renewed after a crash between the two.
        if is_secret_held {
            self.save_client_secret(step);
        }
        if is_token_held {
            self.save_token(step);
        }
    }

    /// Takes the profile's new shape, whose tokens are the same.
    pub(crate) fn adopt(&mut self, profile: &Profile) {
        let has_other_source = self.profile.client_secret_source != profile.client_secret_source;
        if has_other_source && self.client_secret.for_vault().is_none() {
            self.client_secret.look_anew();
        }
        self.profile = profile.clone();
    }

    /// Takes the account out of service, whose profile was changed or removed.
    pub(crate) fn retire(&mut self, step: &mut Step<'_>) {
        let what = format!("profile {} was changed meanwhile", self.profile.name);
        self.stop(step, &Fault::new(FaultKind::ConfigBroken, what).remedy("ask again"));
        self.end_alerts(step);
    }

    /// Begins nothing more, and answers everybody with this fault.
    pub(crate) fn stop(&mut self, step: &mut Step<'_>, fault: &Fault) {
        self.abandon_flow(step, fault);
        self.fail_all(step, fault);
    }

    /// Whether a token is on its way into the vault, or will be once Rally has answered. What is lost then may be the
    /// only refresh token that still works.
    pub(crate) fn is_unsettled(&self) -> bool {
        self.is_saving() || matches!(self.job, Job::Renewing(..))
    }

    /// What was sent to Rally for this account, or is about to be, and what came back.
    pub(crate) fn secrets(&self) -> impl Iterator<Item = &Secret> {
        let (flow, new) = match &self.job {
            Job::Flow(flow) | Job::Exchanging(_, flow) => (Some(&flow.client_secret), None),
            Job::LookingUp(_, flow, record) => (Some(&flow.client_secret), Some(&**record)),
            Job::None
            | Job::Looking(..)
            | Job::Pausing(..)
            | Job::Renewing(..)
            | Job::Identifying(..)
            | Job::Saving(_) => (None, None),
        };
        let new = new.into_iter().flat_map(|record| [&record.access_token, &record.refresh_token]).flatten();
        self.token.secrets().chain(new).chain(flow).chain(self.client_secret.held())
    }

    /// Whose this account's jobs are.
    fn owner(&self) -> Owner {
        Owner::Account(self.profile.name.clone())
    }

    /// What Rally's answer gives as the remedy is for any profile; the command that helps this one names it.
    fn name_in_remedy(&self, mut fault: Fault) -> Fault {
        if let Some(rest) = fault.remedy.as_deref().and_then(|remedy| remedy.strip_prefix("rally-cred login"))
        {
            fault.remedy = Some(self.profile.command("login") + rest);
        }
        fault
    }

    fn sign_in_needed(&self, why: &str) -> Fault {
        Fault::new(FaultKind::SignInNeeded, format!("no sign-in for profile {}", self.profile.name))
            .why(why)
            .remedy(self.profile.command("login"))
    }
}
