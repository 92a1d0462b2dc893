//! Renewal of a token by its refresh token, or by whatever else gives the next one.
//! Does not: read Rally's answers (`answer` does), or measure pauses (`backoff` does).
//! Used by: `account`, of which this is a part.

use rally_cred_proto::{Fault, Secret, message::WaitingOn};

use crate::{
    account::{Account, backoff::Backoff, job::Job, slot::Slot},
    answer::{self, FormKind, Grant, RawAnswer, Refusal, Refused, Retry, TokenAnswer, TokenForm},
    event::{Effect, GrantStep},
    policy,
    profile::Profile,
    record::TokenRecord,
    step::Step,
    time::{Now, Tick, Wall},
    waiter::Waiter,
};

impl Account {
    pub(super) fn is_renewable(&self) -> bool {
        self.has_command() || self.token.usable_refresh().is_some() && self.client_secret.may_serve()
    }

    /// A person who may know a better client secret is there; the one that Rally refused is tried once more before they
    /// are asked, if a renewal can try it.
    pub(super) fn reconsider_client_secret(&mut self) {
        if self.token.usable_refresh().is_some() && self.client_secret.reconsider() {
            self.read_client_secret_again();
        }
    }

    /// Another daemon may have a better client secret: the next attempt takes what the vault has by then.
    fn read_client_secret_again(&mut self) {
        if self.client_secret.for_vault().is_some() && self.client_secret_item.is_kept() {
            self.client_secret.unread();
        }
    }

    /// Whether a renewal should try the client secret before a person is asked to sign in with it.
    pub(super) fn wants_secret_tried(&self) -> bool {
        self.client_secret.is_on_trial()
            && self.is_renewable()
            && !self.waiters.iter().any(Waiter::brings_client_secret)
    }

    /// When to renew ahead of time, if the token is in use.
    pub(super) fn renewal_due(&self, now: Now) -> Option<Tick> {
        let renew_at = self.token.renew_at()?;
        let is_idle = self.job.is_none()
            && self.is_renewable()
            && !matches!(self.client_secret.slot(), Slot::Loading(_));
        if !is_idle || !policy::is_used_lately(now, self.last_used) || self.validity(now).is_none() {
            return None;
        }
        Some(renew_at).max(self.backoff.until()).max(self.client_secret.no_load_before())
    }

    pub(super) fn is_renewal_due(&self, now: Now) -> bool {
        // The token may have ended while there was no network.
        let is_owed = self.backoff.owes_retry() && !self.client_secret.is_put_off(now);
        is_owed || self.renewal_due(now).is_some_and(|due| due <= now.tick)
    }

    /// Whether the network was in the way of something, which is worth another try once it is another.
    pub(crate) fn awaits_network(&self) -> bool {
        self.backoff.awaits_network() || self.user_backoff.awaits_network() || self.cool_down.awaits_network()
    }

    /// The network is another, or the machine has slept.
    pub(crate) fn online(&mut self, step: &mut Step<'_>) {
        self.backoff.online(step.now);
        self.user_backoff.online(step.now);
        self.cool_down.online();
        self.advance(step);
    }

    /// Runs the program that gives the token, if there is one. Else sends the refresh token, once the client secret is known
    /// and no other daemon has renewed the token.
    pub(super) fn begin_renewal(&mut self, step: &mut Step<'_>) {
        if let Some(command) = self.profile.token_command.clone() {
            return self.begin_fetch(step, command);
        }
        if matches!(self.client_secret.slot(), Slot::Unread) && !self.is_shut {
            return self.load_client_secret(step);
        }
        let Some(client_secret) = self.client_secret.usable().cloned() else { return };
        if step.keyring.is_shared() {
            return self.begin_shared_renewal(step);
        }
        if self.look_before_renewal(step) {
            return;
        }
        let Some(refresh_token) = self.token.usable_refresh().cloned() else { return };
        self.post_refresh_token(step, client_secret, refresh_token);
    }

    pub(super) fn post_refresh_token(
        &mut self,
        step: &mut Step<'_>,
        client_secret: Secret,
        refresh_token: Secret,
    ) {
        self.tell_all(step, WaitingOn::Renewal);
        let (profile, form) =
            (self.profile.clone(), TokenForm::Refresh { refresh_token: refresh_token.clone() });
        let epoch = step.begin(self.owner(), |epoch| Effect::Post { epoch, profile, client_secret, form });
        self.job = Job::Renewing(epoch, refresh_token, None);
    }

