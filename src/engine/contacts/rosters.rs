//! What is still to be done for rosters, and what is known of accounts.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};

use crate::engine::contacts::outbox::Outbox;
use crate::engine::contacts::partings::Partings;
use crate::engine::contacts::plan::Scope;
use crate::engine::state::directory::{GroupKey, UserKey};
use crate::engine::state::name::Name;

/// How long it is believed that an account does not exist, in seconds, unless something says otherwise. Asking costs a
/// storage or network call for each of a group's missing members at each login.
const ABSENCE_BELIEVED: f64 = 60.0;

/// How long background work waits for more of the same burst, in seconds.
const QUIET: f64 = 0.05;

/// How long background work waits at the most while bursts go on, in seconds.
const PATIENCE: f64 = 2.0;

/// A change of a roster takes a version of at least `generation << GENERATION_BITS`: higher than any number that Prosody
/// or an earlier start can have given to a state of the roster that was lost.
const GENERATION_BITS: u32 = 24;

/// Which accounts are known to exist.
#[derive(Debug, Default)]
pub(crate) struct Accounts {
    present: HashSet<UserKey>,
    /// With the time until which it is believed.
    absent: HashMap<UserKey, f64>,
    /// Deleted, whatever anyone answers: a session may outlive its account for a moment.
    departed: HashSet<UserKey>,
    /// Grows with every change that can bring a contact into a plan.
    pub(crate) changes: u64,
}

impl Accounts {
    pub(crate) fn is_present(&self, user: UserKey) -> bool {
        self.present.contains(&user)
    }

    pub(crate) fn is_absent(&self, user: UserKey, now: f64) -> bool {
        self.departed.contains(&user) || self.absent.get(&user).is_some_and(|&until| now < until)
    }

    /// Takes in what Prosody answered when asked for the account.
    pub(crate) fn learn(&mut self, user: UserKey, present: bool, now: f64) {
        if self.departed.contains(&user) {
            return;
        }
        if present {
            self.changes += u64::from(self.present.insert(user));
            self.absent.remove(&user);
        } else {
            self.absent.insert(user, now + ABSENCE_BELIEVED);
        }
    }

    /// The account has been made, or used: it exists.
    pub(crate) fn appear(&mut self, user: UserKey) {
        self.doubt(user);
        self.changes += u64::from(self.present.insert(user));
    }

    /// The account has been deleted.
    pub(crate) fn depart(&mut self, user: UserKey) {
        self.present.remove(&user);
        self.absent.remove(&user);
        self.departed.insert(user);
        self.changes += 1;
    }

    /// Has an account looked for again that was there.
    pub(crate) fn forget(&mut self, user: UserKey) {
        self.present.remove(&user);
    }

    /// Has an account that was not found, or was deleted, looked for again.
    pub(crate) fn doubt(&mut self, user: UserKey) {
        let left_out = self.departed.remove(&user) | self.absent.remove(&user).is_some();
        self.changes += u64::from(left_out);
    }
}

/// An in-memory roster's changes that are not in storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unsaved {
    /// Only this contact changed.
    Contact(UserKey),
    /// More than that did.
    All,
}

/// What a roster must be rid of.
#[derive(Clone, Debug, Default)]
pub(crate) struct Removals {
    withdrawn: BTreeSet<UserKey>,
    /// Which round of partings it is to be gone through for.
    review: Option<u64>,
}

impl Removals {
    pub(crate) fn is_empty(&self) -> bool {
        self.withdrawn.is_empty() && self.review.is_none()
    }
}

/// A roster that could not be read or saved.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Failure {
    pub(crate) retry_at: f64,
    pub(crate) pause: f64,
}

