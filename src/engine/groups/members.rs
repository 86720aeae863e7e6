//! Adding and removing members.

use crate::engine::effect::{Effect, Event, Level};
use crate::engine::operation::Call;
use crate::engine::state::directory::UserKey;
use crate::engine::turns::Place;
use crate::engine::{Answer, Copy, Engine, Error, Given, GroupKey, Info, Name, Operation, Value};

impl Engine {
    /// Adds a user to a group. `delayed`: contact lists wait for a `sync`.
    ///
    /// Adding a member again writes nothing, but heals affiliations, invites and tells other modules again.
    ///
    /// # Errors
    /// [`Error::BadRequest`], [`Error::GroupNotFound`], [`Error::Internal`].
    pub fn add_member(&self, id: Given, username: Given, delayed: bool) -> Operation {
        let (id, username) = (id.map(Name::raw), username.map(Name::raw));
        self.start(move |call| async move {
            let (id, username) = call.member_arguments(id, username).await?;
            let turn = call.turn(Place::Group(id.clone())).await?;
            let stored = call.store_joining(&id, &username, delayed).await;
            call.end(turn).await;
            let joining = stored?;

            let (_, info) = call.find(&id)?;
            let name = call.state().directory.user_name(joining.user);
            for room in info.rooms() {
                call.align_affiliation(&id, &room, &name).await;
                if !info.chats_apart {
                    call.invite(&id, &room, vec![name.clone()]).await;
                }
            }
            call.fire(Event::UsersAdded { id, users: vec![name], info }).await;
            if !delayed {
                call.welcome(joining).await;
            }
            Ok(Answer::Done)
        })
    }

    /// Removes a user from a group; nothing happens if the user is not in it.
    ///
    /// # Errors
    /// [`Error::BadRequest`], [`Error::GroupNotFound`], [`Error::Internal`].
    pub fn remove_member(&self, id: Given, username: Given) -> Operation {
        let (id, username) = (id.map(Name::raw), username.map(Name::raw));
        self.start(move |call| async move {
            let (id, username) = call.member_arguments(id, username).await?;
            let Some(user) = call.take_out(&id, &username, true).await? else { return Ok(Answer::Done) };
            call.part(&id, Some(user)).await;
            call.settle_urgent().await;
            Ok(Answer::Done)
        })
    }

    /// Fires `group-user-added` for each member, as if it had just been added.
    ///
    /// # Errors
    /// [`Error::BadRequest`], [`Error::GroupNotFound`].
    pub fn emit_member_events(&self, id: Given) -> Operation {
        let id = id.map(Name::raw);
        self.start(move |call| async move {
            call.ready().await?;
            let id = given_id(id)?;
            let (key, info) = call.find_given(&id)?;
            let members = call.state().directory.record(key);
            call.fire_for_each(&id, &info, members.into_iter().map(|(user, _)| user).collect(), true).await;
            Ok(Answer::Done)
        })
    }
}

/// How many events are fired before others have a turn of the event loop: what their handlers do may take long.
const EVENTS_AT_ONCE: usize = 8;

/// The outcome of [`Call::store_joining`].
struct Joining {
    key: GroupKey,
    user: UserKey,
}

/// An id that a caller gave, whether or not there is such a group.
pub(crate) fn given_id(id: Option<Name>) -> Result<Name, Error> {
    id.ok_or(Error::BadRequest)
}

impl Call {
    /// Tells other modules that each of these users is a member now, or is none any more.
    pub(crate) async fn fire_for_each(&self, id: &Name, info: &Info, users: Vec<Name>, added: bool) {
        for users in users.chunks(EVENTS_AT_ONCE) {
            let (id, users, info) = (id.clone(), users.to_vec(), info.clone());
            let event =
                if added { Event::UsersAdded { id, users, info } } else { Event::UsersRemoved { id, users, info } };
            self.fire(event).await;
            self.breathe().await;
        }
    }

    /// The group of an id that a caller gave. What cannot be an id is a bad request, unless storage has it all the
    /// same.
    pub(crate) fn find_given(&self, id: &Name) -> Result<(GroupKey, Info), Error> {
        self.find(id).map_err(|error| match error {
            Error::GroupNotFound => Name::group_id(id.as_bytes()).err().unwrap_or(Error::GroupNotFound),
            other => other,
        })
    }

