//! A daemon whose socket, lock or folder somebody removes, moves or replaces: clients go on, or it ends, and every command
//! of its life finds it meanwhile.
//! Does not: look at a service manager's own socket under systemd (`systemd` does).
//! Used by: `main`.

use std::{fs, os::unix::net::UnixListener, path::Path};

use rally_cred_tests::world::{World, make_private, set_mode};

use crate::sign_in::{question, sign_in, value, with_browser};

#[test]
fn a_socket_that_was_removed_by_hand_comes_back_and_the_token_in_memory_is_served() {
    let (sandbox, world) = with_browser();
    let mut daemon = world.start("rally-credd", &[]);
    daemon.wait_for_line("ready");
    sign_in(&world, &sandbox);
    let first = world.client(&["get"], question(&sandbox)).stdout;
    assert!(value(&first, "password").is_some());
    for removed in [&["agent.sock"][..], &["agent.lock"], &["agent.sock", "agent.lock", "start.lock"]] {
        for name in removed {
            fs::remove_file(world.path("run/rally-cred").join(name)).ok();
        }
        if removed.contains(&"agent.lock") && removed.len() > 1 {
            // Without the lock, a client that came at once could be quicker.
            daemon.wait_for_line("made anew");
        }
        let got = world.client(&["get", "--interactive", "never"], question(&sandbox));
        assert_eq!(got.stdout, first, "{removed:?}: {got:?}");
        assert_eq!(world.status()["pid"], daemon.0.id(), "{removed:?}: it is the same daemon");
        if removed == ["agent.sock"] {
            daemon.wait_for_line("made anew");
        }
    }
    assert_eq!(world.client(&["daemon", "stop"], "").stdout, "the daemon stopped\n");
    daemon.end().succeeded();
}

/// Removes a folder with all that is in it. On a busy machine that may take so long that the daemon, which lost its socket
/// first, has bound anew meanwhile.
fn remove(folder: &Path) {
    while folder.exists() {
        // What it made in between is still there, or what it took away is gone already.
        fs::remove_dir_all(folder).ok();
    }
}

#[test]
fn a_daemon_whose_folder_is_removed_moved_or_replaced_ends_and_the_next_client_starts_another() {
    type Loss = fn(&World);
    let losses: [(&str, Loss); 5] = [
        ("the folder is removed", |world| remove(&world.path("run/rally-cred"))),
        ("the session's folder is removed", |world| remove(&world.path("run"))),
        ("the folder is moved", |world| {
            fs::rename(world.path("run/rally-cred"), world.path("run/elsewhere")).unwrap();
        }),
        ("the session's folder is moved", |world| {
            fs::rename(world.path("run"), world.path("elsewhere")).unwrap()
        }),
        ("the folder makes way for another", |world| {
            fs::rename(world.path("run/rally-cred"), world.path("run/elsewhere")).unwrap();
            make_private(world.path("run/rally-cred"));
        }),
    ];
    for (name, lose) in losses {
        let world = World::new();
        let mut daemon = world.start_daemon();
        lose(&world);
        assert_eq!(daemon.wait().code(), Some(0), "{name}");
        assert!(world.log().ends_with("stopped\n"), "{name}: {}", world.log());
        fs::create_dir_all(world.path("run")).unwrap();
        set_mode(world.path("run"), 0o700);
        let started = world.client(&["daemon", "start"], "");
        assert!(started.stdout.starts_with("the daemon started"), "{name}: {started:?}");
    }
}

#[test]
fn a_daemon_whose_socket_another_program_has_replaced_ends_and_leaves_the_others_alone() {
    let world = World::new();
    let mut daemon = world.start_daemon();
    let socket = world.socket();
    fs::remove_file(&socket).unwrap();
    let _other = UnixListener::bind(&socket).unwrap();
    assert_eq!(daemon.wait().code(), Some(0));
    assert!(socket.exists(), "the other program's socket is not ours to take away");
    fs::remove_file(&socket).unwrap();
}

#[test]
fn a_daemon_that_cannot_notice_is_found_by_its_lock_told_and_ended() {
    let world = World::new();
    let daemon = world.start_daemon();
    let pid = daemon.0.id();
    // It notices nothing while it is stopped.
    daemon.signal("STOP");
    fs::remove_file(world.socket()).unwrap();
    world
        .client(&["status"], "")
        .ended_with(6)
        .told(format!("the daemon, process {pid}, cannot be reached"))
        .told("try: rally-cred daemon restart");
    world
        .client(&["doctor", "--no-autostart"], "")
        .showed(format!("the daemon, process {pid}, cannot be reached"));
    world.client(&["daemon", "start"], "").told(format!("process {pid} "));
    let mut restart = world.start("rally-cred", &["daemon", "restart"]);
    daemon.signal("CONT");
    assert!(restart.wait().success());
    daemon.end().succeeded();
    assert_eq!(world.client(&["daemon", "stop"], "").stdout, "the daemon stopped\n");
}

#[test]
fn a_number_that_is_left_in_a_lock_is_nobody_to_be_ended() {
    let world = World::new();
    make_private(world.path("run/rally-cred"));
    let mut bystander = world.start("cat", &[]);
    fs::write(world.path("run/rally-cred/agent.lock"), format!("{}\n", bystander.0.id())).unwrap();
    assert_eq!(world.client(&["daemon", "stop"], "").stdout, "no daemon runs\n");
    bystander.write("still here\n");
    assert_eq!(bystander.next_line_of_stdout().as_deref(), Some("still here"));
    world.client(&["daemon", "start"], "").succeeded();
}
