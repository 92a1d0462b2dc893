//! Stands before the HTTP library and lets pass only requests that nobody can read in two ways: where one ends, the next
//! begins for everybody (request smuggling).
//! Does not: repair anything, answer, or know what a request is for (`admit` does). It keeps no more than one head.
//! Used by: `server`, for every connection that HTTP is read from; `forward`, which answers what it refuses.

#[cfg(any(test, feature = "fuzzing"))]
#[expect(clippy::unwrap_used, reason = "it is for tests and the fuzzer")]
pub(crate) mod agreement;
mod guarded;
mod malformed;

use hyper::{Method, Uri};

use malformed::STAND_IN;

pub(crate) use guarded::{Guarded, Verdict};
pub(crate) use malformed::Malformed;

/// Longest request line and headers together: more than any toolkit sends, whose queries stand in the URL.
pub(crate) const HEAD_LIMIT: usize = 64 * 1024;

/// Most headers; the HTTP library takes no more either.
const FIELD_LIMIT: usize = 100;

/// Longest line before a chunk; a size and an extension or two.
const CHUNK_LINE_LIMIT: usize = 256;

/// Most bytes of extensions in a body, which mean nothing to anybody here.
const EXTENSIONS_LIMIT: usize = 4 * 1024;

/// Longest trailers together.
const TRAILERS_LIMIT: usize = 8 * 1024;

/// Where in a request a connection stands.
#[derive(Debug)]
enum State {
    /// In a head, of which so many bytes have been looked at.
    Head(usize),
    /// In a body that is so many bytes longer.
    Length(u64),
    ChunkLine,
    /// In a chunk that is so many bytes longer.
    Chunk(u64),
    /// Before the line break after a chunk.
    ChunkEnd,
    /// After the last chunk; so many bytes have been looked at.
    Trailers(usize),
    /// After the head of a CONNECT. What follows is either a tunnel, in which nothing is guarded, or the next request.
    Asked,
    /// In a tunnel.
    Tunnel,
}

/// Follows the requests on one connection.
#[derive(Debug)]
pub(crate) struct Guard {
    state: State,
    /// Bytes of extensions that this body may still have.
    extensions: usize,
}

impl Guard {
    pub(crate) const fn new() -> Self {
        Self { state: State::Head(0), extensions: EXTENSIONS_LIMIT }
    }

    /// How many of these bytes may pass. The others are given again, with what comes after them; so are those that are
    /// refused, if good ones stand before them.
    pub(crate) fn take(&mut self, bytes: &[u8]) -> Result<usize, Malformed> {
        let mut passed = 0;
        loop {
            let rest = bytes.get(passed..).unwrap_or_default();
            match self.step(rest) {
                Ok(0) => return Ok(passed),
                Ok(count) => passed += count,
                Err(_) if passed > 0 => return Ok(passed),
                Err(malformed) => return Err(malformed),
            }
        }
    }

    /// Whether the next byte begins a request.
    pub(crate) const fn is_between_requests(&self) -> bool {
        matches!(self.state, State::Head(_))
    }

    /// Whether a tunnel was asked for, and nothing passes until it is known whether there is one.
    pub(crate) const fn waits(&self) -> bool {
        matches!(self.state, State::Asked)
    }

    /// Whether a body has begun and not ended.
    pub(crate) const fn is_in_body(&self) -> bool {
        !matches!(self.state, State::Head(_) | State::Asked | State::Tunnel)
    }

    /// There is a tunnel, so all that follows passes.
    pub(crate) fn open_tunnel(&mut self) {
        if self.waits() {
            self.state = State::Tunnel;
        }
    }

    /// There is no tunnel, so the next byte begins a request.
    pub(crate) fn go_on(&mut self) {
        if self.waits() {
            self.state = State::Head(0);
        }
    }

