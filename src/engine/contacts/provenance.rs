//! Provenance: what a roster remembers of the contacts that groups have brought.
//!
//! It is one piece of text in the roster's metadata, which clients' edits leave alone and only this file reads. It
//! holds
//! - *labels*: for each group, the labels that this roster's contacts were given for it, the newest first;
//! - *notes* on contacts that are exceptions from the rule below;
//! - the *names* that contacts were given;
//! - contacts that groups had brought or labelled and that the user has *removed*: they may still have the user in
//!   their lists.
//!
//! The rule: an item that bears a label that was given for a group was *brought*; any other is the user's *own*. So a
//! large group costs one label, and not a mark on each contact.
//!
//! It fails safe: where storage drops metadata, or the text is damaged, nothing counts as brought, and nothing is taken
//! back.

use std::collections::{BTreeMap, HashSet};
use std::fmt;

use serde::de::value::SeqAccessDeserializer;
use serde::de::{self, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::item::{Item, Labels, Subscription};

/// What is known of where a roster's contacts come from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Provenance {
    /// By the group's id.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    labels: BTreeMap<String, Given>,
    /// By the contact's username.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    notes: BTreeMap<String, Note>,
    /// By the contact's username.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    names: BTreeMap<String, String>,
    /// A username was given for a name once.
    #[serde(default, skip_serializing_if = "is_false")]
    usernames: bool,
    /// By the contact's username.
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    removed: Labels,
}

/// The labels given for a group, the newest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
enum Given {
    One(String),
    Several(Vec<String>),
}

impl<'de> Deserialize<'de> for Given {
    // The derived one reads any value first, with a lot of code.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Given, D::Error> {
        deserializer.deserialize_any(GivenVisitor)
    }
}

struct GivenVisitor;

impl<'de> Visitor<'de> for GivenVisitor {
    type Value = Given;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a label or a list of labels")
    }

    fn visit_str<E: de::Error>(self, label: &str) -> Result<Given, E> {
        Ok(Given::One(label.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, labels: A) -> Result<Given, A::Error> {
        Vec::deserialize(SeqAccessDeserializer::new(labels)).map(Given::Several)
    }
}

/// An exception from the rule.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Note {
    /// The contact was brought, though it bears no label: a client has taken the labels off.
    #[serde(default, skip_serializing_if = "is_false")]
    pub(crate) brought: bool,
    /// The subscription that an own contact had before a group brought it, if it was not `both`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) subscription: Option<Subscription>,
    /// The user had asked for an own contact's presence before.
    #[serde(default, skip_serializing_if = "is_false", with = "ask")]
    pub(crate) ask: bool,
    /// The labels that the user has put on the contact.
    #[serde(default, skip_serializing_if = "Labels::is_empty", with = "choice")]
    pub(crate) labels: Labels,
    /// Groups have given the contact up, and storage may still have it as before. See [`Provenance::forget`].
    #[serde(default, skip_serializing_if = "is_false")]
    pub(crate) released: bool,
}

fn is_false(flag: &bool) -> bool {
    !flag
}

/// A request is stored in the words of a roster item.
mod ask {
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(_: &bool, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str("subscribe")
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
        String::deserialize(deserializer).map(|_| true)
    }
}

/// A set is stored in Lua's way: each text a key whose value is `true`.
mod choice {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Deserializer, Serializer};

    use super::Labels;

    pub(super) fn serialize<S: Serializer>(labels: &Labels, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(labels.iter().map(|label| (label, true)))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Labels, D::Error> {
        BTreeMap::<String, bool>::deserialize(deserializer).map(|labels| labels.into_keys().collect())
    }
}

impl Given {
    fn as_slice(&self) -> &[String] {
        match self {
            Given::One(label) => std::slice::from_ref(label),
            Given::Several(labels) => labels,
        }
    }

    fn of(mut labels: Vec<String>) -> Option<Given> {
        match labels.len() {
            0 => None,
            1 => labels.pop().map(Given::One),
            _ => Some(Given::Several(labels)),
        }
    }
}

