//! The checks that need no daemon: modes of files, programs in PATH, git's configuration, systemd's units.
//! Does not: look into a file.
//! Met by: `doctor`.

use std::{collections::BTreeSet, path::Path};

use rally_cred_proto::{Fault, FaultKind, message::ProfileStatus, plain::plain, socket};

use super::Check;
use crate::{
    config,
    installed::{self, GIT_HELPER, GitHelper, Units},
    surroundings::Surroundings,
};

/// Whether nobody else may change the config, read the log or use the socket.
pub(super) fn permissions(around: &dyn Surroundings) -> Result<String, Fault> {
    let config = config::find_path(around)?;
    // What a variable names may be anything, so then the variable is to change and not the file.
    let elsewhere = around.variable("RALLY_CRED_CONFIG").map(|_| {
        "set RALLY_CRED_CONFIG to a file of your own, in a folder that nobody else may write to".to_owned()
    });
    if let Some(folder) = config.parent() {
        check_mode(folder, 0o022, "others may write to it", "go-w", elsewhere.clone())?;
    }
    check_mode(&config, 0o022, "others may write to it", "go-w", elsewhere)?;
    if let Ok(folder) = socket::state_folder() {
        check_mode(&folder.join("daemon.log"), 0o077, "others may read it", "600", None)?;
    }
    if let Ok(path) = around.socket() {
        let elsewhere = (!socket::is_default(&path)).then(|| socket::OTHER_PATH.to_owned());
        check_mode(&path, 0o077, "others may connect to it", "600", elsewhere)?;
    }
    Ok("nobody else may change the config, read the log or use the socket".to_owned())
}

/// What does not exist is as safe as can be. The remedy is a command for the file, unless another one is given.
#[cfg(unix)]
fn check_mode(
    path: &Path,
    forbidden: u32,
    why: &str,
    mend: &str,
    remedy: Option<String>,
) -> Result<(), Fault> {
    use std::os::unix::fs::MetadataExt;
    let Ok(found) = std::fs::metadata(path) else { return Ok(()) };
    // In a folder with the sticky bit, as /tmp is, others may not touch what is not theirs.
    let is_sticky = found.is_dir() && found.mode() & 0o1000 != 0;
    if is_sticky || found.mode() & forbidden == 0 {
        return Ok(());
    }
    Err(Fault::new(FaultKind::Failed, format!("{} is not safe", path.display()))
        .why(format!("{why} (mode {:04o})", found.mode() & 0o7777))
        .remedy(remedy.unwrap_or_else(|| {
            format!("chmod {mend} {}", rally_cred_proto::shell_word::shell_word(&path.display().to_string()))
        })))
}

/// Elsewhere, files have lists of who may do what, and the user's folders are closed by inheritance.
#[cfg(not(unix))]
fn check_mode(_: &Path, _: u32, _: &str, _: &str, _: Option<String>) -> Result<(), Fault> {
    Ok(())
}

/// Whether git finds its helper.
pub(super) fn path(around: &dyn Surroundings) -> Result<String, Fault> {
    if let Some(helper) = installed::find_program(GIT_HELPER, around) {
        return Ok(helper.display().to_string());
    }
    let fault = Fault::new(FaultKind::Failed, format!("{GIT_HELPER} is not in PATH"));
    let folder = around.executable().and_then(|program| Some(program.parent()?.to_owned()));
    Err(match folder.filter(|folder| folder.join(GIT_HELPER).is_file()) {
        Some(folder) => fault
            .why(format!("it lies in {}, which PATH does not name", folder.display()))
            .remedy(format!("export PATH=\"{}:$PATH\"", folder.display())),
        None => fault.why("it is not installed").remedy("cargo install --locked --path client"),
    })
}

/// The servers of the profiles, each once.
pub(super) fn servers(profiles: &[ProfileStatus]) -> BTreeSet<String> {
    profiles.iter().map(|profile| plain(&profile.base_url)).collect()
}

/// Whether git asks this program about each profile's server, and nobody else; and nobody else either about the servers
/// of static credentials for which it asks this program.
pub(super) fn git(servers: &BTreeSet<String>, stores: &[String], around: &dyn Surroundings) -> Vec<Check> {
    if servers.is_empty() && stores.is_empty() {
        return vec![Check::skipped("git", "no server is known to ask about")];
    }
    let judge = |server: &String| match installed::git_helper(server, around) {
        GitHelper::NoGit => Check::skipped("git", "there is no git"),
        GitHelper::Ours => Check::of("git", Ok(format!("it asks rally-cred about {server}"))),
        GitHelper::Absent => Check::of(
            "git",
            Err(Fault::new(FaultKind::Failed, format!("git does not ask rally-cred about {server}"))
                .why("no credential.helper is set for it")
                .remedy(add_git_helper(server))),
        ),
        GitHelper::Shared(others) => Check::of("git", Err(shared(server, &others))),
    };
    let is_shared = |server: &&String| matches!(installed::git_helper(server, around), GitHelper::Shared(_));
    servers.iter().chain(stores.iter().filter(is_shared)).map(judge).collect()
}

/// The fault of helpers beside this program.
fn shared(server: &str, others: &[String]) -> Fault {
    Fault::new(FaultKind::Failed, format!("git asks others than rally-cred about {server}"))
        .why(format!(
            "it tells them what it was given, and they may keep it in plain text: {}",
            others.join(", ")
        ))
        // Taken out first, since what is added stands behind all that is there.
        .remedy(format!(
            "git config --global --unset-all credential.{server}.helper; {}",
            add_git_helper(server)
        ))
}

/// Has git ask this program alone: an empty helper has it forget those before, which would keep the token.
fn add_git_helper(server: &str) -> String {
    let add = format!("git config --global --add credential.{server}.helper");
    format!("{add} '' && {add} rally")
}

/// Whether the units do what they were installed for, and the daemon that answers, if one does, is theirs.
pub(super) fn units(daemon: Option<u32>, around: &dyn Surroundings) -> Check {
    let outcome = match installed::units(around) {
        Units::NoManager => return Check::skipped("units", "systemd runs nothing for this user here"),
        Units::NotInstalled => Ok("not installed; rally-cred starts the daemon itself".to_owned()),
        Units::Enabled(unit) => match (daemon, installed::process_behind_socket(around)) {
            (Some(answers), Some(behind)) if answers != behind => {
                Err(Fault::new(FaultKind::Failed, format!("clients do not come to {unit}"))
                    .why(format!("process {answers} answers them, which systemd did not start"))
                    .remedy(format!("systemctl --user restart {unit}")))
            }
            _ => Ok(format!("{unit} is enabled")),
        },
        Units::Disabled(unit) => Err(Fault::new(FaultKind::Failed, format!("{unit} is not enabled"))
            .why("systemd does not start the daemon")
            .remedy(format!("systemctl --user enable --now {unit}"))),
        Units::Failed(unit) => Err(Fault::new(FaultKind::Failed, format!("{unit} has failed"))
            .why(format!("journalctl --user -u {unit} says more"))
            .remedy(format!("systemctl --user restart {unit}"))),
    };
    Check::of("units", outcome)
}
