//! What a rewritten body must be, by one who reads all of it.
//! Does not: rewrite in pieces (`refs` does).
//! Used by: the tests of `refs`, and the fuzzer.

use serde_json::Value;

use super::Rewriter;

pub(super) const FROM: &str = "https://rally1.rallydev.com";
pub(super) const TO: &str = "http://127.0.0.1:4004";

/// Rewrites a body that is cut at these places, over and over.
pub(super) fn rewrite(text: &str, cuts: &[usize]) -> String {
    let mut rewriter = Rewriter::new(FROM, TO);
    let (mut out, mut rest) = (Vec::new(), text.as_bytes());
    for cut in cuts.iter().cycle() {
        let (piece, after) = rest.split_at((*cut).min(rest.len()));
        out.extend(rewriter.push(piece));
        assert!(rewriter.held.len() <= FROM.len() + 4);
        rest = after;
        if rest.is_empty() {
            break;
        }
    }
    out.extend(rewriter.finish());
    String::from_utf8(out).unwrap()
}

/// The same for a body that is whole.
pub(super) fn expected(value: Value) -> Value {
    let text = |text: String| match text.strip_prefix(FROM) {
        Some(rest) if rest.is_empty() || rest.starts_with(['/', '?', '#']) => format!("{TO}{rest}"),
        _ => text,
    };
    match value {
        Value::String(string) => Value::String(text(string)),
        Value::Array(values) => values.into_iter().map(expected).collect(),
        Value::Object(fields) => {
            Value::Object(fields.into_iter().map(|(name, value)| (text(name), expected(value))).collect())
        }
        other => other,
    }
}

/// Checks that it does not matter how a body is cut, and if it is JSON, what becomes of it.
#[cfg(feature = "fuzzing")]
pub(crate) fn check(text: &str, cuts: &[usize]) {
    let rewritten = rewrite(text, cuts);
    assert_eq!(rewritten, rewrite(text, &[text.len().max(1)]));
    // Signs of an address that are written as numbers are not looked for; and two fields may get one name.
    if let Ok(value) = serde_json::from_str::<Value>(text)
        && !text.contains("\\u")
        && !text.contains("4004")
    {
        assert_eq!(serde_json::from_str::<Value>(&rewritten).unwrap(), expected(value));
    }
}
