//! What the fuzzer calls: each function panics if something is wrong with what it made of the bytes.
//! Does not: belong to the product; it is built only with the feature `fuzzing`.
//! Used by: `tests/fuzz`.

use crate::{guard, refs};

/// The guard and the HTTP library behind it understand the same requests in these bytes.
pub fn requests(bytes: &[u8]) {
    guard::agreement::agree(bytes);
}

/// A body is rewritten in the same way however it is cut, and as one who reads all of it would. The first three bytes
/// are the lengths of the pieces.
pub fn bodies(bytes: &[u8]) {
    if let Some((cuts, body)) = bytes.split_first_chunk::<3>()
        && let Ok(body) = std::str::from_utf8(body)
    {
        refs::oracle::check(body, &cuts.map(|cut| usize::from(cut).max(1)));
    }
}
