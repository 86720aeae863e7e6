//! Contact lists as Prosody keeps them, and what the shim does to them. Nothing is decided here.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use groups_internal_native::engine::{
    Change, Comparison, Cover, Fact, Fate, Item as Facts, ItemStep, Labels, Name, Naming, OwnEdit, Plan, Rename,
    Subscription, Text, Tie, Version,
};

/// A roster in memory: sessions and the cache may share one, as Lua tables are shared.
pub type Table = Rc<RefCell<Roster>>;

/// What a client sees of a roster.
pub type Items = BTreeMap<Name, Item>;

/// What a user has made of virtual contacts.
pub type Edits = BTreeMap<Name, OwnEdit>;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    pub subscription: &'static str,
    pub ask: bool,
    pub name: Option<String>,
    pub groups: BTreeSet<String>,
}

impl Item {
    pub fn new(subscription: &'static str) -> Item {
        Item { subscription, ask: false, name: None, groups: BTreeSet::new() }
    }

    pub fn labelled(mut self, label: &str) -> Item {
        self.groups.insert(label.to_owned());
        self
    }

    pub fn called(mut self, name: &str) -> Item {
        self.name = Some(name.to_owned());
        self
    }

    pub fn facts(&self) -> Facts {
        let subscription = Subscription::parse(self.subscription.as_bytes());
        Facts { subscription, ask: self.ask, name: self.name.clone(), groups: self.groups.clone() }
    }
}

/// What is shown instead of stored items.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overlay {
    /// For each virtual contact, the labels that bring it, and the stored item below.
    pub covers: BTreeMap<Name, (Labels, Option<Item>)>,
    stored_version: Option<u64>,
    digest: u32,
}

/// A roster with its metadata.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Roster {
    pub items: Items,
    pub pending: BTreeSet<Name>,
    pub version: Option<u64>,
    pub provenance: Option<String>,
    /// The version stands for changes that are not all in storage.
    pub unsaved: bool,
    /// Another module makes the roster up at each load: its version is `true`.
    pub virtual_version: bool,
    pub broken: bool,
    /// What it was found settled as of, and the version it had then. Never in storage, like what follows.
    pub stamp: Option<(u64, Option<u64>)>,
    /// It was changed since it was read from storage.
    pub changed: bool,
    pub overlay: Option<Overlay>,
    pub edits: Option<Edits>,
}

impl Roster {
    /// The version that clients are told: an empty roster that was never saved has none, and is served as 1.
    pub fn served_version(&self) -> u64 {
        self.version.unwrap_or(1)
    }

    /// What Prosody does to the version whenever it saves.
    pub fn bump(&mut self) {
        if self.virtual_version {
            return;
        }
        let raised = Some(self.counted(self.stored_version()).raised().number());
        match &mut self.overlay {
            Some(overlay) => overlay.stored_version = raised,
            None => self.version = raised,
        }
        self.show(self.digest());
    }

    /// A version as the engine is told of it.
    pub fn counted(&self, version: Option<u64>) -> Version {
        if self.virtual_version { Version::Fixed } else { version.map_or(Version::Unset, Version::Number) }
    }

    /// The number for what groups bring.
    pub fn digest(&self) -> u32 {
        self.overlay.as_ref().map_or(0, |overlay| overlay.digest)
    }

    /// Shows the version of what groups bring, if anything is shown.
    pub fn show(&mut self, digest: u32) {
        if let Some(overlay) = self.overlay.as_mut().filter(|_| !self.virtual_version) {
            overlay.digest = digest;
            let shown = overlay.stored_version.map_or(Version::Unset, Version::Number).shown(digest);
            self.version = (shown != Version::Unset).then(|| shown.number());
        }
    }

    pub fn stored_version(&self) -> Option<u64> {
        self.overlay.as_ref().map_or(self.version, |overlay| overlay.stored_version)
    }

    fn is_covered(&self, contact: &Name) -> bool {
        self.overlay.as_ref().is_some_and(|overlay| overlay.covers.contains_key(contact))
    }

    pub fn stored_item(&self, contact: &Name) -> Option<Item> {
        match self.overlay.as_ref().and_then(|overlay| overlay.covers.get(contact)) {
            Some((_, below)) => below.clone(),
            None => self.items.get(contact).cloned(),
        }
    }

    /// As storage has it.
    pub fn stored(&self) -> Roster {
        let contacts: BTreeSet<_> =
            self.items.keys().chain(self.overlay.iter().flat_map(|o| o.covers.keys())).cloned().collect();
        let items = contacts.into_iter().filter_map(|contact| Some((contact.clone(), self.stored_item(&contact)?)));
        Roster {
            items: items.collect(),
            version: self.stored_version(),
            stamp: None,
            changed: false,
            overlay: None,
            edits: None,
            ..self.clone()
        }
    }

    /// What the roster was changed in memory beside what was read goes: the module is unloaded.
    pub fn leave(&mut self) {
        if self.overlay.is_some() {
            *self = Roster { changed: self.changed, ..self.stored() };
        }
    }

