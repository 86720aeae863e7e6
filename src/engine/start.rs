//! Reading storage at start.

use std::collections::BTreeSet;

use crate::engine::contacts::plan::Scope;
use crate::engine::effect::{Effect, Level, Reply};
use crate::engine::operation::Call;
use crate::engine::state::filled;
use crate::engine::turns::Place;
use crate::engine::{
    Answer, Copy, Engine, Error, Info, Marker, Name, Operation, Phase, State, Status, StoredMembers, Value,
};

/// When loading is tried again after storage failed, in seconds.
const RETRY_PAUSE: f64 = 30.0;

/// How storage is read.
#[derive(Clone, Debug, Default)]
pub(crate) struct Start {
    epoch: u64,
    setup: String,
    /// It failed, and is tried again at this time, in seconds.
    pub(crate) retry_at: Option<f64>,
}

/// When groups that could not be read are read again, in seconds; the pause doubles up to the longest.
const FIRST_PAUSE: f64 = 30.0;
const LONGEST_PAUSE: f64 = 600.0;

/// When groups that could not be read are read again, in seconds.
#[derive(Debug, Default)]
pub(crate) struct Rereading {
    pub(crate) due: f64,
    pause: f64,
}

impl Rereading {
    fn put_off(&mut self, now: f64) {
        self.pause = (self.pause * 2.0).clamp(FIRST_PAUSE, LONGEST_PAUSE);
        self.due = now + self.pause;
    }
}

impl Engine {
    /// Reads all groups from storage, and reconciles the rosters in memory. Look-ups see groups as soon as they are
    /// read, and operations begun meanwhile go on then. If it fails, [`Engine::work`] tries again.
    ///
    /// `epoch` is a number higher than any count of starts, such as the minutes of the calendar: it stands in for the
    /// generation of a marker that cannot be read. `setup` is what the log is to say of the surroundings.
    ///
    /// # Errors
    /// [`Error::Internal`] if the stores cannot be listed.
    pub fn load(&self, epoch: u64, setup: &str) -> Operation {
        let start = Start { epoch, setup: setup.to_owned(), retry_at: None };
        self.start(move |call| async move {
            call.state().start = start;
            call.start().await?;
            Ok(Answer::Done)
        })
    }
}

impl Call {
    pub(crate) async fn start(&self) -> Result<(), Error> {
        let turn = self.turn(Place::Start).await?;
        let Start { epoch, setup, .. } = self.state().start.clone();
        self.state().start.retry_at = None;
        let is_first = self.state().phase != Phase::Ready;
        let loaded = self.load(epoch).await;
        if loaded.is_err() {
            let now = self.now();
            self.state().start.retry_at = Some(now + RETRY_PAUSE);
        }
        self.end(turn).await;
        self.note_condition(|condition| condition.unread = loaded.is_err()).await;
        loaded?;
        if is_first {
            let Status { groups, memberships, .. } = self.state().status();
            self.log(Level::Info, format!("Groups: {groups}, memberships: {memberships}, {setup}")).await;
        }
        self.reconcile_loaded().await;
        Ok(())
    }

    /// Reconciles the rosters in memory: those of sessions that were online before the module was loaded.
    async fn reconcile_loaded(&self) {
        let Reply::Names(users) = self.perform(Effect::ListRosters(u32::MAX as usize)).await else { return };
        {
            let State { directory, work, .. } = &mut *self.state();
            let known = users.iter().filter_map(|name| directory.find_user(name));
            known.for_each(|user| work.urgent.add(user, Scope::All));
        }
        self.settle_urgent().await;
    }

