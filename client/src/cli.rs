//! The commands that people type, with the help that teaches them.
//! Does not: parse the flags of helper operations, which `options` does; it only shows them.
//! Met by: the dispatch in `lib`.

mod help;

use std::{ffi::OsString, path::PathBuf};

use clap::{Arg, ArgAction, ArgMatches, Command, builder::PossibleValuesParser, value_parser};
use rally_cred_proto::{
    Fault, duration,
    message::{Login, Logout, StatusAsk},
};

use crate::{
    completions, config, daemon, doctor, exec, login, logout,
    options::{FLAGS, Flag, named_profile},
    output::Output,
    setup, status,
    surroundings::Surroundings,
    variables::{TOOLS, Variable},
};
use help::{
    ABOUT, COMPLETIONS_HELP, DOCTOR_HELP, EXAMPLES, EXEC_HELP, GET_HELP, LOGIN_HELP, SETUP_HELP, STATUS_HELP,
};

/// Runs a command. Help, and what is wrong with the command line, are written here.
pub(crate) fn run(
    args: &[OsString],
    around: &dyn Surroundings,
    output: &mut Output<'_>,
) -> Result<u8, Fault> {
    let name = OsString::from("rally-cred");
    match tree().try_get_matches_from(std::iter::once(&name).chain(args)) {
        Ok(matches) => dispatch(&matches, around, output),
        Err(told) => {
            let text = told.render().to_string();
            match told.use_stderr() {
                false => output.answer(text.as_bytes())?,
                // Where nobody listens any more, nothing is lost.
                true => drop(output.stderr.write_all(text.as_bytes())),
            }
            Ok(u8::try_from(told.exit_code()).unwrap_or(2))
        }
    }
}

/// Whether a word is one of the commands here; any other may be an operation of a future git.
pub(crate) fn is_command(word: &OsString) -> bool {
    ["setup", "login", "logout", "exec", "status", "doctor", "daemon", "config", "completions", "help"]
        .iter()
        .any(|name| word == name)
}

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
            operation("store", "Do nothing, since the daemon has its tokens already (git runs this)"),
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
fn flags_of_get() -> impl Iterator<Item = &'static Flag> {
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

fn dispatch(matches: &ArgMatches, around: &dyn Surroundings, output: &mut Output<'_>) -> Result<u8, Fault> {
    let named = |args: &ArgMatches| match args.get_one::<String>("profile") {
        Some(name) => Ok(Some(name.clone())),
        None => named_profile(around),
    };
    match matches.subcommand() {
        Some(("setup", args)) => {
            let text = |name: &str| args.get_one::<String>(name).cloned();
            let yes = |name: &str| text(name).map(|answer| answer == "yes");
            let (profile, dry_run) = (named(args)?, args.get_flag("dry-run"));
            if args.get_flag("remove") {
                return setup::remove(profile, dry_run, around, output);
            }
            let options = setup::Options {
                base_url: text("base-url"),
                callback: text("callback"),
                client_id: text("client-id"),
                units: yes("units"),
                git: yes("git"),
                completions: text("completions"),
                dry_run,
                login: login_options(args, profile),
            };
            setup::run(&options, around, output)
        }
        Some(("login", args)) => {
            let options = login::Options {
                force: args.get_flag("force"),
                autostart: !args.get_flag("no-autostart"),
                ..login_options(args, named(args)?)
            };
            login::run(&options, around, output)
        }
        Some(("logout", args)) => {
            let all = args.get_flag("all");
            let profile = if all { None } else { named(args)? };
            let client_secret = args.get_flag("forget-client-secret");
            logout::run(
                Logout { profile, all, client_secret },
                !args.get_flag("no-autostart"),
                around,
                output,
            )
        }
        Some(("exec", args)) => exec::run(&exec_options(args), around, output),
        Some(("status", args)) => {
            // The variable chooses whom to serve; what to show is every profile.
            let ask = StatusAsk { profile: args.get_one("profile").cloned(), check: args.get_flag("check") };
            status::run(ask, args.get_flag("json"), around, output)
        }
        Some(("doctor", args)) => {
            let options = doctor::Options {
                profile: args.get_one("profile").cloned(),
                json: args.get_flag("json"),
                report: args.get_one("report").cloned(),
                autostart: !args.get_flag("no-autostart"),
            };
            doctor::run(&options, around, output)
        }
        Some(("daemon", args)) => match args.subcommand_name() {
            Some("start") => daemon::start(around, output),
            Some("stop") => daemon::stop(around, output),
            Some("restart") => daemon::restart(around, output),
            _ => daemon::reload(around, output),
        },
        Some(("config", args)) => match args.subcommand() {
            Some(("check", args)) => {
                config::check(args.get_one("file").map(PathBuf::as_path), around, output)
            }
            _ => config::path(around, output),
        },
        Some(("completions", args)) => {
            completions::script(args.get_one::<String>("shell").map_or("", String::as_str), output)
        }
        // A helper operation comes here only for its help, which ends above.
        _ => Ok(0),
    }
}

/// What `login` and `setup` can both be told of a sign-in.
fn login_options(args: &ArgMatches, profile: Option<String>) -> login::Options {
    login::Options {
        profile,
        browser: !args.get_flag("no-browser"),
        force: false,
        timeout: args.get_one("timeout").copied().unwrap_or(Login::default_timeout()),
        client_secret_stdin: args.get_flag("client-secret-stdin"),
        autostart: true,
    }
}

fn exec_options(args: &ArgMatches) -> exec::Options {
    let mut words = args.get_many::<OsString>("program").unwrap_or_default().cloned();
    let mut get = Vec::new();
    if let Some(profile) = args.get_one::<String>("profile") {
        get.push(format!("--profile={profile}").into());
    }
    for flag in flags_of_get() {
        match flag.value {
            Some(_) => {
                let value = args.get_one::<String>(flag.name);
                get.extend(value.map(|value| format!("--{}={value}", flag.name).into()));
            }
            None if args.get_flag(flag.name) => get.push(format!("--{}", flag.name).into()),
            None => {}
        }
    }
    let mut variables = match args.get_many::<String>("for") {
        Some(tools) => tools.flat_map(|tool| Variable::of_tool(tool)).collect(),
        None => Variable::default_set(),
    };
    variables.extend(args.get_many("set").unwrap_or_default().cloned());
    exec::Options { get, variables, program: words.next().unwrap_or_default(), arguments: words.collect() }
}

#[cfg(unix)]
#[cfg(test)]
mod tests {
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
            let name = OsString::from(command.get_name());
            assert!(is_command(&name) || crate::Operation::parse(&name).is_some(), "{name:?}");
        }
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
