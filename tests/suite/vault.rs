//! The vault on the real keyring: what it keeps, and every way in which the keyring fails it.
//! Does not: test the broker's reaction (`trouble` does).
//! Used by: `main`.

use std::process::{Command, Stdio};

use rally_cred_core::profile::{FileKey, Keyring};
use rally_cred_core::vault::{ItemKey, ItemKind, VaultTrouble};
use rally_cred_proto::Secret;
use rally_cred_tests::keyring::KeyringSession;
use rally_credd::vault::Places;

/// Names the scenario that a copy of this program plays, in an environment of its own.
const SCENARIO: &str = "RALLY_CRED_VAULT_SCENARIO";

/// The file whose bytes open the encrypted files.
pub(crate) const KEY: &str = "RALLY_CRED_VAULT_KEY";

/// The place that it uses, as in the config file; the OS keyring if not set.
pub(crate) const PLACE: &str = "RALLY_CRED_VAULT_PLACE";

fn key() -> ItemKey {
    ItemKey { kind: ItemKind::Token, name: "default".to_owned() }
}

fn text(text: &str) -> Secret {
    Secret::parse(text.to_owned()).unwrap()
}

/// Runs an action of [`a_copy_of_this_program_plays_its_part`] as a process that finds this keyring, and returns what
/// it printed. The keyring is found by a variable, and a variable belongs to a whole process.
fn play(session: &KeyringSession, action: &str) -> String {
    play_in(session.env(), action)
}

pub(crate) fn play_in(env: Vec<(String, String)>, action: &str) -> String {
    let output = player(env, action).output().unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    let said: Vec<_> = printed.lines().filter_map(|line| Some(line.split_once("vault: ")?.1)).collect();
    said.join(", ")
}

/// The process that plays it.
pub(crate) fn player(env: Vec<(String, String)>, action: &str) -> Command {
    let mut player = Command::new(std::env::current_exe().unwrap());
    player.args(["--exact", "vault::a_copy_of_this_program_plays_its_part", "--nocapture"]);
    player.env(SCENARIO, action).envs(env);
    player
}

#[tokio::test]
async fn a_copy_of_this_program_plays_its_part() {
    let Ok(scenario) = std::env::var(SCENARIO) else { return };
    let file_key = std::env::var(KEY).map_or(FileKey::Passphrase, |file| FileKey::File(file.into()));
    let place = std::env::var(PLACE).map_or(Keyring::Os, |place| Keyring::parse(&place, &file_key).unwrap());
    let mut places = Places::new(&place);
    let vault = places.open(&place);
    let mut key = key();
    for action in scenario.split(' ') {
        let outcome = match action.split_once('=').unwrap_or((action, "")) {
            ("name", name) => {
                name.clone_into(&mut key.name);
                continue;
            }
            ("save", value) => vault.save(&key, text(value)).await.map(|()| "saved".to_owned()),
            (unlock @ ("unlock" | "new"), passphrase) => places
                .files()
                .unlock(text(passphrase), unlock == "new")
                .await
                .map(|()| "open".to_owned())
                .map_err(|fault| VaultTrouble::Failed(fault.what)),
            ("list", _) => vault.accounts().await.map(|accounts| accounts.join("+")),
            ("erase", _) => vault.erase(&key).await.map(|()| "erased".to_owned()),
            ("wait", path) => {
                // The other process removes the file when it has done its part.
                std::fs::write(path, "").unwrap();
                println!("vault: waits");
                while std::path::Path::new(path).exists() {
                    tokio::task::yield_now().await;
                }
                Ok("goes on".to_owned())
            }
            ("until", path) => {
                // When the file is there, nothing but the deadline can end the call, and the clock jumps to it.
                let jump = async {
                    while !std::path::Path::new(path).exists() {
                        tokio::task::yield_now().await;
                    }
                    tokio::time::pause();
                };
                let started = std::time::Instant::now();
                let (loaded, ()) = tokio::join!(vault.load(&key), jump);
                tokio::time::resume();
                assert!(started.elapsed().as_secs() < 15, "it was not the clock's jump");
                loaded.map(|_| "loaded".to_owned())
            }
            _ => vault
                .load(&key)
                .await
                .map(|text| text.map_or("nothing".to_owned(), |text| text.expose().to_owned())),
        };
        match outcome {
            Ok(said) => println!("vault: {said}"),
            Err(VaultTrouble::Missing(_) | VaultTrouble::NoKeyring { .. }) => println!("vault: missing"),
            Err(VaultTrouble::NoCollection) => println!("vault: no collection"),
            Err(VaultTrouble::Locked(_)) => println!("vault: locked"),
            Err(VaultTrouble::NeedsPassphrase) => println!("vault: needs its passphrase"),
            Err(VaultTrouble::Damaged(why)) => println!("vault: damaged ({why})"),
            Err(VaultTrouble::OfLaterVersion(file)) => println!("vault: of a later version ({file})"),
            Err(VaultTrouble::Failed(why)) => println!("vault: failed ({why})"),
            Err(trouble @ VaultTrouble::Server(_)) => println!("vault: failed ({})", trouble.fault()),
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
        let env = session.env();
        let player = scope.spawn(move || play_in(env, &scenario));
        while !killed.exists() {}
        session.kill_keyring();
        std::fs::remove_file(&killed).unwrap();
        while !restarted.exists() {}
        session.restart_keyring(true);
        std::fs::remove_file(&restarted).unwrap();
        let said = "saved, kept, waits, goes on, missing, waits, goes on, kept";
        assert_eq!(player.join().unwrap(), said);
    });
}

