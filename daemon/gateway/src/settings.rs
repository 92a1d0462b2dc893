//! What a gateway is told when it is opened.
//! Does not: read a config file.
//! Used by: the daemon, which fills it; `server` and `forward`.

use std::{path::PathBuf, time::Duration};

use rally_cred_proto::Origin;

use crate::{audit::Audit, queue::Share, token_header::TokenHeader};

/// How a gateway serves.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The name of the gateway, for people.
    pub name: String,
    /// The profile's server.
    pub upstream: Origin,
    /// Other servers that its token is for. Tunnels to them end here, and their requests get the token.
    pub further: Vec<Further>,
    /// Authorities that are trusted beside the system's.
    pub ca_file: Option<PathBuf>,
    /// Hosts that are reached without the parent's proxy, as in NO_PROXY.
    pub no_proxy: String,
    /// The ways in that are open.
    pub ways: Ways,
    /// The paths of the profile's server that are open, each with all that is below it.
    pub paths: Vec<String>,
    /// How long a request waits for a token, where a person has to sign in first.
    pub patience: Duration,
    /// What this gateway shares with all others for the same user of Rally.
    pub share: Share,
    /// Who is told of each request.
    pub audit: Audit,
}

/// A server beside Rally that takes its tokens.
#[derive(Clone, Debug)]
pub struct Further {
    /// The server: https, or no tunnel to it ends here.
    pub origin: Origin,
    /// How it takes a token.
    pub header: TokenHeader,
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
