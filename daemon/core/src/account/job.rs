//! What an account has under way, one job at a time.
//! Does not: begin or end a job (`sign_in`, `renewal`, `fetching`, `leasing`, `identity` and `look` do).
//! Used by: the account and these.

use rally_cred_proto::{Fault, Secret};

use crate::{
    event::Epoch,
    record::{Lease, TokenRecord},
    redirect::Expected,
    time::Tick,
};

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
    /// The lease on a renewal is being taken, since this tick.
    Leasing(Epoch, Lease, Tick),
    /// Rally is asked to renew by this refresh token; perhaps the lease is being extended meanwhile.
    Renewing(Epoch, Secret, Option<(Epoch, Lease)>),
    /// The program is run that gives the token.
    Fetching(Epoch),
    /// Rally is asked whose token this is.
    Identifying(Epoch, Secret),
    /// A new token is being saved; after this tick, callers are served from memory.
    Saving(Tick),
}

/// A sign-in while a person has to answer it.
#[derive(Debug)]
pub(super) struct Flow {
    pub(super) epoch: Epoch,
    pub(super) deadline: Tick,
    pub(super) expected: Expected,
    pub(super) url: String,
    pub(super) client_secret: Secret,
    pub(super) secret_from: SecretFrom,
    pub(super) began_by_login: bool,
    pub(super) listener: ListenerState,
    pub(super) tabs_opened: usize,
    /// Whether a person brought its answer, and not the browser.
    pub(super) was_pasted: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SecretFrom {
    /// It came with `login`, and is kept once Rally accepts it.
    Login,
    Vault,
    /// From its source, so the vault does not have it.
    Source,
}

/// Whether the browser can come back by itself.
#[derive(Debug)]
pub(super) enum ListenerState {
    Opening,
    Open,
    /// Only a pasted address can end the flow.
    Failed(Fault),
}

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
        self.flow().is_some()
    }

    pub(super) fn flow(&self) -> Option<&Flow> {
        let (Self::Flow(flow) | Self::Exchanging(_, flow) | Self::LookingUp(_, flow, _)) = self else {
            return None;
        };
        Some(flow)
    }

    pub(super) fn deadline(&self) -> Option<Tick> {
        match self {
            Self::Flow(flow) => Some(flow.deadline),
            Self::Looking(_, at, _) | Self::Pausing(at, _) | Self::Saving(at) => Some(*at),
            Self::None
            | Self::Exchanging(..)
            | Self::LookingUp(..)
            | Self::Leasing(..)
            | Self::Renewing(..)
            | Self::Fetching(_)
            | Self::Identifying(..) => None,
        }
    }
}
