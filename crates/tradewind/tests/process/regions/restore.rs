//! A region that is put back from an older copy of its log: it fetches back what it lost, and goes on.

use super::{World, run, said};
use serde_json::Value;
use std::path::{Path, PathBuf};
use tw_testing::{Line, Way, eventually};

/// The data folder of a region.
fn data(world: &World, region: usize) -> PathBuf {
    world.home(region).join("data")
}

fn copy(from: &Path, to: &Path) {
    let copied = std::process::Command::new("cp").arg("-a").args([from, to]).status().unwrap();
    assert!(copied.success());
}

/// A copy of a region's log, which goes on.
fn back_up(world: &mut World, region: usize) -> PathBuf {
    assert!(world.nodes[region].take().unwrap().signal("-TERM").success());
    let older = world.home(region).join("older");
    copy(&data(world, region).join("log"), &older);
    world.start(region);
    older
}

/// Puts an older copy of a region's log in the place of what it has.
fn put_back(world: &World, region: usize, older: &Path) {
    let log = data(world, region).join("log");
    std::fs::remove_dir_all(&log).unwrap();
    copy(older, &log);
}

fn view(world: &World, region: usize) -> Value {
    let answer = world.node(region).get("/v1/regions");
    serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap()
}

#[test]
fn reg_3_a_region_that_is_put_back_from_an_older_copy_has_everything_again_and_goes_on() {
    let mut world = World::new();
    (0..3).for_each(|region| world.write(region, 40));
    world.converge();
    let older = back_up(&mut world, 0);
    (0..3).for_each(|region| world.write(region, 40));
    world.converge();
    world.nodes[0].take().unwrap().kill();
    put_back(&world, 0, &older);
    let folder = data(&world, 0).display().to_string();
    let raised = run(&["region", "restore", &folder]);
    let told = String::from_utf8_lossy(&raised.stdout).into_owned();
    assert!(raised.status.success() && told.contains("epoch 2"), "{told}{}", said(&raised));
    // Region 3 is not reached: the region waits, says for whom, and accepts nothing that others would have.
    let lines = [(0, 2), (2, 0)];
    lines.iter().for_each(|pair| Way::BOTH.into_iter().for_each(|way| world.lines[pair].cut(way)));
    world.start(0);
    let waits = || {
        let output = world.node(0).cli(&["region", "status"]);
        (output.status.code() == Some(6)
            && said(&output).contains("has not everything yet")
            && said(&output).contains("region 3"))
        .then_some(())
    };
    eventually(waits, || said(&world.node(0).cli(&["region", "status"])));
    let refused =
        world.node(0).cli_with(&["append", "orders", "--subject", "x"], r#"{"customer": "x", "total": 1}"#);
    assert!(!refused.status.success(), "it accepted something while it was restored");
    let busy = run(&["region", "restore", &folder]);
    assert!(said(&busy).contains("end it first"), "{}", said(&busy));
    lines.iter().for_each(|pair| world.lines[pair].mend());
    world.lines.values().for_each(Line::drop_connections);
    eventually(
        || (view(&world, 0)["restore"].is_null() && view(&world, 0)["epoch"] == 2).then_some(()),
        || view(&world, 0).to_string(),
    );
    world.converge();
    (0..3).for_each(|region| world.write(region, 30));
    world.converge();
    let refused = world.node(0).cli(&["region", "go-on", "--without", "3", "--yes"]);
    assert!(said(&refused).contains("not being restored"), "{}", said(&refused));
    let nothing = run(&["region", "restore", &world.home(0).join("nothing").display().to_string()]);
    assert!(said(&nothing).contains("there is no log"), "{}", said(&nothing));
}

#[test]
fn reg_1_a_region_that_has_lost_everything_is_seeded_while_the_others_go_on() {
    let mut world = World::new();
    (0..3).for_each(|region| world.write(region, 40));
    world.converge();
    world.nodes[2].take().unwrap().kill();
    let folder = data(&world, 2);
    let config = world.home(2).join("tradewind.toml").display().to_string();
    let seed = |epoch: &str| {
        let data = folder.display().to_string();
        run(&["region", "seed", "--config", &config, "--data", &data, "--epoch", epoch])
    };
    let refused = said(&seed("2"));
    assert!(refused.contains("there is a log in"), "{refused}");
    std::fs::remove_dir_all(&folder).unwrap();
    let seeded = seed("3");
    assert!(
        seeded.status.success() && String::from_utf8_lossy(&seeded.stdout).contains("epoch 3"),
        "{}",
        said(&seeded)
    );
    // What was defined while it was away, it has, too; and it takes nothing before it has what region 1 has.
    (0..2).for_each(|region| world.write(region, 40));
    world
        .node(0)
        .ok(&["sql", "CREATE STREAM late (page text) WITH (partitions = 1, mode = 'active-active')"]);
    world.node(0).ok(&["append", "late", "--subject", "x", r#"{"page": "a"}"#]);
    let lines = [(0, 2), (2, 0)];
    lines.iter().for_each(|pair| Way::BOTH.into_iter().for_each(|way| world.lines[pair].cut(way)));
    world.start(2);
    let waits = || {
        let status = world.node(2).get("/v1/status");
        status.contains("this region is new").then_some(())
    };
    eventually(waits, || world.node(2).get("/v1/status"));
    (0..2).for_each(|region| world.write(region, 20));
    let refused =
        world.node(2).cli_with(&["append", "orders", "--subject", "x"], r#"{"customer": "x", "total": 1}"#);
    assert!(!refused.status.success(), "it accepted something before it had what others have");
    lines.iter().for_each(|pair| world.lines[pair].mend());
    world.lines.values().for_each(Line::drop_connections);
    eventually(
        || (view(&world, 2)["restore"].is_null() && view(&world, 2)["epoch"] == 3).then_some(()),
        || view(&world, 2).to_string(),
    );
    let late = world.node(2).rows("SELECT count(*) AS n FROM late", None);
    assert_eq!(late[0]["n"], 1, "it went on before it had every stream");
    (0..3).for_each(|region| world.write(region, 20));
    world.converge();
}

#[test]
fn a_restore_goes_on_without_a_region_that_is_gone_for_good() {
    let mut world = World::new();
    (0..3).for_each(|region| world.write(region, 20));
    world.converge();
    let older = back_up(&mut world, 0);
    world.write(0, 20);
    world.converge();
    world.nodes[0].take().unwrap().kill();
    world.nodes[2].take().unwrap().kill();
    put_back(&world, 0, &older);
    let folder = data(&world, 0).display().to_string();
    assert!(run(&["region", "restore", &folder]).status.success());
    world.start(0);
    let waits =
        || said(&world.node(0).cli(&["region", "status"])).contains("waits for region 3").then_some(());
    eventually(waits, || said(&world.node(0).cli(&["region", "status"])));
    let gone = world.node(0).cli(&["region", "go-on", "--without", "3", "--yes"]);
    assert!(gone.status.success(), "{}", said(&gone));
    eventually(|| view(&world, 0)["restore"].is_null().then_some(()), || view(&world, 0).to_string());
    world.write(0, 10);
    for region in 0..2 {
        eventually(
            || (world.events(region).len() == world.written).then_some(()),
            || format!("region {region} has {} of {}", world.events(region).len(), world.written),
        );
    }
}
