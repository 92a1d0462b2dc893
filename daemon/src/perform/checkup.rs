//! Tries what a sign-in needs, for `rally-cred doctor`: the vault, the redirect ports or the programs that give tokens, and
//! Rally with its TLS and clock.
//! Does not: use a token, or change what is kept.
//! Used by: `perform`, when a client asks for it.

use rally_cred_proto::{
    Event, Fault, FaultKind, Reply,
    message::{Finding, Tried},
};
use tokio::task::JoinSet;

use crate::{
    driver::Driver,
    endpoint,
    flow::listener::{self, ListenTrouble},
    http, token_command,
    vault::{self, Vault},
};
use rally_cred_core::{
    Sent,
    answer::{RawAnswer, SendTrouble, UserAnswer, read_user_answer},
    event::AskId,
    profile::{CommandLine, Keyring, Profile},
    vault::{ItemKey, ItemKind},
};

/// The largest clock difference that does no harm: tokens are renewed a minute before they expire.
const CLOCK_TOLERANCE: u64 = 60;

/// Tries everything at once, sends the client each finding, and `done` at the end. A client that has gone gets nothing,
/// and nothing depends on that.
pub(super) async fn run(
    driver: Driver,
    vault: Vault,
    id: AskId,
    keyring: Keyring,
    profiles: Vec<(Profile, bool)>,
    secrets: Sent,
) {
    let mut trials = JoinSet::new();
    let tell = move |driver: &Driver, finding| driver.tell(id, Event::Finding(finding));
    let teller = driver.clone();
    trials.spawn_local(async move { tell(&teller, try_vault(&vault, id, keyring).await) });
    for (profile, is_listening) in profiles {
        let (teller, secrets) = (driver.clone(), secrets.clone());
        trials.spawn_local(async move {
            let way_in = match &profile.token_command {
                Some(command) => try_program(&profile, command).await,
                None => try_port(&profile, is_listening).await,
            };
            tell(&teller, way_in);
            let reached = profile.clone();
            let reached = http::apart(async move { endpoint::reach(&reached).await }).await;
            let (answer, ahead) = reached.unwrap_or_else(|trouble| (RawAnswer::Failed(trouble), None));
            for finding in read_reach(&profile, answer.beside(secrets), ahead) {
                tell(&teller, finding);
            }
        });
    }
    while trials.join_next().await.is_some() {}
    driver.reply(id, Reply::Done);
}

async fn try_vault(vault: &Vault, id: AskId, keyring: Keyring) -> Finding {
    // Simultaneous checks use different items.
    let key = ItemKey { kind: ItemKind::Check, name: id.0.to_string() };
    let (note, fault) = match (keyring, vault.try_out(&key).await) {
        (_, Err(trouble)) => (None, Some(trouble.fault())),
        (keyring, Ok(())) => (Some(found_of(&keyring)), None),
    };
    Finding { check: Tried::Vault, profile: None, note, fault }
}

/// What is told of a place that keeps items.
fn found_of(keyring: &Keyring) -> String {
    let tried = "an item was written, read and deleted";
    match keyring {
        Keyring::Memory => "memory, as configured: signed in until the daemon stops".to_owned(),
        Keyring::Auto => match vault::places().as_slice() {
            [] => format!("auto: the OS keyring, since it answers: {tried}"),
            others => {
                let others = others.join(", ");
                format!("auto: the OS keyring, since it answers: {tried}; {others} could be used too")
            }
        },
        Keyring::Keyutils => format!("{tried}; all end when the machine restarts"),
        _ => tried.to_owned(),
    }
}

async fn try_program(profile: &Profile, command: &CommandLine) -> Finding {
    match token_command::fetch(command).await {
        Ok(_) => passed(profile, Tried::TokenCommand, format!("{} gives a token", command.program.display())),
        Err(fault) => failed(profile, Tried::TokenCommand, fault),
    }
}

async fn try_port(profile: &Profile, is_listening: bool) -> Finding {
    let port = profile.redirect_uri.listen_at().map_or(0, |at| at.port);
    if is_listening {
        return passed(profile, Tried::RedirectPort, format!("a sign-in listens on port {port} right now"));
    }
    match listener::try_out(&profile.redirect_uri).await {
        Ok(()) => passed(profile, Tried::RedirectPort, format!("port {port} is free")),
        Err(ListenTrouble::NotLoopback) => passed(
            profile,
            Tried::RedirectPort,
            "none: the redirect URI leads elsewhere, so the address is pasted".to_owned(),
        ),
        Err(trouble) => failed(profile, Tried::RedirectPort, trouble.fault()),
    }
}

/// What an answer to a request without a token says about Rally, the connection and the clock.
fn read_reach(profile: &Profile, answer: RawAnswer, ahead: Option<i64>) -> Vec<Finding> {
    let origin = profile.base_url.origin();
    if let RawAnswer::Failed(trouble @ (SendTrouble::Tls(_) | SendTrouble::BadCaFile(_))) = &answer {
        return vec![failed(profile, Tried::Tls, trouble.fault())];
    }
    let has_arrived = matches!(answer, RawAnswer::Arrived { .. });
    let mut findings = vec![match read_user_answer(answer) {
        // Without a token, this is how Rally answers.
        UserAnswer::TokenRefused(_) | UserAnswer::Found { .. } => {
            passed(profile, Tried::Rally, format!("{origin} answers"))
        }
        UserAnswer::AddressNotAllowed(fault) | UserAnswer::Passing { fault, .. } => {
            failed(profile, Tried::Rally, fault)
        }
    }];
    if has_arrived {
        let how = if origin.is_https() { "the certificate is trusted" } else { "none: http on loopback" };
        findings.push(passed(profile, Tried::Tls, how.to_owned()));
    }
    findings.extend(ahead.map(|ahead| read_clock(profile, ahead)));
    findings
}

fn read_clock(profile: &Profile, ahead: i64) -> Finding {
    let distance = ahead.unsigned_abs();
    if distance <= CLOCK_TOLERANCE {
        return passed(profile, Tried::Clock, format!("within {CLOCK_TOLERANCE} s of Rally's"));
    }
    let side = if ahead > 0 { "behind" } else { "ahead of" };
    failed(
        profile,
        Tried::Clock,
        Fault::new(FaultKind::Failed, "this machine's clock is wrong")
            .why(format!("it is {distance} s {side} Rally's"))
            .remedy("timedatectl set-ntp true"),
    )
}

fn passed(profile: &Profile, check: Tried, note: String) -> Finding {
    Finding { check, profile: Some(profile.name.to_string()), note: Some(note), fault: None }
}

fn failed(profile: &Profile, check: Tried, fault: Fault) -> Finding {
    Finding { check, profile: Some(profile.name.to_string()), note: None, fault: Some(fault) }
}
