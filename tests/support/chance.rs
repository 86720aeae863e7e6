//! Histories made by chance.

use proptest::prelude::*;
use proptest::test_runner::RngSeed;

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
