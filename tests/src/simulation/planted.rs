//! Bugs to plant between the broker and its world, one for each promise, to see that the simulation finds them.
//! Does not: touch the broker itself, so that no build of it holds them.
//! Used by: `history`, where it passes events in and effects out, and the suite, which counts the seeds until each is found.

use rally_cred_core::{answer::RawAnswer, dice::Dice, time::Ticks};

use super::Seeded;

/// A bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Planted {
    /// The life of a token is taken for ten times what Rally said.
    LongLives,
    /// An erase is answered and not heard.
    DeafToErase,
    /// Every result is sent twice.
    AnswersTwice,
    /// Deadlines pass unnoticed.
    NeverWakes,
    /// Every listener is opened twice.
    TwoFlows,
    /// Every token request is sent twice.
    TwoTokenRequests,
    /// The vault says that it took a record, and did not.
    SwallowedSave,
    /// A save that was given up ends late, in place of a newer one.
    LateSaveWins,
    /// A change that is meant for what the item was believed to hold is made whatever it holds.
    BlindChange,
    /// The life of a token is taken for a second.
    ShortLives,
    /// The jitter of every pause is zero.
    NoBackoff,
    /// Rally's answers do not reach the broker.
    NoAnswers,
    /// A reload is answered and changes nothing.
    DeafToReload,
    /// A config file that cannot be used is taken for an empty one.
    BadFileIsEmpty,
    /// A stop is begun, and the end never comes.
    NeverEnds,
    /// A stop ends the daemon at once.
    EndsInHaste,
    /// A daemon that nobody needs lives on.
    NeverIdle,
    /// A daemon takes every deadline for a sign that nobody needs it.
    IdleInHaste,
    /// The vault says that it took a static credential, and did not.
    SwallowedStore,
    /// An erase of a static credential is answered and not heard.
    DeafToStaticErase,
    /// The vault gives what it holds for another server.
    OtherServer,
    /// A client secret from a source is put into the vault.
    KeptSource,
    /// A token that a program gave is put into the vault.
    KeptToken,
    /// Every source of a client secret is asked twice.
    TwoFetches,
    /// Every program that gives tokens is run twice.
    TwoPrograms,
    /// The port of a server is not compared.
    AnyPort,
    /// A gateway that is to be closed stays open.
    NeverCloses,
    /// A revocation is answered and not heard.
    DeafToRevocation,
    /// The vault says that it took a gateway's identity, or erased it, and did not.
    SwallowedIdentity,
    /// The vault has lost the identity of a gateway that it gives.
    LosesIdentity,
    /// The identity that a command's client brings back gets lost.
    StrangeCommand,
    /// Every gateway is opened twice.
    TwoGateways,
    /// A port is given to a gateway though another has it.
    SharedPort,
    /// A gateway asks for the token of another profile.
    OtherProfile,
    /// Of several requests of gateways that wait for one token, the first is answered.
    ServesOne,
    /// That Rally refused a token is answered to a gateway, and not heard.
    DeafToRefusal,
    /// No watcher hears of a new token.
    UnheardToken,
    /// No watcher hears of an end.
    UnheardEnd,
    /// No watcher hears that a person is needed.
    UnheardNeed,
    /// A lock is answered and not heard.
    DeafToLock,
    /// What a locked daemon saves gets lost.
    LossyLock,
    /// Whatever the user says to a program is taken for a yes.
    DeafToDenial,
    /// What comes by the forwarded socket is taken for what comes by the own one.
    OneDoor,
    /// That the vault was unlocked is not heard.
    DeafToUnlock,
    /// What the vault did not take is put to it again without pause.
    RestlessSaves,
    /// That the network is another is not heard.
    DeafToNetwork,
    /// Nothing that happens ends a loan of a token.
    DeafLoans,
    /// A loan does not end by itself.
    LongLoans,
    /// A token that was asked for before something changed is lent after it.
    LateLoans,
    /// The broker hears of one turn, however many a program holds.
    OneTurn,
    /// That a program is gone which held turns is not heard.
    KeptTurns,
}