    /// `Effect::Compare`. `everything`: contacts that have the usual form are told of as well.
    pub fn compare(&mut self, owner: &Name, plan: &Plan, everything: bool, online: bool) -> Comparison {
        let mut found = Comparison {
            provenance: self.provenance.as_ref().map(|text| Text(text.as_bytes().into())),
            version: self.counted(self.stored_version()),
            unsaved: self.unsaved,
            fresh: !self.changed,
            online,
            ..Comparison::default()
        };
        let mut number = 0;
        for section in &plan.sections {
            let labels: Labels = section.groups.iter().map(|(_, label)| label.clone()).collect();
            for at in 0..section.contacts {
                number += 1;
                let contact = &plan.contacts[number as usize - 1];
                let name = match plan.naming {
                    Naming::Username => Some(contact.to_string()),
                    _ => section.names.get(at).cloned().flatten(),
                };
                let fact = self.fact(number, contact);
                let usual = fact.is_usual(plan, section, &labels, name.as_deref());
                if contact == owner || usual && !everything {
                    continue;
                }
                if fact != (Fact { number, ..Fact::default() }) {
                    found.facts.push(fact);
                } else if section.tie == Tie::Bring {
                    found.absent.push(number);
                }
            }
        }
        if let Some(overlay) = self.overlay.as_ref().filter(|_| plan.uncovers()) {
            let uncovered = overlay.covers.keys().filter(|contact| !plan.contacts.contains(contact));
            found.uncovered = uncovered.map(|contact| (contact.clone(), self.fact(0, contact))).collect();
            *self = Roster { changed: self.changed, edits: self.edits.take(), ..self.stored() };
        }
        found
    }

    fn fact(&self, number: u32, contact: &Name) -> Fact {
        let covered = self.is_covered(contact);
        Fact {
            number,
            item: self.items.get(contact).map(Item::facts),
            covered,
            below: self.stored_item(contact).filter(|_| covered).map(|item| item.facts()),
            edit: self.edits.as_ref().and_then(|edits| edits.get(contact)).cloned(),
            pending: self.pending.contains(contact),
        }
    }

    /// `Effect::FindBearers`.
    pub fn find_bearers(&self, labels: &Labels) -> Vec<(String, Facts)> {
        let bears = |item: &Item| !item.groups.is_disjoint(labels);
        let bearers = self.items.iter().filter(|(_, item)| bears(item));
        bearers.map(|(contact, item)| (contact.to_string(), item.facts())).collect()
    }

    /// `Effect::Change`.
    pub fn change(&mut self, plan: &Plan, change: &Change) {
        if plan.virtual_contacts && self.overlay.is_none() {
            self.overlay = Some(Overlay { stored_version: self.version, ..Overlay::default() });
        }
        for edit in &change.edits {
            for (at, &number) in edit.contacts.iter().enumerate() {
                let name = edit.names.get(at).cloned().flatten();
                self.take_step(&plan.contacts[number as usize - 1], &edit.step, name);
            }
        }
        for &number in &change.answered {
            self.pending.remove(&plan.contacts[number as usize - 1]);
        }
        if let Some(provenance) = &change.provenance {
            self.provenance.clone_from(provenance);
        }
        if let Some(overlay) = &mut self.overlay {
            overlay.stored_version = change.version.or(overlay.stored_version);
            let digest = change.digest.unwrap_or(overlay.digest);
            self.show(digest);
        } else {
            self.version = change.version.or(self.version);
        }
        self.unsaved |= change.unsaved;
        self.changed |= change.unsaved;
        self.stamp = change.stamp.map(|stamp| (stamp, self.version)).or(self.stamp);
    }

    pub fn take_step(&mut self, contact: &Name, step: &ItemStep, name: Option<String>) {
        let mut stored = self.stored_item(contact);
        match &step.fate {
            Fate::Keep => {}
            Fate::Remove => stored = None,
            Fate::Alter { subscription, ask, name: rename, add, drop } => {
                let item = stored.get_or_insert(Item::new("none"));
                item.subscription = subscription.map_or(item.subscription, Subscription::as_str);
                item.ask = ask.unwrap_or(item.ask);
                match rename {
                    Rename::Keep => {}
                    Rename::Clear => item.name = None,
                    Rename::Give => item.name.clone_from(&name),
                }
                item.groups.retain(|group| !drop.contains(group));
                item.groups.extend(add.iter().cloned());
            }
        }
        let covers = self.overlay.as_mut().map(|overlay| &mut overlay.covers);
        match (&step.cover, covers) {
            (&Cover::Show { ref labels, ref groups, subscription, ask }, covers) => {
                let covers = covers.expect("something is shown in virtual rosters only");
                covers.insert(contact.clone(), (labels.clone(), stored));
                let shown = Item { subscription: subscription.as_str(), ask, name, groups: groups.clone() };
                self.items.insert(contact.clone(), shown);
            }
            (Cover::Keep, Some(covers)) if covers.contains_key(contact) => {
                covers.entry(contact.clone()).and_modify(|cover| cover.1 = stored);
            }
            (_, covers) => {
                covers.map(|covers| covers.remove(contact));
                match stored {
                    Some(item) => drop(self.items.insert(contact.clone(), item)),
                    None => drop(self.items.remove(contact)),
                }
            }
        }
        if let (Some(edit), Some(edits)) = (&step.edit, &mut self.edits) {
            match edit {
                Some(edit) => drop(edits.insert(contact.clone(), edit.clone())),
                None => drop(edits.remove(contact)),
            }
        }
    }
}
