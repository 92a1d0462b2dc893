//! What the daemon, the client and other programs say to each other: messages, framing, socket path, faults, and the
//! git and EngFlow codecs, with a small client, blocking or (feature `tokio`) asynchronous.
//! Does not: decide anything, keep state, or reach the network. Imports nothing of ours.
//! Used by: `rally-credd`, `rally-cred`, and any Rust program that wants a ZSESSIONID (see [`Client`]).

#[cfg(feature = "tokio")]
pub mod async_client;
pub mod audit;
mod causes;
pub mod client;
pub mod deadline;
pub mod duration;
pub mod engflow;
pub mod fault;
pub mod forwarding;
pub mod frame;
pub mod gateway;
pub mod git;
pub mod lock;
pub mod message;
pub mod native;
pub mod neighbour;
pub mod network;
pub mod object;
pub mod origin;
pub mod own_file;
#[cfg(windows)]
mod pipe;
pub mod plain;
pub mod process;
pub mod profile_name;
#[cfg(test)]
mod protocol_examples;
pub mod remedy;
pub mod secret;
pub mod shell_word;
pub mod socket;
mod stream;
mod unpoisoned;
pub mod variables;

#[cfg(feature = "tokio")]
pub use async_client::AsyncClient;
pub use causes::causes;
pub use client::Client;
pub use deadline::Deadline;
pub use fault::{Fault, FaultKind};
pub use message::{Answer, Ask, Event, Reply, Request, VERSION};
pub use origin::Origin;
pub use profile_name::ProfileName;
pub use remedy::Remedy;
pub use secret::Secret;
pub use unpoisoned::unpoisoned;
