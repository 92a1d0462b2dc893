//! What client and daemon say to each other about gateways: loopback proxies that put a live ZSESSIONID in the place of a
//! local key.
//! Does not: know what a gateway does with a request.
//! Used by: `message`, of whose variants these are the fields.

use serde::{Deserialize, Serialize};

use crate::{Fault, Secret};

/// A way by which a tool reaches a gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    /// `http://127.0.0.1:PORT` in the place of Rally's address.
    Http,
    /// `https://localhost:PORT` in its place, trusted by the gateway's own authority.
    Https,
    /// The gateway is the tool's proxy (HTTPS_PROXY), and answers for Rally's address itself.
    Connect,
}

impl Way {
    /// Every way.
    pub const ALL: [Self; 3] = [Self::Http, Self::Https, Self::Connect];

    /// Its name on the wire, in the config file and on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
            Self::Connect => "connect",
        }
    }
}

/// Fields of [`crate::Ask::OpenGateway`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct OpenGateway {
    /// The profile's name; the default profile without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
    /// The program that it is for, as people know it.
    pub tool: String,
    /// The only way by which it may be reached; without it, all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub via: Option<Way>,
    /// How long the tool's requests wait for a sign-in, in seconds.
    #[serde(default = "OpenGateway::default_wait")]
    pub wait: u32,
    /// How the tool would have gone out itself.
    #[serde(flatten)]
    pub way_out: WayOut,
    /// What [`OpenedGateway::identity`] said, from a client that comes back: the gateway then has the same port, key and
    /// authority.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<Secret>,
}

impl OpenGateway {
    /// Two minutes, as for a get: most tools give a request up by then.
    pub const fn default_wait() -> u32 {
        120
    }
}

/// The way from a gateway to Rally and to other servers.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct WayOut {
    /// The proxy for https, with its password if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy: Option<Secret>,
    /// The servers that are reached without it, as NO_PROXY has them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub no_proxy: Option<String>,
}

/// Fields of [`crate::Ask::HoldTurns`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HoldTurns {
    /// The profile's name; the default profile without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
    /// How many requests the program sends at once: 1 to 11.
    pub turns: u8,
}

/// Fields of [`crate::Event::TurnsHeld`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TurnsHeld {
    /// The profile's name.
    pub profile: String,
}

/// Fields of [`crate::Ask::ShowGateway`] and [`crate::Ask::RevokeGateway`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamedGateway {
    /// The gateway's name.
    pub name: String,
}

/// A gateway that is open, and how it is reached.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct OpenedGateway {
    /// Its name.
    pub name: String,
    /// The profile whose token it adds.
    pub profile: String,
    /// The server that it answers for, as an origin.
    pub base_url: String,
    /// The other servers that it answers for as a proxy, as origins.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub also: Vec<String>,
    /// Its port on 127.0.0.1.
    pub port: u16,
    /// What a tool presents in the place of a ZSESSIONID.
    pub key: Secret,
    /// The certificate of the gateway's own authority, as PEM.
    pub authority: String,
    /// What a client hands in again to a daemon that was started anew; only for the client that has it opened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<Secret>,
}

/// One gateway as it stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GatewayStatus {
    /// Its name.
    pub name: String,
    /// The profile whose token it adds.
    pub profile: String,
    /// Whether it is one of the config file; if not, it lives as long as the program that it was opened for.
    pub standing: bool,
    /// Its port on 127.0.0.1, while it is open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// The only way by which it may be reached; without it, all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub via: Option<Way>,
    /// Whether port and key outlive the daemon.
    pub kept: bool,
    /// Requests that were passed on.
    pub requests: u64,
    /// Requests that wait for their turn.
    pub waiting: u64,
    /// Bytes of request bodies that were passed on.
    pub bytes_up: u64,
    /// Bytes of response bodies that were passed on.
    pub bytes_down: u64,
    /// Requests that were sent again with another token.
    pub renewals: u64,
    /// The last request that it had to answer itself, and why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
    /// Why it is not open, or not kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<Fault>,
}
