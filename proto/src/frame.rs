//! Frames: one JSON object on one line, 64 KiB at most with its line feed.
//! Does not: read or write by itself, so that blocking and asynchronous peers share it.
//! Used by: the blocking client and the daemon's sessions.

use std::{fmt, io};

use serde::{Serialize, de::DeserializeOwned};
use zeroize::Zeroizing;

use crate::{object::Object, secret};

/// Longest frame in bytes, with its line feed. The largest honest one is a `status` of many profiles; every request
/// is far below it, so a longer one is a mistake or an attack.
pub const MAX_FRAME: usize = 64 * 1024;

/// Why bytes are not a frame. The connection is of no more use; the text never shows what the frame held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadFrame {
    /// The frame is longer than [`MAX_FRAME`].
    #[error("a message is longer than {MAX_FRAME} bytes")]
    TooLong,
    /// The peer closed in the middle of a frame, or before one.
    #[error("the message ends before its line does")]
    CutShort,
    /// The frame is not the JSON that was expected; the offset is in bytes from its start.
    #[error("the message is not understood at byte {0}")]
    NotUnderstood(usize),
}

/// The message as a frame, its line feed included. The buffer is wiped when dropped.
pub fn encode(message: &impl Serialize) -> Result<Zeroizing<Vec<u8>>, BadFrame> {
    let mut line = Zeroizing::new(Vec::with_capacity(512));
    serde_json::to_writer(&mut *line, message).map_err(|_| BadFrame::NotUnderstood(0))?;
    line.push(b'\n');
    if line.len() > MAX_FRAME { Err(BadFrame::TooLong) } else { Ok(line) }
}

/// The message in a frame, with or without its line feed.
pub fn decode<T: DeserializeOwned>(line: &[u8]) -> Result<T, BadFrame> {
    // serde's own message can quote the value it stumbled over, so only the place is passed on.
    let read = serde_json::from_slice::<Object<T>>(line);
    read.map(|Object(message)| message).map_err(|err| BadFrame::NotUnderstood(err.column()))
}

/// Bytes that arrive in pieces, cut into frames. What it holds is wiped when dropped.
#[derive(Default)]
pub struct Lines {
    held: Zeroizing<Vec<u8>>,
}

impl fmt::Debug for Lines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Lines({} bytes)", self.held.len())
    }
}

impl Lines {
    /// Adds bytes as they arrive.
    pub fn add(&mut self, bytes: &[u8]) {
        secret::make_room(&mut self.held, bytes.len());
        self.held.extend_from_slice(bytes);
    }

    /// Has bytes that arrived read into the buffer it gives; their number, 0 at the end of the stream.
    pub fn read(&mut self, read: impl FnOnce(&mut [u8]) -> io::Result<usize>) -> io::Result<usize> {
        secret::read_more(&mut self.held, read)
    }

    /// Takes the next whole frame, without its line feed; `None` until more bytes arrive.
    pub fn take(&mut self) -> Result<Option<Zeroizing<Vec<u8>>>, BadFrame> {
        match self.held.iter().position(|byte| *byte == b'\n') {
            Some(end) if end < MAX_FRAME => {
                let rest = Zeroizing::new(self.held.split_off(end + 1));
                let mut line = std::mem::replace(&mut self.held, rest);
                line.pop();
                Ok(Some(line))
            }
            None if self.held.len() < MAX_FRAME => Ok(None),
            Some(_) | None => Err(BadFrame::TooLong),
        }
    }

    /// Whether no byte is left over.
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// How many bytes are held.
    pub fn len(&self) -> usize {
        self.held.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_found_however_the_bytes_arrive() {
        let mut lines = Lines::default();
        for byte in b"one\ntwo\nthr" {
            lines.add(&[*byte]);
        }
        let mut taken = Vec::new();
        while let Some(line) = lines.take().unwrap() {
            taken.push(String::from_utf8(line.to_vec()).unwrap());
        }
        assert_eq!(taken, ["one", "two"]);
        assert!(!lines.is_empty());
    }

    #[test]
    fn a_frame_of_64_kib_passes_and_one_more_byte_does_not() {
        let mut lines = Lines::default();
        lines.add(&[b'a'; MAX_FRAME - 1]);
        assert!(lines.take().unwrap().is_none());
        lines.add(b"\n");
        assert_eq!(lines.take().unwrap().unwrap().len(), MAX_FRAME - 1);
        lines.add(&[b'a'; MAX_FRAME]);
        assert_eq!(lines.take().unwrap_err(), BadFrame::TooLong);
    }

    #[test]
    fn a_list_is_no_message() {
        assert!(decode::<crate::Answer>(br#"{"type":"done"}"#).is_ok());
        for list in [&br#"["done"]"#[..], br#" ["signed_out",[],[]]"#] {
            assert!(matches!(decode::<crate::Answer>(list), Err(BadFrame::NotUnderstood(_))));
        }
        assert!(matches!(decode::<crate::Ask>(br#"["stop"]"#), Err(BadFrame::NotUnderstood(_))));
    }

    #[test]
    fn an_error_says_where_and_not_what() {
        let fault = decode::<crate::Ask>(br#"{"op":"get","wait":"canary"}"#).unwrap_err();
        assert!(!fault.to_string().contains("canary"));
    }
}
