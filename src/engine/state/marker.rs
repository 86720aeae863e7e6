//! The marker: which work is open, in storage before the work is begun.
//!
//! It is one record under the host's own key, so that no account's purge touches it. Whatever was going on when the
//! server was killed, the marker read at the next start names every group and contact list that may not be as it
//! should.

use std::collections::{BTreeMap, BTreeSet};

use crate::engine::state::filled;
use crate::engine::state::info::Info;
use crate::engine::state::name::Name;
use crate::engine::state::value::Value;

/// The open work of a host, as it is stored.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Marker {
    /// How often the engine has been started on these data. Roster versions are made of it.
    pub generation: u64,
    /// The last start with a lower number ended with work open: versions that were handed out may not be in storage.
    /// Zero for none.
    pub doubtful_before: u64,
    /// Every group is unsettled: the data come from a module that kept no marker.
    pub everything: bool,
    /// Beside that, what bears a group's label in contact lists without provenance was brought by the Lua module.
    pub adopting: bool,
    /// Contacts that groups bring are virtual, and none is left in storage.
    pub virtual_only: bool,
    /// Contacts were virtual once: what users made of them is stored, and goes with them.
    pub was_virtual: bool,
    /// Groups whose members' contact lists are not all in storage yet.
    pub unsettled: BTreeSet<Name>,
    /// Members without an account, as far as is known: nobody has them as a contact until the account appears.
    pub awaiting: BTreeSet<Name>,
    /// Those of them who had an account before, as far as no contact list tells of it.
    pub lost: BTreeSet<Name>,
    /// For each account that is gone, the users whose rosters in storage may still hold it.
    pub withdrawals: BTreeMap<Name, BTreeSet<Name>>,
    /// For each account that is gone, the groups that may still have it as a member.
    pub deletions: BTreeMap<Name, BTreeSet<Name>>,
    /// For each group, the users who have left it and whose parting is open.
    pub partings: BTreeMap<Name, BTreeSet<Name>>,
    /// For each of those groups, the users who were members then and have left since without a parting of their own:
    /// they give up only those who are in `partings`.
    pub stayed: BTreeMap<Name, BTreeSet<Name>>,
    /// Groups in whose rooms affiliations may not be stored as membership says. For each, the users who have left it
    /// and may still have theirs.
    pub rooms: BTreeMap<Name, BTreeSet<Name>>,
    /// Groups whose records an account of the same name takes with it when it is purged.
    pub copies: BTreeMap<Name, Copy>,
}

/// A group's two records, kept while they are in danger.
#[derive(Clone, Debug, PartialEq)]
pub struct Copy {
    /// The record in `group_info`.
    pub info: Info,
    /// The record in `groups`.
    pub members: Vec<(Name, Value)>,
}

/// The form in which the marker is stored. One of another form is not understood.
const FORMAT: i64 = 1;

impl Marker {
    /// Reads a stored marker; nothing if this is not one.
    pub fn from_value(value: &Value) -> Option<Marker> {
        if value.get("format")?.as_integer() != Some(FORMAT) {
            return None;
        }
        let generation = value.get("generation")?.as_integer()?;
        let mut marker = Marker {
            generation: u64::try_from(generation).ok()?,
            doubtful_before: value.get("doubtful_before").and_then(Value::as_integer).map_or(0, |n| n.max(0) as u64),
            everything: value.get("everything") == Some(&Value::Bool(true)),
            adopting: value.get("adopting") == Some(&Value::Bool(true)),
            was_virtual: value.get("was_virtual") == Some(&Value::Bool(true)),
            virtual_only: value.get("virtual") == Some(&Value::Bool(true)),
            unsettled: names(value.get("unsettled")),
            awaiting: names(value.get("awaiting")),
            lost: names(value.get("lost")),
            ..Marker::default()
        };
        marker.withdrawals = sets(value.get("withdrawals"))?;
        marker.deletions = sets(value.get("departures"))?;
        marker.partings = sets(value.get("partings"))?;
        marker.stayed = sets(value.get("stayed"))?;
        marker.rooms = sets(value.get("rooms"))?;
        for (id, copy) in value.get("copies").map_or(&[][..], Value::entries) {
            let info = Info::from_value(copy.get("info")?.clone());
            let member = |(name, data): &(Value, Value)| Some((Name::raw(name.as_bytes()?), data.clone()));
            let members = copy.get("members")?.entries().iter().filter_map(member).collect();
            marker.copies.insert(Name::raw(id.as_bytes()?), Copy { info, members });
        }
        Some(marker)
    }

