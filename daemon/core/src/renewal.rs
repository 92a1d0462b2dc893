//! Renewal of one profile's token by its refresh token, and the rests between failed attempts.
//! Does not: read Rally's answers (`answer` does).
//! Used by: `account`, of which this is a part.

use rally_cred_proto::{Fault, Secret, message::WaitingOn};

use super::{
    account::{Account, Job, Wants},
    answer::{self, FormKind, Grant, Refusal, Refused, TokenAnswer, TokenForm},
    event::{Effect, GrantStep},
    keeping::Slot,
    policy,
    record::TokenRecord,
    step::Step,
    time::{Now, Tick, Ticks},
};

/// The pause after failures that will pass.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    until: Option<Tick>,
    failures: u32,
    fault: Option<Fault>,
    /// Refusals without a clear cause, in a row.
    unclear: u32,
}

impl Backoff {
    /// Why nothing is tried now, while the pause lasts.
    pub(super) fn fault_while_resting(&self, now: Now) -> Option<Fault> {
        self.fault.clone().filter(|_| self.is_on(now))
    }

    fn is_on(&self, now: Now) -> bool {
        self.until.is_some_and(|until| now.tick < until)
    }

    /// Begins a pause, longer than the last.
    pub(super) fn failed(&mut self, step: &mut Step<'_>, fault: Fault, retry_after: Option<u32>) {
        self.failures += 1;
        self.until = Some(step.now.tick + policy::backoff(self.failures, retry_after, step.dice));
        self.fault = Some(fault);
    }

    /// Whether an unclear refusal came often enough to be believed.
    fn is_believed(&mut self) -> bool {
        self.unclear += 1;
        self.unclear >= policy::REFUSALS
    }
}

/// How far the held client secret is believed in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Trust {
    #[default]
    Full,
    /// Rally refused it so often in a row, and it is tried again.
    Doubted(u32),
    /// Rally refuses it; it stays in the vault until a better one is there.
    None,
}

/// What Rally has refused, so that it is not used again though it may still stand in the vault: a refusal writes nothing,
/// since what stands there may be another daemon's by now.
#[derive(Debug, Default)]
pub(super) struct Refuted {
    pub(super) access_token: Option<Secret>,
    pub(super) refresh_token: Option<Secret>,
}

impl Account {
    /// Whether the token can be renewed without a person.
    pub(super) fn is_renewable(&self) -> bool {
        self.usable_refresh_token().is_some()
            && self.trust != Trust::None
            && !matches!(self.client_secret, Slot::Empty | Slot::Missing)
    }

    /// The held refresh token, unless Rally has refused it.
    pub(super) fn usable_refresh_token(&self) -> Option<&Secret> {
        let held = self.token.held().and_then(|record| record.refresh_token.as_ref());
        held.filter(|held| !self.refuted.refresh_token.as_ref().is_some_and(|refuted| refuted.matches(held)))
    }

    /// Whether renewal failed a short time ago and is not tried again yet.
    pub(super) fn is_resting(&self, now: Now) -> bool {
        self.backoff.is_on(now)
    }

    /// A person is there who may know a better client secret; the one that Rally refused is tried once more before they
    /// are asked, if a renewal can try it.
    pub(super) fn reconsider_client_secret(&mut self) {
        if self.trust == Trust::None
            && !self.client_secret_is_fetched
            && self.usable_refresh_token().is_some()
        {
            self.trust = Trust::Doubted(policy::REFUSALS);
            self.read_client_secret_again();
        }
    }

    /// Another daemon may have been given a better client secret: the next attempt takes what the vault has by then.
    fn read_client_secret_again(&mut self) {
        if self.client_secret_keep.kept && !self.client_secret_is_fetched {
            self.client_secret = Slot::Unread;
        }
    }

    /// Whether a renewal is to show that the client secret is good, before a person is asked to sign in with it.
    pub(super) fn wants_secret_tried(&self) -> bool {
        matches!(self.trust, Trust::Doubted(_))
            && !self.client_secret_is_fetched
            && self.is_renewable()
            && !self
                .waiters
                .iter()
                .any(|waiter| matches!(waiter.wants, Wants::Login { client_secret: Some(_), .. }))
    }

    fn is_login_waiting(&self) -> bool {
        self.waiters.iter().any(|waiter| matches!(waiter.wants, Wants::Login { .. }))
    }

    /// When renewal ahead of time is due, if the token is in use.
    pub(super) fn renewal_due(&self, now: Now) -> Option<Tick> {
        let renew_at = self.renew_at?;
        let is_idle = matches!(self.job, Job::None)
            && self.is_renewable()
            && !matches!(self.client_secret, Slot::Loading(_));
        if !is_idle || !policy::is_used_lately(now, self.last_used) || self.validity(now).is_none() {
            return None;
        }
        Some(renew_at.max(self.backoff.until.unwrap_or(Tick(0))).max(self.no_load_before))
    }

    pub(super) fn is_renewal_due(&self, now: Now) -> bool {
        self.renewal_due(now).is_some_and(|due| due <= now.tick)
    }

