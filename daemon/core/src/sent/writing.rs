//! The encodings in which a secret may come back: escapes of URLs, JSON, JavaScript and HTML, also nested, and base64.
//! Does not: know which text is a secret. It undoes every escape, and records where each byte was.
//! Used by: `sent`, for the text to be shown and for what must not be in it.

use std::ops::Range;

use base64::{
    Engine, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use rally_cred_proto::plain::one_line;
use zeroize::Zeroizing;

use super::{LONGEST_PIECE, SHORTEST_PIECE};

/// How many nested escapes are undone: JSON in a URL in HTML in JSON.
const DEEPEST: usize = 4;

/// Longest name or number of an HTML character reference, without `&` and `;`.
const LONGEST_REFERENCE: usize = 10;

/// A decoded text, and the place of each of its bytes in the line.
pub(super) struct Text {
    bytes: Zeroizing<Vec<u8>>,
    places: Vec<Range<usize>>,
}

impl Text {
    pub(super) fn new(line: &str) -> Self {
        Self::of_bytes(Zeroizing::new(line.as_bytes().to_vec()))
    }

    fn of_bytes(bytes: Zeroizing<Vec<u8>>) -> Self {
        let places = (0..bytes.len()).map(|at| at..at + 1).collect();
        Self { bytes, places }
    }

    /// The text as it is, then with its escapes undone, then with the escapes in that undone, and so on.
    pub(super) fn readings(self) -> Vec<Self> {
        let mut readings = vec![self];
        while readings.len() <= DEEPEST
            && let Some(deeper) = readings.last().and_then(Self::unescaped)
        {
            readings.push(deeper);
        }
        readings
    }

    /// `None` if it holds no escape.
    fn unescaped(&self) -> Option<Self> {
        let mut read =
            Self { bytes: Zeroizing::new(Vec::with_capacity(self.bytes.len())), places: Vec::new() };
        let mut at = 0;
        while let Some(rest) = self.bytes.get(at..).filter(|rest| !rest.is_empty()) {
            let (written, length) = escape(rest).unwrap_or((Written::Plain, 1));
            let mut letters = [0; 4];
            let bytes: &[u8] = match written {
                Written::Plain => rest.get(..1).unwrap_or_default(),
                // What plain text drops is dropped in its escapes too.
                Written::Byte(byte) if byte.is_ascii_control() => &[],
                Written::Letter(letter) if one_line(letter.encode_utf8(&mut letters)).is_empty() => &[],
                Written::Byte(byte) => {
                    letters = [byte, 0, 0, 0];
                    letters.get(..1).unwrap_or_default()
                }
                Written::Letter(letter) => letter.encode_utf8(&mut letters).as_bytes(),
            };
            let place = self.place(at..at + length);
            read.bytes.extend_from_slice(bytes);
            read.places.extend(bytes.iter().map(|_| place.clone()));
            at += length;
        }
        (*read.bytes != *self.bytes).then_some(read)
    }

    fn place(&self, bytes: Range<usize>) -> Range<usize> {
        let places = self.places.get(bytes).unwrap_or_default();
        match (places.first(), places.last()) {
            (Some(first), Some(last)) => first.start..last.end,
            _ => 0..0,
        }
    }

    /// Finds every piece of what is sought that is long enough to matter, in upper or lower case.
    pub(super) fn find(&self, sought: &Self, found: &mut dyn FnMut(Range<usize>)) {
        let length = sought.bytes.len().min(LONGEST_PIECE);
        if length == 0 {
            return;
        }
        for (at, window) in self.bytes.windows(length).enumerate() {
            let is_piece = sought.bytes.windows(length).any(|piece| is_same(piece, window));
            if is_piece && (length >= SHORTEST_PIECE || self.is_word(at..at + length)) {
                found(self.place(at..at + length));
            }
        }
    }

    pub(super) fn holds(&self, sought: &Self) -> bool {
        let mut is_found = false;
        self.find(sought, &mut |_| is_found = true);
        // Ordinary words, read as base64, give a byte or two of anything.
        is_found
            && (sought.bytes.len() >= SHORTEST_PIECE
                || self.bytes.iter().all(|byte| matches!(byte, b' '..=b'~')))
    }

    /// Whether no letter or digit is beside these bytes.
    fn is_word(&self, bytes: Range<usize>) -> bool {
        let is_apart = |at: Option<usize>| {
            at.and_then(|at| self.bytes.get(at)).is_none_or(|byte| !byte.is_ascii_alphanumeric())
        };
        is_apart(bytes.start.checked_sub(1)) && is_apart(Some(bytes.end))
    }

    /// Every word that could be base64, with its decoded texts: read from each of its first four characters, since what
    /// precedes base64 may look like a part of it.
    pub(super) fn base64_words(&self) -> Vec<(Range<usize>, Vec<Self>)> {
        let is_digit = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'-' | b'_');
        let mut words = Vec::new();
        let mut at = 0;
        for word in self.bytes.split(|byte| !is_digit(byte)) {
            let said: Vec<_> =
                (0..4).filter_map(|skipped| decoded(word.get(skipped..)?)).flat_map(Self::readings).collect();
            if !said.is_empty() {
                words.push((self.place(at..at + word.len()), said));
            }
            at += word.len() + 1;
        }
        words
    }
}

