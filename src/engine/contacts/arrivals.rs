//! Accounts that appear and rosters that come into memory: queues the rosters that this concerns.

use rustc_hash::FxHashSet;

use crate::engine::contacts::plan::Scope;
use crate::engine::contacts::settle::Pace;
use crate::engine::effect::{Effect, Push, Reply};
use crate::engine::operation::Call;
use crate::engine::state::directory::UserKey;
use crate::engine::{Answer, Engine, GroupKey, Name, Operation, Phase, State};

impl Engine {
    /// Reconciles a roster that has been read from storage and that nobody has seen yet (`roster-load`). `unsaved`: its
    /// metadata say that its version stands for changes that may not all be in storage.
    pub fn roster_loaded(&self, username: Name, unsaved: bool) -> Operation {
        self.start(move |call| async move {
            if unsaved {
                call.ready().await?;
                call.state().directory.intern(&username);
            }
            // Also for a user whom no group concerns any more: what groups brought was shown under this version.
            let known = call.state().directory.find_user(&username);
            let torn = known.filter(|&user| unsaved || call.state().versions.may_be_behind(user));
            let Some(user) = call.concerned(&username).or(torn) else { return Ok(Answer::Done) };
            call.state().withdrawals.note_read(user);
            call.state().end_sparing(user, call.now());
            if call.has_account(user).await {
                call.reconcile(user, Scope::All, torn.is_some()).await;
            } else if torn.is_some() {
                call.reconcile(user, Scope::Removals, true).await;
            }
            Ok(Answer::Done)
        })
    }

    /// Reconciles the roster of a user who has bound a resource (`resource-bind`), or whose account has appeared.
    pub fn user_appeared(&self, username: Name) -> Operation {
        self.start(move |call| async move {
            call.state().note_appearance(&username, call.now());
            let Some(user) = call.concerned(&username) else {
                return Ok(Answer::Done);
            };
            if call.state().outbox.pushes.contains(&user) {
                // A client that was cut off between two pushes would be told that it missed nothing.
                call.renew_version(user).await;
            }
            let awaited = call.state().accounts.awaiting.contains(&user);
            if awaited {
                call.arrive(user).await;
            } else if !call.is_stamped(user, username).await {
                call.reconcile(user, Scope::All, false).await;
            }
            call.settle_urgent().await;
            Ok(Answer::Done)
        })
    }

    /// Takes in that a user has published another nickname. It is asked for at once, since contacts that have a name
    /// are no reason to ask. Contacts that bear the former nickname get the new one when their rosters are next
    /// reconciled.
    pub fn nickname_changed(&self, username: Name) -> Operation {
        self.start(move |call| async move {
            let user = call.state().directory.find_user(&username);
            if let Some(user) = user {
                call.ask_nicknames(&[user]).await;
                call.state().changes += 1;
            }
            Ok(Answer::Done)
        })
    }

    /// Spares a contact that groups bring and that its user has taken off the list: it is left out of the plan until
    /// the user's next session or the next load of the roster.
    pub fn spare_contact(&self, username: &Name, contact: &Name) {
        let mut state = self.0.state.lock();
        let keys = (state.directory.find_user(username), state.directory.find_user(contact));
        // Prosody ends the subscriptions of an account that is being deleted, which says nothing of the next one of
        // that name.
        if let (Some(user), Some(contact)) = keys
            && !state.accounts.is_deleted(user)
            && state.directory.share_a_group(user, contact)
            && !state.accounts.is_missing(contact)
        {
            state.spared.spare(user, contact);
        }
    }

    /// Whether a user's list may still lack a contact that groups bring: it waits for a `sync`, or for its turn.
    pub fn may_lack(&self, username: &Name, contact: &Name) -> bool {
        let State { directory, unsettled, .. } = &*self.0.state.lock();
        let keys = (directory.find_user(username), directory.find_user(contact));
        let (Some(user), Some(contact)) = keys else { return false };
        let lacking = |&key: &GroupKey| directory.is_member(key, user) && directory.is_member(key, contact);
        unsettled.everything && directory.share_a_group(user, contact) || unsettled.groups.keys().any(lacking)
    }

    /// Whether the roster in memory has changes of this module that storage has not: it is kept after the user's last
    /// session.
    pub fn is_unsaved(&self, username: &Name) -> bool {
        let state = self.0.state.lock();
        state.directory.find_user(username).is_some_and(|user| state.work.is_unsaved(user))
    }

    /// Saves the roster of a user whose last session has ended: Prosody may drop it from memory.
    pub fn user_left(&self, username: Name) -> Operation {
        self.start(move |call| async move {
            // Also of somebody who is in no group any more: what was kept from one may be in memory only.
            let Some(user) = call.state().directory.find_user(&username) else { return Ok(Answer::Done) };
            call.state().note_departure(user);
            let unsaved = call.state().work.is_unsaved(user);
            if unsaved {
                call.settle(user, Pace::Now).await;
            }
            Ok(Answer::Done)
        })
    }

    /// `sync`: reconciles the rosters of a group's members, those in memory first, and aligns the group's rooms.
    pub fn sync(&self, id: crate::engine::Given) -> Operation {
        let id = id.map(Name::raw);
        self.start(move |call| async move {
            call.ready().await?;
            let Some(id) = id else { return Ok(Answer::Done) };
            let Ok((key, _)) = call.find(&id) else { return Ok(Answer::Done) };
            call.sync(key).await;
            call.align_rooms(&id).await;
            Ok(Answer::Done)
        })
    }
}

