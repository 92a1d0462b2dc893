//! The configuration, in types that cannot hold an unusable value.
//! Does not: read the file (`config` does).
//! Used by: the broker and every shell that talks to Rally.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use rally_cred_proto::{
    Origin, ProfileName,
    gateway::{OpenGateway, Way},
    remedy::Command,
};

pub mod kv2;
mod urls;

use crate::also::{Also, TokenHeader};
use crate::time::Ticks;
use kv2::Kv2;

pub use urls::{BadUrl, BaseUrl, ListenAt, RedirectUri};

/// The whole configuration. The default, with no profile, holds without a config file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// The profile served when none is named.
    pub default_profile: String,
    /// Where tokens are kept.
    pub keyring: Keyring,
    /// What opens encrypted files, if tokens are kept there or are to be moved there.
    pub file_key: FileKey,
    /// The profiles by name.
    pub profiles: BTreeMap<String, Profile>,
    /// The servers for which this is a plain credential store.
    pub static_hosts: StaticHosts,
    /// How the user is notified that a sign-in is needed.
    pub notify: Notify,
    /// When the daemon locks by itself.
    pub lock: LockSettings,
    /// The gateways that are open at all times, by name.
    pub gateways: BTreeMap<String, GatewaySettings>,
    /// The profiles that may be forwarded to another machine. If given, the socket for that is open at all times.
    pub forward: Option<Vec<String>>,
}

/// When the daemon locks by itself; by default, never.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LockSettings {
    /// When a session of the user is locked.
    pub on_session: bool,
    /// When the machine goes to sleep.
    pub on_sleep: bool,
    /// When nobody has asked for this long.
    pub idle: Option<Ticks>,
}

/// What a gateway is for, and whom it lets in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GatewaySettings {
    /// The profile whose token it adds.
    pub profile: String,
    /// Its port on 127.0.0.1. Without one, the system chooses it once.
    pub port: Option<u16>,
    /// The only way by which it may be reached; without it, all.
    pub via: Option<Way>,
    /// What the paths begin with that it passes on.
    pub paths: Vec<String>,
    /// How long requests wait for a sign-in.
    pub wait: Ticks,
}

impl GatewaySettings {
    /// What a gateway is that nothing more is said of.
    pub fn new(profile: String) -> Self {
        Self {
            profile,
            port: None,
            via: None,
            paths: RALLY_PATHS.map(str::to_owned).to_vec(),
            wait: Ticks::seconds(u64::from(OpenGateway::default_wait())),
        }
    }
}

/// Where Rally's programming interfaces are.
const RALLY_PATHS: [&str; 3] = ["/slm/", "/analytics/", "/apps/"];

/// How the user is notified that a sign-in is needed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Notify {
    /// By a desktop notification.
    #[default]
    Desktop,
    /// By this program, which finds the details in its environment.
    Command(CommandLine),
    /// Not at all.
    Off,
}

impl Config {
    /// One that has this profile alone.
    pub fn of_one(profile: Profile) -> Self {
        let profile = Profile { is_default: true, ..profile };
        Self {
            default_profile: profile.name.to_string(),
            profiles: [(profile.name.to_string(), profile)].into(),
            ..Self::default()
        }
    }

    /// Lets every profile without a source of its own take its client secret from this file.
    pub fn use_client_secret_file(&mut self, file: &std::path::Path) {
        for profile in self.profiles.values_mut() {
            profile.client_secret_source.get_or_insert_with(|| SecretSource::File(file.to_owned()));
        }
    }
}

/// The servers that static credentials are kept for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StaticHosts {
    /// These, which may be none.
    Listed(Vec<Origin>),
    /// Every server.
    All,
}

impl Default for StaticHosts {
    fn default() -> Self {
        Self::Listed(Vec::new())
    }
}

impl StaticHosts {
    /// Whether git's protocol and host name one of them.
    pub fn cover(&self, protocol: &str, host: &str) -> bool {
        match self {
            Self::Listed(origins) => {
                Origin::from_git(protocol, host).is_some_and(|origin| origins.contains(&origin))
            }
            Self::All => true,
        }
    }

