//! Plans: what rosters should hold, from memberships, accounts, partings and withdrawals.

use std::collections::BTreeMap;

use rustc_hash::{FxHashMap, FxHashSet};

use crate::engine::contacts::partings::Partings;
use crate::engine::effect::{Naming, Plan, Section, Tie};
use crate::engine::state::directory::{Directory, GroupKey, UserKey};
use crate::engine::state::name::Name;
use crate::engine::{Engine, State};

/// Which contacts of a roster to reconcile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// All that groups bring, and take back.
    All,
    /// The members of one group.
    Group(GroupKey),
    /// One contact.
    Contact(UserKey),
    /// Only what is given up or withdrawn: the account itself may be gone, so nothing is brought.
    Removals,
}

impl Scope {
    /// A scope that has all that the two have.
    pub(crate) fn and(self, other: Scope) -> Scope {
        if self == other { self } else { Scope::All }
    }
}

/// What users have published as their nicknames; nothing for those who were asked and have none.
#[derive(Debug, Default)]
pub(crate) struct Nicknames(FxHashMap<UserKey, Option<String>>);

impl Nicknames {
    pub(crate) fn learn(&mut self, user: UserKey, nickname: Option<String>) {
        self.0.insert(user, nickname);
    }

    /// What was learnt of a name goes with the account.
    pub(crate) fn forget(&mut self, user: UserKey) {
        self.0.remove(&user);
    }

    /// What a user has published, if anything is known of it.
    pub(crate) fn published(&self, user: UserKey) -> Option<&str> {
        self.0.get(&user)?.as_deref()
    }
}

/// A plan, and whom its numbers mean.
pub(crate) struct Planned {
    pub(crate) plan: Plan,
    pub(crate) contacts: Vec<UserKey>,
}

impl Planned {
    /// The contacts of these numbers.
    pub(crate) fn resolve(&self, numbers: &[u32]) -> Vec<UserKey> {
        numbers.iter().filter_map(|&number| self.contacts.get((number as usize).checked_sub(1)?)).copied().collect()
    }
}

/// What connects a user with a contact: the groups they share, and the groups that take the contact back.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Ties {
    shared: Vec<GroupKey>,
    left: Vec<Name>,
}

impl State {
    /// A number that changes whenever a roster may have to hold something else than before.
    pub(crate) fn stamp(&self) -> u64 {
        self.directory.changes() + self.accounts.changes + self.changes
    }

    /// Accounts that are gone from a user's roster, or should be, and of whose successors nothing is known.
    pub(crate) fn doubtful(&self, user: UserKey, now: f64) -> Vec<UserKey> {
        let State { accounts, withdrawals, .. } = self;
        let unknown = |contact: &UserKey| !accounts.is_present(*contact) && !accounts.is_absent(*contact, now);
        withdrawals.in_memory(user).filter(unknown).collect()
    }

