//! What the broker is told and what it orders: events are past, effects are commands.
//! Does not: carry out an effect (`perform` does) or produce an event (the shells do).
//! Used by: the driver, in both directions.

mod entry;

use std::sync::{Arc, OnceLock};

use rally_cred_proto::{
    Ask, Fault, Reply, Secret,
    forwarding::Door,
    gateway::{GatewayStatus, WayOut},
    message,
    remedy::Command,
};

use super::{
    answer::{RawAnswer, TokenForm},
    profile::{CommandLine, Config, GatewaySettings, Keyring, Notify, Profile, SecretSource},
    redirect::{Expected, Redirect},
    sent::Sent,
    time::Wall,
    vault::{Change, Changed, ItemKey, Read, VaultTrouble},
};

pub use entry::{Decision, Entry, GrantStep, LockedBy, Verdict};

/// Identifies one request of one client, until it is answered or the client leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AskId(pub u64);

/// Identifies one job. It goes out with the effect and comes back with the outcome, so that a stale outcome is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Epoch(pub u64);

/// The process that asks, as far as the operating system says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Peer {
    /// Its ID.
    pub pid: Option<u32>,
    /// Its user.
    pub uid: Option<u32>,
    /// Its program when it connected.
    pub program: Program,
    /// The socket that it came by.
    pub door: Door,
    /// The gateway that asks on its behalf.
    pub gateway: Option<Arc<str>>,
}

/// The program of a process, which may still be looked up while its request is decided. Clones share what is found.
#[derive(Clone, Debug, Default)]
pub struct Program(Arc<OnceLock<Found>>);

/// What was found of a process, as plain text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Its program.
    pub exe: Option<Arc<str>>,
    /// The program that it asks for: its own, or whatever started it if it is a client of ours. `None` where that is not
    /// certain.
    pub caller: Option<Arc<str>>,
}

impl Program {
    /// A program that is known.
    pub fn of(path: &str) -> Self {
        let path = Some(Arc::from(path));
        Self(Arc::new(OnceLock::from(Found { exe: path.clone(), caller: path })))
    }

    /// Takes what was found. What is found later counts no more.
    pub fn found(&self, found: Found) {
        self.0.set(found).ok();
    }

    /// What was found; `None` while it is looked up.
    pub fn get(&self) -> Option<&Found> {
        self.0.get()
    }

    /// Its path, if that is known by now.
    pub fn path(&self) -> Option<&str> {
        self.get()?.exe.as_deref()
    }

    /// The program that it asks for, if that is known by now, and certain.
    pub fn caller(&self) -> Option<&str> {
        self.get()?.caller.as_deref()
    }
}

impl PartialEq for Program {
    fn eq(&self, other: &Self) -> bool {
        self.get() == other.get()
    }
}

impl Eq for Program {}

/// Something that happened.
#[derive(Debug)]
#[expect(missing_docs, reason = "the names of the fields say it")]
pub enum Event {
    /// A client asked.
    Asked { id: AskId, peer: Peer, ask: Ask },
    /// A client left before it was answered.
    Left(AskId),
    /// A job ended, or a listener reports.
    Outcome(Epoch, Outcome),
    /// By how many milliseconds the shared vault's calendar is ahead of this machine's, at least and at most.
    VaultCalendar { least: i64, most: i64 },
    /// The config file was read again.
    ConfigRead(Result<Config, Fault>),
    /// The time of [`super::Broker::next_deadline`] has come.
    TimePassed,
    /// The user wants the config file read again (SIGHUP).
    ReloadWanted,
    /// The user or the system wants the daemon to stop (SIGTERM, SIGINT).
    StopWanted,
    /// The network is another: an address or a default route has come.
    Online,
    /// The vault was unlocked, or has come, as far as it tells; it may be asked again.
    VaultUnlocked,
    /// A session of this user was locked.
    SessionLocked,
    /// The machine is about to sleep.
    Sleeping,
    /// The machine has slept.
    Woke,
}

