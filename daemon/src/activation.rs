//! The sockets that the service manager made and passed on, by systemd's protocol (`sd_listen_fds(3)`): the one that clients
//! use, and ports of gateways.
//! Does not: trust them unseen. Clients' must be at its place and closed to others, and a port on this machine only.
//! Used by: `start`.

use std::net::TcpListener;

/// Listening sockets that outlive this process.
#[derive(Debug, Default)]
pub struct Inherited {
    /// Where clients come to.
    pub clients: Option<ClientSocket>,
    /// Where tools come to their gateways, each on 127.0.0.1.
    pub gateways: Vec<TcpListener>,
}

#[cfg(target_os = "linux")]
mod inherited {
    use std::{
        fs, io,
        net::{IpAddr, Ipv4Addr, TcpListener},
        os::{
            fd::{AsFd, OwnedFd},
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

    use super::Inherited;
    use crate::refusal;

    /// How long a refused client may take to send its request.
    const PATIENCE: Duration = Duration::from_secs(1);

    /// The socket at the place that clients use.
    #[derive(Debug)]
    pub struct ClientSocket(UnixListener);

    impl From<ClientSocket> for OwnedFd {
        fn from(ClientSocket(listener): ClientSocket) -> Self {
            listener.into()
        }
    }

    impl Inherited {
        /// The sockets that were passed on to this process. Fails if one of them is neither the one at `path`, which
        /// clients use, nor a port on 127.0.0.1.
        pub fn take(path: &Path) -> Result<Self, Fault> {
            let descriptors = sd_listen_fds::get().map_err(|err| refused(&err.to_string()))?;
            let (mut locals, mut gateways) = (Vec::new(), Vec::new());
            for (_, descriptor) in descriptors {
                let descriptor = descriptor.into_std();
                // Not for the programs that the daemon runs.
                fcntl_setfd(&descriptor, FdFlags::CLOEXEC).map_err(|err| refused(&err.to_string()))?;
                match sockopt::socket_domain(&descriptor) {
                    Ok(AddressFamily::INET | AddressFamily::INET6) => {
                        gateways.push(TcpListener::from(descriptor));
                    }
                    _ => locals.push(ClientSocket(UnixListener::from(descriptor))),
                }
            }
            let checked = match locals.as_slice() {
                [] => Ok(()),
                [ClientSocket(only)] => check(only, path),
                _ => Err(refused("there is more than one for clients")),
            };
            let checked = checked.and_then(|()| gateways.iter().try_for_each(check_port));
            let Err(fault) = checked else { return Ok(Self { clients: locals.pop(), gateways }) };
            // Left unanswered, they would start the daemon again and again.
            gateways.iter().for_each(hang_up_on_waiting);
            locals.iter().for_each(|socket| socket.refuse_waiting(&fault));
            Err(fault)
        }

        /// A copy of each descriptor.
        pub fn try_clone(&self) -> io::Result<Self> {
            let clients = self.clients.as_ref().map(|ClientSocket(listener)| listener.try_clone());
            Ok(Self {
                clients: clients.transpose()?.map(ClientSocket),
                gateways: self.gateways.iter().map(TcpListener::try_clone).collect::<Result<_, _>>()?,
            })
        }

        /// Answers all waiting clients with this fault, and hangs up on tools. Later ones have the daemon started again.
        pub fn refuse_waiting(&self, fault: &Fault) {
            self.gateways.iter().for_each(hang_up_on_waiting);
            self.clients.iter().for_each(|socket| socket.refuse_waiting(fault));
        }
    }

    impl ClientSocket {
        fn refuse_waiting(&self, fault: &Fault) {
            if self.0.set_nonblocking(true).is_ok() {
                while let Ok((stream, _)) = self.0.accept() {
                    // A client that does not take its answer has left.
                    refusal::refuse(stream, fault, PATIENCE).ok();
                }
            }
        }
    }

    fn hang_up_on_waiting(listener: &TcpListener) {
        if listener.set_nonblocking(true).is_ok() {
            while listener.accept().is_ok() {}
        }
    }

    fn is_stream_listener(listener: impl AsFd) -> bool {
        sockopt::socket_type(&listener) == Ok(SocketType::STREAM)
            && sockopt::socket_acceptconn(&listener) == Ok(true)
    }

    fn check(listener: &UnixListener, path: &Path) -> Result<(), Fault> {
        if sockopt::socket_domain(listener) != Ok(AddressFamily::UNIX) || !is_stream_listener(listener) {
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

    fn check_port(listener: &TcpListener) -> Result<(), Fault> {
        let wrong = |why: &str| refused(why).remedy("use the unit rally-cred-gateway@.socket as it is");
        let at = listener.local_addr().map_err(|err| wrong(&err.to_string()))?;
        match at.ip() {
            _ if !is_stream_listener(listener) => Err(wrong(&format!("{at} is no listening stream socket"))),
            IpAddr::V4(Ipv4Addr::LOCALHOST) => Ok(()),
            _ => Err(wrong(&format!("a gateway listens on 127.0.0.1, and it is at {at}"))),
        }
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

    use super::Inherited;

    /// No service manager passes a socket on here.
    #[derive(Debug)]
    pub struct ClientSocket(Infallible);

    impl Inherited {
        /// Always none.
        pub fn take(_path: &Path) -> Result<Self, Fault> {
            Ok(Self::default())
        }

        /// A copy of nothing.
        pub fn try_clone(&self) -> io::Result<Self> {
            Ok(Self::default())
        }

        /// Nobody waits.
        pub fn refuse_waiting(&self, _fault: &Fault) {}
    }
}

pub use inherited::ClientSocket;
