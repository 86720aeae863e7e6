//! Which groups are unsettled, and the marker that says so in storage.

use std::collections::{BTreeMap, BTreeSet};

use crate::engine::effect::{Effect, Level};
use crate::engine::operation::Call;
use crate::engine::state::directory::{GroupKey, UserKey};
use crate::engine::state::filled;
use crate::engine::state::marker::Marker;
use crate::engine::state::name::Name;
use crate::engine::turns::Place;
use crate::engine::{Error, State};

/// When a marker that could not be stored is tried again, in seconds.
const FAILURE_PAUSE: f64 = 10.0;

/// When a marker whose turn another operation has is tried again, in seconds.
const BUSY_PAUSE: f64 = 1.0;

/// How many unsettled groups the marker lists. When there are more, it says that every group is unsettled: so a marker
/// of many groups is written once, and not anew with each of them.
const MOST_LISTED: usize = 64;

/// Groups with members whose contact lists are not all in storage.
#[derive(Debug, Default)]
pub(crate) struct Unsettled {
    /// True for those that wait for a `sync`.
    pub(crate) groups: BTreeMap<GroupKey, bool>,
    /// One of two members may have the other in the list and not the other way round: a `sync` was waited for.
    pub(crate) one_sided: bool,
    /// Unsettled groups that could not be read.
    pub(crate) unread: BTreeSet<Name>,
    /// Every group was unsettled when the engine started, or its mode changed.
    pub(crate) everything: bool,
    /// The data are the Lua module's, and not every contact list has been settled since: see
    /// [`Plan::adopt`](crate::engine::Plan).
    pub(crate) adopting: bool,
    /// Contacts that groups bring are virtual, and none is left in storage.
    pub(crate) virtual_only: bool,
    /// Contacts are virtual, or were once.
    pub(crate) was_virtual: bool,
}

impl Unsettled {
    /// Notes that a group waits for a `sync`.
    pub(crate) fn delay(&mut self, group: GroupKey) {
        self.groups.insert(group, true);
        self.one_sided = true;
    }
}

impl Call {
    /// Stores the marker as it should be now. The caller has the marker's turn.
    pub(crate) async fn store_marker(&self) -> Result<(), String> {
        let wanted = self.state().wanted_marker();
        self.done(Effect::StoreMarker(wanted.clone())).await?;
        let mut state = self.state();
        state.versions.note_stored(wanted.generation);
        state.marker = wanted;
        Ok(())
    }

    /// Notes in the marker that groups are unsettled, before anything that makes them so is stored.
    pub(crate) async fn mark_unsettled(&self, groups: &[GroupKey]) -> Result<(), Error> {
        {
            let mut state = self.state();
            if !state.stores_contacts() {
                return Ok(());
            }
            let unsettled = &mut state.unsettled.groups;
            for &group in groups {
                unsettled.entry(group).or_insert(false);
            }
        }
        let stored = self.take_turn_and_store_marker(|state| state.marker_covers(groups)).await;
        let Err(reason) = stored else { return Ok(()) };
        self.refuse_unmarked(&reason).await
    }

    /// Notes in the marker that a member is added whose account nobody knows: a check must not take it for a deleted
    /// one.
    pub(crate) async fn mark_awaited(&self, user: UserKey) -> Result<(), Error> {
        self.mark_all_awaited(&[user]).await
    }

    /// The same for several members.
    pub(crate) async fn mark_all_awaited(&self, users: &[UserKey]) -> Result<(), Error> {
        if users.is_empty() {
            return Ok(());
        }
        self.state().accounts.awaiting.extend(users);
        let listed =
            |state: &State| users.iter().all(|&user| state.marker.awaiting.contains(&state.directory.user_name(user)));
        let stored = self.take_turn_and_store_marker(listed).await;
        let Err(reason) = stored else { return Ok(()) };
        self.refuse_unmarked(&reason).await
    }

    /// Notes in the marker that every group is unsettled, also those that are yet to be made.
    pub(crate) async fn mark_everything(&self) -> Result<(), Error> {
        self.state().unsettled.everything = true;
        let stored = self.take_turn_and_store_marker(|state| state.marker.everything).await;
        let Err(reason) = stored else { return Ok(()) };
        self.refuse_unmarked(&reason).await
    }

    /// Stores the marker as it should be when its turn has come, unless the one in storage will do by then.
    pub(crate) async fn take_turn_and_store_marker(&self, will_do: impl FnOnce(&State) -> bool) -> Result<(), String> {
        let Ok(turn) = self.turn(Place::Marker).await else {
            return Err("another operation keeps it for too long".to_owned());
        };
        let will_do = will_do(&self.state());
        let stored = if will_do { Ok(()) } else { self.store_marker().await };
        self.end(turn).await;
        stored
    }

    /// Logs that the marker cannot be stored, and answers with the error for the operation. What the operation has
    /// listed stays until the marker is next cleared: another operation may rely on it by now.
    pub(crate) async fn refuse_unmarked(&self, reason: &str) -> Result<(), Error> {
        self.state().work.news = true;
        let text = format!("The record of open work cannot be stored, so nothing is changed: {reason}");
        self.log(Level::Error, text).await;
        Err(Error::Internal)
    }

    /// Strikes what is settled off the marker. Returns how long to wait before the next time, in seconds.
    pub(crate) async fn clear_marker(&self) -> f64 {
        let Some(turn) = self.try_turn(Place::Marker) else {
            return BUSY_PAUSE;
        };
        let due = {
            let mut state = self.state();
            state.strike_settled();
            state.work.news = false;
            state.wanted_marker() != state.marker
        };
        let stored = if due { self.store_marker().await } else { Ok(()) };
        self.end(turn).await;
        let Err(reason) = stored else { return 0.0 };
        self.state().work.news = true;
        self.log(Level::Warn, format!("The record of open work cannot be stored, it is tried again: {reason}")).await;
        FAILURE_PAUSE
    }
}

