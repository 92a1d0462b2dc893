//! What a gateway is told when it is opened.
//! Does not: read a config file.
//! Used by: the daemon, which fills it; `server` and `forward`.

use std::{path::PathBuf, time::Duration};

use rally_cred_proto::Origin;

use crate::admit::USUAL_PATHS;

/// How a gateway serves.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The name of the gateway, for people.
    pub name: String,
    /// The profile's server.
    pub upstream: Origin,
    /// Authorities that are trusted beside the system's.
    pub ca_file: Option<PathBuf>,
    /// Hosts that are reached without the parent's proxy, as in NO_PROXY.
    pub no_proxy: String,
    /// The ways in that are open.
    pub ways: Ways,
    /// The paths that are open, each with all that is below it.
    pub paths: Vec<String>,
    /// How long a request waits for a token, where a person has to sign in first.
    pub patience: Duration,
}

/// The ways into a gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ways {
    /// As `http://127.0.0.1:PORT` in the place of the server's address.
    pub http: bool,
    /// As `https://localhost:PORT`, with a certificate of the gateway's own authority.
    pub https: bool,
    /// As HTTPS_PROXY.
    pub connect: bool,
}

impl Settings {
    /// All ways and Rally's usual paths, without a proxy or authorities of its own, and patience for half a minute.
    pub fn new(name: impl Into<String>, upstream: Origin) -> Self {
        Self {
            name: name.into(),
            upstream,
            ca_file: None,
            no_proxy: String::new(),
            ways: Ways::default(),
            paths: USUAL_PATHS.map(str::to_owned).to_vec(),
            patience: Duration::from_secs(30),
        }
    }
}

impl Default for Ways {
    fn default() -> Self {
        Self { http: true, https: true, connect: true }
    }
}
