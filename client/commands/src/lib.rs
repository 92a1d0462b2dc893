//! The interactive commands: all that `rally-cred` has beside the helper operations.
//! Does not: get linked into the program that tools run, which execs this one instead.
//! Used by: the program `rally-cred-commands`, and the manual pages.

mod child;
mod cli;
mod completions;
mod config;
mod daemon;
mod doctor;
mod exec;
mod flags;
mod forward;
mod gateway;
mod hidden_input;
mod installed;
mod kept;
mod keyring;
mod lock;
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
mod watch;

use std::process::ExitCode;

use rally_cred::system::Process;

/// The program: interactive commands, and the helper operations too.
pub fn main() -> ExitCode {
    rally_cred::main_with(|args, output| cli::run(args, &Process, output))
}

/// The command line, for its manual page.
pub fn command_line() -> clap::Command {
    cli::tree()
}
