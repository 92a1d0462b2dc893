//! `cargo bench-get`: what a `get` costs, beside a C client and what else is installed, all in one run and in turn.
//! Does not: fail because a figure is missed; it says so. Fails if an answer is wrong.
//! Used by: whoever changes the hot path; README.md beside it has the last table.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program speaks through its standard streams"
)]

mod bench_world;
mod memory;
mod report;
mod stopwatch;
mod throughput;

use std::{env, process::ExitCode};

use rally_cred_tests::world;

use crate::{bench_world::BenchWorld, report::Report};

const USAGE: &str = "\
cargo bench-get [--quick] [--daemon] [--built]

Runs rally-cred, a C client and what else is installed in turn, checks every answer, and prints times and ratios.

  --quick   few rounds: shows that the benchmark works, and says little about speed
  --daemon  only what the daemon's part in a get costs: a C client with it and with a C server, and requests a second
  --built   builds none of our programs first";

/// How much is done: enough for figures, or just enough to see it work.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Effort {
    pub(crate) rounds: u32,
    pub(crate) slow_rounds: u32,
    pub(crate) cold_rounds: u32,
    pub(crate) requests: u32,
    pub(crate) profiles: &'static [usize],
    pub(crate) clients: &'static [u32],
    pub(crate) idle_seconds: u64,
}

const FULL: Effort = Effort {
    rounds: 1500,
    slow_rounds: 200,
    cold_rounds: 40,
    requests: 100_000,
    profiles: &[1, 10, 100, 1000],
    clients: &[1, 10, 100, 1000],
    idle_seconds: 120,
};

const QUICK: Effort = Effort {
    rounds: 3,
    slow_rounds: 2,
    cold_rounds: 1,
    requests: 200,
    profiles: &[1, 3],
    clients: &[1, 10],
    idle_seconds: 1,
};

fn main() -> ExitCode {
    let (mut effort, mut is_built, mut is_daemon_only) = (FULL, false, false);
    for argument in env::args().skip(1) {
        match argument.as_str() {
            "--quick" => effort = QUICK,
            "--daemon" => is_daemon_only = true,
            "--built" => is_built = true,
            "--help" | "-h" => {
                println!("{USAGE}");
                return ExitCode::SUCCESS;
            }
            other => {
                eprintln!("bench: unknown argument {other:?}\n\n{USAGE}");
                return ExitCode::from(2);
            }
        }
    }
    let built = if is_built { Ok(()) } else { world::build() };
    match built.and_then(|()| if is_daemon_only { run_daemon(effort) } else { run(effort) }) {
        Ok(report) => {
            report.print();
            ExitCode::SUCCESS
        }
        Err(why) => {
            eprintln!("bench: {why}");
            ExitCode::FAILURE
        }
    }
}

fn run_daemon(effort: Effort) -> Result<Report, String> {
    let mut report = Report::default();
    let bench = BenchWorld::new()?;
    stopwatch::daemon(&bench, effort, &mut report)?;
    throughput::by_servers(&bench, effort, &mut report)?;
    Ok(report)
}

fn run(effort: Effort) -> Result<Report, String> {
    let mut report = Report::default();
    {
        let bench = BenchWorld::new()?;
        stopwatch::warm(&bench, effort, &mut report)?;
        memory::of_a_quiet_daemon(&bench, effort, &mut report)?;
        throughput::measure(&bench, effort, &mut report)?;
        memory::after_the_load(&bench, effort, &mut report);
        stopwatch::cold(&bench, effort, &mut report)?;
    }
    memory::by_profiles(effort, &mut report)?;
    report::sizes(&mut report);
    Ok(report)
}
