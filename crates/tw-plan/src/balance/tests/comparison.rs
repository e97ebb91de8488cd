//! The README's table: the policies under four loads.

use super::nodes::Scenario;
use crate::balance::{Options, Policy};
use crate::sim::{table, with_table};
use expect_test::expect_file;

#[test]
fn the_table_in_the_readme_is_what_the_simulation_gives() {
    let equal = Scenario { workers: vec![4; 12], load: 0.8, subjects: None, shifting: false };
    let unequal = Scenario { workers: [2, 4, 8].repeat(4), ..equal.clone() };
    let shifting = Scenario { load: 0.6, shifting: true, ..equal.clone() };
    let zipf = Scenario { load: 1.2, subjects: Some(10_000), ..equal.clone() };
    let blind = Options { capacity_aware: false, ..Options::default() };
    let with = |policy| Options { policy, ..Options::default() };
    let mut rows = vec![
        [
            "policy",
            "uniform: p50",
            "p99",
            "unequal: p50",
            "p99",
            "shifting: p50",
            "p99",
            "Zipf: p50",
            "p99",
            "hits",
        ]
        .map(String::from)
        .to_vec(),
    ];
    for (name, options) in [
        ("round robin, not capacity-aware", Options { policy: Policy::RoundRobin, ..blind.clone() }),
        ("round robin", with(Policy::RoundRobin)),
        ("least loaded", with(Policy::LeastLoaded)),
        ("two choices, not capacity-aware", Options { policy: Policy::TwoChoices, ..blind }),
        ("two choices", with(Policy::TwoChoices)),
        ("adaptive", with(Policy::Adaptive)),
        ("sticky", with(Policy::Sticky)),
    ] {
        let mut cells = vec![name.to_owned()];
        for scenario in [&equal, &unequal, &shifting, &zipf] {
            let mut outcomes = scenario.run(&options, 30.0);
            cells.extend([500, 990].map(|permille| format!("{:.1} ms", outcomes.quantile_ms(permille))));
            if scenario.subjects.is_some() {
                let done = outcomes.latencies_us.len() as f64;
                cells.push(format!("{:.0} %", 100.0 * f64::from(outcomes.hits) / done));
            }
        }
        rows.push(cells);
    }
    let readme = expect_file!["../README.md"];
    readme.assert_eq(&with_table(include_str!("../README.md"), &table(&rows)));
}
