//! Virtual contact lists: what is shown is as membership says at once, and storage has none of it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::collections::BTreeMap;

use groups_internal_native::engine::{Effect, Naming, Options, Value};
use proptest::prelude::*;
use support::roster::Items;
use support::*;

const SHOWN: Options = Options {
    random_room_ids: false,
    chats: false,
    row_writes: false,
    enforce_affiliations: false,
    remove_contacts: false,
    naming: Naming::None,
    virtual_contacts: true,
};

fn both(label: &str) -> Item {
    Item::new("both").labelled(label)
}

fn world(users: &[&str]) -> World {
    World::with(SHOWN, users).and_group("g", "G", users)
}

/// What a client that logs in is given.
fn given_to(world: &mut World, user: &str) -> Items {
    let was_online = world.host.sessions.contains_key(&n(user));
    world.login(user);
    let items = world.host.sessions[&n(user)].borrow().items.clone();
    if !was_online {
        world.logout(user);
    }
    items
}

/// What storage has of a user's contacts.
fn in_storage(world: &World, user: &str) -> Items {
    world.host.stored.get(&n(user)).map(|roster| roster.items.clone()).unwrap_or_default()
}

/// The module is loaded again with another option.
fn switch(world: &mut World, virtual_contacts: bool) {
    world.options.virtual_contacts = virtual_contacts;
    world.engine.set_options(world.options);
    world.start();
    world.settle();
}

#[test]
fn contacts_are_shown_and_nothing_is_stored() {
    let mut world = world(&["ann", "bob", "carl"]);
    let expected = Items::from([(n("bob"), both("G")), (n("carl"), both("G"))]);
    assert_eq!(given_to(&mut world, "ann"), expected);
    assert_eq!(in_storage(&world, "ann"), Items::new());
    world.crash();
    assert_eq!(given_to(&mut world, "ann"), expected);
    assert_eq!(world.host.saves(), 0);
}

#[test]
fn a_change_takes_one_write_of_the_group_and_no_other() {
    let mut world = world(&["ann", "bob", "carl"]);
    world.host.accounts.insert(n("dora"));
    world.login("ann");
    world.host.forget();
    world.add("g", "dora").unwrap();
    world.remove("g", "bob").unwrap();
    world.rename("g", "H").unwrap();
    world.settle();
    let stores = world.host.trace.iter().filter(|effect| is_store(effect) && !matches!(effect, Effect::Fire(_)));
    assert_eq!(stores.count(), 3, "{:?}", world.host.trace);
    assert_eq!(world.host.count(|effect| matches!(effect, Effect::LoadRoster(_))), 0, "nobody's list is read");
    world.check_devices();
}

#[test]
fn leaving_takes_effect_at_once_for_everybody_and_tells_those_who_are_online() {
    let mut world = world(&["ann", "bob", "carl"]);
    world.login("ann");
    world.login("bob");
    world.host.forget();
    world.remove("g", "bob").unwrap();
    assert_eq!((world.shown("ann", "bob"), world.shown("bob", "ann")), (None, None));
    let pushes = world.host.pushes();
    for (user, contact) in [("ann", "bob"), ("bob", "ann"), ("bob", "carl")] {
        assert!(pushes.contains(&(user.into(), contact.into())), "{pushes:?}");
    }
    for (from, to) in [("bob", "ann"), ("ann", "bob")] {
        let tells = |effect: &Effect| matches!(effect, Effect::SendUnavailable(user, all, _) if *user == n(from) && all.contains(&n(to)));
        assert_eq!(world.host.count(tells), 1, "{from} to {to}");
    }
    world.settle();
    world.check_devices();
    assert_eq!(given_to(&mut world, "carl"), Items::from([(n("ann"), both("G"))]));
}

