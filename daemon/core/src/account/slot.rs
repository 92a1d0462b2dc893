//! What is known of an item in the vault: unread, being read, absent or held.
//! Does not: read it, or know whether the vault has what is held (`item` does).
//! Used by: `token` and `client_secret`.

use crate::event::Epoch;

#[derive(Debug, Default)]
pub(super) enum Slot<T> {
    /// The vault was not asked, or could not answer.
    #[default]
    Unread,
    Loading(Epoch),
    Empty,
    /// No keyring answers, which for the choice `auto` counts as none. The next request asks again.
    Missing,
    Held(T),
}

/// Why an item could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unreadable {
    /// No keyring answers, and the config file can do without.
    Missing,
    /// The vault is locked, or has not come.
    Shut,
    Failed,
}

impl<T> Slot<T> {
    pub(super) fn unreadable(&mut self, why: Unreadable) {
        *self = match why {
            Unreadable::Missing => Self::Missing,
            Unreadable::Shut | Unreadable::Failed => Self::Unread,
        };
    }

    pub(super) fn held(&self) -> Option<&T> {
        match self {
            Self::Held(value) => Some(value),
            Self::Unread | Self::Loading(_) | Self::Empty | Self::Missing => None,
        }
    }

    pub(super) fn is_loading(&self, epoch: Epoch) -> bool {
        matches!(self, Self::Loading(own) if *own == epoch)
    }

    /// Lets the next request ask a keyring that did not answer the last time.
    pub(super) fn forget_missing(&mut self) {
        if matches!(self, Self::Missing) {
            *self = Self::Unread;
        }
    }
}
