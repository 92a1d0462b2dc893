//! A connection to the daemon that is made when it is first needed, and once more if the daemon was just stopping.
//! Does not: give up an answer on its own clock before the daemon has had its time.
//! Used by: every command that asks the daemon.

use std::time::Duration;

use rally_cred_proto::{Answer, Ask, Client, Deadline, Fault, FaultKind};

use crate::{autostart, system::System};

/// How much longer than it was asked to the daemon may take, so that its reason arrives and not only the silence. It is
/// told whole seconds, which may be half a second more than there is.
pub const GRACE: Duration = Duration::from_millis(750);

/// A connection to the daemon.
pub struct Connection<'a> {
    sys: &'a dyn System,
    autostart: bool,
    client: Option<Client>,
}

impl<'a> Connection<'a> {
    /// A connection yet to be made, to a daemon that may have to be started.
    pub fn new(sys: &'a dyn System, autostart: bool) -> Self {
        Self { sys, autostart, client: None }
    }

    /// Asks, and waits for connection and answer together until the deadline.
    pub fn ask(
        &mut self,
        ask: &Ask,
        deadline: &mut Deadline,
        on_event: &mut dyn FnMut(Answer),
    ) -> Result<Answer, Fault> {
        let mut heard_something = false;
        let outcome = self.ask_once(ask, deadline, &mut |event| {
            heard_something = true;
            on_event(event);
        });
        match outcome {
            // It stopped between the connection and the answer; whatever runs now gets the question again. After an
            // event it would not be the same question: a browser may be open.
            Err(Lost::Daemon(_)) if !heard_something => {
                self.client = None;
                self.ask_once(ask, deadline, on_event)
            }
            outcome => outcome,
        }
        .map_err(Lost::into_fault)
    }

    fn ask_once(
        &mut self,
        ask: &Ask,
        deadline: &mut Deadline,
        on_event: &mut dyn FnMut(Answer),
    ) -> Result<Answer, Lost> {
        let client = match &mut self.client {
            Some(client) => client,
            none => {
                let connected = autostart::connect(self.sys, self.autostart, deadline);
                none.insert(connected.map_err(|fault| Lost::Answer(silence(fault)))?)
            }
        };
        let outcome = client.ask_by(ask, deadline, on_event);
        let is_from_daemon = client.is_usable();
        outcome.map_err(|fault| match fault.kind {
            FaultKind::NoDaemon | FaultKind::Stopping => Lost::Daemon(fault),
            FaultKind::TimedOut if !is_from_daemon => Lost::Answer(silence(fault)),
            _ => Lost::Answer(fault),
        })
    }
}

/// A result that is none of those which the request can have.
pub fn strange() -> Fault {
    Fault::new(FaultKind::Failed, "the daemon answered something else than was asked")
        .remedy("rally-cred daemon restart")
}

/// The silence of a daemon is as good as none, and says nothing about the request.
pub fn silence(fault: Fault) -> Fault {
    match fault.kind {
        FaultKind::TimedOut => Fault { kind: FaultKind::NoDaemon, ..fault },
        _ => fault,
    }
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
