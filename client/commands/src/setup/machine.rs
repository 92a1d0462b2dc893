//! What `setup` offers beside the profile: a start with the session, git's credential helper, a shell's completions.
//! Does not: carry anything out, or plan what is done already.
//! Used by: `setup`.

#[cfg(any(target_os = "macos", all(test, unix)))]
mod launchd;

use std::ffi::{OsStr, OsString};
#[cfg(not(any(windows, target_os = "macos")))]
use std::path::Path;
use std::path::PathBuf;
use std::{fs, io, process::Command};

use clap::ValueEnum;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
#[cfg(not(any(windows, target_os = "macos")))]
use rally_cred::autostart;
use rally_cred::system::System;
use rally_cred_proto::{Fault, FaultKind, native, own_file, socket, variables};

use super::interview::{Interview, YesNo};
use super::{change::Change, record::Made};
use crate::completions::Shell;
#[cfg(not(any(windows, target_os = "macos")))]
use crate::installed::UNITS;
use crate::installed::{self, GitHelper, Units};

/// The units, as they lie in the source.
#[cfg(not(any(windows, target_os = "macos")))]
const UNIT_TEXTS: [(&str, &str); 3] = [
    ("rally-cred.socket", include_str!("../../../../systemd/rally-cred.socket")),
    ("rally-cred.service", include_str!("../../../../systemd/rally-cred.service")),
    ("rally-cred-gateway@.socket", include_str!("../../../../systemd/rally-cred-gateway@.socket")),
];

/// What the name of a gateway's socket begins with, before its port.
#[cfg(not(any(windows, target_os = "macos")))]
const GATEWAY_UNIT: &str = "rally-cred-gateway@";

/// The helper's name in git's configuration.
const NAME: &str = "rally";

/// Plans what starts the daemon, where systemd or launchd could run it for this user, or Windows could. `ports`: of the
/// gateways, which systemd opens as well.
pub(super) fn offer_units(
    interview: &mut Interview<'_, '_>,
    given: Option<YesNo>,
    ports: &[u16],
    sys: &dyn System,
) -> Result<Vec<Change>, Fault> {
    let state = installed::units(sys);
    if given == Some(YesNo::Yes) && state == Units::NoManager {
        return Err(impossible(installed::NO_MANAGER, "--units no"));
    }
    let is_worth_asking = state != Units::NoManager && !state.are_enabled();
    // The user manager's daemon would know nothing of these.
    let is_elsewhere = [variables::CONFIG, socket::OVERRIDE].iter().any(|name| sys.variable(name).is_some());
    if given != Some(YesNo::Yes) && (!is_worth_asking || is_elsewhere) {
        return Ok(Vec::new());
    }
    let question = native!(
        "Have systemd start the daemon when it is needed?",
        macos: "Have launchd start the daemon when you sign in?",
        windows: "Have Windows start the daemon when you sign in?"
    );
    if !interview.yes(question, given)? {
        return Ok(Vec::new());
    }
    plan_units(&state, ports, sys)
}