/// The outcome of a job.
#[derive(Debug)]
pub enum Outcome {
    /// An item was read from the vault.
    Loaded(Read),
    /// The source returned the client secret.
    ClientSecretFetched(Result<Secret, Fault>),
    /// The program gave a token.
    TokenFetched(Result<Fetched, Fault>),
    /// An item in the vault was changed, or another writer was first.
    Changed(Result<Changed, VaultTrouble>),
    /// An item was erased from the vault.
    Erased(Result<(), VaultTrouble>),
    /// The redirect listener is open.
    Listening(Result<(), Fault>),
    /// The browser came back with the right state.
    Redirected(Redirect),
    /// Rally answered a token request.
    Answered(RawAnswer),
    /// Rally answered the user query.
    UserLookedUp(RawAnswer),
    /// These items were mended; what then went wrong.
    Repaired(Vec<ItemKey>, Result<(), Fault>),
    /// The vault is open, or why it is not.
    Unlocked(Result<(), VaultTrouble>),
    /// The gateway is open, or why it is not.
    GatewayOpened(Result<GatewayReady, Fault>),
    /// The restricted socket is open at this path, or why it is not.
    ForwardOpened(Result<String, Fault>),
    /// It is known which program asks, as far as it can be.
    Identified,
    /// What the user said of a program, or why they cannot be asked.
    Consented(Result<Consent, Fault>),
}

/// What a program gave that has tokens.
#[derive(Clone, Debug)]
pub struct Fetched {
    /// The token: printable ASCII, not empty.
    pub token: Secret,
    /// When it ends; `None` where the program does not say.
    pub until: Option<Until>,
}

/// An end of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// So many seconds after it was given.
    In(u64),
    /// At this time.
    At(Wall),
}

/// Something to do. Those of one list are begun in its order.
#[derive(Debug)]
#[expect(missing_docs, reason = "the names of the fields say it")]
pub enum Effect {
    /// Send an event to a waiting client.
    Tell(AskId, message::Event),
    /// Send the result; the request is over.
    Reply(AskId, Reply),
    /// Read an item from the vault; comes back as [`Outcome::Loaded`].
    Load(Epoch, ItemKey),
    /// Ask a source for a client secret; comes back as [`Outcome::ClientSecretFetched`].
    FetchClientSecret(Epoch, SecretSource),
    /// Have a program give a token; comes back as [`Outcome::TokenFetched`].
    FetchToken(Epoch, CommandLine),
    /// Change an item in the vault, if it holds what is believed; comes back as [`Outcome::Changed`].
    Change(Epoch, Change),
    /// Erase an item from the vault; comes back as [`Outcome::Erased`].
    Erase(Epoch, ItemKey),
    /// Ask the vault to open, for whoever may read this item; comes back as [`Outcome::Unlocked`].
    Unlock(Epoch, ItemKey),
    /// Open the encrypted files by this passphrase, or make them with it, and answer the client.
    OpenFiles { id: AskId, passphrase: Secret, is_new: bool },
    /// Take one step of a move from one vault to another, and tell and answer the client. `is_in_use`: the second is the
    /// daemon's own.
    MoveItems { id: AskId, from: Keyring, to: Keyring, step: message::MoveStep, is_in_use: bool },
    /// Look through the vault for what is wrong by this configuration, tell the client, and mend what it asks for; comes
    /// back as [`Outcome::Repaired`].
    RepairItems { epoch: Epoch, id: AskId, config: Box<Config>, ask: message::RepairItems },
    /// Use this vault from now on.
    OpenVault(Keyring),
    /// Watch for the network to be another, or do so no more; each time comes as [`Event::Online`].
    WatchNetwork(bool),
    /// Watch for the vault to be unlocked or to come, or do so no more; each time comes as [`Event::VaultUnlocked`].
    WatchVault(bool),
    /// Open the redirect listener; comes back as [`Outcome::Listening`], then perhaps [`Outcome::Redirected`].
    Listen(Epoch, Expected),
    /// Show the browser how the flow ended, and close the listener.
    EndListening(Epoch, Page),
    /// Send a token request; comes back as [`Outcome::Answered`].
    Post { epoch: Epoch, profile: Profile, client_secret: Secret, form: TokenForm },
    /// Ask Rally whose token this is; comes back as [`Outcome::UserLookedUp`].
    LookUpUser { epoch: Epoch, profile: Profile, token: Secret },
    /// Try what a sign-in needs, send the client each finding, and answer it. Of each profile, whether its redirect
    /// port is open already, for a sign-in. Rally may quote these secrets.
    Check { id: AskId, keyring: Keyring, profiles: Vec<(Profile, bool)>, secrets: Sent },
    /// Leave so many turns at Rally to programs that go there by themselves, from now on.
    ReserveTurns { profile: String, turns: u8 },
    /// Open a gateway; comes back as [`Outcome::GatewayOpened`], whose epoch names it from then on.
    OpenGateway(Epoch, Box<GatewayPlan>),
    /// Close a gateway that is open, or is being opened.
    CloseGateway(Epoch),
    /// Tell a client of each gateway, of the open ones also what they have passed on.
    TellGateways(AskId, Vec<(Option<Epoch>, GatewayStatus)>),
    /// Open the restricted socket; comes back as [`Outcome::ForwardOpened`].
    OpenForward(Epoch),
    /// Close the restricted socket, if it is open.
    CloseForward,
    /// Wait until it is known which program asks; comes back as [`Outcome::Identified`].
    Identify(Epoch, Program),
    /// Ask the user about a program; comes back as [`Outcome::Consented`].
    AskConsent(Epoch, Question),
    /// Withdraw that question, which has no outcome then.
    WithdrawConsent(Epoch),
    /// Notify the user that a sign-in is needed.
    Alert(Alert),
    /// Withdraw the profile's alert.
    WithdrawAlert(String),
    /// Show further alerts this way.
    AlertBy(Notify),
    /// Read the config file; comes back as [`Event::ConfigRead`].
    ReadConfig,
    /// Write a line to the log.
    Log(Entry),
    /// Remove the socket, so that no new client finds it.
    CloseSocket,
    /// End the process.
    Exit,
    /// End the process if no client is connected. If one is, the broker asks again later.
    ExitIfDeserted,
}

