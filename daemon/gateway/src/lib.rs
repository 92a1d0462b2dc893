//! The gateway: a loopback proxy that puts the live ZSESSIONID in the place of a local key, for tools that read their key
//! once.
//! Does not: know the broker, a vault or a config file. Whoever opens a gateway says where its tokens come from.
//! Used by: the daemon.

#[cfg_attr(not(test), expect(dead_code, reason = "the server that asks it comes next"))]
mod admit;
#[cfg_attr(not(test), expect(dead_code, reason = "the server that speaks TLS comes next"))]
mod authority;
#[cfg_attr(
    not(test),
    expect(dead_code, unused_imports, reason = "the server that reads through it comes next")
)]
mod guard;
mod identity;
mod key;
mod tokens;

pub use authority::Authority;
pub use identity::{Identity, NotMade, Unreadable};
pub use key::LocalKey;
pub use tokens::{Later, Lease, Tokens};
