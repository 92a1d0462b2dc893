//! Seeded histories of the broker, as many as an ordinary test run has time for; `cargo simulate` plays more.
//! Does not: say what the promises are (`simulation::promises` does).
//! Used by: `main`.

use std::collections::BTreeSet;

use rally_cred_tests::generated;
use rally_cred_tests::simulation::{Cause, Counts, Fleet, FleetBug, History, Planted, Transition};

use crate::tidy::document;

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
    for &(bug, promise) in Planted::ALL {
        let found = (0..20_000).find_map(|seed| History::with_bug(seed, Some(bug)).play(200).err());
        let violation = found.unwrap_or_else(|| panic!("{bug:?} was not found, though it breaks: {promise}"));
        println!("{bug:?}: seed {}, step {}: {}", violation.seed, violation.step, violation.broken);
    }
}

#[test]
fn every_promise_of_a_fleet_holds_in_a_thousand_histories() {
    for seed in 0..1000 {
        if let Err(violation) = Fleet::new(seed, None).play(60) {
            panic!("{violation:#?}");
        }
    }
}

#[test]
fn a_token_that_is_still_on_its_way_to_the_vault_is_not_lost() {
    // Here Rally has answered a renewal, and the daemon has not heard it, when the vault is looked at.
    if let Err(violation) = Fleet::new(90_263, None).play(60) {
        panic!("{violation:#?}");
    }
}

#[test]
fn each_promise_of_a_fleet_has_a_planted_bug_that_is_found() {
    for &(bug, promise) in FleetBug::ALL {
        let found = (0..2000).find_map(|seed| Fleet::new(seed, Some(bug)).play(60).err());
        let violation = found.unwrap_or_else(|| panic!("{bug:?} was not found, though it breaks: {promise}"));
        println!("{bug:?}: seed {}, step {}: {}", violation.seed, violation.step, violation.broken);
    }
}

#[test]
fn the_table_of_fleets_says_what_a_thousand_daemons_ask_for() {
    let mut table =
        "| daemons | requests to Rally | reads of the vault | changes of the vault |\n|---|---|---|---|\n"
            .to_owned();
    for size in [1, 20, 200, 1000] {
        let Counts { renewals, reads, changes, .. } = Fleet::count(size);
        table += &format!("| {size} | {renewals} | {reads} | {changes} |\n");
    }
    generated::check_after("docs/fleets.md", "| daemons", &table);
}

/// Every change of state that six thousand histories show.
fn seen_transitions() -> BTreeSet<Transition> {
    let played = (0..6000).filter_map(|seed| History::new(seed).play(200).ok());
    played.flat_map(|played| played.transitions).collect()
}

/// The events, in the words of docs/states.md.
fn word(cause: Cause) -> &'static str {
    match cause {
        Cause::Asked => "ask",
        Cause::Left => "leave",
        Cause::Vault => "vault",
        Cause::Listener => "port",
        Cause::Redirected => "browser",
        Cause::Rally => "Rally",
        Cause::Program => "program",
        Cause::TimePassed => "time",
        Cause::Daemon => "daemon",
        Cause::System => "system",
    }
}

/// A row for each state before, a column for each state after.
fn table(seen: &BTreeSet<Transition>, states: &[&str]) -> String {
    let mut table =
        format!("| from \\ to | {} |\n|---{}|\n", names(states).join(" | "), "|---".repeat(states.len()));
    for from in states {
        let cell = |to: &&str| {
            let causes = seen.iter().filter(|seen| seen.from == *from && seen.to == *to);
            causes.map(|seen| word(seen.cause)).collect::<Vec<_>>().join(", ")
        };
        let cells: Vec<_> = states.iter().map(cell).collect();
        table += &format!("| `{from}` | {} |\n", cells.join(" | "));
    }
    table
}

fn names(states: &[&str]) -> Vec<String> {
    states.iter().map(|state| format!("`{state}`")).collect()
}

#[test]
fn the_table_of_states_is_what_the_broker_does() {
    let seen = seen_transitions();
    let states = ["unread", "loading", "signed_out", "signing_in", "exchanging", "signed_in", "renewing"];
    let known: BTreeSet<_> = seen.iter().flat_map(|seen| [seen.from, seen.to]).collect();
    assert_eq!(known, BTreeSet::from(states), "a state that the table lacks, or one that nothing leads to");
    generated::check_after("docs/states.md", "| from", &table(&seen, &states));

    // The diagram shows a part of that, and every state.
    let map = document("ARCHITECTURE.md");
    let (_, diagram) = map.split_once("stateDiagram-v2\n").unwrap();
    let (diagram, _) = diagram.split_once("```").unwrap();
    let mut drawn = BTreeSet::new();
    for arrow in
        diagram.lines().map(str::trim).filter(|line| line.contains("-->") && !line.starts_with("[*]"))
    {
        let (from, rest) = arrow.split_once(" --> ").unwrap();
        let (to, causes) = rest.split_once(": ").unwrap();
        for cause in causes.split(", ") {
            let is_seen = |seen: &Transition| seen.from == from && seen.to == to && word(seen.cause) == cause;
            assert!(seen.iter().any(is_seen), "the broker never does this: {arrow}");
        }
        drawn.extend([from, to]);
    }
    assert_eq!(drawn, known.into_iter().collect(), "the diagram lacks a state");
}
