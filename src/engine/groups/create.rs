//! Creating, renaming and deleting groups.

use crate::engine::effect::{Effect, Event, Level, Reply};
use crate::engine::groups::members::given_id;
use crate::engine::operation::Call;
use crate::engine::turns::Place;
use crate::engine::{Answer, Details, Engine, Error, Given, Info, Name, Operation, StoredMembers, Value, display_name};

/// How often a new id is made when the last one was taken.
const ID_TRIES: usize = 8;

/// What a caller says of a group. A name alone says nothing else.
#[derive(Clone, Debug)]
pub struct GivenInfo<'a> {
    /// The name; `None` if it was no string.
    pub name: Given<'a>,
    /// The rest.
    pub details: Result<Details, Error>,
}

impl<'a> From<Given<'a>> for GivenInfo<'a> {
    fn from(name: Given<'a>) -> Self {
        GivenInfo { name, details: Ok(Details::default()) }
    }
}

impl Engine {
    /// Creates a group, with a chat of its own if `chat` is true. `id` is `None` if the group may have any id, and
    /// `Some(None)` if something was given that is no string.
    ///
    /// # Errors
    /// [`Error::GroupNameRequired`], [`Error::BadRequest`], [`Error::Conflict`], [`Error::ServiceUnavailable`],
    /// [`Error::Internal`].
    pub fn create<'a>(&self, info: impl Into<GivenInfo<'a>>, chat: bool, id: Option<Given>) -> Operation {
        let GivenInfo { name, details } = info.into();
        let name = match name {
            None | Some(b"") => Err(Error::GroupNameRequired),
            Some(bytes) => display_name(bytes),
        };
        let id = id.map(|given| given.map_or(Err(Error::BadRequest), Name::group_id)).transpose();
        self.start(move |call| async move {
            call.ready().await?;
            let (name, id, details) = (name?, id?, details?);
            let id = match id {
                Some(id) => call.free_id(id)?,
                None => call.new_id().await?,
            };
            let room = if chat { Some(call.create_room(&name).await?) } else { None };
            let info = Info { muc_jid: room.clone(), ..Info::named(name).with_details(&details) };
            let stored = call.create(&id, info.clone()).await;
            if let (Err(_), Some(room)) = (&stored, &room) {
                call.discard_room(room).await;
            }
            stored?;
            call.fire(Event::Created { id: id.clone(), info }).await;
            Ok(Answer::Id(id))
        })
    }

    /// Renames a group, its default chat and the labels on contacts with it. Members who are let into the group's chats
    /// again are invited.
    ///
    /// # Errors
    /// [`Error::BadRequest`], [`Error::GroupNotFound`], [`Error::Internal`].
    pub fn set_info<'a>(&self, id: Given, info: impl Into<GivenInfo<'a>>) -> Operation {
        let GivenInfo { name, details } = info.into();
        let (id, name) = (id.map(Name::raw), name.map(display_name));
        self.start(move |call| async move {
            call.ready().await?;
            let id = given_id(id)?;
            let (name, details) = (name.unwrap_or(Err(Error::BadRequest))?, details?);
            call.find_given(&id)?;
            call.change_info(&id, name, &details).await?;
            Ok(Answer::Done)
        })
    }

    /// Deletes a group with its members and chats. Contacts stay, unless
    /// [`Options::remove_contacts`](crate::engine::Options) is set.
    ///
    /// # Errors
    /// [`Error::BadRequest`], [`Error::GroupNotFound`], [`Error::Internal`].
    pub fn delete(&self, id: Given) -> Operation {
        let id = id.map(Name::raw);
        self.start(move |call| async move {
            call.ready().await?;
            let id = given_id(id)?;
            call.find_given(&id)?;
            call.delete_group(id).await?;
            Ok(Answer::Done)
        })
    }
}

impl Call {
    /// Deletes a group, and tells everybody.
    pub(crate) async fn delete_group(&self, id: Name) -> Result<(), Error> {
        let turn = self.turn(Place::Group(id.clone())).await?;
        let deleted = self.delete(&id).await;
        self.end(turn).await;
        let (mut info, members) = deleted?;
        self.fire_for_each(&id, &info, members.into_iter().map(|(user, _)| user).collect(), false).await;
        for jid in info.rooms() {
            info = info.without_rooms(|other| *other == *jid);
            self.close_room(&id, jid, info.clone()).await;
        }
        self.fire(Event::Deleted { id: id.clone(), info }).await;
        self.part(&id, None).await;
        self.settle_urgent().await;
        Ok(())
    }

    /// Changes a group's name and details, and tells everybody.
    pub(crate) async fn change_info(&self, id: &Name, name: Box<[u8]>, details: &Details) -> Result<(), Error> {
        let turn = self.turn(Place::Group(id.clone())).await?;
        let stored = self.revise(id, name, details).await;
        self.end(turn).await;
        let Some((info, old)) = stored? else { return Ok(()) };
        let opened = old.chats_apart && !info.chats_apart;
        let rooms = info.rooms();
        if info.name == old.name {
            self.fire(Event::Updated { id: id.clone(), info, old }).await;
        } else {
            self.publish_name(id, info, old).await;
        }
        for room in rooms.into_iter().filter(|_| opened) {
            self.open_room(id, &room).await;
        }
        Ok(())
    }

    fn free_id(&self, id: Name) -> Result<Name, Error> {
        match self.find(&id) {
            Err(Error::GroupNotFound) => Ok(id),
            Err(error) => Err(error),
            Ok(_) => Err(Error::Conflict),
        }
    }