    async fn load(&self, epoch: u64) -> Result<(), Error> {
        if self.state().phase == Phase::Ready {
            return self.change_mode().await;
        }
        let marker = self.read_marker(epoch).await?;
        let ids = match self.perform(Effect::ListGroups).await {
            Reply::Names(ids) => ids,
            other => {
                self.log(
                    Level::Error,
                    format!("Groups cannot be read, no group works until they can: {}", other.reason()),
                )
                .await;
                return Err(Error::Internal);
            }
        };
        let mut records = Vec::with_capacity(ids.len());
        for id in ids {
            records.extend(self.read_group(id).await);
        }
        let now = self.now();
        self.state().rereading.put_off(now);
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
            self.state().work.news = true;
        }
        self.perform(Effect::Wake).await;
        Ok(())
    }

    /// After a reload: the option may have made contacts virtual, or permanent.
    async fn change_mode(&self) -> Result<(), Error> {
        let changed = {
            let state = self.state();
            !state.unsettled.everything && state.unsettled.virtual_only != state.options.virtual_contacts
        };
        if !changed {
            return Ok(());
        }
        {
            // What was changed for a session goes with the conversion of the lists.
            let state = &mut *self.state();
            state.spared.end_all();
            state.changes += 1;
            state.unsettled.virtual_only = false;
        }
        self.list_present().await;
        let marked = self.mark_everything().await;
        // Also if the marker cannot be stored yet: it will be, with all that is open.
        let now = self.now();
        let mut state = self.state();
        let keys: Vec<_> = state.directory.groups().map(|(key, _)| key).collect();
        for key in keys {
            state.unsettled.groups.entry(key).or_insert(false);
            state.enqueue_group(key, now);
        }
        marked
    }

    /// Lists the accounts of the host, for virtual contacts: every roster depends on which members have accounts, and
    /// one list saves a question for each.
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

    /// Reads the marker. A damaged one counts as one that says that everything is open.
    async fn read_marker(&self, epoch: u64) -> Result<Option<Marker>, Error> {
        match self.perform(Effect::ReadMarker).await {
            Reply::Value(None) => Ok(None),
            Reply::Value(Some(value)) => match Marker::from_value(&value) {
                Some(marker) => Ok(Some(marker)),
                None => {
                    let text = "The record of open work is damaged: all contact lists are checked once";
                    self.log(Level::Warn, text.to_owned()).await;
                    Ok(Some(Marker { generation: epoch.saturating_sub(1), everything: true, ..Marker::default() }))
                }
            },
            other => {
                let text = "The record of open work cannot be read, no group works until it can";
                self.log(Level::Error, format!("{text}: {}", other.reason())).await;
                Err(Error::Internal)
            }
        }
    }

    async fn read_group(&self, id: Name) -> Option<(Name, Info, StoredMembers)> {
        match self.perform(Effect::ReadGroup(id.clone())).await {
            Reply::Record { info, members } => Some((id, Info::from_value(info?), members.unwrap_or_default())),
            other => {
                if self.state().unreadable.insert(id.clone()) {
                    let text = "cannot be read and is left out until it can";
                    self.log(Level::Error, format!("Group {id} {text}: {}", other.reason())).await;
                }
                None
            }
        }
    }

    /// Reads the groups again that could not be read, when it is time.
    pub(crate) async fn read_again(&self) {
        let now = self.now();
        let ids = {
            let State { unreadable, rereading, .. } = &mut *self.state();
            if unreadable.is_empty() || now < rereading.due {
                return;
            }
            rereading.put_off(now);
            unreadable.clone()
        };
        for id in ids {
            // One that is still not there, or not in storage any more, stays left out.
            self.take_in_stored(&id).await.ok();
            self.pause().await;
        }
    }

    /// Takes in a group that memory does not know: somebody has put it into storage since the start, or it could not be
    /// read then.
    pub(crate) async fn take_in_stored(&self, id: &Name) -> Result<(), Error> {
        let turn = self.turn(Place::Group(id.clone())).await?;
        let is_known = self.state().directory.find(id).is_some();
        let record = if is_known { None } else { self.read_group(id.clone()).await };
        let taken = record.map(|(_, info, members)| {
            let members: Vec<_> = members.iter().collect();
            self.take_over(id, &info, &members)
        });
        self.end(turn).await;
        let Some(key) = taken else { return Ok(()) };
        self.mark_unsettled(&[key]).await?;
        self.spread_all(key).await;
        self.settle_urgent().await;
        self.align_rooms(id).await;
        Ok(())
    }

    /// Restores a group whose records the purge of an account of its name may have removed. The copy is what counts:
    /// where a purge is late, what was stored before it is gone, and rows that were stored after it are not all. False
    /// if storage would not have it.
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
        marker.everything |= foreign || groups && marker.virtual_only != self.options.virtual_contacts;
        marker.adopting |= foreign;
        marker.was_virtual |= marker.virtual_only || self.options.virtual_contacts;
        marker.virtual_only = self.options.virtual_contacts && !marker.everything;
        self.unsettled.virtual_only = marker.virtual_only;
        self.unsettled.was_virtual = marker.was_virtual;
        // One that was handed out and lost must never come again.
        self.versions.next_generation = marker.generation + 1;
        if found && marker.is_open() {
            marker.doubtful_before = marker.generation + 1;
        }
        self.versions.doubtful_before = marker.doubtful_before;
        self.unsettled.everything = marker.everything;
        self.unsettled.adopting = marker.adopting;
        for name in &marker.awaiting {
            let user = self.directory.intern(name);
            self.accounts.awaiting.insert(user);
        }
        for name in &marker.lost {
            let user = self.directory.intern(name);
            self.accounts.lost.insert(user);
        }
        for (gone, owners) in &marker.withdrawals {
            let gone = self.directory.intern(gone);
            for owner in owners {
                let owner = self.directory.intern(owner);
                self.withdrawals.take_up(owner, gone);
            }
        }
        for (gone, groups) in &marker.deletions {
            let gone = self.directory.intern(gone);
            let groups: BTreeSet<_> = filled(groups.iter().filter_map(|id| Some(self.directory.find(id)?.0)));
            if groups.iter().any(|&key| self.directory.is_member(key, gone)) {
                self.accounts.delete(gone);
                self.deletions.open.insert(gone, groups);
            }
        }
        for (id, leavers) in &marker.partings {
            let leavers: Vec<_> = leavers.iter().map(|name| self.directory.intern(name)).collect();
            self.partings.note(id, leavers);
            let stayed = marker.stayed.get(id).into_iter().flatten();
            let stayed: Vec<_> = stayed.map(|name| self.directory.intern(name)).collect();
            self.partings.note_stayed(id, stayed);
            self.begin_parting(id, 0.0);
        }
        for (id, leavers) in &marker.rooms {
            let rooms = self.directory.find(id).map(|(_, group)| group.info.rooms());
            self.room_saves.take_up(id, rooms.unwrap_or_default(), leavers);
        }
        let unreadable = self.unreadable.iter().filter(|id| marker.everything || marker.unsettled.contains(*id));
        self.unsettled.unread.extend(unreadable.cloned());
        let open: Vec<_> = self
            .directory
            .groups()
            .filter(|(_, group)| marker.everything || marker.unsettled.contains(&group.id))
            .map(|(key, group)| (key, group.members().collect::<Vec<_>>()))
            .collect();
        let now = 0.0;
        for (key, members) in open {
            self.unsettled.groups.insert(key, false);
            self.unsettled.one_sided = true;
            self.work.enqueue(members, now);
        }
        let owners = self.withdrawals.all().map(|(owner, _)| owner);
        let others: BTreeSet<_> = filled(owners.chain(self.accounts.awaiting.iter().copied()));
        self.work.enqueue(others, now);
        self.marker = marker;
        self.marker.copies.clear();
        self.phase = Phase::Ready;
    }
}
