//! A file that is trusted with secrets: the config file, or one that holds a client secret.
//! Does not: know what is in it, or the remedy.
//! Used by: `config` and `secret_source`.

use std::{
    fs::{File, Metadata},
    io,
    path::Path,
};

use rally_cred_proto::own_file;

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    /// It cannot be opened. [`io::ErrorKind::InvalidInput`] if it is not an ordinary file.
    #[error(transparent)]
    NotOpened(#[from] io::Error),
    /// Somebody else could have put it there. The owner, and the reader.
    #[error("it belongs to uid {0}, not to uid {1} or root")]
    OfAnotherUser(u32, u32),
    /// Somebody else could have changed it. Its mode, without the kind of file.
    #[error("others may write to it (mode {0:04o})")]
    WritableByOthers(u32),
}

/// Opens an ordinary file of this user or of root that nobody else may write to. Anybody may read it: many systems that
/// hand secrets to programs leave them readable to all.
pub fn open(path: &Path) -> Result<File, Unusable> {
    let file = own_file::open_to_read(path)?;
    // The open file, since the path may lead elsewhere a moment later.
    check(&file.metadata()?)?;
    Ok(file)
}

#[cfg(unix)]
fn check(found: &Metadata) -> Result<(), Unusable> {
    use std::os::unix::fs::MetadataExt;
    check_owner_and_mode(found.uid(), found.mode(), rustix::process::geteuid().as_raw())
}

/// The permissions of the user's folders are inherited.
#[cfg(not(unix))]
fn check(_found: &Metadata) -> Result<(), Unusable> {
    Ok(())
}

/// Root's files are trusted: root can do anything anyway, and some systems generate config files as root.
#[cfg(unix)]
fn check_owner_and_mode(owner: u32, mode: u32, me: u32) -> Result<(), Unusable> {
    if owner != me && owner != 0 {
        return Err(Unusable::OfAnotherUser(owner, me));
    }
    match mode & 0o022 {
        0 => Ok(()),
        _ => Err(Unusable::WritableByOthers(mode & 0o7777)),
    }
}

#[cfg(unix)]
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_may_belong_to_this_user_or_to_root_and_be_written_by_nobody_else() {
        let check =
            |owner, mode, me| check_owner_and_mode(owner, mode, me).map_err(|unusable| unusable.to_string());
        assert_eq!(check(1000, 0o100_644, 1000), Ok(()));
        assert_eq!(check(0, 0o100_444, 1000), Ok(()));
        let foreign = "it belongs to uid 1001, not to uid 1000 or root";
        assert_eq!(check(1001, 0o100_600, 1000), Err(foreign.to_owned()));
        for (mode, shown) in [(0o100_622, "0622"), (0o100_660, "0660"), (0o104_602, "4602")] {
            assert_eq!(check(0, mode, 1000), Err(format!("others may write to it (mode {shown})")));
        }
    }
}
