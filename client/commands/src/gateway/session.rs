//! The connection to the daemon as long as whose gateway is open, taken up again when the daemon is started anew.
//! Does not: run the program that the gateway is for.
//! Used by: `gateway`.

use std::{sync::mpsc, thread, time::Duration};

use rally_cred::{
    autostart,
    system::{Process, System, no_thread},
};
use rally_cred_proto::{
    Deadline, Event, Fault, FaultKind, Secret,
    gateway::{OpenGateway, OpenedGateway},
};

use crate::terminal::Terminal;

/// Time for a connection, and for the daemon to open the gateway.
const PATIENCE: Duration = Duration::from_secs(10);

/// First pause before a lost daemon is looked for, doubling up to the longest: soon enough that a tool sees one failed
/// request at most, and rare enough for a night without a daemon.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// Has the daemon open a gateway, which is there until this process ends or the gateway is revoked.
pub(super) fn open(ask: OpenGateway, sys: &dyn Terminal) -> Result<OpenedGateway, Fault> {
    let mut deadline = Deadline::after(PATIENCE);
    match autostart::connect(sys, false, &mut deadline) {
        // By a process of its own, which does not pass on to the daemon what the program is to inherit.
        Err(fault) if fault.kind == FaultKind::NoDaemon => {
            sys.run_self(&["daemon".into(), "start".into()]).map_err(|err| no_thread(&err))?;
        }
        outcome => drop(outcome?),
    }
    let (told, opened) = mpsc::channel();
    thread::Builder::new().spawn(move || keep(ask, &told)).map_err(|err| no_thread(&err))?;
    opened.recv_timeout(PATIENCE).unwrap_or_else(|_| {
        Err(Fault::new(FaultKind::TimedOut, "the daemon did not open a gateway in time")
            .remedy("rally-cred status"))
    })
}

/// Keeps the gateway open. The first outcome is told. A daemon that is lost is started anew; for one that was told to stop,
/// this waits until another client starts one.
fn keep(mut ask: OpenGateway, told: &mpsc::Sender<Result<OpenedGateway, Fault>>) {
    let (mut was_open, mut was_stopped, mut pause, mut shown) = (false, false, FIRST_PAUSE, None);
    loop {
        let mut identity: Option<Secret> = None;
        let outcome = autostart::connect(&Process, was_open && !was_stopped, &mut Deadline::after(PATIENCE));
        let outcome = outcome.and_then(|mut client| {
            client.ask(ask.clone(), &mut |event| {
                if let Event::GatewayOpen(opened) = event {
                    identity.clone_from(&opened.identity);
                    // Whoever waits for the first has the first.
                    told.send(Ok(*opened)).ok();
                }
            })
        });
        if identity.is_some() {
            (was_open, was_stopped, pause, shown) = (true, false, FIRST_PAUSE, None);
            ask.identity = identity;
        }
        match outcome {
            Ok(()) => {
                let fault = Fault::new(FaultKind::Failed, "the gateway was revoked")
                    .why("the program has a key that is worth nothing any more")
                    .remedy("run the command again");
                return Process.warn(&fault);
            }
            Err(fault) if !was_open => {
                told.send(Err(fault)).ok();
                return;
            }
            Err(fault) => {
                was_stopped |= fault.kind == FaultKind::Stopping;
                let is_gone = matches!(fault.kind, FaultKind::NoDaemon | FaultKind::Stopping);
                let fault = if is_gone && was_stopped { stopped() } else { fault };
                // A daemon that ends and starts anew is nothing to worry people with.
                let is_worth_telling = !is_gone || (was_stopped && pause == LONGEST_PAUSE);
                if is_worth_telling && shown.as_ref() != Some(&fault) {
                    Process.warn(&fault);
                    shown = Some(fault);
                }
            }
        }
        thread::sleep(pause);
        pause = (2 * pause).min(LONGEST_PAUSE);
    }
}

fn stopped() -> Fault {
    Fault::new(FaultKind::NoDaemon, "the daemon was stopped")
        .why("the program cannot reach its gateway until a daemon runs again")
        .run("rally-cred daemon start")
}
