//! Tells the service manager whether the daemon is ready, reloading, stopping or alive, and what it is doing, by
//! systemd's protocol (`sd_notify(3)`): lines of `NAME=value` in datagrams to the socket in `NOTIFY_SOCKET`.
//! Does not: decide, or wait for the manager.
//! Used by: `start`, `perform` and `driver`.

use std::{cell::Cell, time::Duration};

use rally_cred_proto::plain::plain;

use rally_cred_core::{
    event::{Entry, GrantStep},
    time::{Tick, Ticks},
};

/// The service manager, if one started the daemon and listens; by default there is none.
#[derive(Debug, Default)]
pub struct ServiceManager {
    #[cfg(unix)]
    socket: Option<std::os::unix::net::UnixDatagram>,
    heartbeat: Option<Ticks>,
    last_beat: Cell<Option<Tick>>,
}

impl ServiceManager {
    /// The service manager in the environment.
    #[cfg(unix)]
    pub fn from_environment() -> Self {
        let variable = |name| std::env::var(name).ok();
        let is_for_us = variable("WATCHDOG_PID").is_none_or(|pid| pid == std::process::id().to_string());
        let watchdog = variable("WATCHDOG_USEC").filter(|_| is_for_us).and_then(|text| text.parse().ok());
        // Zero means none.
        let watchdog = watchdog.filter(|microseconds: &u64| *microseconds > 0);
        Self {
            socket: std::env::var_os("NOTIFY_SOCKET").and_then(|address| connect(&address).ok()),
            // The loop sleeps for one heartbeat at most, so the longest silence is two of them, half the limit.
            heartbeat: watchdog.map(|microseconds| Ticks(microseconds / 4000).max(Ticks(1))),
            last_beat: Cell::new(None),
        }
    }

    /// No service manager speaks this protocol here.
    #[cfg(not(unix))]
    pub fn from_environment() -> Self {
        Self::default()
    }

    /// Clients are served from now on.
    pub fn ready(&self, profiles: usize) {
        self.send(&format!("READY=1\nSTATUS={}", serving(profiles)));
    }

    /// The config file is being read, until [`ServiceManager::note`]. `Type=notify-reload` needs the time.
    pub fn reloading(&self) {
        let now = monotonic_now().as_micros();
        self.send(&format!("RELOADING=1\nMONOTONIC_USEC={now}\nSTATUS=reading the config file"));
    }

    /// Passes on what the broker logs, if it concerns the manager.
    pub fn note(&self, entry: &Entry) {
        match entry {
            Entry::Reloaded { profiles } => self.ready(*profiles),
            Entry::ReloadFailed(fault) => {
                let what = plain(&fault.what);
                self.send(&format!("READY=1\nSTATUS={what}, so the old configuration stays in force"));
            }
            Entry::Stopping => self.send("STOPPING=1\nSTATUS=stopping"),
            Entry::Idle => self.send("STOPPING=1\nSTATUS=nothing to do until the next client comes"),
            Entry::Grant { profile, step } if *step != GrantStep::Kept => {
                self.send(&format!("STATUS=profile {}: {}", plain(profile), step.words()));
            }
            Entry::Grant { .. }
            | Entry::Decided(_)
            | Entry::Recovered { .. }
            | Entry::GatewayOpened { .. }
            | Entry::GatewayClosed { .. }
            | Entry::GatewayFailed { .. }
            | Entry::Forwarding { .. }
            | Entry::ForwardFailed(_)
            | Entry::Locked(_)
            | Entry::Unlocked
            | Entry::Stale(_) => {}
        }
    }

    /// The longest that the driver may sleep under a watchdog.
    pub fn heartbeat(&self) -> Option<Ticks> {
        self.heartbeat
    }

    /// The driver's loop is alive.
    pub fn beat(&self, now: Tick) {
        let Some(heartbeat) = self.heartbeat else { return };
        if self.last_beat.get().is_none_or(|last| now - last >= heartbeat) {
            self.last_beat.set(Some(now));
            self.send("WATCHDOG=1");
        }
    }

    #[cfg(unix)]
    fn send(&self, words: &str) {
        if let Some(socket) = &self.socket {
            // The daemon serves without it.
            socket.send(words.as_bytes()).ok();
        }
    }

    #[cfg(not(unix))]
    fn send(&self, _words: &str) {}
}

fn serving(profiles: usize) -> String {
    match profiles {
        0 => "no profile is configured".to_owned(),
        1 => "serving 1 profile".to_owned(),
        _ => format!("serving {profiles} profiles"),
    }
}

/// A socket to this address: a path, or a name in Linux's abstract namespace after an `@`.
#[cfg(unix)]
fn connect(address: &std::ffi::OsStr) -> std::io::Result<std::os::unix::net::UnixDatagram> {
    let socket = std::os::unix::net::UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    #[cfg(target_os = "linux")]
    if let Some(name) = std::os::unix::ffi::OsStrExt::as_bytes(address).strip_prefix(b"@") {
        use std::os::{linux::net::SocketAddrExt, unix::net::SocketAddr};
        socket.connect_addr(&SocketAddr::from_abstract_name(name)?)?;
        return Ok(socket);
    }
    socket.connect(address)?;
    Ok(socket)
}

#[cfg(unix)]
fn monotonic_now() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    Duration::try_from(time).unwrap_or_default()
}

#[cfg(not(unix))]
fn monotonic_now() -> Duration {
    Duration::ZERO
}
