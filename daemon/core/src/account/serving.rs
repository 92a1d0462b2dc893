//! Who is given the held token, who waits, and who is refused.
//! Does not: begin what they wait for (`Account::begin_work` does).
//! Used by: `account`, of which this is a part.

use rally_cred_proto::{
    Fault, FaultKind, Reply,
    forwarding::Door,
    message::{SignedIn, Token as TokenAnswer, WaitingOn},
};

use crate::{
    account::{Account, identity::Identity, job::Job, sign_in::NO_ANSWER, slot::Slot},
    event::AskId,
    policy,
    step::Step,
    time::Now,
    waiter::{Waiter, Wants},
};

enum Served {
    Done,
    Waits,
    /// It wants another user's token.
    NotHere,
}

impl Account {
    /// Seconds until the held token expires, unless it is suspected.
    pub(super) fn validity(&self, now: Now) -> Option<i64> {
        if self.reports.is_open() { None } else { self.token.validity(now) }
    }

    /// Whether the held token was renewed for those who wait, and expired before they could be given it.
    pub(super) fn has_ended_unserved(&self, now: Now) -> bool {
        self.token.has_ended_after_renewal(now)
            && self.waiters.iter().any(|waiter| self.token.is_newer_than(waiter.generation))
    }

    /// Whether the held token is valid for long enough for this waiter, whoever the user is.
    pub(super) fn is_good_for(&self, now: Now, waiter: &Waiter, min_validity: i64) -> bool {
        self.validity(now).is_some_and(|left| {
            policy::satisfies(left, self.token.life(), min_validity)
                || self.token.is_newer_than(waiter.generation)
                || self.backoff.is_on(now)
        })
    }

    /// Whether a login has its token, and waits only for the vault.
    pub(super) fn awaits_vault_only(&self, now: Now, waiter: &Waiter) -> bool {
        let Wants::Login { force, .. } = &waiter.wants else { return false };
        // Whoever signed in is done, even if a short-lived token has expired since.
        self.token.is_sign_in_after(waiter.generation)
            || !*force && self.validity(now).is_some() && !matches!(self.job, Job::Renewing(..))
    }

    pub(super) fn serve(&mut self, step: &mut Step<'_>) {
        for mut waiter in std::mem::take(&mut self.waiters) {
            match self.serve_one(step, &mut waiter) {
                Served::Done => {}
                Served::Waits => self.waiters.push(waiter),
                Served::NotHere => step.misdirected.push((self.profile.name.to_string(), waiter)),
            }
        }
    }

    fn serve_one(&mut self, step: &mut Step<'_>, waiter: &mut Waiter) -> Served {
        match &waiter.wants {
            Wants::Get { min_validity, interactive, .. } => {
                if self.is_good_for(step.now, waiter, *min_validity) && !matches!(self.job, Job::Saving(_)) {
                    return self.hand_out(step, waiter);
                }
                if *interactive {
                    return if self.show_flow(step, waiter) { Served::Done } else { Served::Waits };
                }
                if self.job.is_sign_in() && !waiter.awaits_sign_in() {
                    step.refuse(waiter.id, self.sign_in_needed("somebody is signing in right now"));
                    return Served::Done;
                }
                Served::Waits
            }
            Wants::Login { .. } => {
                if !self.awaits_vault_only(step.now, waiter) {
                    return if self.show_flow(step, waiter) { Served::Done } else { Served::Waits };
                }
                if self.is_saving() || self.awaits_user(step, waiter) {
                    return Served::Waits;
                }
                self.confirm(step, waiter.id, !self.token.is_sign_in_after(waiter.generation));
                Served::Done
            }
            Wants::Erase(token) => {
                self.suspect(step, token.as_ref());
                step.reply(waiter.id, Reply::Done);
                Served::Done
            }
            Wants::Reading => {
                step.read.push((waiter.id, self.profile.name.to_string()));
                Served::Done
            }
        }
    }

    /// Gives the held token to this waiter, if it is the right user's.
    fn hand_out(&mut self, step: &mut Step<'_>, waiter: &Waiter) -> Served {
        let Wants::Get { server, username, min_validity, .. } = &waiter.wants else { return Served::Waits };
        if step.is_locked {
            return Served::Waits;
        }
        match self.identity(username.as_deref()) {
            Identity::Right => {}
            Identity::Unknown => return Served::Waits,
            Identity::OtherThanAsked => return Served::NotHere,
            Identity::OtherThanConfigured => {
                step.refuse(waiter.id, self.wrong_user());
                return Served::Done;
            }
        }
        let Some(record) = self.token.held() else { return Served::Waits };
        let Some(token) = record.access_token.clone() else { return Served::Waits };
        let also = match server.as_ref().filter(|server| *server != self.profile.base_url.origin()) {
            None => None,
            Some(server) => match self.profile.header_for(server) {
                Some(header) => Some(header.at(server)),
                None => {
                    step.reply(waiter.id, Reply::NoMatch);
                    return Served::Done;
                }
            },
        };
        let answer = TokenAnswer {
            profile: self.profile.name.to_string(),
            base_url: self.profile.base_url.origin().to_string(),
            username: record.username.clone(),
            token,
            expires_at: record.expires_at,
            also,
        };
        if policy::is_beyond_life(self.token.life(), *min_validity) {
            step.notice(waiter.id, self.beyond_life(*min_validity));
        }
        self.last_used = Some(step.now.tick);
        step.reply(waiter.id, Reply::Token(answer));
        Served::Done
    }

