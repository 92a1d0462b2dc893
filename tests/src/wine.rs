//! A Windows user's machine under Wine: its own registry, Credential Manager, processes and folders, with our programs
//! for Windows installed in it.
//! Does not: stand for Windows where Wine differs; `suite/windows.rs` says where that is.
//! Used by: the tests of the Windows programs.
#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a machine that cannot be made is the end of its test, with this message"
)]

use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{
    collections::BTreeMap, fs, os::unix::fs::symlink, sync::LazyLock, sync::mpsc, thread, time::Duration,
};

use rally_cred_proto::lock::Lock;
use tempfile::TempDir;

use crate::world::{self, Ended, Running};

/// The target that Debian has a compiler for.
const TARGET: &str = "x86_64-pc-windows-gnu";

/// Where the programs are installed: a path with a blank and a letter that is not ASCII.
pub const INSTALLED: &str = r"C:\Program Files\Rally Crëd";

/// How long a program may take, or keep its output open. Nothing here takes longer than a second.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// One user's Windows machine. Dropping it ends every process that runs on it.
#[derive(Debug)]
pub struct Machine {
    home: TempDir,
    environment: BTreeMap<String, String>,
}

/// What all machines share.
struct Template {
    /// A prefix of Wine that is only copied.
    prefix: PathBuf,
    programs: PathBuf,
}

impl Machine {
    /// A new machine, on which nothing is configured; `None` where there is no Wine, or no compiler for Windows.
    pub fn new() -> Option<Self> {
        static TEMPLATE: LazyLock<Option<Template>> = LazyLock::new(template);
        let Template { prefix, programs } = TEMPLATE.as_ref()?;
        let folder = prefix.parent().expect("a folder around the template");
        let home = tempfile::Builder::new().prefix("machine-").tempdir_in(folder).expect("a folder");
        let machine = Self { environment: environment(home.path()), home };
        let own = machine.home.path().join("prefix");
        let drive = own.join("drive_c");
        fs::create_dir_all(own.join("dosdevices")).expect("a prefix");
        for name in ["system.reg", "user.reg", "userdef.reg", ".update-timestamp"] {
            fs::copy(prefix.join(name), own.join(name)).expect("a registry");
        }
        symlink("../drive_c", own.join("dosdevices/c:")).expect("drive C");
        symlink("/", own.join("dosdevices/z:")).expect("drive Z");
        copy(&prefix.join("drive_c/users"), &drive.join("users"));
        symlink(prefix.join("drive_c/windows"), drive.join("windows")).expect("Wine's own programs");
        let installed = machine.path(INSTALLED);
        fs::create_dir_all(&installed).expect("a folder for programs");
        for file in fs::read_dir(programs).expect("the programs").flatten().map(|file| file.path()) {
            if file.extension().is_some_and(|end| end == "exe" || end == "dll") {
                let name = file.file_name().expect("a name");
                // A link of the other kind would lead out of the folder.
                fs::hard_link(&file, installed.join(name)).expect("a program");
            }
        }
        // What Wine starts for a session would keep the output of the first program open, so that has none.
        let status =
            machine.command("cmd").args(["/c", "exit"]).stdout(Stdio::null()).stderr(Stdio::null()).status();
        assert!(status.is_ok_and(|status| status.success()), "Wine does not run");
        Some(machine)
    }

    /// Sets a variable for every program started from now on.
    pub fn set(&mut self, name: &str, value: &str) {
        self.environment.insert(name.to_owned(), value.to_owned());
    }

