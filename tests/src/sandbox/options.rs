//! How a sandbox is set up: the registered client, its user, lives, limits and the switches for unproven answers.
//! Does not: hold what happens later (tokens, log, faults).
//! Used by: `Sandbox::start`, and `Control::change`, which changes a running one.

/// Everything a sandbox can be told at its start; all but `port`, `tls` and `certificate` can also be changed while
/// it runs.
#[derive(Clone, Debug)]
pub struct Options {
    /// Port on 127.0.0.1; 0 lets the system choose.
    pub port: u16,
    /// Serve https, with a private CA made at the start.
    pub tls: bool,
    /// What is wrong with the certificate.
    pub certificate: Certificate,
    /// The registered client's identifier.
    pub client_id: String,
    /// The registered client's secret. It is a test value: the request log and the token endpoint's errors show it.
    pub client_secret: String,
    /// The one registered callback URL, compared as text, character by character.
    pub redirect_uri: String,
    /// The one scope that is known.
    pub scope: String,
    /// Who presses the buttons and whom the tokens belong to.
    pub user: User,
    /// Seconds from its issue after which an access token is dead; what `expires_in` says.
    pub token_life: u64,
    /// How `expires_in` is written.
    pub expires_in: ExpiresIn,
    /// Give out refresh tokens and take them back. If not, a refresh is answered as any wrong grant type is.
    pub allow_refresh: bool,
    /// A refresh answers with a new refresh token, and the old one dies at once.
    pub rotate_refresh: bool,
    /// Hand out a session cookie with every answer. Rally does (rally-node's issue 6), and is said to refuse one beside
    /// a `ZSESSIONID`; yet pyral keeps cookies and works with keys. So what Rally does with its own is not known.
    pub session_cookies: bool,
    /// Refuse every token that writes, as a read-only one is: by the same 401 as a bad one (vendor article 127054).
    pub read_only: bool,
    /// Refuse every WSAPI request, as a subscription does that does not allow the caller's address.
    pub address_refused: bool,
    /// Seconds by which the header `Date` is ahead of this machine's clock.
    pub clock_ahead: i64,
}

/// The certificate that a sandbox shows: by default one for the loopback names and [`HOST`](super::HOST).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Certificate {
    /// As it should be.
    Sound,
    /// For another host.
    OtherHost,
    /// It ended years ago.
    Expired,
    /// It begins in many years.
    NotYetValid,
}

/// How the token endpoint writes `expires_in`: the documentation shows a number, and promises nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExpiresIn {
    /// `86400`
    Number,
    /// `"86400"`
    Text,
    /// Not at all.
    Absent,
}

/// The Rally user behind every token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// What the user signs in with.
    pub user_name: String,
    /// What people see.
    pub display_name: String,
    /// Mostly the same as the user name.
    pub email_address: String,
    /// WSAPI's key of the user.
    pub object_id: u64,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            port: 0,
            tls: false,
            certificate: Certificate::Sound,
            client_id: "sandbox-client".into(),
            client_secret: "sandbox-client-secret".into(),
            redirect_uri: "http://localhost:8477/callback".into(),
            scope: "alm".into(),
            user: User::default(),
            token_life: 86_400,
            expires_in: ExpiresIn::Number,
            allow_refresh: true,
            rotate_refresh: true,
            session_cookies: true,
            read_only: false,
            address_refused: false,
            clock_ahead: 0,
        }
    }
}

impl Default for User {
    fn default() -> User {
        User {
            user_name: "dana@example.com".into(),
            display_name: "Dana Example".into(),
            email_address: "dana@example.com".into(),
            object_id: 41_529_001,
        }
    }
}
