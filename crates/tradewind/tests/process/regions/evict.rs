//! A region that is gone: the others go on without it, it is told so when it comes back, and it is seeded.

use super::{World, said};
use crate::support::run;
use serde_json::{Value, json};
use tw_testing::eventually;

const PLAYERS: &str = "CREATE STREAM players (name text, visits bigint NOT NULL MERGE counter) WITH (partitions = 1, mode = 'active-active')";
const LEDGER: &str =
    "CREATE STREAM ledger (amount bigint) WITH (partitions = 1, mode = 'home-region', home = 3)";
const ROWS: &str = "SELECT _subject, name, visits FROM players ORDER BY _subject";

fn view(world: &World, region: usize) -> Value {
    let answer = world.node(region).get("/v1/regions");
    serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap()
}

/// A change of a player, or without a name its end.
fn change(world: &World, region: usize, subject: &str, name: Option<&str>) {
    let mut event = json!({
        "specversion": "1.0", "id": format!("{region}-{subject}-{name:?}"), "source": "/players", "type": "player",
        "subject": subject,
    });
    if let Some(name) = name {
        event["data"] = json!({"name": name, "visits": 1});
    }
    let output = world.node(region).cli_with(&["append", "players"], &event.to_string());
    assert!(output.status.success(), "{}", said(&output));
}

/// Waits until these regions show these players.
fn players(world: &World, regions: std::ops::Range<usize>, names: &[&str]) {
    for region in regions {
        let shown = || {
            let rows = world.node(region).rows(ROWS, None);
            rows.iter().filter_map(|row| row["name"].as_str().map(str::to_owned)).collect::<Vec<_>>()
        };
        eventually(|| (shown() == names).then_some(()), || format!("region {region}: {:?}", shown()));
    }
}

#[test]
fn reg_1_a_region_that_is_gone_is_evicted_is_told_so_and_is_seeded() {
    let mut world = World::new();
    world.define(&[PLAYERS, LEDGER]);
    (0..3).for_each(|region| world.write(region, 20));
    change(&world, 2, "ann", Some("Ann"));
    change(&world, 0, "bob", Some("Bob"));
    players(&world, 0..3, &["Ann", "Bob"]);
    world.converge();
    world.nodes[2].take().unwrap().kill();
    let evict = |world: &World, args: &[&str]| world.node(0).cli(&[&["region", "evict", "3"], args].concat());
    let down =
        || (said(&world.node(0).cli(&["region", "status"])).contains("region 3 is down")).then_some(());
    eventually(down, || said(&world.node(0).cli(&["region", "status"])));
    // It is the home of something, was heard a moment ago, and what waits for it is named.
    let refused = evict(&world, &["--force", "--yes"]);
    assert!(said(&refused).contains("the home of `ledger`"), "{}", said(&refused));
    world.node(0).ok(&["region", "failover", "3", "--is-stopped"]);
    let refused = evict(&world, &["--yes"]);
    assert!(said(&refused).contains("evict_after_ms"), "{}", said(&refused));
    let dry = evict(&world, &["--force", "--dry-run"]);
    let shown = String::from_utf8_lossy(&dry.stdout).into_owned();
    assert!(dry.status.success() && shown.contains("players"), "{shown}{}", said(&dry));
    assert!(view(&world, 0)["evicted"].as_array().unwrap().is_empty());
    let done = evict(&world, &["--force", "--yes"]);
    assert!(done.status.success() && said(&done).contains("seed --epoch 2"), "{}", said(&done));
    assert!(evict(&world, &["--yes"]).status.success(), "once more changes nothing");
    for region in 0..2 {
        let is_complete = || (view(&world, region)["evicted"][0]["complete"] == true).then_some(());
        eventually(is_complete, || view(&world, region).to_string());
        let status = || {
            let output = world.node(region).cli(&["region", "status"]);
            (output.status.success() && said(&output).contains("region 3 was evicted by region 1"))
                .then_some(())
        };
        eventually(status, || said(&world.node(region).cli(&["region", "status"])));
    }
    let metric =
        || world.node(0).metrics().contains("tradewind_region_evicted{region=\"3\"} 1").then_some(());
    eventually(metric, || world.node(0).metrics());
    (0..2).for_each(|region| world.write(region, 20));
    change(&world, 1, "ann", None);
    players(&world, 0..2, &["Bob"]);
    // It comes back, and accepts nothing that the others would have.
    world.start(2);
    let told = || {
        let output = world.node(2).cli(&["region", "status"]);
        (output.status.code() == Some(6) && said(&output).contains("have evicted this region")).then_some(())
    };
    eventually(told, || said(&world.node(2).cli(&["region", "status"])));
    let order = r#"{"customer": "x", "total": 1}"#;
    let refused = world.node(2).cli_with(&["append", "orders", "--subject", "x"], order);
    assert!(said(&refused).contains("seed --epoch 2"), "{}", said(&refused));
    seed(&mut world);
    (0..3).for_each(|region| world.write(region, 10));
    change(&world, 2, "bob", Some("Rob"));
    players(&world, 0..3, &["Rob"]);
    world.converge();
    for stream in ["orders", "players"] {
        let hashes = |region: usize| world.node(region).ok(&["region", "hashes", stream, "-o", "json"]);
        let is_same = || (1..3).all(|region| hashes(region) == hashes(0)).then_some(());
        eventually(is_same, || format!("REG-1: {}", (0..3).map(hashes).collect::<String>()));
    }
}

/// Begins a new log of region 3, and waits until that has everything and all others know that it is back.
fn seed(world: &mut World) {
    world.nodes[2].take().unwrap().kill();
    let folder = world.home(2).join("data");
    std::fs::remove_dir_all(&folder).unwrap();
    let (config, data) = (world.home(2).join("tradewind.toml"), folder.display().to_string());
    let seeded = run(&["region", "seed", "--config", &config.display().to_string(), "--data", &data]);
    assert!(seeded.status.success(), "{}", said(&seeded));
    world.start(2);
    let is_back = || (view(world, 2)["restore"].is_null() && view(world, 2)["epoch"] == 2).then_some(());
    eventually(is_back, || view(world, 2).to_string());
    for region in 0..2 {
        let is_member = || view(world, region)["evicted"].as_array().unwrap().is_empty().then_some(());
        eventually(is_member, || view(world, region).to_string());
    }
}
