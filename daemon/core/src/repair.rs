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

#[cfg(test)]
mod tests {
    use rally_cred_proto::{Origin, ProfileName};

    use super::*;
    use crate::{
        profile::{BaseUrl, GatewaySettings, Profile, RedirectUri, StaticHosts},
        record::encode,
    };

    #[test]
    fn an_item_is_damaged_orphaned_or_of_a_later_version_and_what_is_of_use_is_left_alone() {
        let profile = Profile::new(
            ProfileName::parse("work").unwrap(),
            BaseUrl::parse("https://rally1.rallydev.com").unwrap(),
            "client".to_owned(),
            RedirectUri::parse("http://localhost:8477/callback").unwrap(),
        );
        let good = encode(&TokenRecord::new(&profile, 1)).unwrap();
        let config = Config {
            gateways: [("mcp".to_owned(), GatewaySettings::new("work".to_owned()))].into(),
            static_hosts: StaticHosts::Listed(vec![Origin::from_uri("https://git.example.com").unwrap()]),
            ..Config::of_one(profile)
        };
        for (kind, name, text, expected) in [
            (ItemKind::Token, "work", good.expose(), None),
            (ItemKind::Token, "work", "damaged", Some(Flaw::Damaged)),
            (ItemKind::Token, "old", good.expose(), Some(Flaw::Orphaned)),
            (ItemKind::Token, "old", r#"{"v":99}"#, Some(Flaw::OfLaterVersion)),
            (ItemKind::ClientSecret, "work", "damaged", Some(Flaw::Damaged)),
            (ItemKind::ClientSecret, "old", "damaged", Some(Flaw::Orphaned)),
            (ItemKind::StaticCredentials, "https://git.example.com", "damaged", Some(Flaw::Damaged)),
            (ItemKind::StaticCredentials, "https://other.example.com", "damaged", Some(Flaw::Orphaned)),
            (ItemKind::Gateway, "mcp", "whatever", None),
            (ItemKind::Gateway, "old", "whatever", Some(Flaw::Orphaned)),
        ] {
            let text = Secret::parse(text.to_owned()).unwrap();
            let key = ItemKey { kind, name: name.to_owned() };
            assert_eq!(flaw(&config, &key, &text), expected, "{}", key.account());
        }
    }
}
