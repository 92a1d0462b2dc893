//! The restricted socket for other machines: when it is to be open, and for which profiles.
//! Does not: know which requests may come by it ([`rally_cred_proto::Ask::from_afar`] does), or open it.
//! Used by: `broker`, which asks here for every request whether it may have a profile.

use rally_cred_proto::{
    Ask, Event, Fault, FaultKind,
    forwarding::Door,
    message::{ForwardOpen, Get},
};

use crate::{
    event::{AskId, Effect, Entry, Epoch, Outcome, Peer},
    jobs::Owner,
    profile::Config,
    step::Step,
    time::Tick,
};

/// Who wants the socket, and what has become of it.
#[derive(Debug)]
pub(super) struct Forwarding {
    /// Whether the config file wants it, whoever is connected.
    is_standing: bool,
    profiles: Vec<String>,
    /// Clients that keep it open.
    holders: Vec<AskId>,
    socket: Socket,
}

#[derive(Debug)]
enum Socket {
    Closed,
    Opening(Epoch),
    /// At this path.
    Open(String),
    /// It could not be opened, which the next who wants it tries again.
    Failed,
}

impl Forwarding {
    pub(super) fn new(config: &Config) -> Self {
        let (is_standing, profiles) = wanted(config);
        Self { is_standing, profiles, holders: Vec::new(), socket: Socket::Closed }
    }

    /// Puts what the config file says into force.
    pub(super) fn apply(&mut self, step: &mut Step<'_>, config: &Config) {
        let (is_standing, profiles) = wanted(config);
        let is_other = self.profiles != profiles;
        (self.is_standing, self.profiles) = (is_standing, profiles);
        if matches!(self.socket, Socket::Failed) {
            self.socket = Socket::Closed;
        }
        if is_other {
            self.tell(step);
        }
    }

    /// Keeps the socket open for this client, until it leaves.
    pub(super) fn hold(&mut self, step: &mut Step<'_>, id: AskId) {
        self.holders.push(id);
        match &self.socket {
            Socket::Open(_) => step.effects.extend(self.news(id)),
            Socket::Failed => self.socket = Socket::Closed,
            Socket::Closed | Socket::Opening(_) => {}
        }
    }

    pub(super) fn left(&mut self, id: AskId) {
        self.holders.retain(|holder| *holder != id);
    }

    /// Opens or closes the socket, as is wanted now.
    pub(super) fn settle(&mut self, step: &mut Step<'_>) {
        match (&self.socket, self.is_wanted()) {
            (Socket::Closed, true) => {
                self.socket = Socket::Opening(step.begin(Owner::Forwarding, Effect::OpenForward));
            }
            (Socket::Opening(_) | Socket::Open(_), false) => self.close(step),
            _ => {}
        }
    }

    /// Takes what became of the socket. `false` if it is not wanted any more.
    pub(super) fn heard(&mut self, step: &mut Step<'_>, epoch: Epoch, outcome: Outcome) -> bool {
        let Outcome::ForwardOpened(outcome) = outcome else { return false };
        if !matches!(self.socket, Socket::Opening(current) if current == epoch) {
            return false;
        }
        match outcome {
            Ok(socket) => {
                self.socket = Socket::Open(socket);
                self.tell(step);
            }
            Err(fault) => {
                self.socket = Socket::Failed;
                step.effects.push(Effect::Log(Entry::ForwardFailed(fault.clone())));
                self.fail_all(step, &fault);
            }
        }
        true
    }

    /// Closes it for good.
    pub(super) fn stop(&mut self, step: &mut Step<'_>, fault: &Fault) {
        self.is_standing = false;
        self.fail_all(step, fault);
    }

    /// When a socket is to be opened that no event has opened yet.
    pub(super) fn next_deadline(&self) -> Option<Tick> {
        (self.is_wanted() && matches!(self.socket, Socket::Closed)).then_some(Tick(0))
    }

    /// Whether a client keeps the socket open.
    pub(super) fn is_held(&self) -> bool {
        !self.holders.is_empty()
    }

    /// Whether the config file counts on this process.
    pub(super) fn is_standing(&self) -> bool {
        self.is_standing
    }

    /// Whether whoever asks may have this profile.
    pub(super) fn lets_have(&self, peer: &Peer, profile: &str) -> bool {
        match peer.door {
            Door::Own => true,
            Door::Forwarded => self.profiles.iter().any(|name| name == profile),
        }
    }

    /// The request as another machine may have it; `default`: the profile of one that names none.
    pub(super) fn admit(&self, ask: Ask, default: &str) -> Result<Ask, Fault> {
        let ask = ask.from_afar()?;
        let named = match &ask {
            Ask::Get(Get { target, .. }) if target.profile.is_none() && target.names_server() => None,
            Ask::Get(Get { target, .. }) => Some(target.profile.as_deref().unwrap_or(default)),
            Ask::Status(status) => status.profile.as_deref(),
            _ => None,
        };
        named.map_or(Ok(()), |name| self.check_afar(name))?;
        Ok(ask)
    }

    /// Refuses a profile that another machine may not have, in the same words whether there is one of this name or not.
    pub(super) fn check_afar(&self, profile: &str) -> Result<(), Fault> {
        if self.profiles.iter().any(|name| name == profile) {
            return Ok(());
        }
        Err(Fault::new(FaultKind::UnknownProfile, format!("profile {profile} is not forwarded"))
            .why(format!("these are: {}", self.profiles.join(", ")))
            .remedy("name one of these, or list it in [forward] profiles of the config file"))
    }

    /// The profiles of the socket, while it is open.
    pub(super) fn shown(&self) -> Vec<String> {
        if matches!(self.socket, Socket::Open(_)) { self.profiles.clone() } else { Vec::new() }
    }

    fn is_wanted(&self) -> bool {
        self.is_standing || !self.holders.is_empty()
    }

    fn close(&mut self, step: &mut Step<'_>) {
        if let Socket::Opening(epoch) = self.socket {
            step.jobs.end(epoch);
        }
        self.socket = Socket::Closed;
        step.effects.push(Effect::CloseForward);
    }

    fn fail_all(&mut self, step: &mut Step<'_>, fault: &Fault) {
        step.refuse_all(self.holders.drain(..), fault);
    }

    fn tell(&self, step: &mut Step<'_>) {
        step.effects.extend(self.holders.iter().filter_map(|id| self.news(*id)));
        if let Socket::Open(socket) = &self.socket {
            let (socket, profiles) = (socket.clone(), self.profiles.clone());
            step.effects.push(Effect::Log(Entry::Forwarding { socket, profiles }));
        }
    }

    fn news(&self, id: AskId) -> Option<Effect> {
        let Socket::Open(socket) = &self.socket else { return None };
        let open = ForwardOpen { socket: socket.clone(), profiles: self.profiles.clone() };
        Some(Effect::Tell(id, Event::ForwardOpen(open)))
    }
}

/// Whether the socket is always open, and its profiles: without a word in the config file, the default one.
fn wanted(config: &Config) -> (bool, Vec<String>) {
    match &config.forward {
        Some(profiles) => (true, profiles.clone()),
        None => (false, vec![config.default_profile.clone()]),
    }
}
