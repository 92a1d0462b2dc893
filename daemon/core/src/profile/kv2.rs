//! A vault that many daemons share: KV version 2 over HTTP, as OpenBao and HashiCorp Vault speak it.
//! Does not: read the config file (`config` does) or send a request (the shell `vault` does).
//! Used by: the profile's types, and these two.

use std::path::PathBuf;

use rally_cred_proto::{Fault, FaultKind};

use super::{BaseUrl, SecretSource};

/// Where the vault is, and how this daemon may use it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kv2 {
    /// The server.
    pub address: Address,
    /// The mount of the secrets engine.
    pub mount: String,
    /// The folder of the items below it.
    pub path: String,
    /// The namespace, where the server has several.
    pub namespace: Option<String>,
    /// Where the server's token is; none where a proxy of the server on this machine adds it.
    pub token: Option<ServerToken>,
    /// A PEM file with further certificate authorities.
    pub ca_file: Option<PathBuf>,
    /// Whether this daemon may only read the items for readers.
    pub is_read_only: bool,
    /// Whether this daemon also writes items for readers, which hold the access token and nothing to renew it by.
    pub has_reader_items: bool,
}

impl Kv2 {
    /// One of which nothing more is said.
    pub fn new(address: Address) -> Self {
        Self {
            address,
            mount: "secret".to_owned(),
            path: "rally-cred".to_owned(),
            namespace: None,
            token: None,
            ca_file: None,
            is_read_only: false,
            has_reader_items: false,
        }
    }
}

/// The server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// By its URL.
    Url(BaseUrl),
    /// By the Unix socket of its proxy on this machine.
    Socket(PathBuf),
}

impl Address {
    /// The address as the config file has it.
    pub fn name(&self) -> String {
        match self {
            Self::Url(url) => url.origin().to_string(),
            Self::Socket(path) => format!("unix:{}", path.display()),
        }
    }
}

/// Where the server's token is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerToken {
    /// In a variable of the daemon's environment.
    Variable(String),
    /// In a file, or printed by a program.
    Source(SecretSource),
}

/// Why the server did not do what it was asked. The texts are plain and hold nothing secret.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names of the fields say it")]
pub enum ServerTrouble {
    /// No connection, a broken one, or none that can be trusted.
    Unreachable { address: String, why: String },
    /// The server is sealed.
    Sealed,
    /// The server takes neither this token nor an anonymous request for this path.
    Denied { path: String, has_token: bool },
    /// There is no token to send.
    NoToken(String),
    /// There is no such mount.
    NoMount(String),
    /// What is mounted there is not KV version 2.
    NotVersion2(String),
    /// The server names another one.
    Redirects,
    /// The item holds what rally-cred did not write.
    Damaged(String),
    /// Other daemons changed the item again and again.
    Busy,
    /// Anything else.
    Answered { status: u16, why: String },
}

impl ServerTrouble {
    /// The fault for people.
    pub fn fault(&self) -> Fault {
        let failed = |what: &str| Fault::new(FaultKind::VaultFailed, what);
        match self {
            Self::Unreachable { address, why } => failed(&format!(
                "the vault at {address} cannot be reached"
            ))
            .why(why)
            .remedy(
                "check `address` and `ca_file` in [kv2]; a token that is still good is given out meanwhile",
            ),
            Self::Sealed => Fault::new(FaultKind::VaultLocked, "the vault's server is sealed")
                .why("it gives nothing out before it is unsealed")
                .remedy("have whoever runs the server unseal it"),
            Self::Denied { path, has_token: true } => {
                failed("the vault's server refuses the daemon's token for it")
                    .why(format!("the token has ended, or its policy does not allow {path}"))
                    .remedy("renew the token where [kv2] names it, or extend its policy")
            }
            Self::Denied { path, has_token: false } => {
                failed("the vault's server wants a token").why(format!("it was asked for {path}")).remedy(
                    "name one by `token_file`, `token_command`, `token_credential` or `token_env` in [kv2]",
                )
            }
            Self::NoToken(why) => failed("there is no token for the vault's server")
                .why(why)
                .remedy("see what [kv2] in the config file says of the token"),
            Self::NoMount(mount) => failed(&format!("the vault's server has no mount `{mount}`")).remedy(
                "correct `mount` in [kv2], or have the engine enabled: bao secrets enable -version=2 kv",
            ),
            Self::NotVersion2(mount) => failed(&format!("the mount `{mount}` is not KV version 2"))
                .why("version 1 cannot tell daemons apart that write at the same time")
                .remedy("name a mount of version 2 in [kv2]"),
            Self::Redirects => failed("the vault's server names another server")
                .why("rally-cred follows no redirect with a secret")
                .remedy("let `address` in [kv2] name the active node, or a balancer before it"),
            Self::Damaged(path) => failed(&format!("the vault's item {path} is damaged"))
                .why("it holds something that rally-cred did not write")
                .remedy("let `path` in [kv2] name a folder of rally-cred's own"),
            Self::Busy => failed("other daemons keep changing the item").run("rally-cred status"),
            Self::Answered { status, why } => {
                failed(&format!("the vault's server answered {status}")).why(why).run("rally-cred doctor")
            }
        }
    }
}
