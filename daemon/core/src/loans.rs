//! Tokens that gateways may go on to use without another question, for as long as the broker would give them again.
//! Does not: decide who gets a token (the broker does), or hold one that was taken back.
//! Used by: the driver, which has each event heard here, and the gateways, which lend; `simulation` plays it.

use std::collections::HashMap;

use rally_cred_proto::{Ask, Secret};

use crate::{
    event::Event,
    time::{Now, Tick, Ticks},
};

/// How long a token may be used without a question. A question takes two switches between threads, longer than all else
/// that a gateway does for a request, and a tool may have thousands of requests a second; the broker has to hear of a
/// token's use only now and then, for renewals ahead of time.
const LONGEST: Ticks = Ticks::seconds(1);

/// All loans, by profile.
#[derive(Debug, Default)]
pub struct Loans {
    /// How often all were ended.
    ends: u64,
    by_profile: HashMap<String, Loan>,
}

#[derive(Debug)]
struct Loan {
    token: Secret,
    until: Tick,
}

/// When the broker was asked: between two ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AsOf(u64);

impl Loans {
    /// Takes note of an event before the broker decides it, and so before anybody hears what came of it. Any token may not
    /// be given again after it; only a get changes no other's answer. An idle lock closes by a get too, but not within a
    /// second of the one before it, and by then a loan has ended.
    pub fn heard(&mut self, event: &Event) {
        if !matches!(event, Event::Asked { ask: Ask::Get(_), .. }) {
            self.ends += 1;
            self.by_profile.clear();
        }
    }

    /// To be kept while the broker is asked.
    pub fn as_of(&self) -> AsOf {
        AsOf(self.ends)
    }

    /// Lends what the broker gave for a profile, unless something has changed meanwhile. `expires_at` is in seconds since
    /// 1970.
    pub fn lend(&mut self, now: Now, profile: &str, token: &Secret, expires_at: Option<i64>, as_of: AsOf) {
        if self.ends != as_of.0 {
            return;
        }
        let left = expires_at.map_or(i64::MAX, |end| end.saturating_sub(now.wall.0));
        // The broker gives no token in the last tenth of its life, nor in the last second.
        let tenth = Ticks(u64::try_from(left).unwrap_or(0).saturating_mul(100));
        let loan = Loan { token: token.clone(), until: now.tick + tenth.min(LONGEST) };
        self.by_profile.insert(profile.to_owned(), loan);
    }

    /// The token that is lent for a profile.
    pub fn current(&self, now: Tick, profile: &str) -> Option<&Secret> {
        self.by_profile.get(profile).filter(|loan| now < loan.until).map(|loan| &loan.token)
    }
}

#[cfg(test)]
mod tests {
    use rally_cred_proto::message::{CheckAsk, Get};

    use crate::{
        event::{AskId, Peer},
        time::Wall,
    };

    use super::*;

    const NOW: Now = Now { wall: Wall(1_000), into_second: Ticks(0), tick: Tick(0) };

    fn token() -> Secret {
        Secret::parse("token".to_owned()).unwrap()
    }

    fn asked(ask: Ask) -> Event {
        Event::Asked { id: AskId(1), peer: Peer::default(), ask }
    }

    #[test]
    fn a_token_is_lent_for_a_second_and_no_longer_than_a_tenth_of_what_is_left_of_it() {
        for (expires_at, longest) in
            [(None, 1000), (Some(9_999), 1000), (Some(1_005), 500), (Some(1_000), 0), (Some(0), 0)]
        {
            let mut loans = Loans::default();
            loans.lend(NOW, "work", &token(), expires_at, loans.as_of());
            let lasts = (0..2000).take_while(|at| loans.current(Tick(*at), "work").is_some()).count();
            assert_eq!(lasts, longest, "{expires_at:?}");
            assert!(loans.current(NOW.tick, "other").is_none());
        }
    }

    #[test]
    fn a_get_changes_no_loan_and_whatever_else_happens_ends_all_and_what_was_asked_for_before() {
        let mut loans = Loans::default();
        let before = loans.as_of();
        loans.heard(&asked(Ask::Get(Get::default())));
        loans.lend(NOW, "work", &token(), None, before);
        assert!(loans.current(NOW.tick, "work").is_some());
        for event in [Event::TimePassed, Event::Sleeping, asked(Ask::Check(CheckAsk { profile: None }))] {
            let before = loans.as_of();
            loans.heard(&event);
            assert!(loans.current(NOW.tick, "work").is_none(), "{event:?}");
            loans.lend(NOW, "work", &token(), None, before);
            assert!(loans.current(NOW.tick, "work").is_none(), "{event:?}");
            loans.lend(NOW, "work", &token(), None, loans.as_of());
            assert!(loans.current(NOW.tick, "work").is_some(), "{event:?}");
        }
    }
}
