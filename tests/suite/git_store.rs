//! git's own `store`, which keeps what it is told in plain text: that it is told nothing, and what it was told before.
//! Does not: try what git asks of rally-cred (`git` does).
//! Used by: `main`.

use std::fs;

use rally_cred_tests::{sandbox::Sandbox, world::World};
use serde_json::Value;

use crate::doctor::healthy;
use crate::setup::{flags, newcomer, set_up, setup};
use crate::sign_in::{question, signed_in, value};

fn git(world: &World, arguments: &[&str]) -> String {
    world.run("git", arguments, "").succeeded().stdout
}

fn key(sandbox: &Sandbox) -> String {
    format!("credential.{}.helper", sandbox.base_url())
}

/// What git does around a clone: it asks for a password, and approves of it once the server has taken it.
fn clone(world: &World, sandbox: &Sandbox) -> String {
    let filled = world.run("git", &["credential", "fill"], question(sandbox)).succeeded();
    world.run("git", &["credential", "approve"], &filled.stdout).succeeded();
    value(&filled.stdout, "password").unwrap().to_owned()
}

/// The files outside the daemon's reach that hold this text.
fn files_with(world: &World, text: &str) -> Vec<String> {
    let holds = |bytes: &[u8]| bytes.windows(text.len()).any(|part| part == text.as_bytes());
    let found = world.files().into_iter().filter(|(_, bytes)| holds(bytes));
    found.map(|(path, _)| path.display().to_string()).collect()
}

fn checks(world: &World, check: &str) -> Vec<Value> {
    let json = world.client(&["doctor", "--json"], "").json();
    let all = json["checks"].as_array().unwrap().clone();
    all.into_iter().filter(|found| found["check"] == check).collect()
}

/// The remedies of a check, run as a person would run them, after which it passes.
fn mend(world: &World, check: &str) -> Vec<String> {
    let remedies: Vec<_> =
        checks(world, check).iter().map(|found| found["fault"]["try"].as_str().unwrap().to_owned()).collect();
    assert!(!remedies.is_empty());
    for remedy in &remedies {
        let ended = world.run("sh", &["-c", remedy], "");
        assert_eq!(ended.code, Some(0), "{remedy}: {ended:?}");
    }
    assert!(checks(world, check).iter().all(|found| found["verdict"] == "pass"), "{remedies:?}");
    remedies
}

#[test]
fn with_store_set_for_all_servers_a_clone_after_setup_leaves_no_token_in_plain_text() {
    let (sandbox, world, _keyring) = newcomer();
    git(&world, &["config", "--global", "credential.helper", "store"]);
    let before = fs::read_to_string(world.path(".gitconfig")).unwrap();
    set_up(&world, &sandbox);

    let token = clone(&world, &sandbox);
    assert_eq!(files_with(&world, &token), [""; 0]);
    assert!(!world.path(".git-credentials").exists());
    // Other servers are none of our business.
    let other = "protocol=https\nhost=example.com\nusername=me\npassword=the-other\n\n";
    world.run("git", &["credential", "approve"], other).succeeded();
    let stored = fs::read_to_string(world.path(".git-credentials")).unwrap();
    assert_eq!(stored, "https://me:the-other@example.com\n");

    let again = setup(&world, &flags(&sandbox), &[], "");
    assert!(again.stdout.starts_with("nothing to change\n"), "{again:?}");
    world.client(&["setup", "--remove"], "").succeeded();
    assert_eq!(fs::read_to_string(world.path(".gitconfig")).unwrap(), before);
}

#[test]
fn setup_makes_good_what_an_earlier_one_left_open_and_takes_only_its_own_away() {
    let (sandbox, world, _keyring) = newcomer();
    let key = key(&sandbox);
    // Of the user: a helper of their own behind an empty one, ours by hand, and one for everything.
    for helper in ["", "store", "rally"] {
        git(&world, &["config", "--global", "--add", &key, helper]);
    }
    git(&world, &["config", "--global", "credential.helper", "store --file ~/elsewhere"]);
    let own = || git(&world, &["config", "--global", "--get-all", &key]);
    set_up(&world, &sandbox);
    let token = clone(&world, &sandbox);
    assert_eq!(files_with(&world, &token), [""; 0]);
    let again = setup(&world, &flags(&sandbox), &[], "");
    assert!(again.stdout.starts_with("nothing to change\n"), "{again:?}");
    world.client(&["setup", "--remove"], "").succeeded();
    assert_eq!(own(), "\nstore\nrally\n");
}

