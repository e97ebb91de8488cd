//! The README's table: this limiter next to simpler doors, under three times what the server can do.

use super::server::{Door, Report, Scenario, Service};
use crate::overload::{Limiter, Options, Priority};
use crate::sim::{table, with_table};
use expect_test::expect_file;

fn row(name: String, report: &mut Report, unloaded_us: f64) -> Vec<String> {
    let p99 = report.p99_us() / unloaded_us;
    let shown = if p99 < 10.0 { format!("{p99:.2}") } else { format!("{p99:.0}") };
    let mut cells = vec![name, shown, format!("{:.0} %", 100.0 * report.work())];
    for priority in [Priority::CRITICAL, Priority::HIGH, Priority::NORMAL, Priority::BACKGROUND] {
        let (arrived, refused) = report.counts[priority.index()];
        cells.push(format!("{:.0} %", 100.0 * f64::from(arrived - refused) / f64::from(arrived)));
    }
    cells
}

#[test]
fn the_table_in_the_readme_is_what_the_simulation_gives() {
    let header = ["load, door", "p99", "work", "critical", "high", "normal", "background"];
    let mut rows = vec![header.map(String::from).to_vec()];
    let shifting = Scenario { workers_between: 8, ..Scenario::new(16, Service::Exponential) };
    for (load, scenario) in [
        ("uniform", Scenario::new(16, Service::Exponential)),
        ("Zipf", Scenario::new(16, Service::Zipf)),
        ("shifting", shifting),
    ] {
        let unloaded = Scenario { load: 0.3, workers_between: 16, ..scenario }.run(Door::Open, 60.0).p99_us();
        let overload = Scenario { load: 3.0, ..scenario };
        let mut limiter = Limiter::new(Options::default(), 0).unwrap();
        for (door, name) in [
            (Door::Open, "none"),
            (Door::Fixed(20), "20 at once"),
            (Door::Fixed(100), "100 at once"),
            (Door::Aimd { limit: 32.0, limit_us: 10.0 * scenario.mean_us }, "AIMD, 100 ms"),
            (Door::Given(&mut limiter), "**this one**"),
        ] {
            let mut report = overload.run(door, 60.0);
            rows.push(row(format!("{load}, {name}"), &mut report, unloaded));
        }
    }
    let readme = expect_file!["../README.md"];
    readme.assert_eq(&with_table(include_str!("../README.md"), &table(&rows)));
}
