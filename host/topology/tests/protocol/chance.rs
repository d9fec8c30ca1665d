//! How many histories a property is tried on, and which. What gates a change is the same every time: a red test then
//! says something about the change, and luck is for `make soak`. It must never depend on the time or the machine.

use proptest::test_runner::{Config, RngSeed};

/// How many histories are tried: as many as `HISTORIES` says, some thousand otherwise.
pub fn histories() -> u32 {
    std::env::var("HISTORIES").map_or(2_000, |number| number.parse().expect("HISTORIES is a number"))
}

/// Where the random numbers begin: where `SEED` says, or always at the same place.
pub fn seed() -> u64 {
    std::env::var("SEED").map_or(1, |seed| seed.parse().expect("SEED is a number"))
}

/// As many histories as are wanted, each shortened for up to so many steps once it fails.
pub fn config(max_shrink_iters: u32) -> Config {
    Config { cases: histories(), max_shrink_iters, rng_seed: RngSeed::Fixed(seed()), ..Config::default() }
}
