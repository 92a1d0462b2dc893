//! What an account knows of the vault: two items, each unread, loading, absent or held, and whether the vault keeps them.
//! Does not: decide who is served.
//! Used by: `account`, with its halves `sign_in` and `renewal`.

use rally_cred_proto::{Fault, Secret};

use super::{
    account::Account,
    event::{AskId, Effect, Epoch, GrantStep},
    jobs::Owner,
    policy,
    profile::{Keyring, Profile},
    record::{self, ClientSecretRecord, Decoded, TokenRecord},
    renewal::Trust,
    step::Step,
    time::Tick,
    token_item::{TokenItem, Written},
    vault::{Change, Changed, ItemKey, ItemKind, VaultTrouble},
};

/// What is known of one item of the vault.
#[derive(Debug)]
pub(super) enum Slot<T> {
    /// The vault was not asked, or could not answer.
    Unread,
    /// The vault is being asked.
    Loading(Epoch),
    /// There is none.
    Empty,
    /// No keyring answers, which for the choice `auto` is as good as none. The next request asks again.
    Missing,
    /// Here it is.
    Held(T),
}

impl<T> Slot<T> {
    pub(super) fn held(&self) -> Option<&T> {
        match self {
            Self::Held(value) => Some(value),
            Self::Unread | Self::Loading(_) | Self::Empty | Self::Missing => None,
        }
    }

    pub(super) fn is_loading(&self, epoch: Epoch) -> bool {
        matches!(self, Self::Loading(own) if *own == epoch)
    }

    /// Whether the vault must be asked before anything can be decided.
    pub(super) fn is_unread(&self) -> bool {
        matches!(self, Self::Unread)
    }

    /// Gives a keyring that did not answer the last time another chance.
    pub(super) fn forget_missing(&mut self) {
        if matches!(self, Self::Missing) {
            *self = Self::Unread;
        }
    }
}

/// Whether the vault keeps the client secret that is held, and when to try again.
#[derive(Debug, Default)]
pub(super) struct Keeping {
    pub(super) in_flight: Option<Epoch>,
    pub(super) kept: bool,
    failures: u32,
    pub(super) again_at: Option<Tick>,
}

impl Keeping {
    /// What was just loaded is kept.
    fn loaded() -> Self {
        Self { kept: true, ..Self::default() }
    }
}

impl Account {
    /// Asks the vault for the token.
    pub(super) fn load_token(&mut self, step: &mut Step<'_>) {
        let key = self.key(ItemKind::Token);
        self.token = Slot::Loading(step.begin(self.owner(), |epoch| Effect::Load(epoch, key)));
    }

    /// Asks the vault for the client secret.
    pub(super) fn load_client_secret(&mut self, step: &mut Step<'_>) {
        let key = self.key(ItemKind::ClientSecret);
        self.client_secret = Slot::Loading(step.begin(self.owner(), |epoch| Effect::Load(epoch, key)));
    }

    /// Takes what the vault gave. `false` if the job is none of this account's.
    pub(super) fn loaded(
        &mut self,
        step: &mut Step<'_>,
        epoch: Epoch,
        outcome: &Result<Option<Secret>, VaultTrouble>,
    ) -> bool {
        if self.looked(step, epoch, outcome) {
            return true;
        }
        let is_token = self.token.is_loading(epoch);
        if !is_token && !self.client_secret.is_loading(epoch) {
            return false;
        }
        let text = match outcome {
            Ok(text) => text.as_ref(),
            Err(trouble) => {
                self.load_failed(step, is_token, trouble);
                return true;
            }
        };
        // It answers again; what it did not take is another matter.
        if self.token.held().is_none() || self.is_kept() {
            self.vault_fault = None;
        }
        let fault =
            if is_token { self.token_loaded(step, text) } else { self.client_secret_loaded(step, text) };
        if let Some(fault) = fault {
            self.fault = Some(fault.clone());
            self.refuse(step, &fault);
        }
        true
    }

