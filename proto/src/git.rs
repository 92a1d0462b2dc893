//! The attributes of git's credential protocol, as a helper meets them: parsed from bytes, answered in bytes.
//! Does not: decide whom to serve, or keep what decides nothing here (`continue`, `wwwauth[]`, `quit`, other helpers' `state[]`).
//! Used by: the client, which git starts as a helper.
//!
//! A request is lines of `key=value`, ended by a blank line or the end of the input (git-credential(1), "INPUT/OUTPUT
//! FORMAT"). The rules, and where this codec is stricter than git's own reader:
//!
//! - Only LF ends a line. CR and NUL are refused anywhere in one, in known and unknown attributes alike, and CR, LF and
//!   NUL in what is answered. git's reader drops a CR before LF; here that one is refused too: git writes none, and a
//!   CR that one program takes for a line's end and the next for data has forged hosts (CVE-2024-50338, CVE-2024-52006).
//! - A line has a `=` and something before it. One that is kept is at most 65,535 bytes with its LF; git itself sends
//!   longer ones, with what servers say in `WWW-Authenticate`, and nothing is kept of those.
//! - The last value of a repeated key counts. `capability[]` is a list, which an empty value empties.
//! - Unknown attributes and capabilities are passed over. They may hold any bytes; the texts kept here must be UTF-8.
//! - So is `wwwauth[]`, which the server wrote and whoever attacks may have, and what other helpers noted in `state[]`.
//! - `url=` stands for its parts, split as git splits it, and all that stood before it is forgotten, as in git.
//!
//! ```
//! use rally_cred_proto::{Secret, git};
//! let request = git::parse(b"capability[]=authtype\nprotocol=https\nhost=rally1.rallydev.com\n\n")?;
//! assert_eq!(request.host.as_deref(), Some("rally1.rallydev.com"));
//!
//! let token = Secret::parse("_abc".to_owned()).unwrap();
//! let answer = git::encode_answer(&request, "work", None, "me@example.com", &token, Some(1767322985))?;
//! assert_eq!(*answer, b"capability[]=authtype\nephemeral=1\n\
//!     username=me@example.com\npassword=_abc\npassword_expiry_utc=1767322985\n");
//! # Ok::<(), git::BadAttributes>(())
//! ```

mod answer;
mod url;

use std::io::{self, Read};

use zeroize::Zeroizing;

pub use self::answer::{Credential, encode_answer, encode_credential};
use crate::secret::{line_breaker, read_more};
use crate::{Secret, engflow};

/// Longest line in bytes, with its line feed (gitcredentials(7)).
pub const MAX_LINE: usize = 65_535;

/// Longest request in bytes. git sends all `WWW-Authenticate` headers of a server along, so some room is needed; a
/// larger one is a mistake or an attack.
pub const MAX_REQUEST: usize = 1024 * 1024;

/// What the operation `capability` prints.
///
/// `state[]` carries a note that comes back with `store` and `erase`: which profile a token is of, so that of several on
/// one server the right one hears that it does not work, also while the user's name is not known. `continue`, which goes
/// with it, is for schemes with several rounds, such as NTLM; ours have one, so it is never answered.
pub const CAPABILITIES: &str = "version 0\ncapability authtype\ncapability state\n";

/// How our note in `state[]` begins; each helper has a prefix of its own (git-credential(1)).
const NOTE: &str = "rally-cred:profile=";

/// The answer to `get` that keeps git from asking other helpers, and the user for a password that cannot work.
pub const QUIT: &str = "quit=1\n";

/// Every attribute that is kept or interpreted; an error names no other.
const KNOWN: &str = "protocol host path username password password_expiry_utc oauth_refresh_token authtype credential \
                     ephemeral capability[] state[] url";

