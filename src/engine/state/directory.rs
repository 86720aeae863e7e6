//! Who is in which group: the state, with both directions indexed and every name stored once.

use std::collections::{BTreeMap, HashMap};

use indexmap::{IndexMap, IndexSet};
use smallvec::SmallVec;

use crate::engine::state::info::Info;
use crate::engine::state::name::{Name, label};
use crate::engine::state::value::Value;

/// A group, for as long as it exists. Never used again for another one, so that a key kept across a wait can go stale
/// but cannot mislead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct GroupKey(u32);

/// A user that is or was in a group, for as long as the engine lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct UserKey(u32);

/// The distinct values that are stored for members; nearly always the empty table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct DataKey(u32);

/// The empty table. It is in no set: a million of them need not be looked up.
const EMPTY: DataKey = DataKey(u32::MAX);

/// One group in memory.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) id: Name,
    pub(crate) info: Info,
    /// Sorted by user.
    members: Vec<(UserKey, DataKey)>,
}

impl Group {
    /// The label on contacts that the group makes.
    pub(crate) fn label(&self) -> String {
        label(&self.info.name, self.id.as_bytes())
    }

    pub(crate) fn members(&self) -> impl ExactSizeIterator<Item = UserKey> {
        self.members.iter().map(|&(user, _)| user)
    }

    fn position(&self, user: UserKey) -> Result<usize, usize> {
        self.members.binary_search_by_key(&user, |&(member, _)| member)
    }
}

/// The groups a user is in, sorted; most are in a few.
type Memberships = SmallVec<[GroupKey; 4]>;

/// All groups and members of a host. Iteration is in the order in which things were first seen, so it is deterministic.
#[derive(Debug, Default)]
pub(crate) struct Directory {
    groups: BTreeMap<GroupKey, Group>,
    by_id: HashMap<Name, GroupKey>,
    next_group: u32,
    users: IndexMap<Name, Memberships>,
    data: IndexSet<Value>,
    changes: u64,
}

impl Directory {
    /// A number that grows with every change.
    pub(crate) fn changes(&self) -> u64 {
        self.changes
    }

    pub(crate) fn find(&self, id: &Name) -> Option<(GroupKey, &Group)> {
        let key = *self.by_id.get(id)?;
        Some((key, self.groups.get(&key)?))
    }

    /// What a group is called; its id if there is no such group any more.
    pub(crate) fn label(&self, id: &Name) -> String {
        self.find(id).map_or_else(|| id.to_string(), |(_, group)| group.label())
    }

    pub(crate) fn group(&self, key: GroupKey) -> Option<&Group> {
        self.groups.get(&key)
    }

    pub(crate) fn groups(&self) -> impl ExactSizeIterator<Item = (GroupKey, &Group)> {
        self.groups.iter().map(|(&key, group)| (key, group))
    }

    /// Takes a new group in, replacing one of the same id.
    pub(crate) fn insert(&mut self, id: Name, info: Info) -> GroupKey {
        self.remove(&id);
        self.changes += 1;
        let key = GroupKey(self.next_group);
        self.next_group += 1;
        self.by_id.insert(id.clone(), key);
        self.groups.insert(key, Group { id, info, members: Vec::new() });
        key
    }

    pub(crate) fn remove(&mut self, id: &Name) {
        let Some(key) = self.by_id.remove(id) else {
            return;
        };
        let Some(group) = self.groups.remove(&key) else {
            return;
        };
        self.changes += 1;
        for user in group.members() {
            if let Some((_, memberships)) = self.users.get_index_mut(user.0 as usize) {
                memberships.retain(|&mut g| g != key);
            }
        }
    }

    pub(crate) fn set_info(&mut self, key: GroupKey, info: Info) {
        self.changes += 1;
        if let Some(group) = self.groups.get_mut(&key) {
            group.info = info;
        }
    }

    /// The user of this name, made known if it was not.
    pub(crate) fn intern(&mut self, name: &Name) -> UserKey {
        self.intern_owned(name.clone())
    }

    fn intern_owned(&mut self, name: Name) -> UserKey {
        let entry = self.users.entry(name);
        let user = UserKey(entry.index() as u32);
        entry.or_default();
        user
    }

    pub(crate) fn find_user(&self, name: &Name) -> Option<UserKey> {
        self.users.get_index_of(name).map(|index| UserKey(index as u32))
    }

    pub(crate) fn user_name(&self, user: UserKey) -> Name {
        match self.users.get_index(user.0 as usize) {
            Some((name, _)) => name.clone(),
            None => Name::raw(b""),
        }
    }

    pub(crate) fn names(&self, users: &[UserKey]) -> Vec<Name> {
        users.iter().map(|&user| self.user_name(user)).collect()
    }

    /// All who are in a group.
    pub(crate) fn members(&self) -> impl Iterator<Item = UserKey> {
        let in_groups = self.users.values().enumerate().filter(|(_, memberships)| !memberships.is_empty());
        in_groups.map(|(index, _)| UserKey(index as u32))
    }

