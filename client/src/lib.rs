//! `rally-cred`: asks the daemon for a ZSESSIONID, in the words of git, EngFlow or a script, and signs people in.
//! Does not: reach the network or the keyring; the daemon does. Helper operations build no command tree.
//! Met by: the programs `rally-cred` and `git-credential-rally`, which are the same.

mod autostart;
mod browser;
mod cli;
mod config;
mod connection;
mod daemon;
mod duration;
mod events;
mod get;
mod git_ops;
mod hidden_input;
mod interactive;
mod login;
mod logout;
mod options;
mod output;
mod status;
mod surroundings;
#[cfg(test)]
mod testing;

use std::{ffi::OsString, io, process::ExitCode};

use rally_cred_proto::Fault;

use crate::{
    options::{Options, first_word},
    output::Output,
    surroundings::{Process, Surroundings},
};

/// Runs the program in this process.
pub fn main() -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().skip(1).collect();
    let mut output = Output { stdout: &mut io::stdout(), stderr: &mut io::stderr() };
    ExitCode::from(run(&args, &Process, &mut output))
}

/// Runs the program with these arguments, the program's name not among them, and returns its exit code.
pub(crate) fn run(args: &[OsString], around: &dyn Surroundings, output: &mut Output<'_>) -> u8 {
    let wants_help = args.iter().any(|arg| arg == "--help" || arg == "-h");
    let word = first_word(args).map(|word| word.to_string_lossy());
    let outcome = match word.as_deref() {
        _ if wants_help => cli::run(args, around, output),
        Some("get") => Options::parse(args, around).and_then(|options| get::run(&options, around, output)),
        Some("erase") => Options::parse(args, around).and_then(|options| git_ops::erase(&options, around)),
        Some("store") => git_ops::store(around),
        Some("capability") => git_ops::capability(output),
        Some(word) if !cli::is_command(word) => git_ops::unknown(word, output),
        Some(_) | None => cli::run(args, around, output),
    };
    outcome.unwrap_or_else(|fault: Fault| {
        output.say(&fault);
        fault.kind.exit_code()
    })
}
