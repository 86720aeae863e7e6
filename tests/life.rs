//! A model of what contact lists should be, written from what is promised to users, and histories that compare the two.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::collections::{BTreeMap, BTreeSet};

use groups_internal_native::engine::{Naming, Options, Value};
use proptest::prelude::{Just, Strategy, any, prop, prop_oneof};
use support::*;

const USERS: &[&str] = &["ann", "bob", "carl", "dora"];
const GROUPS: &[&str] = &["g", "h"];
const LABELS: &[&str] = &["Family", "Work", "Own"];
const SUBSCRIPTIONS: &[&str] = &["none", "to", "from", "both"];

/// Dora has published no nickname.
const NICKNAMES: &[(&str, &str)] = &[("ann", "Annie"), ("bob", "Bobby"), ("carl", "Carlo")];

type User = &'static str;
type Labels = BTreeSet<String>;

/// What a user made of a contact.
#[derive(Clone, Debug, Default)]
struct Own {
    /// The subscription and the request of an item that was there before a group brought it.
    prior: Option<(&'static str, bool)>,
    name: Option<String>,
    groups: Labels,
    /// It came with groups that left it behind: their labels.
    kept: Option<Labels>,
    /// A client has taken it, or its labels, off, and they may not have come back.
    off: bool,
    /// It may be anything, for what it should be is not laid down:
    /// - a contact that was left behind for good, and is then brought again, or still;
    /// - one left behind by a group that was never, or not last, seen by the roster;
    /// - one of the user's own whose account is deleted when no group brings it any more: Prosody alone ends that
    ///   contact.
    vague: bool,
}

/// The reference: who is in which group, and what users made of their contacts.
#[derive(Clone, Debug, Default)]
struct Model {
    groups: BTreeMap<String, (String, BTreeSet<User>)>,
    accounts: BTreeSet<User>,
    own: BTreeMap<(User, User), Own>,
    removes: bool,
}

impl Model {
    /// The labels of the groups that bring `owner` this contact.
    fn labels(&self, owner: User, contact: User) -> Labels {
        let there = self.accounts.contains(owner) && self.accounts.contains(contact);
        let both = |members: &BTreeSet<User>| there && members.contains(owner) && members.contains(contact);
        self.groups.values().filter(|(_, members)| both(members)).map(|(label, _)| label.clone()).collect()
    }

    /// Groups are like this now. `gone`: on account of whose deletion. `settled`: rosters are as they were before.
    fn become_like(&mut self, groups: BTreeMap<String, (String, BTreeSet<User>)>, gone: Option<User>, settled: bool) {
        let before = std::mem::replace(self, Model { groups, ..self.clone() });
        for (owner, contact) in pairs() {
            let (had, has) = (before.labels(owner, contact), self.labels(owner, contact));
            let parted = before.groups.iter().any(|(id, (_, members))| {
                let together = |members: &BTreeSet<User>| members.contains(owner) && members.contains(contact);
                together(members) && !self.groups.get(id).is_some_and(|(_, members)| together(members))
            });
            let Some(mine) = self.own.get_mut(&(owner, contact)) else { continue };
            let marked = mine.name.is_some() || !mine.groups.is_empty();
            if gone == Some(owner) {
                *mine = Own::default();
            } else if gone == Some(contact) {
                mine.vague |= had.is_empty() && mine.kept.is_none() && mine.prior.is_some();
                mine.prior = (mine.prior.is_some() || marked).then_some(("none", false));
                mine.kept = None;
            } else if had.is_empty() {
                mine.vague |= !has.is_empty() && mine.kept.is_some();
            } else if parted && !self.removes {
                mine.vague |= !has.is_empty() || !settled || mine.off;
                mine.kept = Some(had);
            } else if has.is_empty() {
                mine.prior = mine.prior.or(marked.then_some(("none", false)));
            }
        }
    }

