//! A user's world for one test or demo: home folder, environment, config file, and the programs run in it as processes.
//! Does not: look into the programs; what they print and leave behind is all there is to see.
//! Used by: the process tests and the demo.
#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a world that cannot be made is the end of its test, with this message"
)]

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};
use std::{
    collections::BTreeMap, fs, net::TcpListener, os::unix::fs::PermissionsExt, sync::LazyLock, thread,
};

use rally_cred_proto::{Client, Event, Secret, message::Login};
use serde_json::Value;
use tempfile::TempDir;

use crate::keyring::KeyringSession;
use crate::sandbox::{Options, Sandbox};

/// How long a line of the log may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// One user's home, environment and programs. Dropping it stops the daemon that runs in it and removes every file.
#[derive(Debug)]
pub struct World {
    home: TempDir,
    environment: BTreeMap<String, String>,
}

/// What a program printed, and how it ended.
#[derive(Debug, PartialEq, Eq)]
pub struct Ended {
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
    /// The exit code; `None` after a signal.
    pub code: Option<i32>,
}

impl Ended {
    /// Ends the test unless the exit code is 0.
    #[track_caller]
    pub fn succeeded(self) -> Self {
        self.ended_with(0)
    }

    /// Ends the test unless this is the exit code.
    #[track_caller]
    pub fn ended_with(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self:?}");
        self
    }

    /// The same, and it has given out nothing.
    #[track_caller]
    pub fn refused(self, code: i32) -> Self {
        assert_eq!((self.code, self.stdout.as_str()), (Some(code), ""), "{self:?}");
        self
    }

    /// Ends the test unless this stands on standard error.
    #[track_caller]
    pub fn told(self, text: impl AsRef<str>) -> Self {
        assert!(self.stderr.contains(text.as_ref()), "no {:?} in {self:?}", text.as_ref());
        self
    }

    /// Ends the test unless this stands on standard output.
    #[track_caller]
    pub fn showed(self, text: impl AsRef<str>) -> Self {
        assert!(self.stdout.contains(text.as_ref()), "no {:?} in {self:?}", text.as_ref());
        self
    }

    /// The end of a program that did what it should, and had nothing to say.
    pub fn in_silence() -> Self {
        Self { stdout: String::new(), stderr: String::new(), code: Some(0) }
    }

    /// What it printed on either stream.
    pub fn said(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }

    /// Standard output as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|err| panic!("{err} in {self:?}"))
    }

    /// The first thing that it says to try, on either stream.
    pub fn remedy(&self) -> String {
        let mut lines = self.stderr.lines().chain(self.stdout.lines());
        let remedy = lines.find_map(|line| line.trim().strip_prefix("try: "));
        remedy.unwrap_or_else(|| panic!("nothing to try in {self:?}")).to_owned()
    }
}

impl World {
    /// A bare world: no bus, no display, no terminal, nothing configured.
    pub fn new() -> Self {
        let home = tempfile::Builder::new().prefix("rally-cred-").tempdir().expect("a temporary folder");
        let runtime = home.path().join("run");
        make_private(&runtime);
        let mut world = Self { environment: BTreeMap::new(), home };
        let path = std::env::var("PATH").unwrap_or_default();
        let ours = our_folders().map(|folder| format!("{}:", folder.display()));
        world.set("PATH", ours.chain([path]).collect::<String>());
        world.set("LANG", "C.UTF-8");
        world.set("HOME", world.path("").display());
        world.set("XDG_CONFIG_HOME", world.path("config").display());
        world.set("XDG_STATE_HOME", world.path("state").display());
        world.set("XDG_RUNTIME_DIR", runtime.display());
        // Without this, a bus of the machine could be found.
        world.set("DBUS_SESSION_BUS_ADDRESS", "disabled:");
        world.set("DBUS_SYSTEM_BUS_ADDRESS", "disabled:");
        world.set("GIT_CONFIG_NOSYSTEM", "1");
        world
    }

    /// A path below the home folder.
    pub fn path(&self, below: &str) -> PathBuf {
        self.home.path().join(below)
    }

    /// Sets a variable for every program started from now on.
    pub fn set(&mut self, name: &str, value: impl ToString) -> &mut Self {
        self.environment.insert(name.to_owned(), value.to_string());
        self
    }

    /// What a variable of the programs is set to; empty if it is not.
    pub fn variable(&self, name: &str) -> &str {
        self.environment.get(name).map_or("", String::as_str)
    }

    /// Has the running daemon read this in place of the config file so far.
    #[track_caller]
    pub fn reconfigure(&self, text: &str) {
        self.configure(text);
        self.client(&["daemon", "reload"], "").succeeded();
    }

