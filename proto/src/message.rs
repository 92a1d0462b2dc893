//! The messages on the socket: one [`Ask`], then any number of [`Event`]s and one [`Reply`].
//! Does not: frame them (see [`crate::frame`]) or give them meaning (the daemon's broker does).
//! Used by: client and daemon. `proto/PROTOCOL.md` shows an example of each; a test parses them all.

mod keyring;
mod request;
mod status;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    Fault, Secret,
    gateway::{GatewayStatus, HoldTurns, NamedGateway, OpenGateway, OpenedGateway, TurnsHeld},
    git::Credential,
    secret::line_breaker,
};
pub use keyring::{Fate, Flaw, FlawedItem, MoveItems, MoveStep, MovedItem, RepairItems, UnlockKeyring};
pub use request::{
    Audit, Forward, Got, Lock, MakeWay, Reload, Request, RevokeGateway, ShowGateway, Stop, Unlock,
};
pub use status::{Confinement, LockStatus, ProfileState, ProfileStatus, Status, VaultStatus};

/// The protocol's own version, sent in every request; it has nothing to do with the version of the programs.
/// It grows only when an older peer would misread a message; new optional fields and new kinds do not change it.
pub const VERSION: u32 = 1;

/// A request as it stands on the wire: the version, then the operation with its fields.
#[derive(Debug, Serialize)]
pub struct Versioned<'a> {
    /// [`VERSION`] of the sender.
    pub v: u32,
    /// The operation.
    #[serde(flatten)]
    pub ask: &'a Ask,
}

/// The part of a request that every version can read: read it first, and the rest only if the version is known.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Preamble {
    /// [`VERSION`] of the sender.
    pub v: u32,
}

/// What a client asks. Unknown fields are ignored.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Ask {
    /// Give a ZSESSIONID, or a static credential: answered by [`Reply::Token`], [`Reply::StaticCredential`],
    /// [`Reply::NoMatch`] or [`Reply::Error`].
    Get(Get),
    /// Keep a static credential: answered by [`Reply::Done`], also where nothing is to be kept.
    Store(Store),
    /// The given token or static credential did not work: answered by [`Reply::Done`], whatever it changed.
    Erase(Erase),
    /// Run a sign-in now: answered by [`Reply::SignedIn`].
    Login(Login),
    /// A redirect address that a person copied out of the browser: answered by [`Reply::Done`] if it belongs to the
    /// pending sign-in.
    Paste(Paste),
    /// Forget tokens: answered by [`Reply::SignedOut`].
    Logout(Logout),
    /// Describe the daemon: answered by an [`Event::Profile`] for each profile, then [`Reply::Status`].
    Status(StatusAsk),
    /// Try what a sign-in needs: answered by an [`Event::Finding`] for each thing tried, then [`Reply::Done`].
    Check(CheckAsk),
    /// Tell what becomes of tokens, until the client leaves: answered by an [`Event::News`] for each change, and by no
    /// result but an error.
    Watch(WatchAsk),
    /// Open a gateway: told of by an [`Event::GatewayOpen`], and answered only when it closes before the client leaves, by
    /// [`Reply::Done`] if it was revoked.
    OpenGateway(OpenGateway),
    /// Show how an open gateway is reached: answered by [`Reply::ShownGateway`].
    ShowGateway(NamedGateway),
    /// Make a gateway's key worthless: answered by [`Reply::Done`]. One of the config file gets another.
    RevokeGateway(NamedGateway),
    /// Take turns at Rally away from the gateways of a profile, for a program that goes there by itself: told of by an
    /// [`Event::TurnsHeld`], and answered only with an error. They come back when the client leaves.
    HoldTurns(HoldTurns),
    /// Open the restricted socket that may be forwarded to another machine: told of by an [`Event::ForwardOpen`], and
    /// answered by no result but an error. It closes when the last such client has left, unless the config file wants it.
    Forward,
    /// Forget what the vault has, and hand out nothing until it is unlocked: answered by [`Reply::Done`] once that is so,
    /// after a notice for each secret that stays in memory since no vault has it.
    Lock,
    /// Ask the vault to open, and hand out again: answered by [`Reply::Done`], also if it is not locked.
    Unlock,
    /// Open the encrypted files by their passphrase: answered by [`Reply::Done`], or by `vault_missing` if there are none,
    /// in which case the passphrase would be a new one.
    UnlockKeyring(UnlockKeyring),
    /// Move what is kept to another place, by one step: answered by an [`Event::Item`] for each item, then [`Reply::Done`].
    MoveItems(MoveItems),
    /// Tell the last decisions about who gets a token: answered by an [`Event::Decision`] for each, the oldest first, then
    /// [`Reply::Done`].
    Audit,
    /// Look for items that are damaged or of no use, or mend those: answered by an [`Event::Flaw`] for each, then
    /// [`Reply::Done`].
    RepairItems(RepairItems),
    /// Read the config file again: answered by [`Reply::Done`], or by an error while the old one stays in force.
    Reload,
    /// Stop: answered by [`Reply::Done`] just before the daemon ends. Every version understands it.
    Stop,
    /// Stop if nobody would miss this process, for another that is newer: answered by [`Reply::Done`] just before the
    /// daemon ends, or by an error that says what it is needed for. Every version understands it of a newer one.
    MakeWay,
    /// One of a newer program.
    #[serde(other)]
    Unknown,
}

