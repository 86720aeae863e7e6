//! Deleted accounts: takes them out of their groups, and withdraws them from contact lists.

use std::collections::{BTreeMap, BTreeSet};

use rustc_hash::FxHashMap;

use crate::engine::contacts::plan::Scope;
use crate::engine::contacts::provenance::Provenance;
use crate::engine::effect::{Comparison, Effect, Level, Plan, Reply};
use crate::engine::operation::Call;
use crate::engine::state::directory::UserKey;
use crate::engine::state::filled;
use crate::engine::turns::Place;
use crate::engine::{Answer, Copy, Engine, Error, GroupKey, Name, Operation};

/// When groups that an account could not be taken out of are tried again, in seconds.
const RETRY_PAUSE: f64 = 10.0;

/// When the records of a group that has the name of a deleted account are restored, in seconds after the deletion: the
/// purge follows the event, and storage that waits may be late.
const PURGE_WATCH: [f64; 3] = [0.0, 1.0, 10.0];

/// Deleted accounts, and the groups that still have them as members.
#[derive(Debug, Default)]
pub(crate) struct Deletions {
    pub(crate) open: BTreeMap<UserKey, BTreeSet<GroupKey>>,
    /// When they are tried again, in seconds.
    pub(crate) due: f64,
    /// When the groups of these names are restored, in seconds, the last time first.
    purges: FxHashMap<Name, Vec<f64>>,
}

impl Deletions {
    /// Notes that a deleted account was added to a group again: it need not be taken out.
    pub(crate) fn stay(&mut self, user: UserKey, group: GroupKey) {
        if let Some(groups) = self.open.get_mut(&user) {
            groups.remove(&group);
        }
    }

    /// Notes that an account was deleted while it was added to a group.
    pub(crate) fn leave(&mut self, user: UserKey, group: GroupKey, now: f64) {
        self.open.entry(user).or_default().insert(group);
        self.due = now;
    }

    fn expect_purge(&mut self, id: Name, now: f64) {
        self.purges.insert(id, PURGE_WATCH.iter().rev().map(|pause| now + pause).collect());
    }

    /// When a group is next restored, in seconds.
    pub(crate) fn next_purge(&self) -> Option<f64> {
        self.purges.values().filter_map(|times| times.last().copied()).reduce(f64::min)
    }

    /// A group that is to be restored now, and whether that is the last time.
    fn take_purge(&mut self, now: f64) -> Option<(Name, bool)> {
        let due = |times: &Vec<f64>| times.last().is_some_and(|&time| time <= now);
        let (id, times) = self.purges.iter_mut().find(|(_, times)| due(times))?;
        times.pop();
        let (id, is_last) = (id.clone(), times.is_empty());
        if is_last {
            self.purges.remove(&id);
        }
        Some((id, is_last))
    }
}

/// Whom a deletion concerns.
#[derive(Default)]
struct Noted {
    /// The groups of the account.
    groups: Vec<Name>,
    /// The other members of these groups.
    members: Vec<UserKey>,
    /// Those, and whom the account has parted with, if their rosters have not been settled since.
    contacts: Vec<UserKey>,
}

impl Engine {
    /// An account is being deleted (`user-deleted`, before Prosody purges its records): it leaves all groups and all
    /// members' contact lists.
    pub fn account_deleted(&self, username: Name) -> Operation {
        self.start(move |call| async move {
            call.ready().await?;
            call.delete_account(username.clone()).await;
            let now = call.now();
            let mut state = call.state();
            if state.copies.contains_key(&username) {
                state.deletions.expect_purge(username, now);
            }
            Ok(Answer::Done)
        })
    }
}

impl Call {
    pub(crate) async fn delete_account(&self, username: Name) {
        // An account that no group knows of may have been in groups before the last start.
        let Noted { groups, members, contacts } = self.note_deletion(&username).await.unwrap_or_default();
        // Prosody itself ends the subscriptions of all contacts that stay in the list, in the others' lists as well.
        let (others, brought) = match self.find_counterparts(&username).await {
            Some(found) => found,
            None if self.state().unsettled.adopting => (Vec::new(), self.state().directory.names(&members)),
            None => Default::default(),
        };
        self.perform(Effect::Depart(username.clone(), brought.clone())).await;
        let editors = self.find_editors(&username).await;
        let others = self.withdraw_from(&username, [others, editors].concat()).await;
        self.note_unended(&username, &brought);
        for id in groups {
            if self.take_deleted_out(&id, &username).await.is_err() {
                let text = format!("Account {username} is deleted but still in group {id}, its removal is tried again");
                self.log(Level::Error, text).await;
            }
        }
        let user = {
            let mut state = self.state();
            let user = state.directory.intern(&username);
            state.accounts.delete(user);
            state.nicknames.forget(user);
            user
        };
        self.queue_loaded([contacts, others].concat(), |_| Scope::Contact(user)).await;
        self.settle_urgent().await;
    }

    /// Who has made something of a virtual contact: with the account, that goes as well.
    async fn find_editors(&self, username: &Name) -> Vec<Name> {
        if !self.state().unsettled.was_virtual {
            return Vec::new();
        }
        match self.perform(Effect::FindEditors(username.clone())).await {
            Reply::Names(names) => names,
            _ => Vec::new(),
        }
    }

