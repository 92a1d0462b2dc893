//! A machine in this one for one test: a real systemd as process 1, logind and the system's bus, in a control group and
//! namespaces of their own. Users log in and out as PAM has them do it.
//! Does not: meet the service manager, the logind or the users of the machine; nothing outlives it.
//! Used by: the test of what stays at a logout.
#![expect(clippy::expect_used, reason = "a machine that cannot be made is the end of its test")]

use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::{fmt::Write, fs};

use crate::user_manager::{PROGRAM, make_cgroup, remove_cgroup, wait_until_ready};
use crate::world::{Ended, Running, World};

/// Where systemd's units are, on Debian and elsewhere.
const UNITS: &str = "/usr/lib/systemd/system";

/// What the machine is made of.
const NEEDED: [&str; 13] = [
    "basic.target",
    "dbus.service",
    "dbus.socket",
    "paths.target",
    "shutdown.target",
    "slices.target",
    "sockets.target",
    "sysinit.target",
    "systemd-logind.service",
    "timers.target",
    "user-runtime-dir@.service",
    "user.slice",
    "user@.service",
];

const DEFAULT_TARGET: &str =
    "[Unit]\nRequires=dbus.socket systemd-logind.service\nAfter=systemd-logind.service\n";

/// What `unshare` makes.
const NAMESPACES: [&str; 8] =
    ["--mount", "--pid", "--ipc", "--uts", "--net", "--fork", "--kill-child", "--propagation=private"];

/// Moves into the control group, makes that the root, lays empty folders over the machine's state and an `/etc` over its
/// own, and becomes process 1. What systemd would write on a console is for nobody.
const SCRIPT: &str = r#"
echo 0 >"$0/cgroup.procs" && chmod -R a+rX "$1/etc" && exec unshare --cgroup sh -ec '
  mount -t proc proc /proc
  mount -t tmpfs tmpfs /run
  mount -t tmpfs tmpfs /var
  mount -t cgroup2 cgroup2 /sys/fs/cgroup
  mount --bind "$1/etc" /etc
  mount --bind /dev/null /dev/console
  mkdir /var/lib /var/log
  mount --make-rshared /
  export container=unshare SYSTEMD_UNIT_PATH="$1/units"
  exec "$2" --system --log-target=null --show-status=no
' "$0" "$@"
"#;

/// How PAM lets users in: as a terminal's or sshd's session, and their service managers without one.
const PAM: [(&str, &str); 2] = [
    (
        "runuser-l",
        "auth required pam_permit.so\naccount required pam_permit.so\nsession required pam_systemd.so class=user\n",
    ),
    ("systemd-user", "account required pam_permit.so\nsession required pam_systemd.so\n"),
];

/// The number of the first user: that of nobody on a system, since both machines have the same files.
const FIRST_UID: u32 = 60_100;

/// A machine with users. Dropping it ends all that runs in it.
#[derive(Debug)]
pub struct Machine {
    systemd: Running,
    cgroup: PathBuf,
    /// The folder of the root.
    root: World,
    users: Vec<(String, World)>,
}

impl Machine {
    /// Boots one with these users, whose homes are these worlds. An error says why this machine cannot have another in it.
    pub fn boot(users: Vec<(&str, World)>) -> Result<Self, String> {
        if let Some(unit) = NEEDED.iter().find(|unit| !Path::new(UNITS).join(unit).is_file()) {
            return Err(format!("there is no {unit} in {UNITS}"));
        }
        let cgroup = make_cgroup(&NAMESPACES)?;
        let mut root = World::new();
        root.unset("DBUS_SYSTEM_BUS_ADDRESS");
        install_units(&root.path("units"));
        install_etc(&root.path("etc"), &users);
        let ready = root.path("ready");
        let told = UnixDatagram::bind(&ready).expect("a socket");
        let mut command = root.command("unshare");
        command.env("NOTIFY_SOCKET", &ready).args(NAMESPACES).args(["sh", "-c", SCRIPT]);
        command.arg(&cgroup).arg(root.path("")).arg(PROGRAM);
        command.stdout(Stdio::null()).stderr(Stdio::piped());
        let systemd = Running(command.spawn().expect("unshare"));
        let users = users.into_iter().map(|(name, world)| (name.to_owned(), world)).collect();
        let mut machine = Self { systemd, cgroup, root, users };
        wait_until_ready(&mut machine.systemd, &told)?;
        Ok(machine)
    }

    /// A session of this user: the shell of a login, which reads lines from its standard input.
    pub fn log_in(&self, user: &str) -> Running {
        let [program, arguments @ ..] = &self.inside(&["runuser", "-l", user])[..] else { unreachable!() };
        let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
        self.root.start(program, &arguments)
    }

