//! The command line of the interactive commands: clap parses it into types, and each goes to its command.
//! Does not: read the flags of helper operations, which `rally_cred` does.
//! Used by: the program.

pub(crate) mod help;

use std::{ffi::OsString, iter};

use clap::{CommandFactory, Parser, Subcommand};
use rally_cred::{options::named_profile, output::Output};
use rally_cred_proto::{Fault, plain::visible_line};

use self::help::*;
use crate::{
    completions, config, daemon, doctor, exec, flags::HelpOnly, forward, gateway, keyring, lock, login,
    logout, setup, status, terminal::Terminal, watch,
};

/// A command line.
#[derive(Parser)]
#[command(name = "rally-cred", version, about = ABOUT, after_help = EXAMPLES)]
#[command(arg_required_else_help = true, max_term_width = 100)]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Answer a credential request of git, a build tool or a script
    #[command(after_help = GET_HELP)]
    Get(HelpOnly),
    /// Report a token that does not work (git runs this)
    Erase(HelpOnly),
    /// Keep a credential for a server in [static] hosts; ignore others (git runs this)
    Store(HelpOnly),
    /// Print which of git's capabilities this helper has
    Capability(HelpOnly),
    /// Make a profile: ask for what is needed, and sign in
    #[command(after_help = SETUP_HELP)]
    Setup(setup::Options),
    /// Sign in now
    #[command(after_help = LOGIN_HELP)]
    Login(login::Options),
    /// Forget tokens
    Logout(logout::Options),
    /// Forget what the keyring has, and hand out nothing until `unlock`
    Lock,
    /// Have the keyring, or the encrypted files, opened, and hand out again
    Unlock(lock::Unlocking),
    /// Run a program with the variables that Rally's tools read
    #[command(after_help = EXEC_HELP)]
    Exec(exec::Options),
    /// Run a program behind a gateway, so that it outlives its token; show and revoke gateways
    #[command(after_help = GATEWAY_HELP)]
    Gateway(gateway::Options),
    /// Have this machine's sign-in used on another one, over SSH
    #[command(after_help = FORWARD_HELP)]
    Forward(forward::Options),
    /// Show daemon, keyring and profile status
    #[command(after_help = STATUS_HELP)]
    Status(status::Options),
    /// Print a line of JSON whenever something becomes of a token
    #[command(after_help = WATCH_HELP)]
    Watch(watch::Options),
    /// Check everything that a sign-in needs, and say what fixes it
    #[command(after_help = DOCTOR_HELP)]
    Doctor(doctor::Options),
    /// Start or stop the daemon
    #[command(subcommand)]
    Daemon(daemon::Command),
    /// Mend the place where tokens are kept, or move them to another
    #[command(subcommand)]
    Keyring(keyring::Command),
    /// Find and check the config file
    #[command(subcommand)]
    Config(config::Command),
    /// Print the script that completes rally-cred's command lines in a shell
    #[command(after_help = COMPLETIONS_HELP)]
    Completions { shell: completions::Shell },
}

/// Every command, with the help of all that it takes.
pub(crate) fn tree() -> clap::Command {
    CommandLine::command()
}

/// Runs a command. Help, and what is wrong with the command line, are written here.
pub(crate) fn run(args: &[OsString], sys: &dyn Terminal, output: &mut Output<'_>) -> Result<u8, Fault> {
    if args.first().is_some_and(|word| word == completions::COMMAND) {
        return completions::complete(tree(), sys, output);
    }
    let name = OsString::from("rally-cred");
    match CommandLine::try_parse_from(iter::once(&name).chain(args)) {
        Ok(line) => dispatch(line.command, sys, output),
        Err(told) => {
            // A line break in an argument would pass for one in the message.
            let visible = args.iter().map(|arg| visible_line(&arg.to_string_lossy()).into_owned());
            let told = tree()
                .try_get_matches_from(iter::once("rally-cred".to_owned()).chain(visible))
                .err()
                .unwrap_or(told);
            let text = told.render().to_string();
            match told.use_stderr() {
                false => output.tell(text)?,
                true => output.show(&text),
            }
            Ok(u8::try_from(told.exit_code()).unwrap_or(2))
        }
    }
}

