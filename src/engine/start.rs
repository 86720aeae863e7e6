//! Reading storage at start, and keeping the marker.

use std::collections::{BTreeMap, BTreeSet};

use crate::engine::contacts::plan::Scope;
use crate::engine::effect::{Effect, Level, Reply};
use crate::engine::operation::Call;
use crate::engine::state::directory::UserKey;
use crate::engine::turns::Place;
use crate::engine::{
    Answer, Copy, Engine, Error, GroupKey, Info, Marker, Name, Operation, Phase, State, StoredMembers, Value,
};

/// When a marker that could not be stored is tried again, in seconds.
const FAILURE_PAUSE: f64 = 10.0;

/// When a marker that another operation is at is looked at again, in seconds.
const BUSY_PAUSE: f64 = 1.0;

impl Engine {
    /// Reads all groups from storage. Look-ups see them when it has ended, and operations begun meanwhile go on then.
    ///
    /// `epoch` is a number higher than any count of starts, such as the minutes of the calendar: it stands in for the generation
    /// of a marker that cannot be read.
    ///
    /// # Errors
    /// [`Error::Internal`] if the stores cannot be listed; it may be tried again.
    pub fn load(&self, epoch: u64) -> Operation {
        self.start(move |call| async move {
            call.load(epoch).await?;
            Ok(Answer::Done)
        })
    }

    /// Reconciles rosters that are in memory: those of sessions that were online before the module was loaded.
    pub fn adopt(&self, users: Vec<Name>) -> Operation {
        self.start(move |call| async move {
            call.ready().await?;
            {
                let mut state = call.state();
                let known: Vec<_> = users.iter().filter_map(|name| state.directory.find_user(name)).collect();
                state.rosters.urgent.extend(known.into_iter().map(|user| (user, Scope::All)));
            }
            call.settle_urgent().await;
            Ok(Answer::Done)
        })
    }
}

impl Call {
    async fn load(&self, epoch: u64) -> Result<(), Error> {
        if self.state().phase == Phase::Ready {
            return self.change_mode().await;
        }
        let marker = self.read_marker(epoch).await?;
        let ids = match self.perform(Effect::ListGroups).await {
            Reply::Names(ids) => ids,
            other => {
                self.log(Level::Error, format!("Groups cannot be read, no group works until they can: {other:?}"))
                    .await;
                return Err(Error::Internal);
            }
        };
        let mut records = Vec::with_capacity(ids.len());
        for id in ids {
            records.extend(self.read_group(id).await);
        }
        self.state().take_in(records);
        for (id, copy) in marker.iter().flat_map(|marker| &marker.copies) {
            if !self.restore_copy(id, copy).await {
                self.state().copies.insert(id.clone(), copy.clone());
            }
        }
        self.state().take_up(marker);
        self.list_present().await;
        let turn = self.turn(Place::Marker).await?;
        let stored = self.store_marker().await;
        self.end(turn).await;
        if let Err(reason) = stored {
            let text = "Contact lists are left as they are until the record of open work can be stored";
            self.log(Level::Error, format!("{text}: {reason}")).await;
            self.state().rosters.news = true;
        }
        self.perform(Effect::Wake).await;
        Ok(())
    }

    /// After a reload: contacts may be virtual now that were not, or the other way round.
    async fn change_mode(&self) -> Result<(), Error> {
        let changed = {
            let state = self.state();
            !state.rosters.everything && state.rosters.cleared != state.options.virtual_contacts
        };
        if !changed {
            return Ok(());
        }
        self.list_present().await;
        self.state().rosters.cleared = false;
        self.mark_everything().await?;
        let now = self.now();
        let mut state = self.state();
        let keys: Vec<_> = state.directory.groups().map(|(key, _)| key).collect();
        for key in keys {
            state.rosters.unsettled.entry(key).or_insert(false);
            state.enqueue_group(key, now);
        }
        Ok(())
    }

