//! What happens when a caller reports that a token does not work: it is held back until Rally was asked.
//! Does not: give up the refresh token.
//! Used by: `account`, of which this is a part.

use rally_cred_proto::{Fault, FaultKind, Secret, remedy::Command};

use crate::{
    account::Account,
    answer::{self, RawAnswer, Retry, UserAnswer},
    event::GrantStep,
    policy,
    step::Step,
};

impl Account {
    /// A caller reports that a token does not work. If it is the held one, it is held back until Rally was asked: a
    /// program without write access gets the same answer when it tries to write.
    pub(super) fn suspect(&mut self, step: &mut Step<'_>, token: Option<&Secret>) {
        let is_held = match self.token.access() {
            Some(held) => token.is_none_or(|token| token.matches(held)),
            // It may be what the program gives next, as after a restart.
            None => self.has_command(),
        };
        if is_held && !self.reports.is_open() {
            self.reports.report();
            self.look_into_report(step);
        }
    }

    /// Asks Rally about a reported token, once that is due. After a lock it has to be read first.
    pub(super) fn look_into_report(&mut self, step: &mut Step<'_>) {
        if self.token.access().is_some() && self.reports.take_report(step.now) {
            self.question_token(step);
        }
    }

    /// Asks Rally whether it accepts the held token, which is held back meanwhile.
    pub(super) fn question_token(&mut self, step: &mut Step<'_>) {
        let Some(token) = self.token.access().cloned().filter(|_| !self.reports.is_open()) else { return };
        step.log(&self.profile.name, GrantStep::Suspected);
        self.reports.asked(self.ask_whose(step, token));
    }

    /// Takes Rally's verdict on the suspected token.
    pub(super) fn suspicion_answered(&mut self, step: &mut Step<'_>, raw: RawAnswer) {
        self.reports.close();
        match (answer::read_user_answer(raw), self.token.access().cloned()) {
            (UserAnswer::TokenRefused(_), _) => self.give_up_token(step),
            // Rally cannot be asked. A token that can be renewed is replaced; one that costs a sign-in is kept, and one that a
            // program gives, since it may have no other.
            (UserAnswer::Passing { .. }, _) if self.is_renewable() && !self.has_command() => {
                self.give_up_token(step);
            }
            (UserAnswer::Found { username, .. }, Some(token)) => {
                self.reports.token_stays(step.now);
                self.token_is_of(step, &token, username.as_deref());
            }
            _ => self.reports.token_stays(step.now),
        }
    }

    /// Rally refuses this token: if it is the held one, it is given up.
    pub(crate) fn refuted(&mut self, step: &mut Step<'_>, token: &Secret) {
        if self.token.is_access(token) {
            self.give_up_token(step);
        } else if self.has_command() && self.token.access().is_none() {
            // The program may give it again.
            self.token.refuse(token.clone());
        }
    }

    /// Gives up the held access token, but not the refresh token.
    fn give_up_token(&mut self, step: &mut Step<'_>) {
        self.reports.close();
        let refused = self.reports.token_refused(self.token.is_fresh(step.now));
        self.reports.new_token();
        self.note_divergence();
        if self.token.held().is_none() {
            return;
        }
        step.log(&self.profile.name, GrantStep::Erased);
        if self.token.refuse_access() || self.has_command() {
            self.save_token(step);
            if let Some(pause) = policy::refusal_pause(refused) {
                let fault = Fault::new(FaultKind::TokenRefused, "Rally refuses the tokens that it gives out")
                    .why(format!("{refused} in a row were refused at once"))
                    .remedy(Command::new("rally-cred status --check").and(", to see whether that goes on"));
                self.back_off(step, fault, Retry::After(pause));
            }
        } else {
            self.token.discard();
            self.order_token_write(step, None);
        }
        if !self.is_renewable() {
            self.want_alert(step, "Rally no longer takes the token");
        }
    }
}
