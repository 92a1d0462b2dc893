//! The records that the vault keeps, as JSON with a version.
//! Does not: touch a vault. A record of a later version is left as it is.
//! Used by: `account`, which encodes what it saves and decodes what it loads.

use rally_cred_proto::{Fault, FaultKind, Secret, object::Object, remedy::Command};
use serde::{Deserialize, Serialize};

use super::{
    profile::Profile,
    vault::{REPAIR, is_same},
};

/// Version of the records; it grows when an older daemon would misread one.
pub(super) const VERSION: u32 = 1;

/// A grant, with the OAuth client that it belongs to.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct TokenRecord {
    v: u32,
    base_url: String,
    client_id: String,
    scope: String,
    /// The ZSESSIONID; absent after Rally refused it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) access_token: Option<Secret>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) refresh_token: Option<Secret>,
    /// When the access token was issued, in seconds since 1970.
    pub(super) obtained_at: i64,
    /// When a person signed in for this grant, in seconds since 1970; it identifies the grant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) signed_in_at: Option<i64>,
    /// When the access token expires, in seconds since 1970, where Rally said so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) expires_at: Option<i64>,
    /// The Rally user, once looked up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) username: Option<String>,
    /// Counts the tokens of a vault that many daemons share, whose clocks may differ; zero in any other.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(super) generation: u64,
    /// Who may renew, in such a vault.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) lease: Option<Lease>,
}

/// A daemon's right to renew.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Lease {
    pub(super) owner: String,
    /// When it ends by the vault's calendar, for people to read; no daemon judges by it.
    pub(super) until: i64,
    /// Tells it from the owner's last one.
    pub(super) turn: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// A client secret, with the OAuth client that it belongs to.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct ClientSecretRecord {
    v: u32,
    base_url: String,
    client_id: String,
    pub(super) client_secret: Secret,
}

#[derive(Debug)]
pub(super) enum Decoded<T> {
    /// For this profile as it is configured now.
    Ours(T),
    /// For another base URL, client ID or scope; the next sign-in overwrites it.
    OfOther,
    /// Truncated or altered; the next sign-in overwrites it.
    Damaged,
    /// Written by a later version, and not to be touched.
    Later,
}

#[derive(Deserialize)]
struct Versioned {
    v: u32,
}

impl TokenRecord {
    pub(super) fn new(profile: &Profile, obtained_at: i64) -> Self {
        Self {
            v: VERSION,
            base_url: profile.base_url.origin().to_string(),
            client_id: profile.client_id.clone(),
            scope: profile.scope.clone(),
            obtained_at,
            ..Self::default()
        }
    }

    pub(super) fn has_same_tokens(&self, other: &Self) -> bool {
        is_same(self.access_token.as_ref(), other.access_token.as_ref())
            && is_same(self.refresh_token.as_ref(), other.refresh_token.as_ref())
    }

    /// Whether both stem from the same sign-in.
    pub(super) fn is_of_same_sign_in(&self, other: &Self) -> bool {
        self.signed_in_at.is_some() && self.signed_in_at == other.signed_in_at
    }

    /// Whether this one of the same sign-in is newer: by its number, and by the calendar where none is counted.
    pub(super) fn is_newer_than(&self, other: &Self) -> bool {
        (self.generation, self.obtained_at) > (other.generation, other.obtained_at)
    }

    /// Whether this one's sign-in was later; of two in one second, the renewable one counts as later.
    pub(super) fn is_of_later_sign_in(&self, other: &Self) -> bool {
        (self.signed_in_at, self.refresh_token.is_some())
            > (other.signed_in_at, other.refresh_token.is_some())
    }

    pub(super) fn shares_refresh_token(&self, other: &Self) -> bool {
        self.refresh_token.is_some() && is_same(self.refresh_token.as_ref(), other.refresh_token.as_ref())
    }

    pub(super) fn decode(text: &Secret, profile: &Profile) -> Decoded<Self> {
        decode(text, |record: &Self| {
            record.base_url == profile.base_url.origin().to_string()
                && record.client_id == profile.client_id
                && record.scope == profile.scope
        })
    }
}