    /// Takes a deleted account out of a group. From virtual lists nothing is withdrawn: the other members part with it.
    async fn take_deleted_out(&self, id: &Name, username: &Name) -> Result<(), Error> {
        let parts = self.state().options.virtual_contacts;
        let taken_out = self.take_out(id, username, parts).await?;
        if let Some(user) = taken_out.filter(|_| parts) {
            self.part(id, Some(user)).await;
            self.state().partings.forget_roster(user);
        }
        Ok(())
    }

    /// Who may have the account as a contact through groups, as its own roster tells: contacts with a label or a note,
    /// and those that the user has removed. And those of them that groups have brought. Nothing if the roster has no
    /// provenance.
    async fn find_counterparts(&self, username: &Name) -> Option<(Vec<Name>, Vec<Name>)> {
        if !matches!(self.perform(Effect::LoadRoster(username.clone())).await, Reply::Loaded(_)) {
            return None;
        }
        let reply = self.perform(Effect::Compare(username.clone(), Plan::default())).await;
        let Reply::Compared(Comparison { provenance: Some(text), .. }) = reply else { return None };
        let host = self.state().host.clone();
        let provenance = Provenance::parse(&text.0, &host).ok()?;
        Some(self.find_tied(username, &provenance).await)
    }

    /// The contacts of a roster in memory that groups have to do with, as its provenance tells, and those of them that
    /// groups have brought.
    pub(crate) async fn find_tied(&self, username: &Name, provenance: &Provenance) -> (Vec<Name>, Vec<Name>) {
        let bearers = self.find_bearers(username, provenance.given()).await;
        let bearers: BTreeSet<_> = filled(bearers.into_iter().map(|(contact, _)| contact));
        let noted = provenance.noted().map(str::to_owned);
        let all: BTreeSet<_> = filled(bearers.iter().cloned().chain(noted));
        let is_brought = |contact: &&String| match provenance.note(contact) {
            Some(note) => note.brought,
            // The user may have made anew what was removed.
            None => bearers.contains(*contact),
        };
        let name = |contact: &String| Name::from(contact.as_str());
        (all.iter().map(name).collect(), all.iter().filter(is_brought).map(name).collect())
    }

    /// Notes what the deletion of an account leaves to do, and stores that in the marker. Nothing if no group
    /// knows of the account.
    async fn note_deletion(&self, username: &Name) -> Option<Noted> {
        let now = self.now();
        let noted = {
            let mut state = self.state();
            let namesake = state.directory.find(username).map(|(key, group)| (key, group.info.clone()));
            if let Some((key, info)) = namesake {
                let mut members = state.directory.record(key);
                members.retain(|(name, _)| name != username);
                state.copies.insert(username.clone(), Copy { info, members });
            }
            let user = state.directory.find_user(username);
            if user.is_none() && !state.copies.contains_key(username) {
                return None;
            }
            let user = state.directory.intern(username);
            let keys = state.directory.groups_of(user).to_vec();
            let groups: Vec<_> = keys.iter().filter_map(|&key| state.directory.group(key)).collect();
            let members = groups.iter().flat_map(|group| group.members());
            let members: BTreeSet<_> = filled(members.filter(|&member| member != user));
            let parted = state.partings.contacts(&state.directory, user);
            let parted = parted.into_iter().flat_map(|(_, contacts)| contacts);
            let contacts: BTreeSet<_> = filled(members.iter().copied().chain(parted));
            let groups: Vec<_> = groups.iter().map(|group| group.id.clone()).collect();
            state.accounts.delete(user);
            state.drop_roster(user);
            if !keys.is_empty() {
                state.deletions.open.insert(user, filled(keys));
                state.deletions.due = now + RETRY_PAUSE;
            }
            state.versions.begin_generation(user);
            if state.stores_contacts() {
                for &contact in &contacts {
                    state.withdrawals.add(contact, user);
                }
                state.work.enqueue(contacts.iter().copied(), now);
            }
            Noted { groups, members: members.into_iter().collect(), contacts: contacts.into_iter().collect() }
        };
        self.store_withdrawals(username).await;
        Some(noted)
    }

    /// Withdraws an account that was deleted long ago from these users' contact lists.
    pub(crate) async fn withdraw_everywhere(&self, username: &Name, owners: Vec<Name>) {
        let owners = self.withdraw_from(username, owners).await;
        let user = self.state().directory.intern(username);
        self.queue_loaded(owners, |_| Scope::Contact(user)).await;
        self.settle_urgent().await;
    }

    /// Notes that rosters of former members hold a deleted account, too.
    async fn withdraw_from(&self, username: &Name, others: Vec<Name>) -> Vec<UserKey> {
        if others.is_empty() {
            return Vec::new();
        }
        let others: Vec<_> = {
            let now = self.now();
            let mut state = self.state();
            let user = state.directory.intern(username);
            state.accounts.delete(user);
            let others: Vec<_> = others.iter().map(|name| state.directory.intern(name)).collect();
            for &other in &others {
                state.withdrawals.add(other, user);
            }
            state.work.enqueue(others.iter().copied(), now);
            others
        };
        self.store_withdrawals(username).await;
        others
    }