/// Windows starts the client, not the daemon, whose console would stay open.
#[cfg(windows)]
fn plan_units(state: &Units, _ports: &[u16], sys: &dyn System) -> Result<Vec<Change>, Fault> {
    if state.are_enabled() {
        return Ok(Vec::new());
    }
    let client = sys.executable().map(|own| own.with_file_name("rally-cred.exe")).unwrap_or_default();
    // The long form of a path is for programs.
    let client = client.display().to_string();
    let line = format!("\"{}\" daemon start", client.strip_prefix(r"\\?\").unwrap_or(&client));
    Ok(vec![Change::Note(Made::Units), reg("add", &["/t", "REG_SZ", "/d", &line, "/f"])])
}

#[cfg(windows)]
fn reg(verb: &str, arguments: &[&str]) -> Change {
    let arguments =
        std::iter::once(&verb).chain(&installed::RUN_KEY).chain(arguments).map(Into::into).collect();
    Change::Run { program: "reg", arguments }
}

/// The agent, which launchd loads at once and whenever the user signs in.
#[cfg(target_os = "macos")]
fn plan_units(state: &Units, _ports: &[u16], sys: &dyn System) -> Result<Vec<Change>, Fault> {
    launchd::plan(state, sys)
}

#[cfg(not(any(windows, target_os = "macos")))]
fn plan_units(state: &Units, ports: &[u16], sys: &dyn System) -> Result<Vec<Change>, Fault> {
    let mut plan = Vec::new();
    if *state == Units::NotInstalled || user_unit(UNITS[0], sys).is_some_and(|path| path.exists()) {
        let daemon = autostart::daemon_program(sys)?;
        for (name, text) in UNIT_TEXTS {
            if let Some(path) = user_unit(name, sys) {
                plan.extend(write(path, unit_text(text, &daemon, sys)?).into_iter().flat_map(Change::noted));
            }
        }
        if !plan.is_empty() {
            plan.push(systemctl(&["daemon-reload"]));
        }
    }
    if !matches!(state, Units::Enabled(_)) {
        // A daemon that listens already would keep the socket from systemd.
        let gateways: Vec<_> = ports.iter().map(|port| format!("{GATEWAY_UNIT}{port}.socket")).collect();
        let all = ["enable", "--now", UNITS[0]].into_iter().chain(gateways.iter().map(String::as_str));
        plan.extend([Change::Stop, Change::Note(Made::Units), systemctl(&all.collect::<Vec<_>>())]);
    }
    Ok(plan)
}

/// The text of a unit, for a daemon that may lie where the unit does not look.
#[cfg(not(any(windows, target_os = "macos")))]
fn unit_text(text: &str, daemon: &Path, sys: &dyn System) -> Result<String, Fault> {
    const SEARCHED: &str = "ExecSearchPath=";
    let folder = daemon.parent().unwrap_or(Path::new("/"));
    let home = home(sys).unwrap_or_default();
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
    given: Option<YesNo>,
    base_url: &str,
    sys: &dyn System,
) -> Result<Vec<Change>, Fault> {
    let helper = installed::git_helper(base_url, sys);
    match helper {
        GitHelper::NoGit if given == Some(YesNo::Yes) => {
            return Err(impossible("there is no git", "--git no"));
        }
        GitHelper::NoGit => return Ok(Vec::new()),
        GitHelper::Ours { others, .. } if others.is_empty() => return Ok(Vec::new()),
        // git would put a file in the place of /dev/null, which root may.
        _ if has_no_git_config(sys) => {
            return match given {
                Some(YesNo::Yes) => Err(impossible("GIT_CONFIG_GLOBAL leads to no file", "--git no")),
                _ => Ok(Vec::new()),
            };
        }
        GitHelper::Absent | GitHelper::Undone | GitHelper::Ours { .. } => {}
    }
    if !interview.yes(&format!("Have git ask rally-cred about {base_url}?"), given)? {
        return Ok(Vec::new());
    }
    let key = git_key(base_url);
    let own = global_helpers(&key, sys);
    let helper = installed::helper_for_git(sys);
    let add = |helper: &OsStr| git([OsStr::new("--add"), OsStr::new(&key), helper]);
    let mut plan = Vec::new();
    if installed::has_helpers_behind(base_url.trim_end_matches('/'), sys) {
        // A new section of the file stands behind all others, and what is added goes into an old one.
        plan.push(git(["--unset-all", &key].map(OsStr::new)));
        plan.extend(own.iter().filter(|other| **other != helper).map(|other| add(other)));
    } else if own.contains(&helper) {
        // It has to stand behind the empty one.
        plan.push(take_out(&key, &helper));
    }
    // Whoever wrote it keeps it.
    if !own.contains(&helper) {
        plan.push(Change::Note(match helper.to_str() {
            Some(NAME) => Made::GitHelper(key.clone()),
            _ => Made::GitHelperAt(key.clone(), helper.clone().into()),
        }));
    }
    // Without it, git would tell `store` of the token, which keeps it in plain text.
    plan.extend([Change::Note(Made::GitReset(key.clone())), add(OsStr::new("")), add(&helper)]);
    Ok(plan)
}

/// Whether somebody has taken git's global configuration away by something that is no file.
fn has_no_git_config(sys: &dyn System) -> bool {
    let path = sys.variable("GIT_CONFIG_GLOBAL");
    path.is_some_and(|path| fs::metadata(path).is_ok_and(|found| !found.is_file()))
}

/// The key of git's setting for the server of a base URL.
pub(super) fn git_key(base_url: &str) -> String {
    format!("credential.{}.helper", base_url.trim_end_matches('/'))
}

/// Plans the end of things that `setup` has made, as far as they are still there.
pub(super) fn undo(all: impl IntoIterator<Item = Made>, sys: &dyn System) -> Vec<Change> {
    let has_manager = installed::units(sys) != Units::NoManager;
    let mut plan = Vec::new();
    let mut has_unit_files = false;
    for made in all {
        match &made {
            Made::File(path) if fs::symlink_metadata(path).is_err() => {}
            Made::File(path) => {
                has_unit_files |= user_unit("", sys).is_some_and(|units| path.starts_with(units));
                plan.push(Change::Delete(path.clone()));
            }
            Made::GitHelper(key) if global_helpers(key, sys).iter().any(|helper| helper == NAME) => {
                plan.push(take_out(key, OsStr::new(NAME)));
            }
            Made::GitHelperAt(key, helper)
                if global_helpers(key, sys).iter().any(|found| found == helper) =>
            {
                plan.push(take_out(key, helper.as_os_str()));
            }
            Made::GitReset(key) => plan.extend(undo_reset(key, sys)),
            Made::Units if has_manager => plan.extend(undo_units(sys)),
            Made::GitHelper(_) | Made::GitHelperAt(..) | Made::Units => {}
        }
        plan.push(Change::Forget(made));
    }
    if cfg!(target_os = "linux") && has_unit_files && has_manager {
        plan.push(systemctl(&["daemon-reload"]));
    }
    plan
}

#[cfg(not(any(windows, target_os = "macos")))]
fn undo_units(sys: &dyn System) -> Option<Change> {
    // Those of gateways may have been enabled by hand; without the daemon they lead nowhere.
    let enabled = user_unit("sockets.target.wants", sys).and_then(|folder| fs::read_dir(folder).ok());
    let enabled =
        enabled.into_iter().flatten().filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let gateways: Vec<_> = enabled.filter(|name| name.starts_with(GATEWAY_UNIT)).collect();
    let all = ["disable", "--now"].into_iter().chain(UNITS).chain(gateways.iter().map(String::as_str));
    Some(systemctl(&all.collect::<Vec<_>>()))
}

#[cfg(target_os = "macos")]
fn undo_units(sys: &dyn System) -> Option<Change> {
    installed::units(sys).are_enabled().then(launchd::unload)
}

#[cfg(windows)]
fn undo_units(sys: &dyn System) -> Option<Change> {
    installed::units(sys).are_enabled().then(|| reg("delete", &["/f"]))
}

/// Plans the end of the last empty helper, which is ours; the user may have one of their own before it.
fn undo_reset(key: &str, sys: &dyn System) -> Vec<Change> {
    let mut helpers = global_helpers(key, sys);
    match helpers.iter().filter(|helper| helper.is_empty()).count() {
        0 => Vec::new(),
        1 => vec![git(["--unset-all", key, "^$"].map(OsStr::new))],
        _ => {
            let ours = helpers.iter().rposition(|helper| helper.is_empty()).unwrap_or_default();
            helpers.remove(ours);
            let add = helpers.iter().map(|helper| git([OsStr::new("--add"), OsStr::new(key), helper]));
            std::iter::once(git(["--unset-all", key].map(OsStr::new))).chain(add).collect()
        }
    }
}

/// The values of a key of git's global configuration.
fn global_helpers(key: &str, sys: &dyn System) -> Vec<OsString> {
    let mut ask = Command::new("git");
    ask.args(["config", "--global", "--null", "--get-all", key]);
    let found = sys.output_of(&mut ask).map(|found| found.stdout).unwrap_or_default();
    let mut values: Vec<_> = found.split(|byte| *byte == 0).map(os_string).collect();
    // What is behind the last zero is no value.
    values.pop();
    values
}

#[cfg(unix)]
fn os_string(bytes: &[u8]) -> OsString {
    std::os::unix::ffi::OsStringExt::from_vec(bytes.to_vec())
}

/// Elsewhere git writes UTF-8.
#[cfg(not(unix))]
fn os_string(bytes: &[u8]) -> OsString {
    String::from_utf8_lossy(bytes).into_owned().into()
}

/// Has git lose a helper, and no other.
fn take_out(key: &str, helper: &OsStr) -> Change {
    if helper == NAME {
        // Older versions of git have no `--fixed-value`.
        return git(["--unset-all", key, "^rally$"].map(OsStr::new));
    }
    git(["--fixed-value", "--unset-all", key].map(OsStr::new).into_iter().chain([helper]))
}

fn git<'a>(arguments: impl IntoIterator<Item = &'a OsStr>) -> Change {
    let arguments = ["config", "--global"].map(OsStr::new).into_iter().chain(arguments);
    Change::Run { program: "git", arguments: arguments.map(OsStr::to_owned).collect() }
}

/// Where command lines are to be completed, as a flag says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CompleteIn {
    Shell(Shell),
    Nowhere,
}

