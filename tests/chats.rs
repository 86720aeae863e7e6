//! The chats of groups.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use groups_internal_native::engine::{Answer, Effect, Error, Event, Options, Reply, Step, Value};
use support::host::Room;
use support::*;

fn jid(room: &str) -> Box<[u8]> {
    format!("{room}@chats").into_bytes().into()
}

fn rooms(world: &World) -> Vec<String> {
    let rooms = world.engine.info(b"g").unwrap().rooms();
    rooms.iter().map(|room| String::from_utf8_lossy(room).into_owned()).collect()
}

#[test]
fn a_chat_is_made_stored_opened_to_all_members_at_once_and_told() {
    let mut world = World::with_group(&["ann", "bob", "carl"]);
    let chat = Answer::Chat { jid: jid("room1"), name: (*b"Chess").into() };
    assert_eq!(world.add_chat("g", "Chess"), Ok(chat));
    world.settle();
    let kinds: Vec<_> = world
        .host
        .trace
        .iter()
        .map(|effect| match effect {
            Effect::NewId => "id",
            Effect::CreateRoom(nodes) if *nodes == ["chess", "chess-id1", "id1"] => "make",
            Effect::ConfigureRoom(_, to) if to.get("name") == Some(&Value::text(b"Chess")) => "set up",
            Effect::SaveRoom(_) => "save",
            Effect::StoreInfo(..) => "store",
            Effect::ReadAffiliations(_, jids, false) if jids.len() == 3 => "look",
            effect if sets(effect).len() == 3 => "let in",
            Effect::Fire(Event::ChatAdded { .. }) => "tell",
            Effect::Invite(_, _, users) if users.len() == 3 => "invite",
            _ => "other",
        })
        .collect();
    assert_eq!(kinds, ["id", "make", "set up", "save", "store", "look", "let in", "save", "tell", "invite"]);
    let Event::ChatAdded { id, info, jid: room, name } = &world.host.events[0] else { panic!() };
    assert_eq!((id, &**room, &**name), (&n("g"), &b"room1@chats"[..], &b"Chess"[..]));
    assert_eq!(info.mucs, Some(vec![jid("room1")]), "the record has the new chat in it");
    world.check_agreement();
}

#[test]
fn a_single_default_chat_follows_the_new_one() {
    let mut world = World::new(&["ann"]);
    world.create_with_chat("g", "G").unwrap();
    world.add_chat("g", "More").unwrap();
    assert_eq!(rooms(&world), ["room2@chats", "room1@chats"]);
    assert_eq!(world.engine.info(b"g").unwrap().muc_jid, None);
    assert_eq!(world.host.infos[&n("g")].get("muc_jid"), None);
    world.check_agreement();
}

#[test]
fn a_chat_that_cannot_be_stored_is_gone_again() {
    let mut world = World::with_group(&["ann"]);
    world.host.down.insert("info");
    assert_eq!(world.add_chat("g", "Chess"), Err(Error::Internal));
    assert_eq!(world.create_with_chat("h", "H"), Err(Error::Internal));
    assert!(world.host.rooms.is_empty());
    assert_eq!(world.host.events, []);
    assert_eq!(rooms(&world), [""; 0]);
    assert_eq!(world.host.complaints().len(), 2);
}

#[test]
fn a_chat_host_that_fails_is_an_internal_error_and_stores_nothing() {
    let mut world = World::with_group(&["ann"]);
    world.host.down.insert("chats");
    assert_eq!(world.add_chat("g", "Chess"), Err(Error::Internal));
    assert_eq!(world.create_with_chat("h", "H"), Err(Error::Internal));
    assert_eq!(world.host.count(|e| matches!(e, Effect::StoreInfo(..))), 0);
    assert_eq!(world.host.complaints().len(), 2);
}

