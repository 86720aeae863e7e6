//! The group chats of a group.

use crate::engine::effect::{Effect, Event, Level, Reply};
use crate::engine::groups::affiliations::{let_in, put_out};
use crate::engine::groups::members::given_id;
use crate::engine::groups::rooms::{list, room_nodes, settings_named};
use crate::engine::operation::Call;
use crate::engine::turns::Place;
use crate::engine::{Answer, Engine, Error, Given, Info, Name, Operation, display_name, node};

/// How often an affiliation is set until it agrees with a membership that changes meanwhile.
const ALIGN_TRIES: usize = 8;

impl Engine {
    /// Adds a chat of this name to a group, with all its members.
    ///
    /// # Errors
    /// [`Error::BadRequest`], [`Error::GroupNotFound`], [`Error::ServiceUnavailable`], [`Error::Internal`].
    pub fn add_group_chat(&self, id: Given, name: Given) -> Operation {
        let (id, name) = (id.map(Name::raw), name.map(display_name));
        self.start(move |call| async move {
            call.ready().await?;
            let id = given_id(id)?;
            let name = name.unwrap_or(Err(Error::BadRequest))?;
            call.find_given(&id)?;
            let jid = call.create_room(&name).await?;
            let turn = call.turn(Place::Group(id.clone())).await;
            let stored = match &turn {
                Ok(_) => call.store_chat(&id, &jid).await,
                Err(error) => Err(*error),
            };
            if let Ok(turn) = turn {
                call.end(turn).await;
            }
            let info = match stored {
                Ok(info) => info,
                Err(error) => {
                    call.discard_room(&jid).await;
                    return Err(error);
                }
            };
            call.open_room(&id, &jid).await;
            let event = Event::ChatAdded { id, info, jid: jid.clone(), name: name.clone() };
            call.fire(event).await;
            call.settle_urgent().await;
            Ok(Answer::Chat { jid, name })
        })
    }

    /// Removes the chat whose room has this node from a group, and destroys the room. A chat that the group does not
    /// have is no failure.
    ///
    /// # Errors
    /// [`Error::BadRequest`], [`Error::GroupNotFound`], [`Error::Internal`].
    pub fn remove_group_chat(&self, id: Given, room: Given) -> Operation {
        let (id, room) = (id.map(Name::raw), room.map(Name::group_id));
        self.start(move |call| async move {
            call.ready().await?;
            let id = given_id(id)?;
            let room = room.unwrap_or(Err(Error::BadRequest))?;
            call.find_given(&id)?;
            let turn = call.turn(Place::Group(id.clone())).await?;
            let stored = call.store_without_chat(&id, &room).await;
            call.end(turn).await;
            let Some((jid, info)) = stored? else {
                let text = format!("Group {id} has no chat {room}, so there is nothing to remove");
                call.log(Level::Warn, text).await;
                return Ok(Answer::Done);
            };
            call.close_room(&id, jid, info).await;
            Ok(Answer::Done)
        })
    }
}

impl Call {
    /// Makes a room for a group's chat.
    pub(crate) async fn create_room(&self, name: &[u8]) -> Result<Box<[u8]>, Error> {
        if !self.state().options.chats {
            if !std::mem::replace(&mut self.state().told_of_chats, true) {
                let text = "A chat was asked for, and there are none: set groups_muc_host to a component \"muc\", then";
                self.log(Level::Warn, format!("{text} reload the configuration and the module")).await;
            }
            return Err(Error::ServiceUnavailable);
        }
        let made = self.make_room(name).await;
        if let Err(reason) = &made {
            let text = "A room cannot be created; check the component named by groups_muc_host";
            self.log(Level::Error, format!("{text}: {reason}")).await;
        }
        made.map_err(|_| Error::Internal)
    }

    async fn make_room(&self, name: &[u8]) -> Result<Box<[u8]>, String> {
        let id = self.perform(Effect::NewId).await;
        let Reply::Text(id) = id else { return Err(id.reason().to_owned()) };
        let nodes = room_nodes(name, &id, self.state().options.random_room_ids);
        let made = self.perform(Effect::CreateRoom(nodes)).await;
        let Reply::Text(jid) = made else { return Err(made.reason().to_owned()) };
        let mut saved = self.done(Effect::ConfigureRoom(jid.clone(), settings_named(name))).await;
        if saved.is_ok() {
            saved = self.done(Effect::SaveRoom(jid.clone())).await;
        }
        if saved.is_err() {
            self.discard_room(&jid).await;
        }
        saved.map(|()| jid)
    }

    /// Removes a room whose group or chat could not be stored.
    pub(crate) async fn discard_room(&self, jid: &[u8]) {
        if let Err(reason) = self.done(Effect::DiscardRoom(jid.into())).await {
            let room = String::from_utf8_lossy(jid);
            self.log(Level::Error, format!("Room {room} belongs to no group and cannot be removed: {reason}")).await;
        }
    }

