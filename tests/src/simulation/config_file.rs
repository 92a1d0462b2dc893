//! The config file of a history: what it says, and how somebody edits it.
//! Does not: decide when a daemon reads it.
//! Used by: `history` and `daemon`.

use std::{collections::BTreeMap, path::PathBuf};

use rally_cred_core::also::{Also, TokenHeader};
use rally_cred_core::profile::{
    BaseUrl, CommandLine, Config, Gate, GatewaySettings, Keyring, LockSettings, Profile, RedirectUri,
    SecretSource, StaticHosts,
};
use rally_cred_proto::{Origin, ProfileName};

use super::Seeded;
use super::cast::{FIRST_PORT, name_of};

/// What it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ConfigFile {
    pub(super) keyring: Keyring,
    pub(super) has_statics: bool,
    pub(super) locks_with_session: bool,
    profiles: Vec<Lines>,
    gateways: Vec<GatewayLines>,
}

/// What it says of a profile.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Lines {
    pub(super) is_there: bool,
    has_other_client: bool,
    pub(super) has_source: bool,
    /// Whether a program gives its tokens.
    pub(super) has_command: bool,
    /// Whether its token is for the server beside Rally's.
    pub(super) names_mcp: bool,
    /// Whether its user is asked about programs that are new.
    pub(super) confirms: bool,
}

/// What it says of a gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct GatewayLines {
    is_there: bool,
    has_port: bool,
    profile: usize,
}

/// The first port that the config file gives to a gateway.
const FIRST_PORT_OF_GATEWAYS: u16 = 30_000;

/// The Rally of every profile.
pub(super) const RALLY: &str = "https://rally1.rallydev.com";

/// A server beside Rally's own that profiles may name, and the header that it wants.
pub(super) const MCP: &str = "https://mcp.rallydev.com";
const MCP_HEADER: &str = "Authorization: Bearer";

impl ConfigFile {
    /// With gateways or without: those of two daemons on one machine are in each other's way for as long as both live.
    pub(super) fn new(chance: &mut Seeded, daemons: usize) -> Self {
        let profiles = 1 + chance.below(3);
        let has_gateways = chance.one_in(if daemons == 1 { 2 } else { 8 });
        let gateway = |chance: &mut Seeded| GatewayLines {
            is_there: chance.one_in(2),
            has_port: chance.one_in(2),
            profile: chance.index(usize::try_from(profiles).unwrap_or(1)),
        };
        let gateways = (0..if has_gateways { 2 } else { 0 }).map(|_| gateway(chance)).collect();
        let lines = |chance: &mut Seeded| Lines {
            is_there: true,
            has_source: chance.one_in(3),
            names_mcp: chance.one_in(2),
            has_command: chance.one_in(6),
            confirms: !has_gateways && chance.one_in(4),
            ..Lines::default()
        };
        Self {
            keyring: Keyring::Auto,
            has_statics: !chance.one_in(3),
            locks_with_session: chance.one_in(3),
            profiles: (0..profiles).map(|_| lines(chance)).collect(),
            gateways,
        }
    }

    /// Somebody changes one thing. The first profile stays.
    pub(super) fn edit(&mut self, chance: &mut Seeded) {
        let (number, what) = (chance.index(self.profiles.len()), chance.below(10));
        if let (8 | 9, Some(lines)) = (what, self.gateways.get_mut(chance.index(2))) {
            match chance.below(4) {
                0 | 1 => lines.is_there = !lines.is_there,
                2 => lines.has_port = !lines.has_port,
                _ => lines.profile = number,
            }
            return;
        }
        let Some(lines) = self.profiles.get_mut(number) else { return };
        match what {
            0 | 1 => lines.has_other_client = !lines.has_other_client,
            2 => lines.has_source = !lines.has_source,
            3 if number == 0 => lines.has_command = !lines.has_command,
            3 | 4 if number > 0 => lines.is_there = !lines.is_there,
            7 if self.gateways.is_empty() && chance.one_in(2) => lines.confirms = !lines.confirms,
            7 => lines.names_mcp = !lines.names_mcp,
            5 => self.has_statics = !self.has_statics,
            6 => {
                self.keyring = match self.keyring {
                    Keyring::Auto if chance.one_in(2) => Keyring::Memory,
                    Keyring::Auto => Keyring::Os,
                    _ => Keyring::Auto,
                }
            }
            _ => {}
        }
    }

