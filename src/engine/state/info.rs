//! What is stored of a group beside its members.

use crate::engine::Error;
use crate::engine::state::name::display_name;
use crate::engine::state::value::{Text, Value};

/// A group's record in the store `group_info`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Info {
    /// The name people see, and the label on contacts. Empty only when a record in storage has none.
    pub name: Box<[u8]>,
    /// The one chat of a group that was made with the default chat and was given no other since.
    pub muc_jid: Option<Box<[u8]>>,
    /// The chats, for a group that has (or had) more than the default one.
    pub mucs: Option<Vec<Box<[u8]>>>,
    /// What the group is for, in words for people.
    pub description: Option<Box<[u8]>>,
    /// The members are neither put into the group's chats nor invited (`chat_membership = false`).
    pub chats_apart: bool,
    /// Fields of other modules, kept as they are.
    pub extra: Vec<(Value, Value)>,
}

impl Info {
    /// A new group's record.
    pub fn named(name: Box<[u8]>) -> Self {
        Info { name, ..Info::default() }
    }

    /// Reads a stored record of any shape: what is not understood is kept aside.
    pub fn from_value(value: Value) -> Self {
        let mut info = Info::default();
        let Value::Table(entries) = value else {
            return info;
        };
        for (key, field) in entries {
            match (key.as_bytes(), field) {
                (Some(b"name"), Value::Text(Text(name))) => info.name = name,
                (Some(b"muc_jid"), Value::Text(Text(jid))) => info.muc_jid = Some(jid),
                (Some(b"mucs"), Value::Table(list)) => {
                    info.mucs = Some(list.iter().filter_map(|(_, jid)| jid.as_bytes()).map(Into::into).collect());
                }
                (Some(b"description"), Value::Text(Text(text))) => info.description = Some(text),
                (Some(b"chat_membership"), Value::Bool(false)) => info.chats_apart = true,
                (_, field) => info.extra.push((key, field)),
            }
        }
        info
    }

    /// The record as it is stored.
    pub fn to_value(&self) -> Value {
        let mut entries = self.extra.clone();
        if !self.name.is_empty() {
            entries.push((Value::text(b"name"), Value::text(&self.name)));
        }
        if let Some(jid) = &self.muc_jid {
            entries.push((Value::text(b"muc_jid"), Value::text(jid)));
        }
        if let Some(mucs) = &self.mucs {
            let list = (1..).zip(mucs).map(|(i, jid)| (Value::Integer(i), Value::text(jid))).collect();
            entries.push((Value::text(b"mucs"), Value::Table(list)));
        }
        if let Some(text) = &self.description {
            entries.push((Value::text(b"description"), Value::text(text)));
        }
        if self.chats_apart {
            entries.push((Value::text(b"chat_membership"), Value::Bool(false)));
        }
        Value::table(entries)
    }

    /// This record with these details, where some are given.
    pub fn with_details(&self, details: &Details) -> Info {
        let mut info = self.clone();
        let mut replace = |key: &str| info.extra.retain(|(other, _)| other.as_bytes() != Some(key.as_bytes()));
        if let Some(text) = &details.description {
            replace("description");
            info.description = (!text.is_empty()).then(|| text.clone());
        }
        if let Some(let_in) = details.chat_membership {
            replace("chat_membership");
            info.chats_apart = !let_in;
        }
        info
    }

    /// The record with another name. What was there instead of a text goes.
    pub fn with_name(&self, name: Box<[u8]>) -> Info {
        let mut info = Info { name, ..self.clone() };
        info.extra.retain(|(key, _)| key.as_bytes() != Some(b"name"));
        info
    }

    /// The rooms of all the group's chats, in the order in which they are listed.
    pub fn rooms(&self) -> Vec<Box<[u8]>> {
        self.mucs.iter().flatten().chain(&self.muc_jid).cloned().collect()
    }

    /// Whether one of the group's chats has this room.
    pub fn has_room(&self, jid: &[u8]) -> bool {
        self.mucs.iter().flatten().chain(&self.muc_jid).any(|room| **room == *jid)
    }

    /// This record with one more chat. The default chat of a group that had no other follows the new one.
    pub fn with_room(&self, jid: Box<[u8]>) -> Info {
        let mut info = self.clone();
        let mut mucs = info.mucs.take().unwrap_or_default();
        mucs.push(jid);
        mucs.extend(info.muc_jid.take());
        info.mucs = Some(mucs);
        info
    }

    /// This record without the chats for which `gone` holds; a default chat among the others becomes one of `mucs`.
    pub fn without_rooms(&self, gone: impl Fn(&[u8]) -> bool) -> Info {
        let mut info = self.clone();
        info.muc_jid = None;
        info.mucs = Some(self.rooms().into_iter().filter(|jid| !gone(jid)).collect());
        info
    }
}

/// What a caller may say of a group beside its name. What is not said stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Details {
    /// What the group is for; empty for none.
    pub description: Option<Box<[u8]>>,
    /// Whether members are put into the group's chats.
    pub chat_membership: Option<bool>,
}

impl Details {
    /// Details as callers give them.
    ///
    /// # Errors
    /// [`Error::BadRequest`] for a description that is over-long or that XML cannot carry.
    pub fn given(description: Option<&[u8]>, chat_membership: Option<bool>) -> Result<Details, Error> {
        let description = match description {
            None => None,
            Some(b"") => Some(Box::default()),
            Some(text) => Some(display_name(text)?),
        };
        Ok(Details { description, chat_membership })
    }
}

/// The node of a bare JID: what callers name a chat by.
pub fn node(jid: &[u8]) -> &[u8] {
    jid.split(|&byte| byte == b'@').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(s: &str) -> Box<[u8]> {
        s.as_bytes().into()
    }

    #[test]
    fn a_record_survives_reading_and_writing_with_its_unknown_fields() {
        let stored = Value::table(vec![
            (Value::text(b"name"), Value::text(b"Family")),
            (Value::text(b"colour"), Value::text(b"red")),
            (Value::text(b"mucs"), Value::Table(vec![(Value::Integer(1), Value::text(b"a@c"))])),
            (Value::Integer(7), Value::Bool(false)),
        ]);
        assert_eq!(Info::from_value(stored.clone()).to_value(), stored);
    }

    #[test]
    fn the_default_chat_follows_the_first_further_one() {
        let info = Info { muc_jid: Some(text("old@c")), ..Info::named(text("G")) };
        let more = info.with_room(text("new@c"));
        assert_eq!(more.muc_jid, None);
        assert_eq!(more.mucs, Some(vec![text("new@c"), text("old@c")]));
    }

    #[test]
    fn removing_the_default_chat_leaves_an_empty_list() {
        let info = Info { muc_jid: Some(text("old@c")), ..Info::named(text("G")) };
        let none = info.without_rooms(|jid| node(jid) == b"old");
        assert_eq!((none.muc_jid, none.mucs), (None, Some(vec![])));
    }
}
