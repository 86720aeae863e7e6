//! Accounts that are not there yet, not there any more, or there again.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use groups_internal_native::engine::{
    Answer, Effect, Engine, Error, Info, Operation, Options, Problem, Reply, Step, Value,
};
use support::*;

#[test]
fn a_member_without_an_account_is_stored_but_nobodys_contact_until_it_appears() {
    let mut world = World::with_group(&["ann", "bob"]);
    world.login("ann");
    assert_eq!(world.add("g", "carl"), Ok(Answer::Done));
    world.settle();
    assert_eq!(world.members("g"), ["ann", "bob", "carl"]);
    assert_eq!((world.shown("ann", "carl"), world.stored("bob", "carl")), (None, None));
    world.sync("g");
    world.settle();
    assert_eq!(world.shown("ann", "carl"), None);
    world.register("carl");
    assert!(world.shown("ann", "carl").is_some());
    world.settle();
    world.check_contacts();
    world.check_devices();
}

#[test]
fn an_account_that_nobody_told_of_takes_part_from_its_first_login_or_the_next_sync() {
    for by_login in [true, false] {
        let mut world = World::with_group(&["ann", "bob"]);
        world.login("ann");
        world.add("g", "carl").unwrap();
        world.settle();
        world.crash();
        world.host.accounts.insert(n("carl"));
        if by_login {
            world.login("carl")
        } else {
            world.sync("g")
        }
        world.settle();
        world.check_contacts();
    }
}

#[test]
fn a_roster_loaded_before_anybody_was_asked_gets_only_contacts_that_have_accounts() {
    let mut world = World::with_group(&["ann"]);
    world.add("g", "ghost").unwrap();
    world.host.accounts.insert(n("bob"));
    world.add_delayed("g", "bob").unwrap();
    world.crash();
    world.login("ann");
    assert_eq!(world.shown("ann", "ghost"), None);
    assert!(world.shown("ann", "bob").is_some());
    world.settle();
    world.check_contacts();
}

#[test]
fn contacts_that_are_there_are_not_asked_about() {
    let mut world = World::with_group(&["ann", "bob", "carl"]);
    world.crash();
    world.login("ann");
    world.settle();
    let asked: Vec<_> = world
        .host
        .trace
        .iter()
        .filter_map(|effect| match effect {
            Effect::FindAccounts(users) => Some(users.clone()),
            _ => None,
        })
        .collect();
    assert_eq!(asked, [names(&["ann"])]);
}

#[test]
fn a_directory_that_is_down_takes_nobody_out_and_puts_nobody_in() {
    let mut world = World::with_group(&["ann", "bob", "carl"]);
    world.crash();
    world.host.directory_down = true;
    world.host.accounts.insert(n("dora"));
    let before = world.host.stored.clone();
    world.add("g", "dora").unwrap();
    world.rename("g", "Better").unwrap();
    world.sync("g");
    world.settle();
    for (user, roster) in &before {
        let now: Vec<_> = world.host.stored[user].items.keys().collect();
        assert_eq!(now, roster.items.keys().collect::<Vec<_>>(), "contacts of {user}");
    }
    world.host.directory_down = false;
    world.sync("g");
    world.settle();
    world.check_contacts();
    assert!(world.stored("dora", "ann").is_some());
}

#[test]
fn a_save_that_prosody_skipped_because_the_directory_was_down_is_made_up_for() {
    let mut world = World::with_group(&["ann", "bob"]);
    world.login("ann");
    world.rename("g", "Better").unwrap();
    world.host.directory_down = true;
    world.settle();
    world.host.directory_down = false;
    world.sync("g");
    world.settle();
    world.check_contacts();
}

#[test]
fn a_deleted_account_leaves_groups_chats_and_contact_lists() {
    let mut world = World::new(&["ann", "bob", "carl"]);
    world.create_with_chat("g", "G").unwrap();
    for user in ["ann", "bob", "carl"] {
        world.add("g", user).unwrap();
    }
    world.login("ann");
    world.settle();
    world.host.forget();
    world.delete_account("carl");
    assert_eq!(world.shown("ann", "carl"), None, "in memory at once");
    assert_eq!(world.host.told(), ["-carl"]);
    assert_eq!(world.members("g"), ["ann", "bob"]);
    assert!(!world.host.rooms[&b"room1@chats"[..]].members.contains(&n("carl")));
    assert_eq!(world.host.pushes(), [("ann".to_owned(), "carl".to_owned())]);
    assert_eq!(
        world.host.count(|e| matches!(e, Effect::Depart(user, left) if *user == n("carl") && left.len() == 2)),
        1
    );
    world.settle();
    world.check_agreement();
    world.check_contacts();
    world.check_devices();
}

