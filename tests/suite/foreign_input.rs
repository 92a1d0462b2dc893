//! What others write, from git's attributes to the config file: the fuzzer's properties, held on kept seeds and on
//! what a fixed number of changes makes of them.
//! Does not: look for new paths through the code (`tests/fuzz/run` does).
//! Used by: `main`.

#[expect(clippy::panic, reason = "a property fails by panicking")]
#[path = "../fuzz/properties/mod.rs"]
mod properties;

use std::{fs, path::Path};

use proptest::{
    collection::vec,
    prelude::*,
    sample::{Index, select},
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};

use crate::tidy::{document, root};

/// Inputs of each property: all of them take a few seconds, and are the same in each run.
const INPUTS: u32 = 1_000;

/// A change of an input, at a place in it.
#[derive(Clone, Debug)]
enum Edit {
    Byte(u8),
    Word(Vec<u8>),
    Remove(usize),
    /// As many bytes from another place.
    Copy(Index, usize),
}

fn change(input: &mut Vec<u8>, place: Index, edit: Edit) {
    let at = place.index(input.len() + 1);
    let end = |from: usize, length: usize| (from + length).min(input.len());
    match edit {
        Edit::Byte(byte) => drop(input.splice(at..end(at, 1), [byte])),
        Edit::Word(word) => drop(input.splice(at..at, word)),
        Edit::Remove(length) => drop(input.drain(at..end(at, length))),
        Edit::Copy(from, length) => {
            let from = from.index(input.len() + 1);
            let copied = input[from..end(from, length)].to_vec();
            input.splice(at..at, copied);
        }
    }
}

fn seeds(folder: &Path) -> Vec<Vec<u8>> {
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.iter().map(|file| fs::read(file).unwrap()).collect()
}

/// The words of a dictionary of libFuzzer's.
fn words(dictionary: &str) -> Vec<Vec<u8>> {
    let word = |line: &str| {
        let mut rest = line.strip_prefix('"').unwrap().strip_suffix('"').unwrap().as_bytes();
        let mut word = Vec::new();
        while let [first, after @ ..] = rest {
            let (byte, after) = match rest {
                [b'\\', b'x', high, low, after @ ..] => {
                    (u8::from_str_radix(str::from_utf8(&[*high, *low]).unwrap(), 16).unwrap(), after)
                }
                [b'\\', byte, after @ ..] => (*byte, after),
                _ => (*first, after),
            };
            word.push(byte);
            rest = after;
        }
        word
    };
    dictionary.lines().map(word).collect()
}

#[test]
fn whatever_others_write_keeps_the_promises_that_the_fuzzer_checks() {
    for (name, property) in properties::ALL {
        let seeds = seeds(&root().join("tests/fuzz/seeds").join(name));
        seeds.iter().for_each(|seed| property(seed));
        let words = words(&document(&format!("tests/fuzz/seeds/{name}.dict")));
        let edit = prop_oneof![
            3 => any::<u8>().prop_map(Edit::Byte),
            4 => select(words).prop_map(Edit::Word),
            2 => (1..24_usize).prop_map(Edit::Remove),
            2 => (any::<Index>(), 1..48_usize).prop_map(|(from, length)| Edit::Copy(from, length)),
        ];
        let input = (select(seeds), vec((any::<Index>(), edit), 1..5)).prop_map(|(mut input, edits)| {
            edits.into_iter().for_each(|(place, edit)| change(&mut input, place, edit));
            input
        });
        let config = Config { cases: INPUTS, failure_persistence: None, ..Config::default() };
        let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
        let ended = runner.run(&input, |input| {
            property(&input);
            Ok(())
        });
        assert!(ended.is_ok(), "{name}: {}", ended.unwrap_err());
    }
}
