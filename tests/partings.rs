//! What came with a group goes with it: contacts that are taken back, and those that are left alone.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use groups_internal_native::engine::{Effect, Engine, Operation, Options};
use support::*;

const EVERYBODY: &[&str] = &["ann", "bob", "carl", "dora"];

/// Group g, named G, of ann, bob and carl, which takes back what it brings.
fn taking_back() -> World {
    World::with(removing(), EVERYBODY).and_group("g", "G", &["ann", "bob", "carl"])
}

fn removing() -> Options {
    Options { chats: true, remove_contacts: true, ..Options::default() }
}

fn switch(world: &mut World, remove_contacts: bool) {
    world.options.remove_contacts = remove_contacts;
    world.engine.set_options(world.options);
}

fn open_partings(world: &World) -> bool {
    world.host.marker.as_ref().is_some_and(|marker| marker.get("partings").is_some())
}

/// Of these users, who has whom in storage.
fn contacts(world: &World, user: &str) -> Vec<String> {
    let roster = world.host.stored.get(&n(user)).cloned().unwrap_or_default();
    roster.items.keys().map(ToString::to_string).collect()
}

/// Bob has left g: he and the others have lost each other, and nothing is left to do.
fn check_left(world: &World) {
    assert_eq!(contacts(world, "bob"), [""; 0]);
    assert_eq!(contacts(world, "ann"), ["carl"]);
    assert_eq!(contacts(world, "carl"), ["ann"]);
    assert!(!open_partings(world));
    world.check_agreement();
    world.check_contacts();
    world.check_devices();
}

#[test]
fn who_leaves_and_the_others_lose_each_other_whoever_is_online() {
    for online in [&[][..], &["bob"], &["ann"], &["ann", "bob"], &["ann", "bob", "carl"]] {
        let mut world = taking_back();
        online.iter().for_each(|user| world.login(user));
        world.settle();
        world.host.forget();
        world.remove("g", "bob").unwrap();
        for user in online.iter().filter(|user| **user != "bob") {
            assert_eq!((world.shown(user, "bob"), world.shown("bob", user)), (None, None), "at once, {online:?}");
        }
        world.settle();
        check_left(&world);
        assert_eq!(world.host.saves(), 3, "each roster once");
    }
}

#[test]
fn those_who_saw_each_other_are_told_before_the_contact_is_gone() {
    let mut world = taking_back();
    for user in ["ann", "bob"] {
        world.login(user);
    }
    world.settle();
    world.host.forget();
    world.remove("g", "bob").unwrap();
    let told = world.host.places(|e| matches!(e, Effect::SendUnavailable(..)));
    let pushed = world.host.places(|e| matches!(e, Effect::Push(_)));
    let compared = world.host.places(|e| matches!(e, Effect::Compare(..)));
    assert!(compared.last() < told.first() && told.last() < pushed.first(), "{:?}", world.host.trace);
    for (from, to) in [("ann", "bob"), ("bob", "ann"), ("carl", "bob")] {
        let (one, other) = (n(from), n(to));
        let sent =
            |e: &Effect| matches!(e, Effect::SendUnavailable(user, all, _) if *user == one && all.contains(&other));
        assert_eq!(world.host.count(sent), 1, "{from} to {to}");
    }
    let mut pushes = world.host.pushes();
    pushes.sort();
    let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
    assert_eq!(pushes, [pair("ann", "bob"), pair("bob", "ann"), pair("bob", "carl")]);
    assert_eq!(world.host.presences(), []);
}

#[test]
fn it_is_noted_then_stored_then_told_then_taken_back() {
    let mut world = taking_back();
    world.login("ann");
    world.settle();
    world.host.forget();
    world.remove("g", "bob").unwrap();
    let first = |what: fn(&Effect) -> bool| *world.host.places(what).first().expect("it was done");
    let order = [
        first(|e| matches!(e, Effect::StoreMarker(marker) if marker.partings[&n("g")].contains(&n("bob")))),
        first(|e| matches!(e, Effect::StoreMembers(..))),
        first(|e| matches!(e, Effect::Fire(_))),
        first(|e| matches!(e, Effect::Compare(..))),
    ];
    assert!(order.is_sorted(), "{order:?}");
}

