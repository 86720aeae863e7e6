//! Roster versions: a number never stands for two contents, and a client that was away misses nothing.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use groups_internal_native::engine::{Effect, Reply, Step, Value};
use support::*;

fn version(world: &World, user: &str) -> u64 {
    world.host.sessions[&n(user)].borrow().version.unwrap()
}

/// A group of ann and bob; ann has a client that keeps its roster.
fn with_device() -> World {
    let mut world = World::with_group(&["ann", "bob"]);
    world.login("ann");
    world.settle();
    world.host.accounts.extend([n("carl"), n("dora")]);
    world
}

/// Ann's client logs in again and must show what the server has.
fn log_in_again(world: &mut World) {
    world.logout("ann");
    world.login("ann");
    world.check_devices();
    world.settle();
    world.check_devices();
    world.check_decency();
}

#[test]
fn a_client_that_was_away_gets_the_new_contact_at_its_next_login() {
    let mut world = with_device();
    world.logout("ann");
    world.add("g", "carl").unwrap();
    world.settle();
    world.login("ann");
    world.check_devices();
    world.check_decency();
}

#[test]
fn the_empty_roster_is_served_as_1_and_its_first_change_is_another_number() {
    let mut world = World::new(&["ann", "bob"]);
    world.login("ann");
    assert_eq!(world.host.devices[&n("ann")].version, Some(1));
    world.logout("ann");
    world.create("g", "G").unwrap();
    world.add("g", "ann").unwrap();
    world.add("g", "bob").unwrap();
    world.login("ann");
    world.check_devices();
    assert!(version(&world, "ann") > 1);
}

#[test]
fn a_version_lost_in_a_crash_is_not_given_out_again() {
    let mut world = with_device();
    world.add("g", "carl").unwrap();
    let lost = version(&world, "ann");
    world.crash();
    world.remove("g", "carl").unwrap();
    world.add("g", "dora").unwrap();
    world.login("ann");
    world.check_devices();
    world.settle();
    assert!(version(&world, "ann") > lost);
    world.check_devices();
    world.check_decency();
}

#[test]
fn each_start_takes_a_generation_of_its_own_before_any_roster_is_changed() {
    let mut world = with_device();
    let mut last = version(&world, "ann");
    for _ in 0..3 {
        world.host.forget();
        world.crash();
        let stored = world.host.places(|e| matches!(e, Effect::StoreMarker(_)));
        let changed = world.host.places(|e| matches!(e, Effect::Compare(..)));
        assert!(changed.iter().all(|change| change > &stored[0]));
        world.rename("g", &format!("Name {last}")).unwrap();
        world.login("ann");
        assert!(version(&world, "ann") >= last + (1 << 23));
        last = version(&world, "ann");
    }
    assert!(last < 1 << 53, "Lua must be able to count it");
}

#[test]
fn a_damaged_record_of_open_work_brings_back_no_version_however_often_it_is_damaged() {
    for also_after_the_crash in [false, true] {
        let mut world = with_device();
        world.host.marker = Some(Value::text(b"rubbish"));
        world.crash();
        world.login("ann");
        world.add("g", "carl").unwrap();
        world.check_devices();
        if also_after_the_crash {
            world.host.marker = Some(Value::text(b"rubbish"));
            world.minutes += 1;
        }
        world.crash();
        world.remove("g", "carl").unwrap();
        world.add("g", "dora").unwrap();
        world.settle();
        world.login("ann");
        world.check_devices();
        world.check_decency();
    }
}

#[test]
fn a_version_whose_save_failed_and_was_lost_with_the_session_is_not_given_out_again() {
    for thrown in [false, true] {
        let mut world = with_device();
        world.add("g", "carl").unwrap();
        world.host.now += 3.0;
        let work = world.engine.work();
        let strike = if thrown { Strike::Throw } else { Strike::Fail };
        world.run_struck_among(work, 0, strike, |e| matches!(e, Effect::SaveRoster(user, ..) if *user == n("ann")));
        // A second client is told the version that the failed save has made.
        world.login("ann");
        world.host.down.insert("save");
        world.logout("ann");
        world.host.down.clear();
        world.remove("g", "carl").unwrap();
        world.add("g", "dora").unwrap();
        world.login("ann");
        world.check_devices();
        world.settle();
        world.check_devices();
        world.check_decency();
    }
}

#[test]
fn a_client_that_edits_a_roster_whose_changes_are_unsaved_misses_nothing_after_a_crash() {
    let mut world = with_device();
    world.add("g", "carl").unwrap();
    world.name_contact("ann", "bob", "Bobby");
    world.crash();
    world.login("ann");
    world.check_devices();
    world.settle();
    world.check_contacts();
    world.check_devices();
}

#[test]
fn a_roster_that_lost_its_unsaved_changes_with_the_group_has_a_version_of_its_own() {
    let mut world = with_device();
    world.host.down.insert("save");
    world.add("g", "carl").unwrap();
    world.settle_within(30.0);
    world.logout("ann");
    world.remove("g", "carl").unwrap();
    world.host.down.clear();
    world.login("ann");
    world.check_devices();
    for name in ["One", "Two", "Three", "Four", "Five", "Six", "Seven", "Eight"] {
        world.name_contact("ann", "bob", name);
        world.check_decency();
    }
    log_in_again(&mut world);
}

#[test]
fn a_client_cut_off_between_two_pushes_of_one_change_gets_the_rest() {
    let users: Vec<String> = (0..30).map(|number| format!("user{number}")).collect();
    let mut users: Vec<&str> = users.iter().map(String::as_str).collect();
    users.push("ann");
    for cut_after in 1..5 {
        let mut world = World::new(&users);
        world.login("ann");
        world.create("g", "G").unwrap();
        for user in &users {
            world.add_delayed("g", user).unwrap();
        }
        let mut sync = world.engine.sync(given("g"));
        let (mut reply, mut pushed) = (Reply::Done, 0);
        while let Step::Effect(effect) = sync.resume(world.host.now, reply) {
            reply = world.host.perform(&effect, None);
            pushed += usize::from(matches!(&effect, Effect::Push(push) if push.user == n("ann")));
            if pushed == cut_after {
                break;
            }
        }
        drop(sync);
        // The client is back before the server has noticed that it was gone.
        world.host.interested.clear();
        world.login("ann");
        world.check_devices();
        world.settle();
        world.check_devices();
        log_in_again(&mut world);
    }
}

#[test]
fn a_new_account_of_an_old_name_is_not_given_the_versions_of_the_old_one() {
    let mut world = World::new(&["ann", "bob", "carl"]);
    world.create("g", "G").unwrap();
    world.create("h", "H").unwrap();
    world.add("g", "bob").unwrap();
    world.add("h", "carl").unwrap();
    world.settle();
    world.add("g", "ann").unwrap();
    world.login("ann");
    let old_device = world.host.devices[&n("ann")].clone();
    world.delete_account("ann");
    world.register("ann");
    world.host.devices.insert(n("ann"), old_device);
    world.add("h", "ann").unwrap();
    world.login("ann");
    world.check_devices();
    world.settle();
    world.check_contacts();
}
