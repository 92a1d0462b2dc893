//! The name of a profile: what may be one.
//! Does not: know which profiles there are.
//! Used by: the config file's reader, and whoever shows a name where only a name may stand.

use std::{borrow::Borrow, fmt, ops::Deref};

/// A name that a profile can have: at most 64 ASCII letters, digits, `-`, `_` and `.`, and at least one.
///
/// It is part of an account name in the keyring, and some keyrings allow little room there. No shell reads anything into
/// it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProfileName(String);

impl ProfileName {
    /// Takes a name; `None` if no profile can have it.
    pub fn parse(text: &str) -> Option<Self> {
        const LONGEST: usize = 64;
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        let is_name = (1..=LONGEST).contains(&text.len()) && text.bytes().all(is_plain);
        is_name.then(|| Self(text.to_owned()))
    }
}

impl Deref for ProfileName {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for ProfileName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ProfileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_shell_or_a_keyring_could_stumble_over_is_no_name() {
        for name in ["a", "work", "a.b-c_D9", &"a".repeat(64)] {
            assert_eq!(ProfileName::parse(name).as_deref(), Some(name));
        }
        for name in ["", "a b", "ä", "a/b", "a$b", "a\n", &"a".repeat(65)] {
            assert_eq!(ProfileName::parse(name), None, "{name:?}");
        }
    }
}
