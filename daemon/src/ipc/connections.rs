//! The open connections, and since when each waits for its client to say something.
//! Does not: accept or serve them.
//! Used by: `ipc`, which drops one to have room for the next client, and `session`, which tells when it waits.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    time::Duration,
};

use tokio::{
    task::{AbortHandle, spawn_local},
    time::{Instant, sleep_until},
};

/// How long any client may be silent. A client asks as soon as it is connected, but the machine may be busy.
const HASTE: Duration = Duration::from_millis(200);

/// How long a connection may be silent between requests, and how long a request may take to arrive.
const SILENCE: Duration = Duration::from_secs(60);

/// The open connections. Clones share them.
#[derive(Clone, Debug, Default)]
pub(super) struct Connections(Rc<RefCell<Open>>);

#[derive(Debug, Default)]
struct Open {
    connections: Vec<(AbortHandle, Idle)>,
    is_watched: bool,
}

/// Since when a connection waits for its client; not while it is the client who waits.
#[derive(Clone, Debug, Default)]
pub(super) struct Idle(Rc<Cell<Option<Instant>>>);

impl Idle {
    pub(super) fn begins(&self) {
        self.0.set(Some(Instant::now()));
    }

    pub(super) fn ends(&self) {
        self.0.set(None);
    }
}

impl Connections {
    /// Takes a new connection, which is dropped once it has been silent for too long.
    pub(super) fn add(&self, session: AbortHandle, idle: Idle) {
        let mut open = self.0.borrow_mut();
        // Not each time: with a thousand clients, that would be a thousand looks for each new one.
        if open.connections.len() == open.connections.capacity() {
            open.forget_finished();
        }
        open.connections.push((session, idle));
        if !std::mem::replace(&mut open.is_watched, true) {
            spawn_local(self.clone().drop_silent());
        }
    }

    /// Drops the connection that has been idle for longest. `Err` with when to try again if there is none, or it has not
    /// been so for long.
    pub(super) fn drop_longest_idle(&self) -> Result<(), Duration> {
        let mut open = self.0.borrow_mut();
        open.forget_finished();
        let idle =
            open.connections.iter().enumerate().filter_map(|(at, (_, idle))| Some((at, idle.0.get()?)));
        let (at, since) = idle.min_by_key(|(_, since)| *since).ok_or(HASTE)?;
        match HASTE.saturating_sub(since.elapsed()) {
            Duration::ZERO => {
                open.connections.swap_remove(at).0.abort();
                Ok(())
            }
            left => Err(left),
        }
    }

    /// Drops whatever is silent for too long, until no connection is left. One timer does for all: a timer of its own for
    /// each request would cost a system call.
    async fn drop_silent(self) {
        loop {
            let next = self.0.borrow_mut().drop_silent();
            let Some(next) = next else { return };
            sleep_until(next).await;
        }
    }
}

impl Open {
    fn forget_finished(&mut self) {
        self.connections.retain(|(session, _)| !session.is_finished());
    }

    /// Returns when the next may have been silent for too long; `None` without connections.
    fn drop_silent(&mut self) -> Option<Instant> {
        let now = Instant::now();
        self.forget_finished();
        self.connections.retain(|(session, idle)| {
            let is_silent = idle.0.get().is_some_and(|since| since + SILENCE <= now);
            if is_silent {
                session.abort();
            }
            !is_silent
        });
        self.is_watched = !self.connections.is_empty();
        let since = self.connections.iter().map(|(_, idle)| idle.0.get().unwrap_or(now));
        since.min().map(|since| since + SILENCE)
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use tokio::task::JoinHandle;

    use super::*;

    /// A connection whose session never ends by itself.
    fn connected(connections: &Connections) -> (JoinHandle<()>, Idle) {
        let (session, idle) = (spawn_local(pending()), Idle::default());
        connections.add(session.abort_handle(), idle.clone());
        (session, idle)
    }

    #[tokio::test(flavor = "local", start_paused = true)]
    async fn the_one_that_is_idle_for_longest_goes_and_none_that_is_waited_for_or_in_haste() {
        let connections = Connections::default();
        let (sessions, idles): (Vec<_>, Vec<_>) = (0..3).map(|_| connected(&connections)).unzip();
        assert_eq!(connections.drop_longest_idle(), Err(HASTE), "each is waited for");
        idles[1].begins();
        tokio::time::advance(HASTE / 2).await;
        assert_eq!(connections.drop_longest_idle(), Err(HASTE / 2));
        idles[0].begins();
        tokio::time::advance(HASTE).await;
        assert_eq!(connections.drop_longest_idle(), Ok(()));
        idles[2].begins();
        idles[0].ends();
        assert_eq!(connections.drop_longest_idle(), Err(HASTE));
        tokio::task::yield_now().await;
        let ended: Vec<_> = sessions.iter().map(JoinHandle::is_finished).collect();
        assert_eq!(ended, [false, true, false]);
    }

    #[tokio::test(flavor = "local", start_paused = true)]
    async fn a_silent_client_is_dropped_after_a_minute_and_one_that_waits_for_its_answer_is_not() {
        let connections = Connections::default();
        let (silent, of_silent) = connected(&connections);
        of_silent.begins();
        tokio::task::yield_now().await;
        tokio::time::advance(SILENCE / 2).await;
        let ((waiting, _), (later, of_later)) = (connected(&connections), connected(&connections));
        of_later.begins();
        let begun = Instant::now();
        silent.await.expect_err("a dropped connection");
        assert_eq!(begun.elapsed().as_secs(), SILENCE.as_secs() / 2);
        assert!(!later.is_finished(), "one dropped before its time");
        later.await.expect_err("a dropped connection");
        assert_eq!(begun.elapsed().as_secs(), SILENCE.as_secs());
        tokio::time::advance(SILENCE * 3).await;
        assert!(!waiting.is_finished(), "one dropped that waits for its answer");
        waiting.abort();
        waiting.await.expect_err("an aborted session");
        tokio::time::advance(SILENCE * 2).await;
        tokio::task::yield_now().await;
        assert!(!connections.0.borrow().is_watched, "a timer without a connection");
    }
}