impl Planted {
    /// Every bug, with the promise that it breaks.
    pub const ALL: &[(Self, &str)] = &[
        (Self::LongLives, "no expired token is ever answered"),
        (Self::DeafToErase, "no erased token is ever answered"),
        (Self::AnswersTwice, "every caller gets exactly one answer"),
        (Self::NeverWakes, "every caller gets its answer by its deadline"),
        (Self::TwoFlows, "at most one flow per profile at a time"),
        (Self::TwoTokenRequests, "at most one token request per profile at a time"),
        (Self::SwallowedSave, "a refresh token that Rally honours is never lost while the vault works"),
        (Self::LateSaveWins, "a late save does not stay in place of a newer one"),
        (Self::BlindChange, "no daemon puts a dead refresh token in place of another's living one"),
        (Self::ShortLives, "no token is renewed that is good for longer than anybody asked"),
        (Self::NoBackoff, "attempts that fail become rarer"),
        (Self::NoAnswers, "once faults stop, every profile serves again"),
        (Self::DeafToReload, "after a reload, no token of a profile's old OAuth client is answered"),
        (Self::BadFileIsEmpty, "a reload leaves alone what it does not change"),
        (Self::NeverEnds, "a stop ends the daemon in time"),
        (Self::EndsInHaste, "a stop answers everybody, and leaves nothing on its way to the vault"),
        (Self::NeverIdle, "a daemon that nobody needs ends"),
        (
            Self::IdleInHaste,
            "nobody waits for a daemon that ends for want of work, and nothing is lost with it",
        ),
        (Self::SwallowedStore, "a static credential that is said to be stored is in the keyring"),
        (Self::DeafToStaticErase, "no static credential is answered that was erased"),
        (Self::OtherServer, "a static credential is answered to its own server and user only"),
        (Self::KeptSource, "no client secret from a source is kept"),
        (Self::KeptToken, "no token from a program is kept"),
        (Self::TwoPrograms, "a profile's program is run once at a time"),
        (
            Self::AnyPort,
            "a token is answered for a server of its profile only, with the header that it wants",
        ),
        (Self::TwoFetches, "at most one question to a profile's source at a time"),
        (Self::NeverCloses, "no gateway is open that neither the config file nor a client has"),
        (Self::DeafToRevocation, "a revoked key lets nobody in"),
        (Self::SwallowedIdentity, "a key is revoked once the keyring has it no more"),
        (Self::LosesIdentity, "a gateway of the config file has its key and port again after a restart"),
        (Self::StrangeCommand, "a command's gateway is the same to it after a restart"),
        (Self::TwoGateways, "under one name there is one gateway at a time"),
        (Self::SharedPort, "two gateways never have one port"),
        (Self::OtherProfile, "a gateway lends the token of its own profile"),
        (Self::ServesOne, "one renewal serves all who wait"),
        (Self::DeafToRefusal, "a token that a gateway found refused is never lent again"),
        (Self::UnheardToken, "no caller gets a token that a watcher of its profile did not hear of"),
        (Self::UnheardEnd, "a watcher hears of the end of a token"),
        (Self::UnheardNeed, "a watcher hears that a person is needed"),
        (Self::DeafToLock, "a locked daemon hands out nothing"),
        (Self::LossyLock, "nothing that is to be saved is lost by a lock"),
        (
            Self::DeafToDenial,
            "no token goes to a program that the user has not let have it, where the profile asks for that",
        ),
        (
            Self::OneDoor,
            "another machine gets tokens and status of the profiles that are forwarded, and begins nothing",
        ),
        (Self::DeafToUnlock, "whoever waits for a locked vault is served once it is unlocked"),
        (Self::RestlessSaves, "what the vault does not take is put to it ever more rarely"),
        (
            Self::DeafToNetwork,
            "once the network is another, a renewal that failed for want of one is tried again",
        ),
        (Self::DeafLoans, "no gateway sends a token that was reported, signed out or locked"),
        (Self::LongLoans, "no gateway sends a token past its end, or for over a second without a question"),
        (Self::LateLoans, "what a gateway asked for before something changed is sent once"),
        (Self::OneTurn, "programs leave a turn of each profile to its gateways"),
        (Self::KeptTurns, "turns are free again when whoever held them is gone"),
    ];
}

/// The broker's dice, which a bug may take the jitter from.
#[derive(Debug)]
pub(super) struct BrokerDice {
    pub(super) chance: Seeded,
    pub(super) has_jitter: bool,
}

impl Dice for BrokerDice {
    fn roll(&mut self) -> u64 {
        self.chance.roll()
    }

    fn up_to(&mut self, most: Ticks) -> Ticks {
        let rolled = self.roll() % most.0.saturating_add(1).max(1);
        Ticks(if self.has_jitter { rolled } else { 0 })
    }
}

/// The same answer with another life.
pub(super) fn with_life(raw: RawAnswer, change: impl FnOnce(u64) -> u64) -> RawAnswer {
    let RawAnswer::Arrived { status, retry_after, body, sent } = raw else { return raw };
    let mut answer: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
    if let Some(life) = answer.get_mut("expires_in") {
        *life = change(life.as_u64().unwrap_or(0)).into();
    }
    let body = if answer.is_null() { body } else { zeroize::Zeroizing::new(answer.to_string().into_bytes()) };
    RawAnswer::Arrived { status, retry_after, body, sent }
}
