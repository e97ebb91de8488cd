//! Rows that several regions change: the same everywhere in the end, and what lost is told.

use super::{World, said};
use serde_json::{Value, json};
use tw_testing::{Line, Way, eventually};

const PLAYERS: &str = "CREATE STREAM players (name text, best integer MERGE max, visits bigint NOT NULL MERGE counter, \
     tags json NOT NULL MERGE set, \
     state text MERGE custom (CASE WHEN old = 'banned' THEN old ELSE new END)) WITH (partitions = 2, mode = 'active-active')";
const NAMES: &str = "CREATE PROJECTION names AS SELECT name, count(*) AS players, sum(visits) AS visits FROM players GROUP BY name";
const ROWS: &str = "SELECT _subject, name, best, visits, tags, state FROM players ORDER BY _subject";

/// Regions with a stream of players.
fn world() -> World {
    let world = World::new();
    world.define(&[PLAYERS, NAMES]);
    world
}

/// Changes in a region: subject and data; without data it is deleted.
fn change(world: &World, region: usize, round: usize, changes: &[(&str, Option<Value>)]) {
    let mut lines = String::new();
    for (number, (subject, data)) in changes.iter().enumerate() {
        let mut event = json!({
            "specversion": "1.0", "id": format!("{region}-{round}-{number}"), "source": "/players", "type": "player",
            "subject": subject,
        });
        if let Some(data) = data {
            event["data"] = data.clone();
        }
        lines += &format!("{event}\n");
    }
    let output = world.node(region).cli_with(&["append", "players"], &lines);
    assert!(output.status.success(), "REG-4: {}", said(&output));
}

fn rows(world: &World, region: usize) -> Vec<Value> {
    world.node(region).rows(ROWS, None)
}

/// The conflicts that a region tells, in any order.
fn conflicts(world: &World, region: usize) -> Vec<String> {
    let all: Vec<Value> =
        serde_json::from_str(&world.node(region).ok(&["conflicts", "ls", "-n", "100000", "-o", "json"]))
            .unwrap();
    let mut all: Vec<String> = all.iter().map(ToString::to_string).collect();
    all.sort();
    all
}

/// Waits until all regions show these visits in all, and the same rows and conflicts.
fn converge(world: &World, visits: u64) {
    for region in 0..3 {
        let sum = || world.node(region).rows("SELECT sum(visits) AS v FROM players", None)[0]["v"].clone();
        eventually(
            || (sum() == json!(visits.to_string()) || sum() == json!(visits)).then_some(()),
            || format!("region {region} has {} of {visits} visits: {:?}", sum(), rows(world, region)),
        );
    }
    let names = "SELECT name, players, visits FROM names ORDER BY name";
    for region in 1..3 {
        eventually(
            || (rows(world, region) == rows(world, 0)).then_some(()),
            || format!("REG-1: {:?} and {:?}", rows(world, region), rows(world, 0)),
        );
        let (here, there) = (|| world.node(region).rows(names, None), || world.node(0).rows(names, None));
        eventually(|| (here() == there()).then_some(()), || format!("REG-1: {:?} and {:?}", here(), there()));
        eventually(
            || (conflicts(world, region) == conflicts(world, 0)).then_some(()),
            || format!("REG-1: {:#?} and {:#?}", conflicts(world, region), conflicts(world, 0)),
        );
    }
}

/// Adds a column in one region, and waits until all have it.
fn add_wins(world: &World) {
    world.node(0).ok(&["sql", "ALTER STREAM players ADD COLUMN wins bigint NOT NULL MERGE counter"]);
    for region in 1..3 {
        let has_it =
            || world.node(region).cli(&["sql", "SELECT wins FROM players"]).status.success().then_some(());
        eventually(has_it, || world.node(region).get("/v1/status"));
    }
}

/// What lost by the changes on both sides of the cut.
fn three_are_told(world: &World) {
    // Rows are merged first, and conflicts are told then.
    eventually(|| (conflicts(world, 0).len() >= 3).then_some(()), || format!("{:?}", conflicts(world, 0)));
    let told: Vec<Value> = conflicts(world, 0).iter().map(|one| serde_json::from_str(one).unwrap()).collect();
    assert_eq!(told.len(), 3, "{told:#?}");
    let of = |subject: &str| told.iter().find(|one| one["subject"] == subject).unwrap();
    assert_eq!(
        (&of("ann")["loser"]["value"], &of("ann")["winner"]["value"]),
        (&json!("Ann"), &json!("Anna"))
    );
    assert_eq!((&of("cid")["kind"], &of("cid")["class"]), (&json!("folded-before"), &json!("custom")));
    assert_eq!((&of("bob")["kind"], &of("bob")["winner"]["region"]), (&json!("outlived"), &json!(3)));
}

