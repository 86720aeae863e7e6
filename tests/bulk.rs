//! Many members at once, descriptions, and groups whose members stay out of the chats.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use groups_internal_native::engine::{Answer, Details, Effect, Error, Given, GivenInfo, Info, Operation, Value};
use support::*;

fn list<'a>(users: &[&'a str]) -> Vec<Given<'a>> {
    users.iter().map(|user| given(user)).collect()
}

impl World {
    fn bulk(&mut self, start: impl FnOnce(&World) -> Operation) -> Result<Answer, Error> {
        let operation = start(self);
        self.run(operation)
    }

    fn set(&mut self, users: &[&str]) -> Result<Answer, Error> {
        self.bulk(|world| world.engine.set_members(given("g"), Some(&list(users))))
    }

    fn add_all(&mut self, users: &[&str]) -> Result<Answer, Error> {
        self.bulk(|world| world.engine.add_members(given("g"), Some(&list(users)), false))
    }

    fn remove_all(&mut self, users: &[&str]) -> Result<Answer, Error> {
        self.bulk(|world| world.engine.remove_members(given("g"), Some(&list(users))))
    }

    fn record_writes(&self) -> usize {
        self.host.count(|e| matches!(e, Effect::StoreMembers(..) | Effect::StoreMember(..)))
    }
}

const FIVE: [&str; 5] = ["ann", "bob", "carl", "dora", "emil"];

#[test]
fn a_list_of_members_takes_one_write_one_change_of_each_room_and_an_event_for_each() {
    for row_writes in [false, true] {
        let mut world = World::new(&FIVE);
        world.options.row_writes = row_writes;
        world.engine.set_options(world.options);
        world.create_with_chat("g", "G").unwrap();
        world.login("ann");
        world.host.forget();
        assert_eq!(world.add_all(&FIVE), Ok(Answer::Done));
        assert_eq!(world.record_writes(), 1);
        assert_eq!(world.host.count(|e| matches!(e, Effect::SetAffiliations(..))), 1);
        assert_eq!(world.host.told(), ["+ann", "+bob", "+carl", "+dora", "+emil"]);
        world.settle();
        assert_eq!(world.host.saves(), 5, "each contact list is saved once");
        let invited = world.host.trace.iter().filter_map(|e| match e {
            Effect::Invite(_, _, users) => Some(users.len()),
            _ => None,
        });
        assert_eq!(invited.sum::<usize>(), 5);
        world.check_agreement();
        world.check_contacts();
    }
}

#[test]
fn a_list_of_leavers_takes_one_write_too() {
    let mut world = World::with_group(&FIVE);
    world.options.remove_contacts = true;
    world.engine.set_options(world.options);
    assert_eq!(world.remove_all(&["bob", "nobody", "dora", "bob"]), Ok(Answer::Done));
    assert_eq!(world.record_writes(), 1);
    assert_eq!(world.host.told(), ["-bob", "-dora"]);
    world.settle();
    assert_eq!(world.members("g"), ["ann", "carl", "emil"]);
    assert_eq!(world.stored("ann", "bob"), None);
    world.check_agreement();
    world.check_contacts();
}

#[test]
fn leavers_who_cannot_be_put_out_of_a_chat_at_once_are_put_out_when_it_is_saved() {
    let mut world = World::new(&FIVE);
    world.create_with_chat("g", "G").unwrap();
    world.add_all(&FIVE).unwrap();
    world.settle();
    let affiliated = |world: &World| world.host.rooms.values().map(|room| room.members.len()).sum::<usize>();
    world.host.down.insert("chats");
    assert_eq!(world.remove_all(&["bob", "dora"]), Ok(Answer::Done));
    world.host.down.clear();
    assert_eq!(affiliated(&world), 5);
    world.settle();
    assert_eq!(affiliated(&world), 3);
    world.check_agreement();
}

#[test]
fn members_are_set_by_difference_and_nothing_happens_to_those_who_stay() {
    let mut world = World::with_group(&["ann", "bob", "carl"]);
    world.host.accounts.insert(n("dora"));
    assert_eq!(world.set(&["carl", "DORA", "ann"]), Ok(Answer::Done));
    assert_eq!(world.host.told(), ["+dora", "-bob"]);
    assert_eq!(world.members("g"), ["ann", "carl", "dora"]);
    assert_eq!(world.record_writes(), 1);
    world.settle();
    world.check_agreement();
    world.host.forget();
    assert_eq!(world.set(&["carl", "dora", "ann"]), Ok(Answer::Done));
    assert!(world.host.stores_nothing(), "{:?}", world.host.trace);
    assert_eq!(world.set(&[]), Ok(Answer::Done));
    assert!(world.members("g").is_empty());
    world.settle();
    world.check_agreement();
}

#[test]
fn a_bad_name_in_a_list_is_pointed_out_and_nothing_changes() {
    let mut world = World::with_group(&["ann", "bob"]);
    assert_eq!(world.add_all(&["carl", "a b", ""]), Ok(Answer::BadUsername(1)));
    assert_eq!(world.set(&["ann", "bob", ""]), Ok(Answer::BadUsername(2)));
    assert_eq!(world.remove_all(&["@"]), Ok(Answer::BadUsername(0)));
    let mixed: [Given; 2] = [given("carl"), None];
    assert_eq!(
        world.bulk(|world| world.engine.add_members(given("g"), Some(&mixed), false)),
        Ok(Answer::BadUsername(1))
    );
    assert_eq!(world.bulk(|world| world.engine.add_members(given("g"), None, false)), Err(Error::BadRequest));
    assert_eq!(world.bulk(|world| world.engine.set_members(given("h"), None)), Err(Error::GroupNotFound));
    assert!(world.host.stores_nothing());
    assert_eq!(world.members("g"), ["ann", "bob"]);
}

