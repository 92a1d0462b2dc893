//! Another user of the same machine, a real one: what they try with our socket, folders, files and ports comes to nothing.
//! Does not: use `sudo` or another user's variables (`ownership` does).
//! Used by: `main`.

use std::os::unix::{fs::PermissionsExt, net::UnixListener};
use std::{fs, io::Read, path::Path};

use rally_cred_tests::world::{Ended, World};

use crate::sign_in::signed_in;

/// The user whom systems call `nobody`.
const NOBODY: u32 = 65_534;

/// Acts as nobody, in a thread of its own. Only root can become somebody else, so elsewhere a test says that it is left
/// out, and ends.
macro_rules! as_nobody {
    ($act:expr) => {
        match become_nobody($act) {
            Some(done) => done,
            None => return,
        }
    };
}

#[expect(clippy::print_stderr, reason = "a test that is left out should not pass in silence")]
fn become_nobody<T: Send>(act: impl FnOnce() -> T + Send) -> Option<T> {
    use rustix::thread::{Gid, Uid, set_thread_groups, set_thread_res_gid, set_thread_res_uid};
    if !rustix::process::geteuid().is_root() {
        eprintln!("left out: this test has to run as root, to become another user");
        return None;
    }
    let as_nobody = || {
        let (uid, gid) = (Uid::from_raw(NOBODY), Gid::from_raw(NOBODY));
        set_thread_groups(&[]).unwrap();
        set_thread_res_gid(gid, gid, gid).unwrap();
        set_thread_res_uid(uid, uid, uid).unwrap();
        act()
    };
    std::thread::scope(|scope| Some(scope.spawn(as_nobody).join().unwrap()))
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// Every command that sends something to a daemon, secrets among it.
fn ask_in_every_way(world: &World) -> Vec<Ended> {
    let question = "protocol=https\nhost=rally1.rallydev.com\n";
    let example =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/rally_token.py").display().to_string();
    let all: [(&[&str], String); 8] = [
        (&["rally-cred", "get"], format!("{question}\n")),
        (&["rally-cred", "get", "--format", "token"], String::new()),
        (&["rally-cred", "store"], format!("{question}username=me\npassword=canary\n\n")),
        (&["rally-cred", "erase"], format!("{question}password=canary\n\n")),
        (&["rally-cred", "login", "--no-browser", "--client-secret-stdin"], "canary\n".to_owned()),
        (&["rally-cred", "status"], String::new()),
        (&["rally-cred", "daemon", "stop"], String::new()),
        (&["python3", "-I", "-S", &example], String::new()),
    ];
    all.iter().map(|(line, stdin)| world.run("timeout", &[&["20"], *line].concat(), stdin)).collect()
}

#[test]
fn a_socket_that_another_user_serves_gets_not_one_byte() {
    let world = World::new();
    let shared = tempfile::tempdir().unwrap();
    set_mode(shared.path(), 0o777);
    let theirs = shared.path().join("socket");
    let listener = as_nobody!(|| UnixListener::bind(&theirs).unwrap());
    // What whoever can rename a folder brings about between a client's look at it and the connection.
    let folder = world.path("run/rally-cred");
    fs::create_dir(&folder).unwrap();
    set_mode(&folder, 0o700);
    fs::rename(theirs, folder.join("agent.sock")).unwrap();
    for ended in ask_in_every_way(&world) {
        let mut sent = Vec::new();
        listener.accept().unwrap().0.read_to_end(&mut sent).unwrap();
        assert_eq!(String::from_utf8_lossy(&sent), "", "{ended:?}");
        assert_ne!(ended.code, Some(0), "{ended:?}");
        assert!(ended.stderr.contains("uid 65534 listens there") && ended.stdout.is_empty(), "{ended:?}");
    }
    let checked = world.client(&["doctor", "--no-autostart"], "");
    assert!(checked.stdout.contains("uid 65534 listens there"), "{checked:?}");
    // What is said to help, helps.
    world.follow(&world.client(&["status"], ""));
    world.client(&["daemon", "start"], "").succeeded();
}

#[test]
fn a_socket_folder_that_others_can_rename_is_refused_with_owner_mode_and_remedy() {
    let (_sandbox, world, _daemon) = signed_in();
    let run = world.path("run");
    for open in [0o777, 0o770] {
        set_mode(&run, open);
        for ended in ask_in_every_way(&world) {
            assert_eq!((ended.code, ended.stdout.as_str()), (Some(1), ""), "{ended:?}");
            assert!(ended.stderr.contains("not safe"), "{ended:?}");
        }
        let refused = world.client(&["get", "--format", "token"], "");
        let owner = format!(
            "{} belongs to uid {}, mode {open:o}",
            run.display(),
            rustix::process::geteuid().as_raw()
        );
        assert!(refused.stderr.contains(&owner), "{refused:?}");
        let checked = world.client(&["doctor", "--no-autostart"], "");
        assert!(checked.stdout.contains(&owner), "{checked:?}");
        world.follow(&refused);
        world.client(&["get", "--format", "token"], "").succeeded();
    }
    // As in /tmp, others cannot rename what is not theirs.
    set_mode(&run, 0o1777);
    world.client(&["get", "--format", "token"], "").succeeded();
}
