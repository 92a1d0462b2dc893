//! The OS keyring as a store: Secret Service, Keychain or Credential Manager, and what their errors mean.
//! Does not: have deadlines, or show anything that a keyring says after it was given a secret.
//! Used by: `thread`, since every call can block for ever.

use std::{
    collections::{BTreeMap, HashMap},
    io,
    sync::Arc,
};

use ::keyring::Error;
use keyring_core::{CredentialStore, Entry};
use rally_cred_proto::{Secret, message::Flaw, plain::plain};
use zeroize::Zeroizing;

use super::{
    places,
    thread::{Refusal, Store},
};
use rally_cred_core::{is_later, vault::VaultTrouble};

/// The service name of every item; the account identifies them.
pub(super) const SERVICE: &str = "rally-cred";

/// Opens the keyring of this session. An earlier store is not used again: each knows one connection only, and a default
/// store of the process would keep the first failure for ever.
pub(super) fn open() -> Result<Box<dyn Store>, VaultTrouble> {
    #[cfg(all(unix, not(target_os = "macos")))]
    crate::worker::rehearse().map_err(|undone| VaultTrouble::Failed(undone.to_string()))?;
    match native_store() {
        Ok(store) => Ok(Box::new(OsKeyring(store))),
        // No secret was handed over yet, so the error can be shown in full.
        Err(Error::PlatformFailure(err) | Error::NoStorageAccess(err)) => Err(no_keyring(&err.to_string())),
        Err(_) => Err(no_keyring("it cannot be opened")),
    }
}

fn no_keyring(why: &str) -> VaultTrouble {
    VaultTrouble::NoKeyring { why: in_words(why), instead: places() }
}

/// Says in plain words what happens most.
fn in_words(why: &str) -> String {
    if why == "no secret service provider or dbus session found" {
        return "there is no session bus".to_owned();
    }
    if why.contains("org.freedesktop.DBus.Error.ServiceUnknown") {
        return "no program on the session bus keeps secrets".to_owned();
    }
    let unconnected = why.strip_prefix("zbus error: Failed to connect to address `");
    match unconnected.and_then(|rest| rest.split_once("`: ")) {
        Some((address, cause)) => plain(&format!("there is no session bus at {address}: {cause}")),
        None => plain(why),
    }
}

#[cfg(all(unix, not(target_os = "macos")))]
fn native_store() -> Result<Arc<CredentialStore>, Error> {
    Ok(zbus_secret_service_keyring_store::Store::new()?)
}

#[cfg(target_os = "macos")]
fn native_store() -> Result<Arc<CredentialStore>, Error> {
    Ok(apple_native_keyring_store::keychain::Store::new()?)
}

#[cfg(windows)]
fn native_store() -> Result<Arc<CredentialStore>, Error> {
    Ok(windows_native_keyring_store::Store::new()?)
}

/// Whether a Secret Service answers that it has no default collection, without which it keeps nothing.
#[cfg(all(unix, not(target_os = "macos")))]
fn has_no_collection() -> bool {
    let asked = || {
        zbus::blocking::Connection::session()?
            .call_method(
                Some("org.freedesktop.secrets"),
                "/org/freedesktop/secrets",
                Some("org.freedesktop.Secret.Service"),
                "ReadAlias",
                &("default",),
            )?
            .body()
            .deserialize::<zbus::zvariant::OwnedObjectPath>()
    };
    asked().is_ok_and(|path| path.as_str() == "/")
}

#[cfg(any(windows, target_os = "macos"))]
const fn has_no_collection() -> bool {
    false
}

/// Tells the Credential Manager to keep each item on this machine; it would roam with the user otherwise.
#[cfg(windows)]
const MODIFIERS: &[(&str, &str)] = &[("persistence", "Local")];
#[cfg(not(windows))]
const MODIFIERS: &[(&str, &str)] = &[];

