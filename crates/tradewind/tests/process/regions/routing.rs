//! The plan by which users are spread over regions: changed in one region, followed by all, by DNS too.

use super::route::{ask, order};
use super::{World, dns, said};
use crate::support::Node;
use serde_json::Value;
use std::process::Output;
use std::sync::atomic::{AtomicBool, Ordering};
use tw_testing::{Way, eventually, free_port};

fn routing(node: &Node, args: &[&str]) -> Output {
    node.cli(&[&["region", "routing"], args].concat())
}

/// The plan in effect, if the region answers already.
pub(super) fn plan(node: &Node) -> Option<Value> {
    let answer = node.answer_to("/v1/routing");
    let (head, body) = answer.split_once("\r\n\r\n")?;
    head.starts_with("HTTP/1.1 200").then(|| serde_json::from_str(body).unwrap())
}

pub(super) fn is_all_up(view: &Value) -> bool {
    view["regions"].as_array().unwrap().iter().all(|region| region["up"] == true)
}

fn generation(node: &Node) -> Option<u64> {
    plan(node)?["generation"].as_u64()
}

/// Waits until all regions that run have the same plan of this generation.
fn all_have(world: &World, wanted: u64) -> Value {
    let regions = |node: &Node| {
        let mut view = plan(node)?;
        let same = view["generation"] == wanted;
        let mut regions = view["regions"].take();
        // Who is up is another matter, and so is what each one has heard.
        for region in regions.as_array_mut().unwrap() {
            let members = region.as_object_mut().unwrap();
            members.retain(|member, _| member != "up" && member != "load_per_s");
        }
        same.then_some(regions)
    };
    let all = || {
        let mut plans = world.nodes.iter().flatten().map(regions);
        let first = plans.next()??;
        plans.all(|plan| plan.as_ref() == Some(&first)).then_some(first)
    };
    eventually(all, || {
        let plans: Vec<_> = world.nodes.iter().flatten().map(|node| node.answer_to("/v1/routing")).collect();
        format!("not all have generation {wanted}: {plans:#?}")
    })
}

fn done(output: &Output) {
    assert!(output.status.success(), "{}", said(output));
}

/// Waits until a region reaches the one that decides, by which all are up.
fn until_asked(world: &World, region: usize) {
    let all_up = || plan(world.node(0)).filter(is_all_up).map(drop);
    eventually(all_up, || world.node(0).answer_to("/v1/routing"));
    let args = ["drain", "3", "--dry-run"];
    let asked = || routing(world.node(region), &args).status.success().then_some(());
    eventually(asked, || said(&routing(world.node(region), &args)));
}

#[test]
fn of_two_changes_at_once_one_comes_first_and_all_regions_and_dns_follow() {
    let ports: Vec<u16> = (0..3).map(|_| free_port()).collect();
    let mut world = World::with(|region| dns::config(ports[region]));
    world.write(0, 5);
    world.converge();
    all_have(&world, 1);
    (0..3).for_each(|region| until_asked(&world, region));
    // Two operators, in two regions, neither of which decides.
    let (one, other) = (world.node(1), world.node(2));
    let outputs = std::thread::scope(|scope| {
        let shift = scope.spawn(|| routing(one, &["shift", "1", "2", "100", "--if-generation", "1"]));
        let drain = scope.spawn(|| routing(other, &["drain", "3", "--if-generation", "1"]));
        [shift.join().unwrap(), drain.join().unwrap()]
    });
    let (won, lost): (Vec<_>, Vec<_>) = outputs.iter().partition(|output| output.status.success());
    assert_eq!((won.len(), lost.len()), (1, 1), "{}{}", said(&outputs[0]), said(&outputs[1]));
    assert!(said(lost[0]).contains("generation 2 of the routing plan is in effect"), "{}", said(lost[0]));
    all_have(&world, 2);
    done(&routing(world.node(2), &["rollback", "1"]));
    assert_eq!(all_have(&world, 3)[2]["drained"], false);
    // Tokyo is near to region 3, until that is drained.
    let tokyo = |region: usize| dns::dig(ports[region], "api.tw.example", "198.51.100.0/24");
    let follows = |world: &World, address: &str, regions: &[u64]| {
        for region in 0..3 {
            eventually(
                || (order(&ask(world.node(region), "")) == regions).then_some(()),
                || ask(world.node(region), "").to_string(),
            );
            eventually(
                || (tokyo(region) == address).then_some(()),
                || format!("region {region} says {}", tokyo(region)),
            );
        }
    };
    follows(&world, "192.0.2.3", &[3, 1, 2]);
    done(&routing(world.node(1), &["drain", "3"]));
    assert_eq!(all_have(&world, 4)[2]["drained"], true);
    follows(&world, "192.0.2.1", &[1, 2]);
    let view = ask(world.node(1), "");
    assert_eq!((&view["generation"], &view["out"][0]["out"]), (&4.into(), &"drained".into()), "{view}");
    // A process that is killed comes back with it, and says nothing else before.
    for region in [0, 2] {
        world.nodes[region].take().unwrap().kill();
        world.start(region);
        let again = || {
            let generation = generation(world.node(region))?;
            assert_eq!(generation, 4, "it answers by another plan");
            Some(())
        };
        eventually(again, || world.node(region).answer_to("/v1/routing"));
    }
    follows(&world, "192.0.2.1", &[1, 2]);
    until_asked(&world, 0);
    done(&routing(world.node(0), &["weigh", "3", "1000"]));
    follows(&world, "192.0.2.3", &[3, 1, 2]);
    let shown = routing(world.node(2), &[]);
    let shown = said(&shown) + &String::from_utf8_lossy(&shown.stdout);
    assert!(shown.contains("generation 5: weigh region 3 with 1000, decided in region 1"), "{shown}");
    // The last one that serves is never taken away.
    done(&routing(world.node(0), &["drain", "1"]));
    done(&routing(world.node(0), &["drain", "2"]));
    let refused = routing(world.node(0), &["drain", "3"]);
    assert!(said(&refused).contains("nobody may serve"), "{}", said(&refused));
}