#[test]
fn a_list_to_which_groups_bring_nothing_has_the_version_of_storage() {
    let mut world = world(&["ann", "bob"]);
    world.store_item("ann", "eve", Item::new("to"));
    world.login("ann");
    let versions =
        |world: &World| (world.host.sessions[&n("ann")].borrow().version, world.host.stored[&n("ann")].version);
    let (shown, stored) = versions(&world);
    assert_ne!(shown, stored);
    world.remove("g", "ann").unwrap();
    world.settle();
    let (shown, stored) = versions(&world);
    assert_eq!(shown, stored);
    world.add("g", "ann").unwrap();
    world.host.forget();
    switch(&mut world, false);
    world.login("ann");
    let virtual_number = |effect: &Effect| matches!(effect, Effect::Compare(_, plan) if plan.digest != 0);
    assert_eq!(world.host.count(virtual_number), 0, "nor do permanent contacts have a number");
    assert!(world.host.count(|effect| matches!(effect, Effect::Compare(..))) > 0);
}

#[test]
fn a_list_that_lacks_a_contact_for_the_session_has_a_version_of_its_own() {
    let mut world = world(&["ann", "bob", "carl"]);
    world.host.accounts.insert(n("dora"));
    world.login("ann");
    let version = |world: &World| world.host.sessions[&n("ann")].borrow().version;
    world.take_off("ann", "bob");
    world.add("g", "dora").unwrap();
    world.remove("g", "dora").unwrap();
    world.settle();
    assert_eq!(world.shown("ann", "bob"), None);
    let incomplete = version(&world);
    world.logout("ann");
    world.login("ann");
    assert!(world.shown("ann", "bob").is_some());
    assert_ne!(version(&world), incomplete);
}

#[test]
fn a_version_stands_for_one_list_and_comes_back_with_it() {
    let mut world = world(&["ann", "bob", "carl"]);
    given_to(&mut world, "ann");
    let first = world.host.devices[&n("ann")].version;
    world.crash();
    given_to(&mut world, "ann");
    assert_eq!(world.host.devices[&n("ann")].version, first);
    world.remove("g", "bob").unwrap();
    given_to(&mut world, "ann");
    assert_ne!(world.host.devices[&n("ann")].version, first);
    world.add("g", "bob").unwrap();
    given_to(&mut world, "ann");
    assert_eq!(world.host.devices[&n("ann")].version, first);
    world.check_decency();
}

#[test]
fn what_a_user_makes_of_a_contact_is_kept_apart_and_comes_back_with_the_contact() {
    let mut world = world(&["ann", "bob"]);
    world.login("ann");
    world.edit("ann", "bob", |item| item.map(|item| item.called("Bobby").labelled("Own")));
    assert_eq!(in_storage(&world, "ann"), Items::new());
    let edited = both("G").called("Bobby").labelled("Own");
    world.crash();
    assert_eq!(given_to(&mut world, "ann")[&n("bob")], edited);
    world.remove("g", "bob").unwrap();
    assert_eq!(given_to(&mut world, "ann"), Items::new());
    world.add("g", "bob").unwrap();
    assert_eq!(given_to(&mut world, "ann")[&n("bob")], edited);
}

#[test]
fn a_contact_of_the_users_own_is_below_and_comes_out_as_it_was() {
    let mut world = World::with(SHOWN, &["ann", "bob"]);
    let own = Item::new("to").called("Bobby").labelled("Own");
    world.store_item("ann", "bob", own.clone());
    let mut world = world.and_group("g", "G", &["ann", "bob"]);
    assert_eq!(given_to(&mut world, "ann")[&n("bob")], both("G").called("Bobby").labelled("Own"));
    assert_eq!(in_storage(&world, "ann")[&n("bob")], own);
    world.delete("g").unwrap();
    assert_eq!(given_to(&mut world, "ann")[&n("bob")], own);
}