#[test]
fn a_group_that_is_deleted_takes_all_its_contacts_along() {
    let mut world = taking_back();
    world.login("ann");
    world.settle();
    world.host.forget();
    world.delete("g").unwrap();
    assert_eq!(world.shown("ann", "bob"), None);
    world.settle();
    for user in ["ann", "bob", "carl"] {
        assert_eq!(contacts(&world, user), [""; 0], "contacts of {user}");
    }
    assert_eq!(world.host.saves(), 3);
    assert!(!open_partings(&world));
    world.check_devices();
    let provenance = world.host.sessions[&n("ann")].borrow().provenance.clone();
    assert_eq!(provenance, None, "nothing is known of the group any more");
}

/// Ann has left g. Of those who are online, only ann's list has been changed: then the time of the call was used up.
fn left_in_haste() -> World {
    let mut world = taking_back();
    for user in ["ann", "bob", "carl"] {
        world.login(user);
    }
    world.settle();
    world.host.forget();
    world.host.tick = 0.05;
    world.remove("g", "ann").unwrap();
    assert_eq!(world.shown("ann", "bob"), None);
    assert!(world.shown("bob", "ann").is_some() && world.shown("carl", "ann").is_some());
    world
}

#[test]
fn a_list_that_waits_for_its_turn_is_changed_before_its_user_changes_a_subscription() {
    let mut world = left_in_haste();
    world.run(world.engine.subscription_changing(n("ann"), n("bob"))).unwrap();
    assert_eq!(world.shown("bob", "ann"), None);
    assert!(world.shown("carl", "ann").is_some(), "others have their turn");
    world.settle();
    world.check_contacts();
    world.check_devices();
}

#[test]
fn who_logs_out_before_the_lists_are_changed_is_told_of_as_one_who_is_gone() {
    let told = |world: &World, as_gone: bool| {
        let sent =
            |e: &Effect| matches!(e, Effect::SendUnavailable(user, _, gone) if *user == n("ann") && *gone == as_gone);
        world.host.count(sent) > 0
    };
    let mut world = left_in_haste();
    world.logout("ann");
    world.settle();
    assert!(told(&world, true) && !told(&world, false));
    world.check_contacts();
    // Everybody was told of everything since.
    world.login("ann");
    world.add("g", "ann").unwrap();
    world.settle();
    world.host.forget();
    world.remove("g", "ann").unwrap();
    world.settle();
    assert!(told(&world, false) && !told(&world, true));
}

#[test]
fn a_contact_that_another_group_shares_stays_without_the_label() {
    let mut world = taking_back().and_group("h", "H", &["ann", "bob"]);
    world.login("ann");
    world.settle();
    world.host.forget();
    world.remove("g", "bob").unwrap();
    world.settle();
    for (user, contact) in [("ann", "bob"), ("bob", "ann")] {
        assert_eq!(world.stored(user, contact), Some(Item::new("both").labelled("H")));
    }
    assert_eq!(contacts(&world, "bob"), ["ann"]);
    assert_eq!(world.host.count(|e| matches!(e, Effect::SendUnavailable(from, ..) if *from == n("bob"))), 0);
    world.remove("h", "bob").unwrap();
    world.settle();
    check_left(&world);
}

