//! Seeded histories of the broker, as many as an ordinary test run has time for; `cargo simulate` plays more.
//! Does not: say what the promises are (`simulation::promises` does).
//! Met by: `main`.

use rally_cred_tests::simulation::{History, Planted};

#[test]
fn every_promise_holds_in_two_thousand_histories() {
    for seed in 0..2000 {
        if let Err(violation) = History::new(seed).play(200) {
            panic!("{violation:#?}");
        }
    }
}

#[test]
fn a_seed_gives_the_same_history_every_time() {
    for seed in 0..20 {
        assert_eq!(History::new(seed).play(200), History::new(seed).play(200));
    }
}

#[test]
fn each_promise_has_a_planted_bug_that_is_found() {
    for (bug, promise) in Planted::ALL {
        let found = (0..5000).find_map(|seed| History::with_bug(seed, Some(bug)).play(200).err());
        let violation = found.unwrap_or_else(|| panic!("{bug:?} was not found, though it breaks: {promise}"));
        println!("{bug:?}: seed {}, step {}: {}", violation.seed, violation.step, violation.broken);
    }
}
