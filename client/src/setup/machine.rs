//! What `setup` offers beside the profile: systemd's units, git's credential helper, a shell's completions.
//! Does not: carry anything out, or plan what is so already.
//! Met by: `setup`.

use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use rally_cred_proto::{Fault, FaultKind};

use super::{change::Change, interview::Interview, record::Made};
use crate::{
    autostart, completions,
    installed::{self, GitHelper, UNITS, Units},
    surroundings::Surroundings,
};

/// The units, as they lie in the source.
const UNIT_TEXTS: [(&str, &str); 2] = [
    ("rally-cred.socket", include_str!("../../../systemd/rally-cred.socket")),
    ("rally-cred.service", include_str!("../../../systemd/rally-cred.service")),
];

/// Plans the units, where systemd has a manager for this user that could run them.
pub(super) fn offer_units(
    interview: &mut Interview<'_, '_>,
    given: Option<bool>,
    around: &dyn Surroundings,
) -> Result<Vec<Change>, Fault> {
    let state = installed::units(around);
    if given == Some(true) && state == Units::NoManager {
        return Err(impossible("systemd runs nothing for this user here", "--units no"));
    }
    let is_worth_asking = matches!(state, Units::NotInstalled | Units::Disabled(_));
    // The user manager's daemon would know nothing of these.
    let is_elsewhere =
        ["RALLY_CRED_CONFIG", "RALLY_CRED_SOCKET"].iter().any(|name| around.variable(name).is_some());
    if given != Some(true) && (!is_worth_asking || is_elsewhere) {
        return Ok(Vec::new());
    }
    if !interview.yes("Have systemd start the daemon when it is needed?", given)? {
        return Ok(Vec::new());
    }
    let mut plan = Vec::new();
    if state == Units::NotInstalled || user_unit(UNITS[0], around).is_some_and(|path| path.exists()) {
        let daemon = autostart::daemon_program(around)?;
        for (name, text) in UNIT_TEXTS {
            if let Some(path) = user_unit(name, around) {
                plan.extend(
                    write(path, unit_text(text, &daemon, around)?).into_iter().flat_map(Change::noted),
                );
            }
        }
        if !plan.is_empty() {
            plan.push(systemctl(&["daemon-reload"]));
        }
    }
    if !matches!(state, Units::Enabled(_)) {
        // A daemon that listens already would keep the socket from systemd.
        plan.extend([Change::Stop, Change::Note(Made::Units), systemctl(&["enable", "--now", UNITS[0]])]);
    }
    Ok(plan)
}

/// The text of a unit, for a daemon that may lie where the unit does not look.
fn unit_text(text: &str, daemon: &Path, around: &dyn Surroundings) -> Result<String, Fault> {
    const SEARCHED: &str = "ExecSearchPath=";
    let folder = daemon.parent().unwrap_or(Path::new("/"));
    let home = home(around).unwrap_or_default();
    if [home.join(".cargo/bin").as_path(), Path::new("/usr/local/bin"), Path::new("/usr/bin")]
        .contains(&folder)
    {
        return Ok(text.to_owned());
    }
    // systemd reads `%` in a path as the beginning of a name of its own; `%h` is the home, which need not be text.
    let named = match (folder.to_str(), folder.strip_prefix(&home).ok().and_then(Path::to_str)) {
        (Some(folder), _) => folder.replace('%', "%%"),
        (None, Some(below)) => format!("%h/{}", below.replace('%', "%%")),
        (None, None) => {
            let why = format!("{} is no text, and a unit has to name it", folder.display());
            return Err(impossible(&why, "--units no"));
        }
    };
    Ok(text.replace(SEARCHED, &format!("{SEARCHED}{named}:")))
}

pub(super) fn systemctl(arguments: &[&str]) -> Change {
    let arguments = std::iter::once(&"--user").chain(arguments).map(Into::into).collect();
    Change::Run { program: "systemctl", arguments }
}

/// Plans git's setting for Rally's server.
pub(super) fn offer_git(
    interview: &mut Interview<'_, '_>,
    given: Option<bool>,
    base_url: &str,
    around: &dyn Surroundings,
) -> Result<Vec<Change>, Fault> {
    match installed::git_helper(base_url, around) {
        GitHelper::NoGit if given == Some(true) => return Err(impossible("there is no git", "--git no")),
        GitHelper::NoGit | GitHelper::ByName | GitHelper::ByPath => return Ok(Vec::new()),
        GitHelper::Absent | GitHelper::Undone => {}
    }
    if !interview.yes(&format!("Have git ask rally-cred about {base_url}?"), given)? {
        return Ok(Vec::new());
    }
    let key = git_key(base_url);
    let helper = installed::helper_for_git(around);
    let change = git([OsStr::new("--add"), OsStr::new(&key), &helper]);
    let made = if helper == "rally" { Made::GitHelper(key) } else { Made::GitHelperAt(key, helper.into()) };
    Ok(vec![Change::Note(made), change])
}

/// The key of git's setting for the server of a base URL.
pub(super) fn git_key(base_url: &str) -> String {
    format!("credential.{}.helper", base_url.trim_end_matches('/'))
}

