//! The header in which a server takes the token.
//! Does not: get a token, or know the server.
//! Used by: `settings`, in which the daemon names it; `forward`, which puts a token there.

use hyper::{
    HeaderMap,
    header::{HeaderName, HeaderValue},
};
use rally_cred_proto::{Fault, FaultKind, Secret};
use zeroize::Zeroizing;

use crate::key::ZSESSIONID;

/// The header in which a server takes a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenHeader {
    pub(crate) name: HeaderName,
    scheme: Option<String>,
}

impl TokenHeader {
    /// Rally's own.
    pub(crate) const RALLYS: Self = Self { name: ZSESSIONID, scheme: None };

    /// A header of this name, the token behind this scheme if there is one. `None` if it is no header's name.
    pub fn new(name: &str, scheme: Option<&str>) -> Option<Self> {
        let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
        Some(Self { name, scheme: scheme.map(str::to_owned) })
    }

    /// Puts a token there, in the place of all that stands there.
    pub(crate) fn put(&self, token: &Secret, headers: &mut HeaderMap) -> Result<(), Fault> {
        let text = self.scheme.as_ref().map(|scheme| Zeroizing::new(format!("{scheme} {}", token.expose())));
        let text = text.as_ref().map_or(token.expose(), |text| text.as_str());
        let mut value = HeaderValue::from_str(text)
            .map_err(|_| Fault::new(FaultKind::BadAnswer, "Rally's token fits no header"))?;
        value.set_sensitive(true);
        headers.insert(self.name.clone(), value);
        Ok(())
    }
}
