//! All groups as one blob, and back.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use groups_internal_native::engine::{Answer, Effect, Error, Options, SnapshotError, Value};
use support::*;

/// Two groups with all that can be in them.
fn full_world() -> World {
    let mut world = World::new(&["ann", "bob", "carl"]);
    world.create_with_chat("g", "G").unwrap();
    world.create("h", "H").unwrap();
    for (group, user) in [("g", "ann"), ("g", "bob"), ("h", "bob"), ("h", "nobody")] {
        world.add(group, user).unwrap();
    }
    world.add_chat("h", "Chess").unwrap();
    world.settle();
    world
}

fn restore(world: &mut World, blob: &[u8]) -> Result<Answer, Error> {
    let operation = world.engine.restore(blob).expect("the blob is whole");
    world.run(operation)
}

fn rooms(world: &World, id: &str) -> Vec<String> {
    let info = world.engine.info(id.as_bytes()).unwrap();
    info.rooms().iter().map(|jid| String::from_utf8_lossy(jid).into_owned()).collect()
}

#[test]
fn a_restored_host_has_the_groups_of_the_snapshot_and_no_others() {
    let mut source = full_world();
    source.host.infos.entry(n("h")).and_modify(|record| {
        let mut entries = record.entries().to_vec();
        entries.push((Value::text(b"colour"), Value::text(b"red")));
        *record = Value::table(entries);
    });
    source.crash();
    let blob = source.engine.snapshot();
    let mut target =
        World::new(&["ann", "bob", "carl"]).and_group("x", "X", &["ann", "carl"]).and_group("g", "Old", &["carl"]);
    target.host.rooms = source.host.rooms.clone();
    assert_eq!(restore(&mut target, &blob), Ok(Answer::Done));
    assert_eq!(target.host.infos, source.host.infos);
    assert_eq!(target.host.members, source.host.members);
    target.check_agreement();
    target.settle();
    target.check_contacts();
    assert_eq!(target.engine.groups_of(b"carl"), []);
    assert_eq!(target.engine.snapshot().len(), blob.len());
}

#[test]
fn a_damaged_blob_is_refused_whole_wherever_the_damage_is() {
    let mut world = full_world();
    let blob = world.engine.snapshot();
    world.host.forget();
    for at in 0..blob.len() {
        let mut damaged = blob.clone();
        damaged[at] ^= 0x55;
        assert!(world.engine.restore(&damaged).is_err(), "byte {at}");
        assert!(world.engine.restore(&blob[..at]).is_err(), "cut at {at}");
    }
    let mut later = blob.clone();
    later[5] += 1;
    assert_eq!(world.engine.restore(&later).err(), Some(SnapshotError::UnknownFormat(2)));
    assert_eq!(world.engine.restore(b"").err(), Some(SnapshotError::NotASnapshot));
    assert_eq!(world.host.trace, []);
    world.check_agreement();
}

#[test]
fn a_restore_that_fails_anywhere_leaves_each_group_as_it_was_or_as_in_the_snapshot() {
    let blob = full_world().engine.snapshot();
    let mut trials = Trials::default();
    for strike in [Strike::Fail, Strike::CrashBefore, Strike::CrashAfter] {
        for at in 0.. {
            let mut world = World::new(&["ann", "bob", "carl"]).and_group("g", "Old", &["carl"]).and_group(
                "x",
                "X",
                &["ann", "carl"],
            );
            let operation = world.engine.restore(&blob).unwrap();
            let Some((outcome, effect)) = world.run_struck(operation, at, strike) else { break };
            trials.attempt(&format!("{strike:?} at {at}: {effect:?}"), || {
                if outcome == Outcome::Crashed {
                    world.start();
                }
                world.check_agreement();
                world.settle();
                world.check_contacts();
                let again = restore(&mut world, &blob);
                assert_eq!(again, Ok(Answer::Done));
                world.settle();
                world.check_agreement();
                world.check_contacts();
                assert_eq!(world.members("g"), ["ann", "bob"]);
                assert!(!world.engine.exists(b"x"));
            });
        }
    }
    trials.judge();
}

#[test]
fn the_record_of_open_work_is_stored_before_the_first_group() {
    let blob = full_world().engine.snapshot();
    let mut world = World::new(&["ann", "bob"]);
    world.host.forget();
    restore(&mut world, &blob).unwrap();
    let marked = world.host.places(|e| matches!(e, Effect::StoreMarker(marker) if marker.everything));
    let stored = world.host.places(|e| matches!(e, Effect::StoreInfo(..) | Effect::StoreMembers(..)));
    assert!(marked[0] < stored[0]);
    assert_eq!(world.host.count(|e| matches!(e, Effect::StoreMarker(_))), 1);
    world.settle();
    assert_eq!(world.host.marker.as_ref().unwrap().get("everything"), None);
}

