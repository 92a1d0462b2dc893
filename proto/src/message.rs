//! The messages on the socket: one [`Ask`], then any number of [`Event`]s and one [`Reply`].
//! Does not: frame them (see [`crate::frame`]) or give them meaning (the daemon's broker does).
//! Used by: client and daemon. `proto/PROTOCOL.md` shows an example of each; a test parses them all.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    Fault, FaultKind, Secret,
    gateway::{GatewayStatus, HoldTurns, NamedGateway, OpenGateway, OpenedGateway, TurnsHeld},
    git::Credential,
    secret::line_breaker,
};

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
        let breaks =
            |text: &Option<String>| text.as_ref().is_some_and(|text| line_breaker(text.as_bytes()).is_some());
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
                [protocol, host].into_iter().any(|text| line_breaker(text.as_bytes()).is_some())
                    || [path, username, authtype].into_iter().any(breaks)
            }
            Self::Login(Login { profile, client_secret: _, force: _, timeout: _, can_paste: _ })
            | Self::Paste(Paste { profile, redirect: _ })
            | Self::Logout(Logout { profile, all: _, client_secret: _ })
            | Self::Status(StatusAsk { profile, check: _ })
            | Self::Check(CheckAsk { profile })
            | Self::Watch(WatchAsk { profile })
            | Self::HoldTurns(HoldTurns { profile, turns: _ }) => breaks(profile),
            Self::OpenGateway(OpenGateway { profile, tool, via: _, wait: _, way_out, identity: _ }) => {
                breaks(profile) || breaks(&way_out.no_proxy) || line_breaker(tool.as_bytes()).is_some()
            }
            Self::ShowGateway(NamedGateway { name }) | Self::RevokeGateway(NamedGateway { name }) => {
                line_breaker(name.as_bytes()).is_some()
            }
            Self::MoveItems(MoveItems { from, to, step: _ }) => {
                breaks(from) || line_breaker(to.as_bytes()).is_some()
            }
            Self::RepairItems(RepairItems { profile, mend }) => {
                breaks(profile) || mend.iter().any(|item| line_breaker(item.as_bytes()).is_some())
            }
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

/// Fields of [`Ask::UnlockKeyring`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct UnlockKeyring {
    /// The passphrase.
    pub passphrase: Secret,
    /// Make the encrypted files with it, if there are none.
    #[serde(default)]
    pub is_new: bool,
}

/// Fields of [`Ask::MoveItems`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MoveItems {
    /// The place to move from, as `keyring` names it in the config file; the configured one without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// The place to move to.
    pub to: String,
    /// What to do.
    pub step: MoveStep,
}

/// One step of a move. Each can be repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum MoveStep {
    /// Look only.
    Plan,
    /// Write to the new place what it lacks, and read it back.
    Copy,
    /// Delete from the old place what the new one has. The new one must be in use.
    Delete,
}

/// Fields of [`Event::Item`]. It holds nothing secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MovedItem {
    /// What it is, and whose, such as `token:work`.
    pub item: String,
    /// What becomes of it, or would.
    pub fate: Fate,
}

/// What becomes of an item that is moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Fate {
    /// The new place lacks it, so it is written there.
    New,
    /// The new place has it already.
    Same,
    /// The new place has an older one, which is replaced.
    Replaced,
    /// The new place, which is in use, has another one, which stays.
    Newer,
    /// The new place has one that a later version of rally-cred wrote. Both stay.
    OfLaterVersion,
    /// It is deleted from the old place.
    Deleted,
    /// It stays in the old place, since the new one does not have it.
    Left,
    /// Something that a newer daemon knows.
    #[serde(other)]
    Other,
}

/// Fields of [`Ask::RepairItems`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RepairItems {
    /// The profile whose items are meant, which the config file need not name; all items without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
    /// The items to mend, of those that a look has found; none to look only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mend: Vec<String>,
}

/// Fields of [`Event::Flaw`]. It holds nothing secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlawedItem {
    /// What it is, and whose, such as `token:work`; or the name of a file.
    pub item: String,
    /// What is wrong with it.
    pub flaw: Flaw,
    /// Where it is moved to; it is deleted without that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aside: Option<String>,
    /// Whether that is done.
    #[serde(default)]
    pub mended: bool,
}

/// What is wrong with an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Flaw {
    /// It is not what rally-cred wrote, or cannot be read though others can.
    Damaged,
    /// The config file names no profile, server or gateway that it could be for.
    Orphaned,
    /// There are several of it. The newest is kept.
    Doubled,
    /// A write or a check left it that was interrupted.
    Leftover,
    /// A later version wrote it. It is never mended.
    OfLaterVersion,
    /// Something that a newer daemon knows.
    #[serde(other)]
    Other,
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