    /// The notice for a caller who asks for more validity than any token has.
    fn beyond_life(&self, min_validity: i64) -> Fault {
        let life = self.token.life().unwrap_or_default();
        Fault::new(FaultKind::Failed, format!("no token can be good for {min_validity} s"))
            .why(format!("Rally gives profile {} tokens of {life} s", self.profile.name))
            .remedy("ask for less, and run what outlives its token anew")
    }

    fn confirm(&mut self, step: &mut Step<'_>, id: AskId, already: bool) {
        let record = self.token.held();
        if let Some(fault) = &self.vault_fault {
            // Where memory does not stand in, a login is not done while the keyring does not keep the token.
            if step.keyring.must_keep() && !self.is_kept() {
                return step.refuse(id, fault.clone());
            }
            step.notice(id, fault.clone());
        }
        let answer = SignedIn {
            profile: self.profile.name.to_string(),
            username: record.and_then(|record| record.username.clone()),
            expires_at: record.and_then(|record| record.expires_at),
            already,
            kept: self.is_kept(),
        };
        step.reply(id, Reply::SignedIn(answer));
    }

    /// Answers everybody with this fault; a waiter that can use the current token gets it.
    pub(super) fn fail_all(&mut self, step: &mut Step<'_>, fault: &Fault) {
        for waiter in std::mem::take(&mut self.waiters) {
            self.fail(step, waiter, fault);
        }
    }

    /// Refuses everybody who waits for more than the vault.
    pub(super) fn refuse(&mut self, step: &mut Step<'_>, fault: &Fault) {
        self.refuse_if(step, fault, |account, step, waiter| !account.awaits_vault_only(step.now, waiter));
    }

    /// Refuses those who are meant; a waiter that can use the current token gets it.
    pub(super) fn refuse_if(
        &mut self,
        step: &mut Step<'_>,
        fault: &Fault,
        is_meant: impl Fn(&Self, &Step<'_>, &Waiter) -> bool,
    ) {
        let mut waiters = std::mem::take(&mut self.waiters);
        let refused: Vec<_> = waiters.extract_if(.., |waiter| is_meant(self, step, waiter)).collect();
        self.waiters = waiters;
        for waiter in refused {
            self.fail(step, waiter, fault);
        }
    }

    /// Refuses those who ask from another machine, whatever there is: they may not have the profile any more.
    pub(crate) fn refuse_from_afar(&mut self, step: &mut Step<'_>, fault: &Fault) {
        let is_meant = |waiter: &mut Waiter| waiter.peer.door == Door::Forwarded && waiter.is_get();
        let refused = self.waiters.extract_if(.., is_meant).chain(self.consents.take_from_afar());
        step.refuse_all(refused.map(|waiter| waiter.id), fault);
    }

    /// Refuses one waiter, unless it can use the current token.
    fn fail(&mut self, step: &mut Step<'_>, waiter: Waiter, fault: &Fault) {
        match &waiter.wants {
            Wants::Get { .. } if self.validity(step.now).is_some() => match self.hand_out(step, &waiter) {
                Served::Done => {}
                Served::Waits => step.refuse(waiter.id, fault.clone()),
                Served::NotHere => step.misdirected.push((self.profile.name.to_string(), waiter)),
            },
            Wants::Reading => step.read.push((waiter.id, self.profile.name.to_string())),
            Wants::Get { .. } | Wants::Login { .. } | Wants::Erase(_) => {
                step.refuse(waiter.id, fault.clone());
            }
        }
    }

    pub(super) fn tell_all(&self, step: &mut Step<'_>, on: WaitingOn) {
        for waiter in self.waiters.iter().chain(self.consents.waiting()) {
            step.tell_waiting(waiter.id, &self.profile.name, on);
        }
    }

    /// Refuses those whose time is up, unless they can use the current token.
    pub(super) fn turn_away_late(&mut self, step: &mut Step<'_>) {
        let now = step.now.tick;
        if self.waiters.iter().all(|waiter| waiter.deadline > now) {
            return;
        }
        if self.job.is_none() && !self.reports.is_open() && !self.is_renewable() && !self.is_shut {
            // What they waited for was a person.
            let fault = self.why_not_signed_in();
            self.refuse_if(step, &fault, |_, _, waiter| waiter.awaits_sign_in() && waiter.deadline <= now);
        }
        let fault =
            Fault::new(FaultKind::TimedOut, format!("no token for profile {} in time", self.profile.name))
                .why(self.waited_for());
        let fault = match &self.job {
            // What they waited for was an unlock.
            _ if self.is_shut => self.vault_fault.clone().unwrap_or(fault),
            Job::Flow(_) => fault.remedy(self.after_no_answer()),
            _ => fault.run("rally-cred status"),
        };
        self.refuse_if(step, &fault, |_, _, waiter| waiter.deadline <= now);
    }

    fn waited_for(&self) -> &'static str {
        match (&self.job, self.token.slot()) {
            (_, Slot::Unread | Slot::Loading(_)) => "the keyring did not answer",
            (Job::Flow(_), _) => NO_ANSWER,
            (
                Job::Exchanging(..)
                | Job::LookingUp(..)
                | Job::Renewing(..)
                | Job::Identifying(..)
                | Job::Pausing(..),
                _,
            ) => "Rally did not answer",
            (Job::Looking(..) | Job::Leasing(..), _) => "the keyring did not answer",
            (Job::Saving(_), _) => "the keyring did not take the token",
            (Job::Fetching(_), _) => "its program did not answer",
            (Job::None, _) => "it was still being prepared",
        }
    }
}
