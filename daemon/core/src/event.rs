//! What the broker hears and what it orders: events are past, effects are commands.
//! Does not: carry an effect out (`perform` does) or make an event up (the shells do).
//! Used by: the driver, in both directions.

use std::sync::Arc;

use rally_cred_proto::{Ask, Fault, Reply, Secret, message};

use super::{
    answer::{RawAnswer, TokenForm},
    profile::{Config, Keyring, Notify, Profile, SecretSource},
    redirect::{Expected, Redirect},
    sent::Sent,
    vault::{Change, Changed, ItemKey, VaultTrouble},
};

/// Names one request of one client, until it is answered or its client leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AskId(pub u64);

/// Names one job. It goes out with the effect and comes back with the outcome; the outcome of a job that nobody waits
/// for any more is recognised by it and dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Epoch(pub u64);

/// Who asks, as the operating system tells it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Peer {
    /// The process, where the system tells.
    pub pid: Option<u32>,
    /// The user, where the system tells.
    pub uid: Option<u32>,
    /// The program that the process ran when it connected, made plain, where the system tells.
    pub program: Option<Arc<str>>,
}

/// Something that happened.
#[derive(Debug)]
pub enum Event {
    /// A client asked.
    Asked {
        /// The request's name.
        id: AskId,
        /// Who asks.
        peer: Peer,
        /// The request.
        ask: Ask,
    },
    /// A client went away before it was answered.
    Left(AskId),
    /// A job came to something.
    Outcome(Epoch, Outcome),
    /// The config file was read again.
    ConfigRead(Result<Config, Fault>),
    /// The time of [`super::Broker::next_deadline`] has come.
    TimePassed,
    /// The user wants the config file read again (SIGHUP).
    ReloadWanted,
    /// The user or the system wants the daemon to end (SIGTERM, SIGINT).
    StopWanted,
}

/// What a job came to.
#[derive(Debug)]
pub enum Outcome {
    /// The vault gave what it holds, or not.
    Loaded(Result<Option<Secret>, VaultTrouble>),
    /// The client secret's source gave it, or not.
    ClientSecretFetched(Result<Secret, Fault>),
    /// The vault changed a record, found another in its place, or neither.
    Changed(Result<Changed, VaultTrouble>),
    /// The vault forgot a record, or not.
    Erased(Result<(), VaultTrouble>),
    /// The redirect listener is open, or why it is not.
    Listening(Result<(), Fault>),
    /// The browser came back with the right state.
    Redirected(Redirect),
    /// Rally answered a token request.
    Answered(RawAnswer),
    /// Rally answered whose token it is.
    UserLookedUp(RawAnswer),
}

/// Something to do. The order within one list is kept when they are begun.
#[derive(Debug)]
pub enum Effect {
    /// Send an event to a waiting client.
    Tell(AskId, message::Event),
    /// Send the result; the request is over.
    Reply(AskId, Reply),
    /// Ask the vault for an item; comes back as [`Outcome::Loaded`].
    Load(Epoch, ItemKey),
    /// Ask a source for a client secret; comes back as [`Outcome::ClientSecretFetched`].
    FetchClientSecret(Epoch, SecretSource),
    /// Put an item into the vault, or take it out, if it holds what is believed; comes back as [`Outcome::Changed`].
    Change(Epoch, Change),
    /// Take an item out of the vault; comes back as [`Outcome::Erased`].
    Erase(Epoch, ItemKey),
    /// Use this vault from now on.
    OpenVault(Keyring),
    /// Open the redirect listener; comes back as [`Outcome::Listening`], then perhaps [`Outcome::Redirected`].
    Listen(Epoch, Expected),
    /// Show the browser how it ended, and close the listener.
    EndListening(Epoch, Page),
    /// Send a token request; comes back as [`Outcome::Answered`].
    Post {
        /// The job.
        epoch: Epoch,
        /// For whom.
        profile: Profile,
        /// With which client secret.
        client_secret: Secret,
        /// What is asked.
        form: TokenForm,
    },
    /// Ask Rally whose token this is; comes back as [`Outcome::UserLookedUp`].
    LookUpUser {
        /// The job.
        epoch: Epoch,
        /// For whom.
        profile: Profile,
        /// The token.
        token: Secret,
    },
    /// Try what a sign-in needs, tell the client each finding, and answer it.
    Check {
        /// Who asks.
        id: AskId,
        /// Where tokens are kept.
        keyring: Keyring,
        /// For whom, and whether the profile's redirect port is ours already, since a sign-in waits for its browser.
        profiles: Vec<(Profile, bool)>,
        /// What Rally may quote.
        secrets: Sent,
    },
    /// Notify the user that a sign-in is needed.
    Alert(Alert),
    /// Take the profile's alert back: it is settled.
    WithdrawAlert(String),
    /// Alert by this from now on.
    AlertBy(Notify),
    /// Read the config file; comes back as [`Event::ConfigRead`].
    ReadConfig,
    /// Write a line to the log.
    Log(Entry),
    /// Take the socket away, so that no new client finds it.
    CloseSocket,
    /// End the process.
    Exit,
    /// End the process if no client is connected. If one is, the broker asks again later.
    ExitIfDeserted,
}

