//! The record of open work, and starts on all sorts of data.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use groups_internal_native::engine::{Answer, Effect, Error, Info, Marker, Options, Value};
use support::*;

fn marker(world: &World) -> Marker {
    Marker::from_value(world.host.marker.as_ref().unwrap()).unwrap()
}

/// What the Lua module has left: groups, and no record of open work.
fn from_the_lua_module(world: &mut World) {
    for (id, members) in [("g", ["ann", "bob"]), ("h", ["bob", "carl"])] {
        world.host.infos.insert(n(id), Info::named(id.as_bytes().into()).to_value());
        let members = members.map(|user| (n(user), Value::Bool(true)));
        world.host.members.insert(n(id), members.into());
    }
}

fn stopped() -> World {
    World::stopped(Options { chats: true, row_writes: false, ..Options::default() }, &["ann", "bob", "carl"])
}

#[test]
fn data_of_the_lua_module_is_settled_once() {
    let mut world = stopped();
    from_the_lua_module(&mut world);
    world.start();
    assert!(marker(&world).everything);
    world.settle();
    world.check_agreement();
    world.check_contacts();
    assert_eq!(marker(&world), Marker { generation: 1, ..Marker::default() });
    world.host.forget();
    world.crash();
    world.settle();
    assert_eq!(world.host.saves(), 0);
    assert_eq!(world.host.count(|e| matches!(e, Effect::LoadRoster(_))), 0);
}

#[test]
fn the_marker_of_many_groups_is_not_written_with_each_of_them_and_is_complete_after_a_crash() {
    let mut world = World::new(&["ann", "bob"]);
    let ids: Vec<_> = (0..200).map(|number| format!("g{number}")).collect();
    for id in &ids {
        world.create(id, id).unwrap();
        world.add(id, "ann").unwrap();
    }
    world.settle();
    let writes = |world: &World| world.host.count(|e| matches!(e, Effect::StoreMarker(_)));
    world.host.forget();
    for id in &ids[..100] {
        world.add(id, "bob").unwrap();
    }
    let before = writes(&world);
    assert!(before < 70 && marker(&world).everything, "{before} writes");
    for id in &ids[100..] {
        world.add(id, "bob").unwrap();
    }
    assert_eq!(writes(&world), before);
    world.crash();
    world.settle();
    world.check_contacts();
    assert_eq!(world.stored("ann", "bob").unwrap().groups.len(), 200);
    assert!(!marker(&world).everything && marker(&world).unsettled.is_empty());
}

#[test]
fn the_first_settling_survives_crashes() {
    let mut world = stopped();
    from_the_lua_module(&mut world);
    for _ in 0..3 {
        world.crash();
        world.settle_within(0.0);
    }
    assert!(marker(&world).everything);
    world.settle();
    world.check_contacts();
}

#[test]
fn a_host_without_groups_has_nothing_to_do() {
    let mut world = World::new(&["ann"]);
    world.settle();
    assert_eq!(world.host.count(|e| matches!(e, Effect::StoreMarker(_))), 1);
    assert_eq!(world.engine.next_work(world.host.now), None);
    assert!(!marker(&world).everything);
    world.host.forget();
    world.login("ann");
    assert_eq!(world.host.trace, []);
}

#[test]
fn a_damaged_record_unsettles_everything_with_a_warning() {
    for damaged in [Value::Bool(true), Value::empty(), Value::text(b"x"), Value::Integer(7)] {
        let mut world = World::with_group(&["ann", "bob"]);
        world.host.stored.remove(&n("ann"));
        world.host.marker = Some(damaged);
        world.crash();
        assert_eq!(world.host.complaints().len(), 1);
        assert!(marker(&world).everything);
        world.settle();
        world.check_contacts();
        assert!(!marker(&world).everything);
    }
}

#[test]
fn a_record_that_cannot_be_written_fails_the_operation_and_nothing_is_changed() {
    let mut world = World::with_group(&["ann", "bob"]);
    world.host.down.insert("marker");
    assert_eq!(world.add("g", "carl"), Err(Error::Internal));
    assert_eq!(world.add_delayed("g", "carl"), Err(Error::Internal));
    assert_eq!(world.rename("g", "Better"), Err(Error::Internal));
    let stored = |e: &Effect| matches!(e, Effect::StoreInfo(..) | Effect::StoreMembers(..) | Effect::Fire(_));
    assert_eq!(world.host.count(stored), 0);
    assert_eq!(world.members("g"), ["ann", "bob"]);
    assert_eq!(world.host.complaints().len(), 3);
    world.check_agreement();
    world.host.down.clear();
    assert_eq!(world.add("g", "carl"), Ok(Answer::Done));
}

