//! The connection to the daemon that keeps the restricted socket open, taken up again when the daemon is started anew.
//! Does not: know what the socket is forwarded to, which finds it at the same path again.
//! Used by: `forward`.

use std::{sync::mpsc, thread, time::Duration};

use rally_cred::{
    autostart,
    system::{Process, System, no_thread},
};
use rally_cred_proto::{
    Deadline, Event, Fault, FaultKind,
    message::{Forward, ForwardOpen},
};

/// Time for a connection, and for the daemon to open the socket.
const PATIENCE: Duration = Duration::from_secs(10);

/// First pause before a lost daemon is looked for, doubling up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// Has the daemon open the socket, which is there until this process ends.
pub(super) fn begin(sys: &dyn System) -> Result<ForwardOpen, Fault> {
    // So that its warnings come first, and a missing program is told at once.
    drop(autostart::connect(sys, true, &mut Deadline::after(PATIENCE))?);
    let (told, opened) = mpsc::channel();
    thread::Builder::new().spawn(move || keep(&told)).map_err(|err| no_thread(&err))?;
    opened.recv_timeout(PATIENCE).unwrap_or_else(|_| {
        Err(Fault::new(FaultKind::TimedOut, "the daemon did not open its socket for another machine in time")
            .run("rally-cred status"))
    })
}

/// Keeps it open. The first outcome is told. A daemon that is lost is started anew; for one that was told to stop, this
/// waits until another client starts one.
fn keep(told: &mpsc::Sender<Result<ForwardOpen, Fault>>) {
    let (mut was_open, mut was_stopped, mut pause, mut shown) = (false, false, FIRST_PAUSE, None);
    loop {
        let mut is_open = false;
        let connected =
            autostart::connect(&Process, was_open && !was_stopped, &mut Deadline::after(PATIENCE));
        let outcome = connected.and_then(|mut client| {
            client.ask(Forward, &mut |event| {
                if let Event::ForwardOpen(open) = event {
                    is_open = true;
                    // Whoever waits for the first has the first.
                    told.send(Ok(open)).ok();
                }
            })
        });
        if is_open {
            (was_open, was_stopped, pause, shown) = (true, false, FIRST_PAUSE, None);
        }
        let fault = match outcome {
            Err(fault) if !was_open => {
                told.send(Err(fault)).ok();
                return;
            }
            Ok(()) => None,
            Err(fault) if fault.kind == FaultKind::Stopping => {
                was_stopped = true;
                Some(stopped())
            }
            // A daemon that ends and starts anew is nothing to worry people with.
            Err(fault) if fault.kind == FaultKind::NoDaemon => None,
            Err(fault) => Some(fault),
        };
        if let Some(fault) = fault.filter(|fault| shown.as_ref() != Some(fault)) {
            Process.warn(&fault);
            shown = Some(fault);
        }
        thread::sleep(pause);
        pause = (2 * pause).min(LONGEST_PAUSE);
    }
}

fn stopped() -> Fault {
    Fault::new(FaultKind::NoDaemon, "the daemon was stopped")
        .why("the far side gets no token until a daemon runs here again")
        .run("rally-cred daemon start")
}