    /// The group and the user that a caller means. A name that is a member as it stands is taken as it stands: the Lua
    /// module normalised nothing.
    async fn member_arguments(&self, id: Option<Name>, username: Option<Name>) -> Result<(Name, Name), Error> {
        self.ready().await?;
        let id = given_id(id)?;
        let username = username.ok_or(Error::BadRequest)?;
        let found = self.find_given(&id);
        let raw = {
            let state = self.state();
            let user = state.directory.find_user(&username);
            matches!((&found, user), (Ok((key, _)), Some(user)) if state.directory.is_member(*key, user))
        };
        let username = if raw { username } else { Name::username(username.as_bytes())? };
        found?;
        Ok((id, username))
    }

    /// Stores a new member. The caller has the group's turn.
    async fn store_joining(&self, id: &Name, username: &Name, delayed: bool) -> Result<Joining, Error> {
        let (key, info) = self.find(id)?;
        self.drop_dead_rooms(id, key, &info).await?;
        let user = self.state().directory.intern(username);
        if self.state().directory.is_member(key, user) {
            let now = self.now();
            let mut state = self.state();
            if !delayed {
                state.end_delay(key, now);
            }
            if state.accounts.awaiting.contains(&user) {
                // It may have been made since it was last asked for.
                state.accounts.doubt(user);
            }
            return Ok(Joining { key, user });
        }
        // Ask now: a contact list can wait for an account, and would have to ask later all the same.
        self.state().accounts.doubt(user);
        self.recall_deletion(id, key, user).await?;
        let stores = self.state().stores_contacts();
        let present = (!delayed || !stores) && self.has_account(user).await;
        self.state().note_room_changes(id, &info, &[]);
        self.mark_unsettled(&[key]).await?;
        self.mark_rooms(id).await?;
        if !stores && !present {
            self.mark_awaited(user).await?;
        }
        self.store_member(id, key, username, Some(Value::empty())).await?;
        let now = self.now();
        let mut state = self.state();
        state.directory.add_member(key, user, Value::empty());
        state.partings.join(id, user);
        state.work.news = true;
        if state.accounts.is_deleted(user) {
            state.deletions.leave(user, key, now);
        }
        if delayed {
            state.unsettled.delay(key);
        } else if present {
            state.enqueue_group(key, now);
        } else {
            state.accounts.awaiting.insert(user);
        }
        Ok(Joining { key, user })
    }

    /// Reconciles the rosters in memory with a new member.
    async fn welcome(&self, joining: Joining) {
        let Joining { key, user } = joining;
        let awaited = self.state().accounts.awaiting.contains(&user);
        if awaited {
            if self.has_account(user).await {
                self.arrive(user).await;
            }
        } else {
            self.spread(&[key], user).await;
        }
        self.settle_urgent().await;
    }

    /// Gives a member the name of the account, in place of one that XMPP compares as the same and that is nobody's.
    pub(crate) async fn respell_member(&self, id: &Name, stored_as: &Name, account: &Name) -> Result<(), Error> {
        let turn = self.turn(Place::Group(id.clone())).await?;
        let joined = self.store_joining(id, account, false).await;
        let left = match &joined {
            Ok(_) => self.store_leaving(id, stored_as, true).await,
            Err(error) => Err(*error),
        };
        self.end(turn).await;
        let joining = joined?;
        let (_, info) = self.find(id)?;
        for room in info.rooms() {
            // The one name is not taken out: to the room, the two are the same.
            self.align_affiliation(id, &room, account).await;
            if !info.chats_apart {
                self.invite(id, &room, vec![account.clone()]).await;
            }
        }
        if let Some((user, info)) = left? {
            self.fire(Event::UsersRemoved { id: id.clone(), users: vec![stored_as.clone()], info }).await;
            self.part(id, Some(user)).await;
        }
        self.fire(Event::UsersAdded { id: id.clone(), users: vec![account.clone()], info }).await;
        self.welcome(joining).await;
        Ok(())
    }