#[test]
fn a_record_that_cannot_be_cleared_is_tried_again_at_leisure() {
    let mut world = World::with_group(&["ann", "bob"]);
    world.rename("g", "Better").unwrap();
    world.host.down.insert("marker");
    world.settle_within(300.0);
    let tries = world.host.count(|e| matches!(e, Effect::StoreMarker(_)));
    assert!((10..60).contains(&tries), "{tries} tries in 300 s");
    world.host.down.clear();
    world.settle();
    assert!(marker(&world).unsettled.is_empty());
}

#[test]
fn without_a_generation_in_storage_contact_lists_are_left_alone_until_there_is_one() {
    let mut world = World::with_group(&["ann", "bob"]);
    world.rename("g", "Better").unwrap();
    world.kill();
    let mut load = world.engine.load(EPOCH, "");
    let mut reply = groups_internal_native::engine::Reply::Done;
    while let groups_internal_native::engine::Step::Effect(effect) = load.resume(world.host.now, reply) {
        let fails = matches!(effect, Effect::StoreMarker(_));
        reply = if fails { world.host.fail(&effect) } else { world.host.perform(&effect, None) };
    }
    assert!(world.engine.exists(b"g"), "groups work");
    world.host.down.insert("marker");
    world.host.forget();
    world.login("ann");
    world.settle_within(60.0);
    let changed = |e: &Effect| matches!(e, Effect::Compare(..) | Effect::SaveRoster(..));
    assert_eq!(world.host.count(changed), 0);
    world.host.down.clear();
    world.settle();
    world.check_contacts();
}

#[test]
fn a_new_account_that_waits_for_a_generation_keeps_neither_the_marker_nor_other_lists_waiting() {
    let mut world = World::with_group(&["ann", "bob", "carl"]);
    world.rename("g", "Better").unwrap();
    world.crash();
    world.settle();
    world.host.down.insert("marker");
    world.delete_account("ann");
    world.host.down.clear();
    world.register("ann");
    world.login("ann");
    world.settle();
    assert!(world.shown("bob", "ann").is_none() && world.stored("bob", "carl").is_some());
    world.check_contacts();
}

#[test]
fn stores_that_cannot_be_listed_or_a_record_that_cannot_be_read_fail_the_load_which_may_be_tried_again() {
    for area in ["read", "marker"] {
        let mut world = stopped();
        from_the_lua_module(&mut world);
        world.host.down.insert(area);
        assert_eq!(world.run(world.engine.load(EPOCH, "")), Err(Error::Internal));
        assert!(!world.engine.is_ready());
        assert!(!world.engine.is_loading());
        assert!(!world.host.complaints().is_empty());
        assert_eq!(world.host.status, "Groups cannot be read from storage (see log)");
        world.settle_within(100.0);
        assert!(!world.engine.is_ready());
        world.host.down.clear();
        world.settle();
        assert_eq!(world.host.status, "Loaded");
        world.check_agreement();
        world.check_contacts();
    }
}

#[test]
fn a_group_that_cannot_be_read_is_left_out_and_left_alone_until_it_can() {
    let reads_g = |effect: &Effect| matches!(effect, Effect::ReadGroup(id) if *id == n("g"));
    let mut world = stopped();
    from_the_lua_module(&mut world);
    let load = world.engine.load(EPOCH, "");
    let (outcome, _) = world.run_struck_among(load, 0, Strike::Fail, reads_g);
    assert_eq!(outcome, Outcome::Done(Ok(Answer::Done)));
    assert!(!world.engine.exists(b"g"));
    assert!(world.engine.exists(b"h"));
    let before = (world.host.infos.clone(), world.host.members.clone());
    assert_eq!(world.create("g", "Mine"), Err(Error::Internal), "it is there, though nobody can see it");
    assert_eq!(world.add("g", "carl"), Err(Error::Internal));
    assert_eq!(world.delete("g"), Err(Error::Internal));
    world.settle_within(29.0);
    assert_eq!((world.host.infos.clone(), world.host.members.clone()), before);
    let complaints = |world: &World| world.host.complaints().iter().filter(|line| line.starts_with("Group g ")).count();
    assert_eq!(complaints(&world), 1);
    world.host.now += 2.0;
    let (_, struck) = world.run_struck_among(world.engine.work(), 0, Strike::Fail, reads_g);
    assert!(struck.is_some(), "it was not tried again");
    assert!(!world.engine.exists(b"g"));
    world.settle();
    assert_eq!(complaints(&world), 1);
    assert!(world.engine.exists(b"g"));
    world.check_agreement();
    world.check_contacts();
    let marker = world.host.marker.clone().unwrap();
    assert_eq!(marker.get("unsettled"), None, "it is settled, and the record of open work says so");
}

