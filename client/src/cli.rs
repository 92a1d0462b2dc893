//! The commands that people type: their names, flags and help, and the way to each.
//! Does not: parse helper operations, but for their `--help`.
//! Met by: `run`.

use std::{ffi::OsString, path::PathBuf};

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use rally_cred_proto::{
    Fault, FaultKind,
    message::{Login, Logout, StatusAsk},
};

use crate::{
    config, daemon, duration, login, logout,
    options::{self, FLAGS},
    output::Output,
    status,
    surroundings::Surroundings,
};

const ABOUT: &str = "Signs in to Rally once, and hands its ZSESSIONID to every tool that asks";

const EXAMPLES: &str = "\
Examples:
  rally-cred login                          sign in, in the browser
  rally-cred status --check                 is everything well?
  rally-cred get --format header </dev/null | curl --header @- https://rally1.rallydev.com/slm/webservice/v2.0/user
  git config --global credential.https://rally1.rallydev.com.helper rally

Exit codes: 0 done, 1 failure, 2 usage, 3 sign-in needed, 4 refused by the user or by Rally,
            5 time ran out, 6 no daemon, 7 keyring locked or missing, 8 Rally unreachable";

const GET_EXAMPLES: &str = "\
The request comes on standard input: git's attributes (protocol=https, host=rally1.rallydev.com, an empty
line), or EngFlow's JSON ({\"uri\":\"https://rally1.rallydev.com/\"}). Without input it is about the default profile.

A request for another server gets silence in git's format, so that git asks its next helper. One for Rally that
cannot be served gets quit=1, so that git does not ask for a password that cannot work.

Examples:
  printf 'protocol=https\\nhost=rally1.rallydev.com\\n\\n' | rally-cred get
  echo '{\"uri\":\"https://rally1.rallydev.com/\"}' | rally-cred get
  rally-cred get --format token </dev/null";

/// Whether a word is a command of people.
pub(crate) fn is_command(word: &str) -> bool {
    word == "help" || tree().find_subcommand(word).is_some()
}

/// Runs a command of people, or shows the help that was asked for.
pub(crate) fn run(
    args: &[OsString],
    around: &dyn Surroundings,
    output: &mut Output<'_>,
) -> Result<u8, Fault> {
    let named = std::iter::once(OsString::from("rally-cred")).chain(args.iter().cloned());
    let matches = match tree().try_get_matches_from(named) {
        Ok(matches) => matches,
        Err(fault) if !fault.use_stderr() => {
            output.answer(fault.render().to_string().as_bytes())?;
            return Ok(0);
        }
        Err(fault) => {
            // clap's own words are written for people and name the flag; what was typed comes from this terminal.
            output.stderr.write_all(fault.render().to_string().as_bytes()).ok();
            return Ok(FaultKind::Usage.exit_code());
        }
    };
    dispatch(&matches, around, output)
}

fn dispatch(matches: &ArgMatches, around: &dyn Surroundings, output: &mut Output<'_>) -> Result<u8, Fault> {
    let profile = |matches: &ArgMatches| match matches.get_one::<String>("profile") {
        Some(name) => Ok(Some(name.clone())),
        None => options::named_profile(around),
    };
    match matches.subcommand() {
        Some(("login", given)) => {
            let ask = Login {
                profile: profile(given)?,
                client_secret: None,
                force: given.get_flag("force"),
                timeout: given.get_one("timeout").copied().unwrap_or(Login::default_timeout()),
                can_paste: false,
            };
            let way = login::Way {
                opens_browser: !given.get_flag("no-browser"),
                reads_secret: given.get_flag("client-secret-stdin"),
                autostart: !given.get_flag("no-autostart"),
            };
            login::run(ask, way, around, output)
        }
        Some(("logout", given)) => {
            let all = given.get_flag("all");
            let ask = Logout {
                profile: if all { None } else { profile(given)? },
                all,
                client_secret: given.get_flag("forget-client-secret"),
            };
            logout::run(ask, around, output)
        }
        Some(("status", given)) => {
            let ask = StatusAsk {
                profile: given.get_one::<String>("profile").cloned(),
                check: given.get_flag("check"),
            };
            status::run(ask, given.get_flag("json"), around, output)
        }
        Some(("daemon", given)) => match given.subcommand_name() {
            Some("start") => daemon::start(around, output),
            Some("stop") => daemon::stop(around, output),
            Some("restart") => daemon::restart(around, output),
            _ => daemon::reload(around, output),
        },
        Some(("config", given)) => match given.subcommand() {
            Some(("check", given)) => {
                config::check(given.get_one::<PathBuf>("file").map(PathBuf::as_path), around, output)
            }
            _ => config::path(around, output),
        },
        // The helper operations come here only for their help, which clap has shown.
        Some(_) | None => {
            Err(Fault::new(FaultKind::Usage, "the command line is not understood")
                .remedy("rally-cred --help"))
        }
    }
}

