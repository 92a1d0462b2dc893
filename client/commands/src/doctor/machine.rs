//! The checks that need no daemon: file modes, programs in PATH, git's configuration, what starts the daemon.
//! Does not: read files.
//! Used by: `doctor`.

use std::path::{Path, PathBuf};
use std::{collections::BTreeSet, env::consts::EXE_SUFFIX};

use rally_cred::{autostart::find_program, system::System};
#[cfg(not(windows))]
use rally_cred_proto::shell_word::shell_word;
use rally_cred_proto::{Fault, FaultKind, message::ProfileStatus, native, plain::plain, socket, variables};

use super::Check;
#[cfg(target_os = "macos")]
use crate::installed::launchd;
use crate::installed::{self, By, GIT_HELPER, GitHelper, Units};
use crate::setup;

/// Whether nobody else may change the config, read the log or use the socket.
pub(super) fn permissions(configs: &[PathBuf], sys: &dyn System) -> Result<String, Fault> {
    for config in configs {
        // A path from a variable may be anything, so the variable has to change and not the file.
        let other_file =
            "set RALLY_CRED_CONFIG to a file of your own, in a folder that nobody else may write to";
        let is_usual = variables::config_file(None).as_ref() == Ok(config);
        let elsewhere = (!is_usual).then(|| other_file.to_owned());
        if let Some(folder) = config.parent() {
            check_mode(folder, 0o022, "others may write to it", "go-w", elsewhere.clone())?;
        }
        check_mode(config, 0o022, "others may write to it", "go-w", elsewhere)?;
    }
    if let Ok(folder) = socket::state_folder() {
        check_mode(&folder.join("daemon.log"), 0o077, "others may read it", "600", None)?;
    }
    if let Ok(path) = sys.socket() {
        let elsewhere = (!socket::is_default(&path)).then(|| socket::OTHER_PATH.to_owned());
        check_mode(&path, 0o077, "others may connect to it", "600", elsewhere)?;
    }
    Ok("nobody else may change the config, read the log or use the socket".to_owned())
}

/// Checks a file's mode; a missing file passes. The default remedy is a chmod.
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
    // In a folder with the sticky bit, such as /tmp, users can change only their own files.
    let is_sticky = found.is_dir() && found.mode() & 0o1000 != 0;
    if is_sticky || found.mode() & forbidden == 0 {
        return Ok(());
    }
    let path = path.display().to_string();
    Err(Fault::new(FaultKind::Failed, format!("{path} is not safe"))
        .why(format!("{why} (mode {:04o})", found.mode() & 0o7777))
        .remedy(remedy.unwrap_or_else(|| format!("chmod {mend} {}", shell_word(&path)))))
}

/// Other systems use access lists, by which the user's folders are private.
#[cfg(not(unix))]
fn check_mode(_: &Path, _: u32, _: &str, _: &str, _: Option<String>) -> Result<(), Fault> {
    Ok(())
}

/// Whether git finds its helper in `PATH`, if it is configured by name.
pub(super) fn path(profiles: &[ProfileStatus], sys: &dyn System) -> Check {
    if let Some(helper) = find_program(GIT_HELPER, sys) {
        return Check::of("path", Ok(helper.display().to_string()));
    }
    let is_by_name = |profile: &ProfileStatus| {
        let helper = installed::git_helper(&profile.base_url, sys);
        matches!(helper, GitHelper::Ours { by: By::Name, .. })
    };
    if !profiles.iter().any(is_by_name) {
        return Check::skipped("path", &format!("{GIT_HELPER} is not in PATH, and git does not look for it"));
    }
    let fault = Fault::new(FaultKind::Failed, format!("{GIT_HELPER} is not in PATH"));
    let folder = sys.executable().and_then(|program| Some(program.parent()?.to_owned()));
    let fault = match folder.filter(|folder| folder.join(format!("{GIT_HELPER}{EXE_SUFFIX}")).is_file()) {
        Some(folder) => {
            fault.why(format!("it lies in {}, which PATH does not name", folder.display())).remedy(native!(
                format!("export PATH=\"{}:$PATH\"", folder.display()),
                windows: format!("$env:Path += ';{}'", folder.display())
            ))
        }
        None => fault.why("it is not installed").remedy("cargo install --locked --path client"),
    };
    Check::of("path", Err(fault))
}

/// The servers of the profiles, without duplicates.
pub(super) fn servers(profiles: &[ProfileStatus]) -> BTreeSet<String> {
    profiles.iter().map(|profile| plain(&profile.base_url)).collect()
}

/// Whether git asks this program, and no other helper, about each profile's server, if it is configured to. For servers
/// of static credentials, only whether other helpers are asked as well.
pub(super) fn git(servers: &BTreeSet<String>, stores: &[String], sys: &dyn System) -> Vec<Check> {
    if servers.is_empty() && stores.is_empty() {
        return vec![Check::skipped("git", "no server is known to ask about")];
    }
    let is_shared = |server: &&String| {
        let helper = installed::git_helper(server, sys);
        matches!(helper, GitHelper::Ours { others, .. } if !others.is_empty())
    };
    let all = servers.iter().chain(stores.iter().filter(is_shared));
    all.map(|server| git_about(server, sys)).collect()
}

