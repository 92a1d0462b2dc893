//! Bugs to plant between the broker and its world, one for each promise, to see that the simulation finds them.
//! Does not: touch the broker itself, so that no build of it holds them.
//! Used by: `history`, where it passes events in and effects out, and the suite, which counts the seeds until each is found.

use rally_cred_core::{answer::RawAnswer, dice::Dice, time::Ticks};

use super::Seeded;

/// An enum of bugs, each with the promise that it breaks.
macro_rules! bugs {
    ($(#[$about:meta])* $name:ident { $($(#[$what:meta])* $bug:ident: $promise:expr,)* }) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name { $($(#[$what])* $bug,)* }

        impl $name {
            /// Every bug, with the promise that it breaks.
            pub const ALL: &[(Self, &str)] = &[$((Self::$bug, $promise),)*];
        }
    };
}
pub(super) use bugs;

bugs! {
    /// A bug.
    Planted {
        /// The life of a token is taken for ten times what Rally said.
        LongLives: "no expired token is ever answered",
        /// An erase is answered and not heard.
        DeafToErase: "no erased token is ever answered",
        /// Every result is sent twice.
        AnswersTwice: "every caller gets exactly one answer",
        /// Deadlines pass unnoticed.
        NeverWakes: "every caller gets its answer by its deadline",
        /// Every listener is opened twice.
        TwoFlows: "at most one flow per profile at a time",
        /// Every token request is sent twice.
        TwoTokenRequests: "at most one token request per profile at a time",
        /// The vault says that it took a record, and did not.
        SwallowedSave: "a refresh token that Rally honours is never lost while the vault works",
        /// A save that was given up ends late, in place of a newer one.
        LateSaveWins: "a late save does not stay in place of a newer one",
        /// A change that is meant for what the item was believed to hold is made whatever it holds.
        BlindChange: "no daemon puts a dead refresh token in place of another's living one",
        /// The life of a token is taken for a second.
        ShortLives: "no token is renewed that is good for longer than anybody asked",
        /// The jitter of every pause is zero.
        NoBackoff: "attempts that fail become rarer",
        /// Rally's answers do not reach the broker.
        NoAnswers: "once faults stop, every profile serves again",
        /// A reload is answered and changes nothing.
        DeafToReload: "after a reload, no token of a profile's old OAuth client is answered",
        /// A config file that cannot be used is taken for an empty one.
        BadFileIsEmpty: "a reload leaves alone what it does not change",
        /// A stop is begun, and the end never comes.
        NeverEnds: "a stop ends the daemon in time",
        /// A stop ends the daemon at once.
        EndsInHaste: "a stop answers everybody, and leaves nothing on its way to the vault",
        /// A daemon that nobody needs lives on.
        NeverIdle: "a daemon that nobody needs ends",
        /// A daemon takes every deadline for a sign that nobody needs it.
        IdleInHaste: "nobody waits for a daemon that ends for want of work, and nothing is lost with it",
        /// The vault says that it took a static credential, and did not.
        SwallowedStore: "a static credential that is said to be stored is in the keyring",
        /// An erase of a static credential is answered and not heard.
        DeafToStaticErase: "no static credential is answered that was erased",
        /// The vault gives what it holds for another server.
        OtherServer: "a static credential is answered to its own server and user only",
        /// A client secret from a source is put into the vault.
        KeptSource: "no client secret from a source is kept",
        /// A token that a program gave is put into the vault.
        KeptToken: "no token from a program is kept",
        /// Every source of a client secret is asked twice.
        TwoFetches: "at most one question to a profile's source at a time",
        /// Every program that gives tokens is run twice.
        TwoPrograms: "a profile's program is run once at a time",
        /// The port of a server is not compared.
        AnyPort: "a token is answered for a server of its profile only, with the header that it wants",
        /// A gateway that is to be closed stays open.
        NeverCloses: "no gateway is open that neither the config file nor a client has",
        /// A revocation is answered and not heard.
        DeafToRevocation: "a revoked key lets nobody in",
        /// The vault says that it took a gateway's identity, or erased it, and did not.
        SwallowedIdentity: "a key is revoked once the keyring has it no more",
        /// The vault has lost the identity of a gateway that it gives.
        LosesIdentity: "a gateway of the config file has its key and port again after a restart",
        /// The identity that a command's client brings back gets lost.
        StrangeCommand: "a command's gateway is the same to it after a restart",
        /// Every gateway is opened twice.
        TwoGateways: "under one name there is one gateway at a time",
        /// A port is given to a gateway though another has it.
        SharedPort: "two gateways never have one port",
        /// A gateway asks for the token of another profile.
        OtherProfile: "a gateway lends the token of its own profile",
        /// Of several requests of gateways that wait for one token, the first is answered.
        ServesOne: "one renewal serves all who wait",
        /// That Rally refused a token is answered to a gateway, and not heard.
        DeafToRefusal: "a token that a gateway found refused is never lent again",
        /// No watcher hears of a new token.
        UnheardToken: "no caller gets a token that a watcher of its profile did not hear of",
        /// No watcher hears of an end.
        UnheardEnd: "a watcher hears of the end of a token",
        /// No watcher hears that a person is needed.
        UnheardNeed: "a watcher hears that a person is needed",
        /// A lock is answered and not heard.
        DeafToLock: "a locked daemon hands out nothing",
        /// What a locked daemon saves gets lost.
        LossyLock: "nothing that is to be saved is lost by a lock",
        /// Whatever the user says to a program is taken for a yes.
        DeafToDenial: "no token goes to a program that the user has not let have it, where the profile asks for that",
        /// What comes by the forwarded socket is taken for what comes by the own one.
        OneDoor: "another machine gets tokens and status of the profiles that are forwarded, and begins nothing",
        /// That the vault was unlocked is not heard.
        DeafToUnlock: "whoever waits for a locked vault is served once it is unlocked",
        /// What the vault did not take is put to it again without pause.
        RestlessSaves: "what the vault does not take is put to it ever more rarely",
        /// That the network is another is not heard.
        DeafToNetwork: "once the network is another, a renewal that failed for want of one is tried again",
        /// Nothing that happens ends a loan of a token.
        DeafLoans: "no gateway sends a token that was reported, signed out or locked",
        /// A loan does not end by itself.
        LongLoans: "no gateway sends a token past its end, or for over a second without a question",
        /// A token that was asked for before something changed is lent after it.
        LateLoans: "what a gateway asked for before something changed is sent once",
        /// The broker hears of one turn, however many a program holds.
        OneTurn: "programs leave a turn of each profile to its gateways",
        /// That a program is gone which held turns is not heard.
        KeptTurns: "turns are free again when whoever held them is gone",
    }
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
