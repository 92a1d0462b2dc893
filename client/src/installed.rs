//! What of rally-cred the machine around it knows: git's credential helper, systemd's units, the programs in PATH.
//! Does not: change any of it.
//! Met by: `doctor`, which judges it, and `setup`, which completes it.

use std::{
    env::consts::EXE_SUFFIX,
    ffi::{OsStr, OsString},
    path::{Path, PathBuf},
    process::Command,
};

use rally_cred_proto::{Origin, shell_word::shell_word};

use crate::surroundings::Surroundings;

/// The name under which git runs this program.
pub(crate) const GIT_HELPER: &str = "git-credential-rally";

/// The units, the one that is enabled first.
pub(crate) const UNITS: [&str; 2] = ["rally-cred.socket", "rally-cred.service"];

/// Whether git asks rally-cred about a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum GitHelper {
    /// There is no git.
    NoGit,
    /// It does not, and nobody has told it to.
    Absent,
    /// It was told to, and an empty helper after that has it forget.
    Undone,
    /// It does, by the helper's name, which has to be found in `PATH`.
    ByName,
    /// It does, by the helper's path.
    ByPath,
}

/// Whether git asks rally-cred about the server of this base URL, by a helper for that server or for all.
pub(crate) fn git_helper(base_url: &str, around: &dyn Surroundings) -> GitHelper {
    let mut git = Command::new("git");
    git.args(["config", "--null", "--get-regexp", r"^credential\.(.*\.)?helper$"]);
    let Ok(found) = around.output_of(&mut git) else { return GitHelper::NoGit };
    let text = String::from_utf8_lossy(&found.stdout);
    let is_for =
        |key: &str| match key.strip_prefix("credential.").and_then(|rest| rest.strip_suffix("helper")) {
            Some("") => true,
            Some(server) => {
                let origin = Origin::from_uri(server.trim_end_matches('.'));
                origin.is_some() && origin == Origin::from_uri(base_url)
            }
            None => false,
        };
    let helpers = text.split('\0').filter_map(|entry| entry.split_once('\n'));
    let helpers = helpers.filter(|(key, _)| is_for(key)).map(|(_, helper)| helper);
    // An empty one has git forget those before it.
    helpers.fold(GitHelper::Absent, |before, helper| match (before, our_helper(helper)) {
        (GitHelper::Absent, None) => GitHelper::Absent,
        (_, None) if helper.is_empty() => GitHelper::Undone,
        (before, None) => before,
        (_, Some(ours)) => ours,
    })
}

/// git takes a name, a path, or a command line that begins with `!`.
fn our_helper(helper: &str) -> Option<GitHelper> {
    let program = first_word(helper.trim_start_matches('!'));
    let name = Path::new(&program).file_name().and_then(|name| name.to_str()).unwrap_or_default();
    if !matches!(name.trim_end_matches(".exe"), "rally" | GIT_HELPER | "rally-cred") {
        return None;
    }
    Some(if Path::new(&program).is_absolute() { GitHelper::ByPath } else { GitHelper::ByName })
}

/// The first word of a command line as a shell reads it.
fn first_word(line: &str) -> String {
    let (mut word, mut quote) = (String::new(), None);
    let mut letters = line.trim_start().chars();
    while let Some(letter) = letters.next() {
        match (letter, quote) {
            (_, Some(open)) if letter == open => quote = None,
            ('\\', None | Some('"')) => word.extend(letters.next()),
            ('\'' | '"', None) => quote = Some(letter),
            (_, None) if letter.is_whitespace() => break,
            _ => word.push(letter),
        }
    }
    word
}

/// What has git run its helper: the name where git finds it by that, else its path, for a shell where it needs one.
pub(crate) fn helper_for_git(around: &dyn Surroundings) -> OsString {
    if find_program(GIT_HELPER, around).is_some() {
        return "rally".into();
    }
    let beside = around.executable().map(|own| own.with_file_name(format!("{GIT_HELPER}{EXE_SUFFIX}")));
    match beside.filter(|path| path.is_file()) {
        Some(path) => path_for_git(path.into_os_string()),
        // Once it is in PATH, git finds it.
        None => "rally".into(),
    }
}

/// git has a shell read a helper's path. A quote at its beginning would hide from git that it is one, so a path that
/// needs quotes is given as a command.
fn path_for_git(path: OsString) -> OsString {
    let quoted = shell_word(&path.to_string_lossy());
    match path.to_str() {
        Some(text) if text == quoted => path,
        Some(_) => format!("!{quoted}").into(),
        None => quoted_bytes(&path),
    }
}

#[cfg(unix)]
fn quoted_bytes(path: &OsStr) -> OsString {
    use std::os::unix::ffi::{OsStrExt, OsStringExt};
    let quoted = path.as_bytes().iter().flat_map(|byte| match byte {
        b'\'' => br"'\''".to_vec(),
        other => vec![*other],
    });
    OsString::from_vec(b"!'".iter().copied().chain(quoted).chain(*b"'").collect())
}

/// Elsewhere no path is but text.
#[cfg(not(unix))]
fn quoted_bytes(path: &OsStr) -> OsString {
    path.to_owned()
}

