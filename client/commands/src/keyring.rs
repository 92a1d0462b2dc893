//! `rally-cred keyring migrate|repair`: what people do with the place where the daemon keeps tokens.
//! Does not: see a token; the daemon does.
//! Used by: people who keep tokens elsewhere than in the OS keyring, or want to.

mod repair;

use std::{path::Path, time::Duration};

use clap::{Args, Subcommand};
use rally_cred::{
    connection::{Connection, GRACE},
    output::Output,
};
use rally_cred_proto::{
    Deadline, Event, Fault,
    message::{Fate, MoveItems, MoveStep, MovedItem, Reload, StatusAsk},
    plain::plain,
};

use crate::{
    cli::help::{KEYRING_MIGRATE_HELP, KEYRING_REPAIR_HELP},
    setup,
    terminal::Terminal,
};

/// Time for a step of a move, in which a keyring may ask a person for each item.
const MOVING: Duration = Duration::from_secs(300).saturating_add(GRACE);

/// The subcommands of `keyring`.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum Command {
    /// Move tokens to another place, and have the config file say so
    #[command(after_help = KEYRING_MIGRATE_HELP)]
    Migrate(Migration),
    /// Show what is damaged or of no use where tokens are kept, and mend it
    #[command(after_help = KEYRING_REPAIR_HELP)]
    Repair(repair::Repair),
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
        Command::Migrate(migration) => migrate(&migration, sys, output),
        Command::Repair(repair) => repair::run(repair, sys, output),
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
        (Fate::OfLaterVersion, _) => "is there already, from a later version of rally-cred, and both stay",
        (Fate::Deleted, _) => "deleted from the old place",
        (Fate::Left, _) => "stays in the old place, which has a newer one or the only one",
        _ => "is treated in a way that this version does not know",
    }
}
