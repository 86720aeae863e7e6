//! A group as storage has it.

use crate::engine::state::name::Name;
use crate::engine::state::value::Value;

/// A record of the store `groups` that was read. It is compact: at a start, all are read before the first is taken in,
/// for indexing them in one go takes half as long as each in its turn, between other work.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StoredMembers {
    /// The names of members for whom the empty table is stored, each followed by NUL.
    plain: Box<[u8]>,
    others: Vec<(Name, Value)>,
}

impl StoredMembers {
    /// `plain`: the names of members for whom the empty table is stored, each followed by NUL. `others`: the rest.
    pub fn new(plain: Box<[u8]>, others: Vec<(Name, Value)>) -> StoredMembers {
        StoredMembers { plain, others }
    }

    /// The members with what is stored for each.
    pub fn iter(&self) -> impl Iterator<Item = (Name, Value)> {
        let plain = self.plain.split_inclusive(|&byte| byte == 0);
        plain.map(|name| (Name::raw(&name[..name.len() - 1]), Value::empty())).chain(self.others.iter().cloned())
    }
}