#[test]
fn withdrawals_survive_a_crash_before_they_are_saved() {
    let mut world = World::with_group(&["ann", "bob", "carl"]);
    world.login("ann");
    world.delete_account("carl");
    world.crash();
    world.settle();
    world.check_contacts();
    assert_eq!(world.host.marker.as_ref().unwrap().get("withdrawals"), None, "it is struck off");
}

#[test]
fn a_friend_that_is_deleted_loses_the_subscription_where_a_crash_undid_that() {
    for remade in [false, true] {
        let mut world = World::new(&["ann", "carl"]);
        world.store_item("ann", "carl", Item::new("both"));
        let mut world = world.and_group("g", "G", &["ann"]);
        world.add("g", "carl").unwrap();
        world.delete_account("carl");
        world.crash();
        if remade {
            world.register("carl");
        }
        world.settle();
        assert_eq!(world.stored("ann", "carl"), Some(Item::new("none")), "made again: {remade}");
    }
}

#[test]
fn a_crash_gives_no_new_account_the_subscription_of_the_one_before_when_groups_let_go_of_it() {
    let options = Options { remove_contacts: true, ..Options::default() };
    let mut world = World::with(options, &["ann", "carl"]);
    world.store_item("ann", "carl", Item::new("both"));
    let mut world = world.and_group("g", "G", &["ann"]);
    world.add("g", "carl").unwrap();
    world.delete_account("carl");
    world.crash();
    world.register("carl");
    world.add("g", "carl").unwrap();
    world.settle();
    assert_eq!(world.stored("ann", "carl").map(|item| item.subscription), Some("both"));
    world.remove("g", "carl").unwrap();
    world.settle();
    assert_eq!(world.stored("ann", "carl"), Some(Item::new("none")));
}

#[test]
fn a_deleted_account_whose_removal_fails_in_storage_is_taken_out_later() {
    for crash in [false, true] {
        let mut world = World::with_group(&["ann", "bob", "carl"]);
        world.host.down.insert("members");
        world.delete_account("carl");
        assert_eq!(world.members("g"), ["ann", "bob", "carl"]);
        assert_eq!(world.host.complaints().len(), 2, "{:?}", world.host.log);
        world.host.down.clear();
        if crash {
            world.crash();
        }
        world.settle_within(60.0);
        assert_eq!(world.members("g"), ["ann", "bob"]);
        assert_eq!(world.host.told(), ["-carl"]);
        world.check_agreement();
        world.check_contacts();
        assert_eq!(world.host.marker.as_ref().unwrap().get("departures"), None, "it is struck off");
    }
}

#[test]
fn a_deleted_account_that_was_not_taken_out_but_is_added_again_stays() {
    let mut world = World::with_group(&["ann", "carl"]);
    world.host.down.insert("members");
    world.delete_account("carl");
    world.host.down.clear();
    world.register("carl");
    world.remove("g", "carl").unwrap();
    world.add("g", "carl").unwrap();
    world.settle_within(60.0);
    assert_eq!(world.members("g"), ["ann", "carl"]);
    world.check_contacts();
}

#[test]
fn an_account_made_again_under_the_same_name_is_a_contact_again_when_it_is_added() {
    for crash in [false, true] {
        let mut world = World::with_group(&["ann", "bob", "carl"]);
        world.login("ann");
        world.delete_account("carl");
        if crash {
            world.crash();
        }
        world.register("carl");
        assert_eq!(world.shown("ann", "carl"), None);
        world.add("g", "carl").unwrap();
        if crash {
            world.crash();
        } else {
            assert!(world.shown("ann", "carl").is_some());
        }
        world.settle();
        world.check_contacts();
    }
}

#[test]
fn a_deleted_account_that_is_added_again_without_one_is_nobodys_contact() {
    let mut world = World::with_group(&["ann", "bob", "carl"]);
    world.delete_account("carl");
    world.add("g", "carl").unwrap();
    world.settle();
    world.check_contacts();
    assert_eq!(world.stored("ann", "carl"), None);
}

#[test]
fn the_deletion_of_an_account_that_no_group_knows_changes_nothing() {
    let mut world = World::with_group(&["ann"]);
    world.delete_account("stranger");
    assert_eq!(
        world.host.count(|e| *e == Effect::Depart(n("stranger"), vec![])),
        1,
        "it may have been in groups before"
    );
    assert!(world.host.stores_nothing());
}

