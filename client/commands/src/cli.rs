//! The commands that people type: what a command line says, handed to the command that it names.
//! Does not: read the flags of helper operations, which `options` does.
//! Used by: the dispatch in `lib`.

mod help;
mod tree;

use std::{ffi::OsString, iter, path::PathBuf};

use clap::ArgMatches;
use rally_cred_proto::{
    Fault,
    message::{Login, Logout, StatusAsk},
    plain::visible_line,
};

pub(crate) use tree::tree;

use rally_cred::{options::named_profile, output::Output};

use crate::{
    completions, config, daemon, doctor, exec, login, logout, setup, status, terminal::Terminal,
    variables::Variable,
};

/// Runs a command. Help, and what is wrong with the command line, are written here.
pub(crate) fn run(args: &[OsString], sys: &dyn Terminal, output: &mut Output<'_>) -> Result<u8, Fault> {
    if args.first().is_some_and(|word| word == completions::COMMAND) {
        return completions::complete(sys, output);
    }
    let name = OsString::from("rally-cred");
    match tree().try_get_matches_from(iter::once(&name).chain(args)) {
        Ok(matches) => dispatch(&matches, sys, output),
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

fn dispatch(matches: &ArgMatches, sys: &dyn Terminal, output: &mut Output<'_>) -> Result<u8, Fault> {
    let named = |args: &ArgMatches| match args.get_one::<String>("profile") {
        Some(name) => Ok(Some(name.clone())),
        None => named_profile(sys),
    };
    match matches.subcommand() {
        Some(("setup", args)) => {
            let text = |name: &str| args.get_one::<String>(name).cloned();
            let yes = |name: &str| text(name).map(|answer| answer == "yes");
            let (profile, dry_run) = (named(args)?, args.get_flag("dry-run"));
            if args.get_flag("remove") {
                return setup::remove(profile, dry_run, sys, output);
            }
            let options = setup::Options {
                base_url: text("base-url"),
                callback: text("callback"),
                client_id: text("client-id"),
                units: yes("units"),
                git: yes("git"),
                network: yes("network"),
                completions: text("completions"),
                dry_run,
                login: login_options(args, profile),
            };
            setup::run(&options, sys, output)
        }
        Some(("login", args)) => {
            let options = login::Options {
                force: args.get_flag("force"),
                autostart: !args.get_flag("no-autostart"),
                ..login_options(args, named(args)?)
            };
            login::run(&options, sys, output)
        }
        Some(("logout", args)) => {
            let all = args.get_flag("all");
            let profile = if all { None } else { named(args)? };
            let client_secret = args.get_flag("forget-client-secret");
            logout::run(Logout { profile, all, client_secret }, !args.get_flag("no-autostart"), sys, output)
        }
        Some(("exec", args)) => exec::run(&exec_options(args), sys, output),
        Some(("status", args)) => {
            // The variable chooses whom to serve; what to show is every profile.
            let ask = StatusAsk { profile: args.get_one("profile").cloned(), check: args.get_flag("check") };
            status::run(ask, args.get_flag("json"), sys, output)
        }
        Some(("doctor", args)) => {
            let options = doctor::Options {
                profile: args.get_one("profile").cloned(),
                json: args.get_flag("json"),
                report: args.get_one("report").cloned(),
                autostart: !args.get_flag("no-autostart"),
            };
            doctor::run(&options, sys, output)
        }
        Some(("daemon", args)) => match args.subcommand_name() {
            Some("start") => daemon::start(sys, output),
            Some("stop") => daemon::stop(sys, output),
            Some("restart") => daemon::restart(sys, output),
            _ => daemon::reload(sys, output),
        },
        Some(("config", args)) => match args.subcommand() {
            Some(("check", args)) => config::check(args.get_one("file").map(PathBuf::as_path), sys, output),
            _ => config::path(sys, output),
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
    for flag in tree::flags_of_get() {
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
    use rally_cred::{COMMANDS, Operation, options::FLAGS};

    use super::{help::EXAMPLES, *};
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
