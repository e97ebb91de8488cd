//! How many cases property tests run.

use proptest::test_runner::Config;

/// How property tests run: with so many cases, or as many as the environment asks for.
pub(crate) fn config(cases: u32) -> Config {
    let cases = tw_testing::cases(cases);
    Config { cases, failure_persistence: None, ..Config::default() }
}
