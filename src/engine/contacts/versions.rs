//! Versions of rosters (RFC 6121, section 2.6): a number never stands for two contents.

use std::collections::HashMap;
use std::ops::Range;

use crate::engine::state::directory::UserKey;

/// A change of a roster takes a version of at least `generation << GENERATION_BITS`: higher than any number that
/// Prosody or an earlier start can have given to a state of the roster that was lost.
const GENERATION_BITS: u32 = 24;

/// The versions that were handed out.
#[derive(Debug, Default)]
pub(crate) struct Versions {
    /// The number of this start; no roster is changed before it is in storage.
    pub(crate) generation: Option<u64>,
    /// What `generation` is to be.
    pub(crate) next_generation: u64,
    /// The highest version handed out for each roster that was changed. It is kept when the roster has been saved, for
    /// what was saved may have been read anew: a logout discards the roster in memory.
    highest: HashMap<UserKey, u64>,
    /// The server died in a start before this one, with changes in memory of which clients may know the versions. A
    /// roster that such a start has saved, and that is read from storage, takes a new version before anybody sees it.
    pub(crate) doubtful_before: u64,
}

impl Versions {
    /// Remembers a version that was handed out and is not in storage.
    pub(crate) fn note(&mut self, user: UserKey, version: u64) {
        let highest = self.highest.entry(user).or_default();
        *highest = version.max(*highest);
    }

    /// Notes that clients may have the version that a roster has in storage, but not all of its content: when the
    /// roster is read next, it takes a new version.
    pub(crate) fn outdate(&mut self, user: UserKey) {
        *self.highest.entry(user).or_default() += 1;
    }

    /// Forgets the versions of a roster that is gone.
    pub(crate) fn forget(&mut self, user: UserKey) {
        self.highest.remove(&user);
    }

    /// Whether a roster that is read from storage may have an older version than clients do.
    pub(crate) fn may_be_behind(&self, user: UserKey) -> bool {
        self.doubtful_before > 0 || self.highest.contains_key(&user)
    }

    /// The versions that clients may know another content of, if a roster is read from storage with one of them.
    pub(crate) fn doubtful(&self, user: UserKey) -> [Range<u64>; 2] {
        let lost = 1 << GENERATION_BITS..self.doubtful_before << GENERATION_BITS;
        [lost, 0..self.highest.get(&user).copied().unwrap_or_default()]
    }

    /// Begins a new generation: a new account of a deleted account's name must not get the old one's versions. No
    /// roster is changed until the generation is in storage.
    pub(crate) fn begin_generation(&mut self) {
        if let Some(generation) = self.generation.take() {
            self.next_generation = generation + 1;
        }
    }

    /// The lowest version that a changed roster may take. None while no roster may be changed.
    pub(crate) fn floor(&self, user: UserKey) -> Option<u64> {
        let floor = self.generation? << GENERATION_BITS;
        Some(self.highest.get(&user).map_or(floor, |&highest| floor.max(highest + 1)))
    }
}
