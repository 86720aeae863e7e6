//! A Prosody made of maps, as small as a million accounts need it. It counts what it is asked to do.

use std::collections::BTreeMap;
use std::ops::AddAssign;

use groups_internal_native::engine::{
    Change, Comparison, Cover, Effect, Fact, Fate, Item, Labels, Level, Name, Options, Plan, Push, Reply,
    StoredMembers, Subscription, Text, Tie, Value, Version,
};
use indexmap::{IndexMap, IndexSet};
use rustc_hash::{FxBuildHasher, FxHashMap};

type Set<T> = IndexSet<T, FxBuildHasher>;

/// How long Prosody takes for a save of a roster and for anything else, in seconds. Only budgets depend on it.
const SAVE: f64 = 2e-3;
const OTHER: f64 = 1e-5;

/// What is left for Prosody to do.
#[derive(Clone, Copy, Debug, Default)]
pub struct Left {
    /// Records of groups and of the marker that are read or written.
    pub records: usize,
    /// Contact lists that are saved.
    pub saves: usize,
    /// Contacts that are pushed.
    pub pushes: usize,
    /// Presence that is sent for groups.
    pub presences: usize,
}

impl AddAssign for Left {
    fn add_assign(&mut self, more: Left) {
        self.records += more.records;
        self.saves += more.saves;
        self.pushes += more.pushes;
        self.presences += more.presences;
    }
}

/// A roster: each contact with the number of its set of labels.
#[derive(Clone, Default)]
struct Roster {
    items: FxHashMap<u32, usize>,
    provenance: Option<String>,
    version: Version,
    stamp: Option<(u64, Version)>,
    unsaved: bool,
    changed: bool,
}

#[derive(Default)]
pub struct Host {
    pub accounts: Set<Name>,
    pub members: IndexMap<Name, Set<Name>, FxBuildHasher>,
    pub online: Set<u32>,
    pub now: f64,
    pub left: Left,
    infos: FxHashMap<Name, Value>,
    marker: Option<Value>,
    labels: Set<Labels>,
    stored: FxHashMap<u32, Roster>,
    loaded: FxHashMap<u32, Roster>,
    /// The plan that was compared last.
    plan: Plan,
    is_virtual: bool,
    ids: usize,
}

fn label(group: usize) -> String {
    format!("Group {group}")
}

impl Host {
    pub fn new(options: Options, accounts: u32) -> Host {
        let accounts = (0..accounts).map(|number| Name::from(format!("user{number}").as_str())).collect();
        Host { accounts, is_virtual: options.virtual_contacts, ..Host::default() }
    }

    /// Stores groups of random accounts, and their contact lists. Most are small, and few are large.
    pub fn populate(&mut self, groups: usize, largest: f64, random: &mut fastrand::Rng) {
        for group in 0..groups {
            let id = Name::from(format!("group{group}").as_str());
            let size = (3.0 * (1.0 - random.f64()).powf(-1.0 / 1.3)).min(largest) as usize;
            let member = |_| self.accounts[random.usize(..self.accounts.len())].clone();
            self.members.insert(id.clone(), (0..size).map(member).collect());
            let name = Value::text(label(group).as_bytes());
            self.infos.insert(id, Value::table(vec![(Value::text(b"name"), name)]));
        }
        if !self.is_virtual {
            self.store_rosters();
        }
    }

    fn store_rosters(&mut self) {
        let mut groups_of: FxHashMap<u32, Vec<usize>> = FxHashMap::default();
        for (group, members) in self.members.values().enumerate() {
            members.iter().for_each(|member| groups_of.entry(self.number(member)).or_default().push(group));
        }
        for (&user, groups) in &groups_of {
            let mut contacts: FxHashMap<u32, Labels> = FxHashMap::default();
            let mut given = BTreeMap::new();
            for &group in groups {
                given.insert(format!("group{group}"), label(group));
                for member in &self.members[group] {
                    contacts.entry(self.number(member)).or_default().insert(label(group));
                }
            }
            contacts.remove(&user);
            let items = contacts.into_iter().map(|(contact, set)| (contact, self.labels.insert_full(set).0)).collect();
            let provenance = Some(serde_json::json!({ "labels": given }).to_string());
            let roster = Roster { items, provenance, version: Version::Number(1), ..Roster::default() };
            self.stored.insert(user, roster);
        }
    }

