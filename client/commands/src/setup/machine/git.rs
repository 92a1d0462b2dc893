//! What `setup` offers of git: that it asks rally-cred about Rally's server, and the end of that.
//! Does not: carry anything out, or plan what is done already.
//! Used by: `machine`, and `setup`, which names git's key.

use std::{
    ffi::{OsStr, OsString},
    fs,
    process::Command,
};

use rally_cred::system::System;
use rally_cred_proto::Fault;

use super::{Change, Made, impossible};
use crate::{
    installed::{self, GitHelper},
    setup::interview::{Interview, YesNo},
};

/// The helper's name in git's configuration.
pub(super) const NAME: &str = "rally";

/// Plans git's setting for Rally's server.
pub(in super::super) fn offer_git(
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
pub(in super::super) fn git_key(base_url: &str) -> String {
    format!("credential.{}.helper", base_url.trim_end_matches('/'))
}

/// Plans the end of the last empty helper, which is ours; the user may have one of their own before it.
pub(super) fn undo_reset(key: &str, sys: &dyn System) -> Vec<Change> {
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
pub(super) fn global_helpers(key: &str, sys: &dyn System) -> Vec<OsString> {
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
pub(super) fn take_out(key: &str, helper: &OsStr) -> Change {
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