    fn load_failed(&mut self, step: &mut Step<'_>, is_token: bool, trouble: &VaultTrouble) {
        let may_use_memory = trouble.is_missing() && step.keyring == Keyring::Auto;
        if is_token {
            self.token = if may_use_memory { Slot::Missing } else { Slot::Unread };
        } else {
            self.client_secret = if may_use_memory { Slot::Missing } else { Slot::Unread };
            self.no_load_before = step.now.tick + policy::UNASKED_LOAD;
            if may_use_memory {
                self.fetch_client_secret(step);
            }
        }
        let fault = trouble.fault();
        // Where there is never a keyring, every request would log the same again.
        if !may_use_memory || self.vault_fault.as_ref() != Some(&fault) {
            step.recovered(&self.profile.name, &fault);
        }
        self.vault_fault = Some(fault.clone());
        if !may_use_memory {
            self.refuse(step, &fault);
        }
    }

    /// The fault to answer everybody with, if the record must not be touched.
    fn token_loaded(&mut self, step: &mut Step<'_>, text: Option<&Secret>) -> Option<Fault> {
        self.token = Slot::Empty;
        self.looked_at = Some(step.now.tick);
        match text.map(|text| TokenRecord::decode(text, &self.profile)) {
            None | Some(Decoded::OfOther) => {}
            Some(Decoded::Ours(record)) => {
                step.log(&self.profile.name, GrantStep::Loaded);
                self.token_item = TokenItem::read();
                self.hold(step, record, step.now.into_second);
            }
            Some(Decoded::Damaged) => {
                let fault = record::damaged(&self.profile.name);
                step.recovered(&self.profile.name, &fault);
                self.fault = Some(fault);
            }
            Some(Decoded::Later) => {
                self.token = Slot::Unread;
                return Some(record::later_version(&self.profile.name));
            }
        }
        None
    }

    fn client_secret_loaded(&mut self, step: &mut Step<'_>, text: Option<&Secret>) -> Option<Fault> {
        self.client_secret = Slot::Empty;
        match text.map(|text| ClientSecretRecord::decode(text, &self.profile)) {
            None | Some(Decoded::OfOther | Decoded::Damaged) => self.fetch_client_secret(step),
            Some(Decoded::Ours(record)) => {
                self.client_secret_keep = Keeping::loaded();
                self.client_secret = Slot::Held(record.client_secret);
            }
            Some(Decoded::Later) => {
                self.client_secret = Slot::Unread;
                return Some(record::later_version(&self.profile.name));
            }
        }
        None
    }

    /// Asks the source of the client secret, if there is one, now that the vault has none.
    fn fetch_client_secret(&mut self, step: &mut Step<'_>) {
        if let Some(source) = self.profile.client_secret_source.clone() {
            let epoch = step.begin(self.owner(), |epoch| Effect::FetchClientSecret(epoch, source));
            self.client_secret = Slot::Loading(epoch);
        }
    }

    /// Takes what the source of the client secret gave. `false` if the job is none of this account's.
    pub(super) fn client_secret_fetched(
        &mut self,
        step: &mut Step<'_>,
        epoch: Epoch,
        outcome: &Result<Secret, Fault>,
    ) -> bool {
        if !self.client_secret.is_loading(epoch) {
            return false;
        }
        match outcome {
            Ok(secret) => {
                // Its source has it after a restart too, so it is as good as kept.
                self.client_secret_keep = Keeping::loaded();
                self.client_secret = Slot::Held(secret.clone());
                self.client_secret_is_fetched = true;
            }
            Err(fault) => {
                self.client_secret = Slot::Unread;
                self.no_load_before = step.now.tick + policy::UNASKED_LOAD;
                step.recovered(&self.profile.name, fault);
                self.fault = Some(fault.clone());
                self.refuse(step, fault);
            }
        }
        true
    }

    /// Looks for the client secret from the beginning when it is next needed: in the vault, then at its source.
    pub(super) fn look_for_client_secret_anew(&mut self) {
        self.client_secret = Slot::Unread;
        self.client_secret_is_fetched = false;
        self.trust = Trust::Full;
    }

    /// Takes the profile's new shape, whose tokens are the same.
    pub(super) fn adopt(&mut self, profile: &Profile) {
        let has_other_source = self.profile.client_secret_source != profile.client_secret_source;
        if has_other_source && (self.client_secret_is_fetched || self.client_secret.held().is_none()) {
            self.look_for_client_secret_anew();
        }
        self.profile = profile.clone();
    }

