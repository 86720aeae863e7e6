//! Contact lists as Prosody has them, and the definition at `Plan` carried out literally.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use groups_internal_native::engine::{Changes, Name, Plan};

/// A roster in memory: sessions and the cache may share one, as Lua tables are shared.
pub type Table = Rc<RefCell<Roster>>;

/// What a client sees of a roster.
pub type Items = BTreeMap<Name, Item>;

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
}

/// A roster with its metadata.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Roster {
    pub items: Items,
    pub pending: BTreeSet<Name>,
    pub version: Option<u64>,
    /// Another module makes the roster up at each load: its version is `true`.
    pub virtual_version: bool,
    pub broken: bool,
    /// What it was found settled as of, and the version it had then. Never in storage.
    pub stamp: Option<(u64, Option<u64>)>,
}

impl Roster {
    /// The version that clients are told: an empty roster that was never saved has none, and is served as 1.
    pub fn served_version(&self) -> u64 {
        self.version.unwrap_or(1)
    }

    /// What Prosody does to the version whenever it saves.
    pub fn bump(&mut self) {
        if !self.virtual_version {
            self.version = Some(self.version.unwrap_or(0) + 1);
        }
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Makes one contact what its section says. True if the item changed, and true if presence is seen only from now on.
fn mend(roster: &mut Roster, contact: &Name, labels: &[Box<[u8]>]) -> (bool, bool) {
    let before = roster.items.get(contact).cloned();
    let item = roster.items.entry(contact.clone()).or_insert_with(|| Item::new("none"));
    item.subscription = "both";
    item.ask = false;
    item.groups.extend(labels.iter().map(|label| text(label)));
    let saw = before.as_ref().is_some_and(|item| matches!(item.subscription, "both" | "to"));
    (before.as_ref() != Some(&*item), !saw)
}

/// `Effect::Reconcile`, from what `Plan` says in words.
pub fn reconcile(roster: &mut Roster, owner: &Name, plan: &Plan, online: bool) -> Changes {
    let mut changes = Changes { online, ..Changes::default() };
    let mut number = 0;
    for section in &plan.sections {
        for contact in &section.contacts {
            number += 1;
            if contact == owner {
                continue;
            }
            if !section.verified && !roster.items.contains_key(contact) {
                changes.missing.push(number);
                continue;
            }
            let (changed, gained) = mend(roster, contact, &section.labels);
            changes.changed.extend(changed.then_some(number));
            changes.gained.extend(gained.then_some(number));
            changes.quiet |= roster.pending.remove(contact);
        }
    }
    for contact in &plan.withdrawn {
        number += 1;
        changes.changed.extend(roster.items.remove(contact).map(|_| number));
        changes.quiet |= roster.pending.remove(contact);
    }
    let differs = changes.quiet || !changes.changed.is_empty();
    if differs && !roster.virtual_version {
        let version = (roster.version.unwrap_or(0) + 1).max(plan.version);
        roster.version = Some(version);
        changes.version = version;
    }
    if changes.missing.is_empty() {
        roster.stamp = plan.stamp.map(|stamp| (stamp, roster.version));
    }
    changes
}
