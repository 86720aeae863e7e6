//! Whose a contact is: at the first start after the Lua module, when its provenance is lost, and when its account is
//! deleted.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use groups_internal_native::engine::{Info, Options, Value};
use support::*;

const EVERYBODY: &[&str] = &["ann", "bob", "carl", "dora"];

fn removing() -> Options {
    Options { chats: true, remove_contacts: true, ..Options::default() }
}

fn taking_back() -> World {
    World::with(removing(), EVERYBODY).and_group("g", "G", &["ann", "bob", "carl"])
}

fn open_partings(world: &World) -> bool {
    world.host.marker.as_ref().is_some_and(|marker| marker.get("partings").is_some())
}

fn contacts(world: &World, user: &str) -> Vec<String> {
    world.host.stored[&n(user)].items.keys().map(ToString::to_string).collect()
}

/// Data of the Lua module: group g of ann and bob, who have each other with its label, and contacts of their own.
fn from_lua() -> World {
    let mut world = World::stopped(removing(), EVERYBODY);
    world.host.infos.insert(n("g"), Info::named((*b"G").into()).to_value());
    world.host.members.insert(n("g"), [(n("ann"), Value::Bool(true)), (n("bob"), Value::Bool(true))].into());
    for (user, contact) in [("ann", "bob"), ("bob", "ann")] {
        world.store_item(user, contact, Item::new("both").labelled("G"));
        world.store_item(user, "carl", Item::new("both").labelled("Friends"));
    }
    world
}

#[test]
fn what_the_lua_module_has_labelled_counts_as_the_groups_at_first_sight() {
    let mut world = from_lua();
    world.start();
    world.settle();
    world.crash();
    world.remove("g", "bob").unwrap();
    world.settle();
    for user in ["ann", "bob"] {
        assert_eq!(world.stored(user, "carl"), Some(Item::new("both").labelled("Friends")));
    }
    assert_eq!((world.stored("ann", "bob"), world.stored("bob", "ann")), (None, None));
}

#[test]
fn an_unlabelled_contact_counts_as_the_users_own_at_first_sight() {
    let mut world = from_lua();
    world.store_item("ann", "bob", Item::new("from"));
    world.start();
    world.settle();
    world.remove("g", "bob").unwrap();
    world.settle();
    assert_eq!(world.stored("ann", "bob"), Some(Item::new("from")));
}

#[test]
fn a_roster_that_has_lost_its_provenance_later_is_never_touched() {
    let mut world = taking_back();
    for roster in world.host.stored.values_mut() {
        roster.provenance = None;
    }
    world.host.cache.clear();
    world.remove("g", "bob").unwrap();
    world.settle();
    assert_eq!(contacts(&world, "bob"), ["ann", "carl"]);
    assert_eq!(contacts(&world, "ann"), ["bob", "carl"]);
    world.settle();
    assert!(!open_partings(&world));
}

#[test]
fn a_deleted_account_leaves_no_ghost_with_who_has_left_a_moment_ago() {
    let mut world = taking_back();
    world.host.unreadable.insert(n("ann"));
    world.remove("g", "ann").unwrap();
    world.login("carl");
    world.settle_within(5.0);
    world.delete_account("carl");
    world.host.unreadable.clear();
    world.settle_within(3000.0);
    for user in ["ann", "bob"] {
        assert_eq!(world.stored(user, "carl"), None, "in the roster of {user}");
    }
}

#[test]
fn a_deleted_account_leaves_the_lists_of_those_it_was_left_with_for_good() {
    for renamed in [false, true] {
        let mut world = World::with_group(&["ann", "bob", "carl"]);
        world.remove("g", "bob").unwrap();
        if renamed {
            world.rename("g", "Other").unwrap();
            world.settle();
        }
        world.settle();
        world.delete_account("bob");
        world.settle();
        for user in ["ann", "carl"] {
            assert_eq!(world.stored(user, "bob"), None, "in the roster of {user}");
        }
    }
}

#[test]
fn a_deleted_account_that_is_somebodys_own_contact_stays_without_a_subscription() {
    let mut world = World::new(EVERYBODY);
    for _ in 0..2 {
        world.store_item("ann", "bob", Item::new("from"));
    }
    let mut world = world.and_group("g", "G", &["ann", "bob", "carl"]);
    world.delete_account("bob");
    world.settle();
    assert_eq!(world.stored("ann", "bob"), Some(Item::new("none")));
    assert_eq!(world.stored("carl", "bob"), None);
}
