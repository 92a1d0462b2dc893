//! Locks whose content a panic leaves whole, since nothing is ever half done in it.
//! Does not: suit a lock that guards several steps.
//! Used by: whatever shares something between threads.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Takes the lock, whatever has become of those who had it.
pub fn unpoisoned<T>(lock: &Mutex<T>) -> MutexGuard<'_, T> {
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}