impl CompleteIn {
    pub(super) fn parser() -> impl TypedValueParser<Value = Self> {
        let shells = Shell::value_variants().iter().filter_map(Shell::to_possible_value);
        PossibleValuesParser::new(shells.chain([PossibleValue::new("no")]))
            .map(|name| Shell::from_str(&name, false).map_or(Self::Nowhere, Self::Shell))
    }
}

fn own_shell(sys: &dyn System) -> Option<Shell> {
    let program = PathBuf::from(sys.variable("SHELL")?);
    Shell::from_str(program.file_name()?.to_str()?, false).ok()
}

/// Plans the completions of the person's shell, if that looks for them in a folder of the user.
pub(super) fn offer_completions(
    interview: &mut Interview<'_, '_>,
    given: Option<CompleteIn>,
    sys: &dyn System,
) -> Result<Vec<Change>, Fault> {
    let (shell, answer) = match given {
        Some(CompleteIn::Nowhere) => return Ok(Vec::new()),
        Some(CompleteIn::Shell(shell)) => (shell, Some(YesNo::Yes)),
        None => match own_shell(sys) {
            Some(shell) => (shell, None),
            None => return Ok(Vec::new()),
        },
    };
    let Some(path) = completions_file(shell, sys) else {
        if answer.is_some() {
            interview.tell(&format!(
                "{shell} has no folder for completions; rally-cred completions --help says where they go"
            ));
        }
        return Ok(Vec::new());
    };
    let change =
        if has_packaged_completions(shell, sys) { None } else { write(path, shell.script().to_owned()) };
    if change.is_none() || !interview.yes(&format!("Have {shell} complete rally-cred's commands?"), answer)? {
        return Ok(Vec::new());
    }
    Ok(change.into_iter().flat_map(Change::noted).collect())
}

