//! Encrypted files as a store, one an item, for machines without a keyring.
//! Does not: ask for a passphrase, write anything in plain, or write over a file that it cannot read.
//! Used by: the vault's handle, when the config file says `keyring = "file"`.
//!
//! A random key encrypts the items. It is itself in the folder, encrypted by what the user has: a passphrase, or a file
//! such as a systemd credential. So the whole folder is read either with that or not at all, and no item changes when
//! the passphrase does.

mod sealed;

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use rally_cred_core::{profile::FileKey, vault::VaultTrouble};
use rally_cred_proto::{Fault, FaultKind, Secret, message::Flaw, own_file, socket, unpoisoned};
use zeroize::Zeroizing;

use self::sealed::{Key, Lock, Opener};
use super::{
    keyring::readable,
    thread::{Refusal, Store},
};
use crate::{private_file, worker};

/// The name of the file with the encrypted key. No account has a name like it, since each has a colon.
const LOCK: &str = "key";

/// What the name of a file begins with that is not complete yet.
const UNFINISHED: &str = ".unfinished-";

/// What a name of an account has that is no trouble in the name of a file.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.');

/// The folder for files that are damaged, or were never finished. No account has a name like it.
const ASIDE: &str = "damaged";

/// An account's file is small. The limit is for what is put in its place.
const LARGEST: u64 = 1024 * 1024;

/// A key of fewer bytes can be guessed, if it is a word.
const SHORTEST_KEY: usize = 32;

/// The folder, and its key once it is known. Every store of one daemon shares it.
#[derive(Debug)]
struct Folder {
    place: Option<PathBuf>,
    opens_by: FileKey,
    key: Mutex<Option<Arc<Key>>>,
}

/// The encrypted files of this user. Clones share what is known of their key.
#[derive(Clone, Debug)]
pub struct EncryptedFiles(Arc<Folder>);

impl EncryptedFiles {
    /// The files in this user's state folder; nothing is touched before the first call.
    pub fn of_user(opens_by: FileKey) -> Self {
        // Elsewhere, a confined daemon writes nothing.
        let place = socket::state_folder().ok().map(|folder| folder.join("keyring"));
        Self(Arc::new(Folder { place, opens_by, key: Mutex::default() }))
    }

    /// The same, unless they are opened by something else from now on.
    #[must_use]
    pub fn opened_by(&self, key: &FileKey) -> Self {
        if self.0.opens_by == *key { self.clone() } else { Self::of_user(key.clone()) }
    }

    /// Opens them by a passphrase, or makes them with it if `is_new`, which is for a passphrase that was asked for twice.
    pub async fn unlock(&self, passphrase: Secret, is_new: bool) -> Result<(), Fault> {
        let folder = Arc::clone(&self.0);
        let outcome =
            worker::run(move || folder.open(Opener::Passphrase(&passphrase), is_new).map(drop)).await;
        outcome.unwrap_or_else(|undone| Err(VaultTrouble::Failed(undone.to_string()).into())).map_err(|not| {
            match not {
                NotUnlocked::WrongKey => {
                    Fault::new(FaultKind::VaultLocked, "this is not the passphrase of the encrypted files")
                        .run("rally-cred unlock")
                }
                NotUnlocked::Nothing => {
                    Fault::new(FaultKind::VaultMissing, "there are no encrypted files yet")
                        .run("rally-cred unlock")
                }
                NotUnlocked::Trouble(trouble) => trouble.fault(),
            }
        })
    }

    /// Where a file is moved to that has this flaw; `None` if it is deleted.
    pub fn aside(&self, name: &str, flaw: Flaw) -> Option<PathBuf> {
        goes_aside(name, flaw).then(|| self.0.place.as_ref().map(|place| place.join(ASIDE)))?
    }

    pub(super) fn store(&self) -> Box<dyn Store> {
        Box::new(Files(Arc::clone(&self.0)))
    }
}

/// Why a passphrase or a key file does not open the folder.
enum NotUnlocked {
    WrongKey,
    /// There is nothing to be opened yet: the passphrase would be a new one.
    Nothing,
    Trouble(VaultTrouble),
}

impl From<VaultTrouble> for NotUnlocked {
    fn from(trouble: VaultTrouble) -> Self {
        Self::Trouble(trouble)
    }
}

impl Folder {
    /// Opens the folder, or begins one that is empty if that is wanted. By a passphrase, that takes as long as it takes to
    /// compute the key, which is to be long.
    fn open(&self, by: Opener<'_>, is_new: bool) -> Result<Arc<Key>, NotUnlocked> {
        let place = self.place()?;
        let key = match read_lock(place)? {
            Some(lock) => {
                let opened = lock.open(by).ok_or_else(|| opened_otherwise(place, by))?;
                opened.map_err(|_| NotUnlocked::WrongKey)?
            }
            None if !accounts(place)?.is_empty() => return Err(no_lock(place).into()),
            None if !is_new => return Err(NotUnlocked::Nothing),
            None => {
                let (lock, key) = Lock::new(by).map_err(no_key)?;
                make_lock(place, &lock)?;
                key
            }
        };
        let key = Arc::new(key);
        *unpoisoned(&self.key) = Some(Arc::clone(&key));
        Ok(key)
    }