/// What a notification tells the user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alert {
    /// Whose sign-in is needed.
    pub profile: String,
    /// What was tried, or why there is nothing to try.
    pub why: String,
    /// The command that helps.
    pub remedy: String,
    /// Whether that command can run without a terminal.
    pub has_button: bool,
}

/// How a flow ended, as the browser is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Page {
    /// A token is in hand.
    SignedIn {
        /// The Rally user, while known.
        username: Option<String>,
    },
    /// The user pressed "Deny".
    Denied {
        /// The command that begins again.
        again: String,
    },
    /// It failed.
    Failed(Fault),
}

/// A line for the log: a decision, by its fields. It cannot hold a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// A token was handed out.
    Handed {
        /// Whose.
        profile: String,
        /// The server that it is for, if that is not the profile's Rally.
        server: Option<String>,
        /// To whom.
        peer: Peer,
    },
    /// A static credential was handed out.
    HandedStatic {
        /// Whose: the server.
        server: String,
        /// To whom.
        peer: Peer,
    },
    /// A flow began, ended well or ended otherwise, a token was renewed or refused: what a grant went through.
    Grant {
        /// Whose.
        profile: String,
        /// What happened to it.
        step: GrantStep,
    },
    /// Something failed and the daemon coped.
    Recovered {
        /// Whose.
        profile: String,
        /// What failed.
        fault: Fault,
    },
    /// The config file was read again.
    Reloaded {
        /// How many profiles it has.
        profiles: usize,
    },
    /// The config file cannot be used, so the old one stays in force.
    ReloadFailed(Fault),
    /// An outcome came for a job that nobody waits for.
    Stale(Epoch),
    /// The daemon stops.
    Stopping,
    /// The daemon ends until it is needed again.
    Idle,
}

/// What a grant went through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GrantStep {
    /// The vault had it.
    Loaded,
    /// A person is asked to sign in.
    FlowBegan,
    /// A person signed in.
    SignedIn,
    /// The person said no, or nobody answered, or Rally refused.
    FlowEnded,
    /// Rally renewed it.
    Renewed,
    /// Rally no longer renews it.
    RenewalRefused,
    /// A caller said that it does not work, and Rally is asked.
    Suspected,
    /// It does not work, and is given up.
    Erased,
    /// Another daemon on the same keyring has put a newer one there, which is used from now on.
    Adopted,
    /// Another daemon on the same keyring has signed out.
    SignedOutElsewhere,
    /// The user signed out.
    SignedOut,
    /// The vault keeps it.
    Kept,
    /// The vault does not keep it yet.
    NotKept,
    /// The user is notified that a sign-in is needed.
    Alerted,
}
