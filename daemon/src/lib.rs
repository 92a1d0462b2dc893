//! The daemon's parts. Data flows one way: ipc, then the broker in `core`, then flow, endpoint and vault.
//! Does not: promise a stable interface to other programs; they speak the socket protocol (`proto/PROTOCOL.md`).
//! Used by: `main.rs`, and the tests.

pub mod activation;
pub mod alert;
#[cfg(target_os = "linux")]
pub mod bus;
mod caller;
pub mod clock;
pub mod command_line;
pub mod config;
pub mod confinement;
#[cfg(target_os = "linux")]
pub mod descriptor;
pub mod driver;
pub mod endpoint;
pub mod environment;
pub mod episode;
pub mod flow;
pub mod gateway;
mod http;
pub mod ipc;
pub mod log;
#[cfg(target_os = "linux")]
pub mod logind;
#[cfg(target_os = "linux")]
pub mod netlink;
pub mod notify;
pub mod outside;
pub mod perform;
pub mod private_file;
pub mod program;
#[cfg(unix)]
mod refusal;
pub mod secret_source;
pub mod start;
pub mod token_command;
pub mod vault;
pub mod worker;