/// The work on rosters. What of it must survive a crash is in the marker; the rest follows from it.
#[derive(Debug, Default)]
pub(crate) struct Rosters {
    /// Groups with members whose rosters are not all in storage; true for those that wait for a `sync`.
    pub(crate) unsettled: BTreeMap<GroupKey, bool>,
    /// Unsettled groups that could not be read.
    pub(crate) unread: BTreeSet<Name>,
    /// Every group was unsettled when the engine started, since there was no marker.
    pub(crate) everything: bool,
    /// The data come from the Lua module, and not every roster has been gone through since.
    pub(crate) adopting: bool,
    /// No roster in storage has a contact that a group has brought.
    pub(crate) cleared: bool,
    /// Contacts that a user has taken off the list, for as long as the session lasts.
    spared: HashMap<UserKey, BTreeSet<UserKey>>,
    /// Grows when a contact is no longer spared.
    pub(crate) changes: u64,
    /// Members without an account, as far as is known.
    pub(crate) awaiting: BTreeSet<UserKey>,
    /// Those of them who had an account before. With virtual contacts, no roster in storage tells of it.
    pub(crate) lost: BTreeSet<UserKey>,
    /// For each roster, the vanished accounts that it may still hold.
    pub(crate) withdrawals: BTreeMap<UserKey, BTreeSet<UserKey>>,
    /// For each vanished account, the groups that have not let it go.
    pub(crate) departures: BTreeMap<UserKey, BTreeSet<GroupKey>>,
    /// What is to be taken back from members that have left a group, and from the others.
    pub(crate) partings: Partings,
    /// When departures are tried again.
    pub(crate) departures_due: f64,
    /// Rosters in memory to be brought up to date, in turn.
    pub(crate) urgent: VecDeque<(UserKey, Scope)>,
    /// Contacts to be pushed to a user.
    pub(crate) pushes: Outbox<UserKey>,
    /// Users whose presence is seen no more: that of the first, by the others. Goes before the pushes, while they know each other.
    pub(crate) absences: Outbox<UserKey>,
    /// Presence to be sent: of the first, to the others. Follows the pushes, so that nobody hears of strangers.
    pub(crate) presences: Outbox<UserKey>,
    /// Invitations to be sent.
    pub(crate) invites: Outbox<Box<[u8]>>,
    /// Rosters to be brought up to date in storage.
    pub(crate) background: BTreeSet<UserKey>,
    /// The roster that the background work has read from storage in its last turn, to settle it in the next.
    pub(crate) fetched: Option<UserKey>,
    /// Rosters that an operation is bringing up to date in storage. One stays here if its operation dies.
    pub(crate) in_hand: BTreeSet<UserKey>,
    /// Rosters in memory with changes of ours that are not in storage.
    pub(crate) unsaved: HashMap<UserKey, Unsaved>,
    /// Rosters that an operation is saving. One stays here if its operation dies.
    saving: BTreeSet<UserKey>,
    /// The highest version handed out for each roster that was changed. It is kept when the roster has been saved, for what was
    /// saved may have been read anew: a logout discards the roster in memory.
    versions: HashMap<UserKey, u64>,
    /// Rosters that failed and wait to be tried again.
    pub(crate) failing: BTreeMap<UserKey, Failure>,
    /// Users whom the log has warned about.
    pub(crate) warned: BTreeSet<UserKey>,
    /// The number of this start; no roster is changed before it is in storage.
    pub(crate) generation: Option<u64>,
    /// What `generation` is to be.
    pub(crate) next_generation: u64,
    /// Something happened since the marker was last looked through for what can be struck off.
    pub(crate) news: bool,
    /// When the background work goes on.
    pub(crate) due: f64,
    burst_began: Option<f64>,
}

impl Rosters {
    /// Has rosters brought up to date in storage, soon.
    pub(crate) fn enqueue(&mut self, users: impl IntoIterator<Item = UserKey>, now: f64) {
        self.background.extend(users);
        self.news = true;
        let began = *self.burst_began.get_or_insert(now);
        self.due = self.due.max((now + QUIET).min(began + PATIENCE));
    }

    /// The burst is over: its work has begun.
    pub(crate) fn begin(&mut self) {
        self.burst_began = None;
    }

    /// Notes what changed in a roster in memory.
    pub(crate) fn note_unsaved(&mut self, user: UserKey, changed: &[UserKey], version: u64, now: f64) {
        let only = match (changed, self.unsaved.get(&user)) {
            (&[contact], None) => Unsaved::Contact(contact),
            (&[contact], Some(&Unsaved::Contact(other))) if other == contact => Unsaved::Contact(contact),
            _ => Unsaved::All,
        };
        self.unsaved.insert(user, only);
        self.note_version(user, version);
        if !self.in_hand.contains(&user) {
            self.enqueue([user], now);
        }
    }

    /// Remembers a version handed out that is not in storage.
    pub(crate) fn note_version(&mut self, user: UserKey, version: u64) {
        let highest = self.versions.entry(user).or_default();
        *highest = version.max(*highest);
    }

    /// What a roster must be rid of at this moment.
    pub(crate) fn removals(&self, user: UserKey) -> Removals {
        let withdrawn = self.withdrawals.get(&user).cloned().unwrap_or_default();
        Removals { withdrawn, review: self.partings.review(user) }
    }

