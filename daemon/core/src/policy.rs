//! The broker's numbers and timing rules in one place, each with its reason.
//! Does not: hold state.
//! Used by: `account` and `broker`.

use super::{
    answer::Retry,
    dice::Dice,
    time::{Now, Tick, Ticks, Wall},
};

/// How long a flow that a `get` began waits for a person. Identity providers' pages expire after five to ten minutes,
/// and a tab older than that is forgotten.
pub const FLOW_LIFE: Ticks = Ticks::seconds(300);

/// Longest flow that `login --timeout` may ask for.
pub const LONGEST_FLOW: Ticks = Ticks::seconds(3600);

/// Longest a `get` may wait, whatever it asks for.
pub const LONGEST_WAIT: Ticks = Ticks::seconds(3600);

/// Requests of one user that Rally serves at once.
pub const RALLY_AT_ONCE: u8 = 12;

/// First pause after a flow that nobody answered, doubling up to [`LONGEST_COOL_DOWN`].
const FIRST_COOL_DOWN: Ticks = Ticks::seconds(60);

/// Longest pause between two tabs that no `login` asked for (other programs opened hundreds overnight).
const LONGEST_COOL_DOWN: Ticks = Ticks::seconds(3600);

/// First pause after a passing failure, doubling up to [`LONGEST_REST`].
const FIRST_REST: Ticks = Ticks::seconds(1);

/// Shortest pause after a passing failure, however the dice fall.
const SHORTEST_REST: Ticks = Ticks(200);

/// Longest pause of our own choosing: short enough to be back soon after an outage.
pub const LONGEST_REST: Ticks = Ticks::seconds(300);

/// Longest `Retry-After` that is honoured.
const LONGEST_RETRY_AFTER: u32 = 3600;

/// How long a `get` waits for a new token to be saved before it is served from memory: longer than any healthy keyring
/// needs (8 ms were measured), short enough for a caller. `login` waits for the vault's own deadline.
pub const SAVE_PATIENCE: Ticks = Ticks::seconds(2);

/// Pause before the vault, which may show prompts, is asked again without a caller.
pub const UNASKED_LOAD: Ticks = Ticks::seconds(60);

/// How long the keyring may take before callers are told about it. A healthy one answers in a few milliseconds; people
/// begin to wonder after half a second.
pub const KEYRING_NEWS: Ticks = Ticks(500);

/// Pause before the user is notified that a sign-in is needed: time for a client to find its person, which takes one
/// start of git, and to ask again.
pub const ALERT_GRACE: Ticks = Ticks::seconds(5);

/// How long the user's word about a program counts: a working day.
pub const CONSENT_LASTS: Ticks = Ticks::seconds(12 * 3600);

/// How long nobody is asked about a program again after the user could not be asked, unless a person asks for it.
pub const NOBODY_ASKED: Ticks = Ticks::seconds(60);

/// Most questions about programs of one profile that are open at a time. More than these few nobody reads.
pub const MOST_QUESTIONS: usize = 4;

/// Most programs of one profile of which the user's word is remembered.
pub const MOST_REMEMBERED: usize = 256;

/// Pause before a gateway whose port was taken is tried again.
pub const GATEWAY_PAUSE: Ticks = Ticks::seconds(10);

/// How long a stopping daemon waits for the vault.
pub const STOP_PATIENCE: Ticks = Ticks::seconds(3);

/// How long an idle daemon that its service manager can start again stays: long enough that a working day is served
/// from memory and its tokens are renewed ahead of time.
pub const IDLE_EXIT: Ticks = Ticks::seconds(3600);

/// A token unused for this long is not renewed ahead of time: a working day and the night after it.
const USED_LATELY: Ticks = Ticks::seconds(24 * 3600);

/// How long a sign-in may rely on the last look: a burst of callers costs one.
pub const LOOK_PAUSE: Ticks = Ticks::seconds(2);

/// How long a renewal or a sign-in waits for a look: longer than any healthy keyring needs, short enough for a caller.
pub const LOOK_PATIENCE: Ticks = Ticks::seconds(2);

/// The same where the vault is another machine's: longer than its shell gives a call.
pub const SHARED_LOOK_PATIENCE: Ticks = Ticks::seconds(15);

/// How long a lease counts that nobody extends: longer than a token request may take, which is 20 seconds. So long, at
/// most, a fleet waits for a daemon that died with it.
pub const LEASE: Ticks = Ticks::seconds(30);