/// The bytes of the word's whole groups, in either alphabet.
fn decoded(word: &[u8]) -> Option<Text> {
    const LENIENT: GeneralPurposeConfig = GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent);
    const ENGINE: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, LENIENT);
    // One character alone holds no byte.
    let length = if word.len() % 4 == 1 { word.len() - 1 } else { word.len() };
    let standard = |byte: &u8| match byte {
        b'-' => b'+',
        b'_' => b'/',
        byte => *byte,
    };
    let standard: Zeroizing<Vec<u8>> = Zeroizing::new(word.iter().take(length).map(standard).collect());
    let bytes = ENGINE.decode(&*standard).ok().filter(|bytes| !bytes.is_empty())?;
    Some(Text::of_bytes(Zeroizing::new(bytes)))
}

/// Ignores case, and how a form writes a blank.
fn is_same(one: &[u8], other: &[u8]) -> bool {
    let folded = |byte: &u8| if *byte == b'+' { b' ' } else { byte.to_ascii_lowercase() };
    one.len() == other.len() && one.iter().zip(other).all(|(one, other)| folded(one) == folded(other))
}

/// What a piece of text stands for.
#[derive(Clone, Copy)]
enum Written {
    /// Itself.
    Plain,
    /// A byte, which may be a part of a character.
    Byte(u8),
    /// A character.
    Letter(char),
}

/// The escape at the start of the text, and its length.
fn escape(text: &[u8]) -> Option<(Written, usize)> {
    match text {
        [b'%' | b'\\', b'u' | b'U', ..] => utf16_escape(text),
        [b'%', digits @ ..] => Some((Written::Byte(u8::try_from(hex(digits.get(..2)?)?).ok()?), 3)),
        [b'\\', b'x', digits @ ..] => Some((Written::Letter(char::from_u32(hex(digits.get(..2)?)?)?), 4)),
        [b'\\', escaped @ (b'/' | b'\\' | b'"' | b'\''), ..] => Some((Written::Byte(*escaped), 2)),
        [b'\\', b'b' | b'f' | b'n' | b'r' | b't', ..] => Some((Written::Letter('\n'), 2)),
        [b'&', reference @ ..] => {
            let length = reference.iter().take(LONGEST_REFERENCE + 1).position(|byte| *byte == b';')?;
            let letter = referred(reference.get(..length)?)?;
            Some((Written::Letter(letter), length + 2))
        }
        _ => None,
    }
}

/// `\u002F` and `%u002F`, or a pair of them for a character beyond 16 bits.
fn utf16_escape(text: &[u8]) -> Option<(Written, usize)> {
    let unit = |text: &[u8]| u16::try_from(hex(text.get(2..6)?)?).ok();
    let first = unit(text)?;
    let second =
        text.get(6..).filter(|rest| rest.starts_with(text.get(..2).unwrap_or_default())).and_then(unit);
    let letters = char::decode_utf16([first].into_iter().chain(second)).next()?.ok()?;
    Some((Written::Letter(letters), 6 * letters.len_utf16()))
}

/// The character of an HTML reference, as far as it is ASCII.
fn referred(reference: &[u8]) -> Option<char> {
    /// Each name, followed by its character.
    const NAMES: &str = "excl! quot\" num# dollar$ percnt% amp& apos' lpar( rpar) ast* plus+ comma, period. sol/ colon: \
                         semi; lt< equals= gt> quest? commat@ lsqb[ bsol\\ rsqb] hat^ lowbar_ grave` lcub{ verbar| rcub}";
    match reference {
        [b'#', b'x' | b'X', digits @ ..] => char::from_u32(hex(digits)?),
        [b'#', digits @ ..] => char::from_u32(std::str::from_utf8(digits).ok()?.parse().ok()?),
        name => NAMES.split(' ').find_map(|known| {
            let letter = known.chars().next_back()?;
            known.strip_suffix(letter)?.as_bytes().eq_ignore_ascii_case(name).then_some(letter)
        }),
    }
}

fn hex(digits: &[u8]) -> Option<u32> {
    let is_hex = !digits.is_empty() && digits.iter().all(u8::is_ascii_hexdigit);
    is_hex.then(|| u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()).flatten()
}
