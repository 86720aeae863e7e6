//! Changes of many members at once: one record is stored, each room is saved once, contact lists are reconciled once.
//!
//! A list is taken as a whole or not at all: one bad name, and nothing has changed.

use std::collections::HashSet;

use rustc_hash::FxHashSet;

use crate::engine::effect::{Effect, Level};
use crate::engine::groups::members::given_id;
use crate::engine::operation::Call;
use crate::engine::state::directory::UserKey;
use crate::engine::turns::Place;
use crate::engine::{Answer, Engine, Error, Given, GroupKey, Name, Operation, Value};

/// How many accounts are asked for before others have a turn of the event loop.
const ACCOUNTS_AT_ONCE: usize = 8;

/// How many affiliations are set before others have a turn of the event loop.
const AFFILIATIONS_AT_ONCE: usize = 32;

/// What becomes of those who are named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bulk {
    /// They are added. True: contact lists wait for a `sync`.
    Add(bool),
    /// They are removed.
    Remove,
    /// They are added, and all others are removed.
    Set,
}

/// Who is concerned by a bulk change.
#[derive(Default)]
struct Changed {
    joined: Vec<UserKey>,
    left: Vec<UserKey>,
    /// Members who were added again.
    again: Vec<UserKey>,
}

impl Engine {
    /// Adds users to a group, as [`Engine::add_member`] does with one. `usernames` is `None` if it was no list, and has
    /// a `None` for what was no string.
    ///
    /// [`Answer::BadUsername`] if one cannot be a username; nothing has changed then.
    ///
    /// # Errors
    /// [`Error::BadRequest`], [`Error::GroupNotFound`], [`Error::Internal`].
    pub fn add_members(&self, id: Given, usernames: Option<&[Given]>, delayed: bool) -> Operation {
        self.change_members(id, usernames, Bulk::Add(delayed))
    }

    /// Removes users from a group, as [`Engine::remove_member`] does with one.
    ///
    /// # Errors
    /// As for [`Engine::add_members`].
    pub fn remove_members(&self, id: Given, usernames: Option<&[Given]>) -> Operation {
        self.change_members(id, usernames, Bulk::Remove)
    }

    /// Makes these users the members of a group: adds those who are missing, and removes all others.
    ///
    /// # Errors
    /// As for [`Engine::add_members`].
    pub fn set_members(&self, id: Given, usernames: Option<&[Given]>) -> Operation {
        self.change_members(id, usernames, Bulk::Set)
    }

    fn change_members(&self, id: Given, usernames: Option<&[Given]>, how: Bulk) -> Operation {
        let id = id.map(Name::raw);
        let usernames: Option<Vec<_>> = usernames.map(|list| list.iter().map(|given| given.map(Name::raw)).collect());
        self.start(move |call| async move {
            call.ready().await?;
            let id = given_id(id)?;
            let (key, _) = call.find_given(&id)?;
            let usernames = match call.usernames(key, usernames.ok_or(Error::BadRequest)?) {
                Ok(usernames) => usernames,
                Err(place) => return Ok(Answer::BadUsername(place)),
            };
            let turn = call.turn(Place::Group(id.clone())).await?;
            let stored = call.store_bulk(&id, &usernames, how).await;
            call.end(turn).await;
            let changed = stored?;
            call.publish_bulk(&id, changed, how).await?;
            Ok(Answer::Done)
        })
    }
}

impl Call {
    /// The users whom a list names, each once; or the place of the first that cannot be one.
    fn usernames(&self, key: GroupKey, given: Vec<Option<Name>>) -> Result<Vec<Name>, usize> {
        let state = self.state();
        let mut seen = HashSet::with_capacity(given.len());
        let mut usernames = Vec::with_capacity(given.len());
        for (place, given) in given.into_iter().enumerate() {
            let given = given.ok_or(place)?;
            // A name that is a member as it stands is taken as it stands.
            let stored = state.directory.find_user(&given).is_some_and(|user| state.directory.is_member(key, user));
            let name = if stored { given } else { Name::username(given.as_bytes()).map_err(|_| place)? };
            if seen.insert(name.clone()) {
                usernames.push(name);
            }
        }
        Ok(usernames)
    }

