//! Every command with what it takes, as a tree that parses command lines and shows help.
//! Does not: run anything.
//! Used by: `cli`, completions, and the manual pages.

use std::{ffi::OsString, path::PathBuf};

use clap::{Arg, ArgAction, Command, builder::PossibleValuesParser, value_parser};
use rally_cred::options::{FLAGS, Flag};
use rally_cred_proto::duration;

use super::help::{
    ABOUT, COMPLETIONS_HELP, DOCTOR_HELP, EXAMPLES, EXEC_HELP, GET_HELP, LOGIN_HELP, SETUP_HELP, STATUS_HELP,
};
use crate::{
    completions,
    variables::{TOOLS, Variable},
};

/// Every command, with the help of all that it takes.
pub(crate) fn tree() -> Command {
    Command::new("rally-cred")
        .version(env!("CARGO_PKG_VERSION"))
        .about(ABOUT)
        .after_help(EXAMPLES)
        .arg_required_else_help(true)
        .subcommand_required(true)
        .max_term_width(100)
        .subcommands([
            operation("get", "Answer a credential request, of git, of a build tool, or of yours")
                .after_help(GET_HELP),
            operation("erase", "Say that a token does not work (git runs this)"),
            operation(
                "store",
                "Keep a credential for a server of [static] hosts; do nothing for others (git runs this)",
            ),
            operation("capability", "Print what this helper understands of git's protocol"),
            Command::new("setup")
                .about("Make a profile: asks for what is needed, and signs in")
                .after_help(SETUP_HELP)
                .args([
                    profile("The profile to make or to change [default: the default profile]"),
                    text("base-url", "URL", "Rally's address, such as https://eu1.rallydev.com"),
                    text("callback", "URL", "The callback URL of the OAuth client, letter by letter"),
                    text("client-id", "ID", "The client ID of the OAuth client"),
                    flag("client-secret-stdin", "Read the OAuth client secret from standard input"),
                    yes_or_no("units", "Whether systemd starts the daemon"),
                    yes_or_no("git", "Whether git asks rally-cred about Rally's server"),
                    yes_or_no(
                        "network",
                        "Whether the daemon gets this shell's proxy and certificate variables",
                    ),
                    text("completions", "SHELL|no", "The shell that completes rally-cred's commands")
                        .value_parser(["bash", "zsh", "fish", "powershell", "no"])
                        .hide_possible_values(true),
                    flag("no-browser", "Open no browser, only show addresses"),
                    timeout(),
                    flag("dry-run", "Only say what would be changed"),
                    flag(
                        "remove",
                        "Take away what setup makes: the sign-in, the profile, and after the last the rest",
                    )
                    .conflicts_with_all([
                        "base-url",
                        "callback",
                        "client-id",
                        "client-secret-stdin",
                        "units",
                        "git",
                        "network",
                        "completions",
                    ]),
                ]),
            Command::new("login").about("Sign in now").after_help(LOGIN_HELP).args([
                profile("The profile to sign in"),
                flag("no-browser", "Open no browser, only show the address"),
                flag("force", "Sign in even if a good token is in hand"),
                timeout(),
                flag("client-secret-stdin", "Read the OAuth client secret from standard input"),
                autostart(),
            ]),
            Command::new("logout").about("Forget tokens").args([
                profile("The profile to sign out").conflicts_with("all"),
                flag("all", "Every profile"),
                flag("forget-client-secret", "Forget the client secret too"),
                autostart(),
            ]),
            Command::new("exec")
                .about("Run a program with the variables that Rally's tools read")
                .after_help(EXEC_HELP)
                .args([
                    profile("The profile whose token it gets [env: RALLY_CRED_PROFILE]"),
                    Arg::new("for")
                        .long("for")
                        .value_name("TOOL")
                        .action(ArgAction::Append)
                        .value_parser(TOOLS.map(|(name, _)| name))
                        .help("Give the variables that this tool reads, in place of the usual three"),
                    Arg::new("set")
                        .long("set")
                        .value_name("NAME[=token|server|base-url|wsapi-url]")
                        .action(ArgAction::Append)
                        .value_parser(Variable::parse)
                        .help("Give this variable as well"),
                    Arg::new("program")
                        .value_name("PROGRAM")
                        .required(true)
                        .last(true)
                        .num_args(1..)
                        .value_parser(value_parser!(OsString))
                        .help("The program and its arguments"),
                ])
                .args(flags_of_get().map(helper_flag)),
            Command::new("status")
                .about("Show how daemon, keyring and profiles stand")
                .after_help(STATUS_HELP)
                .args([
                    profile("The only profile to show"),
                    flag("json", "Print JSON"),
                    flag("check", "Ask Rally whether it takes the tokens"),
                ]),
            Command::new("doctor")
                .about("Check everything that a sign-in needs, and say what mends it")
                .after_help(DOCTOR_HELP)
                .args([
                    profile("The only profile to check"),
                    flag("json", "Print JSON"),
                    Arg::new("report")
                        .long("report")
                        .value_name("FILE")
                        .value_parser(value_parser!(PathBuf))
                        .help("Write a support report, which holds no secret, into a new file"),
                    autostart(),
                ]),
            Command::new("daemon").about("Start or stop the daemon").subcommand_required(true).subcommands([
                Command::new("start")
                    .about("Start a daemon if none runs; rally-cred does so by itself when it needs one"),
                Command::new("stop").about("Stop the daemon; what it holds only in memory is lost"),
                Command::new("restart").about("Stop the daemon and start one"),
                Command::new("reload").about("Have the daemon read its config file again"),
            ]),
            Command::new("config")
                .about("Find and check the config file")
                .subcommand_required(true)
                .subcommands([
                    Command::new("path").about("Print where the config file is"),
                    Command::new("check").about("Check a config file, without a daemon").arg(
                        Arg::new("file")
                            .value_name("FILE")
                            .value_parser(value_parser!(PathBuf))
                            .help("The file [default: the one that `config path` prints]"),
                    ),
                ]),
            Command::new("completions")
                .about("Print the script by which a shell completes rally-cred's command lines")
                .after_help(COMPLETIONS_HELP)
                .arg(
                    Arg::new("shell")
                        .value_name("SHELL")
                        .required(true)
                        .value_parser(completions::SCRIPTS.map(|(shell, _)| shell)),
                ),
        ])
}

