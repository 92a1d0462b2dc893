//! One change that `setup` makes, or says that it would make.
//! Does not: decide whether it is needed.
//! Met by: `setup`, which plans them.

use std::{
    fmt, fs,
    io::{self, Write},
    path::{Path, PathBuf},
    process::Command,
};

use rally_cred_proto::{Fault, FaultKind, message::Logout};

use crate::{config, daemon, logout, output::Output, surroundings::Surroundings};

/// Something to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// Put this text into the config file, once the daemon's program has found it good.
    Configure { path: PathBuf, text: String },
    /// Put this text into a file of ours.
    Write { path: PathBuf, text: String },
    /// Delete a file of ours.
    Delete(PathBuf),
    /// Run a program.
    Run { program: &'static str, arguments: Vec<String> },
    /// Forget a profile's token and client secret.
    SignOut(String),
    /// Have a running daemon read its config file again.
    Reload,
    /// Stop a running daemon.
    Stop,
}

impl Change {
    /// Whether it is no change of its own, but makes another one count.
    pub(super) fn is_silent(&self) -> bool {
        match self {
            Self::Reload | Self::Stop => true,
            Self::Configure { .. }
            | Self::Write { .. }
            | Self::Delete(_)
            | Self::Run { .. }
            | Self::SignOut(_) => false,
        }
    }

    /// Makes it.
    pub(super) fn make(&self, around: &dyn Surroundings, output: &mut Output<'_>) -> Result<(), Fault> {
        match self {
            Self::Configure { path, text } => configure(path, text, around),
            Self::Write { path, text } => {
                write(path, text).map_err(|fault| failed(path, "cannot be written", &fault))
            }
            Self::Delete(path) => {
                fs::remove_file(path).map_err(|fault| failed(path, "cannot be deleted", &fault))
            }
            Self::Run { program, arguments } => run(program, arguments, around),
            Self::SignOut(profile) => {
                let logout = Logout { profile: Some(profile.clone()), all: false, client_secret: true };
                match logout::run(logout, true, around, output) {
                    // A profile that the daemon does not know has no token.
                    Err(fault)
                        if !matches!(fault.kind, FaultKind::UnknownProfile | FaultKind::NotConfigured) =>
                    {
                        Err(fault)
                    }
                    Ok(_) | Err(_) => Ok(()),
                }
            }
            Self::Reload => match quietly(output, |output| daemon::reload(around, output)) {
                // The next one to start reads it.
                Err(fault) if fault.kind != FaultKind::NoDaemon => Err(fault),
                Ok(_) | Err(_) => Ok(()),
            },
            Self::Stop => quietly(output, |output| daemon::stop(around, output)).map(drop),
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Configure { path, .. } | Self::Write { path, .. } => write!(f, "write {}", path.display()),
            Self::Delete(path) => write!(f, "delete {}", path.display()),
            Self::Run { program, arguments } => write!(f, "run {program} {}", arguments.join(" ")),
            Self::SignOut(profile) => write!(f, "sign out profile {profile}"),
            Self::Reload => f.write_str("have the daemon read its config file"),
            Self::Stop => f.write_str("stop the daemon"),
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

fn failed(path: &Path, what: &str, fault: &io::Error) -> Fault {
    Fault::new(FaultKind::Failed, format!("{} {what}", path.display())).why(fault.to_string())
}

/// Writes the new text beside the file, has it judged, and puts it in the file's place: at no time is there half a file.
fn configure(path: &Path, text: &str, around: &dyn Surroundings) -> Result<(), Fault> {
    // A link, as people have who keep such files elsewhere, stays one.
    let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let beside = target.with_extension("toml.new");
    let cannot = |fault: &io::Error| failed(&target, "cannot be written", fault);
    // One from a run that was interrupted is in the way.
    fs::remove_file(&beside).ok();
    write(&beside, text).map_err(|fault| cannot(&fault))?;
    let judged = config::judge(Some(&beside), around).map_err(|fault| {
        let what = fault.what.replace(&beside.display().to_string(), &path.display().to_string());
        Fault { what, ..fault }
    });
    let placed = judged.and_then(|_| {
        if let Ok(found) = fs::metadata(&target) {
            fs::set_permissions(&beside, found.permissions()).map_err(|fault| cannot(&fault))?;
        }
        fs::rename(&beside, &target).map_err(|fault| cannot(&fault))
    });
    if placed.is_err() {
        fs::remove_file(&beside).ok();
    }
    placed
}

/// Writes a whole file that only this user may change, and read; its folders are made.
fn write(path: &Path, text: &str) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(folder)?;
    }
    let mut options = fs::File::options();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

fn run(program: &str, arguments: &[String], around: &dyn Surroundings) -> Result<(), Fault> {
    let line = format!("{program} {}", arguments.join(" "));
    let fault = || Fault::new(FaultKind::Failed, format!("{line} failed"));
    let done = around.output_of(Command::new(program).args(arguments));
    match done {
        Ok(done) if done.status.success() => Ok(()),
        Ok(done) => {
            let said = String::from_utf8_lossy(&done.stderr).into_owned();
            Err(fault().why(said.lines().next().unwrap_or("it did not say why")))
        }
        Err(why) => Err(fault().why(why.to_string())),
    }
}