impl Ask {
    /// Whether a text in it holds CR, LF or NUL, which no profile, host or user name does; the daemon refuses it then.
    /// Secrets cannot hold one by their type.
    pub fn has_line_breaker(&self) -> bool {
        let has = |text: &String| line_breaker(text.as_bytes()).is_some();
        let breaks = |text: &Option<String>| text.as_ref().is_some_and(has);
        match self {
            Self::Get(Get {
                target,
                interactive: _,
                wait: _,
                min_validity: _,
                takes_authtype: _,
                awaits_sign_in: _,
                awaits_unlock: _,
            })
            | Self::Erase(Erase { target, token: _, credential: _ }) => {
                let Target { profile, protocol, host, path, uri, username } = target;
                [profile, protocol, host, path, uri, username].into_iter().any(breaks)
            }
            Self::Store(Store { protocol, host, path, credential }) => {
                let Credential { username, authtype, .. } = credential;
                [protocol, host].into_iter().any(has) || [path, username, authtype].into_iter().any(breaks)
            }
            Self::Login(Login { profile, client_secret: _, force: _, timeout: _, can_paste: _ })
            | Self::Paste(Paste { profile, redirect: _ })
            | Self::Logout(Logout { profile, all: _, client_secret: _ })
            | Self::Status(StatusAsk { profile, check: _ })
            | Self::Check(CheckAsk { profile })
            | Self::Watch(WatchAsk { profile })
            | Self::HoldTurns(HoldTurns { profile, turns: _ }) => breaks(profile),
            Self::OpenGateway(OpenGateway { profile, tool, via: _, wait: _, way_out, identity: _ }) => {
                breaks(profile) || breaks(&way_out.no_proxy) || has(tool)
            }
            Self::ShowGateway(NamedGateway { name }) | Self::RevokeGateway(NamedGateway { name }) => {
                has(name)
            }
            Self::MoveItems(MoveItems { from, to, step: _ }) => breaks(from) || has(to),
            Self::RepairItems(RepairItems { profile, mend }) => breaks(profile) || mend.iter().any(has),
            Self::UnlockKeyring(UnlockKeyring { passphrase: _, is_new: _ })
            | Self::Forward
            | Self::Audit
            | Self::Lock
            | Self::Unlock
            | Self::Reload
            | Self::Stop
            | Self::MakeWay
            | Self::Unknown => false,
        }
    }
}

/// Which profile a request is about: by name, by the server it is for, by both if both are given, or the default one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// The profile's name. A server named beside it must be that profile's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
    /// git's `protocol`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<String>,
    /// git's `host`, with its port if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// git's `path`, which only static credentials have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// EngFlow's `uri`, in place of protocol and host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uri: Option<String>,
    /// The user name that the profile, or the static credential, must have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
}

impl Target {
    /// Whether it names a server, or a part of one.
    pub fn names_server(&self) -> bool {
        self.uri.is_some() || self.protocol.is_some() || self.host.is_some()
    }
}

/// Fields of [`Ask::Get`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Get {
    /// Whose token.
    #[serde(flatten)]
    pub target: Target,
    /// Whether a person may be asked to sign in. The client opens the browser when it is told to.
    #[serde(default)]
    pub interactive: bool,
    /// Longest time to wait for an answer, in seconds.
    #[serde(default = "Get::default_wait")]
    pub wait: u32,
    /// A token that ends sooner than this many seconds from now is renewed first.
    #[serde(default = "Get::default_min_validity")]
    pub min_validity: u32,
    /// Whether the caller can use a static credential that is no password, but a scheme with what follows it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub takes_authtype: bool,
    /// Whether to wait for a person who signs in some other way, in place of an error that says that somebody has to. The
    /// user is notified that a sign-in is needed. For programs without a person at hand that can wait.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub awaits_sign_in: bool,
    /// Whether to wait, where the keyring is locked, until it is unlocked, in place of an error at once.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub awaits_unlock: bool,
}