/// A helper operation, for its help only: `options` reads its flags.
fn operation(name: &'static str, about: &'static str) -> Command {
    Command::new(name).about(about).args(FLAGS.iter().map(helper_flag))
}

/// A flag of the helper operations.
fn helper_flag(Flag { name, value, help, .. }: &'static Flag) -> Arg {
    let arg = Arg::new(*name).long(*name).help(*help);
    match value {
        Some(choices) if choices.contains('|') => {
            let values = PossibleValuesParser::new(choices.split('|'));
            arg.value_name(*choices).value_parser(values).hide_possible_values(true)
        }
        Some(value) => arg.value_name(*value),
        None => arg.action(ArgAction::SetTrue),
    }
}

/// The flags of `get` that `exec` takes too, and passes on: it names the profile by its place, and needs one format.
pub(super) fn flags_of_get() -> impl Iterator<Item = &'static Flag> {
    FLAGS.iter().filter(|flag| !matches!(flag.name, "profile" | "format"))
}

fn profile(help: &'static str) -> Arg {
    Arg::new("profile").value_name("PROFILE").help(help)
}

fn flag(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).action(ArgAction::SetTrue).help(help)
}

fn text(name: &'static str, value: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).value_name(value).help(help)
}

fn yes_or_no(name: &'static str, help: &'static str) -> Arg {
    text(name, "yes|no", help).value_parser(["yes", "no"]).hide_possible_values(true)
}

fn timeout() -> Arg {
    text("timeout", "DURATION", "Longest time for the sign-in, such as 90s or 10m [default: 5m]")
        .value_parser(parse_duration)
}

fn autostart() -> Arg {
    flag("no-autostart", "Fail if no daemon runs, in place of starting one")
}

fn parse_duration(text: &str) -> Result<u32, String> {
    duration::parse(text)
        .ok_or_else(|| "write a number of seconds, or one with s, m or h behind it".to_owned())
}
