//! Turns at Rally that programs of a history hold, and what the gateways of a daemon were told of them.
//! Does not: look into the broker's state.
//! Used by: `history`.

use std::collections::BTreeMap;

use rally_cred_core::{event::AskId, policy::RALLY_AT_ONCE};

use super::promises::{Broken, never};

/// Whoever holds turns of one daemon.
#[derive(Debug, Default)]
pub(super) struct Turns {
    holders: BTreeMap<AskId, Holder>,
    /// By profile: how many its gateways leave to others.
    left_to_others: BTreeMap<usize, u8>,
}

#[derive(Debug)]
struct Holder {
    profile: usize,
    turns: u8,
    /// Whether they were given.
    has_them: bool,
}

impl Turns {
    /// A program wants so many, for as long as it runs.
    pub(super) fn asks(&mut self, id: AskId, profile: usize, turns: u8) {
        self.holders.insert(id, Holder { profile, turns, has_them: false });
    }

    pub(super) fn told(&mut self, id: AskId) {
        self.holders.get_mut(&id).into_iter().for_each(|holder| holder.has_them = true);
    }

    /// It was refused, or has left.
    pub(super) fn gone(&mut self, id: AskId) {
        self.holders.remove(&id);
    }

    pub(super) fn is_holder(&self, id: AskId) -> bool {
        self.holders.contains_key(&id)
    }

    /// How many are wanted of a profile.
    pub(super) fn wanted(&self, profile: usize) -> u8 {
        self.holders.values().filter(|holder| holder.profile == profile).map(|holder| holder.turns).sum()
    }

    /// The gateways of a profile are told.
    pub(super) fn ordered(&mut self, profile: usize, turns: u8) {
        self.left_to_others.insert(profile, turns);
    }

    /// An event is over. Of each profile one turn is left to gateways, and they leave to others what these hold.
    pub(super) fn are_in_order(&self, profiles: usize) -> Result<(), Broken> {
        for profile in 0..profiles {
            let holders = self.holders.values().filter(|holder| holder.profile == profile && holder.has_them);
            let held: u8 = holders.map(|holder| holder.turns).sum();
            never(held >= RALLY_AT_ONCE, || format!("programs hold {held} turns of profile {profile}"))?;
            let left = self.left_to_others.get(&profile).copied().unwrap_or(0);
            if left != held {
                return Err(format!(
                    "gateways of profile {profile} leave {left} turns to others, who hold {held}"
                ));
            }
        }
        Ok(())
    }
}
