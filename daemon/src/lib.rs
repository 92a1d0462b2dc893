//! The daemon's parts. Data flows one way: ipc, then the broker in `core`, then flow, endpoint and vault.
//! Does not: promise a stable interface to other programs; they speak the socket protocol (`proto/PROTOCOL.md`).
//! Met by: `main.rs`, and the tests.

pub mod core;
pub mod flow;
