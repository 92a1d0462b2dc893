//! A connection to the daemon, made on first use, and once more if the daemon was just stopping.
//! Does not: time out before the daemon, whose fault says more.
//! Used by: every command that asks the daemon.

use std::time::Duration;

use rally_cred_proto::message::{MakeWay, ProfileStatus, Status, StatusAsk, Stop};
use rally_cred_proto::{Ask, Client, Deadline, Event, Fault, FaultKind, Reply, Request, socket};

#[cfg(unix)]
use crate::autostart::Own;
use crate::autostart::{self, Start};
use crate::{forwarded, system::System};

/// How much longer than asked the client waits, so that the daemon's own timeout arrives first. The daemon is told whole
/// seconds, which may be half a second more than there is.
pub const GRACE: Duration = Duration::from_millis(750);

/// A connection to the daemon.
pub struct Connection<'a> {
    sys: &'a dyn System,
    start: Start,
    client: Option<Client>,
    /// Dropped after the client, for whose end it waits.
    #[cfg(unix)]
    own: Option<Own>,
}

impl<'a> Connection<'a> {
    /// A connection that is not made yet.
    pub fn new(sys: &'a dyn System, start: impl Into<Start>) -> Self {
        Self {
            sys,
            start: start.into(),
            client: None,
            #[cfg(unix)]
            own: None,
        }
    }

    /// Sends a request and returns its result; the deadline covers connection and answer.
    pub fn ask<R: Request>(
        &mut self,
        request: R,
        deadline: &mut Deadline,
        on_event: &mut dyn FnMut(Event),
    ) -> Result<R::Done, Fault> {
        R::result(self.ask_twice(&request.into(), deadline, on_event)?)
    }

    /// The daemon's status, and that of each profile.
    pub fn status(
        &mut self,
        ask: StatusAsk,
        deadline: &mut Deadline,
    ) -> Result<(Status, Vec<ProfileStatus>), Fault> {
        let mut profiles = Vec::new();
        let status = self.ask(ask, deadline, &mut |event| {
            if let Event::Profile(profile) = event {
                profiles.push(*profile);
            }
        })?;
        Ok((*status, profiles))
    }

    fn ask_twice(
        &mut self,
        ask: &Ask,
        deadline: &mut Deadline,
        on_event: &mut dyn FnMut(Event),
    ) -> Result<Reply, Fault> {
        let mut heard_something = false;
        let outcome = self.ask_once(ask, deadline, &mut |event| {
            heard_something = true;
            on_event(event);
        });
        match outcome {
            Err(Lost::Answer(fault))
                if fault.kind == FaultKind::VersionSkew && self.start == Start::Shared =>
            {
                match self.replace(fault, deadline) {
                    Ok(()) => self.ask_once(ask, deadline, on_event),
                    Err(fault) => Err(Lost::Answer(fault)),
                }
            }
            // It stopped between connection and answer; the request is sent again. Not after an event: a browser may be
            // open.
            Err(Lost::Daemon(_)) if !heard_something => {
                self.client = None;
                self.ask_once(ask, deadline, on_event)
            }
            outcome => outcome,
        }
        .map_err(|lost| self.explain(lost.into_fault()))
    }

    /// Has a daemon that is too old for a request make way for one that is started next, unless it is busy.
    fn replace(&mut self, skew: Fault, deadline: &mut Deadline) -> Result<(), Fault> {
        let Some(mut client) = self.client.take() else { return Err(skew) };
        match make_way(&mut client, deadline) {
            Ok(()) => Ok(()),
            Err(Fault { kind: FaultKind::Failed, why: Some(busy), .. })
                if self.sys.socket().is_ok_and(|socket| !socket::is_forwarded(&socket)) =>
            {
                let why = skew.why.clone().unwrap_or_default();
                Err(skew.why(format!("{why}; it is not replaced by itself: {busy}")))
            }
            Err(_) => Err(skew),
        }
    }

    fn explain(&self, fault: Fault) -> Fault {
        match self.sys.socket() {
            Ok(socket) => forwarded::explain(&socket, fault),
            Err(_) => fault,
        }
    }

    fn ask_once(
        &mut self,
        ask: &Ask,
        deadline: &mut Deadline,
        on_event: &mut dyn FnMut(Event),
    ) -> Result<Reply, Lost> {
        let client = match &mut self.client {
            Some(client) => client,
            none => {
                let connected = match self.start {
                    #[cfg(unix)]
                    Start::Own => Own::start(self.sys).map(|(client, own)| {
                        self.own = Some(own);
                        client
                    }),
                    #[cfg(not(unix))]
                    Start::Own => Err(Fault::new(FaultKind::Usage, "--no-daemon is not for this system")),
                    start => autostart::connect(self.sys, start == Start::Shared, deadline),
                };
                none.insert(connected.map_err(|fault| Lost::Answer(silence(fault)))?)
            }
        };
        let outcome = client.reply_to(ask, deadline, on_event);
        let is_from_daemon = client.is_usable();
        outcome.map_err(|fault| match fault.kind {
            FaultKind::NoDaemon | FaultKind::Stopping => Lost::Daemon(fault),
            FaultKind::TimedOut if !is_from_daemon => Lost::Answer(silence(fault)),
            _ => Lost::Answer(fault),
        })
    }
}

/// Has a daemon end that nobody would miss, and waits for its end. The fault says what it is needed for, or that it is not
/// older than this program.
pub fn make_way(client: &mut Client, deadline: &mut Deadline) -> Result<(), Fault> {
    client.ask_by(MakeWay, deadline, &mut |_| {})?;
    // The connection ends with the daemon, after its socket is removed.
    match client.ask_by(Stop, deadline, &mut |_| {}) {
        Err(fault) if fault.kind == FaultKind::TimedOut => Err(fault),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// A daemon that does not answer counts as none; its timeout says nothing about the request.
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
    /// A fault that a second try would not change.
    Answer(Fault),
}

impl Lost {
    fn into_fault(self) -> Fault {
        match self {
            Self::Daemon(fault) | Self::Answer(fault) => fault,
        }
    }
}
