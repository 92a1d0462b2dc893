//! Leads a browser to Rally from a one-time address on loopback, waits for it to come back, and holds its page until the
//! outcome is known.
//! Does not: exchange the code or end the flow; anything else that arrives is refused.
//! Used by: perform, which keeps a [`Listener`] while a flow is pending.

use std::{future::pending, io, sync::Arc};

use rally_cred_proto::{Fault, FaultKind, native, native::who_listens_on, plain::plain};
use tokio::{net::TcpListener, sync::mpsc, task::JoinHandle};

pub use super::connections::Arrival;
use super::{
    connections::{LIMITS, Limits, Redirects, accept_all},
    request::Hosts,
};
use rally_cred_core::{
    profile::{ListenAt, RedirectUri},
    redirect::Expected,
};

/// The redirect port, open while this lives. Dropping it closes the port at once and ends every connection but the one
/// that waits for its page, which gets the neutral page if nobody answers it.
#[derive(Debug)]
pub struct Listener {
    /// The only owner: the accepting task borrows it from poll to poll, so dropping it closes the port at once.
    _sockets: Arc<[TcpListener]>,
    arrivals: mpsc::Receiver<Arrival>,
    accepting: JoinHandle<()>,
}

/// Why there is no listener. The sign-in goes on with a pasted address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenTrouble {
    /// Another program has this port.
    PortTaken(u16),
    /// This user may not open this port.
    PortForbidden(u16),
    /// The redirect URI does not lead to this machine over http.
    NotLoopback,
    /// The system refused for another reason.
    Failed(String),
}

/// Opens the port that the redirect URI names, on loopback only.
pub async fn open(expected: Expected) -> Result<Listener, ListenTrouble> {
    let listen_at = expected.redirect_uri.listen_at().ok_or(ListenTrouble::NotLoopback)?;
    let sockets = bind(&listen_at).await?;
    let hosts = Hosts { redirect: listen_at.host_header, start: listen_at.address_header };
    Ok(Listener::start(sockets, hosts, expected, LIMITS))
}

/// Opens the port and closes it again.
pub async fn try_out(redirect_uri: &RedirectUri) -> Result<(), ListenTrouble> {
    bind(&redirect_uri.listen_at().ok_or(ListenTrouble::NotLoopback)?).await.map(drop)
}

async fn bind(ListenAt { addresses, port, .. }: &ListenAt) -> Result<Vec<TcpListener>, ListenTrouble> {
    let mut sockets = Vec::new();
    let mut missing = None;
    for address in addresses {
        match TcpListener::bind((*address, *port)).await {
            Ok(socket) => sockets.push(socket),
            // Another program on one of `localhost`'s two addresses would get half of the redirects.
            Err(err) => match ListenTrouble::of(*port, &err) {
                ListenTrouble::Failed(why) => missing = Some(why),
                trouble => return Err(trouble),
            },
        }
    }
    // A machine without IPv6 has no ::1, and one address is enough.
    match (sockets.is_empty(), missing) {
        (true, missing) => Err(ListenTrouble::Failed(missing.unwrap_or_default())),
        (false, _) => Ok(sockets),
    }
}

impl Listener {
    pub(super) fn start(sockets: Vec<TcpListener>, hosts: Hosts, expected: Expected, limits: Limits) -> Self {
        let sockets: Arc<[TcpListener]> = sockets.into();
        // Only the first valid redirect is sent, so there is always room.
        let (sender, arrivals) = mpsc::channel(1);
        let redirects = Redirects::new(expected, hosts, limits, sender);
        let accepting = tokio::spawn(accept_all(Arc::downgrade(&sockets), redirects));
        Self { _sockets: sockets, arrivals, accepting }
    }

