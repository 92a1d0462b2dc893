//! What a fault says to try: a command that can be run as it stands, or words.
//! Does not: run anything.
//! Used by: `fault`; whoever shows a command as one, or names a profile in it.

use std::fmt;

use serde::{Deserialize, Serialize, Serializer};

use crate::{plain::plain, shell_word::shell_word};

/// What to try. On the wire it is one text, so whatever comes from there is in words.
///
/// ```
/// use rally_cred_proto::remedy::{Command, Remedy};
/// let login = Command::new("rally-cred login").arg("a b");
/// assert_eq!(Remedy::from(login.clone()).to_string(), "rally-cred login 'a b'");
/// assert_eq!(login.and(", in a few minutes").to_string(), "rally-cred login 'a b', in a few minutes");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(from = "String")]
pub struct Remedy {
    /// A command that can be run as it stands.
    pub command: Option<Command>,
    /// How the sentence goes on that the command begins; without one, what to do.
    pub words: String,
}

/// A program and its arguments; shown as a shell reads them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command(Vec<String>);

impl Command {
    /// A command whose words have no spaces in them.
    pub fn new(words: &str) -> Self {
        Self(words.split(' ').map(str::to_owned).collect())
    }

    /// A command of ours for a profile, such as `rally-cred login work`. A profile called `default` need not be named
    /// where it is the one that is meant by no name.
    pub fn of_profile(verb: &str, profile: &str, is_default: bool) -> Self {
        let command = Self::new("rally-cred").arg(verb);
        if is_default && profile == "default" { command } else { command.arg(profile) }
    }

    /// Adds an argument, whatever is in it.
    #[must_use]
    pub fn arg(mut self, word: impl Into<String>) -> Self {
        self.0.push(word.into());
        self
    }

    /// The program and its arguments.
    pub fn words(&self) -> &[String] {
        &self.0
    }

    /// How the sentence goes on that the command begins.
    pub fn and(self, words: impl AsRef<str>) -> Remedy {
        Remedy { command: Some(self), ..words.into() }
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.iter().map(|word| shell_word(word)).collect::<Vec<_>>().join(" "))
    }
}

impl From<Command> for Remedy {
    fn from(command: Command) -> Self {
        command.and("")
    }
}

impl<T: AsRef<str>> From<T> for Remedy {
    fn from(words: T) -> Self {
        Self { command: None, words: plain(words.as_ref()) }
    }
}

impl fmt::Display for Remedy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(command) = &self.command {
            command.fmt(f)?;
        }
        f.write_str(&self.words)
    }
}

impl Serialize for Remedy {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