    /// Where the daemon's socket is.
    pub fn socket(&self) -> PathBuf {
        self.path("run/rally-cred/agent.sock")
    }

    /// Lets the programs find a keyring of their own.
    pub fn with_keyring(&mut self) -> KeyringSession {
        let keyring = KeyringSession::start();
        self.join(&keyring);
        keyring
    }

    /// Lets the programs find this keyring.
    pub fn join(&mut self, keyring: &KeyringSession) {
        for (name, value) in keyring.env() {
            self.set(&name, value);
        }
    }

    /// Takes a variable away.
    pub fn unset(&mut self, name: &str) -> &mut Self {
        self.environment.remove(name);
        self
    }

    /// Writes the config file.
    pub fn configure(&self, text: &str) {
        let folder = self.path("config/rally-cred");
        fs::create_dir_all(&folder).expect("a config folder");
        fs::write(folder.join("config.toml"), text).expect("a config file");
    }

    /// The text of the config file.
    pub fn config(&self) -> String {
        fs::read_to_string(self.path("config/rally-cred/config.toml")).expect("a config file")
    }

    /// Writes a config file with one profile for the sandbox.
    pub fn configure_for(&self, sandbox: &Sandbox) {
        self.configure(&profile_for(sandbox));
    }

    /// The same with the sandbox's authority as `ca_file`, whose path it returns. The browser trusts it too.
    pub fn trust(&mut self, sandbox: &Sandbox) -> PathBuf {
        let authority = self.path("ca.pem");
        fs::write(&authority, sandbox.ca_pem().expect("a sandbox with TLS")).expect("a certificate");
        self.configure(&format!("{}ca_file = \"{}\"\n", profile_for(sandbox), authority.display()));
        self.set("PRESS_CA", authority.display());
        authority
    }

    /// Puts a shell script in the place of a program of the system.
    pub fn stand_in(&mut self, program: &str, script: &str) {
        let folder = self.path("bin");
        fs::create_dir_all(&folder).expect("a folder for programs");
        fs::write(folder.join(program), format!("#!/bin/sh\n{script}")).expect("a script");
        set_mode(folder.join(program), 0o755);
        let path = format!("{}:{}", folder.display(), self.variable("PATH"));
        self.set("PATH", path);
    }

    /// A program of ours or of the system, in this world and no other.
    pub fn command(&self, program: &str) -> Command {
        let ours = our_folders().map(|folder| folder.join(program)).find(|program| program.is_file());
        let mut command = Command::new(ours.unwrap_or_else(|| PathBuf::from(program)));
        command.env_clear().envs(&self.environment).current_dir(self.home.path()).stdin(Stdio::null());
        command
    }

