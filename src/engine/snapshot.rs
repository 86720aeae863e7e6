//! A host's groups as one blob, and back.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::effect::{Effect, Level};
use super::turns::Place;
use super::{Answer, Call, Engine, Error, Info, Name, Operation, Value};

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

impl Engine {
    /// All groups and members as one blob: MessagePack behind a header with format and checksum.
    pub fn snapshot(&self) -> Vec<u8> {
        let groups = {
            let state = self.0.state.lock();
            let entry = |(key, group): (_, &super::directory::Group)| Entry {
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

    /// Makes storage and memory hold what a snapshot holds, and nothing else. Rooms are not touched; contact lists gain what
    /// the groups bring.
    ///
    /// # Errors
    /// A [`SnapshotError`] at once, with nothing changed; [`Error::Internal`] from the operation if storage fails, with
    /// each group either as it was or as in the snapshot. It may be done again.
    pub fn restore(&self, blob: &[u8]) -> Result<Operation, SnapshotError> {
        let content = read(blob)?;
        Ok(self.start(move |call| async move {
            call.ready().await?;
            let kept: Vec<_> = content.groups.iter().map(|entry| entry.id.clone()).collect();
            for entry in content.groups {
                call.restore_group(entry.id, Some((Info::from_value(entry.info), entry.members))).await?;
            }
            let present: Vec<_> = call.state().directory.groups().map(|(_, group)| group.id.clone()).collect();
            for id in present.into_iter().filter(|id| !kept.contains(id)) {
                call.restore_group(id, None).await?;
            }
            Ok(Answer::Done)
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
    /// Makes a group what a snapshot says of it.
    async fn restore_group(&self, id: Name, wanted: Option<(Info, Vec<(Name, Value)>)>) -> Result<(), Error> {
        let turn = self.turn(Place::Group(id.clone())).await?;
        let stored = match &wanted {
            Some((info, members)) => self.store_whole(&id, info, members).await,
            None => match self.done(Effect::StoreMembers(id.clone(), None)).await {
                Ok(()) => self.done(Effect::StoreInfo(id.clone(), None)).await,
                failed => failed,
            },
        };
        let restored = match stored {
            Ok(()) => self.take_over(&id, wanted).await,
            Err(reason) => {
                self.log(Level::Error, format!("Group {id} cannot be stored, the restore ends there: {reason}")).await;
                Err(Error::Internal)
            }
        };
        self.end(turn).await;
        restored
    }

    async fn take_over(&self, id: &Name, wanted: Option<(Info, Vec<(Name, Value)>)>) -> Result<(), Error> {
        let Some((info, members)) = wanted else {
            let mut state = self.state();
            state.directory.remove(id);
            state.rosters.news = true;
            return Ok(());
        };
        let key = {
            let mut state = self.state();
            state.unreadable.remove(id);
            let key = state.directory.insert(id.clone(), info);
            state.directory.load_members(key, members);
            key
        };
        self.mark_unsettled(&[key]).await?;
        let now = self.now();
        self.state().enqueue_group(key, now);
        Ok(())
    }
}
