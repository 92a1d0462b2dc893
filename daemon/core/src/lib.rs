//! Every decision of the daemon, without IO, clock, randomness or log.
//! Does not: import a shell (ipc, flow, endpoint, vault, driver). Data comes in as events and leaves as effects.
//! Used by: the driver, which feeds it, and the shells, which use its plain types.

mod account;
pub mod also;
pub mod answer;
mod brake;
mod broker;
pub mod dice;
pub mod event;
mod item;
mod jobs;
pub mod loans;
mod lock;
pub mod policy;
pub mod profile;
mod record;
pub mod redirect;
pub mod repair;
mod sent;
mod static_credentials;
mod static_record;
mod static_store;
mod step;
pub mod time;
pub mod vault;
mod waiter;

pub use account::authorization_url;
pub use broker::{Broker, Facts};
pub use profile::kv2;
pub use record::{for_readers, is_later, is_newer_for_readers, is_of_later_version, is_same_grant};
pub use sent::Sent;

#[cfg(test)]
mod broker_tests;
