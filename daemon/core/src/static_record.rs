//! The static credentials of one server, newest first: which one a request wants, and their record in the vault.
//! Does not: touch a vault, or know for which servers there are any.
//! Used by: `static_credentials`.
//!
//! Matching is git's (`credential_match` in its `credential.c`): what a request leaves out matches anything, the rest
//! must match exactly; a password counts only when something is erased.

use rally_cred_proto::{Secret, git::Credential};
use serde::{Deserialize, Serialize};

use super::{
    record::{self, Decoded},
    time::Wall,
    vault::is_same,
};

/// A server: git's protocol and host, in lower case.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Server {
    pub(super) protocol: String,
    pub(super) host: String,
}

impl Server {
    /// As a URL names it.
    pub(super) fn name(&self) -> String {
        format!("{}://{}", self.protocol, self.host)
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct StaticRecord {
    v: u32,
    entries: Vec<Entry>,
}

impl Default for StaticRecord {
    fn default() -> Self {
        Self { v: record::VERSION, entries: Vec::new() }
    }
}

/// A credential, and the path that it is for, if any.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Entry {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) path: Option<String>,
    #[serde(flatten)]
    pub(super) credential: Credential,
}

/// What a request says of the credential that it wants.
#[derive(Clone, Debug, Default)]
pub(super) struct Wanted {
    pub(super) path: Option<String>,
    pub(super) username: Option<String>,
    pub(super) password: Option<Secret>,
    pub(super) credential: Option<Secret>,
}

impl Wanted {
    fn is(&self, entry: &Entry) -> bool {
        let Entry { path, credential: Credential { username, password, credential, .. } } = entry;
        let fits = |wanted: &Option<String>, held: &Option<String>| wanted.is_none() || wanted == held;
        let fits_secret = |wanted: &Option<Secret>, held: &Option<Secret>| {
            wanted.is_none() || is_same(wanted.as_ref(), held.as_ref())
        };
        fits(&self.path, path)
            && fits(&self.username, username)
            && fits_secret(&self.password, password)
            && fits_secret(&self.credential, credential)
    }
}

impl StaticRecord {
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The newest that matches and has not expired. Without `takes_authtype` only passwords match.
    pub(super) fn find(&self, now: Wall, wanted: &Wanted, takes_authtype: bool) -> Option<&Credential> {
        self.entries.iter().filter(|entry| wanted.is(entry)).map(|entry| &entry.credential).find(
            |credential| {
                let is_live = credential.password_expiry_utc.is_none_or(|ends| ends > now.0);
                is_live
                    && (credential.password.is_some() || takes_authtype && credential.credential.is_some())
            },
        )
    }

    /// Replaces those for the same user and path. `false` if nothing changed: git stores what it was given after each
    /// use.
    pub(super) fn put(&mut self, entry: Entry) -> bool {
        let replaced = Wanted {
            path: entry.path.clone(),
            username: entry.credential.username.clone(),
            ..Wanted::default()
        };
        let mut old = self.entries.iter().filter(|old| replaced.is(old));
        if let (Some(only), None) = (old.next(), old.next())
            && only.is_same(&entry)
        {
            return false;
        }
        self.entries.retain(|old| !replaced.is(old));
        self.entries.insert(0, entry);
        true
    }

    /// Puts all of another list, the oldest first. `false` if nothing changed.
    pub(super) fn put_all(&mut self, others: Self) -> bool {
        let mut has_changed = false;
        for entry in others.entries.into_iter().rev() {
            has_changed |= self.put(entry);
        }
        has_changed
    }

    /// Removes all that match. `false` if none does.
    pub(super) fn remove(&mut self, wanted: &Wanted) -> bool {
        let before = self.entries.len();
        self.entries.retain(|entry| !wanted.is(entry));
        self.entries.len() < before
    }