#[test]
fn a_removed_chat_is_destroyed_and_told_with_the_record_that_is_left() {
    let mut world = World::with_group(&["ann"]);
    world.add_chat("g", "One").unwrap();
    world.add_chat("g", "Two").unwrap();
    world.host.forget();
    assert_eq!(world.remove_chat("g", "room1"), Ok(Answer::Done));
    let expected = Event::ChatRemoved { id: n("g"), info: world.engine.info(b"g").unwrap(), jid: jid("room1") };
    assert_eq!(world.host.events, [expected]);
    assert_eq!(rooms(&world), ["room2@chats"]);
    assert!(world.host.rooms[&b"room1@chats"[..]].destroyed);
    world.check_agreement();
}

#[test]
fn the_single_default_chat_can_be_removed() {
    let mut world = World::new(&["ann"]);
    world.create_with_chat("g", "G").unwrap();
    assert_eq!(world.remove_chat("g", "room1"), Ok(Answer::Done));
    let info = world.engine.info(b"g").unwrap();
    assert_eq!((info.muc_jid, info.mucs), (None, Some(vec![])));
}

#[test]
fn an_unknown_chat_is_removed_with_a_warning() {
    let mut world = World::with_group(&["ann"]);
    assert_eq!(world.remove_chat("g", "nowhere"), Ok(Answer::Done));
    assert_eq!(world.host.complaints().len(), 1);
    assert!(world.host.stores_nothing());
}

#[test]
fn a_chat_whose_room_is_gone_is_dropped_when_a_member_is_added() {
    for gone in [true, false] {
        let mut world = World::with_group(&["ann"]);
        world.add_chat("g", "One").unwrap();
        world.add_chat("g", "Two").unwrap();
        if gone {
            world.host.rooms.remove(&b"room1@chats"[..]);
        } else {
            world.host.rooms.get_mut(&b"room1@chats"[..]).unwrap().destroyed = true;
        }
        world.add("g", "bob").unwrap();
        assert_eq!(rooms(&world), ["room2@chats"]);
        assert!(world.host.rooms[&b"room2@chats"[..]].members.contains(&n("bob")));
        world.check_agreement();
    }
}

#[test]
fn chats_are_kept_while_the_chat_host_cannot_say_whether_they_are_there() {
    let mut world = World::with_group(&["ann"]);
    world.add_chat("g", "One").unwrap();
    world.host.down.insert("chats");
    assert_eq!(world.add("g", "bob"), Ok(Answer::Done), "a chat's failure fails no add");
    assert_eq!(rooms(&world), ["room1@chats"]);
    assert_eq!(world.host.told().last().unwrap(), "+bob");
}

#[test]
fn a_refused_member_is_logged_with_the_room_and_stays_a_member() {
    let mut world = World::new(&["ann", "bob"]);
    world.create_with_chat("g", "G").unwrap();
    world.host.unwelcome.insert(n("bob"));
    assert_eq!(world.add("g", "bob"), Ok(Answer::Done));
    let complaints = world.host.complaints();
    assert!(complaints.iter().any(|line| line.contains("bob") && line.contains("room1@chats")), "{complaints:?}");
    assert_eq!(world.members("g"), ["bob"]);
}

#[test]
fn invitations_wait_until_contact_lists_have_been_told() {
    let mut world = World::new(&["ann", "bob"]);
    world.login("ann");
    world.login("bob");
    world.create("g", "G").unwrap();
    world.host.tick = 0.005;
    world.add("g", "ann").unwrap();
    world.add("g", "bob").unwrap();
    world.add_chat("g", "Chess").unwrap();
    world.settle();
    let last_push = world.host.places(|e| matches!(e, Effect::Push(_))).pop().unwrap();
    let invite = world.host.places(|e| matches!(e, Effect::Invite(..)))[0];
    assert!(last_push < invite);
    assert_eq!(world.host.count(|e| matches!(e, Effect::Invite(..))), 1);
}

// Rooms to which something has happened.

/// Group g of ann and bob with a chat, in which bob has lost his affiliation and eve has one.
fn meddled_with(options: Options) -> World {
    let mut world = World::with(options, &["ann", "bob"]);
    world.create_with_chat("g", "G").unwrap();
    world.add("g", "ann").unwrap();
    world.add("g", "bob").unwrap();
    world.settle();
    let room = world.host.rooms.get_mut(&b"room1@chats"[..]).unwrap();
    room.members.remove(&n("bob"));
    room.members.insert(n("eve"));
    world.host.forget();
    world
}

