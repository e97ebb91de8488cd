//! A stream with a home, whose home moves from region to region while lines are cut and regions are killed: whoever appends to it anywhere, with the version that
//! it knows, meets one line of versions.

use super::appends::Appends;
use super::{APPENDED, APPENDERS, Clients};
use crate::regions::World;
use crate::support::said;
use serde_json::Value;
use std::sync::atomic::Ordering;
use tw_testing::{Line, Way, cases, eventually};

const SUBJECTS: &str = "CREATE STREAM subjects WITH (partitions = 2, mode = 'home-region', home = 1)";

/// The region that takes writes.
fn home(world: &World) -> usize {
    let open = |region: usize| {
        let text = world.node(region).ok(&["region", "homes", "-o", "json"]);
        let homes: Value = serde_json::from_str(&text).unwrap();
        let homes = homes.as_array().unwrap();
        homes.iter().any(|home| home["stream"] == "subjects" && home["open"] == true)
    };
    eventually(|| (0..3).find(|region| open(*region)), || "nobody takes writes".to_owned())
}

fn in_sync(world: &World) {
    for region in 0..3 {
        let is_so = || world.node(region).cli(&["region", "status"]).status.success().then_some(());
        eventually(is_so, || said(&world.node(region).cli(&["region", "status"])));
    }
}

#[test]
fn appends_to_a_stream_with_a_home_are_linearisable_while_it_moves_and_regions_are_killed() {
    let mut world = World::new();
    world.define(&[SUBJECTS]);
    in_sync(&world);
    let clients = Clients::new((0..3).map(|region| world.node(region).url.clone()).collect());
    let appends = Appends::new(&clients, true).without_reads();
    let go_on = || {
        let before = clients.appended.load(Ordering::SeqCst);
        let done = || clients.appended.load(Ordering::SeqCst);
        let enough = || (done() >= before + APPENDED).then_some(());
        eventually(enough, || format!("{} appends after {before}", done()));
    };
    clients.while_all(
        APPENDERS,
        |number| appends.work(number),
        || {
            for _ in 0..cases(1) {
                for _ in 0..3 {
                    go_on();
                    let from = home(&world);
                    let to = ((from + 1) % 3 + 1).to_string();
                    let moved = || {
                        world.node(from).cli(&["region", "move", "subjects", "--to", &to]).status.success()
                    };
                    eventually(
                        || moved().then_some(()),
                        || said(&world.node(from).cli(&["region", "homes"])),
                    );
                }
                go_on();
                let home = home(&world);
                world.lines_of((home + 1) % 3).for_each(|line| line.cut(Way::Back));
                go_on();
                world.lines.values().for_each(Line::mend);
                world.nodes[home].take().unwrap().kill();
                world.start(home);
                go_on();
            }
        },
    );
    let counts = || {
        [0, 1, 2].map(|region| world.node(region).ok(&["replay", "subjects", "-o", "ndjson"]).lines().count())
    };
    let is_same = || Some(counts()).filter(|counts| counts.iter().all(|count| *count == counts[0]));
    eventually(is_same, || format!("regions have {:?} events", counts()));
    let figures = appends.check();
    assert!(figures.wrong.is_empty(), "{}", figures.wrong[0]);
    println!(
        "{} appends to {} subjects, {} more without an answer",
        figures.answered, figures.subjects, figures.unanswered
    );
}
