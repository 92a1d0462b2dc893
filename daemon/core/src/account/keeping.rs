//! What an account reads from the vault and writes to it.
//! Does not: decide who is served.
//! Used by: `account`, of which this is a part.

use rally_cred_proto::{Fault, FaultKind, Secret};

use crate::{
    account::{Account, backoff::Backoff, job::SecretFrom, slot::Unreadable},
    event::{AskId, Effect, Epoch, GrantStep},
    item::{Item, Written},
    jobs::Owner,
    record::{self, ClientSecretRecord, Decoded, TokenRecord},
    step::Step,
    vault::{Changed, ItemKey, ItemKind, Read, VaultTrouble},
};

impl Account {
    pub(super) fn load_token(&mut self, step: &mut Step<'_>) {
        if self.has_command() {
            return self.begin_without_vault(step);
        }
        self.token.loading(step.load(self.owner(), self.key(ItemKind::Token)));
    }

    pub(super) fn load_client_secret(&mut self, step: &mut Step<'_>) {
        self.client_secret.loading(step.load(self.owner(), self.key(ItemKind::ClientSecret)));
    }

    /// Takes what the vault returned. `false` if nobody waits for it.
    pub(super) fn loaded(&mut self, step: &mut Step<'_>, epoch: Epoch, outcome: &Read) -> bool {
        if self.looked(step, epoch, outcome) {
            return true;
        }
        let is_token = self.token.slot().is_loading(epoch);
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
        // It answers again; whether it keeps what is held is another matter.
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
        let may_use_memory = trouble.leaves_memory(&step.keyring);
        let why = match trouble {
            _ if may_use_memory => Unreadable::Missing,
            _ if trouble.awaits_person() => Unreadable::Shut,
            _ => Unreadable::Failed,
        };
        if is_token {
            self.token.unreadable(why);
        } else {
            self.client_secret.unreadable(step.now, why);
            if may_use_memory {
                self.fetch_client_secret(step);
            }
        }
        let fault = trouble.fault();
        // Where there never is a keyring, every request would log the same.
        if !may_use_memory || self.vault_fault.as_ref() != Some(&fault) {
            step.recovered(&self.profile.name, &fault);
        }
        self.vault_fault = Some(fault.clone());
        if !may_use_memory {
            self.refuse_or_keep_waiting(step, trouble, &fault);
        }
    }

    /// Takes the token's item; a fault if it must not be touched.
    fn token_loaded(&mut self, step: &mut Step<'_>, text: Option<&Secret>) -> Option<Fault> {
        self.token.read(step.now);
        self.lease.read(text.cloned());
        match text.map(|text| TokenRecord::decode(text, &self.profile)) {
            None | Some(Decoded::OfOther) => {}
            // A sign-out is erasing it, under the other name of this vault.
            Some(Decoded::Ours(record)) if self.token_item.is_void(record.signed_in_at) => {}
            Some(Decoded::Ours(record)) => {
                step.log(&self.profile.name, GrantStep::Loaded);
                self.token_item = Item::read();
                // Before a lock, Rally may have refused it.
                let record = self.token.without_refused(record);
                self.token.hold(step.now, step.dice, record, step.now.into_second);
            }
            Some(Decoded::Damaged) => {
                let fault = record::damaged(&self.profile);
                step.recovered(&self.profile.name, &fault);
                self.fault = Some(fault);
            }
            Some(Decoded::Later) => {
                self.token.unread();
                return Some(record::later_version(&self.profile));
            }
        }
        None
    }

    fn client_secret_loaded(&mut self, step: &mut Step<'_>, text: Option<&Secret>) -> Option<Fault> {
        self.client_secret.absent();
        match text.map(|text| ClientSecretRecord::decode(text, &self.profile)) {
            None | Some(Decoded::OfOther | Decoded::Damaged) => self.fetch_client_secret(step),
            Some(Decoded::Ours(record)) => {
                self.client_secret_item = Item::read();
                self.client_secret.hold(record.client_secret, false);
            }
            Some(Decoded::Later) => {
                self.client_secret.unread();
                return Some(record::later_version(&self.profile));
            }
        }
        None
    }

    /// Asks the source of the client secret, if there is one.
    fn fetch_client_secret(&mut self, step: &mut Step<'_>) {
        if let Some(source) = self.profile.client_secret_source.clone() {
            let epoch = step.begin(self.owner(), |epoch| Effect::FetchClientSecret(epoch, source));
            self.client_secret.loading(epoch);
        }
    }

