//! The numbers and timing rules of the broker, in one place, each with its reason.
//! Does not: hold state.
//! Met by: `account` and `broker`.

use super::{
    dice::Dice,
    time::{Now, Tick, Ticks, Wall},
};

/// How long a flow that a `get` began waits for a person. Authorization pages of identity providers end after five to
/// ten minutes, and a tab older than that is forgotten.
pub const FLOW_LIFE: Ticks = Ticks::seconds(300);

/// Longest flow that `login --timeout` may ask for.
pub const LONGEST_FLOW: Ticks = Ticks::seconds(3600);

/// Longest a `get` may wait, whatever it asks for; its connection is closed then.
pub const LONGEST_WAIT: Ticks = Ticks::seconds(3600);

/// First pause after a flow that nobody answered, doubling up to [`LONGEST_COOL_DOWN`].
const FIRST_COOL_DOWN: Ticks = Ticks::seconds(60);

/// Longest pause between two tabs that nobody asked for by `login` (hundreds overnight were seen elsewhere).
const LONGEST_COOL_DOWN: Ticks = Ticks::seconds(3600);

/// First pause after a passing failure, doubling up to [`LONGEST_REST`].
const FIRST_REST: Ticks = Ticks::seconds(1);

/// Shortest pause after a passing failure, whatever the dice say.
const SHORTEST_REST: Ticks = Ticks(200);

/// Longest pause between two attempts of our own choosing: short enough to be back soon after an outage.
const LONGEST_REST: Ticks = Ticks::seconds(300);

/// Longest pause that Rally may ask for by `Retry-After`.
const LONGEST_RETRY_AFTER: u32 = 3600;

/// How long a `get` waits for the vault to take a new token before it is served from memory. Longer than any healthy
/// keyring needs (8 ms were measured), and short enough for a caller. `login` waits for the vault's own deadline instead.
pub const SAVE_PATIENCE: Ticks = Ticks::seconds(2);

/// Pause before a vault that did not answer is asked again without a caller, who would see its prompts.
pub const UNASKED_LOAD: Ticks = Ticks::seconds(60);

/// How long the keyring may take before callers are told that it is waited for. A healthy one answers in a few
/// milliseconds; half a second is when people begin to wonder.
pub const KEYRING_NEWS: Ticks = Ticks(500);

/// Pause between the need for a sign-in and the alert to somebody who is not looking: time for a client to find its
/// person, which takes it one start of git, and to ask again.
pub const ALERT_GRACE: Ticks = Ticks::seconds(5);

/// How long a stopping daemon waits for the vault to take what is on its way.
pub const STOP_PATIENCE: Ticks = Ticks::seconds(3);

/// How long nothing must happen before a daemon ends that its service manager starts again. Long enough that a working
/// day is served from memory and its tokens are renewed ahead of time.
pub const IDLE_EXIT: Ticks = Ticks::seconds(3600);

/// A token that nobody used for this long is not renewed ahead of time: a working day and the night after it.
const USED_LATELY: Ticks = Ticks::seconds(24 * 3600);

/// Renewal ahead of time begins at most this early.
const LONGEST_LEAD: i64 = 300;

/// When a token is renewed ahead of its end: a tenth of its life, at most five minutes, less a jitter of up to half of
/// that, so that many daemons that signed in together do not renew together.
pub fn renewal_lead(life: i64, dice: &mut dyn Dice) -> i64 {
    let lead = (life / 10).clamp(0, LONGEST_LEAD);
    let jitter = dice.up_to(Ticks::seconds(lead.unsigned_abs() / 2)).as_seconds();
    lead - i64::try_from(jitter).unwrap_or(0)
}

/// Whether somebody used the token recently enough to renew it unasked.
pub fn is_used_lately(now: Now, last_used: Option<Tick>) -> bool {
    last_used.is_some_and(|used| now.tick - used <= USED_LATELY)
}

/// Pause after the `misses`-th flow in a row that came to nothing, and after the `misses`-th alert in a row.
pub fn cool_down(misses: u32) -> Ticks {
    doubled(FIRST_COOL_DOWN, misses, LONGEST_COOL_DOWN)
}

/// Whether the pauses between flows can begin anew without a flood of tabs.
pub fn is_cool_down_forgettable(now: Now, until: Option<Tick>) -> bool {
    until.is_none_or(|until| until + LONGEST_COOL_DOWN <= now.tick)
}

/// Pause after the `failures`-th passing failure in a row: exponential with full jitter, or what Rally asked for.
pub fn rest(failures: u32, retry_after: Option<u32>, dice: &mut dyn Dice) -> Ticks {
    match retry_after {
        Some(seconds) => Ticks::seconds(u64::from(seconds.clamp(1, LONGEST_RETRY_AFTER))),
        None => dice.up_to(doubled(FIRST_REST, failures, LONGEST_REST)).max(SHORTEST_REST),
    }
}

/// Pause before the vault is asked again to keep what it did not take.
pub fn save_again(failures: u32, dice: &mut dyn Dice) -> Ticks {
    Ticks(doubled(Ticks::seconds(5), failures, LONGEST_REST).0 / 2 + dice.up_to(Ticks::seconds(5)).0)
}

/// The tick at which a wall time will come, if no clock is moved; the past is now.
pub fn tick_of(now: Now, wall: Wall) -> Tick {
    now.tick + Ticks::seconds(u64::try_from(wall.0.saturating_sub(now.wall.0)).unwrap_or(0))
}

/// The wall time at which a tick will come, if no clock is moved.
pub fn wall_of(now: Now, tick: Tick) -> Wall {
    now.wall.after(i64::try_from((tick - now.tick).as_seconds()).unwrap_or(i64::MAX))
}

fn doubled(first: Ticks, times: u32, most: Ticks) -> Ticks {
    let factor = 1u64.checked_shl(times.saturating_sub(1)).unwrap_or(u64::MAX);
    Ticks(first.0.saturating_mul(factor)).min(most)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Highest;

    impl Dice for Highest {
        fn roll(&mut self) -> u64 {
            0
        }
        fn up_to(&mut self, most: Ticks) -> Ticks {
            most
        }
    }

    #[test]
    fn pauses_double_up_to_their_cap() {
        let pauses: Vec<_> = [1, 2, 3, 7, 40, 400].into_iter().map(|n| cool_down(n).as_seconds()).collect();
        assert_eq!(pauses, [60, 120, 240, 3600, 3600, 3600]);
        let rests: Vec<_> =
            [1, 2, 5, 9, 80].into_iter().map(|n| rest(n, None, &mut Highest).as_seconds()).collect();
        assert_eq!(rests, [1, 2, 16, 256, 300]);
    }

    #[test]
    fn retry_after_is_honoured_within_reason() {
        assert_eq!(rest(1, Some(17), &mut Highest), Ticks::seconds(17));
        assert_eq!(rest(1, Some(u32::MAX), &mut Highest), Ticks::seconds(3600));
    }

    #[test]
    fn renewal_leads_by_a_tenth_at_most_five_minutes_and_at_least_half_of_that() {
        assert_eq!(renewal_lead(86_400, &mut Highest), 150);
        assert_eq!(renewal_lead(100, &mut Highest), 5);
        assert_eq!(renewal_lead(0, &mut Highest), 0);
    }
}