    /// One of our programs as this user runs it outside of every session: a job of cron, or who comes by a forwarded
    /// socket.
    pub fn run(&self, user: &str, program: &str, arguments: &[&str], stdin: &str) -> Ended {
        let (uid, world) = self.find(user);
        let user = [format!("--reuid={uid}"), format!("--regid={uid}"), "--clear-groups".to_owned()];
        let home = world.path("");
        let program = home.join(".cargo/bin").join(program).display().to_string();
        let variables = [format!("HOME={}", home.display()), format!("XDG_RUNTIME_DIR=/run/user/{uid}")];
        let before = ["env", "--ignore-environment", &variables[0], &variables[1], "setpriv"];
        let before = before.into_iter().chain(user.iter().map(String::as_str)).chain([&*program]);
        self.run_inside(&before.chain(arguments.iter().copied()).collect::<Vec<_>>(), stdin)
    }

    /// `loginctl`, as root.
    pub fn loginctl(&self, arguments: &[&str]) -> Ended {
        self.run_inside(&[&["loginctl"], arguments].concat(), "")
    }

    /// What logind says that this user is; nothing of one whom it does not know of.
    pub fn state(&self, user: &str) -> String {
        self.loginctl(&["show-user", "--property=State", "--value", user]).stdout.trim().to_owned()
    }

    /// The runtime folder of this user, as it is seen from outside.
    pub fn runtime_folder(&self, user: &str) -> PathBuf {
        self.seen(&format!("run/user/{}", self.find(user).0))
    }

    /// The folder of a process by its number in there.
    pub fn process(&self, pid: &str) -> PathBuf {
        self.seen(&format!("proc/{pid}"))
    }

    fn seen(&self, path: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root", self.first_process())).join(path)
    }

    fn find(&self, user: &str) -> (u32, &World) {
        let mut users = (FIRST_UID..).zip(&self.users);
        let (uid, (_, world)) = users.find(|(_, (name, _))| name == user).expect("a user of this machine");
        (uid, world)
    }

    fn run_inside(&self, command: &[&str], stdin: &str) -> Ended {
        let [program, arguments @ ..] = &self.inside(command)[..] else { unreachable!() };
        let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
        self.root.run(program, &arguments, stdin)
    }

    /// The line that runs a command in there. A process that comes from another control group could not be moved into
    /// that of a session.
    fn inside(&self, command: &[&str]) -> Vec<String> {
        let enter = format!(
            "echo $$ >\"$0\" && exec nsenter --target {} --mount --cgroup --pid --ipc --uts --net \"$@\"",
            self.first_process()
        );
        let line = ["sh".to_owned(), "-c".to_owned(), enter, self.init_scope().display().to_string()];
        line.into_iter().chain(command.iter().map(|&word| word.to_owned())).collect()
    }

    fn init_scope(&self) -> PathBuf {
        self.cgroup.join("init.scope/cgroup.procs")
    }

    /// The number of its process 1, as it is out here.
    fn first_process(&self) -> String {
        let pids = fs::read_to_string(self.init_scope()).expect("a control group that systemd has made");
        pids.lines().next().expect("a systemd that runs").to_owned()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // Only what runs in the machine is in there. unshare ends with its process 1, and that after all others.
        match fs::write(self.cgroup.join("cgroup.kill"), "1") {
            Ok(()) => drop(self.systemd.wait()),
            Err(_) => self.systemd.kill(),
        }
        remove_cgroup(&self.cgroup);
    }
}

fn install_units(folder: &Path) {
    fs::create_dir(folder).expect("a folder");
    for name in NEEDED {
        fs::copy(Path::new(UNITS).join(name), folder.join(name)).expect("a unit of systemd or of D-Bus");
    }
    fs::write(folder.join("default.target"), DEFAULT_TARGET).expect("a target");
}

fn install_etc(folder: &Path, users: &[(&str, World)]) {
    fs::create_dir_all(folder.join("systemd")).expect("a folder");
    fs::create_dir(folder.join("pam.d")).expect("a folder");
    let write = |name: &str, text: &str| fs::write(folder.join(name), text).expect("a file");
    let mut passwd = "root:x:0:0::/:/bin/sh\nmessagebus:x:60099:60099::/:/bin/false\n".to_owned();
    for (uid, (name, world)) in (FIRST_UID..).zip(users) {
        let home = world.path("");
        writeln!(passwd, "{name}:x:{uid}:{uid}::{}:/bin/sh", home.display()).expect("a string");
        world.give_to(&format!("{uid}:{uid}"));
    }
    write("passwd", &passwd);
    write("group", &passwd.lines().map(group_of).collect::<String>());
    write("systemd/logind.conf", "[Login]\nUserStopDelaySec=1s\nKillUserProcesses=no\n");
    for (name, text) in PAM {
        write(&format!("pam.d/{name}"), text);
    }
}

/// The line of a user's own group.
fn group_of(user: &str) -> String {
    let mut fields = user.split(':');
    let (name, gid) = (fields.next().unwrap_or_default(), fields.nth(2).unwrap_or_default());
    format!("{name}:x:{gid}:\n")
}
