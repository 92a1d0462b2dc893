//! `cargo shared-keyring`: two daemons on one keyring, as a terminal with a runtime folder of its own brings about, while
//! their token ends every few seconds and each renewal uses the refresh token up.
//! Does not: measure how fast a get is. Exit 0 only if no call failed, no refresh token was lost, and no daemon used one
//! twice.
//! Used by: `tests/run`.
#![expect(clippy::print_stdout, reason = "a program speaks through its standard streams")]

use std::time::{Duration, Instant};
use std::{path::Path, process::ExitCode, thread};

use rally_cred_tests::{
    callers::{Renewals, Seen, connect, good_token},
    command_line::{number, run},
    sandbox::Sandbox,
    world::{self, World},
};

/// Callers of each daemon.
const CALLERS: usize = 10;

/// Seconds for which a token is good.
const TOKEN_LIFE: u64 = 5;

fn main() -> ExitCode {
    let about = "Has two daemons share a keyring while their token is renewed again and again";
    run("shared-keyring", about, [number("seconds", 1, "120", "How long")], |given| {
        share(Duration::from_secs(given.number("seconds")))
    })
}

fn share(span: Duration) -> Result<(), String> {
    let sandbox = world::sandbox_with(|options| options.token_life = TOKEN_LIFE);
    let mut world = World::new();
    world.configure_for(&sandbox);
    let _keyring = world.with_keyring();
    let first = world.socket();
    let _first = world.start_daemon();
    world::sign_in(&mut connect(&first)?, None, &sandbox)?;

    let runtime = world.path("other-run");
    world::make_private(&runtime);
    world.set("XDG_RUNTIME_DIR", runtime.display());
    let _second = world.start_daemon();
    let sockets = [first, runtime.join("rally-cred/agent.sock")];

    let seen = Seen::default();
    let end = Instant::now() + span;
    thread::scope(|scope| {
        for socket in sockets.iter().cycle().take(2 * CALLERS) {
            scope.spawn(|| seen.call(socket, end, &sandbox, Duration::ZERO));
        }
    });
    // Both can still renew what there is by now.
    for socket in &sockets {
        next_token(socket, &sandbox).unwrap_or_else(|why| seen.fail(why));
    }
    let renewals = Renewals::of(&sandbox);
    let (table, outcome) = seen.table(span, &renewals);
    print!("{table}");
    outcome?;
    if renewals.most_uses > 2 {
        return Err("a daemon used a refresh token twice".to_owned());
    }
    // A token is not given out in its last second.
    match renewals.granted <= span.as_secs() / (TOKEN_LIFE - 1) + 4 {
        true => Ok(()),
        false => Err("there were more renewals than tokens that ended".to_owned()),
    }
}

/// Asks until another token is given out than the first.
fn next_token(socket: &Path, sandbox: &Sandbox) -> Result<(), String> {
    let mut client = connect(socket)?;
    let first = good_token(&mut client, sandbox)?;
    while good_token(&mut client, sandbox)?.matches(&first) {}
    Ok(())
}
