//! Every decision of the daemon, without IO, clock, randomness or log.
//! Does not: import a shell (ipc, flow, endpoint, vault, driver). Data comes in as events and leaves as effects.
//! Used by: the driver, which feeds it, and the shells, which use its plain types.

mod account;
mod alert;
pub mod answer;
mod brake;
mod broker;
pub mod dice;
pub mod event;
mod gather;
mod identity;
mod idle;
mod jobs;
mod keeping;
mod look;
pub mod nearness;
pub mod policy;
pub mod profile;
mod record;
pub mod redirect;
mod renewal;
mod running;
mod sent;
mod shown;
mod sign_in;
mod static_credentials;
mod static_record;
mod static_store;
mod step;
mod suspicion;
pub mod time;
mod token_item;
pub mod vault;

pub use broker::Broker;
pub use gather::Facts;
pub use sent::Sent;
pub use sign_in::authorization_url;

#[cfg(test)]
mod broker_tests;
