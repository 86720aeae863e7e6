//! Contact lists as Prosody has them, and the definition at `Plan` carried out literally.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use super::shown::{Edits, Shown};
use groups_internal_native::engine::{Changes, Name, Naming, Plan, Section};

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

/// An exception from the rule that an item with a label of its groups was brought by them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Note {
    pub brought: bool,
    /// What an own item had, if it was not `both`.
    pub subscription: Option<&'static str>,
    pub ask: bool,
    /// Labels that the user chose.
    pub labels: BTreeSet<String>,
}

/// What is known of what groups have brought.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Provenance {
    /// For each group, the labels given for it, the newest first.
    pub labels: BTreeMap<Name, Vec<String>>,
    pub notes: BTreeMap<Name, Note>,
    pub names: BTreeMap<Name, String>,
    pub usernames: bool,
}

/// What of a provenance is forgotten once the roster is in storage.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settling {
    labels: BTreeMap<Name, String>,
    forgotten: BTreeSet<Name>,
    everything: bool,
}

/// A roster with its metadata.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Roster {
    pub items: Items,
    pub pending: BTreeSet<Name>,
    pub version: Option<u64>,
    pub provenance: Option<Provenance>,
    /// Another module makes the roster up at each load: its version is `true`.
    pub virtual_version: bool,
    pub broken: bool,
    /// What it was found settled as of, and the version it had then. Never in storage, like what follows.
    pub stamp: Option<(u64, Option<u64>)>,
    pub dirty: bool,
    pub settling: Option<Settling>,
    /// Contacts that were given up, whose notes are dropped with the save that has them so.
    pub done: BTreeSet<Name>,
    pub shown: Option<Shown>,
    /// What the user has made of virtual contacts, once it has been read.
    pub edits: Option<Edits>,
}

impl Roster {
    /// The version that clients are told: an empty roster that was never saved has none, and is served as 1.
    pub fn served_version(&self) -> u64 {
        self.version.unwrap_or(1)
    }

    /// What Prosody does to the version whenever it saves.
    pub fn bump(&mut self) {
        if !self.bump_stored() && !self.virtual_version {
            self.version = Some(self.version.unwrap_or(0) + 1);
        }
    }

    /// As storage has it.
    pub fn stored(&self) -> Roster {
        let stored = self.without_shown();
        Roster { stamp: None, dirty: false, settling: None, done: BTreeSet::new(), shown: None, edits: None, ..stored }
    }

    /// Our save is about to have contacts in storage as they were given up.
    pub fn drop_notes(&mut self) {
        let given = self.given(None);
        let Some(provenance) = &mut self.provenance else { return };
        for contact in std::mem::take(&mut self.done) {
            provenance.names.remove(&contact);
            let choice = provenance.notes.remove(&contact).map(|note| note.labels).unwrap_or_default();
            if !choice.is_disjoint(&given) {
                provenance.notes.insert(contact, Note { labels: choice, ..Note::default() });
            }
        }
    }

    /// Our save was successful.
    pub fn forget(&mut self) {
        self.dirty = false;
        let settling = self.settling.take().unwrap_or_default();
        if settling.everything {
            self.provenance = None;
        }
        let borne: BTreeSet<_> = self.items.values().flat_map(|item| item.groups.clone()).collect();
        let Some(provenance) = &mut self.provenance else { return };
        for (id, given) in &mut provenance.labels {
            let newest = settling.labels.get(id).filter(|label| given.first() == Some(label));
            if newest.is_some() || settling.forgotten.contains(id) {
                given.retain(|label| newest == Some(label) || borne.contains(label));
            }
        }
        provenance.labels.retain(|_, given| !given.is_empty());
    }

