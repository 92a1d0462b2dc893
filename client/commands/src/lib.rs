//! The commands that people type: all that `rally-cred` has beside the helper operations.
//! Does not: belong to the program that tools run; that one puts this one in its place when it is needed.
//! Used by: the program `rally-cred-commands`, and the manual pages.

mod cli;
mod completions;
mod config;
mod daemon;
mod doctor;
mod exec;
mod flags;
mod hidden_input;
mod installed;
mod login;
mod logout;
mod progress;
mod setup;
mod status;
mod terminal;
#[cfg(unix)]
#[cfg(test)]
mod testing;
mod variables;

use std::process::ExitCode;

use rally_cred::system::Process;

/// The program that has the commands of people as well as the helper operations.
pub fn main() -> ExitCode {
    rally_cred::main_with(|args, output| cli::run(args, &Process, output))
}

/// The program and all that it takes, as its help and its manual page show it.
pub fn command_line() -> clap::Command {
    cli::tree()
}