fn git_about(server: &str, sys: &dyn System) -> Check {
    let fault = Fault::new(FaultKind::Failed, format!("git does not ask rally-cred about {server}"));
    let command = add_git_helper(server, sys);
    match installed::git_helper(server, sys) {
        GitHelper::NoGit => Check::skipped("git", "there is no git"),
        GitHelper::Ours { others, .. } if others.is_empty() => {
            Check::of("git", Ok(format!("it asks rally-cred about {server}")))
        }
        GitHelper::Ours { others, .. } => Check::of("git", Err(shared(server, &others, sys))),
        GitHelper::Undone => {
            let fault = fault.why("an empty credential.helper after rally-cred's removes it");
            let command = match installed::has_helpers_behind(server, sys) {
                true => set_git_helper(server, sys),
                false => command,
            };
            Check::of("git", Err(fault.remedy(command)))
        }
        GitHelper::Absent if setup::has_told_git_of(server) => {
            let fault = fault.why("rally-cred setup configured it as a helper, but it is gone");
            Check::of("git", Err(fault.remedy(command)))
        }
        // Using git is optional.
        GitHelper::Absent => {
            let note = format!("it does not ask rally-cred about {server}; if it should: {command}");
            Check::skipped("git", &note)
        }
    }
}

/// The fault of other helpers beside ours.
fn shared(server: &str, others: &[String], sys: &dyn System) -> Fault {
    let others = others.join(", ");
    Fault::new(FaultKind::Failed, format!("git asks other helpers than rally-cred about {server}"))
        .why(format!("it passes the token on to them, and they may keep it in plain text: {others}"))
        .remedy(set_git_helper(server, sys))
}

/// As [`add_git_helper`], but behind all other settings.
#[cfg(not(windows))]
fn set_git_helper(server: &str, sys: &dyn System) -> String {
    format!("git config --global --unset-all credential.{server}.helper; {}", add_git_helper(server, sys))
}

/// The commands by which git asks this program alone: an empty helper resets the list, since others would keep the token.
#[cfg(not(windows))]
fn add_git_helper(server: &str, sys: &dyn System) -> String {
    let add = format!("git config --global --add credential.{server}.helper");
    let helper = installed::helper_for_git(sys);
    format!("{add} '' && {add} {}", shell_word(&helper.to_string_lossy()))
}

/// No shell of Windows passes an empty word on as another does, so it is left to `setup`.
#[cfg(windows)]
fn set_git_helper(_server: &str, _sys: &dyn System) -> String {
    "rally-cred setup --git yes".to_owned()
}

#[cfg(windows)]
use set_git_helper as add_git_helper;

/// Whether what starts the daemon is enabled and healthy, and the running daemon is from there.
#[cfg_attr(
    any(windows, target_os = "macos"),
    expect(unused_variables, reason = "only systemd tells which daemon is its own")
)]
pub(super) fn units(daemon: Option<u32>, sys: &dyn System) -> Check {
    let outcome = match installed::units(sys) {
        Units::NoManager => return Check::skipped("units", installed::NO_MANAGER),
        Units::NotInstalled => Ok("not installed; rally-cred starts the daemon itself".to_owned()),
        #[cfg(any(windows, target_os = "macos"))]
        Units::Enabled(unit) => Ok(format!(
            "{unit} starts the daemon when you sign in to {}",
            native!("", macos: "macOS", windows: "Windows")
        )),
        #[cfg(target_os = "macos")]
        Units::Disabled(unit) => Err(Fault::new(FaultKind::Failed, format!("{unit} is not loaded"))
            .why("launchd does not start the daemon")
            .remedy(format!(
                "launchctl bootstrap {} ~/Library/LaunchAgents/rally-cred.plist",
                launchd::session()
            ))),
        #[cfg(not(any(windows, target_os = "macos")))]
        Units::Enabled(unit) => match (daemon, installed::process_behind_socket(sys)) {
            (Some(answers), Some(behind)) if answers != behind => {
                Err(Fault::new(FaultKind::Failed, format!("clients do not come to {unit}"))
                    .why(format!("process {answers} answers them, which systemd did not start"))
                    .remedy(format!("systemctl --user restart {unit}")))
            }
            _ => Ok(format!("{unit} is enabled")),
        },
        #[cfg(not(any(windows, target_os = "macos")))]
        Units::Disabled(unit) => Err(Fault::new(FaultKind::Failed, format!("{unit} is not enabled"))
            .why("systemd does not start the daemon")
            .remedy(format!("systemctl --user enable --now {unit}"))),
        #[cfg(not(any(windows, target_os = "macos")))]
        Units::Failed(unit) => Err(Fault::new(FaultKind::Failed, format!("{unit} has failed"))
            .why(format!("journalctl --user -u {unit} says more"))
            .remedy(format!("systemctl --user restart {unit}"))),
    };
    Check::of("units", outcome)
}
