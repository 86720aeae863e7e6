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

/// Collects items into a map or a set, one by one. `collect` sorts them first, with code for each type, which makes the
/// library larger by some 4 KB each time.
pub(crate) fn filled<C: Default + Extend<T>, T>(items: impl IntoIterator<Item = T>) -> C {
    let mut all = C::default();
    all.extend(items);
    all
}
