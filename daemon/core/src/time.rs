//! The two clocks as values: wall time for what survives a restart, boot time for waits.
//! Does not: read a clock (the driver does).
//! Used by: the broker, which is given the time with each event.

use std::ops::{Add, Sub};

/// The time of an event, read from both clocks at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// The calendar, which may jump.
    pub wall: Wall,
    /// The part of this second that is over: 0 to 999 ms.
    pub into_second: Ticks,
    /// Time since boot, suspend included; it never goes back.
    pub tick: Tick,
}

/// Seconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Wall(pub i64);

/// Milliseconds since boot, suspend included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tick(pub u64);

/// A span in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticks(pub u64);

impl Ticks {
    /// A span of whole seconds.
    pub const fn seconds(seconds: u64) -> Self {
        Self(seconds.saturating_mul(1000))
    }

    /// The span in whole seconds, rounded up.
    pub const fn as_seconds(self) -> u64 {
        self.0.div_ceil(1000)
    }

    /// The span as the standard library's type.
    pub const fn as_duration(self) -> std::time::Duration {
        std::time::Duration::from_millis(self.0)
    }
}

impl Add<Ticks> for Tick {
    type Output = Tick;
    fn add(self, span: Ticks) -> Tick {
        Tick(self.0.saturating_add(span.0))
    }
}

impl Sub for Tick {
    type Output = Ticks;
    /// The span since an earlier tick; zero if it is later.
    fn sub(self, earlier: Tick) -> Ticks {
        Ticks(self.0.saturating_sub(earlier.0))
    }
}

impl Wall {
    /// This many seconds later.
    #[must_use]
    pub const fn after(self, seconds: i64) -> Self {
        Self(self.0.saturating_add(seconds))
    }
}
