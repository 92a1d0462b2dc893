//! What the daemon's memory holds of secrets: one copy of what it needs, and none of what it has given up.
//! Does not: look into the client, which ends with its request.
//! Used by: `main`.

use std::{fs, fs::File, os::unix::fs::FileExt};

use memchr::memmem;
use rally_cred_tests::keyring::KeyringSession;
use rally_cred_tests::sandbox::{Planted, Sandbox};
use rally_cred_tests::world::{self, Running, World};

use crate::sign_in::{password, question, value, with_browser_at};

const CLIENT_SECRET: &str = "canary-of-the-client-secret";
const PASSWORD: &str = "canary-of-a-password";

/// What a gateway's tool does: shows its key, asks Rally once, and waits for the end of its input.
const TOOL: &str = r#"echo "$RALLY_API_KEY"
curl --silent --output body --header "ZSESSIONID: $RALLY_API_KEY" "$SERVER/slm/webservice/v2.0/user"
echo asked
cat"#;

/// All memory of a process that it can write to. `None` where that may not be read: it takes root, or a system that lets
/// one process of a user look into another.
fn memory_of(daemon: &Running) -> Option<Vec<Vec<u8>>> {
    let process = format!("/proc/{}", daemon.0.id());
    let maps = fs::read_to_string(format!("{process}/maps")).ok()?;
    let memory = File::open(format!("{process}/mem")).ok()?;
    let areas = maps.lines().filter_map(|line| {
        let (range, rest) = line.split_once(' ')?;
        let (from, to) = range.split_once('-')?;
        let (from, to) = (u64::from_str_radix(from, 16).ok()?, u64::from_str_radix(to, 16).ok()?);
        let mut area = vec![0; usize::try_from(to - from).ok()?];
        (rest.starts_with("rw") && memory.read_exact_at(&mut area, from).is_ok()).then_some(area)
    });
    Some(areas.collect())
}

fn copies(memory: &[Vec<u8>], secret: &str) -> usize {
    memory.iter().map(|area| memmem::find_iter(area, secret).count()).sum()
}

/// What Rally gives in a round.
fn given(kind: &str, round: usize) -> String {
    format!("canary-of-{kind}-{round}-to-its-end")
}

fn plant(sandbox: &Sandbox, round: usize) {
    let of = |kind| Some(given(kind, round));
    let (code, access_token) = (of("code"), of("access"));
    sandbox.plant(Planted { code, access_token, refresh_token: of("refresh"), id_token: of("id") });
}

/// A user who also keeps static credentials, with a daemon into whose memory this program may look.
#[expect(clippy::print_stderr, reason = "whoever runs the test is to know what was not tried")]
fn transparent() -> Option<(Sandbox, World, KeyringSession, Running)> {
    let (sandbox, mut world) = with_browser_at(|options| options.client_secret = CLIENT_SECRET.to_owned());
    let profile = world::profile_for(&sandbox);
    world.configure(&format!("{profile}[static]\nhosts = [\"https://git.example.com\"]\n"));
    let keyring = world.with_keyring();
    let mut daemon = world.start_daemon();
    if memory_of(&daemon).is_none() {
        eprintln!("not tried: this user may not read another process's memory");
        daemon.stop();
        return None;
    }
    Some((sandbox, world, keyring, daemon))
}

/// Other threads, such as the keyring's, may not have put aside what they were given when a client has its answer.
fn wait_for(world: &World, is_put_aside: impl Fn() -> bool) {
    for _ in 0..100 {
        if is_put_aside() {
            return;
        }
        world.status();
    }
}

