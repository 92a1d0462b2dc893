//! What is behind an error.
//! Does not: judge it.
//! Used by: whatever sorts the errors of libraries.

use std::{error::Error, io, iter};

/// The error and what is behind it. `io::Error` skips the error that it wraps, so that one is unwrapped by hand.
pub fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    iter::successors(Some(error), |&error| {
        match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(inner) => Some(inner),
            None => error.source(),
        }
    })
}
