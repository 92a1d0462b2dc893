//! Reading the token's item again, since another daemon may use the same keyring: before a renewal and a sign-in, in
//! case it was quicker; and after a refusal, which is a verdict on the refresh token that was sent and on no other.
//! Does not: write.
//! Used by: `account`, of which this is a part.

use rally_cred_proto::{Fault, Secret};

use crate::{
    account::{
        Account,
        backoff::Backoff,
        job::{Job, Look, Refusal},
        slot::Slot,
    },
    event::{Epoch, GrantStep},
    item::Item,
    policy,
    record::{Decoded, TokenRecord},
    step::Step,
    vault::{ItemKind, Read, VaultTrouble},
};

impl Account {
    /// Reads the item again, unless that was done in this step or would find nothing new. Whether a read was begun.
    pub(super) fn look_before_renewal(&mut self, step: &mut Step<'_>) -> bool {
        // What waits to be saved is newer than the item.
        let is_worth_it = self.token_item.is_current() && !self.token.was_read_now(step.now);
        is_worth_it && self.look(step, Look::BeforeRenewal).is_ok()
    }

    /// The same before a sign-in is asked for, or a caller is refused for want of one.
    pub(super) fn look_before_sign_in(&mut self, step: &mut Step<'_>) -> bool {
        let was_lately = self.token.was_read_within(step.now, policy::LOOK_PAUSE);
        let is_worth_it = self.token_item.is_current() || matches!(self.token.slot(), Slot::Empty);
        is_worth_it && !was_lately && self.look(step, Look::BeforeSignIn).is_ok()
    }

    /// Rally refused this refresh token, apparently for good.
    pub(super) fn look_after_refusal(&mut self, step: &mut Step<'_>, sent: Secret, fault: Fault) {
        if let Err(Look::AfterRefusal(refusal)) =
            self.look(step, Look::AfterRefusal(Box::new(Refusal { sent, fault, looks: 0 })))
        {
            self.give_up_refresh_token(step, refusal.sent, refusal.fault);
        }
    }

    /// Begins a look; hands it back where there is nothing to see.
    pub(super) fn look(&mut self, step: &mut Step<'_>, look: Look) -> Result<(), Look> {
        // No other process shares this memory, or keeps what a program gives.
        if step.keyring.is_memory() || self.has_command() {
            return Err(look);
        }
        let epoch = step.load(self.owner(), self.key(ItemKind::Token));
        let is_shared = step.keyring.is_shared() || step.keyring.is_read_only();
        let patience = if is_shared { policy::SHARED_LOOK_PATIENCE } else { policy::LOOK_PATIENCE };
        self.job = Job::Looking(epoch, step.now.tick + patience, look);
        Ok(())
    }

    /// Looks again after the pause, and goes on without a look that takes too long.
    pub(super) fn look_again_if_due(&mut self, step: &mut Step<'_>) {
        if !matches!(self.job, Job::Pausing(until, _) | Job::Looking(_, until, _) if until <= step.now.tick) {
            return;
        }
        match std::mem::take(&mut self.job) {
            Job::Pausing(_, look) => {
                if let Err(look) = self.look(step, look) {
                    self.look_is_over(step, look);
                }
            }
            Job::Looking(_, _, Look::BeforeRenewal) if step.keyring.is_shared() => {
                self.stop_for_vault(step, &VaultTrouble::Failed("it did not answer in time".to_owned()));
            }
            Job::Looking(_, _, look) => self.look_is_over(step, look),
            other => self.job = other,
        }
    }

    /// Takes what the vault returned. `false` if no look waits for it.
    pub(super) fn looked(&mut self, step: &mut Step<'_>, epoch: Epoch, outcome: &Read) -> bool {
        let look = match std::mem::take(&mut self.job) {
            Job::Looking(own, _, look) if own == epoch => look,
            other => {
                self.job = other;
                return false;
            }
        };
        match (outcome, &look) {
            (Ok(text), _) => {
                self.lease.read(text.clone());
                self.take_news(step, text.as_ref());
            }
            (Err(trouble), Look::BeforeRenewal) if step.keyring.is_shared() => {
                self.stop_for_vault(step, trouble);
                return true;
            }
            // An unreadable vault has no news.
            (Err(_), _) => {}
        }
        self.look_is_over(step, look);
        true
    }

    fn look_is_over(&mut self, step: &mut Step<'_>, look: Look) {
        self.token.looked(step.now);
        match look {
            // Whoever wanted it begins it in this step.
            Look::BeforeRenewal | Look::BeforeSignIn => {}
            Look::AfterRefusal(refusal) if !self.token.is_refresh(&refusal.sent) => {}
            Look::AfterRefusal(mut refusal) => match policy::SECOND_LOOKS.get(refusal.looks) {
                Some(pause) => {
                    refusal.looks += 1;
                    self.job = Job::Pausing(step.now.tick + *pause, Look::AfterRefusal(refusal));
                }
                None => self.give_up_refresh_token(step, refusal.sent, refusal.fault),
            },
        }
    }

    /// Adopts the item's content if it is another grant than the one held, or a newer token of the same.
    pub(super) fn take_news(&mut self, step: &mut Step<'_>, text: Option<&Secret>) {
        let Some(text) = text else {
            if self.token_item.is_current() && self.token.held().is_some() {
                self.sign_out_elsewhere(step);
            }
            return;
        };
        // A record that is damaged, of a later version or of another client is not about this grant.
        let Decoded::Ours(found) = TokenRecord::decode(text, &self.profile) else { return };
        let found = self.token.without_refused(found);
        let is_news = match self.token.held() {
            // Unless it was to be erased at a sign-out, and could not be.
            None => !self.token_item.is_void(found.signed_in_at),
            // The copy of a vault may lag behind it.
            Some(held) if found.is_of_same_sign_in(held) && found.generation < held.generation => false,
            Some(held) if self.token_item.is_current() => !held.has_same_tokens(&found),
            // What waits to be saved may have been written late, and another daemon may have gone on from it.
            Some(held) => found.is_of_same_sign_in(held) && found.is_newer_than(held),
        };
        if is_news {
            self.adopt_token(step, found);
        } else if self.token_item.is_current() {
            self.token.leased(found.lease);
        }
    }

    /// Holds what another daemon has put into the item.
    pub(super) fn adopt_token(&mut self, step: &mut Step<'_>, found: TokenRecord) {
        let found = self.token.without_refused(found);
        step.log(&self.profile.name, GrantStep::Adopted);
        self.token_item = Item::read();
        self.lease.over();
        self.reports.new_token();
        self.backoff = Backoff::default();
        self.fault = None;
        self.end_alerts(step);
        self.token.adopt(step.now, step.dice, found);
    }

    /// The item is gone: the user signed out by another daemon, or removed it from the keyring.
    pub(super) fn sign_out_elsewhere(&mut self, step: &mut Step<'_>) {
        step.log(&self.profile.name, GrantStep::SignedOutElsewhere);
        self.token.discard();
        self.token_item = Item::default();
        self.reports.new_token();
    }
}
