//! A command line for the tests, with the stand-ins of `rally_cred` around it.
//! Does not: touch the variables, the terminal or the home folder of whoever runs the tests.
//! Used by: the tests of every command.

pub(crate) use rally_cred::testing::{Act, Became, Done, Fake, Script, answer};

/// Runs a command line, cut at its spaces.
pub(crate) fn run(line: &str, around: &Fake) -> Done {
    rally_cred::testing::run_as(crate::cli::run, line, around)
}
