//! Items of a roster, and what is done to them.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::engine::effect::{Naming, Plan, Section};

/// Whose presence is seen by whom (RFC 6121, section 2.1.2.5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Subscription {
    /// Nobody's by the other.
    #[default]
    None,
    /// The contact's by the user.
    To,
    /// The user's by the contact.
    From,
    /// Each other's.
    Both,
}

impl Subscription {
    /// The value of this name; [`Subscription::None`] for anything else.
    pub fn parse(text: &[u8]) -> Subscription {
        match text {
            b"to" => Subscription::To,
            b"from" => Subscription::From,
            b"both" => Subscription::Both,
            _ => Subscription::None,
        }
    }

    /// What both values have in common. A subscription that groups hold at `both` can only become less by what somebody
    /// does, and the user's own becomes less by the same.
    pub(crate) fn common(self, other: Subscription) -> Subscription {
        match (self, other) {
            (Subscription::Both, least) | (least, Subscription::Both) => least,
            (one, other) if one == other => one,
            _ => Subscription::None,
        }
    }

    /// The name of the value.
    pub fn as_str(self) -> &'static str {
        match self {
            Subscription::None => "none",
            Subscription::To => "to",
            Subscription::From => "from",
            Subscription::Both => "both",
        }
    }
}

/// The roster groups of an item; a group's label is one of them.
pub type Labels = BTreeSet<String>;

/// A contact as a roster has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Item {
    /// The subscription.
    pub subscription: Subscription,
    /// The user has asked for the contact's presence.
    pub ask: bool,
    /// The name, which a user or this module has given.
    pub name: Option<String>,
    /// The roster groups.
    pub groups: Labels,
}

impl Item {
    /// Whether the user sees the contact's presence.
    pub fn sees(&self) -> bool {
        matches!(self.subscription, Subscription::Both | Subscription::To)
    }

    /// Whether the contact sees the user's presence.
    pub fn is_seen(&self) -> bool {
        matches!(self.subscription, Subscription::Both | Subscription::From)
    }

    pub(crate) fn bears_any(&self, labels: &Labels) -> bool {
        !self.groups.is_disjoint(labels)
    }
}

/// What a user has made of a virtual contact for which storage has no item.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct OwnEdit {
    /// The name that the user has given it.
    pub name: Option<String>,
    /// The roster groups that the user has put it into.
    pub groups: Labels,
}

impl OwnEdit {
    /// The edit, if there is anything in it.
    pub(crate) fn kept(self) -> Option<OwnEdit> {
        (self.name.is_some() || !self.groups.is_empty()).then_some(self)
    }
}

/// What is found of one of the plan's contacts that is not in the usual form.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fact {
    /// The contact, by the numbers of [`Plan`](crate::engine::Plan).
    pub number: u32,
    /// The item that clients are shown, if there is one.
    pub item: Option<Item>,
    /// That item is virtual.
    pub covered: bool,
    /// The item that storage has below a virtual one.
    pub below: Option<Item>,
    /// What the user has made of the contact when it was virtual.
    pub edit: Option<OwnEdit>,
    /// The contact has asked for the user's presence.
    pub pending: bool,
}

impl Fact {
    /// Whether a contact has the usual form: see [`Plan`](crate::engine::Plan). `labels`: those of the section's
    /// groups. `name`: what it is called if the user gives it no name, as far as it is known.
    pub fn is_usual(&self, plan: &Plan, section: &Section, labels: &Labels, name: Option<&str>) -> bool {
        let Some(item) = self.item.as_ref().filter(|_| section.has_usual_form()) else { return false };
        let named = match plan.naming {
            Naming::None => true,
            _ => name.map_or(item.name.is_some(), |name| item.name.as_deref() == Some(name)),
        };
        named
            && item.subscription == Subscription::Both
            && !item.ask
            && item.groups == *labels
            && self.covered == plan.virtual_contacts
            && !self.pending
    }

    /// The item that is the user's in storage.
    pub(crate) fn stored(&self) -> Option<&Item> {
        if self.covered { self.below.as_ref() } else { self.item.as_ref() }
    }
}

/// What becomes of a name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum Rename {
    /// It stays.
    #[default]
    Keep,
    /// It goes.
    Clear,
    /// The contact gets the one that [`Edit::names`] has for it.
    Give,
}

/// What becomes of the item that storage has of a contact.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum Fate {
    /// It stays as it is.
    #[default]
    Keep,
    /// It goes.
    Remove,
    /// It is changed, or made.
    Alter {
        /// The new subscription, if it changes.
        subscription: Option<Subscription>,
        /// Whether the user asks for presence, if that changes.
        ask: Option<bool>,
        /// What becomes of the name.
        name: Rename,
        /// Roster groups to put it into.
        add: Labels,
        /// Roster groups to take it out of.
        drop: Labels,
    },
}

impl Fate {
    /// The fate that makes an item what it is to become.
    pub(crate) fn between(before: Option<&Item>, after: Option<&Item>) -> Fate {
        let Some(after) = after else {
            return if before.is_some() { Fate::Remove } else { Fate::Keep };
        };
        if before == Some(after) {
            return Fate::Keep;
        }
        let new = Item::default();
        let is_new = before.is_none();
        let before = before.unwrap_or(&new);
        Fate::Alter {
            subscription: (is_new || before.subscription != after.subscription).then_some(after.subscription),
            ask: (before.ask != after.ask).then_some(after.ask),
            name: match &after.name {
                name if *name == before.name => Rename::Keep,
                None => Rename::Clear,
                Some(_) => Rename::Give,
            },
            add: after.groups.difference(&before.groups).cloned().collect(),
            drop: before.groups.difference(&after.groups).cloned().collect(),
        }
    }
}

/// What becomes of what clients are shown instead of the stored item.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum Cover {
    /// It stays: a virtual item, or none.
    #[default]
    Keep,
    /// A virtual item is shown, with the name that [`Edit::names`] has for it, if any.
    Show {
        /// The labels of the groups that bring it.
        labels: Labels,
        /// Those, and the user's own roster groups.
        groups: Labels,
        /// The subscription: less than `both` if somebody has ended it for the session.
        subscription: Subscription,
        /// The user asks for presence, as somebody has made it for the session.
        ask: bool,
    },
    /// The stored item is shown again, or none.
    Lift,
}

impl Cover {
    /// Whether a virtual item is shown that has nothing but its groups' labels, and perhaps a name.
    pub fn is_plain(&self) -> bool {
        matches!(self, Cover::Show { labels, groups, subscription: Subscription::Both, ask: false } if labels == groups)
    }
}

/// The same change of several contacts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Step {
    /// What becomes of the stored item.
    pub fate: Fate,
    /// What becomes of the virtual item, after that.
    pub cover: Cover,
    /// What is kept of what the user has made of the virtual contact, if that changes.
    pub edit: Option<Option<OwnEdit>>,
}

impl Step {
    /// Whether it changes the user's layer.
    pub fn alters_own(&self) -> bool {
        !matches!(self.fate, Fate::Keep) || self.edit.is_some()
    }
}

/// A step, and the contacts that take it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Edit {
    /// What is done.
    pub step: Step,
    /// To whom, by the numbers of [`Plan`](crate::engine::Plan).
    pub contacts: Vec<u32>,
    /// The name of each, if names are given.
    pub names: Vec<Option<String>>,
}
