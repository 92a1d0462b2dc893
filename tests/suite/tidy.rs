//! The shape of the source: rules that a compiler does not know, checked as ordinary tests.
//! Does not: judge style.
//! Used by: `main`.

use std::{
    fs,
    path::{Path, PathBuf},
};

pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap()
}

fn sources(folder: &Path, found: &mut Vec<(PathBuf, String)>) {
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            found.push((path.strip_prefix(root()).unwrap().to_owned(), text));
        }
    }
}

pub(crate) fn all_sources() -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    for folder in [
        "proto/src",
        "daemon/src",
        "daemon/core/src",
        "client/src",
        "tests/src",
        "tests/suite",
        "tests/bench",
    ] {
        sources(&root().join(folder), &mut found);
    }
    assert!(found.len() > 40);
    found
}

#[test]
fn every_file_introduces_itself_and_is_on_the_map() {
    let map = read("ARCHITECTURE.md");
    for (path, text) in all_sources() {
        assert!(text.starts_with("//!"), "{} does not say what it is", path.display());
        let name = path.file_name().unwrap().to_str().unwrap();
        let folder = format!("{}/", path.parent().unwrap().file_name().unwrap().to_str().unwrap());
        assert!(map.contains(name) || map.contains(&folder), "{} is not in ARCHITECTURE.md", path.display());
    }
}

/// clippy holds the core to the standard library's pure part; this holds it to libraries that have no other.
#[test]
fn the_core_has_no_library_that_reads_writes_waits_or_rolls_dice() {
    let manifest: toml::Table = read("daemon/core/Cargo.toml").parse().unwrap();
    let sections: Vec<&str> =
        manifest.keys().map(String::as_str).filter(|section| section.ends_with("dependencies")).collect();
    assert_eq!(sections, ["dependencies"]);
    let libraries: Vec<&str> =
        manifest["dependencies"].as_table().unwrap().keys().map(String::as_str).collect();
    assert_eq!(
        libraries,
        [
            "base64",
            "percent-encoding",
            "rally-cred-proto",
            "serde",
            "serde_json",
            "thiserror",
            "url",
            "uuid",
            "zeroize"
        ]
    );
}

#[test]
fn the_lints_of_all_crates_hold_in_the_core_too() {
    let (everywhere, core): (toml::Table, toml::Table) =
        (read("clippy.toml").parse().unwrap(), read("daemon/core/clippy.toml").parse().unwrap());
    for (key, value) in everywhere {
        assert_eq!(core.get(&key), Some(&value), "{key}");
    }
}

#[test]
fn no_test_sleeps_and_no_file_names_a_machine() {
    for (path, text) in all_sources() {
        if path.starts_with("tests/suite") && !path.ends_with("tidy.rs") {
            assert!(!text.contains("sleep("), "{} sleeps", path.display());
        }
        if !path.ends_with("tidy.rs") {
            assert!(
                !text.contains("/home/") && !text.contains("/root/"),
                "{} names a machine's folder",
                path.display()
            );
        }
    }
}
