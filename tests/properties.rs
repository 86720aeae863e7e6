//! Whatever happened, and in whatever order: once all is settled, contact lists are as membership says.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use groups_internal_native::engine::{Operation, Options};
use proptest::prelude::*;
use support::*;

const USERS: &[&str] = &["ann", "bob", "carl", "dora"];
const GROUPS: &[&str] = &["g", "h", "ann"];
const NAMES: &[&str] = &["Family", "Work", "Chess"];
const AREAS: &[&str] = &["info", "members", "marker", "chats", "save", "load"];

#[derive(Clone, Copy, Debug)]
enum Change {
    Create(usize, bool),
    Delete(usize),
    Rename(usize, usize),
    Add(usize, usize, bool),
    Remove(usize, usize),
    Sync(usize),
    AddChat(usize),
    Appear(usize),
    Leave(usize),
    Work,
    Flush,
}

#[derive(Clone, Copy, Debug)]
enum Act {
    Do(Change),
    Struck(Change, usize, Strike),
    Login(usize),
    Logout(usize),
    Evict(usize),
    Name(usize, usize),
    TakeOff(usize, usize),
    Register(usize),
    DeleteAccount(usize),
    Down(usize),
    Up,
    DirectoryDown,
    Unreadable(usize),
    RemoveContacts(bool),
    Pause(u8),
    Crash,
}

fn change() -> impl Strategy<Value = Change> {
    let (user, group) = (0..USERS.len(), 0..GROUPS.len());
    prop_oneof![
        2 => (group.clone(), any::<bool>()).prop_map(|(g, chat)| Change::Create(g, chat)),
        1 => group.clone().prop_map(Change::Delete),
        2 => (group.clone(), 0..NAMES.len()).prop_map(|(g, name)| Change::Rename(g, name)),
        12 => (group.clone(), user.clone(), prop::bool::weighted(0.2))
            .prop_map(|(g, u, later)| Change::Add(g, u, later)),
        2 => (group.clone(), user.clone()).prop_map(|(g, u)| Change::Remove(g, u)),
        2 => group.clone().prop_map(Change::Sync),
        1 => group.prop_map(Change::AddChat),
        1 => user.clone().prop_map(Change::Appear),
        1 => user.prop_map(Change::Leave),
        3 => Just(Change::Work),
        1 => Just(Change::Flush),
    ]
}

fn strike() -> impl Strategy<Value = Strike> {
    prop_oneof![
        2 => Just(Strike::Fail),
        1 => Just(Strike::Throw),
        1 => Just(Strike::DropBefore),
        2 => Just(Strike::CrashBefore),
        2 => Just(Strike::CrashAfter),
    ]
}

fn act() -> impl Strategy<Value = Act> {
    let user = 0..USERS.len();
    let two = (user.clone(), user.clone());
    prop_oneof![
        16 => change().prop_map(Act::Do),
        6 => (change(), 0..12usize, strike()).prop_map(|(change, at, strike)| Act::Struck(change, at, strike)),
        8 => user.clone().prop_map(Act::Login),
        3 => user.clone().prop_map(Act::Logout),
        1 => user.clone().prop_map(Act::Evict),
        2 => two.clone().prop_map(|(u, c)| Act::Name(u, c)),
        1 => two.prop_map(|(u, c)| Act::TakeOff(u, c)),
        2 => user.clone().prop_map(Act::Register),
        1 => user.clone().prop_map(Act::DeleteAccount),
        1 => (0..AREAS.len()).prop_map(Act::Down),
        8 => Just(Act::Up),
        1 => Just(Act::DirectoryDown),
        1 => user.prop_map(Act::Unreadable),
        1 => any::<bool>().prop_map(Act::RemoveContacts),
        5 => any::<u8>().prop_map(Act::Pause),
        1 => Just(Act::Crash),
    ]
}

fn operation(world: &World, change: Change) -> Operation {
    let engine = &world.engine;
    let (group, user) = (|g: usize| given(GROUPS[g]), |u: usize| given(USERS[u]));
    match change {
        Change::Create(g, chat) => engine.create(given(NAMES[g]), chat, Some(group(g))),
        Change::Delete(g) => engine.delete(group(g)),
        Change::Rename(g, name) => engine.set_info(group(g), given(NAMES[name])),
        Change::Add(g, u, later) => engine.add_member(group(g), user(u), later),
        Change::Remove(g, u) => engine.remove_member(group(g), user(u)),
        Change::Sync(g) => engine.sync(group(g)),
        Change::AddChat(g) => engine.add_group_chat(group(g), given("Chat")),
        Change::Appear(u) if world.host.accounts.contains(&n(USERS[u])) => engine.user_appeared(n(USERS[u])),
        Change::Leave(u) => engine.user_left(n(USERS[u])),
        Change::Appear(_) | Change::Work => engine.work(),
        Change::Flush => engine.flush(5.0),
    }
}

