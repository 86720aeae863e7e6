//! What groups take back from the contact lists of those who leave, and of those who stay (`groups_remove_contacts`).
//!
//! A parting is noted in the marker before it is stored that a member leaves. It names the group and who has left it: those are to
//! lose each other and the members as contacts, and the members them, as far as no other group brings the contact. Every
//! roster concerned is gone through once; doing it again does no harm. That also holds for partings that were noted and then did
//! not come about: two who are both members keep each other.

use std::collections::{BTreeMap, BTreeSet};

use crate::engine::contacts::plan::Scope;
use crate::engine::operation::Call;
use crate::engine::state::directory::{Directory, UserKey};
use crate::engine::turns::{Place, Turns};
use crate::engine::{Error, Name, State};

/// The partings that are open.
#[derive(Debug, Default)]
pub(crate) struct Partings {
    /// For each group, who has left it. The group may be gone.
    left: BTreeMap<Name, BTreeSet<UserKey>>,
    /// Rosters to be gone through, each with the latest round that it is to be gone through for.
    reviews: BTreeMap<UserKey, u64>,
    round: u64,
}

impl Partings {
    /// The groups that take back, and from whom: for storage.
    pub(crate) fn groups(&self) -> impl Iterator<Item = (&Name, &BTreeSet<UserKey>)> {
        self.left.iter()
    }

    /// Notes that users leave a group. Those of the group's members who stay are found when it is looked at.
    pub(crate) fn note(&mut self, group: &Name, leavers: impl IntoIterator<Item = UserKey>) {
        self.left.entry(group.clone()).or_default().extend(leavers);
    }

    /// Somebody who has left is a member again.
    pub(crate) fn rejoin(&mut self, group: &Name, user: UserKey) {
        if let Some(leavers) = self.left.get_mut(group) {
            leavers.remove(&user);
        }
    }

    /// Has rosters gone through, also those that were before.
    pub(crate) fn review_all(&mut self, users: impl IntoIterator<Item = UserKey>) {
        self.round += 1;
        let round = self.round;
        self.reviews.extend(users.into_iter().map(|user| (user, round)));
    }

    /// The round that a roster is to be gone through for.
    pub(crate) fn review(&self, user: UserKey) -> Option<u64> {
        self.reviews.get(&user).copied()
    }

    /// A roster that has been gone through for a round is in storage.
    pub(crate) fn note_reviewed(&mut self, user: UserKey, round: Option<u64>) {
        if self.review(user) == round {
            self.reviews.remove(&user);
        }
    }

    /// There is no such roster any more. Others may still have the user.
    pub(crate) fn forget_roster(&mut self, user: UserKey) {
        self.reviews.remove(&user);
    }

    /// Everybody whose roster a group's partings concern.
    pub(crate) fn concerned(&self, directory: &Directory, group: &Name) -> BTreeSet<UserKey> {
        let Some(leavers) = self.left.get(group) else { return BTreeSet::new() };
        let members = directory.find(group).into_iter().flat_map(|(_, group)| group.members());
        leavers.iter().copied().chain(members).collect()
    }

    /// For one user: the groups that take back, and the contacts they do not share with the user any more.
    pub(crate) fn contacts(&self, directory: &Directory, user: UserKey) -> Vec<(Name, Vec<UserKey>)> {
        let mut all = Vec::new();
        for (id, leavers) in &self.left {
            let group = directory.find(id).map(|(key, _)| key);
            let is_member = |user| group.is_some_and(|key| directory.is_member(key, user));
            let stays = is_member(user);
            let contacts: Vec<_> = if leavers.contains(&user) && !stays {
                self.concerned(directory, id).into_iter().filter(|&contact| contact != user).collect()
            } else if stays {
                leavers.iter().copied().filter(|&contact| contact != user && !is_member(contact)).collect()
            } else {
                Vec::new()
            };
            if !contacts.is_empty() {
                all.push((id.clone(), contacts));
            }
        }
        all
    }

    /// The groups that a user has left, which have nothing to do with the user's roster once it has been gone through.
    pub(crate) fn left_by(&self, directory: &Directory, user: UserKey) -> Vec<Name> {
        let member = |id: &Name| directory.find(id).is_some_and(|(key, _)| directory.is_member(key, user));
        let left = self.left.iter().filter(|(_, leavers)| leavers.contains(&user));
        left.map(|(id, _)| id.clone()).filter(|id| !member(id)).collect()
    }

    /// Forgets the partings that every roster has been gone through for. One that an operation is at is not.
    pub(crate) fn strike(&mut self, directory: &Directory, turns: &mut Turns) {
        let done: Vec<_> = {
            let open = |id: &Name| self.concerned(directory, id).iter().any(|user| self.reviews.contains_key(user));
            self.left.keys().filter(|id| !turns.is_taken(&Place::Group((*id).clone())) && !open(id)).cloned().collect()
        };
        for id in done {
            self.left.remove(&id);
        }
    }
}

impl Call {
    /// Has storage know what a group takes back when these members leave it, before they do. The caller has the group's turn.
    pub(crate) async fn note_parting(&self, id: &Name, leavers: Vec<UserKey>) -> Result<(), Error> {
        {
            let mut state = self.state();
            let takes_back = state.options.remove_contacts || state.options.virtual_contacts;
            if !takes_back || leavers.is_empty() {
                // It may have been noted before that they leave, and not have come about.
                leavers.iter().for_each(|&user| state.rosters.partings.rejoin(id, user));
                return Ok(());
            }
            // Should they not leave after all, it is struck.
            state.rosters.news = true;
            state.rosters.partings.note(id, leavers.iter().copied());
            if !state.stores_contacts() {
                return Ok(());
            }
        }
        let noted = |state: &State| {
            let names = state.marker.partings.get(id);
            leavers.iter().all(|&user| names.is_some_and(|names| names.contains(&state.directory.user_name(user))))
        };
        let stored = self.take_turn_and_store_marker(noted).await;
        let Err(reason) = stored else { return Ok(()) };
        self.refuse_unmarked(&reason).await
    }

    /// Takes back from the rosters in memory what [`State::begin_parting`] has the others gone through for. `leaver`: the one that
    /// left, if it was one only.
    pub(crate) async fn part(&self, id: &Name, leaver: Option<UserKey>) {
        let concerned: Vec<_> = {
            let state = self.state();
            state.rosters.partings.concerned(&state.directory, id).into_iter().collect()
        };
        let scope = |owner| leaver.filter(|&leaver| leaver != owner).map_or(Scope::All, Scope::Contact);
        let loaded = self.queue_loaded(concerned.clone(), scope).await;
        let mut state = self.state();
        if !state.stores_contacts() {
            // Virtual contacts are in memory or nowhere.
            let offline = concerned.into_iter().filter(|user| !loaded.contains(user));
            offline.for_each(|user| state.rosters.partings.forget_roster(user));
        }
    }
}

impl State {
    /// Members have left a group: has every roster that this concerns gone through. To be called in the group's turn, for without
    /// that the partings look done.
    pub(crate) fn begin_parting(&mut self, id: &Name, now: f64) {
        let stores = self.stores_contacts();
        let State { directory, rosters, .. } = self;
        let concerned = rosters.partings.concerned(directory, id);
        rosters.partings.review_all(concerned.iter().copied());
        if stores {
            rosters.enqueue(concerned, now);
        }
    }
}
