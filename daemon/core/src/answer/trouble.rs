//! Why no whole answer came from Rally, and the remedy for each cause.
//! Does not: tell the causes apart (the endpoint does).
//! Used by: the endpoint, and whoever reads an answer.

use rally_cred_proto::{Fault, FaultKind, native};

use super::{Retry, bad_answer, token_refused, unreachable};

/// Why no whole answer came. The texts are plain and lower case, and hold neither a URL's path nor a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SendTrouble {
    /// The server could not prove that it is Rally.
    Tls(Distrust),
    /// The proxy on the way does not let the request through.
    Proxy(Proxy, ProxyTrouble),
    /// This variable should name a proxy, and does not.
    BadProxy(&'static str),
    /// No connection, or a broken one.
    Unreachable(String),
    /// The system has no room for now, such as for a thread.
    Exhausted(String),
    /// A connection or an answer took too long.
    TimedOut,
    /// The body is larger than any answer of Rally's API.
    TooLarge,
    /// `ca_file` cannot be used.
    BadCaFile(String),
    /// The token holds a character that no HTTP header can carry, so it is not Rally's.
    BadToken,
}

/// Why the server is not trusted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Distrust {
    /// The certificate's authority is unknown on this machine.
    UnknownAuthority,
    /// This machine knows no authorities.
    NoAuthorities(String),
    /// The certificate is for other hosts, which the text names.
    OtherHost(String),
    /// The certificate has expired; the text has both times.
    Expired(String),
    /// The certificate is not valid yet; the text has both times.
    NotYetValid(String),
    /// The server does not speak TLS.
    NotTls,
    /// Anything else.
    Other(String),
}

/// A proxy on the way to Rally.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proxy {
    /// Its address, without user name and password.
    pub address: String,
    /// The variable that names it.
    pub variable: &'static str,
    /// The server behind it.
    pub server: String,
    /// Whether the variable gives a user name.
    pub has_user: bool,
}

/// What is wrong with a proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProxyTrouble {
    /// It asks for other credentials, or any (status 407).
    WantsPassword,
    /// It refuses the connection.
    Refuses,
    /// It does not behave like a proxy.
    NotAProxy(String),
    /// It cannot be reached.
    Unreachable(String),
}

impl SendTrouble {
    /// When another try is worth it.
    pub fn retry(&self) -> Retry {
        match self {
            Self::Unreachable(_) | Self::TimedOut | Self::Proxy(_, ProxyTrouble::Unreachable(_)) => {
                Retry::Online
            }
            _ => Retry::Later,
        }
    }

    /// The fault for people.
    pub fn fault(&self) -> Fault {
        match self {
            Self::Tls(distrust) => distrust.fault(),
            Self::Proxy(proxy, trouble) => proxy.fault(trouble),
            Self::BadProxy(variable) => {
                Fault::new(FaultKind::Unreachable, format!("{variable} names no proxy that can be used"))
                    .why("a proxy is written as http://HOST:PORT; https, socks5 and socks5h are known too")
                    .remedy(format!("correct or unset {variable}, then {ANEW}"))
            }
            Self::Unreachable(why) => unreachable(why),
            Self::Exhausted(why) => Fault::new(FaultKind::Unreachable, "Rally could not be asked")
                .why(why)
                .remedy(format!("{}, and ask again", native::MORE_THREADS)),
            Self::TimedOut => unreachable("no answer came in time"),
            Self::TooLarge => bad_answer("the answer is too large"),
            Self::BadCaFile(why) => Fault::new(FaultKind::TlsFailed, "the profile's ca_file cannot be used")
                .why(why)
                .remedy("let ca_file name a PEM file with the certificate authority, or remove it"),
            Self::BadToken => token_refused("the token holds a character that no HTTP header can carry"),
        }
    }
}

impl Distrust {
    fn fault(&self) -> Fault {
        let (why, remedy) = match self {
            Self::UnknownAuthority => (
                "its certificate was issued by an authority that this machine does not know",
                "set ca_file in the profile to the PEM file of your organisation's authority, which whoever runs \
                 its network or proxy can give you",
            ),
            Self::NoAuthorities(why) => (
                why.as_str(),
                "correct SSL_CERT_FILE or SSL_CERT_DIR, where the daemon has them; else install the package \
                 ca-certificates, or set ca_file in the profile to a PEM file",
            ),
            Self::OtherHost(why) => (
                why.as_str(),
                "check base_url in the profile; if it is right, something on the way answers in Rally's place: \
                 check the proxy, or ask whoever runs your network",
            ),
            Self::Expired(why) => (
                why.as_str(),
                "timedatectl set-ntp true, if that clock is wrong; else whoever runs the server or the proxy has \
                 to renew the certificate",
            ),
            Self::NotYetValid(why) => (
                why.as_str(),
                "timedatectl set-ntp true, if that clock is wrong; else ask whoever runs the server or the proxy",
            ),
            Self::NotTls => (
                "the other side does not speak TLS",
                "check the port in base_url; where a proxy is named by an address with https://, try http://",
            ),
            Self::Other(why) => (
                why.as_str(),
                "rally-cred doctor --report rally-cred-report.txt, for whoever runs your network",
            ),
        };
        Fault::new(FaultKind::TlsFailed, "the connection to Rally is not trusted").why(why).remedy(remedy)
    }
}

/// How a daemon gets new variables.
const ANEW: &str = native!(
    "rally-cred daemon restart, or rally-cred setup where systemd runs the daemon",
    macos: "rally-cred daemon restart",
    windows: "rally-cred daemon restart"
);

impl Proxy {
    fn fault(&self, trouble: &ProxyTrouble) -> Fault {
        let Self { address, variable, server, has_user } = self;
        let fault = |what: String| Fault::new(FaultKind::Unreachable, what);
        match trouble {
            ProxyTrouble::WantsPassword if *has_user => fault(format!(
                "the proxy {address} does not accept the user name and password that it is given"
            ))
            .why(format!("it answered with status 407; {variable} names it and gives them"))
            .remedy(format!("correct them in {variable}, with %40 for @ and the like, then {ANEW}")),
            ProxyTrouble::WantsPassword => {
                fault(format!("the proxy {address} wants a user name and a password"))
                    .why(format!("it answered with status 407; {variable} names it without them"))
                    .remedy(format!("set {variable} to http://USER:PASSWORD@HOST:PORT, then {ANEW}"))
            }
            ProxyTrouble::Refuses => fault(format!("the proxy {address} does not let rally-cred through"))
                .why(format!("it refused a connection to {server}, or is no proxy; {variable} names it"))
                .remedy(format!(
                    "ask whoever runs it to allow {server}; or add its host to NO_PROXY if it can be reached \
                     without, then {ANEW}"
                )),
            ProxyTrouble::NotAProxy(why) => {
                fault(format!("the proxy {address} does not answer as a proxy does"))
                    .why(format!("{why}; {variable} names it"))
                    .remedy(format!("correct or unset {variable}, then {ANEW}"))
            }
            ProxyTrouble::Unreachable(why) => fault(format!("the proxy {address} cannot be reached"))
                .why(format!("{why}; {variable} names it"))
                .remedy(format!("correct or unset {variable}, then {ANEW}")),
        }
    }
}
