//! The servers beside Rally's own that a profile's token is for, and the header in which each takes it.
//! Does not: read the config file (`config` does), or give a token away.
//! Used by: `profile`, the broker, and whoever sends a token itself.

use std::borrow::Cow;

use rally_cred_proto::{Origin, engflow, message};

/// A server beside Rally's own that a profile's token is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Also {
    /// The server, compared as exactly as the base URL.
    pub origin: Origin,
    /// How it takes the token.
    pub header: TokenHeader,
}

/// The header in which a server takes a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenHeader {
    name: Cow<'static, str>,
    scheme: Option<String>,
}

/// The text is not the name of a header, alone or followed by a colon, a space and an authentication scheme.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is not a header's name, nor one with a scheme behind it")]
pub struct BadHeader;

impl TokenHeader {
    /// Rally's own.
    pub const RALLYS: Self = Self { name: Cow::Borrowed(engflow::HEADER), scheme: None };

    /// Takes `NAME` or `NAME: SCHEME` from the config file, such as `Authorization: Bearer`.
    pub fn parse(text: &str) -> Result<Self, BadHeader> {
        let (name, scheme) =
            text.split_once(": ").map_or((text, None), |(name, scheme)| (name, Some(scheme)));
        if !is_word(name) || !scheme.is_none_or(is_word) {
            return Err(BadHeader);
        }
        Ok(Self { name: Cow::Owned(name.to_owned()), scheme: scheme.map(str::to_owned) })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The authentication scheme that stands before the token, with a space between.
    pub fn scheme(&self) -> Option<&str> {
        self.scheme.as_deref()
    }

    /// What a client is told that gets a token for this server.
    pub(crate) fn at(&self, origin: &Origin) -> message::Also {
        message::Also {
            origin: origin.to_string(),
            header: self.name.clone().into_owned(),
            scheme: self.scheme.clone(),
        }
    }
}

/// Whether it is a token in the sense of RFC 9110, section 5.6.2, as names of headers and schemes are.
fn is_word(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_a_name_or_a_name_with_a_scheme() {
        let parts = |text| TokenHeader::parse(text).map(|header| (header.name().to_owned(), header.scheme));
        assert_eq!(parts("X-Key"), Ok(("X-Key".to_owned(), None)));
        assert_eq!(
            parts("Authorization: Bearer"),
            Ok(("Authorization".to_owned(), Some("Bearer".to_owned())))
        );
        for bad in ["", ":", "A:", "A: ", "A:B", "A : B", "A: B C", "A:  B", "A B", "Ä", "A: \"B\"", "A\tB"]
        {
            assert_eq!(TokenHeader::parse(bad), Err(BadHeader), "{bad}");
        }
    }
}
