//! `cargo bench-get`: what a `get` costs, beside a C client and what else is installed, all in one run and in turn.
//! Does not: fail because a figure is missed; it says so. Fails if an answer is wrong.
//! Used by: whoever changes the hot path; README.md beside it has the last table.

mod bench_world;
mod gateway;
mod memory;
mod order;
mod report;
mod stopwatch;
mod throughput;

use std::process::ExitCode;

use rally_cred_tests::command_line::{self, flag};

use crate::{bench_world::BenchWorld, report::Report};

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
    pub(crate) gateway_seconds: u32,
    pub(crate) gateway_requests: u64,
}

const FULL: Effort = Effort {
    rounds: 1500,
    slow_rounds: 200,
    cold_rounds: 40,
    requests: 100_000,
    profiles: &[1, 10, 100, 1000],
    clients: &[1, 10, 100, 1000],
    idle_seconds: 120,
    gateway_seconds: 3,
    gateway_requests: 1_000_000,
};

const QUICK: Effort = Effort {
    rounds: 3,
    slow_rounds: 2,
    cold_rounds: 1,
    requests: 200,
    profiles: &[1, 3],
    clients: &[1, 10],
    idle_seconds: 1,
    gateway_seconds: 1,
    gateway_requests: 1000,
};

fn main() -> ExitCode {
    let about = "Runs rally-cred, a C client and what else is installed in turn, checks every answer, and prints times and ratios";
    let quick = flag("quick", "Few rounds: shows that the benchmark works, and says little about speed");
    let daemon = flag(
        "daemon",
        "Only what the daemon's part in a get costs: a C client with it and with a C server, and requests a second",
    );
    let gateway = flag("gateway", "Only what the gateway adds to a request, beside nginx");
    let order = flag(
        "order",
        "Measures nothing: writes daemon/first-runs.txt, by which a release lays out the daemon's code",
    );
    command_line::run("bench", about, [quick, daemon, gateway, order], |given| {
        if given.has("order") {
            return order::write();
        }
        let effort = if given.has("quick") { QUICK } else { FULL };
        let report = match (given.has("daemon"), given.has("gateway")) {
            (true, _) => run_daemon(effort)?,
            (_, true) => run_gateway(effort)?,
            _ => run(effort)?,
        };
        report.print();
        Ok(())
    })
}

fn run_daemon(effort: Effort) -> Result<Report, String> {
    let mut report = Report::default();
    let bench = BenchWorld::new()?;
    stopwatch::daemon(&bench, effort, &mut report)?;
    throughput::by_servers(&bench, effort, &mut report)?;
    Ok(report)
}

fn run_gateway(effort: Effort) -> Result<Report, String> {
    let mut report = Report::default();
    gateway::measure(effort, &mut report)?;
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
