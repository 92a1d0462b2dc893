//! `rally-cred doctor`: checks everything that a sign-in needs, and names the command that fixes what fails.
//! Does not: fix anything. What only the daemon can try, the daemon tries.
//! Used by: people whose sign-in does not work, and whoever they ask for help.

mod agreement;
mod git_store;
mod machine;
mod report;

use std::{path::PathBuf, time::Duration};

use clap::{ArgAction, Args};
use rally_cred::{
    connection::{Connection, GRACE},
    output::Output,
    system::System,
};
use rally_cred_proto::{
    Deadline, Event, Fault, FaultKind,
    message::{CheckAsk, Finding, ProfileStatus, Status, StatusAsk, Tried},
    plain::{plain, visible_line},
    remedy::Command,
    socket,
};
use serde::Serialize;

use crate::{status, terminal::Terminal};

/// The daemon's own limit for all checks, and some time for its answer to arrive.
const PATIENCE: Duration = Duration::from_secs(60).saturating_add(GRACE);

/// What `doctor` was told on its command line.
#[derive(Clone, Debug, Args)]
pub(crate) struct Options {
    /// The only profile to check
    profile: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Write a support report, without secrets, into a new file
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Fail if no daemon is running, instead of starting one
    #[arg(long = "no-autostart", action = ArgAction::SetFalse)]
    autostart: bool,
}

/// Checks everything, shows it, and writes the report. The exit code is that of the first fault, 0 without one.
pub(crate) fn run(options: &Options, sys: &dyn Terminal, output: &mut Output<'_>) -> Result<u8, Fault> {
    let found = examine(options, sys);
    let first_fault = found.checks.iter().find_map(Check::fault);
    if let Some(path) = &options.report {
        report::write(path, &found, sys)?;
        let file = visible_line(&path.display().to_string()).into_owned();
        let advice = "it holds names and addresses, so read it before you send it";
        output.say(format_args!("the report is in {file}; {advice}"));
    }
    if options.json {
        #[derive(Serialize)]
        struct Verdicts<'a> {
            ok: bool,
            checks: &'a [Check],
        }
        output.answer_json(&Verdicts { ok: first_fault.is_none(), checks: &found.checks })?;
    } else {
        output.tell(shown(&found.checks))?;
    }
    Ok(first_fault.map_or(0, |fault| fault.kind.exit_code()))
}

/// The result of one check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Check {
    check: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    profile: Option<String>,
    #[serde(flatten)]
    verdict: Verdict,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "verdict", rename_all = "snake_case")]
enum Verdict {
    /// With what was found.
    Pass {
        note: String,
    },
    Fail {
        fault: Fault,
    },
    /// With the reason.
    Skipped {
        note: String,
    },
}

impl Check {
    /// A check that passed, with a note, or failed.
    fn of(check: &'static str, outcome: Result<String, Fault>) -> Self {
        let verdict = match outcome {
            Ok(note) => Verdict::Pass { note },
            Err(fault) => Verdict::Fail { fault },
        };
        Self { check, profile: None, verdict }
    }

    fn skipped(check: &'static str, why: &str) -> Self {
        Self { check, profile: None, verdict: Verdict::Skipped { note: why.to_owned() } }
    }

    fn fault(&self) -> Option<&Fault> {
        match &self.verdict {
            Verdict::Fail { fault } => Some(fault),
            Verdict::Pass { .. } | Verdict::Skipped { .. } => None,
        }
    }

    fn for_profile(mut self, profile: Option<String>) -> Self {
        self.profile = profile;
        self
    }
}

/// Everything that was found.
struct Found {
    checks: Vec<Check>,
    status: Option<Status>,
    profiles: Vec<ProfileStatus>,
}

/// What only a daemon can tell, in the order in which it is shown.
const BY_DAEMON: [(&str, Option<Tried>); 7] = [
    ("vault", Some(Tried::Vault)),
    ("redirect_port", Some(Tried::RedirectPort)),
    ("token_command", Some(Tried::TokenCommand)),
    ("rally", Some(Tried::Rally)),
    ("tls", Some(Tried::Tls)),
    ("clock", Some(Tried::Clock)),
    ("sign_in", None),
];

fn examine(options: &Options, sys: &dyn System) -> Found {
    let mut found = Found { checks: Vec::new(), status: None, profiles: Vec::new() };
    let fits = |path: &PathBuf| socket::check_length(path).and_then(|()| socket::check_folder(path));
    let socket = sys.socket().and_then(|path| fits(&path).map(|_| path));
    if socket.is_ok() {
        ask_daemon(&mut found, options, sys);
    } else {
        found.checks.push(Check::skipped("daemon", "its socket cannot be used"));
    }
    let status = found.status.as_ref();
    if status.is_none() {
        let skipped = BY_DAEMON.map(|(check, _)| Check::skipped(check, "there is no daemon to try it"));
        found.checks.extend(skipped);
    }
    let network = agreement::network(status, &found.checks, sys);
    // The daemon's answer decides which config file is checked, and which servers git is checked for.
    let before = [
        agreement::config(status, sys),
        Check::of("permissions", machine::permissions(&agreement::config_paths(status, sys), sys)),
        machine::path(&found.profiles, sys),
        Check::of("socket", socket.map(|path| path.display().to_string())),
    ];
    let stores = status.map(|status| status.static_hosts.clone()).unwrap_or_default();
    let daemon = status.map(|status| status.pid);
    found.checks.splice(0..0, before);
    found.checks.push(network);
    found.checks.push(agreement::confinement(status));
    let servers = machine::servers(&found.profiles);
    found.checks.extend(machine::git(&servers, &stores, sys));
    found.checks.extend(git_store::check(&servers, sys));
    found.checks.push(machine::units(daemon, sys));
    found
}

