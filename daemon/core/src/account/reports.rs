//! What callers report of the held token, and what Rally says of it. A reported token is held back until Rally was asked;
//! a brake keeps callers from having it asked without end, by reporting a good token again and again, or each new one.
//! Does not: ask by itself, or hold back what a person asks for (`login` does not pass here).
//! Used by: the account.

use crate::{
    event::Epoch,
    policy,
    time::{Now, Tick},
};

/// What is reported of the held token.
#[derive(Debug, Default)]
pub(super) struct Reports {
    /// Rally is being asked whether it takes the token, which nobody is given meanwhile.
    question: Option<Epoch>,
    /// Reports in a row that did not cost the token its life, and until when further ones are not looked into.
    idle_reports: u32,
    deaf_until: Option<Tick>,
    /// A report that waits for that.
    has_report: bool,
    /// When Rally last said that it takes the token.
    taken_at: Option<Tick>,
    /// Tokens in a row that Rally gave out and refused soon after.
    short_lived: u32,
}

impl Reports {
    /// Whether Rally is being asked.
    pub(super) fn is_open(&self) -> bool {
        self.question.is_some()
    }

    /// Whether this is the question that Rally is being asked.
    pub(super) fn is_question(&self, epoch: Epoch) -> bool {
        self.question == Some(epoch)
    }

    /// Rally is asked.
    pub(super) fn asked(&mut self, epoch: Epoch) {
        self.question = Some(epoch);
    }

    /// Rally has answered, or nobody waits for its answer any more.
    pub(super) fn close(&mut self) {
        self.question = None;
    }

    /// Somebody reports that the token is bad. It is looked into at once, or when the pause after the last one is over.
    pub(super) fn report(&mut self) {
        self.has_report = true;
    }

    /// When a report is to be looked into.
    pub(super) fn due(&self) -> Option<Tick> {
        self.has_report.then(|| self.deaf_until.unwrap_or(Tick(0)))
    }

    /// Takes the report that is to be looked into now.
    pub(super) fn take_report(&mut self, now: Now) -> bool {
        let is_due = self.due().is_some_and(|at| at <= now.tick);
        self.has_report &= !is_due;
        is_due
    }

    /// A report was looked into, and the token stays.
    pub(super) fn token_stays(&mut self, now: Now) {
        self.idle_reports += 1;
        self.deaf_until = policy::report_pause(self.idle_reports).map(|pause| now.tick + pause);
    }

    /// Rally takes the token.
    pub(super) fn token_taken(&mut self, now: Now) {
        self.taken_at = Some(now.tick);
    }

    /// Whether Rally took the token so lately that it need not be asked again.
    pub(super) fn took_lately(&self, now: Now) -> bool {
        self.taken_at.is_some_and(|at| now.tick - at < policy::CHECK_PAUSE)
    }

    /// Rally refuses the token. How many in a row were refused when they were fresh.
    pub(super) fn token_refused(&mut self, is_fresh: bool) -> u32 {
        self.short_lived = if is_fresh { self.short_lived + 1 } else { 0 };
        self.short_lived
    }

    /// There is another token, of which nothing was reported yet.
    pub(super) fn new_token(&mut self) {
        *self = Self { short_lived: self.short_lived, ..Self::default() };
    }
}
