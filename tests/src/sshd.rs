//! A real sshd on loopback for one test, which lets the user of one world into another, and a network that can break.
//! Does not: meet the sshd of the machine, or any user's keys, configuration and login records.
//! Used by: the tests of forwarding.
#![expect(clippy::expect_used, reason = "a host that cannot be made is the end of its test")]

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::{fs, thread};

use crate::world::{self, Ended, Running, World};

use rally_cred_proto::unpoisoned;

/// The user of the far side where the test may choose: none that a system has.
const FAR_UID: &str = "65533";

/// The name of the far side in the near side's ssh.
pub const HOST: &str = "build";

/// Starts sshd in a namespace with a `/run` and a list of users of its own, and without the machine's login records.
const AS_ROOT: &str = r#"
mount -t tmpfs tmpfs /run && mkdir -m 755 /run/sshd && mount -t tmpfs tmpfs /var/log &&
mount --bind "$0" /etc/passwd && exec /usr/sbin/sshd -D -e -f "$1"
"#;

/// The far side: a world whose user comes in by sshd. Root makes it another user's.
#[derive(Debug)]
pub struct FarSide {
    /// The far user's home.
    pub world: World,
    _sshd: Running,
    network: Network,
    is_another_user: bool,
}

impl FarSide {
    /// Starts one, and has the near side's `ssh build` lead there.
    pub fn start(near: &mut World) -> Self {
        let world = far_world();
        let folder = near.path("ssh");
        fs::create_dir(&folder).expect("a folder");
        let make_key = |path: &Path| {
            let made =
                Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(path).status();
            assert!(made.is_ok_and(|status| status.success()), "tests/run installs ssh-keygen");
        };
        let (host_key, key) = (folder.join("host"), folder.join("key"));
        make_key(&host_key);
        make_key(&key);
        fs::copy(key.with_extension("pub"), world.path("authorized_keys")).expect("the key that may come in");

        let port = world::free_port();
        let config = folder.join("sshd_config");
        fs::write(&config, sshd_config(&world, port, &host_key)).expect("sshd's configuration");
        // Only root can let somebody else in.
        let is_another_user = fs::metadata(&folder).expect("a folder").uid() == 0;
        let sshd = match is_another_user {
            true => {
                let users = folder.join("passwd");
                fs::write(&users, users_with_far_user(&world)).expect("a list of users");
                world.give_to(&format!("{FAR_UID}:{FAR_UID}"));
                let mut sshd = Command::new("unshare");
                sshd.args(["--mount", "--propagation", "private", "sh", "-c", AS_ROOT])
                    .arg(users)
                    .arg(&config);
                sshd
            }
            false => {
                let mut sshd = Command::new("/usr/sbin/sshd");
                sshd.args(["-D", "-e", "-f"]).arg(&config);
                sshd
            }
        };
        let sshd = begin(sshd);
        let network = Network::to(port);
        let user = if is_another_user { "far".to_owned() } else { near.run("id", &["-un"], "").stdout };
        let config = folder.join("config");
        let lines = format!(
            "Host {HOST}\n HostName 127.0.0.1\n Port {}\n User {}\n IdentityFile {}\n IdentitiesOnly yes\n \
             IdentityAgent none\n BatchMode yes\n UserKnownHostsFile {}\n StrictHostKeyChecking accept-new\n \
             LogLevel ERROR\n",
            network.port,
            user.trim(),
            key.display(),
            folder.join("known").display(),
        );
        fs::write(&config, lines).expect("ssh's configuration");
        // ssh looks for a home in the list of users, not in the variable.
        near.stand_in("ssh", &format!("exec /usr/bin/ssh -F '{}' \"$@\"\n", config.display()));
        Self { world, _sshd: sshd, network, is_another_user }
    }

    /// Runs a program on the far side, as its user in another session does.
    pub fn run(&self, line: &[&str], stdin: &str) -> Ended {
        let become_far = ["--reuid", FAR_UID, "--regid", FAR_UID, "--clear-groups"];
        match line.split_first() {
            Some(_) if self.is_another_user => {
                self.world.run("setpriv", &[&become_far, line].concat(), stdin)
            }
            Some((program, arguments)) => self.world.run(program, arguments, stdin),
            None => Ended::in_silence(),
        }
    }

