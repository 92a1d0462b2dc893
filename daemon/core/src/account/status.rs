//! An account as `status` reports it.
//! Does not: change it.
//! Used by: `gather`, and the broker's view of its states.

use rally_cred_proto::{
    Fault, Secret,
    message::{ProfileState, ProfileStatus},
};

use crate::{
    account::{
        Account,
        job::{Job, Look},
        slot::Slot,
    },
    policy,
    time::Now,
};

impl Account {
    pub(crate) fn state(&self) -> ProfileState {
        match (&self.job, self.token.slot()) {
            (Job::Flow(_), _) => ProfileState::SigningIn,
            (Job::Exchanging(..) | Job::LookingUp(..), _) => ProfileState::Exchanging,
            (Job::Renewing(..) | Job::Fetching(_) | Job::Leasing(..) | Job::Pausing(..), _)
            | (Job::Looking(_, _, Look::BeforeRenewal | Look::AfterRefusal(_)), _) => ProfileState::Renewing,
            (_, Slot::Unread) => ProfileState::Unread,
            (_, Slot::Loading(_)) => ProfileState::Loading,
            (_, Slot::Empty | Slot::Missing) => ProfileState::SignedOut,
            (_, Slot::Held(_)) => ProfileState::SignedIn,
        }
    }

    pub(crate) fn status(&self, now: Now, is_default: bool) -> ProfileStatus {
        let record = self.token.held();
        ProfileStatus {
            profile: self.profile.name.to_string(),
            default: is_default,
            base_url: self.profile.base_url.origin().to_string(),
            state: self.state(),
            ready: self.validity(now).is_some() || self.is_renewable() && !self.backoff.is_on(now),
            username: record.and_then(|record| record.username.clone()),
            obtained_at: record.map(|record| record.obtained_at),
            expires_at: record.and_then(|record| record.expires_at),
            renews_at: self.renewal_due(now).map(|due| policy::wall_of(now, due).0),
            renewable: self.is_renewable(),
            // While a newer token is being saved, the vault has not got what is held.
            kept: record.is_some() && self.is_kept() && !self.is_saving(),
            waiting: u32::try_from(self.waiters.len() + self.consents.waiting().count()).unwrap_or(u32::MAX),
            held_turns: None,
            checked: None,
            fault: self.fault.clone().or_else(|| self.vault_fault.clone()),
        }
    }

    pub(crate) fn has_token(&self) -> bool {
        self.token.held().is_some()
    }

    pub(crate) fn access_token(&self) -> Option<&Secret> {
        self.token.access()
    }

    /// Whether Rally accepted the held token so recently that it need not be asked again.
    pub(crate) fn was_taken_lately(&self, now: Now) -> bool {
        self.reports.took_lately(now)
    }

    pub(crate) fn vault_fault(&self) -> Option<&Fault> {
        self.vault_fault.as_ref()
    }

    /// The Rally user, from the config file or the sign-in.
    pub(crate) fn known_user(&self) -> Option<&str> {
        let signed_in = self.token.held().and_then(|record| record.username.as_deref());
        self.profile.username.as_deref().or(signed_in)
    }
}