    async fn new_id(&self) -> Result<Name, Error> {
        for _ in 0..ID_TRIES {
            let Reply::Text(id) = self.perform(Effect::NewId).await else {
                break;
            };
            let id = Name::raw(&id);
            if self.find(&id) == Err(Error::GroupNotFound) {
                return Ok(id);
            }
        }
        Err(Error::Internal)
    }

    /// Stores a new group, unless the id is taken: by a group, or by a record of another module in `groups`.
    async fn create(&self, id: &Name, info: Info) -> Result<(), Error> {
        let turn = self.turn(Place::Group(id.clone())).await?;
        let stored = self.store_new(id, info).await;
        self.end(turn).await;
        stored
    }

    async fn store_new(&self, id: &Name, info: Info) -> Result<(), Error> {
        self.free_id(id.clone())?;
        match self.perform(Effect::ReadGroup(id.clone())).await {
            Reply::Record { info: None, members: None } => {}
            Reply::Record { info, members } => {
                if let Some(info) = info {
                    self.take_in_group(id, Info::from_value(info), members.unwrap_or_default()).await;
                }
                return Err(Error::Conflict);
            }
            other => {
                let text = format!("Storage does not say whether group {id} exists, so it is not created");
                self.log(Level::Error, format!("{text}: {}", other.reason())).await;
                return Err(Error::Internal);
            }
        }
        if let Err(reason) = self.done(Effect::StoreInfo(id.clone(), Some(info.clone()))).await {
            self.log(Level::Error, format!("Group {id} cannot be stored and is not created: {reason}")).await;
            return Err(Error::Internal);
        }
        self.state().directory.insert(id.clone(), info);
        Ok(())
    }

    /// Takes in a group that is in storage but was not known: its creation was cut off, or it was written by hand.
    async fn take_in_group(&self, id: &Name, info: Info, members: StoredMembers) {
        let key = {
            let mut state = self.state();
            let key = state.directory.insert(id.clone(), info);
            state.directory.load_members(key, members.iter());
            key
        };
        if self.mark_unsettled(&[key]).await.is_ok() {
            let now = self.now();
            self.state().enqueue_group(key, now);
        }
    }

    /// Stores a group's new name and details. Returns the record as it is and as it was; nothing if nothing changes.
    async fn revise(&self, id: &Name, name: Box<[u8]>, details: &Details) -> Result<Option<(Info, Info)>, Error> {
        let (key, old) = self.find(id)?;
        let info = old.with_details(details).with_name(name);
        if info == old {
            return Ok(None);
        }
        if info.name == old.name {
            self.store_info(id, key, info.clone()).await?;
            return Ok(Some((info, old)));
        }
        self.mark_unsettled(&[key]).await?;
        let stored = self.store_info(id, key, info.clone()).await;
        let now = self.now();
        let mut state = self.state();
        state.work.news = true;
        stored?;
        state.enqueue_group(key, now);
        Ok(Some((info, old)))
    }

    /// Gives a renamed group's default chat its name, and the contacts its label.
    async fn publish_name(&self, id: &Name, info: Info, old: Info) {
        let room = info.muc_jid.clone();
        let renamed = match &room {
            Some(room) => self.rename_room(room, &info.name).await,
            None => Ok(()),
        };
        let event = Event::Updated { id: id.clone(), info: info.clone(), old: old.clone() };
        self.fire(event).await;
        match (room, renamed) {
            (Some(jid), Ok(())) => {
                let name = info.name.clone();
                self.fire(Event::ChatRenamed { id: id.clone(), info, jid, name, old_name: old.name }).await;
            }
            (Some(room), Err(reason)) => {
                let room = String::from_utf8_lossy(&room);
                let text = format!("Room {room} keeps its name, though group {id} has another now: {reason}");
                self.log(Level::Warn, text).await;
            }
            (None, _) => {}
        }
        if let Ok((key, _)) = self.find(id) {
            self.spread_all(key).await;
        }
        self.settle_urgent().await;
    }

    /// Removes a group from storage: the members first, so that a record without its group is never left behind.
    async fn delete(&self, id: &Name) -> Result<(Info, Vec<(Name, Value)>), Error> {
        let (key, info) = self.find(id)?;
        let members = self.state().directory.record(key);
        let leavers = self.state().directory.group(key).map(|group| group.members().collect());
        self.note_parting(id, leavers.unwrap_or_default()).await?;
        let before = self.renew_copy(id, |_| None).await?;
        let mut failed = None;
        if !members.is_empty() {
            failed = self.done(Effect::StoreMembers(id.clone(), None)).await.err();
            if failed.is_none() {
                self.state().directory.load_members(key, []);
            }
        }
        if failed.is_none()
            && let Err(reason) = self.done(Effect::StoreInfo(id.clone(), None)).await
        {
            failed = Some(reason);
            if !members.is_empty() {
                match self.done(Effect::StoreMembers(id.clone(), Some(members.clone()))).await {
                    Ok(()) => self.state().directory.load_members(key, members.iter().cloned()),
                    Err(reason) => {
                        let text = "could not be deleted, and its members are lost from storage";
                        self.log(Level::Error, format!("Group {id} {text}: {reason}")).await;
                    }
                }
            }
        }
        if let Some(reason) = failed {
            self.undo_copy(id, before);
            self.log(Level::Error, format!("Group {id} cannot be deleted: {reason}")).await;
            return Err(Error::Internal);
        }
        let now = self.now();
        let mut state = self.state();
        state.directory.remove(id);
        state.begin_parting(id, now);
        state.work.news = true;
        Ok((info, members))
    }
}
