//! The requests that wait for one profile's token.
//! Does not: decide who is served.
//! Used by: the account; the broker hands a waiter on to another profile of the same server.

use rally_cred_proto::Secret;

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
    pub(super) fn is_login(&self) -> bool {
        matches!(self.wants, Wants::Login { .. })
    }

    /// Whether it brings the client secret itself.
    pub(super) fn brings_client_secret(&self) -> bool {
        matches!(self.wants, Wants::Login { client_secret: Some(_), .. })
    }

    /// Whether it may have a person asked, if need be.
    pub(super) fn is_interactive(&self) -> bool {
        matches!(self.wants, Wants::Get { interactive: true, .. } | Wants::Login { .. })
    }
}

/// Those who wait, in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct Waiters(Vec<Waiter>);

impl Waiters {
    pub(super) fn push(&mut self, waiter: Waiter) {
        self.0.push(waiter);
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Waiter> {
        self.0.iter()
    }

    pub(super) fn any(&self, is_meant: impl Fn(&Waiter) -> bool) -> bool {
        self.0.iter().any(is_meant)
    }

    /// Whether this request waits here.
    pub(super) fn has(&self, id: AskId) -> bool {
        self.any(|waiter| waiter.id == id)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// When the first one's time is up.
    pub(super) fn next_deadline(&self) -> Option<Tick> {
        self.0.iter().map(|waiter| waiter.deadline).min()
    }

    /// Takes those out who are meant.
    pub(super) fn take_if(&mut self, is_meant: impl Fn(&Waiter) -> bool) -> Vec<Waiter> {
        // Hardly ever is anybody meant.
        if !self.any(&is_meant) {
            return Vec::new();
        }
        let (taken, waiting) = std::mem::take(&mut self.0).into_iter().partition(is_meant);
        self.0 = waiting;
        taken
    }

    pub(super) fn take_all(&mut self) -> Vec<Waiter> {
        std::mem::take(&mut self.0)
    }

    /// Lets one go whose client left.
    pub(super) fn left(&mut self, id: AskId) {
        self.0.retain(|waiter| waiter.id != id);
    }
}