/// The attributes of a request. `None` is an absent one; an empty value is a value.
#[derive(Debug, Default)]
pub struct Attributes {
    /// The scheme, as written. Without it nothing may be answered.
    pub protocol: Option<String>,
    /// The host, with its port if there is one. Without it nothing may be answered.
    pub host: Option<String>,
    /// The path, in bytes as git has it.
    pub path: Option<Vec<u8>>,
    /// The user's name on that host.
    pub username: Option<String>,
    /// The password; for Rally, the ZSESSIONID.
    pub password: Option<Secret>,
    /// When the password ends, in seconds since 1970. `None` also for what is no such time, as in git.
    pub password_expiry_utc: Option<i64>,
    /// The OAuth refresh token, which git only passes along.
    pub oauth_refresh_token: Option<Secret>,
    /// The authentication scheme that `credential` belongs to.
    pub authtype: Option<String>,
    /// A credential in place of user name and password.
    pub credential: Option<Secret>,
    /// Whether the credential must not be stored.
    pub ephemeral: bool,
    /// Whether the caller announced `capability[]=authtype`, without which `ephemeral` would mean nothing to it.
    pub takes_authtype: bool,
    /// Whether the caller announced `capability[]=state`, so that a note comes back.
    pub takes_state: bool,
    /// The profile that an earlier answer noted in `state[]`.
    pub profile: Option<String>,
}

/// Why bytes are not a request, or a text cannot go into an answer: nothing is answered, the exit code is 1.
///
/// Names the attribute if it is a known one, and the place in bytes from the start of the input; shows no value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadAttributes {
    /// The request is longer than [`MAX_REQUEST`].
    #[error("the credential attributes are longer than {MAX_REQUEST} bytes")]
    TooLong,
    /// A line is longer than [`MAX_LINE`].
    #[error("the line at byte {at} of the credential attributes has {length} bytes, more than {MAX_LINE}")]
    LineTooLong {
        /// Where the line begins.
        at: usize,
        /// Its length, with its line feed.
        length: usize,
    },
    /// The line that begins here is no attribute.
    #[error("the line at byte {0} of the credential attributes has no =")]
    NoEquals(usize),
    /// The line that begins here has nothing before its `=`.
    #[error("the line at byte {0} of the credential attributes has nothing before its =")]
    NoKey(usize),
    /// A CR, LF or NUL, written or percent-encoded.
    #[error("{key} holds a carriage return, line feed or NUL at byte {at}")]
    LineBreaker {
        /// The attribute.
        key: &'static str,
        /// Where it stands; for a percent-encoded one, where its line begins.
        at: usize,
    },
    /// A text that is not UTF-8.
    #[error("{key} in the line at byte {at} is not UTF-8")]
    NotUtf8 {
        /// The attribute.
        key: &'static str,
        /// Where the line begins.
        at: usize,
    },
    /// The line that begins here holds a URL without a protocol.
    #[error("url in the line at byte {0} has no protocol")]
    NoProtocol(usize),
    /// The input broke.
    #[error("the credential attributes cannot be read: {0}")]
    Unreadable(io::ErrorKind),
}

/// Reads a request: to its blank line or, if it is JSON (see [`engflow::looks_like_json`]), to the end of the input.
///
/// For [`parse`] or [`engflow::parse_request`]. All memory that held it is wiped when it is no longer needed.
pub fn read(reader: &mut dyn Read) -> Result<Zeroizing<Vec<u8>>, BadAttributes> {
    let mut held = Zeroizing::new(Vec::new());
    loop {
        let seen = held.len().saturating_sub(1);
        match read_more(&mut held, |room| reader.read(room)) {
            Ok(0) => return Ok(held),
            Ok(_) if held.len() > MAX_REQUEST => return Err(BadAttributes::TooLong),
            Ok(_) => {}
            Err(err) if err.kind() == io::ErrorKind::Interrupted => continue,
            Err(err) => return Err(BadAttributes::Unreadable(err.kind())),
        }
        let has_blank_line = held.starts_with(b"\n")
            || held.get(seen..).is_some_and(|new| new.windows(2).any(|pair| pair == b"\n\n"));
        // JSON may begin with blank lines, so as long as nothing else has come, it may be either.
        if has_blank_line && !held.trim_ascii().is_empty() && !engflow::looks_like_json(&held) {
            return Ok(held);
        }
    }
}

/// Parses a request up to its blank line or the end. What follows a blank line is not looked at.
pub fn parse(input: &[u8]) -> Result<Attributes, BadAttributes> {
    let mut attributes = Attributes::default();
    let mut at = 0;
    for line in input.split(|byte| *byte == b'\n').take_while(|line| !line.is_empty()) {
        attributes.take(Line { text: line, at })?;
        at += line.len() + 1;
    }
    Ok(attributes)
}

