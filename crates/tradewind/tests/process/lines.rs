//! A node behind lines that are slow, or cut, one by one: what it cannot reach, others do, and nothing is lost or written twice.

use crate::cluster::ids;
use crate::support::{Cluster, Lines, Node, said};
use serde_json::json;
use std::collections::BTreeSet;
use tw_testing::{Way, eventually};

/// Two nodes near to the servers, and a far one, `n2`.
struct World {
    cluster: Cluster,
    lines: Lines,
    written: u64,
}

impl World {
    fn new() -> Self {
        let (cluster, lines) = Cluster::start_with_a_far_node(2);
        cluster.node(0).ok(&["sql", "CREATE STREAM orders WITH (partitions = 6)"]);
        let mut world = Self { cluster, lines, written: 0 };
        world.owned_by_far(true);
        world.append(0);
        world.append(2);
        world
    }

    /// Appends by a node, to all partitions: as people are told to, until all is stored, with the same ids.
    fn append(&mut self, number: usize) {
        let ids = self.written..self.written + 60;
        let event = |id: u64| {
            let id = id.to_string();
            json!({ "specversion": "1.0", "id": id, "source": "/lines", "type": "order.placed", "subject": id })
        };
        let lines: String = ids.map(|id| event(id).to_string() + "\n").collect();
        let append = || self.cluster.node(number).cli_with(&["append", "orders"], &lines);
        eventually(|| append().status.success().then_some(()), || said(&append()));
        self.written += 60;
    }

    /// Waits until the far node has something as the first node sees it, or nothing, and somebody has each partition of the stream.
    fn owned_by_far(&self, expected: bool) {
        let units = || self.cluster.node(0).ok(&["cluster", "partitions", "-o", "csv"]);
        let is_so = || {
            let units = units();
            let owners: Vec<_> = units.lines().skip(1).filter_map(|line| line.split(',').nth(1)).collect();
            let is_whole = units.contains("orders") && owners.iter().all(|owner| !owner.is_empty());
            (is_whole && owners.contains(&"n2") == expected).then_some(())
        };
        eventually(is_so, || format!("n2 owns something: {expected}?\n{}", units()));
    }

    /// Everything that was written is there once, as all nodes see it.
    fn is_whole(&self) {
        let all: Vec<u64> = (0..self.written).collect();
        for number in 0..3 {
            let node: &Node = self.cluster.node(number);
            let differences = || {
                let (seen, wanted) = (ids(node), BTreeSet::from_iter(&all));
                format!(
                    "n{number}: {} events, missing {:?}",
                    seen.len(),
                    wanted.difference(&seen.iter().collect())
                )
            };
            eventually(|| (ids(node) == all).then_some(()), differences);
        }
    }
}

#[test]
fn clu_1_a_node_that_is_cut_off_from_etcd_gives_up_what_it_has_and_comes_back() {
    let mut world = World::new();
    for way in [Way::There, Way::Back] {
        world.lines.etcd.cut(way);
        // What it wrote until its lease ended counts; then others have it.
        world.append(2);
        world.owned_by_far(false);
        world.append(0);
        // It still takes requests, for others.
        world.append(2);
        world.lines.etcd.mend();
        world.owned_by_far(true);
        world.append(2);
    }
    world.is_whole();
}

#[test]
fn clu_1_a_node_that_others_do_not_reach_is_replaced_although_it_reaches_them() {
    let mut world = World::new();
    for way in [Way::There, Way::Back] {
        world.lines.node.cut(way);
        world.append(1);
        world.owned_by_far(false);
        world.append(0);
        world.append(2);
        world.lines.node.mend();
        world.owned_by_far(true);
        world.append(0);
    }
    world.is_whole();
}

#[test]
fn clu_2_a_node_that_is_cut_off_from_the_log_alone_does_not_keep_its_partitions_from_others() {
    let mut world = World::new();
    for way in [Way::There, Way::Back] {
        world.lines.kafka.cut(way);
        world.owned_by_far(false);
        world.append(0);
        world.lines.kafka.mend();
        world.owned_by_far(true);
        world.append(2);
    }
    world.is_whole();
}
