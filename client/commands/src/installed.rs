//! How rally-cred is set up on this machine: git's credential helper, what starts the daemon, the programs in PATH.
//! Does not: change any of it.
//! Used by: `doctor`, which checks it, and `setup`, which completes it.

#[cfg(any(target_os = "macos", all(test, unix)))]
pub(crate) mod launchd;

use std::ffi::{OsStr, OsString};
use std::{env::consts::EXE_SUFFIX, io, path::PathBuf, process::Command};

use rally_cred::{autostart::find_program, system::System};
use rally_cred_proto::{Origin, native, plain::plain, shell_word::posix_word};

/// The name under which git runs this program.
pub(crate) const GIT_HELPER: &str = "git-credential-rally";

/// The units, the one that is enabled first.
#[cfg(not(any(windows, target_os = "macos")))]
pub(crate) const UNITS: [&str; 2] = ["rally-cred.socket", "rally-cred.service"];

/// Whether git asks rally-cred about a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum GitHelper {
    NoGit,
    /// No, and it is not configured to.
    Absent,
    /// It is configured to, but an empty helper after that resets the list.
    Undone,
    /// Yes, by the last helper that is ours; the others are asked and told as well.
    Ours {
        by: By,
        others: Vec<String>,
    },
}

/// How git finds a helper.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum By {
    /// In `PATH`.
    Name,
    Path,
}

/// Whether git asks rally-cred about the server of this base URL, by a helper for that server or for all.
pub(crate) fn git_helper(base_url: &str, sys: &dyn System) -> GitHelper {
    let Ok(settings) = git_helpers(sys) else { return GitHelper::NoGit };
    let (mut helpers, mut was_told) = (Vec::new(), false);
    for (_, helper) in settings.iter().filter(|(servers, _)| is_about(servers, base_url)) {
        was_told |= our_helper(helper).is_some();
        // An empty helper resets the list.
        if helper.is_empty() { helpers.clear() } else { helpers.push(helper) }
    }
    let others = helpers.iter().filter(|helper| our_helper(helper).is_none());
    let others = others.map(|helper| name_of(helper)).collect();
    match helpers.iter().rev().find_map(|helper| our_helper(helper)) {
        Some(by) => GitHelper::Ours { by, others },
        None if was_told => GitHelper::Undone,
        None => GitHelper::Absent,
    }
}

/// Whether other settings for this server follow those under its own URL, so that an added one would not be the last.
pub(crate) fn has_helpers_behind(base_url: &str, sys: &dyn System) -> bool {
    let settings = git_helpers(sys).unwrap_or_default();
    let Some(own) = settings.iter().rposition(|(servers, _)| servers == base_url) else { return false };
    settings.iter().skip(own + 1).any(|(servers, _)| is_about(servers, base_url))
}

/// Every configured helper in git's order, with the URL pattern that it is for, empty for all.
pub(crate) fn git_helpers(sys: &dyn System) -> io::Result<Vec<(String, String)>> {
    let mut git = Command::new("git");
    git.args(["config", "--null", "--get-regexp", r"^credential\.(.*\.)?helper$"]);
    let found = sys.output_of(&mut git)?;
    let text = String::from_utf8_lossy(&found.stdout);
    let setting = |entry: &str| {
        // git reads a key without a value as `true`, which is no helper.
        let (key, helper) = entry.split_once('\n')?;
        let servers = key.strip_prefix("credential.")?.strip_suffix("helper")?;
        Some((servers.strip_suffix('.').unwrap_or(servers).to_owned(), helper.to_owned()))
    };
    Ok(text.split('\0').filter_map(setting).collect())
}

/// Whether this pattern can match requests for the server: a URL or a part of one, in which `*` matches a label of the
/// host. User and path are ignored, since some request has them.
fn is_about(servers: &str, base_url: &str) -> bool {
    let Some((scheme, host)) = base_url.split_once("://") else { return false };
    let (scheme, rest) = servers.split_once("://").unwrap_or((scheme, servers));
    let authority = rest.split('/').next().unwrap_or_default();
    let pattern: Vec<_> = authority.rsplit('@').next().unwrap_or_default().split('.').collect();
    let labels: Vec<_> = host.split('/').next().unwrap_or_default().split('.').collect();
    let fill =
        |(label, own): (&&str, &&str)| if *label == "*" { (*own).to_owned() } else { (*label).to_owned() };
    servers.is_empty()
        || pattern.len() == labels.len() && {
            let host = pattern.iter().zip(&labels).map(fill).collect::<Vec<_>>().join(".");
            let origin = Origin::from_git(scheme, &host);
            origin.is_some() && origin == Origin::from_uri(base_url)
        }
}

/// The name of a helper, without arguments, which may hold a password.
fn name_of(helper: &str) -> String {
    match first_word(helper).filter(|_| !helper.starts_with('!')) {
        Some(program) => plain(&program),
        None => "a command".to_owned(),
    }
}

