//! Keeps tokens and client secrets in the place that the config file chooses: the OS keyring, memory, the kernel's
//! keyring, encrypted files, a helper program, or a vault that many machines share.
//! Does not: decide when to keep something, fall back from one to the other, or read records.
//! Used by: perform, which turns the broker's vault effects into calls.

#[cfg(target_os = "linux")]
use std::ops::ControlFlow;
use std::{sync::Arc, time::Duration};

use rally_cred_proto::{Secret, message::Flaw};

pub use file::EncryptedFiles;
use rally_cred_core::{
    profile::{FileKey, Keyring},
    vault::{Change, Changed, ItemKey, Read, VaultTrouble},
};
use thread::Store;

mod file;
mod helper;
mod keyring;
#[cfg(target_os = "linux")]
mod keyutils;
mod kv2;
mod memory;
mod thread;
#[cfg(target_os = "linux")]
mod watch;

/// How long a call waits for the keyring.
///
/// A call usually takes milliseconds, an unlock prompt as long as a person takes to type a passphrase, for which 20 s
/// will do. A slower person loses nothing: the prompt stays, and once it is answered, the keyring is unlocked for the
/// next call. The daemon's callers do not wait for this, since the broker answers each by its own deadline.
const PATIENCE: Duration = Duration::from_secs(20);

/// What the process knows of the places on this machine, whichever of them the config file chooses at the moment. A write
/// may hang in the keyring's prompt while another place is chosen and this one again: it must not undo a newer one.
pub struct Places {
    keyring: Arc<thread::KeyringThread>,
    files: EncryptedFiles,
}

/// A handle on the place where secrets are kept. Clones share the place.
#[derive(Clone)]
pub struct Vault(Place);

/// The places that this machine has beside its OS keyring, as `keyring` in the config file names them.
#[cfg(target_os = "linux")]
pub fn places() -> Vec<String> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let has_pass =
        || std::env::split_paths(&path).any(|folder| folder.join("docker-credential-pass").is_file());
    let places = [("file", true), ("keyutils", keyutils::is_there()), ("helper:pass", has_pass())];
    places.into_iter().filter(|(_, is_there)| *is_there).map(|(place, _)| place.to_owned()).collect()
}

/// None that is known to work.
#[cfg(not(target_os = "linux"))]
pub fn places() -> Vec<String> {
    Vec::new()
}

#[cfg(target_os = "linux")]
use keyutils::open as open_keyutils;

#[cfg(not(target_os = "linux"))]
fn open_keyutils() -> Result<Box<dyn Store>, VaultTrouble> {
    Err(VaultTrouble::Missing("only Linux has a keyring in its kernel".to_owned()))
}

#[derive(Clone)]
enum Place {
    Keyring(Arc<thread::KeyringThread>),
    Memory(Arc<memory::Memory>),
    Server(Arc<kv2::Server>),
}

impl Places {
    /// Nothing is touched before the first call.
    pub fn new(choice: &Keyring) -> Self {
        let key = if let Keyring::File(key) = choice { key.clone() } else { FileKey::default() };
        Self { keyring: on_thread(keyring::open), files: EncryptedFiles::of_user(key) }
    }

    /// Opens the place that was chosen; nothing is touched before the first call. `Auto` and `Os` are the same here: the
    /// broker decides what to do about a missing keyring.
    pub fn open(&mut self, choice: &Keyring) -> Vault {
        Vault(match choice {
            Keyring::Auto | Keyring::Os => Place::Keyring(Arc::clone(&self.keyring)),
            Keyring::Memory => Place::Memory(Arc::default()),
            Keyring::Keyutils => Place::Keyring(on_thread(open_keyutils)),
            Keyring::File(key) => {
                self.files = self.files.opened_by(key);
                let files = self.files.clone();
                Place::Keyring(on_thread(move || Ok(files.store())))
            }
            Keyring::Helper(name) => {
                let name = name.clone();
                Place::Keyring(on_thread(move || Ok(Box::new(helper::Helper::new(name.clone())))))
            }
            Keyring::Kv2(settings) => Place::Server(Arc::new(kv2::Server::new(Arc::clone(settings)))),
        })
    }

    /// The encrypted files, which a person may have unlocked already.
    pub fn files(&self) -> &EncryptedFiles {
        &self.files
    }
}

/// A place whose calls may block.
fn on_thread(
    open: impl Fn() -> Result<Box<dyn Store>, VaultTrouble> + Send + Sync + 'static,
) -> Arc<thread::KeyringThread> {
    Arc::new(thread::KeyringThread::new(open, PATIENCE))
}

