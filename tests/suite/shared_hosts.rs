//! Hosts that several people or sessions share: who has a daemon, who reaches it, and where its socket and its locks are.
//! Does not: look at a folder that goes away under an open socket (`lost_socket` does), or at a shell that has outlived its
//! desktop session (`no_keyring` does).
//! Used by: `main`.

use std::{
    collections::BTreeSet,
    fs,
    io::{BufRead, BufReader, Write},
    os::unix::fs::{FileTypeExt, MetadataExt},
    os::unix::net::UnixStream,
    path::Path,
    thread,
};

use rally_cred_tests::{
    sandbox::Sandbox,
    sshd::{FarSide, HOST},
    world::{Ended, World, make_private, profile_for, sandbox, set_mode},
};

use crate::sign_in::{opened, question, signed_in_with_keyring, value, with_browser, world_with_browser};

/// A user of this machine, with a home that others may enter, as most homes are.
struct User {
    uid: &'static str,
    world: World,
}

impl User {
    fn new(uid: &'static str, sandbox: &Sandbox) -> Self {
        let world = world_with_browser(sandbox);
        world.give_to(&format!("{uid}:{uid}"));
        set_mode(world.path(""), 0o755);
        Self { uid, world }
    }

    fn run(&self, line: &[&str], stdin: &str) -> Ended {
        let user = ["--reuid", self.uid, "--regid", self.uid, "--clear-groups"];
        self.world.run("setpriv", &[&user[..], line].concat(), stdin)
    }

    fn pid(&self) -> String {
        self.run(&["rally-cred", "status", "--json"], "").json()["pid"].to_string()
    }

    fn token(&self) -> String {
        self.run(&["rally-cred", "get", "--format", "token"], "").succeeded().stdout
    }
}

impl Drop for User {
    fn drop(&mut self) {
        self.run(&["rally-cred", "daemon", "stop"], "");
    }
}

const CONNECT: &str = "import socket, sys; socket.socket(socket.AF_UNIX).connect(sys.argv[1])";

#[test]
fn two_users_of_one_machine_have_a_daemon_each_and_reach_nothing_of_the_other() {
    let sandbox = sandbox();
    let users = ["48301", "48302"].map(|uid| User::new(uid, &sandbox));
    for user in &users {
        let login = ["rally-cred", "login", "--client-secret-stdin"];
        user.run(&login, &sandbox.options().client_secret).succeeded();
        let owner = fs::metadata(format!("/proc/{}", user.pid())).unwrap().uid();
        // The daemon is not dumpable, so its folder there is root's.
        assert!(owner == 0 || owner.to_string() == user.uid, "{owner}");
    }
    assert_ne!(users[0].pid(), users[1].pid());
    assert_ne!(users[0].token(), users[1].token());
    for (user, other) in [(&users[0], &users[1]), (&users[1], &users[0])] {
        let token = other.token();
        let theirs = |below: &str| other.world.path(below).display().to_string();
        let socket = theirs("run/rally-cred/agent.sock");
        let variable = format!("RALLY_CRED_SOCKET={socket}");
        for command in [&["get", "--format", "token"][..], &["status"], &["daemon", "stop"], &["login"]] {
            let ended = user.run(&[&["env", &variable, "rally-cred"], command].concat(), "");
            assert_ne!(ended.code, Some(0), "{command:?}: {ended:?}");
            let said = ended.said();
            assert!(said.contains("try: ") && !said.contains(token.trim()), "{command:?}: {said}");
        }
        // Not a client of ours, which would look at the folder first.
        user.run(&["python3", "-c", CONNECT, &socket], "").told("Permission denied");
        // Root may connect to any socket, and is told nothing by this one.
        let mut as_root = UnixStream::connect(&socket).unwrap();
        as_root.write_all(b"{\"v\":1,\"op\":\"status\"}\n").ok();
        let mut told = String::new();
        BufReader::new(as_root).read_line(&mut told).ok();
        assert_eq!(told, "");
        for file in ["state/rally-cred/daemon.log", "run/rally-cred/agent.lock"] {
            assert_ne!(user.run(&["cat", &theirs(file)], "").code, Some(0), "{file}");
            assert!(other.world.path(file).exists(), "{file}");
        }
        assert_eq!(other.token(), token, "the other noticed nothing");
    }
    users[0].run(&["rally-cred", "daemon", "stop"], "").succeeded();
    users[1].token();
}

#[test]
fn one_user_in_three_ssh_sessions_and_at_the_desktop_has_one_daemon() {
    let (_sandbox, mut near) = with_browser();
    let far = FarSide::start(&mut near);
    let status = ["sh", "-c", "rally-cred daemon start >/dev/null && rally-cred status --json"];
    let (near, far) = (&near, &far);
    let told = thread::scope(|scope| {
        let line = format!("{} '{}'", status[..2].join(" "), status[2]);
        let mut sessions = Vec::new();
        for _ in 0..3 {
            let line = line.clone();
            sessions.push(scope.spawn(move || near.run("ssh", &[HOST, &line], "")));
        }
        sessions.push(scope.spawn(|| far.run(&status, "")));
        sessions.into_iter().map(|session| session.join().unwrap().json()).collect::<Vec<_>>()
    });
    let pids: BTreeSet<_> = told.iter().map(|status| status["pid"].to_string()).collect();
    assert_eq!((told.len(), pids.len()), (4, 1), "{told:?}");
    assert_eq!(far.world.log().matches(" ready").count(), 1, "{}", far.world.log());
    // The session that started it ends, and the others go on with it.
    let later = near.run("ssh", &[HOST, "rally-cred status --json"], "").json();
    assert_eq!(BTreeSet::from([later["pid"].to_string()]), pids);
}

