//! What users do to contacts themselves, and what of it groups have to remember.

use crate::engine::contacts::provenance::Provenance;
use crate::engine::contacts::rules::{note_edit, note_removal};
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
