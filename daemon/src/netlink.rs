//! Says when the network is another: the kernel has got an address that leads out of the machine, or a default route.
//! Does not: know whether Rally can be reached by it, or watch while nothing waits for that.
//! Used by: `perform`.

use std::{io, ops::ControlFlow, time::Duration};

use rally_cred_proto::plain::plain;
use rustix::{
    io::Errno,
    net::{AddressFamily, SocketFlags, SocketType, bind, netlink::SocketAddrNetlink, socket_with},
};
use tokio::time::sleep;

use crate::descriptor::Descriptor;

/// Addresses, routes and name servers come one after the other. They are one change, which is reported at its end.
const SETTLING: Duration = Duration::from_secs(1);

/// Reports each such change, until a report breaks.
pub async fn watch(mut report: impl FnMut() -> ControlFlow<()>) {
    let outcome = async {
        let mut events = open()?;
        let mut room = [0; 4096];
        loop {
            let is_change = match events.read(&mut room).await {
                Ok(length) => room.get(..length).is_some_and(leads_elsewhere),
                // There was more than the kernel keeps.
                Err(err) if err.raw_os_error() == Some(Errno::NOBUFS.raw_os_error()) => true,
                Err(err) => return Err(err),
            };
            if is_change {
                sleep(SETTLING).await;
                events.drain(&mut room);
                tracing::debug!("the network is another");
                if report().is_break() {
                    return io::Result::Ok(());
                }
            }
        }
    };
    if let Err(err) = outcome.await {
        tracing::debug!(why = %plain(&err.to_string()), "the network is not watched");
    }
}

fn open() -> io::Result<Descriptor> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    // Of the protocols of netlink, the first is of routes and addresses.
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, None)?;
    bind(&socket, &SocketAddrNetlink::new(0, GROUPS))?;
    tracing::debug!("the network is watched");
    Descriptor::new(socket)
}

// From <linux/rtnetlink.h>: what to hear of, and what is told.
const GROUPS: u32 = IPV4_ADDRESSES | IPV4_ROUTES | IPV6_ADDRESSES | IPV6_ROUTES;
const IPV4_ADDRESSES: u32 = 0x10;
const IPV4_ROUTES: u32 = 0x40;
const IPV6_ADDRESSES: u32 = 0x100;
const IPV6_ROUTES: u32 = 0x400;
const NEW_ADDRESS: u16 = 20;
const NEW_ROUTE: u16 = 24;
const SCOPE_UNIVERSE: u8 = 0;
const UNICAST: u8 = 1;

/// The length of a message's header, and to what multiple a message is filled up.
const HEADER: usize = 16;
const ALIGNMENT: usize = 4;

/// Whether one of these messages is of an address that is valid beyond this machine and its link, or of a default route.
fn leads_elsewhere(mut messages: &[u8]) -> bool {
    while let Some((header, _)) = messages.split_first_chunk::<HEADER>() {
        let [l0, l1, l2, l3, t0, t1, ..] = *header;
        let length = usize::try_from(u32::from_ne_bytes([l0, l1, l2, l3])).unwrap_or(usize::MAX);
        let Some(body) = messages.get(HEADER..length) else { return false };
        let is_news = match (u16::from_ne_bytes([t0, t1]), body) {
            (NEW_ADDRESS, [_family, _prefix, _flags, scope, ..]) => *scope == SCOPE_UNIVERSE,
            (NEW_ROUTE, [_family, to, _from, _tos, _table, _protocol, _scope, kind, ..]) => {
                *to == 0 && *kind == UNICAST
            }
            _ => false,
        };
        if is_news {
            return true;
        }
        messages = messages.get(length.next_multiple_of(ALIGNMENT)..).unwrap_or_default();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u16, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(HEADER + body.len()).unwrap();
        let mut message = [&length.to_ne_bytes()[..], &kind.to_ne_bytes(), &[0; 10], body].concat();
        message.resize(message.len().next_multiple_of(ALIGNMENT), 0);
        message
    }

    #[test]
    fn an_address_that_leads_out_or_a_default_route_is_news_and_nothing_else() {
        let (host, link, universe) = (254, 253, 0);
        let address = |scope| message(NEW_ADDRESS, &[2, 24, 0, scope, 1, 0, 0, 0]);
        let route = |to, kind| message(NEW_ROUTE, &[2, to, 0, 0, 254, 3, 0, kind, 0, 0, 0, 0]);
        let (broadcast, unreachable, gone) = (3, 7, message(NEW_ROUTE + 1, &[2, 0, 0, 0, 254, 3, 0, 1, 0]));
        for news in [address(universe), route(0, UNICAST)] {
            assert!(leads_elsewhere(&news));
            let after_others = [address(host), gone.clone(), news].concat();
            assert!(leads_elsewhere(&after_others));
        }
        for other in [
            address(host),
            address(link),
            route(24, UNICAST),
            route(0, broadcast),
            route(0, unreachable),
            gone,
        ] {
            assert!(!leads_elsewhere(&other), "{other:?}");
        }
    }

    #[test]
    fn a_message_that_is_cut_or_lies_about_its_length_is_no_news_and_does_no_harm() {
        let whole = message(NEW_ADDRESS, &[2, 24, 0, SCOPE_UNIVERSE, 1, 0, 0, 0]);
        for end in 0..whole.len() {
            assert!(!leads_elsewhere(&whole[..end]));
        }
        for length in [0u32, 1, 15, 16, 17, u32::MAX] {
            let lie = [&length.to_ne_bytes()[..], &whole[4..]].concat();
            assert!(!leads_elsewhere(&lie));
        }
    }
}
