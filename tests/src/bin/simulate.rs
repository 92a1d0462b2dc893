//! `cargo simulate`: plays seeded histories of the broker and stops at the first broken promise.
//! Does not: touch anything outside the process.
//! Used by: `tests/run`, and whoever wants a longer soak or wants to see one seed again.
#![expect(clippy::print_stdout, reason = "a program speaks through its standard streams")]

use std::{process::ExitCode, thread};

use rally_cred_tests::command_line::{number, run};
use rally_cred_tests::simulation::{Fleet, History, Violation};

fn main() -> ExitCode {
    let flags = [
        number("seed", 0, "1", "The first seed"),
        number("histories", 1, "100000", "How many seeds, one after the other"),
        number("events", 1, "200", "Events of a history, at least"),
        number("fleets", 0, "2000", "How many seeds of fleets on one vault as well"),
    ];
    run("simulate", "Plays seeded histories of the broker against a failing world", flags, |given| {
        let (seed, histories) = (given.number("seed"), given.number("histories"));
        let events = usize::try_from(given.number("events")).unwrap_or(usize::MAX);
        simulate("histories", seed, histories, |seed| Ok(History::new(seed).play(events)?.events))?;
        simulate("fleets", seed, given.number("fleets"), |seed| Ok(Fleet::new(seed, None).play(60)?.events))
    })
}

fn simulate(
    what: &str,
    seed: u64,
    histories: u64,
    play: impl Fn(u64) -> Result<usize, Violation> + Sync,
) -> Result<(), String> {
    let play = &play;
    let workers = thread::available_parallelism().map_or(1, |count| count.get() as u64);
    let played: Vec<_> = thread::scope(|scope| {
        let workers: Vec<_> = (0..workers)
            .map(|worker| {
                scope.spawn(move || {
                    (seed..seed.saturating_add(histories))
                        .filter(|seed| seed % workers == worker)
                        .map(play)
                        .try_fold((u64::MAX, 0), |(fewest, sum), played| {
                            let played = played? as u64;
                            Ok((played.min(fewest), sum + played))
                        })
                })
            })
            .collect();
        workers.into_iter().filter_map(|worker| worker.join().ok()).collect()
    });
    let fewest = played.iter().flatten().map(|(fewest, _)| *fewest).min().unwrap_or(0);
    let sum: u64 = played.iter().flatten().map(|(_, sum)| *sum).sum();
    let found = played.into_iter().filter_map(Result::err).min_by_key(|violation: &Violation| violation.seed);
    match found {
        None => {
            println!(
                "{histories} {what} from seed {seed}, {sum} events, {fewest} or more in each: every promise held"
            );
            Ok(())
        }
        Some(Violation { seed, step, broken, steps }) => {
            for line in steps {
                println!("  {line}");
            }
            Err(format!(
                "seed {seed}, step {step}: {broken}\nagain: cargo simulate --seed {seed} --histories 1 --fleets 1"
            ))
        }
    }
}
