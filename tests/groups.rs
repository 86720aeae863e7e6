//! Creating, renaming and deleting groups, and looking them up.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use groups_internal_native::engine::{
    Answer, Effect, Engine, Error, Event, Info, Name, Operation, Options, Reply, Step, Value,
};
use support::*;

/// Ids and usernames that nothing can have.
fn impossible() -> Vec<Option<Vec<u8>>> {
    let texts: [&[u8]; 9] =
        [b"", b"a\0b", b"a/b", b"a@b", b"\xff\xfe", b"a b", b"<x>", &[b'a'; 1024], &[b'a'; 1 << 20]];
    std::iter::once(None).chain(texts.iter().map(|text| Some(text.to_vec()))).collect()
}

#[test]
fn a_group_is_created_with_the_id_and_name_given() {
    let mut world = World::new(&[]);
    assert_eq!(world.create("Ab-1", "Family"), Ok(Answer::Id(n("Ab-1"))));
    assert!(world.engine.exists(b"Ab-1"));
    assert!(!world.engine.exists(b"ab-1"), "ids differ in case");
    let info = world.engine.info(b"Ab-1").unwrap();
    assert_eq!((&*info.name, info.muc_jid, info.mucs), (&b"Family"[..], None, None));
    assert_eq!(world.host.infos[&n("Ab-1")], Value::table(vec![(Value::text(b"name"), Value::text(b"Family"))]));
    assert_eq!(world.members("Ab-1"), [""; 0]);
}

#[test]
fn a_group_without_an_id_gets_one_that_is_free() {
    let mut world = World::new(&[]);
    world.create("id1", "Taken").unwrap();
    assert_eq!(world.run(world.engine.create(given("New"), false, None)), Ok(Answer::Id(n("id2"))));
    assert_eq!(world.host.count(|effect| *effect == Effect::NewId), 2);
}

#[test]
fn a_group_that_is_in_storage_but_unknown_is_taken_in_when_its_id_is_asked_for() {
    let mut world = World::new(&["ann", "bob"]);
    let operation = world.engine.create(given("G"), false, Some(given("g")));
    world.run_struck(operation, 1, Strike::DropAfter).unwrap();
    assert!(!world.engine.exists(b"g"));
    world.host.members.insert(n("g"), [(n("ann"), Value::empty()), (n("bob"), Value::empty())].into());
    assert_eq!(world.create("g", "Other"), Err(Error::Conflict));
    world.settle();
    world.check_agreement();
    world.check_contacts();
}

#[test]
fn a_taken_id_is_a_conflict_whoever_has_it() {
    let mut world = World::new(&[]);
    world.create("g", "G").unwrap();
    world.host.members.insert(n("other"), [(n("ann"), Value::Bool(true))].into());
    world.host.forget();
    assert_eq!(world.create("g", "Other"), Err(Error::Conflict));
    assert_eq!(world.create("other", "Other"), Err(Error::Conflict), "another module keeps members there");
    assert_eq!(world.create_with_chat("other", "Other"), Err(Error::Conflict));
    assert_eq!(world.host.count(|effect| matches!(effect, Effect::StoreInfo(..))), 0);
    assert!(world.host.rooms.is_empty(), "the room is gone again");
}

#[test]
fn a_group_needs_a_name_that_can_be_shown() {
    let mut world = World::new(&[]);
    world.host.forget();
    for name in [None, Some(&b""[..])] {
        assert_eq!(world.run(world.engine.create(name, true, None)), Err(Error::GroupNameRequired));
    }
    for name in [&b"a\0b"[..], b"\xff", b"a\x01", &[b'n'; 1024], &[b'n'; 1 << 20]] {
        assert_eq!(world.run(world.engine.create(Some(name), true, None)), Err(Error::BadRequest));
    }
    for id in impossible() {
        assert_eq!(world.run(world.engine.create(given("Name"), true, Some(id.as_deref()))), Err(Error::BadRequest));
    }
    assert!(world.host.stores_nothing());
}

#[test]
fn a_default_chat_is_made_before_the_group_and_named_by_it() {
    let mut world = World::new(&[]);
    assert_eq!(world.create_with_chat("g", "Family"), Ok(Answer::Id(n("g"))));
    let made = world.host.places(|effect| matches!(effect, Effect::CreateRoom(_)));
    let stored = world.host.places(|effect| matches!(effect, Effect::StoreInfo(..)));
    assert!(made[0] < stored[0]);
    assert_eq!(world.host.rooms[&b"room1@chats"[..]].name, b"Family");
    assert_eq!(world.engine.info(b"g").unwrap().muc_jid.as_deref(), Some(&b"room1@chats"[..]));
}