    /// How many bytes may pass that belong together, and the state after them; 0 if more are needed to tell.
    fn step(&mut self, bytes: &[u8]) -> Result<usize, Malformed> {
        let (count, next) = match &mut self.state {
            State::Head(seen) => {
                let Some(length) = end_of_fields(bytes, seen, HEAD_LIMIT)? else { return Ok(0) };
                self.extensions = EXTENSIONS_LIMIT;
                (length, read_head(bytes.get(..length).unwrap_or_default())?)
            }
            State::Length(left) => match pass(left, bytes) {
                (count, 0) => (count, State::Head(0)),
                (count, _) => return Ok(count),
            },
            State::ChunkLine => {
                let Some((length, size, extension)) = read_chunk_line(bytes)? else { return Ok(0) };
                self.extensions = self.extensions.checked_sub(extension).ok_or(Malformed::Chunk)?;
                (length, if size == 0 { State::Trailers(0) } else { State::Chunk(size) })
            }
            State::Chunk(left) => match pass(left, bytes) {
                (count, 0) => (count, State::ChunkEnd),
                (count, _) => return Ok(count),
            },
            State::ChunkEnd => match bytes {
                [b'\r', b'\n', ..] => (2, State::ChunkLine),
                [] | [b'\r'] => return Ok(0),
                _ => return Err(Malformed::Chunk),
            },
            State::Trailers(seen) => match bytes {
                [b'\r', b'\n', ..] => (2, State::Head(0)),
                [] | [b'\r'] => return Ok(0),
                _ => {
                    let length =
                        end_of_fields(bytes, seen, TRAILERS_LIMIT).map_err(|_| Malformed::Trailer)?;
                    let Some(length) = length else { return Ok(0) };
                    check_trailers(bytes.get(..length).unwrap_or_default())?;
                    (length, State::Head(0))
                }
            },
            State::Asked => return Ok(0),
            State::Tunnel => return Ok(bytes.len()),
        };
        self.state = next;
        Ok(count)
    }
}

/// Lets pass what is left of a known length; how much that is, and what is left after it.
fn pass(left: &mut u64, bytes: &[u8]) -> (usize, u64) {
    let count = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
    *left -= count as u64;
    (count, *left)
}

/// The length of lines up to and with an empty one. `None` if that is not there yet; `seen` then says how far it was
/// looked for.
fn end_of_fields(bytes: &[u8], seen: &mut usize, limit: usize) -> Result<Option<usize>, Malformed> {
    let mut before = seen.checked_sub(1).and_then(|at| bytes.get(at)).copied();
    for (at, &byte) in bytes.iter().enumerate().skip(*seen) {
        if at >= limit {
            return Err(Malformed::TooLong);
        }
        match (before, byte) {
            (Some(b'\r'), b'\n') => {
                if bytes.get(..=at).is_some_and(|lines| lines.ends_with(b"\r\n\r\n")) {
                    return Ok(Some(at + 1));
                }
            }
            (Some(b'\r'), _) | (_, b'\n') => return Err(Malformed::LineBreak),
            (None, b'\r') => return Err(Malformed::RequestLine),
            (_, b'\r' | b'\t' | b' '..=b'~' | 0x80..) => (),
            _ => return Err(Malformed::Control),
        }
        before = Some(byte);
    }
    *seen = bytes.len();
    Ok(None)
}

/// The lines of a head or of trailers, without the empty one at their end.
fn lines(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let text = bytes.strip_suffix(b"\r\n\r\n").unwrap_or(bytes);
    // No line has a CR or LF but at its end.
    text.split(|&byte| byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line))
}

/// What comes after a head.
fn read_head(head: &[u8]) -> Result<State, Malformed> {
    let mut lines = lines(head);
    let (is_connect, is_1_1) = read_request_line(lines.next().unwrap_or_default())?;
    let (mut fields, mut hosts) = (0, 0);
    let (mut length, mut is_chunked) = (None, false);
    for line in lines {
        let (name, value) = read_field(line)?;
        fields += 1;
        if is_field(name, "host") {
            hosts += 1;
        } else if is_field(name, "content-length") {
            let number = read_length(value).filter(|_| length.is_none());
            length = Some(number.ok_or(Malformed::Length)?);
        } else if is_field(name, "transfer-encoding") {
            if is_chunked || !is_1_1 || !value.eq_ignore_ascii_case(b"chunked") {
                return Err(Malformed::Encoding);
            }
            is_chunked = true;
        } else if is_nearly_framing(name) {
            return Err(Malformed::Field);
        }
    }
    if fields > FIELD_LIMIT {
        return Err(Malformed::TooLong);
    }
    if hosts > 1 || (hosts == 0 && is_1_1) {
        return Err(Malformed::Host);
    }
    match (is_connect, length, is_chunked) {
        (true, None | Some(0), false) => Ok(State::Asked),
        (true, ..) | (_, Some(_), true) => Err(Malformed::Framing),
        (_, _, true) => Ok(State::ChunkLine),
        (_, None | Some(0), _) => Ok(State::Head(0)),
        (_, Some(length), _) => Ok(State::Length(length)),
    }
}

