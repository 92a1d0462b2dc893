//! Turns at Rally that the daemon keeps free for a program, for as long as this process is connected.
//! Does not: run the program, or see how much it asks.
//! Used by: `exec`.

use rally_cred_proto::{Event, Fault, gateway::HoldTurns};

use crate::kept::Kept;

/// Takes the turns, and holds them until this process ends, also over a restart of the daemon.
pub(super) fn hold(ask: HoldTurns) -> Result<(), Fault> {
    let opened = |event, _: &mut HoldTurns| matches!(event, Event::TurnsHeld(_)).then_some(());
    // Nobody is worse off without them, so no daemon is started and nobody is told.
    Kept { ask, opened, what: "answer", starts: false, warning: None }.begin()
}