/// A line without its line feed, and where it begins.
#[derive(Clone, Copy)]
struct Line<'a> {
    text: &'a [u8],
    at: usize,
}

impl Attributes {
    /// What of it a store keeps for the server; `ephemeral` says whether it may.
    pub fn into_credential(self) -> Credential {
        let Self {
            username, password, password_expiry_utc, oauth_refresh_token, authtype, credential, ..
        } = self;
        Credential { username, password, password_expiry_utc, oauth_refresh_token, authtype, credential }
    }

    fn take(&mut self, line: Line<'_>) -> Result<(), BadAttributes> {
        let Line { text, at } = line;
        let equals = text.iter().position(|byte| *byte == b'=');
        let (name, value) = text.split_at(equals.unwrap_or(text.len()));
        let known = KNOWN.split(' ').find(|known| known.as_bytes() == name);
        if let Some(offset) = line_breaker(text) {
            return Err(BadAttributes::LineBreaker { key: known.unwrap_or("an attribute"), at: at + offset });
        }
        let value = value.strip_prefix(b"=").ok_or(BadAttributes::NoEquals(at))?;
        if name.is_empty() {
            return Err(BadAttributes::NoKey(at));
        }
        let Some(key) = known else { return Ok(()) };
        if text.len() >= MAX_LINE {
            return Err(BadAttributes::LineTooLong { at, length: text.len() + 1 });
        }
        let value = Value { key, bytes: value, at };
        match key {
            "protocol" => self.protocol = Some(value.text()?),
            "host" => self.host = Some(value.text()?),
            "path" => self.path = Some(value.bytes.to_vec()),
            "username" => self.username = Some(value.text()?),
            "password" => self.password = Some(value.secret()?),
            "password_expiry_utc" => self.password_expiry_utc = value.time(),
            "oauth_refresh_token" => self.oauth_refresh_token = Some(value.secret()?),
            "authtype" => self.authtype = Some(value.text()?),
            "credential" => self.credential = Some(value.secret()?),
            "ephemeral" => self.ephemeral = !value.is_false(),
            "capability[]" => match value.bytes {
                b"" => (self.takes_authtype, self.takes_state) = (false, false),
                b"authtype" => self.takes_authtype = true,
                b"state" => self.takes_state = true,
                _ => {}
            },
            "state[]" => match value.bytes.strip_prefix(NOTE.as_bytes()) {
                Some(profile) => self.profile = Some(Value { bytes: profile, ..value }.text()?),
                None if value.bytes.is_empty() => self.profile = None,
                None => {}
            },
            _ => *self = url::parse(value)?,
        }
        Ok(())
    }
}

/// A value, the attribute that it is of, and where its line begins.
#[derive(Clone, Copy)]
struct Value<'a> {
    key: &'static str,
    bytes: &'a [u8],
    at: usize,
}

impl Value<'_> {
    fn text(self) -> Result<String, BadAttributes> {
        let text =
            str::from_utf8(self.bytes).map_err(|_| BadAttributes::NotUtf8 { key: self.key, at: self.at })?;
        Ok(text.to_owned())
    }

    fn secret(self) -> Result<Secret, BadAttributes> {
        Secret::parse(self.text()?).map_err(|_| BadAttributes::LineBreaker { key: self.key, at: self.at })
    }

    /// The time that git's `parse_timestamp` reads: the digits at the beginning, after blanks and a plus sign. `None` is
    /// one that never comes, which git makes of 0, of what has no digits, and of what no integer holds.
    fn time(self) -> Option<i64> {
        let text = self.bytes.trim_ascii_start();
        let text = text.strip_prefix(b"+").unwrap_or(text);
        let digits = text.iter().take_while(|byte| byte.is_ascii_digit());
        let add = |time: i64, digit: &u8| time.checked_mul(10)?.checked_add(i64::from(digit - b'0'));
        digits.into_iter().try_fold(0, add).filter(|time| *time > 0)
    }

    /// Whether git's configuration reads it as false. Everything else counts as true: then nothing is stored.
    fn is_false(self) -> bool {
        let is = |word: &&[u8]| self.bytes.eq_ignore_ascii_case(word);
        [b"".as_slice(), b"0", b"false", b"no", b"off"].iter().any(is)
    }
}

#[cfg(test)]
mod tests;
