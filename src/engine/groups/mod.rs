//! Operations on groups, by what they are about.

pub(crate) mod affiliations;
pub(crate) mod audit;
pub(crate) mod bulk;
pub(crate) mod chats;
pub(crate) mod create;
pub(crate) mod deletions;
pub(crate) mod inspection;
pub(crate) mod members;
pub(crate) mod partings;
pub(crate) mod room_saves;
pub(crate) mod rooms;
