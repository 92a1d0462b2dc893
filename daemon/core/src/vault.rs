//! What the vault is asked to keep and how it may answer.
//! Does not: touch a keyring (the shell `vault` does) or read records (`record` does).
//! Used by: the broker and the vault.

use rally_cred_proto::{Fault, FaultKind, Secret, native};

use crate::{
    answer::Retry,
    profile::{Keyring, kv2::ServerTrouble},
};

/// Names one item in the vault.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ItemKey {
    /// What the item holds.
    pub kind: ItemKind,
    /// The profile's name, the server as `protocol://host`, or the gateway's name.
    pub name: String,
}

/// What an item holds. Kinds have items of their own: some keyrings hold little in one, and a sign-out keeps the client
/// secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ItemKind {
    /// A token record.
    Token,
    /// A client secret record.
    ClientSecret,
    /// The static credentials of a server.
    StaticCredentials,
    /// Port, key and authority of a gateway.
    Gateway,
    /// Nothing: an item that a check writes, reads and deletes.
    Check,
}

impl ItemKey {
    /// The item of this account name; `None` for another program's.
    pub fn of_account(account: &str) -> Option<Self> {
        let (kind, name) = account.split_once(':')?;
        let kind = match kind {
            "token" => ItemKind::Token,
            "client-secret" => ItemKind::ClientSecret,
            "static" => ItemKind::StaticCredentials,
            "gateway" => ItemKind::Gateway,
            "check" => ItemKind::Check,
            _ => return None,
        };
        Some(Self { kind, name: name.to_owned() })
    }

    /// The item's account name in the OS keyring, under the service `rally-cred`.
    pub fn account(&self) -> String {
        let kind = match self.kind {
            ItemKind::Token => "token",
            ItemKind::ClientSecret => "client-secret",
            ItemKind::StaticCredentials => "static",
            ItemKind::Gateway => "gateway",
            ItemKind::Check => "check",
        };
        format!("{kind}:{}", self.name)
    }
}

/// A write that happens only if the item holds what the writer believes: another daemon may use the same keyring.
#[derive(Clone, Debug)]
pub struct Change {
    /// Which item.
    pub key: ItemKey,
    /// What the item must hold; `None`: nothing.
    pub from: Option<Secret>,
    /// The new content; `None` erases the item.
    pub to: Option<Secret>,
}

/// The outcome of a [`Change`].
#[derive(Clone, Debug)]
pub enum Changed {
    /// The item holds the new content.
    Done,
    /// The item held this instead, and was left alone.
    Conflict(Option<Secret>),
}

/// The outcome of a read; `None` if there is no item.
pub type Read = Result<Option<Secret>, VaultTrouble>;

/// Whether both are absent, or hold the same text.
pub fn is_same(one: Option<&Secret>, other: Option<&Secret>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => one.matches(other),
        (one, other) => one.is_none() && other.is_none(),
    }
}

/// Why the vault failed. The texts are plain and hold nothing secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VaultTrouble {
    /// No keyring answers on this machine or in this session.
    Missing(String),
    /// No OS keyring answers in this session.
    NoKeyring {
        /// Why not.
        why: String,
        /// The places that this machine has beside it, as `keyring` in the config file names them.
        instead: Vec<String>,
    },
    /// A keyring answers, but has no collection for new items: none was made, or none is open.
    NoCollection,
    /// The keyring is locked, and its prompt was dismissed, could not be shown, or was not answered in time.
    Locked(String),
    /// The encrypted files wait for their passphrase.
    NeedsPassphrase,
    /// What is there is not what was written, as this says, and is left as it is.
    Damaged(String),
    /// A later version of rally-cred wrote this, and it is left as it is.
    OfLaterVersion(String),
    /// The keyring answers, but with an error.
    Failed(String),
    /// The server of a vault that many daemons share.
    Server(ServerTrouble),
}

impl From<ServerTrouble> for VaultTrouble {
    fn from(trouble: ServerTrouble) -> Self {
        Self::Server(trouble)
    }
}

impl VaultTrouble {
    /// Whether nothing on this machine can keep secrets now.
    pub const fn is_missing(&self) -> bool {
        matches!(self, Self::Missing(_) | Self::NoKeyring { .. } | Self::NoCollection)
    }