    /// What the item should be.
    fn item(&self, owner: User, contact: User, name: Option<String>) -> Option<Item> {
        let mine = &self.own[&(owner, contact)];
        let labels = self.labels(owner, contact);
        let labels = if labels.is_empty() { mine.kept.clone() } else { Some(labels) };
        let (subscription, ask) = if labels.is_some() { ("both", false) } else { mine.prior? };
        let groups = mine.groups.iter().cloned().chain(labels.unwrap_or_default()).collect();
        Some(Item { subscription, ask, name, groups })
    }
}

fn pairs() -> impl Iterator<Item = (User, User)> {
    USERS.iter().flat_map(|&owner| USERS.iter().map(move |&contact| (owner, contact))).filter(|(a, b)| a != b)
}

#[derive(Clone, Copy, Debug)]
enum Change {
    Create(usize, usize),
    Delete(usize),
    Rename(usize, usize),
    Add(usize, usize),
    Remove(usize, usize),
}

/// What a client makes of a contact.
#[derive(Clone, Copy, Debug)]
enum Edit {
    Add,
    Name(usize),
    PutInto(usize),
    /// Takes it out of all groups but those that no group's name can be.
    TakeLabelsOff,
    TakeOff,
}

#[derive(Clone, Copy, Debug)]
enum Act {
    Do(Change),
    Crash(Change, usize, bool),
    Edit(usize, usize, Edit),
    Login(usize),
    Logout(usize),
    Evict(usize),
    Register(usize),
    DeleteAccount(usize),
    RemoveContacts(bool),
    Naming(usize),
    Work,
    Pause(u8),
    Settle,
}

fn change() -> impl Strategy<Value = Change> {
    let (user, group, label) = (0..USERS.len(), 0..GROUPS.len(), 0..2usize);
    prop_oneof![
        3 => (group.clone(), label.clone()).prop_map(|(g, label)| Change::Create(g, label)),
        1 => group.clone().prop_map(Change::Delete),
        2 => (group.clone(), label).prop_map(|(g, label)| Change::Rename(g, label)),
        8 => (group.clone(), user.clone()).prop_map(|(g, u)| Change::Add(g, u)),
        4 => (group, user).prop_map(|(g, u)| Change::Remove(g, u)),
    ]
}

fn edit() -> impl Strategy<Value = Edit> {
    prop_oneof![
        2 => Just(Edit::Add),
        2 => (0..2usize).prop_map(Edit::Name),
        4 => (0..LABELS.len()).prop_map(Edit::PutInto),
        2 => Just(Edit::TakeLabelsOff),
        1 => Just(Edit::TakeOff),
    ]
}

fn act() -> impl Strategy<Value = Act> {
    let user = 0..USERS.len();
    prop_oneof![
        14 => change().prop_map(Act::Do),
        2 => (change(), 0..20usize, any::<bool>()).prop_map(|(change, at, after)| Act::Crash(change, at, after)),
        8 => (user.clone(), user.clone(), edit()).prop_map(|(u, c, edit)| Act::Edit(u, c, edit)),
        6 => user.clone().prop_map(Act::Login),
        3 => user.clone().prop_map(Act::Logout),
        1 => user.clone().prop_map(Act::Evict),
        1 => user.clone().prop_map(Act::Register),
        1 => user.prop_map(Act::DeleteAccount),
        2 => prop::bool::weighted(0.7).prop_map(Act::RemoveContacts),
        1 => (0..3usize).prop_map(Act::Naming),
        3 => Just(Act::Work),
        2 => any::<u8>().prop_map(Act::Pause),
        2 => Just(Act::Settle),
    ]
}

/// A contact that somebody has before there are any groups.
fn early() -> impl Strategy<Value = (usize, usize, Item)> {
    let name = prop::option::weighted(0.2, Just("Old".to_owned()));
    let groups = prop::collection::btree_set((0..LABELS.len()).prop_map(|label| LABELS[label].to_owned()), 0..2);
    let item = (0..SUBSCRIPTIONS.len(), any::<bool>(), name, groups).prop_map(|(subscription, ask, name, groups)| {
        let subscription = SUBSCRIPTIONS[subscription];
        Item { subscription, ask: ask && matches!(subscription, "none" | "from"), name, groups }
    });
    (0..USERS.len(), 0..USERS.len(), item)
}

/// A server, and what it should be.
struct Life {
    world: World,
    model: Model,
}

impl Life {
    fn new(row_writes: bool, removes: bool, early: Vec<(usize, usize, Item)>) -> Life {
        let options = Options { chats: true, row_writes, remove_contacts: removes, ..Options::default() };
        let mut world = World::stopped(options, USERS);
        world.host.nicknames = NICKNAMES.iter().map(|&(user, name)| (n(user), name.to_owned())).collect();
        let own = pairs().map(|pair| (pair, Own::default())).collect();
        let mut model = Model { accounts: USERS.iter().copied().collect(), own, removes, ..Model::default() };
        for (owner, contact, item) in early.into_iter().filter(|(owner, contact, _)| owner != contact) {
            world.store_item(USERS[owner], USERS[contact], item.clone());
            world.store_item(USERS[owner], USERS[contact], item.clone());
            let Item { subscription, ask, name, groups } = item;
            let own = Own { prior: Some((subscription, ask)), name, groups, ..Own::default() };
            model.own.insert((USERS[owner], USERS[contact]), own);
        }
        world.start();
        Life { world, model }
    }

