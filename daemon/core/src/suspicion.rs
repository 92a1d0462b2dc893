//! What happens when a caller says that a token does not work: it is held back until Rally was asked.
//! Does not: ask by itself, or give up what can renew the token.
//! Used by: `account`, of which this is a part.

use rally_cred_proto::{Fault, FaultKind, Secret};

use super::{
    account::Account,
    answer::{self, RawAnswer, UserAnswer},
    event::{Effect, GrantStep},
    keeping::Slot,
    policy,
    step::Step,
};

impl Account {
    /// A caller says that a token does not work. If it is the held one, it is not served again before Rally was asked:
    /// a program that may only read gets the same answer when it tries to write.
    pub(super) fn suspect(&mut self, step: &mut Step<'_>, token: Option<&Secret>) {
        let held = self.token.held().and_then(|record| record.access_token.as_ref());
        if held.is_some_and(|held| token.is_none_or(|token| token.matches(held))) && self.suspect.is_none() {
            self.brake.report();
            self.look_into_report(step);
        }
    }

    /// Asks Rally about a reported token, if its time has come.
    pub(super) fn look_into_report(&mut self, step: &mut Step<'_>) {
        if self.brake.take_report(step.now) {
            self.question_token(step);
        }
    }

    /// Asks Rally whether it still takes the held token, which nobody is given meanwhile.
    pub(super) fn question_token(&mut self, step: &mut Step<'_>) {
        let Some(held) = self.token.held().and_then(|record| record.access_token.clone()) else { return };
        if self.suspect.is_some() {
            return;
        }
        step.log(&self.profile.name, GrantStep::Suspected);
        let profile = self.profile.clone();
        let epoch = step.begin(self.owner(), |epoch| Effect::LookUpUser { epoch, profile, token: held });
        self.suspect = Some(epoch);
    }

    /// Takes Rally's word on the suspected token.
    pub(super) fn suspicion_answered(&mut self, step: &mut Step<'_>, raw: RawAnswer) {
        self.suspect = None;
        let token = self.token.held().and_then(|record| record.access_token.clone());
        match (answer::read_user_answer(raw), token) {
            (UserAnswer::TokenRefused(_), _) => self.give_up_token(step),
            // Rally cannot be asked. A token that costs nobody anything is replaced; one that costs a sign-in is kept.
            (UserAnswer::Passing { .. }, _) if self.is_renewable() => self.give_up_token(step),
            (UserAnswer::Found { username, .. }, Some(token)) => {
                self.brake.token_stays(step.now);
                self.token_is_of(step, &token, username.as_deref());
            }
            _ => self.brake.token_stays(step.now),
        }
    }

    /// Rally does not take this token: if it is the held one, it is given up.
    pub(super) fn refuted(&mut self, step: &mut Step<'_>, token: &Secret) {
        let held = self.token.held().and_then(|record| record.access_token.as_ref());
        if held.is_some_and(|held| held.matches(token)) {
            self.give_up_token(step);
        }
    }

    /// Gives up the held access token, and keeps what can renew it.
    pub(super) fn give_up_token(&mut self, step: &mut Step<'_>) {
        self.suspect = None;
        let refused = self.brake.token_refused(self.is_fresh(step.now));
        self.brake.new_token();
        self.note_divergence();
        let Slot::Held(record) = &mut self.token else { return };
        self.refuted.access_token = record.access_token.take();
        let has_refresh_token = record.refresh_token.is_some();
        step.log(&self.profile.name, GrantStep::Erased);
        if has_refresh_token {
            self.save_token(step);
            if let Some(pause) = policy::refusal_pause(refused) {
                let fault = Fault::new(FaultKind::TokenRefused, "Rally refuses the tokens that it gives out")
                    .why(format!("{refused} in a row were refused at once"))
                    .remedy("rally-cred status --check, to see whether that goes on");
                self.back_off(step, fault, Some(pause));
            }
        } else {
            self.token = Slot::Empty;
            self.order_token_write(step, None);
        }
        if !self.is_renewable() {
            self.want_alert(step, "Rally no longer takes the token");
        }
    }
}
