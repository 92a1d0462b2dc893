//! A real `systemd --user` for one test, run by an ordinary user in a control group and namespaces of its own.
//! Does not: meet the service manager of the machine, or of whoever runs the tests; nothing outlives it.
//! Used by: the test of the units.
#![expect(clippy::expect_used, reason = "a service manager that cannot be made is the end of its test")]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{fs, os::unix::net::UnixDatagram};

use crate::world::{self, Ended, Running, World};

/// A user of every system who owns nothing.
const NOBODY: &str = "65534";

/// Where systemd's program is, on Debian and elsewhere.
pub(crate) const PROGRAM: &str = "/usr/lib/systemd/systemd";

/// Moves into the control group, then into namespaces where that is the root and systemd seems to have booted, then
/// gives up every privilege.
const SCRIPT: &str = r#"
echo $$ >"$0/cgroup.procs" && exec unshare --mount --cgroup --propagation private sh -c '
  mount -t tmpfs tmpfs /run && mkdir -p /run/systemd/system &&
  mount -t cgroup2 cgroup2 /sys/fs/cgroup && chown "$0" /sys/fs/cgroup /sys/fs/cgroup/cgroup.* &&
  exec setpriv --reuid="$0" --regid="$0" --clear-groups "$1" --user' "$@"
"#;

/// A service manager of a user. Dropping it stops all that it has started.
#[derive(Debug)]
pub struct UserManager {
    manager: Running,
    cgroup: PathBuf,
    world: World,
}

impl UserManager {
    /// Starts one in this world, with the units of `systemd/` and our programs as `cargo install` puts them. An error
    /// says why this machine cannot have one.
    pub fn start(mut world: World) -> Result<Self, String> {
        let cgroup = make_cgroup(&["--mount", "--cgroup"])?;
        install_programs(&world);
        let units = install_units(&world);
        world.set("XDG_CONFIG_HOME", world.path(".config").display());
        world.unset("DBUS_SESSION_BUS_ADDRESS");
        // Not the units of this machine's programs, but for the targets that everything needs.
        world.set("SYSTEMD_UNIT_PATH", format!("{}:/usr/lib/systemd/user", units.display()));
        let ready = world.path("ready");
        // That of an earlier login.
        fs::remove_file(&ready).ok();
        let told = UnixDatagram::bind(&ready).expect("a socket");
        world.give_to(NOBODY);
        let mut command = world.command("sh");
        command.env("NOTIFY_SOCKET", &ready).args(["-c", SCRIPT]).arg(&cgroup).args([NOBODY, PROGRAM]);
        command.stdout(Stdio::null()).stderr(Stdio::piped());
        let manager = Running(command.spawn().expect("a shell"));
        let mut started = Self { manager, cgroup, world };
        wait_until_ready(&mut started.manager, &told)?;
        Ok(started)
    }

    /// Ends it and all that it runs, and removes the runtime folder: the logout of a user who does not linger. Returns
    /// what the user has on disk.
    pub fn log_out(mut self) -> World {
        let world = std::mem::take(&mut self.world);
        drop(self);
        let runtime = world.path("run");
        fs::remove_dir_all(&runtime).expect("a runtime folder");
        fs::create_dir(&runtime).expect("a folder for the next login");
        world::set_mode(&runtime, 0o700);
        world
    }

    /// A program of ours or of the system, as this user runs it.
    pub fn run(&self, program: &str, arguments: &[&str]) -> Ended {
        let ours = self.world.path(".cargo/bin").join(program);
        let program = if ours.is_file() { ours.display().to_string() } else { program.to_owned() };
        let user = [&format!("--reuid={NOBODY}"), &format!("--regid={NOBODY}"), "--clear-groups", &program];
        self.world.run("setpriv", &[&user[..], arguments].concat(), "")
    }

    /// `systemctl --user`.
    pub fn systemctl(&self, arguments: &[&str]) -> Ended {
        self.run("systemctl", &[&["--user"], arguments].concat())
    }

    /// A property of the service.
    pub fn property(&self, name: &str) -> String {
        let shown = self.systemctl(&["show", "--property", name, "--value", "rally-cred.service"]);
        shown.stdout.trim().to_owned()
    }

    /// The user's home and environment.
    pub fn world(&self) -> &World {
        &self.world
    }
}

/// Waits until a systemd says at this socket that it is up. An error says how it ended instead.
pub(crate) fn wait_until_ready(systemd: &mut Running, told: &UnixDatagram) -> Result<(), String> {
    let mut message = [0; 4096];
    loop {
        told.set_read_timeout(Some(std::time::Duration::from_millis(200))).expect("a time limit");
        let count = told.recv(&mut message).unwrap_or(0);
        let text = String::from_utf8_lossy(message.get(..count).unwrap_or_default());
        if text.contains("READY=1") {
            return Ok(());
        }
        if let Ok(Some(status)) = systemd.0.try_wait() {
            let why = systemd.next_line_of_stderr().unwrap_or_default();
            return Err(format!("systemd ended with {status}: {why}"));
        }
    }
}

impl Drop for UserManager {
    fn drop(&mut self) {
        if matches!(self.manager.0.try_wait(), Ok(None)) {
            self.manager.signal("TERM");
            self.manager.wait();
        }
        // Only what this manager has started is in there.
        fs::write(self.cgroup.join("cgroup.kill"), "1").ok();
        remove_cgroup(&self.cgroup);
    }
}

/// The units of this repository.
pub fn units_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a workspace").join("systemd")
}

/// Puts our programs where `cargo install` does.
pub fn install_programs(world: &World) {
    let programs = world.path(".cargo/bin");
    fs::create_dir_all(&programs).expect("a folder");
    for name in ["rally-cred", "rally-cred-commands", "rally-credd"] {
        fs::copy(world::programs().join(name), programs.join(name)).expect("a program of ours");
    }
}

/// Puts the units of `systemd/` where a user's own are, and returns that folder.
pub fn install_units(world: &World) -> PathBuf {
    let units = world.path(".config/systemd/user");
    fs::create_dir_all(&units).expect("a folder");
    for entry in fs::read_dir(units_folder()).expect("the units").flatten() {
        fs::copy(entry.path(), units.join(entry.file_name())).expect("a copy of a unit");
    }
    units
}

/// A control group for one systemd, which needs these namespaces.
pub(crate) fn make_cgroup(namespaces: &[&str]) -> Result<PathBuf, String> {
    if !Path::new(PROGRAM).is_file() {
        return Err(format!("there is no {PROGRAM}"));
    }
    let mounts = fs::read_to_string("/proc/self/mounts").map_err(|err| err.to_string())?;
    let root = mounts
        .lines()
        .map(|line| line.split(' ').collect::<Vec<_>>())
        .find_map(|fields| (fields.get(2) == Some(&"cgroup2")).then(|| fields.get(1).map(PathBuf::from))?)
        .ok_or("control groups of version 2 are not mounted")?;
    let cgroup = root.join(format!("rally-cred-{}", uuid::Uuid::new_v4()));
    fs::create_dir(&cgroup).map_err(|err| format!("no control group can be made: {err}"))?;
    // Making namespaces takes more than making a control group.
    let made = Command::new("unshare").args(namespaces).arg("true").stderr(Stdio::null()).status();
    if !made.is_ok_and(|status| status.success()) {
        remove_cgroup(&cgroup);
        return Err("no namespaces can be made".to_owned());
    }
    Ok(cgroup)
}

pub(crate) fn remove_cgroup(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.path().is_dir() {
            remove_cgroup(&entry.path());
        }
    }
    fs::remove_dir(folder).ok();
}