    /// Takes over who is in which group: what a crash has left of a change is for others to judge.
    fn take_over(&mut self, gone: Option<User>, settled: bool) {
        let known = |name: &groups_internal_native::engine::Name| USERS.iter().copied().find(|user| n(user) == *name);
        let groups = self.world.engine.groups().into_iter().map(|(id, info)| {
            let members = self.world.engine.members(id.as_bytes());
            let members = members.iter().filter_map(|(user, _)| known(user)).collect();
            (id.to_string(), (String::from_utf8_lossy(&info.name).into_owned(), members))
        });
        let groups = groups.collect();
        self.model.become_like(groups, gone, settled);
    }

    fn operation(&self, change: Change) -> groups_internal_native::engine::Operation {
        let engine = &self.world.engine;
        match change {
            Change::Create(g, label) => engine.create(given(LABELS[label]), false, Some(given(GROUPS[g]))),
            Change::Delete(g) => engine.delete(given(GROUPS[g])),
            Change::Rename(g, label) => engine.set_info(given(GROUPS[g]), given(LABELS[label])),
            Change::Add(g, u) => engine.add_member(given(GROUPS[g]), given(USERS[u]), false),
            Change::Remove(g, u) => engine.remove_member(given(GROUPS[g]), given(USERS[u])),
        }
    }

    /// Whether rosters are as they should be. While something is still to be taken back, it is not laid down what
    /// becomes of those who leave or join for good meanwhile: then it is waited for.
    fn is_settled(&mut self) -> bool {
        let for_good = !self.model.removes || self.model.own.values().any(|mine| mine.kept.is_some());
        if for_good && self.open_partings().is_some() {
            self.world.settle_within(4000.0);
        }
        self.world.engine.next_work(self.world.host.now).is_none()
    }

    fn open_partings(&self) -> Option<&Value> {
        self.world.host.marker.as_ref()?.get("partings")
    }