    /// What the roster of `user` should hold. Nothing while it may not be changed. `split`: contacts that are known
    /// to have accounts are put into sections of their own; otherwise a section is the same for all members of a group.
    pub(crate) fn plan(&mut self, user: UserKey, scope: Scope, split: bool, now: f64) -> Option<Planned> {
        let digest = self.digest(user);
        let State { directory, accounts, withdrawals, partings, spared, unsettled, versions, options, .. } = &*self;
        let plan = Plan {
            version: versions.floor(user)?,
            doubtful: versions.doubtful(user),
            naming: options.naming,
            adopt: unsettled.adopting,
            virtual_contacts: options.virtual_contacts,
            whole: scope == Scope::All,
            reads_edits: unsettled.was_virtual,
            digest,
            ..Plan::default()
        };
        // It may have been made, and added, again.
        let wanted = |contact| !accounts.is_absent(contact, now) && directory.share_a_group(contact, user);
        let vanished: FxHashSet<_> = withdrawals.in_memory(user).collect();
        let gone: Vec<_> = withdrawals.in_memory(user).filter(|&contact| !wanted(contact)).collect();
        let mut planner = Planner { state: self, planned: Planned { plan, contacts: Vec::new() } };
        let mut complete = true;
        for (ties, mut contacts) in ties(directory, partings, user, scope) {
            if ties.shared.is_empty() {
                // A contact that is withdrawn goes with all labels, not only those of the groups that were left.
                contacts.retain(|contact| !gone.contains(contact));
            }
            let all = contacts.len();
            let exists = |contact: &UserKey| accounts.is_present(*contact) || !accounts.is_absent(*contact, now);
            let is_spared = |contact: &UserKey| !ties.shared.is_empty() && spared.contains(user, *contact);
            contacts.retain(|contact| ties.shared.is_empty() || exists(contact));
            let (spared, contacts): (Vec<_>, Vec<_>) = contacts.into_iter().partition(is_spared);
            complete &= contacts.len() == all;
            // Stored ones become virtual, too.
            if !ties.left.is_empty() || options.virtual_contacts {
                let section = Section { tie: Tie::Spare, verified: true, ..Section::default() };
                planner.add_section(section, &ties, spared);
            }
            let (again, contacts): (Vec<_>, Vec<_>) =
                contacts.into_iter().partition(|contact| vanished.contains(contact));
            let (former, again) = again.into_iter().partition(|&contact| withdrawals.is_former(user, contact));
            for (anew, ended, contacts) in [(false, false, contacts), (true, false, again), (true, true, former)] {
                let tie = if ties.shared.is_empty() { Tie::GiveUp } else { Tie::Bring };
                let section = |verified| Section { tie, verified, ended, anew, ..Section::default() };
                let verified = |contact: &UserKey| accounts.is_present(*contact);
                if split && !contacts.iter().all(verified) {
                    let (present, others) = contacts.into_iter().partition(verified);
                    planner.add_section(section(true), &ties, present);
                    planner.add_section(section(false), &ties, others);
                } else {
                    planner.add_section(section(contacts.iter().all(verified)), &ties, contacts);
                }
            }
        }
        planner.add_withdrawn(user, gone);
        let mut planned = planner.planned;
        planned.plan.stamp = (complete && scope == Scope::All).then(|| self.stamp());
        Some(planned)
    }
}

impl Engine {
    /// The users whose contact a user is through groups, in an order that is the same for all members of a user's only
    /// group. The user may be among them.
    pub fn contacts_of(&self, username: &Name) -> Vec<Name> {
        let Some(state) = self.open_state() else { return Vec::new() };
        let directory = &state.directory;
        let shared = directory.find_user(username).map_or_else(Vec::new, |user| shared_groups(directory, user));
        shared.iter().flat_map(|(_, contacts)| directory.names(contacts)).collect()
    }
}

struct Planner<'a> {
    state: &'a State,
    planned: Planned,
}

impl Planner<'_> {
    /// Adds contacts as the section's `tie`, `verified`, `ended` and `anew` say.
    fn add_section(&mut self, section: Section, ties: &Ties, contacts: Vec<UserKey>) {
        let State { directory, nicknames, options, .. } = self.state;
        let label = |&key: &GroupKey| directory.group(key).map(|group| (group.id.to_string(), group.label()));
        let groups: Vec<_> = ties.shared.iter().filter_map(label).collect();
        let names = match options.naming {
            Naming::Nickname if section.tie == Tie::Bring => {
                contacts.iter().map(|&contact| nicknames.name(contact, directory)).collect()
            }
            _ => Vec::new(),
        };
        let left_label = |id: &Name| directory.find(id).map(|(_, group)| group.label());
        let section = Section {
            groups,
            left: ties.left.iter().map(ToString::to_string).collect(),
            left_labels: ties.left.iter().filter_map(left_label).collect(),
            names,
            ..section
        };
        self.add(section, contacts);
    }

    fn add_withdrawn(&mut self, owner: UserKey, contacts: Vec<UserKey>) {
        if contacts.is_empty() {
            return;
        }
        let directory = &self.state.directory;
        let State { accounts, withdrawals, work, options, .. } = self.state;
        // Where contacts are virtual, stored items bear none.
        let groups = if options.virtual_contacts { &[] } else { directory.groups_of(owner) };
        let left_labels: Vec<_> =
            groups.iter().filter_map(|&key| directory.group(key)).map(|group| group.label()).collect();
        let settles = work.is_in_hand(owner);
        let mut sections: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for contact in contacts {
            let verified = accounts.is_present(contact);
            let ended = settles && !verified || withdrawals.is_former(owner, contact);
            sections.entry((verified, ended)).or_default().push(contact);
        }
        for ((verified, ended), contacts) in sections {
            let (tie, left_labels) = (Tie::Withdraw, left_labels.clone());
            self.add(Section { tie, verified, ended, left_labels, ..Section::default() }, contacts);
        }
    }

    fn add(&mut self, section: Section, contacts: Vec<UserKey>) {
        if contacts.is_empty() {
            return;
        }
        self.planned.plan.contacts.extend(self.state.directory.names(&contacts));
        self.planned.plan.sections.push(Section { contacts: contacts.len(), ..section });
        self.planned.contacts.extend(contacts);
    }
}

