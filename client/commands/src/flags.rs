//! Flags that several commands take: those of the helper operations, as `rally_cred` declares them, and durations.
//! Does not: read what the flags of `get` say; `rally_cred` does.
//! Used by: `cli` for their help, and `exec`, which passes them on.

use std::ffi::OsString;

use clap::{
    Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches, builder::PossibleValuesParser,
    error::ErrorKind,
};
use rally_cred::options::{FLAGS, Flag};
use rally_cred_proto::duration;

/// The flags of a helper operation, of which only the help is needed here: what is to be run never comes to clap.
#[derive(Debug)]
pub(crate) enum HelpOnly {}

impl Args for HelpOnly {
    fn augment_args(command: Command) -> Command {
        command.args(FLAGS.iter().map(argument))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for HelpOnly {
    fn from_arg_matches(_: &ArgMatches) -> Result<Self, clap::Error> {
        Err(clap::Error::raw(ErrorKind::InvalidSubcommand, "a helper operation stands first\n"))
    }

    fn update_from_arg_matches(&mut self, _: &ArgMatches) -> Result<(), clap::Error> {
        match *self {}
    }
}

/// Flags of `get` that another command takes too, as arguments for a `get`.
#[derive(Clone, Debug)]
pub(crate) struct GetFlags(pub(crate) Vec<OsString>);

/// `exec` names the profile by its place, and needs one format.
fn passed_on() -> impl Iterator<Item = &'static Flag> {
    FLAGS.iter().filter(|flag| !matches!(flag.name, "profile" | "format"))
}

impl Args for GetFlags {
    fn augment_args(command: Command) -> Command {
        command.args(passed_on().map(argument))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for GetFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let argument = |Flag { name, value, .. }: &Flag| match value {
            Some(_) => matches.get_one::<String>(name).map(|value| format!("--{name}={value}")),
            None => matches.get_flag(name).then(|| format!("--{name}")),
        };
        Ok(Self(passed_on().filter_map(argument).map(OsString::from).collect()))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

fn argument(Flag { name, value, help, .. }: &'static Flag) -> Arg {
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

/// Reads a duration, in seconds. The error says how to write one.
pub(crate) fn parse_duration(text: &str) -> Result<u32, String> {
    duration::parse(text)
        .ok_or_else(|| "write a number of seconds, or one with s, m or h behind it".to_owned())
}
