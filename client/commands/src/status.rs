//! `rally-cred status`: what the daemon holds, for people and as JSON.
//! Does not: start a daemon, or judge the state; the daemon does.
//! Used by: people, and scripts with `--json`.

mod audit;

use std::time::Duration;

use clap::Args;
use jiff::Timestamp;
use rally_cred::{
    connection::{Connection, GRACE},
    output::Output,
};
use rally_cred_proto::{
    Deadline, Event, Fault, FaultKind,
    gateway::GatewayStatus,
    message::{Confinement, LockStatus, ProfileState, ProfileStatus, Status, StatusAsk, VaultStatus},
    plain::plain,
    remedy::Command,
};
use serde::Serialize;

use crate::{gateway, terminal::Terminal};

/// The daemon's own limit for a status, and some time for its answer to arrive.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5).saturating_add(GRACE);

/// The same where it asks Rally as well.
pub(crate) const PATIENCE_WITH_CHECK: Duration = Duration::from_secs(30).saturating_add(GRACE);

/// What `status` was told on its command line.
#[derive(Clone, Debug, Args)]
pub(crate) struct Options {
    /// The only profile to show
    profile: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Ask Rally whether it takes the tokens
    #[arg(long)]
    check: bool,
    /// Show who was given a token or refused one, the last hundred times
    #[arg(long, conflicts_with_all = ["profile", "check"])]
    audit: bool,
}

/// Shows the daemon. The exit code is 0 only if every profile shown can be served now; otherwise that of the first fault.
pub(crate) fn run(options: Options, sys: &dyn Terminal, output: &mut Output<'_>) -> Result<u8, Fault> {
    let Options { profile, json, check, audit } = options;
    if audit {
        return audit::run(json, sys, output);
    }
    let mut deadline = Deadline::after(if check { PATIENCE_WITH_CHECK } else { PATIENCE });
    let (mut profiles, mut gateways) = (Vec::new(), Vec::new());
    let ask = StatusAsk { profile, check };
    let status = Connection::new(sys, false).ask(ask, &mut deadline, &mut |event| match event {
        Event::Profile(profile) => profiles.push(*profile),
        Event::Gateway(gateway) => gateways.push(*gateway),
        _ => {}
    });
    let status = Shown { status: *output.or_json_fault(status, json)?, profiles, gateways };
    if json {
        output.answer_json(&status)?;
    } else {
        output.tell(shown(&status, sys.now()))?;
    }
    Ok(exit_code(&status))
}

/// What `--json` prints beside `version`: the daemon and its profiles, each with the fields of PROTOCOL.md.
#[derive(Serialize)]
struct Shown {
    #[serde(flatten)]
    status: Status,
    profiles: Vec<ProfileStatus>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    gateways: Vec<GatewayStatus>,
}

fn exit_code(status: &Shown) -> u8 {
    let unready = status.profiles.iter().find(|profile| !profile.ready);
    match unready {
        _ if status.status.locked.is_some() => FaultKind::Locked.exit_code(),
        None if status.profiles.is_empty() && status.status.static_hosts.is_empty() => {
            FaultKind::NotConfigured.exit_code()
        }
        None => 0,
        Some(ProfileStatus { checked: Some(false), .. }) => FaultKind::TokenRefused.exit_code(),
        Some(profile) => {
            profile.fault.as_ref().map_or(FaultKind::SignInNeeded, |fault| fault.kind).exit_code()
        }
    }
}

