//! Whether daemon and shell agree on config file, proxy and certificates. The daemon has the variables of what started
//! it, which may have been another shell, or systemd.
//! Does not: decide which is right.
//! Used by: `doctor`.

use std::fs;
use std::path::{Path, PathBuf};

use rally_cred::system::System;
use rally_cred_proto::{Fault, FaultKind, message::Status, network, plain::plain, shell_word::shell_word};

use super::Check;
use crate::config;
use crate::installed::{self, Units};
use crate::status;

/// The config files to check: the running daemon's, and this shell's.
pub(super) fn config_paths(status: Option<&Status>, sys: &dyn System) -> Vec<PathBuf> {
    let paths = [config_path(status, sys), config::find_path(sys)];
    paths.into_iter().flatten().collect()
}

/// The config file in use: the running daemon's, else the one that a daemon would read.
fn config_path(status: Option<&Status>, sys: &dyn System) -> Result<PathBuf, Fault> {
    let ours = config::find_path(sys);
    match status.map(|status| PathBuf::from(&status.config)) {
        Some(theirs) if !ours.as_ref().is_ok_and(|ours| is_same(ours, &theirs)) => Ok(theirs),
        _ => ours,
    }
}

/// The daemon reports its path as text, with invalid bytes replaced.
fn is_same(ours: &Path, theirs: &Path) -> bool {
    let real = |path: &Path| fs::canonicalize(path).ok();
    ours.display().to_string() == theirs.display().to_string()
        || real(ours).is_some_and(|ours| Some(ours) == real(theirs))
}

/// Whether the config file in use is valid, and this shell names the same one.
pub(super) fn config(status: Option<&Status>, sys: &dyn System) -> Check {
    let ours = config::find_path(sys);
    let theirs = match config_path(status, sys) {
        Ok(theirs) if Ok(&theirs) != ours.as_ref() => theirs,
        _ => return Check::of("config", config::judge(None, sys)),
    };
    let judged = config::judge(Some(&theirs), sys);
    let Ok(ours) = ours else { return Check::of("config", judged) };
    let outcome = match judged {
        // Either may be the right one.
        Ok(_) if ours.exists() => Err(disagreement(&ours, &theirs, sys)),
        Err(_) if ours.exists() && !theirs.exists() => Err(disagreement(&ours, &theirs, sys)),
        Ok(note) => Ok(format!("{note}; this shell would name {}, which does not exist", ours.display())),
        broken => broken,
    };
    Check::of("config", outcome)
}

fn disagreement(ours: &Path, theirs: &Path, sys: &dyn System) -> Fault {
    let what = format!("the daemon reads {}, and this shell names {}", theirs.display(), ours.display());
    let ours = shell_word(&ours.display().to_string());
    Fault::new(FaultKind::Failed, what)
        .why("it was started with another HOME, XDG_CONFIG_HOME or RALLY_CRED_CONFIG")
        .remedy(match is_run_by_systemd(sys) {
            true => format!(
                "systemctl --user set-environment RALLY_CRED_CONFIG={ours} && rally-cred daemon restart"
            ),
            false => "rally-cred daemon restart".to_owned(),
        })
}

/// Whether daemon and shell have the same network variables. A difference is a fault only if Rally is not reached.
pub(super) fn network(status: Option<&Status>, checks: &[Check], sys: &dyn System) -> Check {
    const CHECK: &str = "network";
    let Some(status) = status else { return Check::skipped(CHECK, "there is no daemon to try it") };
    let Some(theirs) = &status.network else { return Check::skipped(CHECK, "the daemon does not tell") };
    let ours = network::shown(|name| sys.variable(name));
    let differences = network::differences(&ours, theirs);
    if differences.is_empty() {
        let all: Vec<_> = theirs.iter().map(|(name, value)| plain(&format!("{name}={value}"))).collect();
        let note = match all.as_slice() {
            [] => "no variable names a proxy or certificates".to_owned(),
            all => format!("the daemon has what this shell has: {}", all.join(" ")),
        };
        return Check::of(CHECK, Ok(note));
    }
    let value = |value: &Option<String>| value.as_deref().map_or_else(|| "not set".to_owned(), plain);
    let tell = |(name, ours, theirs): &(&str, Option<String>, Option<String>)| {
        format!("{name} is {} in this shell and {} for the daemon", value(ours), value(theirs))
    };
    let told = differences.iter().map(tell).collect::<Vec<_>>().join("; ");
    let is_trouble = |check: &Check| check.fault().is_some() && matches!(check.check, "rally" | "tls");
    if !checks.iter().any(is_trouble) {
        return Check::of(CHECK, Ok(format!("{told}; Rally answers anyway")));
    }
    let remedy = match is_run_by_systemd(sys) {
        true => "rally-cred setup --network yes",
        false => "rally-cred daemon restart",
    };
    let what = "the daemon and this shell have different network variables";
    Check::of(CHECK, Err(Fault::new(FaultKind::Failed, what).why(told).remedy(remedy)))
}

/// What the daemon has given up. What its kernel lacks is no fault of anybody's.
pub(super) fn confinement(status: Option<&Status>) -> Check {
    const CHECK: &str = "confinement";
    match status.map(|status| status.confinement) {
        Some(Some(confinement)) => Check::of(CHECK, Ok(status::confined(confinement))),
        Some(None) => Check::skipped(CHECK, "the daemon does not tell, or its system has none"),
        None => Check::skipped(CHECK, "there is no daemon to tell"),
    }
}

fn is_run_by_systemd(sys: &dyn System) -> bool {
    matches!(installed::units(sys), Units::Enabled(_) | Units::Failed(_))
}
