//! A host's groups as one blob, and back.

use std::collections::BTreeSet;
use std::fmt;

use crc::{CRC_32_ISO_HDLC, Crc, Table};
use serde::{Deserialize, Serialize};

use crate::engine::effect::{Effect, Event, Level};
use crate::engine::state::directory::UserKey;
use crate::engine::state::filled;
use crate::engine::turns::Place;
use crate::engine::{Answer, Call, Copy, Engine, Error, GroupKey, Info, Name, Operation, State, Value};

/// What a blob begins with.
const MAGIC: [u8; 4] = *b"MGIS";

/// The form of what follows. Another one is refused.
const FORMAT: u16 = 1;

/// Of the usual kind (CRC-32 of ISO-HDLC, as in gzip), by way of a small table.
static CHECKSUM: Crc<u32, Table<1>> = Crc::<u32, Table<1>>::new(&CRC_32_ISO_HDLC);

/// Magic, format and checksum.
const HEADER_BYTES: usize = 10;

/// Why a blob was refused. Nothing of it has been taken in then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SnapshotError {
    /// It is not a snapshot, or cut short.
    NotASnapshot,
    /// It was made by a later version of this module.
    UnknownFormat(u16),
    /// It is damaged: the checksum is wrong, or the content makes no sense.
    Damaged,
}

impl fmt::Display for SnapshotError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SnapshotError::NotASnapshot => f.write_str("this is not a snapshot of groups"),
            SnapshotError::UnknownFormat(format) => {
                write!(f, "the snapshot has the unknown format {format}")
            }
            SnapshotError::Damaged => f.write_str("the snapshot is damaged"),
        }
    }
}

impl std::error::Error for SnapshotError {}

/// Both are stored as arrays of their fields.
#[derive(Serialize, Deserialize)]
#[serde(from = "(Vec<Entry>,)")]
struct Content {
    groups: Vec<Entry>,
}

#[derive(Serialize, Deserialize)]
#[serde(from = "(Name, Value, Vec<(Name, Value)>)")]
struct Entry {
    id: Name,
    info: Value,
    members: Vec<(Name, Value)>,
}

impl From<(Vec<Entry>,)> for Content {
    fn from((groups,): (Vec<Entry>,)) -> Content {
        Content { groups }
    }
}

impl From<(Name, Value, Vec<(Name, Value)>)> for Entry {
    fn from((id, info, members): (Name, Value, Vec<(Name, Value)>)) -> Entry {
        Entry { id, info, members }
    }
}

/// A group's records in `group_info`, if there is one, and in `groups`.
type Before = (Option<Info>, Vec<(Name, Value)>);

impl Engine {
    /// All groups and members as one blob: MessagePack behind a header with format and checksum.
    pub fn snapshot(&self) -> Vec<u8> {
        let groups = {
            let state = self.0.state.lock();
            let entry = |(key, group): (_, &crate::engine::state::directory::Group)| Entry {
                id: group.id.clone(),
                info: group.info.to_value(),
                members: state.directory.record(key),
            };
            state.directory.groups().map(entry).collect()
        };
        // Plain data into a vector of bytes: there is nothing in it that could fail.
        let body = rmp_serde::to_vec(&Content { groups }).unwrap_or_default();
        let mut blob = Vec::with_capacity(HEADER_BYTES + body.len());
        blob.extend(MAGIC);
        blob.extend(FORMAT.to_be_bytes());
        blob.extend(CHECKSUM.checksum(&body).to_be_bytes());
        blob.extend(body);
        blob
    }