fn dispatch(command: Command, sys: &dyn Terminal, output: &mut Output<'_>) -> Result<u8, Fault> {
    let or_named =
        |profile: Option<String>| profile.map_or_else(|| named_profile(sys), |name| Ok(Some(name)));
    match command {
        Command::Get(never) | Command::Erase(never) | Command::Store(never) | Command::Capability(never) => {
            match never {}
        }
        Command::Setup(mut options) => {
            options.profile = or_named(options.profile)?;
            setup::run(&options, sys, output)
        }
        Command::Login(mut options) => {
            options.profile = or_named(options.profile)?;
            login::run(&options, sys, output)
        }
        Command::Logout(mut options) => {
            options.profile = if options.all { None } else { or_named(options.profile)? };
            logout::run(options, sys, output)
        }
        Command::Lock => lock::lock(sys, output),
        Command::Unlock(options) => lock::unlock(options, sys, output),
        Command::Exec(options) => exec::run(&options, sys, output),
        Command::Gateway(mut options) => {
            options.or_profile(|| named_profile(sys))?;
            gateway::run(options, sys, output)
        }
        Command::Forward(options) => forward::run(&options, sys, output),
        // The variable chooses whom to serve; what to show is every profile.
        Command::Status(options) => status::run(options, sys, output),
        Command::Watch(options) => watch::run(options, sys, output),
        Command::Doctor(options) => doctor::run(&options, sys, output),
        Command::Daemon(command) => daemon::run(command, sys, output),
        Command::Keyring(command) => keyring::run(command, sys, output),
        Command::Config(command) => config::run(&command, sys, output),
        Command::Completions { shell } => completions::print_script(shell, output),
    }
}

#[cfg(unix)]
#[cfg(test)]
mod tests {
    use rally_cred::{COMMANDS, Operation, options::FLAGS};

    use super::*;
    use crate::testing::{self, Fake};

    #[test]
    fn the_command_tree_is_sound() {
        tree().debug_assert();
    }

    #[test]
    fn help_shows_every_flag_of_the_helper_operations() {
        for operation in ["get", "store", "erase", "capability"] {
            for line in [
                format!("{operation} --help"),
                format!("--profile x {operation} -h"),
                format!("help {operation}"),
            ] {
                let done = testing::run(&line, &Fake::default());
                assert_eq!((done.code, done.stderr.as_str()), (0, ""), "{line}");
                for flag in &FLAGS {
                    assert!(done.stdout.contains(&format!("--{}", flag.name)), "{line} lacks {}", flag.name);
                }
            }
        }
    }

    #[test]
    fn every_command_is_known_to_the_dispatch() {
        for command in tree().get_subcommands() {
            let name = command.get_name();
            let is_known = COMMANDS.contains(&name) || Operation::parse(name.as_ref()).is_some();
            assert!(is_known, "{name:?}");
        }
        assert!(COMMANDS.contains(&completions::COMMAND));
    }

    #[test]
    fn without_arguments_there_is_help_and_a_failure() {
        let done = testing::run("", &Fake::default());
        assert_eq!((done.code, done.stdout.as_str()), (2, ""));
        assert!(done.stderr.contains("Exit codes:"), "{}", done.stderr);
    }

    #[test]
    fn the_exit_codes_of_the_help_are_those_of_the_faults() {
        for kind in rally_cred_proto::FaultKind::ALL {
            assert!(EXAMPLES.contains(&format!("  {}  ", kind.exit_code())), "{kind:?}");
        }
    }

    #[test]
    fn a_person_who_mistypes_a_command_is_told() {
        let sys = Fake { stdin_is_terminal: true, ..Fake::default() };
        let done = testing::run("statsu", &sys);
        assert_eq!((done.code, done.stdout.as_str()), (2, ""));
        assert!(done.stderr.contains("status"), "{}", done.stderr);
    }

    #[test]
    fn a_wrong_duration_is_usage() {
        let done = testing::run("login --timeout soon", &Fake::default());
        assert_eq!((done.code, done.stdout.as_str()), (2, ""));
        assert!(done.stderr.contains("number of seconds"), "{}", done.stderr);
    }

    #[test]
    fn a_broken_variable_is_no_matter_where_it_is_not_used() {
        assert_eq!(
            testing::run("--version", &Fake::default()).stdout,
            concat!("rally-cred ", env!("CARGO_PKG_VERSION"), "\n")
        );
    }
}