fn shown(status: &Shown, now: i64) -> String {
    let Shown { status, profiles, gateways } = status;
    let Status {
        release,
        pid,
        config,
        vault,
        static_hosts,
        network,
        confinement,
        forwards,
        forwarded_by,
        locked,
    } = status;
    let mut lines = vec![
        ("daemon", format!("{} (process {pid})", plain(release))),
        ("config", plain(config)),
        ("keyring", kept(vault)),
    ];
    if vault.kind == "auto" {
        let others = vault.others.iter().map(|place| plain(place)).collect::<Vec<_>>().join(", ");
        let more = match vault.fault.as_ref().and_then(|fault| fault.remedy.as_ref()) {
            Some(remedy) => Some(format!("try: {}", plain(&remedy.to_string()))),
            None if others.is_empty() || vault.keeps == Some(true) => None,
            None => Some(format!("{others} could be used too: rally-cred keyring migrate --help")),
        };
        lines.extend(more.map(|more| ("", more)));
    }
    lines.extend(locked.as_ref().map(|locked| ("lock", lock(locked, now))));
    lines.extend(
        forwarded_by.iter().map(|near| ("machine", format!("{}, by the forwarded socket", plain(near)))),
    );
    if !forwards.is_empty() {
        lines.push(("forward", format!("{} (by the forwarded socket)", plain(&forwards.join(", ")))));
    }
    if !static_hosts.is_empty() {
        lines.push(("stores", plain(&static_hosts.join(", "))));
    }
    let variables = network.iter().flatten();
    lines.extend(variables.map(|(name, value)| ("network", format!("{}={}", plain(name), plain(value)))));
    lines.extend(confinement.map(|confinement| ("confined", confined(confinement))));
    let mut text: String = lines.iter().map(|(name, value)| format!("{name:<8} {value}\n")).collect();
    if profiles.is_empty() {
        text.push_str("\nno profile is configured\n");
    }
    for profile in profiles {
        let default = if profile.default { " (default)" } else { "" };
        text += &format!("\n{}{default}  {}\n", plain(&profile.profile), plain(&profile.base_url));
        let lines = lines_of(profile, forwarded_by.as_deref(), now);
        text.extend(lines.iter().map(|(name, value)| format!("  {name:<8} {value}\n")));
    }
    text.extend(gateways.iter().map(gateway::shown::lines));
    text
}

fn lock(LockStatus { since, by }: &LockStatus, now: i64) -> String {
    let why = match by.as_str() {
        "session" => ", since the session was locked",
        "sleep" => ", since the machine went to sleep",
        "idle" => ", since nobody asked for long",
        _ => "",
    };
    format!("locked {} ago{why}; rally-cred unlock", span(now - since))
}

/// What a daemon has given up, and what its kernel lacks for the rest.
pub(crate) fn confined(confinement: Confinement) -> String {
    let Confinement { files, system_calls, privileges } = confinement;
    let parts = [
        (files, "files", "this kernel has no Landlock"),
        (system_calls, "system calls", "this kernel has no seccomp filters"),
        (privileges, "privileges", "this kernel has no no_new_privs"),
    ];
    let on: Vec<_> = parts.iter().filter(|(is_on, ..)| *is_on).map(|(_, what, _)| *what).collect();
    let mut text = if on.is_empty() { "nothing".to_owned() } else { on.join(", ") };
    let off = parts.iter().filter(|(is_on, ..)| !is_on);
    text.extend(off.map(|(_, what, why)| format!("; not {what}: {why}")));
    text
}

fn kept(vault: &VaultStatus) -> String {
    let VaultStatus { kind, keeps, fault, others: _ } = vault;
    let how = match (kind.as_str(), keeps, fault) {
        ("memory", ..) => "memory: signed in until the daemon stops".to_owned(),
        ("keyutils", Some(true), _) => "keeps tokens until the machine restarts".to_owned(),
        // Memory stands in.
        ("auto", Some(false), Some(fault)) => {
            let why = fault.why.as_ref().map_or_else(String::new, |why| format!(": {}", plain(why)));
            format!("{}{why}; so tokens are in memory until the daemon stops", plain(&fault.what))
        }
        ("auto", Some(true), _) => "the OS keyring, since it answers; it keeps tokens".to_owned(),
        (_, Some(false), Some(fault)) => format!("{}, so tokens are in memory only", plain(&fault.what)),
        (_, Some(true), _) => "keeps tokens".to_owned(),
        _ => "not used yet".to_owned(),
    };
    format!("{} ({how})", plain(kind))
}

