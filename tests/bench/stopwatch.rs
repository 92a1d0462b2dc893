//! Whole processes, run in turn by `c/stopwatch.c`: what they are, and what comes out.
//! Does not: start them itself; this process is large, and its children would begin with its size.
//! Used by: `main`.

use std::path::PathBuf;

use rally_cred_tests::world;

use crate::Effort;
use crate::bench_world::{BenchWorld, installed, text};
use crate::report::{Report, as_float};

/// A command that is timed.
struct Command {
    name: &'static str,
    /// Run untimed just before.
    before: Vec<String>,
    arguments: Vec<String>,
    /// Whether it answers with the token.
    is_checked: bool,
}

/// What its runs came to.
struct Measured {
    name: &'static str,
    /// Microseconds.
    median: f64,
    p99: f64,
}

fn command(name: &'static str, arguments: &[&str]) -> Command {
    let arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
    Command { name, before: Vec::new(), arguments, is_checked: true }
}

/// The same client with the daemon and with a bare server: what is between them is the daemon's part in a get.
pub(crate) fn daemon(bench: &BenchWorld, effort: Effort, report: &mut Report) -> Result<(), String> {
    let client = bench.c_program("client");
    let commands = [
        command("C client, C server", &[&client, &text(&bench.bare_socket)]),
        command("C client", &[&client, &text(&bench.socket)]),
    ];
    if let [bare, ours] = run(bench, "A warm get", effort.rounds, &commands, report)?.as_slice() {
        let figure = "C client, rally-credd, median, to C client, C server";
        report.at_most(figure, ours.median / bare.median, 1.25, "times");
    }
    Ok(())
}

/// Calls while the daemon has the token in memory.
pub(crate) fn warm(bench: &BenchWorld, effort: Effort, report: &mut Report) -> Result<(), String> {
    let (glibc, cache, socket) =
        (world::programs().join("rally-cred"), text(&bench.cache_socket), text(&bench.socket));
    let git = installed("git").ok_or("git is not installed")?;
    let mut commands = vec![
        command("C client, C server", &[&bench.c_program("client"), &text(&bench.bare_socket)]),
        command("C client", &[&bench.c_program("client"), &socket]),
        command("rally-cred get, glibc", &[&text(&glibc), "get"]),
        command("git credential-cache get", &[&git, "credential-cache", "--socket", &cache, "get"]),
    ];
    let static_client = world::static_programs().map(|folder| text(&folder.join("rally-cred")));
    if let Some(client) = &static_client {
        commands.push(command("rally-cred get, static", &[client, "get"]));
    }
    commands.push(Command {
        is_checked: false,
        ..command("a process that does nothing", &[&bench.c_program("nothing")])
    });
    let found = run(bench, "A warm get", effort.rounds, &commands, report)?;
    let of = |name: &str| found.iter().find(|found| found.name == name);
    let ratio = |report: &mut Report, of_ours: &str, of_theirs: &str, most: f64| {
        if let (Some(ours), Some(theirs)) = (of(of_ours), of(of_theirs)) {
            let figure = format!("{of_ours}, median, to {of_theirs}");
            report.at_most(&figure, ours.median / theirs.median, most, "times");
        }
    };
    ratio(report, "rally-cred get, static", "C client", 1.5);
    ratio(report, "rally-cred get, static", "C client, C server", 1.5);
    ratio(report, "rally-cred get, static", "git credential-cache get", 0.25);
    ratio(report, "rally-cred get, glibc", "git credential-cache get", 1.0);
    if let (Some(ours), Some(theirs)) = (of("rally-cred get, static"), of("C client")) {
        report.at_most("rally-cred get, static, p99, to C client", ours.p99 / theirs.p99, 1.5, "times");
    }

    let by_cache = format!("credential.helper=cache --socket {cache}");
    let helper = static_client.unwrap_or_else(|| text(&glibc)).replace("rally-cred", "git-credential-rally");
    let (by_name, by_path) = ("credential.helper=rally".to_owned(), format!("credential.helper={helper}"));
    let fill = |name, helper: &str| {
        command(name, &[&git, "-c", "credential.helper=", "-c", helper, "credential", "fill"])
    };
    let mut commands = vec![
        fill("git credential fill, cache", &by_cache),
        fill("git credential fill, rally", &by_name),
        fill("git credential fill, rally by its path", &by_path),
    ];
    if let Some(secret_tool) = installed("secret-tool") {
        commands.push(command("secret-tool lookup", &[&secret_tool, "lookup", "service", "bench"]));
    }
    let found = run(bench, "Through git, and others", effort.slow_rounds, &commands, report)?;
    for ours in found.iter().filter(|found| found.name.starts_with("git credential fill, rally")) {
        if let Some(theirs) = found.iter().find(|found| found.name.ends_with("cache")) {
            report.at_most(&format!("{}, to cache", ours.name), ours.median / theirs.median, 0.75, "times");
        }
    }
    Ok(())
}