    /// A roster was brought up to date in storage, and is rid of what it had to be rid of when that began. It may have changed
    /// again while it was being saved.
    pub(crate) fn note_settled(&mut self, user: UserKey, removed: &Removals) {
        self.saving.remove(&user);
        self.failing.remove(&user);
        self.warned.remove(&user);
        if let Some(open) = self.withdrawals.get_mut(&user) {
            open.retain(|gone| !removed.withdrawn.contains(gone));
            if open.is_empty() {
                self.withdrawals.remove(&user);
            }
        }
        self.partings.note_reviewed(user, removed.review);
        self.news = true;
    }

    /// What is to be saved of a roster: all of it, if an operation that was saving it died.
    pub(crate) fn take_unsaved(&mut self, user: UserKey) -> Option<Unsaved> {
        let changed = self.unsaved.remove(&user);
        let changed = if self.saving.contains(&user) { Some(Unsaved::All) } else { changed };
        if changed.is_some() {
            self.saving.insert(user);
        }
        changed
    }

    pub(crate) fn is_spared(&self, user: UserKey, contact: UserKey) -> bool {
        self.spared.get(&user).is_some_and(|spared| spared.contains(&contact))
    }

    /// The contacts that a user has taken off the list in this session.
    pub(crate) fn spared(&self, user: UserKey) -> impl Iterator<Item = UserKey> {
        self.spared.get(&user).into_iter().flatten().copied()
    }

    /// Whether the background work has read this roster a turn ago.
    pub(crate) fn take_fetched(&mut self, user: UserKey) -> bool {
        let fetched = self.fetched == Some(user);
        if fetched {
            self.fetched = None;
        }
        fetched
    }

    /// An operation is done with a roster. What changed after it was saved is for the next one.
    pub(crate) fn let_go(&mut self, user: UserKey) {
        self.in_hand.remove(&user);
        if self.unsaved.contains_key(&user) && !self.failing.contains_key(&user) {
            self.background.insert(user);
        }
    }

    /// Has a contact left out of a user's plan for a while.
    pub(crate) fn spare(&mut self, user: UserKey, contact: UserKey) {
        self.spared.entry(user).or_default().insert(contact);
    }

    /// Has nothing left out of a user's plan any more. Returns what was.
    pub(crate) fn spare_nothing(&mut self, user: UserKey) -> BTreeSet<UserKey> {
        let spared = self.spared.remove(&user);
        self.changes += u64::from(spared.is_some());
        spared.unwrap_or_default()
    }

    /// An operation begins to bring a roster up to date in storage.
    pub(crate) fn take_in_hand(&mut self, user: UserKey) {
        self.background.remove(&user);
        self.in_hand.insert(user);
    }

    /// Has a roster that cannot be dealt with now tried again after a while.
    pub(crate) fn postpone(&mut self, user: UserKey, pause: f64, now: f64) {
        self.failing.insert(user, Failure { retry_at: now + pause, pause });
        self.background.remove(&user);
    }

    /// Whether nothing is to be done before the next background work.
    pub(crate) fn is_calm(&self) -> bool {
        self.urgent.is_empty()
            && self.absences.is_empty()
            && self.pushes.is_empty()
            && self.presences.is_empty()
            && self.invites.is_empty()
    }

    /// An account that was gone is a member again: the group need not let it go.
    pub(crate) fn stay(&mut self, user: UserKey, group: GroupKey) {
        if let Some(groups) = self.departures.get_mut(&user) {
            groups.remove(&group);
        }
    }

    /// Forgets all work on the roster of an account that is gone.
    pub(crate) fn drop_roster(&mut self, user: UserKey) {
        self.background.remove(&user);
        self.in_hand.remove(&user);
        self.take_fetched(user);
        self.unsaved.remove(&user);
        self.saving.remove(&user);
        self.versions.remove(&user);
        self.failing.remove(&user);
        self.warned.remove(&user);
        self.withdrawals.remove(&user);
        self.partings.forget_roster(user);
        self.spared.remove(&user);
        self.awaiting.remove(&user);
        self.lost.remove(&user);
        self.news = true;
        self.urgent.retain(|&(owner, _)| owner != user);
        self.pushes.remove(&user);
    }

    /// Begins a new generation: a new account of a name that was deleted must not be given the old one's versions. Rosters
    /// are let be until the generation is in storage.
    pub(crate) fn next_generation(&mut self) {
        if let Some(generation) = self.generation.take() {
            self.next_generation = generation + 1;
        }
    }

    pub(crate) fn version_floor(&self, user: UserKey) -> Option<u64> {
        let floor = self.generation? << GENERATION_BITS;
        Some(self.versions.get(&user).map_or(floor, |&highest| floor.max(highest + 1)))
    }
}
