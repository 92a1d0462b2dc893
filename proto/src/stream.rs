//! The connection to the daemon as bytes, none of which is waited for beyond a deadline, and whose process listens.
//! Does not: know what the bytes say, or judge who may listen.
//! Used by: the blocking client; on Unix the asynchronous one too, for the connection.

#[cfg(unix)]
pub(crate) use unix::Stream;
#[cfg(all(unix, feature = "tokio"))]
pub(crate) use unix::{connect, listener_uid};
#[cfg(not(unix))]
pub(crate) use windows::Stream;

#[cfg(unix)]
mod unix {
    use std::io::{self, ErrorKind, Read, Write};
    use std::{os::unix::net::UnixStream, path::Path};

    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    use crate::Deadline;

    /// A connection. No call on its socket blocks; `poll` does, which takes a limit.
    #[derive(Debug)]
    pub(crate) struct Stream(UnixStream);

    impl Stream {
        pub(crate) fn connect(socket: &Path, deadline: &mut Deadline) -> io::Result<Self> {
            connect(socket, deadline).map(Self)
        }

        pub(crate) fn over(stream: UnixStream) -> io::Result<Self> {
            stream.set_nonblocking(true)?;
            Ok(Self(stream))
        }

        pub(crate) fn write_all(&mut self, mut bytes: &[u8], deadline: &mut Deadline) -> io::Result<()> {
            while !bytes.is_empty() {
                match self.0.write(bytes) {
                    Ok(count) => bytes = bytes.get(count..).unwrap_or_default(),
                    Err(err) if err.kind() == ErrorKind::WouldBlock => self.wait(PollFlags::OUT, deadline)?,
                    Err(err) if err.kind() == ErrorKind::Interrupted => {}
                    Err(err) => return Err(err),
                }
            }
            Ok(())
        }

        pub(crate) fn read(&mut self, room: &mut [u8], deadline: &mut Deadline) -> io::Result<usize> {
            loop {
                self.wait(PollFlags::IN, deadline)?;
                match self.0.read(room) {
                    Err(err) if matches!(err.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
                    outcome => return outcome,
                }
            }
        }

        fn wait(&self, flags: PollFlags, deadline: &mut Deadline) -> io::Result<()> {
            let has_come = deadline.wait(|most| {
                let most = most.and_then(|most| Timespec::try_from(most).ok());
                match poll(&mut [PollFd::new(&self.0, flags)], most.as_ref()) {
                    Err(rustix::io::Errno::INTR) => Ok(true),
                    outcome => outcome.map(|ready| ready > 0),
                }
            })?;
            if has_come { Ok(()) } else { Err(io::ErrorKind::TimedOut.into()) }
        }

        /// The user whose process listens.
        pub(crate) fn listener_uid(&self) -> io::Result<u32> {
            listener_uid(&self.0)
        }

        /// The process that listens, where the system tells.
        pub(crate) fn peer(&self) -> Option<u32> {
            #[cfg(target_os = "linux")]
            return rustix::net::sockopt::socket_peercred(&self.0)
                .ok()
                .and_then(|peer| u32::try_from(peer.pid.as_raw_nonzero().get()).ok());
            #[cfg(not(target_os = "linux"))]
            None
        }
    }

    /// The user who began to listen at the other end. The path does not tell: whoever can rename one of its folders may
    /// have put another in its place between the look at it and the connection.
    #[cfg(target_os = "linux")]
    pub(crate) fn listener_uid(stream: &impl std::os::fd::AsFd) -> io::Result<u32> {
        Ok(rustix::net::sockopt::socket_peercred(stream)?.uid.as_raw())
    }

    #[cfg(not(target_os = "linux"))]
    pub(crate) fn listener_uid(stream: &impl std::os::fd::AsFd) -> io::Result<u32> {
        use interprocess::{local_socket::traits::StreamCommon, os::unix::uds_local_socket::Stream};
        let stream = UnixStream::from(stream.as_fd().try_clone_to_owned()?);
        Stream::from(stream).peer_creds()?.euid().ok_or_else(|| io::ErrorKind::Unsupported.into())
    }

