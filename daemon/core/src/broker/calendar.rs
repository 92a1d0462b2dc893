//! The calendar by which records are written and read: this machine's, or that of a vault which many machines share, since
//! theirs may differ by hours.
//! Does not: read a clock, or measure how far two are apart (the shell `vault` does).
//! Used by: the broker.

use rally_cred_proto::{Event, Reply};

use crate::{
    event::Effect,
    time::{Now, Ticks, Wall},
};

/// By how many milliseconds the vault's calendar is ahead of this machine's, at least and at most. Nobody knows it better
/// than to a part of a second.
#[derive(Debug, Default)]
pub(super) struct Calendar {
    least: i64,
    most: i64,
}

impl Calendar {
    pub(super) fn heard(&mut self, least: i64, most: i64) {
        (self.least, self.most) = (least, most.max(least));
    }

    /// The latest time that it may be, so that no token is taken for younger than it is.
    pub(super) fn now(&self, now: Now) -> Now {
        let (wall, into_second) = ahead(now, self.most);
        Now { wall, into_second, ..now }
    }

    /// The earliest time that it may be, so that no reader takes a token for younger than it is.
    pub(super) fn issued(&self, now: Now) -> Wall {
        ahead(now, self.least).0
    }

    /// What leaves the daemon is in this machine's time.
    pub(super) fn to_local(&self, effects: &mut [Effect]) {
        // Rounded so that a token ends for callers no later than for the daemon.
        let seconds = self.most.div_euclid(1000) + i64::from(self.most.rem_euclid(1000) > 0);
        let back = |time: &mut Option<i64>| *time = time.map(|time| time.saturating_sub(seconds));
        if seconds == 0 {
            return;
        }
        for effect in effects {
            match effect {
                Effect::Reply(_, Reply::Token(token)) => back(&mut token.expires_at),
                Effect::Reply(_, Reply::SignedIn(signed_in)) => back(&mut signed_in.expires_at),
                Effect::Tell(_, Event::News(news)) => back(&mut news.expires_at),
                Effect::Tell(_, Event::Profile(profile)) => {
                    back(&mut profile.obtained_at);
                    back(&mut profile.expires_at);
                    back(&mut profile.renews_at);
                }
                _ => {}
            }
        }
    }
}

fn ahead(now: Now, by: i64) -> (Wall, Ticks) {
    let into_second = i64::try_from(now.into_second.0).unwrap_or(0);
    let at = now.wall.0.saturating_mul(1000).saturating_add(into_second).saturating_add(by);
    (Wall(at.div_euclid(1000)), Ticks(at.rem_euclid(1000).unsigned_abs()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Tick;

    #[test]
    fn the_time_is_late_for_what_is_read_and_early_for_what_is_written() {
        let now = Now { wall: Wall(10_000), into_second: Ticks(900), tick: Tick(1) };
        let mut calendar = Calendar::default();
        assert_eq!((calendar.now(now), calendar.issued(now)), (now, Wall(10_000)));
        calendar.heard(-3_600_050, -3_599_800);
        let (read, written) = (calendar.now(now), calendar.issued(now));
        assert_eq!((read.wall, read.into_second, written), (Wall(6401), Ticks(100), Wall(6400)));
    }
}
