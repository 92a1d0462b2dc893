//! The variables that say where files are, read in the same way on both sides.
//! Does not: make or open anything.
//! Used by: client and daemon, which must come to the same paths.

use std::path::{PathBuf, absolute};
use std::{env, ffi::OsString};

use crate::{Fault, FaultKind, native::set_variable};

/// Name of the variable with the config file's path.
pub const CONFIG: &str = "RALLY_CRED_CONFIG";

/// Name of the variable with the path of a file that holds the client secret, for machines without a keyring.
pub const SECRET_FILE: &str = "RALLY_CRED_CLIENT_SECRET_FILE";

/// Name of the variable with the path of a file that holds a token record, for machines on which nobody signs in.
pub const SIGN_IN_FILE: &str = "RALLY_CRED_SIGN_IN_FILE";

/// Name of the variable with the profile that `get`, `store`, `erase` and `exec` are for.
pub const PROFILE: &str = "RALLY_CRED_PROFILE";

/// A variable; an empty one counts as unset.
pub fn variable(name: &str) -> Option<OsString> {
    env::var_os(name).filter(|value| !value.is_empty())
}

/// Where each program finds its own descriptors.
const DESCRIPTORS: [&str; 4] = ["/dev/fd", "/dev/stdin", "/proc/self", "/proc/thread-self"];

/// The path in a variable of ours. A relative one would mean another file in every folder, and one that leads to a
/// descriptor another file in every program, so they are refused.
pub fn path(name: &str, value: Option<OsString>) -> Result<Option<PathBuf>, Fault> {
    let Some(path) = value.filter(|value| !value.is_empty()).map(PathBuf::from) else { return Ok(None) };
    if DESCRIPTORS.iter().any(|own| path.starts_with(own)) {
        return Err(Fault::new(FaultKind::ConfigBroken, format!("{name} leads to a descriptor"))
            .why("each program has its own, and the daemon is another one")
            .remedy(format!("set {name} to an ordinary file")));
    }
    if path.is_absolute() {
        return Ok(Some(path));
    }
    let whole = absolute(&path).unwrap_or(path);
    Err(Fault::new(FaultKind::ConfigBroken, format!("{name} is not an absolute path"))
        .why("a relative one would mean another file in every folder")
        .remedy(set_variable(name, &whole.display().to_string())))
}

/// The config file's path: [`CONFIG`], whose value is given, else `config.toml` in the user's config folder.
pub fn config_file(value: Option<OsString>) -> Result<PathBuf, Fault> {
    if let Some(path) = path(CONFIG, value)? {
        return Ok(path);
    }
    let folder = user_folder("XDG_CONFIG_HOME")
        .or_else(|| project_folders().map(|folders| folders.config_dir().to_owned()))
        .ok_or_else(|| homeless(CONFIG, "XDG_CONFIG_HOME"))?;
    Ok(folder.join("config.toml"))
}

/// The user's folder for logs and for state that may be lost: `~/.local/state/rally-cred` on Linux.
pub fn state_folder() -> Result<PathBuf, Fault> {
    let below_home = |folders: directories::ProjectDirs| {
        folders.state_dir().unwrap_or_else(|| folders.data_local_dir()).to_owned()
    };
    user_folder("XDG_STATE_HOME")
        .or_else(|| project_folders().map(below_home))
        .ok_or_else(|| homeless("HOME", "XDG_STATE_HOME"))
}

/// Our folder in the one that a variable of the XDG Base Directory Specification names, which has relative ones ignored.
/// The library that knows the folders of other systems asks for a home folder first, and a container may have none.
fn user_folder(name: &str) -> Option<PathBuf> {
    let is_used = cfg!(all(unix, not(target_vendor = "apple")));
    let folder = variable(name).map(PathBuf::from).filter(|path| is_used && path.is_absolute())?;
    Some(folder.join("rally-cred"))
}

fn project_folders() -> Option<directories::ProjectDirs> {
    directories::ProjectDirs::from("", "", "rally-cred")
}

fn homeless(one: &str, other: &str) -> Fault {
    Fault::new(FaultKind::ConfigBroken, "the home folder of this user is not known")
        .remedy(format!("set {one} or {other}"))
}

#[cfg(unix)]
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_absolute_or_unset_or_refused_with_the_whole_one() {
        assert_eq!(path("X", None), Ok(None));
        assert_eq!(path("X", Some("".into())), Ok(None));
        assert_eq!(path("X", Some("/a b".into())), Ok(Some(PathBuf::from("/a b"))));
        for value in ["a", "./a", "../a", "~/a"] {
            let fault = path("X", Some(value.into())).unwrap_err();
            assert_eq!(
                (fault.kind, fault.what.as_str()),
                (FaultKind::ConfigBroken, "X is not an absolute path")
            );
            assert!(fault.remedy.unwrap().to_string().starts_with("export X="));
        }
        for value in ["/dev/fd/3", "/dev/stdin", "/proc/self/fd/0", "/proc/thread-self/fd/0"] {
            let fault = path("X", Some(value.into())).unwrap_err();
            assert_eq!(fault.what, "X leads to a descriptor", "{value}");
        }
        assert!(path("X", Some("/dev/fdx".into())).is_ok());
    }
}