    /// Makes storage and memory hold what a snapshot holds, and nothing else. It comes to the same as adding and
    /// removing members, renaming groups and deleting those that the snapshot does not know: contact lists,
    /// affiliations and events follow. A chat that the snapshot does not know is destroyed. One whose room is gone is
    /// dropped.
    ///
    /// # Errors
    /// A [`SnapshotError`] at once, with nothing changed; [`Error::Internal`] from the operation if storage fails, with
    /// each group either as it was or as in the snapshot. It may be done again.
    pub fn restore(&self, blob: &[u8]) -> Result<Operation, SnapshotError> {
        let content = read(blob)?;
        Ok(self.start(move |call| async move {
            call.ready().await?;
            let turn = call.turn(Place::Restore).await?;
            let restored = call.restore(content).await;
            call.end(turn).await;
            restored.map(|()| Answer::Done)
        }))
    }
}

fn read(blob: &[u8]) -> Result<Content, SnapshotError> {
    let (header, body) = blob.split_at_checked(HEADER_BYTES).ok_or(SnapshotError::NotASnapshot)?;
    let ([m0, m1, m2, m3, f0, f1], checksum) = header.split_first_chunk().ok_or(SnapshotError::NotASnapshot)?;
    if [*m0, *m1, *m2, *m3] != MAGIC {
        return Err(SnapshotError::NotASnapshot);
    }
    let format = u16::from_be_bytes([*f0, *f1]);
    if format != FORMAT {
        return Err(SnapshotError::UnknownFormat(format));
    }
    if *checksum != CHECKSUM.checksum(body).to_be_bytes() {
        return Err(SnapshotError::Damaged);
    }
    rmp_serde::from_slice(body).map_err(|_| SnapshotError::Damaged)
}

impl Call {
    /// The caller has the turn at restoring, which keeps every group unsettled in the marker.
    async fn restore(&self, content: Content) -> Result<(), Error> {
        self.mark_everything().await?;
        let kept: Vec<_> = content.groups.iter().map(|entry| entry.id.clone()).collect();
        for entry in content.groups {
            self.restore_group(entry.id, Info::from_value(entry.info), entry.members).await?;
        }
        let present: Vec<_> = self.state().directory.groups().map(|(_, group)| group.id.clone()).collect();
        for id in present.into_iter().filter(|id| !kept.contains(id)) {
            self.delete_group(id).await?;
        }
        self.settle_urgent().await;
        Ok(())
    }

    /// Makes a group what a snapshot says of it, as if members had been added and removed, and the group renamed.
    async fn restore_group(&self, id: Name, info: Info, members: Vec<(Name, Value)>) -> Result<(), Error> {
        let turn = self.turn(Place::Group(id.clone())).await?;
        let info = self.drop_gone_chats(&id, info).await;
        let stored = self.store_restored(&id, &info, &members).await;
        self.end(turn).await;
        let before = stored?;
        let known = |list: &[(Name, Value)], user: &Name| list.iter().any(|(name, _)| name == user);
        match &before.0 {
            None => drop(self.fire(Event::Created { id: id.clone(), info: info.clone() }).await),
            Some(old) if *old != info => {
                self.fire(Event::Updated { id: id.clone(), info: info.clone(), old: old.clone() }).await;
            }
            Some(_) => {}
        }
        for room in before.0.iter().flat_map(Info::rooms).filter(|room| !info.has_room(room)) {
            self.close_room(&id, room, info.clone()).await;
        }
        for (user, _) in before.1.iter().filter(|(user, _)| !known(&members, user)) {
            for room in info.rooms() {
                self.align_affiliation(&id, &room, user).await;
            }
            self.fire(Event::UsersRemoved { id: id.clone(), users: vec![user.clone()], info: info.clone() }).await;
        }
        for (user, _) in members.iter().filter(|(user, _)| !known(&before.1, user)) {
            self.fire(Event::UsersAdded { id: id.clone(), users: vec![user.clone()], info: info.clone() }).await;
        }
        self.align_rooms(&id).await;
        self.part(&id, None).await;
        if let Ok((key, _)) = self.find(&id) {
            self.spread_all(key).await;
        }
        Ok(())
    }

