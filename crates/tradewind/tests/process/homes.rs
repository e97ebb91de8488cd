//! Streams with a home, in real regions: moved, taken over from a region that was cut off and killed, and given back.

use crate::regions::World;
use crate::support::said;
use serde_json::Value;
use tw_testing::{Etcd, Line, Quality, Way, eventually};

const LEDGER: &str =
    "CREATE STREAM ledger (amount bigint) WITH (partitions = 2, mode = 'home-region', home = 1)";
const BALANCE: &str =
    "CREATE PROJECTION balance AS SELECT count(*) AS entries, sum(amount) AS amount FROM ledger";

/// Regions with a stream whose home is the first one.
fn world() -> World {
    with_ledger(World::new())
}

fn with_ledger(world: World) -> World {
    world.define(&[LEDGER, BALANCE]);
    for region in 0..3 {
        let in_sync = || world.node(region).cli(&["region", "status"]).status.success().then_some(());
        eventually(in_sync, || said(&world.node(region).cli(&["region", "status"])));
    }
    world
}

/// Writes an entry; what the node said if it refused.
fn write(world: &World, region: usize, id: &str) -> Result<(), String> {
    let event = serde_json::json!({
        "specversion": "1.0", "id": id, "source": "/ledger", "type": "entry", "subject": "account", "data": { "amount": 1 },
    });
    let output = world.node(region).cli_with(&["append", "ledger"], &event.to_string());
    if output.status.success() { Ok(()) } else { Err(said(&output)) }
}

/// The homes that a region knows.
fn ledger(world: &World, region: usize) -> Value {
    let text = world.node(region).ok(&["region", "homes", "-o", "json"]);
    let homes: Value = serde_json::from_str(&text).unwrap();
    let homes = homes.as_array().unwrap();
    homes.iter().find(|home| home["stream"] == "ledger").cloned().unwrap_or_default()
}

fn until_open(world: &World, region: usize) {
    let is_open = || (ledger(world, region)["open"] == true).then_some(());
    eventually(is_open, || format!("region {region} takes no writes: {}", ledger(world, region)));
}

fn balance(world: &World, entries: u64) {
    for region in 0..3 {
        let rows = || world.node(region).rows("SELECT entries, amount FROM balance", None);
        let has_all = || rows().first().is_some_and(|row| row["entries"] == entries);
        eventually(
            || has_all().then_some(()),
            || format!("region {region} has {:?} instead of {entries}", rows()),
        );
    }
}

/// The region that has accepted an event, which another one has already.
fn accepted_by(world: &World, region: usize, id: &str) -> String {
    let events = world.node(region).ok(&["replay", "ledger", "-o", "ndjson"]);
    let mut events = events.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let found = events.find(|event| event["id"] == id).unwrap();
    found["tworigin"].as_str().unwrap().split('.').next().unwrap().to_owned()
}

#[test]
fn a_home_is_moved_taken_over_and_given_back_with_a_list_of_what_was_at_risk() {
    let mut world = world();
    write(&world, 0, "first").unwrap();
    // Sent on to the home.
    write(&world, 1, "elsewhere").unwrap();
    assert_eq!(accepted_by(&world, 0, "elsewhere"), "1");
    let planned = world.node(0).ok(&["region", "move", "ledger", "--to", "2", "--dry-run"]);
    assert!(planned.contains("ledger"), "{planned}");
    write(&world, 0, "still here").unwrap();
    world.node(0).ok(&["region", "move", "ledger", "--to", "2"]);
    until_open(&world, 1);
    write(&world, 1, "moved").unwrap();
    write(&world, 0, "sent on").unwrap();
    balance(&world, 5);
    assert_eq!(accepted_by(&world, 1, "sent on"), "2");
    // The home is cut off, writes on, and is killed.
    world.lines_of(1).for_each(|line| Way::BOTH.into_iter().for_each(|way| line.cut(way)));
    for id in ["risk-1", "risk-2", "risk-3"] {
        write(&world, 1, id).unwrap();
    }
    let down = || said(&world.node(2).cli(&["region", "status"])).contains("region 2 is down").then_some(());
    eventually(down, || said(&world.node(2).cli(&["region", "status"])));
    world.nodes[1].take().unwrap().kill();
    let plan = world.node(2).cli(&["region", "failover", "2", "--dry-run"]);
    assert!(plan.status.success() && said(&plan).contains("nothing was done"), "{}", said(&plan));
    let unsure = world.node(2).cli(&["region", "failover", "2"]);
    assert!(!unsure.status.success() && said(&unsure).contains("--is-stopped"), "{}", said(&unsure));
    world.node(2).ok(&["region", "failover", "2", "--is-stopped"]);
    write(&world, 2, "taken over").unwrap();
    assert_eq!(ledger(&world, 2)["planned"], false);
    let none = world.node(2).ok(&["region", "at-risk", "-o", "json"]);
    assert_eq!(none.trim(), "[]", "it has not told yet");
    // It is back, takes no writes, and tells.
    world.lines.values().for_each(Line::mend);
    world.start(1);
    let knows = || (ledger(&world, 1)["home"] == 3).then_some(());
    eventually(knows, || ledger(&world, 1).to_string());
    write(&world, 1, "not any more").unwrap();
    assert_eq!(accepted_by(&world, 2, "not any more"), "3");
    balance(&world, 10);
    for region in 0..3 {
        let listed = || {
            let text = world.node(region).ok(&["region", "at-risk", "-o", "json"]);
            let list: Vec<Value> = serde_json::from_str(&text).unwrap();
            let mut ids: Vec<String> =
                list.iter().map(|one| one["id"].as_str().unwrap().to_owned()).collect();
            ids.sort();
            ids
        };
        let is_all = || (listed() == ["risk-1", "risk-2", "risk-3"]).then_some(());
        eventually(is_all, || format!("region {region} lists {:?}", listed()));
    }
    let there = || world.node(2).cli(&["region", "failback", "2"]).status.success().then_some(());
    eventually(there, || said(&world.node(2).cli(&["region", "failback", "2"])));
    until_open(&world, 1);
    write(&world, 1, "back again").unwrap();
    balance(&world, 11);
}

