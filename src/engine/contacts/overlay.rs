//! Virtual contacts: laid over the items of a roster in memory, and never stored.
//!
//! What clients are shown of a contact that groups bring is an item with subscription `both`, the labels of the groups,
//! and the name and the roster groups of the user's own. Those are the *user's layer*: the item that storage has of the
//! contact, if there is one, or else a name and groups that are kept apart (the *edit*). When the groups give the
//! contact up, the stored item is shown again, or nothing; the edit is kept for the contact's return.
//!
//! What groups brought when contacts were stored is removed from the stored item as soon as the contact is virtual.

use std::collections::BTreeMap;

use super::digest;
use super::item::{Cover, Fact, Fate, Item, Labels, OwnEdit, Step, Subscription};
use super::rules::{Common, Judge, Outcome};
use crate::engine::state::filled;
use crate::engine::state::value::Value;

/// The version that clients are told of a virtual list. It is made of the stored one and of a number of 27 bits for
/// what groups bring, zero for nothing: it has the stored one's last 18 bits, which count edits, and one number for the
/// rest and for what groups bring. It is even, for pushes that are not the last carry the number below it, and has no
/// more digits than Lua 5.2 writes of a number.
pub fn virtual_version(stored: u64, digest: u32) -> u64 {
    let (rest, count) = (stored >> 18, stored % (1 << 18));
    if digest == 0 { stored } else { (u64::from(digest::number((digest, rest))) << 19) + count * 2 }
}

/// The number for what groups bring, where a contact is shown for a session as somebody has made it.
fn deviating_digest(digest: u32, contact: &str) -> u32 {
    digest::number((digest, contact))
}

/// What is shown of a contact: the user's layer under the labels. `name`: what it is called if the user has given no
/// name.
fn look(labels: &Labels, below: Option<&Item>, edit: Option<&OwnEdit>, name: Option<&str>) -> Item {
    let own = below.map(|item| (&item.name, &item.groups)).or(edit.map(|edit| (&edit.name, &edit.groups)));
    let (own_name, own_groups) = own.unzip();
    let name = own_name.cloned().flatten().or_else(|| name.map(str::to_owned));
    let groups = labels.iter().chain(own_groups.into_iter().flatten()).cloned().collect();
    Item { subscription: Subscription::Both, ask: false, name, groups }
}

pub(super) fn bring(judge: &mut Judge, common: &Common, fact: &Fact, contact: &str, name: Option<&str>) -> Outcome {
    let edit = common.edit_of(fact);
    let (below, edit) = match &fact.item {
        Some(item) if !fact.covered => clear(judge, common, &common.section.as_ended(item), edit, contact),
        _ => (fact.below.clone(), edit.cloned()),
    };
    let shown = look(&common.labels, below.as_ref(), edit.as_ref(), name);
    let cover =
        if fact.covered && fact.item.as_ref() == Some(&shown) { Cover::Keep } else { show(&common.labels, &shown) };
    Outcome { stored: below, shown: Some(shown), cover, edit }
}

fn show(labels: &Labels, look: &Item) -> Cover {
    let Item { subscription, ask, groups, .. } = look.clone();
    Cover::Show { labels: labels.clone(), groups, subscription, ask }
}

/// The user's layer in an item of which clients were shown the stored one: what a group brought is taken out of it.
fn clear(
    judge: &mut Judge,
    common: &Common,
    item: &Item,
    edit: Option<&OwnEdit>,
    contact: &str,
) -> (Option<Item>, Option<OwnEdit>) {
    let named = judge.provenance.is_named(contact, item.name.as_deref());
    let bears = item.bears_any(&common.given);
    let brought = judge.provenance.note(contact).map_or(bears, |note| note.brought && (bears || !note.released));
    let stored = judge.give_up(&common.given, Some(item), contact);
    let Some(stored) = stored else { return (None, edit.cloned()) };
    if !brought || stored.subscription == Subscription::Both {
        return (Some(stored), edit.cloned());
    }
    // Only groups had put it there: nothing is left in storage, and the user's name and groups are kept apart.
    let own = OwnEdit { name: stored.name.filter(|_| named), groups: stored.groups };
    (None, own.kept().or(edit.cloned()))
}

pub(super) fn give_up(judge: &mut Judge, common: &Common, fact: &Fact, contact: &str) -> Outcome {
    if fact.covered {
        return lift(fact.below.clone(), fact.edit.clone());
    }
    Outcome::plain(judge.give_up(&common.given, fact.item.as_ref(), contact), fact)
}

/// A stored contact that its user has changed for the session becomes virtual, and keeps the subscription until then.
pub(super) fn spare(judge: &mut Judge, common: &Common, fact: &Fact, contact: &str) -> Outcome {
    let Some(item) = fact.item.as_ref().filter(|_| !fact.covered) else {
        let (stored, shown, edit) = (fact.stored().cloned(), fact.item.clone(), fact.edit.clone());
        return Outcome { stored, shown, cover: Cover::Keep, edit };
    };
    let (below, edit) = clear(judge, common, item, fact.edit.as_ref(), contact);
    if below.as_ref() == Some(item) {
        return Outcome::plain(below, fact); // one of the user's own
    }
    let look = look(&common.labels, below.as_ref(), edit.as_ref(), item.name.as_deref());
    let shown = Item { subscription: item.subscription, ask: item.ask, ..look };
    Outcome { stored: below, cover: show(&common.labels, &shown), shown: Some(shown), edit }
}

