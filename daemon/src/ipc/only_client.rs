//! The one client of a daemon that was started for it alone: its connection is standard input from the start.
//! Does not: open a socket or take a lock.
//! Used by: `start`.

#[cfg(unix)]
mod connected {
    use std::{
        io,
        os::{fd::OwnedFd, unix::net::UnixStream},
        sync::Arc,
        time::Duration,
    };

    use interprocess::os::unix::uds_local_socket::tokio::Stream;
    use rally_cred_core::event::Event;
    use rally_cred_proto::{Fault, FaultKind};
    use tokio::{
        sync::{Semaphore, watch},
        task::{JoinHandle, spawn_local},
    };

    use super::super::{SocketGuard, connections::Idle, peer_of, session};
    use crate::{driver::Driver, refusal};

    /// The connection.
    #[derive(Debug)]
    pub struct OnlyClient(UnixStream);

    impl OnlyClient {
        /// Takes standard input, which the programs that the daemon runs do not get.
        pub fn take() -> Result<Self, Fault> {
            let taken = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3).map_err(io::Error::from);
            let stream = taken.map(UnixStream::from).and_then(|stream| {
                // Fails for what is no connection.
                stream.peer_addr()?;
                let nothing = std::fs::File::open("/dev/null")?;
                rustix::stdio::dup2_stdin(&nothing)?;
                Ok(Self(stream))
            });
            stream.map_err(|err| unusable(&err).remedy("leave --only-client to rally-cred get --no-daemon"))
        }

        /// A second handle on the same connection.
        pub fn try_clone(&self) -> Result<Self, Fault> {
            self.0.try_clone().map(Self).map_err(|err| unusable(&err))
        }

        /// Answers the client's request with this fault.
        pub fn refuse(self, fault: &Fault) {
            // A client that does not take its answer has left.
            refusal::refuse(self.0, fault, Duration::from_secs(1)).ok();
        }

        /// Serves the client; once it has left, the daemon is told to stop. Must run inside a runtime.
        pub fn serve(self, driver: Driver) -> Result<(SocketGuard, JoinHandle<()>), Fault> {
            let stream = self.0.set_nonblocking(true).and_then(|()| Stream::try_from(OwnedFd::from(self.0)));
            let stream = stream.map_err(|err| unusable(&err))?.into();
            let peer = peer_of(&stream).map_err(|why| unusable(&io::Error::other(why)))?;
            let (is_closed, closing) = watch::channel(false);
            let session = spawn_local(async move {
                session::serve(stream, peer, driver.clone(), closing, Idle::default()).await;
                // It may have ended.
                let _ = driver.happened(Event::StopWanted);
            });
            Ok((SocketGuard { place: None, is_closed, permits: Arc::new(Semaphore::new(0)) }, session))
        }
    }

    fn unusable(err: &io::Error) -> Fault {
        Fault::new(FaultKind::Failed, "standard input is no connection of a client").why(err.to_string())
    }
}

#[cfg(not(unix))]
mod connected {
    use std::convert::Infallible;

    use rally_cred_proto::{Fault, FaultKind};
    use tokio::task::JoinHandle;

    use super::super::SocketGuard;
    use crate::driver::Driver;

    /// No client hands its connection over here.
    #[derive(Debug)]
    pub struct OnlyClient(Infallible);

    impl OnlyClient {
        /// Always an error.
        pub fn take() -> Result<Self, Fault> {
            Err(Fault::new(FaultKind::Usage, "this system has no --only-client"))
        }

        /// Never called.
        pub fn try_clone(&self) -> Result<Self, Fault> {
            match self.0 {}
        }

        /// Never called.
        pub fn refuse(self, _fault: &Fault) {
            match self.0 {}
        }

        /// Never called.
        pub fn serve(self, _driver: Driver) -> Result<(SocketGuard, JoinHandle<()>), Fault> {
            match self.0 {}
        }
    }
}

pub use connected::OnlyClient;
