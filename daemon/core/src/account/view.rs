//! What watchers see of an account, and what two views one after the other say to them.
//! Does not: tell anybody (the broker does), or hold a token.
//! Used by: the broker, which compares the views before and after each event.

use rally_cred_proto::{
    Fault,
    message::{Became, News},
};

use crate::{
    account::{Account, job::Job, slot::Slot},
    time::{Now, Tick},
};

/// What watchers see of an account. The default is what is known before the vault was read.
#[derive(Clone, Debug, Default)]
pub(crate) struct View {
    /// Whether the vault was read.
    is_read: bool,
    /// The number of the token.
    generation: u64,
    is_valid: bool,
    is_of_sign_in: bool,
    is_refused: bool,
    /// Whether a person has to sign in; `None` while that is open.
    needs_person: Option<bool>,
    expires_at: Option<i64>,
    over_at: Option<Tick>,
    fault: Option<Fault>,
}

impl Account {
    /// What watchers see of it.
    pub(crate) fn view(&self, now: Now) -> View {
        let is_read = !matches!(self.token.slot(), Slot::Unread | Slot::Loading(_));
        let is_valid = self.token.validity(now).is_some();
        let is_usable = is_valid || self.is_renewable();
        let is_settled = is_read && matches!(self.job, Job::None | Job::Flow(_));
        View {
            is_read,
            generation: self.token.generation(),
            is_valid,
            is_of_sign_in: self.token.is_of_sign_in(),
            is_refused: self.token.is_access_refused(),
            needs_person: (is_settled || is_usable).then_some(!is_usable),
            expires_at: self.token.held().and_then(|record| record.expires_at),
            over_at: self.token.over_at(),
            fault: self.fault.clone(),
        }
    }
}

impl View {
    /// When the token of this view ends by itself.
    pub(crate) fn deadline(&self) -> Option<Tick> {
        self.over_at.filter(|_| self.is_valid)
    }

    /// Whether there is a token that has not ended.
    pub(crate) fn is_valid(&self) -> bool {
        self.is_valid
    }

    /// Puts a later view of this profile in the place of this one. What is to be told of that, in order.
    pub(crate) fn follow(&mut self, profile: &str, mut now: Self) -> Vec<News> {
        let news = |what, expires_at, fault: &Option<Fault>| News {
            profile: profile.to_owned(),
            what,
            expires_at,
            fault: fault.clone(),
        };
        let mut told = Vec::new();
        if self.is_valid && !now.is_valid {
            let is_refused = now.is_refused && !self.is_refused;
            told.push(news(if is_refused { Became::Refused } else { Became::Ended }, None, &None));
        }
        let is_new = now.generation != self.generation;
        if now.is_valid && (is_new || !self.is_valid) {
            let what = match () {
                () if !self.is_read || !is_new => Became::Held,
                () if now.is_of_sign_in || self.needs_person == Some(true) => Became::Obtained,
                () => Became::Renewed,
            };
            told.push(news(what, now.expires_at, &None));
        }
        if now.needs_person == Some(true) && self.needs_person != Some(true) {
            told.push(news(Became::SignInNeeded, None, &now.fault));
        }
        now.needs_person = now.needs_person.or(self.needs_person);
        now.is_read |= self.is_read;
        *self = now;
        told
    }
}
