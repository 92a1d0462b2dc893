//! Replaces one server's origin by another's where a text in JSON begins with it, as in every `_ref`: a tool that follows
//! Rally's own addresses comes back to the gateway, with its local key.
//! Does not: keep more than the origin's length; read JSON beyond where its texts begin and end; know an address with signs
//! written as `\u…`, which Rally's has not; or touch one within a text, which a tool may write back to Rally.
//! Used by: `forward`, for the ways in where the tool uses the gateway's address as the server's.

/// Rewrites one body, which comes in pieces.
#[derive(Debug)]
pub(crate) struct Rewriter {
    from: Vec<u8>,
    to: String,
    state: State,
    /// The beginning of a text, as long as it may be the origin.
    held: Vec<u8>,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Outside,
    /// At the beginning of a text, of which this much is the origin's.
    Beginning {
        matched: usize,
        escape: Escape,
    },
    Inside,
    /// In a text, after a backslash.
    Escaped,
}

/// How slashes were written so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Escape {
    /// As they are, or none yet.
    None,
    /// One with a backslash before it.
    Seen,
    /// A backslash, and what it stands before is not known yet.
    Open,
}

impl Rewriter {
    /// For two origins, each as `scheme://host` or `scheme://host:port`.
    pub(crate) fn new(from: &str, to: &str) -> Self {
        Self { from: from.into(), to: to.to_owned(), state: State::Outside, held: Vec::new() }
    }

    /// Takes the next piece; what of the body is known now.
    pub(crate) fn push(&mut self, piece: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(piece.len() + self.held.len());
        let mut rest = piece;
        while let Some((&byte, after)) = rest.split_first() {
            match self.state {
                State::Outside => rest = self.skip(rest, b"\"", &mut out),
                State::Inside => rest = self.skip(rest, b"\"\\", &mut out),
                State::Escaped => {
                    out.push(byte);
                    self.state = State::Inside;
                    rest = after;
                }
                State::Beginning { matched, escape } => {
                    if self.compare(byte, matched, escape, &mut out) {
                        rest = after;
                    }
                }
            }
        }
        out
    }

    /// The end of the body; what was kept of it.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        let mut out = Vec::new();
        match self.state {
            State::Beginning { matched, escape } if matched == self.from.len() => {
                self.replace(escape, &mut out);
            }
            _ => out.append(&mut self.held),
        }
        out
    }

    /// Hands on what comes before one of these signs, and the sign.
    fn skip<'a>(&mut self, bytes: &'a [u8], signs: &[u8], out: &mut Vec<u8>) -> &'a [u8] {
        let Some(at) = bytes.iter().position(|byte| signs.contains(byte)) else {
            out.extend_from_slice(bytes);
            return &[];
        };
        let (before, rest) = bytes.split_at(at + 1);
        out.extend_from_slice(before);
        self.state = match (self.state, before.last()) {
            (State::Outside, _) => State::Beginning { matched: 0, escape: Escape::None },
            (_, Some(b'"')) => State::Outside,
            _ => State::Escaped,
        };
        rest
    }

    /// Looks at the next byte of a text that begins as the origin does. If it does not take it, it has decided.
    fn compare(&mut self, byte: u8, matched: usize, escape: Escape, out: &mut Vec<u8>) -> bool {
        let next = self.from.get(matched).copied();
        let is_slash = byte == b'/' && next.is_none_or(|next| next == b'/');
        if byte == b'\\' && escape != Escape::Open && next.is_none_or(|next| next == b'/') {
            self.held.push(byte);
            self.state = State::Beginning { matched, escape: Escape::Open };
            return true;
        }
        if next == Some(byte) && (is_slash || escape != Escape::Open) {
            self.held.push(byte);
            let escape = if escape == Escape::Open { Escape::Seen } else { escape };
            self.state = State::Beginning { matched: matched + 1, escape };
            return true;
        }
        let ends = match escape {
            Escape::Open => is_slash,
            _ => matches!(byte, b'/' | b'"' | b'?' | b'#'),
        };
        if next.is_none() && ends {
            self.replace(escape, out);
        } else {
            out.append(&mut self.held);
        }
        self.state = if escape == Escape::Open { State::Escaped } else { State::Inside };
        false
    }

    /// Hands on the other origin for what is held, its slashes written in the same way.
    fn replace(&mut self, escape: Escape, out: &mut Vec<u8>) {
        let is_open = escape == Escape::Open;
        let is_escaped = self.held.iter().filter(|byte| **byte == b'\\').count() > usize::from(is_open);
        let to = if is_escaped { self.to.replace('/', "\\/") } else { self.to.clone() };
        out.extend_from_slice(to.as_bytes());
        if is_open {
            out.push(b'\\');
        }
        self.held.clear();
    }
}

