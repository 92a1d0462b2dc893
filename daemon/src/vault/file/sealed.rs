//! What is in the encrypted files: items by a random key, and that key by a passphrase or by the bytes of a key file.
//! Does not: touch a file.
//! Used by: `file`, of which this is a part.

use argon2::{Algorithm, Argon2, Params, Version};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use rally_cred_proto::Secret;
use ring::{
    aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    hkdf,
};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// What a file of this version begins with, be it an item or the key.
const VERSION: &[u8] = b"rally-cred 1\n";

/// What a file of any version begins with that holds an item.
const ANY_VERSION: &[u8] = b"rally-cred ";

/// Says what the key of a key file is for, so that the same file may serve other programs.
const PURPOSE: &[u8] = b"rally-cred keyring 1";

/// The memory that a guess of the passphrase takes, in KiB, and how often it is gone over: about a third of a second.
const MEMORY: u32 = 64 * 1024;
const PASSES: u32 = 3;

/// More than any version will want, so that an altered file cannot have the daemon take the machine's memory.
const MOST_MEMORY: u32 = 1024 * 1024;
const MOST_PASSES: u32 = 64;

const KEY_LENGTH: usize = 32;
const SALT_LENGTH: usize = 16;

/// Not what it was sealed with, or altered.
#[derive(Debug)]
pub(super) struct NotOpened;

/// Whether a later version wrote these bytes, be it an item or the key.
pub(super) fn is_of_later_version(bytes: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Versioned {
        v: u32,
    }
    let item = || {
        let line = bytes.strip_prefix(ANY_VERSION)?.split(|byte| *byte == b'\n').next()?;
        std::str::from_utf8(line).ok()?.parse().ok()
    };
    let lock = || serde_json::from_slice(bytes).ok().map(|Versioned { v }| v);
    item().or_else(lock).is_some_and(|version| version > 1)
}

/// The key of the items.
pub(super) struct Key(Zeroizing<[u8; KEY_LENGTH]>);

/// The encrypted key, and what decrypts it.
#[derive(Serialize, Deserialize)]
pub(super) struct Lock {
    v: u32,
    by: By,
    /// In base64, as the next.
    salt: String,
    sealed: String,
}

/// What the user has.
#[derive(Clone, Copy)]
pub(super) enum Opener<'a> {
    Passphrase(&'a Secret),
    /// The bytes of the file.
    KeyFile(&'a [u8]),
}

impl<'a> Opener<'a> {
    fn bytes(self) -> &'a [u8] {
        match self {
            Self::Passphrase(passphrase) => passphrase.expose().as_bytes(),
            Self::KeyFile(material) => material,
        }
    }
}

#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum By {
    /// Argon2id with so many KiB of memory and passes.
    Passphrase { memory: u32, passes: u32 },
    /// HKDF with SHA-256.
    KeyFile,
}

impl Lock {
    /// Makes a key, and locks it.
    pub(super) fn new(opener: Opener<'_>) -> Result<(Self, Key), &'static str> {
        let by = match opener {
            Opener::Passphrase(_) => By::Passphrase { memory: MEMORY, passes: PASSES },
            Opener::KeyFile(_) => By::KeyFile,
        };
        let mut key = Key(Zeroizing::new([0; KEY_LENGTH]));
        random(&mut *key.0)?;
        let mut salt = [0; SALT_LENGTH];
        random(&mut salt)?;
        let outer = by.derive(opener.bytes(), &salt).ok_or("the key cannot be computed")?;
        let sealed = outer.seal_bytes(PURPOSE, &*key.0)?;
        Ok((Self { v: 1, by, salt: STANDARD.encode(salt), sealed: STANDARD.encode(sealed) }, key))
    }

    /// `None` if it was locked by the other.
    pub(super) fn open(&self, opener: Opener<'_>) -> Option<Result<Key, NotOpened>> {
        match (self.by, opener) {
            (By::Passphrase { .. }, Opener::Passphrase(_)) | (By::KeyFile, Opener::KeyFile(_)) => {
                Some(self.open_by(opener.bytes()))
            }
            _ => None,
        }
    }

    fn open_by(&self, material: &[u8]) -> Result<Key, NotOpened> {
        let salt = STANDARD.decode(&self.salt).map_err(|_| NotOpened)?;
        let sealed = STANDARD.decode(&self.sealed).map_err(|_| NotOpened)?;
        let outer = self.by.derive(material, &salt).ok_or(NotOpened)?;
        let opened = Zeroizing::new(outer.open_bytes(PURPOSE, &sealed).ok_or(NotOpened)?);
        Ok(Key(Zeroizing::new(opened.as_slice().try_into().map_err(|_| NotOpened)?)))
    }

    /// `None` if these are not this version's.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok().filter(|lock: &Self| lock.v == 1)
    }

