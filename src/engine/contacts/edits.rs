//! What users do to contacts themselves, and what of it groups have to remember.

use crate::engine::contacts::overlay::chosen_groups;
use crate::engine::contacts::provenance::{Note, Provenance};
use crate::engine::{Engine, Item, Labels, Name};

impl Engine {
    /// Notes that a client is about to replace a contact's `item`, or to add it, with these roster groups, or to remove
    /// it, with none. `provenance` is the roster's, as it is stored. Returns the new one, which may be none, if it
    /// changes.
    pub fn note_edit(
        &self,
        provenance: Option<&[u8]>,
        contact: &Name,
        item: Option<&Item>,
        groups: Option<&Labels>,
    ) -> Option<Option<String>> {
        let contact = contact.to_string();
        self.revise(provenance, |known| match groups {
            Some(groups) => note_edit(known, &contact, item, groups),
            None => note_removal(known, &contact, item),
        })
    }

    /// The same for a virtual contact, which groups bring with these `labels`, and the item that storage has `below`:
    /// the edit is taken into that.
    pub fn note_virtual_edit(
        &self,
        provenance: Option<&[u8]>,
        contact: &Name,
        below: &Item,
        labels: &Labels,
        groups: &Labels,
    ) -> Option<Option<String>> {
        let groups = chosen_groups(groups, labels, &below.groups);
        self.note_edit(provenance, contact, Some(below), Some(&groups))
    }

    /// Notes that a user is about to change a subscription by presence: a contact that groups have given up is the
    /// user's own from then on, whatever storage had before. Returns the new provenance if it changes.
    pub fn note_subscription(&self, provenance: Option<&[u8]>, contact: &Name) -> Option<Option<String>> {
        self.revise(provenance, |known| known.confirm(&contact.to_string()))
    }

    /// Changes the provenance in a text. A damaged text stays as it is: the next comparison deals with it.
    fn revise(&self, text: Option<&[u8]>, revise: impl FnOnce(&mut Provenance) -> bool) -> Option<Option<String>> {
        let host = self.0.state.lock().host.clone();
        let mut provenance = Provenance::parse(text?, &host).ok()?;
        revise(&mut provenance).then(|| provenance.to_text())
    }
}

/// Takes into the provenance that a client removes an item. True if the provenance changes.
pub(crate) fn note_removal(provenance: &mut Provenance, contact: &str, item: Option<&Item>) -> bool {
    let before = provenance.clone();
    let bears = item.is_some_and(|item| item.bears_any(&provenance.given()));
    let note = provenance.note(contact).cloned();
    if bears || note.as_ref().is_some_and(|note| note.brought || !note.released) {
        provenance.note_removed(contact);
    }
    if let Some(note) = note {
        // What the note says of the item holds only if storage turns out to have it still.
        provenance.set_note(contact, Some(Note { labels: Labels::new(), released: true, ..note }));
    }
    *provenance != before
}

/// Takes a client's edit into the provenance: the client replaces an item, or adds it. True if the provenance changes.
///
/// - A contact that is added anew, or that groups have given up, is the user's own.
/// - Where the edit takes all given labels off an item, the contact was brought all the same.
/// - A label that the edit puts on is the user's choice; taking it off takes the choice back.
pub(crate) fn note_edit(provenance: &mut Provenance, contact: &str, item: Option<&Item>, groups: &Labels) -> bool {
    let before = provenance.clone();
    let given = provenance.given();
    if item.is_none() {
        provenance.forget_contact(contact);
    }
    provenance.confirm(contact);
    if let Some(note) = provenance.note(contact).cloned() {
        let labels = note.labels.intersection(groups).cloned().collect();
        provenance.set_note(contact, Some(Note { labels, ..note }));
    } else if item.is_some_and(|item| item.bears_any(&given)) && groups.is_disjoint(&given) {
        provenance.set_note(contact, Some(Note { brought: true, ..Note::default() }));
    }
    for label in groups.intersection(&given).filter(|label| !item.is_some_and(|item| item.groups.contains(*label))) {
        provenance.note_choice(contact, item, label, &given);
    }
    *provenance != before
}
