//! What is wrong with an item in the vault, as `rally-cred keyring repair` sees it.
//! Does not: touch a vault, or judge what cannot be read at all (whoever reads it does).
//! Used by: `perform`, which looks through the vault.

use rally_cred_proto::{Secret, message::Flaw};

use crate::{
    profile::Config,
    record::{ClientSecretRecord, Decoded, TokenRecord, is_of_later_version},
    static_record::StaticRecord,
    vault::{ItemKey, ItemKind},
};

/// What is wrong with this item; `None` if it is of use, or will be replaced by what is.
pub fn flaw(config: &Config, key: &ItemKey, text: &Secret) -> Option<Flaw> {
    if is_of_later_version(text) {
        return Some(Flaw::OfLaterVersion);
    }
    if !is_wanted(config, key) {
        return Some(Flaw::Orphaned);
    }
    let is_damaged = match (key.kind, config.profiles.get(&key.name)) {
        (ItemKind::Token, Some(profile)) => {
            matches!(TokenRecord::decode(text, profile), Decoded::Damaged)
        }
        (ItemKind::ClientSecret, Some(profile)) => {
            matches!(ClientSecretRecord::decode(text, profile), Decoded::Damaged)
        }
        (ItemKind::StaticCredentials, _) => matches!(StaticRecord::decode(text), Decoded::Damaged),
        // A gateway makes itself another.
        _ => false,
    };
    is_damaged.then_some(Flaw::Damaged)
}

fn is_wanted(config: &Config, key: &ItemKey) -> bool {
    match key.kind {
        ItemKind::Token | ItemKind::ClientSecret => config.profiles.contains_key(&key.name),
        ItemKind::StaticCredentials => key
            .name
            .split_once("://")
            .is_some_and(|(protocol, host)| config.static_hosts.cover(protocol, host)),
        ItemKind::Gateway => config.gateways.contains_key(&key.name),
        ItemKind::Check => false,
    }
}