impl Call {
    /// The key of a user to whose roster groups bring contacts, or from which contacts are to be taken.
    fn concerned(&self, username: &Name) -> Option<UserKey> {
        let state = self.state();
        let user = state.directory.find_user(username)?;
        let concerned = !state.directory.groups_of(user).is_empty() || !state.removals(user).is_empty();
        (state.phase == Phase::Ready && concerned).then_some(user)
    }

    /// Whether a roster in memory is known to hold what it should.
    async fn is_stamped(&self, user: UserKey, name: Name) -> bool {
        let stamp = self.state().stamp();
        // Work that is open for a roster is no part of the stamp.
        let open = !self.state().removals(user).is_empty();
        !open && self.perform(Effect::CheckStamp(name, stamp)).await == Reply::Flags(vec![true])
    }

    /// Gives a user's roster a version that no client has.
    async fn renew_version(&self, user: UserKey) {
        let push = Push { user: self.state().directory.user_name(user), contacts: Vec::new(), last: true };
        if let Reply::Pushed(version) = self.perform(Effect::Push(push)).await {
            self.state().versions.note(user, version);
        }
    }

    async fn sync(&self, key: GroupKey) {
        let awaited: Vec<_> = {
            let mut state = self.state();
            let State { directory, accounts, unsettled, .. } = &mut *state;
            let awaited: Vec<_> = accounts.awaiting.iter().copied().filter(|&m| directory.is_member(key, m)).collect();
            for &user in &awaited {
                accounts.doubt(user);
            }
            if unsettled.groups.contains_key(&key) {
                let now = self.now();
                state.enqueue_group(key, now);
            } else if awaited.is_empty() {
                return;
            }
            awaited
        };
        for user in awaited {
            if self.has_account(user).await {
                self.arrive(user).await;
            }
        }
        if self.state().unsettled.groups.contains_key(&key) {
            self.spread_all(key).await;
        }
        self.settle_urgent().await;
    }

    /// Queues the rosters of the groups of an account that has appeared, and whose memberships were waiting for it.
    pub(crate) async fn arrive(&self, user: UserKey) {
        let groups = self.state().directory.groups_of(user).to_vec();
        if self.mark_unsettled(&groups).await.is_err() {
            return;
        }
        {
            let mut state = self.state();
            state.accounts.awaiting.remove(&user);
            state.accounts.lost.remove(&user);
            let now = self.now();
            for &group in &groups {
                state.enqueue_group(group, now);
            }
        }
        self.spread(&groups, user).await;
    }

    /// Queues the rosters in memory of the members of these groups, for this one member, and the member's own for them.
    pub(crate) async fn spread(&self, groups: &[GroupKey], user: UserKey) {
        let mut others: Vec<_> = {
            let state = self.state();
            groups.iter().filter_map(|&g| state.directory.group(g)).flat_map(|group| group.members()).collect()
        };
        others.sort_unstable();
        others.dedup();
        // The rest of the user's list has been reconciled for the other groups.
        let own = match *groups {
            [group] if self.state().directory.groups_of(user).len() > 1 => Scope::Group(group),
            _ => Scope::All,
        };
        let scope = |owner| if owner == user { own } else { Scope::Contact(user) };
        self.queue_loaded(others, scope).await;
    }

    /// Queues the rosters in memory of all members of a group for reconciliation.
    pub(crate) async fn spread_all(&self, key: GroupKey) {
        let members = self.state().directory.group(key).map(|group| group.members().collect());
        self.queue_loaded(members.unwrap_or_default(), |_| Scope::All).await;
    }

    /// Queues those of these users' rosters that are in memory for reconciliation. Returns whose they are.
    pub(crate) async fn queue_loaded(
        &self,
        users: Vec<UserKey>,
        scope: impl Fn(UserKey) -> Scope,
    ) -> FxHashSet<UserKey> {
        let loaded = self.with_loaded_rosters(users).await;
        {
            let urgent = &mut self.state().work.urgent;
            loaded.iter().for_each(|&user| urgent.add(user, scope(user)));
        }
        loaded.into_iter().collect()
    }

    /// Those of these users whose rosters are in memory. The shorter list is asked for: theirs, or that of all rosters
    /// in memory.
    async fn with_loaded_rosters(&self, mut users: Vec<UserKey>) -> Vec<UserKey> {
        if users.is_empty() {
            return users;
        }
        if let Reply::Names(names) = self.perform(Effect::ListRosters(users.len())).await {
            let loaded: FxHashSet<_> = {
                let state = self.state();
                names.iter().filter_map(|name| state.directory.find_user(name)).collect()
            };
            users.retain(|user| loaded.contains(user));
            return users;
        }
        let names = self.state().directory.names(&users);
        let Reply::Flags(loaded) = self.perform(Effect::FindRosters(names)).await else {
            return Vec::new();
        };
        users.into_iter().zip(loaded).filter(|&(_, loaded)| loaded).map(|(user, _)| user).collect()
    }
}

impl State {
    /// Ends the sparing of a user's contacts: they come back, and so does the user on their rosters, which Prosody has
    /// changed too.
    fn end_sparing(&mut self, user: UserKey, now: f64) {
        let spared: Vec<_> = self.spared.end(user).into_iter().collect();
        self.changes += u64::from(!spared.is_empty());
        self.doubt_contacts(user, &spared, now);
    }

    /// Notes that an account exists and that its next session begins.
    fn note_appearance(&mut self, username: &Name, now: f64) {
        if let Some(user) = self.directory.find_user(username) {
            self.accounts.appear(user);
            self.end_sparing(user, now);
        }
    }
}