    /// Leaves out the chats whose rooms are gone, or belong to another group by now. All stay if nobody can say.
    async fn drop_gone_chats(&self, id: &Name, info: Info) -> Info {
        let rooms = info.rooms();
        if rooms.is_empty() {
            return info;
        }
        let Ok(alive) = self.find_rooms(&rooms).await else { return info };
        let gone: Vec<_> = {
            let state = self.state();
            let is_others = |room: &[u8]| state.group_of_room(room).is_some_and(|(owner, _)| owner != *id);
            let rooms = rooms.into_iter().zip(alive);
            rooms.filter(|(room, alive)| !alive || is_others(room)).map(|(room, _)| room).collect()
        };
        if gone.is_empty() {
            return info;
        }
        let jids: Vec<_> = gone.iter().map(|room| String::from_utf8_lossy(room)).collect();
        let text = "has lost chats, and is restored without them; add_group_chat makes new ones";
        self.log(Level::Warn, format!("Group {id} {text}: {}", jids.join(", "))).await;
        info.without_rooms(|room| gone.iter().any(|other| **other == *room))
    }

    /// Stores a group as a snapshot has it, and takes it over. The caller has the group's turn. Returns what it was.
    async fn store_restored(&self, id: &Name, info: &Info, members: &[(Name, Value)]) -> Result<Before, Error> {
        let (before, leavers) = {
            let state = self.state();
            let group = state.directory.find(id);
            let before = group.map(|(key, group)| (group.info.clone(), state.directory.record(key)));
            let joined = |user: &UserKey| members.iter().any(|(name, _)| *name == state.directory.user_name(*user));
            let leavers = group.into_iter().flat_map(|(_, group)| group.members()).filter(|user| !joined(user));
            let leavers: Vec<_> = leavers.collect();
            (before, leavers)
        };
        self.note_parting(id, leavers).await?;
        let copied = Copy { info: info.clone(), members: members.to_vec() };
        let copy_before = self.renew_copy(id, |_| Some(copied)).await?;
        if let Err(reason) = self.store_whole(id, info, members).await {
            self.log(Level::Error, format!("Group {id} cannot be stored, the restore ends there: {reason}")).await;
            self.undo_copy(id, copy_before);
            // One of the two records may have been stored.
            let undone = match &before {
                Some((info, members)) => self.store_whole(id, info, members).await,
                None => self.remove_records(id).await,
            };
            if let Err(reason) = undone {
                let text = format!("Group {id} is in storage half as it was, half restored. Restore again: {reason}");
                self.log(Level::Error, text).await;
            }
            return Err(Error::Internal);
        }
        self.take_over(id, info, members);
        Ok(before.map_or((None, Vec::new()), |(info, members)| (Some(info), members)))
    }

    async fn remove_records(&self, id: &Name) -> Result<(), String> {
        self.done(Effect::StoreMembers(id.clone(), None)).await?;
        self.done(Effect::StoreInfo(id.clone(), None)).await
    }

    /// Makes a group in memory what its records in storage are.
    pub(crate) fn take_over(&self, id: &Name, info: &Info, members: &[(Name, Value)]) -> GroupKey {
        let now = self.now();
        let mut state = self.state();
        state.unreadable.remove(id);
        state.unsettled.unread.remove(id);
        state.room_saves.find_rooms(id, info.rooms());
        let key = match state.directory.find(id).map(|(key, _)| key) {
            Some(key) => key,
            None => state.directory.insert(id.clone(), info.clone()),
        };
        state.directory.set_info(key, info.clone());
        let members_of = |state: &State| -> BTreeSet<_> {
            filled(state.directory.group(key).into_iter().flat_map(|group| group.members()))
        };
        let before = members_of(&state);
        state.directory.load_members(key, members.iter().cloned());
        for user in members_of(&state) {
            state.accounts.doubt(user);
            if !before.contains(&user) {
                state.partings.join(id, user);
            }
        }
        state.unsettled.groups.insert(key, false);
        state.begin_parting(id, now);
        state.enqueue_group(key, now);
        key
    }
}