#[test]
fn without_a_chat_host_a_chat_is_unavailable_and_nothing_is_stored() {
    let mut world = World::with(Options { chats: false, row_writes: false, ..Options::default() }, &[]);
    world.create("g", "G").unwrap();
    world.host.forget();
    assert_eq!(world.create_with_chat("h", "H"), Err(Error::ServiceUnavailable));
    assert_eq!(world.add_chat("g", "Chat"), Err(Error::ServiceUnavailable));
    assert!(world.host.stores_nothing());
    assert!(!world.engine.exists(b"h"));
}

#[test]
fn look_ups_of_what_cannot_be_answer_as_for_the_unknown() {
    let world = World::with_group(&["ann"]);
    for id in impossible().into_iter().flatten().chain([b"unknown".to_vec()]) {
        assert!(!world.engine.exists(&id));
        assert_eq!(world.engine.info(&id), None);
        assert_eq!(world.engine.members(&id), []);
        assert_eq!(world.engine.groups_of(&id), []);
    }
}

type Change = fn(&Engine, Option<&[u8]>) -> Operation;

#[test]
fn changes_refuse_what_cannot_be_an_id_and_what_is_no_group() {
    let changes: [(&str, Change); 7] = [
        ("set_info", |e, id| e.set_info(id, given("New"))),
        ("delete", |e, id| e.delete(id)),
        ("add_member", |e, id| e.add_member(id, given("ann"), false)),
        ("remove_member", |e, id| e.remove_member(id, given("ann"))),
        ("add_group_chat", |e, id| e.add_group_chat(id, given("Chat"))),
        ("remove_group_chat", |e, id| e.remove_group_chat(id, given("room"))),
        ("emit_member_events", |e, id| e.emit_member_events(id)),
    ];
    let mut world = World::with_group(&["ann"]);
    for (name, change) in changes {
        for id in impossible() {
            assert_eq!(world.run(change(&world.engine, id.as_deref())), Err(Error::BadRequest), "{name} {id:?}");
        }
        assert_eq!(world.run(change(&world.engine, given("unknown"))), Err(Error::GroupNotFound), "{name}");
    }
    for id in impossible() {
        assert_eq!(world.run(world.engine.sync(id.as_deref())), Ok(Answer::Done));
    }
    assert!(world.host.stores_nothing());
    world.check_agreement();
}

#[test]
fn changes_refuse_other_arguments_that_cannot_be() {
    let mut world = World::with_group(&["ann"]);
    for bad in impossible() {
        let bad = bad.as_deref();
        assert_eq!(world.run(world.engine.add_member(given("g"), bad, false)), Err(Error::BadRequest), "{bad:?}");
        assert_eq!(world.run(world.engine.remove_member(given("g"), bad)), Err(Error::BadRequest), "{bad:?}");
        assert_eq!(world.run(world.engine.remove_group_chat(given("g"), bad)), Err(Error::BadRequest), "{bad:?}");
    }
    for bad in [None, Some(&b""[..]), Some(b"a\0b"), Some(b"\xff"), Some(&[b'n'; 1024])] {
        assert_eq!(world.run(world.engine.set_info(given("g"), bad)), Err(Error::BadRequest), "{bad:?}");
        assert_eq!(world.run(world.engine.add_group_chat(given("g"), bad)), Err(Error::BadRequest), "{bad:?}");
    }
    assert!(world.host.stores_nothing());
}

