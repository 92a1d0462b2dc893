//! Turns at Rally that the daemon keeps free for a program, for as long as this process is connected.
//! Does not: run the program, or see how much it asks.
//! Used by: `exec`.

use std::{sync::mpsc, thread, time::Duration};

use rally_cred::{
    autostart,
    system::{Process, no_thread},
};
use rally_cred_proto::{Deadline, Event, Fault, FaultKind, gateway::HoldTurns};

/// The daemon answers at once.
const PATIENCE: Duration = Duration::from_secs(10);

/// Pause before a daemon that ended is looked for again: it holds no turns for anybody until then.
const PAUSE: Duration = Duration::from_secs(2);

/// Takes the turns, and holds them until this process ends, also over a restart of the daemon.
pub(super) fn hold(ask: HoldTurns) -> Result<(), Fault> {
    let (told, held) = mpsc::channel();
    thread::Builder::new().spawn(move || keep(&ask, &told)).map_err(|err| no_thread(&err))?;
    held.recv_timeout(PATIENCE).unwrap_or_else(|_| {
        Err(Fault::new(FaultKind::TimedOut, "the daemon did not answer in time").remedy("rally-cred status"))
    })
}

fn keep(ask: &HoldTurns, told: &mpsc::Sender<Result<(), Fault>>) {
    let mut was_held = false;
    loop {
        let outcome = autostart::connect(&Process, false, &mut Deadline::after(PATIENCE));
        let outcome = outcome.and_then(|mut client| {
            client.ask(ask.clone(), &mut |event| {
                if let Event::TurnsHeld(_) = event {
                    was_held = true;
                    // Whoever waits for the first has the first.
                    told.send(Ok(())).ok();
                }
            })
        });
        if let Err(fault) = outcome
            && !was_held
        {
            told.send(Err(fault)).ok();
            return;
        }
        thread::sleep(PAUSE);
    }
}