pub(super) fn withdraw(judge: &mut Judge, common: &Common, fact: &Fact, contact: &str) -> Outcome {
    let stored = judge.withdraw(common.section, fact.stored(), contact);
    if fact.covered { lift(stored, None) } else { Outcome::stored(stored, None) }
}

fn lift(stored: Option<Item>, edit: Option<OwnEdit>) -> Outcome {
    Outcome { cover: Cover::Lift, ..Outcome::stored(stored, edit) }
}

/// What somebody made of a virtual contact, which is about to be stored.
#[derive(Clone, Debug, Default)]
pub struct Replaced {
    /// The labels of the groups that bring the contact.
    pub labels: Labels,
    /// The name that was shown.
    pub name: Option<String>,
    /// The item that is there now; nothing if the contact was taken off the list.
    pub item: Option<Item>,
    /// The stored item below.
    pub below: Option<Item>,
    /// What the user had made of the contact before.
    pub edit: Option<OwnEdit>,
}

/// A change of a virtual contact, taken in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TakenIn {
    /// What is done to the contact.
    pub step: Step,
    /// The name that is shown then.
    pub name: Option<String>,
    /// The number for what is shown then.
    pub digest: u32,
}

/// The roster groups of a virtual contact that are the user's: labels of the groups that bring it are so only if they
/// were before.
pub(super) fn chosen_groups(groups: &Labels, labels: &Labels, before: &Labels) -> Labels {
    groups.iter().filter(|group| !labels.contains(*group) || before.contains(*group)).cloned().collect()
}

/// Takes a change of a virtual contact into the user's layer. `digest`: the number for what was shown.
///
/// A name that the item had before is no change. What somebody has ended of the subscription is ended below as well. It
/// is shown so until the groups bring the contact again, with the user's next session. A contact that is taken off the
/// list goes with all that the user had made of it.
pub fn take_in(contact: &str, digest: u32, replaced: &Replaced) -> TakenIn {
    let Replaced { labels, name: shown_name, item, below, edit } = replaced;
    let Some(item) = item else {
        let fate = Fate::between(below.as_ref(), None);
        let step = Step { fate, cover: Cover::Lift, edit: edit.is_some().then_some(None) };
        return TakenIn { step, name: None, digest: deviating_digest(digest, contact) };
    };
    let own = below.as_ref().map(|item| (item.name.clone(), item.groups.clone()));
    let own = own.or_else(|| edit.clone().map(|edit| (edit.name, edit.groups)));
    let (own_name, own_groups) = own.unwrap_or_default();
    let renamed = *shown_name != item.name;
    let name = if renamed { item.name.clone() } else { own_name };
    let groups = chosen_groups(&item.groups, labels, &own_groups);
    let mut after = below.clone();
    let mut edit_after = edit.clone();
    match &mut after {
        Some(after) => {
            after.name = name;
            after.groups = groups;
            after.subscription = after.subscription.common(item.subscription);
            after.ask |= item.ask;
        }
        None => edit_after = OwnEdit { name, groups }.kept(),
    }
    let look = look(labels, after.as_ref(), edit_after.as_ref(), item.name.as_deref());
    let look = Item { subscription: item.subscription, ask: item.ask, ..look };
    let step = Step {
        fate: Fate::between(below.as_ref(), after.as_ref()),
        cover: show(labels, &look),
        edit: (edit_after != *edit).then_some(edit_after),
    };
    let deviates = look.subscription != Subscription::Both || look.ask;
    let digest = if deviates { deviating_digest(digest, contact) } else { digest };
    TakenIn { step, name: look.name, digest }
}

/// What users have made of virtual contacts, by the contact's JID, as it is stored. What is damaged is dropped, and the
/// second value is true then.
pub fn read_edits(record: Option<&Value>) -> (BTreeMap<String, OwnEdit>, bool) {
    let Some(record) = record else { return Default::default() };
    let text = |value: &Value| Some(String::from_utf8_lossy(value.as_bytes()?).into_owned());
    let read = |edit: &Value| {
        let (Value::Table(_), name, groups) = (edit, edit.get("name"), edit.get("groups")) else { return None };
        let name = match name {
            Some(name) => Some(text(name)?),
            None => None,
        };
        let groups = match groups {
            Some(Value::Table(groups)) => groups.iter().filter_map(|(group, _)| text(group)).collect(),
            Some(_) => return None,
            None => Labels::new(),
        };
        Some(OwnEdit { name, groups })
    };
    let entries = record.entries();
    let edits: BTreeMap<_, _> = filled(entries.iter().filter_map(|(jid, edit)| Some((text(jid)?, read(edit)?))));
    let damaged = !matches!(record, Value::Table(_)) || edits.len() < entries.len();
    (edits, damaged)
}