/// What lies below a folder, with the numbers of its files.
fn below(folder: &Path, found: &mut Vec<(String, fs::Metadata)>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let (path, kind) = (entry.path(), entry.metadata().unwrap());
        if kind.is_dir() {
            below(&path, found);
        }
        found.push((path.display().to_string(), kind));
    }
}

/// The sockets below a folder, and the files there that this process has locked.
fn sockets_and_locks(folder: &Path, pid: u32) -> Vec<String> {
    let locks = fs::read_to_string("/proc/locks").unwrap();
    let locked = |file: &fs::Metadata| {
        locks.lines().map(|lock| lock.split_whitespace().collect::<Vec<_>>()).any(|lock| {
            let is_of_file = |place: &&str| place.rsplit(':').next() == Some(&file.ino().to_string());
            lock.contains(&pid.to_string().as_str()) && lock.iter().any(is_of_file)
        })
    };
    let mut found = Vec::new();
    below(folder, &mut found);
    let found = found.into_iter().filter(|(_, kind)| kind.file_type().is_socket() || locked(kind));
    found.map(|(path, _)| path[folder.display().to_string().len() + 1..].to_owned()).collect()
}

#[test]
fn with_a_runtime_folder_no_socket_and_no_lock_is_in_the_home() {
    let (sandbox, mut world) = with_browser();
    let runtime = tempfile::tempdir().unwrap();
    set_mode(runtime.path(), 0o700);
    fs::remove_dir(world.path("run")).unwrap();
    world.set("XDG_RUNTIME_DIR", runtime.path().display());
    let profile = profile_for(&sandbox);
    world.configure(&format!("keyring = \"memory\"\n{profile}[forward]\nprofiles = [\"default\"]\n"));
    let daemon = world.start_daemon();
    crate::sign_in::sign_in(&world, &sandbox);
    world
        .client(&["gateway", "--", "rally-cred", "status"], "")
        .succeeded()
        .showed("by the forwarded socket");
    assert_eq!(sockets_and_locks(&world.path(""), daemon.0.id()), [""; 0]);
    let mut there = sockets_and_locks(runtime.path(), daemon.0.id());
    there.sort();
    assert_eq!(there, ["rally-cred/agent.lock", "rally-cred/agent.sock", "rally-cred/forward.sock"]);
}

#[test]
fn on_a_network_file_system_no_socket_and_no_lock_is_made_and_what_is_said_to_try_helps() {
    let mut world = World::new();
    let other = world.path("tmp");
    world.unset("XDG_RUNTIME_DIR").set("TMPDIR", other.display());
    fs::create_dir(&other).unwrap();
    let trace = world.path("trace").display().to_string();
    for program in [&["rally-cred", "daemon", "start"][..], &["rally-cred", "get"], &["rally-credd"]] {
        // The kernel's answer about every file system says that it is NFS.
        let nfs = ["-e", "trace=statfs", "-e", "inject=statfs:poke_exit=@arg2=6969000000000000"];
        let ended = world.run("strace", &[&["-f", "-qq", "-o", &trace][..], &nfs, program].concat(), "");
        assert_eq!(ended.code, Some(1), "{program:?}: {ended:?}");
        let told = "state/rally-cred/run is on a network file system\n  why: it is NFS, ";
        assert!(ended.stderr.contains(told), "{program:?}: {ended:?}");
        assert_eq!(fs::read_dir(&other).unwrap().count(), 0);
        assert!(!world.path("state").exists(), "{program:?}: nothing is made");
        let line = format!("{} && rally-cred daemon start && rally-cred daemon stop", ended.remedy());
        let helped = world.run("sh", &["-c", &line], "").succeeded();
        assert!(helped.stdout.ends_with("the daemon stopped\n"), "{helped:?}");
        assert!(!world.path("state/rally-cred/run").exists());
        fs::remove_dir_all(world.path("state")).unwrap();
        fs::remove_dir_all(&other).unwrap();
        fs::create_dir(&other).unwrap();
    }
}

#[test]
fn a_logout_that_takes_the_runtime_folder_away_ends_the_daemon_and_loses_no_sign_in() {
    let (sandbox, world, _keyring, mut daemon) = signed_in_with_keyring();
    let token = |world: &World| {
        let got = world.client(&["get", "--interactive", "never"], question(&sandbox));
        value(&got.stdout, "password").map(str::to_owned)
    };
    let before = token(&world);
    assert!(before.is_some());
    while world.path("run").exists() {
        // The daemon, which lost its socket first, may have bound anew in between.
        fs::remove_dir_all(world.path("run")).ok();
    }
    assert_eq!(daemon.wait().code(), Some(0));
    make_private(world.path("run"));
    assert_eq!(token(&world), before);
    assert_eq!(opened(&world).len(), 1);
}
