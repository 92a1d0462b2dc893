//! The socket that the service manager made and passed on, by systemd's protocol (`sd_listen_fds(3)`).
//! Does not: trust it unseen. It must be the socket that clients use, and closed to others.
//! Used by: `start`.

#[cfg(target_os = "linux")]
mod inherited {
    use std::{
        fs, io,
        os::{
            fd::OwnedFd,
            unix::{
                fs::{FileTypeExt, MetadataExt},
                net::UnixListener,
            },
        },
        path::Path,
        time::Duration,
    };

    use rally_cred_proto::{Fault, FaultKind, socket};
    use rustix::{
        io::{FdFlags, fcntl_setfd},
        net::{AddressFamily, SocketType, sockopt},
    };

    use crate::refusal;

    /// How long a refused client may take to send its request.
    const PATIENCE: Duration = Duration::from_secs(1);

    /// A listening socket that outlives this process.
    #[derive(Debug)]
    pub struct Inherited(UnixListener);

    impl Inherited {
        /// The socket that was passed on to this process; `None` if none was. Fails if it is more than one, or not the
        /// one at `path`, which clients use.
        pub fn take(path: &Path) -> Result<Option<Self>, Fault> {
            let descriptors = sd_listen_fds::get().map_err(|err| refused(&err.to_string()))?;
            let mut passed_on = Vec::new();
            for (_, descriptor) in descriptors {
                let descriptor = descriptor.into_std();
                // Not for the programs that the daemon runs.
                fcntl_setfd(&descriptor, FdFlags::CLOEXEC).map_err(|err| refused(&err.to_string()))?;
                passed_on.push(Self(UnixListener::from(descriptor)));
            }
            let checked = match passed_on.as_slice() {
                [] => return Ok(None),
                [Self(only)] => check(only, path),
                _ => Err(refused("it is more than one")),
            };
            if let Err(fault) = &checked {
                // Left unanswered, they would start the daemon again and again.
                passed_on.iter().for_each(|inherited| inherited.refuse_waiting(fault));
            }
            checked.map(|()| passed_on.pop())
        }

        /// A copy of the descriptor.
        pub fn try_clone(&self) -> io::Result<Self> {
            self.0.try_clone().map(Self)
        }

        /// Answers all waiting clients with this fault. Later ones have the daemon started again.
        pub fn refuse_waiting(&self, fault: &Fault) {
            if self.0.set_nonblocking(true).is_ok() {
                while let Ok((stream, _)) = self.0.accept() {
                    // A client that does not take its answer has left.
                    refusal::refuse(stream, fault, PATIENCE).ok();
                }
            }
        }
    }

    impl From<Inherited> for OwnedFd {
        fn from(Inherited(listener): Inherited) -> Self {
            listener.into()
        }
    }

    fn check(listener: &UnixListener, path: &Path) -> Result<(), Fault> {
        let is_stream_listener = sockopt::socket_domain(listener) == Ok(AddressFamily::UNIX)
            && sockopt::socket_type(listener) == Ok(SocketType::STREAM)
            && sockopt::socket_acceptconn(listener) == Ok(true);
        if !is_stream_listener {
            return Err(refused("it is not a listening stream socket of the local kind"));
        }
        if !listener.local_addr().is_ok_and(|address| address.as_pathname() == Some(path)) {
            return Err(refused(&format!("clients come to {}, and it is elsewhere", path.display())));
        }
        socket::check_folder(path)?;
        let found = fs::symlink_metadata(path).map_err(|err| refused(&err.to_string()))?;
        let me = rustix::process::geteuid().as_raw();
        if !found.file_type().is_socket() || found.uid() != me {
            return Err(refused(&format!("{} is not a socket of uid {me}", path.display())));
        }
        if found.mode() & 0o077 != 0 {
            let mode = found.mode() & 0o7777;
            return Err(refused(&format!("its mode is {mode:o}")).remedy("set SocketMode=0600"));
        }
        Ok(())
    }

    fn refused(why: &str) -> Fault {
        Fault::new(FaultKind::Failed, "the socket that the service manager passes on cannot be used")
            .why(why)
            .remedy("use the unit rally-cred.socket as it is")
    }
}

#[cfg(not(target_os = "linux"))]
mod inherited {
    use std::{convert::Infallible, io, path::Path};

    use rally_cred_proto::Fault;

    /// No service manager passes a socket on here.
    #[derive(Debug)]
    pub struct Inherited(Infallible);

    impl Inherited {
        /// Always `None`.
        pub fn take(_path: &Path) -> Result<Option<Self>, Fault> {
            Ok(None)
        }

        /// Never called.
        pub fn try_clone(&self) -> io::Result<Self> {
            match self.0 {}
        }

        /// Never called.
        pub fn refuse_waiting(&self, _fault: &Fault) {
            match self.0 {}
        }
    }
}

pub use inherited::Inherited;
