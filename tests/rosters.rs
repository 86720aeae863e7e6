//! Contact lists: what is changed, when, how often it is saved, and what is left alone.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use groups_internal_native::engine::{Change, Effect, Options};
use support::*;

#[test]
fn a_burst_of_changes_costs_one_save_for_each_roster() {
    let mut world = World::new(&["ann", "bob", "carl", "dora"]);
    world.create("g", "G").unwrap();
    world.login("ann");
    for user in ["ann", "bob", "carl", "dora"] {
        world.add("g", user).unwrap();
    }
    world.rename("g", "Better").unwrap();
    world.settle();
    assert_eq!(world.host.saves(), 4);
    world.check_contacts();
    world.check_devices();
}

#[test]
fn a_burst_writes_the_record_of_open_work_once_and_clears_it_once() {
    let mut world = World::with_group(&["ann", "bob", "carl", "dora"]);
    for number in 0..10 {
        world.add("g", &format!("new{number}")).unwrap();
        world.rename("g", &format!("Name {number}")).unwrap();
    }
    assert_eq!(world.host.count(|e| matches!(e, Effect::StoreMarker(_))), 1);
    world.settle();
    assert_eq!(world.host.count(|e| matches!(e, Effect::StoreMarker(_))), 2);
}

#[test]
fn a_settled_sync_has_no_effect_at_all() {
    let mut world = World::with_group(&["ann", "bob", "carl"]);
    world.login("ann");
    world.settle();
    world.host.forget();
    for group in ["g", "unknown"] {
        world.sync(group);
    }
    assert_eq!(world.host.trace, []);
    assert_eq!(world.engine.next_work(world.host.now), None);
}

#[test]
fn a_login_of_a_settled_user_reads_and_changes_nothing() {
    let mut world = World::with_group(&["ann", "bob", "carl"]);
    world.login("ann");
    world.logout("ann");
    world.host.forget();
    world.login("ann");
    world.settle();
    let heavy = |e: &Effect| match e {
        Effect::Compare(..) | Effect::CheckStamp(..) | Effect::FindAccounts(_) => false,
        Effect::Change(_, change) => *change != Change { stamp: change.stamp, ..Change::default() },
        _ => true,
    };
    assert_eq!(world.host.count(heavy), 0, "{:?}", world.host.trace);
    assert_eq!(world.host.pushes(), []);
}

#[test]
fn a_delayed_add_starts_no_work_and_a_sync_completes_it() {
    let mut world = World::with_group(&["ann", "bob"]);
    world.login("ann");
    world.settle();
    world.host.accounts.insert(n("carl"));
    world.host.forget();
    world.add_delayed("g", "carl").unwrap();
    world.settle();
    assert_eq!(world.shown("ann", "carl"), None);
    let touched = |e: &Effect| matches!(e, Effect::LoadRoster(_) | Effect::Compare(..) | Effect::SaveRoster(..));
    assert_eq!(world.host.count(touched), 0);
    world.sync("g");
    assert_eq!(world.shown("ann", "carl").unwrap().subscription, "both");
    world.settle();
    world.check_contacts();
    world.check_devices();
}

#[test]
fn a_member_whose_delayed_add_is_followed_by_an_ordinary_one_is_completed() {
    let mut world = World::with_group(&["ann", "bob"]);
    world.host.accounts.insert(n("carl"));
    world.add_delayed("g", "carl").unwrap();
    world.settle();
    world.add("g", "carl").unwrap();
    world.settle();
    world.check_contacts();
}

#[test]
fn both_see_each_other_after_the_sync_where_one_has_had_the_other_before() {
    let mut world = World::with_group(&["ann", "bob"]);
    world.login("ann");
    world.host.accounts.insert(n("carl"));
    world.add_delayed("g", "carl").unwrap();
    world.login("carl");
    world.settle();
    assert_eq!((world.shown("ann", "carl"), world.shown("carl", "ann").is_some()), (None, true));
    world.host.forget();
    world.sync("g");
    let presences = world.host.presences();
    assert!(presences.contains(&("carl".into(), "ann".into())), "{presences:?}");
    assert!(presences.contains(&("ann".into(), "carl".into())), "{presences:?}");
}

#[test]
fn a_delayed_member_is_completed_after_a_crash_before_the_sync() {
    let mut world = World::with_group(&["ann", "bob"]);
    world.host.accounts.insert(n("carl"));
    world.add_delayed("g", "carl").unwrap();
    world.crash();
    world.settle();
    world.check_contacts();
}

