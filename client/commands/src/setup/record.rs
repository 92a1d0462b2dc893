//! What `setup` has made on this machine, kept in the state folder, so that `--remove` takes away that and nothing else.
//! Does not: make or take away anything. The profile and the sign-in are not in it, since `--remove` names these.
//! Used by: `setup`.

use std::path::{Path, PathBuf};
use std::{fs, io};

use rally_cred_proto::{Fault, FaultKind, own_file, socket};
use serde::{Deserialize, Serialize};

use super::whole_file;

/// One thing that was not there before `setup`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Made {
    File(#[serde(with = "lossless")] PathBuf),
    /// The helper `rally` under this key of git's global configuration.
    GitHelper(String),
    /// Another helper under this key: where git does not find it by name, it has its path.
    GitHelperAt(String, #[serde(with = "lossless")] PathBuf),
    /// The empty helper before it, which has git forget all others.
    GitReset(String),
    /// systemd's start of the daemon.
    Units,
}

impl Made {
    /// The key of git's configuration, if that is where it is.
    pub(super) fn git_key(&self) -> Option<&str> {
        match self {
            Self::GitHelper(key) | Self::GitHelperAt(key, _) | Self::GitReset(key) => Some(key),
            Self::File(_) | Self::Units => None,
        }
    }
}

/// A path as text, as it has always been, and one that is no text as its bytes.
mod lossless {
    use std::{
        ffi::OsString,
        path::{Path, PathBuf},
    };

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Written {
        Text(PathBuf),
        Bytes(OsString),
    }

    pub(super) fn serialize<S: Serializer>(path: &Path, to: S) -> Result<S::Ok, S::Error> {
        match path.to_str() {
            Some(text) => to.serialize_str(text),
            None => path.as_os_str().serialize(to),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<PathBuf, D::Error> {
        Ok(match Written::deserialize(from)? {
            Written::Text(path) => path,
            Written::Bytes(bytes) => bytes.into(),
        })
    }
}

/// All of it, in the order in which it was made.
pub(super) fn load() -> Result<Vec<Made>, Fault> {
    let path = path()?;
    match own_file::open_to_read(&path).and_then(io::read_to_string) {
        Ok(text) => serde_json::from_str(&text).map_err(|_| failed(&path, "it is not understood")),
        Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(err) => Err(failed(&path, &err.to_string())),
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
        return fs::remove_file(&path).map_err(|err| failed(&path, &err.to_string()));
    }
    let text = serde_json::to_string(all).map_err(|err| failed(&path, &err.to_string()))?;
    whole_file::write(&path, &format!("{text}\n"), |_| Ok(()))
}

fn path() -> Result<PathBuf, Fault> {
    Ok(socket::state_folder()?.join("setup.json"))
}

fn failed(path: &Path, why: &str) -> Fault {
    let what = format!("the record of what setup made, {}, cannot be used", path.display());
    let remedy = own_file::owner_remedy(path).unwrap_or_else(|| own_file::put_aside(path));
    Fault::new(FaultKind::Failed, what).why(why).remedy(remedy)
}
