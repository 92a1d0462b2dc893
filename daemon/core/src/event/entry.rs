//! What the broker has written to the log. None of it can hold a secret.
//! Does not: write a line (the daemon's log does).
//! Used by: `event`, of which this is a part.

use std::collections::BTreeMap;

use rally_cred_proto::{Fault, audit, forwarding::Door};

use super::{Epoch, Peer};

/// A line for the log. It cannot hold a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names of the fields say it")]
pub enum Entry {
    /// Something was handed out, or refused.
    Decided(Box<Decision>),
    /// Something happened to a grant.
    Grant { profile: String, step: GrantStep },
    /// Something failed, and the daemon recovered.
    Recovered { profile: String, fault: Fault },
    /// A gateway is open.
    GatewayOpened { name: String, profile: String, port: u16 },
    /// A gateway is closed.
    GatewayClosed { name: String },
    /// A gateway cannot be opened.
    GatewayFailed { name: String, fault: Fault },
    /// The restricted socket is open, for these profiles.
    Forwarding { socket: String, profiles: Vec<String> },
    /// The restricted socket cannot be opened.
    ForwardFailed(Fault),
    /// The config file was read again.
    Reloaded { profiles: usize },
    /// The config file cannot be used, so the old configuration stays in force.
    ReloadFailed(Fault),
    /// A stale outcome came.
    Stale(Epoch),
    /// The daemon was locked.
    Locked(LockedBy),
    /// It is open again.
    Unlocked,
    /// The daemon stops.
    Stopping,
    /// The daemon ends until it is needed again.
    Idle,
}

/// Who was given something, or refused it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// When, in seconds since 1970.
    pub at: i64,
    /// Who asked.
    pub peer: Peer,
    /// Whose token.
    pub profile: Option<String>,
    /// The server that it is for, if that is not the profile's Rally.
    pub server: Option<String>,
    /// What they got.
    pub verdict: Verdict,
}

/// What whoever asked was answered with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// A token.
    Token,
    /// A static credential.
    StaticCredential,
    /// Nothing, and why.
    Refused(Fault),
}

impl Decision {
    /// As a client is told, with what is known of the program by now.
    pub fn texts(&self) -> BTreeMap<String, String> {
        let Self { at, peer: Peer { pid, uid, program, door, gateway }, profile, server, verdict } = self;
        let (verdict, why, kind) = match verdict {
            Verdict::Token => ("token", None, None),
            Verdict::StaticCredential => ("static_credential", None, None),
            Verdict::Refused(Fault { kind, what, why, remedy: _ }) => {
                let why = why.as_ref().map_or_else(|| what.clone(), |why| format!("{what}: {why}"));
                ("refused", Some(why), Some(kind.name().to_owned()))
            }
        };
        let decision = audit::Decision {
            at: *at,
            verdict: verdict.to_owned(),
            why,
            kind,
            profile: profile.clone(),
            server: server.clone(),
            pid: *pid,
            uid: *uid,
            exe: program.path().map(str::to_owned),
            caller: program.caller().map(str::to_owned),
            gateway: gateway.as_deref().map(str::to_owned),
            forwarded: *door == Door::Forwarded,
        };
        decision.to_texts()
    }
}

/// What happens to a grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GrantStep {
    /// The vault had it.
    Loaded,
    /// A person is asked to sign in.
    FlowBegan,
    /// A person signed in.
    SignedIn,
    /// The sign-in was denied, refused, or not answered.
    FlowEnded,
    /// Rally renewed it.
    Renewed,
    /// A program gave it.
    Fetched,
    /// Rally no longer renews it.
    RenewalRefused,
    /// A caller reported that it does not work, so Rally is asked.
    Suspected,
    /// It does not work, and is given up.
    Erased,
    /// Another daemon on the same keyring has saved a newer one, which is used from now on.
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

impl GrantStep {
    /// Its words, in the log and for the service manager.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Loaded => "found a token in the vault",
            Self::FlowBegan => "began a sign-in",
            Self::SignedIn => "signed in",
            Self::FlowEnded => "a sign-in failed",
            Self::Renewed => "renewed the token",
            Self::Fetched => "got a token from its program",
            Self::RenewalRefused => "the token can no longer be renewed",
            Self::Suspected => "a caller reported that the token does not work, so Rally is asked",
            Self::Erased => "gave up a token that does not work",
            Self::Adopted => "adopted the token that another daemon has saved",
            Self::SignedOutElsewhere => "signed out, since the token is no longer in the keyring",
            Self::SignedOut => "signed out",
            Self::Alerted => "a sign-in is needed, and the user is notified",
            Self::Kept => "the vault keeps it",
            Self::NotKept => "the vault did not keep it, memory does",
        }
    }
}

/// Why the daemon was locked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockedBy {
    /// `rally-cred lock`.
    User,
    /// The user's session was locked.
    Session,
    /// The machine went to sleep.
    Sleep,
    /// Nobody asked for long.
    Idleness,
}

impl LockedBy {
    /// The word for it on the wire and in the log.
    pub const fn name(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Session => "session",
            Self::Sleep => "sleep",
            Self::Idleness => "idle",
        }
    }
}