#[test]
fn an_item_that_is_there_keeps_its_name_and_groups_and_becomes_clean() {
    let mut world = World::new(&["ann", "bob", "carl", "dora", "ed"]);
    let asked = Item { ask: true, ..Item::new("none") };
    world.store_item("ann", "bob", Item::new("to").called("Bobby").labelled("Friends"));
    world.store_item("ann", "carl", asked);
    world.store_item("ann", "dora", Item::new("from"));
    world.store_item("ann", "friend", Item::new("none").called("Not of any group"));
    world.host.stored.get_mut(&n("ann")).unwrap().pending.insert(n("ed"));
    let mut world = world.and_group("g", "G", &["ann", "bob", "carl", "dora", "ed"]);
    assert_eq!(
        world.stored("ann", "bob").unwrap(),
        Item::new("both").called("Bobby").labelled("Friends").labelled("G")
    );
    assert_eq!(world.stored("ann", "friend").unwrap(), Item::new("none").called("Not of any group"));
    world.check_contacts();
    world.login("ann");
    world.settle();
    assert_eq!(world.host.saves(), 0);
}

#[test]
fn a_pending_request_goes_without_a_push() {
    let mut world = World::with_group(&["ann", "bob"]);
    world.host.stored.get_mut(&n("ann")).unwrap().pending.insert(n("bob"));
    world.login("ann");
    world.settle();
    assert_eq!(world.host.pushes(), []);
    assert_eq!(world.host.saves(), 1);
    world.check_contacts();
}

#[test]
fn presence_is_sent_only_where_it_could_not_be_seen_before() {
    let mut world = World::new(&["ann", "bob"]);
    world.store_item("ann", "bob", Item::new("to"));
    world.store_item("bob", "ann", Item::new("from"));
    world.login("ann");
    world.login("bob");
    world.create("g", "G").unwrap();
    world.add("g", "ann").unwrap();
    world.add("g", "bob").unwrap();
    assert_eq!(world.host.presences(), [("ann".to_owned(), "bob".to_owned())]);
}

#[test]
fn two_groups_label_a_contact_with_both_names_and_leave_it_with_the_one() {
    let mut world = World::with_group(&["ann", "bob"]).and_group("h", "H", &["ann", "bob", "carl"]);
    let groups = world.stored("ann", "bob").unwrap().groups;
    assert!(groups.contains("G") && groups.contains("H"));
    world.remove("g", "bob").unwrap();
    world.settle();
    assert!(world.stored("ann", "bob").unwrap().groups.contains("H"));
}

#[test]
fn nobody_is_a_contact_of_oneself() {
    let world = World::with_group(&["ann"]).and_group("h", "H", &["ann", "bob"]);
    world.check_decency();
    assert_eq!(world.stored("ann", "ann"), None);
}

#[test]
fn a_roster_in_the_cache_is_changed_too_for_a_login_takes_it_over() {
    let mut world = World::with_group(&["ann", "bob"]);
    world.login("ann");
    world.logout("ann");
    let roster = world.host.read(&n("ann"));
    world.host.cache.insert(n("ann"), std::rc::Rc::new(std::cell::RefCell::new(roster)));
    world.host.accounts.insert(n("carl"));
    world.add("g", "carl").unwrap();
    assert!(world.host.cache[&n("ann")].borrow().items.contains_key(&n("carl")));
    world.login("ann");
    world.check_devices();
}

#[test]
fn a_roster_that_only_background_work_brought_in_leaves_the_cache_again() {
    let mut world = World::with_group(&["ann", "bob", "carl"]);
    world.login("ann");
    world.rename("g", "Better").unwrap();
    world.settle();
    assert!(world.host.cache.is_empty());
    assert!(world.host.sessions.contains_key(&n("ann")));
}

#[test]
fn unsaved_changes_are_saved_at_the_last_logout() {
    let mut world = World::with_group(&["ann", "bob"]);
    world.login("ann");
    world.settle();
    world.host.accounts.insert(n("carl"));
    world.add("g", "carl").unwrap();
    assert_eq!(world.stored("ann", "carl"), None);
    world.logout("ann");
    assert!(world.stored("ann", "carl").is_some());
    assert_eq!(world.host.saves(), 1);
}

