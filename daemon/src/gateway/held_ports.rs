//! Ports that the service manager holds for gateways, so that a tool which starts before the daemon finds its own.
//! Does not: open a gateway, or check where the ports are (`activation` does).
//! Used by: `gateway`; `start` makes it.

use std::{collections::HashMap, io, net::TcpListener, time::Duration};

use rally_cred_core::profile::Config;
use rally_cred_proto::native;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::{AbortHandle, spawn_local},
    time::timeout,
};

/// How long a tool at a port without a gateway may take to send its request, and to read the answer.
const PATIENCE: Duration = Duration::from_secs(1);

/// Only systemd passes sockets on.
fn unwanted(port: u16) -> String {
    native!(
        format!(
            "a socket that the service manager passes on is at port {port}, and no gateway of the config file is; \
             try: systemctl --user disable --now rally-cred-gateway@{port}.socket"
        ),
        windows: format!("a socket that was passed on is at port {port}, and no gateway of the config file is")
    )
}

/// Every port that is held.
#[derive(Debug, Default)]
pub struct HeldPorts(HashMap<u16, Held>);

#[derive(Debug)]
struct Held {
    listener: TcpListener,
    /// Ends the task that turns tools away.
    turning_away: Option<AbortHandle>,
}

impl HeldPorts {
    /// Holds these. A tool at a port that no gateway of the config file has is told so; at the others, it waits.
    pub fn new(listeners: Vec<TcpListener>, config: &Config) -> Self {
        let held = listeners.into_iter().filter_map(|listener| {
            Some((listener.local_addr().ok()?.port(), Held { listener, turning_away: None }))
        });
        let mut held = Self(held.collect());
        let wanted: Vec<_> = config.gateways.values().filter_map(|settings| settings.port).collect();
        for port in held.0.keys().copied().filter(|port| !wanted.contains(port)).collect::<Vec<_>>() {
            tracing::warn!("{}", unwanted(port));
            held.give_back(port);
        }
        held
    }

    /// The listener of a port, for a gateway that is opened there now; `None` if it is not held.
    pub fn take_over(&mut self, port: u16) -> Option<TcpListener> {
        let held = self.0.get_mut(&port)?;
        if let Some(task) = held.turning_away.take() {
            task.abort();
        }
        held.listener.try_clone().ok()
    }

    /// No gateway has this port any more. Whoever comes to it is told so.
    pub fn give_back(&mut self, port: u16) {
        if let Some(held) = self.0.get_mut(&port) {
            held.turning_away = turn_away(&held.listener, port).ok();
        }
    }
}

fn turn_away(listener: &TcpListener, port: u16) -> io::Result<AbortHandle> {
    let listener = listener.try_clone()?;
    listener.set_nonblocking(true)?;
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let task = spawn_local(async move {
        while let Ok((tool, _)) = listener.accept().await {
            spawn_local(timeout(PATIENCE, refuse(tool, port)));
        }
    });
    Ok(task.abort_handle())
}

/// Says why nothing is served here, in the status line too, which is all that some tools show.
async fn refuse(mut tool: TcpStream, port: u16) -> io::Result<()> {
    // Unread input would reset the connection before the answer is read.
    let _ = tool.read(&mut [0; 8192]).await?;
    let why = format!("no gateway of rally-cred has port {port}");
    let length = why.len();
    let answer = format!("HTTP/1.1 503 {why}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{why}");
    tool.write_all(answer.as_bytes()).await?;
    tool.shutdown().await
}
