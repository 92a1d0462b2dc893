//! A sign-in while a person has to answer it.
//! Does not: advance (`sign_in` does that).
//! Used by: `job` and `sign_in`.

use rally_cred_proto::{Fault, Secret};

use crate::{event::Epoch, redirect::Expected, time::Tick};

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
    pub(super) tab_opened: bool,
}

/// Where the client secret of a sign-in came from.
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
