//! A gateway as tools see it: raw connections on one side, and on the other a Rally whose every byte the test writes.
//! Does not: leave loopback, sleep, or use a daemon.
//! Used by: `cargo test`.

mod audited;
mod breaking;
mod further;
mod passing_on;
mod renewal;
mod secure;
mod tunnels;
mod world;
