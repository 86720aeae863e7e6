//! Saves of rooms that are put off: of many changes to a room within a burst, the room is saved once.
//!
//! A save may wait only while the marker in storage names the group. A server that dies meanwhile aligns the group's
//! rooms with membership when it is started again.

use std::collections::{BTreeMap, BTreeSet};

use crate::engine::effect::{Effect, Level};
use crate::engine::operation::Call;
use crate::engine::state::filled;
use crate::engine::turns::Place;
use crate::engine::{Error, Info, Name, State};

/// For how many groups at once saves are put off. The marker lists them, and is written anew with each: beyond this,
/// saving the room costs less.
const MOST_GROUPS: usize = 64;

/// How many users who have left the marker lists for one group before its rooms are saved.
const MOST_LEAVERS: usize = 32;

/// When a group is tried again whose rooms cannot be saved, in seconds; the pause doubles up to the longest.
const FIRST_PAUSE: f64 = 1.0;
const LONGEST_PAUSE: f64 = 600.0;

/// What is open for a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// It is as it should be in memory, and may not be in storage.
    Unsaved,
    /// Nobody knows what it has: the server died before it was saved.
    Unknown,
    /// It is being saved. It stays here if the operation dies.
    Saving,
}

#[derive(Debug, Default)]
struct Open {
    rooms: BTreeMap<Box<[u8]>, Stage>,
    /// Users who have left, and who may still have their affiliations in storage.
    leavers: BTreeSet<Name>,
    /// Those of them who may still have them in memory.
    unsure: BTreeSet<Name>,
    /// How long it rested after it failed last, in seconds.
    pause: Option<f64>,
    retry_at: f64,
}

/// Groups with rooms that storage may not have as they are in memory.
#[derive(Debug, Default)]
pub(crate) struct RoomSaves(BTreeMap<Name, Open>);

impl RoomSaves {
    /// Takes up what the marker of the last start says.
    pub(crate) fn take_up(&mut self, id: &Name, rooms: Vec<Box<[u8]>>, leavers: &BTreeSet<Name>) {
        let rooms = filled(rooms.into_iter().map(|jid| (jid, Stage::Unknown)));
        let leavers = leavers.clone();
        self.0.insert(id.clone(), Open { rooms, unsure: leavers.clone(), leavers, ..Open::default() });
    }

    /// Notes which rooms a group has that could not be read when its work was taken up.
    pub(crate) fn find_rooms(&mut self, id: &Name, rooms: Vec<Box<[u8]>>) {
        if let Some(open) = self.0.get_mut(id).filter(|open| open.rooms.is_empty()) {
            open.rooms = filled(rooms.into_iter().map(|jid| (jid, Stage::Unknown)));
        }
    }

    /// Notes that rooms are about to change, by which users leave. False if too many groups are open.
    pub(crate) fn note(&mut self, id: &Name, rooms: Vec<Box<[u8]>>, leavers: &[Name]) -> bool {
        if self.0.len() >= MOST_GROUPS && !self.0.contains_key(id) {
            return false;
        }
        let open = self.0.entry(id.clone()).or_default();
        open.leavers.extend(leavers.iter().cloned());
        open.unsure.extend(leavers.iter().cloned());
        rooms.into_iter().for_each(|jid| open.note_change(jid));
        true
    }

    /// Notes that users have lost their affiliations in all of a group's rooms.
    pub(crate) fn note_put_out(&mut self, id: &Name, leavers: &[Name]) {
        if let Some(open) = self.0.get_mut(id) {
            for name in leavers {
                open.unsure.remove(name);
            }
        }
    }

    /// For the marker: the groups, and who has left them.
    pub(crate) fn listed(&self) -> BTreeMap<Name, BTreeSet<Name>> {
        filled(self.0.iter().map(|(id, open)| (id.clone(), open.leavers.clone())))
    }

    /// Forgets groups of which nothing is open, but for those that `stays` says.
    pub(crate) fn strike(&mut self, stays: impl Fn(&Name) -> bool) {
        self.0.retain(|id, open| !open.rooms.is_empty() || stays(id));
    }

    /// When the next save is due after one that failed, in seconds; zero where none has.
    pub(crate) fn next_time(&self) -> Option<f64> {
        self.0.values().filter(|open| !open.rooms.is_empty()).map(|open| open.retry_at).reduce(f64::min)
    }

    /// The next room to be saved.
    fn next(&self, now: f64, mut is_free: impl FnMut(&Name) -> bool) -> Option<(Name, Box<[u8]>)> {
        let due = self.0.iter().filter(|(_, open)| open.retry_at <= now);
        due.filter_map(|(id, open)| Some((id, open.rooms.keys().next()?)))
            .find(|(id, _)| is_free(id))
            .map(|(id, jid)| (id.clone(), jid.clone()))
    }

    /// Whether nobody knows what a room has, and who may have to be put out of it.
    fn look_up(&self, id: &Name, jid: &[u8]) -> (bool, Vec<Name>) {
        let Some(open) = self.0.get(id) else { return Default::default() };
        (open.rooms.get(jid) == Some(&Stage::Unknown), open.unsure.iter().cloned().collect())
    }

    /// Notes that a room is being saved as it is now.
    fn begin(&mut self, id: &Name, jid: &[u8]) {
        if let Some(open) = self.0.get_mut(id) {
            open.rooms.insert(jid.into(), Stage::Saving);
        }
    }

    /// Notes that a room is in storage as it was when the save began.
    fn end(&mut self, id: &Name, jid: &[u8]) {
        let Some(open) = self.0.get_mut(id) else { return };
        if open.rooms.get(jid) == Some(&Stage::Saving) {
            open.rooms.remove(jid);
        }
        open.pause = None;
        if open.rooms.is_empty() {
            self.0.remove(id);
        }
    }

