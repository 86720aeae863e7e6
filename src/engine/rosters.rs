//! What rosters should hold, and what is still to be done for them.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};

use super::announcements::Outbox;
use super::directory::{Directory, GroupKey, UserKey};
use super::effect::{Plan, Section};
use super::name::Name;

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
pub(super) struct Accounts {
    present: HashSet<UserKey>,
    /// With the time until which it is believed.
    absent: HashMap<UserKey, f64>,
    /// Deleted, whatever anyone answers: a session may outlive its account for a moment.
    departed: HashSet<UserKey>,
    /// Grows with every change that can bring a contact into a plan.
    pub(super) changes: u64,
}

impl Accounts {
    pub(super) fn is_present(&self, user: UserKey) -> bool {
        self.present.contains(&user)
    }

    pub(super) fn is_absent(&self, user: UserKey, now: f64) -> bool {
        self.departed.contains(&user) || self.absent.get(&user).is_some_and(|&until| now < until)
    }

    /// Takes in what Prosody answered when asked for the account.
    pub(super) fn learn(&mut self, user: UserKey, present: bool, now: f64) {
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
    pub(super) fn appear(&mut self, user: UserKey) {
        self.doubt(user);
        self.changes += u64::from(self.present.insert(user));
    }

    /// The account has been deleted.
    pub(super) fn depart(&mut self, user: UserKey) {
        self.present.remove(&user);
        self.absent.remove(&user);
        self.departed.insert(user);
        self.changes += 1;
    }

    /// Has an account looked for again that was there.
    pub(super) fn forget(&mut self, user: UserKey) {
        self.present.remove(&user);
    }

    /// Has an account that was not found, or was deleted, looked for again.
    pub(super) fn doubt(&mut self, user: UserKey) {
        let left_out = self.departed.remove(&user) | self.absent.remove(&user).is_some();
        self.changes += u64::from(left_out);
    }
}

/// How much of a roster to look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    /// All that groups bring.
    All,
    /// One contact.
    Contact(UserKey),
}

/// A plan, and whom its numbers mean.
pub(super) struct Planned {
    pub(super) plan: Plan,
    pub(super) contacts: Vec<UserKey>,
}

impl Planned {
    /// The contacts of these numbers.
    pub(super) fn resolve(&self, numbers: &[u32]) -> Vec<UserKey> {
        numbers.iter().filter_map(|&number| self.contacts.get((number as usize).checked_sub(1)?)).copied().collect()
    }
}

/// An in-memory roster's changes that are not in storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unsaved {
    /// Only this contact changed.
    Contact(UserKey),
    /// More than that did.
    All,
}

/// A roster that could not be read or saved.
#[derive(Clone, Copy, Debug)]
pub(super) struct Failure {
    pub(super) retry_at: f64,
    pub(super) pause: f64,
}

