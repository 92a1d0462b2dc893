//! The Linux kernel's keyring of this user as a store: in the kernel's memory, never on a disk, gone at a restart of the
//! machine.
//! Does not: use the session's keyring, which ends with the session, or the persistent one, which expires after days.
//! Used by: the vault's handle, when the config file says `keyring = "keyutils"`.

use linux_keyutils::{Key, KeyError, KeyRing, KeyRingIdentifier};
use rally_cred_core::vault::VaultTrouble;
use rally_cred_proto::Secret;

use super::{
    keyring::readable,
    thread::{Refusal, Store},
};

/// What the description of every key begins with; the item's account name follows.
const PREFIX: &str = "rally-cred:";

/// How much room a list of keys gets, in bytes of four for each. A user may have 200 keys, unless the administrator allows
/// more.
const MOST_KEYS: usize = 64 * 1024;

struct Keyutils(KeyRing);

/// Whether this kernel, and whatever confines the process, lets it have the user's keyring.
pub(super) fn is_there() -> bool {
    KeyRing::from_special_id(KeyRingIdentifier::User, true).is_ok()
}

/// Opens the keyring for this thread.
pub(super) fn open() -> Result<Box<dyn Store>, VaultTrouble> {
    let missing = |err| VaultTrouble::Missing(format!("the kernel's keyring cannot be used here: {err}"));
    let user = KeyRing::from_special_id(KeyRingIdentifier::User, true).map_err(missing)?;
    // A key's owner may do with it only what the kernel allows everyone of that user, which is little, unless a keyring of
    // the thread leads to it. A session's keyring need not lead to the user's: that of a systemd unit does not.
    let thread = KeyRing::from_special_id(KeyRingIdentifier::Thread, true).map_err(missing)?;
    thread.link_keyring(user).map_err(missing)?;
    Ok(Box::new(Keyutils(user)))
}

impl Store for Keyutils {
    fn load(&self, account: &str) -> Result<Option<Secret>, Refusal> {
        let Some(key) = self.find(account)? else { return Ok(None) };
        match key.read_to_vec() {
            Ok(bytes) => readable(account, bytes).map(Some),
            // Somebody has removed it in the meantime.
            Err(err) if is_absent(err) => Ok(None),
            Err(err) => Err(refusal(err)),
        }
    }

    /// The kernel replaces the value of a key with the same description, in one step.
    fn save(&self, account: &str, value: &Secret) -> Result<(), Refusal> {
        self.0.add_key(&description(account), value.expose()).map(drop).map_err(refusal)
    }

    fn erase(&self, account: &str) -> Result<(), Refusal> {
        match self.find(account)?.map(|key| self.0.unlink_key(key)) {
            None | Some(Ok(())) => Ok(()),
            Some(Err(err)) if is_absent(err) => Ok(()),
            Some(Err(err)) => Err(refusal(err)),
        }
    }

    fn accounts(&self) -> Result<Vec<String>, Refusal> {
        let links = self.0.get_links(MOST_KEYS).map_err(refusal)?;
        // A key that is gone by now, or another program's, has no description for us.
        let described = links.iter().filter_map(|link| link.as_key()?.metadata().ok());
        Ok(described.filter_map(|of| Some(of.get_description().strip_prefix(PREFIX)?.to_owned())).collect())
    }
}

impl Keyutils {
    fn find(&self, account: &str) -> Result<Option<Key>, Refusal> {
        match self.0.search(&description(account)) {
            Ok(key) => Ok(Some(key)),
            Err(err) if is_absent(err) => Ok(None),
            Err(err) => Err(refusal(err)),
        }
    }
}

fn description(account: &str) -> String {
    format!("{PREFIX}{account}")
}

fn is_absent(err: KeyError) -> bool {
    matches!(err, KeyError::KeyDoesNotExist | KeyError::KeyRevoked | KeyError::KeyExpired)
}

fn refusal(err: KeyError) -> Refusal {
    let why = match err {
        KeyError::QuotaExceeded => {
            "this user's keys may take no more room (/proc/sys/kernel/keys/maxbytes)".to_owned()
        }
        err => format!("the kernel answered {err}"),
    };
    Refusal { trouble: VaultTrouble::Failed(why), reopen: true }
}