#[test]
fn unsaved_changes_are_saved_before_a_stop_as_far_as_time_allows() {
    let mut world = World::with_group(&["ann", "bob", "carl"]);
    for user in ["ann", "bob", "carl"] {
        world.login(user);
    }
    world.settle();
    world.rename("g", "Better").unwrap();
    world.host.forget();
    world.run(world.engine.flush(0.0)).unwrap();
    assert_eq!(world.host.saves(), 0);
    world.run(world.engine.flush(5.0)).unwrap();
    assert_eq!(world.host.saves(), 3);
    world.check_contacts();
    world.host.forget();
    world.run(world.engine.flush(5.0)).unwrap();
    assert_eq!(world.host.saves(), 0);
    world.crash();
    world.settle();
    assert_eq!(world.host.saves(), 0, "nothing was left open");
}

#[test]
fn on_row_storage_a_single_new_contact_is_saved_as_its_row() {
    let mut world = World::on_rows(&["ann", "bob", "carl"]).and_group("g", "G", &["ann", "bob"]);
    world.login("ann");
    world.add("g", "carl").unwrap();
    world.settle();
    let rows = world.host.count(|e| matches!(e, Effect::SaveRoster(_, Some(contact), _) if *contact == n("carl")));
    assert_eq!((rows, world.host.saves()), (2, 3));
    world.check_contacts();
    world.rename("g", "Better").unwrap();
    world.host.forget();
    world.settle();
    assert_eq!(
        world.host.count(|e| matches!(e, Effect::SaveRoster(_, Some(_), _))),
        0,
        "more than one contact changed"
    );
    world.check_contacts();
}

#[test]
fn a_broken_roster_is_left_alone_and_stops_nobody_and_is_settled_when_it_can_be_read() {
    let mut world = World::with_group(&["ann", "bob", "carl"]);
    let before = world.host.stored[&n("bob")].clone();
    world.host.unreadable.insert(n("bob"));
    world.rename("g", "Better").unwrap();
    world.settle_within(500.0);
    assert!(world.stored("ann", "bob").unwrap().groups.contains("Better"));
    assert!(world.stored("carl", "bob").unwrap().groups.contains("Better"));
    assert_eq!(world.host.stored[&n("bob")].items, before.items);
    assert!(!world.host.cache.contains_key(&n("bob")), "Prosody would serve it broken");
    let complaints = world.host.complaints();
    assert_eq!(complaints.len(), 1, "{complaints:?}");
    assert!(complaints[0].contains("bob"));
    let tries = world.host.count(|e| matches!(e, Effect::LoadRoster(user) if *user == n("bob")));
    assert!((3..12).contains(&tries), "{tries} tries in 500 s");
    world.host.unreadable.clear();
    world.settle();
    world.check_contacts();
    assert_eq!(world.host.complaints().len(), 1);
}

#[test]
fn a_broken_roster_in_the_cache_is_released_when_its_user_logs_in() {
    let mut world = World::with_group(&["ann", "bob"]);
    let broken = Roster { broken: true, ..Roster::default() };
    world.host.cache.insert(n("ann"), std::rc::Rc::new(std::cell::RefCell::new(broken)));
    world.host.unreadable.insert(n("ann"));
    world.login("ann");
    assert!(!world.host.cache.contains_key(&n("ann")));
    world.logout("ann");
    world.host.unreadable.clear();
    world.login("ann");
    world.settle();
    world.check_contacts();
}

#[test]
fn storage_that_does_not_save_is_tried_again_with_growing_pauses_and_one_warning_each() {
    let mut world = World::with_group(&["ann", "bob"]);
    world.login("ann");
    world.settle();
    world.host.forget();
    world.host.down.insert("save");
    world.rename("g", "Better").unwrap();
    world.settle_within(3000.0);
    assert!((4..40).contains(&world.host.saves()), "{} tries", world.host.saves());
    assert_eq!(world.host.complaints().len(), 2);
    world.host.down.clear();
    world.settle();
    world.check_contacts();
    world.check_devices();
}