/// How long after it was taken a lease is extended: early enough for two more attempts.
pub const LEASE_EXTENSION: Ticks = Ticks::seconds(10);

/// Longest pause before a daemon looks again at a lease that another holds.
const LONGEST_LEASE_PAUSE: Ticks = Ticks::seconds(4);

/// Pauses before further looks, after Rally refused a refresh token that the vault still has: another daemon may have
/// used it up and be about to save the next one. A renewal and a save take well under a second together.
pub const SECOND_LOOKS: [Ticks; 2] = [Ticks(250), Ticks(1000)];

/// How many refusals of one kind in a row are believed. Rally answers `invalid_grant` for other causes too, and any
/// server may answer 401 in a bad moment.
pub const REFUSALS: u32 = 3;

/// A token is fresh for at most this part of its life.
const LONGEST_FRESHNESS: i64 = 300;

/// What a request for more validity than a token's life is reduced to, or to a tenth of that life if that is less.
const LEAST_VALIDITY: i64 = 60;

/// This many reports or refusals in a row cost nothing.
const FREE: u32 = 3;

/// First pause before word of the network or the vault counts again; doubles up to [`LONGEST_REST`].
const FIRST_EARLY_PAUSE: Ticks = Ticks::seconds(10);

/// First pause after a wrong report; doubles up to [`LONGEST_REPORT_PAUSE`].
const FIRST_REPORT_PAUSE: Ticks = Ticks::seconds(5);

/// How long Rally's acceptance of a token answers further `status --check`s.
pub const CHECK_PAUSE: Ticks = Ticks::seconds(2);

/// Longest such pause: a token that is revoked after wrong reports is given out for this long at most.
const LONGEST_REPORT_PAUSE: Ticks = Ticks::seconds(60);

/// Earliest renewal ahead of time.
const LONGEST_LEAD: i64 = 300;

/// How long before its expiry a token is renewed: a tenth of its life, at most five minutes, less a jitter of up to
/// half of that, so that daemons that signed in together do not renew together.
pub fn renewal_lead(life: i64, dice: &mut dyn Dice) -> i64 {
    let lead = (life / 10).clamp(0, LONGEST_LEAD);
    let jitter = dice.up_to(Ticks::seconds(lead.unsigned_abs() / 2)).as_seconds();
    lead - i64::try_from(jitter).unwrap_or(0)
}

/// Whether a token with `left` of its `life` seconds to go will do for a caller that wants `wish` seconds of validity.
///
/// A fresh token always will, and a wish beyond the token's life is reduced: so the life of tokens bounds the number of
/// renewals that callers can cause, whatever they ask for.
pub fn satisfies(left: i64, life: Option<i64>, wish: i64) -> bool {
    let Some(life) = life else { return true };
    let wish = if wish > life { LEAST_VALIDITY.min(life / 10) } else { wish };
    left >= wish || is_fresh(left, life)
}

/// The end of a token's life, in which it is not given out: a second, which a caller needs to use it, or a tenth of a
/// life of less than ten seconds.
pub fn last_moments(life: i64) -> Ticks {
    Ticks(u64::try_from(life.saturating_mul(100)).unwrap_or(0).min(1000))
}

/// Whether a token is in the first tenth of its life, or the first five minutes if that is less.
pub fn is_fresh(left: i64, life: i64) -> bool {
    life.saturating_sub(left) < (life / 10).min(LONGEST_FRESHNESS)
}

/// Whether no token of this life can have this validity, and the wish is more than what clients ask for by default, so
/// that the caller should be told.
pub fn is_beyond_life(life: Option<i64>, wish: i64) -> bool {
    life.is_some_and(|life| wish > life.max(LEAST_VALIDITY))
}

/// How long reports are ignored after this many wrong ones in a row; the first few cost nothing.
pub fn report_pause(idle_reports: u32) -> Option<Ticks> {
    let more = idle_reports.checked_sub(FREE - 1).filter(|more| *more > 0)?;
    Some(doubled(FIRST_REPORT_PAUSE, more, LONGEST_REPORT_PAUSE))
}

/// Seconds until the next renewal after Rally refused this many fresh tokens in a row; the first few cost nothing.
pub fn refusal_pause(refused: u32) -> Option<u32> {
    let more = refused.checked_sub(FREE).filter(|more| *more > 0)?;
    u32::try_from(doubled(FIRST_REST, more, LONGEST_REST).as_seconds()).ok()
}

