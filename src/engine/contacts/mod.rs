//! Contact lists.

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
