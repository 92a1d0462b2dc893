//! `cargo simulate`: plays seeded histories of the broker and stops at the first broken promise.
//! Does not: touch anything outside the process.
//! Met by: `tests/run`, and whoever wants a longer soak or wants to see one seed again.
#![expect(clippy::print_stdout, reason = "a program speaks through its standard streams")]

use std::{process::ExitCode, thread};

use clap::{Arg, Command, value_parser};
use rally_cred_tests::simulation::{History, Violation};

fn main() -> ExitCode {
    let number = |name: &'static str, default: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_parser(value_parser!(u64)).default_value(default).help(help)
    };
    let arguments = Command::new("simulate")
        .about("Plays seeded histories of the broker against a failing world")
        .arg(number("seed", "1", "The first seed"))
        .arg(number("histories", "100000", "How many seeds, one after the other"))
        .arg(number("steps", "200", "Steps of a history"))
        .get_matches();
    let value = |name: &str| arguments.get_one::<u64>(name).copied().unwrap_or(0);
    let (seed, histories, steps) =
        (value("seed"), value("histories"), usize::try_from(value("steps")).unwrap_or(200));

    let workers = thread::available_parallelism().map_or(1, |count| count.get() as u64);
    let found = thread::scope(|scope| {
        let workers: Vec<_> = (0..workers)
            .map(|worker| {
                scope.spawn(move || {
                    (seed..seed.saturating_add(histories))
                        .filter(|seed| seed % workers == worker)
                        .find_map(|seed| History::new(seed).play(steps).err())
                })
            })
            .collect();
        workers
            .into_iter()
            .filter_map(|worker| worker.join().ok().flatten())
            .min_by_key(|violation| violation.seed)
    });
    match found {
        None => {
            println!("{histories} histories of {steps} steps from seed {seed}: every promise held");
            ExitCode::SUCCESS
        }
        Some(Violation { seed, step, broken, steps }) => {
            println!("seed {seed}, step {step}: {broken}\n");
            for line in steps {
                println!("  {line}");
            }
            println!("\nagain: cargo simulate --seed {seed} --histories 1");
            ExitCode::FAILURE
        }
    }
}