    /// Takes a user out of a group: stored, then affiliations, then the event. `parts`: a parting follows. Returns the
    /// user, if it was a member.
    pub(crate) async fn take_out(&self, id: &Name, username: &Name, parts: bool) -> Result<Option<UserKey>, Error> {
        let turn = self.turn(Place::Group(id.clone())).await?;
        let stored = self.store_leaving(id, username, parts).await;
        self.end(turn).await;
        let Some((user, info)) = stored? else { return Ok(None) };
        for room in info.rooms() {
            self.align_affiliation(id, &room, username).await;
        }
        let event = Event::UsersRemoved { id: id.clone(), users: vec![username.clone()], info };
        self.fire(event).await;
        Ok(Some(user))
    }

    /// Stores that a member leaves. Nothing if the user is not a member. The caller has the group's turn.
    async fn store_leaving(&self, id: &Name, username: &Name, parts: bool) -> Result<Option<(UserKey, Info)>, Error> {
        let (key, info) = self.find(id)?;
        let user = self.state().directory.find_user(username);
        let member = user.filter(|&user| self.state().directory.is_member(key, user));
        let Some(user) = member else { return Ok(None) };
        self.mark_leavers(id, &info, std::slice::from_ref(username)).await?;
        if parts {
            self.note_parting(id, vec![user]).await?;
        }
        self.store_member(id, key, username, None).await?;
        let now = self.now();
        let mut state = self.state();
        state.directory.remove_member(key, user);
        if state.directory.groups_of(user).is_empty() {
            state.accounts.awaiting.remove(&user);
        }
        if parts {
            state.begin_parting(id, now);
        }
        state.work.news = true;
        Ok(Some((user, info)))
    }

    /// Writes or removes one member in storage: the row where that is possible, otherwise the record as it stands now.
    pub(crate) async fn store_member(
        &self,
        id: &Name,
        key: GroupKey,
        user: &Name,
        data: Option<Value>,
    ) -> Result<(), Error> {
        let before = self
            .renew_copy(id, |mut copy| {
                copy.members.retain(|(name, _)| name != user);
                copy.members.extend(data.clone().map(|data| (user.clone(), data)));
                Some(copy)
            })
            .await?;
        let (row_writes, mut record) = {
            let state = self.state();
            (state.options.row_writes, state.directory.record(key))
        };
        let effect = if row_writes {
            Effect::StoreMember(id.clone(), user.clone(), data)
        } else {
            record.retain(|(name, _)| name != user);
            record.extend(data.map(|data| (user.clone(), data)));
            Effect::StoreMembers(id.clone(), (!record.is_empty()).then_some(record))
        };
        if let Err(reason) = self.done(effect).await {
            self.undo_copy(id, before);
            let text = format!("The members of group {id} cannot be stored, {user} stays as before: {reason}");
            self.log(Level::Error, text).await;
            return Err(Error::Internal);
        }
        Ok(())
    }

    /// Drops chats whose rooms are gone. The caller has the group's turn.
    pub(crate) async fn drop_dead_rooms(&self, id: &Name, key: GroupKey, info: &Info) -> Result<(), Error> {
        let Some(mucs) = info.mucs.as_ref().filter(|mucs| !mucs.is_empty()) else {
            return Ok(());
        };
        let Ok(alive) = self.find_rooms(mucs).await else { return Ok(()) };
        let living: Vec<_> = mucs.iter().zip(alive).filter(|&(_, alive)| alive).map(|(jid, _)| jid.clone()).collect();
        if living.len() < mucs.len() {
            let kept = Info { mucs: Some(living), ..info.clone() };
            self.store_info(id, key, kept).await?;
        }
        Ok(())
    }

    /// Stores a group's record, and then holds it in memory. The caller has the group's turn.
    pub(crate) async fn store_info(&self, id: &Name, key: GroupKey, info: Info) -> Result<(), Error> {
        let before = self.renew_copy(id, |copy| Some(Copy { info: info.clone(), ..copy })).await?;
        if let Err(reason) = self.done(Effect::StoreInfo(id.clone(), Some(info.clone()))).await {
            self.undo_copy(id, before);
            self.log(Level::Error, format!("Group {id} cannot be stored and stays as it was: {reason}")).await;
            return Err(Error::Internal);
        }
        self.state().directory.set_info(key, info);
        Ok(())
    }
}
