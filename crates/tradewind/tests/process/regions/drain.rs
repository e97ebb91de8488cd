//! A region that is to be ended: it accepts nothing more, and the others have all of it before.

use super::{World, said};
use tw_testing::{Line, Way, eventually};

const LEDGER: &str =
    "CREATE STREAM ledger (amount bigint) WITH (partitions = 1, mode = 'home-region', home = 1)";

#[test]
fn a_region_is_drained_when_every_other_one_has_all_of_it() {
    let mut world = World::new();
    world.define(&[LEDGER]);
    (0..3).for_each(|region| world.write(region, 30));
    world.converge();
    let node = world.node(0);
    let drain = |args: &[&str]| node.cli(&[&["region", "drain"], args].concat());
    let refused = drain(&[]);
    assert!(said(&refused).contains("this region is the home of `$routing`, `ledger`"), "{}", said(&refused));
    assert!(drain(&["--to", "2", "--dry-run"]).status.success());
    // Region 3 hears nothing of what this one has written last.
    let lines = [(0, 2), (2, 0)];
    lines.iter().for_each(|pair| Way::BOTH.into_iter().for_each(|way| world.lines[pair].cut(way)));
    world.write(0, 20);
    let node = world.node(0);
    let drain = |args: &[&str]| node.cli(&[&["region", "drain"], args].concat());
    let late = drain(&["--to", "2", "--timeout", "3s"]);
    assert_eq!(late.status.code(), Some(6), "{}", said(&late));
    assert!(said(&late).contains("the home of `ledger` is region 2"), "{}", said(&late));
    assert!(said(&late).contains("region 3 has not everything yet"), "{}", said(&late));
    let order = r#"{"customer": "x", "total": 1}"#;
    let refused = node.cli_with(&["append", "orders", "--subject", "x"], order);
    assert!(said(&refused).contains("this region is drained"), "{}", said(&refused));
    assert!(node.get("/v1/status").contains("this region is drained"));
    // What is written elsewhere is sent on, and what is of this region alone is accepted.
    let entry = || {
        node.cli_with(&["append", "ledger", "--subject", "a"], r#"{"amount": 1}"#)
            .status
            .success()
            .then_some(())
    };
    eventually(entry, || said(&node.cli(&["region", "homes"])));
    node.ok(&["sql", "CREATE STREAM notes (text text)"]);
    assert!(node.cli_with(&["append", "notes", "--subject", "a"], r#"{"text": "x"}"#).status.success());
    lines.iter().for_each(|pair| world.lines[pair].mend());
    world.lines.values().for_each(Line::drop_connections);
    let done = drain(&[]);
    assert!(done.status.success(), "{}", said(&done));
    for region in 1..3 {
        assert_eq!(
            world.events(region).len(),
            world.written,
            "region {region} lacks something of a drained one"
        );
    }
    // It stays drained over a restart.
    world.nodes[0].take().unwrap().kill();
    world.start(0);
    let order = r#"{"customer": "x", "total": 1}"#;
    let refused = || {
        let output = world.node(0).cli_with(&["append", "orders", "--subject", "x"], order);
        said(&output).contains("this region is drained").then_some(())
    };
    eventually(refused, || world.node(0).get("/v1/status"));
    world.node(0).ok(&["region", "drain", "--undo"]);
    (0..3).for_each(|region| world.write(region, 10));
    world.converge();
}