    /// The groups of a user.
    pub(crate) fn groups_of(&self, user: UserKey) -> &[GroupKey] {
        self.users.get_index(user.0 as usize).map_or(&[], |(_, memberships)| memberships)
    }

    pub(crate) fn is_member(&self, key: GroupKey, user: UserKey) -> bool {
        self.groups.get(&key).is_some_and(|group| group.position(user).is_ok())
    }

    pub(crate) fn share_a_group(&self, one: UserKey, other: UserKey) -> bool {
        self.groups_of(one).iter().any(|&group| self.is_member(group, other))
    }

    pub(crate) fn add_member(&mut self, key: GroupKey, user: UserKey, data: Value) {
        self.changes += 1;
        let data = self.intern_data(data);
        let Some(group) = self.groups.get_mut(&key) else {
            return;
        };
        match group.position(user) {
            Ok(at) => group.members[at].1 = data,
            Err(at) => group.members.insert(at, (user, data)),
        }
        if let Some((_, memberships)) = self.users.get_index_mut(user.0 as usize)
            && let Err(at) = memberships.binary_search(&key)
        {
            memberships.insert(at, key);
        }
    }

    pub(crate) fn remove_member(&mut self, key: GroupKey, user: UserKey) {
        self.changes += 1;
        if let Some(group) = self.groups.get_mut(&key)
            && let Ok(at) = group.position(user)
        {
            group.members.remove(at);
        }
        if let Some((_, memberships)) = self.users.get_index_mut(user.0 as usize) {
            memberships.retain(|&mut g| g != key);
        }
    }

    fn intern_data(&mut self, data: Value) -> DataKey {
        if data.entries().is_empty() && matches!(data, Value::Table(_)) {
            return EMPTY;
        }
        DataKey(self.data.insert_full(data).0 as u32)
    }

    /// The members of a group as they are stored.
    pub(crate) fn record(&self, key: GroupKey) -> Vec<(Name, Value)> {
        let Some(group) = self.groups.get(&key) else {
            return Vec::new();
        };
        let data = |data: DataKey| self.data.get_index(data.0 as usize).cloned().unwrap_or_else(Value::empty);
        group.members.iter().map(|&(user, d)| (self.user_name(user), data(d))).collect()
    }

    /// Takes the stored members of a group in, in any order, in place of those it had.
    pub(crate) fn load_members(&mut self, key: GroupKey, members: impl IntoIterator<Item = (Name, Value)>) {
        self.changes += 1;
        let before = self.groups.get_mut(&key).map(|group| std::mem::take(&mut group.members));
        for (user, _) in before.into_iter().flatten() {
            if let Some((_, memberships)) = self.users.get_index_mut(user.0 as usize) {
                memberships.retain(|&mut g| g != key);
            }
        }
        let mut loaded: Vec<_> =
            members.into_iter().map(|(name, data)| (self.intern_owned(name), self.intern_data(data))).collect();
        for &(user, _) in &loaded {
            if let Some((_, memberships)) = self.users.get_index_mut(user.0 as usize)
                && let Err(at) = memberships.binary_search(&key)
            {
                memberships.insert(at, key);
            }
        }
        loaded.sort_unstable_by_key(|&(user, _)| user);
        if let Some(group) = self.groups.get_mut(&key) {
            group.members = loaded;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_directions_agree_after_every_change() {
        let mut directory = Directory::default();
        let a = directory.insert(Name::from("a"), Info::named((*b"A").into()));
        let b = directory.insert(Name::from("b"), Info::named((*b"B").into()));
        let ann = directory.intern(&Name::from("ann"));
        let bob = directory.intern(&Name::from("bob"));
        for (group, user) in [(a, ann), (a, bob), (b, bob), (b, bob)] {
            directory.add_member(group, user, Value::empty());
        }
        assert_eq!(directory.groups_of(bob), [a, b]);
        assert_eq!(directory.group(b).map(|g| g.members().len()), Some(1));
        directory.remove_member(a, bob);
        assert_eq!(directory.groups_of(bob), [b]);
        directory.remove(&Name::from("b"));
        assert_eq!(directory.groups_of(bob), []);
        assert_eq!(directory.groups_of(ann), [a]);
        assert_eq!(directory.intern(&Name::from("ann")), ann);
        assert_eq!(directory.groups_of(ann), [a], "looking a user up again forgets nothing");
    }

    #[test]
    fn what_is_stored_for_a_member_is_kept() {
        let mut directory = Directory::default();
        let key = directory.insert(Name::from("a"), Info::default());
        for (name, data) in [("ann", Value::Bool(true)), ("bob", Value::empty())] {
            let user = directory.intern(&Name::from(name));
            directory.add_member(key, user, data);
        }
        assert_eq!(
            directory.record(key),
            [(Name::from("ann"), Value::Bool(true)), (Name::from("bob"), Value::empty())]
        );
    }
}