#[test]
fn a_deleted_account_leaves_nothing_behind() {
    let mut world = world(&["ann", "bob", "carl"]);
    world.login("ann");
    world.edit("ann", "bob", |item| item.map(|item| item.called("Bobby")));
    world.delete_account("bob");
    world.settle();
    assert_eq!(world.shown("ann", "bob"), None);
    world.check_devices();
    world.crash();
    assert_eq!(given_to(&mut world, "ann"), Items::from([(n("carl"), both("G"))]));
    assert!(world.host.edits.values().all(BTreeMap::is_empty), "{:?}", world.host.edits);
}

#[test]
fn an_account_deleted_while_the_server_was_down_is_told_from_one_that_is_yet_to_be_made() {
    let mut world = world(&["ann", "bob"]);
    world.add("g", "later").unwrap();
    world.settle();
    world.host.accounts.remove(&n("bob"));
    world.crash();
    for _ in 0..2 {
        let found = world.run(world.engine.check()).unwrap();
        let text = format!("{found:?}");
        assert!(text.contains("bob") && !text.contains("later"), "{text}");
        // Somebody has looked for the contacts meanwhile.
        given_to(&mut world, "ann");
        world.settle();
        world.crash();
    }
}

#[test]
fn lists_are_converted_both_ways_and_own_contacts_stay() {
    let mut world = World::with(Options { virtual_contacts: false, ..SHOWN }, &["ann", "bob", "carl"]);
    world.store_item("ann", "carl", Item::new("from").called("C"));
    let mut world = world.and_group("g", "G", &["ann", "bob", "carl"]);
    world.login("ann");
    world.edit("ann", "bob", |item| item.map(|item| item.called("Bobby")));
    world.logout("ann");
    let permanent = world.host.stored.clone();
    switch(&mut world, true);
    assert_eq!(in_storage(&world, "ann"), Items::from([(n("carl"), Item::new("from").called("C"))]));
    assert_eq!(in_storage(&world, "bob"), Items::new());
    assert_eq!(given_to(&mut world, "ann"), permanent[&n("ann")].items);
    assert_eq!(world.host.marker.as_ref().and_then(|marker| marker.get("virtual")), Some(&Value::Bool(true)));
    switch(&mut world, false);
    for user in ["ann", "bob", "carl"] {
        assert_eq!(in_storage(&world, user), permanent[&n(user)].items, "{user}");
    }
    world.check_contacts();
}

#[test]
fn an_account_deleted_while_contacts_are_virtual_leaves_no_open_work() {
    let mut world = world(&["ann", "bob", "carl"]);
    world.login("ann");
    world.login("bob");
    world.delete_account("bob");
    assert_eq!(given_to(&mut world, "ann"), Items::from([(n("carl"), both("G"))]));
    switch(&mut world, false);
    assert_eq!(world.host.marker.as_ref().and_then(|marker| marker.get("partings")), None);
}

#[test]
fn who_stays_a_contact_is_not_told_of_when_lists_are_converted_whoever_else_is_in_the_group() {
    let mut world = world(&["ann", "bob"]);
    world.add("g", "ghost").unwrap();
    world.login("ann");
    world.login("bob");
    world.settle();
    world.host.now += 61.0; // until nobody knows any more that ghost has no account
    world.host.forget();
    switch(&mut world, false);
    assert_eq!(world.host.count(|effect| matches!(effect, Effect::SendUnavailable(..) | Effect::Push(_))), 0);
    assert_eq!(in_storage(&world, "bob"), Items::from([(n("ann"), both("G"))]));
    assert!(world.host.sessions.values().all(|roster| roster.borrow().overlay.is_none()));
}

#[test]
fn what_was_made_of_a_virtual_contact_goes_with_the_account_also_once_contacts_are_stored() {
    let mut world = world(&["ann", "bob"]);
    world.login("bob");
    world.edit("bob", "ann", |item| item.map(|item| item.called("Pal")));
    world.remove("g", "ann").unwrap();
    world.logout("bob");
    switch(&mut world, false);
    world.delete_account("ann");
    world.settle();
    world.register("ann");
    world.add("g", "ann").unwrap();
    world.settle();
    assert_eq!(given_to(&mut world, "bob"), Items::from([(n("ann"), both("G"))]));
}

