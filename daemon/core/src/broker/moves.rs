//! `move_items`: between which places items are moved.
//! Does not: move one (whoever carries out `Effect::MoveItems` does).
//! Used by: `broker`, of which this is a part.

use rally_cred_proto::{
    Fault, FaultKind,
    message::{MoveItems, MoveStep},
};

use crate::{
    broker::Broker,
    event::{AskId, Effect},
    profile::Keyring,
};

const MOVE_HELP: &str = "rally-cred keyring migrate --help";

impl Broker {
    /// What moves items. Nothing is deleted from a place that is in use.
    pub(super) fn move_items(&self, id: AskId, ask: &MoveItems) -> Result<Effect, Fault> {
        let wrong = |what: &str| Fault::new(FaultKind::BadRequest, what);
        let parse = |text: &str| {
            Keyring::parse(text, &self.config.file_key)
                .filter(|keyring| !keyring.is_memory())
                .ok_or_else(|| wrong("there is no such place to move tokens").remedy(MOVE_HELP))
        };
        let from = ask.from.as_deref().map_or_else(|| Ok(self.config.keyring.clone()), parse)?;
        let to = parse(&ask.to)?;
        if from.is_same_place(&to) {
            return Err(wrong("tokens are kept there already").remedy(MOVE_HELP));
        }
        if from.is_memory() {
            return Err(wrong("what is in memory is not moved").remedy("change `keyring` in the config file"));
        }
        let is_in_use = self.config.keyring.is_same_place(&to);
        if ask.step == MoveStep::Delete && !is_in_use {
            return Err(wrong("nothing is deleted before the new place is in use")
                .remedy(format!("set keyring = \"{}\" in the config file", to.name())));
        }
        Ok(Effect::MoveItems { id, from, to, step: ask.step, is_in_use })
    }
}
