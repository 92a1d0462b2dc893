//! Turns at Rally that are held for programs which go there by themselves, so that they and the gateways keep to what Rally
//! serves at once.
//! Does not: give a turn to a request, as the gateways do among themselves with those that are left.
//! Used by: `broker`.

use std::collections::BTreeMap;

use rally_cred_proto::{
    Event, Fault, FaultKind,
    gateway::{HoldTurns, TurnsHeld},
};

use crate::{
    broker::routes::{Accounts, profile_gone},
    event::{AskId, Effect},
    policy,
    step::Step,
};

/// Who holds how many, and of which profile, which stands for a user of Rally.
#[derive(Debug, Default)]
pub(super) struct Turns(BTreeMap<AskId, (String, u8)>);

impl Turns {
    /// Takes turns of a profile for a client, until it leaves.
    pub(super) fn hold(
        &mut self,
        step: &mut Step<'_>,
        id: AskId,
        profile: String,
        ask: &HoldTurns,
    ) -> Result<(), Fault> {
        // One is left, so that no tool behind a gateway waits for ever.
        let free = policy::RALLY_AT_ONCE - 1 - self.held(&profile);
        if ask.turns == 0 || ask.turns > free {
            return Err(Fault::new(
                FaultKind::Failed,
                format!("{} requests at once are not to be had", ask.turns),
            )
            .why(format!("Rally serves {} of a user, and {free} of them are free", policy::RALLY_AT_ONCE))
            .remedy("ask for fewer, or wait for another program to end (rally-cred status)"));
        }
        self.0.insert(id, (profile.clone(), ask.turns));
        self.order(step, &profile);
        step.tell(id, Event::TurnsHeld(TurnsHeld { profile }));
        Ok(())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many of a profile are held.
    pub(super) fn held(&self, profile: &str) -> u8 {
        self.0.values().filter(|(of, _)| of == profile).map(|(_, turns)| turns).sum()
    }

    /// Gives back what a client held that left.
    pub(super) fn left(&mut self, step: &mut Step<'_>, id: AskId) {
        if let Some((profile, _)) = self.0.remove(&id) {
            self.order(step, &profile);
        }
    }

    /// Lets clients go whose profile is gone.
    pub(super) fn apply(&mut self, step: &mut Step<'_>, accounts: &Accounts) {
        let gone = self.0.extract_if(.., |_, (profile, _)| !accounts.contains_key(profile));
        for (id, (profile, _)) in gone.collect::<Vec<_>>() {
            self.order(step, &profile);
            step.refuse(id, profile_gone(&profile));
        }
    }

    /// Ends all with this fault.
    pub(super) fn fail_all(&mut self, step: &mut Step<'_>, fault: &Fault) {
        step.refuse_all(std::mem::take(&mut self.0).into_keys(), fault);
    }

    fn order(&self, step: &mut Step<'_>, profile: &str) {
        let turns = self.held(profile);
        step.effects.push(Effect::ReserveTurns { profile: profile.to_owned(), turns });
    }
}
