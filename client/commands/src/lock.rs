//! `rally-cred lock` and `rally-cred unlock`.
//! Does not: start a daemon: one that does not run holds nothing.
//! Used by: people, and what locks their screens.

use std::time::Duration;

use rally_cred::events::{self, Audience};
use rally_cred::{connection::Connection, output::Output, system::System};
use rally_cred_proto::message::{Lock, Request, Unlock};
use rally_cred_proto::{Deadline, Fault, FaultKind};

/// Longest time: for what is on its way to the keyring, or for a person who unlocks the keyring.
const PATIENCE: Duration = Duration::from_secs(30);

/// Has the daemon forget what the keyring has, and hand out nothing.
pub(crate) fn lock(sys: &dyn System, output: &mut Output<'_>) -> Result<u8, Fault> {
    match ask(Lock, sys, output) {
        Err(fault) if fault.kind == FaultKind::NoDaemon => {
            output.tell("no daemon runs, so nothing is held\n").map(|()| 0)
        }
        done => done.and_then(|()| output.tell("locked\n")).map(|()| 0),
    }
}

/// Has the vault opened, and the daemon hand out again.
pub(crate) fn unlock(sys: &dyn System, output: &mut Output<'_>) -> Result<u8, Fault> {
    ask(Unlock, sys, output)?;
    output.tell("unlocked\n").map(|()| 0)
}

fn ask(request: impl Request<Done = ()>, sys: &dyn System, output: &mut Output<'_>) -> Result<(), Fault> {
    let audience = Audience { has_browser: false, listens: true };
    let mut listen = |event| events::react(&event, audience, sys, output);
    Connection::new(sys, false).ask(request, &mut Deadline::after(PATIENCE), &mut listen)
}