#[test]
fn own_contacts_go_back_to_what_they_were_on_both_sides() {
    for subscription in ["none", "to", "from", "both"] {
        for ask in [false, true] {
            let own = Item { ask, ..Item::new(subscription).labelled("Friends") };
            let mirrored = Item::new(match subscription {
                "to" => "from",
                "from" => "to",
                other => other,
            });
            for online in [false, true] {
                let mut world = World::with(removing(), &["ann", "bob"]);
                for _ in 0..2 {
                    world.store_item("ann", "bob", own.clone());
                    world.store_item("bob", "ann", mirrored.clone());
                }
                if online {
                    world.login("ann");
                }
                let mut world = world.and_group("g", "G", &["ann", "bob"]);
                assert_eq!(world.stored("ann", "bob"), Some(Item::new("both").labelled("Friends").labelled("G")));
                world.crash();
                world.remove("g", "bob").unwrap();
                world.settle();
                assert_eq!(world.stored("ann", "bob"), Some(own.clone()));
                assert_eq!(world.stored("bob", "ann"), Some(mirrored.clone()));
                world.sync("g");
                world.login("ann");
                assert_eq!(world.shown("ann", "bob"), Some(own.clone()), "once is enough");
            }
        }
    }
}

#[test]
fn what_a_user_has_named_or_put_into_a_group_stays_without_a_subscription() {
    let mut world = taking_back();
    world.login("ann");
    world.edit("ann", "bob", |item| Some(item.unwrap().called("Bobby")));
    world.edit("ann", "carl", |item| Some(item.unwrap().labelled("Friends")));
    world.delete("g").unwrap();
    world.settle();
    assert_eq!(world.stored("ann", "bob"), Some(Item::new("none").called("Bobby")));
    assert_eq!(world.stored("ann", "carl"), Some(Item::new("none").labelled("Friends")));
    assert_eq!(contacts(&world, "bob"), [""; 0], "the other side had made nothing of it");
    world.check_devices();
}

#[test]
fn labels_that_a_client_takes_off_do_not_make_a_contact_the_users_own() {
    let mut world = taking_back();
    world.login("ann");
    world.edit("ann", "bob", |_| Some(Item::new("both")));
    world.remove("g", "bob").unwrap();
    world.settle();
    check_left(&world);
}

#[test]
fn a_contact_that_a_client_takes_off_and_adds_again_is_the_users_own() {
    let mut world = taking_back();
    world.login("ann");
    world.edit("ann", "bob", |_| Some(Item::new("both")));
    world.take_off("ann", "bob");
    world.edit("ann", "bob", |_| Some(Item { ask: true, ..Item::new("none") }));
    world.logout("ann");
    world.login("ann");
    assert_eq!(world.shown("ann", "bob"), Some(Item::new("both").labelled("G")));
    world.remove("g", "bob").unwrap();
    world.settle();
    assert_eq!(world.stored("ann", "bob"), Some(Item { ask: true, ..Item::new("none") }));
}

#[test]
fn an_own_contact_whose_other_side_has_ended_it_meanwhile_is_not_subscribed_again() {
    let mut world = World::with(removing(), &["ann", "bob"]);
    for (user, contact) in [("ann", "bob"), ("ann", "bob"), ("bob", "ann"), ("bob", "ann")] {
        world.store_item(user, contact, Item::new("both"));
    }
    let mut world = world.and_group("g", "G", &["ann", "bob"]);
    world.login("ann");
    world.login("bob");
    world.take_off("bob", "ann");
    world.remove("g", "bob").unwrap();
    world.settle();
    assert_eq!(world.stored("ann", "bob"), Some(Item::new("none")));
    assert_eq!(world.stored("bob", "ann"), None);
}

#[test]
fn a_clients_edit_of_another_contact_does_not_cost_an_own_one_if_the_server_dies() {
    for row_writes in [false, true] {
        let mut world = World::with(Options { row_writes, ..removing() }, EVERYBODY);
        for _ in 0..2 {
            world.store_item("ann", "bob", Item::new("from"));
        }
        let mut world = world.and_group("g", "G", &["ann", "bob", "carl"]);
        world.login("ann");
        world.remove("g", "bob").unwrap();
        world.edit("ann", "carl", |item| Some(item.unwrap().called("Carlo")));
        assert_eq!(world.stored("ann", "bob").unwrap().subscription, "both", "only the other is in storage");
        world.crash();
        world.settle();
        assert_eq!(world.stored("ann", "bob"), Some(Item::new("from")));
        assert!(!open_partings(&world));
    }
}

