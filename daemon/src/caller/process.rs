//! A process as /proc shows it: its program, and the program that it asks for.
//! Does not: believe an ID that another process has by now, or a path at which another file lies here.
//! Used by: `caller`, of which this is a part.
//!
//! A folder of /proc that is open stays that of its process: once that has ended, nothing more is read there, whoever has
//! its ID. So everything is read through it, and what an ID meant is checked after the folder was opened.

use std::{
    cell::Cell,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    sync::LazyLock,
};

use rally_cred_proto::plain::plain;
use rustix::{
    fs::{AtFlags, CWD, Mode, OFlags, openat, readlinkat, stat, statat},
    io::read,
};

use rally_cred_core::{event::Found, time::Tick};

thread_local! {
    /// The process that was looked up last, as it may well be the next. While its folder can be read, its ID is nobody
    /// else's.
    static LAST: Cell<Option<(u32, Process)>> = const { Cell::new(None) };
}

/// What there is to know of a process that had connected by then.
pub(super) fn find(pid: u32, connected: Tick) -> Option<Found> {
    let known = LAST.take().filter(|(of, _)| *of == pid).and_then(|(_, last)| Some((last.find()?, last)));
    let (found, process) = known.or_else(|| {
        let process = Process::open(pid).filter(|process| process.has_begun_by(connected))?;
        Some((process.find()?, process))
    })?;
    LAST.set(Some((pid, process)));
    Some(found)
}

/// The clients that ask for another program, by their names.
const CLIENTS: [&str; 3] = ["rally-cred", "rally-cred-commands", "git-credential-rally"];

/// Most processes from a client up to whoever started it. A git between them is no client.
const MOST_CLIENTS: usize = 4;

/// Milliseconds of a clock tick, by which /proc tells when a process began; Linux shows a hundred a second on every
/// machine that this is built for.
const CLOCK_TICK: u64 = 10;

struct Process(OwnedFd);

struct Stat {
    parent: u32,
    began: Tick,
}

impl Process {
    fn open(pid: u32) -> Option<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        openat(CWD, format!("/proc/{pid}"), flags, Mode::empty()).ok().map(Self)
    }

    /// `None` if it has ended.
    fn find(&self) -> Option<Found> {
        let path = self.exe()?;
        let exe = plain(&path.to_string_lossy()).into();
        let caller = self.caller(path, MOST_CLIENTS).map(Into::into);
        Some(Found { exe: Some(exe), caller })
    }

    /// Whether it was there by then; one that began later has the ID of one that has ended.
    fn has_begun_by(&self, at: Tick) -> bool {
        self.stat().is_some_and(|stat| stat.began <= at)
    }

    fn stat(&self) -> Option<Stat> {
        let file = openat(&self.0, "stat", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok()?;
        // It comes in one piece, and what is needed of it is at its beginning.
        let mut line = [0; 1024];
        let (line, _) = read(file, &mut line).ok().and_then(|length| line.split_at_checked(length))?;
        Stat::parse(&String::from_utf8_lossy(line))
    }

    fn exe(&self) -> Option<PathBuf> {
        use std::os::unix::ffi::OsStringExt;
        let path = readlinkat(&self.0, "exe", Vec::new()).ok()?;
        Some(PathBuf::from(std::ffi::OsString::from_vec(path.into_bytes())))
    }

    /// Whether its program's file lies at this path for the daemon too: in a namespace of its own, a process may put any
    /// file at any path.
    fn runs(&self, exe: &Path) -> bool {
        let (run, here) = (statat(&self.0, "exe", AtFlags::empty()), stat(exe));
        run.ok()
            .zip(here.ok())
            .is_some_and(|(run, here)| (run.st_dev, run.st_ino) == (here.st_dev, here.st_ino))
    }

    /// The first program from this one upwards that is no client of ours, past so many that are.
    fn caller(&self, exe: PathBuf, clients: usize) -> Option<String> {
        if !self.runs(&exe) {
            return None;
        }
        if !is_client(&exe) {
            // A path that cannot be shown as it is could be shown as another's.
            return exe.into_os_string().into_string().ok().filter(|exe| plain(exe) == *exe);
        }
        let parent = self.stat()?.parent;
        let above = Self::open(parent)?;
        // Had it ended before its folder was opened, this would be another's child by now.
        if self.stat()?.parent != parent {
            return None;
        }
        above.caller(above.exe()?, clients.checked_sub(1)?)
    }
}

impl Stat {
    /// Reads `PID (NAME) STATE PARENT …`; a name may hold anything. The beginning is the 22nd field.
    fn parse(text: &str) -> Option<Self> {
        let (_, after) = text.rsplit_once(") ")?;
        let mut fields = after.split(' ').skip(1);
        let parent = fields.next()?.parse().ok()?;
        let began: u64 = fields.nth(17)?.parse().ok()?;
        Some(Self { parent, began: Tick(began * CLOCK_TICK) })
    }
}