/// Whether the method is CONNECT, and the version HTTP/1.1.
fn read_request_line(line: &[u8]) -> Result<(bool, bool), Malformed> {
    let mut words = line.split(|&byte| byte == b' ');
    let (Some(method), Some(target), Some(version), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(Malformed::RequestLine);
    };
    if !is_token(method) || method == STAND_IN.as_bytes() {
        return Err(Malformed::RequestLine);
    }
    let is_1_1 = match version {
        b"HTTP/1.1" => true,
        b"HTTP/1.0" => false,
        _ => return Err(Malformed::Version),
    };
    // The HTTP library drops a fragment in silence.
    let is_visible = target.iter().all(|byte| byte.is_ascii_graphic() && *byte != b'#');
    let uri = Uri::try_from(target).ok().filter(|_| is_visible).ok_or(Malformed::Target)?;
    let is_connect = method == Method::CONNECT.as_str().as_bytes();
    let has_form = match target {
        _ if is_connect => uri.scheme().is_none() && uri.authority().is_some(),
        b"*" => method == Method::OPTIONS.as_str().as_bytes(),
        [b'/', ..] => true,
        _ => uri.scheme().is_some(),
    };
    if has_form { Ok((is_connect, is_1_1)) } else { Err(Malformed::Target) }
}

/// A header's name and its value without spaces around it.
fn read_field(line: &[u8]) -> Result<(&[u8], &[u8]), Malformed> {
    let colon = line.iter().position(|&byte| byte == b':').ok_or(Malformed::Field)?;
    let (name, value) = line.split_at(colon);
    let value = value.get(1..).unwrap_or_default().trim_ascii();
    if is_token(name) { Ok((name, value)) } else { Err(Malformed::Field) }
}

fn is_field(name: &[u8], known: &str) -> bool {
    name.eq_ignore_ascii_case(known.as_bytes())
}

/// Whether a name is that of a header of the framing with other signs in it: some servers take `_` for `-`.
fn is_nearly_framing(name: &[u8]) -> bool {
    let letters = || name.iter().filter(|byte| byte.is_ascii_alphanumeric()).map(u8::to_ascii_lowercase);
    letters().eq(*b"contentlength") || letters().eq(*b"transferencoding")
}

fn is_token(text: &[u8]) -> bool {
    let is_sign = |byte: &u8| b"!#$%&'*+-.^_`|~".contains(byte);
    !text.is_empty() && text.iter().all(|byte| byte.is_ascii_alphanumeric() || is_sign(byte))
}

/// The longest body that is counted; the HTTP library keeps numbers above it for itself.
const LONGEST: u64 = u64::MAX / 2;

fn read_length(value: &[u8]) -> Option<u64> {
    let is_number = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
    let text = std::str::from_utf8(value).ok().filter(|_| is_number)?;
    text.parse().ok().filter(|length| *length <= LONGEST)
}

/// The length of the line before a chunk, the chunk's size, and the length of its extensions. `None` if the line is not
/// there yet.
fn read_chunk_line(bytes: &[u8]) -> Result<Option<(usize, u64, usize)>, Malformed> {
    let digits = bytes.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    // Sixteen make a number of 64 bits.
    if digits > 16 {
        return Err(Malformed::Chunk);
    }
    let (size, rest) = bytes.split_at(digits);
    let is_sound = |byte: &u8| matches!(byte, b'\t' | b' '..=b'~');
    let extension = match rest {
        [] => return Ok(None),
        [b';', ..] => rest.iter().take_while(|byte| is_sound(byte)).count(),
        _ => 0,
    };
    if digits == 0 || digits + extension > CHUNK_LINE_LIMIT {
        return Err(Malformed::Chunk);
    }
    match rest.get(extension..).unwrap_or_default() {
        [b'\r', b'\n', ..] => (),
        [] | [b'\r'] => return Ok(None),
        _ => return Err(Malformed::Chunk),
    }
    let size = std::str::from_utf8(size).ok().and_then(|size| u64::from_str_radix(size, 16).ok());
    let size = size.filter(|size| *size <= LONGEST).ok_or(Malformed::Chunk)?;
    Ok(Some((digits + extension + 2, size, extension)))
}

/// What belongs in a head: where a message ends, who it is for, and who sends it. Some servers take it from trailers too.
const NO_TRAILERS: [&str; 10] = [
    "authorization",
    "connection",
    "content-length",
    "cookie",
    "expect",
    "host",
    "proxy-authorization",
    "te",
    "transfer-encoding",
    "zsessionid",
];

fn check_trailers(bytes: &[u8]) -> Result<(), Malformed> {
    let mut count = 0;
    for line in lines(bytes) {
        let (name, _) = read_field(line).map_err(|_| Malformed::Trailer)?;
        count += 1;
        if count > FIELD_LIMIT || NO_TRAILERS.iter().any(|known| is_field(name, known)) {
            return Err(Malformed::Trailer);
        }
    }
    Ok(())
}

#[cfg(test)]
mod corpus;
#[cfg(test)]
mod tests;
