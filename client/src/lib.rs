//! The client of the daemon `rally-credd`: a credential helper for git, build tools and scripts.
//! Does not: speak to Rally, see a refresh token, or keep anything. It links neither HTTP, nor a keyring, nor a runtime.
//! Used by: the programs `rally-cred` and `git-credential-rally`, which differ only in name, and `rally-cred-commands`,
//! which they exec for interactive commands.

pub mod autostart;
pub mod browser;
pub mod connection;
pub mod events;
mod format;
pub mod forwarded;
mod get;
mod git_ops;
mod hand_over;
mod interactive;
pub mod options;
pub mod output;
mod static_credential;
pub mod system;
#[cfg(unix)]
#[cfg(any(test, feature = "testing"))]
pub mod testing;

pub use format::TOKEN_VARIABLES;

use std::ffi::{OsStr, OsString};
use std::{io, process::ExitCode};

use rally_cred_proto::Fault;

use crate::system::{Process, System};
use crate::{options::Options, output::Output};

/// musl's allocator needs eight system calls for its first pages, this one needs one. That saves a fifth of a warm `get`
/// (see `tests/bench/README.md`).
#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: dlmalloc::GlobalDlmalloc = dlmalloc::GlobalDlmalloc;

/// The program that tools run. Interactive commands are in a program of their own, so that this one stays small: a `get`
/// costs mostly the start of its process, which grows with its pages.
pub fn main() -> ExitCode {
    main_with(|args, _| hand_over::run(args, &Process))
}

/// A program in which `commands` runs interactive commands.
pub fn main_with(commands: impl FnOnce(&[OsString], &mut Output<'_>) -> Result<u8, Fault>) -> ExitCode {
    let args: Vec<_> = std::env::args_os().skip(1).collect();
    let mut output = Output { stdout: &mut output::stdout(), stderr: &mut io::stderr() };
    ExitCode::from(run(&args, commands, &Process, &mut output))
}

/// The interactive commands; any other word may be an operation of a future git.
pub const COMMANDS: [&str; 17] = [
    "setup",
    "login",
    "logout",
    "lock",
    "unlock",
    "exec",
    "gateway",
    "forward",
    "status",
    "watch",
    "doctor",
    "daemon",
    "keyring",
    "config",
    "completions",
    "help",
    // Run by completion scripts, so it is not in the help.
    "__complete",
];

/// Runs one command line, given without the program's name, and returns the exit code. Faults are shown here.
///
/// The first word decides: helper operations run here, without the command tree.
fn run(
    args: &[OsString],
    commands: impl FnOnce(&[OsString], &mut Output<'_>) -> Result<u8, Fault>,
    sys: &dyn System,
    output: &mut Output<'_>,
) -> u8 {
    let outcome = match options::first_word(args) {
        Some(word) => match Operation::parse(word) {
            Some(operation) if !asks_for_help(args) => operation.run(args, sys, output),
            Some(_) => commands(&[word.clone(), "--help".into()], output),
            None if COMMANDS.iter().any(|name| word == name) => commands(args, output),
            // git never runs a helper on a terminal, so this is a typo.
            None if sys.stdin_is_terminal() || asks_for_help(args) => commands(args, output),
            // An operation of a future git, which helpers have to ignore, flags and all.
            None => git_ops::pass_over(&Options::default(), sys),
        },
        None => commands(args, output),
    };
    outcome.unwrap_or_else(|fault: Fault| {
        let code = fault.kind.exit_code();
        output.say(fault);
        code
    })
}

/// An operation of git's credential protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Answer a request.
    Get,
    /// Keep a static credential.
    Store,
    /// Report a token or credential that does not work.
    Erase,
    /// Print the capabilities.
    Capability,
}

impl Operation {
    /// The operation of this name.
    pub fn parse(word: &OsStr) -> Option<Self> {
        match word.to_str()? {
            "get" => Some(Self::Get),
            "store" => Some(Self::Store),
            "erase" => Some(Self::Erase),
            "capability" => Some(Self::Capability),
            _ => None,
        }
    }

    fn run(self, args: &[OsString], sys: &dyn System, output: &mut Output<'_>) -> Result<u8, Fault> {
        let options = Options::parse(args, sys)?;
        match self {
            Self::Get => get::run(&options, sys, output),
            Self::Store => git_ops::store(&options, sys, output),
            Self::Erase => git_ops::erase(&options, sys),
            Self::Capability => git_ops::capability(output),
        }
    }
}

fn asks_for_help(args: &[OsString]) -> bool {
    args.iter().any(|arg| arg == "--help" || arg == "-h")
}

#[cfg(unix)]
#[cfg(test)]
mod tests {
    use crate::testing::{self, Fake};

    #[test]
    fn an_operation_of_a_future_git_is_passed_over_in_silence() {
        for line in ["future-operation", "--profile work --wait 1s statsu", "-x y"] {
            for stdin in ["", "protocol=https\nhost=a\n\n", "broken\r\n"] {
                let done = testing::run(line, &Fake::default().reading(stdin));
                assert_eq!(done.shown(), (0, String::new(), String::new()), "{line}");
            }
        }
    }

    #[test]
    fn a_wrong_flag_is_usage() {
        let done = testing::run("get --colour", &Fake::default());
        assert_eq!((done.code, done.stdout.as_str()), (2, ""));
        assert!(
            done.stderr.starts_with("rally-cred: the command line is not understood\n  why: "),
            "{}",
            done.stderr
        );
    }
}
