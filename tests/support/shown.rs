//! Virtual contacts, as the definition at `Plan` has them: laid over the items of a roster, and never stored.

use std::collections::{BTreeMap, BTreeSet};

use groups_internal_native::engine::Name;

use super::roster::{Item, Roster};

/// What a user has made of virtual contacts: a name, and groups.
pub type Edits = BTreeMap<Name, (Option<String>, BTreeSet<String>)>;

/// What is shown of a contact, and what is below it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Laid {
    below: Option<Item>,
    labels: BTreeSet<String>,
    /// The name it is given, unless the user has given it one.
    name: Option<String>,
}

/// A roster in which contacts are shown that storage does not have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shown {
    laid: BTreeMap<Name, Laid>,
    stored_version: Option<u64>,
    digest: u32,
}

impl Shown {
    fn version(&self) -> Option<u64> {
        let stored = self.stored_version;
        if self.digest == 0 {
            return stored;
        }
        Some((u64::from(self.digest) << 19) + (stored.unwrap_or(0) % (1 << 18)) * 2)
    }
}

impl Roster {
    pub fn begin_to_show(&mut self) {
        let stored_version = self.version;
        self.shown.get_or_insert_with(|| Shown { stored_version, ..Shown::default() });
    }

    /// `least`: what is below has changed, and takes a version that was never handed out.
    pub fn set_digest(&mut self, digest: u32, least: Option<u64>) {
        if let Some(shown) = &mut self.shown {
            shown.digest = digest;
            if let Some(least) = least {
                shown.stored_version = Some((shown.stored_version.unwrap_or(0) + 1).max(least));
            }
            self.version = shown.version();
        }
    }

    /// A save: the stored version is counted up. False if nothing is shown.
    pub fn bump_stored(&mut self) -> bool {
        let Some(shown) = &mut self.shown else { return false };
        shown.stored_version = Some(shown.stored_version.unwrap_or(0) + 1);
        self.version = shown.version();
        true
    }

    pub fn stored_version(&self) -> Option<u64> {
        self.shown.as_ref().map_or(self.version, |shown| shown.stored_version)
    }

    /// What storage has of a contact.
    pub fn stored_item(&self, contact: &Name) -> Option<Item> {
        match self.shown.as_ref().and_then(|shown| shown.laid.get(contact)) {
            Some(laid) => laid.below.clone(),
            None => self.items.get(contact).cloned(),
        }
    }

    /// Shows a contact. The first: whether what is shown changed; the second: whether storage must be told.
    pub fn show(
        &mut self,
        contact: &Name,
        labels: &[String],
        given: &BTreeSet<String>,
        name: Option<String>,
    ) -> (bool, bool) {
        let before = self.items.get(contact).cloned();
        let labels = labels.iter().cloned().collect();
        let laid = self.shown.as_ref().and_then(|shown| shown.laid.get(contact)).cloned();
        let (below, stored) = match laid {
            Some(laid) => (laid.below, false),
            None => self.put_below(contact, given),
        };
        self.lay(contact, Laid { below, labels, name });
        (before.as_ref() != self.items.get(contact), stored)
    }

    /// What is in the roster goes below; what a group has brought once is cleared away.
    fn put_below(&mut self, contact: &Name, given: &BTreeSet<String>) -> (Option<Item>, bool) {
        let Some(before) = self.items.get(contact).cloned() else { return (None, false) };
        let note = self.note(contact);
        if note.is_none() && before.groups.is_disjoint(given) {
            return (Some(before), false);
        }
        self.strip(contact, given);
        self.done.insert(contact.clone());
        let named = self.is_named(contact);
        let mut item = self.items[contact].clone();
        match note.filter(|note| !note.brought) {
            Some(note) => {
                item.subscription = note.subscription.unwrap_or("both");
                item.ask = note.ask;
                (Some(item), true)
            }
            None => {
                let name = item.name.filter(|_| named);
                self.set_edit(contact, name, item.groups);
                (None, true)
            }
        }
    }

    fn lay(&mut self, contact: &Name, laid: Laid) {
        let edit = self.edits.as_ref().and_then(|edits| edits.get(contact)).cloned();
        let own = laid.below.as_ref().map(|item| (item.name.clone(), item.groups.clone())).or(edit);
        let (name, groups) = own.unwrap_or_default();
        let groups = groups.union(&laid.labels).cloned().collect();
        let item = Item { name: name.or_else(|| laid.name.clone()), groups, ..Item::new("both") };
        self.items.insert(contact.clone(), item);
        self.shown.get_or_insert_default().laid.insert(contact.clone(), laid);
    }

    fn set_edit(&mut self, contact: &Name, name: Option<String>, groups: BTreeSet<String>) {
        let edits = self.edits.get_or_insert_default();
        if name.is_none() && groups.is_empty() {
            edits.remove(contact);
        } else {
            edits.insert(contact.clone(), (name, groups));
        }
    }

    /// Shows what is below a contact again. False if it was not shown.
    pub fn uncover(&mut self, contact: &Name) -> bool {
        let Some(laid) = self.shown.as_mut().and_then(|shown| shown.laid.remove(contact)) else { return false };
        match laid.below {
            Some(item) => self.items.insert(contact.clone(), item),
            None => self.items.remove(contact),
        };
        true
    }

    /// A client has replaced an item that is shown, or taken it off. False if it was not shown.
    pub fn take_in_edit(&mut self, contact: &Name, before: &Item) -> bool {
        let Some(mut laid) = self.shown.as_mut().and_then(|shown| shown.laid.remove(contact)) else { return false };
        let Some(item) = self.items.get(contact).cloned() else {
            self.set_edit(contact, None, BTreeSet::new());
            return true;
        };
        let edit = self.edits.as_ref().and_then(|edits| edits.get(contact)).cloned();
        let own = laid.below.as_ref().map(|below| below.name.clone()).or(edit.map(|(name, _)| name)).flatten();
        let name = if item.name == before.name { own } else { item.name };
        let groups = item.groups.difference(&laid.labels).cloned().collect();
        match &mut laid.below {
            Some(below) => (below.name, below.groups) = (name, groups),
            None => self.set_edit(contact, name, groups),
        }
        self.lay(contact, laid);
        true
    }

    /// What storage has.
    pub fn without_shown(&self) -> Roster {
        let mut stored = self.clone();
        for contact in self.shown.iter().flat_map(|shown| shown.laid.keys()) {
            stored.uncover(contact);
        }
        stored.version = self.stored_version();
        stored
    }

    /// A contact that was virtual is put into the roster for good. True if it changed by that.
    pub fn take_edits(&mut self, contact: &Name) -> bool {
        let Some((name, groups)) = self.edits.as_mut().and_then(|edits| edits.remove(contact)) else { return false };
        let Some(item) = self.items.get_mut(contact) else { return false };
        let before = item.clone();
        item.name = item.name.take().or(name);
        item.groups.extend(groups);
        before != *item
    }
}
