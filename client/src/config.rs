//! `rally-cred config`: where the config file is, and whether the daemon could use it.
//! Does not: read it; the daemon's program does, so that both always agree.
//! Met by: people.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use rally_cred_proto::{Fault, FaultKind};

use crate::{autostart, output::Output, surroundings::Surroundings};

/// Prints where the config file is, whether there is one or not.
pub(crate) fn path(around: &dyn Surroundings, output: &mut Output<'_>) -> Result<u8, Fault> {
    let path = match around.variable("RALLY_CRED_CONFIG") {
        Some(path) => PathBuf::from(path),
        None => directories::ProjectDirs::from("", "", "rally-cred")
            .ok_or_else(|| {
                Fault::new(FaultKind::Failed, "the home folder of this user is not known")
                    .remedy("set HOME or RALLY_CRED_CONFIG")
            })?
            .config_dir()
            .join("config.toml"),
    };
    output.answer(format!("{}\n", path.display()).as_bytes())?;
    Ok(0)
}

/// Has the daemon's program read the file, and passes on what it says.
pub(crate) fn check(
    file: Option<&Path>,
    around: &dyn Surroundings,
    output: &mut Output<'_>,
) -> Result<u8, Fault> {
    let program = autostart::daemon_program(around)?;
    let mut command = Command::new(&program);
    command.arg("--check-config").args(file).stdin(Stdio::null());
    let checked = command.output().map_err(|fault| {
        Fault::new(FaultKind::NoDaemon, format!("{} cannot be started", program.display()))
            .why(fault.to_string())
    })?;
    output.answer(&checked.stdout)?;
    // Whoever no longer reads standard error misses nothing that the exit code does not say.
    output.stderr.write_all(&checked.stderr).ok();
    Ok(checked
        .status
        .code()
        .and_then(|code| u8::try_from(code).ok())
        .unwrap_or(FaultKind::Failed.exit_code()))
}