/// How git runs this helper, if it is ours. git takes a name, a path, or a command line that begins with `!`.
fn our_helper(helper: &str) -> Option<By> {
    let program = PathBuf::from(first_word(helper.trim_start_matches('!'))?);
    let name = program.file_name()?.to_str()?;
    if !matches!(name.trim_end_matches(".exe"), "rally" | GIT_HELPER | "rally-cred") {
        return None;
    }
    Some(if program.is_absolute() { By::Path } else { By::Name })
}

fn first_word(line: &str) -> Option<String> {
    shlex::Shlex::new(line).next()
}

/// The helper setting for git: the name if git finds it in `PATH`, else the path.
pub(crate) fn helper_for_git(sys: &dyn System) -> OsString {
    if find_program(GIT_HELPER, sys).is_some() {
        return "rally".into();
    }
    let beside = sys.executable().map(|own| own.with_file_name(format!("{GIT_HELPER}{EXE_SUFFIX}")));
    match beside.filter(|path| path.is_file()) {
        Some(path) => path_for_git(path.into_os_string()),
        // git finds it once it is in PATH.
        None => "rally".into(),
    }
}

/// git passes a helper's path to a shell. With a leading quote git would not recognise the path, so one that needs quotes
/// is written as a command.
fn path_for_git(path: OsString) -> OsString {
    let quoted = posix_word(&path.to_string_lossy());
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

/// On other systems every path is text.
#[cfg(not(unix))]
fn quoted_bytes(path: &OsStr) -> OsString {
    path.to_owned()
}

/// The state of what starts the daemon beside its clients: systemd's units, an agent of launchd, or an entry in the registry
/// of Windows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Units {
    NoManager,
    NotInstalled,
    /// This one is installed but not enabled.
    #[cfg(not(windows))]
    Disabled(&'static str),
    /// This one has failed.
    #[cfg(not(any(windows, target_os = "macos")))]
    Failed(&'static str),
    /// This one is enabled, and none has failed.
    Enabled(&'static str),
}

impl Units {
    /// Whether the daemon comes from there, or would if it could.
    pub(crate) fn are_enabled(&self) -> bool {
        match self {
            Self::NoManager | Self::NotInstalled => false,
            #[cfg(not(windows))]
            Self::Disabled(_) => false,
            #[cfg(not(any(windows, target_os = "macos")))]
            Self::Failed(_) => true,
            Self::Enabled(_) => true,
        }
    }
}

/// Why nothing here starts the daemon but its clients.
pub(crate) const NO_MANAGER: &str = native!(
    "systemd runs nothing for this user here",
    macos: "launchd runs nothing for this user here, as without a desktop",
    windows: "reg.exe is not there"
);

/// The registry's key of what Windows starts when this user signs in, and the name of our value in it.
#[cfg(windows)]
pub(crate) const RUN_KEY: [&str; 3] =
    [r"HKCU\Software\Microsoft\Windows\CurrentVersion\Run", "/v", "rally-cred"];

/// The state of the entry by which Windows starts the daemon; there is nothing between none and a good one.
#[cfg(windows)]
pub(crate) fn units(sys: &dyn System) -> Units {
    let mut reg = Command::new("reg");
    match sys.output_of(reg.arg("query").args(RUN_KEY)) {
        Ok(answer) if answer.status.success() => {
            Units::Enabled("the entry rally-cred of the registry's key Run")
        }
        Ok(_) => Units::NotInstalled,
        Err(_) => Units::NoManager,
    }
}

/// The state of the agent.
#[cfg(target_os = "macos")]
pub(crate) fn units(sys: &dyn System) -> Units {
    launchd::state(sys)
}

/// The state of the units in systemd's user manager.
#[cfg(not(any(windows, target_os = "macos")))]
pub(crate) fn units(sys: &dyn System) -> Units {
    let ask = |arguments: &[&str]| systemctl(arguments, sys);
    let (is_there, _) = ask(&["show", "--property=Version"]);
    if !is_there {
        return Units::NoManager;
    }
    if let Some(failed) = UNITS.into_iter().find(|unit| ask(&["is-failed", unit]).0) {
        return Units::Failed(failed);
    }
    let states = UNITS.map(|unit| (unit, ask(&["is-enabled", unit]).1));
    if let Some((unit, _)) = states.iter().find(|(_, state)| state.starts_with("enabled")) {
        return Units::Enabled(unit);
    }
    // For a missing unit it prints `not-found`, or nothing in older versions.
    match states.iter().find(|(_, state)| !matches!(state.as_str(), "" | "not-found")) {
        Some((unit, _)) => Units::Disabled(unit),
        None => Units::NotInstalled,
    }
}

/// Whether the user manager agrees, and what it says.
#[cfg(not(any(windows, target_os = "macos")))]
fn systemctl(arguments: &[&str], sys: &dyn System) -> (bool, String) {
    match sys.output_of(Command::new("systemctl").arg("--user").args(arguments)) {
        Ok(said) => (said.status.success(), String::from_utf8_lossy(&said.stdout).trim().to_owned()),
        Err(_) => (false, String::new()),
    }
}

/// The process of the service if the socket unit is active, 0 while it is not running. Clients reach no other then.
#[cfg(not(any(windows, target_os = "macos")))]
pub(crate) fn process_behind_socket(sys: &dyn System) -> Option<u32> {
    let [socket, service] = UNITS;
    let show = |unit: &str, property: &str| {
        let (is_known, shown) = systemctl(&["show", &format!("--property={property}"), "--value", unit], sys);
        is_known.then_some(shown)
    };
    (show(socket, "ActiveState")? == "active").then(|| show(service, "MainPID")?.parse().ok())?
}

#[cfg(unix)]
#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Fake;

    fn with_output(line: &str, code: i32, stdout: &str) -> Fake {
        Fake { outputs: [(line.to_owned(), (code, stdout.to_owned()))].into(), ..Fake::default() }
    }

    const GIT: &str = r"git config --null --get-regexp ^credential\.(.*\.)?helper$";

    #[test]
    fn git_asks_us_by_a_helper_for_the_server_or_for_all_however_it_is_written() {
        let ours = |by, others: &[&str]| {
            let others = others.iter().map(|name| (*name).to_owned()).collect();
            GitHelper::Ours { by, others }
        };
        for (settings, expected) in [
            ("credential.https://rally1.rallydev.com.helper\nrally\0", ours(By::Name, &[])),
            (
                "credential.https://rally1.rallydev.com/.helper\n/opt/bin/git-credential-rally\0",
                ours(By::Path, &[]),
            ),
            ("credential.helper\n!'/opt/my bin/git-credential-rally'\0", ours(By::Path, &[])),
            ("credential.helper\n/opt/my\\ bin/git-credential-rally\0", ours(By::Path, &[])),
            ("credential.helper\nstore --file /x/rally-cred/rally\0", GitHelper::Absent),
            (
                "credential.helper\ncache --timeout 9\0credential.helper\n!rally-cred --profile x\0",
                ours(By::Name, &["cache"]),
            ),
            (
                "credential.helper\nrally\0credential.https://me@rally1.rallydev.com.helper\nstore\0",
                ours(By::Name, &["store"]),
            ),
            (
                "credential.helper\n!echo password=canary\0credential.helper\n/opt/rally-cred\0credential.helper\nstore\0",
                ours(By::Path, &["a command", "store"]),
            ),
            ("credential.rally1.rallydev.com.helper\nrally\0", ours(By::Name, &[])),
            ("credential.https://*.rallydev.com.helper\nrally\0", ours(By::Name, &[])),
            ("credential.https://*.com.helper\nrally\0", GitHelper::Absent),
            ("credential.http://rally1.rallydev.com.helper\nrally\0", GitHelper::Absent),
            ("credential.https://eu1.rallydev.com.helper\nrally\0", GitHelper::Absent),
            ("credential.https://rally1.rallydev.com.helper\nstore\0", GitHelper::Absent),
            ("credential.helper\n\0", GitHelper::Absent),
            ("credential.helper\nrally\0credential.helper\n\0", GitHelper::Undone),
            ("credential.helper\n\0credential.helper\nrally\0", ours(By::Name, &[])),
            ("credential.helper\nrally\0credential.https://eu1.rallydev.com.helper\n\0", ours(By::Name, &[])),
            ("", GitHelper::Absent),
        ] {
            let sys = with_output(GIT, 0, settings);
            assert_eq!(git_helper("https://rally1.rallydev.com", &sys), expected, "{settings:?}");
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
            assert_eq!(our_helper(written.to_str().unwrap()), Some(By::Path));
        }
        use std::os::unix::ffi::OsStringExt;
        let written = path_for_git(OsString::from_vec(b"/a\xff'/git-credential-rally".to_vec())).into_vec();
        assert_eq!(written, b"!'/a\xff'\\''/git-credential-rally'");
    }

    #[test]
    fn units_are_judged_by_what_the_user_manager_says() {
        let known = |socket: &str, service: &str, failed: &str| {
            let mut sys = with_output("systemctl --user show --property=Version", 0, "Version=252\n");
            for (unit, state) in [("rally-cred.socket", socket), ("rally-cred.service", service)] {
                let answer = (i32::from(state != "enabled"), format!("{state}\n"));
                sys.outputs.insert(format!("systemctl --user is-enabled {unit}"), answer);
                let answer = (i32::from(unit != failed), String::new());
                sys.outputs.insert(format!("systemctl --user is-failed {unit}"), answer);
            }
            units(&sys)
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