/// A gateway to be opened.
#[derive(Clone, Debug)]
pub struct GatewayPlan {
    /// Its name.
    pub name: String,
    /// Whom it lets in.
    pub settings: GatewaySettings,
    /// Whose token it adds.
    pub profile: Profile,
    /// The way to Rally and to other servers; `None` is for what the daemon's own variables say.
    pub way_out: Option<WayOut>,
    /// The port, key and authority that it had before. What does not fit any more is made anew.
    pub identity: Option<Secret>,
    /// Who wanted it; `None` if the config file does.
    pub opener: Option<Peer>,
}

/// A gateway that is open.
#[derive(Clone, Debug)]
pub struct GatewayReady {
    /// Its port on 127.0.0.1.
    pub port: u16,
    /// What is to be given back when it is opened again.
    pub identity: Secret,
    /// What its tools present.
    pub key: Secret,
    /// The certificate of its authority, as PEM.
    pub authority: String,
}

/// The content of a notification.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alert {
    /// The profile that needs a sign-in.
    pub profile: String,
    /// Why it does.
    pub why: String,
    /// The command that helps.
    pub remedy: Command,
    /// Whether that command can run without a terminal.
    pub has_button: bool,
}

/// Whether a program may have a profile's tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// The profile.
    pub profile: String,
    /// The program's path, or the name of a gateway.
    pub program: String,
    /// The socket that it came by.
    pub door: Door,
}

/// What the user said to a [`Question`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Consent {
    /// For the requests that wait.
    Once,
    /// Until a lock, a sign-out, or twelve hours from now.
    Session,
    /// No, for as long.
    Denied,
    /// Nothing: the question was closed.
    Unanswered,
}

/// How a flow ended, for the browser.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Page {
    /// It gave a token. The Rally user, if known.
    SignedIn(Option<String>),
    /// The user pressed "Deny". The command for another try.
    Denied(Command),
    /// It failed.
    Failed(Fault),
}