/// Whether a package has put them where this shell looks, for every user.
fn has_packaged_completions(shell: Shell, sys: &dyn System) -> bool {
    let below = match shell {
        Shell::Bash => "bash-completion/completions/rally-cred",
        Shell::Fish => "fish/vendor_completions.d/rally-cred.fish",
        Shell::Zsh | Shell::Powershell => return false,
    };
    let folders = sys.variable("XDG_DATA_DIRS").unwrap_or_else(|| "/usr/local/share:/usr/share".into());
    std::env::split_paths(&folders).any(|folder| folder.join(below).is_file())
}

fn completions_file(shell: Shell, sys: &dyn System) -> Option<PathBuf> {
    let (folder, name) = match shell {
        Shell::Bash => {
            (folder("XDG_DATA_HOME", ".local/share", sys), "bash-completion/completions/rally-cred")
        }
        Shell::Fish => (folder("XDG_CONFIG_HOME", ".config", sys), "fish/completions/rally-cred.fish"),
        Shell::Zsh | Shell::Powershell => return None,
    };
    Some(folder?.join(name))
}

pub(super) fn user_unit(name: &str, sys: &dyn System) -> Option<PathBuf> {
    if !cfg!(target_os = "linux") {
        return None;
    }
    Some(folder("XDG_CONFIG_HOME", ".config", sys)?.join("systemd/user").join(name))
}

/// A folder of the user, by its variable or below the home folder.
fn folder(variable: &str, below_home: &str, sys: &dyn System) -> Option<PathBuf> {
    let set = sys.variable(variable).map(PathBuf::from).filter(|path| path.is_absolute());
    set.or_else(|| Some(home(sys)?.join(below_home)))
}

fn home(sys: &dyn System) -> Option<PathBuf> {
    sys.variable("HOME").map(PathBuf::from).filter(|path| path.is_absolute())
}

/// Plans to write a file, unless it has this text already.
pub(super) fn write(path: PathBuf, text: String) -> Option<Change> {
    let found = own_file::open_to_read(&path).and_then(io::read_to_string);
    let is_so = found.is_ok_and(|found| found == text);
    (!is_so).then_some(Change::Write { path, text })
}

/// Something that was asked for by a flag.
pub(super) fn impossible(why: &str, without: &str) -> Fault {
    Fault::new(FaultKind::Failed, "what is asked for cannot be done")
        .why(why)
        .remedy(format!("rally-cred setup {without}"))
}
