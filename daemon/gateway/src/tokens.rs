//! Where a gateway gets its tokens.
//! Does not: keep one, or decide when one is renewed (the broker does).
//! Used by: the gateway, for each request that it passes on; the daemon implements it.

use std::{future::Future, pin::Pin, time::Duration};

use rally_cred_proto::{Fault, Secret};

/// The answer of [`Tokens`], on its way.
pub type Later<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Gives a profile's tokens. An ended token is never given.
pub trait Tokens: Send + Sync + 'static {
    /// A token that is valid now. Waits for a renewal, for the keyring, and for a person who signs in, but no longer than
    /// `patience`; the error says what is missing and what to do.
    fn token(&self, patience: Duration) -> Later<'_, Result<Secret, Fault>>;

    /// Another token than this one, which Rally has refused with 401. If another is held already, that is given at once;
    /// else one renewal serves all who ask. The error says why there is none.
    fn replace(&self, refused: &Secret, patience: Duration) -> Later<'_, Result<Secret, Fault>>;
}