#[test]
fn reg_1_rows_that_were_changed_on_both_sides_of_a_cut_are_merged_and_what_lost_is_told() {
    let mut world = world();
    let ann = |name: &str, best: i64| {
        Some(json!({"name": name, "best": best, "visits": 1, "tags": {"add": [name]}}))
    };
    change(&world, 0, 0, &[("ann", ann("An", 10)), ("bob", ann("Bob", 20)), ("cid", ann("Cid", 30))]);
    converge(&world, 3);
    assert!(conflicts(&world, 2).is_empty());
    // Nobody reaches region 2 while both sides write.
    world.lines_of(2).for_each(|line| Way::BOTH.into_iter().for_each(|way| line.cut(way)));
    change(
        &world,
        0,
        1,
        &[("ann", ann("Ann", 70)), ("bob", None), ("cid", Some(json!({"state": "banned"})))],
    );
    change(
        &world,
        2,
        1,
        &[
            ("ann", ann("Anna", 50)),
            ("bob", Some(json!({"visits": 4}))),
            ("cid", Some(json!({"tags": {"remove": ["Cid"]}, "state": "active"}))),
        ],
    );
    world.lines_of(2).for_each(Line::mend);
    converge(&world, 3 + 4 + 1);
    let shown = rows(&world, 1);
    assert_eq!(
        shown,
        [
            json!({"_subject": "ann", "name": "Anna", "best": 70, "visits": 3, "tags": ["An", "Ann", "Anna"], "state": null}),
            json!({"_subject": "bob", "name": null, "best": null, "visits": 4, "tags": [], "state": null}),
            json!({"_subject": "cid", "name": "Cid", "best": 30, "visits": 1, "tags": [], "state": "banned"}),
        ]
    );
    three_are_told(&world);
    // What a region knows outlives it.
    world.nodes[1].take().unwrap().kill();
    world.start(1);
    converge(&world, 8);
    // One row by its key, and what is no change.
    let one = world.node(1).rows("SELECT name FROM players WHERE _subject = 'ann'", None);
    assert_eq!(one, [json!({"name": "Anna"})]);
    let refused = world.node(1).cli_with(&["append", "players", "--subject", "ann"], r#"{"visits": "many"}"#);
    assert!(said(&refused).contains("column `visits`"), "{}", said(&refused));
    // A column more, with a class of its own.
    add_wins(&world);
    change(&world, 0, 2, &[("ann", Some(json!({"wins": 2})))]);
    change(&world, 2, 2, &[("ann", Some(json!({"wins": 3})))]);
    for region in 0..3 {
        let wins = || {
            let output = world.node(region).cli(&[
                "sql",
                "-o",
                "csv",
                "SELECT wins FROM players WHERE _subject = 'ann'",
            ]);
            String::from_utf8_lossy(&output.stdout).contains('5').then_some(())
        };
        eventually(wins, || format!("{:?}", rows(&world, region)));
    }
}

#[test]
fn reg_1_counters_are_exact_and_sets_are_the_same_after_cuts_and_kills() {
    let mut world = world();
    let (mut visits, mut round) = (0, 0);
    for killed in [1, 2, 0] {
        let mut write = |world: &World, region: usize| {
            round += 1;
            let tag = |n: usize| format!("{region}-{round}-{n}");
            let some: Vec<(String, Option<Value>)> = (0..20)
                .map(|n| {
                    let tags =
                        if n % 3 == 0 { json!({"remove": ["x"]}) } else { json!({"add": ["x", tag(n)]}) };
                    (
                        format!("p{}", n % 5),
                        Some(json!({"name": tag(n), "visits": 1, "best": n, "tags": tags})),
                    )
                })
                .collect();
            let some: Vec<(&str, Option<Value>)> =
                some.iter().map(|(subject, data)| (subject.as_str(), data.clone())).collect();
            change(world, region, round, &some);
            visits += 20;
        };
        (0..3).for_each(|region| write(&world, region));
        world.lines_of(killed).for_each(|line| Way::BOTH.into_iter().for_each(|way| line.cut(way)));
        (0..3).for_each(|region| write(&world, region));
        world.nodes[killed].take().unwrap().kill();
        (0..3).filter(|region| *region != killed).for_each(|region| write(&world, region));
        world.lines_of(killed).for_each(Line::mend);
        world.start(killed);
        write(&world, killed);
    }
    converge(&world, visits);
    assert!(conflicts(&world, 0).len() > 20, "regions wrote names of the same players at the same time");
}