    fn play(&mut self, act: Act) {
        match act {
            Act::Do(change) => {
                let settled = self.is_settled();
                self.world.run(self.operation(change)).ok();
                self.take_over(None, settled);
            }
            Act::Crash(change, at, after) => {
                let settled = self.is_settled();
                let strike = if after { Strike::CrashAfter } else { Strike::CrashBefore };
                let operation = self.operation(change);
                match self.world.run_struck(operation, at, strike) {
                    Some(_) => self.world.start(),
                    None => self.world.crash(),
                }
                self.take_over(None, settled);
            }
            Act::Edit(u, c, edit) if u != c => self.edit(USERS[u], USERS[c], edit),
            Act::Edit(..) => {}
            Act::Login(u) if self.model.accounts.contains(USERS[u]) => self.world.login(USERS[u]),
            Act::Login(_) => {}
            Act::Logout(u) => self.world.logout(USERS[u]),
            Act::Evict(u) => self.world.evict(USERS[u]),
            Act::Register(u) => self.register(USERS[u]),
            Act::DeleteAccount(u) => self.delete_account(USERS[u]),
            Act::RemoveContacts(on) => {
                self.model.removes = on;
                self.world.options.remove_contacts = on;
                self.world.engine.set_options(self.world.options);
            }
            Act::Naming(naming) => {
                self.world.options.naming = [Naming::None, Naming::Username, Naming::Nickname][naming];
                self.world.engine.set_options(self.world.options);
            }
            Act::Work => drop(self.world.run(self.world.engine.work())),
            Act::Pause(tenths) => self.world.settle_within(f64::from(tenths) / 10.0),
            Act::Settle => self.world.settle(),
        }
        // What a client's edit and a crash do to versions, others have an eye on.
        self.world.host.reused.clear();
        self.world.check_decency();
    }

    /// From a roster that no group has been seen in, an account goes without regard for what was there before.
    fn delete_account(&mut self, user: User) {
        if !self.model.accounts.contains(user) {
            return;
        }
        for owner in USERS.iter().copied().filter(|owner| *owner != user) {
            let known = self.world.host.read(&n(owner)).provenance.is_some();
            self.model.own.get_mut(&(owner, user)).unwrap().vague |= !known;
        }
        self.world.delete_account(user);
        self.take_over(Some(user), true);
        self.model.accounts.remove(user);
    }

    /// An account is withdrawn from rosters before one of that name is made again: whether that happens in time is not
    /// laid down.
    fn register(&mut self, user: User) {
        if self.model.accounts.contains(user) {
            return;
        }
        self.world.settle_within(4000.0);
        self.world.register(user);
        let vague = |model: &Model, pair: (User, User)| model.own[&pair].kept.is_some();
        for pair in pairs().filter(|pair| pair.0 == user || pair.1 == user) {
            let vague = vague(&self.model, pair);
            self.model.own.get_mut(&pair).unwrap().vague |= vague;
        }
        self.model.accounts.insert(user);
    }

    /// A client sends an item back changed, as it is shown.
    fn edit(&mut self, user: User, contact: User, edit: Edit) {
        if !self.world.host.sessions.contains_key(&n(user)) || !self.model.accounts.contains(contact) {
            return;
        }
        let shown = self.world.shown(user, contact);
        let mine = self.model.own.get_mut(&(user, contact)).unwrap();
        let mut item = match (&shown, edit) {
            (None, Edit::TakeOff | Edit::TakeLabelsOff) => return,
            (Some(_), Edit::TakeOff) => return self.take_off(user, contact),
            (Some(item), _) => item.clone(),
            (None, _) => {
                *mine = Own { prior: Some(("none", true)), vague: mine.vague, off: mine.off, ..Own::default() };
                Item { ask: true, ..Item::new("none") }
            }
        };
        match edit {
            Edit::Name(name) => item = item.called(["Pal", "Chum"][name]),
            Edit::PutInto(label) => item = item.labelled(LABELS[label]),
            Edit::TakeLabelsOff => item.groups.retain(|label| label == "Own"),
            Edit::Add | Edit::TakeOff => {}
        }
        if let Edit::Name(_) = edit {
            mine.name.clone_from(&item.name);
        }
        let before = shown.map(|item| item.groups).unwrap_or_default();
        mine.groups.retain(|label| item.groups.contains(label));
        mine.off |= matches!(edit, Edit::TakeLabelsOff);
        mine.groups.extend(item.groups.difference(&before).cloned());
        if let Some(kept) = &mut mine.kept {
            kept.retain(|label| item.groups.contains(label));
        }
        self.world.edit(user, contact, |_| Some(item));
    }