#[test]
fn a_rename_keeps_everything_else_and_renames_the_default_chat() {
    let mut world = World::stopped(Options { chats: true, row_writes: false, ..Options::default() }, &["ann", "bob"]);
    let stored = Value::table(vec![
        (Value::text(b"name"), Value::text(b"Old")),
        (Value::text(b"muc_jid"), Value::text(b"r@chats")),
        (Value::text(b"colour"), Value::text(b"red")),
    ]);
    world.host.infos.insert(n("g"), stored);
    world.host.rooms.insert(b"r@chats".to_vec(), Default::default());
    world.start();
    assert_eq!(world.rename("g", "New"), Ok(Answer::Done));
    assert_eq!(world.host.infos[&n("g")].get("name"), Some(&Value::text(b"New")));
    assert_eq!(world.host.infos[&n("g")].get("colour"), Some(&Value::text(b"red")));
    assert_eq!(world.host.infos[&n("g")].get("muc_jid"), Some(&Value::text(b"r@chats")));
    assert_eq!(world.host.rooms[&b"r@chats"[..]].name, b"New");
    world.check_agreement();
    let (id, info) = (n("g"), world.engine.info(b"g").unwrap());
    let old = Info { name: (*b"Old").into(), ..info.clone() };
    let (jid, name, old_name) = ((*b"r@chats").into(), info.name.clone(), old.name.clone());
    let updated = Event::Updated { id: id.clone(), info: info.clone(), old };
    assert_eq!(world.host.events, [updated, Event::ChatRenamed { id, info, jid, name, old_name }]);
}

#[test]
fn a_chat_that_keeps_its_name_is_not_told_of_as_renamed() {
    let mut world = World::new(&["ann"]);
    world.create_with_chat("g", "Old").unwrap();
    world.host.down.insert("chats");
    world.host.forget();
    assert_eq!(world.rename("g", "New"), Ok(Answer::Done));
    assert_eq!(world.host.told(), ["=group"]);
    assert_eq!(world.host.complaints().len(), 1);
}

#[test]
fn a_group_is_told_of_when_it_is_stored_and_not_when_it_is_not() {
    let mut world = World::new(&[]);
    world.create_with_chat("g", "G").unwrap();
    assert_eq!(world.host.events, [Event::Created { id: n("g"), info: world.engine.info(b"g").unwrap() }]);
    world.host.forget();
    world.create("g", "G").unwrap_err();
    world.host.down.insert("info");
    world.create("h", "H").unwrap_err();
    assert_eq!(world.host.events, []);
}

#[test]
fn a_rename_to_the_same_name_does_nothing() {
    let mut world = World::with_group(&["ann", "bob"]);
    assert_eq!(world.rename("g", "G"), Ok(Answer::Done));
    assert_eq!(world.host.trace, []);
    assert_eq!(world.engine.next_work(world.host.now), None);
}

#[test]
fn a_renamed_group_labels_its_contacts_anew_at_once_and_in_storage() {
    let mut world = World::with_group(&["ann", "bob", "carl"]);
    world.login("ann");
    world.settle();
    world.rename("g", "Better").unwrap();
    assert!(world.shown("ann", "bob").unwrap().groups.contains("Better"));
    world.settle();
    world.check_contacts();
    world.check_devices();
}