    pub fn number(&self, user: &Name) -> u32 {
        self.accounts.get_index_of(user).map_or(u32::MAX, |number| number as u32)
    }

    /// Prosody reads the roster for a session. Returns whether it has changes that storage has not, or nothing if it was
    /// in memory.
    pub fn begin_session(&mut self, user: u32) -> Option<bool> {
        if self.loaded.contains_key(&user) {
            return None;
        }
        let roster = self.stored.get(&user).cloned().unwrap_or_default();
        let unsaved = roster.unsaved;
        self.loaded.insert(user, roster);
        Some(unsaved)
    }

    /// The session ends, and its roster goes, unless it is to be saved.
    pub fn end_session(&mut self, user: u32, is_unsaved: bool) {
        self.online.swap_remove(&user);
        if !is_unsaved {
            self.loaded.remove(&user);
        }
    }

    /// What was in memory is gone.
    pub fn kill(&mut self) {
        self.loaded.clear();
        self.online.clear();
    }

    /// Does what the engine asks for.
    pub fn perform(&mut self, effect: Effect) -> Reply {
        self.now += if matches!(effect, Effect::SaveRoster(..)) { SAVE } else { OTHER };
        match effect {
            Effect::Log(Level::Warn | Level::Error, text) => println!("log: {text}"),
            Effect::NewId => {
                self.ids += 1;
                return Reply::Text(format!("new{}", self.ids).into_bytes().into());
            }
            Effect::ListGroups => return Reply::Names(self.infos.keys().cloned().collect()),
            Effect::ReadGroup(id) => {
                self.left.records += 2;
                let plain = |members: &Set<Name>| {
                    let names = members.iter().flat_map(|member| [member.as_bytes(), b"\0"].concat());
                    StoredMembers::new(names.collect(), Vec::new())
                };
                let members = self.members.get(&id).map(plain);
                return Reply::Record { info: self.infos.get(&id).cloned(), members };
            }
            Effect::StoreInfo(id, info) => {
                self.left.records += 1;
                match info {
                    Some(info) => drop(self.infos.insert(id, info.to_value())),
                    None => drop(self.infos.remove(&id)),
                }
            }
            Effect::StoreMembers(id, members) => {
                self.left.records += 1;
                match members {
                    Some(members) => drop(self.members.insert(id, members.into_iter().map(|(user, _)| user).collect())),
                    None => drop(self.members.swap_remove(&id)),
                }
            }
            Effect::StoreMember(id, user, data) => {
                self.left.records += 1;
                let members = self.members.entry(id).or_default();
                match data {
                    Some(_) => drop(members.insert(user)),
                    None => drop(members.swap_remove(&user)),
                }
            }
            Effect::ReadMarker => return Reply::Value(self.marker.clone()),
            Effect::StoreMarker(marker) => {
                self.left.records += 1;
                self.marker = Some(marker.to_value());
            }
            Effect::FindAccounts(users) => return Reply::Flags(vec![true; users.len()]),
            Effect::FindNicknames(users) => return Reply::Texts(vec![None; users.len()]),
            Effect::SendPresence(_, users) => self.left.presences += users.len(),
            Effect::SendUnavailable(_, users, _) => self.left.presences += users.len(),
            effect => return self.perform_roster(effect),
        }
        Reply::Done
    }

    fn perform_roster(&mut self, effect: Effect) -> Reply {
        match effect {
            Effect::ListRosters(limit) if self.loaded.len() > limit => Reply::Failed("there are more".to_owned()),
            Effect::ListRosters(_) => {
                Reply::Names(self.loaded.keys().map(|&user| self.accounts[user as usize].clone()).collect())
            }
            Effect::FindRosters(users) => {
                Reply::Flags(users.iter().map(|user| self.loaded.contains_key(&self.number(user))).collect())
            }
            Effect::LoadRoster(user) => {
                let user = self.number(&user);
                let was_loaded = self.loaded.contains_key(&user);
                if !was_loaded {
                    self.loaded.insert(user, self.stored.get(&user).cloned().unwrap_or_default());
                }
                Reply::Loaded(was_loaded)
            }
            Effect::CheckStamp(user, stamp) => {
                let roster = self.loaded.get(&self.number(&user));
                Reply::Flags(vec![roster.is_some_and(|roster| roster.stamp == Some((stamp, roster.version)))])
            }
            Effect::Compare(user, plan) => self.compare(self.number(&user), plan),
            Effect::FindBearers(..) => Reply::Items(Vec::new()),
            Effect::Change(user, change) => self.change(self.number(&user), &change),
            Effect::SaveRoster(user, _, provenance) => {
                self.left.saves += 1;
                let user = self.number(&user);
                let Some(roster) = self.loaded.get_mut(&user) else { return Reply::Absent };
                roster.unsaved = false;
                roster.provenance = provenance.unwrap_or(roster.provenance.take());
                self.stored.insert(user, Roster { changed: false, stamp: None, ..roster.clone() });
                Reply::Saved
            }
            Effect::ReleaseRoster(user) => {
                let user = self.number(&user);
                if !self.online.contains(&user) {
                    self.loaded.remove(&user);
                }
                Reply::Done
            }
            Effect::Push(push) => self.push(&push),
            _ => Reply::Done,
        }
    }

