//! Any two operations at the same time, changing over at every effect.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use groups_internal_native::engine::{Answer, Engine, Error, Operation};
use support::cases::{busy_world, take_back};
use support::*;

type Start = fn(&Engine) -> Operation;

/// What may run beside each other. `ed` has no account at first, `carl` loses the one he had.
const OPERATIONS: &[(&str, Start)] = &[
    ("create", |e| e.create(given("New"), true, Some(given("new")))),
    ("add dora", |e| e.add_member(given("g"), given("dora"), false)),
    ("add ed", |e| e.add_member(given("g"), given("ed"), false)),
    ("add dora later", |e| e.add_member(given("g"), given("dora"), true)),
    ("remove dora", |e| e.remove_member(given("g"), given("dora"))),
    ("remove bob", |e| e.remove_member(given("g"), given("bob"))),
    ("rename", |e| e.set_info(given("g"), given("Better"))),
    ("rename otherwise", |e| e.set_info(given("g"), given("Other"))),
    ("delete", |e| e.delete(given("g"))),
    ("add a chat", |e| e.add_group_chat(given("g"), given("More"))),
    ("remove a chat", |e| e.remove_group_chat(given("g"), given("room1"))),
    ("sync", |e| e.sync(given("g"))),
    ("delete an account", |e| e.account_deleted(n("carl"))),
    ("ed logs in", |e| e.user_appeared(n("ed"))),
    ("ann logs in again", |e| e.user_appeared(n("ann"))),
    ("bob logs out", |e| e.user_left(n("bob"))),
    ("work", Engine::work),
    ("flush", |e| e.flush(5.0)),
];

/// Each operation beside each, itself included.
fn pairs() -> impl Iterator<Item = (usize, usize)> {
    (0..OPERATIONS.len()).flat_map(|first| (0..OPERATIONS.len()).map(move |second| (first, second)))
}

/// A host on which all of them find something to do.
fn world_for(names: &[&str], row_writes: bool, removes: bool) -> World {
    let mut world = busy_world(row_writes);
    if removes {
        take_back(&mut world);
    }
    if names.contains(&"ed logs in") && !names.contains(&"add ed") {
        world.add("g", "ed").expect("added");
        world.host.accounts.insert(n("ed"));
    }
    // The account may be made at any moment meanwhile.
    world.host.vanished.insert(n("ed"));
    if names.contains(&"sync") {
        world.add_delayed("g", "dora").expect("added");
    }
    if names.iter().any(|name| matches!(*name, "work" | "flush" | "bob logs out")) {
        world.rename("g", "Now").expect("renamed");
        world.host.now += 3.0;
    }
    if names.contains(&"bob logs out") {
        world.host.sessions.remove(&n("bob"));
    }
    if names.contains(&"delete an account") {
        world.host.lose_account("carl");
    }
    world.host.forget();
    world
}

/// What must hold when both have ended.
fn judge(world: &mut World, names: &[&str], results: &[Result<Answer, Error>], idle: usize) {
    for (name, result) in names.iter().zip(results) {
        let vanished = names.contains(&"delete") && matches!(result, Err(Error::GroupNotFound));
        let several = names.iter().filter(|name| **name == "create").count() > 1;
        let taken = several && *name == "create" && *result == Err(Error::Conflict);
        assert!(result.is_ok() || vanished || taken, "{name} gives {result:?}");
    }
    assert!(idle <= 1, "both waited for {idle} s");
    world.check_agreement();
    world.check_rooms();
    check_members(world, names, results);
    if names.contains(&"delete") || names.contains(&"remove bob") {
        // Who had left before is nothing to the group: Prosody itself sees to them.
        world.host.gone.clear();
    }
    if names.contains(&"add ed") || names.contains(&"ed logs in") {
        world.host.accounts.insert(n("ed"));
    }
    world.settle();
    world.sync("g");
    world.settle();
    world.check_agreement();
    world.check_saved_rooms();
    world.check_contacts();
    world.crash();
    world.settle();
    world.check_agreement();
    world.check_rooms();
    world.check_contacts();
    world.check_taken_back();
}

