//! Holds PROTOCOL.md and the messages together: every example parses, every field and kind is in both.
//! Does not: check what the daemon does with a message.
//! Used by: `cargo test`; a new variant or field fails here until the page shows it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::message::{Became, Preamble, ProfileState, Tried, Versioned, WaitingOn};
use crate::{Answer, Ask, Event, FaultKind, Reply, VERSION, frame};

const PAGE: &str = include_str!("../PROTOCOL.md");

/// Names that the page uses for what only a newer daemon knows.
const NEWER: &str = "of_tomorrow";

/// An example as it is written, as it is after a parse, and which variant that gave.
struct Example {
    is_ask: bool,
    written: Value,
    parsed: Value,
    variant: &'static str,
}

/// Names every variant once, and does not compile when one is missing.
macro_rules! variants {
    ($name:ident, $all:ident, $type:ident: $($variant:ident)*) => {
        const $all: &[&str] = &[$(stringify!($variant)),*];

        fn $name(value: &$type) -> &'static str {
            match value { $($type::$variant { .. } => stringify!($variant)),* }
        }
    };
}

variants!(ask_variant, ASKS, Ask: Get Store Erase Login Paste Logout Status Check Watch OpenGateway
    ShowGateway RevokeGateway HoldTurns Forward Lock Unlock UnlockKeyring MoveItems RepairItems Audit
    Reload Stop MakeWay Unknown);
variants!(event_variant, EVENTS, Event: Authorize Waiting Notice Profile Finding News Gateway Item Flaw GatewayOpen
    TurnsHeld ForwardOpen Decision Unknown);
variants!(reply_variant, REPLIES, Reply: Token StaticCredential NoMatch SignedIn SignedOut Status
    ShownGateway Done Error);
variants!(waiting_variant, WAITINGS, WaitingOn: Keyring KeyringUnlock Renewal Exchange Unlock Consent Other);
variants!(tried_variant, TRIED, Tried: Vault RedirectPort TokenCommand Rally Tls Clock Other);
variants!(became_variant, BECAME, Became: Held Obtained Renewed Ended Refused SignInNeeded Other);
variants!(state_variant, STATES, ProfileState:
    Unread Loading SignedOut SigningIn Exchanging Renewing SignedIn Other);

impl Example {
    fn parse(arrow: &str, text: &str) -> Self {
        let written: Value = serde_json::from_str(text).unwrap_or_else(|fault| panic!("{fault}: {text}"));
        // On the wire it is one line.
        let line = serde_json::to_vec(&written).unwrap();
        match arrow {
            "→" => {
                let Preamble { v } = frame::decode(&line).unwrap();
                assert_eq!(v, VERSION, "{text}");
                let ask: Ask = frame::decode(&line).unwrap_or_else(|fault| panic!("{fault}: {text}"));
                let parsed = serde_json::to_value(Versioned { v, ask: &ask }).unwrap();
                Self { is_ask: true, written, parsed, variant: ask_variant(&ask) }
            }
            "←" => {
                let answer: Answer = frame::decode(&line).unwrap_or_else(|fault| panic!("{fault}: {text}"));
                let parsed = serde_json::to_value(&answer).unwrap();
                let variant = match &answer {
                    Answer::Event(event) => event_variant(event),
                    Answer::Reply(reply) => reply_variant(reply),
                };
                Self { is_ask: false, written, parsed, variant }
            }
            other => panic!("{other} is no direction: {text}"),
        }
    }

    fn is_of_newer_daemon(&self) -> bool {
        self.written.to_string().contains(NEWER)
    }

    /// The heading under which its fields stand. Two messages are named `status`: the request is the first.
    fn section(&self) -> &'static str {
        let name = self.written.get(if self.is_ask { "op" } else { "type" }).and_then(Value::as_str).unwrap();
        let (asks, answers) = PAGE.split_once("\n## Events\n").unwrap();
        section(if self.is_ask { asks } else { answers }, &format!("### `{name}`"))
    }
}