#[test]
fn a_restore_replaces_the_copy_of_a_group_that_a_purge_endangers() {
    let blob = full_world().engine.snapshot();
    let mut world = World::new(&["ann", "bob", "carl", "g"]).and_group("g", "Old", &["carl"]);
    world.host.lose_account("g");
    world.run(world.engine.account_deleted(n("g"))).unwrap();
    restore(&mut world, &blob).unwrap();
    world.purge("g");
    world.crash();
    assert_eq!(world.members("g"), ["ann", "bob"]);
    world.check_agreement();
}

#[test]
fn a_restore_lets_those_leave_whom_the_snapshot_does_not_know() {
    for virtual_contacts in [false, true] {
        let options = Options { chats: true, remove_contacts: true, virtual_contacts, ..Options::default() };
        let mut world = World::with(options, &["ann", "bob", "carl"]);
        world.create_with_chat("g", "G").unwrap();
        for user in ["ann", "bob"] {
            world.add("g", user).unwrap();
        }
        let blob = world.engine.snapshot();
        world.add("g", "carl").unwrap();
        world.rename("g", "Other").unwrap();
        world.add_chat("g", "Chess").unwrap();
        let mut world = world.and_group("x", "X", &["ann", "carl"]);
        ["ann", "carl"].iter().for_each(|user| world.login(user));
        world.settle();
        world.host.forget();
        assert_eq!(restore(&mut world, &blob), Ok(Answer::Done));
        assert_eq!((world.shown("ann", "carl"), world.shown("carl", "ann")), (None, None), "{virtual_contacts}");
        assert_eq!(world.shown("ann", "bob"), Some(Item::new("both").labelled("G")));
        assert!(world.host.pushes().contains(&("ann".to_owned(), "carl".to_owned())));
        for event in ["-carl", "=group", "-chat", "-group", "-ann"] {
            assert!(world.host.told().iter().any(|told| told == event), "{event}: {:?}", world.host.told());
        }
        world.settle();
        world.check_rooms();
        world.check_agreement();
        world.check_devices();
        world.crash();
        world.settle();
        assert_eq!((world.stored("ann", "carl"), world.stored("carl", "bob")), (None, None));
    }
}

#[test]
fn a_restored_chat_whose_room_is_gone_is_dropped_with_a_warning() {
    let mut world = full_world();
    world.add_chat("g", "Kitchen").unwrap();
    let blob = world.engine.snapshot();
    world.delete("g").unwrap();
    let [chess] = &rooms(&world, "h")[..] else { panic!("one chat") };
    world.host.rooms.get_mut(chess.as_bytes()).unwrap().destroyed = true;
    world.host.forget();
    assert_eq!(restore(&mut world, &blob), Ok(Answer::Done));
    assert_eq!((rooms(&world, "g"), rooms(&world, "h")), (vec![], vec![]));
    assert_eq!(world.host.complaints().len(), 2, "one for each group: {:?}", world.host.complaints());
    assert!(world.host.complaints()[1].contains(chess));
    assert_eq!(world.host.told().iter().filter(|told| *told == "-chat").count(), 1, "the chat that there still was");
    world.settle();
    world.check_agreement();
    world.check_rooms();
}

#[test]
fn a_restored_chat_whose_room_is_another_groups_by_now_is_dropped() {
    let mut world = full_world();
    let blob = world.engine.snapshot();
    let [room] = &rooms(&world, "g")[..] else { panic!("one chat") };
    world.delete("g").unwrap();
    // The same room, made again for a group that the snapshot does not know.
    world.create_with_chat("new", "G").unwrap();
    let [other] = &rooms(&world, "new")[..] else { panic!("one chat") };
    let made = world.host.rooms.remove(other.as_bytes()).unwrap();
    world.host.rooms.insert(room.as_bytes().to_vec(), made);
    let record = Value::table(vec![
        (Value::text(b"name"), Value::text(b"G")),
        (Value::text(b"muc_jid"), Value::text(room.as_bytes())),
    ]);
    world.host.infos.insert(n("new"), record);
    world.crash();
    assert_eq!(restore(&mut world, &blob), Ok(Answer::Done));
    assert!(!world.engine.exists(b"new"));
    assert_eq!(rooms(&world, "g"), Vec::<String>::new(), "the room has gone with its group");
    world.check_agreement();
}

#[test]
fn restored_chats_stay_while_the_chat_host_cannot_say_whether_they_are_there() {
    let mut world = full_world();
    let blob = world.engine.snapshot();
    world.host.down.insert("chats");
    assert_eq!(restore(&mut world, &blob), Ok(Answer::Done));
    assert_eq!((rooms(&world, "g").len(), rooms(&world, "h").len()), (1, 1));
    world.check_agreement();
}
