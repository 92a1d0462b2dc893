//! Seeded histories of the broker, as many as an ordinary test run has time for; `cargo simulate` plays more.
//! Does not: say what the promises are (`simulation::promises` does).
//! Used by: `main`.

use std::collections::BTreeSet;

use rally_cred_tests::simulation::{Cause, History, Planted, Transition};

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

/// Every change of state that six thousand histories show, as rows of ARCHITECTURE.md: from, event, to.
fn seen_transitions() -> BTreeSet<String> {
    let played = (0..6000).filter_map(|seed| History::new(seed).play(200).ok());
    let transitions: BTreeSet<_> = played.flat_map(|played| played.transitions).collect();
    let row =
        |Transition { from, cause, to }: &Transition| format!("| `{from}` | {} | `{to}` |", words(*cause));
    transitions.iter().map(row).collect()
}

fn words(cause: Cause) -> &'static str {
    match cause {
        Cause::Asked => "a client asks",
        Cause::Left => "a client leaves",
        Cause::Vault => "the vault's word",
        Cause::Listener => "the listener's word",
        Cause::Redirected => "the browser comes back",
        Cause::Rally => "Rally's answer",
        Cause::TimePassed => "a deadline",
        Cause::Daemon => "reload or stop",
    }
}

#[test]
fn the_table_of_states_is_what_the_broker_does() {
    let text = include_str!("../../ARCHITECTURE.md");
    let (_, table) = text.split_once("## States of a profile").unwrap();
    let written: BTreeSet<_> = table
        .lines()
        .take_while(|line| !line.starts_with("## "))
        .filter(|line| line.starts_with("| `"))
        .map(str::to_owned)
        .collect();
    let seen = seen_transitions();
    let missing: Vec<_> = seen.difference(&written).collect();
    let unseen: Vec<_> = written.difference(&seen).collect();
    assert!(missing.is_empty() && unseen.is_empty(), "not written: {missing:#?}\nnot seen: {unseen:#?}");
}
