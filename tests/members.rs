//! Adding and removing members, and what that sets in motion.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use groups_internal_native::engine::{Answer, Effect, Error, Event, Info, Options, Value};
use support::*;

/// The number of the first effect for which this holds.
fn first(world: &World, what: impl Fn(&Effect) -> bool) -> usize {
    *world.host.places(what).first().expect("it was done")
}

/// A group with a chat; ann and bob are members and online.
fn chatting() -> World {
    let mut world = World::new(&["ann", "bob", "carl"]);
    world.create_with_chat("g", "G").unwrap();
    for user in ["ann", "bob"] {
        world.login(user);
        world.add("g", user).unwrap();
    }
    world.settle();
    world.host.forget();
    world
}

#[test]
fn a_new_member_is_marked_stored_let_in_announced_and_then_put_into_contact_lists() {
    for row_writes in [false, true] {
        let mut world = chatting();
        world.options.row_writes = row_writes;
        world.engine.set_options(world.options);
        world.login("carl");
        world.host.forget();
        assert_eq!(world.add("g", "carl"), Ok(Answer::Done));
        let marked = first(&world, |e| matches!(e, Effect::StoreMarker(marker) if marker.unsettled.contains(&n("g"))));
        let stored = first(&world, |e| matches!(e, Effect::StoreMembers(..) | Effect::StoreMember(..)));
        let let_in = first(&world, |e| sets(e) == ["carl: none member"]);
        let invited = first(&world, |e| matches!(e, Effect::Invite(_, _, users) if *users == names(&["carl"])));
        let told =
            first(&world, |e| matches!(e, Effect::Fire(Event::UsersAdded { users, .. }) if *users == names(&["carl"])));
        let compared = first(&world, |e| matches!(e, Effect::Compare(..)));
        let order = [marked, stored, let_in, invited, told, compared];
        assert!(order.is_sorted(), "{order:?}");
        world.settle();
        world.check_agreement();
        world.check_contacts();
    }
}

#[test]
fn both_rosters_of_a_pair_change_before_presence_and_pushes_precede_presence() {
    let mut world = chatting();
    world.login("carl");
    world.host.forget();
    world.add("g", "carl").unwrap();
    let compared = world.host.places(|e| matches!(e, Effect::Compare(..)));
    let pushed = world.host.places(|e| matches!(e, Effect::Push(_)));
    let shown = world.host.places(|e| matches!(e, Effect::SendPresence(..)));
    assert!(compared.last() < pushed.first() && pushed.last() < shown.first());
    let mut pushes = world.host.pushes();
    pushes.sort();
    let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
    assert_eq!(pushes, [pair("ann", "carl"), pair("bob", "carl"), pair("carl", "ann"), pair("carl", "bob")]);
    let mut presences = world.host.presences();
    presences.sort();
    assert_eq!(presences, [pair("ann", "carl"), pair("bob", "carl"), pair("carl", "ann"), pair("carl", "bob")]);
    world.check_devices();
    assert_eq!(world.host.saves(), 0, "saving comes later");
}

#[test]
fn a_small_group_is_complete_when_the_call_returns() {
    let mut world = chatting();
    world.login("carl");
    world.add("g", "carl").unwrap();
    for (user, contact) in [("ann", "carl"), ("bob", "carl"), ("carl", "ann"), ("carl", "bob")] {
        let item = world.shown(user, contact).unwrap();
        assert_eq!((item.subscription, item.groups.contains("G")), ("both", true));
    }
}

#[test]
fn adding_a_member_again_writes_nothing_but_heals_the_chat_and_tells_again() {
    let mut world = chatting();
    world.host.rooms.values_mut().for_each(|room| room.members.clear());
    assert_eq!(world.add("g", "bob"), Ok(Answer::Done));
    assert!(world.host.rooms.values().all(|room| room.members.contains(&n("bob"))));
    assert_eq!(world.host.told(), ["+bob"]);
    world.settle();
    let writes = |e: &Effect| {
        matches!(e, Effect::StoreMembers(..) | Effect::StoreMember(..) | Effect::StoreInfo(..))
            || matches!(e, Effect::StoreMarker(_) | Effect::SaveRoster(..) | Effect::Push(_))
    };
    assert_eq!(world.host.count(writes), 0, "{:?}", world.host.trace);
}