    /// Whether memory stands in, since the configuration leaves the place open.
    pub fn leaves_memory(&self, keyring: &Keyring) -> bool {
        self.is_missing() && *keyring == Keyring::Auto
    }

    /// Whether it ends once a person unlocks the vault, or starts or makes one.
    pub const fn awaits_person(&self) -> bool {
        matches!(self, Self::Locked(_) | Self::NeedsPassphrase) || self.is_missing()
    }

    /// When another try is worth it.
    pub const fn retry(&self) -> Retry {
        match self {
            Self::Server(ServerTrouble::Unreachable { .. }) => Retry::Online,
            _ => Retry::Later,
        }
    }

    /// Whether it may be the fault of the item that was read, so that others may be read all the same.
    pub const fn is_of_one_item(&self) -> bool {
        matches!(self, Self::Damaged(_) | Self::OfLaterVersion(_) | Self::Failed(_))
    }

    /// The fault for people.
    pub fn fault(&self) -> Fault {
        match self {
            Self::Missing(why) => no_keyring(why, PLACES),
            Self::NoKeyring { why, instead } => no_keyring(why, instead),
            Self::NoCollection => {
                Fault::new(FaultKind::VaultMissing, "the keyring has no default collection")
                    .why("it keeps nothing before one is made or opened")
                    .remedy(MAKE_COLLECTION)
            }
            Self::Locked(why) => Fault::new(FaultKind::VaultLocked, "the keyring is locked")
                .why(why)
                .remedy("unlock the keyring, then ask again"),
            Self::NeedsPassphrase => {
                Fault::new(FaultKind::PassphraseNeeded, "the encrypted files are locked")
                    .why("the daemon needs their passphrase once")
            }
            Self::Damaged(why) => {
                Fault::new(FaultKind::VaultFailed, "a stored item is damaged").why(why).run(REPAIR)
            }
            Self::OfLaterVersion(what) => {
                Fault::new(FaultKind::VaultFailed, "a stored item is of a later version")
                    .why(format!("{what} was written by a later version of rally-cred; it is left as it is"))
                    .remedy("run that version")
            }
            Self::Failed(why) => {
                Fault::new(FaultKind::VaultFailed, "the keyring failed").why(why).run("rally-cred status")
            }
            Self::Server(trouble) => trouble.fault(),
        }
    }
}

/// The command that mends damaged items.
pub(crate) const REPAIR: &str = "rally-cred keyring repair";

fn no_keyring(why: &str, instead: &[impl AsRef<str>]) -> Fault {
    let listed: String = instead.iter().map(|place| format!("{}, ", described(place.as_ref()))).collect();
    let remedy = FIND_KEYRING.replace("PLACES, ", &listed);
    Fault::new(FaultKind::VaultMissing, "no keyring answers").why(why).remedy(remedy)
}

fn described(place: &str) -> String {
    let how = match place {
        "file" => " (encrypted)",
        "keyutils" => " (until the machine restarts)",
        _ => "",
    };
    format!("\"{place}\"{how}")
}

/// The places that a machine may have beside its OS keyring.
const PLACES: &[&str] = &["file", "keyutils", "helper:pass"];

/// A daemon knows the bus of the session that started it, so one started from the desktop reaches the desktop's
/// keyring.
const FIND_KEYRING: &str = native!(
    "rally-cred daemon restart, in a terminal of your desktop; without one, set keyring = PLACES, or \"memory\"",
    macos: "rally-cred daemon restart, in a terminal of your desktop; over ssh, after security unlock-keychain, or set \
            keyring = \"memory\"",
    windows: "rally-cred daemon restart, in a session of your desktop, since services and some sessions of ssh have no \
              Credential Manager; or set keyring = \"memory\""
);

/// The command replaces the running daemon and makes the collection "login" with the password that it reads. To unlock
/// the running one would not do, since that does not look for the new collection.
const MAKE_COLLECTION: &str = native!(
    "make one in Seahorse, KWalletManager or KeePassXC; without a desktop, gnome-keyring-daemon --replace --unlock \
     reads its password up to Ctrl-D and makes one",
    macos: "security create-keychain login.keychain-db makes one",
    windows: "sign in to Windows again"
);