    /// Whether any work on contact lists is open.
    pub(crate) fn is_open(&self) -> bool {
        let sets = self.unsettled.is_empty() && self.withdrawals.is_empty() && self.partings.is_empty();
        self.everything || !sets
    }

    /// The marker as it is stored.
    pub fn to_value(&self) -> Value {
        let text = |name: &Name| Value::text(name.as_bytes());
        let set = |names: &BTreeSet<Name>| Value::set(names.iter().map(Name::as_bytes));
        let sets = |table: &BTreeMap<Name, BTreeSet<Name>>| {
            Value::table(table.iter().map(|(name, names)| (text(name), set(names))).collect())
        };
        let mut entries = vec![
            (Value::text(b"format"), Value::Integer(FORMAT)),
            (Value::text(b"generation"), Value::Integer(self.generation as i64)),
        ];
        let mut put = |key: &[u8], value: Value| entries.push((Value::text(key), value));
        if self.doubtful_before > 0 {
            put(b"doubtful_before", Value::Integer(self.doubtful_before as i64));
        }
        if self.everything {
            put(b"everything", Value::Bool(true));
        }
        if self.adopting {
            put(b"adopting", Value::Bool(true));
        }
        if self.virtual_only {
            put(b"virtual", Value::Bool(true));
        }
        if self.was_virtual {
            put(b"was_virtual", Value::Bool(true));
        }
        if !self.unsettled.is_empty() {
            put(b"unsettled", set(&self.unsettled));
        }
        if !self.awaiting.is_empty() {
            put(b"awaiting", set(&self.awaiting));
        }
        if !self.lost.is_empty() {
            put(b"lost", set(&self.lost));
        }
        for (key, table) in [
            (&b"withdrawals"[..], &self.withdrawals),
            (b"departures", &self.deletions),
            (b"partings", &self.partings),
            (b"stayed", &self.stayed),
            (b"rooms", &self.rooms),
        ] {
            if !table.is_empty() {
                put(key, sets(table));
            }
        }
        if !self.copies.is_empty() {
            let table = self.copies.iter().map(|(id, copy)| (text(id), copy.to_value()));
            put(b"copies", Value::table(table.collect()));
        }
        Value::table(entries)
    }
}

impl Copy {
    fn to_value(&self) -> Value {
        let members = self.members.iter().map(|(name, data)| (Value::text(name.as_bytes()), data.clone()));
        Value::table(vec![
            (Value::text(b"info"), self.info.to_value()),
            (Value::text(b"members"), Value::table(members.collect())),
        ])
    }
}

fn names(set: Option<&Value>) -> BTreeSet<Name> {
    filled(set.into_iter().flat_map(Value::text_keys).map(Name::raw))
}

fn sets(table: Option<&Value>) -> Option<BTreeMap<Name, BTreeSet<Name>>> {
    let entries = table.map_or(&[][..], Value::entries);
    let mut sets = BTreeMap::new();
    for (name, set) in entries {
        sets.insert(Name::raw(name.as_bytes()?), names(Some(set)));
    }
    Some(sets)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full() -> Marker {
        let name = |s: &str| Name::from(s);
        let copy = Copy { info: Info::named((*b"C").into()), members: vec![(name("ann"), Value::Bool(true))] };
        Marker {
            generation: 7,
            doubtful_before: 3,
            everything: true,
            adopting: true,
            virtual_only: true,
            was_virtual: true,
            unsettled: [name("a"), name("b")].into(),
            awaiting: [name("carl")].into(),
            lost: [name("dora")].into(),
            withdrawals: [(name("gone"), [name("ann")].into())].into(),
            deletions: [(name("gone"), [name("a")].into())].into(),
            partings: [(name("a"), [name("bob")].into())].into(),
            stayed: [(name("a"), [name("ann")].into())].into(),
            rooms: [(name("a"), [name("bob")].into()), (name("b"), BTreeSet::new())].into(),
            copies: [(name("c"), copy)].into(),
        }
    }

    #[test]
    fn a_marker_is_read_as_it_was_written() {
        for marker in [full(), Marker::default()] {
            assert_eq!(Marker::from_value(&marker.to_value()), Some(marker));
        }
    }

    #[test]
    fn a_record_that_is_no_marker_is_not_taken_for_an_empty_one() {
        assert_eq!(Marker::from_value(&Value::empty()), None);
        assert_eq!(Marker::from_value(&Value::Bool(true)), None);
        let later = Value::table(vec![(Value::text(b"format"), Value::Integer(FORMAT + 1))]);
        assert_eq!(Marker::from_value(&later), None);
    }
}