#[test]
fn what_an_own_contact_was_is_still_known_after_a_save_while_its_account_was_not_found() {
    let mut world = World::with(removing(), EVERYBODY);
    for _ in 0..2 {
        world.store_item("bob", "ann", Item::new("from"));
    }
    let mut world = world.and_group("g", "G", &["ann", "bob", "carl"]);
    world.login("bob");
    world.remove("g", "ann").unwrap();
    world.edit("bob", "carl", |item| Some(item.unwrap().called("Carlo")));
    world.kill();
    world.host.accounts.remove(&n("ann"));
    world.start();
    world.add("g", "ann").unwrap();
    world.add("g", "dora").unwrap();
    world.settle_within(10.0);
    assert_eq!(world.stored("bob", "dora").unwrap().subscription, "both", "the list was saved");
    world.register("ann");
    world.settle();
    world.remove("g", "ann").unwrap();
    world.settle();
    assert_eq!(world.stored("bob", "ann"), Some(Item::new("from")));
}

#[test]
fn a_label_that_the_user_chose_is_no_reason_to_take_a_contact() {
    let mut world = World::with(removing(), EVERYBODY);
    for contact in ["bob", "dora"] {
        world.store_item("ann", contact, Item::new("to").labelled("G"));
    }
    let mut world = world.and_group("g", "G", &["ann", "bob", "carl"]);
    for _ in 0..2 {
        world.remove("g", "bob").unwrap();
        world.settle();
        assert_eq!(world.stored("ann", "bob"), Some(Item::new("to").labelled("G")));
        world.add("g", "bob").unwrap();
        world.settle();
    }
    world.delete("g").unwrap();
    world.settle();
    assert_eq!(world.stored("ann", "bob"), Some(Item::new("to").labelled("G")));
    assert_eq!(world.stored("ann", "dora"), Some(Item::new("to").labelled("G")));
    assert_eq!(world.stored("ann", "carl"), None);
}

#[test]
fn who_comes_back_before_the_others_are_settled_is_a_contact_as_before() {
    let mut world = taking_back();
    world.remove("g", "bob").unwrap();
    world.add("g", "bob").unwrap();
    world.settle();
    world.check_contacts();
    assert!(!open_partings(&world));
    world.remove("g", "bob").unwrap();
    world.settle();
    check_left(&world);
}

#[test]
fn a_burst_of_removals_is_noted_as_it_grows_and_costs_one_save_for_each_roster() {
    let users: Vec<String> = (0..20).map(|number| format!("user{number}")).collect();
    let users: Vec<&str> = users.iter().map(String::as_str).collect();
    let mut world = World::with(removing(), &users).and_group("g", "G", &users);
    for user in &users[5..] {
        world.remove("g", user).unwrap();
    }
    world.settle();
    assert_eq!(world.host.saves(), 20);
    for user in &users {
        let expected = if users[..5].contains(user) { 4 } else { 0 };
        assert_eq!(contacts(&world, user).len(), expected, "contacts of {user}");
    }
    assert!(!open_partings(&world));
}

/// Ann and bob are in groups g0 to g99, and nothing is open.
fn in_many_groups() -> World {
    let mut world = World::with(removing(), EVERYBODY);
    for id in many_groups() {
        world.create(&id, &id).unwrap();
        for user in ["ann", "bob"] {
            world.add(&id, user).unwrap();
        }
    }
    world.settle();
    world.host.forget();
    world
}

fn remove_all(world: &mut World, ids: &[String], user: &str) {
    for id in ids {
        world.remove(id, user).unwrap();
    }
}

