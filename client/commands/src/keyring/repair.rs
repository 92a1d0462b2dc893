//! `rally-cred keyring repair`: shows what is damaged or of no use where tokens are kept, and has it mended.
//! Does not: judge an item, or have one mended that was not shown before.
//! Used by: `keyring`.

use std::io::{BufRead, Read};

use clap::Args;
use rally_cred::{connection::Connection, output::Output};
use rally_cred_proto::{
    Deadline, Event, Fault, FaultKind,
    message::{Flaw, FlawedItem, RepairItems},
    plain::plain,
    remedy::Command,
};

use super::MOVING;
use crate::terminal::Terminal;

/// What `repair` was told on its command line.
#[derive(Clone, Debug, Args)]
pub(crate) struct Repair {
    /// The only profile whose items are meant; the config file need not name it
    profile: Option<String>,
    /// Mend everything that is found, without a question
    #[arg(long)]
    yes: bool,
}

/// The longest answer to the question.
const LONGEST: u64 = 64;

pub(super) fn run(repair: Repair, sys: &dyn Terminal, output: &mut Output<'_>) -> Result<u8, Fault> {
    let Repair { profile, yes } = repair;
    let mut connection = Connection::new(sys, true);
    let mut ask = |mend: Vec<String>, output: &mut Output<'_>| {
        let mut items = Vec::new();
        let ask = RepairItems { profile: profile.clone(), mend };
        let outcome = connection.ask(ask, &mut Deadline::after(MOVING), &mut |event| {
            if let Event::Flaw(item) = event {
                items.push(item);
            }
        });
        // Also those before a fault.
        for item in &items {
            output.tell_line(said(item))?;
        }
        outcome.map(|()| items)
    };
    let found = ask(Vec::new(), output)?;
    let mend: Vec<_> = found.into_iter().filter(|item| may_mend(item.flaw)).map(|item| item.item).collect();
    if mend.is_empty() {
        output.tell_line("nothing needs repair")?;
        return Ok(0);
    }
    if !yes && !is_wanted(mend.len(), profile.as_deref(), sys, output)? {
        return Ok(0);
    }
    let count = mend.len();
    let left = count.saturating_sub(ask(mend, output)?.len());
    match left {
        0 => Ok(0),
        _ => Err(Fault::new(
            FaultKind::VaultFailed,
            format!("{left} items have changed meanwhile, and are left"),
        )
        .run("rally-cred keyring repair")),
    }
}

const fn may_mend(flaw: Flaw) -> bool {
    matches!(flaw, Flaw::Damaged | Flaw::Orphaned | Flaw::Doubled | Flaw::Leftover)
}

/// Asks the user. Without one, nothing is mended that was not asked for.
fn is_wanted(
    count: usize,
    profile: Option<&str>,
    sys: &dyn Terminal,
    output: &mut Output<'_>,
) -> Result<bool, Fault> {
    if !sys.stdin_is_terminal() {
        let command = profile
            .iter()
            .fold(Command::new("rally-cred keyring repair"), |command, name| command.arg(*name));
        return Err(Fault::new(FaultKind::VaultFailed, format!("{count} items need repair"))
            .why("there is no terminal to ask you at")
            .remedy(command.arg("--yes")));
    }
    output.show("Mend them? [y/N]: ");
    let mut line = String::new();
    // No answer is no.
    sys.typed_lines().take(LONGEST).read_line(&mut line).ok();
    Ok(matches!(line.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}

/// What people are told of an item.
fn said(found: &FlawedItem) -> String {
    let FlawedItem { item, flaw, aside, mended } = found;
    let what = match flaw {
        Flaw::Damaged => "damaged",
        Flaw::Orphaned => "for no profile, server or gateway of this config file",
        Flaw::Doubled => "there several times",
        Flaw::Leftover => "left by something that was interrupted",
        Flaw::OfLaterVersion => "of a later version of rally-cred, and is left as it is",
        _ => "in a state that this version does not know, and is left as it is",
    };
    let done = match (flaw, aside, mended) {
        _ if !may_mend(*flaw) => String::new(),
        (Flaw::Doubled, _, false) => "; all but the newest would be deleted".to_owned(),
        (Flaw::Doubled, _, true) => "; all but the newest are deleted".to_owned(),
        (_, Some(folder), false) => format!("; it would be moved to {}", plain(folder)),
        (_, Some(folder), true) => format!("; it is moved to {}", plain(folder)),
        (_, None, false) => "; it would be deleted".to_owned(),
        (_, None, true) => "; it is deleted".to_owned(),
    };
    format!("{}: {what}{done}", plain(item))
}
