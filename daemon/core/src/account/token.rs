//! The token held for a profile, and how long it is valid.
//! Does not: read or write the vault (`item` knows whether the vault has what is held), or renew.
//! Used by: the account.

use rally_cred_proto::Secret;

use crate::{
    account::slot::{Slot, Unreadable},
    dice::Dice,
    event::Epoch,
    policy,
    record::{self, TokenRecord},
    time::{Now, Tick, Ticks, Wall},
};

#[derive(Debug, Default)]
pub(super) struct Token {
    slot: Slot<TokenRecord>,
    /// When the token expires by the boot clock, which overrules a calendar that was set back.
    ends: Option<Tick>,
    renew_at: Option<Tick>,
    /// What Rally refused is not used again, though the vault may still have it: a refusal writes nothing, since the
    /// item may be another daemon's by now.
    refused_access: Option<Secret>,
    refused_refresh: Option<Secret>,
    looked_at: Option<Tick>,
    /// Counts the tokens obtained, so that a waiter can tell a new one from the one it found.
    generation: u64,
    /// The generation of the last sign-in.
    signed_in: u64,
    /// The generation of the last renewal by this daemon.
    renewed: u64,
}

impl Token {
    pub(super) fn slot(&self) -> &Slot<TokenRecord> {
        &self.slot
    }

    pub(super) fn unreadable(&mut self, why: Unreadable) {
        self.slot.unreadable(why);
    }

    /// It is read again before it is used.
    pub(super) fn unread(&mut self) {
        self.slot = Slot::Unread;
    }

    /// Lets the next request ask a keyring that did not answer the last time.
    pub(super) fn forget_missing(&mut self) {
        self.slot.forget_missing();
    }

    pub(super) fn held(&self) -> Option<&TokenRecord> {
        self.slot.held()
    }

    pub(super) fn access(&self) -> Option<&Secret> {
        self.held().and_then(|record| record.access_token.as_ref())
    }

    pub(super) fn is_access(&self, token: &Secret) -> bool {
        self.access().is_some_and(|held| held.matches(token))
    }

    /// The held refresh token, unless Rally has refused it.
    pub(super) fn usable_refresh(&self) -> Option<&Secret> {
        let held = self.held().and_then(|record| record.refresh_token.as_ref());
        held.filter(|held| !self.refused_refresh.as_ref().is_some_and(|refused| refused.matches(held)))
    }

    pub(super) fn is_refresh(&self, token: &Secret) -> bool {
        let held = self.held().and_then(|record| record.refresh_token.as_ref());
        held.is_some_and(|held| held.matches(token))
    }

    pub(super) fn text(&self) -> Option<Secret> {
        self.held().and_then(record::encode)
    }

    pub(super) fn loading(&mut self, epoch: Epoch) {
        self.slot = Slot::Loading(epoch);
    }

    /// The vault was read: it has none, unless [`Token::hold`] follows.
    pub(super) fn read(&mut self, now: Now) {
        self.slot = Slot::Empty;
        self.looked_at = Some(now.tick);
    }

    pub(super) fn looked(&mut self, now: Now) {
        self.looked_at = Some(now.tick);
    }

    pub(super) fn was_read_within(&self, now: Now, span: Ticks) -> bool {
        self.looked_at.is_some_and(|at| now.tick - at < span)
    }

    pub(super) fn was_read_now(&self, now: Now) -> bool {
        self.looked_at == Some(now.tick)
    }

    pub(super) fn discard(&mut self) {
        self.slot = Slot::Empty;
    }

    /// Holds this token. `age`: by how much it may be older than the record says, which has whole seconds: the part of
    /// this second that is over, or zero for a token that Rally has just issued.
    pub(super) fn hold(&mut self, now: Now, dice: &mut dyn Dice, record: TokenRecord, age: Ticks) {
        self.ends = record.expires_at.map(|at| Tick(policy::tick_of(now, Wall(at)).0.saturating_sub(age.0)));
        self.renew_at = record.expires_at.map(|at| {
            let life = at.saturating_sub(record.obtained_at);
            policy::tick_of(now, Wall(at.saturating_sub(policy::renewal_lead(life, dice))))
        });
        self.slot = Slot::Held(record);
    }

    /// Holds the token that another daemon put into the vault.
    pub(super) fn adopt(&mut self, now: Now, dice: &mut dyn Dice, record: TokenRecord) {
        self.generation += 1;
        self.hold(now, dice, record, now.into_second);
    }

    /// Holds the token that Rally has just issued, at a sign-in or by a renewal.
    pub(super) fn obtained(&mut self, now: Now, dice: &mut dyn Dice, record: TokenRecord, is_sign_in: bool) {
        self.generation += 1;
        *(if is_sign_in { &mut self.signed_in } else { &mut self.renewed }) = self.generation;
        (self.refused_access, self.refused_refresh) = (None, None);
        self.hold(now, dice, record, Ticks(0));
    }

    /// The item names this lease now.
    pub(super) fn leased(&mut self, lease: Option<record::Lease>) {
        if let Slot::Held(record) = &mut self.slot {
            record.lease = lease;
        }
    }

