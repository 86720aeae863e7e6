//! Versions of rosters (RFC 6121, section 2.6): a number never stands for two contents.

use std::ops::Range;

use rustc_hash::FxHashMap;

use super::overlay::virtual_version;
use crate::engine::state::directory::UserKey;

/// A change of a roster takes a version of at least `generation << GENERATION_BITS`: higher than any number that
/// Prosody or an earlier start can have given to a state of the roster that was lost.
const GENERATION_BITS: u32 = 24;

/// The version in a roster's metadata.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Version {
    /// None yet: Prosody serves it as 1.
    #[default]
    Unset,
    /// Prosody counts it up with each save.
    Number(u64),
    /// Made up by another module, and not to be touched.
    Fixed,
}

/// The versions that a roster has while it is pushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PushVersions {
    /// With all pushes but the last one of a change.
    pub early: Version,
    /// With the last one, and from then on.
    pub late: Version,
    /// That, if it is the number that storage is to have.
    pub counted: Option<u64>,
}

impl Version {
    /// The number; zero for none.
    pub fn number(self) -> u64 {
        if let Version::Number(number) = self { number } else { 0 }
    }

    fn map(self, change: impl FnOnce(u64) -> u64) -> Version {
        if let Version::Number(number) = self { Version::Number(change(number)) } else { self }
    }

    /// What to save a roster with, as saving raises the version: the one that was pushed says the same, and a client
    /// that has it needs no other.
    pub fn before_save(self) -> Version {
        self.map(|number| number.saturating_sub(1))
    }

    /// What saving makes of the version.
    pub fn raised(self) -> Version {
        if self == Version::Fixed { self } else { Version::Number(self.number() + 1) }
    }

    /// What clients are told of a list with virtual contacts, whose stored version this is. `digest`: see
    /// [`virtual_version`].
    pub fn shown(self, digest: u32) -> Version {
        if self == Version::Fixed || digest == 0 {
            self
        } else {
            Version::Number(virtual_version(self.number(), digest))
        }
    }

    /// The versions to push with; why pushes carry others than the roster has is told at
    /// [`Push`](crate::engine::Push). `is_shown`: contacts are virtual, so this version is not in storage.
    pub fn to_push(self, is_shown: bool, last: bool) -> PushVersions {
        let late = if last && !is_shown { self.map(|number| number + 1) } else { self };
        // None is served as 1.
        let early = if self == Version::Unset { Version::Number(0) } else { self.before_save() };
        let counted = if let Version::Number(number) = late { Some(number) } else { None };
        PushVersions { early, late, counted: counted.filter(|_| !is_shown) }
    }
}

/// The versions that were handed out.
#[derive(Debug, Default)]
pub(crate) struct Versions {
    /// The generation in storage; no roster is changed before that of this start is.
    generation: Option<u64>,
    /// What is to be stored as the generation.
    pub(crate) next_generation: u64,
    /// The rosters of deleted accounts that wait for a generation, and for which one.
    awaiting: Vec<(UserKey, u64)>,
    /// The highest version handed out for each roster that was changed. It is kept when the roster has been saved, for
    /// what was saved may have been read anew: a logout discards the roster in memory.
    highest: FxHashMap<UserKey, u64>,
    /// The server died in a start before this one, with changes in memory of which clients may know the versions. A
    /// roster that such a start has saved, and that is read from storage, takes a new version before anybody sees it.
    pub(crate) doubtful_before: u64,
}

impl Versions {
    /// Remembers a version that was handed out and is not in storage.
    pub(crate) fn note(&mut self, user: UserKey, version: u64) {
        let highest = self.highest.entry(user).or_default();
        *highest = version.max(*highest);
    }

    /// Notes that clients may have the version that a roster has in storage, but not all of its content: when the
    /// roster is read next, it takes a new version.
    pub(crate) fn outdate(&mut self, user: UserKey) {
        *self.highest.entry(user).or_default() += 1;
    }

    /// Forgets the versions of a roster that is gone.
    pub(crate) fn forget(&mut self, user: UserKey) {
        self.highest.remove(&user);
    }

    /// Whether a roster that is read from storage may have an older version than clients do.
    pub(crate) fn may_be_behind(&self, user: UserKey) -> bool {
        self.doubtful_before > 0 || self.highest.contains_key(&user)
    }

    /// The versions that clients may know another content of, if a roster is read from storage with one of them.
    pub(crate) fn doubtful(&self, user: UserKey) -> [Range<u64>; 2] {
        let lost = 1 << GENERATION_BITS..self.doubtful_before << GENERATION_BITS;
        [lost, 0..self.highest.get(&user).copied().unwrap_or_default()]
    }

    /// Begins a new generation for the roster of a deleted account: a new account of that name must not get the old
    /// one's versions. The roster is not changed until the generation is in storage.
    pub(crate) fn begin_generation(&mut self, user: UserKey) {
        if let Some(generation) = self.generation {
            self.next_generation = generation + 1;
            self.awaiting.push((user, self.next_generation));
        }
    }