/// Puts an item into the keyring that a search for ours finds too: it has one attribute more.
fn store_twin(session: &KeyringSession, value: &str, mark: &str) {
    let mut tool = Command::new("secret-tool");
    tool.args(["store", "--label=twin", "service", "rally-cred", "username", "token:default", "mark", mark]);
    let mut tool = tool.envs(session.env()).stdin(Stdio::piped()).spawn().unwrap();
    std::io::Write::write_all(tool.stdin.as_mut().unwrap(), value.as_bytes()).unwrap();
    assert!(tool.wait().unwrap().success());
}

/// How many items a search for ours finds.
fn items(session: &KeyringSession) -> usize {
    let mut tool = Command::new("secret-tool");
    tool.args(["search", "--all", "service", "rally-cred", "username", "token:default"]);
    let found = tool.envs(session.env()).output().unwrap();
    String::from_utf8(found.stdout).unwrap().lines().filter(|line| line.starts_with("label = ")).count()
}

#[test]
fn of_several_items_that_match_ours_is_read_and_written_and_the_others_stay() {
    let session = KeyringSession::start();
    store_twin(&session, "another program's", "1");
    assert_eq!(play(&session, "load"), "another program's", "there is nothing else");
    // Whatever order the keyring has them in.
    for mark in ["2", "3", "4"] {
        store_twin(&session, "another program's", mark);
    }
    assert_eq!(play(&session, "erase save=ours load"), "erased, saved, ours");
    for mark in ["5", "6", "7"] {
        store_twin(&session, "another program's", mark);
        assert_eq!(play(&session, "load save=ours load"), "ours, saved, ours");
    }
    assert_eq!(items(&session), 4);
    assert_eq!(play(&session, "erase load"), "erased, nothing", "what is forgotten does not come back");
}

#[test]
fn an_item_that_is_no_text_of_ours_is_told_and_left_alone() {
    let session = KeyringSession::start();
    store_twin(&session, "two\nlines", "1");
    let told = "damaged (the item token:default is not what rally-cred wrote; it is left as it is)";
    assert_eq!(play(&session, "load"), told);
    assert_eq!(items(&session), 1);
}

#[test]
fn a_keyring_without_a_collection_says_so_until_it_is_unlocked_once() {
    let mut session = KeyringSession::start_without_keyring();
    session.restart_keyring(false);
    assert_eq!(play(&session, "load save=one"), "no collection, no collection");
    session.restart_keyring(true);
    assert_eq!(play(&session, "save=one load"), "saved, one");
}

#[test]
fn a_prompt_that_nobody_answers_ends_at_the_deadline() {
    let mut session = KeyringSession::start();
    assert_eq!(play(&session, "save=kept"), "saved");
    session.start_silent_prompter();
    session.lock();
    let folder = tempfile::tempdir().unwrap();
    let is_prompting = folder.path().join("prompting");
    std::thread::scope(|scope| {
        let (env, action) = (session.env(), format!("until={}", is_prompting.display()));
        let player = scope.spawn(move || play_in(env, &action));
        session.wait_for_prompt();
        std::fs::write(&is_prompting, "").unwrap();
        assert_eq!(player.join().unwrap(), "locked");
    });
    session.restart_keyring(true);
    assert_eq!(play(&session, "load"), "kept");
}