    /// Waits for the valid redirect, which comes once; then for ever, while later ones are refused.
    pub async fn arrival(&mut self) -> Arrival {
        let Some(arrival) = self.arrivals.recv().await else { return pending().await };
        arrival
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl ListenTrouble {
    fn of(port: u16, err: &io::Error) -> Self {
        match err.kind() {
            io::ErrorKind::AddrInUse => Self::PortTaken(port),
            io::ErrorKind::PermissionDenied => Self::PortForbidden(port),
            _ => Self::Failed(plain(&err.to_string())),
        }
    }

    /// The fault for people.
    pub fn fault(&self) -> Fault {
        match self {
            Self::PortTaken(port) => {
                let what = format!("another program listens on the redirect port {port}");
                let remedy = format!("{} names it; or {PASTE}", who_listens_on(*port));
                Fault::new(FaultKind::PortTaken, what).remedy(remedy)
            }
            Self::PortForbidden(port) => {
                let what = format!("this user may not listen on the redirect port {port}");
                let why = native!(
                    "ports below net.ipv4.ip_unprivileged_port_start (1024 unless set with sysctl) need a right",
                    macos: "ports below 1024 need a right",
                    windows: "netsh interface ipv4 show excludedportrange tcp lists those that Windows keeps for itself"
                );
                let remedy = format!("register a callback URL with a port above 1023; or {PASTE}");
                Fault::new(FaultKind::PortForbidden, what).why(why).remedy(remedy)
            }
            Self::NotLoopback => {
                Fault::new(FaultKind::Failed, "the redirect URI does not lead to this machine over http")
                    .remedy(PASTE)
            }
            Self::Failed(why) => {
                Fault::new(FaultKind::Failed, "the redirect port cannot be opened").why(why).remedy(PASTE)
            }
        }
    }
}

const PASTE: &str = "paste the address that the browser ends at into rally-cred login";

#[cfg(test)]
mod tests {
    use std::net::{Ipv6Addr, SocketAddr};

    use rally_cred_core::event::Page;
    use rally_cred_proto::remedy::Command;
    use tokio::net::TcpSocket;

    use super::*;
    use crate::flow::tests::{exchange, expected};

    /// A port that is free on each loopback address of this machine, and sockets that keep it so: one that is bound and
    /// does not listen keeps the port from others, and not from the listener.
    fn reserve() -> (u16, Vec<TcpSocket>) {
        loop {
            let v4 = TcpSocket::new_v4().unwrap();
            v4.set_reuseaddr(true).unwrap();
            v4.bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
            let port = v4.local_addr().unwrap().port();
            let v6 = TcpSocket::new_v6().and_then(|v6| {
                v6.set_reuseaddr(true)?;
                v6.bind(SocketAddr::from((Ipv6Addr::LOCALHOST, port)))?;
                Ok(v6)
            });
            match v6 {
                Ok(v6) => return (port, vec![v4, v6]),
                Err(err) if err.kind() == io::ErrorKind::AddrInUse => (),
                Err(_) => return (port, vec![v4]),
            }
        }
    }

    #[tokio::test]
    async fn localhost_is_open_on_every_loopback_address_of_the_machine() {
        let (port, reserved) = reserve();
        let mut listener = open(expected(&format!("http://localhost:{port}/cb"))).await.unwrap();
        let right = format!("GET /cb?code=canary&state=rightful HTTP/1.1\r\nHost: localhost:{port}\r\n\r\n");
        let addresses: Vec<_> = reserved.iter().map(|socket| socket.local_addr().unwrap()).collect();
        for address in &addresses {
            let answer = exchange(*address, b"GET / HTTP/1.1\r\nHost: elsewhere\r\n\r\n").await;
            assert!(answer.starts_with("HTTP/1.1 421"), "{address} {answer}");
        }
        let last = *addresses.last().unwrap();
        let (answer, ()) = tokio::join!(exchange(last, right.as_bytes()), async {
            listener.arrival().await.page.send(Page::Denied(Command::new("rally-cred login"))).unwrap();
        });
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }

    #[tokio::test]
    async fn a_port_that_another_program_has_on_either_address_is_taken() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            // A machine without IPv6 has one address only.
            let Ok(other) = std::net::TcpListener::bind(address) else { continue };
            let port = other.local_addr().unwrap().port();
            let trouble = open(expected(&format!("http://localhost:{port}/cb"))).await.unwrap_err();
            assert_eq!(trouble, ListenTrouble::PortTaken(port));
            assert!(trouble.fault().to_string().contains(&format!("ss -ltnp 'sport = :{port}'")));
        }
    }

    #[tokio::test]
    async fn a_redirect_uri_that_leads_elsewhere_is_not_listened_for() {
        for uri in ["https://localhost:8477/cb", "http://192.0.2.1:8477/cb", "http://tools.example/cb"] {
            assert_eq!(open(expected(uri)).await.unwrap_err(), ListenTrouble::NotLoopback, "{uri}");
        }
    }

    #[test]
    fn the_systems_refusal_is_told_by_its_cause() {
        for (kind, fault) in [
            (io::ErrorKind::AddrInUse, FaultKind::PortTaken),
            (io::ErrorKind::PermissionDenied, FaultKind::PortForbidden),
            (io::ErrorKind::OutOfMemory, FaultKind::Failed),
        ] {
            assert_eq!(ListenTrouble::of(80, &kind.into()).fault().kind, fault);
        }
    }
}