    /// Where a file of the machine lies on the real one.
    pub fn path(&self, windows: &str) -> PathBuf {
        let below = windows.strip_prefix(r"C:\").unwrap_or(windows).replace('\\', "/");
        self.home.path().join("prefix/drive_c").join(below)
    }

    /// The user's folder, as Windows names it.
    pub fn profile(&self) -> String {
        let users = fs::read_dir(self.path(r"C:\users")).expect("users").flatten();
        let mut names = users.map(|user| user.file_name().to_string_lossy().into_owned());
        format!(r"C:\users\{}", names.find(|name| name != "Public").expect("a user"))
    }

    /// Writes the config file.
    pub fn configure(&self, text: &str) {
        let path = self.path(&format!(r"{}\AppData\Roaming\rally-cred\config\config.toml", self.profile()));
        fs::create_dir_all(path.parent().expect("a folder")).expect("a config folder");
        fs::write(path, text).expect("a config file");
    }

    /// What the daemons of this machine have logged so far.
    pub fn log(&self) -> String {
        let path = format!(r"{}\AppData\Local\rally-cred\data\daemon.log", self.profile());
        fs::read_to_string(self.path(&path)).unwrap_or_default()
    }

    /// A program of ours, or one in Wine's own folder.
    pub fn command(&self, program: &str) -> Command {
        let ours = format!(r"{INSTALLED}\{program}.exe");
        let mut command = Command::new("wine");
        command.arg(if self.path(&ours).exists() { &ours } else { program });
        command.env_clear().envs(&self.environment).current_dir(self.home.path()).stdin(Stdio::null());
        command
    }

    /// Starts a program and leaves it running, with its output in pipes. It must start no daemon: Wine leaves the standard
    /// error of a real process to whatever that starts, beside the handles of Windows.
    pub fn start(&self, program: &str, arguments: &[&str]) -> Running {
        let mut command = self.command(program);
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Running(command.spawn().expect("Wine"))
    }

    /// Runs a program until it has ended and nobody holds its standard output open any more.
    #[track_caller]
    pub fn run(&self, program: &str, arguments: &[&str], stdin: impl AsRef<[u8]>) -> Ended {
        let mut errors = tempfile::tempfile_in(self.home.path()).expect("a file");
        let mut command = self.command(program);
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
        command.stderr(errors.try_clone().expect("a second handle"));
        let mut child = command.spawn().expect("Wine");
        // A program need not read what it is given.
        child.stdin.take().expect("an input").write_all(stdin.as_ref()).ok();
        let stdout = reading(child.stdout.take().expect("an output")).recv_timeout(PATIENCE);
        let what = format!("{program} {}", arguments.join(" "));
        let stdout = stdout.unwrap_or_else(|_| panic!("somebody still holds the output of {what} open"));
        let code = child.wait().expect("a program that ends").code();
        let mut stderr = Vec::new();
        errors.rewind().and_then(|()| errors.read_to_end(&mut stderr)).expect("what it said");
        Ended { stdout, stderr: String::from_utf8_lossy(&stderr).into_owned(), code }
    }

    /// Runs the client.
    #[track_caller]
    pub fn client(&self, arguments: &[&str], stdin: impl AsRef<[u8]>) -> Ended {
        self.run("rally-cred", arguments, stdin)
    }

    /// Sets the default value of a key of the registry.
    #[track_caller]
    pub fn import(&self, key: &str, value: &str) {
        let quoted = value.replace('\\', r"\\").replace('"', "\\\"");
        let text =
            format!("\u{feff}Windows Registry Editor Version 5.00\r\n\r\n[{key}]\r\n@=\"{quoted}\"\r\n");
        // As Windows writes such files, which is how their letters are understood.
        let bytes: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        fs::write(self.path(r"C:\value.reg"), bytes).expect("a file");
        self.run("reg", &["import", r"C:\value.reg"], "").succeeded();
    }

    /// The texts in one of our programs, as the compiler has put them into it, one after the other.
    pub fn texts(&self, program: &str) -> Vec<u8> {
        let texts = self.home.path().join("texts");
        let mut objcopy = Command::new("x86_64-w64-mingw32-objcopy");
        objcopy.args(["-O", "binary", "-j", ".rdata"]);
        objcopy.arg(self.path(&format!(r"{INSTALLED}\{program}.exe"))).arg(&texts);
        assert!(objcopy.status().is_ok_and(|status| status.success()), "the texts of {program}");
        fs::read(texts).expect("texts")
    }

    /// Compiles a small program in C, and installs it beside ours.
    pub fn compile(&self, name: &str, source: &str) {
        compile(&self.path(INSTALLED), &format!("{name}.exe"), source, &["-ladvapi32", "-lws2_32"])
            .expect("a program in C");
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // It serves this prefix alone.
        Command::new("wineserver").arg("-k").env_clear().envs(&self.environment).status().ok();
        Command::new("wineserver").arg("-w").env_clear().envs(&self.environment).status().ok();
    }
}

fn reading(mut stream: impl Read + Send + 'static) -> mpsc::Receiver<String> {
    let (done, text) = mpsc::channel();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).ok();
        done.send(String::from_utf8_lossy(&bytes).into_owned()).ok();
    });
    text
}