/// Storage and the directory answer again.
fn mend(world: &mut World) {
    world.host.down.clear();
    world.host.directory_down = false;
    world.host.unreadable.clear();
}

fn play(world: &mut World, act: Act) {
    match act {
        Act::Do(change) => drop(world.run(operation(world, change))),
        Act::Struck(change, at, strike) => {
            if matches!((change, strike), (Change::Delete(_), Strike::DropBefore)) {
                // Members are gone from storage and nobody was told; that lasts until the deletion is done again.
                return;
            }
            let operation = operation(world, change);
            let (outcome, _) = world.run_struck_among(operation, at, strike, can_wait);
            if outcome == Outcome::Crashed {
                mend(world);
                world.start();
            }
        }
        Act::Login(u) if world.host.accounts.contains(&n(USERS[u])) => world.login(USERS[u]),
        Act::Login(_) => {}
        Act::Logout(u) => world.logout(USERS[u]),
        Act::Evict(u) => world.evict(USERS[u]),
        Act::Name(u, c) => world.name_contact(USERS[u], USERS[c], NAMES[c % NAMES.len()]),
        Act::TakeOff(u, c) if u != c => world.take_off(USERS[u], USERS[c]),
        Act::TakeOff(..) => {}
        Act::Register(u) if world.host.accounts.contains(&n(USERS[u])) => {}
        Act::Register(u) => world.register(USERS[u]),
        Act::DeleteAccount(u) if world.host.accounts.contains(&n(USERS[u])) && world.host.down.is_empty() => {
            world.delete_account(USERS[u]);
        }
        Act::DeleteAccount(_) => {}
        Act::Down(area) => {
            world.host.down.insert(AREAS[area]);
        }
        Act::Up => mend(world),
        Act::DirectoryDown => world.host.directory_down = true,
        Act::Unreadable(u) => {
            world.host.unreadable.insert(n(USERS[u]));
        }
        Act::RemoveContacts(on) => {
            world.options.remove_contacts = on;
            world.engine.set_options(world.options);
        }
        Act::Pause(tenths) => world.settle_within(f64::from(tenths) / 10.0),
        Act::Crash => {
            mend(world);
            world.crash();
        }
    }
    world.check_decency();
}

/// All is well again, and everybody has an account: now contact lists must become complete.
fn finish(world: &mut World) {
    mend(world);
    for user in USERS {
        if world.host.sessions.get(&n(user)).is_some_and(|table| table.borrow().broken) {
            world.logout(user);
            world.evict(user);
        }
    }
    let spared = std::mem::take(&mut world.host.spared);
    for user in spared {
        if !world.host.accounts.contains(&user) {
            continue;
        }
        let user = user.to_string();
        world.logout(&user);
        world.login(&user);
    }
    world.settle_within(4000.0);
    for group in GROUPS {
        world.sync(group);
    }
    world.settle_within(4000.0);
    world.check_agreement();
    world.check_contacts();
    world.check_devices();
    for user in USERS {
        if !world.host.accounts.contains(&n(user)) {
            world.register(user);
        }
    }
    world.settle_within(4000.0);
    world.check_agreement();
    world.check_contacts();
    for user in USERS {
        world.logout(user);
        world.login(user);
    }
    world.settle_within(4000.0);
    world.check_contacts();
    world.check_devices();
    world.crash();
    world.settle_within(4000.0);
    world.check_agreement();
    world.check_contacts();
}

#[test]
fn after_any_history_contact_lists_are_as_membership_says() {
    let histories = (
        chance::population(2, USERS.len()),
        prop::collection::vec(act(), 20..90),
        any::<bool>(),
        any::<bool>(),
        prop_oneof![Just(1e-5), Just(1e-3), Just(6e-3)],
    );
    chance::play_histories(400, 4.0, histories, |(population, acts, row_writes, remove_contacts, tick)| {
        let options = Options { chats: true, row_writes, remove_contacts, ..Options::default() };
        let mut world = World::with(options, &["ann", "bob", "carl"]);
        world.populate(&population, &[("g", "Family"), ("h", "Work")], USERS);
        world.host.tick = tick;
        for act in acts {
            play(&mut world, act);
        }
        let changed = world.host.changed;
        finish(&mut world);
        changed
    });
}
