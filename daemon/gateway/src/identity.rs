//! What makes a gateway the same one after a restart: its port, its local key, and its authority.
//! Does not: keep itself. The daemon has it kept in the vault, or the client of the tool that it is for holds it.
//! Used by: whoever opens a gateway.

use std::{sync::Arc, time::SystemTime};

use rally_cred_proto::{Secret, object::Object};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::{
    authority::{self, Authority},
    key::LocalKey,
};

/// Port, local key and authority of a gateway.
#[derive(Clone, Debug)]
pub struct Identity {
    port: u16,
    key: LocalKey,
    authority: Arc<Authority>,
}

/// The text is not one that [`Identity::to_secret`] made: the caller makes a new identity, and what a tool had of the old
/// one is worth nothing any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("what was kept of the gateway's port, key and certificate cannot be read")]
pub struct Unreadable;

/// No identity can be made: the system gives no randomness, or a server has a name that no certificate can hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no key and certificate can be made for the gateway")]
pub struct NotMade;

#[derive(Serialize, Deserialize)]
struct Record {
    port: u16,
    key: Secret,
    authority: authority::Record,
}

/// More than the text of any identity.
const LONGEST: usize = 8 * 1024;

impl Identity {
    /// A new identity on a port that the gateway listens on, for the servers at `hosts`
    /// ([`rally_cred_proto::Origin::host`]).
    pub fn fresh(port: u16, hosts: &[&str], now: SystemTime) -> Result<Self, NotMade> {
        let key = LocalKey::fresh().map_err(|_| NotMade)?;
        let authority = Authority::fresh(hosts, now).map_err(|_| NotMade)?;
        Ok(Self { port, key, authority: Arc::new(authority) })
    }

    /// The identity that [`Identity::to_secret`] wrote. Fields that another version added are ignored.
    pub fn read(text: &Secret) -> Result<Self, Unreadable> {
        let Object(record) = serde_json::from_str::<Object<Record>>(text.expose()).map_err(|_| Unreadable)?;
        let key = LocalKey::parse(record.key).ok_or(Unreadable)?;
        let authority = Authority::read(&record.authority).ok_or(Unreadable)?;
        let port = Some(record.port).filter(|port| *port != 0).ok_or(Unreadable)?;
        Ok(Self { port, key, authority: Arc::new(authority) })
    }

    /// All of it as one text, from which [`Identity::read`] makes the same one.
    pub fn to_secret(&self) -> Result<Secret, NotMade> {
        let authority = self.authority.record().ok_or(NotMade)?;
        let record = Record { port: self.port, key: self.key.secret().clone(), authority };
        // A text that grows leaves copies behind that nobody wipes.
        let mut text = Zeroizing::new(Vec::with_capacity(LONGEST));
        serde_json::to_writer(&mut *text, &record).map_err(|_| NotMade)?;
        let text = String::from_utf8(std::mem::take(&mut *text)).map_err(|_| NotMade)?;
        Secret::parse(text).map_err(|_| NotMade)
    }

    /// The same key at another port: the old one is taken, and no tool knows it yet.
    #[must_use]
    pub fn at_port(self, port: u16) -> Self {
        Self { port, ..self }
    }

    /// The same port and key with a new authority, where a tool that is started now needs one
    /// ([`Authority::serves`]).
    pub fn with_new_authority(self, hosts: &[&str], now: SystemTime) -> Result<Self, NotMade> {
        let authority = Authority::fresh(hosts, now).map_err(|_| NotMade)?;
        Ok(Self { authority: Arc::new(authority), ..self })
    }

    /// The port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// What tools show to be let in.
    pub fn key(&self) -> &LocalKey {
        &self.key
    }

    /// What tools trust, for TLS.
    pub fn authority(&self) -> &Arc<Authority> {
        &self.authority
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity() -> Identity {
        Identity::fresh(4004, &["rally1.rallydev.com"], SystemTime::now()).unwrap()
    }

    #[test]
    fn a_gateway_is_the_same_after_a_restart() {
        let before = identity();
        let kept = before.to_secret().unwrap();
        let after = Identity::read(&kept).unwrap();
        assert_eq!(after.port(), 4004);
        assert!(after.key().secret().matches(before.key().secret()));
        assert_eq!(after.authority().certificate_pem(), before.authority().certificate_pem());
        assert!(kept.expose().len() < LONGEST / 2);
        assert!(after.to_secret().unwrap().matches(&kept));
    }

    #[test]
    fn what_a_newer_version_added_is_ignored_and_broken_text_is_a_plain_error() {
        let kept = identity().to_secret().unwrap();
        let change = |from: &str, to: &str| {
            let text = kept.expose().replacen(from, to, 1);
            assert_ne!(text, kept.expose(), "{from}");
            Identity::read(&Secret::parse(text).unwrap()).map(drop)
        };
        assert_eq!(change("{", "{\"new\": [1], "), Ok(()));
        for (from, to) in [
            ("{", ""),
            ("4004", "0"),
            ("4004", "400400"),
            ("\"key\":\"_", "\"key\":\""),
            ("BEGIN", "END"),
            ("\\nMII", "\\nAAA"),
            ("\"hosts\"", "\"places\""),
        ] {
            assert_eq!(change(from, to), Err(Unreadable), "{from} {to}");
        }
        let shown = format!("{:?} {Unreadable}", identity());
        assert!(!shown.contains(kept.expose().get(20..60).unwrap()) && !shown.contains("MII"), "{shown}");
    }

    #[test]
    fn a_new_authority_or_port_keeps_the_key() {
        let old = identity();
        let new =
            old.clone().at_port(4005).with_new_authority(&["eu1.rallydev.com"], SystemTime::now()).unwrap();
        assert!(new.key().secret().matches(old.key().secret()) && new.port() == 4005);
        assert!(new.authority().serves(&["eu1.rallydev.com"], SystemTime::now()));
    }
}