    /// Their names, `*` for all.
    pub fn names(&self) -> Vec<String> {
        match self {
            Self::Listed(origins) => origins.iter().map(Origin::to_string).collect(),
            Self::All => vec!["*".to_owned()],
        }
    }
}

/// Where tokens and client secrets are kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Keyring {
    /// The OS keyring; where none answers, memory, with a warning.
    #[default]
    Auto,
    /// The OS keyring; where none answers, an error.
    Os,
    /// Memory: signed in until the daemon stops.
    Memory,
    /// The Linux kernel's keyring of this user: signed in until the machine restarts.
    Keyutils,
    /// Encrypted files.
    File(FileKey),
    /// A program that speaks the protocol of docker-credential-helpers.
    Helper(HelperName),
    /// KV version 2 over HTTP, which many daemons share.
    Kv2(Arc<Kv2>),
}

/// What opens the encrypted files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum FileKey {
    /// A passphrase, which a person enters once in the life of a daemon.
    #[default]
    Passphrase,
    /// The bytes of this file.
    File(PathBuf),
}

impl Keyring {
    /// Reads the config file's value; `None` if there is no such place. `key`: what opens encrypted files.
    pub fn parse(text: &str, key: &FileKey) -> Option<Self> {
        match text {
            "auto" => Some(Self::Auto),
            "os" => Some(Self::Os),
            "memory" => Some(Self::Memory),
            "keyutils" => Some(Self::Keyutils),
            "file" => Some(Self::File(key.clone())),
            _ => text.strip_prefix("helper:").and_then(HelperName::parse).map(Self::Helper),
        }
    }

    /// The value in the config file.
    pub fn name(&self) -> String {
        match self {
            Self::Auto => "auto".to_owned(),
            Self::Os => "os".to_owned(),
            Self::Memory => "memory".to_owned(),
            Self::Keyutils => "keyutils".to_owned(),
            Self::File(_) => "file".to_owned(),
            Self::Helper(name) => format!("helper:{}", name.0),
            Self::Kv2(_) => "kv2".to_owned(),
        }
    }

    /// Whether both name the same place.
    pub fn is_same_place(&self, other: &Self) -> bool {
        self == other || self.is_os() && other.is_os()
    }

    fn is_os(&self) -> bool {
        matches!(self, Self::Auto | Self::Os)
    }

    /// Whether the system says when the place is unlocked or comes, if it is watched for that: a Secret Service does.
    pub fn can_be_watched(&self) -> bool {
        cfg!(target_os = "linux") && self.is_os()
    }

    /// Whether [`crate::event::Event::VaultUnlocked`] comes once the place is unlocked.
    pub fn says_when_unlocked(&self) -> bool {
        self.can_be_watched() || self.is_opened_by_a_person()
    }

    /// Whether the place is the daemon's own memory, which no other daemon sees and no restart survives.
    pub fn is_memory(&self) -> bool {
        *self == Self::Memory
    }

    /// Whether a new daemon would need a person before it can read what this one keeps.
    pub fn is_opened_by_a_person(&self) -> bool {
        *self == Self::File(FileKey::Passphrase)
    }

    /// Whether other machines' daemons renew what is kept there, so that each renewal takes a lease.
    pub fn is_shared(&self) -> bool {
        matches!(self, Self::Kv2(kv2) if !kv2.is_read_only)
    }

    /// Whether this daemon may only read what others put there.
    pub fn is_read_only(&self) -> bool {
        matches!(self, Self::Kv2(kv2) if kv2.is_read_only)
    }

    /// Whether a sign-in is done only once the place keeps its token.
    pub fn must_keep(&self) -> bool {
        !matches!(self, Self::Auto | Self::Memory)
    }
}

/// What follows `docker-credential-` in a helper's name: a name of a program, so that no path and no option can stand
/// there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HelperName(Arc<str>);

