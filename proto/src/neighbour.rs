//! Which user a connection over loopback comes from, on Linux, by the kernel's table of TCP sockets.
//! It proves who made the socket at the other end, while that is open: the two addresses and ports name one pair of
//! sockets for as long as this end lives, so none can take its place. It does not prove which program that is, nor who
//! sends: a socket may be handed to another user's process, and one who forwards (`ssh -L`, a container's proxy) shows
//! its own user. A user of another user namespace is shown as this one sees them, most as 65534. A program of the same
//! user is never told apart, so this comes on top of a local key or a state and does not replace it.
//! Does not: know sockets other than TCP. Other systems say nothing.
//! Used by: the gateway, and the daemon on its redirect port.

use std::net::SocketAddr;

use crate::own_file;

/// Who is at the other end of a connection over loopback.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Neighbour {
    /// A program of this user.
    User(u32),
    /// Nobody any more: that end is closed, so it is not known whose it was.
    Gone,
    /// One that this system does not know: it is in another virtual machine or network namespace, or the system does not
    /// tell.
    Unknown,
}

impl Neighbour {
    /// Who has made the connection from `peer` to `own`, looked up now.
    pub fn find(peer: SocketAddr, own: SocketAddr) -> Self {
        #[cfg(target_os = "linux")]
        return linux::find(peer, own).unwrap_or(Self::Unknown);
        #[cfg(not(target_os = "linux"))]
        {
            let _ = (peer, own);
            Self::Unknown
        }
    }

    /// The id of another user than this one and root, which can do whatever this one can.
    pub fn stranger(self) -> Option<u32> {
        match self {
            Self::User(0) | Self::Gone | Self::Unknown => None,
            Self::User(uid) => own_file::other_user(uid).and(Some(uid)),
        }
    }
}

#[cfg(any(target_os = "linux", test))]
mod linux {
    use std::{
        fs::File,
        io::{self, BufRead, BufReader},
        net::{IpAddr, SocketAddr},
    };

    use super::Neighbour;

    #[cfg_attr(not(target_os = "linux"), expect(dead_code, reason = "there is no such table"))]
    pub(super) fn find(peer: SocketAddr, own: SocketAddr) -> io::Result<Neighbour> {
        let (found, _) = look(peer, own)?;
        if found != Neighbour::Unknown {
            return Ok(found);
        }
        // An end that was closed at once is in no table either, and then this end is closed as well. That is looked at
        // only now, since the table is not of one moment.
        let (found, is_open) = look(peer, own)?;
        Ok(if is_open { found } else { Neighbour::Gone })
    }

    /// Who is at the other end, and whether both ends are open as far as this one knows.
    fn look(peer: SocketAddr, own: SocketAddr) -> io::Result<(Neighbour, bool)> {
        let (peer, own) = (plain(peer), plain(own));
        let (mut found, mut is_open) = (Neighbour::Unknown, false);
        // A socket for both versions of IP stands in the second, whatever it is connected to.
        for table in ["/proc/self/net/tcp", "/proc/self/net/tcp6"] {
            let table = match File::open(table) {
                Ok(table) => BufReader::new(table),
                // A kernel without IPv6.
                Err(err) if err.kind() == io::ErrorKind::NotFound => continue,
                Err(err) => return Err(err),
            };
            for line in table.lines() {
                match Socket::read(&line?) {
                    Some(socket) if (socket.own, socket.peer) == (peer, own) => {
                        found = socket.uid.map_or(Neighbour::Gone, Neighbour::User);
                    }
                    Some(socket) if (socket.own, socket.peer) == (own, peer) => is_open = socket.is_open,
                    _ => {}
                }
            }
        }
        Ok((found, is_open))
    }

    const ESTABLISHED: &str = "01";

    /// A line of the table.
    #[derive(Debug, PartialEq, Eq)]
    pub(super) struct Socket {
        pub(super) own: (IpAddr, u16),
        pub(super) peer: (IpAddr, u16),
        /// Whether neither end was closed.
        pub(super) is_open: bool,
        /// `None` for a socket that no process has any more, which the kernel shows as root's.
        pub(super) uid: Option<u32>,
    }

    impl Socket {
        pub(super) fn read(line: &str) -> Option<Self> {
            let mut words = line.split_ascii_whitespace().skip(1);
            let (own, peer) = (read_address(words.next()?)?, read_address(words.next()?)?);
            let is_open = words.next()? == ESTABLISHED;
            // Queues, timer and tries.
            let mut words = words.skip(3);
            let uid = words.next()?.parse().ok()?;
            let inode: u64 = words.nth(1)?.parse().ok()?;
            Some(Self { own, peer, is_open, uid: (inode != 0).then_some(uid) })
        }
    }