#[test]
fn while_the_region_that_decides_is_away_the_plan_stays_and_another_one_can_take_over() {
    let mut world = World::new();
    world.write(0, 5);
    world.converge();
    let shift = ["shift", "2", "3", "250"];
    eventually(
        || routing(world.node(1), &shift).status.success().then_some(()),
        || said(&routing(world.node(1), &["drain", "3", "--dry-run"])),
    );
    let before = all_have(&world, 2);
    world.nodes[0].take().unwrap().kill();
    world.lines_of(0).for_each(|line| Way::BOTH.into_iter().for_each(|way| line.cut(way)));
    let refused = || {
        let output = routing(world.node(1), &["drain", "3"]);
        assert!(!output.status.success(), "{}", said(&output));
        said(&output).contains("decides about the plan, and is not reached").then_some(())
    };
    eventually(refused, || said(&routing(world.node(1), &["drain", "3"])));
    assert_eq!(all_have(&world, 2), before, "what was known holds");
    let taken =
        || world.node(1).cli(&["region", "failover", "1", "--is-stopped"]).status.success().then_some(());
    eventually(taken, || said(&world.node(1).cli(&["region", "failover", "1", "--dry-run"])));
    let weigh = ["weigh", "2", "1000", "--if-generation", "2"];
    let weighed = || {
        let output = routing(world.node(2), &weigh);
        (output.status.success() || said(&output).contains("generation 3")).then_some(())
    };
    eventually(weighed, || said(&routing(world.node(2), &weigh)));
    world.lines_of(0).for_each(tw_testing::Line::mend);
    world.start(0);
    let after = all_have(&world, 3);
    assert_eq!((&after[1]["weight"], after[1]["given"].as_array().unwrap().len()), (&1_000.into(), 0));
    let home = || (plan(world.node(0))?["home"] == 2).then_some(());
    eventually(home, || world.node(0).answer_to("/v1/routing"));
}

/// Has a region serve some requests a second while `test` runs: one command after the other.
fn while_busy(node: &Node, test: impl FnOnce()) {
    let ended = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !ended.load(Ordering::Relaxed) {
                node.ok(&["stream", "ls"]);
            }
        });
        // Also when the test fails: otherwise nobody would learn of it.
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(test));
        ended.store(true, Ordering::Relaxed);
        if let Err(panic) = outcome {
            std::panic::resume_unwind(panic);
        }
    });
}

#[test]
fn load_is_shifted_only_where_there_is_room() {
    let world = World::with_capacities(|_| String::new(), Some([1_000, 1, 1_000]));
    let node = world.node(0);
    while_busy(node, || {
        let busy = || {
            let view = plan(node)?;
            let regions = view["regions"].as_array().unwrap();
            let is_known = view["not_known"].as_array().unwrap().is_empty();
            (is_known && is_all_up(&view) && regions[0]["load_per_s"].as_u64()? > 3).then_some(view)
        };
        let view = eventually(busy, || node.answer_to("/v1/routing"));
        assert_eq!(view["losses"].as_array().unwrap().len(), 3, "{view}");
        assert_eq!(ask(node, "")["not_known"], serde_json::json!(["measured latency"]));
        // Half of what region 1 serves is more than region 2 can.
        let refused = node.cli(&["region", "routing", "shift", "1", "2", "500"]);
        let why = said(&refused);
        assert!(!refused.status.success(), "{why}");
        assert!(why.contains("region `2` would get") && why.contains("may get 0"), "{why}");
        assert_eq!(generation(node), Some(1), "nothing was done");
        done(&routing(node, &["shift", "1", "3", "500", "--dry-run"]));
        assert_eq!(generation(node), Some(1));
        done(&routing(node, &["shift", "1", "3", "500"]));
    });
    let after = all_have(&world, 2);
    assert_eq!((&after[0]["weight"], &after[0]["given"][0]["to"]), (&500.into(), &3.into()));
}