    /// Sends the refresh token, once the client secret is known and nobody else has renewed the token.
    pub(super) fn begin_renewal(&mut self, step: &mut Step<'_>) {
        let client_secret = match &self.client_secret {
            Slot::Unread => {
                self.load_client_secret(step);
                return;
            }
            Slot::Held(client_secret) => client_secret.clone(),
            Slot::Loading(_) | Slot::Empty | Slot::Missing => return,
        };
        if self.look_before_renewal(step) {
            return;
        }
        let Some(refresh_token) = self.usable_refresh_token().cloned() else { return };
        self.tell_all(step, WaitingOn::Renewal);
        let (profile, form) =
            (self.profile.clone(), TokenForm::Refresh { refresh_token: refresh_token.clone() });
        let epoch = step.begin(self.owner(), |epoch| Effect::Post { epoch, profile, client_secret, form });
        self.job = Job::Renewing(epoch, refresh_token);
    }

    /// Takes Rally's answer to a renewal by this refresh token.
    pub(super) fn renewal_answered(&mut self, step: &mut Step<'_>, sent: Secret, raw: answer::RawAnswer) {
        let answer = answer::read_token_answer(FormKind::Refresh, raw);
        // Another grant has come in the meantime, and this answer is about the old one.
        if !self.usable_refresh_token().is_some_and(|held| held.matches(&sent)) {
            return;
        }
        match answer {
            TokenAnswer::Granted(grant) => self.renewed(step, grant),
            TokenAnswer::Passing { fault, retry_after } => self.back_off(step, fault, retry_after),
            TokenAnswer::Refused(Refusal { of, fault }) => {
                let fault = self.name_in_remedy(fault);
                match of {
                    Refused::Grant => self.look_after_refusal(step, sent, fault),
                    Refused::Client => self.doubt_client_secret(step, fault),
                    Refused::Address => self.back_off(step, fault, None),
                    Refused::Unclear if self.backoff.is_believed() => {
                        self.look_after_refusal(step, sent, fault);
                    }
                    Refused::Unclear => self.back_off(step, fault, None),
                }
            }
        }
    }

    /// Rally says that the client secret is wrong. It is believed when it has said so several times, or when a person is
    /// there to give another.
    fn doubt_client_secret(&mut self, step: &mut Step<'_>, fault: Fault) {
        let times = match self.trust {
            Trust::Doubted(times) => times + 1,
            Trust::Full | Trust::None => 1,
        };
        if times < policy::REFUSALS && !self.is_login_waiting() {
            self.read_client_secret_again();
            self.trust = Trust::Doubted(times);
            return self.back_off(step, fault, None);
        }
        self.trust = Trust::None;
        self.backoff = Backoff::default();
        step.recovered(&self.profile.name, &fault);
        self.want_alert(step, &fault.what);
        self.fault = Some(fault);
    }

    fn renewed(&mut self, step: &mut Step<'_>, grant: Grant) {
        let old = self.token.held();
        let mut record = record_of(&self.profile, step.now, grant, old.and_then(|old| old.username.clone()));
        // Without a new refresh token the old one stays good.
        record.refresh_token = record.refresh_token.or_else(|| old.and_then(|old| old.refresh_token.clone()));
        record.signed_in_at = old.and_then(|old| old.signed_in_at);
        self.backoff = Backoff::default();
        self.trust = Trust::Full;
        self.fault = None;
        step.log(&self.profile.name, GrantStep::Renewed);
        self.take_new_token(step, record);
        self.renewed = self.generation;
    }

    /// Holds a new token, has it saved, and lets callers wait for that a moment.
    pub(super) fn take_new_token(&mut self, step: &mut Step<'_>, record: TokenRecord) {
        self.generation += 1;
        self.suspect = None;
        self.refuted = Refuted::default();
        self.brake.new_token();
        self.end_alerts(step);
        self.note_divergence();
        self.hold(step, record, Ticks(0));
        self.save_token(step);
        self.job = Job::Saving(step.now.tick + policy::SAVE_PATIENCE);
    }

    /// Rally does not take this refresh token, and no other is to be found.
    pub(super) fn give_up_refresh_token(&mut self, step: &mut Step<'_>, sent: Secret, fault: Fault) {
        step.log(&self.profile.name, GrantStep::RenewalRefused);
        step.recovered(&self.profile.name, &fault);
        self.refuted.refresh_token = Some(sent);
        self.want_alert(step, &fault.what);
        self.fault = Some(fault);
        self.backoff = Backoff::default();
        // The grant may be revoked, and the access token with it.
        self.question_token(step);
    }

    /// Pauses, and answers with the fault whoever waited for this attempt; the next request after the pause makes the next.
    pub(super) fn back_off(&mut self, step: &mut Step<'_>, fault: Fault, retry_after: Option<u32>) {
        step.recovered(&self.profile.name, &fault);
        self.backoff.failed(step, fault.clone(), retry_after);
        self.fault = Some(fault.clone());
        self.refuse(step, &fault);
    }
}

/// The record of a grant that was just given.
pub(super) fn record_of(
    profile: &super::profile::Profile,
    now: Now,
    grant: Grant,
    username: Option<String>,
) -> TokenRecord {
    let mut record = TokenRecord::new(profile, now.wall.0);
    record.expires_at =
        grant.expires_in.map(|life| now.wall.after(i64::try_from(life).unwrap_or(i64::MAX)).0);
    record.access_token = Some(grant.access_token);
    record.refresh_token = grant.refresh_token;
    record.username = username;
    record
}
