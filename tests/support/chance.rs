//! Histories made by chance.

use std::cell::Cell;
use std::fmt::Debug;

use proptest::prelude::*;
use proptest::test_runner::{RngSeed, TestRunner};

use super::World;

/// How property tests are run.
pub fn config(cases: u32) -> ProptestConfig {
    // The same histories each time, unless somebody asks for others.
    let hunting = std::env::var_os("PROPTEST_CASES").is_some();
    let seed = if hunting { RngSeed::Random } else { RngSeed::Fixed(20_240_601) };
    let cases = if hunting { ProptestConfig::default().cases } else { cases };
    ProptestConfig {
        cases,
        rng_seed: seed,
        failure_persistence: None,
        max_shrink_iters: 4000,
        ..ProptestConfig::default()
    }
}

/// Plays many histories, each begun in a populated world, and fails if they change fewer than `least` rosters each on
/// the average: then the test shows nothing. `play` returns how many its history changed.
pub fn play_histories<S: Strategy>(cases: u32, least: f64, histories: S, play: impl Fn(S::Value) -> usize)
where
    S::Value: Debug,
{
    let (played, changed) = (Cell::new(0), Cell::new(0));
    let outcome = TestRunner::new(config(cases)).run(&histories, |history| {
        played.set(played.get() + 1);
        changed.set(changed.get() + play(history));
        Ok(())
    });
    if let Err(error) = outcome {
        panic!("{error}");
    }
    let each = changed.get() as f64 / f64::from(played.get());
    println!("{} histories changed {each:.1} rosters each", played.get());
    assert!(each >= least, "only {each:.2} rosters are changed by a history");
}

/// Who is in which group at first, and who is online: by their places in the lists of the test.
pub type Population = (Vec<Vec<usize>>, Vec<usize>);

/// Most groups have most users as members, and most users are online.
pub fn population(groups: usize, users: usize) -> impl Strategy<Value = Population> {
    let some = move || prop::sample::subsequence((0..users).collect::<Vec<_>>(), 1..=users);
    let members = prop_oneof![5 => some(), 1 => Just(Vec::new())];
    (prop::collection::vec(members, groups), some())
}

impl World {
    /// Makes groups of these ids and names, and settles them. Who has no account is left out.
    pub fn populate(&mut self, population: &Population, groups: &[(&str, &str)], users: &[&str]) {
        let (members, online) = population;
        for ((id, name), members) in groups.iter().zip(members).filter(|(_, members)| !members.is_empty()) {
            self.create(id, name).expect("a group can be created");
            for &member in members {
                self.add(id, users[member]).expect("a member can be added");
            }
        }
        for &user in online {
            if self.host.accounts.contains(&super::n(users[user])) {
                self.login(users[user]);
            }
        }
        self.settle();
        self.host.forget();
        self.host.changed = 0;
    }
}
