//! `repair_items`: has the vault looked through, and tells the accounts what was mended.
//! Does not: judge an item (`crate::repair` does) or read one.
//! Used by: `broker`.

use rally_cred_proto::{Fault, FaultKind, Reply, message::RepairItems};

use crate::{
    broker::Broker,
    event::{AskId, Effect, Outcome},
    jobs::Owner,
    profile::Keyring,
    step::Step,
    vault::ItemKind,
};

impl Broker {
    pub(super) fn repair(&self, step: &mut Step<'_>, id: AskId, ask: RepairItems) -> Result<(), Fault> {
        let wrong = |what: &str, why: &str| Err(Fault::new(FaultKind::BadRequest, what).why(why));
        match step.keyring {
            Keyring::Memory => return wrong("there is nothing to repair", "tokens are kept in memory only"),
            Keyring::Kv2(_) => {
                return wrong(
                    "a vault that many machines share is not repaired by one of them",
                    "others may need what this machine does not know",
                );
            }
            Keyring::Auto | Keyring::Os | Keyring::Keyutils | Keyring::File(_) | Keyring::Helper(_) => {}
        }
        let config = Box::new(self.config.clone());
        step.begin(Owner::Repair(id), |epoch| Effect::RepairItems { epoch, id, config, ask });
        Ok(())
    }

    /// What was mended is read again, or written where something better is held.
    pub(super) fn repaired(&mut self, step: &mut Step<'_>, id: AskId, outcome: Outcome) -> bool {
        let Outcome::Repaired(mended, ended) = outcome else { return false };
        for key in &mended {
            if matches!(key.kind, ItemKind::Token | ItemKind::ClientSecret) {
                self.with_account(step, &key.name, |account, step| account.mended(step, key.kind));
            }
        }
        step.reply(id, ended.map_or_else(Reply::Error, |()| Reply::Done));
        true
    }
}