#[test]
fn a_member_whose_withdrawals_wait_for_an_account_does_not_keep_the_group_open() {
    let mut world = World::with_group(&["ann", "bob"]);
    world.add("g", "ghost").unwrap();
    world.settle();
    world.delete_account("bob");
    world.settle_within(100.0);
    world.host.forget();
    world.sync("g");
    let heavy = |e: &Effect| !matches!(e, Effect::FindAccounts(_));
    assert_eq!(world.host.count(heavy), 0, "{:?}", world.host.trace);
}

// Accounts that were deleted while nobody was looking.

/// Group g of ann, bob and carl, whose account was deleted while the server was down; `ed` is to get one.
fn deleted_behind_our_back() -> World {
    let mut world = World::with_group(&["ann", "bob", "carl"]);
    world.add("g", "ed").unwrap();
    world.settle();
    world.kill();
    world.host.lose_account("carl");
    world.start();
    world.settle();
    world
}

fn problems(world: &mut World, operation: fn(&Engine) -> Operation) -> Vec<Problem> {
    match world.run(operation(&world.engine)) {
        Ok(Answer::Problems(problems)) => problems,
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_account_deleted_while_the_server_was_down_is_reported_and_mended_and_one_to_come_is_not() {
    let mut world = deleted_behind_our_back();
    let found = [Problem::AccountMissing { user: n("carl"), groups: names(&["g"]) }];
    assert_eq!(problems(&mut world, Engine::check), found);
    assert_eq!(world.members("g"), ["ann", "bob", "carl", "ed"], "a check changes nothing");
    assert_eq!(problems(&mut world, Engine::repair), found);
    world.settle_within(100.0);
    assert_eq!(world.members("g"), ["ann", "bob", "ed"]);
    assert_eq!((world.stored("ann", "carl"), world.stored("bob", "carl")), (None, None));
    assert_eq!(problems(&mut world, Engine::check), []);
    world.check_agreement();
    world.check_contacts();
}

#[test]
fn a_directory_that_is_down_has_nobody_taken_for_deleted() {
    let mut world = deleted_behind_our_back();
    world.host.accounts.clear();
    assert_eq!(problems(&mut world, Engine::repair), []);
    world.host.down.insert("accounts");
    assert_eq!(world.run(world.engine.repair()), Err(Error::Internal));
    assert_eq!(world.members("g"), ["ann", "bob", "carl", "ed"]);
    assert_eq!(world.host.complaints().len(), 1);
}

#[test]
fn a_chat_without_a_room_is_reported_and_leaves_its_group() {
    let mut world = World::new(&["ann"]);
    world.create_with_chat("g", "G").unwrap();
    world.add_chat("g", "More").unwrap();
    let jid: Box<[u8]> = (*b"room1@chats").into();
    world.host.rooms.remove(&jid[..]);
    let found = [Problem::ChatMissing { id: n("g"), jid: jid.clone() }];
    assert_eq!(problems(&mut world, Engine::check), found);
    world.host.forget();
    assert_eq!(problems(&mut world, Engine::repair), found);
    assert_eq!(world.host.told(), ["-chat"]);
    assert_eq!(world.engine.info(b"g").unwrap().rooms().len(), 1);
    assert_eq!(problems(&mut world, Engine::check), []);
    world.check_agreement();
}

#[test]
fn a_chat_whose_room_lets_others_in_is_reported_and_gets_its_settings_again() {
    let mut world = World::new(&["ann"]);
    world.create_with_chat("g", "G").unwrap();
    let jid: Box<[u8]> = (*b"room1@chats").into();
    world.host.rooms.get_mut(&jid[..]).unwrap().opened = true;
    let found = [Problem::ChatChanged { id: n("g"), jid: jid.clone(), settings: vec!["members_only"] }];
    assert_eq!(problems(&mut world, Engine::check), found);
    assert_eq!(problems(&mut world, Engine::repair), found);
    assert_eq!(problems(&mut world, Engine::check), []);
    assert!(!world.host.rooms[&jid[..]].opened);
}

#[test]
fn what_storage_rooms_and_contact_lists_have_otherwise_is_reported_and_mended() {
    let mut world = World::with_group(&["ann", "bob"]);
    world.settle_within(100.0);
    world.create_with_chat("c", "C").unwrap();
    world.add("c", "ann").unwrap();
    world.settle_within(100.0);
    assert_eq!(problems(&mut world, Engine::check), []);
    let jid = world.engine.info(b"c").unwrap().rooms()[0].clone();
    world.host.rooms.get_mut(&jid[..]).unwrap().members.clear();
    let found = [Problem::AffiliationsDiffer { id: n("c"), jid, users: vec![n("ann@localhost")] }];
    assert_eq!(problems(&mut world, Engine::check), found);
    assert_eq!(problems(&mut world, Engine::repair), found);
    assert_eq!(problems(&mut world, Engine::check), []);
    world.check_agreement();
    world.check_rooms();
    world.check_contacts();
}

#[test]
fn an_account_deleted_behind_the_running_servers_back_is_mended_as_well() {
    let mut world = World::with_group(&["ann", "bob", "carl"]);
    world.settle_within(100.0);
    world.host.lose_account("carl");
    let found = [Problem::AccountMissing { user: n("carl"), groups: names(&["g"]) }];
    assert_eq!(problems(&mut world, Engine::repair), found);
    world.settle_within(100.0);
    assert_eq!(world.members("g"), ["ann", "bob"]);
    assert_eq!((world.stored("ann", "carl"), world.stored("bob", "carl")), (None, None));
    assert_eq!(problems(&mut world, Engine::check), []);
}

#[test]
fn what_contact_lists_keep_of_a_deleted_account_that_is_in_no_group_is_reported_and_withdrawn() {
    let mut world = World::with_group(&["ann", "bob", "carl"]);
    world.settle_within(100.0);
    world.remove("g", "carl").unwrap();
    world.settle_within(100.0);
    assert!(world.stored("ann", "carl").is_some(), "contacts are permanent");
    assert_eq!(problems(&mut world, Engine::check), []);
    world.kill();
    world.host.lose_account("carl");
    world.start();
    world.settle();
    let found = [Problem::AccountLeftOver { user: n("carl"), owners: names(&["ann", "bob"]) }];
    assert_eq!(problems(&mut world, Engine::check), found);
    assert_eq!(problems(&mut world, Engine::repair), found);
    world.settle_within(100.0);
    assert_eq!((world.stored("ann", "carl"), world.stored("bob", "carl")), (None, None));
    assert_eq!(problems(&mut world, Engine::check), []);
    world.check_agreement();
    world.check_contacts();
}

#[test]
fn a_group_that_only_storage_has_is_reported_and_taken_in() {
    let mut world = World::with_group(&["ann", "bob", "carl"]);
    world.settle_within(100.0);
    let (info, members) = (world.host.infos[&n("g")].clone(), world.host.members[&n("g")].clone());
    world.host.infos.insert(n("h"), info);
    world.host.members.insert(n("h"), members);
    assert_eq!(problems(&mut world, Engine::check), [Problem::GroupUnknown { id: n("h") }]);
    assert!(!world.engine.exists(b"h"));
    assert_eq!(problems(&mut world, Engine::repair), [Problem::GroupUnknown { id: n("h") }]);
    assert_eq!(world.members("h"), ["ann", "bob", "carl"]);
    world.settle_within(100.0);
    assert_eq!(problems(&mut world, Engine::check), []);
    world.check_agreement();
    world.check_contacts();
}

#[test]
fn contact_lists_that_wait_for_a_sync_are_no_problem() {
    let mut world = World::new(&["ann", "bob"]);
    world.create("g", "G").unwrap();
    world.add_delayed("g", "ann").unwrap();
    world.add_delayed("g", "bob").unwrap();
    world.settle();
    assert_eq!(problems(&mut world, Engine::check), []);
}

// Groups that have the name of an account.

/// A group `sales` of ann and bob, and an account `sales`.
fn namesake() -> World {
    World::new(&["ann", "bob", "sales"]).and_group("sales", "Sales", &["ann", "bob"])
}

/// Everything up to the purge, without what is done after it.
fn deleted_and_purged() -> World {
    let mut world = namesake();
    world.host.lose_account("sales");
    world.run(world.engine.account_deleted(n("sales"))).unwrap();
    assert!(copies(&world).is_some());
    world
}

/// What the next start would restore.
fn copies(world: &World) -> Option<&Value> {
    world.host.marker.as_ref().unwrap().get("copies")
}

fn survived(world: &World, members: &[&str]) {
    assert_eq!(world.members("sales"), members);
    assert_eq!(world.host.infos[&n("sales")].get("name"), Some(&Value::text(b"Sales")));
    world.check_agreement();
}

#[test]
fn a_group_survives_the_purge_of_an_account_of_its_name() {
    let mut world = namesake();
    world.delete_account("sales");
    survived(&world, &["ann", "bob"]);
    world.settle();
    assert_eq!(copies(&world), None);
}

#[test]
fn a_group_survives_a_purge_that_is_late() {
    for late in [0.5, 5.0] {
        let mut world = deleted_and_purged();
        world.settle_within(late);
        world.purge("sales");
        world.settle();
        survived(&world, &["ann", "bob"]);
        assert_eq!(copies(&world), None, "late by {late}");
    }
}

#[test]
fn a_group_survives_a_crash_between_the_purge_and_its_restoration() {
    let mut world = deleted_and_purged();
    world.purge("sales");
    world.crash();
    survived(&world, &["ann", "bob"]);
    world.settle();
    world.crash();
    survived(&world, &["ann", "bob"]);
    assert_eq!(copies(&world), None);
}

#[test]
fn a_member_with_the_name_of_its_group_leaves_it_and_the_group_survives() {
    let mut world = namesake();
    world.add("sales", "sales").unwrap();
    world.settle();
    world.delete_account("sales");
    survived(&world, &["ann", "bob"]);
    world.settle();
    world.check_contacts();
}

type Change = fn(&Engine) -> groups_internal_native::engine::Operation;

#[test]
fn what_changes_in_an_endangered_group_survives_the_crash_as_well() {
    let changes: [(&str, Change, &[&str]); 2] = [
        ("add", |e| e.add_member(given("sales"), given("carl"), false), &["ann", "bob", "carl"]),
        ("remove", |e| e.remove_member(given("sales"), given("bob")), &["ann"]),
    ];
    for (name, change, members) in changes {
        for purged_before in [true, false] {
            for row_writes in [true, false] {
                eprintln!("{name}, purged before: {purged_before}, rows: {row_writes}");
                let mut world = deleted_and_purged();
                world.options.row_writes = row_writes;
                world.engine.set_options(world.options);
                if purged_before {
                    world.purge("sales");
                }
                world.run(change(&world.engine)).unwrap();
                if !purged_before {
                    world.purge("sales");
                }
                world.crash();
                survived(&world, members);
            }
        }
    }
}

#[test]
fn an_endangered_group_that_is_deleted_does_not_come_back() {
    for crash in [false, true] {
        let mut world = deleted_and_purged();
        world.delete("sales").unwrap();
        if crash {
            world.crash();
        } else {
            world.settle();
        }
        assert!(!world.engine.exists(b"sales"), "crash: {crash}");
        world.check_agreement();
    }
}

#[test]
fn a_restoration_that_storage_refuses_is_tried_again_at_the_next_start() {
    let mut world = deleted_and_purged();
    world.purge("sales");
    world.host.down.insert("info");
    world.settle_within(60.0);
    assert_eq!(world.host.complaints().len(), 1);
    world.host.down.clear();
    world.crash();
    survived(&world, &["ann", "bob"]);
    assert_eq!(Info::from_value(world.host.infos[&n("sales")].clone()).rooms().len(), 0);
}

#[test]
fn an_account_that_was_made_and_added_again_stays_a_member_after_a_crash() {
    let mut world = World::with_group(&["ann", "bob"]);
    world.delete_account("bob");
    world.add("g", "bob").unwrap();
    world.crash();
    world.register("bob");
    world.settle();
    assert_eq!(world.members("g"), ["ann", "bob"]);
    world.check_contacts();
}

#[test]
fn an_account_that_is_deleted_while_it_is_added_is_taken_out_again() {
    for many in [false, true] {
        let mut world = World::with_group(&["ann"]);
        world.host.accounts.insert(n("bob"));
        let mut add = match many {
            false => world.engine.add_member(Some(b"g"), Some(b"bob"), false),
            true => world.engine.add_members(Some(b"g"), Some(&[Some(b"bob")]), false),
        };
        let mut reply = Reply::Done;
        let stored = loop {
            match add.resume(world.host.now, reply) {
                Step::Effect(effect @ (Effect::StoreMember(..) | Effect::StoreMembers(..))) => break effect,
                Step::Effect(effect) => reply = world.host.perform(&effect, None),
                _ => panic!("nothing is stored"),
            }
        };
        world.delete_account("bob");
        let mut reply = world.host.perform(&stored, None);
        while let Step::Effect(effect) = add.resume(world.host.now, reply) {
            reply = world.host.perform(&effect, None);
        }
        world.settle();
        assert_eq!(world.engine.members(b"g").len(), 1, "{many}");
        world.check_agreement();
    }
}
