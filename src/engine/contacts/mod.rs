//! Contact lists.

pub(crate) mod arrivals;
pub(crate) mod digest;
pub(crate) mod outbox;
pub(crate) mod partings;
pub(crate) mod plan;
pub(crate) mod rosters;
pub(crate) mod settle;
