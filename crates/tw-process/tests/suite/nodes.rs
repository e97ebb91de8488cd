//! Several nodes on one log, each with a state of its own, as on Kafka: what they derive and decide is the same.

use crate::support::ledger::key;
use crate::support::node::{Node, block_on, eventually, id, poll};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tw_log::Log;
use tw_process::{ParkedFilter, Standing, committed_offset};
use tw_state::{Range, Store};
use tw_types::{Data, EventRef, Offset, PartitionId};

/// Two nodes that process the same partition, in which the first event of each of `count` subjects is parked, and
/// another one waits behind it.
fn with_parked(count: u64) -> Vec<Node> {
    let nodes = Node::many(1, 2);
    nodes[0].append_sick(0, count);
    for node in &nodes {
        node.add("v");
    }
    for node in &nodes {
        poll(|| node.sum(|partition| partition.parked) == count && node.is_silent());
    }
    nodes
}

#[test]
fn pro_3_what_two_nodes_park_is_said_once() {
    let nodes = with_parked(100);
    let said = nodes[0].parked_events(100);
    assert_eq!(said.iter().collect::<BTreeSet<_>>().len(), said.len());
    assert_eq!(said.len(), 100);
    for node in &nodes {
        let page = node.handle().parked().ls(&ParkedFilter::default(), None, 1_000).unwrap();
        assert_eq!(page.events.len(), 100);
    }
}

#[test]
fn pro_3_what_is_decided_on_one_node_is_carried_out_on_all() {
    let nodes = with_parked(3);
    nodes[0].heal(0, 1);
    block_on(nodes[0].handle().parked().drop_event(&id("v/orders/0/0"))).unwrap();
    block_on(nodes[1].handle().parked().retry(&id("v/orders/0/1"))).unwrap();
    block_on(nodes[1].handle().parked().retry(&id("v/orders/0/2"))).unwrap();
    for node in &nodes {
        poll(|| node.sum(|partition| partition.waiting) == 2 && node.is_silent());
        assert_eq!(node.applied("v", 0), [1, 3, 4].into());
    }
    let said = nodes[0].parked_events(8);
    let mut expected: Vec<_> = (0..3).map(|offset| format!("parked v/orders/0/{offset}")).collect();
    expected
        .extend(["dropped v/orders/0/0", "retried v/orders/0/1", "retried v/orders/0/2"].map(String::from));
    let mut after = said.clone().split_off(6);
    after.sort();
    assert_eq!(
        (&said[..6], &after[..]),
        (&expected[..], &["parked v/orders/0/2", "released v/orders/0/1"].map(String::from)[..])
    );
    // A third one, which comes later, makes the same of it.
    nodes[0].heal(0, 0);
    let mut late = nodes;
    late[1].restart(false);
    late[1].add("v");
    poll(|| late[1].sum(|partition| partition.parked) == 1);
    assert_eq!(late[1].applied("v", 0), [1, 3, 4].into());
    late[0].health.check();
}

#[test]
fn pro_3_a_node_that_cannot_write_follows_the_others() {
    let nodes = Node::many(1, 2);
    nodes[1].refuse_parked(true);
    nodes[0].sick(0, 0);
    nodes[0].append(0, &["a", "a", "b"]);
    // It is the first to park the event, and tries to say so, before the other one knows of it.
    nodes[1].add("v");
    poll(|| nodes[1].sum(|partition| partition.parked) == 1 && nodes[1].refusals() > 0);
    nodes[0].add("v");
    poll(|| nodes[0].sum(|partition| partition.parked) == 1);
    block_on(nodes[0].handle().parked().drop_event(&id("v/orders/0/0"))).unwrap();
    for node in &nodes {
        poll(|| node.sum(|partition| partition.waiting) == 0);
        assert_eq!(node.applied("v", 0), [1, 2].into());
        assert_eq!(node.handle().status_of("v").unwrap().partitions[0].standing, Standing::Running);
    }
    nodes[0].health.check();
}

#[test]
fn pro_3_what_was_dropped_elsewhere_before_it_was_parked_here_is_not_parked_again() {
    let nodes = Node::many(1, 2);
    nodes[0].sick(0, 0);
    nodes[0].append(0, &["a", "a"]);
    nodes[0].add("v");
    nodes[0].parked_events(1);
    block_on(nodes[0].handle().parked().drop_event(&id("v/orders/0/0"))).unwrap();
    nodes[1].add("v");
    for node in &nodes {
        node.wait("v").unwrap();
        poll(|| node.sum(|partition| partition.waiting) == 0 && node.is_silent());
        assert_eq!(node.applied("v", 0), [1].into());
    }
    assert_eq!(nodes[0].parked_events(2), ["parked v/orders/0/0", "dropped v/orders/0/0"]);
}

