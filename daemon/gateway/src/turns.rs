//! Who may ask Rally now, and who waits: so many requests at once for one user of Rally, and the keys by which they come
//! take turns, so that one tool's storm does not hold up another.
//! Does not: wait, or measure time (`queue` does).
//! Used by: `queue`.

use std::{
    collections::{HashMap, VecDeque},
    hash::Hash,
    time::Duration,
};

/// How much is asked at once, and how much may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Requests at once. Rally serves twelve of one user's.
    pub(crate) at_once: usize,
    /// Requests that may wait, of each key.
    pub(crate) waiting: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { at_once: 12, waiting: 256 }
    }
}

/// Turns of the requests for one user of Rally. `K` names a key.
#[derive(Debug)]
pub(crate) struct Turns<K> {
    limits: Limits,
    running: usize,
    /// Turns of programs that go to Rally by themselves.
    reserved: usize,
    /// The tickets of those who wait.
    waiting: HashMap<K, VecDeque<Ticket>>,
    /// The keys of those who wait, in the order of their turns.
    order: VecDeque<K>,
    next: u64,
    /// About how long a turn lasts.
    usual: Duration,
}

/// Stands for a request that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Ticket(u64);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    Now,
    /// When [`Turns::end`] returns this ticket.
    Later(Ticket),
}

/// Too many wait already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Busy {
    /// Whole seconds, for the header Retry-After: 1 to 60.
    pub(crate) retry_after: u64,
}

impl<K: Clone + Eq + Hash> Turns<K> {
    pub(crate) fn new(limits: Limits) -> Self {
        let usual = Duration::from_secs(1);
        Self {
            limits,
            running: 0,
            reserved: 0,
            waiting: HashMap::new(),
            order: VecDeque::new(),
            next: 0,
            usual,
        }
    }

    /// A request came by this key.
    pub(crate) fn ask(&mut self, key: &K) -> Result<Turn, Busy> {
        if self.has_room() {
            self.running += 1;
            return Ok(Turn::Now);
        }
        let ahead = self.waiting();
        let tickets = self.waiting.entry(key.clone()).or_default();
        if tickets.len() >= self.limits.waiting {
            return Err(Busy { retry_after: self.retry_after(ahead) });
        }
        if tickets.is_empty() {
            self.order.push_back(key.clone());
        }
        let ticket = Ticket(self.next);
        self.next += 1;
        tickets.push_back(ticket);
        Ok(Turn::Later(ticket))
    }

    /// A turn has ended that lasted so long; whose turn it is now.
    pub(crate) fn end(&mut self, lasted: Duration) -> Option<Ticket> {
        self.usual = (self.usual * 7 + lasted) / 8;
        self.running = self.running.saturating_sub(1);
        self.next()
    }

    /// So many turns are others' from now on. Whoever has one keeps it to its end. Whose turn it is now.
    pub(crate) fn reserve(&mut self, count: usize) -> Vec<Ticket> {
        self.reserved = count;
        std::iter::from_fn(|| self.next()).collect()
    }

    /// Whoever waited by this key and ticket has gone.
    pub(crate) fn leave(&mut self, key: &K, ticket: Ticket) {
        if let Some(tickets) = self.waiting.get_mut(key) {
            tickets.retain(|waiting| *waiting != ticket);
            if tickets.is_empty() {
                self.waiting.remove(key);
                self.order.retain(|waiting| waiting != key);
            }
        }
    }

    /// How many have a turn.
    pub(crate) const fn running(&self) -> usize {
        self.running
    }

