//! The README's table: three ways to choose a region, through four events.

use super::world::{Event, Policy, run};
use crate::sim::{table, with_table};
use expect_test::expect_file;

#[test]
fn the_table_in_the_readme_is_what_the_simulation_gives() {
    let header = ["event, policy", "p50", "p99", "moves of 100 users", "beyond capacity"];
    let mut rows = vec![header.map(String::from).to_vec()];
    for (event, name) in [
        (Event::Nothing, "steady"),
        (Event::Slow, "region slow"),
        (Event::Down, "region down"),
        (Event::Small, "region at its capacity"),
    ] {
        for (policy, label) in [
            (Policy::Nearest, "nearest"),
            (Policy::Fastest, "lowest latency"),
            (Policy::Ours, "**this one**"),
        ] {
            let mut outcome = run(event, policy);
            let mut cells = vec![format!("{name}, {label}")];
            cells.extend([500, 990].map(|permille| format!("{:.0} ms", outcome.quantile_ms(permille))));
            cells.extend([format!("{:.0}", outcome.moves), format!("{:.1} %", outcome.beyond)]);
            rows.push(cells);
        }
    }
    let readme = expect_file!["../README.md"];
    readme.assert_eq(&with_table(include_str!("../README.md"), &table(&rows)));
}