    /// With virtual contacts, every list needs to know of all members whether they have accounts: one list of all accounts spares
    /// a question for each.
    async fn list_present(&self) {
        if !self.state().options.virtual_contacts {
            return;
        }
        let Reply::Names(names) = self.perform(Effect::ListAccounts).await else { return };
        let now = self.now();
        let mut state = self.state();
        for name in names {
            if let Some(user) = state.directory.find_user(&name) {
                state.accounts.learn(user, true, now);
            }
        }
    }

    /// The marker in storage. One that cannot be understood counts as: everything is open.
    async fn read_marker(&self, epoch: u64) -> Result<Option<Marker>, Error> {
        match self.perform(Effect::ReadMarker).await {
            Reply::Value(None) => Ok(None),
            Reply::Value(Some(value)) => match Marker::from_value(&value) {
                Some(marker) => Ok(Some(marker)),
                None => {
                    let text = "The record of open work is damaged: all contact lists are gone through once";
                    self.log(Level::Warn, text.to_owned()).await;
                    Ok(Some(Marker { generation: epoch.saturating_sub(1), everything: true, ..Marker::default() }))
                }
            },
            other => {
                let text = "The record of open work cannot be read, no group works until it can";
                self.log(Level::Error, format!("{text}: {other:?}")).await;
                Err(Error::Internal)
            }
        }
    }

    async fn read_group(&self, id: Name) -> Option<(Name, Info, StoredMembers)> {
        match self.perform(Effect::ReadGroup(id.clone())).await {
            Reply::Record { info, members } => Some((id, Info::from_value(info?), members.unwrap_or_default())),
            other => {
                let text =
                    format!("Group {id} cannot be read and is left out until the module is loaded again: {other:?}");
                self.log(Level::Error, text).await;
                self.state().unreadable.insert(id);
                None
            }
        }
    }

    /// Puts a group back whose records an account of its name may have taken along. The copy is what counts: where a purge is
    /// late, what was stored before it is gone, and rows that were stored after it are not all. False if storage would not have it.
    pub(crate) async fn restore_copy(&self, id: &Name, copy: &Copy) -> bool {
        let Copy { info, members } = copy;
        let stored = self.store_whole(id, info, members).await;
        if let Err(reason) = &stored {
            let text = format!("Group {id} was removed from storage along with the account of that name: {reason}");
            self.log(Level::Error, text).await;
        }
        let mut state = self.state();
        state.unreadable.remove(id);
        let key = state.directory.insert(id.clone(), info.clone());
        state.directory.load_members(key, members.iter().cloned());
        stored.is_ok()
    }

    /// Stores both records of a group.
    pub(crate) async fn store_whole(&self, id: &Name, info: &Info, members: &[(Name, Value)]) -> Result<(), String> {
        self.done(Effect::StoreInfo(id.clone(), Some(info.clone()))).await?;
        let record = (!members.is_empty()).then(|| members.to_vec());
        self.done(Effect::StoreMembers(id.clone(), record)).await
    }

    /// Stores the marker as it should be now. The caller has the marker's turn.
    pub(crate) async fn store_marker(&self) -> Result<(), String> {
        let wanted = self.state().wanted_marker();
        self.done(Effect::StoreMarker(wanted.clone())).await?;
        let mut state = self.state();
        state.rosters.generation = Some(wanted.generation);
        state.marker = wanted;
        Ok(())
    }

    /// Has storage know that groups are unsettled before anything that makes them so is stored.
    pub(crate) async fn mark_unsettled(&self, groups: &[GroupKey]) -> Result<(), Error> {
        {
            let mut state = self.state();
            if !state.stores_contacts() {
                return Ok(());
            }
            let unsettled = &mut state.rosters.unsettled;
            for &group in groups {
                unsettled.entry(group).or_insert(false);
            }
        }
        let stored = self.take_turn_and_store_marker(|state| state.marker_covers(groups)).await;
        let Err(reason) = stored else { return Ok(()) };
        self.refuse_unmarked(&reason).await
    }

    /// Has storage know that a member is added whose account nobody knows: it is not taken for one that was deleted then.
    pub(crate) async fn mark_awaited(&self, user: UserKey) -> Result<(), Error> {
        self.state().rosters.awaiting.insert(user);
        let listed = |state: &State| state.marker.awaiting.contains(&state.directory.user_name(user));
        let stored = self.take_turn_and_store_marker(listed).await;
        let Err(reason) = stored else { return Ok(()) };
        self.refuse_unmarked(&reason).await
    }

