//! Tokens that the gateways of a daemon use without a question, as the world outside sees them, and whether they may.
//! Does not: give one; the broker does.
//! Used by: `history`.

use std::collections::BTreeMap;

use rally_cred_core::{
    event::{AskId, Event},
    loans::{AsOf, Loans},
    time::{Now, Tick, Ticks},
};
use rally_cred_proto::{
    Ask, Secret,
    message::{Erase, Token},
};

use super::{
    cast::{name_of, number_of},
    promises::Broken,
};

/// What a daemon lends.
#[derive(Debug, Default)]
pub(super) struct Lending {
    loans: Loans,
    asked: BTreeMap<AskId, AsOf>,
    /// What the broker has answered, on its way to whoever asked as of then.
    coming: BTreeMap<AskId, (AsOf, Given)>,
    /// By profile, with the time and how far the calendar was off then.
    lent: BTreeMap<usize, (Given, Now, i64)>,
}

/// What the broker gave to a gateway.
#[derive(Debug)]
struct Given {
    token: Token,
    /// Reported, signed out or locked since.
    is_over: bool,
}

/// Longest time that a token is used without a question.
const LONGEST: Ticks = Ticks::seconds(1);

impl Lending {
    /// The broker is about to hear this. Whoever reports, signs out or locks wants nothing used that was given before.
    pub(super) fn sees(&mut self, event: &Event, locks_with_session: bool) {
        let ends = |given: &Token| match event {
            Event::SessionLocked => locks_with_session,
            Event::Asked { ask: Ask::Lock, .. } => true,
            Event::Asked { ask: Ask::Logout(logout), .. } => logout.profile.as_ref() == Some(&given.profile),
            Event::Asked { ask: Ask::Erase(Erase { target, token: Some(token), .. }), .. } => {
                target.profile.as_ref() == Some(&given.profile) && token.matches(&given.token)
            }
            _ => false,
        };
        let coming = self.coming.values_mut().map(|(_, given)| given);
        for given in coming.chain(self.lent.values_mut().map(|(given, ..)| given)) {
            given.is_over |= ends(&given.token);
        }
    }

    /// The daemon hears an event.
    pub(super) fn heard(&mut self, event: &Event) {
        self.loans.heard(event);
    }

    /// A gateway asks the broker.
    pub(super) fn asks(&mut self, id: AskId) {
        self.asked.insert(id, self.loans.as_of());
    }

    /// The broker gives a token by this request. Whether a gateway waits for it.
    pub(super) fn answered(&mut self, id: AskId, token: &Token) -> bool {
        let Some(as_of) = self.asked.remove(&id) else { return false };
        self.coming.insert(id, (as_of, Given { token: token.clone(), is_over: false }));
        true
    }

    /// The gateway has it, and may use it further. `is_late`: as if it had asked only now.
    pub(super) fn lend(&mut self, now: Now, calendar_off: i64, id: AskId, is_late: bool) {
        let Some((as_of, given)) = self.coming.remove(&id) else { return };
        let as_of = if is_late { self.loans.as_of() } else { as_of };
        let Token { token, profile, expires_at, .. } = &given.token;
        self.loans.lend(now, profile, token, *expires_at, as_of);
        if self.loans.as_of() == as_of {
            self.lent.insert(number_of(profile), (given, now, calendar_off));
        }
    }

    /// What a gateway of this profile sends without a question.
    pub(super) fn current(&self, now: Tick, profile: usize) -> Option<&str> {
        self.loans.current(now, &name_of(profile)).map(Secret::expose)
    }

    /// Everything that gateways would send now without a question, unless one may not.
    pub(super) fn sent(
        &self,
        clock: Tick,
        now: Now,
        calendar_off: i64,
    ) -> Result<Vec<(usize, &str)>, Broken> {
        let sent = self.lent.iter().filter_map(|(profile, (given, at, was_off))| {
            let (token, since) = (self.current(clock, *profile)?, now.tick - at.tick);
            let is_past_end = given.token.expires_at.is_some_and(|end| now.wall.0 >= end);
            Some(match () {
                () if given.is_over => {
                    Err(format!("{token} is sent though it was reported, signed out or locked"))
                }
                () if since > LONGEST => Err(format!("{token} is sent {} ms after it was given", since.0)),
                () if calendar_off == *was_off && is_past_end => {
                    Err(format!("{token} is sent after its end"))
                }
                () => Ok((*profile, token)),
            })
        });
        sent.collect()
    }
}
