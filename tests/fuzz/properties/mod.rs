//! What holds of every input that others write. Each property is a function that panics where it does not hold.
//! Does not: make inputs; the fuzzer does, and the suite's test from the kept seeds.
//! Used by: `tests/fuzz/main.rs` and `tests/suite/foreign_input.rs`.

mod answers;
mod config;
mod messages;
mod records;
mod redirects;

use rally_cred_proto::{Fault, Secret};
use serde_json::Value;

/// A check of one input.
pub(crate) type Property = fn(&[u8]);

/// Every property by its name, which is also that of its folder of seeds.
pub(crate) const ALL: [(&str, Property); 9] = [
    ("git", messages::git),
    ("engflow", messages::engflow),
    ("frames", messages::frames),
    ("redirect", redirects::redirect),
    ("pasted", redirects::pasted),
    ("token-answer", answers::token_answer),
    ("user-answer", answers::user_answer),
    ("records", records::records),
    ("config", config::config),
];

/// A secret that an input may hold. It is too short to be taken for a secret by its looks, so only what knows it hides it.
const CANARY: &str = "canary-2f6d9";

/// A secret beside it, of a usual length.
const LONG_CANARY: &str = "canary-b41c7e90-of-a-usual-length";

fn secret(text: &str) -> Secret {
    Secret::parse(text.to_owned()).unwrap()
}

/// No character of this text moves the cursor, or reorders what stands around it.
fn steers_nothing(text: &str) {
    let steers = |c: char| {
        c.is_control()
            || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    assert!(!text.replace('\n', " ").chars().any(steers), "{text:?}");
}

/// Whoever reads this text is not misled, and learns no secret.
fn is_harmless(text: &str) {
    steers_nothing(text);
    assert!(!text.contains(CANARY) && !text.contains(LONG_CANARY), "{text:?}");
}

/// A fault as people see it: at most three lines, each of a length to be read.
fn has_form(fault: &Fault) {
    let text = fault.to_string();
    steers_nothing(&text);
    assert!(text.lines().count() <= 3 && text.lines().all(|line| line.chars().count() <= 310), "{text:?}");
}

/// The same, and it holds no secret, on the wire either.
fn is_harmless_fault(fault: &Fault) {
    has_form(fault);
    is_harmless(&serde_json::to_string(fault).unwrap());
}

/// The names of fields that hold a secret wherever they hold a text.
const SECRET_FIELDS: [&str; 11] = [
    "token",
    "access_token",
    "refresh_token",
    "oauth_refresh_token",
    "client_secret",
    "password",
    "credential",
    "redirect",
    "identity",
    "proxy",
    "key",
];

/// Whether the canary stands in this JSON where no secret belongs. Then it may be shown.
fn shows_canary(value: &Value) -> bool {
    match value {
        Value::Object(fields) => fields.iter().any(|(name, field)| {
            let is_secret = field.is_string() && SECRET_FIELDS.contains(&&**name);
            name.contains(CANARY) || !is_secret && shows_canary(field)
        }),
        Value::Array(items) => items.iter().any(shows_canary),
        Value::String(text) => text.contains(CANARY),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}