    /// Stores a bulk change. The caller has the group's turn.
    async fn store_bulk(&self, id: &Name, usernames: &[Name], how: Bulk) -> Result<Changed, Error> {
        let (key, info) = self.find(id)?;
        if how != Bulk::Remove {
            self.drop_dead_rooms(id, key, &info).await?;
        }
        let changed = self.compare_members(key, usernames, how);
        if changed.joined.is_empty() && changed.left.is_empty() {
            let now = self.now();
            let mut state = self.state();
            if !changed.again.is_empty() && how != Bulk::Add(true) {
                state.end_delay(key, now);
            }
            return Ok(changed);
        }
        let left = self.state().directory.names(&changed.left);
        self.state().note_room_changes(id, &info, &left);
        if !changed.joined.is_empty() {
            self.prepare_joining(id, key, &changed.joined, how).await?;
        }
        self.mark_rooms(id).await?;
        if !left.is_empty() {
            self.note_parting(id, changed.left.clone()).await?;
        }
        self.store_members(id, key, &changed).await?;
        let now = self.now();
        let mut state = self.state();
        for &user in &changed.left {
            state.directory.remove_member(key, user);
            if state.directory.groups_of(user).is_empty() {
                state.accounts.awaiting.remove(&user);
            }
        }
        let mut any_present = false;
        for &user in &changed.joined {
            state.directory.add_member(key, user, Value::empty());
            state.partings.join(id, user);
            if state.accounts.is_deleted(user) {
                state.deletions.leave(user, key, now);
            }
            if state.accounts.is_present(user) {
                any_present = true;
            } else if how != Bulk::Add(true) {
                state.accounts.awaiting.insert(user);
            }
        }
        if how == Bulk::Add(true) && !changed.joined.is_empty() {
            state.unsettled.delay(key);
        } else if any_present {
            state.enqueue_group(key, now);
        }
        if !changed.left.is_empty() {
            state.begin_parting(id, now);
        }
        state.work.news = true;
        Ok(changed)
    }

    fn compare_members(&self, key: GroupKey, usernames: &[Name], how: Bulk) -> Changed {
        let mut state = self.state();
        let mut changed = Changed::default();
        if how == Bulk::Remove {
            let known = usernames.iter().filter_map(|name| state.directory.find_user(name));
            changed.left = known.filter(|&user| state.directory.is_member(key, user)).collect();
            return changed;
        }
        let users: Vec<_> = usernames.iter().map(|name| state.directory.intern(name)).collect();
        let (again, joined) = users.iter().partition(|&&user| state.directory.is_member(key, user));
        changed.joined = joined;
        if how == Bulk::Set {
            let named: FxHashSet<_> = users.iter().copied().collect();
            let members = state.directory.group(key).into_iter().flat_map(|group| group.members());
            changed.left = members.filter(|user| !named.contains(user)).collect();
        } else {
            changed.again = again;
        }
        changed
    }

    /// What is to be known and noted before new members are stored.
    async fn prepare_joining(&self, id: &Name, key: GroupKey, users: &[UserKey], how: Bulk) -> Result<(), Error> {
        for &user in users {
            self.state().accounts.doubt(user);
            self.recall_deletion(id, key, user).await?;
        }
        let stores = self.state().stores_contacts();
        if how != Bulk::Add(true) || !stores {
            self.ask_unknown_accounts(users).await;
        }
        self.mark_unsettled(&[key]).await?;
        if stores {
            return Ok(());
        }
        let absent: Vec<_> = {
            let state = self.state();
            users.iter().copied().filter(|&user| !state.accounts.is_present(user)).collect()
        };
        self.mark_all_awaited(&absent).await
    }

    async fn ask_unknown_accounts(&self, users: &[UserKey]) {
        let unknown: Vec<_> = {
            let state = self.state();
            users.iter().copied().filter(|&user| !state.accounts.is_present(user)).collect()
        };
        for users in unknown.chunks(ACCOUNTS_AT_ONCE) {
            self.ask_accounts(users).await;
            self.breathe().await;
        }
    }