    /// Runs a program to its end.
    pub fn run(&self, program: &str, arguments: &[&str], stdin: impl AsRef<[u8]>) -> Ended {
        let mut command = self.command(program);
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|err| missing(program, &err));
        if let Some(mut input) = child.stdin.take() {
            // A program need not read what it is given.
            input.write_all(stdin.as_ref()).ok();
        }
        let output = child.wait_with_output().expect("a program that can be waited for");
        Ended {
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
            code: output.status.code(),
        }
    }

    /// Runs the client to its end.
    pub fn client(&self, arguments: &[&str], stdin: impl AsRef<[u8]>) -> Ended {
        self.run("rally-cred", arguments, stdin)
    }

    /// A `get` for which nobody is asked to sign in.
    pub fn get(&self) -> Ended {
        self.client(&["get", "--format", "token", "--interactive", "never"], "")
    }

    /// Says of a token that it does not work, as `git credential reject` does.
    #[track_caller]
    pub fn reject(&self, server: &str, token: &str) {
        let rejected = self.client(&["erase"], format!("url={server}\npassword={token}\n"));
        assert_eq!(rejected, Ended::in_silence());
    }

    /// The token that a program gets.
    #[track_caller]
    pub fn token(&self) -> String {
        self.client(&["get", "--format", "token"], "").succeeded().stdout.trim_end().to_owned()
    }

    /// What `status --json` prints.
    pub fn status(&self) -> Value {
        self.client(&["status", "--json"], "").json()
    }

    /// Runs what a program said to try, as a person would, and returns that.
    #[track_caller]
    pub fn follow(&self, ended: &Ended) -> String {
        let remedy = ended.remedy();
        assert_eq!(self.run("sh", &["-c", &remedy], "").code, Some(0), "{remedy}");
        remedy
    }

    /// Starts a shell's command line at a terminal; what it shows there is its standard output.
    pub fn at_terminal(&self, line: &str) -> Running {
        self.start("script", &["--quiet", "--return", "--command", line, "/dev/null"])
    }

    /// Starts a program and leaves it running, with its output in pipes.
    pub fn start(&self, program: &str, arguments: &[&str]) -> Running {
        let mut command = self.command(program);
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Running(command.spawn().unwrap_or_else(|err| missing(program, &err)))
    }

    /// Starts a daemon of which this world is the parent, and waits until it is ready. Its log is [`World::log`].
    pub fn start_daemon(&self) -> Running {
        let mut daemon = self.start("rally-credd", &["--detach"]);
        let ready = daemon.next_line_of_stdout();
        assert_eq!(ready.as_deref(), Some(r#"{"type":"done"}"#), "the daemon did not become ready");
        daemon
    }

    /// What the daemons of this world have logged so far. A line that names a client comes after its answer: wait for it
    /// with [`World::logged`].
    pub fn log(&self) -> String {
        fs::read_to_string(self.path("state/rally-cred/daemon.log")).unwrap_or_default()
    }

    /// Waits until the log has this text, and returns all of it.
    pub fn logged(&self, text: &str) -> String {
        let end = Instant::now() + PATIENCE;
        loop {
            let log = self.log();
            if log.contains(text) {
                return log;
            }
            assert!(Instant::now() < end, "{text:?} is not in the log: {log}");
            thread::yield_now();
        }
    }

    /// Copies a program, by a process of its own: a file that this one writes may still be open in the child of another
    /// test, and cannot be run then.
    pub fn copy_program(from: &Path, to: &Path) {
        let status = Command::new("cp").arg(from).arg(to).status();
        assert!(status.is_ok_and(|status| status.success()), "{} cannot be copied", from.display());
    }

    /// Makes the home folder and all in it somebody else's. Only root can do that.
    pub fn give_to(&self, user: &str) {
        let status = Command::new("chown").args(["-R", "-h", user]).arg(self.home.path()).status();
        assert!(status.is_ok_and(|status| status.success()), "the home cannot be given to {user}");
    }

    /// Every file below the home folder, with its bytes.
    pub fn files(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let mut found = Vec::new();
        collect(self.home.path(), &mut found);
        found
    }
}

impl Default for World {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // A daemon that a client started is nobody's child here, so it is asked.
        if self.socket().exists() {
            self.command("rally-cred")
                .args(["daemon", "stop"])
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status()
                .ok();
        }
    }
}

/// A process of a world; killed by its id when dropped.
#[derive(Debug)]
pub struct Running(pub Child);

impl Running {
    /// The next line of standard output; `None` at its end.
    pub fn next_line_of_stdout(&mut self) -> Option<String> {
        next_line(self.0.stdout.as_mut()?)
    }

    /// The next line of standard error; `None` at its end.
    pub fn next_line_of_stderr(&mut self) -> Option<String> {
        next_line(self.0.stderr.as_mut()?)
    }

    /// Reads lines of standard error up to one that contains this text, and returns that.
    pub fn wait_for_line(&mut self, text: &str) -> String {
        let mut seen = Vec::new();
        while let Some(line) = self.next_line_of_stderr() {
            if line.contains(text) {
                return line;
            }
            seen.push(line);
        }
        panic!("no line with {text:?} in {seen:#?}")
    }

    /// Reads standard output up to a text that need not end its line, such as a prompt, and returns all of it.
    pub fn wait_for_text(&mut self, text: &str) -> String {
        let output = self.0.stdout.as_mut().expect("an open standard output");
        let mut seen = Vec::new();
        while !String::from_utf8_lossy(&seen).contains(text) {
            let mut byte = [0];
            let read = std::io::Read::read(output, &mut byte);
            assert!(matches!(read, Ok(1)), "no {text:?} in {seen:?}");
            seen.extend_from_slice(&byte);
        }
        String::from_utf8_lossy(&seen).into_owned()
    }

    /// Writes a line to standard input, and returns the next of standard output; `None` if the program has ended.
    pub fn try_ask(&mut self, line: &str) -> Option<String> {
        self.0.stdin.as_mut()?.write_all(format!("{line}\n").as_bytes()).ok()?;
        self.next_line_of_stdout()
    }

    /// Writes to standard input.
    pub fn write(&mut self, text: &str) {
        let input = self.0.stdin.as_mut().expect("an open standard input");
        input.write_all(text.as_bytes()).and_then(|()| input.flush()).expect("a program that reads");
    }

