//! The one way in which files and folders of our own are opened and made: without waiting, without following a planted
//! link, and never in another user's folders.
//! Does not: read or write them, or decide what happens without one.
//! Used by: client and daemon, for config, log, locks and every other file of ours.

use std::fs::{self, DirBuilder, File, Metadata, OpenOptions};
use std::{ffi::OsStr, io, path::Path};

#[cfg(unix)]
use crate::shell_word::shell_word;
use crate::{Fault, native};

/// Opens a file for reading. It must be an ordinary one, at the end of whatever links lead to it: a named pipe or a device
/// in its place would hold up whoever reads it.
pub fn open_to_read(path: &Path) -> io::Result<File> {
    // Before it is opened, since some devices act on that.
    check_ordinary(&fs::metadata(path)?)?;
    open(path, File::options().read(true), true)
}

/// Opens a file for appending, and makes it, for this user only, if there is none. A link in its place is not followed.
pub fn open_to_append(path: &Path) -> io::Result<File> {
    make(path, File::options().append(true))
}

/// Opens a file for reading and writing, and makes it, for this user only, if there is none. A link in its place is not
/// followed, and what the file holds stays.
pub fn open_to_lock(path: &Path) -> io::Result<File> {
    make(path, File::options().read(true).write(true).truncate(false))
}

fn make(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    match fs::symlink_metadata(path) {
        Ok(found) => check_ordinary(&found)?,
        Err(err) if err.kind() == io::ErrorKind::NotFound => {}
        Err(err) => return Err(err),
    }
    options.create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(options, 0o600);
    open(path, options, false)
}

/// Something else may have come into the file's place since the first look, so what was opened is looked at again.
fn open(path: &Path, options: &mut OpenOptions, follows_links: bool) -> io::Result<File> {
    #[cfg(unix)]
    {
        use rustix::fs::OFlags;
        let links = if follows_links { OFlags::empty() } else { OFlags::NOFOLLOW };
        let flags = OFlags::NONBLOCK | OFlags::NOCTTY | links;
        std::os::unix::fs::OpenOptionsExt::custom_flags(options, flags.bits().cast_signed());
    }
    #[cfg(not(unix))]
    let _ = follows_links;
    let file = options.open(path)?;
    check_ordinary(&file.metadata()?)?;
    Ok(file)
}

fn check_ordinary(found: &Metadata) -> io::Result<()> {
    match found.is_file() {
        true => Ok(()),
        false => Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not an ordinary file")),
    }
}

/// The command that takes what is in the place of a file of ours out of the way, unseen and therefore not deleted. What has
/// a name that somebody else has chosen, as a variable can name it, is left alone.
pub fn put_aside(thing: &Path) -> String {
    let is_ours =
        |name: Option<&OsStr>| name.is_some_and(|name| name.as_encoded_bytes().starts_with(b"rally-cred"));
    match is_ours(thing.file_name()) || is_ours(thing.parent().and_then(Path::file_name)) {
        true => native::put_aside(thing, ".aside"),
        false => format!("use another path than {}", thing.display()),
    }
}

