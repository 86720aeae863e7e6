//! A host's groups as one blob, and back.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::engine::effect::{Effect, Level};
use crate::engine::turns::Place;
use crate::engine::{Answer, Call, Engine, Error, Info, Name, Operation, Value};

/// What a blob begins with.
const MAGIC: [u8; 4] = *b"MGIS";

/// The form of what follows. Another one is refused.
const FORMAT: u16 = 1;

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

#[derive(Serialize, Deserialize)]
struct Content {
    groups: Vec<Entry>,
}

#[derive(Serialize, Deserialize)]
struct Entry {
    id: Name,
    info: Value,
    members: Vec<(Name, Value)>,
}

/// A group's records in `group_info` and `groups`.
type Records = (Info, Vec<(Name, Value)>);

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
        blob.extend(crc32fast::hash(&body).to_be_bytes());
        blob.extend(body);
        blob
    }

    /// Makes storage and memory hold what a snapshot holds, and nothing else. Rooms are not touched; contact lists gain
    /// what the groups bring.
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
    if *checksum != crc32fast::hash(body).to_be_bytes() {
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
            self.restore_group(entry.id, Some((Info::from_value(entry.info), entry.members))).await?;
        }
        let present: Vec<_> = self.state().directory.groups().map(|(_, group)| group.id.clone()).collect();
        for id in present.into_iter().filter(|id| !kept.contains(id)) {
            self.restore_group(id, None).await?;
        }
        Ok(())
    }

    /// Makes a group what a snapshot says of it: stored, then in memory.
    async fn restore_group(&self, id: Name, wanted: Option<Records>) -> Result<(), Error> {
        let turn = self.turn(Place::Group(id.clone())).await?;
        let before = {
            let state = self.state();
            let group = state.directory.find(&id);
            group.map(|(key, group)| (group.info.clone(), state.directory.record(key)))
        };
        let copied = wanted.clone().map(|(info, members)| crate::engine::Copy { info, members });
        let copy_before = self.renew_copy(&id, |_| copied).await?;
        let stored = self.store_records(&id, wanted.as_ref()).await;
        match &stored {
            Ok(()) => self.take_over(&id, wanted),
            Err(reason) => {
                self.log(Level::Error, format!("Group {id} cannot be stored, the restore ends there: {reason}")).await;
                self.undo_copy(&id, copy_before);
                // One of the two records may have been stored.
                if let Err(reason) = self.store_records(&id, before.as_ref()).await {
                    let text =
                        format!("Group {id} is in storage half as it was, half restored. Restore again: {reason}");
                    self.log(Level::Error, text).await;
                }
            }
        }
        self.end(turn).await;
        stored.map_err(|_| Error::Internal)
    }

    /// Makes storage hold these records of a group, or none.
    async fn store_records(&self, id: &Name, records: Option<&Records>) -> Result<(), String> {
        if let Some((info, members)) = records {
            return self.store_whole(id, info, members).await;
        }
        self.done(Effect::StoreMembers(id.clone(), None)).await?;
        self.done(Effect::StoreInfo(id.clone(), None)).await
    }

    fn take_over(&self, id: &Name, wanted: Option<Records>) {
        let now = self.now();
        let mut state = self.state();
        state.work.news = true;
        let Some((info, members)) = wanted else {
            return state.directory.remove(id);
        };
        state.unreadable.remove(id);
        let key = state.directory.insert(id.clone(), info);
        state.directory.load_members(key, members);
        state.unsettled.groups.insert(key, false);
        state.enqueue_group(key, now);
    }
}
