//! A request that stays open for as long as this process lives, made again when the daemon is started anew.
//! Does not: know what is asked for.
//! Used by: `exec` for turns, `forward` for its socket, `gateway` for a gateway.

use std::{sync::mpsc, thread, time::Duration};

use rally_cred::{
    autostart,
    system::{Process, System, no_thread},
};
use rally_cred_proto::{Deadline, Event, Fault, FaultKind, message::Request};

/// Time for a connection, and for the daemon to say that it is open.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// First pause before a lost daemon is looked for, doubling up to the longest: soon enough that a tool sees one failed
/// request at most, and rare enough for a night without a daemon.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
pub(crate) const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// Such a request.
pub(crate) struct Kept<A, T> {
    pub(crate) ask: A,
    /// What the daemon says once it is open, and what the next daemon is to be told of that.
    pub(crate) opened: fn(Event, &mut A) -> Option<T>,
    /// What a daemon did not do that does not say so, in words.
    pub(crate) what: &'static str,
    /// Whether a daemon that is lost is started anew. For one that was told to stop, this waits until another client
    /// starts one.
    pub(crate) starts: bool,
    /// What people hear of a lost daemon; nothing without it.
    pub(crate) warning: Option<Warning>,
}

/// What people hear of a daemon that is lost. One that ends and starts anew is nothing to worry them with.
pub(crate) struct Warning {
    /// That it was told to stop.
    pub(crate) stopped: fn() -> Fault,
    /// The pause from which on they hear that.
    pub(crate) stopped_after: Duration,
    /// That the daemon has ended the request, which is not made again then; without it, it is.
    pub(crate) ended: Option<fn() -> Fault>,
}

impl<A, T> Kept<A, T>
where
    A: Request<Done = ()> + Clone + Send + 'static,
    T: Send + 'static,
{
    /// Makes it, and keeps it open until this process ends. What the daemon said first.
    pub(crate) fn begin(self) -> Result<T, Fault> {
        let (what, (told, opened)) = (self.what, mpsc::channel());
        thread::Builder::new().spawn(move || self.keep(&told)).map_err(|err| no_thread(&err))?;
        opened.recv_timeout(PATIENCE).unwrap_or_else(|_| {
            Err(Fault::new(FaultKind::TimedOut, format!("the daemon did not {what} in time"))
                .run("rally-cred status"))
        })
    }

    fn keep(mut self, told: &mpsc::Sender<Result<T, Fault>>) {
        let (mut was_open, mut was_stopped, mut pause, mut shown) = (false, false, FIRST_PAUSE, None);
        loop {
            let starts = self.starts && was_open && !was_stopped;
            let connected = autostart::connect(&Process, starts, &mut Deadline::after(PATIENCE));
            let mut is_open = false;
            let outcome = connected.and_then(|mut client| {
                client.ask(self.ask.clone(), &mut |event| {
                    if let Some(opened) = (self.opened)(event, &mut self.ask) {
                        is_open = true;
                        // Whoever waits for the first has the first.
                        told.send(Ok(opened)).ok();
                    }
                })
            });
            if is_open {
                (was_open, was_stopped, pause, shown) = (true, false, FIRST_PAUSE, None);
            }
            let fault = match (outcome, &self.warning) {
                (Err(fault), _) if !was_open => {
                    told.send(Err(fault)).ok();
                    return;
                }
                (Ok(()), Some(Warning { ended: Some(ended), .. })) => return Process.warn(&ended()),
                (Ok(()), _) => None,
                (Err(fault), warning) => {
                    was_stopped |= fault.kind == FaultKind::Stopping;
                    warning.as_ref().and_then(|warning| warning.of(fault, was_stopped, pause))
                }
            };
            if let Some(fault) = fault.filter(|fault| shown.as_ref() != Some(fault)) {
                Process.warn(&fault);
                shown = Some(fault);
            }
            thread::sleep(pause);
            pause = (2 * pause).min(LONGEST_PAUSE);
        }
    }
}

impl Warning {
    fn of(&self, fault: Fault, was_stopped: bool, pause: Duration) -> Option<Fault> {
        match fault.kind {
            FaultKind::NoDaemon | FaultKind::Stopping => {
                (was_stopped && pause >= self.stopped_after).then(self.stopped)
            }
            _ => Some(fault),
        }
    }
}
