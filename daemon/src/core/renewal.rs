//! Renewal of one profile's token by its refresh token, and the rests between failed attempts.
//! Does not: read Rally's answers (`answer` does).
//! Met by: `account`, of which this is a part.

use rally_cred_proto::{Fault, message::WaitingOn};

use super::{
    account::{Account, Job, Turn},
    answer::{self, FormKind, Grant, Refusal, Refused, TokenAnswer, TokenForm},
    event::{Effect, Epoch, GrantStep},
    keeping::Slot,
    policy,
    record::TokenRecord,
    time::{Now, Tick},
};

/// Refusals without a clear cause before the refresh token counts as dead. Rally answers `invalid_grant` for other
/// causes too, so the first one is not believed.
const UNCLEAR_REFUSALS: u32 = 3;

/// The pause after failures that will pass.
#[derive(Debug, Default)]
pub(super) struct Rest {
    until: Option<Tick>,
    failures: u32,
    unclear: u32,
    pub(super) fault: Option<Fault>,
}

impl Account {
    /// Whether the token can be renewed without a person.
    pub(super) fn is_renewable(&self) -> bool {
        self.token.held().is_some_and(|record| record.refresh_token.is_some())
            && !self.client_secret_refused
            && !matches!(self.client_secret, Slot::Empty | Slot::Missing)
    }

    /// Whether renewal failed a short time ago and is not tried again yet.
    pub(super) fn is_resting(&self, now: Now) -> bool {
        self.rest.until.is_some_and(|until| now.tick < until)
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
        Some(renew_at.max(self.rest.until.unwrap_or(Tick(0))).max(self.no_load_before))
    }

    pub(super) fn is_renewal_due(&self, now: Now) -> bool {
        self.renewal_due(now).is_some_and(|due| due <= now.tick)
    }

    /// Sends the refresh token, once the client secret is known.
    pub(super) fn begin_renewal(&mut self, turn: &mut Turn<'_>) {
        let client_secret = match &self.client_secret {
            Slot::Unread => {
                self.load_client_secret(turn);
                return;
            }
            Slot::Held(client_secret) => client_secret.clone(),
            Slot::Loading(_) | Slot::Empty | Slot::Missing => return,
        };
        let Some(refresh_token) = self.token.held().and_then(|record| record.refresh_token.clone()) else {
            return;
        };
        let epoch = turn.epoch();
        self.job = Job::Renewing(epoch);
        self.tell_all(turn, WaitingOn::Renewal);
        turn.effects.push(Effect::Post {
            epoch,
            profile: self.profile.clone(),
            client_secret,
            form: TokenForm::Refresh { refresh_token },
        });
    }

    /// Takes Rally's answer to a renewal.
    pub(super) fn renewal_answered(&mut self, turn: &mut Turn<'_>, raw: answer::RawAnswer) {
        self.job = Job::None;
        match answer::read_token_answer(FormKind::Refresh, raw) {
            TokenAnswer::Granted(grant) => self.renewed(turn, grant),
            TokenAnswer::Passing { fault, retry_after } => self.rest(turn, fault, retry_after),
            TokenAnswer::Refused(Refusal { of, fault }) => {
                let fault = self.name_in_remedy(fault);
                match of {
                    Refused::Grant => self.drop_refresh_token(turn, fault),
                    Refused::Client => {
                        self.client_secret_refused = true;
                        turn.coped(&self.profile.name, &fault);
                        self.want_alert(turn, &fault.what);
                        self.fault = Some(fault);
                    }
                    Refused::Address => self.rest(turn, fault, None),
                    Refused::Unclear if self.rest.unclear + 1 < UNCLEAR_REFUSALS => {
                        self.rest.unclear += 1;
                        self.rest(turn, fault, None);
                    }
                    Refused::Unclear => self.drop_refresh_token(turn, fault),
                }
            }
        }
    }

    fn renewed(&mut self, turn: &mut Turn<'_>, grant: Grant) {
        let old = self.token.held();
        let mut record = record_of(&self.profile, turn.now, grant, old.and_then(|old| old.username.clone()));
        // Without a new refresh token the old one stays good.
        record.refresh_token = record.refresh_token.or_else(|| old.and_then(|old| old.refresh_token.clone()));
        self.rest = Rest::default();
        self.fault = None;
        turn.log(&self.profile.name, GrantStep::Renewed);
        self.take_new_token(turn, record);
    }

    /// Holds a new token, has it saved, and lets callers wait for that a moment.
    pub(super) fn take_new_token(&mut self, turn: &mut Turn<'_>, record: TokenRecord) {
        self.generation += 1;
        self.suspect = None;
        self.end_alerts(turn);
        self.hold(turn, record);
        self.save_token(turn);
        self.job = Job::Saving(turn.now.tick + policy::SAVE_PATIENCE);
    }

    fn drop_refresh_token(&mut self, turn: &mut Turn<'_>, fault: Fault) {
        turn.log(&self.profile.name, GrantStep::RenewalRefused);
        turn.coped(&self.profile.name, &fault);
        self.want_alert(turn, &fault.what);
        self.fault = Some(fault);
        self.rest = Rest::default();
        if let Slot::Held(record) = &mut self.token {
            record.refresh_token = None;
            if record.access_token.is_none() {
                self.erase_token(turn);
            } else {
                self.save_token(turn);
            }
        }
    }

    fn rest(&mut self, turn: &mut Turn<'_>, fault: Fault, retry_after: Option<u32>) {
        turn.coped(&self.profile.name, &fault);
        self.rest.failures += 1;
        self.rest.until = Some(turn.now.tick + policy::rest(self.rest.failures, retry_after, turn.dice));
        self.rest.fault = Some(fault.clone());
        self.fault = Some(fault.clone());
        // Who waited for this attempt is answered by it; the next request after the rest makes the next attempt.
        self.refuse(turn, &fault);
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

impl Job {
    /// Whether this is the renewal of that name.
    pub(super) fn is_renewal(&self, epoch: Epoch) -> bool {
        matches!(self, Self::Renewing(own) if *own == epoch)
    }
}