/// Whether this is one of the clients beside the daemon.
fn is_client(exe: &Path) -> bool {
    static OWN_FOLDER: LazyLock<Option<PathBuf>> =
        LazyLock::new(|| std::env::current_exe().ok()?.parent().map(Path::to_owned));
    exe.parent().is_some_and(|folder| Some(folder) == OWN_FOLDER.as_deref())
        && CLIENTS.iter().any(|client| exe.file_name().is_some_and(|name| name == *client))
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        process::{Child, Command, Stdio},
    };

    use super::*;
    use crate::{
        caller::{begin, want},
        clock,
    };

    /// A process that lives until its input closes, from this file.
    struct Cat(Child);

    impl Cat {
        fn start(program: &Path) -> Self {
            let mut command = Command::new(program);
            Self(command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap())
        }
    }

    impl Drop for Cat {
        fn drop(&mut self) {
            drop(self.0.stdin.take());
            self.0.wait().unwrap();
        }
    }

    fn cat() -> PathBuf {
        fs::canonicalize("/bin/cat").unwrap()
    }

    /// By a process of its own: a file that this one writes may still be open in the child of another test, and cannot be
    /// run then.
    fn copy_cat(to: &Path) {
        assert!(Command::new("cp").arg(cat()).arg(to).status().unwrap().success());
    }

    #[test]
    fn a_process_that_began_after_the_connection_has_another_ones_id() {
        let cat_runs = Cat::start(&cat());
        let pid = cat_runs.0.id();
        let long_before = Tick(clock::tick().0 - 1000);
        assert_eq!(find(pid, long_before), None);
        let path = Some(cat().to_str().unwrap().into());
        assert_eq!(find(pid, clock::tick()), Some(Found { exe: path.clone(), caller: path }));
    }

    #[test]
    fn an_open_folder_stays_that_of_its_process_which_has_ended() {
        let cat_runs = Cat::start(&cat());
        let process = Process::open(cat_runs.0.id()).unwrap();
        assert!(process.find().is_some_and(|found| found.caller.is_some()));
        drop(cat_runs);
        assert!(process.find().is_none() && process.stat().is_none());
    }

    #[test]
    fn a_process_that_has_the_id_of_the_one_before_is_looked_up_itself() {
        let folder = tempfile::tempdir().unwrap();
        let gone = Cat::start(&cat());
        let process = Process::open(gone.0.id()).unwrap();
        drop(gone);
        let program = fs::canonicalize(folder.path()).unwrap().join("other");
        copy_cat(&program);
        let other = Cat::start(&program);
        LAST.set(Some((other.0.id(), process)));
        let found = find(other.0.id(), clock::tick()).unwrap();
        assert_eq!(found.caller.as_deref(), program.to_str());
    }

    #[test]
    fn each_of_those_that_came_together_gets_its_own_program() {
        let folder = tempfile::tempdir().unwrap();
        let program = fs::canonicalize(folder.path()).unwrap().join("other");
        copy_cat(&program);
        let (one, other) = (Cat::start(&cat()), Cat::start(&program));
        let ended = { Cat::start(&cat()).0.id() };
        let wanted = [&one, &one, &other, &one].map(|cat| want(cat.0.id()));
        let nobody = want(ended);
        begin();
        let found = wanted.each_ref().map(|program| program.caller().unwrap().to_owned());
        let [cat, other] = [cat(), program].map(|path| path.to_str().unwrap().to_owned());
        assert_eq!(found, [&cat, &cat, &other, &cat].map(Clone::clone));
        assert_eq!(nobody.get(), Some(&Found::default()));
    }

    #[test]
    fn a_program_whose_file_was_replaced_is_not_certain() {
        let folder = tempfile::tempdir().unwrap();
        let program = fs::canonicalize(folder.path()).unwrap().join("git");
        copy_cat(&program);
        let cat_runs = Cat::start(&program);
        let find = || find(cat_runs.0.id(), clock::tick()).unwrap();
        assert_eq!(find().caller.as_deref(), program.to_str());
        fs::remove_file(&program).unwrap();
        copy_cat(&program);
        let found = find();
        assert_eq!((found.exe.is_some(), found.caller), (true, None));
        // What Linux calls it by now may be a file of anybody's.
        fs::write(program.with_file_name("git (deleted)"), "").unwrap();
        assert_eq!(find().caller, None);
    }

    #[test]
    fn a_program_whose_path_would_be_shown_as_anothers_is_not_certain() {
        let folder = tempfile::tempdir().unwrap();
        let program = fs::canonicalize(folder.path()).unwrap().join("g\u{1b}it");
        copy_cat(&program);
        let cat_runs = Cat::start(&program);
        let found = find(cat_runs.0.id(), clock::tick()).unwrap();
        assert_eq!((found.exe.is_some(), found.caller), (true, None));
    }

    #[test]
    fn a_client_is_one_of_ours_and_lies_beside_the_daemon() {
        let beside = std::env::current_exe().unwrap().with_file_name("rally-cred");
        assert!(is_client(&beside));
        assert!(!is_client(&beside.with_file_name("git")));
        assert!(!is_client(Path::new("/tmp/rally-cred")));
    }

    #[test]
    fn a_name_may_hold_what_looks_like_the_rest_of_the_line() {
        let line = "7 (x) S 1 (y) R 12 7 7 0 -1 4194304 1 0 0 0 0 0 0 0 20 0 1 0 345 6";
        let Stat { parent, began } = Stat::parse(line).unwrap();
        assert_eq!((parent, began), (12, Tick(3450)));
        assert!(Stat::parse("").is_none());
    }
}