#[cfg(any(test, feature = "fuzzing"))]
#[expect(clippy::unwrap_used, reason = "it is for tests and the fuzzer")]
pub(crate) mod oracle;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::oracle::{FROM, TO, expected, rewrite};

    fn check(text: &str, expected: &str) {
        for cut in [1, 2, 3, 7, 1000] {
            assert_eq!(rewrite(text, &[cut]), expected, "in pieces of {cut}");
        }
    }

    #[test]
    fn a_tool_that_follows_a_ref_comes_back_to_the_gateway() {
        check(
            r#"{"_ref":"https://rally1.rallydev.com/slm/webservice/v2.0/defect/1","Name":"x"}"#,
            r#"{"_ref":"http://127.0.0.1:4004/slm/webservice/v2.0/defect/1","Name":"x"}"#,
        );
        check(
            r#"{"_ref" : "https:\/\/rally1.rallydev.com\/slm\/defect\/1"}"#,
            r#"{"_ref" : "http:\/\/127.0.0.1:4004\/slm\/defect\/1"}"#,
        );
        check(r#"["https:\/\/rally1.rallydev.com"]"#, r#"["http:\/\/127.0.0.1:4004"]"#);
        check(r#"["https://rally1.rallydev.com\/slm"]"#, r#"["http://127.0.0.1:4004\/slm"]"#);
        for end in ["", "/", "?a", "#a"] {
            check(&format!("\"{FROM}{end}\""), &format!("\"{TO}{end}\""));
        }
    }

    #[test]
    fn other_servers_and_texts_that_a_tool_may_write_back_stay_as_they_are() {
        for text in [
            r#"["https://rally1.rallydev.com.evil.example/slm"]"#,
            r#"["https://rally1.rallydev.com:444/slm"]"#,
            r#"["https://rally1.rallydev.com@evil.example/"]"#,
            r#"["https://rally1.rallydev.comx"]"#,
            r#"["https://rally1.rallydev.com\n"]"#,
            r#"["https://rally1.rallydev.com\"]"#,
            r#"["https://rally1.rallydev.com\\/"]"#,
            r#"["https:\\//rally1.rallydev.com/"]"#,
            r#"["http://rally1.rallydev.com/slm"]"#,
            r#"["https:/rally1.rallydev.com/slm"]"#,
            r#"["xhttps://rally1.rallydev.com/slm"]"#,
            r#"{"Description":"see https://rally1.rallydev.com/slm, <img src=\"https://rally1.rallydev.com/slm/x\">"}"#,
            r#"{"a":"\\\"https://rally1.rallydev.com/"}"#,
            "https://rally1.rallydev.com/slm",
            r#"["https:\"#,
            r#"["https://rally1.rally"#,
            "",
        ] {
            check(text, text);
        }
    }

    fn values() -> impl Strategy<Value = Value> {
        let texts = prop_oneof![
            Just(FROM.to_owned()),
            "(https://rally1\\.rallydev\\.com|https:/|https://rally1\\.)?[/?#\"\\\\a:.\n\u{e4}]{0,6}",
            "[\"\\\\ ]{0,3}https://rally1\\.rallydev\\.com/slm[\"\\\\]{0,3}",
        ];
        let leaf = prop_oneof![texts.clone().prop_map(Value::String), any::<i32>().prop_map(Value::from)];
        leaf.prop_recursive(3, 20, 4, move |inner| {
            let fields = proptest::collection::hash_map(texts.clone(), inner.clone(), 0..4);
            prop_oneof![
                proptest::collection::vec(inner, 0..4).prop_map(Value::Array),
                fields.prop_map(|fields| Value::Object(fields.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn a_body_is_rewritten_as_one_who_reads_all_of_it_would(
            value in values(),
            is_escaped: bool,
            cuts in proptest::collection::vec(1..40usize, 1..10)
        ) {
            let text = value.to_string();
            let text = if is_escaped { text.replace('/', "\\/") } else { text };
            let rewritten = rewrite(&text, &cuts);
            prop_assert_eq!(serde_json::from_str::<Value>(&rewritten).unwrap(), expected(value));
            if is_escaped {
                prop_assert_eq!(rewritten.matches('/').count(), rewritten.matches("\\/").count());
            }
        }

        #[test]
        fn no_cut_makes_a_difference_whatever_the_bytes_are(
            text in "(\"|\\\\|https:|/|//|rally1.rallydev.com|\\\\/|x|,){0,20}",
            cuts in proptest::collection::vec(1..9usize, 1..20)
        ) {
            prop_assert_eq!(rewrite(&text, &cuts), rewrite(&text, &[text.len().max(1)]));
        }
    }
}
