//! Partings: who has left which group, while contact lists still have to give up what the group has brought
//! (`groups_remove_contacts`, and virtual contacts).
//!
//! A parting is noted in the marker before it is stored that a member leaves. It names the group and who has left it:
//! those are to lose each other and the members as contacts, and the members them, as far as no other group brings the
//! contact. Every roster concerned is settled once; doing it again does no harm. That also holds for partings that were
//! noted and then did not come about: two who are both members keep each other.
//!
//! What was decided when somebody left holds for that parting, whatever the option says afterwards.
//!
//! When many leave, those who may be the next are noted *ahead*: the marker covers removals that are yet to come, and
//! is not written anew with each of them.

use std::collections::{BTreeMap, BTreeSet};
use std::iter;

use crate::engine::state::directory::{Directory, Group, GroupKey, UserKey};
use crate::engine::state::name::Name;
use crate::engine::turns::{Place, Turns};

/// The parting of one group.
#[derive(Debug, Default)]
pub(crate) struct Parting {
    /// Who has left the group, and is to lose the others; with the time, as [`Partings::clock`] has it.
    pub(crate) leavers: BTreeMap<UserKey, u64>,
    /// Who has joined it since the first of them left, with the time. A restart forgets this.
    joined: BTreeMap<UserKey, u64>,
    /// Who was a member then, and has left since without a parting: they lose the leavers only.
    pub(crate) stayed: BTreeSet<UserKey>,
}

/// How many leavers are open before any is noted ahead: after a crash, every roster that the marker concerns is looked
/// at, and a few removals should not concern more than they must.
const FEW: usize = 8;

/// How many are noted ahead for each that is open: so many along users' groups, and as many along groups' members.
const AHEAD: usize = 4;

/// The open partings of all groups.
#[derive(Debug, Default)]
pub(crate) struct Partings {
    /// By the group, which may be gone.
    open: BTreeMap<Name, Parting>,
    /// Members who may be the next to leave, by the group.
    ahead: BTreeMap<Name, BTreeSet<UserKey>>,
    /// Rosters to be settled, each with the latest round that it is to be settled for.
    reviews: BTreeMap<UserKey, u64>,
    /// Counts who joins, and what is to be settled.
    clock: u64,
}

impl Parting {
    /// Whether somebody has joined after this leaver was gone: the two have not been in the group together.
    fn has_missed(&self, leaver: UserKey, other: UserKey) -> bool {
        self.joined.get(&other).is_some_and(|joined| self.leavers.get(&leaver).is_some_and(|left| left < joined))
    }
}

