//! `rally-cred keyring migrate`, and `unlock` of encrypted files, between a real keyring and encrypted files.
//! Does not: test the places (`vault` and `places` do).
//! Used by: `main`.

use std::{fs, io::Write, os::unix::net::UnixStream};

use rally_cred_tests::{
    keyring::KeyringSession,
    sandbox::Sandbox,
    world::{Running, World},
};

use crate::sign_in::{sign_in, world_with_keyring};

/// A user who is signed in, and whose config file names a key for encrypted files. Fields are dropped in this order.
struct Scene {
    daemon: Running,
    world: World,
    keyring: KeyringSession,
    sandbox: Sandbox,
}

impl Scene {
    fn new(top_of_config: &str) -> Self {
        let (sandbox, world, keyring) = world_with_keyring();
        let config = world.path("config/rally-cred/config.toml");
        let text = fs::read_to_string(&config).unwrap();
        fs::write(world.path("the-key"), [7; 32]).unwrap();
        let key = world.path("the-key").display().to_string();
        world.configure(&format!("# mine\n{top_of_config}keyring_key = \"{key}\"\n{text}"));
        let daemon = world.start_daemon();
        let mut scene = Self { daemon, world, keyring, sandbox };
        sign_in(&scene.world, &scene.sandbox);
        scene.restart();
        scene
    }

    fn restart(&mut self) {
        self.daemon.kill();
        self.daemon = self.world.start_daemon();
    }

    fn migrate(&self, arguments: &[&str]) -> String {
        self.world.client(&[&["keyring", "migrate"], arguments].concat(), "").succeeded().stdout
    }

    fn config(&self) -> String {
        fs::read_to_string(self.world.path("config/rally-cred/config.toml")).unwrap()
    }

    /// What the OS keyring has of ours.
    fn in_keyring(&self) -> Vec<String> {
        let found = self.world.run("secret-tool", &["search", "--all", "service", "rally-cred"], "").said();
        let names = found.lines().filter_map(|line| line.strip_prefix("attribute.username = "));
        let mut names: Vec<_> = names.map(str::to_owned).collect();
        names.sort();
        names
    }

    /// A daemon that starts now serves the token without anybody's help.
    fn expect_served(&mut self) {
        self.restart();
        let got = self.world.client(&["get", "--format", "token", "--interactive", "never"], "").succeeded();
        assert!(!got.stdout.trim_end().is_empty());
    }
}

const BOTH: [&str; 2] = ["client-secret:default", "token:default"];

#[test]
fn tokens_move_to_encrypted_files_and_back_and_the_config_file_says_so() {
    let mut scene = Scene::new("");
    assert_eq!(scene.in_keyring(), BOTH);
    let before = scene.config();
    assert_eq!(
        scene.migrate(&["--to", "file", "--dry-run"]),
        "client-secret:default: would be copied\ntoken:default: would be copied\n\
         2 items would be moved from auto to file\n"
    );
    assert_eq!((scene.in_keyring().len(), scene.config()), (2, before.clone()));
    let told = scene.migrate(&["--to", "file"]);
    assert!(
        told.starts_with(
            "client-secret:default: copied, and read back\ntoken:default: copied, and read back\n"
        )
    );
    assert!(told.ends_with(
        "client-secret:default: deleted from the old place\ntoken:default: deleted from the old place\n"
    ));
    assert!(scene.in_keyring().is_empty());
    assert!(scene.config().contains("keyring = \"file\"") && scene.config().contains("# mine"));
    scene.expect_served();
    assert_eq!(scene.world.status()["vault"]["kind"], "file");
    scene.migrate(&["--to", "os"]);
    assert_eq!(scene.in_keyring(), BOTH);
    scene.expect_served();
}

