//! Words of a command line that a person is to copy into a shell: one of POSIX, or PowerShell on Windows.
//! Does not: run a shell; nothing here does.
//! Used by: remedies that name a file, and settings that git passes to a shell.

use crate::plain::is_deceptive;

/// A word as the user's shell reads it, in quotes only if it needs them. What a terminal would not show is written in a
/// way that the shell undoes.
pub fn shell_word(text: &str) -> String {
    #[cfg(windows)]
    return powershell_word(text);
    #[cfg(not(windows))]
    posix_word(text)
}

/// A word as every shell of POSIX reads it.
pub fn posix_word(text: &str) -> String {
    if text.chars().any(is_deceptive) {
        return format!("\"$(printf '{}')\"", text.chars().map(in_printf).collect::<String>());
    }
    match is_plain(text, "/._-+:,@%=") {
        true => text.to_owned(),
        false => format!("'{}'", text.replace('\'', r"'\''")),
    }
}

/// A word as PowerShell reads it. A comma or an at sign would make it something else than a word.
#[cfg(any(windows, test))]
fn powershell_word(text: &str) -> String {
    if text.chars().any(is_deceptive) {
        let written = |c: char| match c {
            c if is_deceptive(c) => format!("$([char]::ConvertFromUtf32({}))", u32::from(c)),
            '"' | '$' | '`' => format!("`{c}"),
            c => c.to_string(),
        };
        return format!("\"{}\"", text.chars().map(written).collect::<String>());
    }
    match is_plain(text, r"\/._-+:%=") {
        true => text.to_owned(),
        false => format!("'{}'", text.replace('\'', "''")),
    }
}

fn is_plain(text: &str, signs: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_alphanumeric() || signs.contains(c))
}

/// A character in the format of printf(1), between single quotes.
fn in_printf(c: char) -> String {
    match c {
        '\'' => r"\047".to_owned(),
        '%' => "%%".to_owned(),
        '\\' => r"\\".to_owned(),
        c if is_deceptive(c) => {
            c.encode_utf8(&mut [0; 4]).bytes().map(|byte| format!("\\{byte:03o}")).collect()
        }
        c => c.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_quoted_only_where_a_shell_would_read_it_as_another() {
        for (text, expected) in [
            ("/a/b-c.d", "/a/b-c.d"),
            ("/a b", "'/a b'"),
            ("it's", r"'it'\''s'"),
            ("$HOME", "'$HOME'"),
            ("", "''"),
            ("a\u{1b}'s 50%\\\u{202e}", r#""$(printf 'a\033\047s 50%%\\\342\200\256')""#),
        ] {
            assert_eq!(posix_word(text), expected);
        }
        for (text, expected) in [
            (r"C:\a\b-c.d", r"C:\a\b-c.d"),
            (r"C:\Program Files\a", r"'C:\Program Files\a'"),
            ("it's", "'it''s'"),
            ("$HOME", "'$HOME'"),
            ("a,b", "'a,b'"),
            ("@a", "'@a'"),
            ("", "''"),
            ("a\u{202e}\"$b`", "\"a$([char]::ConvertFromUtf32(8238))`\"`$b``\""),
        ] {
            assert_eq!(powershell_word(text), expected);
        }
    }
}
