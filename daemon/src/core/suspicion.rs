//! What happens when a caller says that a token does not work: it is held back until Rally was asked.
//! Does not: ask by itself, or give up what can renew the token.
//! Met by: `account`, of which this is a part.

use rally_cred_proto::Secret;

use super::{
    account::{Account, Turn},
    answer::{self, RawAnswer, UserAnswer},
    event::{Effect, Epoch, GrantStep},
    keeping::Slot,
};

impl Account {
    /// A caller says that a token does not work. If it is the held one, it is not served again before Rally was asked:
    /// a program that may only read gets the same answer when it tries to write.
    pub(super) fn suspect(&mut self, turn: &mut Turn<'_>, token: Option<&Secret>) {
        let Some(held) = self.token.held().and_then(|record| record.access_token.clone()) else { return };
        if self.suspect.is_some() || token.is_some_and(|token| !token.matches(&held)) {
            return;
        }
        let epoch = turn.epoch();
        self.suspect = Some(epoch);
        turn.log(&self.profile.name, GrantStep::Suspected);
        turn.effects.push(Effect::LookUpUser { epoch, profile: self.profile.clone(), token: held });
    }

    /// Takes Rally's word on a suspected token. Gives it back if it is about something else.
    pub(super) fn suspicion_answered(
        &mut self,
        turn: &mut Turn<'_>,
        epoch: Epoch,
        raw: RawAnswer,
    ) -> Option<RawAnswer> {
        if self.suspect != Some(epoch) {
            return Some(raw);
        }
        self.suspect = None;
        let can_renew = self.token.held().is_some_and(|record| record.refresh_token.is_some());
        let is_bad = match answer::read_user_answer(raw) {
            UserAnswer::Found { .. } | UserAnswer::AddressNotAllowed(_) => false,
            UserAnswer::TokenRefused(_) => true,
            // Rally cannot be asked. A token that costs nobody anything is replaced; one that costs a sign-in is kept.
            UserAnswer::Passing { .. } => can_renew,
        };
        if is_bad {
            self.give_up_token(turn);
        }
        None
    }

    /// Rally does not take this token: if it is the held one, it is given up.
    pub(super) fn refuted(&mut self, turn: &mut Turn<'_>, token: &Secret) {
        let held = self.token.held().and_then(|record| record.access_token.as_ref());
        if held.is_some_and(|held| held.matches(token)) {
            self.give_up_token(turn);
        }
    }

    /// Gives up the held token, and keeps what can renew it.
    fn give_up_token(&mut self, turn: &mut Turn<'_>) {
        let Slot::Held(record) = &mut self.token else { return };
        record.access_token = None;
        let can_renew = record.refresh_token.is_some();
        turn.log(&self.profile.name, GrantStep::Erased);
        if can_renew {
            self.save_token(turn);
        } else {
            self.erase_token(turn);
            self.want_alert(turn, "Rally no longer takes the token");
        }
    }
}