fn many_groups() -> Vec<String> {
    (0..100).map(|number| format!("g{number}")).collect()
}

#[test]
fn removals_from_many_groups_or_of_many_members_write_the_marker_a_few_times_only() {
    let writes = |world: &World| world.host.count(|e| matches!(e, Effect::StoreMarker(_)));
    let mut world = in_many_groups();
    remove_all(&mut world, &many_groups(), "bob");
    assert!(writes(&world) < 15, "{} writes", writes(&world));
    remove_all(&mut world, &many_groups(), "ann");
    assert!(writes(&world) < 15, "{} writes", writes(&world));
    world.settle();
    assert!(!open_partings(&world));

    let users: Vec<String> = (0..100).map(|number| format!("user{number}")).collect();
    let users: Vec<&str> = users.iter().map(String::as_str).collect();
    let mut world = World::with(removing(), &users).and_group("g", "G", &users);
    world.settle();
    world.host.forget();
    for user in &users {
        world.remove("g", user).unwrap();
    }
    assert!(writes(&world) < 15, "{} writes", writes(&world));
    world.settle();
    assert!(!open_partings(&world));
}

#[test]
fn removals_that_the_marker_has_foreseen_are_finished_after_a_crash_and_others_have_never_been() {
    for left in [1, 7, 8, 9, 40, 99, 100] {
        let mut world = in_many_groups();
        remove_all(&mut world, &many_groups()[..left], "bob");
        world.crash();
        world.settle();
        let labels = |user, contact| world.stored(user, contact).map_or(0, |item| item.groups.len());
        assert_eq!((labels("ann", "bob"), labels("bob", "ann")), (100 - left, 100 - left));
        assert!(!open_partings(&world));
        world.check_contacts();
    }
}

#[test]
fn what_the_marker_has_foreseen_does_not_count_for_who_leaves_when_the_option_is_off() {
    let mut world = in_many_groups();
    remove_all(&mut world, &many_groups()[..9], "bob");
    let marker = world.host.marker.clone().unwrap();
    assert!(marker.get("partings").and_then(|partings| partings.get("g9")).is_some(), "{marker:?}");
    switch(&mut world, false);
    world.remove("g9", "bob").unwrap();
    world.crash();
    world.settle();
    let item = world.stored("ann", "bob").unwrap();
    assert!(item.groups.contains("g9") && !item.groups.contains("g8"), "{item:?}");
}

#[test]
fn a_removal_that_changes_no_roster_saves_none() {
    let mut world = taking_back();
    world.add("g", "nobody").unwrap();
    world.settle();
    world.host.forget();
    world.remove("g", "nobody").unwrap();
    world.remove("g", "dora").unwrap();
    world.settle();
    assert_eq!(world.host.saves(), 0);
    assert_eq!(world.host.pushes(), []);
    assert!(!open_partings(&world));
}

#[test]
fn a_removal_that_cannot_be_stored_takes_nothing_back() {
    for area in ["members", "marker"] {
        let mut world = taking_back();
        world.login("ann");
        world.settle();
        world.host.down.insert(area);
        assert!(world.remove("g", "bob").is_err());
        assert!(world.shown("ann", "bob").is_some());
        world.settle_within(30.0);
        world.host.down.clear();
        world.settle_within(3000.0);
        world.check_contacts();
        assert!(world.stored("bob", "ann").is_some());
        assert!(!open_partings(&world), "{area}");
    }
}

#[test]
fn a_removal_that_failed_is_forgotten_when_the_option_is_off_at_the_next() {
    let mut world = taking_back();
    world.host.down.insert("members");
    assert!(world.remove("g", "bob").is_err());
    world.host.down.clear();
    switch(&mut world, false);
    world.remove("g", "bob").unwrap();
    world.settle();
    assert_eq!(contacts(&world, "bob"), ["ann", "carl"]);
    assert_eq!(contacts(&world, "ann"), ["bob", "carl"]);
    assert!(!open_partings(&world));
}

