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
        "client/src",
        "client/commands/src",
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
    let map = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    for (path, text) in all_sources() {
        assert!(text.starts_with("//!"), "{} does not say what it is", path.display());
        let name = path.file_name().unwrap().to_str().unwrap();
        let folder = format!("{}/", path.parent().unwrap().file_name().unwrap().to_str().unwrap());
        assert!(map.contains(name) || map.contains(&folder), "{} is not in ARCHITECTURE.md", path.display());
    }
}

#[test]
fn the_core_stays_pure() {
    for (path, text) in all_sources() {
        if !path.starts_with("daemon/src/core") || path.starts_with("daemon/src/core/broker_tests") {
            continue;
        }
        let code: String =
            text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
        for word in [
            "std::fs",
            "std::env",
            "std::net::Tcp",
            "std::thread",
            "SystemTime",
            "Instant::",
            "tokio",
            "tracing::",
            "getrandom",
            "async ",
            ".await;",
            ".await?",
            ".await)",
        ] {
            assert!(!code.contains(word), "{} uses {word}", path.display());
        }
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