#[test]
fn a_contact_taken_off_by_its_user_is_spared_until_the_next_login() {
    let mut world = World::with_group(&["ann", "bob", "carl"]);
    world.login("ann");
    world.settle();
    world.take_off("ann", "bob");
    world.rename("g", "Better").unwrap();
    world.host.accounts.insert(n("dora"));
    world.add("g", "dora").unwrap();
    world.sync("g");
    world.settle();
    assert_eq!(world.shown("ann", "bob"), None);
    assert!(world.shown("ann", "dora").is_some());
    world.logout("ann");
    world.login("ann");
    assert_eq!(world.shown("ann", "bob").unwrap().subscription, "both");
    world.settle();
    world.check_contacts();
}

#[test]
fn a_list_that_lacks_its_counterpart_is_found_though_another_group_waits_for_a_sync() {
    let mut world = World::with_group(&["ann", "bob"]);
    world.create("h", "H").unwrap();
    world.login("ann");
    world.login("bob");
    world.settle();
    world.take_off("ann", "bob");
    world.settle();
    world.kill();
    world.start();
    world.settle();
    world.add_delayed("h", "ann").unwrap();
    assert_eq!(world.stored("bob", "ann").unwrap().subscription, "none");
    world.login("ann");
    world.settle();
    assert_eq!(world.stored("bob", "ann").unwrap().subscription, "both");
    world.check_contacts();
}

#[test]
fn a_list_that_lacks_its_counterpart_is_found_though_the_two_share_another_group_that_waits_for_a_sync() {
    let mut world = World::with_group(&["ann", "bob"]);
    world.create("h", "H").unwrap();
    world.settle();
    // What Prosody leaves of it when ann cancels bob's subscription.
    world.host.stored.get_mut(&n("ann")).unwrap().items.get_mut(&n("bob")).unwrap().subscription = "to";
    world.host.stored.get_mut(&n("bob")).unwrap().items.get_mut(&n("ann")).unwrap().subscription = "from";
    world.crash();
    for user in ["ann", "bob"] {
        world.add_delayed("h", user).unwrap();
    }
    world.login("ann");
    world.settle();
    assert_eq!(world.stored("bob", "ann").unwrap().subscription, "both");
}

#[test]
fn a_contact_taken_off_comes_back_when_a_second_client_logs_in() {
    let mut world = World::with_group(&["ann", "bob"]);
    world.login("ann");
    world.settle();
    world.take_off("ann", "bob");
    world.login("ann");
    assert!(world.shown("ann", "bob").is_some());
    world.settle();
    world.check_devices();
}

#[test]
fn rosters_of_sessions_that_were_online_before_the_module_are_taken_in() {
    let mut world = World::with_group(&["ann", "bob"]);
    let table = |world: &World| std::rc::Rc::new(std::cell::RefCell::new(world.host.read(&n("ann"))));
    world.host.stored.remove(&n("ann"));
    let session = table(&world);
    world.kill();
    world.host.sessions.insert(n("ann"), session);
    world.start();
    assert!(world.shown("ann", "bob").is_some());
    world.settle();
    world.check_contacts();
}

#[test]
fn a_roster_whose_version_another_module_keeps_true_stays_so() {
    let mut world = World::with_group(&["ann", "bob"]);
    let virtual_roster = Roster { virtual_version: true, ..Roster::default() };
    world.host.sessions.insert(n("ann"), std::rc::Rc::new(std::cell::RefCell::new(virtual_roster)));
    world.login("ann");
    world.settle();
    assert!(world.shown("ann", "bob").is_some());
    assert_eq!(world.host.sessions[&n("ann")].borrow().version, None);
}

#[test]
fn background_work_leaves_the_server_time_between_its_turns() {
    let users: Vec<String> = (0..40).map(|number| format!("user{number}")).collect();
    let users: Vec<&str> = users.iter().map(String::as_str).collect();
    let mut world = World::with(Options { chats: false, row_writes: false, ..Options::default() }, &users)
        .and_group("g", "G", &users);
    world.host.tick = 0.002;
    world.rename("g", "Better").unwrap();
    let (began, mut worked, mut longest) = (world.host.now, 0.0_f64, 0.0_f64);
    while let Some(delay) = world.engine.next_work(world.host.now) {
        world.host.now += delay;
        let start = world.host.now;
        world.run(world.engine.work()).unwrap();
        worked += world.host.now - start;
        longest = longest.max(world.host.now - start);
    }
    assert!(longest < 0.02, "one turn took {longest} s");
    assert!(world.host.now - began > 1.8 * worked, "{worked} s of {} s", world.host.now - began);
    world.check_contacts();
}