/// Values are bytes. As passwords, Windows would store them in UTF-16, which halves the room.
struct OsKeyring(Arc<CredentialStore>);

impl Store for OsKeyring {
    fn load(&self, account: &str) -> Result<Option<Secret>, Refusal> {
        match self.entry(account)?.get_secret() {
            Ok(bytes) => readable(account, bytes).map(Some),
            Err(Error::Ambiguous(duplicates)) => newest_readable(account, duplicates),
            // Nothing is found where no collection is open, either.
            Err(Error::NoEntry) if has_no_collection() => Err(VaultTrouble::NoCollection.into()),
            Err(Error::NoEntry) => Ok(None),
            Err(err) => Err(refusal(&err)),
        }
    }

    fn save(&self, account: &str, value: &Secret) -> Result<(), Refusal> {
        let bytes = value.expose().as_bytes();
        match self.entry(account)?.set_secret(bytes) {
            Ok(()) => Ok(()),
            Err(Error::Ambiguous(duplicates)) => {
                let Duplicates { ours, .. } = Duplicates::of(duplicates);
                let mut ours = ours.into_iter();
                if let Some(kept) = ours.next() {
                    kept.set_secret(bytes).map_err(|err| refusal(&err))?;
                }
                // The next call could read an older one that stayed.
                ours.try_for_each(|twin| erase(&twin))
            }
            Err(err) => Err(refusal(&err)),
        }
    }

    fn accounts(&self) -> Result<Vec<String>, Refusal> {
        let entries = self.all()?;
        let mut accounts: Vec<_> = entries.iter().filter_map(account_of).collect();
        accounts.sort();
        accounts.dedup();
        Ok(accounts)
    }

    /// Items of one name in several collections.
    fn flaws(&self) -> Result<Vec<(String, Flaw)>, Refusal> {
        let mut found: BTreeMap<String, Vec<Entry>> = BTreeMap::new();
        for entry in self.all()? {
            if let Some(account) = account_of(&entry) {
                found.entry(account).or_default().push(entry);
            }
        }
        let is_doubled = |entries: Vec<Entry>| entries.len() > 1 && Duplicates::of(entries).ours.len() > 1;
        let doubled =
            found.into_iter().filter_map(|(account, entries)| is_doubled(entries).then_some(account));
        Ok(doubled.map(|account| (account, Flaw::Doubled)).collect())
    }

    fn mend(&self, name: &str, flaw: Flaw) -> Result<(), Refusal> {
        match flaw {
            Flaw::Doubled => match self.load(name)? {
                Some(newest) => self.save(name, &newest),
                None => Ok(()),
            },
            _ => self.erase(name),
        }
    }

    /// Erases every item of this name, or a duplicate would bring back what is forgotten.
    fn erase(&self, account: &str) -> Result<(), Refusal> {
        erase(&self.entry(account)?)
    }
}

impl OsKeyring {
    fn all(&self) -> Result<Vec<Entry>, Refusal> {
        self.0.search(&HashMap::from([("service", SERVICE)])).map_err(|err| refusal(&err))
    }

    fn entry(&self, account: &str) -> Result<Entry, Refusal> {
        let modifiers = HashMap::from_iter(MODIFIERS.iter().copied());
        self.0.build(SERVICE, account, Some(&modifiers)).map_err(|err| refusal(&err))
    }
}

/// Under which name an item was found.
fn account_of(entry: &Entry) -> Option<String> {
    match entry.get_specifiers() {
        Some((_, account)) => Some(account),
        None => entry.get_attributes().ok()?.remove("username"),
    }
}

fn erase(entry: &Entry) -> Result<(), Refusal> {
    match entry.delete_credential() {
        Ok(()) | Err(Error::NoEntry) => Ok(()),
        Err(Error::Ambiguous(duplicates)) => duplicates.iter().try_for_each(erase),
        Err(err) => Err(refusal(&err)),
    }
}