impl Nicknames {
    /// What a contact is called: the nickname, or else the username; nothing if it has not been asked for.
    fn name(&self, user: UserKey, directory: &Directory) -> Option<String> {
        let nickname = self.0.get(&user)?;
        Some(nickname.clone().unwrap_or_else(|| directory.user_name(user).to_string()))
    }
}

/// The contacts that groups bring a user or take back, by what connects them.
fn ties(directory: &Directory, partings: &Partings, user: UserKey, scope: Scope) -> Vec<(Ties, Vec<UserKey>)> {
    // Who joined later has not parted with anybody.
    let concerned = partings.review(user).is_some();
    let parted = if concerned { partings.contacts(directory, user) } else { Vec::new() };
    if parted.is_empty() {
        let shared = match scope {
            Scope::All => shared_groups(directory, user),
            Scope::Group(group) => shared_in(directory, user, group),
            Scope::Contact(contact) => shared_with(directory, user, contact).into_iter().collect(),
            Scope::Removals => Vec::new(),
        };
        return shared.into_iter().map(|(shared, contacts)| (Ties { shared, left: Vec::new() }, contacts)).collect();
    }
    let mut all: BTreeMap<UserKey, Ties> = BTreeMap::new();
    for (shared, contacts) in shared_groups(directory, user) {
        let ties = Ties { shared, left: Vec::new() };
        all.extend(contacts.into_iter().map(|contact| (contact, ties.clone())));
    }
    for (id, contacts) in parted {
        for contact in contacts {
            all.entry(contact).or_default().left.push(id.clone());
        }
    }
    let mut sections: BTreeMap<Ties, Vec<UserKey>> = BTreeMap::new();
    for (contact, ties) in all {
        let concerned = match scope {
            Scope::All => true,
            Scope::Group(group) => directory.is_member(group, contact),
            Scope::Contact(only) => contact == only,
            Scope::Removals => ties.shared.is_empty(),
        };
        if concerned {
            sections.entry(ties).or_default().push(contact);
        }
    }
    sections.into_iter().collect()
}

/// A contact by the groups that a user shares with it.
fn shared_with(directory: &Directory, user: UserKey, contact: UserKey) -> Option<(Vec<GroupKey>, Vec<UserKey>)> {
    let (mut few, mut many) = (directory.groups_of(user), directory.groups_of(contact));
    if few.len() > many.len() {
        std::mem::swap(&mut few, &mut many);
    }
    let common: Vec<_> = few.iter().copied().filter(|group| many.binary_search(group).is_ok()).collect();
    (!common.is_empty() && contact != user).then(|| (common, vec![contact]))
}

/// The members of one of a user's groups, by the groups they share with the user. It costs the same whatever the number
/// of the user's groups is.
fn shared_in(directory: &Directory, user: UserKey, group: GroupKey) -> Vec<(Vec<GroupKey>, Vec<UserKey>)> {
    let mut sections: BTreeMap<Vec<GroupKey>, Vec<UserKey>> = BTreeMap::new();
    for member in directory.group(group).into_iter().flat_map(|group| group.members()) {
        if let Some((shared, contacts)) = shared_with(directory, user, member) {
            sections.entry(shared).or_default().extend(contacts);
        }
    }
    sections.into_iter().collect()
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