    /// Notes that a generation is in storage.
    pub(crate) fn note_stored(&mut self, generation: u64) {
        self.generation = Some(generation);
        self.awaiting.retain(|&(_, awaited)| awaited > generation);
    }

    /// Whether the generation of this start is in storage, so that rosters may be changed.
    pub(crate) fn are_ready(&self) -> bool {
        self.generation.is_some()
    }

    /// The lowest version that a changed roster may take. None while it may not be changed.
    pub(crate) fn floor(&self, user: UserKey) -> Option<u64> {
        let generation = self.generation.filter(|_| !self.awaiting.iter().any(|&(waiting, _)| waiting == user))?;
        let floor = generation << GENERATION_BITS;
        Some(self.highest.get(&user).map_or(floor, |&highest| floor.max(highest + 1)))
    }
}

#[cfg(test)]
mod tests {
    use super::Version::{Fixed, Number, Unset};
    use super::*;
    use crate::engine::state::directory::Directory;
    use crate::engine::state::name::Name;

    const FLOOR: u64 = 2 << GENERATION_BITS;

    /// Of the second start, and of two users.
    fn versions() -> (Versions, [UserKey; 2]) {
        let mut directory = Directory::default();
        let users = ["ann", "bob"].map(|user| directory.intern(&Name::from(user)));
        (Versions { generation: Some(2), next_generation: 2, ..Versions::default() }, users)
    }

    #[test]
    fn a_changed_roster_takes_a_higher_version_than_any_that_was_handed_out() {
        let (mut versions, [ann, bob]) = versions();
        versions.note(ann, FLOOR + 5);
        versions.note(ann, FLOOR + 3);
        assert_eq!([ann, bob].map(|user| versions.floor(user)), [Some(FLOOR + 6), Some(FLOOR)]);
        versions.note(bob, 7);
        assert_eq!(versions.floor(bob), Some(FLOOR), "and than any of the starts before");
        versions.forget(ann);
        assert_eq!(versions.floor(ann), Some(FLOOR));
    }

    #[test]
    fn a_deleted_accounts_roster_waits_for_a_new_generation_and_no_other_does() {
        let (mut versions, [ann, bob]) = versions();
        versions.begin_generation(ann);
        assert_eq!((versions.floor(ann), versions.next_generation), (None, 3));
        assert_eq!(versions.floor(bob), Some(FLOOR));
        versions.note_stored(2);
        assert_eq!(versions.floor(ann), None, "what was on its way into storage is not new");
        versions.note_stored(3);
        assert_eq!([ann, bob].map(|user| versions.floor(user)), [Some(3 << GENERATION_BITS); 2]);
    }

    #[test]
    fn a_roster_read_with_a_lower_version_than_was_handed_out_is_behind() {
        let (mut versions, [ann, bob]) = versions();
        versions.note(ann, FLOOR + 5);
        assert_eq!([ann, bob].map(|user| versions.may_be_behind(user)), [true, false]);
        assert_eq!([ann, bob].map(|user| versions.doubtful(user)[1].clone()), [0..FLOOR + 5, 0..0]);
        versions.outdate(ann);
        assert_eq!(versions.doubtful(ann)[1], 0..FLOOR + 6, "also with that one, if it is outdated");
        versions.forget(ann);
        assert!(!versions.may_be_behind(ann));
        versions.doubtful_before = 2;
        assert_eq!(
            (versions.may_be_behind(bob), versions.doubtful(bob)[0].clone()),
            (true, 1 << GENERATION_BITS..FLOOR)
        );
    }

    #[test]
    fn a_save_stores_the_number_that_was_pushed() {
        assert_eq!(Number(7).before_save().raised(), Number(7));
        assert_eq!((Unset.before_save().raised(), Fixed.before_save().raised()), (Number(1), Fixed));
    }

    #[test]
    fn only_the_last_push_takes_a_new_number_and_those_before_carry_a_lower_one() {
        let pushed = Number(7).to_push(false, false);
        assert_eq!(pushed, PushVersions { early: Number(6), late: Number(7), counted: Some(7) });
        let pushed = Number(7).to_push(false, true);
        assert_eq!(pushed, PushVersions { early: Number(6), late: Number(8), counted: Some(8) });
    }

    #[test]
    fn a_version_that_is_not_counted_is_pushed_as_it_is() {
        let virtual_list = Number(6).to_push(true, true);
        assert_eq!(virtual_list, PushVersions { early: Number(5), late: Number(6), counted: None });
        assert_eq!(Fixed.to_push(false, true), PushVersions { early: Fixed, late: Fixed, counted: None });
        let unset = Unset.to_push(false, true);
        assert_eq!(unset, PushVersions { early: Number(0), late: Unset, counted: None }, "it is served as 1");
    }

    #[test]
    fn a_list_shows_its_stored_version_as_long_as_groups_bring_nothing() {
        assert_eq!([Unset, Number(5), Fixed].map(|version| version.shown(0)), [Unset, Number(5), Fixed]);
        assert_eq!([Unset, Fixed].map(|version| version.shown(3)), [Number(virtual_version(0, 3)), Fixed]);
        assert_ne!(Number(5).shown(3), Number(5));
    }
}
