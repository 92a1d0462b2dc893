//! The socket: makes it, accepts peers of the same user, and gives each a session.
//! Does not: understand requests (`session` reads them, the broker decides).
//! Used by: `start`, which opens it, and `perform`, which closes the guard.

mod connections;
mod lost;
mod only_client;
mod place;
mod session;

use std::{
    cell::RefCell,
    io,
    path::PathBuf,
    rc::{Rc, Weak},
    sync::Arc,
    time::Duration,
};

use interprocess::local_socket::tokio::{Listener, Stream, prelude::*};
use rally_cred_proto::{Fault, FaultKind, forwarding::Door};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    task::spawn_local,
};

use crate::{caller, driver::Driver, episode::Episode};
use connections::{Connections, Idle};
use lost::Watch;
use place::{Found, Place};
use rally_cred_core::event::{Event, Peer};

pub use only_client::OnlyClient;
#[cfg(target_os = "linux")]
pub use place::adopt;
pub use place::open;

/// Connections served at once; each costs a task and a few kilobytes. For one more, the longest idle is dropped; if there
/// is none, it waits in the socket's queue.
const CONNECTIONS: usize = 1024;

/// Name of the socket that is forwarded to another machine, in the folder of the first.
const RESTRICTED: &str = "forward.sock";

/// Pause after the system refused a connection, for example because it is out of descriptors.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// How long changes around the socket's file are left alone: whoever removes the whole folder begins with its files,
/// and must not find new ones.
const SETTLE: Duration = Duration::from_millis(200);

/// The socket, open.
#[derive(Debug)]
pub struct Socket {
    listener: Listener,
    place: Place,
}

/// Closes the socket to new connections.
#[derive(Debug)]
pub struct SocketGuard {
    /// None where there is only one client.
    place: Option<Rc<RefCell<Place>>>,
    is_closed: watch::Sender<bool>,
    permits: Arc<Semaphore>,
}

impl SocketGuard {
    /// Removes the socket, so that a client that was told of the end finds none.
    pub fn close(&self) {
        if self.is_closed.send_replace(true) {
            return;
        }
        if let Some(place) = &self.place {
            place.borrow().vacate();
        }
    }

    /// Opens the restricted socket beside this one, and returns its path and guard. It needs no lock of its own.
    pub fn open_restricted(&self, driver: Driver) -> Result<(PathBuf, Self), Fault> {
        let place = self.place.as_ref().ok_or_else(|| {
            Fault::new(FaultKind::Failed, "a daemon for one client forwards nothing")
                .run("rally-cred forward --help")
        })?;
        let path = place.borrow().path().with_file_name(RESTRICTED);
        let (guard, _sessions) = place::open_beside(&path)?.serve(Door::Forwarded, driver);
        Ok((path, guard))
    }

    /// Whether no client is connected. Holds until the caller awaits something, since the whole daemon runs on one
    /// thread.
    pub fn is_deserted(&self) -> bool {
        // One permit is held for the next client.
        self.permits.available_permits() + 1 >= CONNECTIONS
    }
}

impl Drop for SocketGuard {
    fn drop(&mut self) {
        self.close();
    }
}

impl Socket {
    /// Begins to accept. The guard closes the socket; the returned task ends once every session has.
    pub fn serve(self, door: Door, driver: Driver) -> (SocketGuard, tokio::task::JoinHandle<()>) {
        let (is_closed, closing) = watch::channel(false);
        let Self { listener, place } = self;
        let permits = Arc::new(Semaphore::new(CONNECTIONS));
        let watch = Watch::begin(place.path());
        let place = Rc::new(RefCell::new(place));
        let reception = Reception {
            listener,
            door,
            watch,
            // The lock ends with the guard.
            place: Rc::downgrade(&place),
            driver,
            closing,
            permits: Arc::clone(&permits),
            connections: Connections::default(),
            crowded: Episode::default(),
            refused: Episode::default(),
            strangers: Episode::default(),
        };
        (SocketGuard { place: Some(place), is_closed, permits }, spawn_local(reception.run()))
    }
}

struct Reception {
    listener: Listener,
    door: Door,
    watch: Watch,
    place: Weak<RefCell<Place>>,
    driver: Driver,
    closing: watch::Receiver<bool>,
    permits: Arc<Semaphore>,
    connections: Connections,
    crowded: Episode,
    refused: Episode,
    strangers: Episode,
}

impl Reception {
    async fn run(mut self) {
        loop {
            let Some(permit) = self.room().await else { return };
            let accepted = tokio::select! {
                biased;
                _ = self.closing.wait_for(|closed| *closed) => break,
                () = self.watch.changed() => None,
                accepted = self.listener.accept() => Some(accepted),
            };
            match accepted {
                None => self.look_after_place().await,
                Some(Ok(stream)) => self.admit(stream, permit),
                Some(Err(err)) => self.pause(&err).await,
            }
        }
        tell_end(&mut self.refused, "clients could not be accepted");
        tell_end(&mut self.strangers, "connections of others were refused");
        let Self { listener, permits, .. } = self;
        drop(listener);
        // Once every permit is back, every session has written its last answer.
        permits.acquire_many(u32::try_from(CONNECTIONS).unwrap_or(u32::MAX)).await.map(drop).ok();
    }