/// Has the daemon run its checks and report the profiles' status.
fn ask_daemon(found: &mut Found, options: &Options, sys: &dyn System) {
    let mut connection = Connection::new(sys, options.autostart);
    let profile = &options.profile;
    let mut status = |check, patience| {
        connection.status(StatusAsk { profile: profile.clone(), check }, &mut Deadline::after(patience))
    };
    // A daemon that hangs is found by a quick request, before the long timeouts of the others.
    let sign_of_life = status(false, status::PATIENCE);
    let (status, profiles) = match sign_of_life.and_then(|_| status(true, status::PATIENCE_WITH_CHECK)) {
        Ok(found) => found,
        Err(fault) => return found.checks.push(Check::of("daemon", Err(fault))),
    };
    let mut findings = Vec::new();
    let ask = CheckAsk { profile: profile.clone() };
    let outcome = connection.ask(ask, &mut Deadline::after(PATIENCE), &mut |event| {
        if let Event::Finding(finding) = event {
            findings.push(finding);
        }
    });
    let daemon = match outcome {
        // A daemon from before this command does not know the request.
        Err(fault) if fault.kind != FaultKind::BadRequest => Err(fault),
        _ => same_release(&status),
    };
    found.checks.push(Check::of("daemon", daemon));
    for (check, tried) in BY_DAEMON {
        match tried {
            Some(tried) => found.checks.extend(checks_of(check, tried, &findings, &profiles)),
            None => found.checks.extend(profiles.iter().map(sign_in)),
        }
    }
    found.status = Some(status);
    found.profiles = profiles;
}

fn same_release(status: &Status) -> Result<String, Fault> {
    let ours = env!("CARGO_PKG_VERSION");
    let (release, pid) = (plain(&status.release), status.pid);
    match status.release == ours {
        true => Ok(format!("release {release}, process {pid}")),
        false => {
            Err(Fault::new(FaultKind::VersionSkew, "the daemon is of another release than this program")
                .why(format!("the daemon is {release}, this is {ours}"))
                .run("rally-cred daemon restart"))
        }
    }
}

/// What the daemon found of one kind: for each profile, or once for all.
fn checks_of(
    check: &'static str,
    tried: Tried,
    findings: &[Finding],
    profiles: &[ProfileStatus],
) -> Vec<Check> {
    let find = |profile: Option<&str>| {
        let finding =
            findings.iter().find(|finding| finding.check == tried && finding.profile.as_deref() == profile);
        let outcome = match finding {
            Some(Finding { fault: Some(fault), .. }) => Check::of(check, Err(fault.clone())),
            Some(Finding { note, .. }) => {
                Check::of(check, Ok(note.as_deref().map(plain).unwrap_or_default()))
            }
            None => Check::skipped(check, "it could not be tried"),
        };
        outcome.for_profile(profile.map(str::to_owned))
    };
    match tried {
        Tried::Vault => vec![find(None)],
        // A profile has a program in place of a port.
        Tried::RedirectPort | Tried::TokenCommand => {
            let has_program = |profile: &&ProfileStatus| {
                findings.iter().any(|finding| {
                    finding.check == Tried::TokenCommand && finding.profile.as_ref() == Some(&profile.profile)
                })
            };
            let is_meant = |profile: &&ProfileStatus| has_program(profile) == (tried == Tried::TokenCommand);
            profiles.iter().filter(is_meant).map(|profile| find(Some(&profile.profile))).collect()
        }
        _ => profiles.iter().map(|profile| find(Some(&profile.profile))).collect(),
    }
}

/// Whether a profile can be served now.
fn sign_in(profile: &ProfileStatus) -> Check {
    let name = plain(&profile.profile);
    let outcome = if profile.ready {
        let who = profile.username.as_deref().map_or_else(|| "somebody unknown".to_owned(), plain);
        Ok(format!("signed in as {who}"))
    } else {
        Err(profile.fault.clone().unwrap_or_else(|| {
            let refused = profile.checked == Some(false);
            let kind = if refused { FaultKind::TokenRefused } else { FaultKind::SignInNeeded };
            Fault::new(kind, format!("no sign-in for profile {name}"))
                .why(if refused { "Rally does not take the token" } else { "there is no token" })
                .remedy(Command::of_profile("login", &name, profile.default))
        }))
    };
    Check::of("sign_in", outcome).for_profile(Some(name))
}

fn shown(checks: &[Check]) -> String {
    let several =
        checks.iter().filter_map(|check| check.profile.as_ref()).collect::<std::collections::BTreeSet<_>>();
    let line = |Check { check, profile, verdict }: &Check| {
        let whose = profile.as_ref().filter(|_| several.len() > 1);
        let whose = whose.map_or_else(String::new, |profile| format!("{profile}: "));
        let (mark, what) = match verdict {
            Verdict::Pass { note } => ("ok", visible_line(note).into_owned()),
            // The lines of a fault are indented below its first.
            Verdict::Fail { fault } => ("FAIL", fault.to_string().replace('\n', "\n      ")),
            Verdict::Skipped { note } => ("--", visible_line(note).into_owned()),
        };
        format!("{mark:<4}  {check:<13}  {whose}{what}\n")
    };
    checks.iter().map(line).collect()
}

#[cfg(unix)]
#[cfg(test)]
mod tests;
