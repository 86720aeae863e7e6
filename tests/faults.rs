//! Every effect failing once, at every place, for every operation.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use groups_internal_native::engine::{Effect, Error};
use support::cases::{Case, busy_world};
use support::*;

fn changes() -> Vec<Case> {
    cases::changes().into_iter().chain(cases::changes_that_take_back()).collect()
}

fn contact_work() -> Vec<Case> {
    cases::contact_work().into_iter().chain(cases::work_that_takes_back()).collect()
}

/// Lets something happen at every effect of every case, and has `judge` look at the host afterwards.
fn strike_everywhere(cases: &[Case], strikes: &[Strike], judge: fn(&mut World, &Case, &Outcome, &Effect)) {
    let mut trials = Trials::default();
    for case in cases {
        for (&strike, row_writes) in strikes.iter().flat_map(|strike| [(strike, false), (strike, true)]) {
            for at in 0.. {
                let mut world = busy_world(row_writes);
                (case.prepare)(&mut world);
                let operation = (case.start)(&world.engine);
                let Some((outcome, effect)) = world.run_struck(operation, at, strike) else {
                    assert!(at > 0, "{} has no effects", case.name);
                    break;
                };
                if strike == Strike::DropAfter && !can_wait(&effect) {
                    continue;
                }
                let place = format!("{}, {strike:?} at effect {at} (rows: {row_writes}): {effect:?}", case.name);
                trials.attempt(&place, || {
                    if matches!(strike, Strike::Fail | Strike::Throw) {
                        let failed = outcome == Outcome::Done(Err(Error::Internal));
                        assert_eq!(failed, (case.needs)(&world.host, &effect), "it ended in {outcome:?}");
                    }
                    judge(&mut world, case, &outcome, &effect);
                });
            }
        }
    }
    trials.judge();
}

/// An account that could not be looked for is one that nobody knows: the next sync looks again.
fn ask_again(world: &mut World, effect: &Effect) {
    if matches!(effect, Effect::FindAccounts(_)) {
        world.settle_within(3000.0);
        world.sync("g");
    }
}

fn finish(world: &mut World) {
    world.settle_within(3000.0);
    world.check_agreement();
    world.check_contacts();
    world.check_taken_back();
    world.check_deletions();
}

#[test]
fn a_change_that_fails_leaves_state_and_store_in_agreement_and_succeeds_when_done_again() {
    strike_everywhere(&changes(), &[Strike::Fail, Strike::Throw], |world, case, outcome, effect| {
        world.check_agreement();
        if matches!(outcome, Outcome::Done(Err(_))) {
            let again = world.run((case.start)(&world.engine));
            assert!(again.is_ok(), "again gives {again:?}");
        }
        ask_again(world, effect);
        finish(world);
    });
}

#[test]
fn work_on_contact_lists_that_fails_once_is_made_good_without_being_asked_again() {
    strike_everywhere(&contact_work(), &[Strike::Fail, Strike::Throw], |world, _, _, effect| {
        world.check_agreement();
        ask_again(world, effect);
        finish(world);
    });
}

#[test]
fn an_operation_that_is_dropped_anywhere_lets_the_next_one_on() {
    strike_everywhere(&changes(), &[Strike::DropBefore, Strike::DropAfter], |world, case, _, effect| {
        let before = world.host.now;
        let again = world.run((case.start)(&world.engine));
        assert_ne!(again, Err(Error::Internal));
        if matches!(effect, Effect::StoreInfo(_, Some(_))) && case.name == "create with a chat and any id" {
            // It may be stored, but the engine was not told: the next start finds it.
            world.crash();
        }
        assert!(world.host.now - before < 1.0, "the turn was not given up");
        finish(world);
    });
}

#[test]
fn work_on_contact_lists_that_is_dropped_anywhere_is_done_later() {
    strike_everywhere(&contact_work(), &[Strike::DropBefore, Strike::DropAfter], |world, case, _, effect| {
        if case.name == "work after a removal" && matches!(effect, Effect::StoreMarker(_)) {
            // It still tells of work that is done, until there is news or the next start.
            world.crash();
        }
        finish(world);
    });
}

#[test]
fn a_crash_anywhere_ends_with_contact_lists_as_the_stored_membership_says() {
    let cases: Vec<_> = changes().into_iter().chain(contact_work()).collect();
    strike_everywhere(&cases, &[Strike::CrashBefore, Strike::CrashAfter], |world, case, _, effect| {
        world.start();
        let told_nobody = case.name == "account deleted" && matches!(effect, Effect::StoreMarker(_));
        if told_nobody && world.host.marker.as_ref().is_none_or(|marker| marker.get("withdrawals").is_none()) {
            // The event was the only one to say so.
            world.host.gone.clear();
        }
        finish(world);
        if case.name.contains("member") {
            world.check_rooms();
            world.check_saved_rooms();
        }
    });
}