    /// Room for one more client, of which there is always some unless each of the others waits for an answer. `None` once
    /// the daemon ends.
    async fn room(&mut self) -> Option<OwnedSemaphorePermit> {
        if let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() {
            tell_end(&mut self.crowded, "idle clients were dropped to make room for others");
            return Some(permit);
        }
        loop {
            let again = self.drop_longest_idle().err().unwrap_or(ACCEPT_AGAIN);
            let permit = Arc::clone(&self.permits).acquire_owned();
            match tokio::time::timeout(again, permit).await {
                Ok(permit) => return permit.ok(),
                Err(_) => continue,
            }
        }
    }

    fn drop_longest_idle(&mut self) -> Result<(), Duration> {
        self.connections.drop_longest_idle()?;
        if self.crowded.happened("") {
            tracing::warn!("so many clients are connected that the longest idle are dropped");
        }
        Ok(())
    }

    fn admit(&mut self, stream: Stream, permit: OwnedSemaphorePermit) {
        tell_end(&mut self.refused, "clients could not be accepted");
        let peer = match peer_of(&stream) {
            Ok(peer) => Peer { door: self.door, ..peer },
            Err(stranger) => {
                if self.strangers.happened(&stranger) {
                    tracing::warn!("refused a connection: {stranger}");
                }
                return;
            }
        };
        tell_end(&mut self.strangers, "connections of others were refused");
        let (driver, closing) = (self.driver.clone(), self.closing.clone());
        let idle = Idle::default();
        let of_session = idle.clone();
        let session = spawn_local(async move {
            session::serve(stream, peer, driver, closing, of_session).await;
            drop(permit);
        });
        self.connections.add(session.abort_handle(), idle);
    }

    async fn pause(&mut self, err: &io::Error) {
        if self.refused.happened(&err.to_string()) {
            tracing::warn!("cannot accept a connection: {err}");
        }
        // Whose descriptor the next client gets.
        #[cfg(unix)]
        if [rustix::io::Errno::MFILE, rustix::io::Errno::NFILE]
            .iter()
            .any(|errno| err.raw_os_error() == Some(errno.raw_os_error()))
        {
            let _ = self.drop_longest_idle();
        }
        tokio::time::sleep(ACCEPT_AGAIN).await;
    }

    /// Handles a change around the socket's file. A daemon that no client can reach makes its socket again, or stops in
    /// order, so that the next client starts one that can be reached.
    async fn look_after_place(&mut self) {
        let Some(place) = self.place.upgrade() else { return };
        if place.borrow().look() != Found::Well {
            let settled = tokio::time::sleep(SETTLE);
            tokio::select! {
                _ = self.closing.wait_for(|closed| *closed) => return,
                () = settled => {}
            }
        }
        let outcome = {
            let mut place = place.borrow_mut();
            match place.look() {
                Found::Well => place.renew_lock().map(|()| None),
                Found::Removed => place.bind_anew().map(Some),
                Found::Lost => {
                    let what = "the socket is gone, and its folder with it or another in its place";
                    Err(Fault::new(FaultKind::NoDaemon, what))
                }
            }
        };
        match outcome {
            Ok(None) => {}
            Ok(Some(listener)) => {
                tracing::warn!("somebody removed the socket, so it was made anew");
                self.watch = Watch::begin(place.borrow().path());
                self.listener = listener;
            }
            Err(fault) => {
                tracing::warn!(why = fault.why, "{}, so no client can come any more", fault.what);
                // What is lost with the folder of a forwarded socket is the own one too, which sees to it.
                if self.door == Door::Own {
                    // It may have ended.
                    let _ = self.driver.happened(Event::StopWanted);
                }
            }
        }
    }
}

/// Logs how often something happened that was logged once.
fn tell_end(episode: &mut Episode, what: &str) {
    if let Some(times) = episode.over() {
        tracing::warn!(times, "{what}, which is over");
    }
}

/// Who is at the other end, or why they are not served.
fn peer_of(stream: &Stream) -> Result<Peer, String> {
    let peer = stream.peer_creds().map_err(|err| err.to_string())?;
    #[cfg(unix)]
    {
        // It does not change while the daemon runs.
        static OWN: std::sync::LazyLock<u32> =
            std::sync::LazyLock::new(|| rustix::process::geteuid().as_raw());
        let uid = peer.euid().ok_or("the system does not tell whose it is")?;
        if uid != *OWN {
            return Err(format!("it comes from uid {uid}"));
        }
        let pid = peer.pid().and_then(|pid| u32::try_from(pid).ok());
        let program = pid.map(caller::want).unwrap_or_default();
        Ok(Peer { pid, uid: Some(uid), program, door: Door::Own, gateway: None })
    }
    #[cfg(not(unix))]
    Ok(Peer { pid: peer.pid(), program: peer.pid().map(caller::want).unwrap_or_default(), ..Peer::default() })
}