fn lines_of(profile: &ProfileStatus, near: Option<&str>, now: i64) -> Vec<(&'static str, String)> {
    let ProfileStatus { username, obtained_at, expires_at, renews_at, checked, held_turns, fault, .. } =
        profile;
    let ago = |at: i64| format!("{} ({} ago)", moment(at), span(now - at));
    let ahead = |at: i64| format!("{} (in {})", moment(at), span(at - now));
    let mut lines = vec![("state", state(profile, near))];
    lines.extend(username.iter().map(|name| ("user", plain(name))));
    lines.extend(obtained_at.map(|at| ("since", ago(at))));
    lines.extend(expires_at.map(|at| ("until", if at > now { ahead(at) } else { ago(at) })));
    lines.extend(renews_at.map(|at| ("renewal", ahead(at))));
    lines.extend(checked.map(|is_taken| {
        let takes = if is_taken { "takes" } else { "does not take" };
        ("check", format!("Rally {takes} the token"))
    }));
    lines.extend(held_turns.map(|turns| ("turns", format!("{turns} of Rally's 12 are held by programs"))));
    if profile.waiting > 0 {
        lines.push(("waiting", format!("{} callers", profile.waiting)));
    }
    if let Some(Fault { what, why, remedy, .. }) = fault {
        lines.push(("problem", plain(what)));
        lines.extend(why.iter().map(|why| ("why", plain(why))));
        lines.extend(remedy.iter().map(|remedy| ("try", plain(&remedy.to_string()))));
    }
    lines
}

fn state(profile: &ProfileStatus, near: Option<&str>) -> String {
    let (state, needs_login) = match profile.state {
        ProfileState::Unread => ("the keyring was not read yet", false),
        ProfileState::Loading => ("waiting for the keyring", false),
        // Nobody signs in where a program gives the tokens.
        ProfileState::SignedOut if profile.renewable => ("its program was not asked for a token yet", false),
        ProfileState::SignedOut => ("signed out", true),
        ProfileState::SigningIn => ("a sign-in waits for \"Allow Access\"", false),
        ProfileState::Exchanging => ("a sign-in is being completed", false),
        ProfileState::Renewing => ("the token is being renewed", false),
        ProfileState::SignedIn if profile.ready => ("signed in", false),
        ProfileState::SignedIn => ("the token has ended", true),
        _ => ("unknown to this version", false),
    };
    let renewable = if profile.renewable { ", renewed without you" } else { "" };
    let kept = match profile.state {
        ProfileState::SignedIn if !profile.kept => ", in memory only",
        _ => "",
    };
    let login = if needs_login {
        let on = near.map_or_else(String::new, |near| format!("on {}: ", plain(near)));
        format!("; {on}{}", Command::of_profile("login", &profile.profile, profile.default))
    } else {
        String::new()
    };
    format!("{state}{renewable}{kept}{login}")
}

/// A moment as RFC 3339 writes it.
fn moment(at: i64) -> String {
    Timestamp::from_second(at).map_or_else(|_| format!("{at} s after 1970"), |at| at.to_string())
}

/// A span in the largest unit of which it has at least two.
fn span(seconds: i64) -> String {
    match seconds {
        ..120 => format!("{} s", seconds.max(0)),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_of_a_profile_that_needs_a_sign_in_signs_in_that_profile() {
        for (name, default, state, shown) in [
            ("default", true, "signed_out", "signed out; rally-cred login"),
            ("default", false, "signed_out", "signed out; rally-cred login default"),
            ("work", true, "signed_out", "signed out; rally-cred login work"),
            ("work", false, "signed_in", "the token has ended, in memory only; rally-cred login work"),
            ("program", true, "signed_out", "its program was not asked for a token yet, renewed without you"),
        ] {
            let profile = serde_json::json!({
                "profile": name, "default": default, "base_url": "https://rally1.rallydev.com", "state": state,
                "ready": false, "renewable": name == "program", "kept": false, "waiting": 0,
            });
            assert_eq!(super::state(&serde_json::from_value(profile).unwrap(), None), shown);
        }
    }

    #[test]
    fn spans_are_in_a_unit_that_people_can_read() {
        let shown: Vec<_> = [-5, 0, 119, 120, 7_199, 7_200, 172_799, 172_800].into_iter().map(span).collect();
        assert_eq!(shown, ["0 s", "0 s", "119 s", "2 min", "119 min", "2 h", "47 h", "2 days"]);
    }
}
