//! One daemon of a history: its broker, its way to the keyring, what is on its way to it, and what it has promised.
//! Does not: decide what happens.
//! Used by: `history`, in which one or two of them share a keyring and a Rally.

use std::collections::BTreeMap;

use rally_cred_core::time::{Tick, Ticks};
use rally_cred_core::{
    Broker,
    answer::TokenForm,
    event::{AskId, Consent, Epoch, GatewayPlan, Program},
    profile::Keyring,
    vault::Change,
};
use rally_cred_proto::Secret;

use super::vault::{Bugs, Items, SimVault, Wrote};
use super::{
    Planted, Seeded, cast::broker, config_file::ConfigFile, lending::Lending, planted::BrokerDice,
    promises::Promises, rally::Mood, turns::Turns, watchers::Watchers,
};

/// An outcome on its way to the broker.
#[derive(Debug)]
pub(super) enum Coming {
    Listening,
    Answered {
        profile: usize,
        form: TokenForm,
        client_id: String,
        client_secret: String,
        mood: Mood,
    },
    LookedUp {
        mood: Mood,
        token: String,
    },
    Fetched {
        profile: usize,
    },
    TokenFetched {
        profile: usize,
    },
    ConfigRead,
    /// It is found out which program asks.
    Identified(Program),
    /// The user answers whether this program may have tokens of this profile.
    Consented {
        profile: usize,
        program: String,
        consent: Option<Consent>,
    },
    GatewayOpens(Box<GatewayPlan>),
    /// What the broker gave reaches a gateway.
    Lends(AskId),
    /// A request is over for whoever asked.
    Leaves(AskId),
    /// Whoever watches the vault has looked at it for the first time.
    Watches,
}

/// A daemon.
pub(super) struct Daemon {
    pub(super) broker: Broker,
    pub(super) dice: BrokerDice,
    pub(super) vault: SimVault,
    /// Ways to keyrings that the config file has named before, and that still have calls under way.
    left_vaults: Vec<SimVault>,
    pub(super) outcomes: Vec<(Tick, Epoch, Coming)>,
    /// The token requests that Rally has answered.
    pub(super) answered: Vec<Epoch>,
    pub(super) promises: Promises,
    /// Whether it hears when the keyring is unlocked.
    pub(super) watches_vault: bool,
    /// The writes of tokens, client secrets and gateways that are under way.
    pub(super) saves: BTreeMap<Epoch, Change>,
    /// Whether it hears when the network is another.
    pub(super) watches_network: bool,
    pub(super) watchers: Watchers,
    pub(super) lending: Lending,
    pub(super) turns: Turns,
    /// By gateway: the newest question to the keyring.
    pub(super) gateway_reads: BTreeMap<String, Epoch>,
    /// The profile that each request for a token names.
    pub(super) asked_of: BTreeMap<AskId, usize>,
    /// What it has read in the config file.
    pub(super) config: ConfigFile,
    /// After how long it ends that nobody needs; `None` where nobody would start it again.
    pub(super) idle_exit: Option<Ticks>,
    /// How often it was started again.
    pub(super) life: usize,
    /// How often it has ended so.
    pub(super) idle_ends: usize,
    /// Whether it has given out a token in its life, and so renews that ahead of its end.
    pub(super) has_served: bool,
    /// Whether the broker dropped an outcome since this was last reset.
    pub(super) was_stale: bool,
    /// What each of its callers holds, to give it back by `erase`.
    pub(super) tokens: Vec<(usize, String)>,
    /// The token that it got last for a profile, unless somebody has reported it since.
    pub(super) fresh: BTreeMap<usize, String>,
    bugs: Bugs,
}

impl Daemon {
    pub(super) fn new(
        seed: u64,
        planted: Option<Planted>,
        config: &ConfigFile,
        idle_exit: Option<Ticks>,
    ) -> Self {
        let bugs = Bugs {
            is_late_write_blind: planted == Some(Planted::LateSaveWins),
            is_change_blind: planted == Some(Planted::BlindChange),
        };
        Self {
            broker: broker(config, idle_exit),
            dice: BrokerDice {
                chance: Seeded::new(seed ^ 0xd1ce),
                has_jitter: planted != Some(Planted::NoBackoff),
            },
            vault: SimVault::open(&config.keyring, bugs),
            left_vaults: Vec::new(),
            outcomes: Vec::new(),
            answered: Vec::new(),
            promises: Promises::default(),
            watches_vault: false,
            saves: BTreeMap::new(),
            watches_network: false,
            watchers: Watchers::default(),
            lending: Lending::default(),
            turns: Turns::default(),
            gateway_reads: BTreeMap::new(),
            asked_of: BTreeMap::new(),
            config: config.clone(),
            idle_exit,
            life: 0,
            idle_ends: 0,
            has_served: false,
            was_stale: false,
            tokens: Vec::new(),
            fresh: BTreeMap::new(),
            bugs,
        }
    }

    /// It ends, in whatever way, and is started again with what the config file says now.
    pub(super) fn start_again(
        &mut self,
        chance: &mut Seeded,
        items: &mut Items,
        config: &ConfigFile,
    ) -> Vec<Wrote> {
        let vaults = self.left_vaults.iter_mut().chain([&mut self.vault]);
        let wrote = vaults.filter_map(|vault| vault.abandon(chance, items)).collect();
        self.life += 1;
        self.left_vaults.clear();
        self.has_served = false;
        self.outcomes.clear();
        self.answered.clear();
        self.promises.ended();
        (self.watches_vault, self.watches_network) = (false, false);
        self.watchers.ended();
        self.lending = Lending::default();
        self.turns = Turns::default();
        self.saves.clear();
        self.gateway_reads.clear();
        self.asked_of.clear();
        self.fresh.clear();
        self.config = config.clone();
        self.vault = SimVault::open(&config.keyring, self.bugs);
        self.broker = broker(config, self.idle_exit);
        wrote
    }

    /// It uses another keyring from now on; calls that are under way go on.
    pub(super) fn open_vault(&mut self, keyring: &Keyring) {
        let is_memory = keyring.is_memory();
        if !is_memory && !self.vault.is_memory() {
            return;
        }
        // The way to the keyring is the same all the time, but memory is new.
        let known = self.left_vaults.iter().position(|vault| !is_memory && !vault.is_memory());
        let vault = known.map(|at| self.left_vaults.swap_remove(at));
        let vault = vault.unwrap_or_else(|| SimVault::open(keyring, self.bugs));
        self.left_vaults.push(std::mem::replace(&mut self.vault, vault));
        self.left_vaults.retain(|vault| !vault.is_memory() || vault.next_at().is_some());
    }

    /// The vault that has something to say by this tick.
    pub(super) fn due_vault(&mut self, now: Tick) -> Option<&mut SimVault> {
        let mut vaults = self.left_vaults.iter_mut().chain([&mut self.vault]);
        vaults.find(|vault| vault.next_at().is_some_and(|at| at <= now))
    }

    /// When something is due that nobody has to ask for.
    pub(super) fn next_at(&self) -> Option<Tick> {
        let outcomes = self.outcomes.iter().map(|(at, ..)| *at);
        let vaults = self.left_vaults.iter().chain([&self.vault]).filter_map(SimVault::next_at);
        outcomes.chain(vaults).min()
    }
}

/// The field of a record.
pub(super) fn field(record: &Secret, name: &str) -> Option<String> {
    let record: serde_json::Value = serde_json::from_str(record.expose()).ok()?;
    Some(record.get(name)?.as_str()?.to_owned())
}