impl Note {
    /// Whether an item is as it was before groups gave it up: it has more than they leave of it, which nobody can have
    /// given it since without [`Provenance::confirm`].
    pub(crate) fn predated_by(&self, item: &Item) -> bool {
        let left = if self.brought { Subscription::None } else { self.subscription.unwrap_or(Subscription::Both) };
        item.subscription.common(left) != item.subscription || self.brought && item.ask
    }
}

impl Provenance {
    /// Reads what is stored with a roster. `host`: whose contacts are stored by their JIDs, as version 1.0.0 did.
    ///
    /// # Errors
    /// What is wrong with the text, in words for an operator. Nothing of it is to be used then.
    pub fn parse(text: &[u8], host: &str) -> Result<Provenance, String> {
        let mut provenance: Provenance = serde_json::from_slice(text).map_err(|error| error.to_string())?;
        if provenance.notes.keys().chain(provenance.names.keys()).any(|contact| contact.contains('@')) {
            let local = |jid: String| match jid.split_once('@') {
                Some((username, jid_host)) => (jid_host == host).then(|| username.to_owned()),
                None => Some(jid),
            };
            let notes = std::mem::take(&mut provenance.notes).into_iter();
            provenance.notes.extend(notes.filter_map(|(jid, note)| Some((local(jid)?, note))));
            let names = std::mem::take(&mut provenance.names).into_iter();
            provenance.names.extend(names.filter_map(|(jid, name)| Some((local(jid)?, name))));
        }
        Ok(provenance)
    }

    /// The text to be stored; nothing if there is nothing to remember.
    pub fn to_text(&self) -> Option<String> {
        // Plain data into a string: there is nothing in it that could fail.
        (*self != Provenance::default()).then(|| serde_json::to_string(self).unwrap_or_default())
    }

    /// All labels that were given.
    pub(crate) fn given(&self) -> Labels {
        self.labels.values().flat_map(Given::as_slice).cloned().collect()
    }

    /// The labels that were given for a group, the newest first.
    pub(crate) fn given_for(&self, id: &str) -> &[String] {
        self.labels.get(id).map_or(&[], Given::as_slice)
    }

    /// Whether a label was given for a group other than these.
    pub(crate) fn is_given_by_others(&self, label: &str, ids: &[&str]) -> bool {
        let others = self.labels.iter().filter(|(id, _)| !ids.contains(&id.as_str()));
        others.into_iter().any(|(_, given)| given.as_slice().iter().any(|other| other == label))
    }

    /// Notes that contacts are given a label for a group.
    pub(crate) fn give_label(&mut self, id: &str, label: &str) {
        let earlier = self.given_for(id).iter().filter(|earlier| *earlier != label).cloned();
        let all: Vec<_> = std::iter::once(label.to_owned()).chain(earlier).collect();
        self.labels.extend(Given::of(all).map(|given| (id.to_owned(), given)));
    }

    pub(crate) fn note(&self, contact: &str) -> Option<&Note> {
        self.notes.get(contact)
    }

    /// Notes something on a contact; `None` takes the note away.
    pub(crate) fn set_note(&mut self, contact: &str, note: Option<Note>) {
        match note {
            Some(note) => drop(self.notes.insert(contact.to_owned(), note)),
            None => drop(self.notes.remove(contact)),
        }
    }

    /// The labels on a contact that are the user's choice.
    pub(crate) fn chosen(&self, contact: &str) -> Labels {
        self.note(contact).map(|note| note.labels.clone()).unwrap_or_default()
    }

    /// The contacts that groups have given up, as long as that is remembered.
    pub(crate) fn released(&self) -> impl Iterator<Item = &str> {
        self.notes.iter().filter(|(_, note)| note.released).map(|(contact, _)| contact.as_str())
    }

    /// All contacts that something is noted on, and those that the user has removed.
    pub(crate) fn noted(&self) -> impl Iterator<Item = &str> {
        self.notes.keys().chain(&self.removed).map(String::as_str)
    }

    /// Notes that the user removes a contact that groups had brought or labelled.
    pub(crate) fn note_removed(&mut self, contact: &str) {
        self.removed.insert(contact.to_owned());
    }

