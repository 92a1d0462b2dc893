//! The config file of a history: what it says, and how somebody edits it.
//! Does not: decide when a daemon reads it.
//! Used by: `history` and `daemon`.

use std::{collections::BTreeMap, path::PathBuf};

use rally_cred_core::also::{Also, TokenHeader};
use rally_cred_core::profile::{BaseUrl, Config, Keyring, Profile, RedirectUri, SecretSource, StaticHosts};
use rally_cred_proto::{Origin, ProfileName};

use super::Seeded;
use super::cast::{FIRST_PORT, name_of};

/// What it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ConfigFile {
    pub(super) keyring: Keyring,
    pub(super) has_statics: bool,
    profiles: Vec<Lines>,
}

/// What it says of a profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Lines {
    is_there: bool,
    has_other_client: bool,
    has_source: bool,
    names_mcp: bool,
}

/// The Rally of every profile.
pub(super) const RALLY: &str = "https://rally1.rallydev.com";

/// A server beside Rally's own that profiles may name, and the header that it wants.
pub(super) const MCP: &str = "https://mcp.rallydev.com";
const MCP_HEADER: &str = "Authorization: Bearer";

impl ConfigFile {
    pub(super) fn new(chance: &mut Seeded) -> Self {
        let profiles = 1 + chance.below(3);
        let lines =
            |has_source, names_mcp| Lines { is_there: true, has_other_client: false, has_source, names_mcp };
        Self {
            keyring: Keyring::Auto,
            has_statics: !chance.one_in(3),
            profiles: (0..profiles).map(|_| lines(chance.one_in(3), chance.one_in(2))).collect(),
        }
    }

    /// Somebody changes one thing. The first profile stays.
    pub(super) fn edit(&mut self, chance: &mut Seeded) {
        let (number, what) = (chance.index(self.profiles.len()), chance.below(8));
        let Some(lines) = self.profiles.get_mut(number) else { return };
        match what {
            0 | 1 => lines.has_other_client = !lines.has_other_client,
            2 => lines.has_source = !lines.has_source,
            3 | 4 if number > 0 => lines.is_there = !lines.is_there,
            7 => lines.names_mcp = !lines.names_mcp,
            5 => self.has_statics = !self.has_statics,
            6 => {
                self.keyring = match self.keyring {
                    Keyring::Auto if chance.one_in(2) => Keyring::Memory,
                    Keyring::Auto => Keyring::Os,
                    Keyring::Os | Keyring::Memory => Keyring::Auto,
                }
            }
            _ => {}
        }
    }

    /// How many profiles it may have.
    pub(super) fn profiles(&self) -> usize {
        self.profiles.len()
    }

    pub(super) fn has(&self, number: usize) -> bool {
        self.profiles.get(number).is_some_and(|lines| lines.is_there)
    }

    pub(super) fn has_source(&self, number: usize) -> bool {
        self.profiles.get(number).is_some_and(|lines| lines.is_there && lines.has_source)
    }

    /// Whether a profile's token is for the server beside Rally's.
    pub(super) fn names_mcp(&self, number: usize) -> bool {
        self.profiles.get(number).is_some_and(|lines| lines.is_there && lines.names_mcp)
    }

    /// The OAuth client of a profile that it has.
    pub(super) fn client_of(&self, number: usize) -> Option<String> {
        let lines = self.profiles.get(number).filter(|lines| lines.is_there)?;
        Some(format!("client-{number}{}", if lines.has_other_client { "-other" } else { "" }))
    }

    /// Whether both say the same of a profile.
    pub(super) fn is_same_for(&self, other: &Self, number: usize) -> bool {
        self.profiles.get(number) == other.profiles.get(number)
    }

    pub(super) fn config(&self) -> Config {
        let profiles: BTreeMap<_, _> = (0..self.profiles.len())
            .filter_map(|number| Some((name_of(number), self.profile(number)?)))
            .collect();
        let static_hosts = if self.has_statics { StaticHosts::All } else { StaticHosts::default() };
        let (default_profile, keyring) = (name_of(0), self.keyring);
        Config { default_profile, keyring, profiles, static_hosts, ..Config::default() }
    }

    fn profile(&self, number: usize) -> Option<Profile> {
        let callback = format!("http://localhost:{}/callback", FIRST_PORT + number);
        Some(Profile {
            name: ProfileName::parse(&name_of(number))?,
            is_default: number == 0,
            base_url: BaseUrl::parse(RALLY).ok()?,
            client_id: self.client_of(number)?,
            redirect_uri: RedirectUri::parse(&callback).ok()?,
            scope: "alm".to_owned(),
            ca_file: None,
            username: None,
            client_secret_source: self
                .has_source(number)
                .then(|| SecretSource::File(PathBuf::from(name_of(number)))),
            also: match self.names_mcp(number) {
                true => vec![Also {
                    origin: Origin::from_uri(MCP)?,
                    header: TokenHeader::parse(MCP_HEADER).ok()?,
                }],
                false => Vec::new(),
            },
        })
    }
}