    /// Has storage know that every group is unsettled, also those that are yet to be made.
    pub(crate) async fn mark_everything(&self) -> Result<(), Error> {
        self.state().rosters.everything = true;
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

    /// What an operation answers whose work cannot be noted. What it has listed stays until the list is next looked through:
    /// another operation may rely on it by now.
    pub(crate) async fn refuse_unmarked(&self, reason: &str) -> Result<(), Error> {
        self.state().rosters.news = true;
        let text = format!("The record of open work cannot be stored, so nothing is changed: {reason}");
        self.log(Level::Error, text).await;
        Err(Error::Internal)
    }

    /// Strikes what has been done off the marker. Returns for how long to leave it alone, in seconds.
    pub(crate) async fn clear_marker(&self) -> f64 {
        let Some(turn) = self.try_turn(Place::Marker) else {
            return BUSY_PAUSE;
        };
        let due = {
            let mut state = self.state();
            state.strike_settled();
            state.rosters.news = false;
            state.wanted_marker() != state.marker
        };
        let stored = if due { self.store_marker().await } else { Ok(()) };
        self.end(turn).await;
        let Err(reason) = stored else { return 0.0 };
        self.state().rosters.news = true;
        self.log(Level::Warn, format!("The record of open work cannot be stored, it is tried again: {reason}")).await;
        FAILURE_PAUSE
    }
}

impl State {
    /// Takes in groups that were read from storage.
    fn take_in(&mut self, records: Vec<(Name, Info, StoredMembers)>) {
        for (id, info, members) in records {
            let key = self.directory.insert(id, info);
            self.directory.load_members(key, members.iter());
        }
    }

    /// Takes up the work that the marker says is open.
    fn take_up(&mut self, marker: Option<Marker>) {
        let found = marker.is_some();
        let mut marker = marker.unwrap_or_default();
        let groups = self.directory.groups().len() > 0;
        let foreign = !found && groups;
        marker.everything |= foreign || groups && marker.cleared != self.options.virtual_contacts;
        marker.adopting |= foreign;
        marker.cleared = self.options.virtual_contacts && !marker.everything;
        self.rosters.cleared = marker.cleared;
        // One that was handed out and lost must never come again.
        self.rosters.next_generation = marker.generation + 1;
        self.rosters.everything = marker.everything;
        self.rosters.adopting = marker.adopting;
        for name in &marker.awaiting {
            let user = self.directory.intern(name);
            self.rosters.awaiting.insert(user);
        }
        for name in &marker.lost {
            let user = self.directory.intern(name);
            self.rosters.lost.insert(user);
        }
        for (gone, owners) in &marker.withdrawals {
            let gone = self.directory.intern(gone);
            for owner in owners {
                let owner = self.directory.intern(owner);
                self.rosters.withdrawals.entry(owner).or_default().insert(gone);
            }
        }
        for (gone, groups) in &marker.departures {
            let gone = self.directory.intern(gone);
            let groups: BTreeSet<_> = groups.iter().filter_map(|id| Some(self.directory.find(id)?.0)).collect();
            if groups.iter().any(|&key| self.directory.is_member(key, gone)) {
                self.accounts.depart(gone);
                self.rosters.departures.insert(gone, groups);
            }
        }
        for (id, leavers) in &marker.partings {
            let leavers: Vec<_> = leavers.iter().map(|name| self.directory.intern(name)).collect();
            self.rosters.partings.note(id, leavers);
            self.begin_parting(id, 0.0);
        }
        let unreadable = self.unreadable.iter().filter(|id| marker.everything || marker.unsettled.contains(*id));
        self.rosters.unread.extend(unreadable.cloned());
        let open: Vec<_> = self
            .directory
            .groups()
            .filter(|(_, group)| marker.everything || marker.unsettled.contains(&group.id))
            .map(|(key, group)| (key, group.members().collect::<Vec<_>>()))
            .collect();
        let now = 0.0;
        for (key, members) in open {
            self.rosters.unsettled.insert(key, false);
            self.rosters.enqueue(members, now);
        }
        let others: BTreeSet<_> = self.rosters.withdrawals.keys().chain(&self.rosters.awaiting).copied().collect();
        self.rosters.enqueue(others, now);
        self.marker = marker;
        self.marker.copies.clear();
        self.phase = Phase::Ready;
    }

