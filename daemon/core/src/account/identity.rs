//! Whose token it is: a caller who wants a certain user's token gets none before Rally has said whose it is.
//! Does not: choose among profiles (`broker` does).
//! Used by: `account`, of which this is a part.

use rally_cred_proto::{Fault, FaultKind, Secret, remedy::Command};

use crate::{
    account::{Account, backoff::Backoff, job::Job},
    answer::{self, RawAnswer, Retry, UserAnswer},
    event::{Effect, Epoch, GrantStep},
    record::TokenRecord,
    step::Step,
    waiter::{Waiter, Wants},
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Identity {
    /// It is, or any user will do.
    Right,
    /// Rally was not asked, or could not be.
    Unknown,
    /// It is not the user that the caller wants, who may be served by another profile.
    OtherThanAsked,
    /// It is not the user that the profile is for.
    OtherThanConfigured,
}

/// The user name that clients show for an unknown user; git sends it back with the next request.
const UNKNOWN_USER: &str = "oauth";

/// Whether the wanted user is the known one; `None` if that cannot be told.
pub(crate) fn is_user(wanted: Option<&str>, known: Option<&str>) -> Option<bool> {
    match (wanted.filter(|wanted| !wanted.is_empty() && *wanted != UNKNOWN_USER), known) {
        (None, _) => Some(true),
        (Some(_), None) => None,
        (Some(wanted), Some(known)) => Some(wanted.eq_ignore_ascii_case(known)),
    }
}

impl Account {
    pub(super) fn identity(&self, wanted: Option<&str>) -> Identity {
        let known = self.token.held().and_then(|record| record.username.as_deref());
        match (is_user(self.profile.username.as_deref(), known), is_user(wanted, known)) {
            (Some(false), _) => Identity::OtherThanConfigured,
            (_, Some(false)) => Identity::OtherThanAsked,
            (Some(true), Some(true)) => Identity::Right,
            (None, _) | (_, None) => Identity::Unknown,
        }
    }

    /// Whether this waiter waits only for Rally to say whose token it is.
    pub(super) fn awaits_user(&self, step: &Step<'_>, waiter: &Waiter) -> bool {
        match &waiter.wants {
            Wants::Get { username, min_validity, .. } => {
                self.is_good_for(step.now, waiter, *min_validity)
                    && self.identity(username.as_deref()) == Identity::Unknown
            }
            Wants::Login { .. } => {
                self.awaits_vault_only(step.now, waiter) && self.identity(None) == Identity::Unknown
            }
            Wants::Erase(_) | Wants::Reading => false,
        }
    }

    /// Asks Rally whose the held token is; refuses those who wait for that during the pause after a failure.
    pub(super) fn begin_identification(&mut self, step: &mut Step<'_>) {
        if let Some(fault) = self.user_backoff.fault(step.now) {
            return self.refuse_if(step, &user_unknown(&fault), Self::awaits_user);
        }
        let Some(token) = self.token.access().cloned() else { return };
        self.job = Job::Identifying(self.ask_whose(step, token.clone()), token);
    }

    /// Asks Rally whose this token is, and so whether it is good.
    pub(super) fn ask_whose(&self, step: &mut Step<'_>, token: Secret) -> Epoch {
        let profile = self.profile.clone();
        step.begin(self.owner(), |epoch| Effect::LookUpUser { epoch, profile, token })
    }

    /// Takes Rally's answer on whose token it is.
    pub(super) fn identification_answered(&mut self, step: &mut Step<'_>, token: &Secret, raw: RawAnswer) {
        match answer::read_user_answer(raw) {
            // Another token may have come meanwhile, about which this says nothing.
            UserAnswer::Found { username: Some(username), .. } => {
                self.token_is_of(step, token, Some(&username))
            }
            UserAnswer::Found { username: None, .. } => {
                let fault = Fault::new(FaultKind::BadAnswer, "Rally does not say whose the token is")
                    .remedy("try again later");
                self.not_identified(step, fault, Retry::Later);
            }
            UserAnswer::Passing { fault, retry } => self.not_identified(step, fault, retry),
            UserAnswer::AddressNotAllowed(fault) => self.not_identified(step, fault, Retry::Later),
            UserAnswer::TokenRefused(_) => self.refuted(step, token),
        }
    }

    /// Begins the pause; waiters are refused when their turn comes, see [`Account::begin_identification`].
    pub(super) fn not_identified(&mut self, step: &mut Step<'_>, fault: Fault, retry: Retry) {
        step.recovered(&self.profile.name, &fault);
        self.user_backoff.failed(step, fault, retry);
    }

    /// Rally has said whose this token is. If it is the held one, and of another user than the profile is for, it is
    /// given up.
    pub(crate) fn token_is_of(&mut self, step: &mut Step<'_>, token: &Secret, username: Option<&str>) {
        if !self.token.is_access(token) {
            return;
        }
        self.reports.token_taken(step.now);
        if let Some(username) = username {
            self.identified(step, username.to_owned());
        }
    }

    fn identified(&mut self, step: &mut Step<'_>, username: String) {
        self.user_backoff = Backoff::default();
        let is_known = |record: &TokenRecord| record.username.as_deref() == Some(&*username);
        if self.token.held().is_some_and(is_known) && self.identity(None) == Identity::Right {
            return;
        }
        self.note_divergence();
        self.token.identified(username);
        if self.identity(None) != Identity::OtherThanConfigured {
            if self.has_command() {
                self.backoff = Backoff::default();
            }
            return self.save_token(step);
        }
        let fault = self.wrong_user();
        self.token.discard();
        self.reports.new_token();
        self.order_token_write(step, None);
        step.log(&self.profile.name, GrantStep::Erased);
        if self.has_command() {
            // Nothing but a pause keeps the next request from going the same way.
            return self.back_off(step, fault, Retry::Later);
        }
        step.recovered(&self.profile.name, &fault);
        self.fault = Some(fault.clone());
        self.refuse(step, &fault);
    }

    /// The held token is not the configured user's.
    pub(super) fn wrong_user(&self) -> Fault {
        self.signed_in_as(self.token.held().and_then(|record| record.username.as_deref()))
    }

    /// Somebody other than the configured user signed in.
    pub(super) fn signed_in_as(&self, found: Option<&str>) -> Fault {
        let (what, remedy) = match self.has_command() {
            true => (
                "the token is of",
                "have token_command give a token of that user, or correct `username` in the config file"
                    .to_owned(),
            ),
            false => (
                "the sign-in was by",
                format!("sign out of Rally in the browser, then {}", self.profile.command("login")),
            ),
        };
        let wanted = self.profile.username.as_deref().unwrap_or_default();
        Fault::new(FaultKind::Denied, format!("{what} {}", found.unwrap_or("somebody else")))
            .why(format!("profile {} is for {wanted}", self.profile.name))
            .remedy(remedy)
    }
}

/// The fault for callers who want a certain user's token while it is not known whose it is.
pub(super) fn user_unknown(fault: &Fault) -> Fault {
    let why = fault.why.as_ref().map_or_else(|| fault.what.clone(), |why| format!("{}: {why}", fault.what));
    Fault::new(fault.kind, "it is not known yet whose the token is")
        .why(why)
        .remedy(Command::new("rally-cred status --check").and(", which asks Rally again"))
}
