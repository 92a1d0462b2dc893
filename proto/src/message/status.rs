//! The daemon and its profiles as they stand, for `status`.
//! Does not: hold a token.
//! Used by: `message`, of whose variants these are the fields.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::Fault;

/// Fields of [`crate::Reply::Status`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The daemon's release, for people.
    pub release: String,
    /// The daemon's process.
    pub pid: u32,
    /// The config file.
    pub config: String,
    /// Where tokens are kept.
    pub vault: VaultStatus,
    /// The servers that static credentials are kept for; `*` stands for every one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub static_hosts: Vec<String>,
    /// The variables by which the daemon finds its proxy and the authorities that it trusts (see [`crate::network`]),
    /// without a proxy's user name and password. A daemon that does not tell is older.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<BTreeMap<String, String>>,
    /// Whether the daemon is locked, and hands out nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub locked: Option<LockStatus>,
    /// What the daemon has given up since it started. One that does not tell is older, or its system knows no such thing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confinement: Option<Confinement>,
    /// The profiles whose tokens the forwarded socket gives, while it is open.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub forwards: Vec<String>,
    /// The machine that this daemon runs on, where the question came by the forwarded socket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forwarded_by: Option<String>,
}

/// Since when the daemon is locked, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockStatus {
    /// In seconds since 1970.
    pub since: i64,
    /// `user`, `session`, `sleep` or `idle`.
    pub by: String,
}

/// What a daemon can no longer do, even by a fault of its own. The programs that it starts are not confined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confinement {
    /// Write elsewhere than beside its socket and in its state folder, by Landlock.
    pub files: bool,
    /// Make the system calls that it does not need, by seccomp.
    pub system_calls: bool,
    /// Gain privileges by running a program.
    pub privileges: bool,
}

/// Where tokens are kept, and whether that works.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VaultStatus {
    /// `auto`, `os` or another value of `keyring`, as configured.
    pub kind: String,
    /// Whether a token that is saved now outlives the daemon; absent while nobody has tried.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keeps: Option<bool>,
    /// What is the matter with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<Fault>,
    /// Of `auto`: the other places that this machine has, as the values of `keyring`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub others: Vec<String>,
}

/// One profile as it stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProfileStatus {
    /// Its name.
    pub profile: String,
    /// Whether it is the one served when none is named.
    pub default: bool,
    /// The server.
    pub base_url: String,
    /// What it is doing.
    pub state: ProfileState,
    /// Whether a `get` would be answered now, without anybody's help.
    pub ready: bool,
    /// The Rally user, while known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// When the token was given, in seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub obtained_at: Option<i64>,
    /// When it ends, in seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<i64>,
    /// When it will be renewed ahead of time, in seconds since 1970; absent while nobody uses it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub renews_at: Option<i64>,
    /// Whether it can be renewed without a person.
    pub renewable: bool,
    /// Whether the vault keeps it.
    pub kept: bool,
    /// Callers that wait for it.
    pub waiting: u32,
    /// Turns at Rally that programs hold which go there by themselves; absent if none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_turns: Option<u8>,
    /// What `--check` found: whether Rally takes the token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checked: Option<bool>,
    /// The last thing that went wrong, until it works again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<Fault>,
}

/// What a profile is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ProfileState {
    /// The vault has not been asked yet.
    Unread,
    /// The vault is being asked.
    Loading,
    /// No token.
    SignedOut,
    /// A person is being asked to sign in.
    SigningIn,
    /// Rally is being asked to turn a code into a token.
    Exchanging,
    /// Rally is being asked to renew the token.
    Renewing,
    /// A token is held.
    SignedIn,
    /// A state that a newer daemon knows.
    #[serde(other)]
    Other,
}
