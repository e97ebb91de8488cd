//! Which region serves a user: as regions know each other over real links.

use super::{World, said};
use crate::support::{Node, run};
use serde_json::Value;
use std::fmt::Write as _;
use tempfile::TempDir;
use tw_testing::{Way, eventually};

/// Frankfurt, Virginia and Singapore, as latitude and longitude.
const PLACES: [(f64, f64); 3] = [(50.1, 8.7), (38.9, -77.4), (1.3, 103.8)];

/// The same table for each region.
pub(super) fn config(ports: &[u16], capacities: Option<[u32; 3]>) -> String {
    let mut config = String::new();
    for (number, (port, (lat, lon))) in ports.iter().zip(PLACES).enumerate() {
        let place = format!("{{ lat = {lat}, lon = {lon} }}");
        let (id, url) = (number + 1, format!("http://127.0.0.1:{port}"));
        write!(config, "[[routing.regions]]\nid = {id}\nurl = \"{url}\"\nplace = {place}\n").unwrap();
        if let Some(capacities) = capacities {
            writeln!(config, "capacity_per_s = {}", capacities[number]).unwrap();
        }
    }
    config
}

/// What a region says about a user who is in Tokyo, unless the query says more.
pub(super) fn ask(node: &Node, more: &str) -> Value {
    let answer = node.get(&format!("/v1/route?lat=35.7&lon=139.7&user=ada{more}"));
    serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap()
}

pub(super) fn order(view: &Value) -> Vec<u64> {
    view["regions"].as_array().unwrap().iter().map(|one| one["region"].as_u64().unwrap()).collect()
}

#[test]
fn a_user_is_sent_to_the_nearest_region_that_is_up_and_has_what_the_user_wrote() {
    let mut world = World::new();
    world.write(0, 5);
    world.converge();
    // All have heard of all, and say the same.
    for region in 0..3 {
        let all = || (order(&ask(world.node(region), "")) == [3, 1, 2]).then_some(());
        eventually(all, || ask(world.node(region), "").to_string());
    }
    let view = ask(world.node(0), "");
    assert_eq!((view["generation"].as_u64(), view["answered_by"].as_u64()), (Some(1), Some(1)));
    assert_eq!(view["regions"][0]["url"], world.node(2).url);
    let sent = world.node(0).answer_to("/v1/route?lat=35.7&lon=139.7&user=ada&redirect=/v1/streams?x=1");
    let there = format!("location: {}/v1/streams?x=1\r\n", world.node(2).url);
    assert!(sent.starts_with("HTTP/1.1 307 ") && sent.contains(&there), "{sent}");
    let elsewhere = world.node(0).answer_to("/v1/route?user=ada&redirect=//evil.example/");
    assert!(elsewhere.starts_with("HTTP/1.1 400 "), "{elsewhere}");
    // Who wrote in region 1 stays there until region 3 has it.
    world.lines[&(2, 0)].cut(Way::Back);
    let line = r#"{"customer": "ada", "total": 1}"#;
    let written = world.node(0).cli_with(&["append", "orders", "--subject", "ada", "-o", "json"], line);
    let written: Value = serde_json::from_slice(&written.stdout).unwrap();
    let token = written["token"].as_str().unwrap();
    let with = format!("&token={token}&lag_ms_max=0");
    let view = ask(world.node(0), &with);
    assert_eq!(order(&view)[0], 1, "{view}");
    let stale = |view: &Value| {
        view["out"].as_array().unwrap().iter().any(|one| one["region"] == 3 && one["out"] == "stale")
    };
    assert!(stale(&view), "{view}");
    world.lines[&(2, 0)].mend();
    let fresh = || {
        // Stickiness would keep the user, who is sent to region 3 because it is nearer by far.
        let view = ask(world.node(0), &with);
        (order(&view)[0] == 3).then_some(view)
    };
    let view = eventually(fresh, || ask(world.node(0), &with).to_string());
    assert_eq!(view["regions"][0]["lag_ms"], 0, "{view}");
    // Where it sends, what was written is seen.
    let url = view["regions"][0]["url"].as_str().unwrap();
    let sql = "SELECT orders FROM revenue WHERE customer = 'ada'";
    let seen = run(&["sql", sql, "--token", token, "--url", url, "-o", "csv"]);
    assert!(String::from_utf8_lossy(&seen.stdout).contains("\n1"), "{}", said(&seen));
    // A region without a link is out; if all are, this one is left.
    world.lines_of(0).for_each(|line| Way::BOTH.into_iter().for_each(|way| line.cut(way)));
    eventually(
        || (order(&ask(world.node(0), "")) == [1]).then_some(()),
        || ask(world.node(0), "").to_string(),
    );
    let view = ask(world.node(0), "");
    assert!(view["out"].as_array().unwrap().iter().all(|one| one["out"] == "down"), "{view}");
    let told = world.node(0).cli(&["region", "route", "--lat", "35.7", "--lon", "139.7"]);
    assert!(String::from_utf8_lossy(&told.stdout).contains(&world.node(0).url), "{}", said(&told));
    assert!(said(&told).contains("region 3 is down"), "{}", said(&told));
}

#[test]
fn what_cannot_be_routed_is_refused_with_the_rule() {
    let folder = TempDir::new().unwrap();
    let alone = Node::start(folder.path());
    let refused = alone.cli(&["region", "route"]);
    assert!(said(&refused).contains("[region]"), "{}", said(&refused));
    let world = World::new();
    for (args, part) in [
        (vec!["region", "route", "--lat", "91", "--lon", "0"], "latitude"),
        (vec!["region", "route", "--token", "tw2;r1;x"], "is not a token"),
        (vec!["region", "route", "--current", "0"], "1 to 65535"),
    ] {
        let refused = world.node(0).cli(&args);
        assert!(!refused.status.success() && said(&refused).contains(part), "{args:?}: {}", said(&refused));
    }
}
