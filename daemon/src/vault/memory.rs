//! Keeps secrets in this process, until it ends.
//! Does not: write anything anywhere.
//! Used by: the vault's handle, when the config file says `keyring = "memory"`; and `kv2`.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard},
};

use rally_cred_proto::{Secret, unpoisoned};

use rally_cred_core::vault::{Change, Changed, ItemKey, is_same};

#[derive(Default)]
pub(super) struct Memory(Mutex<HashMap<ItemKey, Secret>>);

impl Memory {
    pub(super) fn write(&self, key: ItemKey, value: Option<Secret>) {
        put(&mut self.items(), key, value);
    }

    pub(super) fn find(&self, key: &ItemKey) -> Option<Secret> {
        self.items().get(key).cloned()
    }

    pub(super) fn accounts(&self) -> Vec<String> {
        self.items().keys().map(ItemKey::account).collect()
    }

    pub(super) fn change(&self, Change { key, from, to }: Change) -> Changed {
        let mut items = self.items();
        let held = items.get(&key);
        if !is_same(held, from.as_ref()) {
            return Changed::Conflict(held.cloned());
        }
        put(&mut items, key, to);
        Changed::Done
    }

    fn items(&self) -> MutexGuard<'_, HashMap<ItemKey, Secret>> {
        unpoisoned(&self.0)
    }
}

fn put(items: &mut HashMap<ItemKey, Secret>, key: ItemKey, value: Option<Secret>) {
    match value {
        Some(value) => items.insert(key, value),
        None => items.remove(&key),
    };
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vault::Places;
    use rally_cred_core::{profile::Keyring, vault::ItemKind};

    #[tokio::test(flavor = "current_thread")]
    async fn memory_keeps_each_kind_apart_until_it_is_erased() {
        let vault = Places::new(&Keyring::Memory).open(&Keyring::Memory);
        let token = ItemKey { kind: ItemKind::Token, name: "work".to_owned() };
        let client_secret = ItemKey { kind: ItemKind::ClientSecret, ..token.clone() };
        vault.save(&token, Secret::parse("one".to_owned()).unwrap()).await.unwrap();
        assert!(vault.load(&client_secret).await.unwrap().is_none());

        let clone = vault.clone();
        assert_eq!(clone.load(&token).await.unwrap().unwrap().expose(), "one");
        clone.erase(&token).await.unwrap();
        clone.erase(&token).await.unwrap();
        assert!(vault.load(&token).await.unwrap().is_none());
    }
}
