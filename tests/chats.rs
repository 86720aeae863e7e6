//! The chats of groups.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use groups_internal_native::engine::{Answer, Effect, Error, Event};
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
            Effect::CreateRoom(name) if **name == *b"Chess" => "make",
            Effect::StoreInfo(..) => "store",
            Effect::Affiliate(_, users) if users.len() == 3 => "let in",
            Effect::Fire(Event::ChatAdded { .. }) => "tell",
            Effect::Invite(_, users) if users.len() == 3 => "invite",
            _ => "other",
        })
        .collect();
    assert_eq!(kinds, ["make", "store", "let in", "tell", "invite"]);
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