    /// An address as the table has it: words of 32 bits as they lie in memory, and the port.
    fn read_address(text: &str) -> Option<(IpAddr, u16)> {
        let (address, port) = text.split_once(':')?;
        let word = |at: usize| {
            let word = u32::from_str_radix(address.get(8 * at..8 * at + 8)?, 16).ok()?;
            Some(word.to_ne_bytes())
        };
        let address = match address.len() {
            8 => IpAddr::from(word(0)?),
            32 => {
                let words = [word(0)?, word(1)?, word(2)?, word(3)?];
                let octets: [u8; 16] = words.concat().try_into().ok()?;
                IpAddr::from(octets)
            }
            _ => return None,
        };
        Some((address.to_canonical(), u16::from_str_radix(port, 16).ok()?))
    }

    fn plain(address: SocketAddr) -> (IpAddr, u16) {
        (address.ip().to_canonical(), address.port())
    }
}

#[cfg(test)]
mod tests {
    use super::{Neighbour, linux::Socket};

    /// A line of the table, on a machine that has its bytes in this order.
    fn check(line: &str, own: &str, peer: &str, is_open: bool, uid: Option<u32>) {
        let plain = |text: &str| {
            let address: std::net::SocketAddr = text.parse().unwrap();
            (address.ip(), address.port())
        };
        assert_eq!(
            Socket::read(line),
            Some(Socket { own: plain(own), peer: plain(peer), is_open, uid }),
            "{line}"
        );
    }

    #[cfg(target_endian = "little")]
    #[test]
    fn the_kernels_table_is_read() {
        check(
            "   3: 0100007F:A2C8 0100007F:0FA4 01 00000000:00000000 00:00000000 00000000  1000        0 51234 1 0000",
            "127.0.0.1:41672",
            "127.0.0.1:4004",
            true,
            Some(1000),
        );
        check(
            " 12: 0000000000000000FFFF00000100007F:A2C8 0000000000000000FFFF00000100007F:0FA4 01 0:0 00:0 0 1000 0 5 1",
            "127.0.0.1:41672",
            "127.0.0.1:4004",
            true,
            Some(1000),
        );
        check(
            " 1: 00000000000000000000000001000000:0016 B80D01200000000000000000010000FF:FFFF 01 0:0 0:0 0 0 0 77 1 0",
            "[::1]:22",
            "[2001:db8::ff00:1]:65535",
            true,
            Some(0),
        );
    }

    #[cfg(target_endian = "little")]
    #[test]
    fn a_socket_that_nobody_has_any_more_is_not_taken_for_roots() {
        check(
            " 9: 0100007F:A2C8 0100007F:0FA4 06 00000000:00000000 03:00001764 00000000     0        0 0 3 0000",
            "127.0.0.1:41672",
            "127.0.0.1:4004",
            false,
            None,
        );
    }

    #[test]
    fn lines_that_are_none_are_passed_over() {
        for line in [
            "",
            "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode",
            " 3: 0100007F 0100007F:0FA4 01 0:0 0:0 0 1000 0 5",
            " 3: 0100007F:A2C8 010000:0FA4 01 0:0 0:0 0 1000 0 5",
            " 3: 0100007F:A2C8 0100007F:0FA4 01 0:0 0:0 0 x 0 5",
            " 3: 0100007F:A2C8 0100007F:0FA4 01 0:0 0:0 0 1000 0",
            " 3: \u{e4}\u{e4}\u{e4}\u{e4}:A2C8 0100007F:0FA4 01 0:0 0:0 0 1000 0 5",
        ] {
            assert_eq!(Socket::read(line), None, "{line}");
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_user_of_a_real_connection_is_known_until_it_closes_in_whatever_way() {
        use std::{
            net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
            os::unix::fs::MetadataExt,
        };

        let me = tempfile::tempfile().unwrap().metadata().unwrap().uid();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let own = listener.local_addr().unwrap();
        let mapped = SocketAddr::new(Ipv4Addr::LOCALHOST.to_ipv6_mapped().into(), own.port());
        for to in [own, mapped] {
            let client = match TcpStream::connect(to) {
                Ok(client) => client,
                // No IPv6 here.
                Err(_) if to == mapped => continue,
                Err(err) => panic!("{err}"),
            };
            let (_server, peer) = listener.accept().unwrap();
            assert_eq!(Neighbour::find(peer, own), Neighbour::User(me), "{to}");
            assert_eq!(Neighbour::find(peer, own).stranger(), None);
            drop(client);
            assert_eq!(Neighbour::find(peer, own), Neighbour::Gone, "{to}");
        }
        // One that is closed with a reset is in no table from then on.
        let client = TcpStream::connect(own).unwrap();
        let (_server, peer) = listener.accept().unwrap();
        rustix::net::sockopt::set_socket_linger(&client, Some(std::time::Duration::ZERO)).unwrap();
        drop(client);
        assert_eq!(Neighbour::find(peer, own), Neighbour::Gone);
    }

    #[test]
    fn only_another_user_than_this_one_and_root_is_a_stranger() {
        let stranger = |neighbour: Neighbour| neighbour.stranger();
        assert_eq!(stranger(Neighbour::User(48_271)), cfg!(unix).then_some(48_271));
        for neighbour in [Neighbour::User(0), Neighbour::Gone, Neighbour::Unknown] {
            assert_eq!(stranger(neighbour), None);
        }
    }
}
