//! Where the daemon's socket is, and whether its folder can be trusted.
//! Does not: make or open anything (the daemon makes the folder, [`crate::client`] connects).
//! Used by: client and daemon, which must come to the same path.

use std::path::{Path, PathBuf};

#[cfg(unix)]
use crate::FaultKind;
pub use crate::variables::state_folder;
use crate::variables::{self, variable};
use crate::{Fault, native, own_file};

/// Name of the variable that overrides the path, for tests and unusual set-ups.
pub const OVERRIDE: &str = "RALLY_CRED_SOCKET";

/// Name of the file by which another machine's daemon is reached, in the folder of the own socket.
pub const FORWARDED: &str = "forwarded.sock";

/// The path of the socket that clients connect to: `RALLY_CRED_SOCKET`; else the one of another machine's daemon, if it is
/// forwarded here and this user has no config file; else [`own_path`].
pub fn path() -> Result<PathBuf, Fault> {
    match variables::path(OVERRIDE, variable(OVERRIDE))? {
        Some(path) => Ok(path),
        None => default_path().map(|own| forwarded(&own).unwrap_or(own)),
    }
}

/// The forwarded socket beside the own one. A config file means that this machine has sign-ins of its own.
fn forwarded(own: &Path) -> Option<PathBuf> {
    let forwarded = own.with_file_name(FORWARDED);
    let is_there = |path: &Path| path.symlink_metadata().is_ok();
    let has_config =
        || variables::config_file(variable(variables::CONFIG)).is_ok_and(|config| is_there(&config));
    (cfg!(unix) && is_there(&forwarded) && !has_config()).then_some(forwarded)
}

/// Whether another machine's daemon is reached by this path.
pub fn is_forwarded(socket: &Path) -> bool {
    socket.file_name().is_some_and(|name| name == FORWARDED)
}

/// The path of the socket that the daemon makes: `RALLY_CRED_SOCKET`, else `rally-cred/agent.sock` in `$XDG_RUNTIME_DIR`,
/// else the same in the user's state folder. On Windows the name of a pipe. Fails only if the user has no home folder.
pub fn own_path() -> Result<PathBuf, Fault> {
    match variables::path(OVERRIDE, variable(OVERRIDE))? {
        Some(path) => Ok(path),
        None => default_path(),
    }
}

#[cfg(unix)]
fn default_path() -> Result<PathBuf, Fault> {
    // The variable is read before `directories`, which would read the whole set of user folders first.
    let runtime = variable("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|path| path.is_absolute());
    let folder = match runtime {
        Some(runtime) => runtime.join("rally-cred"),
        None => state_folder()?.join("run"),
    };
    Ok(folder.join("agent.sock"))
}

#[cfg(windows)]
fn default_path() -> Result<PathBuf, Fault> {
    // A name of a user can be another's in another domain, or once it is free.
    let user = rally_cred_windows::own_user().map_err(|err| {
        Fault::new(crate::FaultKind::Failed, "the system does not tell which user this is")
            .why(err.to_string())
    })?;
    Ok(PathBuf::from(format!(r"\\.\pipe\rally-cred-{user}")))
}

/// The folder for the files beside the socket that daemons and clients lock while they start: the socket's own. A pipe
/// has none, so on Windows it is the user's state folder.
pub fn lock_folder(socket: &Path) -> Result<PathBuf, Fault> {
    if cfg!(windows) { state_folder() } else { Ok(socket.parent().unwrap_or(Path::new("/")).to_owned()) }
}

/// The longest path that this system can give a socket: the room in `sun_path`, without the zero at its end.
#[cfg(unix)]
const LONGEST: usize = if cfg!(any(target_os = "linux", target_os = "android")) { 107 } else { 103 };

/// What gives the socket a short path on a local file system.
#[cfg(unix)]
const SHORT_PATH: &str = "export RALLY_CRED_SOCKET=\"${TMPDIR:-/tmp}/rally-cred-$(id -u)/agent.sock\"";

/// Refuses a path that is too long for a socket, before the system does so in words that do not say what to do.
#[cfg(unix)]
pub fn check_length(socket: &Path) -> Result<(), Fault> {
    use std::os::unix::ffi::OsStrExt;

    let length = socket.as_os_str().as_bytes().len();
    if length <= LONGEST {
        return Ok(());
    }
    let is_chosen = variable(OVERRIDE).is_some_and(|path| path == socket);
    let source = if is_chosen { OVERRIDE } else { "the path of the user's runtime folder" };
    Err(Fault::new(FaultKind::Failed, format!("the socket path {} is too long", socket.display()))
        .why(format!("{source} gives it {length} bytes, and a socket's path has room for {LONGEST}"))
        .remedy(SHORT_PATH))
}

/// Names of pipes have room enough.
#[cfg(windows)]
pub fn check_length(_socket: &Path) -> Result<(), Fault> {
    Ok(())
}

/// Refuses a place on a file system that other hosts see too: they would find a socket on which nobody listens there, and
/// a lock that is held by nobody they know. Nothing is to be made or locked before it.
#[cfg(target_os = "linux")]
pub fn check_local(socket: &Path) -> Result<(), Fault> {
    let folder = lock_folder(socket)?;
    // What does not exist would be made in the nearest folder that does.
    let found = folder.ancestors().find_map(|place| rustix::fs::statfs(place).ok());
    let Some(name) = found.and_then(|found| network_name(found.f_type as u32)) else { return Ok(()) };
    Err(Fault::new(
        FaultKind::Failed,
        format!("the socket folder {} is on a network file system", folder.display()),
    )
    .why(format!("it is {name}, where sockets and locks are not this machine's alone"))
    .remedy(SHORT_PATH))
}

/// What hosts may share, by the number of its kind in `linux/magic.h` or, where that has none, in its own sources.
#[cfg(target_os = "linux")]
fn network_name(kind: u32) -> Option<&'static str> {
    Some(match kind {
        0x6969 => "NFS",
        0x517b | 0xff53_4d42 | 0xfe53_4d42 => "SMB",
        0x5346_414f | 0x6b41_4653 => "AFS",
        0x00c3_6400 => "Ceph",
        0x0bd0_0bd0 => "Lustre",
        0x4750_4653 => "GPFS",
        0x7461_636f => "OCFS2",
        0x0116_1970 => "GFS2",
        _ => return None,
    })
}

