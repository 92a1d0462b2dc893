//! Reads JSON bodies with every field optional and of any type, since Rally is loose with them.
//! Does not: decide what a body means.
//! Used by: `answer` and `answer::user`.

use std::fmt;

use rally_cred_proto::{Secret, object::Object};
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use zeroize::Zeroizing;

use super::{Grant, Sent};

/// The token endpoint's body. `token_type` is left out: it says Bearer, which WSAPI does not accept.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct TokenBody {
    access_token: Loose,
    refresh_token: Loose,
    expires_in: Loose,
    error: Loose,
    error_description: Loose,
    client_secret: Loose,
    code: Loose,
    id_token: Loose,
}

impl TokenBody {
    /// `None` if the body is not a JSON object.
    pub(super) fn parse(body: &[u8]) -> Option<Self> {
        parse_object(body)
    }

    pub(super) fn error(&self) -> Option<&str> {
        self.error.text()
    }

    /// Whether the description complains about the request's form rather than the code or token, as in "Invalid value
    /// for grant_type params - must be authorization_code".
    pub(super) fn blames_the_form(&self) -> bool {
        let description = self.error_description.text().unwrap_or_default().to_ascii_lowercase();
        description.contains("grant_type") || description.contains("param")
    }

    /// What Rally said, fit to be shown: without what was sent, and without the body's other fields, among which Rally
    /// quotes the client secret.
    pub(super) fn reason(&self, status: u16, sent: &Sent) -> String {
        let said: Vec<&str> =
            [&self.error, &self.error_description].into_iter().filter_map(Loose::text).collect();
        if said.is_empty() {
            return format!("it answered with status {status}");
        }
        let said = Zeroizing::new(said.join(": "));
        let fields =
            [&self.client_secret, &self.code, &self.access_token, &self.refresh_token, &self.id_token];
        let fields: Vec<&str> = fields.into_iter().filter_map(Loose::text).collect();
        sent.shown_without(&said, &fields)
    }

    /// The tokens, or why there are none.
    pub(super) fn into_grant(self) -> Result<Grant, &'static str> {
        let expires_in = self.expires_in.seconds();
        let access_token =
            self.access_token.into_secret().map_err(|_| UNSAFE)?.ok_or("it has no access_token")?;
        // RFC 6749 appendix A.12; whatever else cannot go into an HTTP header anyway.
        if !access_token.expose().bytes().all(|byte| matches!(byte, b' '..=b'~')) {
            return Err(UNSAFE);
        }
        let refresh_token = self.refresh_token.into_secret().map_err(|_| UNSAFE)?;
        Ok(Grant { access_token, refresh_token, expires_in })
    }
}

const UNSAFE: &str = "a token in it holds a character that no token may hold";

/// Parses a JSON object.
pub(super) fn parse_object<T: DeserializeOwned>(body: &[u8]) -> Option<T> {
    serde_json::from_slice(body).map(|Object(read)| read).ok()
}

/// A JSON value of any type, of which only a text or a number is kept. Texts are wiped when dropped.
#[derive(Default)]
pub(super) enum Loose {
    #[default]
    Missing,
    Text(Zeroizing<String>),
    Number(f64),
}

impl Loose {
    /// The text, unless it is empty.
    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text.as_str()).filter(|text| !text.is_empty()),
            Self::Missing | Self::Number(_) => None,
        }
    }

    /// Whole seconds from a number or a numeric text; `None` for zero or less and for anything else.
    fn seconds(&self) -> Option<u64> {
        let number = match self {
            Self::Number(number) => *number,
            Self::Text(text) => text.trim().parse().ok()?,
            Self::Missing => return None,
        };
        (number >= 1.0).then(|| number.min(f64::from(u32::MAX)) as u64)
    }

    /// `Ok(None)` for no text or an empty one.
    fn into_secret(self) -> Result<Option<Secret>, rally_cred_proto::secret::Unsafe> {
        match self {
            Self::Text(mut text) if !text.is_empty() => Secret::parse(std::mem::take(&mut *text)).map(Some),
            Self::Text(_) | Self::Missing | Self::Number(_) => Ok(None),
        }
    }
}

impl<'de> Deserialize<'de> for Loose {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Loose;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("any value")
            }
            fn visit_str<E>(self, text: &str) -> Result<Loose, E> {
                Ok(Loose::Text(Zeroizing::new(text.to_owned())))
            }
            fn visit_string<E>(self, text: String) -> Result<Loose, E> {
                Ok(Loose::Text(Zeroizing::new(text)))
            }
            fn visit_u64<E>(self, number: u64) -> Result<Loose, E> {
                Ok(Loose::Number(number as f64))
            }
            fn visit_i64<E>(self, number: i64) -> Result<Loose, E> {
                Ok(Loose::Number(number as f64))
            }
            fn visit_f64<E>(self, number: f64) -> Result<Loose, E> {
                Ok(Loose::Number(number))
            }
            fn visit_bool<E>(self, _: bool) -> Result<Loose, E> {
                Ok(Loose::Missing)
            }
            fn visit_unit<E>(self) -> Result<Loose, E> {
                Ok(Loose::Missing)
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Loose, A::Error> {
                while items.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Loose::Missing)
            }
            fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Loose, A::Error> {
                while entries.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(Loose::Missing)
            }
        }
        deserializer.deserialize_any(Any)
    }
}