#[test]
fn who_has_left_a_group_that_cannot_be_read_at_the_start_is_put_out_of_its_chat_once_it_can() {
    let mut world = World::new(&["ann", "bob"]);
    world.create_with_chat("g", "G").unwrap();
    world.add("g", "ann").unwrap();
    world.add("g", "bob").unwrap();
    world.settle();
    world.remove("g", "bob").unwrap();
    world.kill();
    let load = world.engine.load(EPOCH, "");
    world.run_struck_among(load, 0, Strike::Fail, |effect| matches!(effect, Effect::ReadGroup(_)));
    world.settle_within(29.0);
    assert!(!world.engine.exists(b"g"));
    world.settle();
    assert_eq!(world.members("g"), ["ann"]);
    world.check_rooms();
    world.check_saved_rooms();
}

#[test]
fn members_of_another_module_without_a_group_are_left_alone() {
    let mut world = stopped();
    from_the_lua_module(&mut world);
    world.host.members.insert(n("foreign"), [(n("ann"), Value::empty())].into());
    world.start();
    world.settle();
    assert!(!world.engine.exists(b"foreign"));
    assert_eq!(world.engine.groups_of(b"ann"), [n("g")]);
    assert!(world.host.members.contains_key(&n("foreign")));
}

#[test]
fn loading_again_changes_nothing() {
    let mut world = World::with_group(&["ann", "bob"]);
    assert_eq!(world.run(world.engine.load(EPOCH, "")), Ok(Answer::Done));
    assert!(matches!(world.host.trace[..], [Effect::ListRosters(_)]), "{:?}", world.host.trace);
}

#[test]
fn a_crash_anywhere_in_a_start_is_made_good_by_the_next() {
    for strike in [Strike::CrashBefore, Strike::CrashAfter, Strike::DropBefore] {
        for at in 0.. {
            let mut world = stopped();
            from_the_lua_module(&mut world);
            let load = world.engine.load(EPOCH, "");
            if world.run_struck(load, at, strike).is_none() {
                break;
            }
            world.start();
            world.settle();
            world.check_agreement();
            world.check_contacts();
        }
    }
}

#[test]
fn a_crash_between_any_two_turns_of_background_work_loses_nothing() {
    for turns in 0..12 {
        let mut world = World::with_group(&["ann", "bob", "carl", "dora"]);
        world.login("ann");
        world.host.tick = 0.002;
        world.rename("g", "Better").unwrap();
        for _ in 0..turns {
            let Some(delay) = world.engine.next_work(world.host.now) else { break };
            world.host.now += delay;
            world.run(world.engine.work()).unwrap();
        }
        world.crash();
        world.settle();
        world.check_contacts();
    }
}

#[test]
fn an_operation_on_one_group_does_not_strike_the_open_work_of_another_that_is_being_stored() {
    let mut world = World::with_group(&["ann", "bob"]).and_group("h", "H", &["bob", "carl"]);
    world.host.accounts.insert(n("dora"));
    let add = world.engine.add_member(given("g"), given("dora"), false);
    let work = |world: &mut World| {
        world.rename("h", "Better").unwrap();
        world.settle();
    };
    let mut add = add;
    let mut reply = groups_internal_native::engine::Reply::Done;
    loop {
        let groups_internal_native::engine::Step::Effect(effect) = add.resume(world.host.now, reply) else { panic!() };
        reply = world.host.perform(&effect, None);
        if matches!(effect, Effect::StoreMembers(..)) {
            break;
        }
    }
    // The store has done it, but has not answered yet.
    work(&mut world);
    assert!(marker(&world).unsettled.contains(&n("g")));
    drop(add);
    world.crash();
    world.settle();
    world.check_contacts();
}