    /// How many profiles it may have.
    pub(super) fn profiles(&self) -> usize {
        self.profiles.len()
    }

    /// What it says of a profile; nothing if that is not there.
    pub(super) fn of(&self, number: usize) -> Lines {
        self.profiles.get(number).copied().filter(|lines| lines.is_there).unwrap_or_default()
    }

    /// Whether the user of any profile is asked about programs that are new. Gateways have none such, whose tools are promised to be served together.
    pub(super) fn has_confirming(&self) -> bool {
        self.profiles.iter().any(|lines| lines.is_there && lines.confirms)
    }

    /// The OAuth client of a profile that it has, or what stands for it where a program gives the tokens.
    pub(super) fn client_of(&self, number: usize) -> Option<String> {
        let lines = self.of(number);
        if lines.has_command {
            return Some(client_of_command(number));
        }
        lines
            .is_there
            .then(|| format!("client-{number}{}", if lines.has_other_client { "-other" } else { "" }))
    }

    /// Whether a history of it is one of gateways.
    pub(super) fn may_have_gateways(&self) -> bool {
        !self.gateways.is_empty()
    }

    /// Whether it has this gateway for this profile, at this port if it is open.
    pub(super) fn has_gateway(&self, name: &str, profile: usize, port: Option<u16>) -> bool {
        let wanted = self.wanted_gateways().find(|(own, _)| own == name);
        wanted.is_some_and(|(_, settings)| {
            let is_at_port = port.is_none_or(|port| settings.port.is_none_or(|own| own == port));
            settings.profile == name_of(profile) && is_at_port
        })
    }

    /// Each of its gateways, if its profile is there.
    pub(super) fn wanted_gateways(&self) -> impl Iterator<Item = (String, GatewaySettings)> {
        let is_wanted = |lines: &GatewayLines| lines.is_there && self.of(lines.profile).is_there;
        (0_u16..).zip(&self.gateways).filter(move |(_, lines)| is_wanted(lines)).map(|(number, lines)| {
            let port = lines.has_port.then(|| FIRST_PORT_OF_GATEWAYS + number);
            (format!("g{number}"), GatewaySettings { port, ..GatewaySettings::new(name_of(lines.profile)) })
        })
    }

    /// Whether both say the same of a profile.
    pub(super) fn is_same_for(&self, other: &Self, number: usize) -> bool {
        self.profile(number) == other.profile(number)
    }

    pub(super) fn config(&self) -> Config {
        let profiles: BTreeMap<_, _> = (0..self.profiles.len())
            .filter_map(|number| Some((name_of(number), self.profile(number)?)))
            .collect();
        let static_hosts = if self.has_statics { StaticHosts::All } else { StaticHosts::default() };
        let (default_profile, keyring) = (name_of(0), self.keyring.clone());
        let gateways = self.wanted_gateways().collect();
        let lock = LockSettings { on_session: self.locks_with_session, ..LockSettings::default() };
        Config { default_profile, keyring, profiles, static_hosts, gateways, lock, ..Config::default() }
    }

    fn profile(&self, number: usize) -> Option<Profile> {
        let lines = self.of(number);
        let callback = format!("http://localhost:{}/callback", FIRST_PORT + number);
        let profile = Profile::new(
            ProfileName::parse(&name_of(number))?,
            BaseUrl::parse(RALLY).ok()?,
            self.client_of(number)?,
            RedirectUri::parse(&callback).ok()?,
        );
        let command = CommandLine { program: PathBuf::from(name_of(number)), arguments: Vec::new() };
        Some(Profile {
            is_default: number == 0,
            token_command: lines.has_command.then_some(command),
            client_secret_source: lines
                .has_source
                .then(|| SecretSource::File(PathBuf::from(name_of(number)))),
            also: match lines.names_mcp {
                true => vec![Also {
                    origin: Origin::from_uri(MCP)?,
                    header: TokenHeader::parse(MCP_HEADER).ok()?,
                }],
                false => Vec::new(),
            },
            gate: Gate { confirms_new: lines.confirms, allow: None },
            ..profile
        })
    }
}

/// The client to whom Rally gives the tokens that a profile's program has.
pub(super) fn client_of_command(number: usize) -> String {
    format!("command-{number}")
}
