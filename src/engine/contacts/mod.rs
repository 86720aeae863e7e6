//! Contact lists: what each should hold, and how it comes to hold that.
//!
//! The life of a contact, in the words of this folder:
//! - *brought*: groups have put the contact into the roster. The label that it bears tells.
//! - *own*: the contact is the user's own. It was there before the groups, or the user has made it so.
//! - *given up*: no group brings the contact any more. What groups have put on it goes, and a brought contact with it.
//! - *released*: noted as given up, while storage may still have the contact as before.
//! - *withdrawn*: the contact's account is deleted. A brought contact goes; an own one stays with subscription `none`.
//! - *spared*: the user has taken the contact off the list, and groups do not bring it until the next session.
//!
//! The life of a roster:
//! - *reconciled*: the roster in memory holds what its plan says.
//! - *settled*: storage has the roster so as well. A group is settled when the rosters of all its members are.

pub(crate) mod arrivals;
pub(crate) mod digest;
pub(crate) mod edits;
pub(crate) mod item;
pub(crate) mod outbox;
pub(crate) mod overlay;
pub(crate) mod partings;
pub(crate) mod plan;
pub(crate) mod provenance;
pub(crate) mod reconcile;
pub(crate) mod rules;
pub(crate) mod settle;
pub(crate) mod spared;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
pub(crate) mod versions;
pub(crate) mod withdrawals;
pub(crate) mod work;
