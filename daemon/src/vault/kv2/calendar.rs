//! How far the server's calendar is from this machine's, by the header `Date` of its answers.
//! Does not: set a clock.
//! Used by: `kv2`. Records have times in them, and machines of a fleet may disagree by hours.

use std::time::{SystemTime, UNIX_EPOCH};

/// Bounds of the difference in milliseconds, which grow closer with each answer.
#[derive(Debug, Default)]
pub(super) struct Calendar(Option<(i64, i64)>);

impl Calendar {
    pub(super) fn bounds(&self) -> Option<(i64, i64)> {
        self.0
    }

    /// The server wrote this second between these two moments of this machine.
    pub(super) fn heard(&mut self, sent: i64, came: i64, date: Option<i64>) {
        let Some(date) = date else { return };
        let (least, most) = (date * 1000 - came, date * 1000 + 999 - sent);
        self.0 = match self.0 {
            Some((low, high)) if low.max(least) <= high.min(most) => Some((low.max(least), high.min(most))),
            // One of the two was set.
            _ => Some((least, most.max(least))),
        };
    }
}

/// Milliseconds since 1970 by this machine's calendar.
pub(super) fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_answer_brings_the_bounds_closer_until_a_clock_is_set() {
        let mut calendar = Calendar::default();
        calendar.heard(5_000, 5_010, Some(3605));
        assert_eq!(calendar.bounds(), Some((3_599_990, 3_600_999)));
        calendar.heard(5_900, 5_910, Some(3605));
        calendar.heard(6_100, 6_110, Some(3606));
        assert_eq!(calendar.bounds(), Some((3_599_990, 3_600_099)));
        calendar.heard(7_000, 7_010, None);
        calendar.heard(7_000, 7_010, Some(7));
        assert_eq!(calendar.bounds(), Some((-10, 999)));
    }
}
