//! Randomness as an argument, so that histories can be replayed.
//! Does not: produce the numbers; the driver asks the operating system, a test counts.
//! Used by: the broker, for the state of a flow and the jitter of pauses.

use uuid::Uuid;

use super::time::Ticks;

/// A source of uniform numbers. The daemon's must be unpredictable, since the state of a flow comes from it.
pub trait Dice {
    /// The next 64 bits.
    fn roll(&mut self) -> u64;

    /// A UUID v4.
    fn uuid(&mut self) -> Uuid {
        let bits = (u128::from(self.roll()) << 64) | u128::from(self.roll());
        uuid::Builder::from_random_bytes(bits.to_be_bytes()).into_uuid()
    }

    /// A span from zero to `most`, inclusive.
    fn up_to(&mut self, most: Ticks) -> Ticks {
        Ticks(self.roll() % most.0.saturating_add(1).max(1))
    }
}
