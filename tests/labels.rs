//! Labels that follow the names of groups, and the names of contacts.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use groups_internal_native::engine::{Effect, Naming, Options};
use support::*;

const EVERYBODY: &[&str] = &["ann", "bob", "carl", "dora"];

fn groups_of(item: Option<Item>) -> Vec<String> {
    item.unwrap().groups.into_iter().collect()
}

fn name_of(item: Option<Item>) -> Option<String> {
    item.unwrap().name
}

fn naming(world: &mut World, naming: Naming) {
    world.options.naming = naming;
    world.engine.set_options(world.options);
}

/// A settled group g, named G, of ann and bob, whose contacts get names.
fn named(naming: Naming) -> World {
    let mut world =
        World::with(Options { chats: true, remove_contacts: true, naming, ..Options::default() }, EVERYBODY);
    world.host.nicknames.insert(n("bob"), "Bobby".to_owned());
    world.and_group("g", "G", &["ann", "bob"])
}

#[test]
fn a_new_name_replaces_the_label_online_at_once_and_offline_later() {
    let mut world = World::with_group(&["ann", "bob", "carl"]);
    world.login("ann");
    world.settle();
    world.host.forget();
    world.rename("g", "Better").unwrap();
    assert_eq!(groups_of(world.shown("ann", "bob")), ["Better"]);
    assert_eq!(world.host.pushes().len(), 2);
    world.settle();
    for user in ["bob", "carl"] {
        assert_eq!(groups_of(world.stored(user, "ann")), ["Better"]);
    }
    assert_eq!(world.host.saves(), 3);
    world.check_devices();
}

#[test]
fn labels_follow_through_any_number_of_names_in_between() {
    for crash in [false, true] {
        let mut world = World::with_group(&["ann", "bob", "carl"]);
        world.host.unreadable.insert(n("ann"));
        for name in ["One", "Two", "G", "Three"] {
            world.rename("g", name).unwrap();
            world.settle_within(100.0);
            if crash {
                world.crash();
            }
        }
        world.host.unreadable.clear();
        world.settle_within(3000.0);
        for (user, contact) in [("ann", "bob"), ("bob", "ann"), ("carl", "ann")] {
            assert_eq!(groups_of(world.stored(user, contact)), ["Three"], "{contact} in the roster of {user}");
        }
    }
}

#[test]
fn a_name_that_is_taken_back_leaves_labels_as_they_were() {
    let mut world = World::with_group(&["ann", "bob"]);
    let before = world.host.stored.clone();
    world.rename("g", "Other").unwrap();
    world.rename("g", "G").unwrap();
    world.settle();
    assert_eq!(world.host.stored, before);
    assert_eq!(world.host.saves(), 0);
}

#[test]
fn labels_that_the_user_chose_stay_whatever_groups_are_called() {
    let mut world = World::new(EVERYBODY);
    for (contact, label) in [("bob", "G"), ("bob", "Friends"), ("dora", "G"), ("dora", "Better")] {
        let item = world.stored("ann", contact).unwrap_or_else(|| Item::new("to"));
        world.store_item("ann", contact, item.labelled(label));
    }
    let mut world = world.and_group("g", "G", &["ann", "bob", "carl"]);
    for name in ["Better", "Best"] {
        world.rename("g", name).unwrap();
        world.settle();
        world.crash();
        assert_eq!(groups_of(world.stored("ann", "dora")), ["Better", "G"], "no member's");
        assert_eq!(groups_of(world.stored("ann", "carl")), [name]);
    }
    world.settle();
    assert_eq!(groups_of(world.stored("ann", "bob")), ["Best", "Friends", "G"]);
}

#[test]
fn a_label_that_a_client_gives_after_the_group_did_is_the_users_until_the_client_takes_it_off() {
    let mut world = World::with_group(&["ann", "bob"]);
    world.login("ann");
    world.edit("ann", "dora", |_| Some(Item::new("none").labelled("G")));
    world.rename("g", "Better").unwrap();
    world.settle();
    assert_eq!(groups_of(world.stored("ann", "dora")), ["G"]);
    world.edit("ann", "bob", |item| Some(item.unwrap().labelled("G")));
    world.rename("g", "G").unwrap();
    world.rename("g", "Best").unwrap();
    world.settle();
    assert_eq!(groups_of(world.stored("ann", "bob")), ["Best", "G"]);
    world.edit("ann", "bob", |_| Some(Item::new("both").labelled("Best")));
    world.rename("g", "G").unwrap();
    world.settle();
    world.rename("g", "Better").unwrap();
    world.settle();
    assert_eq!(groups_of(world.stored("ann", "bob")), ["Better"]);
}