/// Items that match one name. A Secret Service search also finds items with more attributes than it was asked for;
/// their order is the keyring's whim.
struct Duplicates {
    /// Those with the fewest attributes, as written here; several of them are in several collections.
    ours: Vec<Entry>,
    /// Another program's, which are read if there is nothing else, and never written.
    others: Vec<Entry>,
}

impl Duplicates {
    fn of(entries: Vec<Entry>) -> Self {
        // gnome-keyring adds `xdg:schema` to some items.
        let attributes = |entry: &Entry| {
            entry.get_attributes().map_or(usize::MAX, |attributes| {
                attributes.keys().filter(|name| !name.starts_with("xdg:")).count()
            })
        };
        let counted: Vec<_> = entries.into_iter().map(|entry| (attributes(&entry), entry)).collect();
        let fewest = counted.iter().map(|(count, _)| *count).min();
        let (ours, others): (Vec<_>, Vec<_>) =
            counted.into_iter().partition(|(count, _)| Some(*count) == fewest);
        let strip = |counted: Vec<(usize, Entry)>| counted.into_iter().map(|(_, entry)| entry).collect();
        Self { ours: strip(ours), others: strip(others) }
    }
}

/// The newest of ours, and another program's only where there is none.
fn newest_readable(account: &str, duplicates: Vec<Entry>) -> Result<Option<Secret>, Refusal> {
    let Duplicates { ours, others } = Duplicates::of(duplicates);
    let mut damaged = None;
    for twins in [ours, others] {
        let mut newest: Option<Secret> = None;
        for twin in twins {
            match twin.get_secret().map(|bytes| readable(account, bytes)) {
                Ok(Ok(value)) if newest.as_ref().is_none_or(|newest| is_later(&value, newest)) => {
                    newest = Some(value);
                }
                Ok(Ok(_)) | Err(Error::NoEntry) => {}
                Ok(Err(refusal)) => damaged = Some(refusal),
                Err(err) => return Err(refusal(&err)),
            }
        }
        if newest.is_some() {
            return Ok(newest);
        }
    }
    damaged.map_or(Ok(None), Err)
}

/// An item that cannot be read is left alone, since it may be another program's.
pub(super) fn readable(account: &str, bytes: Vec<u8>) -> Result<Secret, Refusal> {
    let text = String::from_utf8(bytes).map_err(|err| {
        drop(Zeroizing::new(err.into_bytes()));
        damaged(account)
    })?;
    Secret::parse(text).map_err(|_| damaged(account))
}

pub(super) fn damaged(account: &str) -> Refusal {
    let why = format!("the item {account} is not what rally-cred wrote; it is left as it is");
    VaultTrouble::Damaged(plain(&why)).into()
}

/// What an error means. Its text is not shown, since it may hold the item's bytes.
fn refusal(err: &Error) -> Refusal {
    let trouble = match err {
        // Only the text tells which of the two it is; the tests with a real keyring hold it to its wording.
        Error::NoStorageAccess(cause) if cause.to_string().contains("result not returned") => {
            VaultTrouble::NoCollection
        }
        Error::NoStorageAccess(_) => {
            VaultTrouble::Locked("its prompt was dismissed, or could not be shown".to_owned())
        }
        Error::PlatformFailure(cause) => match reason(&**cause) {
            why if why.ends_with(".IsLocked") => VaultTrouble::Locked(why),
            why => VaultTrouble::Failed(why),
        },
        Error::TooLong(_, most) => {
            VaultTrouble::Failed(format!("the value is longer than the {most} bytes that this keyring takes"))
        }
        Error::BadEncoding(_) | Error::BadDataFormat(..) | Error::BadStoreFormat(_) => {
            VaultTrouble::Failed("the keyring, or the item in it, is damaged".to_owned())
        }
        _ => VaultTrouble::Failed("the keyring cannot do what is needed".to_owned()),
    };
    // A broken connection, or a session that a restarted keyring does not know, fails like this.
    Refusal { trouble, reopen: matches!(err, Error::PlatformFailure(_)) }
}