    fn item(&self, labels: usize) -> Item {
        Item { subscription: Subscription::Both, groups: self.labels[labels].clone(), ..Item::default() }
    }

    fn compare(&mut self, user: u32, plan: Plan) -> Reply {
        let Some(roster) = self.loaded.get(&user) else { return Reply::Absent };
        let mut found = Comparison {
            provenance: roster.provenance.as_ref().map(|text| Text(text.as_bytes().into())),
            version: roster.version,
            unsaved: roster.unsaved,
            fresh: !roster.changed,
            online: self.online.contains(&user),
            ..Comparison::default()
        };
        let mut number = 0;
        for section in &plan.sections {
            let labels: Labels = section.groups.iter().map(|(_, label)| label.clone()).collect();
            let usual = self.labels.get_index_of(&labels);
            for _ in 0..section.contacts {
                number += 1;
                let contact = self.number(&plan.contacts[number as usize - 1]);
                match roster.items.get(&contact) {
                    _ if contact == user => {}
                    None => found.absent.extend((section.tie == Tie::Bring).then_some(number)),
                    held if section.tie == Tie::Bring && held == usual.as_ref() => {}
                    Some(&held) => {
                        let item = Some(self.item(held));
                        found.facts.push(Fact { number, item, covered: self.is_virtual, ..Fact::default() });
                    }
                }
            }
        }
        self.plan = plan;
        Reply::Compared(found)
    }

    fn change(&mut self, user: u32, change: &Change) -> Reply {
        for edit in &change.edits {
            for &number in &edit.contacts {
                let contact = self.number(&self.plan.contacts[number as usize - 1]);
                let held = self.loaded.get(&user).and_then(|roster| roster.items.get(&contact)).copied();
                let shown = match (&edit.step.cover, &edit.step.fate) {
                    (Cover::Show { groups, .. }, _) => Some(groups.clone()),
                    (Cover::Keep, Fate::Keep) => continue,
                    (Cover::Keep, Fate::Alter { add, drop, .. }) => {
                        let before = held.map(|held| self.labels[held].clone()).unwrap_or_default();
                        Some(before.difference(drop).chain(add).cloned().collect())
                    }
                    (Cover::Lift, _) | (_, Fate::Remove) => None,
                };
                let shown = shown.map(|labels| self.labels.insert_full(labels).0);
                let Some(roster) = self.loaded.get_mut(&user) else { return Reply::Absent };
                match shown {
                    Some(labels) => drop(roster.items.insert(contact, labels)),
                    None => drop(roster.items.remove(&contact)),
                }
            }
        }
        let Some(roster) = self.loaded.get_mut(&user) else { return Reply::Absent };
        if let Some(provenance) = &change.provenance {
            roster.provenance.clone_from(provenance);
        }
        roster.version = change.version.map_or(roster.version, Version::Number);
        roster.unsaved |= change.unsaved;
        roster.changed |= change.unsaved;
        roster.stamp = change.stamp.map(|stamp| (stamp, roster.version)).or(roster.stamp);
        Reply::Done
    }

    fn push(&mut self, push: &Push) -> Reply {
        let user = self.number(&push.user);
        let Some(roster) = self.loaded.get_mut(&user) else { return Reply::Absent };
        self.left.pushes += push.contacts.len();
        let versions = roster.version.to_push(self.is_virtual, push.last);
        roster.version = versions.late;
        roster.unsaved |= push.last && versions.counted.is_some();
        Reply::Pushed(versions.counted.unwrap_or_default())
    }
}