#[test]
fn two_groups_of_one_name_share_a_label_until_the_last_lets_it_go() {
    let mut world = World::with(Options { remove_contacts: true, ..Options::default() }, EVERYBODY);
    world.login("ann");
    let mut world = world.and_group("g", "Same", &["ann", "bob", "carl"]).and_group("h", "Same", &["ann", "bob"]);
    assert_eq!(groups_of(world.stored("ann", "bob")), ["Same"]);
    world.rename("h", "Other").unwrap();
    world.settle();
    assert_eq!(groups_of(world.stored("ann", "bob")), ["Other", "Same"]);
    assert_eq!(groups_of(world.stored("ann", "carl")), ["Same"]);
    world.rename("h", "Same").unwrap();
    world.settle();
    world.remove("h", "bob").unwrap();
    world.settle();
    assert_eq!(groups_of(world.stored("ann", "bob")), ["Same"]);
    world.delete("g").unwrap();
    world.settle();
    assert_eq!((world.stored("ann", "bob"), world.stored("ann", "carl")), (None, None));
}

#[test]
fn a_group_of_the_same_name_that_is_shared_later_is_known_to_have_brought_the_contact() {
    let mut world = World::with(Options { remove_contacts: true, ..Options::default() }, EVERYBODY);
    world.create("h", "Same").unwrap();
    let mut world = world.and_group("g", "Same", &["ann", "bob"]);
    for user in ["ann", "bob"] {
        world.add("h", user).unwrap();
    }
    world.settle();
    world.remove("g", "bob").unwrap();
    world.settle();
    world.delete("h").unwrap();
    world.settle();
    assert_eq!((world.stored("ann", "bob"), world.stored("bob", "ann")), (None, None));
}

#[test]
fn contacts_without_a_name_get_what_the_option_says() {
    for (option, bob, ann) in [
        (Naming::None, None, None),
        (Naming::Username, Some("bob"), Some("ann")),
        (Naming::Nickname, Some("Bobby"), Some("ann")),
    ] {
        let world = named(option);
        assert_eq!(name_of(world.stored("ann", "bob")).as_deref(), bob);
        assert_eq!(name_of(world.stored("bob", "ann")).as_deref(), ann);
    }
}

#[test]
fn contacts_that_are_there_get_names_when_the_option_is_switched_on() {
    let mut world = named(Naming::None);
    naming(&mut world, Naming::Nickname);
    world.login("ann");
    assert_eq!(name_of(world.shown("ann", "bob")).as_deref(), Some("Bobby"));
    world.settle();
    world.host.forget();
    world.logout("ann");
    world.login("ann");
    world.settle();
    assert_eq!(world.host.count(|e| matches!(e, Effect::FindNicknames(_) | Effect::SaveRoster(..))), 0);
}

#[test]
fn a_name_that_the_user_set_is_never_overwritten() {
    for option in [Naming::Username, Naming::Nickname] {
        let mut world = named(option);
        world.login("ann");
        world.edit("ann", "bob", |item| Some(item.unwrap().called("Robert")));
        for _ in 0..2 {
            world.remove("g", "bob").unwrap();
            world.settle();
            assert_eq!(world.stored("ann", "bob"), Some(Item::new("none").called("Robert")));
            world.add("g", "bob").unwrap();
            world.settle();
            assert_eq!(world.stored("ann", "bob"), Some(Item::new("both").called("Robert").labelled("G")));
        }
    }
}

#[test]
fn a_name_that_was_given_does_not_make_a_contact_the_users_own() {
    for option in [Naming::Username, Naming::Nickname] {
        let mut world = named(option);
        world.crash();
        world.remove("g", "bob").unwrap();
        world.settle();
        assert_eq!((world.stored("ann", "bob"), world.stored("bob", "ann")), (None, None));
    }
}

#[test]
fn a_nickname_that_is_changed_is_followed_at_the_next_login() {
    let mut world = named(Naming::Nickname);
    world.host.nicknames.insert(n("bob"), "Rob".to_owned());
    world.run(world.engine.nickname_changed(n("bob"))).unwrap();
    world.login("ann");
    world.settle();
    assert_eq!(name_of(world.shown("ann", "bob")).as_deref(), Some("Rob"));
    world.check_devices();
}

#[test]
fn many_nicknames_are_asked_for_in_portions_and_all_are_given() {
    let users: Vec<String> = (0..80).map(|number| format!("user{number}")).collect();
    let users: Vec<&str> = users.iter().map(String::as_str).collect();
    let mut world = World::with(Options { naming: Naming::Nickname, ..Options::default() }, &users);
    world.host.nicknames = users.iter().map(|user| (n(user), format!("Nick of {user}"))).collect();
    let world = world.and_group("g", "G", &users);
    for contact in &users[1..] {
        assert_eq!(name_of(world.stored(users[0], contact)), Some(format!("Nick of {contact}")));
    }
}