    /// Notes that Prosody is kept from ending the subscriptions to a deleted account in these users' contact lists.
    fn note_unended(&self, username: &Name, owners: &[Name]) {
        let mut state = self.state();
        let user = state.directory.intern(username);
        for owner in owners {
            let owner = state.directory.intern(owner);
            state.withdrawals.note_unended(owner, user);
        }
    }

    async fn store_withdrawals(&self, username: &Name) {
        let stored = self.take_turn_and_store_marker(|_| false).await;
        if let Err(reason) = stored {
            let text = "cannot be noted in storage; should the server die now, contact lists may keep it";
            self.log(Level::Error, format!("The deletion of account {username} {text}: {reason}")).await;
        }
    }

    /// Takes back the note of a deletion for a group that the account is about to join again: the next start must not
    /// take it out.
    pub(crate) async fn recall_deletion(&self, id: &Name, key: GroupKey, user: UserKey) -> Result<(), Error> {
        let noted = {
            let mut state = self.state();
            state.deletions.stay(user, key);
            let groups = state.marker.deletions.get(&state.directory.user_name(user));
            groups.is_some_and(|groups| groups.contains(id))
        };
        if !noted {
            return Ok(());
        }
        let stored = self.take_turn_and_store_marker(|_| false).await;
        let Err(reason) = stored else { return Ok(()) };
        self.refuse_unmarked(&reason).await
    }

    /// Takes deleted accounts out of groups that still have them as members: storage failed, or the server was killed.
    pub(crate) async fn finish_deletions(&self) {
        if self.now() < self.state().deletions.due {
            return;
        }
        let open: Vec<_> = {
            let state = self.state();
            let ids = |groups: &BTreeSet<GroupKey>| -> Vec<_> {
                groups.iter().filter_map(|&key| Some(state.directory.group(key)?.id.clone())).collect()
            };
            state.deletions.open.iter().map(|(&user, groups)| (state.directory.user_name(user), ids(groups))).collect()
        };
        for (username, groups) in open {
            for id in groups {
                // What failed has been logged.
                self.take_deleted_out(&id, &username).await.ok();
            }
        }
        let now = self.now();
        let mut state = self.state();
        state.deletions.due = now + RETRY_PAUSE;
        state.work.news = true;
    }

    /// Stores in the copy of an endangered group what the group is about to be, before the group's own records are
    /// stored: at a start, the copy counts. `renew` returns nothing for a group that is about to be deleted. Returns
    /// the copy as it was, for [`Call::undo_copy`].
    pub(crate) async fn renew_copy(
        &self,
        id: &Name,
        renew: impl FnOnce(Copy) -> Option<Copy>,
    ) -> Result<Option<Copy>, Error> {
        let before = {
            let mut state = self.state();
            let Some(before) = state.copies.remove(id) else { return Ok(None) };
            state.copies.extend(renew(before.clone()).map(|copy| (id.clone(), copy)));
            before
        };
        let stored = self.take_turn_and_store_marker(|_| false).await;
        let Err(reason) = stored else { return Ok(Some(before)) };
        self.undo_copy(id, Some(before));
        let text = format!("The copy of group {id} cannot be stored, so nothing is changed: {reason}");
        self.log(Level::Error, text).await;
        Err(Error::Internal)
    }

    /// Puts a copy back as it was: the change that it was renewed for did not come about.
    pub(crate) fn undo_copy(&self, id: &Name, before: Option<Copy>) {
        let Some(before) = before else { return };
        let mut state = self.state();
        state.copies.insert(id.clone(), before);
        state.work.news = true;
    }

    /// Restores the groups whose names are being purged.
    pub(crate) async fn restore_endangered(&self) {
        loop {
            let now = self.now();
            let due = self.state().deletions.take_purge(now);
            let Some((id, is_last)) = due else { return };
            // What failed for the last time has been logged.
            self.restore_purged(id, is_last).await.ok();
        }
    }

    /// Puts back what the purge of an account of this name took from a group. The `last` time ends the watch.
    pub(crate) async fn restore_purged(&self, id: Name, last: bool) -> Result<(), Error> {
        if !self.state().copies.contains_key(&id) {
            return Ok(());
        }
        let turn = self.turn(Place::Group(id.clone())).await?;
        let group = {
            let state = self.state();
            state.directory.find(&id).map(|(key, group)| (group.info.clone(), state.directory.record(key)))
        };
        let stored = match &group {
            Some((info, members)) => self.store_whole(&id, info, members).await,
            None => Ok(()),
        };
        if last && stored.is_ok() {
            let mut state = self.state();
            state.copies.remove(&id);
            state.work.news = true;
        }
        self.end(turn).await;
        let Err(reason) = stored else { return Ok(()) };
        if last {
            let text = format!("Group {id} was removed from storage along with the account of that name: {reason}");
            self.log(Level::Error, text).await;
        }
        Err(Error::Internal)
    }
}
