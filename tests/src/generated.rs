//! Files of the repository that tests make, so that they stay true: compared with what they should be, or written.
//! Does not: make any of them.
//! Used by: the tests of the pictures, of the states and of the list of files.
#![expect(clippy::panic, reason = "a file that is out of date is the end of its test, with this message")]

use std::path::{Path, PathBuf};
use std::{env, fs};

/// The repository's root.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Whether files are to be written in place of compared: the variable `UPDATE_EXPECT` is set.
pub fn is_update() -> bool {
    env::var_os("UPDATE_EXPECT").is_some()
}

/// Writes the file at this path below the root if [`is_update`]. Otherwise ends the test unless the file is as expected.
pub fn check(path: &str, expected: &str) {
    let file = root().join(path);
    if is_update() {
        fs::write(&file, expected).unwrap_or_else(|err| panic!("{path}: {err}"));
    }
    let found = fs::read_to_string(&file).unwrap_or_default();
    let differs = found.lines().zip(expected.lines()).find(|(found, expected)| found != expected);
    assert!(found == expected, "{path} is out of date: {HOW}\nfirst difference: {differs:#?}");
}

/// The same for the end of a file, from the first line on that begins with `marker`; what stands before it is written by
/// hand.
pub fn check_after(path: &str, marker: &str, expected: &str) {
    let found = fs::read_to_string(root().join(path)).unwrap_or_else(|err| panic!("{path}: {err}"));
    let by_hand: String = found.split_inclusive('\n').take_while(|line| !line.starts_with(marker)).collect();
    check(path, &(by_hand + expected));
}

/// How such a file is made anew.
pub const HOW: &str =
    "run `UPDATE_EXPECT=1 cargo test -p rally-cred-tests --test suite`, with the name of this test";
