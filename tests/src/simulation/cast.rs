//! Who plays in a history: the broker, the names of its profiles, and words for what is said.
//! Does not: decide what happens.
//! Used by: `history`.

use rally_cred_core::{
    Broker, Facts,
    time::{Tick, Ticks},
};
use rally_cred_proto::{
    Ask, Reply, Secret,
    git::Credential,
    message::{Erase, Get, Store, Target},
};

use super::config_file::ConfigFile;

pub(super) const FIRST_PORT: usize = 9000;

/// When a history begins, by both clocks.
pub(super) const START: Tick = Tick(1_000_000);
pub(super) const EPOCH_1970: i64 = 1_780_000_000;

/// A broker of this config file. Where the service manager starts it again, it ends once it has been idle for this long.
pub(super) fn broker(file: &ConfigFile, idle_exit: Option<Ticks>) -> Broker {
    let (release, config) = ("0".to_owned(), "config.toml".to_owned());
    let facts = Facts { release, pid: 1, config, ..Facts::default() };
    Broker::new(facts, file.config()).with_idle_exit(idle_exit)
}

pub(super) fn name_of(number: usize) -> String {
    format!("p{number}")
}

pub(super) fn number_of(name: &str) -> usize {
    name.trim_start_matches('p').parse().unwrap_or(0)
}

pub(super) fn target(number: usize) -> Target {
    Target { profile: Some(name_of(number)), ..Target::default() }
}

pub(super) fn secret(text: &str) -> Option<Secret> {
    Secret::parse(text.to_owned()).ok()
}

pub(super) fn word_for(ask: &Ask) -> String {
    match ask {
        Ask::Get(Get { target: Target { host: Some(host), .. }, .. }) => {
            format!("for a credential of {host}")
        }
        Ask::Erase(Erase { target: Target { host: Some(host), .. }, .. }) => {
            format!("to erase a credential of {host}")
        }
        Ask::Get(get) => format!(
            "for a token of {:?} for {:?}, interactive {}, {} s, at least {} s good",
            get.target.profile, get.target.uri, get.interactive, get.wait, get.min_validity
        ),
        Ask::Login(login) => format!("to sign in, force {}, {} s", login.force, login.timeout),
        Ask::Erase(_) => "to erase".to_owned(),
        Ask::Logout(_) => "to sign out".to_owned(),
        Ask::Store(Store { host, credential: Credential { username, password, .. }, .. }) => {
            let password = password.as_ref().map(Secret::expose);
            format!("to store {password:?} for {username:?} at {host}")
        }
        Ask::Lock => "for a lock".to_owned(),
        Ask::Unlock => "to unlock".to_owned(),
        Ask::Reload => "for a reload".to_owned(),
        Ask::Stop => "for a stop".to_owned(),
        Ask::Watch(watch) => format!("to watch {:?}", watch.profile),
        Ask::OpenGateway(open) => {
            let before = open.identity.as_ref().map(Secret::expose);
            format!("for a gateway of {:?}, before {before:?}", open.profile)
        }
        Ask::ShowGateway(gateway) => format!("how gateway {} is reached", gateway.name),
        Ask::RevokeGateway(gateway) => format!("to revoke gateway {}", gateway.name),
        Ask::HoldTurns(ask) => format!("for {} turns of {:?}", ask.turns, ask.profile),
        _ => "for the status".to_owned(),
    }
}

pub(super) fn kind_of(reply: &Reply) -> String {
    match reply {
        Reply::Token(token) => format!("token {}", token.token.expose()),
        Reply::Error(fault) => format!("{}: {}", fault.kind.name(), fault.what),
        Reply::StaticCredential(given) => {
            format!("credential {:?}", given.credential.password.as_ref().map(Secret::expose))
        }
        Reply::NoMatch => "no match".to_owned(),
        Reply::SignedIn(_) => "signed in".to_owned(),
        _ => "done".to_owned(),
    }
}
