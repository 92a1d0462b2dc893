//! Who plays in a history: the broker with its profiles, their names, and words for what is said.
//! Does not: decide what happens.
//! Used by: `history`.

use rally_cred_core::{
    Broker, Facts,
    profile::{BaseUrl, Config, Keyring, Profile, RedirectUri},
};
use rally_cred_proto::{Answer, Ask, Secret, message::Target};

pub(super) const FIRST_PORT: usize = 9000;

pub(super) fn broker(profiles: usize) -> Broker {
    let facts =
        Facts { release: "0".to_owned(), pid: 1, config: "config.toml".to_owned(), ..Facts::default() };
    let profiles = (0..profiles).filter_map(|number| Some((name_of(number), profile(number)?))).collect();
    Broker::new(
        facts,
        Config { default_profile: name_of(0), keyring: Keyring::Auto, profiles, ..Config::default() },
    )
}

pub(super) fn profile(number: usize) -> Option<Profile> {
    Some(Profile {
        name: name_of(number),
        base_url: BaseUrl::parse("https://rally1.rallydev.com").ok()?,
        client_id: format!("client-{number}"),
        redirect_uri: RedirectUri::parse(&format!("http://localhost:{}/callback", FIRST_PORT + number))
            .ok()?,
        scope: "alm".to_owned(),
        ca_file: None,
        username: None,
        client_secret_source: None,
    })
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
        Ask::Get(get) => format!(
            "for a token, interactive {}, {} s, at least {} s good",
            get.interactive, get.wait, get.min_validity
        ),
        Ask::Login(login) => format!("to sign in, force {}, {} s", login.force, login.timeout),
        Ask::Erase(_) => "to erase".to_owned(),
        Ask::Logout(_) => "to sign out".to_owned(),
        _ => "for the status".to_owned(),
    }
}

pub(super) fn kind_of(answer: &Answer) -> String {
    match answer {
        Answer::Token(token) => format!("token {}", token.token.expose()),
        Answer::Error(fault) => format!("{}: {}", fault.kind.name(), fault.what),
        Answer::SignedIn(_) => "signed in".to_owned(),
        _ => "done".to_owned(),
    }
}