    /// How many wait.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.values().map(VecDeque::len).sum()
    }

    fn has_room(&self) -> bool {
        self.running + self.reserved < self.limits.at_once
    }

    fn next(&mut self) -> Option<Ticket> {
        let next = if self.has_room() { self.take_next() } else { None };
        self.running += usize::from(next.is_some());
        next
    }

    fn take_next(&mut self) -> Option<Ticket> {
        let key = self.order.pop_front()?;
        let tickets = self.waiting.get_mut(&key)?;
        let ticket = tickets.pop_front();
        if tickets.is_empty() {
            self.waiting.remove(&key);
        } else {
            self.order.push_back(key);
        }
        ticket
    }

    /// When those who wait now will about have had their turns.
    fn retry_after(&self, ahead: usize) -> u64 {
        let at_once = self.limits.at_once.saturating_sub(self.reserved);
        let rounds = ahead.div_ceil(at_once.max(1));
        let wait = self.usual.saturating_mul(u32::try_from(rounds).unwrap_or(u32::MAX));
        (wait.as_secs() + 1).min(60)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn turns(at_once: usize, waiting: usize) -> Turns<char> {
        Turns::new(Limits { at_once, waiting })
    }

    fn wait(turns: &mut Turns<char>, key: char) -> Ticket {
        match turns.ask(&key) {
            Ok(Turn::Later(ticket)) => ticket,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn twelve_are_served_at_once_and_the_thirteenth_waits_for_one_to_end() {
        let mut turns = Turns::new(Limits::default());
        for _ in 0..12 {
            assert_eq!(turns.ask(&'a'), Ok(Turn::Now));
        }
        let ticket = wait(&mut turns, 'a');
        assert_eq!((turns.running(), turns.waiting()), (12, 1));
        assert_eq!(turns.end(SECOND), Some(ticket));
        assert_eq!((turns.running(), turns.waiting()), (12, 0));
        assert_eq!(turns.end(SECOND), None);
        assert_eq!(turns.running(), 11);
        assert_eq!(turns.ask(&'b'), Ok(Turn::Now));
    }

    #[test]
    fn a_tools_storm_does_not_hold_up_another_tool() {
        let mut turns = turns(1, 100);
        assert_eq!(turns.ask(&'a'), Ok(Turn::Now));
        let storm: Vec<_> = (0..100).map(|_| wait(&mut turns, 'a')).collect();
        let (first, second) = (wait(&mut turns, 'b'), wait(&mut turns, 'b'));
        let next: Vec<_> = (0..5).map(|_| turns.end(SECOND).unwrap()).collect();
        assert_eq!(next, [storm[0], first, storm[1], second, storm[2]]);
    }

    #[test]
    fn one_who_has_gone_loses_nobody_a_turn() {
        let mut turns = turns(1, 100);
        assert_eq!(turns.ask(&'a'), Ok(Turn::Now));
        let (gone, stays) = (wait(&mut turns, 'a'), wait(&mut turns, 'b'));
        turns.leave(&'a', gone);
        turns.leave(&'a', gone);
        turns.leave(&'c', stays);
        assert_eq!(turns.waiting(), 1);
        assert_eq!(turns.end(SECOND), Some(stays));
        assert_eq!(turns.end(SECOND), None);
        assert_eq!((turns.running(), turns.waiting()), (0, 0));
    }

    #[test]
    fn beyond_its_queue_a_tool_is_told_when_to_come_again_and_others_still_wait() {
        let mut turns = turns(2, 4);
        while turns.ask(&'a').is_ok() {}
        assert_eq!(turns.ask(&'a'), Err(Busy { retry_after: 3 }));
        wait(&mut turns, 'b');
        for _ in 0..100 {
            turns.end(60 * SECOND);
            while turns.ask(&'a').is_ok() {}
        }
        assert_eq!(turns.ask(&'a'), Err(Busy { retry_after: 60 }));
    }

    #[test]
    fn turns_that_others_hold_are_not_given_and_come_back() {
        let mut turns = turns(3, 100);
        assert_eq!(turns.ask(&'a'), Ok(Turn::Now));
        assert_eq!(turns.ask(&'a'), Ok(Turn::Now));
        assert_eq!(turns.reserve(2), []);
        let (first, second) = (wait(&mut turns, 'a'), wait(&mut turns, 'a'));
        // What was under way is one too many, so its turn goes to nobody.
        assert_eq!(turns.end(SECOND), None);
        assert_eq!(turns.end(SECOND), Some(first));
        assert_eq!(turns.reserve(1), [second]);
        assert_eq!(turns.reserve(0), []);
        assert_eq!(turns.ask(&'a'), Ok(Turn::Now));
        assert_eq!((turns.running(), turns.waiting()), (3, 0));
    }

    proptest! {
        #[test]
        fn never_more_than_allowed_run_or_wait_and_nobody_waits_while_there_is_room(
            steps in proptest::collection::vec((0..5u8, 0..3usize), 0..200)
        ) {
            let mut turns = turns(3, 4);
            let mut waiting: Vec<(char, Ticket)> = Vec::new();
            let (mut running, mut reserved) = (0, 0);
            for (step, which) in steps {
                let key = ['a', 'b', 'c'][which];
                match step {
                    0 | 1 => match turns.ask(&key) {
                        Ok(Turn::Now) => running += 1,
                        Ok(Turn::Later(ticket)) => waiting.push((key, ticket)),
                        Err(busy) => {
                            prop_assert_eq!(waiting.iter().filter(|(by, _)| *by == key).count(), 4);
                            prop_assert!((1..=60).contains(&busy.retry_after));
                        }
                    },
                    2 if running > 0 => match turns.end(SECOND) {
                        None => running -= 1,
                        Some(next) => {
                            let at = waiting.iter().position(|(_, ticket)| *ticket == next).unwrap();
                            let (by, _) = waiting.remove(at);
                            // Of one key, whoever came first.
                            prop_assert!(!waiting[..at].iter().any(|(other, _)| *other == by));
                        }
                    },
                    3 if which < waiting.len() => {
                        let (key, ticket) = waiting.remove(which);
                        turns.leave(&key, ticket);
                    }
                    4 => {
                        reserved = which;
                        for next in turns.reserve(which) {
                            running += 1;
                            waiting.retain(|(_, ticket)| *ticket != next);
                        }
                    }
                    _ => (),
                }
                prop_assert_eq!((turns.running(), turns.waiting()), (running, waiting.len()));
                prop_assert!(running <= 3 && (running + reserved >= 3 || waiting.is_empty()));
            }
        }
    }
}