fn with_chats() -> Options {
    Options { chats: true, ..Options::default() }
}

fn let_in(world: &World) -> Vec<String> {
    world.host.rooms[&b"room1@chats"[..]].members.iter().map(|name| name.to_string()).collect()
}

fn looks(world: &World) -> usize {
    world.host.count(|effect| matches!(effect, Effect::ReadAffiliations(..)))
}

#[test]
fn a_sync_lets_members_into_rooms_again_and_leaves_strangers_there() {
    let mut world = meddled_with(with_chats());
    world.sync("g");
    assert_eq!(let_in(&world), ["ann", "bob", "eve"]);
    assert_eq!(world.host.complaints(), [""; 0]);
}

#[test]
fn with_the_option_a_sync_takes_strangers_out_of_rooms() {
    let mut world = meddled_with(Options { enforce_affiliations: true, ..with_chats() });
    world.sync("g");
    assert_eq!(let_in(&world), ["ann", "bob"]);
}

#[test]
fn a_room_is_aligned_once_until_something_happens_to_it() {
    let mut world = meddled_with(with_chats());
    world.sync("g");
    world.sync("g");
    assert_eq!(looks(&world), 1);
    world.engine.room_touched(b"room1@chats");
    world.sync("g");
    assert_eq!(looks(&world), 2);
    world.engine.set_options(Options { enforce_affiliations: true, ..with_chats() });
    world.sync("g");
    assert_eq!((looks(&world), let_in(&world)), (3, vec!["ann".to_owned(), "bob".to_owned()]));
}

#[test]
fn a_room_that_is_read_from_storage_is_aligned() {
    let mut world = meddled_with(with_chats());
    world.engine.room_restored(b"room1@chats");
    world.engine.room_restored(b"other@chats");
    world.settle();
    assert_eq!((looks(&world), let_in(&world).len()), (1, 3));
}

#[test]
fn a_room_that_is_made_anew_is_set_up_as_the_groups() {
    let mut world = meddled_with(with_chats());
    let made = |owner: &str| Room { opened: true, owner: Some(n(owner)), ..Room::default() };
    for jid in [&b"room1@chats"[..], b"other@chats"] {
        world.host.rooms.insert(jid.to_vec(), made("eve"));
        world.run(world.engine.room_made(jid, Some(b"eve@localhost"))).unwrap();
    }
    let rooms = &world.host.rooms;
    let group = &rooms[&b"room1@chats"[..]];
    assert_eq!((group.opened, group.owner.clone(), group.members.len()), (false, None, 2));
    assert_eq!(group.name, b"G");
    assert_eq!(rooms[&b"other@chats"[..]], made("eve"));
}

#[test]
fn a_room_that_another_module_makes_anew_is_saved_when_the_chat_host_has_it() {
    let mut world = meddled_with(with_chats());
    world.host.rooms.insert(b"room1@chats".to_vec(), Room { opened: true, ..Room::default() });
    world.run(world.engine.room_made(b"room1@chats", None)).unwrap();
    let room = world.host.rooms.get_mut(&b"room1@chats"[..]).unwrap();
    assert_eq!((room.opened, room.members.len()), (false, 2));
    room.saved.clear();
    world.settle();
    world.check_rooms();
}

#[test]
fn a_chat_host_that_is_missing_is_told_of_once_and_shown_until_it_is_there() {
    let mut world = World::with(with_chats(), &[]);
    world.host.down.insert("chats");
    for _ in 0..2 {
        world.run(world.engine.check_chat_host()).unwrap();
        assert_eq!(world.host.status, "groups_muc_host is no active chat host");
        assert_eq!(world.host.complaints().len(), 1, "{:?}", world.host.log);
    }
    world.host.down.clear();
    world.run(world.engine.check_chat_host()).unwrap();
    assert_eq!(world.host.status, "Loaded");
}