    fn place(&self) -> Result<&Path, VaultTrouble> {
        self.place.as_deref().ok_or_else(|| VaultTrouble::Missing("this user has no home folder".to_owned()))
    }

    fn known(&self) -> Option<Arc<Key>> {
        unpoisoned(&self.key).clone()
    }

    fn key(&self) -> Result<Arc<Key>, VaultTrouble> {
        if let Some(key) = self.known() {
            return Ok(key);
        }
        let FileKey::File(file) = &self.opens_by else { return Err(VaultTrouble::NeedsPassphrase) };
        let place = self.place()?;
        let material = read_key_file(file)?;
        self.open(Opener::KeyFile(&material), true).map_err(|not| match not {
            NotUnlocked::Trouble(trouble) => trouble,
            NotUnlocked::WrongKey | NotUnlocked::Nothing => VaultTrouble::Failed(format!(
                "{} is not the key that {} was made with",
                file.display(),
                place.display()
            )),
        })
    }
}

/// This is not how it is opened.
fn opened_otherwise(place: &Path, by: Opener<'_>) -> VaultTrouble {
    let other = match by {
        Opener::Passphrase(_) => "key file",
        Opener::KeyFile(_) => "passphrase",
    };
    VaultTrouble::Failed(format!(
        "{} was made with a {other}, which is not what the config file says",
        place.display()
    ))
}

/// To make another key would mean to give up what is there.
fn no_lock(place: &Path) -> VaultTrouble {
    let lock = place.join(LOCK);
    VaultTrouble::Damaged(format!(
        "{} is missing, without which nothing beside it can be read",
        lock.display()
    ))
}

fn no_key(why: &'static str) -> VaultTrouble {
    VaultTrouble::Failed(why.to_owned())
}

fn read_key_file(file: &Path) -> Result<Zeroizing<Vec<u8>>, VaultTrouble> {
    let failed =
        |why: String| VaultTrouble::Failed(format!("the key file {} cannot be used: {why}", file.display()));
    let opened = private_file::open(file).map_err(|unusable| failed(unusable.to_string()))?;
    let material = read_to_end(opened).map_err(|err| failed(err.to_string()))?;
    match material.len() >= SHORTEST_KEY {
        true => Ok(material),
        false => Err(failed(format!("it has fewer than {SHORTEST_KEY} bytes"))),
    }
}

/// The encrypted key, if the folder has one.
fn read_lock(place: &Path) -> Result<Option<Lock>, VaultTrouble> {
    let file = place.join(LOCK);
    match read(&file)? {
        Some(bytes) => Lock::parse(&bytes).map(Some).ok_or_else(|| not_ours(&file, &bytes)),
        None => Ok(None),
    }
}

/// Another daemon may have been quicker; then its lock stays, and the next try opens it.
fn make_lock(place: &Path, lock: &Lock) -> Result<(), VaultTrouble> {
    let failed = |err: io::Error| unwritable(place, &err);
    own_file::check_owner(place).map_err(|fault| VaultTrouble::Failed(fault.what))?;
    own_file::make_folder(place).map_err(failed)?;
    let file = begin(place, &lock.to_bytes()).map_err(failed)?;
    file.persist_noclobber(place.join(LOCK)).map_err(|err| failed(err.error))?;
    sync_folder(place).map_err(failed)
}

/// The bytes of a file of this user, if there is one.
fn read(file: &Path) -> Result<Option<Zeroizing<Vec<u8>>>, VaultTrouble> {
    let failed = |why: String| VaultTrouble::Failed(format!("{} cannot be read: {why}", file.display()));
    match private_file::open(file) {
        Ok(opened) => read_to_end(opened).map(Some).map_err(|err| failed(err.to_string())),
        Err(private_file::Unusable::NotOpened(err)) if err.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(unusable) => Err(failed(unusable.to_string())),
    }
}

fn read_to_end(file: fs::File) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut bytes = Zeroizing::new(Vec::new());
    io::Read::read_to_end(&mut io::Read::take(file, LARGEST), &mut bytes)?;
    Ok(bytes)
}

/// Writes a new file, for this user only, which is on the disk before anything points to it.
fn begin(place: &Path, bytes: &[u8]) -> io::Result<tempfile::NamedTempFile> {
    let mut file = tempfile::Builder::new().prefix(UNFINISHED).tempfile_in(place)?;
    io::Write::write_all(&mut file, bytes)?;
    file.as_file().sync_all()?;
    Ok(file)
}

/// Brings the names in the folder to the disk.
#[cfg(unix)]
fn sync_folder(place: &Path) -> io::Result<()> {
    fs::File::open(place)?.sync_all()
}

/// A folder cannot be opened as a file.
#[cfg(not(unix))]
fn sync_folder(_place: &Path) -> io::Result<()> {
    Ok(())
}

