//! The one type that holds a token, a client secret or a code.
//! Does not: print, compare in variable time, or hold a byte that could break a line protocol.
//! Used by: everything that handles a secret; `expose` marks each place where one leaves the type.

use std::{fmt, io};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// A secret text: wiped when dropped, masked in `Debug`, without `Display`.
///
/// It holds no CR, LF or NUL, since each of those would end a line or a value in the git protocol, in an HTTP header
/// or in a C string (CVE-2020-5260, CVE-2024-50338).
///
/// Serialising writes the secret itself. That is meant for two places only: a frame on the socket and a record in the
/// vault.
///
/// ```
/// use rally_cred_proto::Secret;
/// let token = Secret::parse("_abc".to_owned()).unwrap();
/// assert_eq!(format!("{token:?}"), "Secret(…)");
/// assert_eq!(token.expose(), "_abc");
/// ```
#[derive(Clone)]
pub struct Secret(Zeroizing<String>);

/// The text holds a CR, LF or NUL at this byte offset; the caller refuses the message that carried it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a control character that would break the line protocol stands at byte {0}")]
pub struct Unsafe(pub usize);

impl Secret {
    /// Takes foreign text as a secret. On an error the text is wiped and the caller refuses its message.
    pub fn parse(text: String) -> Result<Self, Unsafe> {
        let text = Zeroizing::new(text);
        match line_breaker(text.as_bytes()) {
            Some(at) => Err(Unsafe(at)),
            None => Ok(Self(text)),
        }
    }

    /// The secret itself. Write it only where the caller asked for it to go.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether both hold the same text, compared in constant time for equal lengths.
    pub fn matches(&self, other: &Self) -> bool {
        self.0.as_bytes().ct_eq(other.0.as_bytes()).into()
    }
}

/// Offset of the first byte that no value may hold: CR, LF or NUL.
pub fn line_breaker(bytes: &[u8]) -> Option<usize> {
    bytes.iter().position(|byte| matches!(byte, b'\r' | b'\n' | b'\0'))
}

/// Smallest piece that is read at once: more than most requests and answers have, and little enough for an allocator to
/// have at hand.
const PIECE: usize = 480;

/// Has bytes read behind those in a buffer that is wiped when dropped; their number, 0 at the end.
pub(crate) fn read_more(
    held: &mut Zeroizing<Vec<u8>>,
    read: impl FnOnce(&mut [u8]) -> io::Result<usize>,
) -> io::Result<usize> {
    make_room(held, PIECE);
    let (length, room) = (held.len(), held.capacity());
    // Copied in pieces, since `resize` writes byte by byte in a program that is built for size.
    while let Some(blank) = [0; PIECE].get(..(room - held.len()).min(PIECE))
        && !blank.is_empty()
    {
        held.extend_from_slice(blank);
    }
    let count = read(held.get_mut(length..).unwrap_or_default());
    held.truncate(length + count.as_ref().copied().unwrap_or(0));
    count
}

/// Has room for so many bytes more. A vector that grows by itself leaves a copy behind that nobody wipes, so this one is
/// replaced by a wider one.
pub(crate) fn make_room(held: &mut Zeroizing<Vec<u8>>, more: usize) {
    if held.capacity() - held.len() < more {
        let mut wider = Zeroizing::new(Vec::with_capacity((2 * held.capacity()).max(held.len() + more)));
        wider.extend_from_slice(held);
        *held = wider;
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.expose())
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_never_printed() {
        let secret = Secret::parse("canary".to_owned()).unwrap();
        assert!(!format!("{secret:?} {:#?}", Some(&secret)).contains("canary"));
    }

    #[test]
    fn carriage_return_line_feed_and_nul_are_refused_and_the_error_shows_only_where() {
        for breaker in ["\r", "\n", "\0"] {
            let fault = Secret::parse(format!("canary{breaker}host=evil")).unwrap_err();
            assert_eq!(fault, Unsafe(6));
            assert!(!fault.to_string().contains("canary"));
        }
    }

    #[test]
    fn a_secret_with_a_line_break_is_refused_in_json_too() {
        let fault = serde_json::from_str::<Secret>(r#""canary\n""#).unwrap_err();
        assert!(!fault.to_string().contains("canary"));
    }

    #[test]
    fn equal_texts_match_and_others_do_not() {
        let one = Secret::parse("same".to_owned()).unwrap();
        assert!(one.matches(&one.clone()));
        assert!(!one.matches(&Secret::parse("samf".to_owned()).unwrap()));
        assert!(!one.matches(&Secret::parse("sam".to_owned()).unwrap()));
    }
}
