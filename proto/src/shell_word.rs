//! Words of a command line that a person is to copy into a shell, and commands that each system has a way of its own for.
//! Does not: run a shell; nothing here does.
//! Used by: remedies that name a file.

use crate::plain::is_deceptive;

/// A word as a shell reads it, in quotes only if it needs them. What a terminal would not show is written in a way that
/// every shell of POSIX undoes.
pub fn shell_word(text: &str) -> String {
    if text.chars().any(is_deceptive) {
        return format!("\"$(printf '{}')\"", text.chars().map(in_printf).collect::<String>());
    }
    let is_plain = |c: char| c.is_alphanumeric() || "/._-+:,@%=".contains(c);
    if !text.is_empty() && text.chars().all(is_plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// The command that sets a variable. On Windows, that of PowerShell, whose quotes are the same.
pub fn set_variable(name: &str, value: &str) -> String {
    let value = shell_word(value);
    if cfg!(windows) { format!("$env:{name} = {value}") } else { format!("export {name}={value}") }
}

/// The command that says which process listens on a port.
pub fn who_listens_on(port: u16) -> String {
    match std::env::consts::OS {
        "windows" => format!("netstat -ano | findstr :{port}"),
        "macos" => format!("lsof -nP -iTCP:{port} -sTCP:LISTEN"),
        _ => format!("ss -ltnp 'sport = :{port}'"),
    }
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
            assert_eq!(shell_word(text), expected);
        }
    }
}