/// Makes a folder and those above it, closed to others from the start.
pub fn make_folder(folder: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

/// This user's id, if it is another than `uid`.
#[cfg(unix)]
pub(crate) fn other_user(uid: u32) -> Option<u32> {
    let me = rustix::process::geteuid().as_raw();
    (me != uid).then_some(me)
}

/// Users have no numbers here.
#[cfg(not(unix))]
pub(crate) fn other_user(_uid: u32) -> Option<u32> {
    None
}

/// Refuses a place for files that is in somebody else's folder, as with another user's `HOME` under sudo: what is made
/// there would be in their way, and they could not remove it. Root's folders are nobody's, and neither are those that
/// everybody shares, such as /tmp; whether this user may write there, the system knows.
#[cfg(unix)]
pub fn check_owner(place: &Path) -> Result<(), Fault> {
    use std::os::unix::fs::MetadataExt;

    let me = rustix::process::geteuid().as_raw();
    // What does not exist would be made in the nearest folder that does.
    let nearest = place.ancestors().find_map(|folder| Some((folder, fs::metadata(folder).ok()?)));
    let Some((folder, found)) = nearest else { return Ok(()) };
    let is_shared = found.is_dir() && found.mode() & 0o1002 == 0o1002;
    if is_shared || found.uid() == me || found.uid() == 0 {
        return Ok(());
    }
    let is_sudo = me == 0 && std::env::var_os("SUDO_UID").is_some();
    let remedy = if is_sudo {
        "run it without sudo, or in a session of root's own: sudo -i"
    } else {
        "run it as that user, or set HOME, XDG_STATE_HOME and XDG_RUNTIME_DIR to folders of your own"
    };
    let what = format!("{} belongs to somebody else, so nothing is made there", folder.display());
    Err(Fault::new(crate::FaultKind::Failed, what)
        .why(format!("it belongs to uid {}, and this program runs as uid {me}", found.uid()))
        .remedy(remedy))
}

/// Files have lists of who may do what there, and nobody gets another user's variables by the way.
#[cfg(not(unix))]
pub fn check_owner(_place: &Path) -> Result<(), Fault> {
    Ok(())
}

/// The command that gives this user back what root has made on the way to this place in their home. It names our own
/// folder, and of those above it only what cannot be entered otherwise. `None` if the trouble is another one.
#[cfg(unix)]
pub fn owner_remedy(place: &Path) -> Option<String> {
    use std::os::unix::fs::MetadataExt;

    let me = rustix::process::geteuid().as_raw();
    remedy_by(place, me, |step| fs::symlink_metadata(step).ok().map(|found| found.uid()))
}

#[cfg(unix)]
fn remedy_by(place: &Path, me: u32, owner: impl Fn(&Path) -> Option<u32>) -> Option<String> {
    let is_roots = |step: &&Path| owner(step) == Some(0) && me != 0;
    let word = |step: &Path| shell_word(&step.display().to_string());
    let ours = place.ancestors().find(|step| step.ends_with("rally-cred"))?;
    // Above the home, most is root's and has to be.
    let in_home: Vec<_> = ours.ancestors().skip(1).take_while(|step| owner(step) != Some(me)).collect();
    let is_in_home = ours.ancestors().skip(1).any(|step| owner(step) == Some(me));
    let above: Vec<_> = in_home.into_iter().filter(is_roots).map(word).collect();
    let has_below = place.ancestors().take_while(|step| step.starts_with(ours)).any(|step| is_roots(&step));
    if !is_in_home || above.is_empty() && !has_below {
        return None;
    }
    let whole = format!("sudo chown -R {me} {}", word(ours));
    Some(match above.is_empty() {
        true => whole,
        false => format!("sudo chown {me} {} && {whole}", above.join(" ")),
    })
}

/// Not by an owner's number.
#[cfg(not(unix))]
pub fn owner_remedy(_place: &Path) -> Option<String> {
    None
}

#[cfg(unix)]
#[cfg(test)]
mod tests {
    use std::{
        os::unix::{fs::symlink, net::UnixListener},
        sync::mpsc,
        thread,
        time::Duration,
    };

    use super::*;

    /// What came of opening a path, which must not take long.
    fn outcome(open: fn(&Path) -> io::Result<File>, path: &Path) -> Result<(), String> {
        let (done, opened) = mpsc::channel();
        let path = path.to_owned();
        thread::spawn(move || done.send(open(&path).map(drop).map_err(|err| err.to_string())));
        opened.recv_timeout(Duration::from_secs(30)).expect("it does not wait")
    }

    #[test]
    fn pipes_devices_folders_and_sockets_are_refused_at_once() {
        let home = tempfile::tempdir().unwrap();
        let pipe = home.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let socket = home.path().join("socket");
        let _listener = UnixListener::bind(&socket).unwrap();
        let link = home.path().join("link");
        symlink(&pipe, &link).unwrap();
        for open in [open_to_read, open_to_append, open_to_lock] {
            for path in [&pipe, &socket, &link, Path::new("/dev/zero"), home.path()] {
                assert_eq!(outcome(open, path), Err("it is not an ordinary file".to_owned()), "{path:?}");
            }
        }
    }

    #[test]
    fn a_link_is_followed_to_read_and_never_to_write() {
        let home = tempfile::tempdir().unwrap();
        let (file, link) = (home.path().join("file"), home.path().join("link"));
        fs::write(&file, "precious").unwrap();
        symlink(&file, &link).unwrap();
        assert_eq!(outcome(open_to_read, &link), Ok(()));
        let (nowhere, dangling) = (home.path().join("nowhere"), home.path().join("dangling"));
        symlink(&nowhere, &dangling).unwrap();
        for open in [open_to_append, open_to_lock] {
            assert!(outcome(open, &link).is_err());
            assert!(outcome(open, &dangling).is_err());
            assert_eq!(outcome(open, &file), Ok(()));
        }
        assert!(!nowhere.exists());
        assert_eq!(fs::read(&file).unwrap(), b"precious");
    }

    #[test]
    fn what_comes_into_a_files_place_after_the_first_look_is_not_opened_either() {
        let home = tempfile::tempdir().unwrap();
        let path = |name: &str| home.path().join(name);
        fs::write(path("file"), "precious").unwrap();
        symlink(path("file"), path("link")).unwrap();
        assert!(std::process::Command::new("mkfifo").arg(path("pipe")).status().unwrap().success());
        // The way without its first look.
        let to_read = |path: &Path| open(path, File::options().read(true), true);
        let to_append = |path: &Path| open(path, File::options().append(true), false);
        for (at, is_read, is_written) in
            [("file", true, true), ("link", true, false), ("pipe", false, false), ("", false, false)]
        {
            assert_eq!(outcome(to_read, &path(at)).is_ok(), is_read, "{at}");
            assert_eq!(outcome(to_append, &path(at)).is_ok(), is_written, "{at}");
        }
    }

    #[test]
    fn the_remedy_for_what_root_has_made_names_our_folder_and_those_that_lead_to_it() {
        let log = Path::new("/users/dana/.local/state/rally-cred/daemon.log");
        let remedy = |roots: &[&str]| {
            remedy_by(log, 1000, |step| match step.to_str()? {
                "/" | "/users" => Some(0),
                step if roots.contains(&step) => Some(0),
                _ => Some(1000),
            })
        };
        assert_eq!(remedy(&[]), None);
        let whole = "sudo chown -R 1000 /users/dana/.local/state/rally-cred";
        assert_eq!(remedy(&[log.to_str().unwrap()]).as_deref(), Some(whole));
        let above = "sudo chown 1000 /users/dana/.local/state && ";
        assert_eq!(remedy(&["/users/dana/.local/state"]), Some(format!("{above}{whole}")));
        // Nobody's home: nothing there is ours to give.
        assert_eq!(remedy_by(log, 1000, |_| Some(0)), None);
        assert_eq!(remedy_by(log, 0, |_| Some(1000)), None);
        assert_eq!(remedy_by(Path::new("/users/dana/thesis"), 1000, |_| Some(0)), None);
    }
}