    pub(super) fn identified(&mut self, username: String) {
        if let Slot::Held(record) = &mut self.slot {
            record.username = Some(username);
        }
    }

    /// Rally refuses this access token, which is not held any more.
    pub(super) fn refuse(&mut self, token: Secret) {
        self.refused_access = Some(token);
    }

    /// Drops the access token, which Rally refuses. Whether there is a refresh token to renew it by.
    pub(super) fn refuse_access(&mut self) -> bool {
        let Slot::Held(record) = &mut self.slot else { return false };
        self.refused_access = record.access_token.take();
        record.refresh_token.is_some()
    }

    pub(super) fn refuse_refresh(&mut self, token: Secret) {
        self.refused_refresh = Some(token);
    }

    /// The record without an access token that Rally has refused.
    pub(super) fn without_refused(&self, mut record: TokenRecord) -> TokenRecord {
        record.access_token = record.access_token.filter(|token| !self.is_refused(token));
        record
    }

    /// Whether this is the access token that Rally has refused.
    pub(super) fn is_refused(&self, token: &Secret) -> bool {
        self.refused_access.as_ref().is_some_and(|refused| refused.matches(token))
    }

    /// Every secret in it that was sent to Rally or came back.
    pub(super) fn secrets(&self) -> impl Iterator<Item = &Secret> {
        let held = self.held().into_iter().flat_map(|record| [&record.access_token, &record.refresh_token]);
        held.chain([&self.refused_access, &self.refused_refresh]).flatten()
    }

    /// Seconds until it expires, by calendar or boot clock, whichever is less, so that neither a suspend nor a changed
    /// clock makes an expired token look valid. In its last moments it counts as expired.
    pub(super) fn validity(&self, now: Now) -> Option<i64> {
        let record = self.held()?;
        record.access_token.as_ref()?;
        let (Some(expires_at), Some(ends)) = (record.expires_at, self.ends) else {
            return Some(i64::MAX);
        };
        let by_calendar = expires_at.saturating_sub(now.wall.0);
        let by_boot = ends - now.tick;
        let is_over = by_calendar < 0 || by_boot <= policy::last_moments(self.life().unwrap_or_default());
        let left = by_calendar.min(i64::try_from(by_boot.as_seconds()).unwrap_or(i64::MAX));
        (!is_over).then_some(left)
    }

    /// When it counts as ended, by the boot clock.
    pub(super) fn over_at(&self) -> Option<Tick> {
        let last = policy::last_moments(self.life().unwrap_or_default());
        self.ends.map(|ends| Tick(ends.0.saturating_sub(last.0)))
    }

    /// Whether Rally has refused the access token, and there was none since.
    pub(super) fn is_access_refused(&self) -> bool {
        self.refused_access.is_some()
    }

    /// Whether it came by a sign-in.
    pub(super) fn is_of_sign_in(&self) -> bool {
        self.signed_in == self.generation
    }

    /// Its lifetime in seconds, where Rally said so.
    pub(super) fn life(&self) -> Option<i64> {
        let record = self.held()?;
        record.expires_at.map(|at| at.saturating_sub(record.obtained_at))
    }

    pub(super) fn is_fresh(&self, now: Now) -> bool {
        match (self.validity(now), self.life()) {
            (Some(left), Some(life)) => policy::is_fresh(left, life),
            _ => false,
        }
    }

    pub(super) fn renew_at(&self) -> Option<Tick> {
        self.renew_at
    }

    pub(super) fn generation(&self) -> u64 {
        self.generation
    }

    /// Whether a token was obtained after this generation.
    pub(super) fn is_newer_than(&self, generation: u64) -> bool {
        generation < self.generation
    }

    /// Whether a sign-in followed this generation.
    pub(super) fn is_sign_in_after(&self, generation: u64) -> bool {
        generation < self.signed_in
    }

    /// Whether this daemon renewed the token, and it has expired since.
    pub(super) fn has_ended_after_renewal(&self, now: Now) -> bool {
        self.renewed == self.generation && self.ends.is_some_and(|ends| ends <= now.tick)
    }

    /// Forgets everything about this grant but the token itself.
    pub(super) fn forget(&mut self) {
        let (slot, generation) = (std::mem::take(&mut self.slot), self.generation);
        let (signed_in, renewed) = (self.signed_in, self.renewed);
        *self = Self { slot, generation, signed_in, renewed, ..Self::default() };
    }

    /// Forgets the token, which the vault has. It is read again when it is needed. What Rally has refused is worth nothing,
    /// and must not come back.
    pub(super) fn lock(&mut self) {
        // Where there is none, none is read.
        if !matches!(self.slot, Slot::Empty) {
            self.slot = Slot::Unread;
        }
        (self.ends, self.renew_at) = (None, None);
    }

    /// Keeps what is held for the new vault; else it is read there. Whether a token is held.
    pub(super) fn move_to_other_vault(&mut self) -> bool {
        self.looked_at = None;
        let is_held = self.held().is_some();
        if !is_held {
            self.slot = Slot::Unread;
        }
        is_held
    }
}
