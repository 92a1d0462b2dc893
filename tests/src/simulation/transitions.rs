//! What a history shows of the broker's states: which event changed which into which.
//! Does not: say which changes are right; docs/states.md lists them all, and the suite makes it.
//! Used by: `history`, which collects them.

use std::collections::BTreeSet;

use rally_cred_core::event::{Event, Outcome};
use rally_cred_proto::message::ProfileState;

/// A history that was played to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Played {
    /// Events that the broker took.
    pub events: usize,
    /// Every change of a profile's state that was seen.
    pub transitions: BTreeSet<Transition>,
}

/// A change of a profile's state, with the event that caused it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Transition {
    /// The state before.
    pub from: &'static str,
    /// The event.
    pub cause: Cause,
    /// The state after.
    pub to: &'static str,
}

/// The kinds of events, as docs/states.md explains them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cause {
    /// A client asked.
    Asked,
    /// A client left.
    Left,
    /// The vault answered.
    Vault,
    /// The redirect listener opened, or did not.
    Listener,
    /// The browser came back.
    Redirected,
    /// Rally answered.
    Rally,
    /// The program gave a token, or none.
    Program,
    /// A deadline came.
    TimePassed,
    /// The daemon was told to reload or to stop.
    Daemon,
    /// The network is another, the vault was unlocked, the session was locked, or the machine sleeps or wakes.
    System,
}

impl Cause {
    pub(super) fn of(event: &Event) -> Self {
        match event {
            Event::Asked { .. } => Self::Asked,
            Event::Left(_) => Self::Left,
            Event::Outcome(_, outcome) => match outcome {
                Outcome::Loaded(_)
                | Outcome::ClientSecretFetched(_)
                | Outcome::Changed(_)
                | Outcome::Erased(_)
                | Outcome::Unlocked(_)
                | Outcome::Repaired(..) => Self::Vault,
                Outcome::Listening(_) => Self::Listener,
                Outcome::Redirected(_) => Self::Redirected,
                Outcome::TokenFetched(_) => Self::Program,
                Outcome::Answered(_) | Outcome::UserLookedUp(_) => Self::Rally,
                Outcome::GatewayOpened(_)
                | Outcome::ForwardOpened(_)
                | Outcome::Identified
                | Outcome::Consented(_) => Self::Daemon,
            },
            Event::TimePassed | Event::VaultCalendar { .. } => Self::TimePassed,
            Event::ConfigRead(_) | Event::ReloadWanted | Event::StopWanted => Self::Daemon,
            Event::Online | Event::VaultUnlocked | Event::SessionLocked | Event::Sleeping | Event::Woke => {
                Self::System
            }
        }
    }
}

pub(super) fn state_name(state: ProfileState) -> &'static str {
    match state {
        ProfileState::Unread => "unread",
        ProfileState::Loading => "loading",
        ProfileState::SignedOut => "signed_out",
        ProfileState::SigningIn => "signing_in",
        ProfileState::Exchanging => "exchanging",
        ProfileState::Renewing => "renewing",
        ProfileState::SignedIn => "signed_in",
        _ => "other",
    }
}
