//! What is known of groups, and the forms in which it is stored.

pub(crate) mod accounts;
pub(crate) mod directory;
pub(crate) mod info;
pub(crate) mod marker;
pub(crate) mod name;
pub(crate) mod snapshot;
pub(crate) mod stored;
pub(crate) mod unsettled;
pub(crate) mod value;
