//! The command lines of the programs beside the tests, and how they end.
//! Does not: do what they are for.
//! Used by: `bin/` and the benchmark.
#![expect(clippy::print_stderr, reason = "a program says why it failed")]

use std::process::ExitCode;

use clap::{Arg, ArgAction, Command, value_parser};

/// A flag that takes a number, from `least` on.
pub fn number(name: &'static str, least: u64, default: &'static str, help: &'static str) -> Arg {
    Arg::new(name)
        .long(name)
        .value_parser(value_parser!(u64).range(least..))
        .default_value(default)
        .help(help)
}

/// A flag that takes nothing.
pub fn flag(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).action(ArgAction::SetTrue).help(help)
}

/// Runs a program that takes these flags. Exit 1, with the reason on standard error, if it fails; 2 for other flags.
pub fn run<const N: usize>(
    name: &'static str,
    about: &'static str,
    flags: [Arg; N],
    program: impl FnOnce(&Given) -> Result<(), String>,
) -> ExitCode {
    let given = Given(Command::new(name).about(about).args(flags).get_matches());
    match program(&given) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("{name}: {why}");
            ExitCode::FAILURE
        }
    }
}

/// The flags that were given.
#[derive(Debug)]
pub struct Given(clap::ArgMatches);

impl Given {
    /// What a flag that takes a number says.
    pub fn number(&self, name: &str) -> u64 {
        self.0.get_one(name).copied().unwrap_or_default()
    }

    /// Whether a flag that takes nothing was given.
    pub fn has(&self, name: &str) -> bool {
        self.0.get_flag(name)
    }
}
