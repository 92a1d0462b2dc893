//! Tokens that gateways may go on to use without another question, for as long as the broker would give them again.
//! Does not: decide who gets a token (the broker does), or hold one that was taken back.
//! Used by: `driver`, which ends all when something changes; `gateway`, which lends, also from its own thread.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use rally_cred_core::time::{Now, Tick, Ticks};
use rally_cred_proto::Secret;

/// How long a token may be used without a question. A question takes two switches between threads, longer than all else
/// that a gateway does for a request, and a tool may have thousands of requests a second; the broker has to hear of a
/// token's use only now and then, for renewals ahead of time.
const LONGEST: Ticks = Ticks::seconds(1);

/// All loans. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Loans(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    /// How often all were ended.
    ends: u64,
    /// By borrower: what one gateway may use, another may be refused.
    by_borrower: HashMap<Borrower, Loan>,
}

/// A gateway by its name, and the profile whose token it borrows.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Borrower {
    /// The gateway.
    pub gateway: String,
    /// The profile.
    pub profile: String,
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
    /// To be kept while the broker is asked.
    pub fn as_of(&self) -> AsOf {
        AsOf(self.inner().ends)
    }

    /// Lends what the broker gave to this borrower, unless something has changed meanwhile. `expires_at` is in seconds since
    /// 1970.
    pub fn lend(&self, now: Now, to: &Borrower, token: &Secret, expires_at: Option<i64>, as_of: AsOf) {
        let left = expires_at.map_or(i64::MAX, |end| end.saturating_sub(now.wall.0));
        // The broker gives no token in the last tenth of its life, nor in the last second.
        let tenth = Ticks(u64::try_from(left).unwrap_or(0).saturating_mul(100));
        let loan = Loan { token: token.clone(), until: now.tick + tenth.min(LONGEST) };
        let mut inner = self.inner();
        if inner.ends == as_of.0 {
            inner.by_borrower.insert(to.clone(), loan);
        }
    }

    /// The token that this borrower has.
    pub fn current(&self, now: Tick, of: &Borrower) -> Option<Secret> {
        let inner = self.inner();
        inner.by_borrower.get(of).filter(|loan| now < loan.until).map(|loan| loan.token.clone())
    }

    /// Ends all, since any may not be given again.
    pub fn end(&self) {
        let mut inner = self.inner();
        inner.ends += 1;
        inner.by_borrower.clear();
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use rally_cred_core::time::Wall;

    use super::*;

    const NOW: Now = Now { wall: Wall(1_000), into_second: Ticks(0), tick: Tick(0) };

    fn borrower(gateway: &str) -> Borrower {
        Borrower { gateway: gateway.to_owned(), profile: "work".to_owned() }
    }

    fn token() -> Secret {
        Secret::parse("token".to_owned()).unwrap()
    }

    #[test]
    fn a_token_is_lent_for_a_second_and_no_longer_than_a_tenth_of_what_is_left_of_it() {
        for (expires_at, longest) in
            [(None, 1000), (Some(9_999), 1000), (Some(1_005), 500), (Some(1_000), 0), (Some(0), 0)]
        {
            let loans = Loans::default();
            let mcp = borrower("mcp");
            loans.lend(NOW, &mcp, &token(), expires_at, loans.as_of());
            let lasts = (0..2000).take_while(|at| loans.current(Tick(*at), &mcp).is_some()).count();
            assert_eq!(lasts, longest, "{expires_at:?}");
            // Which may not be let have it.
            assert!(loans.current(NOW.tick, &borrower("other")).is_none());
        }
    }

    #[test]
    fn what_changes_ends_every_loan_and_what_was_asked_for_before_is_not_lent() {
        let (loans, mcp) = (Loans::default(), borrower("mcp"));
        let before = loans.as_of();
        loans.lend(NOW, &mcp, &token(), None, before);
        loans.end();
        assert!(loans.current(NOW.tick, &mcp).is_none());
        loans.lend(NOW, &mcp, &token(), None, before);
        assert!(loans.current(NOW.tick, &mcp).is_none());
        loans.lend(NOW, &mcp, &token(), None, loans.as_of());
        assert!(loans.current(NOW.tick, &mcp).is_some());
    }
}
