//! The requests that wait for one profile's token.
//! Does not: decide who is served.
//! Used by: the account.

use crate::{event::AskId, time::Tick, waiter::Waiter};

/// Those who wait, in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct Waiters(Vec<Waiter>);

impl Waiters {
    pub(super) fn push(&mut self, waiter: Waiter) {
        self.0.push(waiter);
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Waiter> {
        self.0.iter()
    }

    pub(super) fn any(&self, is_meant: impl Fn(&Waiter) -> bool) -> bool {
        self.0.iter().any(is_meant)
    }

    /// Whether this request waits here.
    pub(super) fn has(&self, id: AskId) -> bool {
        self.any(|waiter| waiter.id == id)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// When the first one's time is up.
    pub(super) fn next_deadline(&self) -> Option<Tick> {
        self.0.iter().map(|waiter| waiter.deadline).min()
    }

    /// Takes those out who are meant.
    pub(super) fn take_if(&mut self, is_meant: impl Fn(&Waiter) -> bool) -> Vec<Waiter> {
        // Hardly ever is anybody meant.
        if !self.any(&is_meant) {
            return Vec::new();
        }
        let (taken, waiting) = std::mem::take(&mut self.0).into_iter().partition(is_meant);
        self.0 = waiting;
        taken
    }

    pub(super) fn take_all(&mut self) -> Vec<Waiter> {
        std::mem::take(&mut self.0)
    }

    /// Lets one go whose client left.
    pub(super) fn left(&mut self, id: AskId) {
        self.0.retain(|waiter| waiter.id != id);
    }
}