impl Get {
    /// Two minutes: time enough to sign in where a browser is at hand, and no build server hangs for long.
    pub const fn default_wait() -> u32 {
        120
    }

    /// One minute, so that a token does not end between the answer and its use.
    pub const fn default_min_validity() -> u32 {
        60
    }
}

impl Default for Get {
    fn default() -> Self {
        Self {
            target: Target::default(),
            interactive: false,
            wait: Self::default_wait(),
            min_validity: Self::default_min_validity(),
            takes_authtype: false,
            awaits_sign_in: false,
            awaits_unlock: false,
        }
    }
}

/// Fields of [`Ask::Store`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Store {
    /// git's `protocol`.
    pub protocol: String,
    /// git's `host`, with its port if there is one.
    pub host: String,
    /// git's `path`, if it gave one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// What is to be kept.
    pub credential: Credential,
}

/// Fields of [`Ask::Erase`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Erase {
    /// Whose token.
    #[serde(flatten)]
    pub target: Target,
    /// The token, or the static credential's password, that did not work. Another one than the daemon holds has no
    /// effect; none at all means the held one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<Secret>,
    /// The same of a static credential without a password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential: Option<Secret>,
}

/// Fields of [`Ask::Login`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Login {
    /// The profile's name; the default profile without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
    /// The OAuth client secret, needed while the vault has none. It is kept once Rally has taken it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_secret: Option<Secret>,
    /// Sign in even if a valid token is held.
    #[serde(default)]
    pub force: bool,
    /// Longest time for the whole sign-in, in seconds.
    #[serde(default = "Login::default_timeout")]
    pub timeout: u32,
    /// Whether this client can take a pasted redirect address, so that a sign-in without a listener makes sense.
    #[serde(default)]
    pub can_paste: bool,
}

impl Login {
    /// Five minutes: a password manager, a second factor and a coffee.
    pub const fn default_timeout() -> u32 {
        300
    }
}

/// Fields of [`Ask::Paste`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Paste {
    /// The profile's name; the default profile without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
    /// The whole address, with the code in it.
    pub redirect: Secret,
}

/// Fields of [`Ask::Logout`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Logout {
    /// The profile's name; the default profile without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
    /// Every profile.
    #[serde(default)]
    pub all: bool,
    /// Forget the client secret too.
    #[serde(default)]
    pub client_secret: bool,
}

/// Fields of [`Ask::Status`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusAsk {
    /// The profile's name; all profiles without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
    /// Ask Rally whether it takes the token.
    #[serde(default)]
    pub check: bool,
}

/// Fields of [`Ask::Check`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckAsk {
    /// The profile's name; all profiles without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
}

/// Fields of [`Ask::Watch`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WatchAsk {
    /// The profile's name; all profiles without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
}

/// What the daemon sends. On the wire, the two kinds differ by nothing but their names.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(untagged, from = "Message")]
pub enum Answer {
    /// Something on the way to the result.
    Event(Event),
    /// The result, after which nothing follows.
    Reply(Reply),
}

