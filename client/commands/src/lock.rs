//! `rally-cred lock` and `rally-cred unlock`.
//! Does not: start a daemon to lock it: one that does not run holds nothing.
//! Used by: people, and what locks their screens.

mod passphrase;

use std::time::Duration;

use clap::{ArgAction, Args};

use rally_cred::events::{self, Audience};
use rally_cred::{connection::Connection, output::Output};
use rally_cred_proto::message::{Lock, Request, Unlock};
use rally_cred_proto::{Deadline, Fault, FaultKind};

use crate::terminal::Terminal;

/// Longest time: for what is on its way to the keyring, or for a person who unlocks the keyring.
const PATIENCE: Duration = Duration::from_secs(30);

/// Has the daemon forget what the keyring has, and hand out nothing.
pub(crate) fn lock(sys: &dyn Terminal, output: &mut Output<'_>) -> Result<u8, Fault> {
    match ask(Lock, &mut Connection::new(sys, false), sys, output) {
        Err(fault) if fault.kind == FaultKind::NoDaemon => {
            output.tell("no daemon runs, so nothing is held\n").map(|()| 0)
        }
        done => done.and_then(|()| output.tell("locked\n")).map(|()| 0),
    }
}

/// What `unlock` was told on its command line.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Unlocking {
    /// Fail if no daemon is running, instead of starting one
    #[arg(long = "no-autostart", action = ArgAction::SetFalse)]
    autostart: bool,
}

/// Has the vault opened, and the daemon hand out again. The encrypted files need their passphrase once.
pub(crate) fn unlock(options: Unlocking, sys: &dyn Terminal, output: &mut Output<'_>) -> Result<u8, Fault> {
    let mut connection = Connection::new(sys, options.autostart);
    match ask(Unlock, &mut connection, sys, output) {
        Err(fault) if fault.kind == FaultKind::PassphraseNeeded => {
            passphrase::open_files(&mut connection, sys, output)?;
            ask(Unlock, &mut connection, sys, output)?;
        }
        done => done?,
    }
    output.tell("unlocked\n").map(|()| 0)
}

fn ask(
    request: impl Request<Done = ()>,
    connection: &mut Connection<'_>,
    sys: &dyn Terminal,
    output: &mut Output<'_>,
) -> Result<(), Fault> {
    let audience = Audience { has_browser: false, listens: true };
    let mut listen = |event| events::react(&event, audience, sys, output);
    connection.ask(request, &mut Deadline::after(PATIENCE), &mut listen)
}
