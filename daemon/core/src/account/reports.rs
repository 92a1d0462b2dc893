//! What callers report of the held token, and what Rally says of it. A reported token is held back until Rally was
//! asked. A brake keeps callers from causing questions without end, by reporting a good token again and again, or each
//! new one.
//! Does not: ask Rally, or hold back what a person asks for (`login` does not pass here).
//! Used by: the account.

use crate::{
    event::Epoch,
    policy,
    time::{Now, Tick},
};

#[derive(Debug, Default)]
pub(super) struct Reports {
    /// Rally is being asked about the token.
    question: Option<Epoch>,
    /// Reports in a row that were wrong, and until when further ones are not looked into.
    idle_reports: u32,
    deaf_until: Option<Tick>,
    /// A report that waits for that.
    has_report: bool,
    /// When Rally last accepted the token.
    taken_at: Option<Tick>,
    /// Tokens in a row that Rally issued and refused soon after.
    short_lived: u32,
}

impl Reports {
    pub(super) fn is_open(&self) -> bool {
        self.question.is_some()
    }

    pub(super) fn is_question(&self, epoch: Epoch) -> bool {
        self.question == Some(epoch)
    }

    pub(super) fn asked(&mut self, epoch: Epoch) {
        self.question = Some(epoch);
    }

    /// Rally has answered, or its answer no longer matters.
    pub(super) fn close(&mut self) {
        self.question = None;
    }

    /// Rally's answer is not waited for, and the question is to be asked again.
    pub(super) fn put_off(&mut self) {
        self.has_report |= self.question.take().is_some();
    }

    /// A caller reports the token. That is looked into at once, or after the pause that follows a wrong report.
    pub(super) fn report(&mut self) {
        self.has_report = true;
    }

    /// When to look into a report.
    pub(super) fn due(&self) -> Option<Tick> {
        self.has_report.then(|| self.deaf_until.unwrap_or(Tick(0)))
    }

    /// Takes the report that is due now. Whether there is one.
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

    pub(super) fn token_taken(&mut self, now: Now) {
        self.taken_at = Some(now.tick);
    }

    /// Whether Rally accepted the token so recently that it need not be asked again.
    pub(super) fn took_lately(&self, now: Now) -> bool {
        self.taken_at.is_some_and(|at| now.tick - at < policy::CHECK_PAUSE)
    }

    /// Rally refuses the token. How many fresh ones in a row it refused.
    pub(super) fn token_refused(&mut self, is_fresh: bool) -> u32 {
        self.short_lived = if is_fresh { self.short_lived + 1 } else { 0 };
        self.short_lived
    }

    /// Another token is held, of which nothing was reported yet.
    pub(super) fn new_token(&mut self) {
        *self = Self { short_lived: self.short_lived, ..Self::default() };
    }
}