    /// Waits for the end, and returns it with what is left of the output.
    pub fn end(mut self) -> Ended {
        drop(self.0.stdin.take());
        let mut ended = Ended { stdout: String::new(), stderr: String::new(), code: None };
        if let Some(stdout) = self.0.stdout.as_mut() {
            std::io::Read::read_to_string(stdout, &mut ended.stdout).ok();
        }
        if let Some(stderr) = self.0.stderr.as_mut() {
            std::io::Read::read_to_string(stderr, &mut ended.stderr).ok();
        }
        ended.code = self.wait().code();
        ended
    }

    /// Whether it has ended.
    pub fn has_ended(&mut self) -> bool {
        !matches!(self.0.try_wait(), Ok(None))
    }

    /// Waits for the end.
    pub fn wait(&mut self) -> ExitStatus {
        self.0.wait().expect("a child that can be waited for")
    }

    /// Ends it with SIGKILL.
    pub fn kill(&mut self) {
        self.0.kill().ok();
        self.wait();
    }

    /// Ends a daemon with SIGTERM, and waits until it has ended well.
    #[track_caller]
    pub fn stop(&mut self) {
        self.signal("TERM");
        assert!(self.wait().success());
    }

    /// Sends a signal by its name.
    pub fn signal(&self, name: &str) {
        let status = Command::new("kill").arg(format!("-{name}")).arg(self.0.id().to_string()).status();
        assert!(status.is_ok_and(|status| status.success()), "cannot send {name}");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if matches!(self.0.try_wait(), Ok(None)) {
            self.0.kill().ok();
            self.0.wait().ok();
        }
    }
}

/// Makes a folder that is closed to others.
pub fn make_private(folder: impl AsRef<Path>) {
    fs::create_dir(&folder).expect("a folder");
    set_mode(folder, 0o700);
}

/// Says who may do what with a file or folder.
pub fn set_mode(path: impl AsRef<Path>, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("a file of this user");
}

/// A config file with one profile for the sandbox.
pub fn profile_for(sandbox: &Sandbox) -> String {
    let Options { client_id, redirect_uri, scope, .. } = sandbox.options();
    let base_url = sandbox.base_url();
    format!(
        "[profile.default]\nbase_url = \"{base_url}\"\nclient_id = \"{client_id}\"\nredirect_uri = \"{redirect_uri}\"\nscope = \"{scope}\"\n"
    )
}

/// A sandbox whose callback port is free on this machine.
pub fn sandbox() -> Sandbox {
    sandbox_with(|_| {})
}

/// The same, with other options.
pub fn sandbox_with(change: impl FnOnce(&mut Options)) -> Sandbox {
    let mut options =
        Options { redirect_uri: format!("http://localhost:{}/callback", free_port()), ..Options::default() };
    change(&mut options);
    Sandbox::start(options).expect("a sandbox")
}

/// Signs a profile in, or the default one, as a client with a browser does.
pub fn sign_in(client: &mut Client, profile: Option<&str>, sandbox: &Sandbox) -> Result<(), String> {
    let client_secret = Secret::parse(sandbox.options().client_secret).map_err(|err| format!("{err:?}"))?;
    let login = Login {
        profile: profile.map(str::to_owned),
        client_secret: Some(client_secret),
        force: false,
        timeout: Login::default_timeout(),
        can_paste: false,
    };
    let mut visit = Ok(());
    let outcome = client.ask(login, &mut |event| {
        if let Event::Authorize(authorize) = event {
            visit = sandbox.browser().allow(&authorize.url).map(drop);
        }
    });
    visit.map_err(|trouble| trouble.to_string())?;
    outcome.map(drop).map_err(|fault| format!("the sign-in failed: {fault}"))
}

/// Memory of a process in KiB, with its share of what it shares.
pub fn proportional_set_size(pid: u32) -> Result<u64, String> {
    let path = format!("/proc/{pid}/smaps_rollup");
    // The daemon keeps its memory from others of the same user, and so from this program.
    let text =
        fs::read_to_string(&path).map_err(|err| format!("cannot read {path}, which takes root: {err}"))?;
    let size = text
        .lines()
        .find_map(|line| line.strip_prefix("Pss:")?.trim().strip_suffix("kB")?.trim().parse().ok());
    size.ok_or_else(|| format!("{path} has no Pss"))
}

/// A port that nobody listens on at this moment.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    listener.local_addr().expect("its number").port()
}

/// Names the folder of the programs for a test's own tool, such as the demo, which has no cargo where it runs.
pub const PROGRAMS: &str = "RALLY_CRED_TEST_PROGRAMS";

