//! A request that waits for an account.
//! Does not: decide who is served.
//! Used by: the account; the broker, which takes it to another profile of the same server.

use rally_cred_proto::{Origin, Secret};

use crate::{
    event::{AskId, Peer},
    time::Tick,
};

#[derive(Debug)]
pub(crate) struct Waiter {
    pub(crate) id: AskId,
    pub(crate) peer: Peer,
    pub(crate) deadline: Tick,
    /// The token's generation when it asked.
    pub(crate) generation: u64,
    pub(crate) wants: Wants,
    /// Whether it was sent the authorization URL of the pending flow.
    pub(crate) told: bool,
    /// Whether it was told that the vault is locked.
    pub(crate) told_to_unlock: bool,
    /// Profiles of the server that are another user's.
    pub(crate) tried: Vec<String>,
}

#[derive(Debug)]
pub(crate) enum Wants {
    Get {
        /// The server that the request names.
        server: Option<Origin>,
        username: Option<String>,
        interactive: bool,
        /// The caller waits for a person who signs in some other way.
        awaits_sign_in: bool,
        /// The caller waits for a locked vault to be unlocked.
        awaits_unlock: bool,
        min_validity: i64,
        /// The caller named the profile, so no other will do.
        is_named: bool,
    },
    Login {
        client_secret: Option<Secret>,
        force: bool,
        can_paste: bool,
    },
    /// This token does not work.
    Erase(Option<Secret>),
    /// The vault to have been read.
    Reading,
}

impl Waiter {
    /// A request that no account knows yet.
    pub(crate) fn new(id: AskId, peer: Peer, deadline: Tick, wants: Wants) -> Self {
        let (told, told_to_unlock) = (false, false);
        Self { id, peer, deadline, generation: 0, wants, told, told_to_unlock, tried: Vec::new() }
    }

    pub(crate) fn is_get(&self) -> bool {
        matches!(self.wants, Wants::Get { .. })
    }

    pub(crate) fn is_login(&self) -> bool {
        matches!(self.wants, Wants::Login { .. })
    }

    pub(crate) fn brings_client_secret(&self) -> bool {
        matches!(self.wants, Wants::Login { client_secret: Some(_), .. })
    }

    /// Whether it waits for a person whom it may not have asked.
    pub(crate) fn awaits_sign_in(&self) -> bool {
        matches!(self.wants, Wants::Get { interactive: false, awaits_sign_in: true, .. })
    }

    /// Whether it waits for a person who unlocks the vault.
    pub(crate) fn awaits_unlock(&self) -> bool {
        matches!(self.wants, Wants::Get { awaits_unlock: true, .. })
    }

    /// Whether a person may be asked on its behalf.
    pub(crate) fn is_interactive(&self) -> bool {
        matches!(self.wants, Wants::Get { interactive: true, .. } | Wants::Login { .. })
    }
}
