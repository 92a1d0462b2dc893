//! `cargo fleet`: twenty daemons, each in a world of its own, share one OpenBao and one user's grant, while their token ends
//! every few seconds and each renewal uses the refresh token up.
//! Does not: measure how fast a get is. Exit 0 only if no call failed and no refresh token was sent twice.
//! Used by: `tests/run`.
#![expect(clippy::print_stdout, reason = "a program speaks through its standard streams")]

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use rally_cred_proto::{
    Client,
    message::{Get, Got},
};
use rally_cred_tests::{
    command_line::{number, run},
    openbao::{OpenBao, Role, config_for, token_file},
    sandbox::Sandbox,
    world::{self, Running, World},
};

/// Seconds for which a token is good.
const TOKEN_LIFE: u64 = 5;

/// Pause of a caller, so that twenty of them leave the machine some time for what they ask for.
const PAUSE: Duration = Duration::from_millis(20);

fn main() -> ExitCode {
    let about = "Has many daemons share one OpenBao while their token is renewed again and again";
    let flags = [
        number("seconds", 1, "120", "How long"),
        number("daemons", 2, "20", "How many renew"),
        number("readers", 0, "2", "How many only read"),
    ];
    run("fleet", about, flags, |given| {
        let count = |name| usize::try_from(given.number(name)).unwrap_or(2);
        share(Duration::from_secs(given.number("seconds")), count("daemons"), count("readers"))
    })
}

/// A daemon of the fleet, with its world.
struct Agent {
    _daemon: Running,
    socket: PathBuf,
    _world: World,
}

impl Agent {
    fn start(sandbox: &Sandbox, bao: &OpenBao, role: Role) -> Self {
        let world = World::new();
        let token = token_file(world.path(""), &bao.token(role, "1h"));
        let mode = if role == Role::Agent { "renew-and-publish" } else { "read-only" };
        let token = format!("token_file = \"{}\"", token.display());
        world.configure(&config_for(sandbox, &bao.address(), "agents", mode, &token));
        let daemon = world.start_daemon();
        Self { socket: world.path("run/rally-cred/agent.sock"), _daemon: daemon, _world: world }
    }
}

/// What the callers saw.
#[derive(Default)]
struct Seen {
    tokens: AtomicU64,
    longest: AtomicU64,
    failures: Mutex<Vec<String>>,
}

fn share(span: Duration, agents: usize, readers: usize) -> Result<(), String> {
    let sandbox = world::sandbox_with(|options| options.token_life = TOKEN_LIFE);
    let bao = OpenBao::start();
    let roles = [(Role::Agent, agents), (Role::Reader, readers)];
    let start = |(role, count)| (0..count).map(move |_| role);
    let agents: Vec<_> =
        roles.into_iter().flat_map(start).map(|role| Agent::start(&sandbox, &bao, role)).collect();
    let first = agents.first().ok_or("no daemon")?;
    world::sign_in(&mut connect(&first.socket)?, None, &sandbox)?;

    let seen = Seen::default();
    let end = Instant::now() + span;
    thread::scope(|scope| {
        for agent in &agents {
            scope.spawn(|| {
                if let Err(why) = call(&agent.socket, end, &sandbox, &seen) {
                    seen.fail(why);
                }
            });
        }
    });
    report(span, &sandbox, seen)
}

fn connect(socket: &Path) -> Result<Client, String> {
    Client::connect(socket).map_err(|fault| fault.to_string())
}

/// Asks until the time is up.
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
        let took = u64::try_from(asked_at.elapsed().as_millis()).unwrap_or(u64::MAX);
        seen.longest.fetch_max(took, Ordering::Relaxed);
        thread::sleep(PAUSE);
    }
    Ok(())
}

impl Seen {
    fn fail(&self, why: String) {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner).push(why);
    }
}

fn report(span: Duration, sandbox: &Sandbox, seen: Seen) -> Result<(), String> {
    let mut uses: HashMap<String, u64> = HashMap::new();
    let mut renewals = 0;
    for request in sandbox.log().iter().filter(|request| request.field("grant_type") == Some("refresh_token"))
    {
        *uses.entry(request.field("refresh_token").unwrap_or_default().to_owned()).or_default() += 1;
        renewals += u64::from(request.status == Some(200));
    }
    let most = uses.values().copied().max().unwrap_or(0);
    let failures = seen.failures.into_inner().unwrap_or_else(PoisonError::into_inner);
    for (name, value) in [
        ("seconds", span.as_secs()),
        ("gets answered with a good token", seen.tokens.into_inner()),
        ("failed calls", failures.len() as u64),
        ("longest call in milliseconds", seen.longest.into_inner()),
        ("renewals", renewals),
        ("requests for one", uses.values().sum()),
        ("most uses of one refresh token", most),
    ] {
        println!("{name:<36} {value:>12}");
    }
    if let Some(why) = failures.first() {
        return Err(format!("a call failed: {why}"));
    }
    if most != 1 {
        return Err(format!("a refresh token was sent {most} times"));
    }
    // A token of five seconds is not given out in its last half, and records have whole seconds.
    match renewals <= span.as_secs() / (TOKEN_LIFE - 2) + 2 {
        true => Ok(()),
        false => Err("there were more renewals than tokens that ended".to_owned()),
    }
}