/// A pipe has no folder, and on macOS file systems have names and no numbers to know them by.
#[cfg(not(target_os = "linux"))]
pub fn check_local(_socket: &Path) -> Result<(), Fault> {
    Ok(())
}

/// Stops before anything is made that would be in another user's way: where home, state folder or socket folder belong to
/// somebody else, as with another user's variables under sudo.
pub fn check_owners(socket: &Path) -> Result<(), Fault> {
    let home = variable("HOME").map(PathBuf::from);
    [home, state_folder().ok()].into_iter().flatten().try_for_each(|place| own_file::check_owner(&place))?;
    own_file::check_owner(&lock_folder(socket)?)
        .map_err(|fault| if is_default(socket) { fault } else { fault.remedy(OTHER_PATH) })
}

/// Refuses a socket folder that somebody else could have made, can write to or can rename: it must be a folder and no
/// link, belong to this user, and be closed to everyone else, and in the folder above it nobody but this user and root
/// may change what it holds. `Ok(false)` if there is none yet.
#[cfg(unix)]
pub fn check_folder(socket: &Path) -> Result<bool, Fault> {
    use std::os::unix::fs::MetadataExt;

    let folder = socket.parent().unwrap_or(Path::new("/"));
    let me = rustix::process::geteuid().as_raw();
    let word = |end: &str| crate::shell_word::shell_word(&format!("{}{end}", folder.display()));
    let refuse = |why: String, mend: String| {
        // Any other folder is somebody's who never heard of us, so the path is to change and not the folder.
        let remedy = if is_default(socket) { mend } else { OTHER_PATH.to_owned() };
        Err(Fault::new(FaultKind::Failed, format!("the socket folder {} is not safe", folder.display()))
            .why(why)
            .remedy(remedy))
    };
    // Neither a link nor what belongs to somebody else is deleted unseen, and in another user's folder nothing is moved.
    let put_aside = || {
        let above = folder.parent().unwrap_or(Path::new("/"));
        match std::fs::metadata(above) {
            Ok(above) if above.uid() == me => native::put_aside(folder, ".old"),
            _ => "set XDG_RUNTIME_DIR to a folder of your own, or unset it".to_owned(),
        }
    };
    let found = match std::fs::symlink_metadata(folder) {
        Ok(found) => found,
        Err(err) if err.kind() == std::io::ErrorKind::NotFound => return Ok(false),
        Err(err) => return refuse(err.to_string(), format!("ls -ld {}", word(""))),
    };
    if !found.is_dir() {
        return refuse("it is a link or a file".to_owned(), put_aside());
    }
    if found.uid() != me {
        return refuse(format!("it belongs to uid {}, not {me}", found.uid()), put_aside());
    }
    if found.mode() & 0o077 != 0 {
        return refuse(format!("its mode is {:o}", found.mode() & 0o7777), format!("chmod 700 {}", word("")));
    }
    let above = folder.parent().unwrap_or(folder);
    match std::fs::metadata(above) {
        Ok(found) if !is_open_to_others(&found, me) => Ok(true),
        Ok(found) => {
            let (owner, mode) = (found.uid(), found.mode() & 0o7777);
            let mend = match owner == me {
                true => format!("chmod go-w {}", crate::shell_word::shell_word(&above.display().to_string())),
                false => "set XDG_RUNTIME_DIR to a folder of your own, or unset it".to_owned(),
            };
            let above = above.display();
            refuse(
                format!("others may put another in its place: {above} belongs to uid {owner}, mode {mode:o}"),
                mend,
            )
        }
        Err(err) => refuse(err.to_string(), format!("ls -ld {}", word(""))),
    }
}

