//! The vault on the real keyring: what it keeps, and every way in which the keyring fails it.
//! Does not: test the broker's reaction (`trouble` does).
//! Met by: `main`.

use std::process::Command;

use rally_cred_proto::Secret;
use rally_cred_tests::keyring::KeyringSession;
use rally_credd::{
    core::{
        profile::Keyring,
        vault::{ItemKey, ItemKind, VaultTrouble},
    },
    vault::Vault,
};

/// Names the scenario that a copy of this program plays, in an environment of its own.
const SCENARIO: &str = "RALLY_CRED_VAULT_SCENARIO";

fn key() -> ItemKey {
    ItemKey { kind: ItemKind::Token, profile: "default".to_owned() }
}

fn text(text: &str) -> Secret {
    Secret::parse(text.to_owned()).unwrap()
}

/// Runs an action of [`a_copy_of_this_program_plays_its_part`] as a process that finds this keyring, and returns what
/// it printed. The keyring is found by a variable, and a variable belongs to a whole process.
fn play(session: &KeyringSession, action: &str) -> String {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "vault::a_copy_of_this_program_plays_its_part", "--nocapture"])
        .env(SCENARIO, action)
        .envs(session.env())
        .output()
        .unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    printed
        .lines()
        .filter_map(|line| line.split_once("vault: ").map(|(_, said)| said.to_owned()))
        .collect::<Vec<_>>()
        .join(", ")
}

#[tokio::test]
async fn a_copy_of_this_program_plays_its_part() {
    let Ok(scenario) = std::env::var(SCENARIO) else { return };
    let vault = Vault::open(Keyring::Os);
    for action in scenario.split(' ') {
        let outcome = match action.split_once('=').unwrap_or((action, "")) {
            ("save", value) => vault.save(&key(), text(value)).await.map(|()| "saved".to_owned()),
            ("erase", _) => vault.erase(&key()).await.map(|()| "erased".to_owned()),
            ("wait", path) => {
                // The other process removes the file when it has done its part.
                std::fs::write(path, "").unwrap();
                println!("vault: waits");
                while std::path::Path::new(path).exists() {
                    tokio::task::yield_now().await;
                }
                Ok("goes on".to_owned())
            }
            _ => vault
                .load(&key())
                .await
                .map(|text| text.map_or("nothing".to_owned(), |text| text.expose().to_owned())),
        };
        match outcome {
            Ok(said) => println!("vault: {said}"),
            Err(VaultTrouble::Missing(_)) => println!("vault: missing"),
            Err(VaultTrouble::Locked(_)) => println!("vault: locked"),
            Err(VaultTrouble::Failed(why)) => println!("vault: failed ({why})"),
        }
    }
}

#[test]
fn what_is_saved_outlives_the_process_until_it_is_erased() {
    let session = KeyringSession::start();
    let long = "x".repeat(4096);
    assert_eq!(play(&session, &format!("load save=one save={long}")), "nothing, saved, saved");
    assert_eq!(play(&session, "load erase load erase"), format!("{long}, erased, nothing, erased"));
}

#[test]
fn without_a_bus_or_without_a_keyring_the_vault_is_missing() {
    let mut session = KeyringSession::start_without_keyring();
    assert_eq!(play(&session, "load save=one"), "missing, missing");
    session.restart_keyring(true);
    assert_eq!(play(&session, "load save=one"), "nothing, saved");
}

#[test]
fn a_locked_keyring_says_so_and_has_lost_nothing() {
    let mut session = KeyringSession::start();
    assert_eq!(play(&session, "save=kept"), "saved");
    session.lock();
    assert_eq!(play(&session, "load save=other"), "locked, locked");
    session.restart_keyring(true);
    assert_eq!(play(&session, "load"), "kept");
}

#[test]
fn a_keyring_that_is_restarted_under_a_running_daemon_heals_by_itself() {
    let mut session = KeyringSession::start();
    let folder = tempfile::tempdir().unwrap();
    let [killed, restarted] = ["killed", "restarted"].map(|name| folder.path().join(name));
    let scenario = format!("save=kept load wait={} load wait={} load", killed.display(), restarted.display());
    std::thread::scope(|scope| {
        let player = scope.spawn({
            let (session, scenario) = (session.env(), scenario.clone());
            move || {
                let output = Command::new(std::env::current_exe().unwrap())
                    .args(["--exact", "vault::a_copy_of_this_program_plays_its_part", "--nocapture"])
                    .env(SCENARIO, scenario)
                    .envs(session)
                    .output()
                    .unwrap();
                String::from_utf8(output.stdout).unwrap()
            }
        });
        while !killed.exists() {}
        session.kill_keyring();
        std::fs::remove_file(&killed).unwrap();
        while !restarted.exists() {}
        session.restart_keyring(true);
        std::fs::remove_file(&restarted).unwrap();
        let printed = player.join().unwrap();
        let said: Vec<_> =
            printed.lines().filter_map(|line| line.split_once("vault: ").map(|(_, said)| said)).collect();
        assert_eq!(
            said,
            ["saved", "kept", "waits", "goes on", "missing", "waits", "goes on", "kept"],
            "{printed}"
        );
    });
}

#[test]
fn two_items_that_match_are_read_and_the_next_save_leaves_one() {
    let session = KeyringSession::start();
    assert_eq!(play(&session, "save=first"), "saved");
    // Another label and one more attribute make a second item of the same names.
    let mut store = Command::new("secret-tool");
    store.args(["store", "--label=other", "service", "rally-cred", "username", "token:default", "more", "x"]);
    let mut store = store.envs(session.env()).stdin(std::process::Stdio::piped()).spawn().unwrap();
    std::io::Write::write_all(store.stdin.as_mut().unwrap(), b"second").unwrap();
    assert!(store.wait().unwrap().success());
    let found = play(&session, "load");
    assert!(found == "first" || found == "second", "{found}");
    assert_eq!(play(&session, "save=third load"), "saved, third");
    assert_eq!(play(&session, "erase load"), "erased, nothing");
}