    /// The held token is about to change.
    pub(super) fn note_divergence(&mut self) {
        if self.token_item.is_current() {
            self.token_item.diverge(self.token.held().and_then(TokenRecord::encode));
        }
    }

    /// Brings the held token into the vault.
    pub(super) fn save_token(&mut self, step: &mut Step<'_>) {
        let text = self.token.held().and_then(TokenRecord::encode);
        self.order_token_write(step, text);
    }

    /// The token's item is to hold this, or to go.
    pub(super) fn order_token_write(&mut self, step: &mut Step<'_>, to: Option<Secret>) {
        let (owner, key) = (self.owner(), self.key(ItemKind::Token));
        self.token_item.order(to.clone(), |from| {
            step.begin(owner, |epoch| Effect::Change(epoch, Change { key, from, to }))
        });
    }

    /// Takes the vault's word on a write of the token. `false` if the job is none of this account's.
    pub(super) fn changed(
        &mut self,
        step: &mut Step<'_>,
        epoch: Epoch,
        outcome: &Result<Changed, VaultTrouble>,
    ) -> bool {
        let lasts = step.keyring != Keyring::Memory;
        let (now, dice) = (step.now, &mut *step.dice);
        let retry_at = |failures| now.tick + policy::save_again(failures, dice);
        let Some(written) = self.token_item.written(epoch, outcome.clone(), lasts, retry_at) else {
            return false;
        };
        match written {
            Written::Done => step.log(&self.profile.name, GrantStep::Kept),
            Written::Outdated => self.save_token(step),
            Written::Conflict { found, was } => self.settle_conflict(step, found.as_ref(), was.as_ref()),
            Written::Failed(trouble) => {
                self.note_vault_fault(step, trouble.fault());
                step.log(&self.profile.name, GrantStep::NotKept);
            }
        }
        if self.is_kept() {
            self.vault_fault = None;
        }
        true
    }

    /// Another daemon has changed the item since it was last seen: whose is newer?
    fn settle_conflict(&mut self, step: &mut Step<'_>, found: Option<&Secret>, was: Option<&Secret>) {
        let decoded = found.map(|text| TokenRecord::decode(text, &self.profile));
        let Some(held) = self.token.held() else {
            // This one was to go, but what stands there is another's.
            self.token_item = TokenItem::default();
            if let Some(Decoded::Ours(found)) = decoded {
                self.adopt_token(step, found);
            }
            return;
        };
        let was = match was.map(|text| TokenRecord::decode(text, &self.profile)) {
            Some(Decoded::Ours(was)) => Some(was),
            _ => None,
        };
        // A person has signed in here, and the vault has not had it yet.
        let is_new_sign_in = was.as_ref().is_none_or(|was| was.signed_in_at != held.signed_in_at);
        match decoded {
            None if !is_new_sign_in => self.sign_out_elsewhere(step),
            Some(Decoded::Ours(found)) => {
                // A refresh token that was used up for the one that is held is older.
                let is_used_up = was.is_some_and(|was| found.shares_refresh_token(&was));
                let is_newer = if found.shares_refresh_token(held) {
                    found.obtained_at > held.obtained_at
                } else if is_new_sign_in && !found.is_of_same_sign_in(held) {
                    found.is_of_later_sign_in(held) && !self.token_item.is_void(found.signed_in_at)
                } else {
                    // The keyring may have taken what is held after all, and another daemon have renewed it since.
                    !is_used_up
                };
                match is_newer {
                    true => self.adopt_token(step, found),
                    false => self.save_token(step),
                }
            }
            Some(Decoded::Later) => self.leave_item(step, record::later_version(&self.profile.name)),
            Some(Decoded::OfOther) if !is_new_sign_in => {
                let fault = record::of_other(&self.profile.name, &self.login_command());
                self.leave_item(step, fault);
            }
            None | Some(Decoded::OfOther | Decoded::Damaged) => self.save_token(step),
        }
    }

    /// The item is not to be written now; the token is in memory.
    fn leave_item(&mut self, step: &mut Step<'_>, fault: Fault) {
        let (now, dice) = (step.now, &mut *step.dice);
        self.token_item.retry(|failures| now.tick + policy::save_again(failures, dice));
        self.note_vault_fault(step, fault);
    }