    /// Has the rosters of all members of a group brought up to date in storage, soon.
    pub(crate) fn enqueue_group(&mut self, key: GroupKey, now: f64) {
        let stores = self.stores_contacts();
        let State { directory, rosters, .. } = self;
        if let Some(delayed) = rosters.unsettled.get_mut(&key) {
            *delayed = false;
        }
        if !stores {
            return;
        }
        rosters.enqueue(directory.group(key).into_iter().flat_map(|group| group.members()), now);
    }

    fn marker_covers(&self, groups: &[GroupKey]) -> bool {
        let listed =
            |key: &GroupKey| self.directory.group(*key).is_none_or(|group| self.marker.unsettled.contains(&group.id));
        self.marker.everything || groups.iter().all(listed)
    }

    /// The marker that tells of all that is open now.
    fn wanted_marker(&self) -> Marker {
        let rosters = &self.rosters;
        let id = |key: &GroupKey| Some(self.directory.group(*key)?.id.clone());
        let name = |user: &UserKey| self.directory.user_name(*user);
        let mut withdrawals: BTreeMap<Name, BTreeSet<Name>> = BTreeMap::new();
        for (owner, gone) in &rosters.withdrawals {
            for user in gone {
                withdrawals.entry(name(user)).or_default().insert(name(owner));
            }
        }
        Marker {
            generation: rosters.generation.unwrap_or(rosters.next_generation),
            everything: rosters.everything,
            adopting: rosters.adopting,
            cleared: rosters.cleared,
            unsettled: if rosters.everything || !self.stores_contacts() {
                BTreeSet::new()
            } else {
                rosters.unsettled.keys().filter_map(id).chain(rosters.unread.iter().cloned()).collect()
            },
            awaiting: rosters.awaiting.iter().map(name).collect(),
            lost: rosters.lost.iter().map(name).collect(),
            withdrawals,
            departures: rosters
                .departures
                .iter()
                .map(|(gone, groups)| (name(gone), groups.iter().filter_map(id).collect()))
                .collect(),
            partings: rosters
                .partings
                .groups()
                .filter(|_| self.stores_contacts())
                .map(|(id, leavers)| (id.clone(), leavers.iter().map(name).collect()))
                .collect(),
            copies: self.copies.clone(),
        }
    }

    /// Forgets the groups that are settled. One that an operation is at is not.
    fn strike_settled(&mut self) {
        let State { directory, rosters, turns, options, .. } = self;
        let mut busy = rosters.background.clone();
        busy.extend(rosters.unsaved.keys().copied());
        busy.extend(rosters.in_hand.iter().copied());
        busy.extend(rosters.failing.keys().copied());
        busy.extend(rosters.urgent.iter().map(|&(user, _)| user));
        rosters.unsettled.retain(|&key, &mut delayed| {
            let Some(group) = directory.group(key) else {
                return false;
            };
            delayed
                || turns.is_taken(&Place::Group(group.id.clone()))
                || (!busy.is_empty() && group.members().any(|m| busy.contains(&m)))
        });
        rosters.everything &= !busy.is_empty() || turns.is_taken(&Place::Restore);
        rosters.adopting &= rosters.everything;
        rosters.cleared = options.virtual_contacts && !rosters.everything;
        rosters.partings.strike(directory, turns);
        rosters.departures.retain(|&user, groups| {
            groups.retain(|&key| directory.is_member(key, user));
            !groups.is_empty()
        });
        rosters.awaiting.retain(|&user| !directory.groups_of(user).is_empty());
        rosters.lost.retain(|&user| !directory.groups_of(user).is_empty());
    }
}
