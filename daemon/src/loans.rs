//! The tokens that are lent to gateways, where the driver's thread and theirs find them.
//! Does not: say for how long one is lent (`rally_cred_core::loans` does).
//! Used by: `driver` and `gateway`.

use std::sync::{Arc, Mutex, MutexGuard};

use rally_cred_core::loans::Loans;
use rally_cred_proto::unpoisoned;

/// All loans. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct SharedLoans(Arc<Mutex<Loans>>);

impl SharedLoans {
    /// Keeps the other thread out while it is held.
    pub fn lock(&self) -> MutexGuard<'_, Loans> {
        unpoisoned(&self.0)
    }
}