#[test]
fn usernames_are_normalised_but_a_stored_raw_one_is_matched_first() {
    let mut world =
        World::stopped(Options { chats: false, row_writes: false, ..Options::default() }, &["ann", "alice"]);
    world.host.infos.insert(n("g"), Info::named((*b"G").into()).to_value());
    world.host.members.insert(n("g"), [(n("Alice"), Value::Bool(true))].into());
    world.start();
    world.add("g", "ANN").unwrap();
    assert_eq!(world.members("g"), ["Alice", "ann"]);
    assert_eq!(world.engine.groups_of(b"Ann"), [n("g")]);
    assert_eq!(world.engine.groups_of(b"Alice"), [n("g")]);
    assert_eq!(world.add("g", "Alice"), Ok(Answer::Done), "it is a member as it stands");
    assert_eq!(world.members("g"), ["Alice", "ann"]);
    world.add("g", "ALICE").unwrap();
    assert_eq!(world.members("g"), ["Alice", "alice", "ann"]);
    world.remove("g", "Alice").unwrap();
    assert_eq!(world.members("g"), ["alice", "ann"]);
    assert_eq!(world.host.members[&n("g")][&n("ann")], Value::empty());
    world.check_agreement();
}

#[test]
fn what_others_stored_for_a_member_is_kept() {
    let mut world = World::stopped(Options { chats: false, row_writes: false, ..Options::default() }, &["ann", "bob"]);
    world.host.infos.insert(n("g"), Info::named((*b"G").into()).to_value());
    let role = Value::table(vec![(Value::text(b"role"), Value::text(b"boss"))]);
    world.host.members.insert(n("g"), [(n("ann"), role.clone())].into());
    world.start();
    world.add("g", "bob").unwrap();
    world.add("g", "ann").unwrap();
    assert_eq!(world.host.members[&n("g")][&n("ann")], role);
    world.check_agreement();
}

#[test]
fn where_rows_can_be_written_only_the_row_is() {
    let mut world = World::on_rows(&["ann", "bob"]).and_group("g", "G", &["ann"]);
    world.add("g", "bob").unwrap();
    world.remove("g", "ann").unwrap();
    assert_eq!(world.host.count(|e| matches!(e, Effect::StoreMember(..))), 2);
    assert_eq!(world.host.count(|e| matches!(e, Effect::StoreMembers(..))), 0);
    world.check_agreement();
}

#[test]
fn a_removal_is_stored_then_taken_from_the_chat_then_told() {
    let mut world = chatting();
    assert_eq!(world.remove("g", "bob"), Ok(Answer::Done));
    let stored = first(&world, |e| matches!(e, Effect::StoreMembers(..)));
    let out = first(&world, |e| sets(e) == ["bob: member none"]);
    let told = first(&world, |e| matches!(e, Effect::Fire(Event::UsersRemoved { .. })));
    assert!(stored < out && out < told);
    assert_eq!(world.host.told(), ["-bob"]);
    world.settle();
    assert_eq!(world.members("g"), ["ann"]);
    assert!(world.stored("ann", "bob").is_some() && world.stored("bob", "ann").is_some(), "contacts stay");
    assert_eq!(world.host.saves(), 0);
    world.check_agreement();
}

#[test]
fn removing_someone_who_is_no_member_does_nothing() {
    let mut world = chatting();
    for user in ["carl", "nobody"] {
        assert_eq!(world.remove("g", user), Ok(Answer::Done));
    }
    assert_eq!(world.host.trace, []);
}

#[test]
fn the_last_member_leaves_no_empty_record() {
    let mut world = World::with_group(&["ann"]);
    world.remove("g", "ann").unwrap();
    assert!(world.host.members.is_empty());
    world.check_agreement();
}

#[test]
fn events_are_told_for_each_member_again_on_demand() {
    let mut world = chatting();
    assert_eq!(world.run(world.engine.emit_member_events(given("g"))), Ok(Answer::Done));
    assert_eq!(world.host.told(), ["+ann", "+bob"]);
    assert!(world.host.trace.iter().all(|effect| matches!(effect, Effect::Fire(_))));
}

