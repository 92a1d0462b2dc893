//! `cargo shared-keyring`: two daemons on one keyring, as a terminal with a runtime folder of its own brings about, while
//! their token ends every few seconds and each renewal uses the refresh token up.
//! Does not: measure how fast a get is. Exit 0 only if no call failed, no refresh token was lost, and no daemon used one
//! twice.
//! Used by: `tests/run`.
#![expect(clippy::print_stdout, reason = "a program speaks through its standard streams")]

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use std::{collections::HashMap, fs, os::unix::fs::PermissionsExt, path::Path, process::ExitCode, thread};

use rally_cred_proto::{
    Client,
    message::{Get, Got},
};
use rally_cred_tests::{
    command_line::{number, run},
    keyring::KeyringSession,
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

/// What the callers saw.
#[derive(Default)]
struct Seen {
    tokens: AtomicU64,
    failures: Mutex<Vec<String>>,
}

fn share(span: Duration) -> Result<(), String> {
    let sandbox = world::sandbox_with(|options| options.token_life = TOKEN_LIFE);
    let keyring = KeyringSession::start();
    let mut world = World::new();
    world.configure_for(&sandbox);
    world.join(&keyring);
    let first = world.path("run/rally-cred/agent.sock");
    let _first = world.start_daemon();
    world::sign_in(&mut connect(&first)?, None, &sandbox)?;

    let runtime = world.path("other-run");
    fs::create_dir(&runtime).map_err(|error| error.to_string())?;
    fs::set_permissions(&runtime, fs::Permissions::from_mode(0o700)).map_err(|error| error.to_string())?;
    world.set("XDG_RUNTIME_DIR", runtime.display());
    let _second = world.start_daemon();
    let sockets = [first, runtime.join("rally-cred/agent.sock")];

    let seen = Seen::default();
    let end = Instant::now() + span;
    thread::scope(|scope| {
        for socket in sockets.iter().cycle().take(2 * CALLERS) {
            scope.spawn(|| {
                if let Err(why) = call(socket, end, &sandbox, &seen) {
                    seen.fail(why);
                }
            });
        }
    });
    // Both can still renew what there is by now.
    for socket in &sockets {
        next_token(socket, &sandbox).unwrap_or_else(|why| seen.fail(why));
    }
    report(span, &sandbox, seen)
}

fn connect(socket: &Path) -> Result<Client, String> {
    Client::connect(socket).map_err(|fault| fault.to_string())
}

/// Asks until the time is up, as quickly as answers come.
fn call(socket: &Path, end: Instant, sandbox: &Sandbox, seen: &Seen) -> Result<(), String> {
    let mut client = connect(socket)?;
    while Instant::now() < end {
        let asked_at = Instant::now();
        match client.ask(Get::default(), &mut |_| {}) {
            Ok(Got::Token(answer)) if sandbox.admits(answer.token.expose(), asked_at) => {
                seen.tokens.fetch_add(1, Ordering::Relaxed);
            }
            Ok(Got::Token(_)) => seen.fail("a token that Rally does not take was given out".to_owned()),
            Ok(answer) => seen.fail(format!("no token but {answer:?}")),
            Err(fault) => seen.fail(fault.to_string()),
        }
    }
    Ok(())
}

/// Asks until another token is given out than the first.
fn next_token(socket: &Path, sandbox: &Sandbox) -> Result<(), String> {
    let mut client = connect(socket)?;
    let mut first = None;
    loop {
        let asked_at = Instant::now();
        match client.ask(Get::default(), &mut |_| {}).map_err(|fault| fault.to_string())? {
            Got::Token(answer) if sandbox.admits(answer.token.expose(), asked_at) => {
                if !first.get_or_insert_with(|| answer.token.clone()).matches(&answer.token) {
                    return Ok(());
                }
            }
            answer => return Err(format!("no token but {answer:?}")),
        }
    }
}

impl Seen {
    fn fail(&self, why: String) {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner).push(why);
    }
}

fn report(span: Duration, sandbox: &Sandbox, seen: Seen) -> Result<(), String> {
    let mut uses: HashMap<String, (u64, u64)> = HashMap::new();
    for request in sandbox.log().iter().filter(|request| request.field("grant_type") == Some("refresh_token"))
    {
        let (used, granted) =
            uses.entry(request.field("refresh_token").unwrap_or_default().to_owned()).or_default();
        *used += 1;
        *granted += u64::from(request.status == Some(200));
    }
    let most = uses.values().map(|(used, _)| *used).max().unwrap_or(0);
    let renewals: u64 = uses.values().map(|(_, granted)| granted).sum();
    let requests: u64 = uses.values().map(|(used, _)| used).sum();
    let failures = seen.failures.into_inner().unwrap_or_else(PoisonError::into_inner);
    for (name, value) in [
        ("seconds", span.as_secs()),
        ("gets answered with a good token", seen.tokens.into_inner()),
        ("failed calls", failures.len() as u64),
        ("renewals", renewals),
        ("requests for one", requests),
        ("most uses of one refresh token", most),
    ] {
        println!("{name:<36} {value:>12}");
    }
    if let Some(why) = failures.first() {
        return Err(format!("a call failed: {why}"));
    }
    if most > 2 {
        return Err("a daemon used a refresh token twice".to_owned());
    }
    // A token is not given out in its last second.
    match renewals <= span.as_secs() / (TOKEN_LIFE - 1) + 4 {
        true => Ok(()),
        false => Err("there were more renewals than tokens that ended".to_owned()),
    }
}