/// Every command, with its help.
pub(crate) fn tree() -> Command {
    let flag = |name: &'static str, help: &'static str| {
        Arg::new(name).long(name).action(ArgAction::SetTrue).help(help)
    };
    let profile = || {
        Arg::new("profile")
            .value_name("PROFILE")
            .help("The profile [default: RALLY_CRED_PROFILE, else the default one]")
    };
    let no_autostart = || flag("no-autostart", "Fail if no daemon runs, in place of starting one");
    Command::new("rally-cred")
        .version(env!("CARGO_PKG_VERSION"))
        .about(ABOUT)
        .after_help(EXAMPLES)
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(helper("get").about("Answer a request with a ZSESSIONID").after_help(GET_EXAMPLES))
        .subcommand(helper("erase").about("Say that a token does not work; the next get brings another"))
        .subcommand(helper("store").about("Part of git's protocol; there is nothing to store"))
        .subcommand(helper("capability").about("Tell git what this helper can do"))
        .subcommand(
            Command::new("login")
                .about("Sign in, in the browser")
                .after_help(
                    "Opens Rally's authorization page and waits for \"Allow Access\". If the browser runs elsewhere, open the\n\
                     address there, and paste the address that it ends up at here. The client secret is asked for once.",
                )
                .arg(profile())
                .arg(flag("force", "Sign in even if a valid token is held"))
                .arg(flag("no-browser", "Only show the address"))
                .arg(flag("client-secret-stdin", "Read the client secret from standard input"))
                .arg(
                    Arg::new("timeout")
                        .long("timeout")
                        .value_name("DURATION")
                        .value_parser(|text: &str| duration::parse(text).ok_or("such as 30s, 5m or 1h"))
                        .help("Longest time for all of it [default: 5m]"),
                )
                .arg(no_autostart()),
        )
        .subcommand(
            Command::new("logout")
                .about("Forget the token")
                .after_help("Rally has no known way to revoke a grant by program; the page where a person can is shown.")
                .arg(profile())
                .arg(flag("all", "Every profile").conflicts_with("profile"))
                .arg(flag("forget-client-secret", "Forget the client secret too")),
        )
        .subcommand(
            Command::new("status")
                .about("Show what the daemon holds")
                .after_help("Exit code 0 only if every profile that is shown can be served now.")
                .arg(Arg::new("profile").value_name("PROFILE").help("Only this profile"))
                .arg(flag("check", "Ask Rally whether it takes the token"))
                .arg(flag("json", "Print JSON with a version")),
        )
        .subcommand(
            Command::new("daemon")
                .about("Start, stop, restart or reload the daemon")
                .subcommand_required(true)
                .arg_required_else_help(true)
                .subcommand(Command::new("start").about("Start it, unless one runs"))
                .subcommand(Command::new("stop").about("Stop it; tokens stay in the keyring"))
                .subcommand(Command::new("restart").about("Stop it, and start it anew"))
                .subcommand(Command::new("reload").about("Have it read the config file again")),
        )
        .subcommand(
            Command::new("config")
                .about("Find and check the config file")
                .subcommand_required(true)
                .arg_required_else_help(true)
                .subcommand(Command::new("path").about("Print where it is"))
                .subcommand(
                    Command::new("check")
                        .about("Say what is wrong with it, if anything")
                        .arg(Arg::new("file").value_name("FILE").value_parser(value_parser!(PathBuf))),
                ),
        )
}

/// A helper operation, whose flags come from the table that parses them.
fn helper(name: &'static str) -> Command {
    FLAGS.iter().fold(Command::new(name), |command, flag| {
        let arg = Arg::new(flag.name).long(flag.name).help(flag.help);
        command.arg(match flag.value {
            Some(value) => arg.value_name(value),
            None => arg.action(ArgAction::SetTrue),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tree_is_sound_and_every_helper_flag_is_in_its_help() {
        tree().debug_assert();
        let help = tree().find_subcommand_mut("get").unwrap().render_help().to_string();
        for flag in FLAGS {
            assert!(help.contains(&format!("--{}", flag.name)) && help.contains(flag.help), "{}", flag.name);
        }
    }

    #[test]
    fn every_exit_code_is_in_the_help() {
        for kind in FaultKind::ALL {
            assert!(EXAMPLES.contains(&format!("{} ", kind.exit_code())), "{kind:?}");
        }
    }
}