#[test]
fn without_the_option_nothing_is_noted_and_nothing_taken_back() {
    let mut world = taking_back();
    switch(&mut world, false);
    world.login("ann");
    world.settle();
    world.host.forget();
    let before = world.host.stored.clone();
    world.remove("g", "bob").unwrap();
    assert_eq!(world.host.count(|effect| matches!(effect, Effect::StoreMarker(_))), 0);
    world.delete("g").unwrap();
    assert!(!open_partings(&world));
    world.settle();
    let items = |stored: &std::collections::BTreeMap<_, Roster>| {
        stored
            .iter()
            .map(|(user, roster): (&groups_internal_native::engine::Name, _)| (user.clone(), roster.items.clone()))
            .collect::<Vec<_>>()
    };
    assert_eq!(items(&world.host.stored), items(&before));
    assert_eq!(world.host.saves(), 0);
}

#[test]
fn what_was_begun_is_finished_though_the_option_is_switched_off() {
    for crash in [false, true] {
        let mut world = taking_back();
        world.remove("g", "bob").unwrap();
        switch(&mut world, false);
        if crash {
            world.crash();
        }
        world.settle();
        check_left(&world);
    }
}

#[test]
fn who_leaves_with_the_option_off_loses_those_who_left_before_also_after_a_crash() {
    for crash in [false, true] {
        let mut world = taking_back();
        world.remove("g", "bob").unwrap();
        switch(&mut world, false);
        world.remove("g", "carl").unwrap();
        if crash {
            world.crash();
        }
        world.settle();
        assert_eq!(["ann", "bob", "carl"].map(|user| contacts(&world, user)), [vec!["carl"], vec![], vec!["ann"]]);
    }
}

#[test]
fn an_unreadable_roster_is_settled_when_it_can_be_read() {
    let mut world = taking_back();
    world.host.unreadable.insert(n("ann"));
    world.remove("g", "bob").unwrap();
    world.settle_within(100.0);
    assert!(open_partings(&world));
    assert_eq!(contacts(&world, "carl"), ["ann"]);
    world.crash();
    world.settle_within(100.0);
    assert!(open_partings(&world));
    world.host.unreadable.clear();
    world.settle_within(3000.0);
    check_left(&world);
}

#[test]
fn a_directory_that_is_down_does_not_keep_contacts_from_being_taken_back_in_the_end() {
    let mut world = taking_back();
    world.crash();
    world.host.directory_down = true;
    world.remove("g", "bob").unwrap();
    world.settle_within(3000.0);
    assert!(open_partings(&world), "Prosody saves no roster whose account it does not know");
    world.host.directory_down = false;
    world.settle_within(3000.0);
    check_left(&world);
}

fn cut_off_everywhere(strikes: &[Strike], what: fn(&Engine) -> Operation) {
    let mut trials = Trials::default();
    for (&strike, row_writes) in strikes.iter().flat_map(|strike| [(strike, false), (strike, true)]) {
        for at in 0.. {
            let mut world = World::with(Options { row_writes, ..removing() }, EVERYBODY);
            world.store_item("carl", "bob", Item::new("from"));
            let mut world = world.and_group("g", "G", &["ann", "bob", "carl"]);
            world.login("ann");
            world.login("bob");
            world.settle();
            let operation = what(&world.engine);
            let Some((_, effect)) = world.run_struck(operation, at, strike) else { break };
            if strike == Strike::DropAfter && !can_wait(&effect) {
                continue;
            }
            trials.attempt(&format!("{strike:?} at effect {at} (rows: {row_writes}): {effect:?}"), || {
                match strike {
                    Strike::CrashBefore | Strike::CrashAfter => world.start(),
                    _ => drop(world.run(what(&world.engine))),
                }
                world.settle_within(3000.0);
                let members = world.members("g");
                for (user, contact) in
                    [("ann", "bob"), ("ann", "carl"), ("bob", "ann"), ("bob", "carl"), ("carl", "ann")]
                {
                    let share = [user, contact].iter().all(|user| members.iter().any(|member| member == user));
                    assert_eq!(world.stored(user, contact).is_some(), share, "{contact} in the roster of {user}");
                }
                let own = if members.len() == 3 { Item::new("both").labelled("G") } else { Item::new("from") };
                assert_eq!(world.stored("carl", "bob"), Some(own));
                assert!(!open_partings(&world));
                world.check_contacts();
            });
        }
    }
    trials.judge();
}

