//! Another user's folders: nothing is made in them, no remedy changes them, and what root has left behind is mended.
//! Does not: look at files of the wrong kind (`own_files` does).
//! Used by: `main`.

use std::os::unix::fs::{MetadataExt, chown, symlink};
use std::{fs, os::unix::net::UnixListener, path::Path};

use rally_cred_tests::world::{World, make_private, set_mode};

use crate::setup::UNASKED;

/// A user of this test and of nobody else.
const OTHER: u32 = 48_271;

/// A world that belongs to another user, with the variables of that user kept, as `sudo -E` does.
fn world_of_another_user() -> World {
    let world = World::new();
    fs::create_dir_all(world.path(".config")).unwrap();
    world.give_to(&format!("{OTHER}:{OTHER}"));
    world
}

fn all_below(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap().flatten() {
        found.push(entry.path().display().to_string());
        if entry.path().is_dir() && !entry.path().is_symlink() {
            found.extend(all_below(&entry.path()));
        }
    }
    found.sort();
    found
}

/// Every command that could make something, one after the other.
const MAKERS: [&[&str]; 8] = [
    &["rally-cred", "get", "--profile", "default"],
    &["rally-cred", "login", "--no-browser", "--timeout", "1s"],
    &["rally-cred", "daemon", "start"],
    &["rally-cred", "doctor"],
    &["rally-cred", "setup", "--client-id", "x", "--git", "yes", "--completions", "bash", "--units", "no"],
    &["rally-cred", "setup", "--remove"],
    &["rally-credd"],
    &["rally-credd", "--detach"],
];