    pub(super) fn decode(text: &Secret) -> Decoded<Self> {
        record::decode(text, |_| true)
    }
}

impl Entry {
    fn is_same(&self, other: &Self) -> bool {
        let Credential { username, password, password_expiry_utc, oauth_refresh_token, authtype, credential } =
            &self.credential;
        self.path == other.path
            && *username == other.credential.username
            && is_same(password.as_ref(), other.credential.password.as_ref())
            && *password_expiry_utc == other.credential.password_expiry_utc
            && is_same(oauth_refresh_token.as_ref(), other.credential.oauth_refresh_token.as_ref())
            && *authtype == other.credential.authtype
            && is_same(credential.as_ref(), other.credential.credential.as_ref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Wall = Wall(1_780_000_000);

    fn secret(text: &str) -> Secret {
        Secret::parse(text.to_owned()).unwrap()
    }

    fn entry(path: Option<&str>, username: &str, password: &str) -> Entry {
        let credential = Credential {
            username: Some(username.to_owned()),
            password: Some(secret(password)),
            ..Credential::default()
        };
        Entry { path: path.map(str::to_owned), credential }
    }

    fn user(name: &str) -> Wanted {
        Wanted { username: Some(name.to_owned()), ..Wanted::default() }
    }

    fn password_of(record: &StaticRecord, wanted: &Wanted) -> Option<String> {
        record.find(NOW, wanted, true)?.password.as_ref().map(|password| password.expose().to_owned())
    }

    #[test]
    fn the_newest_that_fits_is_found_and_each_user_has_one() {
        let mut record = StaticRecord::default();
        assert!(record.put(entry(None, "one", "1")) && record.put(entry(None, "two", "2")));
        assert_eq!(password_of(&record, &Wanted::default()).as_deref(), Some("2"));
        assert_eq!(password_of(&record, &user("one")).as_deref(), Some("1"));
        assert_eq!(password_of(&record, &user("One")), None);
        assert!(record.put(entry(None, "one", "1b")));
        assert!(!record.put(entry(None, "one", "1b")), "it is there already");
        assert_eq!(password_of(&record, &Wanted::default()).as_deref(), Some("1b"));
        assert_eq!(record.entries.len(), 2);
    }

    #[test]
    fn an_empty_user_name_is_a_name_and_a_path_must_be_the_same() {
        let mut record = StaticRecord::default();
        record.put(entry(None, "", ""));
        record.put(entry(Some("foo.git"), "me", "foo"));
        let at = |path: &str| Wanted { path: Some(path.to_owned()), ..Wanted::default() };
        assert_eq!(password_of(&record, &user("")).as_deref(), Some(""));
        assert_eq!(password_of(&record, &at("foo.git")).as_deref(), Some("foo"));
        assert_eq!(password_of(&record, &at("bar.git")), None);
        assert_eq!(password_of(&record, &at("foo.git/")), None);
    }

    #[test]
    fn only_the_password_that_failed_is_forgotten() {
        let mut record = StaticRecord::default();
        record.put(entry(None, "one", "1"));
        record.put(entry(None, "two", "2"));
        assert!(!record.remove(&Wanted { password: Some(secret("other")), ..user("one") }));
        assert!(record.remove(&Wanted { password: Some(secret("1")), ..user("one") }));
        assert_eq!(password_of(&record, &user("two")).as_deref(), Some("2"));
        assert!(record.remove(&Wanted::default()) && record.is_empty());
    }

    #[test]
    fn what_has_ended_is_not_given_and_a_scheme_only_to_who_takes_one() {
        let mut record = StaticRecord::default();
        let mut ended = entry(None, "old", "o");
        ended.credential.password_expiry_utc = Some(NOW.0);
        record.put(ended);
        assert_eq!(password_of(&record, &Wanted::default()), None);
        let bearer = Credential {
            authtype: Some("Bearer".to_owned()),
            credential: Some(secret("b")),
            ..Credential::default()
        };
        record.put(Entry { path: None, credential: bearer });
        assert!(record.find(NOW, &Wanted::default(), false).is_none());
        assert!(record.find(NOW, &Wanted::default(), true).is_some());
    }

    #[test]
    fn a_record_comes_back_as_it_was_kept() {
        let mut record = StaticRecord::default();
        record.put(entry(Some("p"), "é", "\"quoted\" \\ \t"));
        let Decoded::Ours(back) = StaticRecord::decode(&record::encode(&record).unwrap()) else {
            panic!("not ours")
        };
        assert_eq!(password_of(&back, &user("é")).as_deref(), Some("\"quoted\" \\ \t"));
        assert!(matches!(StaticRecord::decode(&secret(r#"{"v":2,"entries":5}"#)), Decoded::Later));
        assert!(matches!(StaticRecord::decode(&secret("{")), Decoded::Damaged));
        assert!(matches!(StaticRecord::decode(&secret("[1,[]]")), Decoded::Damaged));
    }
}
