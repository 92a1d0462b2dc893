//! Keeps tokens and client secrets: in the OS keyring, or in memory where the config file says so.
//! Does not: decide when something is kept, fall back from one place to the other, or read records.
//! Used by: the perform layer, which turns the broker's vault effects into calls.

use std::{fmt, sync::Arc, time::Duration};

use rally_cred_proto::Secret;

use rally_cred_core::{
    profile::Keyring,
    vault::{Change, Changed, ItemKey, VaultTrouble},
};

mod keyring;
mod memory;
mod thread;

/// How long a call waits for the keyring.
///
/// A call usually takes milliseconds; only an unlock prompt takes longer, and then a person types a passphrase, which
/// 20 s is enough for. A slower person loses nothing: the prompt stays on the screen, and once it is answered the
/// keyring is unlocked for the next call. Callers of the daemon do not wait for this, since the broker answers each by
/// its own deadline.
const PATIENCE: Duration = Duration::from_secs(20);

/// A handle on the place where secrets are kept. Clones are the same place.
#[derive(Clone)]
pub struct Vault(Place);

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = match &self.0 {
            Place::Keyring(_) => "keyring",
            Place::Memory(_) => "memory",
        };
        f.debug_tuple("Vault").field(&place).finish()
    }
}

#[derive(Clone)]
enum Place {
    Keyring(Arc<thread::KeyringThread>),
    Memory(Arc<memory::Memory>),
}

impl Vault {
    /// Takes the configured place. Nothing is touched before the first call. `Auto` and `Os` are one here: what to do
    /// about a keyring that is missing is the broker's decision.
    pub fn open(choice: Keyring) -> Self {
        match choice {
            Keyring::Auto | Keyring::Os => {
                Self(Place::Keyring(Arc::new(thread::KeyringThread::new(keyring::open, PATIENCE))))
            }
            Keyring::Memory => Self(Place::Memory(Arc::default())),
        }
    }

    /// What is kept under the key, `None` if nothing is.
    pub async fn load(&self, key: &ItemKey) -> Result<Option<Secret>, VaultTrouble> {
        match &self.0 {
            Place::Keyring(keyring) => keyring.load(&key.account()).await,
            Place::Memory(memory) => Ok(memory.find(key)),
        }
    }

    /// Keeps the value under the key, in place of what was there.
    ///
    /// After a trouble the value may still be kept later, when a prompt is answered; but never in place of the value of
    /// a later `save` or `erase`.
    pub async fn save(&self, key: &ItemKey, value: Secret) -> Result<(), VaultTrouble> {
        match &self.0 {
            Place::Keyring(keyring) => keyring.write(&key.account(), Some(value)).await,
            Place::Memory(memory) => {
                memory.keep(key, value);
                Ok(())
            }
        }
    }

    /// Carries the change out if the item holds what is believed. No keyring can do both in one step, so a write of another
    /// program between the two, a few milliseconds apart, goes unseen.
    pub async fn change(&self, change: Change) -> Result<Changed, VaultTrouble> {
        match &self.0 {
            Place::Keyring(keyring) => keyring.change(&change.key.account(), change.from, change.to).await,
            Place::Memory(memory) => Ok(memory.change(change)),
        }
    }

    /// Writes an item, reads it and deletes it. The first trouble ends it; after one, the item may be left behind.
    pub async fn try_out(&self, key: &ItemKey) -> Result<(), VaultTrouble> {
        let failed = |why: &str| VaultTrouble::Failed(why.to_owned());
        let written = Secret::parse("rally-cred was here".to_owned()).map_err(|_| failed("no item"))?;
        self.save(key, written.clone()).await?;
        let read = self.load(key).await;
        self.erase(key).await?;
        match read? {
            Some(read) if read.matches(&written) => Ok(()),
            Some(_) => Err(failed("what was read is not what was written")),
            None => Err(failed("what was written is not there")),
        }
    }

    /// Forgets what is kept under the key; it is fine if nothing is.
    pub async fn erase(&self, key: &ItemKey) -> Result<(), VaultTrouble> {
        match &self.0 {
            Place::Keyring(keyring) => keyring.write(&key.account(), None).await,
            Place::Memory(memory) => {
                memory.forget(key);
                Ok(())
            }
        }
    }
}