fn check_members(world: &World, names: &[&str], results: &[Result<Answer, Error>]) {
    let did = |name: &str| names.iter().zip(results).any(|(n, result)| *n == name && result.is_ok());
    if did("delete") {
        assert!(!world.engine.exists(b"g"), "a deleted group is there");
        return;
    }
    let members = world.members("g");
    let is_member = |user: &str| members.iter().any(|member| member == user);
    assert!(is_member("ann"));
    let added = did("add dora") || did("add dora later");
    assert!(!added || did("remove dora") || is_member("dora"), "an add was lost");
    assert!(!did("add ed") || is_member("ed"), "an add was lost");
    assert_eq!(is_member("bob"), !did("remove bob"));
    assert_eq!(is_member("carl"), !did("delete an account"));
    let info = world.engine.info(b"g").expect("the group is there");
    let name = String::from_utf8_lossy(&info.name).into_owned();
    match (did("rename"), did("rename otherwise")) {
        (true, true) => assert!(name == "Better" || name == "Other"),
        (true, false) => assert_eq!(name, "Better"),
        (false, true) => assert_eq!(name, "Other"),
        (false, false) => assert!(name == "G" || name == "Now"),
    }
    let rooms = info.rooms().len();
    let added = names.iter().filter(|name| **name == "add a chat").count();
    assert_eq!(rooms, 1 + added - usize::from(did("remove a chat")), "chats of the group");
}

fn run_together(numbers: &[usize], [row_writes, late, removes]: [bool; 3], choose: &mut dyn FnMut(&[usize]) -> usize) {
    let names: Vec<_> = numbers.iter().map(|&number| OPERATIONS[number].0).collect();
    let mut world = world_for(&names, row_writes, removes);
    let operations: Vec<_> = numbers.iter().map(|&number| OPERATIONS[number].1(&world.engine)).collect();
    let (results, idle) = Together::new(operations).run(&mut world, late, choose);
    judge(&mut world, &names, &results, idle);
}

/// Lets the first run for `steps`, then the second to its end, as far as it gets.
fn change_over_after(steps: usize) -> (impl FnMut(&[usize]) -> usize, std::rc::Rc<std::cell::Cell<bool>>) {
    let changed = std::rc::Rc::new(std::cell::Cell::new(false));
    let (mut taken, over) = (0, std::rc::Rc::clone(&changed));
    let choose = move |runnable: &[usize]| {
        let preferred = if taken < steps { 0 } else { 1 };
        taken += 1;
        if runnable.contains(&preferred) {
            over.set(over.get() || preferred == 1);
            preferred
        } else {
            runnable[0]
        }
    };
    (choose, changed)
}

#[test]
fn two_operations_that_change_over_once_lose_nothing_wherever_it_is() {
    let mut trials = Trials::default();
    for (first, second) in pairs() {
        for steps in 1..200 {
            let (mut choose, changed) = change_over_after(steps);
            let (rows, late) = ((first + steps) % 2 == 0, (second + steps / 2) % 2 == 0);
            let removes = (first + second + steps / 4) % 2 == 0;
            let what = format!(
                "{} | {}, after {steps} (late: {late}, removes: {removes})",
                OPERATIONS[first].0, OPERATIONS[second].0
            );
            trials.attempt(&what, || run_together(&[first, second], [rows, late, removes], &mut choose));
            if !changed.get() {
                break;
            }
        }
    }
    trials.judge();
}

/// A small generator of numbers: the same for the same seed.
fn numbers(seed: u64) -> impl FnMut() -> u64 {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    }
}

#[test]
fn two_operations_that_change_over_at_random_lose_nothing() {
    let mut trials = Trials::default();
    for (first, second) in pairs() {
        for seed in 0..12 {
            let mut number = numbers(seed + 100 * (first * 100 + second) as u64 + 1);
            let mut choose = |runnable: &[usize]| runnable[(number() >> 20) as usize % runnable.len()];
            let what = format!("{} | {}, seed {seed}", OPERATIONS[first].0, OPERATIONS[second].0);
            trials.attempt(&what, || {
                run_together(&[first, second], [seed % 2 == 0, seed % 4 < 2, seed % 3 == 0], &mut choose)
            });
        }
    }
    trials.judge();
}

#[test]
fn three_operations_that_change_over_at_random_lose_nothing() {
    let mut trials = Trials::default();
    for seed in 0..1500 {
        let mut number = numbers(seed + 77_777);
        let chosen: Vec<_> = (0..3).map(|_| (number() >> 20) as usize % OPERATIONS.len()).collect();
        let what = format!("{:?}, seed {seed}", chosen.iter().map(|&number| OPERATIONS[number].0).collect::<Vec<_>>());
        let mut choose = |runnable: &[usize]| runnable[(number() >> 20) as usize % runnable.len()];
        trials.attempt(&what, || run_together(&chosen, [seed % 2 == 0, seed % 4 < 2, seed % 3 == 0], &mut choose));
    }
    trials.judge();
}
