//! Makes text from outside fit to be shown on a terminal or in a log.
//! Does not: translate or interpret it.
//! Used by: every place that shows an error description, a name or a path that this project did not write.

use std::borrow::Cow;

/// Longest foreign text that is shown, in characters; more is cut and marked with `…`.
/// It is enough for every description that Rally is known to send and short enough to leave a log line readable.
const LONGEST: usize = 300;

/// The text on one line, without control, formatting and bidirectional characters (CVE-2024-50349, CVE-2024-52005),
/// at most 300 characters.
///
/// ```
/// assert_eq!(rally_cred_proto::plain::plain("bad\u{1b}[31m\u{202e}text\n"), "bad[31mtext");
/// ```
pub fn plain(text: &str) -> String {
    cut_line(text.chars().filter(|c| !is_deceptive(*c)))
}

/// The first half of [`plain()`]: the whole text on one line, without those characters.
pub fn one_line(text: &str) -> String {
    text.chars().filter(|c| !is_deceptive(*c)).collect()
}

/// The second half of [`plain()`]: at most 300 characters. What must not be shown has to be taken out before, since the cut
/// would leave its beginning.
pub fn cut(line: &str) -> String {
    cut_line(line.chars())
}

fn cut_line(mut line: impl Iterator<Item = char>) -> String {
    let mut kept: String = line.by_ref().take(LONGEST).collect();
    if line.next().is_some() {
        kept.pop();
        kept.push('…');
    }
    kept
}

/// The text with all its lines, in which characters that would steer a terminal are written as Rust writes them.
///
/// It is for what is this user's own, such as a path: nothing is cut or left out.
/// ```
/// assert_eq!(rally_cred_proto::plain::visible("a\u{1b}[31m\u{202e}b\nc"), r"a\u{1b}[31m\u{202e}b".to_owned() + "\nc");
/// ```
pub fn visible(text: &str) -> Cow<'_, str> {
    escaped(text, |c| c != '\n' && is_deceptive(c))
}

/// The same for a text that belongs on one line.
pub fn visible_line(text: &str) -> Cow<'_, str> {
    escaped(text, is_deceptive)
}

fn escaped(text: &str, is_escaped: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.chars().any(&is_escaped) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_escaped(c) { shown.extend(c.escape_unicode()) } else { shown.push(c) }
    }
    Cow::Owned(shown)
}

/// A text of JSON in which such characters are written as JSON writes them. They stand only in its strings, so it is
/// the same JSON.
pub fn visible_json(json: &str) -> Cow<'_, str> {
    let is_escaped = |c: char| c != '\n' && is_deceptive(c);
    if json.bytes().all(|byte| matches!(byte, b' '..=b'~' | b'\n')) || !json.chars().any(is_escaped) {
        return Cow::Borrowed(json);
    }
    let mut shown = String::with_capacity(json.len() * 2);
    for c in json.chars() {
        if is_escaped(c) {
            c.encode_utf16(&mut [0; 2]).iter().for_each(|unit| shown.push_str(&format!("\\u{unit:04x}")));
        } else {
            shown.push(c);
        }
    }
    Cow::Owned(shown)
}

/// Characters that can move the cursor, reorder or hide what follows: C0, C1, zero width, line and paragraph
/// separators, bidirectional controls, the byte order mark and language tags.
pub(crate) fn is_deceptive(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escape_sequences_and_direction_marks_do_not_reach_the_terminal() {
        assert_eq!(plain("\u{1b}]0;title\u{7}a\u{9b}b\u{2066}c\u{202e}d\u{200b}e\r\n"), "]0;titleabcde");
    }

    #[test]
    fn what_is_visible_in_json_is_the_same_json() {
        let value = serde_json::json!({"a": "\u{7f}\u{9b}\u{202e}\u{e0001}é\n"});
        let shown = visible_json(&value.to_string()).into_owned();
        assert_eq!(shown, r#"{"a":"\u007f\u009b\u202e\udb40\udc01é\n"}"#);
        assert_eq!(serde_json::from_str::<serde_json::Value>(&shown).unwrap(), value);
    }

    #[test]
    fn a_long_text_is_cut() {
        let shown = plain(&"é".repeat(1000));
        assert_eq!(shown.chars().count(), LONGEST);
        assert!(shown.ends_with('…'));
    }

    #[test]
    fn ordinary_text_stays_as_it_is() {
        assert_eq!(plain("Zoë's client, 日本"), "Zoë's client, 日本");
    }
}