#[test]
fn a_handler_of_an_event_may_change_the_same_group() {
    let mut world = chatting();
    let mut outer = world.engine.add_member(given("g"), given("carl"), false);
    let mut reply = groups_internal_native::engine::Reply::Done;
    let mut inner_ran = false;
    loop {
        use groups_internal_native::engine::Step;
        match outer.resume(world.host.now, reply) {
            Step::Effect(effect) => {
                reply = world.host.perform(&effect, None);
                if matches!(effect, Effect::Fire(_)) {
                    let before = world.host.now;
                    assert_eq!(world.remove("g", "bob"), Ok(Answer::Done));
                    assert_eq!(world.add("g", "dora"), Ok(Answer::Done));
                    assert!(world.host.now - before < 0.5, "it had to wait");
                    inner_ran = true;
                }
            }
            Step::Done(result) => {
                assert_eq!(result, Ok(Answer::Done));
                break;
            }
            Step::Panicked(place) => panic!("{place}"),
        }
    }
    assert!(inner_ran);
    assert_eq!(world.members("g"), ["ann", "carl", "dora"]);
    world.settle();
    world.check_agreement();
    world.check_contacts();
}

#[test]
fn an_operation_that_would_have_to_wait_and_cannot_answers_internal() {
    use groups_internal_native::engine::{Reply, Step};
    let mut world = chatting();
    let mut holder = world.engine.add_member(given("g"), given("carl"), true);
    let mut reply = Reply::Done;
    loop {
        let Step::Effect(effect) = holder.resume(0.0, reply) else { panic!("it ended") };
        if matches!(effect, Effect::StoreMembers(..)) {
            break;
        }
        reply = world.host.perform(&effect, None);
    }
    let mut other = world.engine.remove_member(given("g"), given("bob"));
    assert_eq!(other.resume(0.0, Reply::Done), Step::Effect(Effect::Wait));
    assert_eq!(other.resume(0.0, Reply::Failed("in a timer".into())), Step::Done(Err(Error::Internal)));
    drop(holder);
    assert_eq!(world.remove("g", "bob"), Ok(Answer::Done), "the turns of both were given up");
}

#[test]
fn a_wait_for_a_turn_is_bounded() {
    use groups_internal_native::engine::{Reply, Step};
    let mut world = chatting();
    let mut holder = world.engine.set_info(given("g"), given("Stuck"));
    let mut reply = Reply::Done;
    while let Step::Effect(effect) = holder.resume(world.host.now, reply) {
        if matches!(effect, Effect::StoreInfo(..)) {
            break;
        }
        reply = world.host.perform(&effect, None);
    }
    let before = world.host.now;
    assert_eq!(world.remove("g", "bob"), Err(Error::Internal));
    assert!(world.host.now - before < 60.0);
    assert_eq!(world.members("g"), ["ann", "bob"]);
}

#[test]
fn many_members_are_taken_in_within_the_budget_of_a_turn_and_the_rest_follows() {
    let users: Vec<String> = (0..60).map(|number| format!("user{number}")).collect();
    let mut users: Vec<&str> = users.iter().map(String::as_str).collect();
    users.push("new");
    let mut world = World::new(&users);
    world.create("g", "G").unwrap();
    for user in &users[..60] {
        world.add_delayed("g", user).unwrap();
        world.login(user);
    }
    world.sync("g");
    world.settle();
    world.host.forget();
    world.host.tick = 0.0005;
    let before = world.host.now;
    world.add("g", "new").unwrap();
    assert!(world.host.now - before < 0.02, "it took {} s", world.host.now - before);
    assert_eq!(world.engine.next_work(world.host.now), Some(0.0), "the rest waits for no timer");
    world.settle();
    assert_eq!(world.host.pushes().len(), 60);
    assert_eq!(world.host.saves(), 61, "each roster once");
    world.check_contacts();
    world.check_devices();
}

#[test]
fn the_contacts_of_a_user_are_the_members_of_all_of_the_users_groups() {
    let mut world = World::with_group(&["ann", "bob"]).and_group("h", "H", &["ann", "carl"]);
    let contacts = |world: &World, user: &str| {
        let found = world.engine.contacts_of(&n(user)).into_iter().filter(|contact| *contact != n(user));
        found.collect::<std::collections::BTreeSet<_>>()
    };
    assert_eq!(contacts(&world, "ann"), [n("bob"), n("carl")].into());
    assert_eq!(contacts(&world, "carl"), [n("ann")].into());
    assert_eq!(contacts(&world, "stranger"), [].into());
    world.remove("h", "carl").unwrap();
    assert_eq!(contacts(&world, "ann"), [n("bob")].into());
    world.engine.close();
    assert_eq!(contacts(&world, "ann"), [].into(), "an engine that is closed knows nothing");
}
