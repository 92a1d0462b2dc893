//! The secrets that were sent to Rally, and how they are kept out of what is shown of its answers: a server may quote
//! what it was sent, in any encoding.
//! Does not: rely on what a secret looks like; it looks for those that it knows, and only then guesses about the rest.
//! Used by: the endpoint, which records what it sends, and whatever reads an answer or a redirect.

mod writing;

use rally_cred_proto::{
    Secret,
    plain::{cut, one_line},
};

use writing::Text;

/// What replaces text that is not shown.
const MASK: char = '…';

/// This many characters in a row of a longer secret are hidden too: a server may have truncated its quote.
const LONGEST_PIECE: usize = 8;

/// A shorter secret counts only as a whole word. Anybody could guess it; hidden wherever its letters occur, it would
/// make every message a riddle, and the gaps would spell it.
const SHORTEST_PIECE: usize = 4;

/// A secret of this length does not occur in a name by chance. Rally's tokens have about 42 characters.
const LONG: usize = 16;

/// How much of a text is searched: far more than is ever shown.
const LONGEST_TEXT: usize = 4 * 1024;

/// Secrets that an answer may quote: those in its request, and in earlier ones.
#[derive(Clone, Debug, Default)]
pub struct Sent(Vec<Secret>);

impl Sent {
    /// Records what a request carries.
    pub fn new(secrets: impl IntoIterator<Item = Secret>) -> Self {
        Self(secrets.into_iter().collect())
    }

    /// Records further secrets.
    pub fn add(&mut self, more: Self) {
        self.0.extend(more.0);
    }

    /// Text from outside, fit to be shown: plain, without these secrets in any usual encoding, and with `…` for every
    /// word that could be another token, code or key.
    pub fn shown(&self, text: &str) -> String {
        self.shown_without(text, &[])
    }

    /// The same, also without the secrets in the answer itself.
    pub fn shown_without(&self, text: &str, others: &[&str]) -> String {
        cut(&without_likely_secrets(&self.masked(text, others)))
    }

    /// Whether a name, which must be shown unchanged, holds none of these secrets. It may share letters with a short
    /// one.
    pub fn is_not_in(&self, name: &str) -> bool {
        !self.0.iter().map(Secret::expose).any(|secret| secret.len() >= LONG && name.contains(secret))
    }

    /// The text on one line without these secrets.
    pub(super) fn masked(&self, text: &str, others: &[&str]) -> String {
        // Cut first, so that a huge text costs little.
        let line = one_line(text.get(..text.floor_char_boundary(LONGEST_TEXT)).unwrap_or_default());
        let hidden = self.hidden(&line, others);
        let is_hidden = |(at, c): (usize, char)| hidden.iter().skip(at).take(c.len_utf8()).any(|is| *is);
        let mut masked = String::with_capacity(line.len());
        let mut was_hidden = false;
        for (at, c) in line.char_indices() {
            match is_hidden((at, c)) {
                false => masked.push(c),
                true if !was_hidden => masked.push(MASK),
                true => {}
            }
            was_hidden = is_hidden((at, c));
        }
        masked
    }

    /// For each byte of the line, whether it is part of a secret: as it is, escaped, perhaps several times, or in a
    /// base64 word.
    fn hidden(&self, line: &str, others: &[&str]) -> Vec<bool> {
        let mut hidden = vec![false; line.len()];
        let mut hide =
            |place| hidden.get_mut(place).into_iter().flatten().for_each(|hidden: &mut bool| *hidden = true);
        let texts = Text::new(line).readings();
        let words: Vec<_> = texts.iter().flat_map(Text::base64_words).collect();
        for secret in self.0.iter().map(Secret::expose).chain(others.iter().copied()) {
            // The line was made plain, and so is what is sought.
            for sought in Text::new(&one_line(secret)).readings() {
                texts.iter().for_each(|text| text.find(&sought, &mut hide));
                for (place, said) in &words {
                    if said.iter().any(|said| said.holds(&sought)) {
                        hide(place.clone());
                    }
                }
            }
        }
        hidden
    }
}

/// The text with `…` for every word that may be a secret that was not sent, such as a new token.
fn without_likely_secrets(text: &str) -> String {
    let is_in_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '+' | '=' | '~');
    text.split_inclusive(|c| !is_in_word(c))
        .map(|piece| {
            let word = piece.trim_end_matches(|c| !is_in_word(c));
            // Rally's tokens have about 42 characters; words of this length with a digit are rare in prose.
            let may_be_secret = word.len() >= LONG && word.bytes().any(|byte| byte.is_ascii_digit());
            if may_be_secret { piece.replacen(word, "…", 1) } else { piece.to_owned() }
        })
        .collect()
}

#[cfg(test)]
mod tests;
