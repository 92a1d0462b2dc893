//! The agent by which launchd starts the daemon on macOS, as it lies in `contrib/launchd`.
//! Does not: run launchctl, or write a file.
//! Used by: `installed`, for its state; `setup`, which makes it; `doctor`, for its name. On Linux, by its tests.

use std::path::{Path, PathBuf};
use std::process::Command;

use rally_cred::system::System;

use super::Units;

/// The agent, which finds the daemon in usual folders and writes its log where Console shows it.
const TEXT: &str = include_str!("../../../../contrib/launchd/rally-cred.plist");

/// Its label, and the name of its file.
const LABEL: &str = "rally-cred";

/// The name of its log, in `~/Library/Logs`.
const LOG: &str = "rally-cred.log";

/// What launchd calls the desktop session of this user.
pub(crate) fn session() -> String {
    format!("gui/{}", rustix::process::getuid())
}

/// What launchd calls the agent.
pub(crate) fn target() -> String {
    format!("{}/{LABEL}", session())
}

/// The agent's file.
pub(crate) fn file(sys: &dyn System) -> Option<PathBuf> {
    Some(library(sys)?.join("LaunchAgents").join(format!("{LABEL}.plist")))
}

/// The log of the daemon that the agent starts.
#[cfg(target_os = "macos")]
pub(crate) fn log(sys: &dyn System) -> Option<PathBuf> {
    Some(library(sys)?.join("Logs").join(LOG))
}

fn library(sys: &dyn System) -> Option<PathBuf> {
    let home = sys.variable("HOME").map(PathBuf::from).filter(|path| path.is_absolute())?;
    Some(home.join("Library"))
}

/// Whether there is a desktop session, and the agent in it.
pub(crate) fn state(sys: &dyn System) -> Units {
    let is_known = |what: &str| {
        let mut launchctl = Command::new("launchctl");
        sys.output_of(launchctl.args(["print", what])).is_ok_and(|answer| answer.status.success())
    };
    if !is_known(&session()) {
        return Units::NoManager;
    }
    match (is_known(&target()), file(sys).is_some_and(|file| file.exists())) {
        (true, _) => Units::Enabled("the agent rally-cred"),
        (false, true) => Units::Disabled("the agent rally-cred"),
        (false, false) => Units::NotInstalled,
    }
}

/// The agent's text, for a daemon that may lie where it does not look; `None` for a folder that is no text.
pub(crate) fn text(daemon: &Path, home: &Path) -> Option<String> {
    const SEARCHED: &str = "PATH=\"";
    let folder = daemon.parent()?;
    if [home.join(".cargo/bin").as_path(), Path::new("/usr/local/bin"), Path::new("/opt/homebrew/bin")]
        .contains(&folder)
    {
        return Some(TEXT.to_owned());
    }
    // Between double quotes a shell reads four signs as more than themselves; XML has two of its own.
    let mut named = String::new();
    for letter in folder.to_str()?.chars() {
        match letter {
            '"' | '$' | '`' | '\\' => named.extend(['\\', letter]),
            '&' => named.push_str("&amp;"),
            '<' => named.push_str("&lt;"),
            letter => named.push(letter),
        }
    }
    Some(TEXT.replace(SEARCHED, &format!("{SEARCHED}{named}:")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Fake;

    #[test]
    fn the_agent_is_judged_by_what_launchd_says_and_by_its_file() {
        let home = tempfile::tempdir().unwrap();
        let sys = || Fake::default().with("HOME", home.path().to_str().unwrap());
        let in_session = || sys().answering(&format!("launchctl print {}", session()), 0, "");
        assert_eq!(state(&sys()), Units::NoManager);
        assert_eq!(state(&in_session()), Units::NotInstalled);
        let file = file(&sys()).unwrap();
        assert!(file.ends_with("Library/LaunchAgents/rally-cred.plist"), "{}", file.display());
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, "").unwrap();
        assert_eq!(state(&in_session()), Units::Disabled("the agent rally-cred"));
        let loaded = in_session().answering(&format!("launchctl print {}", target()), 0, "");
        assert_eq!(state(&loaded), Units::Enabled("the agent rally-cred"));
    }

    #[test]
    fn the_agent_finds_a_daemon_in_any_folder_and_is_a_property_list() {
        let home = Path::new("/Users/dana");
        assert_eq!(text(Path::new("/opt/homebrew/bin/rally-credd"), home).unwrap(), TEXT);
        let text = text(Path::new("/Users/dana/a \"$b\" & c/rally-credd"), home).unwrap();
        assert!(text.contains(r#"PATH="/Users/dana/a \"\$b\" &amp; c:$HOME/.cargo/bin"#), "{text}");
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), &text).unwrap();
        // Python is on every machine that runs these tests, and its library reads such files.
        let read =
            "import plistlib, sys; print(plistlib.load(open(sys.argv[1], 'rb'))['ProgramArguments'][2])";
        let done = Command::new("python3").args(["-c", read]).arg(file.path()).output().unwrap();
        let line = String::from_utf8(done.stdout).unwrap();
        // What the shell of that line finds first.
        let shell = line.trim_end().replace("exec rally-credd", "printf %s \"$PATH\"; exit");
        let done = Command::new("sh").args(["-c", &shell]).env("HOME", "/nowhere").output().unwrap();
        let path = String::from_utf8(done.stdout).unwrap();
        assert!(path.starts_with("/Users/dana/a \"$b\" & c:/nowhere/.cargo/bin:"), "{path}");
        assert!(line.contains(LOG), "{line}");
    }
}
