//! Many requests at once, sent by `c/load.c`: answers a second, beside git's cache and a bare C server.
//! Does not: start a process for each request; this is about daemons.
//! Used by: `main`.

use std::fs;
use std::path::{Path, PathBuf};

use crate::Effort;
use crate::bench_world::{BenchWorld, text};
use crate::report::{Report, as_float, median};

/// Clients at the same time, as the targets have it.
const CLIENTS: u32 = 64;

/// Each is measured so often, in turn, and the median counts.
const TURNS: usize = 5;

struct Server<'a> {
    name: &'static str,
    socket: &'a Path,
    request: &'a Path,
    how: &'static str,
}

pub(crate) fn measure(bench: &BenchWorld, effort: Effort, report: &mut Report) -> Result<(), String> {
    let asked = by_servers(bench, effort, report)?;
    by_clients(bench, &asked, effort, report)
}

/// Beside other daemons. Returns the file with the request.
pub(crate) fn by_servers(bench: &BenchWorld, effort: Effort, report: &mut Report) -> Result<PathBuf, String> {
    let request = fs::read_to_string(&bench.request).map_err(|fault| fault.to_string())?;
    let cached = bench.file("cache-request", &format!("action=get\ntimeout=36000\n{request}"))?;
    let value = |key: &str| request.lines().find_map(|line| line.strip_prefix(key)).unwrap_or_default();
    let line = format!(
        "{{\"v\":1,\"op\":\"get\",\"protocol\":\"{}\",\"host\":\"{}\"}}\n",
        value("protocol="),
        value("host=")
    );
    let asked = bench.file("daemon-request", &line)?;
    let servers = [
        Server { name: "a bare C server", socket: &bench.bare_socket, request: &asked, how: "new" },
        Server {
            name: "git-credential-cache--daemon",
            socket: &bench.cache_socket,
            request: &cached,
            how: "closing",
        },
        Server { name: "rally-credd", socket: &bench.socket, request: &asked, how: "new" },
        Server {
            name: "a bare C server, kept connections",
            socket: &bench.bare_socket,
            request: &asked,
            how: "kept",
        },
        Server { name: "rally-credd, kept connections", socket: &bench.socket, request: &asked, how: "kept" },
    ];
    let mut found = vec![Vec::new(); servers.len()];
    for _ in 0..TURNS {
        for (server, found) in servers.iter().zip(&mut found) {
            found.push(load(bench, server, CLIENTS, effort.requests)?);
        }
    }
    let medians: Vec<f64> = found.into_iter().map(median).collect();
    report.line(&format!(
        "\n== Requests a second, {CLIENTS} clients, {} requests, median of {TURNS}",
        effort.requests
    ));
    for (server, median) in servers.iter().zip(&medians) {
        report.line(&format!("{:<42} {median:>10.0}", server.name));
    }
    if let [bare, cache, ours, _, kept] = medians.as_slice() {
        report.at_least(
            "new connections a second, to git-credential-cache--daemon",
            ours / cache,
            1.0,
            "times",
        );
        report.at_least("new connections a second, to a bare C server (an aim)", ours / bare, 1.0, "times");
        report.at_least("requests a second on kept connections, to git's cache", kept / cache, 3.0, "times");
    }
    Ok(asked)
}

/// What a request costs the daemon, by how many ask at once.
fn by_clients(bench: &BenchWorld, asked: &Path, effort: Effort, report: &mut Report) -> Result<(), String> {
    report
        .line(&format!("\n== The same by clients\n{:<42} {:>10} {:>10}", "clients", "a second", "daemon µs"));
    let mut costs = Vec::new();
    for clients in effort.clients {
        let server = Server { name: "", socket: &bench.socket, request: asked, how: "new" };
        let before = processor_ticks(bench.daemon.0.id())?;
        let rate = load(bench, &server, *clients, effort.requests)?;
        let ticks = processor_ticks(bench.daemon.0.id())? - before;
        // A tick is a hundredth of a second.
        let cost = as_float(ticks) * 10_000.0 / f64::from(effort.requests);
        report.line(&format!("{clients:<42} {rate:>10.0} {cost:>10.1}"));
        costs.push(cost);
    }
    if let [one, .., many] = costs.as_slice() {
        let figure = "the daemon's work for a request, most clients to one";
        report.at_most(figure, many / one, 1.2, "times");
    }
    Ok(())
}

fn load(bench: &BenchWorld, server: &Server<'_>, clients: u32, requests: u32) -> Result<f64, String> {
    let arguments = [
        text(server.socket),
        text(server.request),
        clients.to_string(),
        requests.to_string(),
        server.how.to_owned(),
    ];
    let ended = bench.world.run(&bench.c_program("load"), &arguments.each_ref().map(String::as_str), "");
    match (ended.code, ended.stdout.trim().parse()) {
        (Some(0), Ok(rate)) => Ok(rate),
        _ => Err(format!("{}: {}", server.name, ended.stderr)),
    }
}

/// Processor time of a process, its own and the system's for it.
fn processor_ticks(pid: u32) -> Result<u64, String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).map_err(|fault| fault.to_string())?;
    // The name before it may hold blanks; what follows its parenthesis does not.
    let fields: Vec<_> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let tick = |at: usize| fields.get(at).and_then(|field| field.parse::<u64>().ok());
    tick(11).zip(tick(12)).map(|(own, system)| own + system).ok_or_else(|| "no processor time".to_owned())
}
