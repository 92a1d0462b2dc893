//! `cargo soak`: a million gets of one daemon over kept connections, while tokens end and renewals fail now and then.
//! Does not: measure how fast a get is. Exit 0 only if no answer was wrong and the daemon did not grow.
//! Used by: whoever wants to know; a short run is in the suite.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program speaks through its standard streams"
)]

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::{process::ExitCode, sync::OnceLock, thread, time::Instant};

use rally_cred_proto::{
    Client, Fault, FaultKind, Secret,
    message::{Erase, Get, Got, Target},
};
use rally_cred_tests::{
    command_line::{number, run},
    keyring::KeyringSession,
    sandbox::{self, Endpoint, Sandbox},
    world::{self, World},
};

/// Connections that ask at the same time.
const CALLERS: u64 = 4;

/// Tokens between two disturbances.
const CALM: u64 = 10_000;

/// Seconds for which a token is good, and what a get asks for at least: so a renewal is due every eight seconds.
const TOKEN_LIFE: u64 = 10;
const MIN_VALIDITY: u32 = 2;

/// Fewer gets than these say nothing about growth.
const GETS_FOR_GROWTH: u64 = 100_000;

/// Most growth of the daemon after its warm-up, in percent.
const MOST_GROWTH: f64 = 5.0;

fn main() -> ExitCode {
    let about = "Asks one daemon for a token again and again while Rally's stand-in fails now and then";
    let gets = number("gets", 10, "1000000", "Tokens to be handed out; growth is judged from 100000 on");
    run("soak", about, [gets], |given| soak(given.number("gets")))
}

/// What the callers share.
struct Soak {
    sandbox: Sandbox,
    gets: u64,
    daemon: u32,
    tokens: AtomicU64,
    faults: AtomicU64,
    wrong: AtomicU64,
    disturbances: AtomicU64,
    is_over: AtomicBool,
    after_warm_up: OnceLock<Result<u64, String>>,
}

/// An error if anything was not as it should be.
fn soak(gets: u64) -> Result<(), String> {
    let sandbox = world::sandbox_with(|options| options.token_life = TOKEN_LIFE);
    let keyring = KeyringSession::start();
    let mut world = World::new();
    world.configure_for(&sandbox);
    world.join(&keyring);
    // A line for each of a million tokens would only fill the disk.
    world.set("RALLY_CRED_LOG", "warn");
    let daemon = world.start_daemon();
    let socket = world.socket();
    let connect = || Client::connect(&socket).map_err(|fault| fault.to_string());
    world::sign_in(&mut connect()?, None, &sandbox)?;

    let soak = Soak {
        sandbox,
        gets,
        daemon: daemon.0.id(),
        tokens: AtomicU64::new(0),
        faults: AtomicU64::new(0),
        wrong: AtomicU64::new(0),
        disturbances: AtomicU64::new(0),
        is_over: AtomicBool::new(false),
        after_warm_up: OnceLock::new(),
    };
    let began = Instant::now();
    thread::scope(|scope| {
        let callers: Vec<_> = (0..CALLERS).map(|_| scope.spawn(|| soak.call(&mut connect()?))).collect();
        callers
            .into_iter()
            .try_for_each(|caller| caller.join().map_err(|_| "a caller panicked".to_owned())?)
    })?;
    soak.report(began.elapsed().as_secs_f64())
}

impl Soak {
    /// One caller: asks until enough tokens were handed out to all of them together.
    fn call(&self, client: &mut Client) -> Result<(), String> {
        let get = Get { min_validity: MIN_VALIDITY, ..Get::default() };
        while !self.is_over.load(Ordering::Relaxed) {
            let asked_at = Instant::now();
            match client.ask(get.clone(), &mut |_| {}) {
                Ok(Got::Token(answer)) if self.sandbox.admits(answer.token.expose(), asked_at) => {
                    let number = self.tokens.fetch_add(1, Ordering::Relaxed) + 1;
                    if number == self.gets / 10 {
                        self.after_warm_up.get_or_init(|| world::proportional_set_size(self.daemon));
                    }
                    if number.is_multiple_of(CALM) {
                        self.disturb(client, answer.token)?;
                    }
                    if number >= self.gets {
                        self.is_over.store(true, Ordering::Relaxed);
                    }
                }
                Err(fault) if is_passing(&fault) => {
                    self.faults.fetch_add(1, Ordering::Relaxed);
                }
                answer => {
                    // The answer may be a token, whose `Debug` shows nothing of it.
                    eprintln!("wrong answer: {answer:?}");
                    if self.wrong.fetch_add(1, Ordering::Relaxed) >= 20 {
                        return Err("too many wrong answers".to_owned());
                    }
                }
            }
        }
        Ok(())
    }

    /// Has the next renewal fail, or makes one necessary now, or both; now and then the token is said not to work.
    fn disturb(&self, client: &mut Client, token: Secret) -> Result<(), String> {
        let number = self.disturbances.fetch_add(1, Ordering::Relaxed);
        let fault = match number % 5 {
            0 => sandbox::Fault::Status { status: 503, retry_after: None },
            1 => sandbox::Fault::Status { status: 429, retry_after: Some(1) },
            2 => sandbox::Fault::Html,
            3 => sandbox::Fault::Drop,
            _ => sandbox::Fault::Delay { ms: 200 },
        };
        if number % 3 != 2 {
            self.sandbox.fault(Endpoint::Token, fault, Some(1));
        }
        let outcome = match number % 3 {
            // More than any token has.
            0 => client.ask(Get { min_validity: 3600, ..Get::default() }, &mut |_| {}).map(drop),
            1 => return Ok(()),
            _ => {
                let erase = Erase { target: Target::default(), token: Some(token), credential: None };
                client.ask(erase, &mut |_| {})
            }
        };
        match outcome {
            Err(fault) if !is_passing(&fault) => Err(fault.to_string()),
            _ => Ok(()),
        }
    }

    fn report(&self, seconds: f64) -> Result<(), String> {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let first = self.after_warm_up.get().cloned().unwrap_or_else(|| Err("no warm-up".to_owned()))?;
        let last = world::proportional_set_size(self.daemon)?;
        let tokens = count(&self.tokens);
        let growth = (as_float(last) / as_float(first) - 1.0) * 100.0;
        for (name, value) in [
            ("gets answered with a token", tokens.to_string()),
            ("seconds", format!("{seconds:.1}")),
            ("gets per second", format!("{:.0}", as_float(tokens) / seconds)),
            ("renewals asked of Rally", self.sandbox.counters().refreshes().to_string()),
            ("disturbances", count(&self.disturbances).to_string()),
            ("gets answered with a passing fault", count(&self.faults).to_string()),
            ("wrong answers", count(&self.wrong).to_string()),
            ("daemon's PSS after 10 % of the gets", format!("{first} KiB")),
            ("daemon's PSS at the end", format!("{last} KiB")),
            ("growth", format!("{growth:.1} %")),
        ] {
            println!("{name:<36} {value:>12}");
        }
        match (count(&self.wrong), self.gets < GETS_FOR_GROWTH || growth <= MOST_GROWTH) {
            (0, true) => Ok(()),
            (0, false) => Err("the daemon grew".to_owned()),
            (_, _) => Err("there were wrong answers".to_owned()),
        }
    }
}

/// Whether Rally's trouble explains this answer; it will pass.
fn is_passing(fault: &Fault) -> bool {
    matches!(fault.kind, FaultKind::Unreachable | FaultKind::BadAnswer)
}

#[expect(clippy::cast_precision_loss, reason = "counts and sizes far below 2^52")]
fn as_float(number: u64) -> f64 {
    number as f64
}