#[test]
fn a_removal_that_is_cut_off_anywhere_is_finished_or_has_never_been() {
    let strikes = [Strike::CrashBefore, Strike::CrashAfter, Strike::DropBefore, Strike::DropAfter];
    cut_off_everywhere(&strikes, |engine| engine.remove_member(given("g"), given("bob")));
}

#[test]
fn a_deletion_that_is_cut_off_anywhere_is_finished_or_has_never_been() {
    let strikes = [Strike::CrashBefore, Strike::CrashAfter, Strike::DropBefore, Strike::DropAfter];
    cut_off_everywhere(&strikes, |engine| engine.delete(given("g")));
}

#[test]
fn prosody_itself_unsubscribes_a_deleted_account_from_a_friend_made_since_a_group_let_go() {
    let mut world = taking_back();
    world.login("ann");
    world.login("bob");
    world.remove("g", "bob").unwrap();
    for (user, contact) in [("ann", "bob"), ("bob", "ann")] {
        world.edit(user, contact, |_| Some(Item::new("both")));
    }
    world.host.forget();
    world.delete_account("bob");
    let departs = |effect: &Effect| matches!(effect, Effect::Depart(_, contacts) if contacts.contains(&n("ann")));
    assert_eq!(world.host.count(departs), 0);
}

#[test]
fn a_contact_that_a_user_removed_and_made_anew_is_still_found_when_the_account_is_deleted() {
    let mut world = World::with(Options::default(), EVERYBODY).and_group("g", "G", &["ann", "bob"]);
    world.login("ann");
    world.delete("g").unwrap();
    world.take_off("ann", "bob");
    world.edit("ann", "bob", |_| Some(Item::new("none").labelled("Mine")));
    world.settle();
    assert!(world.stored("bob", "ann").is_some());
    world.host.forget();
    world.delete_account("ann");
    let departs = |effect: &Effect| matches!(effect, Effect::Depart(_, contacts) if contacts.contains(&n("bob")));
    assert_eq!(world.host.count(departs), 0, "it is the user's own, and Prosody unsubscribes");
    world.settle();
    assert_eq!(world.stored("bob", "ann"), None);
}

#[test]
fn who_joins_after_somebody_has_left_keeps_that_one_as_another_group_has_left_it_behind() {
    let mut world = World::with(Options { remove_contacts: false, ..removing() }, EVERYBODY)
        .and_group("g", "Work", &["bob", "dora"])
        .and_group("k", "Work", &["ann", "bob"]);
    world.remove("g", "dora").unwrap();
    world.settle();
    switch(&mut world, true);
    world.remove("k", "bob").unwrap();
    world.add("k", "dora").unwrap();
    world.settle();
    assert_eq!(contacts(&world, "bob"), ["dora"], "who was in g with bob, and never in k");
    assert_eq!(contacts(&world, "dora"), ["ann", "bob"]);
    assert_eq!(contacts(&world, "ann"), ["dora"]);
    // Who leaves next has been there with both.
    world.remove("k", "ann").unwrap();
    world.settle();
    assert_eq!(contacts(&world, "dora"), ["bob"]);
    assert!(!open_partings(&world));
}
