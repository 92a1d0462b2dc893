//! `rally-cred config path|check`: where the config file is, and whether it can be used.
//! Does not: read it. The daemon is the one reader, so that both cannot disagree on it.
//! Met by: people who write the file.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use rally_cred_proto::{Fault, FaultKind};

use crate::{
    autostart,
    output::Output,
    surroundings::{Surroundings, exit_code},
};

/// Prints the path of the config file, whether or not there is one.
pub(crate) fn path(around: &dyn Surroundings, output: &mut Output<'_>) -> Result<u8, Fault> {
    let path = match around.variable("RALLY_CRED_CONFIG") {
        Some(path) => PathBuf::from(path),
        None => directories::ProjectDirs::from("", "", "rally-cred")
            .map(|folders| folders.config_dir().join("config.toml"))
            .ok_or_else(|| {
                Fault::new(FaultKind::Failed, "the home folder of this user is not known")
                    .remedy("set HOME or RALLY_CRED_CONFIG")
            })?,
    };
    output.answer(format!("{}\n", path.display()).as_bytes()).map(|()| 0)
}

/// Has the daemon's program check a config file, and passes on what it says and its exit code.
pub(crate) fn check(
    file: Option<&Path>,
    around: &dyn Surroundings,
    output: &mut Output<'_>,
) -> Result<u8, Fault> {
    let daemon = autostart::daemon_program(around)?;
    let mut command = Command::new(&daemon);
    command.arg("--check-config").args(file).stdin(Stdio::null());
    let done = command.output().map_err(|fault| {
        Fault::new(FaultKind::Failed, format!("{} cannot be run", daemon.display())).why(fault.to_string())
    })?;
    output.answer(&done.stdout)?;
    // Where nobody listens any more, nothing is lost.
    output.stderr.write_all(&done.stderr).ok();
    Ok(exit_code(done.status))
}

#[cfg(unix)]
#[cfg(test)]
mod tests {
    use crate::testing::{self, Fake};

    #[test]
    fn the_variable_says_where_the_config_file_is() {
        let around = Fake::default().with("RALLY_CRED_CONFIG", "/a/b.toml");
        assert_eq!(testing::run("config path", &around).shown(), (0, "/a/b.toml\n".into(), String::new()));
        let default = testing::run("config path", &Fake::default()).stdout;
        assert!(default.ends_with("config.toml\n"), "{default}");
    }

    #[test]
    fn the_verdict_of_the_daemons_program_is_passed_on() {
        let around = Fake::beside("checks");
        let done = testing::run("config check /x/y.toml", &around);
        assert_eq!(
            done.shown(),
            (1, "--check-config /x/y.toml\n".into(), "rally-credd: it is broken\n".into())
        );
        assert_eq!(testing::run("config check", &around).stdout, "--check-config\n");
    }
}
