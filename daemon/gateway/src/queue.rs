//! Waits for a turn (`turns` says whose it is).
//! Does not: decide.
//! Used by: `forward`, before it asks Rally for anything.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard},
};

use rally_cred_proto::unpoisoned;
use tokio::{sync::oneshot, time::Instant};

use crate::turns::{Busy, Limits, Ticket, Turn, Turns};

/// Rally serves twelve requests of one user at once. All gateways for that user share one of these, in which each has
/// its turns, by its name.
#[derive(Clone)]
pub struct Share(Arc<Mutex<Inner>>);

struct Inner {
    turns: Turns<Arc<str>>,
    /// Those who wait; whoever is no longer here has a turn.
    waiting: Vec<(Ticket, oneshot::Sender<()>)>,
}

/// A turn, until it is dropped.
pub(crate) struct Held {
    share: Share,
    since: Instant,
}

/// Somebody who waits, until they have their turn or go.
struct Waiting<'a> {
    share: &'a Share,
    key: &'a Arc<str>,
    ticket: Ticket,
}

impl Share {
    pub(crate) fn new(limits: Limits) -> Self {
        Self(Arc::new(Mutex::new(Inner { turns: Turns::new(limits), waiting: Vec::new() })))
    }

    /// A turn, when it comes. An error at once if too many wait already.
    pub(crate) async fn turn(&self, key: &Arc<str>) -> Result<Held, Busy> {
        let (ticket, turn) = {
            let mut inner = self.inner();
            match inner.turns.ask(key)? {
                Turn::Now => return Ok(self.held()),
                Turn::Later(ticket) => {
                    let (has_come, turn) = oneshot::channel();
                    inner.waiting.push((ticket, has_come));
                    (ticket, turn)
                }
            }
        };
        let waiting = Waiting { share: self, key, ticket };
        // The other end is dropped only after it was used.
        let _ = turn.await;
        std::mem::forget(waiting);
        Ok(self.held())
    }

    /// So many of the turns belong to programs that go to Rally by themselves, from now on. What is at Rally stays there
    /// to its end.
    pub fn reserve(&self, turns: u8) {
        let mut inner = self.inner();
        let next = inner.turns.reserve(turns.into());
        inner.wake(next);
    }

    /// How many have a turn, and how many wait.
    pub(crate) fn counts(&self) -> (usize, usize) {
        let inner = self.inner();
        (inner.turns.running(), inner.turns.waiting())
    }

    fn held(&self) -> Held {
        Held { share: self.clone(), since: Instant::now() }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        unpoisoned(&self.0)
    }

    fn end(&self, lasted: std::time::Duration) {
        let mut inner = self.inner();
        let next = inner.turns.end(lasted);
        inner.wake(next);
    }
}

impl Inner {
    fn wake(&mut self, next: impl IntoIterator<Item = Ticket>) {
        for next in next {
            if let Some(at) = self.waiting.iter().position(|(ticket, _)| *ticket == next) {
                let (_, has_come) = self.waiting.swap_remove(at);
                // Whoever does not hear it gives the turn back.
                let _ = has_come.send(());
            }
        }
    }
}

impl Default for Share {
    fn default() -> Self {
        Self::new(Limits::default())
    }
}

impl fmt::Debug for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (running, waiting) = self.counts();
        f.debug_struct("Share").field("running", &running).field("waiting", &waiting).finish()
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.share.end(self.since.elapsed());
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut inner = self.share.inner();
        match inner.waiting.iter().position(|(ticket, _)| *ticket == self.ticket) {
            Some(at) => {
                inner.waiting.swap_remove(at);
                inner.turns.leave(self.key, self.ticket);
            }
            // The turn came as they went.
            None => {
                drop(inner);
                self.share.end(std::time::Duration::ZERO);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, pin::pin, task::Poll};

    use super::*;

    /// Whether a future waits, without waiting for it.
    async fn waits<F: Future>(mut future: std::pin::Pin<&mut F>) -> bool {
        poll_fn(|context| Poll::Ready(future.as_mut().poll(context).is_pending())).await
    }

    fn run(future: impl Future<Output = ()>) {
        tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(future);
    }

    #[test]
    fn a_turn_that_ends_is_the_next_ones() {
        run(async {
            let (name, share) = ("a".into(), Share::new(Limits { at_once: 1, waiting: 1 }));
            let first = share.turn(&name).await.unwrap();
            let mut second = pin!(share.turn(&name));
            assert!(waits(second.as_mut()).await);
            assert!(share.turn(&name).await.is_err());
            assert_eq!(share.counts(), (1, 1));
            drop(first);
            let second = second.await.unwrap();
            assert_eq!(share.counts(), (1, 0));
            drop(second);
            assert_eq!(share.counts(), (0, 0));
        });
    }

    #[test]
    fn a_tool_that_goes_while_it_waits_or_just_as_its_turn_comes_blocks_nobody() {
        run(async {
            let (name, share) = ("a".into(), Share::new(Limits { at_once: 1, waiting: 9 }));
            let first = share.turn(&name).await.unwrap();
            let mut gone_before = Box::pin(share.turn(&name));
            let mut gone_as_it_comes = Box::pin(share.turn(&name));
            let mut stays = Box::pin(share.turn(&name));
            assert!(waits(gone_before.as_mut()).await && waits(gone_as_it_comes.as_mut()).await);
            assert!(waits(stays.as_mut()).await);
            drop(gone_before);
            drop(first);
            assert_eq!(share.counts(), (1, 1));
            drop(gone_as_it_comes);
            drop(stays.await.unwrap());
            assert_eq!(share.counts(), (0, 0));
        });
    }
}
