//! What `setup` has made on this machine, kept in the state folder, so that `--remove` takes away that and nothing else.
//! Does not: make or take away anything. The profile and the sign-in are not in it, since `--remove` names these.
//! Met by: `setup`.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use rally_cred_proto::{Fault, FaultKind, own_file, socket};
use serde::{Deserialize, Serialize};

/// One thing that was not there before `setup`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Made {
    /// A file.
    File(PathBuf),
    /// The helper `rally` under this key of git's global configuration.
    GitHelper(String),
    /// The empty helper before it, which has git forget all others.
    GitReset(String),
    /// systemd's start of the daemon.
    Units,
}

/// All of it, in the order in which it was made.
pub(super) fn load() -> Result<Vec<Made>, Fault> {
    let path = path()?;
    match own_file::open_to_read(&path).and_then(io::read_to_string) {
        Ok(text) => serde_json::from_str(&text).map_err(|_| failed(&path, "it is not understood")),
        Err(fault) if fault.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(fault) => Err(failed(&path, &fault.to_string())),
    }
}

/// Adds something that is about to be made, so that no interruption leaves it unknown.
pub(super) fn note(made: &Made) -> Result<(), Fault> {
    let mut all = load()?;
    if !all.contains(made) {
        all.push(made.clone());
    }
    save(&all)
}

/// Takes out what is there no more.
pub(super) fn forget(made: &Made) -> Result<(), Fault> {
    let mut all = load()?;
    all.retain(|other| other != made);
    save(&all)
}

fn save(all: &[Made]) -> Result<(), Fault> {
    let path = path()?;
    if all.is_empty() {
        return fs::remove_file(&path).map_err(|fault| failed(&path, &fault.to_string()));
    }
    let text = serde_json::to_string(all).map_err(|fault| failed(&path, &fault.to_string()))?;
    super::change::write(&path, &format!("{text}\n"), |_| Ok(()))
}

fn path() -> Result<PathBuf, Fault> {
    Ok(socket::state_folder()?.join("setup.json"))
}

fn failed(path: &Path, why: &str) -> Fault {
    Fault::new(
        FaultKind::Failed,
        format!("the record of what setup made, {}, cannot be used", path.display()),
    )
    .why(why)
    .remedy(own_file::owner_remedy(path).unwrap_or_else(|| own_file::put_aside(path)))
}
