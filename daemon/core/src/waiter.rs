//! A request that waits for a profile's token.
//! Does not: wait (`account` lets it), or decide who is served.
//! Used by: the account at which it waits; the broker takes it on to another profile of the same server.

use rally_cred_proto::{Origin, Secret};

use crate::{
    event::{AskId, Peer},
    time::Tick,
};

/// A request that waits for an account.
#[derive(Debug)]
pub(crate) struct Waiter {
    pub(crate) id: AskId,
    pub(crate) peer: Peer,
    pub(crate) deadline: Tick,
    /// The token's generation when it asked.
    pub(crate) generation: u64,
    pub(crate) wants: Wants,
    /// Whether it was shown the authorization URL of the pending flow.
    pub(crate) told: bool,
    /// Profiles of the same server that turned out to be another user's.
    pub(crate) tried: Vec<String>,
}

/// What a waiter wants.
#[derive(Debug)]
pub(crate) enum Wants {
    Get {
        /// The server that the request names.
        server: Option<Origin>,
        username: Option<String>,
        interactive: bool,
        min_validity: i64,
        /// The caller named the profile, so that no other is of use.
        is_named: bool,
    },
    Login {
        client_secret: Option<Secret>,
        force: bool,
        can_paste: bool,
    },
    /// The given token does not work.
    Erase(Option<Secret>),
    /// Only that the vault was read.
    Reading,
}

impl Waiter {
    pub(crate) fn is_login(&self) -> bool {
        matches!(self.wants, Wants::Login { .. })
    }

    /// Whether it brings the client secret itself.
    pub(crate) fn brings_client_secret(&self) -> bool {
        matches!(self.wants, Wants::Login { client_secret: Some(_), .. })
    }

    /// Whether it may have a person asked, if need be.
    pub(crate) fn is_interactive(&self) -> bool {
        matches!(self.wants, Wants::Get { interactive: true, .. } | Wants::Login { .. })
    }
}
