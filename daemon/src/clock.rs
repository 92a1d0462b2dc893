//! The system's two clocks, for the broker.
//! Does not: wait (`driver` does).
//! Used by: `driver`, and `ipc`, which notes when a client connected.

use std::time::{SystemTime, UNIX_EPOCH};

#[cfg(unix)]
use rustix::time::{ClockId, clock_gettime};

use rally_cred_core::time::{Now, Tick, Ticks, Wall};

/// The time by both clocks.
pub fn now() -> Now {
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Now {
        wall: Wall(i64::try_from(wall.as_secs()).unwrap_or(i64::MAX)),
        into_second: Ticks(wall.subsec_millis().into()),
        tick: tick(),
    }
}

/// The boot clock, which counts suspend.
#[cfg(any(target_os = "linux", target_os = "android"))]
const COUNTS_SUSPEND: ClockId = ClockId::Boottime;

/// The clock that macOS lets go on while it sleeps, unlike that of the standard library. Where the same name means one that
/// stops then, only the calendar ends tokens.
#[cfg(not(any(target_os = "linux", target_os = "android", windows)))]
const COUNTS_SUSPEND: ClockId = ClockId::Monotonic;

/// The time by a clock that never goes back.
#[cfg(unix)]
pub fn tick() -> Tick {
    let time = clock_gettime(COUNTS_SUSPEND);
    let milliseconds = time.tv_sec.saturating_mul(1000).saturating_add(time.tv_nsec / 1_000_000);
    Tick(u64::try_from(milliseconds).unwrap_or(0))
}

/// The time since the start, which counts suspend.
#[cfg(windows)]
pub fn tick() -> Tick {
    Tick(rally_cred_windows::milliseconds_since_boot())
}