/// What a file is that cannot be decrypted.
fn not_ours(file: &Path, bytes: &[u8]) -> VaultTrouble {
    let file = file.display();
    match sealed::is_of_later_version(bytes) {
        true => VaultTrouble::OfLaterVersion(file.to_string()),
        false => VaultTrouble::Damaged(format!("{file} is not what rally-cred wrote; it is left as it is")),
    }
}

/// Damaged files are kept, since a backup of the key or of a part may still be found; so is what was being written, which
/// may be the newest token. What is of no use is not.
fn goes_aside(name: &str, flaw: Flaw) -> bool {
    match flaw {
        Flaw::Damaged => true,
        Flaw::Leftover => name.starts_with(UNFINISHED),
        _ => false,
    }
}

/// The names of what is in the folder, which need not be there.
fn names(place: &Path) -> Result<Vec<String>, VaultTrouble> {
    match fs::read_dir(place) {
        Ok(entries) => Ok(entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect()),
        Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(err) => Err(unwritable(place, &err)),
    }
}

fn accounts(place: &Path) -> Result<Vec<String>, VaultTrouble> {
    let names = names(place)?;
    let accounts =
        names.iter().filter_map(|name| Some(percent_decode_str(name).decode_utf8().ok()?.into_owned()));
    Ok(accounts.filter(|account| account.contains(':')).collect())
}

fn unwritable(place: &Path, err: &io::Error) -> VaultTrouble {
    VaultTrouble::Failed(format!("{} cannot be written to: {err}", place.display()))
}

/// A folder of encrypted files.
struct Files(Arc<Folder>);

impl Files {
    /// The file of an account, with the folder that it is in.
    fn file(&self, account: &str) -> Result<(&Path, PathBuf), Refusal> {
        let place = self.0.place()?;
        Ok((place, place.join(utf8_percent_encode(account, PLAIN).to_string())))
    }
}

impl Store for Files {
    fn load(&self, account: &str) -> Result<Option<Secret>, Refusal> {
        let key = self.0.key()?;
        let (_, file) = self.file(account)?;
        let Some(bytes) = read(&file)? else { return Ok(None) };
        let opened = key.open(account, &bytes).ok_or_else(|| not_ours(&file, &bytes))?;
        readable(account, opened).map(Some)
    }

    fn save(&self, account: &str, value: &Secret) -> Result<(), Refusal> {
        let key = self.0.key()?;
        // Also refuses to write over a damaged file.
        if self.load(account)?.is_some_and(|held| held.matches(value)) {
            return Ok(());
        }
        let (place, file) = self.file(account)?;
        let sealed = key.seal(account, value).map_err(no_key)?;
        let write = || {
            begin(place, &sealed)?.persist(&file).map_err(|err| err.error)?;
            sync_folder(place)
        };
        Ok(write().map_err(|err| unwritable(place, &err))?)
    }

    fn erase(&self, account: &str) -> Result<(), Refusal> {
        let (place, file) = self.file(account)?;
        match fs::remove_file(&file).and_then(|()| sync_folder(place)) {
            Ok(()) => Ok(()),
            Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(err) => Err(unwritable(place, &err).into()),
        }
    }

    fn accounts(&self) -> Result<Vec<String>, Refusal> {
        Ok(self.0.place().and_then(accounts)?)
    }

    fn flaws(&self) -> Result<Vec<(String, Flaw)>, Refusal> {
        let place = self.0.place()?;
        let unfinished = names(place)?.into_iter().filter(|name| name.starts_with(UNFINISHED));
        let mut flaws: Vec<_> = unfinished.map(|name| (name, Flaw::Leftover)).collect();
        flaws.extend(match read_lock(place) {
            Err(VaultTrouble::Damaged(_)) => Some((LOCK.to_owned(), Flaw::Damaged)),
            Err(VaultTrouble::OfLaterVersion(_)) => Some((LOCK.to_owned(), Flaw::OfLaterVersion)),
            _ => None,
        });
        Ok(flaws)
    }

    fn mend(&self, name: &str, flaw: Flaw) -> Result<(), Refusal> {
        if !goes_aside(name, flaw) {
            return self.erase(name);
        }
        if name == LOCK && self.0.known().is_some() {
            let why = "this daemon can still read what is there, and no other will: rally-cred keyring migrate first";
            return Err(VaultTrouble::Failed(why.to_owned()).into());
        }
        let (place, file) = self.file(name)?;
        let move_aside = || {
            let aside = place.join(ASIDE);
            own_file::make_folder(&aside)?;
            let name = file.file_name().unwrap_or_default().to_string_lossy();
            // An older one stays.
            let numbered = (1..).map(|number| aside.join(format!("{name}.{number}")));
            let free = numbered.into_iter().find(|path| path.symlink_metadata().is_err());
            fs::rename(&file, free.unwrap_or(aside))?;
            sync_folder(place)
        };
        Ok(move_aside().map_err(|err| unwritable(place, &err))?)
    }
}