impl State {
    /// Queues the rosters of all members of a group for the background work.
    pub(crate) fn enqueue_group(&mut self, key: GroupKey, now: f64) {
        let stores = self.stores_contacts();
        let State { directory, unsettled, work, .. } = self;
        if let Some(delayed) = unsettled.groups.get_mut(&key) {
            *delayed = false;
        }
        if !stores {
            return;
        }
        work.enqueue(directory.group(key).into_iter().flat_map(|group| group.members()), now);
    }

    /// Queues the rosters of a group that waits for a `sync`.
    pub(crate) fn end_delay(&mut self, key: GroupKey, now: f64) {
        if self.unsettled.groups.get(&key) == Some(&true) {
            self.enqueue_group(key, now);
        }
    }

    fn marker_covers(&self, groups: &[GroupKey]) -> bool {
        let listed =
            |key: &GroupKey| self.directory.group(*key).is_none_or(|group| self.marker.unsettled.contains(&group.id));
        self.marker.everything || groups.iter().all(listed)
    }

    /// The marker that tells of all that is open now.
    pub(crate) fn wanted_marker(&self) -> Marker {
        let State { directory, unsettled, accounts, withdrawals, deletions, partings, versions, .. } = self;
        let id = |key: &GroupKey| Some(directory.group(*key)?.id.clone());
        let name = |user: &UserKey| directory.user_name(*user);
        let names = |users: &BTreeSet<UserKey>| -> BTreeSet<_> { filled(users.iter().map(name)) };
        let mut withdrawn: BTreeMap<Name, BTreeSet<Name>> = BTreeMap::new();
        for (owner, gone) in withdrawals.all() {
            for user in gone {
                withdrawn.entry(name(user)).or_default().insert(name(&owner));
            }
        }
        let open = partings.all().filter(|_| self.stores_contacts());
        let stayed = open.filter(|(_, parting)| !parting.stayed.is_empty());
        let leavers = partings.leavers().into_iter().filter(|_| self.stores_contacts());
        let listed = unsettled.groups.len() + unsettled.unread.len();
        let everything = unsettled.everything || (listed > MOST_LISTED && self.stores_contacts());
        Marker {
            generation: versions.next_generation,
            doubtful_before: versions.doubtful_before,
            everything,
            adopting: unsettled.adopting,
            virtual_only: unsettled.virtual_only,
            was_virtual: unsettled.was_virtual,
            unsettled: if everything || !self.stores_contacts() {
                BTreeSet::new()
            } else {
                filled(unsettled.groups.keys().filter_map(id).chain(unsettled.unread.iter().cloned()))
            },
            awaiting: names(&accounts.awaiting),
            lost: names(&accounts.lost),
            withdrawals: withdrawn,
            deletions: filled(
                deletions.open.iter().map(|(gone, groups)| (name(gone), filled(groups.iter().filter_map(id)))),
            ),
            partings: filled(leavers.map(|(id, leavers)| (id, names(&leavers)))),
            stayed: filled(stayed.map(|(id, parting)| (id.clone(), names(&parting.stayed)))),
            rooms: self.room_saves.listed(),
            copies: self.copies.clone(),
        }
    }

    /// Forgets the groups that are settled, unless an operation has the group's turn.
    fn strike_settled(&mut self) {
        let busy = self.work.busy();
        let State { directory, unsettled, accounts, deletions, partings, turns, options, room_saves, .. } = self;
        unsettled.groups.retain(|&key, &mut delayed| {
            let Some(group) = directory.group(key) else {
                return false;
            };
            delayed
                || turns.is_taken(&Place::Group(group.id.clone()))
                || (!busy.is_empty() && group.members().any(|m| busy.contains(&m)))
        });
        unsettled.one_sided &= !unsettled.groups.is_empty();
        unsettled.everything &= !busy.is_empty() || turns.is_taken(&Place::Restore);
        unsettled.adopting &= unsettled.everything;
        unsettled.virtual_only = options.virtual_contacts && !unsettled.everything;
        partings.strike(directory, turns);
        room_saves.strike(|id| self.unreadable.contains(id));
        deletions.open.retain(|&user, groups| {
            groups.retain(|&key| directory.is_member(key, user));
            !groups.is_empty()
        });
        accounts.awaiting.retain(|&user| !directory.groups_of(user).is_empty());
        accounts.lost.retain(|&user| !directory.groups_of(user).is_empty());
    }

    /// What a roster is to lose as of now.
    pub(crate) fn removals(&self, user: UserKey) -> Removals {
        Removals { withdrawn: filled(self.withdrawals.of(user)), review: self.partings.review(user) }
    }

    /// Forgets all work on the roster of an account that is gone.
    pub(crate) fn drop_roster(&mut self, user: UserKey) {
        self.work.drop_roster(user);
        self.outbox.pushes.remove(&user);
        self.versions.forget(user);
        self.withdrawals.forget_roster(user);
        self.partings.forget_roster(user);
        self.spared.end(user);
        self.accounts.awaiting.remove(&user);
        self.accounts.lost.remove(&user);
        self.work.news = true;
    }
}

/// What a roster is to lose.
#[derive(Clone, Debug, Default)]
pub(crate) struct Removals {
    /// Contacts whose accounts are gone.
    pub(crate) withdrawn: BTreeSet<UserKey>,
    /// The round of partings that it is to be settled for.
    pub(crate) review: Option<u64>,
}

impl Removals {
    pub(crate) fn is_empty(&self) -> bool {
        self.withdrawn.is_empty() && self.review.is_none()
    }
}