    /// Writes the members as they are to be: one record, or one row if only one of them changes.
    async fn store_members(&self, id: &Name, key: GroupKey, changed: &Changed) -> Result<(), Error> {
        match (&changed.joined[..], &changed.left[..]) {
            (&[user], []) => {
                let name = self.state().directory.user_name(user);
                return self.store_member(id, key, &name, Some(Value::empty())).await;
            }
            ([], &[user]) => {
                let name = self.state().directory.user_name(user);
                return self.store_member(id, key, &name, None).await;
            }
            _ => {}
        }
        let (joined, left): (Vec<_>, HashSet<_>) = {
            let state = self.state();
            let joined = state.directory.names(&changed.joined).into_iter().map(|name| (name, Value::empty()));
            (joined.collect(), state.directory.names(&changed.left).into_iter().collect())
        };
        let before = self
            .renew_copy(id, |mut copy| {
                copy.members.retain(|(name, _)| !left.contains(name));
                copy.members.extend(joined.iter().cloned());
                Some(copy)
            })
            .await?;
        let mut record = self.state().directory.record(key);
        record.retain(|(name, _)| !left.contains(name));
        record.extend(joined);
        let effect = Effect::StoreMembers(id.clone(), (!record.is_empty()).then_some(record));
        if let Err(reason) = self.done(effect).await {
            self.undo_copy(id, before);
            let text = format!("The members of group {id} cannot be stored, they stay as before: {reason}");
            self.log(Level::Error, text).await;
            return Err(Error::Internal);
        }
        Ok(())
    }

    /// What follows when a bulk change is stored: rooms, events, contact lists.
    async fn publish_bulk(&self, id: &Name, changed: Changed, how: Bulk) -> Result<(), Error> {
        let (key, info) = self.find(id)?;
        let Changed { joined, left, again } = changed;
        let let_in = [&joined[..], &again].concat();
        let (let_in_names, left_names) = {
            let state = self.state();
            (state.directory.names(&let_in), state.directory.names(&left))
        };
        if !let_in.is_empty() || !left.is_empty() {
            let concerned = [&let_in_names[..], &left_names].concat();
            let _turn = self.try_turn(Place::Rooms(id.clone()));
            let mut all_set = true;
            for room in info.rooms() {
                all_set &= self.align_in_slices(id, &room, &concerned).await;
                if !info.chats_apart && !let_in.is_empty() {
                    self.state().outbox.invites.add((id.clone(), room), let_in.iter().copied());
                }
                self.breathe().await;
            }
            if all_set {
                self.state().room_saves.note_put_out(id, &left_names);
            }
        }
        self.fire_for_each(id, &info, let_in_names, true).await;
        self.fire_for_each(id, &info, left_names, false).await;
        if !left.is_empty() {
            self.part(id, if let [only] = left[..] { Some(only) } else { None }).await;
        }
        if how != Bulk::Add(true) {
            self.spread_bulk(key, &joined, again).await;
        }
        self.settle_urgent().await;
        Ok(())
    }

    /// Sets affiliations in several turns of the event loop, where the room need not be saved in each. False if some
    /// could not be set.
    async fn align_in_slices(&self, id: &Name, room: &[u8], users: &[Name]) -> bool {
        let mut all_set = true;
        let slice = if self.put_save_off(id, room) { AFFILIATIONS_AT_ONCE } else { users.len() };
        for users in users.chunks(slice.max(1)) {
            all_set &= self.align_affiliations(id, room, users.to_vec()).await;
            self.breathe().await;
        }
        all_set
    }

    /// Queues the rosters in memory that new members concern, and looks again for the accounts of those added again.
    async fn spread_bulk(&self, key: GroupKey, joined: &[UserKey], again: Vec<UserKey>) {
        match joined {
            [] => {}
            &[user] => self.spread(&[key], user).await,
            _ => self.spread_all(key).await,
        }
        let awaited: Vec<_> = {
            let mut state = self.state();
            let awaited: Vec<_> = again.into_iter().filter(|user| state.accounts.awaiting.contains(user)).collect();
            awaited.iter().for_each(|&user| state.accounts.doubt(user));
            awaited
        };
        self.ask_unknown_accounts(&awaited).await;
        for user in awaited {
            let present = self.state().accounts.is_present(user);
            if present {
                self.arrive(user).await;
            }
        }
    }
}
