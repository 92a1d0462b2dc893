//! The variables that say where things are: empty, relative, or all that there is where no home folder is known.
//! Does not: try what each is for (the tests of each part do).
//! Used by: `main`.

use std::fs;

use rally_cred_tests::sandbox::Options;
use rally_cred_tests::world::World;

use crate::sign_in::{password, sign_in, with_browser, with_browser_at};

#[test]
fn a_relative_path_is_refused_with_the_same_words_by_client_and_daemon() {
    for name in ["RALLY_CRED_CONFIG", "RALLY_CRED_SOCKET", "RALLY_CRED_CLIENT_SECRET_FILE"] {
        let (_sandbox, mut world) = with_browser();
        world.set(name, "below/it's here");
        let whole = world.path("below/it's here").display().to_string().replace('\'', r"'\''");
        let words = format!("{name} is not an absolute path");
        let remedy = format!("try: export {name}='{whole}'");
        let always =
            "rally-credd,rally-credd --check-config,rally-cred get,rally-cred daemon start,rally-cred doctor";
        let mut lines: Vec<_> = always.split(',').collect();
        if name != "RALLY_CRED_CLIENT_SECRET_FILE" {
            lines.push("rally-cred setup --dry-run --client-id x");
        }
        if name == "RALLY_CRED_SOCKET" {
            // Whose config file is to be checked does not depend on it, nor does it on a set-up.
            lines.retain(|line| !line.contains("check-config") && !line.contains("setup"));
            lines.push("rally-cred status");
        }
        for line in lines {
            let arguments: Vec<_> = line.split(' ').skip(1).collect();
            let ended = world.run(line.split(' ').next().unwrap(), &arguments, "");
            assert_ne!(ended.code, Some(0), "{name}, {line}: {ended:?}");
            let said = ended.said();
            assert!(said.contains(&words) && said.contains(&remedy), "{name}, {line}: {said}");
        }
        assert!(!world.path("below").exists());
    }
}

/// A user without a home folder: none in the variables, and none in the system's list.
fn homeless(world: &World) -> bool {
    let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let is_unknown = !passwd.lines().any(|line| line.split(':').nth(2) == Some("54321"));
    let may_change = world.run("setpriv", &["--reuid=54321", "--clear-groups", "true"], "").code == Some(0);
    is_unknown && may_change
}

#[test]
fn without_a_home_folder_the_variables_are_enough() {
    let (_sandbox, mut world) = with_browser();
    if !homeless(&world) {
        println!("passed over: this user cannot become one without a home folder");
        return;
    }
    world.give_to("54321");
    world.set("RALLY_CRED_CONFIG", world.path("config/rally-cred/config.toml").display());
    for (kept, dropped) in [
        ("RALLY_CRED_SOCKET, RALLY_CRED_CONFIG", "XDG_RUNTIME_DIR -u XDG_CONFIG_HOME"),
        ("XDG_RUNTIME_DIR, XDG_CONFIG_HOME", "RALLY_CRED_CONFIG -u RALLY_CRED_SOCKET"),
    ] {
        world.set("RALLY_CRED_SOCKET", world.socket().display());
        let run = |line: &str| {
            let line = format!("--reuid=54321 --clear-groups env -u HOME -u {dropped} {line}");
            world.run("setpriv", &line.split(' ').collect::<Vec<_>>(), "")
        };
        let path = run("rally-cred config path");
        assert!(path.stdout.ends_with("rally-cred/config.toml\n"), "{kept}: {path:?}");
        let checked = run("rally-cred config check");
        assert_eq!(checked.code, Some(0), "{kept}: {checked:?}");
        let started = run("rally-cred daemon start");
        assert!(started.stdout.starts_with("the daemon started"), "{kept}: {started:?}");
        let doctor = run("rally-cred doctor");
        let (has_daemon, wants_home) = ("ok    daemon", "home folder");
        assert!(
            doctor.stdout.contains(has_daemon) && !doctor.stdout.contains(wants_home),
            "{kept}: {doctor:?}"
        );
        let dry = run("rally-cred setup --dry-run");
        assert_eq!(dry.code, Some(0), "{kept}: {dry:?}");
        run("rally-cred daemon stop").succeeded();
    }
}

#[test]
fn an_empty_variable_counts_as_unset_for_the_daemon_and_all_that_it_uses() {
    let (sandbox, mut world) = with_browser_at(|options: &mut Options| options.tls = true);
    world.trust(&sandbox);
    let names = "RALLY_CRED_LOG RALLY_CRED_CONFIG RALLY_CRED_SOCKET RALLY_CRED_PROFILE RALLY_CRED_CLIENT_SECRET_FILE \
                 SSL_CERT_FILE SSL_CERT_DIR HTTPS_PROXY https_proxy ALL_PROXY NO_PROXY JOURNAL_STREAM NOTIFY_SOCKET";
    for name in names.split(' ') {
        world.set(name, "");
    }
    let _daemon = world.start_daemon();
    sign_in(&world, &sandbox);
    assert!(password(&world, &sandbox).is_some());
    assert_eq!(world.client(&["doctor", "--no-autostart"], "").stdout.matches("FAIL  tls").count(), 0);
}