#[test]
fn what_the_documents_say_by_hand_keeps_the_token_from_store_too() {
    let (sandbox, world, _daemon) = signed_in();
    git(&world, &["config", "--global", "credential.helper", "store"]);
    let page = include_str!("../../INTEGRATIONS.md");
    let commands =
        page.lines().filter(|line| line.starts_with("git config --global --add credential.https://rally1"));
    let commands: Vec<_> =
        commands.map(|line| line.replace("https://rally1.rallydev.com", sandbox.base_url())).collect();
    assert_eq!(commands.len(), 2);
    assert_eq!(world.run("sh", &["-ec", &commands.join("\n")], "").code, Some(0), "{commands:?}");
    let token = clone(&world, &sandbox);
    assert_eq!(files_with(&world, &token), [""; 0]);
}

#[test]
fn doctor_finds_the_helpers_beside_ours_and_its_remedy_leaves_ours_alone() {
    let (sandbox, world, _keyring) = healthy();
    let key = key(&sandbox);
    let wildcard = key.replace("127.", "*.");
    for (others, name) in [
        ([("credential.helper", "store")].as_slice(), "store"),
        (&[("credential.helper", "cache --timeout 60")], "cache"),
        (&[("credential.helper", "!f() { echo password=canary; }; f")], "command"),
        (&[(&key, "/usr/lib/git-core/git-credential-store --file /nowhere/x")], "git-credential-store"),
        (&[("credential.helper", "store"), (&key, "rally")], "store"),
        (&[(&wildcard, "store")], "store"),
    ] {
        fs::write(world.path(".gitconfig"), "").unwrap();
        git(&world, &["config", "--global", "--add", &key, "rally"]);
        for (key, helper) in others {
            git(&world, &["config", "--global", "--add", key, helper]);
        }
        let found = checks(&world, "git");
        assert_eq!(found.len(), 1);
        let fault = &found[0]["fault"];
        assert!(fault["why"].as_str().is_some_and(|why| why.contains(name)), "{others:?}: {found:?}");
        assert!(!format!("{found:?}").contains("canary"));
        mend(&world, "git");
        let token = clone(&world, &sandbox);
        assert_eq!(files_with(&world, &token), [""; 0], "{others:?}");
    }
    // Before any of ours is set, the command for whoever wants it is a whole one.
    fs::write(world.path(".gitconfig"), "[credential]\n\thelper = store\n").unwrap();
    let missing = checks(&world, "git");
    let (_, command) = missing[0]["note"].as_str().unwrap().split_once("if it should: ").unwrap();
    assert_eq!(world.run("sh", &["-c", command], "").code, Some(0), "{command}");
    let token = clone(&world, &sandbox);
    assert_eq!(files_with(&world, &token), [""; 0]);
}

#[test]
fn doctor_names_each_file_with_a_token_in_plain_text_and_its_remedy_takes_just_that_line() {
    let (sandbox, mut world, _keyring) = healthy();
    world.set("XDG_CONFIG_HOME", world.path("config").display());
    let odd = world.path("it's mine");
    let odd_store = format!("store --file \"{}\"", odd.display());
    for (server, store) in
        [("https://example.com", odd_store.as_str()), ("https://a.example", "store --file ~/tilde")]
    {
        git(&world, &["config", "--global", "--add", &format!("credential.{server}.helper"), store]);
    }
    let host = sandbox.base_url().split_once("://").unwrap().1.to_owned();
    let files =
        [world.path(".git-credentials"), world.path("config/git/credentials"), odd, world.path("tilde")];
    for file in &files {
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        let text =
            format!("https://me:pw@example.com\nhttp://da%25na%40x:canary@{host}\nhttps://x:y@{host}\n");
        fs::write(file, text).unwrap();
    }
    let found = checks(&world, "git_store");
    assert!(!format!("{found:?}").contains("canary"), "{found:?}");
    for file in &files {
        let name = file.display().to_string();
        let names_it = |check: &Value| check["fault"]["what"].as_str().unwrap().contains(&name);
        assert!(found.iter().any(names_it), "{name}: {found:?}");
    }
    mend(&world, "git_store");
    for file in &files {
        let left = fs::read_to_string(file).unwrap();
        assert_eq!(left, format!("https://me:pw@example.com\nhttps://x:y@{host}\n"), "{}", file.display());
    }
}
