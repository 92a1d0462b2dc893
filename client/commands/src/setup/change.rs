//! One change that `setup` makes, or says that it would make.
//! Does not: decide whether it is needed.
//! Used by: `setup`, which plans them.

use std::path::{Path, PathBuf};
use std::{ffi::OsString, fmt, fs, io, process::Command};

use rally_cred::{output::Output, system::System};
use rally_cred_proto::{Fault, FaultKind, shell_word::shell_word};

use super::record::{self, Made};
use super::whole_file;
use crate::{config, daemon, logout};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// Put this text into the config file, once the daemon's program has found it good.
    Configure {
        path: PathBuf,
        text: String,
    },
    Write {
        path: PathBuf,
        text: String,
    },
    Delete(PathBuf),
    Run {
        program: &'static str,
        arguments: Vec<OsString>,
    },
    /// Keep in mind that the next change makes this.
    Note(Made),
    /// The opposite, after it is gone.
    Forget(Made),
    /// Forget a profile's token and client secret.
    SignOut(String),
    /// Have a running daemon read its config file again.
    Reload,
    Stop,
}

impl Change {
    /// Puts this text into a file, which is noted if it is not there yet.
    pub(super) fn noted(self) -> Vec<Self> {
        match &self {
            Self::Configure { path, .. } | Self::Write { path, .. }
                if fs::symlink_metadata(path).is_err() =>
            {
                vec![Self::Note(Made::File(path.clone())), self]
            }
            _ => vec![self],
        }
    }

    /// Whether it is no change of its own, but makes another one count.
    pub(super) fn is_silent(&self) -> bool {
        matches!(self, Self::Reload | Self::Stop | Self::Note(_) | Self::Forget(_))
    }

    pub(super) fn make(&self, sys: &dyn System, output: &mut Output<'_>) -> Result<(), Fault> {
        match self {
            Self::Configure { path, text } => {
                whole_file::write(path, text, |beside| judge(beside, path, sys))
                    .inspect_err(|_| never_made(path))
            }
            Self::Write { path, text } => {
                whole_file::write(path, text, |_| Ok(())).inspect_err(|_| never_made(path))
            }
            Self::Note(made) => record::note(made),
            Self::Forget(made) => record::forget(made),
            Self::Delete(path) => {
                fs::remove_file(path).map_err(|err| whole_file::failed(path, "cannot be deleted", &err))?;
                // A folder for additions to a unit that has none is in nobody's way, but a trace.
                let folder = path.parent().filter(|folder| folder.extension().is_some_and(|end| end == "d"));
                folder.map(fs::remove_dir);
                Ok(())
            }
            Self::Run { program, arguments } => run(program, arguments, sys),
            Self::SignOut(profile) => {
                let options = logout::Options {
                    profile: Some(profile.clone()),
                    all: false,
                    client_secret: true,
                    autostart: true,
                };
                match logout::run(options, sys, output) {
                    // A profile that the daemon does not know has no token.
                    Err(fault)
                        if !matches!(fault.kind, FaultKind::UnknownProfile | FaultKind::NotConfigured) =>
                    {
                        Err(fault)
                    }
                    Ok(_) | Err(_) => Ok(()),
                }
            }
            Self::Reload => match quietly(output, |output| daemon::run(daemon::Command::Reload, sys, output))
            {
                // The next one to start reads it.
                Err(fault) if fault.kind != FaultKind::NoDaemon => Err(fault),
                Ok(_) | Err(_) => Ok(()),
            },
            Self::Stop => quietly(output, |output| daemon::run(daemon::Command::Stop, sys, output)).map(drop),
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Configure { path, .. } | Self::Write { path, .. } => write!(f, "write {}", path.display()),
            Self::Delete(path) => write!(f, "delete {}", path.display()),
            Self::Run { program, arguments } => write!(f, "run {}", command_line(program, arguments)),
            Self::SignOut(profile) => write!(f, "sign out profile {profile}"),
            Self::Reload => f.write_str("have the daemon read its config file"),
            Self::Stop => f.write_str("stop the daemon"),
            Self::Note(made) => write!(f, "note {made:?}"),
            Self::Forget(made) => write!(f, "forget {made:?}"),
        }
    }
}

/// Runs a command whose answer nobody asked for.
fn quietly(
    output: &mut Output<'_>,
    run: impl FnOnce(&mut Output<'_>) -> Result<u8, Fault>,
) -> Result<u8, Fault> {
    run(&mut Output { stdout: &mut io::sink(), stderr: output.stderr })
}

/// Takes the note of a file back if that could not be made. Nothing is lost if the note stays.
fn never_made(path: &Path) {
    if fs::symlink_metadata(path).is_err() {
        record::forget(&Made::File(path.to_owned())).ok();
    }
}

/// The verdict of the daemon's program on a new text, which speaks of the file that the text is for.
fn judge(beside: &Path, path: &Path, sys: &dyn System) -> Result<(), Fault> {
    config::judge(Some(beside), sys).map(drop).map_err(|fault| {
        let what = fault.what.replace(&beside.display().to_string(), &path.display().to_string());
        Fault { what, ..fault }
    })
}

/// A command as a person would type it.
fn command_line(program: &str, arguments: &[OsString]) -> String {
    let words = arguments.iter().map(|word| shell_word(&word.to_string_lossy()));
    std::iter::once(program.to_owned()).chain(words).collect::<Vec<_>>().join(" ")
}

fn run(program: &str, arguments: &[OsString], sys: &dyn System) -> Result<(), Fault> {
    let line = command_line(program, arguments);
    let fault = || {
        Fault::new(FaultKind::Failed, format!("{line} failed"))
            .remedy("fix the cause and run rally-cred setup again; what is done is kept")
    };
    let done = sys.output_of(Command::new(program).args(arguments));
    match done {
        Ok(done) if done.status.success() => Ok(()),
        Ok(done) => {
            let said = String::from_utf8_lossy(&done.stderr).into_owned();
            Err(fault().why(said.lines().next().unwrap_or("it did not say why")))
        }
        Err(why) => Err(fault().why(why.to_string())),
    }
}