/// The work on rosters. What of it must survive a crash is in the marker; the rest follows from it.
#[derive(Debug, Default)]
pub(super) struct Rosters {
    /// Groups with members whose rosters are not all in storage; true for those that wait for a `sync`.
    pub(super) unsettled: BTreeMap<GroupKey, bool>,
    /// Unsettled groups that could not be read.
    pub(super) unread: BTreeSet<Name>,
    /// Every group was unsettled when the engine started, since there was no marker.
    pub(super) everything: bool,
    /// Contacts that a user has taken off the list, for as long as the session lasts.
    spared: HashMap<UserKey, BTreeSet<UserKey>>,
    /// Grows when a contact is no longer spared.
    pub(super) changes: u64,
    /// Members without an account, as far as is known.
    pub(super) awaiting: BTreeSet<UserKey>,
    /// For each roster, the vanished accounts that it may still hold.
    pub(super) withdrawals: BTreeMap<UserKey, BTreeSet<UserKey>>,
    /// For each vanished account, the groups that have not let it go.
    pub(super) departures: BTreeMap<UserKey, BTreeSet<GroupKey>>,
    /// When they are tried again.
    pub(super) departures_due: f64,
    /// Rosters in memory to be brought up to date, in turn.
    pub(super) urgent: VecDeque<(UserKey, Scope)>,
    /// Contacts to be pushed to a user.
    pub(super) pushes: Outbox<UserKey>,
    /// Presence to be sent: of the first, to the others. Follows the pushes, so that nobody hears of strangers.
    pub(super) presences: Outbox<UserKey>,
    /// Invitations to be sent.
    pub(super) invites: Outbox<Box<[u8]>>,
    /// Rosters to be brought up to date in storage.
    pub(super) background: BTreeSet<UserKey>,
    /// The roster that the background work has read from storage in its last turn, to settle it in the next.
    pub(super) fetched: Option<UserKey>,
    /// Rosters that an operation is bringing up to date in storage. One stays here if its operation dies.
    pub(super) in_hand: BTreeSet<UserKey>,
    /// Rosters in memory with changes of ours that are not in storage.
    pub(super) unsaved: HashMap<UserKey, Unsaved>,
    /// Rosters that an operation is saving. One stays here if its operation dies.
    saving: BTreeSet<UserKey>,
    /// The highest version handed out for rosters that are not in storage.
    versions: HashMap<UserKey, u64>,
    /// Rosters that failed and wait to be tried again.
    pub(super) failing: BTreeMap<UserKey, Failure>,
    /// Users whom the log has warned about.
    pub(super) warned: BTreeSet<UserKey>,
    /// The number of this start; no roster is changed before it is in storage.
    pub(super) generation: Option<u64>,
    /// What `generation` is to be.
    pub(super) next_generation: u64,
    /// Something happened since the marker was last looked through for what can be struck off.
    pub(super) news: bool,
    /// When the background work goes on.
    pub(super) due: f64,
    burst_began: Option<f64>,
}

impl Rosters {
    /// Has rosters brought up to date in storage, soon.
    pub(super) fn enqueue(&mut self, users: impl IntoIterator<Item = UserKey>, now: f64) {
        self.background.extend(users);
        self.news = true;
        let began = *self.burst_began.get_or_insert(now);
        self.due = self.due.max((now + QUIET).min(began + PATIENCE));
    }

    /// The burst is over: its work has begun.
    pub(super) fn begin(&mut self) {
        self.burst_began = None;
    }

