//! `rally-cred config path|check`: where the config file is, and whether it can be used.
//! Does not: read it. The daemon is the one reader, so that both cannot disagree on it.
//! Used by: people who write the file.

use std::path::{Path, PathBuf};
use std::process::{self, Stdio};

use clap::Subcommand;
use rally_cred::system::{System, exit_code};
use rally_cred::{autostart, output::Output};
use rally_cred_proto::variables::{self, CONFIG};
use rally_cred_proto::{Fault, FaultKind};

use crate::terminal::Terminal;

/// What is asked of the config file.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum Command {
    /// Print where the config file is
    Path,
    /// Check a config file, without a daemon
    Check {
        /// The file [default: the one that `config path` prints]
        file: Option<PathBuf>,
    },
}

/// Answers it.
pub(crate) fn run(command: &Command, sys: &dyn Terminal, output: &mut Output<'_>) -> Result<u8, Fault> {
    match command {
        Command::Path => path(sys, output),
        Command::Check { file } => check(file.as_deref(), sys, output),
    }
}

/// Prints the path of the config file, whether or not there is one: as it is, unless a terminal shows it.
fn path(sys: &dyn Terminal, output: &mut Output<'_>) -> Result<u8, Fault> {
    let path = find_path(sys)?;
    if sys.stdout_is_terminal() {
        output.tell_line(path.display().to_string())?;
    } else {
        output.answer(&[path.as_os_str().as_encoded_bytes(), b"\n"].concat())?;
    }
    Ok(0)
}

/// Where the config file is, or would be.
pub(crate) fn find_path(sys: &dyn System) -> Result<PathBuf, Fault> {
    variables::config_file(sys.variable(CONFIG))
}

/// The verdict of the daemon's program on a config file: what it says of a good one, or what is wrong.
pub(crate) fn judge(file: Option<&Path>, sys: &dyn System) -> Result<String, Fault> {
    let judged = ask_daemon_program(file, sys)?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
    match exit_code(judged.status) {
        0 => Ok(text(&judged.stdout)),
        code => Err(read_fault(code, &text(&judged.stderr))),
    }
}

/// A fault as a program shows it, read back; the kind is one that has the program's exit code.
fn read_fault(code: u8, text: &str) -> Fault {
    let kind =
        if code == FaultKind::ConfigBroken.exit_code() { FaultKind::ConfigBroken } else { FaultKind::Failed };
    let mut fault = Fault::new(kind, "the config file cannot be used");
    for line in text.lines() {
        if let Some(what) = line.strip_prefix("rally-credd: ") {
            fault = Fault::new(kind, what);
        } else if let Some(why) = line.strip_prefix("  why: ") {
            fault = fault.why(why);
        } else if let Some(remedy) = line.strip_prefix("  try: ") {
            fault = fault.remedy(remedy);
        }
    }
    fault
}

fn ask_daemon_program(file: Option<&Path>, sys: &dyn System) -> Result<process::Output, Fault> {
    let daemon = autostart::daemon_program(sys)?;
    let mut command = process::Command::new(&daemon);
    command.arg("--check-config").args(file).stdin(Stdio::null());
    command.output().map_err(|err| {
        Fault::new(FaultKind::Failed, format!("{} cannot be run", daemon.display()))
            .why(err.to_string())
            .remedy("install rally-credd anew, beside rally-cred")
    })
}

/// Has the daemon's program check a config file, and passes on what it says and its exit code.
fn check(file: Option<&Path>, sys: &dyn System, output: &mut Output<'_>) -> Result<u8, Fault> {
    let judged = ask_daemon_program(file, sys)?;
    output.tell(String::from_utf8_lossy(&judged.stdout))?;
    output.show(&String::from_utf8_lossy(&judged.stderr));
    Ok(exit_code(judged.status))
}

#[cfg(unix)]
#[cfg(test)]
mod tests {
    use crate::testing::{self, Fake};

    #[test]
    fn the_variable_says_where_the_config_file_is() {
        let sys = Fake::default().with("RALLY_CRED_CONFIG", "/a/b.toml");
        assert_eq!(testing::run("config path", &sys).shown(), (0, "/a/b.toml\n".into(), String::new()));
        let default = testing::run("config path", &Fake::default()).stdout;
        assert!(default.ends_with("config.toml\n"), "{default}");
    }

    #[test]
    fn the_verdict_of_the_daemons_program_is_passed_on() {
        let sys = Fake::beside("checks");
        let done = testing::run("config check /x/y.toml", &sys);
        assert_eq!(
            done.shown(),
            (1, "--check-config /x/y.toml\n".into(), "rally-credd: it is broken\n".into())
        );
        assert_eq!(testing::run("config check", &sys).stdout, "--check-config\n");
    }
}