fn check_that_nothing_is_made(world: &World) {
    let before = all_below(&world.path(""));
    for maker in MAKERS {
        let ended = world.run("timeout", &[&["20"], maker].concat(), "");
        let said = ended.said();
        assert_eq!(ended.code, Some(1), "{maker:?}: {ended:?}");
        assert!(said.contains("belongs to somebody else, so nothing is made there"), "{maker:?}: {said}");
        assert!(said.contains("try: ") || said.contains(r#""try":"#), "{maker:?}: {said}");
        assert!(!["chmod", "mv ", "chown"].iter().any(|word| said.contains(word)), "{maker:?}: {said}");
        assert_eq!(all_below(&world.path("")), before, "{maker:?}");
    }
}

#[test]
fn root_with_a_users_variables_makes_nothing_in_their_home_and_says_so() {
    check_that_nothing_is_made(&world_of_another_user());
}

#[test]
fn one_folder_of_another_user_among_the_own_ones_is_enough() {
    for variable in ["HOME", "XDG_STATE_HOME", "XDG_RUNTIME_DIR"] {
        let theirs = world_of_another_user();
        let mut world = World::new();
        world.set(variable, theirs.path("").display());
        let before = all_below(&theirs.path(""));
        for maker in MAKERS {
            let ended = world.run("timeout", &[&["20"], maker].concat(), "");
            assert_eq!(ended.code, Some(1), "{variable} {maker:?}: {ended:?}");
            assert_eq!(all_below(&theirs.path("")), before, "{variable} {maker:?}");
        }
        assert_eq!(all_below(&world.path("run")), [""; 0], "{variable}");
    }
}

#[test]
fn sudo_is_told_to_be_left_out() {
    let mut world = world_of_another_user();
    world.set("SUDO_UID", OTHER);
    world.client(&["daemon", "start"], "").told("\n  try: run it without sudo");
}

#[test]
fn a_user_whose_state_folder_root_has_made_gets_a_daemon_and_the_command_that_mends_it() {
    let world = world_of_another_user();
    let id = OTHER.to_string();
    let as_user = |line: &[&str]| {
        let user = ["--reuid", &id, "--regid", &id, "--clear-groups"];
        world.run("setpriv", &[&user[..], line].concat(), "")
    };
    // What `sudo -E rally-cred get` of an older release has left behind.
    fs::create_dir_all(world.path("state/rally-cred")).unwrap();
    fs::write(world.path("state/rally-cred/daemon.log"), "").unwrap();
    for made in ["state", "state/rally-cred"] {
        set_mode(world.path(made), 0o700);
    }
    let started = as_user(&["rally-cred", "daemon", "start"]).succeeded();
    assert_eq!(started.stderr.matches("so none is kept").count(), 1, "{started:?}");
    let again = as_user(&["rally-cred", "daemon", "start"]);
    assert_eq!((again.code, again.stderr.as_str()), (Some(0), ""), "it is said once");
    let remedy = started.remedy();
    assert!(remedy.starts_with("sudo chown "), "{remedy}");
    // This test is root already.
    let mended = world.run("sh", &["-c", &remedy.replace("sudo ", "")], "");
    assert_eq!(mended.code, Some(0), "{remedy}: {mended:?}");
    let restarted = as_user(&["rally-cred", "daemon", "restart"]);
    assert_eq!((restarted.code, restarted.stderr.as_str()), (Some(0), ""), "{restarted:?}");
    world.logged("ready");
    assert_eq!(fs::metadata(world.path("state/rally-cred/daemon.log")).unwrap().uid(), OTHER);
    as_user(&["rally-cred", "daemon", "stop"]).succeeded();
}

/// What a client and a daemon say of this socket; neither may propose to change anything but the variable.
fn check_that_the_variable_is_to_change(world: &World, socket: &Path) {
    for command in [&["rally-cred", "daemon", "start"][..], &["rally-cred", "status"], &["rally-credd"]] {
        let ended = world.run("timeout", &[&["20"], command].concat(), "");
        assert_ne!(ended.code, Some(0), "{command:?}: {ended:?}");
        let remedy =
            "unset RALLY_CRED_SOCKET, or set it to a path in a folder of your own that is closed to others";
        assert_eq!(ended.remedy(), remedy, "{} {command:?}: {ended:?}", socket.display());
    }
}

#[test]
fn a_socket_path_in_a_folder_that_is_not_ours_is_a_matter_of_the_variable_and_never_of_the_folder() {
    let shared = tempfile::tempdir().unwrap();
    set_mode(shared.path(), 0o1777);
    let theirs = tempfile::tempdir().unwrap();
    set_mode(theirs.path(), 0o700);
    chown(theirs.path(), Some(OTHER), None).unwrap();
    let link = shared.path().join("link");
    symlink(theirs.path(), &link).unwrap();
    for folder in [shared.path(), theirs.path(), &link, Path::new("/"), Path::new("/tmp"), Path::new("/dev")]
    {
        let mut world = World::new();
        let socket = folder.join("x.sock");
        world.set("RALLY_CRED_SOCKET", socket.display());
        check_that_the_variable_is_to_change(&world, &socket);
    }
}

#[test]
fn what_a_variable_names_is_never_what_is_to_change() {
    let shared = tempfile::tempdir().unwrap();
    set_mode(shared.path(), 0o777);
    let config = shared.path().join("config.toml");
    fs::write(&config, "").unwrap();
    set_mode(&config, 0o666);
    // What is called /dev/null elsewhere; this one is of no use to anybody else.
    let null = shared.path().join("null");
    let made = std::process::Command::new("mknod").arg(&null).args(["--mode=666", "c", "1", "3"]).status();
    assert!(made.is_ok_and(|status| status.success()));
    for path in [&null, shared.path(), &config] {
        let mut world = World::new();
        world.set("RALLY_CRED_CONFIG", path.display());
        for command in
            [&["doctor", "--no-autostart"][..], &["config", "check"], &["daemon", "start"], &UNASKED]
        {
            let ended = world.run("timeout", &[&["20", "rally-cred"], command].concat(), "");
            let said = ended.said();
            for remedy in said.lines().filter_map(|line| line.trim().strip_prefix("try: ")) {
                for word in ["chmod", "mv ", "chown", "in its place"] {
                    assert!(!remedy.contains(word), "{} {command:?}: {said}", path.display());
                }
            }
        }
    }
    let mut world = World::new();
    world.set("GIT_CONFIG_GLOBAL", null.display());
    let setup =
        ["setup", "--client-id", "x", "--callback", "http://localhost:1/x", "--git", "yes", "--dry-run"];
    assert!(world.client(&setup, "").stderr.contains("GIT_CONFIG_GLOBAL leads to no file"));
    world.set("RALLY_CRED_SOCKET", null.display());
    let checked = world.client(&["doctor", "--no-autostart"], "");
    assert!(!checked.stdout.contains("chmod") && !checked.stdout.contains("mv "), "{checked:?}");
    assert!(!fs::symlink_metadata(&null).unwrap().is_file());
}

#[test]
fn nothing_but_a_dead_socket_makes_way_for_the_daemons_own() {
    let folder = tempfile::tempdir().unwrap();
    set_mode(folder.path(), 0o700);
    let path = |name: &str| folder.path().join(name);
    fs::write(path("thesis"), "precious").unwrap();
    fs::create_dir(path("folder")).unwrap();
    symlink(path("thesis"), path("link")).unwrap();
    symlink(path("nowhere"), path("dangling")).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(path("pipe")).status().unwrap().success());
    // Another program's, an SSH agent's say.
    let _agent = UnixListener::bind(path("agent")).unwrap();
    for name in ["thesis", "folder", "link", "dangling", "pipe"] {
        let mut world = World::new();
        world.set("RALLY_CRED_SOCKET", path(name).display());
        let before = fs::symlink_metadata(path(name)).unwrap().ino();
        let ended = world.run("timeout", &["20", "rally-cred", "daemon", "start"], "");
        assert_eq!(ended.code, Some(1), "{name}: {ended:?}");
        assert!(ended.remedy().contains("RALLY_CRED_SOCKET"), "{name}: {ended:?}");
        assert_eq!(fs::symlink_metadata(path(name)).unwrap().ino(), before, "{name}");
    }
    let mut world = World::new();
    world.set("RALLY_CRED_SOCKET", path("agent").display());
    world.run("timeout", &["20", "rally-credd"], "").told("another program listens there");
    assert_eq!(fs::read(path("thesis")).unwrap(), b"precious");
    assert!(!path("nowhere").exists());
    // One that was killed leaves a socket behind.
    world.set("RALLY_CRED_SOCKET", path("ours").display());
    for _ in 0..2 {
        let mut daemon = world.start("rally-credd", &[]);
        daemon.wait_for_line("ready");
        daemon.kill();
        assert!(path("ours").exists());
    }
}

#[test]
fn a_lock_is_not_written_through_a_link_or_over_something_else() {
    let mut world = World::new();
    let folder = world.path("mine");
    make_private(&folder);
    let thesis = world.path("thesis");
    fs::write(&thesis, "4711").unwrap();
    for lock in ["agent.lock", "start.lock"] {
        fs::remove_file(folder.join(lock)).ok();
        symlink(&thesis, folder.join(lock)).unwrap();
        world.set("RALLY_CRED_SOCKET", folder.join("agent.sock").display());
        let ended = world.run("timeout", &["20", "rally-cred", "daemon", "start"], "");
        assert_ne!(ended.code, Some(0), "{lock}: {ended:?}");
        assert!(ended.remedy().contains("RALLY_CRED_SOCKET"), "{lock}: {ended:?}");
        assert_eq!(fs::read(&thesis).unwrap(), b"4711", "{lock}");
        fs::remove_file(folder.join(lock)).unwrap();
    }
    // A file that has the name of a lock beside a socket of that name.
    for (socket, other) in [("Cargo.sock", "Cargo.lock"), ("agent.sock", "agent.lock")] {
        fs::write(folder.join(other), "name = \"thesis\"").unwrap();
        world.set("RALLY_CRED_SOCKET", folder.join(socket).display());
        world.run("timeout", &["20", "rally-cred", "daemon", "start"], "");
        assert_eq!(fs::read(folder.join(other)).unwrap(), b"name = \"thesis\"", "{socket}");
        world.client(&["daemon", "stop"], "");
    }
}