/// Every message in the fenced blocks, each begun by its arrow.
fn examples() -> Vec<Example> {
    let mut found = Vec::new();
    for block in PAGE.split("```json\n").skip(1).map(|rest| rest.split_once("```").unwrap().0) {
        let starts: Vec<_> = block.match_indices(['→', '←']).map(|(at, _)| at).chain([block.len()]).collect();
        assert_eq!(starts.first(), Some(&0), "a block begins with an arrow: {block}");
        for bounds in starts.windows(2) {
            let (arrow, text) = block[bounds[0]..bounds[1]].split_once(' ').unwrap();
            found.push(Example::parse(arrow, text));
        }
    }
    found
}

/// The text between a heading and the next.
fn section<'a>(page: &'a str, heading: &str) -> &'a str {
    let (_, rest) =
        page.split_once(&format!("\n{heading}\n")).unwrap_or_else(|| panic!("no heading {heading}"));
    rest.split("\n#").next().unwrap_or_default()
}

/// The first cells of the table rows that begin with a code word, each with the whole row.
fn rows(text: &str) -> BTreeMap<&str, Vec<&str>> {
    let rows = text.lines().filter_map(|line| line.strip_prefix("| `"));
    rows.filter_map(|row| row.split_once('`'))
        .map(|(name, rest)| (name, rest.split('|').map(str::trim).collect()))
        .collect()
}

/// The names of a list with an explanation each.
fn bullets(text: &str) -> Vec<&str> {
    text.lines()
        .filter_map(|line| line.strip_prefix("- `")?.split_once("`: "))
        .map(|(name, _)| name)
        .collect()
}

/// The path of every field in a message, but for version and name, and for the fields of a fault within.
fn paths(message: &Value) -> BTreeSet<String> {
    fn walk(value: &Value, prefix: &str, found: &mut BTreeSet<String>) {
        match value {
            Value::Object(fields) => {
                for (name, inner) in fields {
                    let path = format!("{prefix}{name}");
                    if !["v", "op", "type"].contains(&path.as_str()) {
                        found.insert(path.clone());
                    }
                    if name != "fault" {
                        walk(inner, &format!("{path}."), found);
                    }
                }
            }
            Value::Array(items) => {
                let prefix = format!("{}[].", prefix.trim_end_matches('.'));
                items.iter().for_each(|item| walk(item, &prefix, found));
            }
            _ => {}
        }
    }
    let mut found = BTreeSet::new();
    walk(message, "", &mut found);
    found
}

/// Whether every field of one value is in the other, with the same value.
fn is_part_of(part: &Value, whole: &Value) -> bool {
    match (part, whole) {
        (Value::Object(part), Value::Object(whole)) => {
            part.iter().all(|(name, value)| whole.get(name).is_some_and(|other| is_part_of(value, other)))
        }
        (Value::Array(part), Value::Array(whole)) => {
            part.len() == whole.len() && part.iter().zip(whole).all(|(part, whole)| is_part_of(part, whole))
        }
        _ => part == whole,
    }
}

#[test]
fn every_message_has_an_example() {
    let shown: BTreeSet<_> = examples().iter().map(|example| (example.is_ask, example.variant)).collect();
    let asks = ASKS.iter().map(|variant| (true, *variant));
    let missing: Vec<_> = asks
        .chain(EVENTS.iter().chain(REPLIES).map(|variant| (false, *variant)))
        .filter(|one| !shown.contains(one))
        .collect();
    assert!(missing.is_empty(), "PROTOCOL.md has no example of {missing:?}");
}

#[test]
fn another_machine_gets_tokens_and_status_and_every_other_request_is_refused_with_something_to_try() {
    for example in examples().iter().filter(|example| example.is_ask) {
        let ask: Ask = serde_json::from_value(example.written.clone()).unwrap();
        let is_for_all = match &ask {
            Ask::Get(_) => true,
            Ask::Status(status) => !status.check,
            _ => false,
        };
        match ask.from_afar() {
            Ok(taken) => assert!(is_for_all, "{} became {taken:?}", example.written),
            Err(fault) => assert!(!is_for_all && fault.remedy.is_some(), "{}: {fault}", example.written),
        }
    }
}

#[test]
fn nothing_in_an_example_is_lost_by_a_parse() {
    for example in examples().iter().filter(|example| !example.is_of_newer_daemon()) {
        assert!(
            is_part_of(&example.written, &example.parsed),
            "{}\nbecame {}",
            example.written,
            example.parsed
        );
    }
}