/// Declares events and results, each as a type of its own, and the one list of both that a message is read by.
macro_rules! answers {
    (
        $(#[$on_event:meta])* Event { $($(#[$about_event:meta])* $event:ident($fields:ty),)* }
        $(#[$on_reply:meta])* Reply { $($(#[$about_reply:meta])* $reply:ident $(($of:ident: $result:ty))?,)* }
    ) => {
        $(#[$on_event])*
        #[derive(Clone, Debug, Serialize)]
        #[serde(tag = "type", rename_all = "snake_case")]
        #[non_exhaustive]
        pub enum Event {
            $($(#[$about_event])* $event($fields),)*
            /// One of a newer daemon: it is passed over.
            Unknown,
        }

        $(#[$on_reply])*
        #[derive(Clone, Debug, Serialize)]
        #[serde(tag = "type", rename_all = "snake_case")]
        #[non_exhaustive]
        pub enum Reply {
            $($(#[$about_reply])* $reply $(($result))?,)*
        }

        #[derive(Deserialize)]
        #[serde(tag = "type", rename_all = "snake_case")]
        enum Message {
            $($event($fields),)*
            $($reply $(($result))?,)*
            #[serde(other)]
            Unknown,
        }

        impl From<Message> for Answer {
            fn from(sent: Message) -> Self {
                match sent {
                    $(Message::$event(of) => Self::Event(Event::$event(of)),)*
                    $(Message::$reply $(($of))? => Self::Reply(Reply::$reply $(($of))?),)*
                    Message::Unknown => Self::Event(Event::Unknown),
                }
            }
        }
    };
}

answers! {
    /// Something on the way to the result. Unknown fields are ignored.
    Event {
        /// A person has to press "Allow Access" at this address.
        Authorize(Authorize),
        /// The answer takes a while.
        Waiting(Waiting),
        /// Something to tell the person, after which the request goes on.
        Notice(Fault),
        /// Of a status: one profile. Each has a frame of its own, so that their number has no limit.
        Profile(Box<ProfileStatus>),
        /// Of a check: one thing that was tried.
        Finding(Finding),
        /// Of a watch: what became of a profile's token.
        News(News),
        /// Of a status: one gateway.
        Gateway(Box<GatewayStatus>),
        /// Of a move: one item.
        Item(MovedItem),
        /// Of a repair: one item.
        Flaw(FlawedItem),
        /// The gateway that was asked for is open, until the request ends.
        GatewayOpen(Box<OpenedGateway>),
        /// The turns that were asked for are held, until the request ends.
        TurnsHeld(TurnsHeld),
        /// The restricted socket is open.
        ForwardOpen(ForwardOpen),
        /// Of an audit: one decision, which [`crate::audit::Decision::of_texts`] reads.
        Decision(BTreeMap<String, String>),
    }
    /// What ends a request. Unknown fields are ignored.
    Reply {
        /// To a get.
        Token(of: Token),
        /// To a get for a server of static credentials.
        StaticCredential(of: Box<StaticCredential>),
        /// To a get for which there is neither a profile nor a static credential. A notice before it says why a static
        /// credential could not be looked for.
        NoMatch,
        /// To a login.
        SignedIn(of: SignedIn),
        /// To a logout.
        SignedOut(of: SignedOut),
        /// To a status.
        Status(of: Box<Status>),
        /// To a question how a gateway is reached.
        ShownGateway(of: Box<OpenedGateway>),
        /// To what has nothing more to say.
        Done,
        /// It failed.
        Error(of: Fault),
    }
}

/// Fields of [`Event::ForwardOpen`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForwardOpen {
    /// The path of the restricted socket.
    pub socket: String,
    /// The profiles whose tokens it gives.
    pub profiles: Vec<String>,
}

/// Fields of [`Event::Authorize`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Authorize {
    /// The profile that signs in.
    pub profile: String,
    /// The authorization URL, fully encoded: what a person is shown. It holds the state, so other users should not see
    /// it before Rally does.
    pub url: String,
    /// A one-time address of the daemon's that leads to the same page: what a browser is started with, since other users
    /// can read its arguments. `None` if `open` is not set, or no browser could reach it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<String>,
    /// Whether this client opens the browser. Of all that wait for one sign-in, only one is told so, and each `login`.
    pub open: bool,
    /// Seconds until the sign-in ends unanswered.
    pub timeout: u32,
}

/// Fields of [`Event::Waiting`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiting {
    /// The profile in question.
    pub profile: String,
    /// What the daemon waits for.
    pub on: WaitingOn,
}

/// What a request waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum WaitingOn {
    /// The keyring, perhaps for a person who unlocks it.
    Keyring,
    /// A person who unlocks the keyring, which has said that it is locked.
    KeyringUnlock,
    /// Rally's answer to a renewal.
    Renewal,
    /// Rally's answer to an authorization code.
    Exchange,
    /// The user, who has locked the daemon or had it locked.
    Unlock,
    /// The user, who is asked whether this program may have the token.
    Consent,
    /// Something that a newer daemon knows.
    #[serde(other)]
    Other,
}

/// Fields of [`Event::Finding`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// What was tried.
    pub check: Tried,
    /// The profile that it was tried for; absent for what all share.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
    /// What was found, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// What is the matter with it; absent if it works.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<Fault>,
}

/// What a check tries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Tried {
    /// The vault, with an item that is written, read and deleted.
    Vault,
    /// The port that the browser comes back to.
    RedirectPort,
    /// The program that gives the profile's tokens.
    TokenCommand,
    /// Whether Rally answers, and this address is allowed.
    Rally,
    /// Whether the connection to Rally is trusted.
    Tls,
    /// This machine's clock, against Rally's.
    Clock,
    /// Something that a newer daemon knows.
    #[serde(other)]
    Other,
}

/// Fields of [`Event::News`]. It holds no token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct News {
    /// Whose token.
    pub profile: String,
    /// What became of it.
    pub what: Became,
    /// When it ends, in seconds since 1970, where Rally said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<i64>,
    /// Why a person is needed, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<Fault>,
}

/// What became of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Became {
    /// It was found: in the keyring, or held already when the watch began.
    Held,
    /// Somebody has signed in.
    Obtained,
    /// It is a new one without a sign-in.
    Renewed,
    /// Its time is over, or somebody has signed out.
    Ended,
    /// Rally does not take it any more.
    Refused,
    /// There is none, and nothing that could renew one: a person has to sign in.
    SignInNeeded,
    /// Something that a newer daemon knows.
    #[serde(other)]
    Other,
}

