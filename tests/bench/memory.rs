//! What the daemon holds and how often it wakes while nothing happens; memory and latency by profiles and connections.
//! Does not: work without root, since the daemon keeps its memory from other programs of the same user.
//! Used by: `main`.

use std::{collections::BTreeMap, fs, thread, time::Duration};

use rally_cred_proto::{
    Client,
    message::{Get, Got, Target},
};
use rally_cred_tests::world::{self, World};

use crate::report::{Report, as_float};
use crate::{Effort, bench_world::BenchWorld};

/// Connections that are held open, saying nothing.
const CONNECTIONS: u32 = 500;

/// Long enough for a daemon to give back what it gives back when it is idle.
const SETTLING: Duration = Duration::from_secs(12);

pub(crate) fn of_a_quiet_daemon(
    bench: &BenchWorld,
    effort: Effort,
    report: &mut Report,
) -> Result<(), String> {
    let pid = bench.daemon.0.id();
    if let Err(why) = world::proportional_set_size(pid) {
        report.line(&format!("\n== The daemon's memory: not measured, {why}"));
        return Ok(());
    }
    settle(effort);
    let idle = world::proportional_set_size(pid)?;
    report.line("\n== The daemon's memory (KiB) and wake-ups");
    report.line(&format!("{:<42} {idle:>10}", "idle PSS, after a sign-in"));
    report.line(&format!("{:<42} {:>10}", "most it ever held (VmHWM)", status(pid, "VmHWM:")?));
    report.line(&format!(
        "{:<42} {:>10}",
        "bare C server, PSS",
        world::proportional_set_size(bench.bare_server.0.id())?
    ));
    report.at_most("daemon's idle PSS (aim: 2048)", as_float(idle), 4096.0, "KiB");

    let mut connections = Vec::new();
    for _ in 0..CONNECTIONS {
        let mut client = Client::connect(&bench.socket).map_err(|fault| fault.to_string())?;
        // So that it was accepted, and has been used.
        client.ask(Get::default(), &mut |_| {}).map_err(|fault| fault.to_string())?;
        connections.push(client);
    }
    let held = world::proportional_set_size(pid)?;
    let each = as_float(held.saturating_sub(idle)) / f64::from(CONNECTIONS);
    report.at_most("memory per idle connection", each, 8.0, "KiB");
    drop(connections);

    settle(effort);
    let before = wake_ups(pid)?;
    thread::sleep(Duration::from_secs(effort.idle_seconds));
    let since = |(id, count): (u32, u64)| count.saturating_sub(before.get(&id).copied().unwrap_or(0));
    let woken: u64 = wake_ups(pid)?.into_iter().map(since).sum();
    let per_minute = as_float(woken) * 60.0 / as_float(effort.idle_seconds);
    report.at_most("wake-ups while idle with a live token", per_minute, 2.0, "a minute");
    Ok(())
}

/// What stays after many requests of many clients.
pub(crate) fn after_the_load(bench: &BenchWorld, effort: Effort, report: &mut Report) {
    settle(effort);
    if let Ok(idle) = world::proportional_set_size(bench.daemon.0.id()) {
        report.line(&format!("{:<42} {idle:>10}", "the daemon's idle PSS after that (KiB)"));
    }
}

/// Memory and latency with ever more profiles, all signed in.
pub(crate) fn by_profiles(effort: Effort, report: &mut Report) -> Result<(), String> {
    report.line(&format!(
        "\n== By profiles, all signed in\n{:<42} {:>10} {:>10}",
        "profiles", "PSS KiB", "µs a get"
    ));
    let mut found = Vec::new();
    for count in effort.profiles {
        let sandbox = world::sandbox();
        let world = World::new();
        let profile = world::profile_for(&sandbox);
        let config: String =
            (0..*count).map(|number| profile.replace("default", &format!("p{number}"))).collect();
        world.configure(&format!("default_profile = \"p0\"\nkeyring = \"memory\"\n{config}"));
        let daemon = world.start_daemon();
        let socket = world.socket();
        let mut client = Client::connect(&socket).map_err(|fault| fault.to_string())?;
        for number in 0..*count {
            world::sign_in(&mut client, Some(&format!("p{number}")), &sandbox)?;
        }
        settle(effort);
        // Without root, 0.
        let size = world::proportional_set_size(daemon.0.id()).unwrap_or(0);
        let last = Target { profile: Some(format!("p{}", count - 1)), ..Target::default() };
        let get = Get { target: last, ..Get::default() };
        let began = std::time::Instant::now();
        for _ in 0..effort.rounds {
            match client.ask(get.clone(), &mut |_| {}) {
                Ok(Got::Token(_)) => {}
                other => return Err(format!("a get was answered by {other:?}")),
            }
        }
        let each = began.elapsed().as_secs_f64() * 1e6 / f64::from(effort.rounds);
        report.line(&format!("{count:<42} {size:>10} {each:>10.1}"));
        found.push((*count, size, each));
    }
    if let [(few, first, quick), .., (many, last, slow)] = found.as_slice() {
        let each = as_float(last.saturating_sub(*first)) / as_float((many - few) as u64);
        report.at_most("memory per profile", each, 4.0, "KiB");
        report.at_most("latency of a get, most profiles to one", slow / quick, 1.2, "times");
    }
    Ok(())
}

fn settle(effort: Effort) {
    if effort.idle_seconds > 1 {
        thread::sleep(SETTLING);
    }
}

/// How often each of its threads has gone to sleep, which is how often it woke. Threads come and go.
fn wake_ups(pid: u32) -> Result<BTreeMap<u32, u64>, String> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).map_err(|fault| fault.to_string())?;
    let ids = tasks.flatten().filter_map(|task| task.file_name().to_str()?.parse().ok());
    Ok(ids.filter_map(|id| Some((id, status(id, "voluntary_ctxt_switches:").ok()?))).collect())
}

fn status(pid: u32, name: &str) -> Result<u64, String> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).map_err(|fault| fault.to_string())?;
    text.lines()
        .find_map(|line| line.strip_prefix(name)?.split_whitespace().next()?.parse().ok())
        .ok_or_else(|| format!("no {name} of {pid}"))
}