#[test]
fn a_migration_that_was_interrupted_loses_nothing_and_is_run_again() {
    let mut scene = Scene::new("keyring = \"os\"\n");
    // The daemon dies in the midst of the copies, which wait for a keyring that is silent.
    scene.keyring.pause_keyring();
    let mut client = UnixStream::connect(scene.world.path("run/rally-cred/agent.sock")).unwrap();
    client.write_all(b"{\"v\":1,\"op\":\"move_items\",\"to\":\"file\",\"step\":\"copy\"}\n").unwrap();
    scene.daemon.kill();
    scene.keyring.resume_keyring();
    assert!(!scene.config().contains("\"file\""));
    scene.expect_served();
    // It ended after the change of the config file, before anything was deleted.
    scene.migrate(&["--to", "file"]);
    scene.migrate(&["--to", "os"]);
    scene.world.client(&["keyring", "migrate", "--from", "os", "--to", "file", "--dry-run"], "").succeeded();
    scene.world.configure(&scene.config().replace("keyring = \"os\"", "keyring = \"file\""));
    scene.world.client(&["daemon", "reload"], "").succeeded();
    assert_eq!(scene.in_keyring(), BOTH);
    scene.migrate(&["--from", "os", "--to", "file"]);
    assert!(scene.in_keyring().is_empty());
    scene.expect_served();
    let again = scene.world.client(&["keyring", "migrate", "--to", "file"], "");
    assert!(again.stderr.contains("tokens are kept there already"), "{again:?}");
}

#[test]
fn where_the_new_place_cannot_be_used_nothing_is_changed() {
    let scene = Scene::new("");
    let before = scene.config();
    fs::write(scene.world.path("the-key"), "short").unwrap();
    let failed = scene.world.client(&["keyring", "migrate", "--to", "file"], "");
    assert_eq!(failed.code, Some(7), "{failed:?}");
    assert!(failed.stderr.contains("it has fewer than 32 bytes"), "{failed:?}");
    for (place, told) in [("memory", "no such place"), ("nowhere", "no such place"), ("os", "there already")]
    {
        let refused = scene.world.client(&["keyring", "migrate", "--to", place], "");
        assert!(refused.code != Some(0) && refused.stderr.contains(told), "{place}: {refused:?}");
    }
    assert_eq!((scene.in_keyring(), scene.config()), (BOTH.map(str::to_owned).into(), before));
}

#[test]
fn a_passphrase_opens_the_encrypted_files_until_the_daemon_ends() {
    let (sandbox, world, _keyring) = world_with_keyring();
    let text = fs::read_to_string(world.path("config/rally-cred/config.toml")).unwrap();
    world.configure(&format!("keyring = \"file\"\n{text}"));
    let mut daemon = world.start_daemon();
    let locked = world.client(&["get", "--format", "token", "--interactive", "never"], "");
    assert_eq!((locked.code, locked.remedy().as_str()), (Some(7), "rally-cred unlock"), "{locked:?}");
    let unlock = |passphrase: &str| world.client(&["unlock"], passphrase);
    assert_eq!(
        unlock("right\n").succeeded().stdout,
        "the encrypted files are made, and open until the daemon ends\nunlocked\n"
    );
    sign_in(&world, &sandbox);
    daemon.kill();
    let _daemon = world.start_daemon();
    let wrong = unlock("wrong");
    assert!(wrong.code == Some(7) && wrong.stderr.contains("not the passphrase"), "{wrong:?}");
    assert_eq!(
        unlock("right").succeeded().stdout,
        "the encrypted files are open until the daemon ends\nunlocked\n"
    );
    world.client(&["get", "--format", "token", "--interactive", "never"], "").succeeded();
    assert_eq!(unlock("").succeeded().stdout, "unlocked\n", "nothing is asked that is known");
    // A lock is of memory; the key of the files is kept.
    world.client(&["lock"], "").succeeded();
    assert_eq!(unlock("").succeeded().stdout, "unlocked\n");
    world.client(&["get", "--format", "token", "--interactive", "never"], "").succeeded();
}