/// Fields of [`Reply::Token`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Token {
    /// The profile that it belongs to.
    pub profile: String,
    /// Rally's address in the profile, as an origin. The token is for this server unless `also` names another.
    pub base_url: String,
    /// The Rally user, while known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// The ZSESSIONID.
    pub token: Secret,
    /// When it ends, in seconds since 1970, where Rally said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<i64>,
    /// The server that was asked for, if it is not `base_url` but one that the profile's token is for as well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub also: Option<Also>,
}

impl Token {
    /// The one server that it may be sent to, as an origin.
    pub fn server(&self) -> &str {
        self.also.as_ref().map_or(&self.base_url, |also| &also.origin)
    }
}

/// A server beside Rally's own that takes a profile's token, and how.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Also {
    /// The server, as an origin.
    pub origin: String,
    /// The name of the header in which it takes the token.
    pub header: String,
    /// The authentication scheme that stands before the token in that header, with a space between.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheme: Option<String>,
}

/// Fields of [`Reply::StaticCredential`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StaticCredential {
    /// The protocol that it is for.
    pub protocol: String,
    /// The host that it is for, with its port if there is one.
    pub host: String,
    /// The credential.
    pub credential: Credential,
}

/// Fields of [`Reply::SignedIn`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedIn {
    /// The profile that signed in.
    pub profile: String,
    /// The Rally user, while known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// When the token ends, in seconds since 1970, where Rally said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<i64>,
    /// Whether a valid token was held already, so that nobody was asked.
    pub already: bool,
    /// Whether the vault keeps it. If not, a notice has said why.
    pub kept: bool,
}

/// Fields of [`Reply::SignedOut`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedOut {
    /// The profiles whose tokens are forgotten.
    pub profiles: Vec<String>,
    /// Pages where their grants can be revoked, since Rally has no known endpoint for that.
    pub revoke_at: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extra_fields_and_unknown_events_of_a_newer_peer_are_ignored() {
        let ask: Ask = serde_json::from_str(r#"{"v":1,"op":"get","profile":"work","colour":"red"}"#).unwrap();
        assert!(
            matches!(ask, Ask::Get(get) if get.target.profile.as_deref() == Some("work") && get.wait == 120)
        );
        let answer: Answer = serde_json::from_str(r#"{"type":"of_tomorrow","x":[1]}"#).unwrap();
        assert!(matches!(answer, Answer::Event(Event::Unknown)));
    }

    #[test]
    fn no_message_prints_a_secret() {
        let canary = || Secret::parse("canary".to_owned()).unwrap();
        let erase = Ask::Erase(Erase {
            target: Target::default(),
            token: Some(canary()),
            credential: Some(canary()),
        });
        let login = Ask::Login(Login {
            profile: None,
            client_secret: Some(canary()),
            force: false,
            timeout: 1,
            can_paste: false,
        });
        let paste = Ask::Paste(Paste { profile: None, redirect: canary() });
        let token = Reply::Token(Token {
            profile: String::new(),
            base_url: String::new(),
            username: None,
            token: canary(),
            expires_at: None,
            also: None,
        });
        let shown = format!("{erase:?} {login:?} {paste:?} {token:?}");
        assert!(!shown.contains("canary"), "{shown}");
    }
}