    /// It comes back at the next login, as brought, if groups bring it. The other side loses the subscription for good.
    fn take_off(&mut self, user: User, contact: User) {
        let hears = self.world.host.loaded(&n(contact)).is_some();
        self.world.take_off(user, contact);
        let vague = self.model.own[&(user, contact)].vague;
        self.model.own.insert((user, contact), Own { vague, off: true, ..Own::default() });
        let shared = !self.model.labels(contact, user).is_empty();
        let other = self.model.own.get_mut(&(contact, user)).unwrap();
        other.vague |= other.kept.is_some();
        other.off |= hears;
        if let Some(prior) = other.prior.as_mut().filter(|_| hears) {
            *prior = ("none", prior.1 && !shared);
        }
    }

    fn judge(&mut self) {
        self.world.settle_within(4000.0);
        for &user in &self.model.accounts {
            self.world.logout(user);
            self.world.evict(user);
            self.world.login(user);
        }
        self.world.settle_within(4000.0);
        self.world.check_agreement();
        self.compare();
        assert_eq!(self.open_partings(), None, "partings are open");
        self.world.crash();
        self.world.settle_within(4000.0);
        self.compare();
    }

    fn compare(&self) {
        for (owner, contact) in pairs().filter(|(owner, _)| self.model.accounts.contains(owner)) {
            let mine = &self.model.own[&(owner, contact)];
            // A contact that is there is not asked for an account: it may be brought before the account is made again.
            let early = !self.model.accounts.contains(contact)
                && self.model.groups.values().any(|(_, m)| m.contains(owner) && m.contains(contact));
            if mine.vague || early && mine.prior.is_some() {
                continue;
            }
            let stored = self.world.stored(owner, contact);
            let name = self.name(owner, contact, stored.as_ref());
            let item = self.model.item(owner, contact, name);
            assert_eq!(stored, item, "{contact} in the roster of {owner}, who made this of it: {mine:?}");
        }
    }

    /// The name of an item: the user's, or what is given for it. What happens to a name that was given when naming is
    /// switched, or the item is left to its owner, is not laid down.
    fn name(&self, owner: User, contact: User, stored: Option<&Item>) -> Option<String> {
        let mine = &self.model.own[&(owner, contact)];
        if mine.name.is_some() {
            return mine.name.clone();
        }
        let nickname = NICKNAMES.iter().find(|(user, _)| *user == contact).map_or(contact, |(_, nickname)| *nickname);
        let stored = stored.and_then(|item| item.name.as_deref());
        let given = stored.filter(|name| *name == contact || *name == nickname);
        let name = match self.world.options.naming {
            _ if self.model.labels(owner, contact).is_empty() => given,
            Naming::None => given,
            // One that was given before naming changed may stay.
            _ if given.is_some() => given,
            Naming::Username => Some(contact),
            Naming::Nickname => Some(nickname),
        };
        name.map(str::to_owned)
    }
}

#[test]
fn after_any_history_contact_lists_are_as_the_model_says() {
    let histories = (
        prop::collection::vec(early(), 0..4),
        chance::population(GROUPS.len(), USERS.len()),
        prop::collection::vec(act(), 1..40),
        any::<bool>(),
        prop::bool::weighted(0.8),
    );
    chance::play_histories(600, 4.0, histories, |(early, population, acts, row_writes, removes)| {
        let mut life = Life::new(row_writes, removes, early);
        life.world.populate(&population, &[("g", "Family"), ("h", "Work")], USERS);
        life.take_over(None, true);
        for act in acts {
            life.play(act);
        }
        let changed = life.world.host.changed;
        life.judge();
        changed
    });
}