#[test]
fn a_contact_that_a_user_took_off_the_list_has_the_user_back_as_well_though_it_is_offline() {
    for crash in [false, true] {
        let mut world = World::with_group(&["ann", "bob", "carl"]);
        world.settle();
        // What Prosody leaves of it when ann removes bob.
        world.host.stored.get_mut(&n("ann")).unwrap().items.remove(&n("bob"));
        world.host.stored.get_mut(&n("bob")).unwrap().items.get_mut(&n("ann")).unwrap().subscription = "none";
        world.login("ann");
        if crash {
            world.host.now += 3.0;
            world.run(world.engine.work()).unwrap();
            world.crash();
        }
        world.settle();
        world.check_contacts();
    }
}

#[test]
fn a_contact_taken_off_the_list_while_a_group_is_open_anyway_has_the_user_back_after_the_next_login() {
    let mut world = World::with_group(&["ann", "bob", "carl"]);
    world.login("ann");
    world.settle();
    world.host.accounts.insert(n("dora"));
    world.add_delayed("g", "dora").unwrap();
    world.engine.spare_contact(&n("ann"), &n("bob"));
    world.host.sessions[&n("ann")].borrow_mut().items.remove(&n("bob"));
    world.host.stored.get_mut(&n("bob")).unwrap().items.get_mut(&n("ann")).unwrap().subscription = "none";
    world.run(world.engine.user_appeared(n("ann"))).unwrap();
    world.settle();
    assert_eq!(world.stored("ann", "bob").unwrap().subscription, "both");
    assert_eq!(world.stored("bob", "ann").unwrap().subscription, "both");
}

#[test]
fn a_list_that_lacks_its_counterpart_is_found_while_lists_of_their_only_group_are_open() {
    for (left, removes) in [("none", true), ("from", false)] {
        let mut world = World::with_group(&["ann", "bob", "carl"]);
        world.login("ann");
        world.settle();
        // What Prosody leaves of it when ann removes bob, or cancels the subscription.
        if removes {
            world.take_off("ann", "bob");
        } else {
            world.host.stored.get_mut(&n("ann")).unwrap().items.get_mut(&n("bob")).unwrap().subscription = "to";
        }
        world.host.stored.get_mut(&n("bob")).unwrap().items.get_mut(&n("ann")).unwrap().subscription = left;
        world.crash();
        world.settle();
        world.host.accounts.insert(n("dora"));
        world.add_delayed("g", "dora").unwrap();
        world.login("ann");
        world.settle();
        assert_eq!(world.stored("bob", "ann").unwrap().subscription, "both", "where it was {left}");
    }
}

#[test]
fn a_member_who_got_an_account_just_before_a_kill_can_be_taken_off_the_list() {
    let mut world = World::with_group(&["ann", "bob"]);
    world.add("g", "carl").unwrap();
    world.settle();
    world.login("ann");
    world.register("carl");
    world.logout("ann");
    world.crash();
    assert!(world.host.marker.as_ref().unwrap().get("awaiting").is_some());
    world.login("ann");
    world.take_off("ann", "carl");
    world.settle();
    assert_eq!(world.shown("ann", "carl"), None);
}

#[test]
fn what_was_kept_from_a_group_is_saved_also_if_it_was_left_before_that() {
    let mut world = World::new(&["ann", "bob"]);
    world.login("ann");
    world.login("bob");
    world.create("g", "G").unwrap();
    world.add("g", "ann").unwrap();
    world.add("g", "bob").unwrap();
    world.remove("g", "bob").unwrap();
    world.logout("bob");
    world.settle();
    for (user, contact) in [("ann", "bob"), ("bob", "ann")] {
        assert_eq!(world.stored(user, contact), Some(Item::new("both").labelled("G")));
    }
}

#[test]
fn background_work_that_has_waited_long_for_storage_goes_on_soon() {
    let mut world = World::with_group(&["ann", "bob", "carl"]);
    world.rename("g", "Better").unwrap();
    world.host.now += 10.0;
    world.host.tick = 60.0;
    let began = world.host.now;
    world.run(world.engine.work()).unwrap();
    world.host.tick = 1e-5;
    assert!(world.host.now >= began + 60.0 && world.engine.status().unsettled > 0, "all of it was done, or nothing");
    assert!(world.engine.next_work(world.host.now).unwrap() < 2.0);
    world.settle();
    world.check_contacts();
}