    async fn store_chat(&self, id: &Name, jid: &[u8]) -> Result<Info, Error> {
        let (key, info) = self.find(id)?;
        let info = info.with_room(jid.into());
        self.store_info(id, key, info.clone()).await?;
        Ok(info)
    }

    async fn store_without_chat(&self, id: &Name, room: &Name) -> Result<Option<(Box<[u8]>, Info)>, Error> {
        let (key, info) = self.find(id)?;
        let jid = info.rooms().into_iter().find(|jid| node(jid) == room.as_bytes());
        let Some(jid) = jid else { return Ok(None) };
        let info = info.without_rooms(|other| *other == *jid);
        self.store_info(id, key, info.clone()).await?;
        Ok(Some((jid, info)))
    }

    /// Lets all members of a group into a new room: affiliations at once and saved once, invitations as time allows.
    pub(crate) async fn open_room(&self, id: &Name, jid: &[u8]) {
        let Ok((key, info)) = self.find(id) else { return };
        if info.chats_apart {
            return;
        }
        let members: Vec<_> = {
            let state = self.state();
            state.directory.group(key).into_iter().flat_map(|group| group.members()).collect()
        };
        if members.is_empty() {
            return;
        }
        let names = self.state().directory.names(&members);
        self.shift_users(id, jid, &names, &[]).await;
        self.recheck_room(id, jid, &names.into_iter().collect()).await;
        self.state().outbox.invites.add((id.clone(), jid.into()), members);
    }

    /// Destroys the room of a chat that the group no longer has, and tells other modules.
    pub(crate) async fn close_room(&self, id: &Name, jid: Box<[u8]>, info: Info) {
        if let Err(reason) = self.done(Effect::DestroyRoom(jid.clone())).await {
            let room = String::from_utf8_lossy(&jid);
            let text =
                format!("Room {room} of group {id} is no longer the group's, but could not be destroyed: {reason}");
            self.log(Level::Warn, text).await;
        }
        self.fire(Event::ChatRemoved { id: id.clone(), info, jid }).await;
    }

    /// Sets a user's affiliation to a room as membership says. Membership may change meanwhile: then it is set again,
    /// until the two agree.
    pub(crate) async fn align_affiliation(&self, id: &Name, room: &[u8], user: &Name) {
        self.align_affiliations(id, room, vec![user.clone()]).await;
    }

    /// The same for several users. False if some affiliations could not be set.
    pub(crate) async fn align_affiliations(&self, id: &Name, room: &[u8], mut users: Vec<Name>) -> bool {
        let mut all_set = true;
        for _ in 0..ALIGN_TRIES {
            if users.is_empty() {
                break;
            }
            let (members, others): (Vec<_>, Vec<_>) = {
                let state = self.state();
                users.into_iter().partition(|user| state.is_member(id, user))
            };
            let let_in = if self.lets_members_in(id) { &members[..] } else { &[] };
            all_set &= self.shift_users(id, room, let_in, &others).await;
            let state = self.state();
            let left = members.into_iter().filter(|user| !state.is_member(id, user));
            let joined = others.into_iter().filter(|user| state.is_member(id, user));
            users = left.chain(joined).collect();
        }
        all_set
    }

    /// Whether the members of a group are put into its chats.
    pub(crate) fn lets_members_in(&self, id: &Name) -> bool {
        self.find(id).is_ok_and(|(_, info)| !info.chats_apart)
    }

    /// Lets members into a room, and puts others out. A refusal is logged; the next sync tries again. False if there
    /// was one.
    async fn shift_users(&self, id: &Name, room: &[u8], members: &[Name], others: &[Name]) -> bool {
        if members.is_empty() && others.is_empty() {
            return true;
        }
        let jids = self.state().jids(members.iter().chain(others));
        let set = match self.read_affiliations(room, jids, false).await {
            Ok((found, _)) => {
                let (members, others) = found.split_at(members.len());
                self.set_affiliations(id, room, [let_in(members), put_out(others)].concat()).await
            }
            // Nobody has to leave a room that is gone.
            Err(Reply::Absent) if members.is_empty() => return true,
            Err(other) => Err(other.reason().to_owned()),
        };
        let room_name = String::from_utf8_lossy(room);
        let text = match set {
            Ok(refused) if refused.is_empty() => return true,
            Ok(refused) => format!("could not be set, its rules forbid it: {}", list(&refused)),
            Err(reason) => format!("could not be set: {reason}"),
        };
        self.state().aligned.remove(room);
        self.log(Level::Warn, format!("Affiliations to room {room_name} of group {id} {text}")).await;
        false
    }

    pub(crate) async fn invite(&self, id: &Name, room: &[u8], users: Vec<Name>) {
        let group = self.state().directory.label(id);
        self.done(Effect::Invite(room.into(), group, users)).await.ok();
    }
}

impl crate::engine::State {
    fn is_member(&self, id: &Name, user: &Name) -> bool {
        let key = self.directory.find(id).map(|(key, _)| key);
        let user = self.directory.find_user(user);
        matches!((key, user), (Some(key), Some(user)) if self.directory.is_member(key, user))
    }
}