/// What Wine is told, so that it touches nothing but this folder.
fn environment(home: &Path) -> BTreeMap<String, String> {
    let path = std::env::var("PATH").unwrap_or_default();
    let of = |name: &str, value: String| (name.to_owned(), value);
    BTreeMap::from([
        of("HOME", home.display().to_string()),
        of("WINEPREFIX", home.join("prefix").display().to_string()),
        of("WINEARCH", "win64".to_owned()),
        of("WINEDEBUG", "-all".to_owned()),
        // It would offer to fetch the first two, and put entries into this machine's menus.
        of("WINEDLLOVERRIDES", "mscoree,mshtml,winemenubuilder.exe=".to_owned()),
        of("LANG", "C.UTF-8".to_owned()),
        of("PATH", path),
    ])
}

/// Makes what all machines share, unless an earlier run has.
fn template() -> Option<Template> {
    let is_there = |program: &str| {
        Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok()
    };
    if !is_there("wine") || !is_there("x86_64-w64-mingw32-gcc") || !world::has_target(TARGET) {
        say(
            "windows: NOT TESTED, as there is no wine, no gcc-mingw-w64-x86-64, or no standard library of Rust for it",
        );
        return None;
    }
    let programs = world::build_for(TARGET).expect("the programs for Windows");
    let folder = programs.join("wine");
    fs::create_dir_all(&folder).expect("a folder for Wine");
    let _lock = Lock::take(&folder.join("lock")).expect("nobody else makes it at the same time");
    let dll = "bcryptprimitives.dll";
    if !programs.join(dll).exists() {
        compile(&programs, dll, PROCESS_PRNG, &["-shared", "-ladvapi32"]).expect("the DLL that Wine 8 lacks");
    }
    let prefix = folder.join("prefix");
    if !prefix.exists() {
        let begun = folder.join("begun");
        fs::remove_dir_all(&begun).ok();
        fs::create_dir(&begun).expect("a folder for the template");
        let wine = |program: &str, argument: &str| {
            let mut command = Command::new(program);
            command.arg(argument).env_clear().envs(environment(&begun));
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().expect("Wine");
        };
        wine("wineboot", "--init");
        wine("wineserver", "-w");
        fs::rename(begun.join("prefix"), &prefix).expect("a template");
    }
    Some(Template { prefix, programs })
}

/// Wine 8 has no `bcryptprimitives.dll`, in which Windows has had this function since version 7.
const PROCESS_PRNG: &str = "\
#include <windows.h>
#include <ntsecapi.h>
__declspec(dllexport) BOOL WINAPI ProcessPrng(PBYTE bytes, SIZE_T count) { return RtlGenRandom(bytes, (ULONG)count); }
";

fn compile(folder: &Path, name: &str, source: &str, options: &[&str]) -> Result<(), String> {
    let text = folder.join(name).with_extension("c");
    fs::write(&text, source).map_err(|err| err.to_string())?;
    // It may be in use by its name.
    let made = folder.join(format!("{name}.new"));
    let mut gcc = Command::new("x86_64-w64-mingw32-gcc");
    let status = gcc.arg("-o").arg(&made).arg(&text).args(options).status();
    match status {
        Ok(status) if status.success() => fs::rename(made, folder.join(name)).map_err(|err| err.to_string()),
        outcome => Err(format!("{outcome:?}")),
    }
}

/// Copies a folder. Wine makes links to the folders of the real user, which are left behind.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder").flatten() {
        let kind = entry.file_type().expect("a kind of file");
        let target = to.join(entry.file_name());
        if kind.is_dir() {
            copy(&entry.path(), &target);
        } else if kind.is_symlink() {
            fs::create_dir_all(target).expect("a folder");
        } else {
            fs::copy(entry.path(), target).expect("a file");
        }
    }
}

#[expect(clippy::print_stderr, reason = "a run that leaves something out says so")]
fn say(text: &str) {
    eprintln!("{text}");
}