    /// Notes that a contact is put into the roster. True if the user had removed it.
    pub(crate) fn put(&mut self, contact: &str) -> bool {
        self.notes.remove(contact);
        self.removed.remove(contact)
    }

    /// Notes that it is the user's choice that a contact bears a label.
    pub(crate) fn note_choice(&mut self, contact: &str, item: Option<&Item>, label: &str, given: &Labels) {
        let brought = item.is_some_and(|item| item.bears_any(given));
        let note = self.notes.entry(contact.to_owned()).or_insert(Note { brought, ..Note::default() });
        note.labels.insert(label.to_owned());
    }

    /// Whether the user has given a contact its name.
    pub(crate) fn is_named(&self, contact: &str, name: Option<&str>) -> bool {
        let Some(name) = name else { return false };
        let given = self.names.get(contact).is_some_and(|given| given == name) || self.usernames && name == contact;
        !given
    }

    /// Notes that a contact is given a name.
    pub(crate) fn give_name(&mut self, contact: &str, name: &str) {
        if name == contact {
            self.usernames = true;
        } else {
            self.names.insert(contact.to_owned(), name.to_owned());
        }
    }

    /// Whether a contact's given name is remembered.
    pub(crate) fn has_name(&self, contact: &str) -> bool {
        self.names.contains_key(contact)
    }

    /// Forgets what is known of a contact: a client makes it anew. The contact may have the user from before.
    pub(crate) fn forget_contact(&mut self, contact: &str) {
        self.notes.remove(contact);
        self.names.remove(contact);
    }

    /// Makes a contact that groups have given up the user's own, whatever storage had before: the user has changed it.
    pub(crate) fn confirm(&mut self, contact: &str) -> bool {
        let Some(note) = self.notes.get_mut(contact).filter(|note| note.released) else { return false };
        let labels = std::mem::take(&mut note.labels);
        self.names.remove(contact);
        self.set_note(contact, (!labels.is_empty()).then(|| Note { labels, ..Note::default() }));
        true
    }

    /// Takes back the note that a contact was given up, if that `holds` of it: the contact is as it was brought.
    pub(crate) fn reclaim(&mut self, contact: &str, holds: impl FnOnce(&Note) -> bool) {
        if let Some(note) = self.notes.get_mut(contact).filter(|note| note.released) {
            note.released = !holds(note);
        }
    }

    /// The labels that [`Provenance::forget`] drops if no item bears them. `current`: the groups that bring contacts
    /// now.
    pub(crate) fn outdated(&self, current: &HashSet<String>) -> Labels {
        let outdated = |(id, given): (&String, &Given)| {
            let kept = usize::from(current.contains(id));
            given.as_slice().iter().skip(kept).cloned().collect::<Vec<_>>()
        };
        self.labels.iter().flat_map(outdated).collect()
    }

    /// Forgets what need not be known when storage has the roster as it is in memory:
    /// - labels that are outdated, unless items still bear them: those are in `borne`;
    /// - notes on contacts that groups have given up, but for the labels that are the user's choice. Those on `doubtful`
    ///   contacts stay: they were not compared.
    ///
    /// Not before: a client's edit of another contact stores the metadata without the items that a group has given up.
    /// If the server dies then, storage has them as they were, and what is to be done with them must still be known.
    pub(crate) fn forget(&mut self, current: &HashSet<String>, borne: &Labels, doubtful: &Labels) {
        let labels = std::mem::take(&mut self.labels).into_iter().filter_map(|(id, given)| {
            let newest = given.as_slice().first().filter(|_| current.contains(&id));
            let kept = |label: &&String| newest == Some(*label) || borne.contains(*label);
            let kept = given.as_slice().iter().filter(kept).cloned().collect();
            Some((id, Given::of(kept)?))
        });
        self.labels.extend(labels);
        let given = self.given();
        let released: Labels = self.released().map(str::to_owned).collect();
        for contact in released.difference(doubtful) {
            self.confirm(contact);
            if let Some(note) = self.notes.get_mut(contact) {
                note.labels.retain(|label| given.contains(label));
                if note.labels.is_empty() {
                    self.notes.remove(contact);
                }
            }
        }
    }
}
