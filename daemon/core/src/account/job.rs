//! What an account has under way, one job at a time.
//! Does not: begin or end a job (`sign_in`, `renewal`, `identity` and `look` do).
//! Used by: the account and these.

use rally_cred_proto::{Fault, Secret};

use crate::{account::flow::Flow, event::Epoch, record::TokenRecord, time::Tick};

/// What the account has under way. Boxed, since nearly always it is nothing.
#[derive(Debug, Default)]
pub(super) enum Job {
    #[default]
    None,
    /// A person is asked to sign in.
    Flow(Box<Flow>),
    /// The code of this flow is being exchanged.
    Exchanging(Epoch, Box<Flow>),
    /// The user behind this flow's new token is being looked up.
    LookingUp(Epoch, Box<Flow>, Box<TokenRecord>),
    /// The token's item is being read again; past this tick, things go on without it.
    Looking(Epoch, Tick, Look),
    /// It is read again then.
    Pausing(Tick, Look),
    /// This refresh token is being used.
    Renewing(Epoch, Secret),
    /// Rally is asked whose this token is.
    Identifying(Epoch, Secret),
    /// A new token is on its way into the vault; past this tick, callers are served from memory.
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

/// A refusal that is not believed yet. Boxed, since nearly always there is none.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) sent: Secret,
    pub(super) fault: Fault,
    /// How many looks came before.
    pub(super) looks: usize,
}

impl Job {
    pub(super) fn is_none(&self) -> bool {
        matches!(self, Self::None)
    }

    /// Whether a person is signing in.
    pub(super) fn is_sign_in(&self) -> bool {
        matches!(self, Self::Flow(_) | Self::Exchanging(..) | Self::LookingUp(..))
    }

    /// When something is to be done though nothing happens.
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