    /// Takes what the source of the client secret returned. `false` if nobody waits for it.
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
            Ok(secret) => self.client_secret.hold(secret.clone(), true),
            Err(fault) => {
                self.client_secret.unreadable(step.now, Unreadable::Failed);
                step.recovered(&self.profile.name, fault);
                self.fault = Some(fault.clone());
                self.refuse(step, fault);
            }
        }
        true
    }

    pub(super) fn note_divergence(&mut self) {
        self.token_item.diverge(|| self.token.text());
    }

    pub(super) fn save_token(&mut self, step: &mut Step<'_>) {
        let text = self.token.text();
        self.order_token_write(step, text);
    }

    /// Orders the token's item to hold this, or to go.
    pub(super) fn order_token_write(&mut self, step: &mut Step<'_>, to: Option<Secret>) {
        if self.has_command() {
            self.token_item = Item::read();
            return;
        }
        let (owner, key) = (self.owner(), self.key(ItemKind::Token));
        self.token_item.order(step, owner, key, to);
    }

    /// Saves the client secret, if it belongs in the vault.
    pub(super) fn save_client_secret(&mut self, step: &mut Step<'_>) {
        let Some(to) = self.client_secret_text() else { return };
        let (owner, key) = (self.owner(), self.key(ItemKind::ClientSecret));
        self.client_secret_item.order(step, owner, key, Some(to));
    }

    fn client_secret_text(&self) -> Option<Secret> {
        let secret = self.client_secret.for_vault()?.clone();
        record::encode(&ClientSecretRecord::new(&self.profile, secret))
    }

    pub(super) fn keep_client_secret(&mut self, step: &mut Step<'_>, secret: Secret, from: SecretFrom) {
        let is_new = from == SecretFrom::Login;
        if is_new {
            let text = self.client_secret_text();
            self.client_secret_item.diverge(|| text);
        }
        self.client_secret.hold(secret, from == SecretFrom::Source);
        self.client_secret.accepted();
        if is_new || !self.client_secret_item.is_kept() {
            self.save_client_secret(step);
        }
    }

    /// Takes the outcome of a write. `false` if nobody waits for it.
    pub(super) fn changed(
        &mut self,
        step: &mut Step<'_>,
        epoch: Epoch,
        outcome: Result<Changed, VaultTrouble>,
    ) -> bool {
        if self.leased(step, epoch, &outcome) {
            return true;
        }
        let is_token = self.token_item.is_writing(epoch);
        let item = if is_token { &mut self.token_item } else { &mut self.client_secret_item };
        let is_shared = step.keyring.is_shared();
        let Some(written) = item.written(step, epoch, outcome, is_shared) else { return false };
        match written {
            Written::Done => {
                step.log(&self.profile.name, GrantStep::Kept);
                if is_token && is_shared {
                    // What waited for this may begin.
                    self.backoff = Backoff::default();
                }
            }
            Written::Conflict { found, was } if is_token => {
                self.settle_conflict(step, found.as_ref(), was.as_ref());
            }
            Written::Outdated if is_token => self.save_token(step),
            // The one that a person entered here, and Rally accepted, is good, whatever the item holds.
            Written::Outdated | Written::Conflict { .. } => self.save_client_secret(step),
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

    /// Another daemon has changed the item since it was last read: whose token is newer?
    fn settle_conflict(&mut self, step: &mut Step<'_>, found: Option<&Secret>, was: Option<&Secret>) {
        let decoded = found.map(|text| TokenRecord::decode(text, &self.profile));
        let Some(held) = self.token.held() else {
            // The item was to go, but what it holds is another daemon's.
            self.token_item = Item::default();
            if let Some(Decoded::Ours(found)) = decoded {
                self.adopt_token(step, found);
            }
            return;
        };
        let was = match was.map(|text| TokenRecord::decode(text, &self.profile)) {
            Some(Decoded::Ours(was)) => Some(was),
            _ => None,
        };
        // A person has signed in here, which the vault does not have yet.
        let is_new_sign_in = was.as_ref().is_none_or(|was| was.signed_in_at != held.signed_in_at);
        match decoded {
            None if !is_new_sign_in => self.sign_out_elsewhere(step),
            Some(Decoded::Ours(found)) => {
                // A refresh token that was used up for the held one is older.
                let is_used_up = was.as_ref().is_some_and(|was| found.shares_refresh_token(was));
                let is_newer = if found.is_of_same_sign_in(held) && found.generation != held.generation {
                    found.generation > held.generation
                } else if found.shares_refresh_token(held) {
                    found.obtained_at > held.obtained_at
                } else if is_new_sign_in && !found.is_of_same_sign_in(held) {
                    found.is_of_later_sign_in(held) && !self.token_item.is_void(found.signed_in_at)
                } else if was.is_none() {
                    // Nothing was known of the item, as after a change of vaults.
                    found.obtained_at > held.obtained_at
                } else {
                    // The keyring may have kept the held token after all, and another daemon renewed it since.
                    !is_used_up
                };
                if is_newer {
                    return self.adopt_token(step, found);
                }
                // Whoever holds the lease on this refresh token is not put out by a change of something else.
                if found.shares_refresh_token(held) {
                    self.token.leased(found.lease);
                }
                self.save_token(step);
            }
            Some(Decoded::Later) => self.leave_item(step, record::later_version(&self.profile)),
            Some(Decoded::OfOther) if !is_new_sign_in => {
                let fault = record::of_other(&self.profile);
                self.leave_item(step, fault);
            }
            None | Some(Decoded::OfOther | Decoded::Damaged) => self.save_token(step),
        }
    }

    /// The item must not be written now; the token is in memory.
    fn leave_item(&mut self, step: &mut Step<'_>, fault: Fault) {
        let is_shared = step.keyring.is_shared();
        self.token_item.retry(step, is_shared, false);
        self.note_vault_fault(step, fault);
    }

    fn note_vault_fault(&mut self, step: &mut Step<'_>, fault: Fault) {
        step.recovered(&self.profile.name, &fault);
        self.vault_fault = Some(fault);
    }

    /// Retries what the vault did not keep, when that is due.
    pub(super) fn save_again(&mut self, step: &mut Step<'_>) {
        let is_due = |item: &Item| item.again_at().is_some_and(|at| at <= step.now.tick);
        let (token, client_secret) = (is_due(&self.token_item), is_due(&self.client_secret_item));
        if client_secret {
            self.save_client_secret(step);
        }
        if token {
            self.save_token(step);
        }
    }

    /// A damaged or doubled item of this kind was mended: what is held is kept now, and else it is read again.
    pub(crate) fn mended(&mut self, step: &mut Step<'_>, kind: ItemKind) {
        (self.fault, self.vault_fault) = (None, None);
        match kind {
            ItemKind::Token if self.token.held().is_none() => self.token.unread(),
            ItemKind::Token => {
                self.token_item.diverge(|| None);
                self.save_token(step);
            }
            _ if self.client_secret.held().is_none() => self.client_secret.unread(),
            _ => {
                self.client_secret_item.diverge(|| None);
                self.save_client_secret(step);
            }
        }
        self.advance(step);
    }

    /// Whether a restart would find token and client secret.
    pub(super) fn is_kept(&self) -> bool {
        self.token_item.is_kept()
            && (self.client_secret.for_vault().is_none() || self.client_secret_item.is_kept())
    }

    pub(super) fn is_saving(&self) -> bool {
        self.token_item.is_under_way() || self.client_secret_item.is_under_way()
    }

    /// Signs out: erases the token, and the client secret too if it is to be forgotten. The returned epochs are those
    /// of the jobs that belong to this `logout`.
    pub(crate) fn sign_out(&mut self, step: &mut Step<'_>, ask: AskId, forget_secret: bool) -> Vec<Epoch> {
        let fault =
            Fault::new(FaultKind::Denied, format!("profile {} was signed out meanwhile", self.profile.name))
                .remedy(self.profile.command("login"));
        self.abandon_flow(step, &fault);
        self.forget(step);
        let mut erasing = Vec::new();
        if forget_secret {
            self.client_secret.look_anew();
            if self.profile.client_secret_source.is_none() {
                self.client_secret.absent();
            }
            self.client_secret_item = Item::default();
            erasing.push(self.erase(step, ask, ItemKind::ClientSecret));
        }
        // The token goes first, so that no waiter is given it on the way out.
        let signed_in_at = self.token.held().and_then(|held| held.signed_in_at);
        self.token.discard();
        self.reports.new_token();
        self.token_item.void(step.now.wall, signed_in_at);
        erasing.push(self.erase(step, ask, ItemKind::Token));
        self.refuse_applicants(step, &fault);
        self.fail_all(step, &fault);
        step.log(&self.profile.name, GrantStep::SignedOut);
        erasing
    }

    fn erase(&self, step: &mut Step<'_>, ask: AskId, item: ItemKind) -> Epoch {
        let (profile, key) = (self.profile.name.to_string(), self.key(item));
        step.begin(Owner::Logout { ask, profile, item }, |epoch| Effect::Erase(epoch, key))
    }

    /// The vault has erased an item, as ordered at a sign-out.
    pub(crate) fn erased(&mut self, item: ItemKind) {
        if item == ItemKind::Token {
            self.token_item.erased();
        }
    }

    pub(super) fn key(&self, kind: ItemKind) -> ItemKey {
        ItemKey { kind, name: self.profile.name.to_string() }
    }
}