    pub(super) fn to_bytes(&self) -> Vec<u8> {
        // Texts and numbers only, which JSON can always hold.
        serde_json::to_vec(self).unwrap_or_default()
    }
}

impl By {
    fn derive(self, material: &[u8], salt: &[u8]) -> Option<Key> {
        let mut key = Key(Zeroizing::new([0; KEY_LENGTH]));
        match self {
            Self::Passphrase { memory, passes } if memory <= MOST_MEMORY && passes <= MOST_PASSES => {
                let params = Params::new(memory, passes, 1, Some(KEY_LENGTH)).ok()?;
                let hasher = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
                hasher.hash_password_into(material, salt, &mut *key.0).ok()?;
            }
            Self::Passphrase { .. } => return None,
            Self::KeyFile => {
                let extracted = hkdf::Salt::new(hkdf::HKDF_SHA256, salt).extract(material);
                let expanded = extracted.expand(&[PURPOSE], hkdf::HKDF_SHA256).ok()?;
                expanded.fill(&mut *key.0).ok()?;
            }
        }
        Some(key)
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key")
    }
}

impl Key {
    /// Encrypts an item, which can be decrypted under the same account name only.
    pub(super) fn seal(&self, account: &str, value: &Secret) -> Result<Vec<u8>, &'static str> {
        let sealed = self.seal_bytes(account.as_bytes(), value.expose().as_bytes())?;
        Ok([VERSION, &sealed].concat())
    }

    /// `None` if it was altered, or is not this account's.
    pub(super) fn open(&self, account: &str, bytes: &[u8]) -> Option<Vec<u8>> {
        self.open_bytes(account.as_bytes(), bytes.strip_prefix(VERSION)?)
    }

    fn cipher(&self) -> Option<LessSafeKey> {
        UnboundKey::new(&CHACHA20_POLY1305, &*self.0).ok().map(LessSafeKey::new)
    }

    /// A nonce, which is random since so few are ever used with one key, and the encrypted bytes.
    fn seal_bytes(&self, of: &[u8], plain: &[u8]) -> Result<Vec<u8>, &'static str> {
        let unfit = "it cannot be encrypted";
        let mut nonce = [0; NONCE_LEN];
        random(&mut nonce)?;
        // Never grown, so that no piece of the plain text is left behind.
        let mut bytes = Zeroizing::new(Vec::with_capacity(plain.len() + CHACHA20_POLY1305.tag_len()));
        bytes.extend_from_slice(plain);
        let cipher = self.cipher().ok_or(unfit)?;
        let nonce_of_it = Nonce::assume_unique_for_key(nonce);
        cipher.seal_in_place_append_tag(nonce_of_it, Aad::from(of), &mut *bytes).map_err(|_| unfit)?;
        Ok([&nonce[..], &bytes].concat())
    }

    fn open_bytes(&self, of: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
        let (nonce, sealed) = sealed.split_first_chunk::<NONCE_LEN>()?;
        let mut bytes = Zeroizing::new(sealed.to_vec());
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let opened = self.cipher()?.open_in_place(nonce, Aad::from(of), &mut bytes).ok()?;
        Some(opened.to_vec())
    }
}

fn random(bytes: &mut [u8]) -> Result<(), &'static str> {
    getrandom::fill(bytes).map_err(|_| "the system has no random numbers")
}
