//! Operations to be struck, dropped, crashed and mixed, each with a host on which it has much to do.

use groups_internal_native::engine::{Effect, Engine, Operation, Options};

use super::roster::Item;
use super::{Host, World, given, n};

pub struct Case {
    pub name: &'static str,
    /// What must have happened before.
    pub prepare: fn(&mut World),
    pub start: fn(&Engine) -> Operation,
    /// Whether storage or the chat host failing at this effect fails the operation, as the host's trace tells.
    pub needs: fn(&Host, &Effect) -> bool,
    /// Whether it is meant to be done again when it has failed.
    pub repeatable: bool,
}

/// Group g of ann, bob and carl with a chat, group h of ann; ann and bob are online, carl has own contacts.
pub fn busy_world(row_writes: bool) -> World {
    let mut world =
        World::with(Options { chats: true, row_writes, ..Options::default() }, &["ann", "bob", "carl", "dora"]);
    world.store_item("carl", "friend", Item::new("both").called("Old friend"));
    world.store_item("bob", "dora", Item::new("from").called("Dora!").labelled("Work"));
    world.create_with_chat("g", "G").expect("created");
    world.create("h", "H").expect("created");
    world.login("ann");
    world.login("bob");
    for user in ["ann", "bob", "carl"] {
        world.add("g", user).expect("added");
    }
    world.add("h", "ann").expect("added");
    world.settle();
    world.host.forget();
    world
}

fn nothing(_: &mut World) {}

/// From now on, what came with a group goes with it.
pub fn take_back(world: &mut World) {
    world.options.remove_contacts = true;
    world.engine.set_options(world.options);
}

fn stores(_: &Host, effect: &Effect) -> bool {
    use Effect::{StoreInfo, StoreMarker, StoreMember, StoreMembers};
    matches!(effect, StoreInfo(..) | StoreMembers(..) | StoreMember(..) | StoreMarker(_))
}

/// A room that is saved once more when its chat is stored may fail to.
fn stores_or_makes(host: &Host, effect: &Effect) -> bool {
    use Effect::{ConfigureRoom, CreateRoom, NewId, ReadGroup, SaveRoom, StoreInfo};
    let is_stored = || host.count(|effect| matches!(effect, StoreInfo(..))) > 0;
    stores(host, effect)
        || matches!(effect, ReadGroup(_) | NewId | CreateRoom(_) | ConfigureRoom(..))
        || matches!(effect, SaveRoom(_)) && !is_stored()
}

fn no_effect(_: &Host, _: &Effect) -> bool {
    false
}

pub fn changes() -> Vec<Case> {
    vec![
        Case {
            name: "create with a chat and an id",
            prepare: nothing,
            start: |engine| engine.create(given("New"), true, Some(given("new"))),
            needs: stores_or_makes,
            repeatable: true,
        },
        Case {
            name: "create with a chat and any id",
            prepare: nothing,
            start: |engine| engine.create(given("New"), true, None),
            needs: stores_or_makes,
            repeatable: true,
        },
        Case {
            name: "add a member",
            prepare: nothing,
            start: |engine| engine.add_member(given("g"), given("dora"), false),
            needs: stores,
            repeatable: true,
        },
        Case {
            name: "add a member to a group with a dead chat",
            prepare: |world| {
                world.add_chat("g", "More").expect("added");
                world.host.rooms.values_mut().for_each(|room| room.destroyed = true);
            },
            start: |engine| engine.add_member(given("g"), given("dora"), false),
            needs: stores,
            repeatable: true,
        },
        Case {
            name: "remove a member",
            prepare: nothing,
            start: |engine| engine.remove_member(given("g"), given("bob")),
            needs: stores,
            repeatable: true,
        },
        Case {
            name: "rename",
            prepare: nothing,
            start: |engine| engine.set_info(given("g"), given("Better")),
            needs: stores,
            repeatable: true,
        },
        Case {
            name: "delete",
            prepare: nothing,
            start: |engine| engine.delete(given("g")),
            needs: stores,
            repeatable: true,
        },
        Case {
            name: "add a chat",
            prepare: nothing,
            start: |engine| engine.add_group_chat(given("g"), given("More")),
            needs: stores_or_makes,
            repeatable: true,
        },
        Case {
            name: "remove a chat",
            prepare: nothing,
            start: |engine| engine.remove_group_chat(given("g"), given("room1")),
            needs: stores,
            repeatable: true,
        },
        Case {
            name: "emit events",
            prepare: nothing,
            start: |engine| engine.emit_member_events(given("g")),
            needs: no_effect,
            repeatable: true,
        },
    ]
}

/// The same where what came with a group goes with it.
pub fn changes_that_take_back() -> Vec<Case> {
    vec![
        Case {
            name: "remove a member and what came with it",
            prepare: take_back,
            start: |engine| engine.remove_member(given("g"), given("bob")),
            needs: stores,
            repeatable: true,
        },
        Case {
            name: "rename when contacts are taken back",
            prepare: |world| {
                take_back(world);
                world.remove("g", "bob").expect("removed");
            },
            start: |engine| engine.set_info(given("g"), given("Better")),
            needs: stores,
            repeatable: true,
        },
        Case {
            name: "delete with all that came with it",
            prepare: take_back,
            start: |engine| engine.delete(given("g")),
            needs: stores,
            repeatable: true,
        },
    ]
}

fn add_a_while_ago(world: &mut World, user: &str) {
    world.add("g", user).expect("added");
    world.host.now += 3.0;
}

pub fn contact_work() -> Vec<Case> {
    let case = |name, prepare, start| Case { name, prepare, start, needs: no_effect, repeatable: true };
    vec![
        case("sync of a delayed member", |w| drop(w.add_delayed("g", "dora")), |e| e.sync(given("g"))),
        case(
            "sync when an account has appeared",
            |w| {
                w.add("g", "ed").expect("added");
                w.host.accounts.insert(n("ed"));
            },
            |e| e.sync(given("g")),
        ),
        case(
            "first login",
            |w| {
                w.add("g", "ed").expect("added");
                w.host.accounts.insert(n("ed"));
            },
            |e| e.user_appeared(n("ed")),
        ),
        case("work after an add", |w| add_a_while_ago(w, "dora"), Engine::work),
        case(
            "work after a rename",
            |w| {
                w.rename("g", "Other").expect("renamed");
                w.host.now += 3.0;
            },
            Engine::work,
        ),
        case(
            "work on the marker",
            |w| {
                w.add("g", "ed").expect("added");
                w.host.now += 3.0;
            },
            Engine::work,
        ),
        case(
            "last logout",
            |w| {
                w.add("g", "dora").expect("added");
                w.host.sessions.remove(&n("ann"));
            },
            |e| e.user_left(n("ann")),
        ),
        case("flush", |w| drop(w.add("g", "dora")), |e| e.flush(5.0)),
        case("account deleted", |w| w.host.lose_account("carl"), |e| e.account_deleted(n("carl"))),
    ]
}

pub fn work_that_takes_back() -> Vec<Case> {
    let case = |name, prepare, start| Case { name, prepare, start, needs: no_effect, repeatable: true };
    vec![
        case(
            "work after a removal",
            |w| {
                take_back(w);
                w.remove("g", "bob").expect("removed");
                w.host.now += 3.0;
            },
            Engine::work,
        ),
        case(
            "login after a deletion",
            |w| {
                take_back(w);
                w.delete("g").expect("deleted");
            },
            |e| e.user_appeared(n("carl")),
        ),
    ]
}