impl Vault {
    /// By how many milliseconds the calendar of a shared vault is ahead of this machine's, at least and at most.
    pub fn calendar(&self) -> Option<(i64, i64)> {
        match &self.0 {
            Place::Server(server) => server.calendar(),
            Place::Keyring(_) | Place::Memory(_) => None,
        }
    }

    /// Reports each time that the keyring of this session may have been unlocked or may have come, until a report breaks.
    #[cfg(target_os = "linux")]
    pub async fn watch(&self, mut report: impl FnMut() -> ControlFlow<()>) {
        let Place::Keyring(keyring) = &self.0 else { return };
        watch::watch(|| {
            keyring.may_answer_again();
            report()
        })
        .await;
    }

    /// What is kept under the key.
    pub async fn load(&self, key: &ItemKey) -> Read {
        match &self.0 {
            Place::Keyring(keyring) => keyring.load(&key.account()).await,
            Place::Memory(memory) => Ok(memory.find(key)),
            Place::Server(server) => server.load(key).await,
        }
    }

    /// Opens the place if it is locked: a keyring asks the user when an item is read.
    pub async fn unlock(&self, key: &ItemKey) -> Result<(), VaultTrouble> {
        match &self.0 {
            Place::Keyring(keyring) => keyring.load(&key.account()).await.map(drop),
            Place::Memory(_) => Ok(()),
            // Whether it is sealed, only its owner can change.
            Place::Server(server) => server.load(key).await.map(drop),
        }
    }

    /// Keeps the value under the key, in place of what was there. After a failure it may still be written later, once a
    /// prompt is answered; but never over the value of a later `save` or `erase`.
    pub async fn save(&self, key: &ItemKey, value: Secret) -> Result<(), VaultTrouble> {
        self.write(key, Some(value)).await
    }

    /// Makes the change if the item holds what is believed. No keyring does both in one step, so another program's
    /// write between the two, a few milliseconds apart, goes unnoticed.
    pub async fn change(&self, change: Change) -> Result<Changed, VaultTrouble> {
        match &self.0 {
            Place::Keyring(keyring) => keyring.change(&change.key.account(), change.from, change.to).await,
            Place::Memory(memory) => Ok(memory.change(change)),
            Place::Server(server) => server.change(change).await,
        }
    }

    /// Writes an item, reads it and erases it. The first failure ends it, and may leave the item behind.
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

    /// Erases what is kept under the key, if anything.
    pub async fn erase(&self, key: &ItemKey) -> Result<(), VaultTrouble> {
        self.write(key, None).await
    }

    /// The account names of all items, in alphabetical order.
    pub async fn accounts(&self) -> Result<Vec<String>, VaultTrouble> {
        let mut accounts = match &self.0 {
            Place::Keyring(keyring) => keyring.accounts().await?,
            Place::Memory(memory) => memory.accounts(),
            Place::Server(server) => server.accounts().await?,
        };
        accounts.sort();
        Ok(accounts)
    }

    /// What is wrong beside the content of single items: by account, or by the name that [`Vault::mend`] takes.
    pub async fn flaws(&self) -> Result<Vec<(String, Flaw)>, VaultTrouble> {
        match &self.0 {
            Place::Keyring(keyring) => keyring.flaws().await,
            Place::Memory(_) | Place::Server(_) => Ok(Vec::new()),
        }
    }

    /// Takes away what is of no use. `found`: what the item held, if it could be read. `false` if that has changed, and
    /// nothing was done.
    pub async fn mend(&self, name: &str, flaw: Flaw, found: Option<Secret>) -> Result<bool, VaultTrouble> {
        match &self.0 {
            Place::Keyring(keyring) => keyring.mend(name, flaw, found).await,
            Place::Memory(_) | Place::Server(_) => Ok(false),
        }
    }

    async fn write(&self, key: &ItemKey, value: Option<Secret>) -> Result<(), VaultTrouble> {
        match &self.0 {
            Place::Keyring(keyring) => keyring.write(&key.account(), value).await,
            Place::Memory(memory) => {
                memory.write(key.clone(), value);
                Ok(())
            }
            Place::Server(server) => server.write(key, value).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_that_hangs_in_the_keyring_is_known_once_the_keyring_is_chosen_again() {
        let mut places = Places::new(&Keyring::Auto);
        let mut open = |choice| match places.open(choice).0 {
            Place::Keyring(thread) => thread,
            Place::Memory(_) | Place::Server(_) => panic!("no keyring"),
        };
        let before = open(&Keyring::Auto);
        open(&Keyring::Keyutils);
        assert!(Arc::ptr_eq(&before, &open(&Keyring::Os)));
    }
}
