//! A vault that forgets: for `keyring = "memory"`.
//! Does not: outlive the process.
//! Met by: `Vault`.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use zeroize::Zeroizing;

use super::worker::{Store, Trouble};

/// The items by account name. Clones share them, so that they stay when a thread is started anew.
#[derive(Clone, Debug, Default)]
pub(super) struct Items(Arc<Mutex<HashMap<String, Zeroizing<Vec<u8>>>>>);

impl Store for Items {
    fn load(&mut self, account: &str) -> Result<Option<Vec<u8>>, Trouble> {
        let items = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(items.get(account).map(|text| text.to_vec()))
    }

    fn save(&mut self, account: &str, text: &[u8]) -> Result<(), Trouble> {
        let mut items = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        items.insert(account.to_owned(), Zeroizing::new(text.to_vec()));
        Ok(())
    }

    fn erase(&mut self, account: &str) -> Result<(), Trouble> {
        let mut items = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        items.remove(account);
        Ok(())
    }
}