#[test]
fn a_deleted_group_leaves_nothing_but_contacts_and_tells_everybody() {
    let mut world = World::new(&["ann", "bob"]);
    world.create_with_chat("g", "G").unwrap();
    world.add("g", "ann").unwrap();
    world.add("g", "bob").unwrap();
    world.add_chat("g", "More").unwrap();
    world.settle();
    let rooms = world.engine.info(b"g").unwrap().rooms();
    world.host.forget();
    assert_eq!(world.delete("g"), Ok(Answer::Done));
    assert_eq!(world.host.told(), ["-ann", "-bob", "-chat", "-chat", "-group"]);
    let left: Vec<_> = world
        .host
        .events
        .iter()
        .map(|event| match event {
            Event::UsersRemoved { info, .. } | Event::ChatRemoved { info, .. } | Event::Deleted { info, .. } => {
                info.rooms().len()
            }
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(left, [2, 1, 0, 0], "the record names the chats that are left");
    assert!(rooms.iter().all(|room| world.host.rooms[&**room].destroyed));
    assert!(world.host.infos.is_empty() && world.host.members.is_empty());
    assert_eq!(world.engine.groups_of(b"ann"), []);
    assert_eq!(world.delete("g"), Err(Error::GroupNotFound));
    world.settle();
    world.check_agreement();
    assert!(world.stored("ann", "bob").is_some(), "contacts stay");
}

#[test]
fn a_missing_room_or_chat_host_is_no_obstacle_to_deleting() {
    let mut world = World::new(&["ann"]);
    world.create_with_chat("g", "G").unwrap();
    world.host.down.insert("chats");
    assert_eq!(world.delete("g"), Ok(Answer::Done));
    assert!(!world.engine.exists(b"g"));
}

#[test]
fn members_that_cannot_be_put_back_when_a_deletion_fails_are_gone_from_memory_too() {
    let mut world = World::with_group(&["ann", "bob"]);
    let mut operation = world.engine.delete(given("g"));
    let mut reply = Reply::Done;
    let result = loop {
        match operation.resume(world.host.now, reply) {
            Step::Effect(Effect::StoreMembers(id, None)) => {
                reply = world.host.perform(&Effect::StoreMembers(id, None), None);
            }
            Step::Effect(Effect::StoreInfo(..) | Effect::StoreMembers(..)) => reply = Reply::Failed("full".into()),
            Step::Effect(effect) => reply = world.host.perform(&effect, None),
            Step::Done(result) => break result,
            Step::Panicked(place) => panic!("{place}"),
        }
    };
    assert_eq!(result, Err(Error::Internal));
    world.check_agreement();
    assert_eq!(world.engine.groups_of(b"ann"), [], "both directions agree");
}

#[test]
fn all_groups_are_listed_in_the_order_in_which_they_became_known() {
    let mut world = World::new(&[]);
    for id in ["c", "a", "b"] {
        world.create(id, id).unwrap();
    }
    let ids: Vec<_> = world.engine.groups().into_iter().map(|(id, _)| id).collect();
    assert_eq!(ids, names(&["c", "a", "b"]));
}

#[test]
fn ids_and_names_in_storage_load_whatever_they_are() {
    let mut world = World::stopped(Options { chats: true, row_writes: false, ..Options::default() }, &["ann", "bob"]);
    let odd = [&b"With Space"[..], b"a@b", b"\xff"];
    for id in odd {
        world.host.infos.insert(Name::raw(id), Info::named(id.into()).to_value());
        let members =
            [(n("ann"), Value::Bool(true)), (n("bob"), Value::empty()), (Name::raw(b"No\xffBody"), Value::empty())];
        world.host.members.insert(Name::raw(id), members.into());
    }
    world.start();
    world.settle();
    for id in odd {
        assert!(world.engine.exists(id));
        assert_eq!(world.run(world.engine.set_info(Some(id), given("Fine"))), Ok(Answer::Done));
        assert_eq!(world.run(world.engine.remove_member(Some(id), Some(b"No\xffBody"))), Ok(Answer::Done));
    }
    world.settle();
    world.check_agreement();
    world.check_contacts();
    for id in odd {
        assert_eq!(world.run(world.engine.delete(Some(id))), Ok(Answer::Done));
    }
    world.check_agreement();
}

#[test]
fn a_closed_engine_answers_internal_at_the_next_step() {
    let world = World::with_group(&["ann"]);
    let mut running = world.engine.add_member(given("g"), given("bob"), false);
    assert!(matches!(running.resume(0.0, Reply::Done), Step::Effect(_)));
    world.engine.close();
    assert_eq!(running.resume(0.0, Reply::Flags(vec![true])), Step::Done(Err(Error::Internal)));
    assert_eq!(world.engine.sync(given("g")).resume(0.0, Reply::Done), Step::Done(Err(Error::Internal)));
}

#[test]
fn operations_begun_before_storage_was_read_go_on_when_it_is() {
    let mut world = World::stopped(Options { chats: true, row_writes: false, ..Options::default() }, &["ann"]);
    world.host.infos.insert(n("g"), Info::named((*b"G").into()).to_value());
    let add = world.engine.add_member(given("g"), given("ann"), false);
    let load = world.engine.load(EPOCH, "");
    let (results, _) = Together::new([add, load]).run(&mut world, false, |runnable| runnable[0]);
    assert_eq!(results, [Ok(Answer::Done), Ok(Answer::Done)]);
    assert_eq!(world.members("g"), ["ann"]);
}

#[test]
fn an_operation_that_cannot_wait_for_storage_answers_internal() {
    let world = World::stopped(Options { chats: true, row_writes: false, ..Options::default() }, &[]);
    let mut add = world.engine.add_member(given("g"), given("ann"), false);
    assert_eq!(add.resume(0.0, Reply::Done), Step::Effect(Effect::Wait));
    let cannot = Reply::Failed("the caller cannot wait".into());
    assert_eq!(add.resume(0.0, cannot), Step::Done(Err(Error::Internal)));
}
