//! The records that the vault keeps, as JSON with a version.
//! Does not: touch a vault. A record of a later version is left as it is.
//! Used by: `account`, which encodes what it saves and decodes what it loads.

use rally_cred_proto::{Fault, FaultKind, Secret};
use serde::{Deserialize, Serialize};

use super::{profile::Profile, vault::is_same};

/// Version of the records; it grows when an older daemon would misread one.
pub(super) const VERSION: u32 = 1;

/// A token with what belongs to it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct TokenRecord {
    v: u32,
    base_url: String,
    client_id: String,
    scope: String,
    /// The ZSESSIONID; absent after a caller said that it does not work.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) access_token: Option<Secret>,
    /// Renews the access token, once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) refresh_token: Option<Secret>,
    /// When the access token was given, in seconds since 1970.
    pub(super) obtained_at: i64,
    /// When a person signed in for this grant, in seconds since 1970. It tells grants apart.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) signed_in_at: Option<i64>,
    /// When the access token ends, in seconds since 1970, where Rally said so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) expires_at: Option<i64>,
    /// The Rally user, once looked up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) username: Option<String>,
}

/// A client secret with the client that it belongs to.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct ClientSecretRecord {
    v: u32,
    base_url: String,
    client_id: String,
    /// The secret.
    pub(super) client_secret: Secret,
}

/// What a record turned out to be.
#[derive(Debug)]
pub(super) enum Decoded<T> {
    /// Ours, and for this profile as it is configured now.
    Ours(T),
    /// Ours, but for another base URL, client ID or scope: of no use, and overwritten by the next sign-in.
    OfOther,
    /// Cut short or altered: of no use, and overwritten by the next sign-in.
    Damaged,
    /// Written by a later version: not to be touched.
    Later,
}

#[derive(Deserialize)]
struct Versioned {
    v: u32,
}

impl TokenRecord {
    /// An empty record for this profile, given at this time.
    pub(super) fn new(profile: &Profile, obtained_at: i64) -> Self {
        Self {
            v: VERSION,
            base_url: profile.base_url.origin().to_string(),
            client_id: profile.client_id.clone(),
            scope: profile.scope.clone(),
            access_token: None,
            refresh_token: None,
            obtained_at,
            signed_in_at: None,
            expires_at: None,
            username: None,
        }
    }

    /// Whether both hold the same tokens, whatever else is known of them.
    pub(super) fn has_same_tokens(&self, other: &Self) -> bool {
        is_same(self.access_token.as_ref(), other.access_token.as_ref())
            && is_same(self.refresh_token.as_ref(), other.refresh_token.as_ref())
    }

    /// Whether both go back to the same sign-in of a person.
    pub(super) fn is_of_same_sign_in(&self, other: &Self) -> bool {
        self.signed_in_at.is_some() && self.signed_in_at == other.signed_in_at
    }

    /// Whether a person signed in for this one later; of two in one second, what can be renewed is worth more.
    pub(super) fn is_of_later_sign_in(&self, other: &Self) -> bool {
        (self.signed_in_at, self.refresh_token.is_some())
            > (other.signed_in_at, other.refresh_token.is_some())
    }

    /// Whether both hold the same refresh token.
    pub(super) fn shares_refresh_token(&self, other: &Self) -> bool {
        self.refresh_token.is_some() && is_same(self.refresh_token.as_ref(), other.refresh_token.as_ref())
    }

    /// Reads what the vault holds.
    pub(super) fn decode(text: &Secret, profile: &Profile) -> Decoded<Self> {
        decode(text, |record: &Self| {
            record.base_url == profile.base_url.origin().to_string()
                && record.client_id == profile.client_id
                && record.scope == profile.scope
        })
    }

    /// The text for the vault.
    pub(super) fn encode(&self) -> Option<Secret> {
        encode(self)
    }
}

impl ClientSecretRecord {
    /// The record of this profile's client secret.
    pub(super) fn new(profile: &Profile, client_secret: Secret) -> Self {
        Self {
            v: VERSION,
            base_url: profile.base_url.origin().to_string(),
            client_id: profile.client_id.clone(),
            client_secret,
        }
    }

    /// Reads what the vault holds.
    pub(super) fn decode(text: &Secret, profile: &Profile) -> Decoded<Self> {
        decode(text, |record: &Self| {
            record.base_url == profile.base_url.origin().to_string() && record.client_id == profile.client_id
        })
    }

    /// The text for the vault.
    pub(super) fn encode(&self) -> Option<Secret> {
        encode(self)
    }
}

/// What to tell people about a record that must not be touched.
pub(super) fn later_version(profile: &Profile) -> Fault {
    let what = format!("the stored record of profile {} is not understood", profile.name);
    Fault::new(FaultKind::VaultFailed, what)
        .why("a later version of rally-cred wrote it")
        .remedy(format!("run that version, or {}", profile.command("logout")))
}

/// What to tell people about a record of another OAuth client in the place of the one that was there.
pub(super) fn of_other(profile: &Profile) -> Fault {
    let what = format!("the keyring has a token of another client for profile {}", profile.name);
    Fault::new(FaultKind::VaultFailed, what)
        .why("a daemon with another config file signed in to a profile of this name")
        .remedy(format!("give one of the profiles another name, or {} --force", profile.command("login")))
}

/// What to tell people about a record that is of no use.
pub(super) fn damaged(profile: &Profile) -> Fault {
    Fault::new(FaultKind::VaultFailed, format!("the stored record of profile {} is damaged", profile.name))
        .remedy(profile.command("login"))
}

pub(super) fn decode<T: for<'de> Deserialize<'de>>(
    text: &Secret,
    is_for_profile: impl Fn(&T) -> bool,
) -> Decoded<T> {
    match serde_json::from_str::<Versioned>(text.expose()) {
        Ok(Versioned { v }) if v > VERSION => return Decoded::Later,
        Ok(Versioned { .. }) => {}
        Err(_) => return Decoded::Damaged,
    }
    match serde_json::from_str::<T>(text.expose()) {
        Ok(record) if is_for_profile(&record) => Decoded::Ours(record),
        Ok(_) => Decoded::OfOther,
        Err(_) => Decoded::Damaged,
    }
}

/// `None` only if a text cannot be JSON, which no record's can.
pub(super) fn encode(record: &impl Serialize) -> Option<Secret> {
    // JSON escapes every control character, so the text is one line.
    Secret::parse(serde_json::to_string(record).ok()?).ok()
}