    /// Notes what changed in a roster in memory.
    pub(super) fn note_unsaved(&mut self, user: UserKey, changed: &[UserKey], version: u64, now: f64) {
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
    pub(super) fn note_version(&mut self, user: UserKey, version: u64) {
        let highest = self.versions.entry(user).or_default();
        *highest = version.max(*highest);
    }

    /// A roster was brought up to date in storage, and these withdrawals from it with it. It may have changed again
    /// while it was being saved.
    pub(super) fn note_settled(&mut self, user: UserKey, withdrawn: &BTreeSet<UserKey>) {
        if !self.unsaved.contains_key(&user) {
            self.versions.remove(&user);
        }
        self.saving.remove(&user);
        self.failing.remove(&user);
        self.warned.remove(&user);
        if let Some(open) = self.withdrawals.get_mut(&user) {
            open.retain(|gone| !withdrawn.contains(gone));
            if open.is_empty() {
                self.withdrawals.remove(&user);
            }
        }
        self.news = true;
    }

    /// What is to be saved of a roster: all of it, if an operation that was saving it died.
    pub(super) fn take_unsaved(&mut self, user: UserKey) -> Option<Unsaved> {
        let changed = self.unsaved.remove(&user);
        let changed = if self.saving.contains(&user) { Some(Unsaved::All) } else { changed };
        if changed.is_some() {
            self.saving.insert(user);
        }
        changed
    }

    fn is_spared(&self, user: UserKey, contact: UserKey) -> bool {
        self.spared.get(&user).is_some_and(|spared| spared.contains(&contact))
    }

    /// Whether the background work has read this roster a turn ago.
    pub(super) fn take_fetched(&mut self, user: UserKey) -> bool {
        let fetched = self.fetched == Some(user);
        if fetched {
            self.fetched = None;
        }
        fetched
    }

    /// An operation is done with a roster. What changed after it was saved is for the next one.
    pub(super) fn let_go(&mut self, user: UserKey) {
        self.in_hand.remove(&user);
        if self.unsaved.contains_key(&user) && !self.failing.contains_key(&user) {
            self.background.insert(user);
        }
    }

    /// Has a contact left out of a user's plan for a while.
    pub(super) fn spare(&mut self, user: UserKey, contact: UserKey) {
        self.spared.entry(user).or_default().insert(contact);
    }

    /// Has nothing left out of a user's plan any more. Returns what was.
    pub(super) fn spare_nothing(&mut self, user: UserKey) -> BTreeSet<UserKey> {
        let spared = self.spared.remove(&user);
        self.changes += u64::from(spared.is_some());
        spared.unwrap_or_default()
    }

    /// An operation begins to bring a roster up to date in storage.
    pub(super) fn take_in_hand(&mut self, user: UserKey) {
        self.background.remove(&user);
        self.in_hand.insert(user);
    }

    /// Has a roster that cannot be dealt with now tried again after a while.
    pub(super) fn postpone(&mut self, user: UserKey, pause: f64, now: f64) {
        self.failing.insert(user, Failure { retry_at: now + pause, pause });
        self.background.remove(&user);
    }

    /// Whether nothing is to be done before the next background work.
    pub(super) fn is_calm(&self) -> bool {
        self.urgent.is_empty() && self.pushes.is_empty() && self.presences.is_empty() && self.invites.is_empty()
    }

    /// An account that was gone is a member again: the group need not let it go.
    pub(super) fn stay(&mut self, user: UserKey, group: GroupKey) {
        if let Some(groups) = self.departures.get_mut(&user) {
            groups.remove(&group);
        }
    }

    /// Forgets all work on the roster of an account that is gone.
    pub(super) fn drop_roster(&mut self, user: UserKey) {
        self.background.remove(&user);
        self.in_hand.remove(&user);
        self.take_fetched(user);
        self.unsaved.remove(&user);
        self.saving.remove(&user);
        self.versions.remove(&user);
        self.failing.remove(&user);
        self.warned.remove(&user);
        self.withdrawals.remove(&user);
        self.spared.remove(&user);
        self.awaiting.remove(&user);
        self.news = true;
        self.urgent.retain(|&(owner, _)| owner != user);
        self.pushes.remove(&user);
    }

    /// Begins a new generation: a new account of a name that was deleted must not be given the old one's versions. Rosters
    /// are let be until the generation is in storage.
    pub(super) fn next_generation(&mut self) {
        if let Some(generation) = self.generation.take() {
            self.next_generation = generation + 1;
        }
    }

    fn version_floor(&self, user: UserKey) -> Option<u64> {
        let floor = self.generation? << GENERATION_BITS;
        Some(self.versions.get(&user).map_or(floor, |&highest| floor.max(highest + 1)))
    }
}

/// A number that changes whenever a roster may have to hold more than before.
pub(super) fn stamp(directory: &Directory, accounts: &Accounts, rosters: &Rosters) -> u64 {
    directory.changes() + accounts.changes + rosters.changes
}

/// Accounts that are gone from a user's roster, or should be, but are members beside the user all the same.
pub(super) fn doubtful(
    directory: &Directory,
    accounts: &Accounts,
    rosters: &Rosters,
    user: UserKey,
    now: f64,
) -> Vec<UserKey> {
    let gone = rosters.withdrawals.get(&user).into_iter().flatten().copied();
    let unknown = |contact: &UserKey| !accounts.is_present(*contact) && !accounts.is_absent(*contact, now);
    gone.filter(unknown).filter(|&contact| directory.share_a_group(contact, user)).collect()
}

/// What the roster of `user` should hold. Nothing while no roster may be changed. `split`: contacts that are known to have
/// accounts are put into sections of their own; otherwise a section is the same for all members of a group.
pub(super) fn plan(
    directory: &Directory,
    accounts: &Accounts,
    rosters: &Rosters,
    user: UserKey,
    scope: Scope,
    split: bool,
    now: f64,
) -> Option<Planned> {
    let version = rosters.version_floor(user)?;
    let shared = match scope {
        Scope::All => shared_groups(directory, user),
        Scope::Contact(contact) => {
            let theirs = directory.groups_of(contact);
            let common: Vec<_> = directory.groups_of(user).iter().copied().filter(|g| theirs.contains(g)).collect();
            if common.is_empty() || contact == user { Vec::new() } else { vec![(common, vec![contact])] }
        }
    };
    let mut complete = true;
    let mut planned = Planned { plan: Plan { version, ..Plan::default() }, contacts: Vec::new() };
    for (groups, contacts) in shared {
        let labels: BTreeSet<_> = groups.iter().filter_map(|&g| directory.group(g)).map(|g| g.label()).collect();
        let labels: Vec<_> = labels.into_iter().collect();
        let all = contacts.len();
        let contacts = contacts.into_iter().filter(|&contact| !rosters.is_spared(user, contact));
        let possible = |contact: &UserKey| accounts.is_present(*contact) || !accounts.is_absent(*contact, now);
        let contacts: Vec<_> = contacts.filter(possible).collect();
        complete &= contacts.len() == all;
        let verified = contacts.iter().all(|&contact| accounts.is_present(contact));
        if split && !verified {
            let (present, others) = contacts.into_iter().partition(|&contact| accounts.is_present(contact));
            planned.add_section(directory, true, &labels, present);
            planned.add_section(directory, false, &labels, others);
        } else {
            planned.add_section(directory, verified, &labels, contacts);
        }
    }
    let gone = rosters.withdrawals.get(&user).into_iter().flatten().copied();
    // It may have been made, and added, again.
    let wanted = |contact| !accounts.is_absent(contact, now) && directory.share_a_group(contact, user);
    let gone: Vec<_> = gone.filter(|&contact| !wanted(contact)).collect();
    planned.plan.withdrawn = directory.names(&gone);
    planned.plan.stamp = (complete && scope == Scope::All).then(|| stamp(directory, accounts, rosters));
    planned.contacts.extend(gone);
    Some(planned)
}

impl Planned {
    fn add_section(&mut self, directory: &Directory, verified: bool, labels: &[Box<[u8]>], contacts: Vec<UserKey>) {
        if contacts.is_empty() {
            return;
        }
        let names = directory.names(&contacts);
        self.plan.sections.push(Section { verified, labels: labels.to_vec(), contacts: names });
        self.contacts.extend(contacts);
    }
}

/// The members of a user's groups, by the groups they share with the user. The user may be among them: the list of a
/// group's members is the same for all then.
fn shared_groups(directory: &Directory, user: UserKey) -> Vec<(Vec<GroupKey>, Vec<UserKey>)> {
    let groups = directory.groups_of(user);
    let members = |key: GroupKey| directory.group(key).into_iter().flat_map(|g| g.members());
    if let &[group] = groups {
        let all: Vec<_> = members(group).collect();
        return if all.len() > 1 { vec![(vec![group], all)] } else { Vec::new() };
    }
    let mut pairs: Vec<_> = groups.iter().flat_map(|&g| members(g).map(move |member| (member, g))).collect();
    pairs.sort_unstable();
    let mut sections: BTreeMap<Vec<GroupKey>, Vec<UserKey>> = BTreeMap::new();
    for shared in pairs.chunk_by(|a, b| a.0 == b.0).filter(|shared| shared[0].0 != user) {
        sections.entry(shared.iter().map(|&(_, g)| g).collect()).or_default().push(shared[0].0);
    }
    sections.into_iter().collect()
}
