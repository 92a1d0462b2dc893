//! Puts a text into a file so that there is never half of it.
//! Does not: know what the text is.
//! Used by: `change` for the files that it writes, and `record` for its own.

use std::io::{self, Write};
use std::{fs, path::Path};

use rally_cred_proto::{Fault, FaultKind, native, own_file, shell_word::shell_word};
use tempfile::NamedTempFile;

/// Writes the new text beside the file, has it judged, and puts it in the file's place: at no time is there half a file.
/// A new one, and the folders on the way, are this user's alone; an old one keeps its mode.
pub(super) fn write(
    path: &Path,
    text: &str,
    judge: impl FnOnce(&Path) -> Result<(), Fault>,
) -> Result<(), Fault> {
    let cannot = |err: io::Error| {
        own_file::owner_remedy(path).into_iter().fold(failed(path, "cannot be written", &err), Fault::remedy)
    };
    own_file::check_owner(path)?;
    // A link, as people have who keep such files elsewhere, stays one.
    let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    // What is no file, or a link that leads nowhere, is somebody's.
    let old = match (fs::metadata(&target), fs::symlink_metadata(&target)) {
        (Ok(found), _) if found.is_file() => Some(found.permissions()),
        (Err(_), Err(_)) => None,
        _ => {
            return Err(Fault::new(FaultKind::Failed, format!("{} cannot be written", path.display()))
                .why("something that is no ordinary file is in its place")
                .remedy(own_file::put_aside(path)));
        }
    };
    if old.as_ref().is_some_and(fs::Permissions::readonly) {
        return Err(Fault::new(FaultKind::Failed, format!("{} is read-only", path.display()))
            .why("its mode lets nobody change it")
            .remedy(format!("{} {}", MAKE_WRITABLE, shell_word(&path.display().to_string()))));
    }
    let beside = write_beside(&target, text).map_err(cannot)?;
    judge(beside.path())?;
    old.map_or(Ok(()), |mode| fs::set_permissions(beside.path(), mode)).map_err(cannot)?;
    beside.persist(&target).map(drop).map_err(|err| cannot(err.error))
}

/// The command that lets this user write to a file.
const MAKE_WRITABLE: &str = native!("chmod u+w", windows: "attrib -R");

fn write_beside(target: &Path, text: &str) -> io::Result<NamedTempFile> {
    let folder = target.parent().unwrap_or(Path::new("/"));
    own_file::make_folder(folder)?;
    let mut file = tempfile::Builder::new().prefix(".rally-cred-").suffix(".new").tempfile_in(folder)?;
    file.write_all(text.as_bytes())?;
    file.as_file().sync_all()?;
    Ok(file)
}

/// What is said of a file with which the system refused to do something.
pub(super) fn failed(path: &Path, what: &str, err: &io::Error) -> Fault {
    Fault::new(FaultKind::Failed, format!("{} {what}", path.display()))
        .why(err.to_string())
        .remedy("fix the cause and run rally-cred setup again; what is done is kept")
}
