//! The gateway of a program, which the daemon keeps open as long as this process is connected.
//! Does not: run the program that the gateway is for.
//! Used by: `gateway`.

use rally_cred::{autostart, system::no_thread};
use rally_cred_proto::{
    Deadline, Event, Fault, FaultKind,
    gateway::{OpenGateway, OpenedGateway},
};

use crate::{
    kept::{Kept, LONGEST_PAUSE, PATIENCE, Warning},
    terminal::Terminal,
};

/// Has the daemon open a gateway, which is there until this process ends or the gateway is revoked.
pub(super) fn open(ask: OpenGateway, sys: &dyn Terminal) -> Result<OpenedGateway, Fault> {
    match autostart::connect(sys, false, &mut Deadline::after(PATIENCE)) {
        // By a process of its own, which does not pass on to the daemon what the program is to inherit.
        Err(fault) if fault.kind == FaultKind::NoDaemon => {
            sys.run_self(&["daemon".into(), "start".into()]).map_err(|err| no_thread(&err))?;
        }
        outcome => drop(outcome?),
    }
    let opened = |event, ask: &mut OpenGateway| match event {
        Event::GatewayOpen(opened) => {
            ask.identity.clone_from(&opened.identity);
            Some(*opened)
        }
        _ => None,
    };
    let warning = Some(Warning { stopped, stopped_after: LONGEST_PAUSE, ended: Some(revoked) });
    Kept { ask, opened, what: "open a gateway", starts: true, warning }.begin()
}

fn revoked() -> Fault {
    Fault::new(FaultKind::Failed, "the gateway was revoked")
        .why("the program has a key that is worth nothing any more")
        .remedy("run the command again")
}

fn stopped() -> Fault {
    Fault::new(FaultKind::NoDaemon, "the daemon was stopped")
        .why("the program cannot reach its gateway until a daemon runs again")
        .run("rally-cred daemon start")
}
