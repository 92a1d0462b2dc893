//! What happens when a sign-in is needed and nobody is looking, on real processes and a real bus.
//! Does not: repeat when an alert is due, which the broker's own tests play in virtual time.
//! Used by: `main`.

use std::{fs, process::Command, time::Instant};

use rally_cred_tests::desktop::{Call, Desktop};
use rally_cred_tests::world::{self, Running, World};
use rally_cred_tests::{keyring::KeyringSession, sandbox::Sandbox};

use crate::sign_in::{opened, sign_in, with_browser};

/// A person who signed in, and whose grant Rally has taken back since.
fn world_on(bus: Option<&KeyringSession>, config: &str) -> (Sandbox, World, Running) {
    let (sandbox, mut world) = with_browser();
    world.configure(&format!("keyring = \"memory\"\n{config}{}", world::profile_for(&sandbox)));
    world.set("RALLY_CRED_LOG", "debug");
    bus.into_iter().for_each(|bus| world.join(bus));
    let daemon = world.start_daemon();
    sign_in(&world, &sandbox);
    sandbox.revoke_all();
    (sandbox, world, daemon)
}

/// A tool in the background finds that its token does not work, and Rally refuses to renew it.
pub(crate) fn lose(world: &World) {
    world.reject(&value_of(world, "base_url"), &world.token());
    miss(world);
}

/// It asks again, and still nobody but a person can help.
fn miss(world: &World) {
    world.client(&["get", "--interactive", "never"], "").ended_with(3);
}

/// What the only profile's `status` has under this name.
fn value_of(world: &World, name: &str) -> String {
    let status = world.status();
    status["profiles"][0][name].as_str().unwrap().to_owned()
}

fn shown(call: Call) -> (u32, String, Vec<String>) {
    match call {
        Call::Show { id, body, actions, summary, expires } => {
            assert_eq!((summary.as_str(), expires), ("Rally: sign-in needed", 0));
            (id, body, actions)
        }
        Call::Close(id) => unreachable!("{id} was taken away before it was shown"),
    }
}

#[test]
fn a_notification_tells_what_is_wrong_and_its_button_opens_the_sign_in() {
    let bus = KeyringSession::start_without_keyring();
    let desktop = Desktop::start(bus.address());
    let (sandbox, world, _daemon) = world_on(Some(&bus), "");
    lose(&world);
    let (id, body, actions) = shown(desktop.next());
    let why = "Rally no longer accepts the stored refresh token";
    assert_eq!(body, format!("Profile default: {why}.\nTry: rally-cred login --force"));
    assert_eq!(actions, ["default", "Sign in", "login", "Sign in"]);
    assert_eq!(opened(&world).len(), 1, "nothing opens unasked");

    let before = sandbox.counters().code_exchanges();
    desktop.press(id, "login");
    sandbox.until(|counters| counters.code_exchanges() > before).unwrap();
    // The old token is handed out until the new one is in hand.
    let got = || world.get().stdout;
    while !sandbox.admits(got().trim(), Instant::now()) {}
    assert_eq!(opened(&world).len(), 2);
}

#[test]
fn a_sign_in_by_other_means_takes_the_notification_away() {
    let bus = KeyringSession::start_without_keyring();
    let desktop = Desktop::start(bus.address());
    let (_sandbox, world, _daemon) = world_on(Some(&bus), "");
    lose(&world);
    let (id, ..) = shown(desktop.next());
    // Many more callers within the pause are not many more notifications.
    for _ in 0..5 {
        miss(&world);
    }
    world.client(&["login", "--force"], "").succeeded();
    assert_eq!(desktop.next(), Call::Close(id));
    assert_eq!(desktop.calls(), []);
}

#[test]
fn a_daemon_that_ends_takes_its_notification_away_since_the_button_would_be_dead() {
    let bus = KeyringSession::start_without_keyring();
    let desktop = Desktop::start(bus.address());
    let (_sandbox, world, mut daemon) = world_on(Some(&bus), "");
    lose(&world);
    let (id, ..) = shown(desktop.next());
    daemon.stop();
    assert_eq!(desktop.next(), Call::Close(id));
}

#[test]
fn the_users_own_program_takes_the_desktops_place() {
    let bus = KeyringSession::start_without_keyring();
    let desktop = Desktop::start(bus.address());
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("told");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let command = format!("notify_command = [\"sh\", \"-c\", \"env >\\\"$0\\\"\", \"{}\"]\n", pipe.display());
    let (_sandbox, world, _daemon) = world_on(Some(&bus), &command);
    lose(&world);
    // Opening it waits for the program.
    let told = fs::read_to_string(&pipe).unwrap();
    for line in [
        "RALLY_CRED_PROFILE=default",
        "RALLY_CRED_WHY=Rally no longer accepts the stored refresh token",
        "RALLY_CRED_TRY=rally-cred login --force",
    ] {
        assert!(told.lines().any(|found| found == line), "{line} is not in {told}");
    }
    assert_eq!(desktop.calls(), []);
}

#[test]
fn without_a_notification_service_only_the_debug_log_knows() {
    let bus = KeyringSession::start_without_keyring();
    for bus in [Some(&bus), None] {
        let (_sandbox, world, mut daemon) = world_on(bus, "");
        lose(&world);
        while !world.log().contains("no notification is shown") {
            miss(&world);
        }
        let line =
            world.log().lines().find(|line| line.contains("no notification is shown")).unwrap().to_owned();
        assert!(line.contains("DEBUG") && line.contains("profile=\"default\""), "{line}");
        daemon.stop();
    }
}