/// The folder of the programs under test, which are built first: none is tested that is older than its source.
pub fn programs() -> PathBuf {
    static BUILT: LazyLock<Result<PathBuf, String>> = LazyLock::new(|| {
        if let Some(folder) = std::env::var_os(PROGRAMS) {
            return Ok(folder.into());
        }
        run(&mut building())?;
        if folder_of_this_program().ends_with("release") && has_target(STATIC_TARGET) {
            run(&mut cargo(["fast", "--quiet"]))?;
        }
        Ok(folder_of_this_program())
    });
    BUILT.clone().unwrap_or_else(|why| panic!("the programs under test: {why}"))
}

/// The cargo that builds them beside this program, in its profile, as users get them: without features that only the
/// tests ask for.
pub fn building() -> Command {
    let folder = folder_of_this_program();
    let profile = folder.file_name().filter(|name| *name != "debug").unwrap_or("dev".as_ref());
    let mut cargo = cargo(["build", "--workspace", "--exclude", env!("CARGO_PKG_NAME"), "--bins"]);
    cargo.args(["--quiet", "--locked", "--offline", "--profile"]).arg(profile);
    cargo.arg("--target-dir").args(folder.parent());
    cargo
}

/// The daemon, as a release but for the names of its functions, which it keeps.
pub fn daemon_with_names() -> Result<PathBuf, String> {
    let folder = programs();
    let mut cargo = cargo(["rustc", "--quiet", "--release", "--locked", "--offline", "-p", "rally-credd"]);
    cargo.args(["--bin", "rally-credd", "--target-dir"]).args(folder.parent());
    run(cargo.args(["--", "-C", "strip=none"]))?;
    Ok(folder.join("rally-credd"))
}

/// The same programs in the dev profile for another system, whose folder this returns.
pub(crate) fn build_for(target: &str) -> Result<PathBuf, String> {
    let folder = folder_of_this_program();
    let folder = folder.parent().unwrap_or(&folder);
    let mut cargo = cargo(["build", "--bins", "--quiet", "--locked", "--offline", "--target", target]);
    cargo
        .args(["-p", "rally-cred", "-p", "rally-cred-commands", "-p", "rally-credd", "--target-dir"])
        .arg(folder);
    run(&mut cargo)?;
    Ok(folder.join(target).join("debug"))
}

/// Whether Rust can build for this target here.
pub(crate) fn has_target(target: &str) -> bool {
    let asked = Command::new("rustc").args(["--print", "target-libdir", "--target", target]).output();
    asked.is_ok_and(|asked| Path::new(String::from_utf8_lossy(&asked.stdout).trim()).is_dir())
}

pub(crate) fn folder_of_this_program() -> PathBuf {
    let own = std::env::current_exe().expect("the path of this program");
    own.ancestors().skip(1).find(|folder| !folder.ends_with("deps")).expect("its folder").to_owned()
}

/// A cargo that finds what was built as it left it, though another cargo runs this program: what that one sets for it
/// would make build scripts that read it stale in here, then out there again.
fn cargo<'a>(arguments: impl IntoIterator<Item = &'a str>) -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    let is_of_cargo = |name: &str| name.starts_with("CARGO_MANIFEST_") || name.starts_with("CARGO_PKG_");
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_str().is_some_and(is_of_cargo)) {
        cargo.env_remove(name);
    }
    cargo.args(arguments).current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."));
    cargo
}

fn run(cargo: &mut Command) -> Result<(), String> {
    match cargo.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(_) => Err("the build failed".to_owned()),
        Err(error) => Err(format!("cannot run cargo: {error}")),
    }
}

/// The target of the client as one static program.
const STATIC_TARGET: &str = "x86_64-unknown-linux-musl";

/// The folder of the static client, if this is a release build and it is there.
pub fn static_programs() -> Option<PathBuf> {
    let folder = programs();
    let fast = folder.parent()?.join(STATIC_TARGET).join("release");
    (folder.ends_with("release") && fast.join("rally-cred").is_file()).then_some(fast)
}

/// Where a world looks for our programs first.
fn our_folders() -> impl Iterator<Item = PathBuf> {
    static_programs().into_iter().chain([programs()])
}

fn next_line(from: &mut impl std::io::Read) -> Option<String> {
    // One byte at a time, so that nothing is read ahead and lost.
    let mut line = String::new();
    BufReader::with_capacity(1, from).read_line(&mut line).ok().filter(|count| *count > 0)?;
    Some(line.trim_end().to_owned())
}

fn missing(program: &str, err: &std::io::Error) -> Child {
    panic!("cannot start {program}: {err}; tests/run installs what is missing")
}

fn collect(folder: &Path, found: &mut Vec<(PathBuf, Vec<u8>)>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            collect(&path, found);
        } else if path.is_file() {
            found.push((path.clone(), fs::read(&path).unwrap_or_default()));
        }
    }
}
