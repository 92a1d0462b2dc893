//! What is done with the place where tokens are kept: moves and repairs of items, and the passphrase of the files.
//! Does not: hold a token.
//! Used by: `message`, of whose variants these are the fields.

use serde::{Deserialize, Serialize};

use crate::Secret;

/// Fields of [`crate::Ask::UnlockKeyring`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct UnlockKeyring {
    /// The passphrase.
    pub passphrase: Secret,
    /// Make the encrypted files with it, if there are none.
    #[serde(default)]
    pub is_new: bool,
}

/// Fields of [`crate::Ask::MoveItems`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MoveItems {
    /// The place to move from, as `keyring` names it in the config file; the configured one without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// The place to move to.
    pub to: String,
    /// What to do.
    pub step: MoveStep,
}

/// One step of a move. Each can be repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum MoveStep {
    /// Look only.
    Plan,
    /// Write to the new place what it lacks, and read it back.
    Copy,
    /// Delete from the old place what the new one has. The new one must be in use.
    Delete,
}

/// Fields of [`crate::Event::Item`]. It holds nothing secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MovedItem {
    /// What it is, and whose, such as `token:work`.
    pub item: String,
    /// What becomes of it, or would.
    pub fate: Fate,
}

/// What becomes of an item that is moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Fate {
    /// The new place lacks it, so it is written there.
    New,
    /// The new place has it already.
    Same,
    /// The new place has an older one, which is replaced.
    Replaced,
    /// The new place, which is in use, has another one, which stays.
    Newer,
    /// The new place has one that a later version of rally-cred wrote. Both stay.
    OfLaterVersion,
    /// It is deleted from the old place.
    Deleted,
    /// It stays in the old place, since the new one does not have it.
    Left,
    /// Something that a newer daemon knows.
    #[serde(other)]
    Other,
}

/// Fields of [`crate::Ask::RepairItems`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RepairItems {
    /// The profile whose items are meant, which the config file need not name; all items without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
    /// The items to mend, of those that a look has found; none to look only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mend: Vec<String>,
}

/// Fields of [`crate::Event::Flaw`]. It holds nothing secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlawedItem {
    /// What it is, and whose, such as `token:work`; or the name of a file.
    pub item: String,
    /// What is wrong with it.
    pub flaw: Flaw,
    /// Where it is moved to; it is deleted without that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aside: Option<String>,
    /// Whether that is done.
    #[serde(default)]
    pub mended: bool,
}

/// What is wrong with an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Flaw {
    /// It is not what rally-cred wrote, or cannot be read though others can.
    Damaged,
    /// The config file names no profile, server or gateway that it could be for.
    Orphaned,
    /// There are several of it. The newest is kept.
    Doubled,
    /// A write or a check left it that was interrupted.
    Leftover,
    /// A later version wrote it. It is never mended.
    OfLaterVersion,
    /// Something that a newer daemon knows.
    #[serde(other)]
    Other,
}
