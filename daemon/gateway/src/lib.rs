//! The gateway: a loopback proxy that puts the live ZSESSIONID in the place of a local key, for tools that read their key
//! once.
//! Does not: know the broker, a vault or a config file. Whoever opens a gateway says where its tokens come from.
//! Used by: the daemon.

mod admit;
mod audit;
mod authority;
mod counts;
mod forward;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod guard;
mod headers;
mod identity;
mod key;
mod queue;
mod refs;
mod replay;
mod server;
mod settings;
mod socket;
mod token_header;
mod tokens;
mod trouble;
mod tunnel;
mod turns;
mod upstream;

pub use audit::{Answered, Audit};
pub use authority::Authority;
pub use counts::Counts;
pub use identity::{Identity, NotMade, Unreadable};
pub use key::LocalKey;
pub use queue::Share;
pub use server::Gateway;
pub use settings::{Further, Settings, Ways};
pub use token_header::TokenHeader;
pub use tokens::{Later, Tokens};

#[cfg(test)]
mod tests;