#[test]
fn members_of_a_list_who_have_no_account_yet_become_contacts_when_it_appears() {
    for virtual_contacts in [false, true] {
        let mut world = World::new(&["ann", "bob"]);
        world.options.virtual_contacts = virtual_contacts;
        world.engine.set_options(world.options);
        world.create("g", "G").unwrap();
        world.login("ann");
        world.add_all(&["ann", "bob", "carl", "dora"]).unwrap();
        world.settle();
        assert!(world.shown("ann", "bob").is_some() && world.shown("ann", "carl").is_none());
        world.host.accounts.insert(n("carl"));
        world.run(world.engine.user_appeared(n("carl"))).unwrap();
        world.settle();
        assert!(world.shown("ann", "carl").is_some() && world.shown("ann", "dora").is_none());
    }
}

#[test]
fn a_delayed_list_waits_for_a_sync() {
    let mut world = World::new(&FIVE);
    world.create("g", "G").unwrap();
    world.bulk(|world| world.engine.add_members(given("g"), Some(&list(&FIVE)), true)).unwrap();
    world.settle();
    assert_eq!(world.host.saves(), 0);
    world.sync("g");
    world.settle();
    assert_eq!(world.host.saves(), 5);
    world.check_contacts();
}

#[test]
fn a_list_that_cannot_be_stored_changes_nothing() {
    for area in ["members", "marker"] {
        let mut world = World::with_group(&["ann", "bob"]);
        world.host.accounts.insert(n("carl"));
        world.host.down.insert(area);
        let marked = world.engine.snapshot();
        assert_eq!(world.set(&["ann", "carl"]), Err(Error::Internal), "{area}");
        assert_eq!(world.engine.snapshot(), marked);
        world.host.down.clear();
        world.settle();
        world.check_agreement();
        world.check_contacts();
    }
}

#[test]
fn a_long_list_lets_others_have_a_turn_meanwhile() {
    let users: Vec<_> = (0..1000).map(|i| format!("user{i:04}")).collect();
    let users: Vec<_> = users.iter().map(String::as_str).collect();
    let mut world = World::new(&users);
    world.create_with_chat("g", "G").unwrap();
    world.host.tick = 2e-4;
    world.host.forget();
    let operation = world.engine.add_members(given("g"), Some(&list(&users)), true);
    world.run(operation).unwrap();
    assert!(world.host.count(|e| matches!(e, Effect::Wait)) >= 9);
    assert_eq!(world.record_writes(), 1);
}

fn described<'a>(name: &'a str, description: Option<&str>, chat_membership: Option<bool>) -> GivenInfo<'a> {
    let details = Details::given(description.map(str::as_bytes), chat_membership);
    GivenInfo { name: given(name), details }
}

#[test]
fn a_group_can_be_described_and_what_is_not_said_stays() {
    let mut world = World::new(&[]);
    world.run(world.engine.create(described("G", Some("All of us"), None), false, Some(given("g")))).unwrap();
    let description = |world: &World| world.engine.info(b"g").unwrap().description;
    assert_eq!(description(&world).as_deref(), Some(&b"All of us"[..]));
    world.rename("g", "H").unwrap();
    assert_eq!(description(&world).as_deref(), Some(&b"All of us"[..]));
    world.host.forget();
    world.run(world.engine.set_info(given("g"), described("H", Some("Others"), None))).unwrap();
    assert_eq!(world.host.told(), ["=group"]);
    world.crash();
    assert_eq!(description(&world).as_deref(), Some(&b"Others"[..]));
    world.run(world.engine.set_info(given("g"), described("H", Some(""), None))).unwrap();
    assert_eq!(description(&world), None);
    assert_eq!(world.host.infos[&n("g")], Info::named((*b"H").into()).to_value());
    assert_eq!(described("H", Some("a\u{1}b"), None).details, Err(Error::BadRequest));
}

#[test]
fn members_stay_out_of_the_chats_of_a_group_that_says_so_until_it_lets_them_in() {
    let mut world = World::new(&FIVE);
    world.run(world.engine.create(described("G", None, Some(false)), true, Some(given("g")))).unwrap();
    world.add("g", "ann").unwrap();
    world.add_all(&["bob", "carl"]).unwrap();
    world.add_chat("g", "Other").unwrap();
    world.sync("g");
    world.settle();
    let inside = |world: &World| world.host.rooms.values().map(|room| room.members.len()).collect::<Vec<_>>();
    assert_eq!(inside(&world), [0, 0]);
    // Also where a room's settings were changed by hand, and are mended.
    world.host.rooms.values_mut().for_each(|room| room.opened = true);
    world.run(world.engine.repair()).unwrap();
    assert!(world.host.rooms.values().all(|room| !room.opened));
    assert_eq!(inside(&world), [0, 0]);
    assert_eq!(world.host.count(|e| matches!(e, Effect::Invite(..))), 0);
    assert_eq!(world.host.infos[&n("g")].get("chat_membership"), Some(&Value::Bool(false)));
    world.run(world.engine.set_info(given("g"), described("G", None, Some(true)))).unwrap();
    world.settle();
    assert_eq!(inside(&world), [3, 3]);
    assert!(world.host.count(|e| matches!(e, Effect::Invite(..))) > 0);
}

#[test]
fn a_member_whose_delayed_add_is_followed_by_a_list_is_completed() {
    let mut world = World::new(&FIVE);
    world.create("g", "G").unwrap();
    world.add("g", "ann").unwrap();
    world.settle();
    world.add_delayed("g", "bob").unwrap();
    world.add_all(&["bob"]).unwrap();
    world.settle();
    world.check_contacts();
}
