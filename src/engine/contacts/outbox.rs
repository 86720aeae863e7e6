//! What clients are still to be told: pushes, presence, invitations.

use std::collections::{BTreeSet, VecDeque};
use std::hash::Hash;

use rustc_hash::FxHashMap;

use crate::engine::effect::{Effect, Push};
use crate::engine::state::directory::{Directory, UserKey};
use crate::engine::state::name::Name;

/// How many announcements are made before the clock is read again.
const BATCH: usize = 4;

/// Announcements by whom (or what) they are about, first come, first served.
#[derive(Debug)]
pub(crate) struct Queue<K> {
    order: VecDeque<K>,
    lists: FxHashMap<K, VecDeque<UserKey>>,
}

impl<K> Default for Queue<K> {
    fn default() -> Self {
        Queue { order: VecDeque::new(), lists: FxHashMap::default() }
    }
}

impl<K: Clone + Eq + Hash> Queue<K> {
    pub(crate) fn add(&mut self, key: K, users: impl IntoIterator<Item = UserKey>) {
        let list = self.lists.entry(key.clone()).or_insert_with(|| {
            self.order.push_back(key);
            VecDeque::new()
        });
        list.extend(users);
    }

    /// Adds one, unless it is there.
    pub(crate) fn add_once(&mut self, key: K, user: UserKey) {
        if !self.lists.get(&key).is_some_and(|list| list.contains(&user)) {
            self.add(key, [user]);
        }
    }

    /// Takes one out.
    pub(crate) fn drop_one(&mut self, key: &K, user: UserKey) {
        let Some(list) = self.lists.get_mut(key) else { return };
        list.retain(|&other| other != user);
        if list.is_empty() {
            self.remove(key);
        }
    }

    /// The next few, and whether they are the last of their key.
    pub(crate) fn take(&mut self) -> Option<(K, Vec<UserKey>, bool)> {
        let key = self.order.front()?.clone();
        self.take_of(key)
    }

    fn take_of(&mut self, key: K) -> Option<(K, Vec<UserKey>, bool)> {
        let list = self.lists.get_mut(&key)?;
        let batch = list.drain(..list.len().min(BATCH)).collect();
        let last = list.is_empty();
        if last {
            self.remove(&key);
        }
        Some((key, batch, last))
    }

    pub(crate) fn remove(&mut self, key: &K) {
        if self.lists.remove(key).is_some() {
            self.order.retain(|other| other != key);
        }
    }

    pub(crate) fn contains(&self, key: &K) -> bool {
        self.lists.contains_key(key)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.order.is_empty()
    }
}

/// What clients are still to be told.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    /// Users whose presence is seen no more: that of the first, by the others. Goes before the pushes, while they know
    /// each other.
    pub(crate) absences: Queue<UserKey>,
    /// Users who went offline while others were still to be told that they see them no more.
    gone: BTreeSet<UserKey>,
    /// Contacts to be pushed to a user.
    pub(crate) pushes: Queue<UserKey>,
    /// Presence to be sent: of the first, to the others. Follows the pushes, so that nobody hears of strangers.
    pub(crate) presences: Queue<UserKey>,
    /// Invitations to be sent to a room's new members, by the group and the room.
    pub(crate) invites: Queue<(Name, Box<[u8]>)>,
}

impl Outbox {
    pub(crate) fn is_empty(&self) -> bool {
        self.absences.is_empty() && self.pushes.is_empty() && self.presences.is_empty() && self.invites.is_empty()
    }

    /// Notes that the first user is to be told that the presence of the other is seen no more. What was still to be
    /// told of it comes too late.
    pub(crate) fn note_absence(&mut self, user: UserKey, contact: UserKey) {
        self.presences.drop_one(&contact, user);
        self.absences.add_once(contact, user);
    }

    /// Notes that a user's last session has ended while there is something to tell. Who is no contact of the user's any
    /// more was not told of that.
    pub(crate) fn note_gone(&mut self, user: UserKey) {
        self.gone.insert(user);
    }

    /// Notes that everybody has been told everything.
    pub(crate) fn note_told(&mut self) {
        self.gone.clear();
    }

    /// The next announcement, for a few contacts at a time, and whom a push is for.
    pub(crate) fn take(&mut self, directory: &Directory) -> Option<(Effect, Option<UserKey>)> {
        if let Some((user, others, _)) = self.absences.take() {
            let gone = self.gone.contains(&user);
            return Some((Effect::SendUnavailable(directory.user_name(user), directory.names(&others), gone), None));
        }
        if let Some((user, contacts, last)) = self.pushes.take() {
            return Some((push(directory, user, &contacts, last), Some(user)));
        }
        if let Some((user, others, _)) = self.presences.take() {
            return Some((Effect::SendPresence(directory.user_name(user), directory.names(&others)), None));
        }
        let ((id, room), users, _) = self.invites.take()?;
        Some((Effect::Invite(room, directory.label(&id), directory.names(&users)), None))
    }

    /// The next push to one user.
    pub(crate) fn take_push(&mut self, directory: &Directory, user: UserKey) -> Option<Effect> {
        let (_, contacts, last) = self.pushes.take_of(user)?;
        Some(push(directory, user, &contacts, last))
    }
}

fn push(directory: &Directory, user: UserKey, contacts: &[UserKey], last: bool) -> Effect {
    Effect::Push(Push { user: directory.user_name(user), contacts: directory.names(contacts), last })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::state::directory::Directory;

    #[test]
    fn a_key_is_served_in_batches_of_which_only_the_final_one_is_the_last() {
        let mut directory = Directory::default();
        let users: Vec<_> = ["a", "b", "c"].iter().map(|&name| directory.intern(&name.into())).collect();
        let mut outbox = Queue::default();
        outbox.add(1, std::iter::repeat_n(users[0], BATCH));
        outbox.add(2, [users[1]]);
        outbox.add(1, [users[2]]);
        assert_eq!(outbox.take(), Some((1, vec![users[0]; BATCH], false)));
        assert_eq!(outbox.take(), Some((1, vec![users[2]], true)));
        assert!(!outbox.contains(&1) && outbox.contains(&2));
        assert_eq!(outbox.take(), Some((2, vec![users[1]], true)));
        assert!(outbox.is_empty() && outbox.take().is_none());
    }

    #[test]
    fn a_presence_that_waits_is_not_sent_after_the_absence() {
        let mut directory = Directory::default();
        let [ann, bob, carl] = ["ann", "bob", "carl"].map(|name| directory.intern(&name.into()));
        let mut outbox = Outbox::default();
        outbox.presences.add(bob, [ann, carl]);
        outbox.presences.add(carl, [ann]);
        outbox.note_absence(ann, bob);
        outbox.note_absence(ann, carl);
        let mut told = Vec::new();
        while let Some((effect, _)) = outbox.take(&directory) {
            told.push(effect);
        }
        let [ann, bob, carl] = ["ann", "bob", "carl"].map(crate::engine::Name::from);
        let gone = |name: &crate::engine::Name| Effect::SendUnavailable(name.clone(), vec![ann.clone()], false);
        assert_eq!(told, [gone(&bob), gone(&carl), Effect::SendPresence(bob.clone(), vec![carl.clone()])]);
    }
}