/// A request whose result is known by its type.
pub trait Request: Into<Ask> {
    /// What it is answered with if it does not fail.
    type Done;

    /// Takes the result out of a reply; `None` if that is one to another kind of request.
    fn read(reply: Reply) -> Option<Self::Done>;

    /// The same, with a fault in place of `None`.
    fn result(reply: Reply) -> Result<Self::Done, Fault> {
        Self::read(reply).ok_or_else(|| {
            Fault::new(FaultKind::Failed, "the daemon answered something else than was asked")
                .run("rally-cred daemon restart")
        })
    }
}

/// What a [`Get`] is answered with.
#[derive(Clone, Debug)]
pub enum Got {
    /// A ZSESSIONID.
    Token(Token),
    /// A static credential. It is boxed, since it is the largest, and a token is what most ask for.
    StaticCredential(Box<StaticCredential>),
    /// Neither a profile nor a static credential is for the server.
    NoMatch,
}

/// Fields of [`Event::ForwardOpen`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForwardOpen {
    /// The path of the restricted socket.
    pub socket: String,
    /// The profiles whose tokens it gives.
    pub profiles: Vec<String>,
}

/// [`Ask::Forward`] as a request.
#[derive(Clone, Copy, Debug)]
pub struct Forward;

/// [`Ask::Audit`] as a request.
#[derive(Clone, Copy, Debug)]
pub struct Audit;

/// [`Ask::Lock`] as a request.
#[derive(Clone, Copy, Debug)]
pub struct Lock;

/// [`Ask::Unlock`] as a request.
#[derive(Clone, Copy, Debug)]
pub struct Unlock;

/// [`Ask::Reload`] as a request.
#[derive(Clone, Copy, Debug)]
pub struct Reload;

/// [`Ask::Stop`] as a request.
#[derive(Clone, Copy, Debug)]
pub struct Stop;

/// [`Ask::MakeWay`] as a request.
#[derive(Clone, Copy, Debug)]
pub struct MakeWay;

/// [`Ask::ShowGateway`] as a request.
#[derive(Clone, Debug)]
pub struct ShowGateway(pub NamedGateway);

/// [`Ask::RevokeGateway`] as a request.
#[derive(Clone, Debug)]
pub struct RevokeGateway(pub NamedGateway);

/// Declares what each request is sent as, and which replies are its result.
macro_rules! requests {
    ($($request:ident as $ask:expr => $done:ty { $($reply:pat => $result:expr),* })*) => {
        $(
            impl From<$request> for Ask {
                fn from(request: $request) -> Self {
                    $ask(request)
                }
            }

            impl Request for $request {
                type Done = $done;

                fn read(reply: Reply) -> Option<Self::Done> {
                    match reply {
                        $($reply => Some($result),)*
                        _ => None,
                    }
                }
            }
        )*
    };
}

requests! {
    Get as Self::Get => Got {
        Reply::Token(token) => Got::Token(token),
        Reply::StaticCredential(credential) => Got::StaticCredential(credential),
        Reply::NoMatch => Got::NoMatch
    }
    Store as Self::Store => () { Reply::Done => () }
    Erase as Self::Erase => () { Reply::Done => () }
    Login as Self::Login => SignedIn { Reply::SignedIn(signed_in) => signed_in }
    Paste as Self::Paste => () { Reply::Done => () }
    Logout as Self::Logout => SignedOut { Reply::SignedOut(signed_out) => signed_out }
    StatusAsk as Self::Status => Box<Status> { Reply::Status(status) => status }
    CheckAsk as Self::Check => () { Reply::Done => () }
    WatchAsk as Self::Watch => () { Reply::Done => () }
    OpenGateway as Self::OpenGateway => () { Reply::Done => () }
    ShowGateway as |ShowGateway(name)| Self::ShowGateway(name) => Box<OpenedGateway> {
        Reply::ShownGateway(shown) => shown
    }
    RevokeGateway as |RevokeGateway(name)| Self::RevokeGateway(name) => () { Reply::Done => () }
    HoldTurns as Self::HoldTurns => () { Reply::Done => () }
    Forward as |Forward| Self::Forward => () { Reply::Done => () }
    Audit as |Audit| Self::Audit => () { Reply::Done => () }
    Lock as |Lock| Self::Lock => () { Reply::Done => () }
    Unlock as |Unlock| Self::Unlock => () { Reply::Done => () }
    UnlockKeyring as Self::UnlockKeyring => () { Reply::Done => () }
    MoveItems as Self::MoveItems => () { Reply::Done => () }
    RepairItems as Self::RepairItems => () { Reply::Done => () }
    Reload as |Reload| Self::Reload => () { Reply::Done => () }
    Stop as |Stop| Self::Stop => () { Reply::Done => () }
    MakeWay as |MakeWay| Self::MakeWay => () { Reply::Done => () }
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

/// Fields of [`Reply::Status`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The daemon's release, for people.
    pub release: String,
    /// The daemon's process.
    pub pid: u32,
    /// The config file.
    pub config: String,
    /// Where tokens are kept.
    pub vault: VaultStatus,
    /// The servers that static credentials are kept for; `*` stands for every one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub static_hosts: Vec<String>,
    /// The variables by which the daemon finds its proxy and the authorities that it trusts (see [`crate::network`]),
    /// without a proxy's user name and password. A daemon that does not tell is older.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<BTreeMap<String, String>>,
    /// Whether the daemon is locked, and hands out nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub locked: Option<LockStatus>,
    /// What the daemon has given up since it started. One that does not tell is older, or its system knows no such thing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confinement: Option<Confinement>,
    /// The profiles whose tokens the forwarded socket gives, while it is open.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub forwards: Vec<String>,
    /// The machine that this daemon runs on, where the question came by the forwarded socket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forwarded_by: Option<String>,
}

