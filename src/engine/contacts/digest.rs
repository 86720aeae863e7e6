//! Digests: what groups bring, as a number for the versions of virtual contact lists.
//!
//! What groups bring is the same for all members, so a number is made of each group once: of its label and of the
//! members that have accounts. It has to be the same after a restart, and another one whenever the list that is shown
//! is another.

use std::hash::{DefaultHasher, Hash, Hasher};

use rustc_hash::FxHashMap;

use crate::engine::State;
use crate::engine::state::directory::{GroupKey, UserKey};

/// The numbers made of groups, and the stamp as of which they are.
#[derive(Debug, Default)]
pub(crate) struct Digests {
    stamp: u64,
    groups: FxHashMap<GroupKey, u64>,
}

/// A number of 27 bits that is not zero.
pub(super) fn number(value: impl Hash) -> u32 {
    (hash(value) >> 37) as u32 | 1
}

fn hash(value: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

impl State {
    /// A number of 27 bits for what groups bring to a user's list; zero for nothing.
    pub(crate) fn digest(&mut self, user: UserKey) -> u32 {
        let groups = self.directory.groups_of(user).to_vec();
        if groups.is_empty() || !self.options.virtual_contacts {
            return 0;
        }
        let mut sum = hash(self.options.naming as u8);
        for group in groups {
            sum = sum.wrapping_add(self.group_digest(group));
        }
        for contact in self.spared.of(user) {
            sum = sum.wrapping_add(hash((1u8, self.directory.user_name(contact).as_bytes())));
        }
        number(sum)
    }

    fn group_digest(&mut self, key: GroupKey) -> u64 {
        let stamp = self.stamp();
        if self.digests.stamp != stamp {
            self.digests = Digests { stamp, groups: FxHashMap::default() };
        }
        if let Some(&digest) = self.digests.groups.get(&key) {
            return digest;
        }
        let State { directory, accounts, nicknames, .. } = self;
        let Some(group) = directory.group(key) else { return 0 };
        let label = hash((0u8, group.label()));
        let shown = group.members().filter(|&member| accounts.is_present(member));
        let member = |member| hash((label, directory.user_name(member).as_bytes(), nicknames.published(member)));
        let digest = shown.map(member).fold(label, u64::wrapping_add);
        self.digests.groups.insert(key, digest);
        digest
    }
}
