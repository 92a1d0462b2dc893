//! Seeded histories of the broker against a world that fails, hangs, reorders, duplicates and crashes on order.
//! Does not: touch a clock, a socket or a file: a seed gives the same history on every machine.
//! Used by: `bin/simulate`, and the suite, which plays many seeds.

mod cast;
mod config_file;
mod daemon;
mod fleet;
mod gateways;
mod history;
mod lending;
mod planted;
mod promises;
mod rally;
mod static_credentials;
mod transitions;
mod turns;
mod vault;
mod watchers;

use rally_cred_core::dice::Dice;

pub use fleet::{Counts, Fleet, FleetBug};
pub use history::{History, Violation};
pub use planted::Planted;
pub use transitions::{Cause, Played, Transition};

/// SplitMix64: small, fast, and the same everywhere. It stands for chance, not for secrecy.
#[derive(Clone, Debug)]
pub struct Seeded(u64);

impl Seeded {
    /// The numbers of this seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.roll() % end.max(1)
    }

    /// A place in a list of this length.
    pub fn index(&mut self, length: usize) -> usize {
        usize::try_from(self.below(length as u64)).unwrap_or(0)
    }

    /// True once in `times`.
    pub fn one_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }
}

impl Dice for Seeded {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}
