//! Where the toolkits are that `tests/tools/install` installs, and the scripts that use them.
//! Does not: install them.
//! Used by: the tests of tools that nobody here wrote, and `cargo gateway-proof`.
#![expect(clippy::panic, reason = "a toolkit that is missing is the end of its test, with this message")]

use std::path::{Path, PathBuf};

/// What `tests/tools/install` put there.
pub fn installed(name: &str) -> PathBuf {
    let path = root().join("target/tools").join(name);
    assert!(path.exists(), "{} is missing: tests/tools/install installs it", path.display());
    path
}

/// A file of this repository, as an argument.
pub fn file(path: &str) -> String {
    root().join(path).display().to_string()
}

/// The Python that has the toolkits.
pub fn python() -> String {
    installed("venv/bin/python").display().to_string()
}

/// The folder of this repository.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or_else(|| panic!("tests/ lies in a folder"))
}
