//! `rally-cred setup --remove` on a machine that had some of it before: it takes away what setup made, and no more.
//! Does not: look at the way there and back on a machine without anything (`setup` does).
//! Used by: `main`.

use std::{fs, os::unix::fs::symlink};

use crate::setup::{asked_of_systemd, flags, newcomer, set_up, setup};

#[test]
fn remove_leaves_what_was_there_before_setup() {
    let (sandbox, world, _keyring) = newcomer();
    // By hand, as README.md and `doctor` say, and in a file that lies elsewhere.
    let key = format!("credential.{}.helper", sandbox.base_url());
    world.run("git", &["config", "--global", &key, "rally"], "").succeeded();
    world.configure("");
    let (path, elsewhere) = (world.path("config/rally-cred/config.toml"), world.path("dotfiles.toml"));
    fs::rename(&path, &elsewhere).unwrap();
    symlink(&elsewhere, &path).unwrap();
    let made = set_up(&world, &sandbox);
    assert!(!made.stdout.contains("run git"), "{made:?}");

    let gone = world.client(&["setup", "--remove"], "").succeeded();
    assert_eq!(world.run("git", &["config", "--global", &key], "").stdout, "rally\n", "{gone:?}");
    assert!(fs::symlink_metadata(&path).is_ok_and(|found| found.is_symlink()), "{gone:?}");
    assert_eq!(fs::read_to_string(&elsewhere).unwrap(), "");
    assert!(!world.path("config/systemd/user/rally-cred.socket").exists());
}

#[test]
fn units_that_a_package_brought_are_enabled_and_disabled_again() {
    let (sandbox, world, _keyring) = newcomer();
    fs::write(world.path("packaged"), "").unwrap();
    set_up(&world, &sandbox);
    assert_eq!(asked_of_systemd(&world), ["enable --now rally-cred.socket"]);
    assert!(!world.path("config/systemd").exists());
    world.client(&["setup", "--remove"], "").succeeded();
    assert_eq!(asked_of_systemd(&world)[1..], ["disable --now rally-cred.socket rally-cred.service"]);
}

#[test]
fn ports_of_gateways_are_opened_by_the_service_manager_and_closed_again() {
    let (sandbox, world, _keyring) = newcomer();
    world.configure("[gateway.mcp]\nport = 20500\n[gateway.other]\n");
    set_up(&world, &sandbox);
    let unit = "rally-cred-gateway@20500.socket";
    assert_eq!(
        asked_of_systemd(&world),
        ["daemon-reload", &format!("enable --now rally-cred.socket {unit}")]
    );
    let units = world.path("config/systemd/user");
    let text = fs::read_to_string(units.join("rally-cred-gateway@.socket")).unwrap();
    assert!(text.contains("ListenStream=127.0.0.1:%i"), "{text}");

    // As the service manager would have enabled it.
    fs::create_dir(units.join("sockets.target.wants")).unwrap();
    symlink("../rally-cred-gateway@.socket", units.join("sockets.target.wants").join(unit)).unwrap();
    world.client(&["setup", "--remove"], "").succeeded();
    let undone = format!("disable --now rally-cred.socket rally-cred.service {unit}");
    assert_eq!(asked_of_systemd(&world)[2..], [&undone, "daemon-reload"]);
}

#[test]
fn where_nothing_is_to_be_removed_the_daemon_runs_on() {
    let (_sandbox, world, _keyring) = newcomer();
    let _daemon = world.start_daemon();
    let nothing = world.client(&["setup", "--remove"], "");
    assert_eq!((nothing.code, nothing.stdout.as_str()), (Some(0), "nothing to change\n"));
    assert!(world.client(&["daemon", "start"], "").stdout.contains("runs already"));
}

#[test]
fn a_comment_of_the_users_outlives_the_file_that_setup_made() {
    let (sandbox, world, _keyring) = newcomer();
    set_up(&world, &sandbox);
    let path = world.path("config/rally-cred/config.toml");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, format!("# ask Dana before you change it\n\n{text}")).unwrap();
    world.client(&["setup", "--remove"], "").succeeded();
    assert_eq!(fs::read_to_string(&path).unwrap(), "# ask Dana before you change it\n\n");
}

#[test]
fn the_setting_of_git_goes_with_the_last_profile_of_its_server() {
    let (sandbox, world, _keyring) = newcomer();
    let secret = sandbox.options().client_secret;
    for (profile, units) in [("home", "no"), ("work", "yes")] {
        let mut flags = flags(&sandbox);
        flags.truncate(6);
        let more = [profile, "--git", "yes", "--units", units, "--client-secret-stdin"];
        setup(&world, &flags, &more, &secret).succeeded();
    }
    let key = format!("credential.{}.helper", sandbox.base_url());
    let helper = || world.run("git", &["config", "--global", &key], "").stdout;
    world.client(&["setup", "home", "--remove"], "").succeeded();
    assert_eq!((helper().as_str(), asked_of_systemd(&world).len()), ("rally\n", 2));
    world.client(&["setup", "work", "--remove"], "").succeeded();
    assert_eq!((helper().as_str(), asked_of_systemd(&world).len()), ("", 4));
}
