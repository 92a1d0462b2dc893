//! The lease on a renewal, where many daemons share a vault: who holds it, and whether it still counts.
//! Does not: read or write the vault (`leasing` does), or trust another machine's clock.
//! Used by: the account.

use rally_cred_proto::Secret;

use crate::{
    dice::Dice,
    policy, record,
    time::{Now, Tick},
};

/// What this daemon knows of the lease.
#[derive(Debug, Default)]
pub(super) struct Lease {
    /// The name under which this daemon takes leases, made at the first.
    owner: Option<String>,
    /// Another's lease, and since when this daemon has seen it unchanged.
    seen: Option<(record::Lease, Tick)>,
    /// How often in a row it was found to be another's.
    found: u32,
    /// When the lease that this daemon holds is to be extended.
    extend_at: Option<Tick>,
    /// The token's item as it was last read, letter by letter, which a change has to name.
    item: Option<Secret>,
}

impl Lease {
    /// The token's item was read.
    pub(super) fn read(&mut self, item: Option<Secret>) {
        self.item = item;
    }

    pub(super) fn item(&self) -> Option<&Secret> {
        self.item.as_ref()
    }

    /// Whether this daemon may take the lease. Another's counts until this daemon has seen it unchanged for
    /// [`policy::LEASE`] by its own steady clock: whoever holds it and lives extends it sooner.
    /// `gives_way`: this daemon's own counts as another's.
    pub(super) fn may_take(&mut self, now: Now, found: Option<&record::Lease>, gives_way: bool) -> bool {
        let other = found.filter(|lease| gives_way || Some(&lease.owner) != self.owner.as_ref());
        let Some(other) = other else {
            (self.seen, self.found) = (None, 0);
            return true;
        };
        let since = match &self.seen {
            Some((seen, since)) if seen == other => *since,
            _ => {
                self.seen = Some((other.clone(), now.tick));
                now.tick
            }
        };
        now.tick - since >= policy::LEASE
    }

    /// When to look again at a lease that another holds.
    pub(super) fn look_again_at(&mut self, now: Now, dice: &mut dyn Dice) -> Tick {
        self.found += 1;
        now.tick + policy::lease_pause(self.found, dice)
    }

    /// A lease for this daemon from now on.
    pub(super) fn claim(&mut self, now: Now, dice: &mut dyn Dice) -> record::Lease {
        let owner = self.owner.get_or_insert_with(|| dice.uuid().to_string()).clone();
        record::Lease {
            owner,
            until: now.wall.after(policy::LEASE.as_seconds().cast_signed()).0,
            turn: dice.roll(),
        }
    }

    /// This daemon holds the lease, by a change of the item that was begun then.
    pub(super) fn taken(&mut self, began: Tick) {
        (self.seen, self.found) = (None, 0);
        self.extend_at = Some(began + policy::LEASE_EXTENSION);
    }

    /// What the lease was for has ended.
    pub(super) fn over(&mut self) {
        self.extend_at = None;
    }

    pub(super) fn extend_at(&self) -> Option<Tick> {
        self.extend_at
    }

    /// Whether the lease is to be extended now, which is asked once.
    pub(super) fn take_extension(&mut self, now: Now) -> bool {
        self.extend_at.take_if(|at| *at <= now.tick).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::{Ticks, Wall};

    struct Counting(u64);

    impl Dice for Counting {
        fn roll(&mut self) -> u64 {
            self.0 += 1;
            self.0
        }
    }

    fn at(tick: u64) -> Now {
        Now { wall: Wall(0), into_second: Ticks(0), tick: Tick(tick) }
    }

    fn of(owner: &str, turn: u64) -> record::Lease {
        record::Lease { owner: owner.to_owned(), until: -3600, turn }
    }

    #[test]
    fn a_lease_of_another_counts_for_as_long_as_it_changes_whatever_it_says_of_its_end() {
        let mut lease = Lease::default();
        assert!(lease.may_take(at(0), None, false));
        assert!(!lease.may_take(at(10), Some(&of("other", 1)), false));
        assert!(!lease.may_take(at(policy::LEASE.0), Some(&of("other", 1)), false));
        assert!(!lease.may_take(at(policy::LEASE.0 + 10), Some(&of("other", 2)), false), "it was extended");
        assert!(!lease.may_take(at(policy::LEASE.0 + 20), Some(&of("third", 2)), false));
        assert!(lease.may_take(at(2 * policy::LEASE.0 + 20), Some(&of("third", 2)), false));
    }

    #[test]
    fn a_daemon_knows_its_own_lease_and_each_claim_differs_from_the_last() {
        let (mut lease, mut dice) = (Lease::default(), Counting(0));
        let first = lease.claim(at(0), &mut dice);
        assert!(lease.may_take(at(1), Some(&first), false));
        let second = lease.claim(at(2), &mut dice);
        assert_eq!(first.owner, second.owner);
        assert_ne!(first, second);
    }
}
