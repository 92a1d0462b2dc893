//! What whoever asks a locked daemon is told.
//! Does not: say when it is locked (`broker::lock` does).
//! Used by: the broker, the account and the static credentials.

use rally_cred_proto::{
    Event, Fault, FaultKind,
    message::{Waiting, WaitingOn},
};

use crate::{event::AskId, step::Step};

/// Nothing is handed out until the user unlocks.
pub(crate) fn locked() -> Fault {
    Fault::new(FaultKind::Locked, "rally-cred is locked")
}

/// Tells a client that it waits for that. `whose`: the profile or the server.
pub(crate) fn tell_waiting(step: &mut Step<'_>, id: AskId, whose: &str) {
    tell_waiting_on(step, id, whose, WaitingOn::Unlock);
}

/// Tells a client what it waits for.
pub(crate) fn tell_waiting_on(step: &mut Step<'_>, id: AskId, whose: &str, on: WaitingOn) {
    let waiting = Waiting { profile: whose.to_owned(), on };
    step.tell(id, Event::Waiting(waiting));
}