    /// A client is about to replace an item, or to add it.
    pub fn note_edit(&mut self, contact: &Name, groups: &BTreeSet<String>) {
        let given = self.given(None);
        let before = self.items.get(contact).cloned();
        let Some(provenance) = &mut self.provenance else { return };
        if before.is_none() {
            provenance.notes.remove(contact);
        }
        if let Some(note) = provenance.notes.get_mut(contact) {
            note.labels.retain(|label| groups.contains(label));
        }
        let bore = before.as_ref().is_some_and(|item| bears(item, &given));
        if bore && groups.is_disjoint(&given) && !provenance.notes.contains_key(contact) {
            provenance.notes.insert(contact.clone(), Note { brought: true, ..Note::default() });
        }
        for label in groups.intersection(&given) {
            if !before.as_ref().is_some_and(|item| item.groups.contains(label)) {
                provenance.note_choice(contact, before.as_ref(), label, &given);
            }
        }
    }

    /// The labels that were given for these groups, or for all.
    fn given(&self, ids: Option<&[&Name]>) -> BTreeSet<String> {
        let labels = self.provenance.iter().flat_map(|provenance| &provenance.labels);
        let wanted = labels.filter(|(id, _)| ids.is_none_or(|ids| ids.contains(id)));
        wanted.flat_map(|(_, given)| given.clone()).collect()
    }

    /// Contacts that groups have brought, or have brought the user to.
    pub fn brought(&self) -> Vec<Name> {
        let given = self.given(None);
        let Some(provenance) = &self.provenance else { return Vec::new() };
        let brought = |contact, item| provenance.notes.contains_key(contact) || bears(item, &given);
        let items = self.items.iter().filter(|&(contact, item)| brought(contact, item));
        items.map(|(contact, _)| contact.clone()).collect()
    }

    /// Notes the label of a group. True if that must be stored though it may change no item: it is another group's, too.
    fn give_label(&mut self, id: &Name, label: &str, adopts: bool) -> bool {
        if let Some(settling) = &mut self.settling {
            settling.forgotten.remove(id);
        }
        let given = self.given(None);
        let provenance = self.provenance.get_or_insert_default();
        if provenance.labels.get(id).and_then(|given| given.first()).is_some_and(|newest| newest == label) {
            return false;
        }
        if !adopts && !given.contains(label) {
            for (contact, item) in self.items.iter().filter(|(_, item)| item.groups.contains(label)) {
                provenance.note_choice(contact, Some(item), label, &given);
            }
        }
        let all = provenance.labels.entry(id.clone()).or_default();
        all.retain(|earlier| earlier != label);
        all.insert(0, label.to_owned());
        given.contains(label)
    }

    pub fn note(&self, contact: &Name) -> Option<Note> {
        self.provenance.as_ref().and_then(|provenance| provenance.notes.get(contact)).cloned()
    }

    pub fn is_named(&self, contact: &Name) -> bool {
        let Some(name) = self.items.get(contact).and_then(|item| item.name.as_ref()) else { return false };
        let given = self.provenance.as_ref().is_some_and(|provenance| {
            provenance.names.get(contact) == Some(name) || provenance.usernames && *name == contact.to_string()
        });
        !given
    }

    /// Gives a contact a name. True if its item changed.
    fn give_name(&mut self, contact: &Name, name: &str) -> bool {
        if self.is_named(contact) {
            return false;
        }
        let Some(item) = self.items.get_mut(contact) else { return false };
        let changed = item.name.as_deref() != Some(name);
        item.name = Some(name.to_owned());
        let provenance = self.provenance.get_or_insert_default();
        if name == contact.to_string() {
            provenance.usernames |= changed;
        } else if changed {
            provenance.names.insert(contact.clone(), name.to_owned());
        }
        changed
    }

    /// Takes labels off an item, but for those that the user chose. True if other groups are left.
    pub fn strip(&mut self, contact: &Name, given: &BTreeSet<String>) -> bool {
        let chosen = self
            .provenance
            .as_ref()
            .and_then(|p| p.notes.get(contact))
            .map(|note| note.labels.clone())
            .unwrap_or_default();
        let Some(item) = self.items.get_mut(contact) else { return false };
        item.groups.retain(|label| !given.contains(label) || chosen.contains(label));
        !item.groups.is_empty()
    }