/// How systemd's user manager has the units.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Units {
    /// There is no systemd user manager here.
    NoManager,
    /// It does not know them.
    NotInstalled,
    /// It knows this one, and does not start it.
    Disabled(&'static str),
    /// This one has failed.
    Failed(&'static str),
    /// This one is enabled, and well.
    Enabled(&'static str),
}

/// How systemd's user manager has the units.
pub(crate) fn units(around: &dyn Surroundings) -> Units {
    let ask = |arguments: &[&str]| {
        let mut systemctl = Command::new("systemctl");
        systemctl.arg("--user").args(arguments);
        around.output_of(&mut systemctl).ok()
    };
    let is_there = ask(&["show", "--property=Version"]).is_some_and(|answer| answer.status.success());
    if !is_there {
        return Units::NoManager;
    }
    if let Some(failed) =
        UNITS.into_iter().find(|unit| ask(&["is-failed", unit]).is_some_and(|answer| answer.status.success()))
    {
        return Units::Failed(failed);
    }
    let state = |unit: &str| {
        ask(&["is-enabled", unit])
            .map_or_else(String::new, |answer| String::from_utf8_lossy(&answer.stdout).trim().to_owned())
    };
    let states = UNITS.map(|unit| (unit, state(unit)));
    if let Some((unit, _)) = states.iter().find(|(_, state)| state.starts_with("enabled")) {
        return Units::Enabled(unit);
    }
    // It says `not-found`, or an older one nothing, of what is not installed.
    match states.iter().find(|(_, state)| !matches!(state.as_str(), "" | "not-found")) {
        Some((unit, _)) => Units::Disabled(unit),
        None => Units::NotInstalled,
    }
}

/// A program in a folder that `PATH` names in full.
pub(crate) fn find_program(name: &str, around: &dyn Surroundings) -> Option<PathBuf> {
    let name = format!("{name}{EXE_SUFFIX}");
    let path = around.variable("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .filter(|folder| folder.is_absolute())
        .map(|folder| folder.join(&name))
        .find(|program| program.is_file())
}

#[cfg(unix)]
#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Fake;

    fn with_output(line: &str, code: i32, stdout: &str) -> Fake {
        Fake { outputs: [(line.to_owned(), (code, stdout.to_owned()))].into(), ..Fake::default() }
    }

    #[test]
    fn git_asks_us_by_a_helper_for_the_server_or_for_all_however_it_is_written() {
        let line = r"git config --null --get-regexp ^credential\.(.*\.)?helper$";
        for (settings, expected) in [
            ("credential.https://rally1.rallydev.com.helper\nrally\0", GitHelper::ByName),
            (
                "credential.https://rally1.rallydev.com/.helper\n/opt/bin/git-credential-rally\0",
                GitHelper::ByPath,
            ),
            ("credential.helper\n!'/opt/my bin/git-credential-rally'\0", GitHelper::ByPath),
            ("credential.helper\n/opt/my\\ bin/git-credential-rally\0", GitHelper::ByPath),
            ("credential.helper\nstore --file /x/rally-cred/rally\0", GitHelper::Absent),
            ("credential.helper\ncache\0credential.helper\n!rally-cred --profile x\0", GitHelper::ByName),
            ("credential.https://eu1.rallydev.com.helper\nrally\0", GitHelper::Absent),
            ("credential.https://rally1.rallydev.com.helper\nstore\0", GitHelper::Absent),
            ("credential.helper\n\0", GitHelper::Absent),
            ("credential.helper\nrally\0credential.helper\n\0", GitHelper::Undone),
            ("credential.helper\n\0credential.helper\nrally\0", GitHelper::ByName),
            ("credential.helper\nrally\0credential.https://eu1.rallydev.com.helper\n\0", GitHelper::ByName),
            ("", GitHelper::Absent),
        ] {
            let around = with_output(line, 0, settings);
            assert_eq!(git_helper("https://rally1.rallydev.com", &around), expected, "{settings:?}");
        }
        assert_eq!(git_helper("https://rally1.rallydev.com", &Fake::default()), GitHelper::NoGit);
    }

    #[test]
    fn a_path_is_written_as_git_and_its_shell_read_it() {
        for (path, expected) in [
            ("/opt/bin/git-credential-rally", "/opt/bin/git-credential-rally"),
            ("/opt/my bin/it's/git-credential-rally", r"!'/opt/my bin/it'\''s/git-credential-rally'"),
        ] {
            let written = path_for_git(path.into());
            assert_eq!(written, OsString::from(expected));
            assert_eq!(our_helper(written.to_str().unwrap()), Some(GitHelper::ByPath));
        }
        use std::os::unix::ffi::OsStringExt;
        let written = path_for_git(OsString::from_vec(b"/a\xff'/git-credential-rally".to_vec())).into_vec();
        assert_eq!(written, b"!'/a\xff'\\''/git-credential-rally'");
    }

    #[test]
    fn units_are_judged_by_what_the_user_manager_says() {
        let known = |socket: &str, service: &str, failed: &str| {
            let mut around = with_output("systemctl --user show --property=Version", 0, "Version=252\n");
            for (unit, state) in [("rally-cred.socket", socket), ("rally-cred.service", service)] {
                let answer = (i32::from(state != "enabled"), format!("{state}\n"));
                around.outputs.insert(format!("systemctl --user is-enabled {unit}"), answer);
                let answer = (i32::from(unit != failed), String::new());
                around.outputs.insert(format!("systemctl --user is-failed {unit}"), answer);
            }
            units(&around)
        };
        assert_eq!(units(&Fake::default()), Units::NoManager);
        assert_eq!(known("not-found", "not-found", ""), Units::NotInstalled);
        assert_eq!(known("", "", ""), Units::NotInstalled);
        assert_eq!(known("disabled", "static", ""), Units::Disabled("rally-cred.socket"));
        assert_eq!(known("enabled", "indirect", ""), Units::Enabled("rally-cred.socket"));
        assert_eq!(known("not-found", "enabled", ""), Units::Enabled("rally-cred.service"));
        assert_eq!(known("enabled", "static", "rally-cred.service"), Units::Failed("rally-cred.service"));
    }
}