    pub(super) fn renewal_answered(&mut self, step: &mut Step<'_>, sent: Secret, raw: RawAnswer) {
        self.lease.over();
        let answer = answer::read_token_answer(FormKind::Refresh, raw);
        // Another grant has come meanwhile; this answer is about the old one.
        if !self.token.usable_refresh().is_some_and(|held| held.matches(&sent)) {
            return;
        }
        match answer {
            TokenAnswer::Granted(grant) => self.renewed(step, grant),
            TokenAnswer::Passing { fault, retry } => self.back_off(step, fault, retry),
            TokenAnswer::Refused(Refusal { of, fault }) => {
                let fault = self.name_in_remedy(fault);
                match of {
                    Refused::Grant => self.look_after_refusal(step, sent, fault),
                    Refused::Client => self.doubt_client_secret(step, fault),
                    Refused::Address => self.back_off(step, fault, Retry::Later),
                    Refused::Unclear if self.backoff.is_believed() => {
                        self.look_after_refusal(step, sent, fault);
                    }
                    Refused::Unclear => self.back_off(step, fault, Retry::Later),
                }
            }
        }
    }

    fn doubt_client_secret(&mut self, step: &mut Step<'_>, fault: Fault) {
        if !self.client_secret.doubt(self.waiters.iter().any(Waiter::is_login)) {
            self.read_client_secret_again();
            return self.back_off(step, fault, Retry::Later);
        }
        self.backoff = Backoff::default();
        step.recovered(&self.profile.name, &fault);
        self.want_alert(step, &fault.what);
        self.fault = Some(fault);
    }

    fn renewed(&mut self, step: &mut Step<'_>, grant: Grant) {
        let old = self.token.held();
        let mut record =
            record_of(&self.profile, step.issued, grant, old.and_then(|old| old.username.clone()));
        record.generation = self.next_generation(step);
        // Without a new refresh token the old one stays valid.
        record.refresh_token = record.refresh_token.or_else(|| old.and_then(|old| old.refresh_token.clone()));
        record.signed_in_at = old.and_then(|old| old.signed_in_at);
        self.backoff = Backoff::default();
        self.client_secret.accepted();
        self.fault = None;
        step.log(&self.profile.name, GrantStep::Renewed);
        self.take_new_token(step, record, false);
    }

    /// The number of the token that follows the held one, where many daemons share the vault.
    pub(super) fn next_generation(&self, step: &Step<'_>) -> u64 {
        match step.keyring.is_shared() {
            true => self.token.held().map_or(0, |held| held.generation).saturating_add(1),
            false => 0,
        }
    }

    /// Holds a new token and has it saved, which callers wait for a moment.
    pub(super) fn take_new_token(&mut self, step: &mut Step<'_>, record: TokenRecord, is_sign_in: bool) {
        self.reports.new_token();
        self.end_alerts(step);
        self.note_divergence();
        self.token.obtained(step.now, step.dice, record, is_sign_in);
        self.save_token(step);
        self.job = Job::Saving(step.now.tick + policy::SAVE_PATIENCE);
    }

    /// Rally refuses this refresh token, and there is no other.
    pub(super) fn give_up_refresh_token(&mut self, step: &mut Step<'_>, sent: Secret, fault: Fault) {
        step.log(&self.profile.name, GrantStep::RenewalRefused);
        step.recovered(&self.profile.name, &fault);
        self.token.refuse_refresh(sent);
        self.want_alert(step, &fault.what);
        self.fault = Some(fault);
        self.backoff = Backoff::default();
        // The grant may be revoked, and its access token with it.
        self.question_token(step);
    }

    /// Begins a pause, and refuses those who waited for this attempt; the next request after the pause makes another.
    pub(super) fn back_off(&mut self, step: &mut Step<'_>, fault: Fault, retry: Retry) {
        step.recovered(&self.profile.name, &fault);
        self.backoff.failed(step, fault.clone(), retry);
        self.fault = Some(fault.clone());
        self.refuse(step, &fault);
    }
}

/// The record of a token that Rally issued at this time, or at most a moment later.
pub(super) fn record_of(
    profile: &Profile,
    issued: Wall,
    grant: Grant,
    username: Option<String>,
) -> TokenRecord {
    let mut record = TokenRecord::new(profile, issued.0);
    record.expires_at = grant.expires_in.map(|life| issued.after(i64::try_from(life).unwrap_or(i64::MAX)).0);
    record.access_token = Some(grant.access_token);
    record.refresh_token = grant.refresh_token;
    record.username = username;
    record
}
