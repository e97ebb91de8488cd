//! How many random cases the tests of links try.

use proptest::prelude::ProptestConfig;

pub(super) fn config(cases: u32) -> ProptestConfig {
    let cases = tw_testing::cases(cases);
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}
