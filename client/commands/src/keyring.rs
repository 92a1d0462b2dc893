//! `rally-cred keyring unlock|migrate`: what people do with the place where the daemon keeps tokens.
//! Does not: see a token; the daemon does.
//! Used by: people who keep tokens elsewhere than in the OS keyring, or want to.

use std::{
    io::{BufRead, BufReader, Read},
    path::Path,
    time::Duration,
};

use clap::{ArgAction, Args, Subcommand};
use rally_cred::{
    connection::{Connection, GRACE},
    output::Output,
};
use rally_cred_proto::{
    Deadline, Event, Fault, FaultKind, Secret,
    message::{Fate, MoveItems, MoveStep, MovedItem, Reload, StatusAsk, UnlockKeyring},
    plain::plain,
};
use zeroize::Zeroizing;

use crate::{cli::help::KEYRING_MIGRATE_HELP, setup, terminal::Terminal};

/// Time for the daemon to compute a key on a slow machine.
const PATIENCE: Duration = Duration::from_secs(30).saturating_add(GRACE);

/// Time for a step of a move, in which a keyring may ask a person for each item.
const MOVING: Duration = Duration::from_secs(300).saturating_add(GRACE);

/// Time for a program to write a passphrase.
const READING: Duration = Duration::from_secs(30);

/// A longer passphrase is a file that was given by mistake.
const LONGEST: u64 = 1024;

/// The subcommands of `keyring`.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum Command {
    /// Open the encrypted files of keyring = "file" by their passphrase, until the daemon ends
    Unlock {
        /// Fail if no daemon is running, instead of starting one
        #[arg(long = "no-autostart", action = ArgAction::SetFalse)]
        autostart: bool,
    },
    /// Move tokens to another place, and have the config file say so
    #[command(after_help = KEYRING_MIGRATE_HELP)]
    Migrate(Migration),
}

/// What `migrate` was told on its command line.
#[derive(Clone, Debug, Args)]
pub(crate) struct Migration {
    /// The place to move to: os, file, keyutils, or helper:NAME
    #[arg(long, value_name = "PLACE")]
    to: String,
    /// The place to move from [default: the one in the config file]
    #[arg(long, value_name = "PLACE")]
    from: Option<String>,
    /// Only show what would be moved
    #[arg(long)]
    dry_run: bool,
}

/// Runs one of them.
pub(crate) fn run(command: Command, sys: &dyn Terminal, output: &mut Output<'_>) -> Result<u8, Fault> {
    match command {
        Command::Unlock { autostart } => unlock(autostart, sys, output),
        Command::Migrate(migration) => migrate(&migration, sys, output),
    }
}

/// Copies, changes the config file, and deletes what was copied, in this order: whatever ends it in between, the place that
/// the config file names has every token, and the same command goes on from there if it is told `--from`.
fn migrate(migration: &Migration, sys: &dyn Terminal, output: &mut Output<'_>) -> Result<u8, Fault> {
    let Migration { to, from, dry_run } = migration;
    let mut connection = Connection::new(sys, true);
    let (status, _) = connection.status(StatusAsk::default(), &mut Deadline::after(MOVING))?;
    let from = from.as_ref().unwrap_or(&status.vault.kind);
    let take = |step, connection: &mut Connection<'_>, output: &mut Output<'_>| {
        let ask = MoveItems { from: Some(from.clone()), to: to.clone(), step };
        let mut items = Vec::new();
        let outcome = connection.ask(ask, &mut Deadline::after(MOVING), &mut |event| {
            if let Event::Item(item) = event {
                items.push(item);
            }
        });
        // Also those before a fault.
        for MovedItem { item, fate } in &items {
            output.tell_line(format!("{}: {}", plain(item), said(*fate, *dry_run)))?;
        }
        outcome.map(|()| items.len())
    };
    if *dry_run {
        let count = take(MoveStep::Plan, &mut connection, output)?;
        output.tell_line(format!("{count} items would be moved from {} to {}", plain(from), plain(to)))?;
        return Ok(0);
    }
    take(MoveStep::Copy, &mut connection, output)?;
    if status.vault.kind != *to {
        setup::set_keyring(Path::new(&status.config), to, sys)?;
        connection.ask(Reload, &mut Deadline::after(MOVING), &mut |_| {})?;
        output.tell_line(format!("{} says keyring = \"{}\"", plain(&status.config), plain(to)))?;
    }
    take(MoveStep::Delete, &mut connection, output)?;
    Ok(0)
}

/// What people are told of an item.
fn said(fate: Fate, is_plan: bool) -> &'static str {
    match (fate, is_plan) {
        (Fate::New, true) => "would be copied",
        (Fate::New, false) => "copied, and read back",
        (Fate::Same, true) => "is there already",
        (Fate::Same, false) => "was there already",
        (Fate::Replaced, true) => "would replace another one",
        (Fate::Replaced, false) => "replaces another one, and was read back",
        (Fate::Newer, _) => "is there already, and newer",
        (Fate::Deleted, _) => "deleted from the old place",
        (Fate::Left, _) => "stays in the old place, which has a newer one or the only one",
        _ => "is treated in a way that this version does not know",
    }
}

/// Asks for the passphrase; where there is nothing to be opened yet, once more, since a typing error could not be undone.
fn unlock(autostart: bool, sys: &dyn Terminal, output: &mut Output<'_>) -> Result<u8, Fault> {
    let passphrase = read("Passphrase: ", sys)?;
    let mut connection = Connection::new(sys, autostart);
    let mut ask = |is_new| {
        let ask = UnlockKeyring { passphrase: passphrase.clone(), is_new };
        connection.ask(ask, &mut Deadline::after(PATIENCE), &mut |_| {})
    };
    match ask(false) {
        Err(fault) if fault.kind == FaultKind::VaultMissing => {
            if sys.stdin_is_terminal() {
                output.say("there are no encrypted files yet; they will need this passphrase for ever");
                if !read("The same passphrase: ", sys)?.matches(&passphrase) {
                    return Err(Fault::new(FaultKind::BadRequest, "these are two different passphrases")
                        .run("rally-cred keyring unlock"));
                }
            }
            ask(true)?;
            output.tell_line("the encrypted files are made, and open until the daemon ends")?;
        }
        outcome => {
            outcome?;
            output.tell_line("the encrypted files are open until the daemon ends")?;
        }
    }
    Ok(0)
}

/// What is typed without echo, or the first line of standard input.
fn read(prompt: &str, sys: &dyn Terminal) -> Result<Secret, Fault> {
    let none = |why: &str| {
        Fault::new(FaultKind::BadRequest, "there is no passphrase")
            .why(why)
            .remedy("rally-cred keyring unlock, in a terminal, or with the passphrase on its standard input")
    };
    let line = if sys.stdin_is_terminal() {
        sys.typed_secret(prompt).map_err(|err| none(&err.to_string()))?
    } else {
        let mut line = Zeroizing::new(String::with_capacity(usize::try_from(LONGEST).unwrap_or_default()));
        let mut deadline = Deadline::after(READING);
        let read = BufReader::new(sys.stdin(&mut deadline)).take(LONGEST).read_line(&mut line);
        read.map_err(|err| none(&err.to_string()))?;
        line
    };
    Secret::parse(line.trim_end_matches(['\r', '\n']).to_owned())
        .ok()
        .filter(|passphrase| !passphrase.expose().is_empty())
        .ok_or_else(|| none("nothing was entered"))
}