/// Whether somebody used the token recently enough to renew it unasked.
pub fn is_used_lately(now: Now, last_used: Option<Tick>) -> bool {
    last_used.is_some_and(|used| now.tick - used <= USED_LATELY)
}

/// Pause after the `misses`-th failed flow in a row, and after the `misses`-th alert in a row.
pub fn cool_down(misses: u32) -> Ticks {
    doubled(FIRST_COOL_DOWN, misses, LONGEST_COOL_DOWN)
}

/// Whether the pauses between flows can begin anew without a flood of tabs.
pub fn is_cool_down_forgettable(now: Now, until: Option<Tick>) -> bool {
    until.is_none_or(|until| until + LONGEST_COOL_DOWN <= now.tick)
}

/// Pause after the `failures`-th passing failure in a row: exponential with full jitter, or what Rally asked for.
pub fn backoff(failures: u32, retry: Retry, dice: &mut dyn Dice) -> Ticks {
    match retry {
        Retry::After(seconds) => Ticks::seconds(u64::from(seconds.clamp(1, LONGEST_RETRY_AFTER))),
        Retry::Later | Retry::Online => {
            dice.up_to(doubled(FIRST_REST, failures, LONGEST_REST)).max(SHORTEST_REST)
        }
    }
}

/// How long word of the network or the vault does not count after it counted so many times in a row. The first few cost
/// nothing: a machine that wakes hears of it, then of an address and then of a route.
pub fn early_pause(times: u32) -> Ticks {
    match times.checked_sub(FREE - 1).filter(|more| *more > 0) {
        Some(more) => doubled(FIRST_EARLY_PAUSE, more, LONGEST_REST),
        None => Ticks(0),
    }
}

/// Pause before the vault is asked again to keep what it did not take. `is_shared`: other daemons wait for it.
pub fn save_again(failures: u32, is_shared: bool, dice: &mut dyn Dice) -> Ticks {
    let (first, most) =
        if is_shared { (Ticks(500), Ticks::seconds(5)) } else { (Ticks::seconds(5), LONGEST_REST) };
    Ticks(doubled(first, failures, most).0 / 2 + dice.up_to(first).0)
}

/// Pause before the `times`-th look in a row at a lease that another daemon holds. A renewal takes about half a second;
/// those who wait for it do not come all at once.
pub fn lease_pause(times: u32, dice: &mut dyn Dice) -> Ticks {
    let half = Ticks(doubled(Ticks(500), times, LONGEST_LEASE_PAUSE).0 / 2);
    Ticks(half.0 + dice.up_to(half).0)
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
        let rests: Vec<_> = [1, 2, 5, 9, 80]
            .into_iter()
            .map(|n| backoff(n, Retry::Later, &mut Highest).as_seconds())
            .collect();
        assert_eq!(rests, [1, 2, 16, 256, 300]);
    }

    #[test]
    fn a_wish_is_capped_by_the_life_of_a_token_and_a_fresh_token_satisfies_any() {
        let day = 86_400;
        assert!(satisfies(day - 1, Some(day), 48 * 3600), "two days are more than any token has");
        assert!(satisfies(3600, Some(day), 48 * 3600));
        assert!(!satisfies(59, Some(day), 48 * 3600));
        assert!(!satisfies(3599, Some(day), 3600), "what can be had is given");
        assert!(satisfies(day - 200, Some(day), day - 1), "the next would be no better for long");
        assert!(satisfies(1, Some(5), 60));
        assert!(satisfies(i64::MAX, None, i64::MAX));
    }

    #[test]
    fn retry_after_is_honoured_within_reason() {
        assert_eq!(backoff(1, Retry::After(17), &mut Highest), Ticks::seconds(17));
        assert_eq!(backoff(1, Retry::After(u32::MAX), &mut Highest), Ticks::seconds(3600));
    }

    #[test]
    fn renewal_leads_by_a_tenth_at_most_five_minutes_and_at_least_half_of_that() {
        assert_eq!(renewal_lead(86_400, &mut Highest), 150);
        assert_eq!(renewal_lead(100, &mut Highest), 5);
        assert_eq!(renewal_lead(0, &mut Highest), 0);
    }
}