#[test]
fn a_view_that_is_removed_on_all_nodes_is_ended_once() {
    let nodes = with_parked(2);
    for node in &nodes {
        node.handle().remove("v").unwrap();
    }
    assert_eq!(nodes[0].parked_events(3)[2], "released v");
    for node in &nodes {
        node.add("v");
    }
    // They are parked anew, in episodes after those that were ended.
    let said = nodes[0].parked_events(5);
    for node in &nodes {
        poll(|| node.sum(|partition| partition.parked) == 2 && node.is_silent());
    }
    assert_eq!(nodes[0].parked_events(5), said);
}

/// What the ledger of a partition must hold at an offset: the log, replayed once.
fn replayed(node: &Node, partition: u32, end: Offset) -> BTreeMap<Vec<u8>, u64> {
    let (at, number) = (node.at(partition), PartitionId(partition));
    let mut ledger = BTreeMap::new();
    for block in pollster::block_on(node.log.read(at, Offset::ZERO, usize::MAX)).unwrap() {
        for event in block.records().unwrap().iter().unwrap() {
            let event = event.unwrap();
            if event.offset < end {
                ledger.insert(key(1, number, &event.offset.0.to_be_bytes()).to_vec(), 1);
                let subject = event.event.subject.unwrap().as_bytes();
                ledger.insert(key(2, number, subject).to_vec(), event.offset.0);
            }
        }
    }
    ledger
}

/// Compares the state of a partition with the log, and says up to which offset.
fn compare(node: &Node, partition: u32) -> Offset {
    let reading = node.handle().reading("v").unwrap();
    let number = PartitionId(partition);
    reading.check(number).unwrap();
    let snapshot = node.store.snapshot();
    let end = committed_offset(snapshot.as_ref(), reading.keyspace, number).unwrap().unwrap_or_default();
    let mut ledger = BTreeMap::new();
    for kind in [1, 2] {
        for entry in snapshot.range(reading.keyspace, Range::prefix(&key(kind, number, &[]))) {
            let (key, value) = entry.unwrap();
            ledger.insert(key.to_vec(), u64::from_be_bytes(value[..].try_into().unwrap()));
        }
    }
    assert!(ledger == replayed(node, partition, end), "partition {partition} differs at offset {end}");
    end
}

const PARTITIONS: u32 = 3;

/// Writes to all partitions, through the event store of the node.
fn write(node: &Node, name: &str, stop: &AtomicBool) {
    let events = node.events.as_ref().unwrap();
    for number in 0u64.. {
        if stop.load(Ordering::SeqCst) {
            return;
        }
        let mut write = events.write();
        for event in 0..1 + number % 20 {
            let (id, subject) =
                (format!("{name}-{number}-{event}"), format!("s{}", (number * 7 + event) % 23));
            let event = EventRef {
                id: &id,
                source: "/test",
                ty: "step",
                subject: Some(&subject),
                data: Data::Json(b"{}"),
                ..EventRef::default()
            };
            write.push(&node.stream, &event).unwrap();
        }
        block_on(events.append(write)).unwrap();
        // A pace that the workers can keep, also on a busy machine.
        std::thread::park_timeout(Duration::from_micros(500));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(tw_testing::cases(4)))]

    /// Each move says which partitions each of the two nodes has.
    #[test]
    fn pro_1_pro_2_a_partition_that_moves_under_load_is_the_log_replayed_once(
        moves in prop::collection::vec((0u8..8, 0u8..8, any::<bool>()), 6..14)
    ) {
        let nodes = Node::many(PARTITIONS, 2);
        for node in &nodes {
            node.assign(&[]);
            node.add("v");
        }
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for (node, name) in nodes.iter().zip(["a", "b"]) {
                let stop = &stop;
                scope.spawn(move || write(node, name, stop));
            }
            // The writers end also when something here does not hold.
            let _stop = Stop(&stop);
            for (first, second, forgets) in &moves {
                for (node, wanted) in nodes.iter().zip([first, second]) {
                    let wanted: Vec<_> = (0..PARTITIONS).filter(|bit| wanted >> bit & 1 == 1).collect();
                    node.assign(&wanted);
                    if *forgets && !wanted.contains(&0) {
                        node.handle().forget(node.at(0)).unwrap();
                    }
                }
                for (node, wanted) in nodes.iter().zip([first, second]) {
                    for partition in (0..PARTITIONS).filter(|bit| wanted >> bit & 1 == 1) {
                        let end = node.log.bounds(node.at(partition)).unwrap().end;
                        // As a hand-over waits.
                        eventually(&node.handle().moved(), || node.handle().warmth(node.at(partition)).is_within(64));
                        node.wait_at("v", partition).unwrap();
                        assert!(compare(node, partition) >= end);
                    }
                }
            }
        });
        for node in &nodes {
            node.assign(&[0, 1, 2]);
            node.wait("v").unwrap();
        }
        for partition in 0..PARTITIONS {
            let end = compare(&nodes[0], partition);
            prop_assert_eq!(end, compare(&nodes[1], partition));
            prop_assert_eq!(end, nodes[0].log.bounds(nodes[0].at(partition)).unwrap().end);
        }
        nodes[0].health.check();
    }
}

struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}