#[test]
fn a_contact_changed_for_the_session_is_whole_on_both_sides_once_contacts_are_stored() {
    let mut world = world(&["ann", "bob"]);
    world.login("ann");
    world.login("bob");
    world.engine.spare_contact(&n("bob"), &n("ann"));
    world.edit("bob", "ann", |_| Some(Item::new("from").labelled("G")));
    switch(&mut world, false);
    for (user, contact) in [("ann", "bob"), ("bob", "ann")] {
        assert_eq!(in_storage(&world, user), Items::from([(n(contact), both("G"))]), "{user}");
    }
}

#[test]
fn who_left_before_lists_are_converted_is_pushed_and_the_version_of_the_push_is_stored() {
    let mut world = world(&["ann", "bob", "carl"]);
    world.login("bob");
    world.settle();
    world.options.virtual_contacts = false;
    world.engine.set_options(world.options);
    world.delete("g").unwrap();
    world.host.forget();
    world.start();
    world.settle();
    assert!(world.host.count(|effect| matches!(effect, Effect::Push(push) if push.last)) > 0);
    let shown = world.host.sessions[&n("bob")].borrow().clone();
    assert!(shown.items.is_empty() && shown.overlay.is_none());
    assert_eq!(world.host.stored[&n("bob")].version, shown.version);
}

#[test]
fn lists_are_converted_also_if_that_cannot_be_noted_at_once() {
    let mut world = world(&["ann", "bob"]);
    world.options.virtual_contacts = false;
    world.engine.set_options(world.options);
    let load = world.engine.load(29_000_000, "");
    let store_marker = |effect: &Effect| matches!(effect, Effect::StoreMarker(_));
    let (_, struck) = world.run_struck_among(load, 0, Strike::Fail, store_marker);
    assert!(struck.is_some());
    world.host.now += 31.0;
    world.settle();
    assert_eq!(in_storage(&world, "bob"), Items::from([(n("ann"), both("G"))]));
    world.check_contacts();
}

#[test]
fn a_crash_in_the_midst_of_a_conversion_is_made_good() {
    for virtual_contacts in [true, false] {
        for place in 0..40 {
            let before = Options { virtual_contacts: !virtual_contacts, ..SHOWN };
            let mut world = World::with(before, &["ann", "bob"]).and_group("g", "G", &["ann", "bob"]);
            world.options.virtual_contacts = virtual_contacts;
            world.engine.set_options(world.options);
            world.start();
            world.host.now += 3.0;
            for _ in 0..4 {
                let work = world.engine.work();
                if world.run_struck(work, place, Strike::CrashBefore).is_some_and(|(o, _)| o == Outcome::Crashed) {
                    break;
                }
            }
            world.crash();
            world.settle();
            let expected = if virtual_contacts { Items::new() } else { Items::from([(n("bob"), both("G"))]) };
            assert_eq!(in_storage(&world, "ann"), expected, "to {virtual_contacts}, at {place}");
            assert_eq!(given_to(&mut world, "ann"), Items::from([(n("bob"), both("G"))]));
        }
    }
}

const USERS: &[&str] = &["ann", "bob", "carl"];
const NAMES: &[&str] = &["Family", "Work"];

#[derive(Clone, Copy, Debug)]
enum Act {
    Create(usize),
    Delete(usize),
    Rename(usize, usize),
    Add(usize, usize),
    Remove(usize, usize),
    Login(usize),
    Logout(usize),
    Evict(usize),
    Name(usize, usize),
    Work,
    Crash,
    Switch(bool),
}

