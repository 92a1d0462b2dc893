//! Moves items from one place to another, for `rally-cred keyring migrate`: a look, then the copies, then the deletion of
//! what was copied.
//! Does not: decide when to delete, or change anything of an item that is the same in both places.
//! Used by: `perform`, when a client asks for it.
//!
//! Each step can be done again after whatever ended it. Nothing is deleted by the step that copies, and a copy counts only
//! once it was read back.

use rally_cred_proto::{
    Event, Fault, Reply,
    message::{Fate, MoveStep, MovedItem},
};

use crate::{driver::Driver, vault::Vault};
use rally_cred_core::{
    event::AskId,
    is_later, is_of_later_version,
    vault::{ItemKey, ItemKind, VaultTrouble, is_same},
};

/// Does the step, tells the client of each item, and answers it; begins with no further item once the client has left.
/// `is_in_use`: the daemon keeps its tokens in `to` already, so that what is there is newer.
pub(super) async fn run(
    driver: Driver,
    id: AskId,
    (from, to): (Vault, Vault),
    step: MoveStep,
    is_in_use: bool,
) {
    let tell = |key: &ItemKey, fate| {
        driver.tell(id, Event::Item(MovedItem { item: key.account(), fate }));
    };
    let is_wanted = || driver.has_asker(id);
    let outcome = move_all(&from, &to, step, is_in_use, &is_wanted, &tell).await;
    driver.reply(id, outcome.map_or_else(Reply::Error, |()| Reply::Done));
}

async fn move_all(
    from: &Vault,
    to: &Vault,
    step: MoveStep,
    is_in_use: bool,
    is_wanted: &impl Fn() -> bool,
    tell: &impl Fn(&ItemKey, Fate),
) -> Result<(), Fault> {
    let accounts = from.accounts().await.map_err(|trouble| trouble.fault())?;
    let keys = accounts.iter().filter_map(|account| ItemKey::of_account(account));
    // What a check has left is worth nothing.
    for key in keys.filter(|key| key.kind != ItemKind::Check).take_while(|_| is_wanted()) {
        let fate = move_one(from, to, &key, step, is_in_use).await;
        let fate = fate.map_err(|(side, trouble)| {
            let fault = trouble.fault();
            let what = format!("item {} cannot be {side}: {}", key.account(), fault.what);
            Fault { what, ..fault }
        })?;
        if let Some(fate) = fate {
            tell(&key, fate);
        }
    }
    Ok(())
}

/// What becomes of an item; `None` if it is gone by now. On an error, what could not be done.
async fn move_one(
    from: &Vault,
    to: &Vault,
    key: &ItemKey,
    step: MoveStep,
    is_in_use: bool,
) -> Result<Option<Fate>, (&'static str, VaultTrouble)> {
    let Some(value) = from.load(key).await.map_err(|trouble| ("read", trouble))? else { return Ok(None) };
    let held = to.load(key).await.map_err(|trouble| ("read in the new place", trouble))?;
    let fate = match &held {
        None => Fate::New,
        Some(held) if held.matches(&value) => Fate::Same,
        Some(held) if is_of_later_version(held) => Fate::OfLaterVersion,
        Some(_) if is_in_use => Fate::Newer,
        Some(_) => Fate::Replaced,
    };
    match (step, fate) {
        (MoveStep::Copy, Fate::New | Fate::Replaced) => {
            to.save(key, value.clone()).await.map_err(|trouble| ("written in the new place", trouble))?;
            let read = to.load(key).await.map_err(|trouble| ("read back", trouble))?;
            if !is_same(read.as_ref(), Some(&value)) {
                let why = "what was read is not what was written".to_owned();
                return Err(("read back", VaultTrouble::Failed(why)));
            }
            Ok(Some(fate))
        }
        // A renewal between the copy and the change of places: the daemon holds it, and writes it to the new place.
        (MoveStep::Delete, Fate::Newer) if held.is_some_and(|held| is_later(&value, &held)) => {
            Ok(Some(Fate::Left))
        }
        (MoveStep::Delete, Fate::Same | Fate::Newer) => {
            from.erase(key).await.map_err(|trouble| ("deleted", trouble))?;
            Ok(Some(Fate::Deleted))
        }
        // It was never copied.
        (MoveStep::Delete, _) => Ok(Some(Fate::Left)),
        _ => Ok(Some(fate)),
    }
}
