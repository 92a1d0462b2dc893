//! Callers that ask daemons for tokens again and again, what they saw, and what Rally saw of renewals meanwhile.
//! Does not: start a daemon, or say what would have been too much.
//! Used by: `cargo fleet` and `cargo shared-keyring`.

use std::{
    collections::HashMap,
    path::Path,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use rally_cred_proto::{
    Client, Secret,
    message::{Get, Got},
    unpoisoned,
};

use crate::sandbox::Sandbox;

/// A client of the daemon behind this socket.
pub fn connect(socket: &Path) -> Result<Client, String> {
    Client::connect(socket).map_err(|fault| fault.to_string())
}

/// The token that a daemon gives, if Rally took it when it was asked for.
pub fn good_token(client: &mut Client, sandbox: &Sandbox) -> Result<Secret, String> {
    let asked_at = Instant::now();
    match client.ask(Get::default(), &mut |_| {}) {
        Ok(Got::Token(answer)) if sandbox.admits(answer.token.expose(), asked_at) => Ok(answer.token),
        Ok(Got::Token(_)) => Err("a token that Rally does not take was given out".to_owned()),
        Ok(answer) => Err(format!("no token but {answer:?}")),
        Err(fault) => Err(fault.to_string()),
    }
}

/// What callers saw.
#[derive(Debug, Default)]
pub struct Seen {
    tokens: AtomicU64,
    longest: AtomicU64,
    failures: Mutex<Vec<String>>,
}

impl Seen {
    /// Asks until the time is up, with this pause after each answer.
    pub fn call(&self, socket: &Path, end: Instant, sandbox: &Sandbox, pause: Duration) {
        let mut client = match connect(socket) {
            Ok(client) => client,
            Err(why) => return self.fail(why),
        };
        while Instant::now() < end {
            let asked_at = Instant::now();
            match good_token(&mut client, sandbox) {
                Ok(_) => drop(self.tokens.fetch_add(1, Ordering::Relaxed)),
                Err(why) => self.fail(why),
            }
            let took = u64::try_from(asked_at.elapsed().as_millis()).unwrap_or(u64::MAX);
            self.longest.fetch_max(took, Ordering::Relaxed);
            thread::sleep(pause);
        }
    }

    /// Counts a failure.
    pub fn fail(&self, why: String) {
        unpoisoned(&self.failures).push(why);
    }

    /// The table of a run of this length, and the first failure as an error.
    pub fn table(&self, span: Duration, renewals: &Renewals) -> (String, Result<(), String>) {
        let failures = unpoisoned(&self.failures);
        let rows = [
            ("seconds", span.as_secs()),
            ("gets answered with a good token", self.tokens.load(Ordering::Relaxed)),
            ("failed calls", failures.len() as u64),
            ("longest call in milliseconds", self.longest.load(Ordering::Relaxed)),
            ("renewals", renewals.granted),
            ("requests for one", renewals.asked),
            ("most uses of one refresh token", renewals.most_uses),
        ];
        let table = rows.map(|(name, value)| format!("{name:<36} {value:>12}\n")).concat();
        (table, failures.first().map_or(Ok(()), |why| Err(format!("a call failed: {why}"))))
    }
}

/// What Rally saw of renewals.
#[derive(Debug, Default)]
pub struct Renewals {
    /// Those that gave a token.
    pub granted: u64,
    /// Requests for one.
    pub asked: u64,
    /// How often one refresh token was sent at most.
    pub most_uses: u64,
}

impl Renewals {
    /// All so far.
    pub fn of(sandbox: &Sandbox) -> Self {
        let (mut uses, mut seen) = (HashMap::<String, u64>::new(), Self::default());
        for request in sandbox.log() {
            if request.field("grant_type") == Some("refresh_token") {
                *uses.entry(request.field("refresh_token").unwrap_or_default().to_owned()).or_default() += 1;
                seen.granted += u64::from(request.status == Some(200));
                seen.asked += 1;
            }
        }
        Self { most_uses: uses.into_values().max().unwrap_or(0), ..seen }
    }
}
