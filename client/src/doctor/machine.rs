//! The checks that need no daemon: modes of files, programs in PATH, git's configuration, systemd's units.
//! Does not: look into a file.
//! Met by: `doctor`.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use rally_cred_proto::{
    Fault, FaultKind, message::ProfileStatus, plain::plain, shell_word::shell_word, socket,
};

use super::Check;
use crate::{
    installed::{self, GIT_HELPER, GitHelper, Units},
    setup,
    surroundings::Surroundings,
};

/// Whether nobody else may change the config, read the log or use the socket.
pub(super) fn permissions(configs: &[PathBuf], around: &dyn Surroundings) -> Result<String, Fault> {
    for config in configs {
        if let Some(folder) = config.parent() {
            check_mode(folder, 0o022, "others may write to it", "go-w")?;
        }
        check_mode(config, 0o022, "others may write to it", "go-w")?;
    }
    if let Ok(folder) = socket::state_folder() {
        check_mode(&folder.join("daemon.log"), 0o077, "others may read it", "600")?;
    }
    if let Ok(socket) = around.socket() {
        check_mode(&socket, 0o077, "others may connect to it", "600")?;
    }
    Ok("nobody else may change the config, read the log or use the socket".to_owned())
}

/// What does not exist is as safe as can be.
#[cfg(unix)]
fn check_mode(path: &Path, forbidden: u32, why: &str, mend: &str) -> Result<(), Fault> {
    use std::os::unix::fs::MetadataExt;
    let Ok(found) = std::fs::metadata(path) else { return Ok(()) };
    // In a folder with the sticky bit, as /tmp is, others may not touch what is not theirs.
    let is_sticky = found.is_dir() && found.mode() & 0o1000 != 0;
    if is_sticky || found.mode() & forbidden == 0 {
        return Ok(());
    }
    Err(Fault::new(FaultKind::Failed, format!("{} is not safe", path.display()))
        .why(format!("{why} (mode {:04o})", found.mode() & 0o7777))
        .remedy(format!("chmod {mend} {}", shell_word(&path.display().to_string()))))
}

/// Elsewhere, files have lists of who may do what, and the user's folders are closed by inheritance.
#[cfg(not(unix))]
fn check_mode(_path: &Path, _forbidden: u32, _why: &str, _mend: &str) -> Result<(), Fault> {
    Ok(())
}

/// Whether git finds its helper, where it looks for it by name.
pub(super) fn path(profiles: &[ProfileStatus], around: &dyn Surroundings) -> Check {
    if let Some(helper) = installed::find_program(GIT_HELPER, around) {
        return Check::of("path", Ok(helper.display().to_string()));
    }
    let is_by_name =
        |profile: &ProfileStatus| installed::git_helper(&profile.base_url, around) == GitHelper::ByName;
    if !profiles.iter().any(is_by_name) {
        return Check::skipped("path", &format!("{GIT_HELPER} is not in PATH, and git does not look for it"));
    }
    let fault = Fault::new(FaultKind::Failed, format!("{GIT_HELPER} is not in PATH"));
    let folder = around.executable().and_then(|program| Some(program.parent()?.to_owned()));
    let fault = match folder.filter(|folder| folder.join(GIT_HELPER).is_file()) {
        Some(folder) => fault
            .why(format!("it lies in {}, which PATH does not name", folder.display()))
            .remedy(format!("export PATH=\"{}:$PATH\"", folder.display())),
        None => fault.why("it is not installed").remedy("cargo install --locked --path client"),
    };
    Check::of("path", Err(fault))
}

/// Whether git asks this program about each profile's server, where somebody wants it to.
pub(super) fn git(profiles: &[ProfileStatus], around: &dyn Surroundings) -> Vec<Check> {
    let servers: BTreeSet<_> = profiles.iter().map(|profile| plain(&profile.base_url)).collect();
    if servers.is_empty() {
        return vec![Check::skipped("git", "no server is known to ask about")];
    }
    servers.iter().map(|server| git_about(server, around)).collect()
}

fn git_about(server: &str, around: &dyn Surroundings) -> Check {
    let fault = Fault::new(FaultKind::Failed, format!("git does not ask rally-cred about {server}"));
    let helper = shell_word(&installed::helper_for_git(around).to_string_lossy());
    let command = format!("git config --global --add credential.{server}.helper {helper}");
    match installed::git_helper(server, around) {
        GitHelper::NoGit => Check::skipped("git", "there is no git"),
        GitHelper::ByName | GitHelper::ByPath => {
            Check::of("git", Ok(format!("it asks rally-cred about {server}")))
        }
        GitHelper::Undone => {
            let fault = fault.why("an empty credential.helper after rally-cred's takes it out again");
            Check::of("git", Err(fault.remedy(command)))
        }
        GitHelper::Absent if setup::has_told_git_of(server) => {
            let fault = fault.why("rally-cred setup set it as a helper, and it is there no more");
            Check::of("git", Err(fault.remedy(command)))
        }
        // Nobody has to use git.
        GitHelper::Absent => Check::skipped(
            "git",
            &format!("it does not ask rally-cred about {server}; if it should: {command}"),
        ),
    }
}

/// Whether the units do what they were installed for.
pub(super) fn units(around: &dyn Surroundings) -> Check {
    let outcome = match installed::units(around) {
        Units::NoManager => return Check::skipped("units", "systemd runs nothing for this user here"),
        Units::NotInstalled => Ok("not installed; rally-cred starts the daemon itself".to_owned()),
        Units::Enabled(unit) => Ok(format!("{unit} is enabled")),
        Units::Disabled(unit) => Err(Fault::new(FaultKind::Failed, format!("{unit} is not enabled"))
            .why("systemd does not start the daemon")
            .remedy(format!("systemctl --user enable --now {unit}"))),
        Units::Failed(unit) => Err(Fault::new(FaultKind::Failed, format!("{unit} has failed"))
            .why(format!("journalctl --user -u {unit} says more"))
            .remedy(format!("systemctl --user restart {unit}"))),
    };
    Check::of("units", outcome)
}