    fn bring(&mut self, contact: &Name, labels: &[String], given: &BTreeSet<String>, old: &BTreeSet<String>) -> bool {
        let before = self.items.get(contact).cloned();
        self.done.remove(contact);
        let provenance = self.provenance.get_or_insert_default();
        let Some(item) = &before else {
            provenance.notes.remove(contact);
            let item = Item { groups: labels.iter().cloned().collect(), ..Item::new("both") };
            self.items.insert(contact.clone(), item);
            return true;
        };
        let prior = (item.subscription != "both").then_some(item.subscription);
        match provenance.notes.get(contact) {
            None if !bears(item, given) => {
                let note = Note { subscription: prior, ask: item.ask, ..Note::default() };
                provenance.notes.insert(contact.clone(), note);
            }
            Some(note) if !note.brought && (prior.is_some() || item.ask) => {
                let note = Note { subscription: prior, ask: item.ask, ..note.clone() };
                provenance.notes.insert(contact.clone(), note);
            }
            _ => {}
        }
        self.strip(contact, old);
        let item = self.items.get_mut(contact).expect("it is there");
        item.subscription = "both";
        item.ask = false;
        item.groups.extend(labels.iter().cloned());
        before.as_ref() != self.items.get(contact)
    }

    fn give_up(&mut self, contact: &Name, given: &BTreeSet<String>) -> bool {
        let Some(before) = self.items.get(contact).cloned() else { return false };
        let note = self.provenance.as_ref().and_then(|provenance| provenance.notes.get(contact)).cloned();
        if note.is_none() && !bears(&before, given) {
            return false;
        }
        let brought = note.as_ref().is_none_or(|note| note.brought);
        let others = self.strip(contact, given);
        let named = self.is_named(contact);
        let note = note.unwrap_or_default();
        self.done.insert(contact.clone());
        if brought && !others && !named {
            self.items.remove(contact);
            return true;
        }
        let item = self.items.get_mut(contact).expect("it is there");
        if brought {
            let own = Note { subscription: Some("none"), labels: note.labels, ..Note::default() };
            self.provenance.get_or_insert_default().notes.insert(contact.clone(), own);
            item.subscription = "none";
            item.ask = false;
        } else if item.subscription == "both" && !item.ask {
            item.subscription = note.subscription.unwrap_or("both");
            item.ask = note.ask;
        }
        Some(&before) != self.items.get(contact)
    }

    fn withdraw(&mut self, contact: &Name, given: &BTreeSet<String>) -> bool {
        let Some(before) = self.items.get(contact).cloned() else { return false };
        let known = self.provenance.is_some();
        let note = self.provenance.as_ref().and_then(|provenance| provenance.notes.get(contact)).cloned();
        let own = known && note.as_ref().map_or_else(|| !bears(&before, given), |note| !note.brought);
        let others = self.strip(contact, given);
        self.done.insert(contact.clone());
        if own || self.is_named(contact) || known && others {
            let item = self.items.get_mut(contact).expect("it is there");
            item.subscription = "none";
            item.ask = false;
        } else {
            self.items.remove(contact);
        }
        Some(&before) != self.items.get(contact)
    }
}

impl Provenance {
    fn note_choice(&mut self, contact: &Name, item: Option<&Item>, label: &str, given: &BTreeSet<String>) {
        let fresh = Note { brought: item.is_some_and(|item| bears(item, given)), ..Note::default() };
        let mut note = self.notes.get(contact).cloned().unwrap_or(fresh);
        note.labels.insert(label.to_owned());
        self.notes.insert(contact.clone(), note);
    }
}