#[test]
fn every_field_is_in_the_table_of_its_message_and_in_an_example() {
    let mut shown: BTreeMap<_, BTreeSet<String>> = BTreeMap::new();
    for example in examples().iter().filter(|example| !example.is_of_newer_daemon()) {
        let section = example.section();
        let documented = rows(section);
        for path in paths(&example.parsed) {
            assert!(
                documented.contains_key(path.as_str()),
                "{path} of {} is not documented",
                example.variant
            );
        }
        shown.entry(section).or_default().extend(paths(&example.written));
    }
    for (section, shown) in shown {
        for (name, cells) in rows(section) {
            assert!(shown.contains(name), "no example has {name}:{section}");
            assert_eq!(cells.len(), 5, "a row of {name} has four cells");
        }
    }
}

#[test]
fn every_field_may_be_left_out_and_is_then_the_default_or_is_required() {
    for example in examples().iter().filter(|example| !example.is_of_newer_daemon()) {
        for (name, cells) in rows(example.section()) {
            let mut without = example.written.clone();
            // Fields within fields stay as they are.
            if without.as_object_mut().unwrap().remove(name).is_none() {
                continue;
            }
            let line = serde_json::to_vec(&without).unwrap();
            let read = match example.is_ask {
                true => frame::decode::<Ask>(&line).map(|ask| serde_json::to_value(ask).unwrap()),
                false => frame::decode::<Answer>(&line).map(|answer| serde_json::to_value(answer).unwrap()),
            };
            let default = read.map_or("required".to_owned(), |message| {
                message.get(name).map(Value::to_string).unwrap_or_default()
            });
            assert_eq!(cells[2], default, "{name} of {}", example.variant);
        }
    }
}

#[test]
fn version_and_limit_are_the_ones_of_the_code() {
    assert!(PAGE.starts_with(&format!("# The socket protocol of rally-credd, version {VERSION}\n")));
    assert_eq!(frame::MAX_FRAME, 65_536);
    assert!(section(PAGE, "## Frames").contains(" 65,536 bytes"));
}

#[test]
fn every_state_every_reason_to_wait_everything_that_is_tried_and_all_news_are_listed() {
    let (_, answers) = PAGE.split_once("\n## Events\n").unwrap();
    let read = |name: &str| Value::String(name.to_owned());

    let listed = bullets(section(answers, "### `waiting`"));
    let on = listed.iter().map(|name| serde_json::from_value(read(name)).unwrap());
    let known = on.map(|on: WaitingOn| waiting_variant(&on)).chain(["Other"]);
    assert_eq!(known.collect::<Vec<_>>(), WAITINGS);

    let listed = bullets(section(answers, "### `finding`"));
    let tried = listed.iter().map(|name| serde_json::from_value(read(name)).unwrap());
    let known = tried.map(|tried: Tried| tried_variant(&tried)).chain(["Other"]);
    assert_eq!(known.collect::<Vec<_>>(), TRIED);

    let listed = bullets(section(answers, "### `news`"));
    let became = listed.iter().map(|name| serde_json::from_value(read(name)).unwrap());
    let known = became.map(|became: Became| became_variant(&became)).chain(["Other"]);
    assert_eq!(known.collect::<Vec<_>>(), BECAME);

    let listed = bullets(section(answers, "### `profile`"));
    let states = listed.iter().map(|name| serde_json::from_value(read(name)).unwrap());
    let known = states.map(|state: ProfileState| state_variant(&state)).chain(["Other"]);
    assert_eq!(known.collect::<Vec<_>>(), STATES);
}

#[test]
fn the_table_of_faults_is_the_one_of_the_code() {
    let text = section(PAGE, "## Kinds of fault");
    let listed: Vec<_> =
        text.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` | ")).collect();
    let listed: Vec<_> =
        listed.iter().map(|(name, rest)| (*name, rest.split(' ').next().unwrap().to_owned())).collect();
    let expected: Vec<_> =
        FaultKind::ALL.iter().map(|kind| (kind.name(), kind.exit_code().to_string())).collect();
    assert_eq!(listed, expected);
}