/// A home that is killed while it gives a stream away has given it away or not, and one region takes writes in the end.
#[test]
fn a_home_that_is_killed_while_it_moves_is_somewhere() {
    let mut world = world();
    let (mut home, mut written) = (0, 0);
    for round in 0..6u64 {
        write(&world, home, &format!("round-{round}")).unwrap();
        written += 1;
        let to = (home + 1) % 3;
        let url = world.node(home).url.clone();
        let number = (to + 1).to_string();
        let moving = std::thread::spawn(move || {
            crate::support::run(&["region", "move", "ledger", "--to", &number, "--url", &url])
        });
        std::thread::park_timeout(std::time::Duration::from_millis(round * 4));
        world.nodes[home].take().unwrap().kill();
        let _done_or_not = moving.join().unwrap();
        world.start(home);
        let open = || {
            let open: Vec<usize> = (0..3).filter(|region| ledger(&world, *region)["open"] == true).collect();
            assert!(open.len() <= 1, "regions {open:?} take writes at once");
            open.first().copied()
        };
        home = eventually(open, || "nobody takes writes".to_owned());
        let linked = || world.node(home).cli(&["region", "status"]).status.success().then_some(());
        eventually(linked, || said(&world.node(home).cli(&["region", "status"])));
    }
    balance(&world, written);
    let text = world.node(0).ok(&["region", "at-risk", "-o", "json"]);
    assert_eq!(text.trim(), "[]", "a planned move puts nothing at risk");
}

/// With an etcd that all reach, a home that is killed is replaced, and one that is cut off from everything stops writing and is replaced, each time without a person.
#[test]
fn with_an_arbiter_a_home_that_is_gone_is_replaced_and_stops_writing_before() {
    let etcd = Etcd::start();
    let lines: Vec<Line> = (0..3).map(|region| Line::open(etcd.port(), Quality::default(), region)).collect();
    let arbiter = |region: usize| {
        format!("[arbiter]\nendpoints = [\"http://127.0.0.1:{}\"]\npresent_ms = 2000\n", lines[region].port())
    };
    let mut world = with_ledger(World::with(arbiter));
    until_open(&world, 0);
    write(&world, 0, "first").unwrap();
    balance(&world, 1);
    let present = world.node(1).cli(&["region", "failover", "1"]);
    assert!(!present.status.success(), "it is there: {}", said(&present));
    world.nodes[0].take().unwrap().kill();
    let open = |world: &World, among: &[usize]| {
        let is_open = || among.iter().copied().find(|region| ledger(world, *region)["open"] == true);
        eventually(is_open, || "nobody takes writes".to_owned())
    };
    let second = open(&world, &[1, 2]);
    write(&world, second, "second").unwrap();
    world.start(0);
    let knows = || (ledger(&world, 0)["home"] == second + 1).then_some(());
    eventually(knows, || ledger(&world, 0).to_string());
    write(&world, 0, "sent on").unwrap();
    balance(&world, 3);
    // Cut off from the others and from etcd.
    world
        .lines_of(second)
        .chain([&lines[second]])
        .for_each(|line| Way::BOTH.into_iter().for_each(|way| line.cut(way)));
    let others: Vec<usize> = (0..3).filter(|region| *region != second).collect();
    let third = open(&world, &others);
    let refused = write(&world, second, "too late").unwrap_err();
    assert!(refused.contains("cannot be sure"), "{refused}");
    write(&world, third, "third").unwrap();
    world.lines.values().chain(&lines).for_each(Line::mend);
    let knows = || (ledger(&world, second)["home"] == third + 1).then_some(());
    eventually(knows, || ledger(&world, second).to_string());
    balance(&world, 4);
}
