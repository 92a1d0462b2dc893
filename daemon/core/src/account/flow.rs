//! A sign-in that a person has to answer.
//! Does not: move by itself (`sign_in` does that).
//! Used by: `job` and `sign_in`.

use rally_cred_proto::{Fault, Secret};

use crate::{event::Epoch, redirect::Expected, time::Tick};

/// A sign-in that a person has to answer.
#[derive(Debug)]
pub(super) struct Flow {
    pub(super) epoch: Epoch,
    pub(super) deadline: Tick,
    pub(super) expected: Expected,
    pub(super) url: String,
    pub(super) client_secret: Secret,
    /// Whether the secret came with `login` and is kept once Rally has taken it.
    pub(super) is_new_secret: bool,
    pub(super) began_by_login: bool,
    pub(super) listener: ListenerState,
    pub(super) tab_opened: bool,
}

/// Whether the browser can come back by itself.
#[derive(Debug)]
pub(super) enum ListenerState {
    Opening,
    Open,
    /// Only a pasted address can end the flow.
    Failed(Fault),
}