impl Partings {
    /// All groups with an open parting, for the marker.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&Name, &Parting)> {
        self.open.iter()
    }

    /// Who has left which group, and who may be the next, for the marker.
    pub(crate) fn leavers(&self) -> BTreeMap<Name, BTreeSet<UserKey>> {
        let mut all = self.ahead.clone();
        for (id, parting) in &self.open {
            all.entry(id.clone()).or_default().extend(parting.leavers.keys());
        }
        all
    }

    pub(crate) fn is_open(&self, group: &Name) -> bool {
        self.open.contains_key(group)
    }

    /// Notes that users leave a group. The members who stay are found when the parting is used. Who joins later is not
    /// among them.
    pub(crate) fn note(&mut self, group: &Name, leavers: impl IntoIterator<Item = UserKey>) {
        let left = leavers.into_iter().map(|user| (user, self.clock));
        self.open.entry(group.clone()).or_default().leavers.extend(left);
    }

    /// Notes who may leave after `user` has left `group`, in place of those who were noted before: the user other
    /// groups, other members this one, and so on.
    pub(crate) fn note_ahead(&mut self, directory: &Directory, group: &Name, user: UserKey) {
        self.ahead.clear();
        let open: usize = self.open.values().map(|parting| parting.leavers.len()).sum();
        let Some((key, _)) = directory.find(group).filter(|_| open >= FEW) else { return };
        let members = |key| directory.group(key).into_iter().flat_map(Group::members);
        let groups = |user| directory.groups_of(user).iter().copied();
        let by_user = iter::once(user).chain(members(key)).flat_map(|user| groups(user).map(move |key| (key, user)));
        let by_group = iter::once(key).chain(groups(user)).flat_map(|key| members(key).map(move |user| (key, user)));
        self.note_some_ahead(directory, by_user, AHEAD * open);
        self.note_some_ahead(directory, by_group, AHEAD * open);
    }

    fn note_some_ahead(
        &mut self,
        directory: &Directory,
        memberships: impl Iterator<Item = (GroupKey, UserKey)>,
        mut left: usize,
    ) {
        for (key, user) in memberships {
            let Some(group) = directory.group(key) else { continue };
            let is_open = self.open.get(&group.id).is_some_and(|parting| parting.leavers.contains_key(&user));
            if !is_open && self.ahead.entry(group.id.clone()).or_default().insert(user) {
                left -= 1;
            }
            if left == 0 {
                return;
            }
        }
    }

    /// Notes that users leave a group without a parting of their own. One that was noted before did not come about.
    pub(crate) fn note_stayed(&mut self, group: &Name, users: impl IntoIterator<Item = UserKey>) {
        let mut ahead = self.ahead.get_mut(group);
        let mut open = self.open.get_mut(group);
        for user in users {
            if let Some(ahead) = &mut ahead {
                ahead.remove(&user);
            }
            if let Some(parting) = &mut open {
                parting.leavers.remove(&user);
                parting.stayed.insert(user);
            }
        }
    }

    /// Notes that a user is a member now. Who has left before is taken out of the group's parting, unless others have
    /// left since without one: they lose the user all the same.
    pub(crate) fn join(&mut self, group: &Name, user: UserKey) {
        let Some(parting) = self.open.get_mut(group) else { return };
        let is_back = parting.stayed.remove(&user) || parting.leavers.contains_key(&user);
        if parting.stayed.is_empty() {
            parting.leavers.remove(&user);
        }
        if !is_back {
            self.clock += 1;
            parting.joined.insert(user, self.clock);
        }
    }

    /// Notes that rosters are to be settled, also those that were settled before.
    pub(crate) fn review_all(&mut self, users: impl IntoIterator<Item = UserKey>) {
        self.clock += 1;
        let round = self.clock;
        self.reviews.extend(users.into_iter().map(|user| (user, round)));
    }

    /// The round that a roster is to be settled for.
    pub(crate) fn review(&self, user: UserKey) -> Option<u64> {
        self.reviews.get(&user).copied()
    }

    /// Notes that a roster that was settled for this round is in storage.
    pub(crate) fn note_reviewed(&mut self, user: UserKey, round: Option<u64>) {
        if self.review(user) == round {
            self.reviews.remove(&user);
        }
    }

    /// Forgets a roster that is gone. Others may still have the user.
    pub(crate) fn forget_roster(&mut self, user: UserKey) {
        self.reviews.remove(&user);
    }

    /// Everybody whose roster a group's partings concern.
    pub(crate) fn concerned(&self, directory: &Directory, group: &Name) -> BTreeSet<UserKey> {
        let Some(parting) = self.open.get(group) else { return BTreeSet::new() };
        let members = directory.find(group).into_iter().flat_map(|(_, group)| group.members());
        parting.leavers.keys().chain(&parting.stayed).copied().chain(members).collect()
    }

    /// For one user: the groups that the user or others have left, and the contacts that the user and the group no
    /// longer share.
    pub(crate) fn contacts(&self, directory: &Directory, user: UserKey) -> Vec<(Name, Vec<UserKey>)> {
        let mut all = Vec::new();
        for (id, parting) in &self.open {
            let group = directory.find(id).map(|(key, _)| key);
            let is_member = |user| group.is_some_and(|key| directory.is_member(key, user));
            let mut contacts: Vec<_> = if parting.leavers.contains_key(&user) {
                self.concerned(directory, id).into_iter().collect()
            } else if is_member(user) || parting.stayed.contains(&user) {
                parting.leavers.keys().copied().collect()
            } else {
                Vec::new()
            };
            // A leaver who is a member was noted and did not leave, or is back.
            let has_missed = |leaver, other| !is_member(leaver) && parting.has_missed(leaver, other);
            let are_members = |other| is_member(user) && is_member(other);
            contacts.retain(|&c| c != user && !are_members(c) && !has_missed(user, c) && !has_missed(c, user));
            if !contacts.is_empty() {
                all.push((id.clone(), contacts));
            }
        }
        all
    }

    /// Forgets the partings for which every roster was settled, unless an operation has the group's turn.
    pub(crate) fn strike(&mut self, directory: &Directory, turns: &mut Turns) {
        let done: Vec<_> = {
            let open = |id: &Name| self.concerned(directory, id).iter().any(|user| self.reviews.contains_key(user));
            self.open.keys().filter(|id| !turns.is_taken(&Place::Group((*id).clone())) && !open(id)).cloned().collect()
        };
        for id in done {
            self.open.remove(&id);
        }
        if self.open.is_empty() {
            self.ahead.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::state::info::Info;
    use crate::engine::state::value::Value;

    /// Groups g0, g1 and so on, all of the same members: user0, user1 and so on.
    fn groups(groups: usize, members: usize) -> (Directory, Vec<Name>, Vec<UserKey>) {
        let mut directory = Directory::default();
        let ids: Vec<_> = (0..groups).map(|number| Name::from(&*format!("g{number}"))).collect();
        let name = |number| Name::from(&*format!("user{number}"));
        let users: Vec<_> = (0..members).map(|number| directory.intern(&name(number))).collect();
        for id in &ids {
            let key = directory.insert(id.clone(), Info::default());
            users.iter().for_each(|&user| directory.add_member(key, user, Value::empty()));
        }
        (directory, ids, users)
    }

    fn leave(partings: &mut Partings, directory: &mut Directory, group: &Name, user: UserKey) {
        partings.note(group, [user]);
        let key = directory.find(group).map(|(key, _)| key);
        key.into_iter().for_each(|key| directory.remove_member(key, user));
        partings.note_ahead(directory, group, user);
    }

    #[test]
    fn who_may_leave_next_is_foreseen_in_the_users_other_groups_and_among_the_other_members() {
        let (mut directory, ids, users) = groups(60, 60);
        let leaver = users[59];
        let mut partings = Partings::default();
        for (open, id) in ids[..FEW].iter().enumerate() {
            assert_eq!(partings.leavers().len(), open, "a few are not worth it");
            leave(&mut partings, &mut directory, id, leaver);
        }
        let leavers = partings.leavers();
        assert_eq!(leavers.values().filter(|users| users.contains(&leaver)).count(), FEW + AHEAD * FEW);
        assert_eq!(leavers[&ids[FEW - 1]].len(), 1 + AHEAD * FEW);
        assert_eq!(leavers.values().map(BTreeSet::len).sum::<usize>(), FEW + 2 * AHEAD * FEW);
    }

    #[test]
    fn who_joins_has_missed_those_who_left_before_and_nobody_who_leaves_later() {
        let (mut directory, ids, users) = groups(1, 3);
        let (g, [ann, bob, carl]) = (&ids[0], [0, 1, 2].map(|number| users[number]));
        let key = directory.groups_of(ann)[0];
        directory.remove_member(key, carl);
        let mut partings = Partings::default();
        leave(&mut partings, &mut directory, g, bob);
        partings.join(g, carl);
        directory.add_member(key, carl, Value::empty());
        leave(&mut partings, &mut directory, g, ann);
        let lost =
            |user| partings.contacts(&directory, user).into_iter().flat_map(|(_, lost)| lost).collect::<Vec<_>>();
        assert_eq!([lost(ann), lost(bob), lost(carl)], [vec![bob, carl], vec![ann], vec![ann]]);
    }

    #[test]
    fn who_was_noted_and_did_not_leave_is_lost_by_who_joined_and_left_since() {
        let (mut directory, ids, users) = groups(1, 2);
        let (g, [ann, bob]) = (&ids[0], [users[0], users[1]]);
        let key = directory.groups_of(ann)[0];
        directory.remove_member(key, bob);
        let mut partings = Partings::default();
        partings.note(g, [ann]);
        partings.join(g, bob);
        directory.add_member(key, bob, Value::empty());
        leave(&mut partings, &mut directory, g, bob);
        assert_eq!(partings.contacts(&directory, bob), [(g.clone(), vec![ann])]);
        assert_eq!(partings.contacts(&directory, ann), [(g.clone(), vec![bob])]);
    }

    #[test]
    fn who_is_back_is_still_lost_by_those_who_have_left_since_without_a_parting() {
        let (mut directory, ids, users) = groups(1, 3);
        let (g, [ann, bob, carl]) = (&ids[0], [users[0], users[1], users[2]]);
        let key = directory.groups_of(ann)[0];
        let all = |partings: &Partings, directory: &Directory| {
            let lost = |user| partings.contacts(directory, user).into_iter().flat_map(|(_, lost)| lost);
            [ann, bob, carl].map(|user| lost(user).collect::<Vec<_>>())
        };
        let mut partings = Partings::default();
        leave(&mut partings, &mut directory, g, ann);
        partings.note_stayed(g, [bob]);
        directory.remove_member(key, bob);
        partings.join(g, ann);
        directory.add_member(key, ann, Value::empty());
        assert_eq!(all(&partings, &directory), [vec![bob], vec![ann], vec![]]);
        partings.join(g, bob);
        directory.add_member(key, bob, Value::empty());
        assert_eq!(all(&partings, &directory), [vec![], vec![], vec![]], "all are back");
    }

    #[test]
    fn a_roster_that_is_to_be_settled_again_meanwhile_is_not_done() {
        let (_, _, users) = groups(1, 1);
        let mut partings = Partings::default();
        partings.review_all([users[0]]);
        let first = partings.review(users[0]);
        partings.review_all([users[0]]);
        partings.note_reviewed(users[0], first);
        let second = partings.review(users[0]);
        assert!(second.is_some());
        partings.note_reviewed(users[0], second);
        assert_eq!(partings.review(users[0]), None);
    }
}
