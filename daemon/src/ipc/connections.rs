//! The open connections, and which of them has waited longest for its client to say something.
//! Does not: accept or serve them.
//! Used by: `ipc`, which drops one to have room for the next client, and `session`, which tells when it waits.

use std::{cell::Cell, rc::Rc, time::Duration};

use tokio::{task::AbortHandle, time::Instant};

/// How long any client may be silent. A client asks as soon as it is connected, but the machine may be busy.
const HASTE: Duration = Duration::from_millis(200);

/// The open connections.
#[derive(Debug, Default)]
pub(super) struct Connections(Vec<(AbortHandle, Idle)>);

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
    pub(super) fn add(&mut self, session: AbortHandle, idle: Idle) {
        // Not each time: with a thousand clients, that would be a thousand looks for each new one.
        if self.0.len() == self.0.capacity() {
            self.0.retain(|(session, _)| !session.is_finished());
        }
        self.0.push((session, idle));
    }

    /// Drops the connection that has been idle for longest. `Err` with when to try again if there is none, or it has not
    /// been so for long.
    pub(super) fn drop_longest_idle(&mut self) -> Result<(), Duration> {
        let open = self.0.iter().enumerate().filter(|(_, (session, _))| !session.is_finished());
        let idle = open.filter_map(|(at, (_, idle))| Some((at, idle.0.get()?)));
        let (at, since) = idle.min_by_key(|(_, since)| *since).ok_or(HASTE)?;
        match HASTE.saturating_sub(since.elapsed()) {
            Duration::ZERO => {
                self.0.swap_remove(at).0.abort();
                Ok(())
            }
            left => Err(left),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_one_that_is_idle_for_longest_goes_and_none_that_is_waited_for_or_in_haste() {
        let sessions: Vec<_> = (0..3).map(|_| tokio::spawn(pending::<()>())).collect();
        let idles = [Idle::default(), Idle::default(), Idle::default()];
        let mut connections = Connections::default();
        for (session, idle) in sessions.iter().zip(&idles) {
            connections.add(session.abort_handle(), idle.clone());
        }
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
        let ended: Vec<_> = sessions.iter().map(tokio::task::JoinHandle::is_finished).collect();
        assert_eq!(ended, [false, true, false]);
    }
}
