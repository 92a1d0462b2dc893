//! What a gateway is told when it is opened.
//! Does not: read a config file.
//! Used by: the daemon, which fills it; `server` and `forward`.

use std::{fmt, path::PathBuf, time::Duration};

use rally_cred_proto::Origin;

use crate::{admit::USUAL_PATHS, audit::Audit, queue::Queue, token_header::TokenHeader, turns::Limits};

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

/// Rally serves twelve requests of one user at once. All gateways for that user share one of these, in which each has
/// its turns.
#[derive(Clone)]
pub struct Share(pub(crate) Queue<String>);

impl Default for Share {
    fn default() -> Self {
        Self(Queue::new(Limits::default()))
    }
}

impl Share {
    /// So many of the turns belong to programs that go to Rally by themselves, from now on. What is at Rally stays there
    /// to its end.
    pub fn reserve(&self, turns: u8) {
        self.0.reserve(turns.into());
    }
}

impl fmt::Debug for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (running, waiting) = self.0.counts();
        f.debug_struct("Share").field("running", &running).field("waiting", &waiting).finish()
    }
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
    /// All ways and Rally's usual paths, no further servers, no authorities beside the system's, patience for half a minute, a share of its
    /// own, and nobody who is told.
    pub fn new(name: impl Into<String>, upstream: Origin) -> Self {
        Self {
            name: name.into(),
            upstream,
            further: Vec::new(),
            ca_file: None,
            no_proxy: String::new(),
            ways: Ways::default(),
            paths: USUAL_PATHS.map(str::to_owned).to_vec(),
            patience: Duration::from_secs(30),
            share: Share::default(),
            audit: Audit::to(|_| ()),
        }
    }
}

impl Default for Ways {
    fn default() -> Self {
        Self { http: true, https: true, connect: true }
    }
}
