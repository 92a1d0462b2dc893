//! The restricted socket, which the daemon keeps open as long as this process is connected.
//! Does not: know what the socket is forwarded to, which finds it at the same path again.
//! Used by: `forward`.

use std::time::Duration;

use rally_cred::{autostart, system::System};
use rally_cred_proto::{
    Deadline, Event, Fault, FaultKind,
    message::{Forward, ForwardOpen},
};

use crate::kept::{Kept, PATIENCE, Warning};

/// Has the daemon open the socket, which is there until this process ends.
pub(super) fn begin(sys: &dyn System) -> Result<ForwardOpen, Fault> {
    // So that its warnings come first, and a missing program is told at once.
    drop(autostart::connect(sys, true, &mut Deadline::after(PATIENCE))?);
    let opened = |event, _: &mut Forward| match event {
        Event::ForwardOpen(open) => Some(open),
        _ => None,
    };
    let warning = Some(Warning { stopped, stopped_after: Duration::ZERO, ended: None });
    let what = "open its socket for another machine";
    Kept { ask: Forward, opened, what, starts: true, warning }.begin()
}

fn stopped() -> Fault {
    Fault::new(FaultKind::NoDaemon, "the daemon was stopped")
        .why("the far side gets no token until a daemon runs here again")
        .run("rally-cred daemon start")
}
