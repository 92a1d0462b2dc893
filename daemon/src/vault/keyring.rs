//! The OS keyring as a store: Secret Service on Linux and the BSDs, Keychain on macOS, Credential Manager on Windows.
//! Does not: run on a runtime thread; its calls block, some of them for ever.
//! Met by: `Vault`, through a worker.

use std::sync::Arc;

use keyring_core::{Entry, Error, api::CredentialStoreApi};
use rally_cred_proto::plain::plain;

use super::worker::{Store, Trouble};
use crate::core::vault::VaultTrouble;

/// The items' service name in the keyring; the account is their other half.
const SERVICE: &str = "rally-cred";

struct OsKeyring(Arc<dyn CredentialStoreApi + Send + Sync>);

/// Opens a connection to the keyring.
pub(super) fn open() -> Result<Box<dyn Store>, Trouble> {
    // Stores are built here and not through `keyring::Entry`, whose first failure would last as long as the process.
    #[cfg(target_os = "linux")]
    let store = zbus_secret_service_keyring_store::Store::new();
    #[cfg(not(target_os = "linux"))]
    let store = native_store();
    Ok(Box::new(OsKeyring(store.map_err(|fault| trouble_of(&fault))?)))
}

/// On other systems the `keyring` crate brings the right store, and opening it cannot fail for want of a service.
#[cfg(not(target_os = "linux"))]
fn native_store() -> Result<Arc<dyn CredentialStoreApi + Send + Sync>, Error> {
    // Its first entry makes the system's store the default one.
    keyring::Entry::new(SERVICE, SERVICE)?;
    keyring_core::get_default_store().ok_or(Error::NoDefaultStore)
}

impl OsKeyring {
    fn entry(&self, account: &str) -> Result<Entry, Trouble> {
        self.0.build(SERVICE, account, None).map_err(|fault| trouble_of(&fault))
    }

    /// Leaves one of several items that match, which another program or an old crash may have left behind.
    fn keep_one(duplicates: Vec<Entry>) -> Result<(), Trouble> {
        for duplicate in duplicates.into_iter().skip(1) {
            duplicate.delete_credential().map_err(|fault| trouble_of(&fault))?;
        }
        Ok(())
    }
}

impl Store for OsKeyring {
    fn load(&mut self, account: &str) -> Result<Option<Vec<u8>>, Trouble> {
        match self.entry(account)?.get_secret() {
            Ok(text) => Ok(Some(text)),
            Err(Error::NoEntry) => Ok(None),
            // The next save leaves one of them; until then the first is as good as any.
            Err(Error::Ambiguous(duplicates)) => match duplicates.first().map(Entry::get_secret) {
                Some(Ok(text)) => Ok(Some(text)),
                Some(Err(fault)) => Err(trouble_of(&fault)),
                None => Ok(None),
            },
            Err(fault) => Err(trouble_of(&fault)),
        }
    }

    fn save(&mut self, account: &str, text: &[u8]) -> Result<(), Trouble> {
        let entry = self.entry(account)?;
        match entry.set_secret(text) {
            Ok(()) => Ok(()),
            Err(Error::Ambiguous(duplicates)) => {
                Self::keep_one(duplicates)?;
                entry.set_secret(text).map_err(|fault| trouble_of(&fault))
            }
            Err(fault) => Err(trouble_of(&fault)),
        }
    }

    fn erase(&mut self, account: &str) -> Result<(), Trouble> {
        let entry = self.entry(account)?;
        match entry.delete_credential() {
            Ok(()) | Err(Error::NoEntry) => Ok(()),
            Err(Error::Ambiguous(duplicates)) => {
                Self::keep_one(duplicates)?;
                entry.delete_credential().map_err(|fault| trouble_of(&fault))
            }
            Err(fault) => Err(trouble_of(&fault)),
        }
    }
}

/// What a keyring's error means. `Debug` of some of them shows secret bytes, so only chosen texts are looked at.
fn trouble_of(fault: &Error) -> Trouble {
    match fault {
        Error::NoStorageAccess(cause) => {
            let why = plain(&cause.to_string());
            // Secret Service says "no result" when there is no collection yet and none could be made.
            Trouble::Plain(VaultTrouble::Locked(why))
        }
        Error::PlatformFailure(cause) => {
            let mut words = cause.to_string();
            let mut source = cause.source();
            while let Some(inner) = source {
                words = format!("{words}: {inner}");
                source = inner.source();
            }
            platform_trouble(&plain(&words))
        }
        Error::BadEncoding(_) | Error::BadDataFormat(..) => {
            Trouble::Plain(VaultTrouble::Failed("an item of rally-cred is damaged".to_owned()))
        }
        Error::TooLong(what, most) => Trouble::Plain(VaultTrouble::Failed(format!(
            "its {} is longer than the {most} that it takes",
            plain(what)
        ))),
        Error::NoDefaultStore => Trouble::Plain(VaultTrouble::Missing("this system has none".to_owned())),
        Error::NoEntry
        | Error::BadStoreFormat(_)
        | Error::Invalid(..)
        | Error::Ambiguous(_)
        | Error::NotSupportedByStore(_) => {
            Trouble::Plain(VaultTrouble::Failed("it does not do what it was asked".to_owned()))
        }
        _ => Trouble::Plain(VaultTrouble::Failed("it answers with an unknown error".to_owned())),
    }
}

/// What is said where no keyring, or no bus, answers.
const ABSENT: [&str; 6] = [
    "ServiceUnknown",
    "NameHasNoOwner",
    "no secret service provider",
    "No such file or directory",
    "Connection refused",
    "address",
];

/// D-Bus tells by names what the store's error type does not.
fn platform_trouble(words: &str) -> Trouble {
    let says = |name: &str| words.contains(name);
    if says("NoSession") || says("NoReply") || says("Disconnected") || says("Broken pipe") {
        // A keyring that was started anew does not know our session.
        Trouble::Stale(VaultTrouble::Failed(words.to_owned()))
    } else if says("IsLocked") || says("locked") {
        Trouble::Plain(VaultTrouble::Locked(words.to_owned()))
    } else if ABSENT.iter().any(|name| says(name)) {
        Trouble::Stale(VaultTrouble::Missing(words.to_owned()))
    } else {
        Trouble::Stale(VaultTrouble::Failed(words.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_that_carries_secret_bytes_shows_none_of_them() {
        for fault in
            [Error::BadEncoding(b"canary".to_vec()), Error::BadDataFormat(b"canary".to_vec(), "x".into())]
        {
            assert!(!format!("{:?}", trouble_of(&fault)).contains("canary"));
        }
    }

    #[test]
    fn names_on_the_bus_tell_a_restart_from_an_absence() {
        let check = |words: &str, is_stale: bool, is_missing: bool| {
            let trouble = platform_trouble(words);
            assert_eq!(matches!(trouble, Trouble::Stale(_)), is_stale, "{words}");
            let (Trouble::Stale(inner) | Trouble::Plain(inner)) = trouble;
            assert_eq!(matches!(inner, VaultTrouble::Missing(_)), is_missing, "{words}");
        };
        check("org.freedesktop.Secret.Error.NoSession: The session does not exist", true, false);
        check("org.freedesktop.DBus.Error.ServiceUnknown: not provided by any .service files", true, true);
        check("no secret service provider or dbus session found", true, true);
        check("I/O error: No such file or directory (os error 2)", true, true);
        check(
            "org.freedesktop.Secret.Error.IsLocked: Cannot create an item in a locked collection",
            false,
            false,
        );
        check("No space left on device", true, false);
    }
}
