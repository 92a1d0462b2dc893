//! What an account has under way, one job at a time.
//! Does not: begin or end a job (`sign_in`, `renewal`, `identity` and `look` do).
//! Used by: the account and these.

use rally_cred_proto::{Fault, Secret};

use crate::{account::flow::Flow, event::Epoch, record::TokenRecord, time::Tick};

/// The job under way. Boxed, since there is rarely one.
#[derive(Debug, Default)]
pub(super) enum Job {
    #[default]
    None,
    /// A person is asked to sign in.
    Flow(Box<Flow>),
    /// The code is being exchanged.
    Exchanging(Epoch, Box<Flow>),
    /// The user of the new token is being looked up.
    LookingUp(Epoch, Box<Flow>, Box<TokenRecord>),
    /// The token's item is being read again; after this tick, the account goes on without it.
    Looking(Epoch, Tick, Look),
    /// It is read again at this tick.
    Pausing(Tick, Look),
    /// Rally is asked to renew by this refresh token.
    Renewing(Epoch, Secret),
    /// Rally is asked whose token this is.
    Identifying(Epoch, Secret),
    /// A new token is being saved; after this tick, callers are served from memory.
    Saving(Tick),
}

/// Why the item is read again.
#[derive(Debug)]
pub(super) enum Look {
    /// Another daemon may have renewed the token.
    BeforeRenewal,
    /// Another daemon may have signed in.
    BeforeSignIn,
    /// Another daemon may have used the refresh token up.
    AfterRefusal(Box<Refusal>),
}

/// A refusal that is not believed yet. Boxed, since there is rarely one.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) sent: Secret,
    pub(super) fault: Fault,
    /// Looks so far.
    pub(super) looks: usize,
}

impl Job {
    pub(super) fn is_none(&self) -> bool {
        matches!(self, Self::None)
    }

    pub(super) fn is_sign_in(&self) -> bool {
        matches!(self, Self::Flow(_) | Self::Exchanging(..) | Self::LookingUp(..))
    }

    pub(super) fn deadline(&self) -> Option<Tick> {
        match self {
            Self::Flow(flow) => Some(flow.deadline),
            Self::Looking(_, at, _) | Self::Pausing(at, _) | Self::Saving(at) => Some(*at),
            Self::None
            | Self::Exchanging(..)
            | Self::LookingUp(..)
            | Self::Renewing(..)
            | Self::Identifying(..) => None,
        }
    }
}