    /// Notes that a save failed. True if it is the first time.
    fn fail(&mut self, id: &Name, jid: &[u8], unknown: bool, now: f64) -> bool {
        let Some(open) = self.0.get_mut(id) else { return false };
        open.rooms.insert(jid.into(), if unknown { Stage::Unknown } else { Stage::Unsaved });
        let first = open.pause.is_none();
        let pause = open.pause.map_or(FIRST_PAUSE, |pause| (pause * 2.0).min(LONGEST_PAUSE));
        (open.pause, open.retry_at) = (Some(pause), now + pause);
        first
    }
}

impl Open {
    fn note_change(&mut self, jid: Box<[u8]>) {
        let stage = self.rooms.entry(jid).or_insert(Stage::Unsaved);
        if *stage == Stage::Saving {
            *stage = Stage::Unsaved;
        }
    }
}

impl State {
    /// Notes that members of a group are about to be let into its rooms, or to be put out: the marker says so when it
    /// is next stored. See [`Call::mark_rooms`].
    pub(crate) fn note_room_changes(&mut self, id: &Name, info: &Info, leavers: &[Name]) {
        let rooms = info.rooms();
        let nobody_moves = info.chats_apart && leavers.is_empty();
        if !rooms.is_empty() && !nobody_moves && self.room_saves.note(id, rooms, leavers) {
            self.work.news = true;
        }
    }

    fn marker_covers_rooms(&self, id: &Name) -> bool {
        match (self.room_saves.0.get(id), self.marker.rooms.get(id)) {
            (Some(open), Some(listed)) => open.leavers.is_subset(listed),
            (open, _) => open.is_none(),
        }
    }
}

impl Call {
    /// Stores in the marker what [`State::note_room_changes`] has noted of a group, before its members are stored.
    pub(crate) async fn mark_rooms(&self, id: &Name) -> Result<(), Error> {
        let covered = self.state().marker_covers_rooms(id);
        if covered {
            return Ok(());
        }
        let stored = self.take_turn_and_store_marker(|state| state.marker_covers_rooms(id)).await;
        let Err(reason) = stored else { return Ok(()) };
        self.refuse_unmarked(&reason).await
    }

    /// Notes and marks that users leave a group's rooms.
    pub(crate) async fn mark_leavers(&self, id: &Name, info: &Info, leavers: &[Name]) -> Result<(), Error> {
        let full = self.state().room_saves.0.get(id).is_some_and(|open| open.leavers.len() >= MOST_LEAVERS);
        if full {
            for jid in info.rooms() {
                self.save_room(id, &jid).await;
            }
        }
        self.state().note_room_changes(id, info, leavers);
        self.mark_rooms(id).await
    }

    /// Puts the save of a room off. False if the marker does not name its group: then it is to be saved at once.
    pub(crate) fn put_save_off(&self, id: &Name, jid: &[u8]) -> bool {
        let mut state = self.state();
        let listed = state.marker.rooms.contains_key(id);
        match state.room_saves.0.get_mut(id) {
            Some(open) if listed => open.note_change(jid.into()),
            _ => return false,
        }
        let now = self.now();
        state.work.expect_more(now);
        true
    }

    /// Saves the next room whose save was put off. False if none is due.
    pub(crate) async fn save_next_room(&self) -> bool {
        let next = {
            let now = self.now();
            let State { room_saves, turns, .. } = &mut *self.state();
            let is_taken = |turns: &mut crate::engine::turns::Turns, place| turns.is_taken(&place);
            room_saves.next(now, |id| {
                !is_taken(turns, Place::Group(id.clone())) && !is_taken(turns, Place::Rooms(id.clone()))
            })
        };
        let Some((id, jid)) = next else { return false };
        self.save_room(&id, &jid).await;
        true
    }

    /// Saves all rooms whose saves were put off.
    pub(crate) async fn save_all_rooms(&self, ends: f64) {
        while self.now() < ends {
            let next = self.state().room_saves.next(self.now(), |_| true);
            let Some((id, jid)) = next else { return };
            self.save_room(&id, &jid).await;
        }
    }

    async fn save_room(&self, id: &Name, jid: &[u8]) {
        let (unknown, leavers) = self.state().room_saves.look_up(id, jid);
        let saved = self.align_and_save(id, jid, unknown, leavers).await;
        let now = self.now();
        match saved {
            Ok(()) => self.state().room_saves.end(id, jid),
            Err(reason) => {
                let first = self.state().room_saves.fail(id, jid, unknown, now);
                if first && !unknown {
                    let room = String::from_utf8_lossy(jid);
                    let text = format!("Room {room} of group {id} cannot be saved, it is tried again: {reason}");
                    self.log(Level::Warn, text).await;
                }
            }
        }
        self.state().work.news = true;
    }

    /// Who has left is put out, should the operation that was about to do it have died or failed.
    async fn align_and_save(&self, id: &Name, jid: &[u8], unknown: bool, leavers: Vec<Name>) -> Result<(), String> {
        if self.find_rooms(&[jid.into()]).await? != [true] {
            self.state().room_saves.begin(id, jid);
            return Ok(());
        }
        if unknown {
            self.align_room(id, jid).await;
        }
        self.align_affiliations(id, jid, leavers).await;
        self.state().room_saves.begin(id, jid);
        let saved = self.done(Effect::SaveRoom(jid.into())).await;
        // Where storage waits, the room may have been taken away meanwhile, and the save has made its record anew.
        let is_chat = self.state().group_of_room(jid).is_some();
        if !is_chat {
            self.done(Effect::DestroyRoom(jid.into())).await.ok();
        }
        saved
    }
}