/// Plans the end of things that `setup` has made, as far as they are still there.
pub(super) fn undo(all: impl IntoIterator<Item = Made>, around: &dyn Surroundings) -> Vec<Change> {
    let has_manager = installed::units(around) != Units::NoManager;
    let mut plan = Vec::new();
    let mut has_unit_files = false;
    for made in all {
        match &made {
            Made::File(path) if fs::symlink_metadata(path).is_err() => {}
            Made::File(path) => {
                has_unit_files |= user_unit("", around).is_some_and(|units| path.starts_with(units));
                plan.push(Change::Delete(path.clone()));
            }
            Made::GitHelper(key) if has_git_helper(key, OsStr::new("rally"), around) => {
                plan.push(git(["--unset-all", key, "^rally$"].map(OsStr::new)));
            }
            Made::GitHelperAt(key, helper) if has_git_helper(key, helper.as_os_str(), around) => {
                let words = ["--fixed-value", "--unset-all", key].map(OsStr::new);
                plan.push(git(words.into_iter().chain([helper.as_os_str()])));
            }
            Made::Units if has_manager => plan.push(systemctl(&[&["disable", "--now"][..], &UNITS].concat())),
            Made::GitHelper(_) | Made::GitHelperAt(..) | Made::Units => {}
        }
        plan.push(Change::Forget(made));
    }
    if has_unit_files && has_manager {
        plan.push(systemctl(&["daemon-reload"]));
    }
    plan
}

fn has_git_helper(key: &str, helper: &OsStr, around: &dyn Surroundings) -> bool {
    let mut ask = Command::new("git");
    ask.args(["config", "--global", "--null", "--get-all", key]);
    let found = around.output_of(&mut ask).map(|found| found.stdout).unwrap_or_default();
    found.split(|byte| *byte == 0).any(|value| value == helper.as_encoded_bytes())
}

fn git<'a>(arguments: impl IntoIterator<Item = &'a OsStr>) -> Change {
    let arguments = ["config", "--global"].map(OsStr::new).into_iter().chain(arguments);
    Change::Run { program: "git", arguments: arguments.map(OsStr::to_owned).collect() }
}

/// Plans the completions of the person's shell, if that looks for them in a folder of the user.
pub(super) fn offer_completions(
    interview: &mut Interview<'_, '_>,
    given: Option<&str>,
    around: &dyn Surroundings,
) -> Result<Vec<Change>, Fault> {
    let own = around.variable("SHELL").map(PathBuf::from);
    let own = own.as_deref().and_then(Path::file_name).and_then(|name| name.to_str());
    let Some(shell) = given.or(own).filter(|shell| *shell != "no") else { return Ok(Vec::new()) };
    let Some(path) = completions_file(shell, around) else {
        if given.is_some() {
            interview.tell(&format!(
                "{shell} has no folder for completions; rally-cred completions --help says where they go"
            ));
        }
        return Ok(Vec::new());
    };
    let change = if has_packaged_completions(shell, around) {
        None
    } else {
        write(path, completions::find_script(shell).to_owned())
    };
    if change.is_none()
        || !interview.yes(&format!("Have {shell} complete rally-cred's commands?"), given.map(|_| true))?
    {
        return Ok(Vec::new());
    }
    Ok(change.into_iter().flat_map(Change::noted).collect())
}

/// Whether a package has put them where this shell looks, for every user.
fn has_packaged_completions(shell: &str, around: &dyn Surroundings) -> bool {
    let below = match shell {
        "bash" => "bash-completion/completions/rally-cred",
        "fish" => "fish/vendor_completions.d/rally-cred.fish",
        _ => return false,
    };
    let folders = around.variable("XDG_DATA_DIRS").unwrap_or_else(|| "/usr/local/share:/usr/share".into());
    std::env::split_paths(&folders).any(|folder| folder.join(below).is_file())
}

fn completions_file(shell: &str, around: &dyn Surroundings) -> Option<PathBuf> {
    let (folder, name) = match shell {
        "bash" => (folder("XDG_DATA_HOME", ".local/share", around), "bash-completion/completions/rally-cred"),
        "fish" => (folder("XDG_CONFIG_HOME", ".config", around), "fish/completions/rally-cred.fish"),
        _ => return None,
    };
    Some(folder?.join(name))
}

pub(super) fn user_unit(name: &str, around: &dyn Surroundings) -> Option<PathBuf> {
    let folder = folder("XDG_CONFIG_HOME", ".config", around).filter(|_| cfg!(target_os = "linux"))?;
    Some(folder.join("systemd/user").join(name))
}

/// A folder of the user, by its variable or below the home folder.
fn folder(variable: &str, below_home: &str, around: &dyn Surroundings) -> Option<PathBuf> {
    let set = around.variable(variable).map(PathBuf::from).filter(|path| path.is_absolute());
    set.or_else(|| Some(home(around)?.join(below_home)))
}

fn home(around: &dyn Surroundings) -> Option<PathBuf> {
    around.variable("HOME").map(PathBuf::from).filter(|path| path.is_absolute())
}

/// A file of ours, unless it is so already.
pub(super) fn write(path: PathBuf, text: String) -> Option<Change> {
    let is_so = fs::read_to_string(&path).is_ok_and(|found| found == text);
    (!is_so).then_some(Change::Write { path, text })
}

/// Something that was asked for by a flag.
pub(super) fn impossible(why: &str, without: &str) -> Fault {
    Fault::new(FaultKind::Failed, "what is asked for cannot be done")
        .why(why)
        .remedy(format!("rally-cred setup {without}"))
}