#[test]
fn an_update_is_told_of_once_and_does_not_hide_what_is_worse() {
    let mut world = World::with(with_chats(), &[]);
    world.host.down.insert("chats");
    world.run(world.engine.check_chat_host()).unwrap();
    world.host.forget();
    for _ in 0..2 {
        world.run(world.engine.tell_of_update()).unwrap();
    }
    assert_eq!(world.host.status, "groups_muc_host is no active chat host");
    assert_eq!(world.host.complaints().len(), 1, "{:?}", world.host.log);
    world.host.down.clear();
    world.run(world.engine.check_chat_host()).unwrap();
    assert_eq!(world.host.status, "An update is installed: restart Prosody to use it");
}

#[test]
fn a_ban_given_by_hand_stays_and_is_told_of_with_room_and_user() {
    let mut world = meddled_with(with_chats());
    world.host.banned.insert(n("bob"));
    world.sync("g");
    assert_eq!(let_in(&world), ["ann", "eve"]);
    let [line] = world.host.complaints()[..] else { panic!("{:?}", world.host.log) };
    assert!(line.contains("bob") && line.contains("room1@chats"), "{line}");
}

#[test]
fn a_room_that_cannot_be_aligned_is_tried_again_at_the_next_sync() {
    let mut world = meddled_with(with_chats());
    world.host.down.insert("chats");
    world.sync("g");
    world.host.down.clear();
    world.sync("g");
    assert_eq!(let_in(&world), ["ann", "bob", "eve"]);
}

#[test]
fn who_leaves_while_a_room_is_aligned_is_not_let_in() {
    let mut world = meddled_with(with_chats());
    world.run(world.engine.remove_member(given("g"), given("bob"))).unwrap();
    world.add("g", "bob").unwrap();
    for steps in 0..12 {
        world.engine.room_touched(b"room1@chats");
        let operations = [world.engine.sync(given("g")), world.engine.remove_member(given("g"), given("bob"))];
        let mut taken = 0;
        Together::new(operations).run(&mut world, true, |runnable| {
            taken += 1;
            let preferred = usize::from(taken > steps);
            if runnable.contains(&preferred) { preferred } else { runnable[0] }
        });
        assert_eq!(let_in(&world), ["ann", "eve"], "changed over after {steps}");
        world.add("g", "bob").unwrap();
    }
}

#[test]
fn a_member_who_was_refused_is_let_in_by_a_later_sync() {
    let mut world = meddled_with(with_chats());
    world.sync("g");
    world.host.accounts.insert(n("carl"));
    world.host.unwelcome.insert(n("carl"));
    world.add("g", "carl").unwrap();
    world.sync("g");
    assert_eq!(let_in(&world), ["ann", "bob", "eve"]);
    assert_eq!(world.host.complaints().len(), 2, "{:?}", world.host.log);
    world.host.unwelcome.clear();
    world.sync("g");
    assert_eq!(let_in(&world), ["ann", "bob", "carl", "eve"]);
}

#[test]
fn a_room_that_is_taken_away_while_it_is_saved_stays_away() {
    let mut world = World::new(&["ann", "bob"]);
    world.create_with_chat("g", "G").unwrap();
    world.settle();
    world.add("g", "ann").unwrap();
    world.host.now += 10.0;
    let mut work = world.engine.work();
    let mut reply = Reply::Done;
    let effect = loop {
        match work.resume(world.host.now, reply) {
            Step::Effect(effect @ Effect::SaveRoom(_)) => break effect,
            Step::Effect(effect) => reply = world.host.perform(&effect, None),
            _ => panic!("the room is not saved"),
        }
    };
    let room = world.host.rooms[&b"room1@chats"[..]].clone();
    world.run(world.engine.remove_group_chat(Some(b"g"), Some(b"room1"))).unwrap();
    assert!(world.host.rooms[&b"room1@chats"[..]].destroyed);
    world.host.rooms.insert(b"room1@chats".to_vec(), room); // what the save has of it goes into storage only now
    let mut reply = world.host.perform(&effect, None);
    while let Step::Effect(effect) = work.resume(world.host.now, reply) {
        reply = world.host.perform(&effect, None);
    }
    assert!(world.host.rooms[&b"room1@chats"[..]].destroyed);
    world.check_agreement();
}