/// The kind of an error: the name of the D-Bus error, or what the operating system says. The rest is the keyring's own
/// text, which may quote what it was given.
fn reason(err: &(dyn std::error::Error + 'static)) -> String {
    let text = err.to_string();
    if cfg!(any(windows, target_os = "macos")) {
        return plain(&text);
    }
    let name = text
        .strip_prefix("zbus error: ")
        .or_else(|| text.strip_prefix("zbus fdo error: "))
        .and_then(|text| text.split(':').next())
        .filter(|name| {
            name.starts_with("org.") && !name.contains(|c: char| !c.is_ascii_alphanumeric() && c != '.')
        });
    if let Some(name) = name {
        return plain(&format!("it answered {name}"));
    }
    let mut cause = Some(err);
    while let Some(err) = cause {
        if let Some(err) = err.downcast_ref::<io::Error>() {
            return format!("the connection to it broke: {}", err.kind());
        }
        cause = err.source();
    }
    "it answered with an error".to_owned()
}

#[cfg(test)]
mod tests {
    use keyring_core::mock;

    use super::*;

    fn check(err: Error, trouble: VaultTrouble, reopen: bool) {
        let refusal = refusal(&err);
        assert_eq!((refusal.trouble, refusal.reopen), (trouble, reopen));
    }

    #[test]
    fn each_error_has_its_trouble_and_none_shows_what_the_keyring_quotes() {
        let failed = |why: &str| VaultTrouble::Failed(why.to_owned());
        check(
            Error::NoStorageAccess("SS error: prompt dismissed".into()),
            VaultTrouble::Locked("its prompt was dismissed, or could not be shown".to_owned()),
            false,
        );
        check(
            Error::PlatformFailure("zbus error: org.freedesktop.Secret.Error.NoSession: canary".into()),
            failed("it answered org.freedesktop.Secret.Error.NoSession"),
            true,
        );
        check(Error::PlatformFailure("canary".into()), failed("it answered with an error"), true);
        check(
            Error::PlatformFailure(Box::new(io::Error::new(io::ErrorKind::BrokenPipe, "canary"))),
            failed("the connection to it broke: broken pipe"),
            true,
        );
        let damaged = failed("the keyring, or the item in it, is damaged");
        check(Error::BadEncoding(b"canary".to_vec()), damaged.clone(), false);
        check(Error::BadDataFormat(b"canary".to_vec(), "canary".into()), damaged, false);
        check(
            Error::TooLong("canary".to_owned(), 2560),
            failed("the value is longer than the 2560 bytes that this keyring takes"),
            false,
        );
    }

    #[test]
    fn an_item_that_cannot_be_read_is_told_and_left_as_it_is() {
        let store = mock::Store::new().unwrap();
        let keyring = OsKeyring(store);
        let entry = keyring.entry("token:work").unwrap();
        for foreign in [&b"\xffcanary"[..], b"canary\n", b"can\0ary", b"canary\r"] {
            entry.set_secret(foreign).unwrap();
            let refusal = keyring.load("token:work").unwrap_err();
            assert_eq!(refusal.trouble, damaged("token:work").trouble);
            assert_eq!(entry.get_secret().unwrap(), foreign);
        }
    }

    #[test]
    fn an_item_comes_back_as_it_was_saved_and_erasing_it_twice_is_fine() {
        let keyring = OsKeyring(mock::Store::new().unwrap());
        assert!(keyring.load("token:work").unwrap().is_none());
        keyring.save("token:work", &Secret::parse("{\"é\":1}".to_owned()).unwrap()).unwrap();
        assert_eq!(keyring.load("token:work").unwrap().unwrap().expose(), "{\"é\":1}");
        keyring.erase("token:work").unwrap();
        keyring.erase("token:work").unwrap();
        assert!(keyring.load("token:work").unwrap().is_none());
    }
}
