//! Secrets from a file, a pipe or a descriptor, as shells hand them over: what is taken, and what is refused in words.
//! Does not: run the documents for CI (`ci` does).
//! Used by: `main`.

use std::fs;

use rally_cred_tests::world::{self, Ended, World};

use crate::no_daemon::{handed_in, without_access_token};
use crate::sign_in::with_browser;

/// Runs a line of bash in the home folder, in which there is a pipe.
fn bash(world: &World, line: &str) -> Ended {
    world.run("bash", &["-c", line], "")
}

fn make_pipe(world: &World) {
    world.run("mkfifo", &["-m", "600", "pipe"], "").succeeded();
}

/// Ways to standard input: of CMD, with what is in FILE.
const WAYS: [&str; 8] = [
    "CMD <FILE",
    "cat FILE | CMD",
    "CMD 3<FILE <&3",
    "exec 3<FILE; CMD </dev/fd/3",
    "exec 3<FILE; CMD </proc/self/fd/3",
    "cat FILE >pipe & CMD <pipe",
    "CMD < <(cat FILE)",
    "CMD <<<\"$(cat FILE)\"",
];

#[test]
fn a_passphrase_and_a_client_secret_come_by_whatever_a_shell_makes_of_standard_input() {
    let (sandbox, world) = with_browser();
    world.configure(&format!("keyring = \"file\"\n{}", world::profile_for(&sandbox)));
    fs::write(world.path("passphrase"), "right\n").unwrap();
    fs::write(world.path("secret"), format!("{}\n", sandbox.options().client_secret)).unwrap();
    make_pipe(&world);
    for way in WAYS {
        let _daemon = world.start_daemon();
        let by = |command: &str, file: &str| {
            let ended = bash(&world, &way.replace("CMD", command).replace("FILE", file));
            assert_eq!(ended.code, Some(0), "{way}: {ended:?}");
        };
        by("rally-cred unlock", "passphrase");
        by("rally-cred login --force --client-secret-stdin", "secret");
    }
    assert_eq!(sandbox.counters().code_exchanges(), WAYS.len() as u64);
}

#[test]
fn a_variable_names_a_file_and_nothing_that_only_one_program_has() {
    let (sandbox, mut world) = with_browser();
    world.configure(&format!("keyring = \"memory\"\n{}", world::profile_for(&sandbox)));
    sandbox.change(|options| options.rotate_refresh = false);
    handed_in(&sandbox, &mut world);
    // So that the client secret is needed.
    let record = fs::read_to_string(world.path("sign-in")).unwrap();
    fs::write(world.path("sign-in"), without_access_token(&record)).unwrap();
    make_pipe(&world);
    const GET: &str = "rally-cred get --no-daemon --profile default --format token --interactive never";
    for (name, file) in
        [("RALLY_CRED_SIGN_IN_FILE", "sign-in"), ("RALLY_CRED_CLIENT_SECRET_FILE", "client-secret")]
    {
        for (way, told) in [
            ("NAME=$PWD/FILE CMD", None),
            ("ln -sf FILE link; NAME=$PWD/link CMD", None),
            ("exec 3<FILE; NAME=/dev/fd/3 CMD", Some("NAME leads to a descriptor")),
            ("exec 3<FILE; NAME=/proc/self/fd/3 CMD", Some("NAME leads to a descriptor")),
            ("NAME=/dev/stdin CMD <FILE", Some("NAME leads to a descriptor")),
            ("NAME=<(cat FILE) CMD", Some("NAME leads to a descriptor")),
            ("NAME=$PWD/pipe CMD", Some("it is not an ordinary file")),
        ] {
            let line = way.replace("FILE", file).replace("NAME", name).replace("CMD", GET);
            let got = bash(&world, &line);
            match told {
                None => assert!(got.code == Some(0) && !got.stdout.trim().is_empty(), "{line}: {got:?}"),
                Some(told) => {
                    assert!(got.code != Some(0) && got.stdout.is_empty(), "{line}: {got:?}");
                    assert!(got.stderr.contains(&told.replace("NAME", name)), "{line}: {got:?}");
                    got.remedy();
                }
            }
        }
    }
}
