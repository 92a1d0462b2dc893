//! What `setup` offers beside the profile: a start with the session, and what `git` and `completions` have; and the end of
//! what it has made.
//! Does not: carry anything out, or plan what is done already.
//! Used by: `setup`.

mod completions;
mod git;
#[cfg(any(target_os = "macos", all(test, unix)))]
mod launchd;

use std::ffi::OsStr;
#[cfg(not(any(windows, target_os = "macos")))]
use std::path::Path;
use std::path::PathBuf;
use std::{fs, io};

#[cfg(not(any(windows, target_os = "macos")))]
use rally_cred::autostart;
use rally_cred::system::System;
use rally_cred_proto::{Fault, FaultKind, native, own_file, socket, variables};

use super::interview::{Interview, YesNo};
use super::{change::Change, record::Made};
#[cfg(not(any(windows, target_os = "macos")))]
use crate::installed::UNITS;
use crate::installed::{self, Units};
use git::{NAME, global_helpers, take_out, undo_reset};

pub(super) use completions::{CompleteIn, offer_completions};
pub(super) use git::{git_key, offer_git};

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