/// Whether others may rename what this folder holds. Where it has the sticky bit, as /tmp does, they may rename only what
/// is theirs.
#[cfg(unix)]
fn is_open_to_others(folder: &std::fs::Metadata, me: u32) -> bool {
    use std::os::unix::fs::MetadataExt;

    // Inside a user namespace, root's folders have whatever number stands for the users outside.
    let is_the_systems = |uid| uid == 0 || std::fs::metadata("/").is_ok_and(|root| root.uid() == uid);
    let is_writable = folder.mode() & 0o022 != 0 && folder.mode() & 0o1000 == 0;
    is_writable || folder.uid() != me && !is_the_systems(folder.uid())
}

/// Adds to a fault how something in the place of the socket's files is got out of the way: in the folder that we choose
/// ourselves by a command, and elsewhere by another path, since there it is somebody's.
#[must_use]
pub fn in_the_way(fault: Fault, socket: &Path, thing: &Path) -> Fault {
    match thing.symlink_metadata() {
        _ if !is_default(socket) => fault.remedy(OTHER_PATH),
        Ok(_) => fault.remedy(own_file::put_aside(thing)),
        Err(_) => fault,
    }
}

/// What helps where the path comes from the variable, whatever is the matter with it.
pub const OTHER_PATH: &str = native!(
    "unset RALLY_CRED_SOCKET, or set it to a path in a folder of your own that is closed to others",
    windows: r"remove the variable RALLY_CRED_SOCKET, or set it to a name of your own, such as \\.\pipe\rally-cred-mine"
);

/// Whether this is the path that we choose ourselves, so that its folder is ours.
pub fn is_default(socket: &Path) -> bool {
    default_path().is_ok_and(|path| path == socket || path.with_file_name(FORWARDED) == socket)
}

/// Pipes have no folder; whose one is, is looked at once it is open.
#[cfg(windows)]
pub fn check_folder(_socket: &Path) -> Result<bool, Fault> {
    Ok(true)
}

#[cfg(all(test, unix))]
mod tests {
    use std::{
        fs,
        os::unix::fs::{DirBuilderExt, PermissionsExt, symlink},
    };

    use super::*;

    #[test]
    fn a_path_that_no_socket_can_have_is_told_with_the_limit_and_the_variable() {
        let path = |length: usize| PathBuf::from(format!("/{}", "a".repeat(length - 1)));
        assert_eq!(check_length(&path(LONGEST)), Ok(()));
        let fault = check_length(&path(LONGEST + 1)).unwrap_err();
        assert!(fault.why.is_some_and(|why| why.contains(&LONGEST.to_string())));
        assert!(fault.remedy.is_some_and(|remedy| remedy.to_string().contains(OVERRIDE)));
    }

    #[test]
    fn a_folder_that_others_can_enter_or_that_is_a_link_is_refused_by_name() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("rally-cred");
        let socket = folder.join("agent.sock");
        assert_eq!(check_folder(&socket), Ok(false));
        fs::DirBuilder::new().mode(0o700).create(&folder).unwrap();
        assert_eq!(check_folder(&socket), Ok(true));
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o710)).unwrap();
        let fault = check_folder(&socket).unwrap_err();
        assert_eq!(fault.why.as_deref(), Some("its mode is 710"));
        // It is not the folder that we choose ourselves.
        assert_eq!(fault.remedy, Some(OTHER_PATH.into()));

        let link = home.path().join("link");
        symlink(&folder, &link).unwrap();
        assert_eq!(
            check_folder(&link.join("agent.sock")).unwrap_err().why.as_deref(),
            Some("it is a link or a file")
        );
    }

    #[test]
    fn a_folder_that_others_can_rename_is_refused_with_owner_and_mode_of_the_one_above() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("rally-cred");
        let socket = folder.join("agent.sock");
        fs::DirBuilder::new().mode(0o700).create(&folder).unwrap();
        let above = |mode| fs::set_permissions(home.path(), fs::Permissions::from_mode(mode)).unwrap();
        for mode in [0o700, 0o755, 0o1777, 0o1770] {
            above(mode);
            assert_eq!(check_folder(&socket), Ok(true), "{mode:o}");
        }
        let me = rustix::process::geteuid().as_raw();
        for mode in [0o777, 0o775, 0o702] {
            above(mode);
            let why = check_folder(&socket).unwrap_err().why.unwrap();
            let place = format!("{} belongs to uid {me}, mode {mode:o}", home.path().display());
            assert!(why.ends_with(&place), "{why}");
        }
        above(0o700);
    }
}