    /// Loses whatever either side sends from now on, or no longer. No connection is closed by that.
    pub fn fall_silent(&self, is_silent: bool) {
        self.network.is_silent.store(is_silent, Ordering::SeqCst);
    }

    /// Breaks every connection between the two.
    pub fn break_network(&self) {
        self.network.sever();
    }
}

impl Drop for FarSide {
    fn drop(&mut self) {
        // A daemon that was started there has this user, and is asked as such.
        if self.world.socket().exists() {
            self.run(&["rally-cred", "daemon", "stop"], "");
        }
    }
}

/// A world with our programs where another user may run them, and nothing configured.
fn far_world() -> World {
    let mut world = World::new();
    let programs = world.path("programs");
    fs::create_dir(&programs).expect("a folder");
    for name in ["rally-cred", "rally-cred-commands", "rally-credd"] {
        fs::copy(world::programs().join(name), programs.join(name)).expect("a program of ours");
    }
    world.set("PATH", format!("{}:/usr/bin:/bin", programs.display()));
    world
}

fn sshd_config(far: &World, port: u16, host_key: &Path) -> String {
    let names =
        ["PATH", "HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS"];
    let variables: Vec<_> = names.iter().map(|name| format!("{name}={}", far.variable(name))).collect();
    format!(
        "ListenAddress 127.0.0.1\nPort {port}\nHostKey {}\nPidFile none\nAuthorizedKeysFile {}\nStrictModes no\n\
         UsePAM no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\nPrintLastLog no\nPrintMotd no\n\
         LogLevel ERROR\nSetEnv {}\n",
        host_key.display(),
        far.path("authorized_keys").display(),
        variables.join(" "),
    )
}

fn users_with_far_user(far: &World) -> String {
    let users = fs::read_to_string("/etc/passwd").expect("a list of users");
    format!("{users}far:*:{FAR_UID}:{FAR_UID}::{}:/bin/sh\n", far.path("").display())
}

/// Starts sshd, and waits until it can be connected to.
fn begin(mut sshd: Command) -> Running {
    let child = sshd.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn();
    let mut sshd = Running(child.expect("sshd, which tests/run installs"));
    // It says so on standard error, at this level, only when it fails.
    sshd.0.stderr.take();
    sshd
}

/// The network between the two sides, by which every connection of the near side goes.
#[derive(Debug)]
struct Network {
    port: u16,
    open: Arc<Mutex<Vec<TcpStream>>>,
    is_silent: Arc<AtomicBool>,
}

impl Network {
    fn to(port: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let own = listener.local_addr().expect("its number").port();
        let open = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&open);
        let is_silent = Arc::new(AtomicBool::new(false));
        let loses = Arc::clone(&is_silent);
        thread::spawn(move || {
            for near in listener.incoming().flatten() {
                let far = connect(port);
                for (from, to) in [(&near, &far), (&far, &near)] {
                    let (mut from, mut to) = (copy_of(from), copy_of(to));
                    unpoisoned(&kept).push(copy_of(&from));
                    let loses = Arc::clone(&loses);
                    thread::spawn(move || {
                        let mut piece = [0; 4096];
                        while let Some(piece) =
                            from.read(&mut piece).ok().and_then(|count| piece.get(..count))
                        {
                            let is_lost = loses.load(Ordering::SeqCst);
                            if piece.is_empty() || !is_lost && to.write_all(piece).is_err() {
                                break;
                            }
                        }
                        to.flush().and_then(|()| to.shutdown(Shutdown::Write)).ok();
                    });
                }
            }
        });
        Self { port: own, open, is_silent }
    }

    fn sever(&self) {
        for stream in unpoisoned(&self.open).drain(..) {
            stream.shutdown(Shutdown::Both).ok();
        }
    }
}

/// Connects to sshd, which may have just been started.
fn connect(port: u16) -> TcpStream {
    loop {
        match TcpStream::connect((Ipv4Addr::LOCALHOST, port)) {
            Ok(stream) => return stream,
            Err(_) => thread::yield_now(),
        }
    }
}

fn copy_of(stream: &TcpStream) -> TcpStream {
    stream.try_clone().expect("another handle of a connection")
}
