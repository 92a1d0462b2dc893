//! Makes text from outside fit to be shown on a terminal or in a log.
//! Does not: translate or interpret it.
//! Met by: every place that shows an error description, a name or a path that this project did not write.

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

/// Characters that can move the cursor, reorder or hide what follows: C0, C1, zero width, line and paragraph
/// separators, bidirectional controls, the byte order mark and language tags.
fn is_deceptive(c: char) -> bool {
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
        assert_eq!(plain("\u{1b}]0;title\u{7}a\u{9b}b\u{2066}c\u{200b}d\r\n"), "]0;titleabcd");
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