fn bears(item: &Item, given: &BTreeSet<String>) -> bool {
    !item.groups.is_disjoint(given)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn sees(item: Option<&Item>) -> bool {
    item.is_some_and(|item| matches!(item.subscription, "both" | "to"))
}

/// `Effect::Reconcile`, from what `Plan` says in words.
pub fn reconcile(roster: &mut Roster, owner: &Name, plan: &Plan, online: bool) -> Changes {
    let mut changes = Changes { online, ..Changes::default() };
    let known = roster.provenance.is_some();
    let adopts = plan.adopt && !known;
    let ids =
        |section: &Section| section.groups.iter().map(|(id, _)| id).chain(&section.left).cloned().collect::<Vec<_>>();
    let given: Vec<_> = plan.sections.iter().map(|s| roster.given(Some(&ids(s).iter().collect::<Vec<_>>()))).collect();
    let (mut number, mut stores) = (0, false);
    if plan.virtual_contacts {
        roster.begin_to_show();
    }
    for (section, mut given) in plan.sections.iter().zip(given) {
        let labels: Vec<_> = section.groups.iter().map(|(_, label)| text(label)).collect();
        if adopts {
            given.extend(labels.iter().cloned().chain(section.left_labels.iter().map(|label| text(label))));
        }
        let old = given.iter().filter(|label| !labels.contains(label)).cloned().collect();
        for ((id, _), label) in section.groups.iter().zip(&labels).filter(|_| !plan.virtual_contacts) {
            changes.quiet |= roster.give_label(id, label, adopts) && known;
        }
        for (at, contact) in section.contacts.iter().enumerate() {
            number += 1;
            let before = roster.items.get(contact).cloned();
            if section.groups.is_empty() {
                if roster.uncover(contact) {
                    changes.changed.extend((before.as_ref() != roster.items.get(contact)).then_some(number));
                } else if roster.give_up(contact, &given) {
                    changes.changed.push(number);
                    stores = true;
                }
                changes.lost.extend((sees(before.as_ref()) && !sees(roster.items.get(contact))).then_some(number));
                continue;
            }
            if contact == owner {
                continue;
            }
            if !section.verified && before.is_none() {
                changes.missing.push(number);
                continue;
            }
            let name = match plan.naming {
                Naming::None => None,
                Naming::Username => Some(contact.to_string()),
                Naming::Nickname => section.names[at].as_ref().map(|name| text(&name.0)),
            };
            let nameless = plan.naming == Naming::Nickname && name.is_none();
            let changed = if plan.virtual_contacts {
                let (changed, stored) = roster.show(contact, &labels, &given, name);
                stores |= stored;
                changed
            } else {
                let changed = roster.bring(contact, &labels, &given, &old) | roster.take_edits(contact);
                changed | name.is_some_and(|name| roster.give_name(contact, &name))
            };
            changes.unnamed.extend((nameless && roster.items[contact].name.is_none()).then_some(number));
            changes.changed.extend(changed.then_some(number));
            changes.gained.extend((!sees(before.as_ref())).then_some(number));
            changes.quiet |= roster.pending.remove(contact);
        }
    }
    let given = roster.given(None);
    for contact in &plan.withdrawn {
        number += 1;
        let uncovered = roster.uncover(contact);
        let withdrawn = roster.withdraw(contact, &given);
        stores |= withdrawn;
        changes.changed.extend((uncovered || withdrawn).then_some(number));
        changes.quiet |= roster.pending.remove(contact);
    }
    changes.quiet |= adopts && roster.provenance.is_some();
    changes.quiet |= plan.virtual_contacts && stores;
    let differs = changes.quiet || !plan.virtual_contacts && !changes.changed.is_empty();
    changes.shown_only = !differs;
    roster.dirty |= differs;
    if plan.virtual_contacts {
        roster.set_digest(plan.digest, differs.then_some(plan.version));
    } else if differs && !roster.virtual_version {
        let version = (roster.version.unwrap_or(0) + 1).max(plan.version);
        roster.version = Some(version);
        changes.version = version;
    }
    if roster.provenance.is_some() && (plan.whole || !plan.forgotten.is_empty()) {
        let groups = plan.sections.iter().filter(|_| plan.whole).flat_map(|section| &section.groups);
        let labels = groups.map(|(id, label)| (id.clone(), text(label))).collect();
        let everything = plan.whole && plan.virtual_contacts;
        roster.settling = Some(Settling { labels, forgotten: plan.forgotten.iter().cloned().collect(), everything });
        if !roster.dirty {
            roster.forget();
        }
    }
    if changes.missing.is_empty() && changes.unnamed.is_empty() {
        roster.stamp = plan.stamp.map(|stamp| (stamp, roster.version));
    }
    changes
}