/// A call that starts the daemon and has it read the keyring.
pub(crate) fn cold(bench: &BenchWorld, effort: Effort, report: &mut Report) -> Result<(), String> {
    let client = world::static_programs().unwrap_or_else(world::programs).join("rally-cred");
    let stop = ["daemon", "stop"].map(str::to_owned);
    let Some(secret_tool) = installed("secret-tool") else { return Ok(()) };
    let commands = [
        command("secret-tool lookup", &[&secret_tool, "lookup", "service", "bench"]),
        Command {
            before: [text(&client)].into_iter().chain(stop).collect(),
            ..command("rally-cred get, cold", &[&text(&client), "get"])
        },
    ];
    let found = run(bench, "A cold get", effort.cold_rounds, &commands, report)?;
    if let [theirs, ours] = found.as_slice() {
        let figure = "rally-cred get that starts the daemon, to secret-tool lookup";
        report.at_most(figure, ours.median / theirs.median, 1.5, "times");
    }
    Ok(())
}

/// Runs the commands in turn.
fn run(
    bench: &BenchWorld,
    title: &str,
    rounds: u32,
    commands: &[Command],
    report: &mut Report,
) -> Result<Vec<Measured>, String> {
    let mut plan = String::new();
    let mut names = Vec::new();
    let mut add = |mark: &str, expected: &str, arguments: &[String]| {
        plan.push_str(&format!("{mark}{}\t{expected}\t{}\n", text(&bench.request), arguments.join("\t")));
    };
    for command in commands {
        if !command.before.is_empty() {
            add("!", "-", &command.before);
            names.push("");
        }
        let expected = if command.is_checked { text(&expected(bench, command)?) } else { "-".to_owned() };
        add("", &expected, &command.arguments);
        names.push(command.name);
    }
    let plan = bench.file("plan", &plan)?;
    let ended = bench.world.run(&bench.c_program("stopwatch"), &[&rounds.to_string(), &text(&plan)], "");
    if ended.code != Some(0) {
        return Err(ended.stderr);
    }
    let runs: Vec<Vec<u64>> = ended
        .stdout
        .lines()
        .map(|line| line.split(' ').filter_map(|number| number.parse().ok()).collect())
        .collect();
    report.line(&format!(
        "\n== {title}: {rounds} rounds\n{:<42} {:>10} {:>10} {:>10} {:>10}",
        "", "median µs", "p99 µs", "CPU µs", "peak KiB"
    ));
    let named = names.iter().enumerate().filter(|(_, name)| !name.is_empty());
    Ok(named.map(|(index, name)| summarise(index as u64, name, &runs, report)).collect())
}

/// What every run must answer: what the first did, if the token was in it.
fn expected(bench: &BenchWorld, command: &Command) -> Result<PathBuf, String> {
    let words: Vec<_> = command.arguments.iter().map(String::as_str).collect();
    let (program, arguments) = words.split_first().ok_or("a command without a program")?;
    let first = bench.world.run(program, arguments, &bench.request_text);
    if !first.stdout.contains(&bench.token) {
        return Err(format!("{} gave {:?} {:?}", command.name, first.stdout, first.stderr));
    }
    bench.file(&format!("expected-{}", command.name.replace(' ', "-")), &first.stdout)
}

fn summarise(index: u64, name: &'static str, runs: &[Vec<u64>], report: &mut Report) -> Measured {
    let column = |at: usize| {
        let mut numbers: Vec<_> = runs
            .iter()
            .filter(|run| run.first() == Some(&index))
            .filter_map(|run| run.get(at).copied())
            .collect();
        numbers.sort_unstable();
        numbers
    };
    let quantile = |numbers: &[u64], percent: usize| {
        numbers
            .get((numbers.len() * percent / 100).min(numbers.len().saturating_sub(1)))
            .copied()
            .unwrap_or(0)
    };
    let (wall, cpu, peak) = (column(1), column(2), column(3));
    let measured = Measured {
        name,
        median: as_float(quantile(&wall, 50)) / 1000.0,
        p99: as_float(quantile(&wall, 99)) / 1000.0,
    };
    report.line(&format!(
        "{name:<42} {:>10.0} {:>10.0} {:>10} {:>10}",
        measured.median,
        measured.p99,
        quantile(&cpu, 50),
        quantile(&peak, 100)
    ));
    measured
}