    fn note_vault_fault(&mut self, step: &mut Step<'_>, fault: Fault) {
        step.recovered(&self.profile.name, &fault);
        self.vault_fault = Some(fault);
    }

    /// Puts the held client secret into the vault.
    pub(super) fn save_client_secret(&mut self, step: &mut Step<'_>) {
        let held = self.client_secret.held().cloned();
        let text = held.and_then(|secret| ClientSecretRecord::new(&self.profile, secret).encode());
        self.client_secret_keep.again_at = None;
        if let Some(text) = text {
            let key = self.key(ItemKind::ClientSecret);
            let epoch = step.begin(self.owner(), |epoch| Effect::Save(epoch, key, text));
            self.client_secret_keep.in_flight = Some(epoch);
        }
    }

    /// Takes the vault's word on a save of the client secret. `false` if the job is none of this account's.
    pub(super) fn saved(
        &mut self,
        step: &mut Step<'_>,
        epoch: Epoch,
        outcome: &Result<(), VaultTrouble>,
    ) -> bool {
        let keep = &mut self.client_secret_keep;
        if keep.in_flight != Some(epoch) {
            return false;
        }
        keep.in_flight = None;
        let logged = match outcome {
            Ok(()) => {
                *keep = Keeping { kept: step.keyring != Keyring::Memory, ..Keeping::default() };
                GrantStep::Kept
            }
            Err(trouble) => {
                keep.kept = false;
                keep.failures += 1;
                keep.again_at = Some(step.now.tick + policy::save_again(keep.failures, step.dice));
                self.note_vault_fault(step, trouble.fault());
                GrantStep::NotKept
            }
        };
        step.log(&self.profile.name, logged);
        if self.is_kept() {
            self.vault_fault = None;
        }
        true
    }

    /// Tries again to keep what the vault did not take, when its time has come.
    pub(super) fn save_again(&mut self, step: &mut Step<'_>) {
        let is_due = |at: Option<Tick>| at.is_some_and(|at| at <= step.now.tick);
        let (token, client_secret) =
            (is_due(self.token_item.again_at()), is_due(self.client_secret_keep.again_at));
        if client_secret {
            self.save_client_secret(step);
        }
        if token {
            self.save_token(step);
        }
    }

    /// Whether a restart would find token and client secret again.
    pub(super) fn is_kept(&self) -> bool {
        self.token_item.is_kept() && (self.client_secret_keep.kept || self.client_secret.held().is_none())
    }

    /// Whether the vault is being asked to keep something.
    pub(super) fn is_saving(&self) -> bool {
        self.token_item.is_writing() || self.client_secret_keep.in_flight.is_some()
    }

    /// Takes the token out of the vault; the outcome goes to this `logout`.
    pub(super) fn erase_token(&mut self, step: &mut Step<'_>, ask: AskId) -> Epoch {
        self.token = Slot::Empty;
        self.suspect = None;
        self.brake.new_token();
        self.token_item = TokenItem::void(step.now.wall);
        self.erase(step, ask, ItemKind::Token)
    }

    /// Takes the client secret out of the vault; the outcome goes to this `logout`.
    pub(super) fn erase_client_secret(&mut self, step: &mut Step<'_>, ask: AskId) -> Epoch {
        self.look_for_client_secret_anew();
        if self.profile.client_secret_source.is_none() {
            self.client_secret = Slot::Empty;
        }
        self.client_secret_keep = Keeping::default();
        self.erase(step, ask, ItemKind::ClientSecret)
    }

    fn erase(&self, step: &mut Step<'_>, ask: AskId, item: ItemKind) -> Epoch {
        let (profile, key) = (self.profile.name.clone(), self.key(item));
        step.begin(Owner::Logout { ask, profile, item }, |epoch| Effect::Erase(epoch, key))
    }

    /// The vault has erased an item, as it was asked to at a sign-out.
    pub(super) fn erased(&mut self, item: ItemKind) {
        if item == ItemKind::Token {
            self.token_item.erased();
        }
    }

    pub(super) fn key(&self, kind: ItemKind) -> ItemKey {
        ItemKey { kind, name: self.profile.name.clone() }
    }
}
