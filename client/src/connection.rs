//! A connection to the daemon that is made when it is first needed, and once more if the daemon was just stopping.
//! Does not: give up an answer on its own clock before the daemon has had its time.
//! Met by: every command that asks the daemon.

use std::time::Duration;

use rally_cred_proto::{Answer, Ask, Client, Fault, FaultKind};

use crate::{autostart, surroundings::Surroundings};

/// How much longer than it was asked to the daemon may take, so that its reason arrives and not only the silence.
pub(crate) const GRACE: Duration = Duration::from_secs(5);

/// A connection to the daemon.
pub(crate) struct Connection<'a> {
    around: &'a dyn Surroundings,
    autostart: bool,
    client: Option<Client>,
}

impl<'a> Connection<'a> {
    /// A connection yet to be made, to a daemon that may have to be started.
    pub(crate) fn new(around: &'a dyn Surroundings, autostart: bool) -> Self {
        Self { around, autostart, client: None }
    }

    /// Asks, and waits for each answer no longer than `patience`.
    pub(crate) fn ask(
        &mut self,
        ask: &Ask,
        patience: Duration,
        on_event: &mut dyn FnMut(Answer),
    ) -> Result<Answer, Fault> {
        let mut heard_something = false;
        let outcome = self.ask_once(ask, patience, &mut |event| {
            heard_something = true;
            on_event(event);
        });
        match outcome {
            // It stopped between the connection and the answer; whatever runs now gets the question again. After an
            // event it would not be the same question: a browser may be open.
            Err(Lost::Daemon(_)) if !heard_something => {
                self.client = None;
                self.ask_once(ask, patience, on_event)
            }
            outcome => outcome,
        }
        .map_err(Lost::into_fault)
    }

    fn ask_once(
        &mut self,
        ask: &Ask,
        patience: Duration,
        on_event: &mut dyn FnMut(Answer),
    ) -> Result<Answer, Lost> {
        let client = match &mut self.client {
            Some(client) => client,
            none => none.insert(autostart::connect(self.around, self.autostart).map_err(Lost::Answer)?),
        };
        // Not every system can limit a wait on a pipe. There the daemon's own limit has to do.
        client.set_patience(patience).ok();
        let outcome = client.ask(ask, on_event);
        let is_from_daemon = client.is_usable();
        outcome.map_err(|fault| match fault.kind {
            FaultKind::NoDaemon | FaultKind::Stopping => Lost::Daemon(fault),
            // This is silence, and says nothing about the request.
            FaultKind::TimedOut if !is_from_daemon => {
                Lost::Answer(Fault::new(FaultKind::NoDaemon, fault.what).remedy("rally-cred daemon restart"))
            }
            _ => Lost::Answer(fault),
        })
    }
}

/// A result that is none of those which the request can have.
pub(crate) fn strange() -> Fault {
    Fault::new(FaultKind::Failed, "the daemon answered something else than was asked")
        .remedy("rally-cred daemon restart")
}

/// What a request ended with, other than its result.
enum Lost {
    /// The daemon went away.
    Daemon(Fault),
    /// Anything that asking again would not change.
    Answer(Fault),
}

impl Lost {
    fn into_fault(self) -> Fault {
        match self {
            Self::Daemon(fault) | Self::Answer(fault) => fault,
        }
    }
}