impl ClientSecretRecord {
    pub(super) fn new(profile: &Profile, client_secret: Secret) -> Self {
        Self {
            v: VERSION,
            base_url: profile.base_url.origin().to_string(),
            client_id: profile.client_id.clone(),
            client_secret,
        }
    }

    pub(super) fn decode(text: &Secret, profile: &Profile) -> Decoded<Self> {
        decode(text, |record: &Self| {
            record.base_url == profile.base_url.origin().to_string() && record.client_id == profile.client_id
        })
    }
}

/// The token record without what only those need who renew; `None` if there is no access token to use.
pub fn for_readers(text: &Secret) -> Option<Secret> {
    let Object(record) = serde_json::from_str::<Object<TokenRecord>>(text.expose()).ok()?;
    record
        .access_token
        .is_some()
        .then(|| encode(&TokenRecord { refresh_token: None, lease: None, ..record }))?
}

/// Whether the one text for readers may take the place of the other.
pub fn is_newer_for_readers(text: &Secret, other: &Secret) -> bool {
    let read = |text: &Secret| serde_json::from_str::<Object<TokenRecord>>(text.expose()).ok();
    match (read(text), read(other)) {
        (Some(Object(new)), Some(Object(old))) => new.generation > old.generation,
        (new, _) => new.is_some(),
    }
}

/// Whether a record is of a later moment than another under the same key. Only tokens have one.
pub fn is_later(text: &Secret, than: &Secret) -> bool {
    #[derive(Deserialize)]
    struct Dated {
        obtained_at: i64,
    }
    let obtained_at =
        |text: &Secret| serde_json::from_str(text.expose()).ok().map(|Dated { obtained_at }| obtained_at);
    obtained_at(text) > obtained_at(than)
}

/// Whether two records of a token are of one grant, however they were written.
pub fn is_same_grant(text: &Secret, other: &Secret) -> bool {
    #[derive(Deserialize)]
    struct Grant {
        refresh_token: Secret,
    }
    let refresh_token =
        |text: &Secret| serde_json::from_str(text.expose()).ok().map(|Grant { refresh_token }| refresh_token);
    text.matches(other)
        || refresh_token(text).zip(refresh_token(other)).is_some_and(|(one, other)| one.matches(&other))
}

/// Whether a later version of rally-cred wrote the record, which is not to be touched then.
pub fn is_of_later_version(text: &Secret) -> bool {
    serde_json::from_str(text.expose()).is_ok_and(|Object(Versioned { v })| v > VERSION)
}

pub(super) fn later_version(profile: &Profile) -> Fault {
    let what = format!("the stored record of profile {} is not understood", profile.name);
    Fault::new(FaultKind::VaultFailed, what)
        .why("a later version of rally-cred wrote it")
        .remedy(format!("run that version, or {}", profile.command("logout")))
}

pub(super) fn of_other(profile: &Profile) -> Fault {
    let what = format!("the keyring has a token of another client for profile {}", profile.name);
    Fault::new(FaultKind::VaultFailed, what)
        .why("a daemon with another config file signed in to a profile of this name")
        .remedy(format!("give one of the profiles another name, or {} --force", profile.command("login")))
}

pub(super) fn damaged(profile: &Profile) -> Fault {
    Fault::new(FaultKind::VaultFailed, format!("the stored record of profile {} is damaged", profile.name))
        .remedy(Command::new(REPAIR).and(format!(", then {}", profile.command("login"))))
}

pub(super) fn decode<T: for<'de> Deserialize<'de>>(text: &Secret, fits: impl Fn(&T) -> bool) -> Decoded<T> {
    if is_of_later_version(text) {
        return Decoded::Later;
    }
    match serde_json::from_str::<Object<T>>(text.expose()) {
        Ok(Object(record)) if fits(&record) => Decoded::Ours(record),
        Ok(_) => Decoded::OfOther,
        Err(_) => Decoded::Damaged,
    }
}

/// The text for the vault. No record is `None`: all of it can be JSON.
pub(super) fn encode(record: &impl Serialize) -> Option<Secret> {
    // JSON escapes every control character, so the text is one line.
    Secret::parse(serde_json::to_string(record).ok()?).ok()
}
