//! The browser's side of a sign-in: the listener on the redirect port and the pages that it answers with.
//! Does not: make the authorization URL, exchange the code, or decide what a redirect means.
//! Used by: perform, which opens a listener while a flow is pending.

mod connections;
mod content;
pub mod listener;
pub mod pages;
pub mod request;

#[cfg(test)]
mod tests;
