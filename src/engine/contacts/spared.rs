//! Spared contacts: users have taken them off their lists. They come back with the user's next session, and not in this
//! one.

use std::collections::BTreeSet;

use rustc_hash::FxHashMap;

use crate::engine::state::directory::UserKey;

/// For each user, the contacts that are left out of the plan for now.
#[derive(Debug, Default)]
pub(crate) struct Spared(FxHashMap<UserKey, BTreeSet<UserKey>>);

impl Spared {
    /// Leaves a contact out of a user's plan for a while.
    pub(crate) fn spare(&mut self, user: UserKey, contact: UserKey) {
        self.0.entry(user).or_default().insert(contact);
    }

    pub(crate) fn contains(&self, user: UserKey, contact: UserKey) -> bool {
        self.0.get(&user).is_some_and(|spared| spared.contains(&contact))
    }

    /// The contacts that a user has taken off the list in this session.
    pub(crate) fn of(&self, user: UserKey) -> impl Iterator<Item = UserKey> {
        self.0.get(&user).into_iter().flatten().copied()
    }

    /// Ends all sparing.
    pub(crate) fn end_all(&mut self) {
        self.0.clear();
    }

    /// Ends the sparing of all of a user's contacts, and returns them.
    pub(crate) fn end(&mut self, user: UserKey) -> BTreeSet<UserKey> {
        self.0.remove(&user).unwrap_or_default()
    }
}
