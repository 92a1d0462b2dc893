//! What whoever asks a locked daemon is told.
//! Does not: say when it is locked (`broker::lock` does).
//! Used by: the broker, the account and the static credentials.

use rally_cred_proto::{Fault, FaultKind};

/// Nothing is handed out until the user unlocks.
pub(crate) fn locked() -> Fault {
    Fault::new(FaultKind::Locked, "rally-cred is locked")
}
