//! Completion of command lines: the scripts for four shells, and the answer that they all ask this program for.
//! Does not: start a daemon, or say anything; whoever presses TAB wants no messages.
//! Used by: the shells, through `rally-cred __complete`; people, through `rally-cred completions`.

use std::{collections::BTreeSet, fmt, io::Read, time::Duration};

use clap::{Arg, Command, ValueEnum};
use rally_cred::{connection::Connection, output::Output, system::System};
use rally_cred_proto::{Deadline, Fault, ProfileName, message::StatusAsk};

/// The command that the scripts run. It is no command for people, so it is in no help.
pub(crate) const COMMAND: &str = "__complete";

/// A shell that can complete rally-cred's command lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Shell {
    Bash,
    Zsh,
    Fish,
    Powershell,
}

impl fmt::Display for Shell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.to_possible_value().map_or(Ok(()), |value| f.write_str(value.get_name()))
    }
}

impl Shell {
    /// What has it ask this program.
    pub(crate) fn script(self) -> &'static str {
        match self {
            Self::Bash => include_str!("../../completions/rally-cred.bash"),
            Self::Zsh => include_str!("../../completions/rally-cred.zsh"),
            Self::Fish => include_str!("../../completions/rally-cred.fish"),
            Self::Powershell => include_str!("../../completions/rally-cred.ps1"),
        }
    }
}

/// Longest time for the daemon to name its profiles: more would feel like a shell that hangs.
const PATIENCE: Duration = Duration::from_secs(1);

/// A command line is not longer.
const LONGEST: u64 = 64 * 1024;

/// Prints the script of a shell.
pub(crate) fn print_script(shell: Shell, output: &mut Output<'_>) -> Result<u8, Fault> {
    output.answer(shell.script().as_bytes()).map(|()| 0)
}

/// Answers a shell from the tree of all commands. Standard input has the words behind `rally-cred` up to the cursor, a line for each; the last is the
/// one to complete, and may be empty. The answer has a line for each word that may stand there, with a tab and what it
/// means.
pub(crate) fn complete(mut tree: Command, sys: &dyn System, output: &mut Output<'_>) -> Result<u8, Fault> {
    let mut text = String::new();
    if !sys.stdin_is_terminal() {
        sys.stdin(&mut Deadline::after(PATIENCE)).take(LONGEST).read_to_string(&mut text).ok();
    }
    let words: Vec<_> = text.lines().collect();
    tree.build();
    let found = candidates(&tree, &words, &|| profiles(sys));
    let lines: String = found.iter().map(|(word, meaning)| format!("{word}\t{meaning}\n")).collect();
    output.answer(lines.as_bytes()).map(|()| 0)
}

/// The names that a running daemon knows.
fn profiles(sys: &dyn System) -> Vec<String> {
    let outcome = Connection::new(sys, false).status(StatusAsk::default(), &mut Deadline::after(PATIENCE));
    let profiles = outcome.map(|(_, profiles)| profiles).unwrap_or_default();
    // Shells evaluate some of what they complete.
    let names = profiles.into_iter().map(|profile| profile.profile);
    names.filter(|name| ProfileName::parse(name).is_some()).collect()
}

/// What may stand in the place of the last word, with what it means.
fn candidates(tree: &Command, words: &[&str], profiles: &dyn Fn() -> Vec<String>) -> Vec<(String, String)> {
    let Some((current, before)) = words.split_last() else { return Vec::new() };
    // bash cuts a word at `=`, and gives the `=` as a word of its own.
    let current = if *current == "=" { "" } else { current };
    let before = before.iter().filter(|word| **word != "=");

    let (mut command, mut awaited, mut places, mut given) = (tree, None, 0, BTreeSet::new());
    for word in before {
        if awaited.take().is_some() {
            continue;
        }
        if *word == "--" {
            // What follows is for another program.
            return Vec::new();
        }
        if let Some(flag) = word.strip_prefix("--") {
            let (name, value) =
                flag.split_once('=').map_or((flag, None), |(name, value)| (name, Some(value)));
            given.insert(name);
            awaited = find_flag(command, name).filter(|flag| takes_value(flag) && value.is_none());
        } else if let Some(found) = command.find_subcommand(word) {
            (command, given) = (found, BTreeSet::new());
        } else if !word.starts_with('-') {
            places += 1;
        }
    }

    let values = |arg: &Arg| -> Vec<(String, String)> {
        let known: Vec<_> = match arg.get_id() == "profile" {
            true => profiles(),
            false => arg.get_possible_values().iter().map(|value| value.get_name().to_owned()).collect(),
        };
        known.into_iter().map(|value| (value, String::new())).collect()
    };
    let mut found = match (awaited, current.strip_prefix("--").and_then(|flag| flag.split_once('='))) {
        (Some(flag), _) => values(flag),
        (None, Some((name, _))) => {
            let values = find_flag(command, name).map(values).unwrap_or_default();
            values.into_iter().map(|(value, meaning)| (format!("--{name}={value}"), meaning)).collect()
        }
        (None, None) if current.starts_with('-') => flags(command, &given),
        (None, None) => {
            let mut found = subcommands(command);
            found.extend(command.get_positionals().nth(places).map(values).unwrap_or_default());
            found
        }
    };
    found.retain(|(word, _)| word.starts_with(current));
    found
}

fn find_flag<'a>(command: &'a Command, name: &str) -> Option<&'a Arg> {
    command.get_arguments().find(|arg| arg.get_long() == Some(name))
}

fn takes_value(flag: &Arg) -> bool {
    flag.get_action().takes_values()
}

/// The flags that are not given yet, and those that may be given again.
fn flags(command: &Command, given: &BTreeSet<&str>) -> Vec<(String, String)> {
    let may_come = |flag: &&Arg| {
        matches!(flag.get_action(), clap::ArgAction::Append)
            || flag.get_long().is_some_and(|name| !given.contains(name))
    };
    let shown = |flag: &Arg| {
        let meaning = flag.get_help().map(ToString::to_string).unwrap_or_default();
        Some((format!("--{}", flag.get_long()?), meaning))
    };
    command.get_arguments().filter(may_come).filter_map(shown).collect()
}

fn subcommands(command: &Command) -> Vec<(String, String)> {
    let shown = |command: &Command| {
        let meaning = command.get_about().map(ToString::to_string).unwrap_or_default();
        (command.get_name().to_owned(), meaning)
    };
    command.get_subcommands().map(shown).collect()
}

#[cfg(unix)]
#[cfg(test)]
mod tests;
