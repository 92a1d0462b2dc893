//! Puts the functions that a daemon runs on an ordinary day beside each other, in a release for Linux on x86-64. The
//! kernel maps a program's code by the 64 KiB, so what lies scattered is resident with all that lies between.
//! Does not: choose them; `cargo bench-get --order` does, and writes their names to `first-runs.txt`.
//! Used by: cargo, before it builds the daemon.

use std::{collections::BTreeSet, env, error::Error, fs, path::Path};

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=first-runs.txt");
    if !is_wanted() {
        return Ok(());
    }
    let script = Path::new(&env::var("OUT_DIR")?).join("order.ld");
    fs::write(&script, script_for(&fs::read_to_string("first-runs.txt")?))?;
    println!("cargo::rustc-link-arg-bins=-Wl,-T,{}", script.display());
    Ok(())
}

/// Whether this is such a release, by the linker that Rust chooses there: others may not know such a script.
fn is_wanted() -> bool {
    let is = |name: &str, wanted: &str| env::var(name).is_ok_and(|value| value == wanted);
    let flags = env::var("CARGO_ENCODED_RUSTFLAGS").unwrap_or_default();
    is("PROFILE", "release")
        && is("CARGO_CFG_TARGET_OS", "linux")
        && is("CARGO_CFG_TARGET_ENV", "gnu")
        && is("CARGO_CFG_TARGET_ARCH", "x86_64")
        && env::var_os("RUSTC_LINKER").is_none()
        && !["linker", "fuse-ld", "ld-path"].iter().any(|choice| flags.contains(choice))
}

/// Each function by its name; and behind those, whatever has the name of one but for the hash at its end, which is
/// another after an update of a library.
fn script_for(names: &str) -> String {
    let names: Vec<_> = names.lines().filter(|line| !line.starts_with('#')).collect();
    let mut known = BTreeSet::new();
    let alike = names.iter().filter_map(|name| Some(format!("{}*", without_hash(name)?)));
    let alike: Vec<_> = alike.filter(|pattern| known.insert(pattern.clone())).collect();
    let mut script = "SECTIONS { .text.first : {\n".to_owned();
    for pattern in names.into_iter().chain(alike.iter().map(String::as_str)) {
        // What is rarely run of a function's kind has a section of another name.
        script.push_str(&format!("*(.text.{pattern} .text.unlikely.{pattern})\n"));
    }
    script.push_str("} } INSERT BEFORE .text;\n");
    script
}

/// A name as Rust makes it ends in `17h`, 16 hexadecimal digits, and `E`.
fn without_hash(name: &str) -> Option<&str> {
    let (rest, hash) = name.strip_suffix('E')?.rsplit_once("17h")?;
    (hash.len() == 16 && hash.bytes().all(|byte| byte.is_ascii_hexdigit())).then_some(rest)
}
