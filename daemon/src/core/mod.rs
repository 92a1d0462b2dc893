//! Every decision of the daemon, without IO, clock, randomness or log.
//! Does not: import a shell (ipc, flow, endpoint, vault, driver). Data comes in as events and leaves as effects.
//! Met by: the driver, which feeds it, and the shells, which use its plain types.

pub mod profile;
pub mod time;
pub mod vault;
