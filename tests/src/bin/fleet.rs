//! `cargo fleet`: twenty daemons, each in a world of its own, share one OpenBao and one user's grant, while their token ends
//! every few seconds and each renewal uses the refresh token up.
//! Does not: measure how fast a get is. Exit 0 only if no call failed and no refresh token was sent twice.
//! Used by: `tests/run`.
#![expect(clippy::print_stdout, reason = "a program speaks through its standard streams")]

use std::{
    path::PathBuf,
    process::ExitCode,
    thread,
    time::{Duration, Instant},
};

use rally_cred_tests::{
    callers::{Renewals, Seen, connect},
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
        world.configure(&config_for(
            sandbox,
            &[
                ("https://bao.example.com:8200", &bao.address()),
                ("/run/rally-cred/bao-token", &token.display().to_string()),
                ("renew-and-publish", mode),
            ],
        ));
        let daemon = world.start_daemon();
        Self { socket: world.socket(), _daemon: daemon, _world: world }
    }
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
            scope.spawn(|| seen.call(&agent.socket, end, &sandbox, PAUSE));
        }
    });
    let renewals = Renewals::of(&sandbox);
    let (table, outcome) = seen.table(span, &renewals);
    print!("{table}");
    outcome?;
    if renewals.most_uses != 1 {
        return Err(format!("a refresh token was sent {} times", renewals.most_uses));
    }
    // A token of five seconds is not given out in its last half, and records have whole seconds.
    match renewals.granted <= span.as_secs() / (TOKEN_LIFE - 2) + 2 {
        true => Ok(()),
        false => Err("there were more renewals than tokens that ended".to_owned()),
    }
}