#[test]
fn a_secret_that_is_not_needed_any_more_is_nowhere_in_the_daemons_memory() {
    const ROUNDS: usize = 4;
    let Some((sandbox, world, _keyring, mut daemon)) = transparent() else { return };
    // What is held of a round, and nothing of those before.
    let check = |daemon: &Running, round: Option<usize>| {
        let counts = || {
            let memory = memory_of(daemon).unwrap();
            let of = |given_in| {
                ["code", "id", "access", "refresh"].map(|kind| copies(&memory, &given(kind, given_in)))
            };
            ((0..=ROUNDS).map(of).collect::<Vec<_>>(), copies(&memory, CLIENT_SECRET))
        };
        let held = |given_in| usize::from(Some(given_in) == round);
        let expected = (
            (0..=ROUNDS).map(|given_in| [0, 0, held(given_in), held(given_in)]).collect(),
            usize::from(round.is_some()),
        );
        wait_for(&world, || counts() == expected);
        assert_eq!(counts(), expected, "of {round:?}");
    };
    let is_nowhere = |daemon: &Running, secret: &str| {
        let count = || copies(&memory_of(daemon).unwrap(), secret);
        wait_for(&world, || count() == 0);
        assert_eq!(count(), 0);
    };
    let get = || password(&world, &sandbox);

    for round in 0..ROUNDS {
        plant(&sandbox, round);
        let stdin = if round == 0 { CLIENT_SECRET } else { "" };
        let flag = (round == 0).then_some("--client-secret-stdin");
        let login: Vec<_> = ["login", "--force"].into_iter().chain(flag).collect();
        world.client(&login, stdin).succeeded();
        assert_eq!(get(), Some(given("access", round)));
        check(&daemon, Some(round));
    }

    plant(&sandbox, ROUNDS);
    let refused = given("access", ROUNDS - 1);
    assert!(sandbox.revoke(&refused));
    let erase = question(&sandbox).replace("\n\n", &format!("\npassword={refused}\n\n"));
    world.client(&["erase"], erase).succeeded();
    assert_eq!(get(), Some(given("access", ROUNDS)), "it is renewed");
    check(&daemon, Some(ROUNDS));

    let server = "protocol=https\nhost=git.example.com\n";
    world.client(&["store"], format!("{server}username=me\npassword={PASSWORD}\n\n")).succeeded();
    let stored = world.client(&["get"], format!("{server}\n"));
    assert_eq!(value(&stored.stdout, "password"), Some(PASSWORD));
    world.client(&["erase"], format!("{server}\n")).succeeded();
    is_nowhere(&daemon, PASSWORD);

    let gateway = ["gateway", "--via", "http", "--set", "SERVER=base-url", "--", "sh", "-c", TOOL];
    let mut tool = world.start("rally-cred", &gateway);
    let key = tool.next_line_of_stdout().unwrap();
    assert_eq!(tool.next_line_of_stdout().as_deref(), Some("asked"));
    assert_ne!(copies(&memory_of(&daemon).unwrap(), &key), 0);
    tool.end().succeeded();
    while !world.status()["gateways"].as_array().is_none_or(Vec::is_empty) {}
    is_nowhere(&daemon, &key);
    check(&daemon, Some(ROUNDS));

    world.client(&["logout", "--all", "--forget-client-secret"], "").succeeded();
    check(&daemon, None);
    daemon.stop();
}

#[test]
fn after_a_lock_no_copy_of_a_secret_is_left_and_an_unlock_finds_them_again() {
    let Some((sandbox, world, _keyring, mut daemon)) = transparent() else { return };
    plant(&sandbox, 0);
    world.client(&["login", "--client-secret-stdin"], CLIENT_SECRET).succeeded();
    let server = "protocol=https\nhost=git.example.com\n";
    world.client(&["store"], format!("{server}username=me\npassword={PASSWORD}\n\n")).succeeded();
    let ask_for_both = || {
        assert_eq!(password(&world, &sandbox), Some(given("access", 0)));
        let stored = world.client(&["get"], format!("{server}\n"));
        assert_eq!(value(&stored.stdout, "password"), Some(PASSWORD));
    };
    ask_for_both();
    let counts = || {
        let memory = memory_of(&daemon).unwrap();
        let tokens = ["code", "id", "access", "refresh"].map(|kind| copies(&memory, &given(kind, 0)));
        (tokens, copies(&memory, CLIENT_SECRET), copies(&memory, PASSWORD))
    };
    let (tokens, ..) = counts();
    assert!(tokens[2] > 0 && tokens[3] > 0, "{tokens:?}");
    world.client(&["lock"], "").succeeded();
    wait_for(&world, || counts() == ([0; 4], 0, 0));
    assert_eq!(counts(), ([0; 4], 0, 0));
    world.client(&["unlock"], "").succeeded();
    ask_for_both();
    daemon.stop();
}