    /// A connected socket on which no call blocks.
    #[cfg(target_os = "linux")]
    pub(crate) fn connect(socket: &Path, deadline: &mut Deadline) -> io::Result<UnixStream> {
        use rustix::io::Errno;
        use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, sockopt};
        let address = SocketAddrUnix::new(socket)?;
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let stream = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        match rustix::net::connect(&stream, &address) {
            Ok(()) => return Ok(UnixStream::from(stream)),
            // So many wait to be let in that there is no room for one more.
            Err(Errno::AGAIN) => {}
            Err(err) => return Err(err.into()),
        }
        // Of all ways to wait for room, only the limit for sending is one that does not look again and again.
        rustix::io::ioctl_fionbio(&stream, false)?;
        let has_room = deadline.wait(|most| {
            // A limit of zero would be none.
            let most = most.map(|most| most.max(SHORTEST));
            sockopt::set_socket_timeout(&stream, sockopt::Timeout::Send, most)?;
            loop {
                match rustix::net::connect(&stream, &address) {
                    Ok(()) | Err(Errno::ISCONN) => return Ok(true),
                    Err(Errno::AGAIN) => return Ok(false),
                    Err(Errno::INTR) => {}
                    Err(err) => return Err(err),
                }
            }
        })?;
        if !has_room {
            return Err(io::ErrorKind::TimedOut.into());
        }
        rustix::io::ioctl_fionbio(&stream, true)?;
        Ok(UnixStream::from(stream))
    }

    /// The shortest limit that the system takes.
    #[cfg(target_os = "linux")]
    const SHORTEST: std::time::Duration = std::time::Duration::from_millis(1);

    /// A connected socket on which no call blocks. Where there is no room for one more, these systems refuse at once.
    #[cfg(not(target_os = "linux"))]
    pub(crate) fn connect(socket: &Path, _deadline: &mut Deadline) -> io::Result<UnixStream> {
        let stream = UnixStream::connect(socket)?;
        stream.set_nonblocking(true)?;
        Ok(stream)
    }
}

#[cfg(not(unix))]
mod windows {
    use std::io::{self, Read, Write};
    use std::path::Path;

    use interprocess::ConnectWaitMode;
    use interprocess::local_socket::{ConnectOptions, GenericFilePath, prelude::*};

    use crate::Deadline;

    /// A connection through a pipe. Not every system can limit a read from one; there the daemon's own limit has to do.
    #[derive(Debug)]
    pub(crate) struct Stream(interprocess::local_socket::Stream);

    impl Stream {
        pub(crate) fn connect(socket: &Path, deadline: &mut Deadline) -> io::Result<Self> {
            let mode = deadline.left().map_or(ConnectWaitMode::Unbounded, ConnectWaitMode::Timeout);
            let name = socket.to_fs_name::<GenericFilePath>()?;
            ConnectOptions::new().name(name).wait_mode(mode).connect_sync().map(Self)
        }

        pub(crate) fn write_all(&mut self, bytes: &[u8], _deadline: &mut Deadline) -> io::Result<()> {
            self.0.write_all(bytes)
        }

        pub(crate) fn read(&mut self, room: &mut [u8], deadline: &mut Deadline) -> io::Result<usize> {
            self.0.set_recv_timeout(deadline.left()).ok();
            self.0.read(room)
        }

        /// Refuses a pipe of another user.
        #[cfg(windows)]
        pub(crate) fn check_owner(&self, socket: &Path) -> Result<(), crate::Fault> {
            use std::os::windows::io::AsHandle;
            let interprocess::local_socket::Stream::NamedPipe(pipe) = &self.0;
            crate::pipe::check(socket, pipe.inner().as_handle(), || pipe.inner().server_process_id())
        }

        pub(crate) fn peer(&self) -> Option<u32> {
            None
        }
    }
}
