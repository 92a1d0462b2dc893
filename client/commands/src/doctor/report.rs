//! The support report: what `doctor` found, what `status` says, and the end of the log, in one file.
//! Does not: contain secrets: no values of variables, no lines of the config file, and the log has none.
//! Used by: `doctor --report`.

use std::io::{self, Read, Seek, SeekFrom, Write};
use std::{fs::File, path::Path};

use rally_cred::system::System;
use rally_cred_proto::{
    Fault, FaultKind, network, own_file,
    plain::{plain, visible},
    socket, variables,
};

use super::{Found, shown};
use crate::installed;
#[cfg(not(any(windows, target_os = "macos")))]
use crate::installed::UNITS;
use crate::terminal::Terminal;

/// How much of the log's end is included: some hundred lines.
const LOG_END: u64 = 64 * 1024;

/// Variables that affect the programs. The report says only which are set, since some may hold passwords.
const VARIABLES: [&str; 14] = [
    variables::CONFIG,
    socket::OVERRIDE,
    variables::PROFILE,
    "RALLY_CRED_LOG",
    variables::SECRET_FILE,
    "XDG_RUNTIME_DIR",
    "XDG_CONFIG_HOME",
    "XDG_STATE_HOME",
    "DBUS_SESSION_BUS_ADDRESS",
    "DISPLAY",
    "WAYLAND_DISPLAY",
    "BROWSER",
    "CI",
    "GIT_TERMINAL_PROMPT",
];

/// Writes the report into a new file that only this user can read.
pub(super) fn write(path: &Path, found: &Found, sys: &dyn Terminal) -> Result<(), Fault> {
    let mut options = File::options();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let written =
        options.open(path).and_then(|mut file| file.write_all(visible(&text(found, sys)).as_bytes()));
    written.map_err(|err| {
        let told = Fault::new(FaultKind::Failed, format!("the report {} cannot be written", path.display()))
            .why(err.to_string());
        match err.kind() {
            io::ErrorKind::AlreadyExists => told.remedy("name a file that does not exist yet"),
            _ => told.remedy("name a file in a folder that you may write to"),
        }
    })
}

fn text(found: &Found, sys: &dyn Terminal) -> String {
    let at = jiff::Timestamp::from_second(sys.now()).map(|at| at.to_string()).unwrap_or_default();
    let [system, kernel] = release();
    let known = VARIABLES.into_iter().chain(network::GROUPS.into_iter().flatten().copied());
    let set: Vec<_> = known.filter(|name| sys.variable(name).is_some()).collect();
    let mut text = format!(
        "rally-cred support report, version 1\n\
         made     {at}\n\
         release  {}\n\
         system   {} {}, {system}, {kernel}\n\
         set      {}\n\
         \n# doctor\n{}",
        env!("CARGO_PKG_VERSION"),
        std::env::consts::OS,
        std::env::consts::ARCH,
        set.join(" "),
        shown(&found.checks),
    );
    let status = found.status.iter().map(serde_json::to_string);
    let profiles = found.profiles.iter().map(serde_json::to_string);
    text.push_str("\n# status\n");
    text.extend(status.chain(profiles).flatten().map(|line| line + "\n"));
    text.push_str("\n# log\n");
    let log = match installed::units(sys).are_enabled() {
        true => managers_log(sys),
        false => log_end(),
    };
    match log {
        Ok(lines) => text.extend(lines.lines().map(|line| plain(line) + "\n")),
        Err(err) => text += &format!("{err}\n"),
    }
    text
}

/// Names of the system's release and of its kernel's.
#[cfg(unix)]
fn release() -> [String; 2] {
    [("/etc/os-release", "PRETTY_NAME="), ("/proc/sys/kernel/osrelease", "")]
        .map(|(path, name)| read_line(path, name).unwrap_or_default())
}

/// Windows has no file that tells, and anybody may make one of such a name.
#[cfg(windows)]
fn release() -> [String; 2] {
    Default::default()
}

/// The rest of the first line with this prefix.
#[cfg(unix)]
fn read_line(path: &str, name: &str) -> Option<String> {
    let text = std::fs::read_to_string(path).ok()?;
    text.lines().find_map(|line| line.strip_prefix(name)).map(|value| plain(value.trim_matches('"')))
}

/// The log of a daemon that launchd runs.
#[cfg(target_os = "macos")]
fn managers_log(sys: &dyn System) -> io::Result<String> {
    end_of(&installed::launchd::log(sys).ok_or(io::ErrorKind::NotFound)?)
}

/// Windows starts the client, and that the daemon.
#[cfg(windows)]
fn managers_log(_sys: &dyn System) -> io::Result<String> {
    log_end()
}

/// The log of a daemon that systemd runs.
#[cfg(not(any(windows, target_os = "macos")))]
fn managers_log(sys: &dyn System) -> io::Result<String> {
    let [_, service] = UNITS;
    let mut journal = std::process::Command::new("journalctl");
    journal.args(["--user", &format!("--unit={service}"), "--lines=500", "--no-pager"]);
    let done = sys.output_of(&mut journal)?;
    Ok(String::from_utf8_lossy(&done.stdout).into_owned() + &String::from_utf8_lossy(&done.stderr))
}

/// The end of the log of a daemon that a client started; it may begin in the rotated file.
fn log_end() -> io::Result<String> {
    end_of(&socket::state_folder().map_err(io::Error::other)?.join("daemon.log"))
}

fn end_of(path: &Path) -> io::Result<String> {
    let mut end = Vec::new();
    // The rotated file often does not exist.
    read_end(&path.with_extension("log.old"), &mut end).ok();
    read_end(path, &mut end)?;
    let begin = end.len().saturating_sub(usize::try_from(LOG_END).unwrap_or(usize::MAX));
    Ok(String::from_utf8_lossy(end.get(begin..).unwrap_or_default()).into_owned())
}

fn read_end(path: &Path, end: &mut Vec<u8>) -> io::Result<()> {
    let mut log = own_file::open_to_read(path)?;
    let length = log.metadata()?.len();
    log.seek(SeekFrom::Start(length.saturating_sub(LOG_END)))?;
    log.take(LOG_END).read_to_end(end).map(drop)
}
