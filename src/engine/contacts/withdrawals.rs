//! Withdrawals: accounts that are gone, and the contact lists that may still hold them.

use std::collections::{BTreeMap, BTreeSet};

use crate::engine::state::directory::UserKey;

/// For each contact list, the accounts that are gone and that it may still hold.
#[derive(Debug, Default)]
pub(crate) struct Withdrawals(BTreeMap<UserKey, BTreeSet<UserKey>>);

impl Withdrawals {
    pub(crate) fn add(&mut self, owner: UserKey, gone: UserKey) {
        self.0.entry(owner).or_default().insert(gone);
    }

    /// The accounts that are gone and that a user's list may still hold.
    pub(crate) fn of(&self, owner: UserKey) -> impl Iterator<Item = UserKey> {
        self.0.get(&owner).into_iter().flatten().copied()
    }

    /// Notes that a list without these accounts is in storage.
    pub(crate) fn note_done(&mut self, owner: UserKey, withdrawn: &BTreeSet<UserKey>) {
        if let Some(open) = self.0.get_mut(&owner) {
            open.retain(|gone| !withdrawn.contains(gone));
            if open.is_empty() {
                self.0.remove(&owner);
            }
        }
    }

    /// Forgets a list that is gone.
    pub(crate) fn forget_roster(&mut self, owner: UserKey) {
        self.0.remove(&owner);
    }

    /// Whose lists may still hold whom.
    pub(crate) fn all(&self) -> impl Iterator<Item = (UserKey, &BTreeSet<UserKey>)> {
        self.0.iter().map(|(&owner, gone)| (owner, gone))
    }
}