/// Since when the daemon is locked, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockStatus {
    /// In seconds since 1970.
    pub since: i64,
    /// `user`, `session`, `sleep` or `idle`.
    pub by: String,
}

/// What a daemon can no longer do, even by a fault of its own. The programs that it starts are not confined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confinement {
    /// Write elsewhere than beside its socket and in its state folder, by Landlock.
    pub files: bool,
    /// Make the system calls that it does not need, by seccomp.
    pub system_calls: bool,
    /// Gain privileges by running a program.
    pub privileges: bool,
}

/// Where tokens are kept, and whether that works.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VaultStatus {
    /// `auto`, `os` or another value of `keyring`, as configured.
    pub kind: String,
    /// Whether a token that is saved now outlives the daemon; absent while nobody has tried.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keeps: Option<bool>,
    /// What is the matter with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<Fault>,
    /// Of `auto`: the other places that this machine has, as the values of `keyring`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub others: Vec<String>,
}

/// One profile as it stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProfileStatus {
    /// Its name.
    pub profile: String,
    /// Whether it is the one served when none is named.
    pub default: bool,
    /// The server.
    pub base_url: String,
    /// What it is doing.
    pub state: ProfileState,
    /// Whether a `get` would be answered now, without anybody's help.
    pub ready: bool,
    /// The Rally user, while known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// When the token was given, in seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub obtained_at: Option<i64>,
    /// When it ends, in seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<i64>,
    /// When it will be renewed ahead of time, in seconds since 1970; absent while nobody uses it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub renews_at: Option<i64>,
    /// Whether it can be renewed without a person.
    pub renewable: bool,
    /// Whether the vault keeps it.
    pub kept: bool,
    /// Callers that wait for it.
    pub waiting: u32,
    /// Turns at Rally that programs hold which go there by themselves; absent if none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_turns: Option<u8>,
    /// What `--check` found: whether Rally takes the token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checked: Option<bool>,
    /// The last thing that went wrong, until it works again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<Fault>,
}

/// What a profile is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ProfileState {
    /// The vault has not been asked yet.
    Unread,
    /// The vault is being asked.
    Loading,
    /// No token.
    SignedOut,
    /// A person is being asked to sign in.
    SigningIn,
    /// Rally is being asked to turn a code into a token.
    Exchanging,
    /// Rally is being asked to renew the token.
    Renewing,
    /// A token is held.
    SignedIn,
    /// A state that a newer daemon knows.
    #[serde(other)]
    Other,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::remedy::Command;

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
    fn a_reply_to_another_kind_of_request_is_a_fault_with_a_remedy() {
        assert_eq!(Stop::result(Reply::Done), Ok(()));
        for outcome in [
            Login::result(Reply::Done).map(drop),
            Get::result(Reply::Done).map(drop),
            Stop::result(Reply::NoMatch),
        ] {
            let fault = outcome.unwrap_err();
            assert_eq!(
                (fault.kind, fault.remedy),
                (FaultKind::Failed, Some(Command::new("rally-cred daemon restart").into()))
            );
        }
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