fn act() -> impl Strategy<Value = Act> {
    let (user, group) = (0..USERS.len(), 0..NAMES.len());
    prop_oneof![
        3 => group.clone().prop_map(Act::Create),
        1 => group.clone().prop_map(Act::Delete),
        2 => (group.clone(), group.clone()).prop_map(|(g, name)| Act::Rename(g, name)),
        8 => (group.clone(), user.clone()).prop_map(|(g, u)| Act::Add(g, u)),
        4 => (group, user.clone()).prop_map(|(g, u)| Act::Remove(g, u)),
        4 => user.clone().prop_map(Act::Login),
        3 => user.clone().prop_map(Act::Logout),
        1 => user.clone().prop_map(Act::Evict),
        3 => (user.clone(), user).prop_map(|(u, c)| Act::Name(u, c)),
        2 => Just(Act::Work),
        1 => Just(Act::Crash),
        1 => any::<bool>().prop_map(Act::Switch),
    ]
}

fn play(world: &mut World, act: Act) {
    let id = |group: usize| ["g", "h"][group];
    match act {
        Act::Create(g) => drop(world.create(id(g), NAMES[g])),
        Act::Delete(g) => drop(world.delete(id(g))),
        Act::Rename(g, name) => drop(world.rename(id(g), NAMES[name])),
        Act::Add(g, u) => drop(world.add(id(g), USERS[u])),
        Act::Remove(g, u) => drop(world.remove(id(g), USERS[u])),
        Act::Login(u) => world.login(USERS[u]),
        Act::Logout(u) => world.logout(USERS[u]),
        Act::Evict(u) => world.evict(USERS[u]),
        Act::Name(u, c) if u != c && given_to(world, USERS[u]).contains_key(&n(USERS[c])) => {
            world.edit(USERS[u], USERS[c], |item| item.map(|item| item.called("Named")));
        }
        Act::Name(..) => {}
        Act::Work => world.settle(),
        Act::Crash => world.crash(),
        Act::Switch(on) if on != world.options.virtual_contacts => {
            // Options take effect for what happens afterwards.
            world.settle();
            switch(world, on);
        }
        Act::Switch(_) => {}
    }
    world.check_decency();
}

#[test]
fn after_any_history_who_logs_in_is_shown_the_members_of_the_groups() {
    let histories = (chance::population(2, USERS.len()), prop::collection::vec(act(), 1..40));
    chance::play_histories(300, 4.0, histories, |(population, acts)| {
        let mut world = World::with(SHOWN, USERS);
        world.populate(&population, &[("g", NAMES[0]), ("h", NAMES[1])], USERS);
        for act in acts {
            play(&mut world, act);
        }
        let changed = world.host.changed;
        world.settle();
        world.check_devices();
        if !world.options.virtual_contacts {
            world.check_contacts();
            return changed;
        }
        for user in USERS {
            let mut expected: BTreeMap<_, Vec<String>> = BTreeMap::new();
            for (id, info) in world.engine.groups() {
                let members = world.engine.members(id.as_bytes());
                if members.iter().any(|(member, _)| *member == n(user)) {
                    for (member, _) in members.into_iter().filter(|(member, _)| *member != n(user)) {
                        expected.entry(member).or_default().push(String::from_utf8_lossy(&info.name).into_owned());
                    }
                }
            }
            let shown = given_to(&mut world, user);
            for (contact, labels) in &expected {
                let item = shown.get(contact).unwrap_or_else(|| panic!("{contact} is not shown to {user}"));
                assert_eq!(item.subscription, "both");
                assert!(labels.iter().all(|label| item.groups.contains(label)), "{user}, {contact}: {item:?}");
            }
            let stored = in_storage(&world, user);
            for contact in expected.keys().filter(|contact| stored.contains_key(*contact)) {
                // Only what stayed from a group that was left while contacts were stored.
                assert!(world.host.saves() > 0, "{contact} is stored for {user}");
            }
        }
        changed
    });
}