impl HelperName {
    /// Letters, digits, `-` and `_`, beginning with none of the last two, and at most 64 of them.
    pub fn parse(text: &str) -> Option<Self> {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        let begins_well = text.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
        (begins_well && text.len() <= 64 && text.bytes().all(is_plain)).then(|| Self(text.into()))
    }

    /// The program, which is looked for in `PATH`.
    pub fn program(&self) -> String {
        format!("docker-credential-{}", self.0)
    }
}

/// A sign-in to Rally as the config file describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    /// Its name in the config file.
    pub name: ProfileName,
    /// Whether it is the one served when none is named.
    pub is_default: bool,
    /// Rally's address.
    pub base_url: BaseUrl,
    /// The program that gives its tokens. Nobody signs in then: the OAuth client is not used, and nothing is kept.
    pub token_command: Option<CommandLine>,
    /// The OAuth client's public identifier.
    pub client_id: String,
    /// The callback URL, exactly as registered.
    pub redirect_uri: RedirectUri,
    /// The OAuth scope, `alm` unless configured.
    pub scope: String,
    /// A PEM file with further certificate authorities.
    pub ca_file: Option<PathBuf>,
    /// The Rally user that this profile is for, if configured.
    pub username: Option<String>,
    /// The source of the client secret while the vault has none.
    pub client_secret_source: Option<SecretSource>,
    /// The servers beside Rally's own that its token is for.
    pub also: Vec<Also>,
    /// Which programs are given its tokens.
    pub gate: Gate,
}

/// Which programs are given a profile's tokens; by default, any. Each of the two can only refuse.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Gate {
    /// Only these: whole paths, and gateways as `gateway NAME`.
    pub allow: Option<Vec<String>>,
    /// Whether the user is asked about a program that they have said nothing of yet.
    pub confirms_new: bool,
}

impl Gate {
    /// Whether any program is given them.
    pub fn is_open(&self) -> bool {
        *self == Self::default()
    }
}

/// A program, by its name or whole path, with its arguments, which no shell reads.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names of the fields say it")]
pub struct CommandLine {
    pub program: PathBuf,
    pub arguments: Vec<String>,
}

/// A source of the client secret outside the vault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretSource {
    /// What a program prints.
    Command(CommandLine),
    /// The first line of a file.
    File(PathBuf),
}

/// The only scope in Rally's documentation.
const DEFAULT_SCOPE: &str = "alm";

impl Profile {
    /// One of which nothing more is said.
    pub fn new(name: ProfileName, base_url: BaseUrl, client_id: String, redirect_uri: RedirectUri) -> Self {
        Self {
            name,
            is_default: false,
            base_url,
            token_command: None,
            client_id,
            redirect_uri,
            scope: DEFAULT_SCOPE.to_owned(),
            ca_file: None,
            username: None,
            client_secret_source: None,
            also: Vec::new(),
            gate: Gate::default(),
        }
    }

    /// A command for this profile, such as `rally-cred login work`.
    pub fn command(&self, verb: &str) -> Command {
        Command::of_profile(verb, &self.name, self.is_default)
    }

    /// The header in which a server wants this profile's token; `None` if the token is not for that server.
    pub fn header_for(&self, server: &Origin) -> Option<&TokenHeader> {
        if server == self.base_url.origin() {
            return Some(&TokenHeader::RALLYS);
        }
        self.also.iter().find(|also| also.origin == *server).map(|also| &also.header)
    }

    /// The further servers whose tunnels end at a gateway: a tunnel is for https.
    pub fn also_through_gateways(&self) -> impl Iterator<Item = &Also> {
        self.also.iter().filter(|also| also.origin.is_https())
    }

    /// Whether a token for one is good for the other: both come from the same server, client or command, and scope.
    pub fn shapes_same_token(&self, other: &Self) -> bool {
        self.base_url == other.base_url
            && self.token_command == other.token_command
            && self.client_id == other.client_id
            && self.scope == other.scope
    }
}
