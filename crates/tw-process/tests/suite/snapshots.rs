//! State snapshots: a node takes the newest that is right, and no other.

mod same;
mod storing;

use crate::support::depot::MemoryDepot;
use crate::support::ledger::Ledger;
use crate::support::node::{Node, block_on, eventually, poll};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tw_log::Log;
use tw_process::snapshot::{Counts, Options};
use tw_process::{Error, ParkedFilter};
use tw_types::{Offset, PartitionId};

const FIRST: PartitionId = PartitionId(0);

fn applied(node: &Node) -> u64 {
    node.health.applied.load(Ordering::SeqCst)
}

/// Nothing is stored that was not asked for.
fn by_hand() -> Options {
    Options { events_max: 1_000_000_000_000, interval_ms_max: 604_800_000, ..Options::default() }
}

fn keep(node: &Node, depot: &Arc<MemoryDepot>, options: Options) {
    node.handle().keep_snapshots(depot.clone(), options, |_| true).unwrap();
}

fn append(node: &Node, events: usize) {
    let subjects: Vec<String> = (0..1_000).map(|number| format!("s{}", number % 97)).collect();
    let subjects: Vec<&str> = subjects.iter().map(String::as_str).collect();
    for part in (0..events).step_by(1_000) {
        node.append(0, &subjects[..1_000.min(events - part)]);
    }
}

/// Appends so many events, and stores a snapshot of them.
fn append_and_export(node: &Node, events: usize) {
    append(node, events);
    node.wait("v").unwrap();
    let exported = node.handle().export("v", FIRST).unwrap();
    assert_eq!(exported.position, node.log.bounds(node.at(0)).unwrap().end);
}

/// Two nodes on one log, of which the first stores a snapshot after each of these numbers of events.
fn with_snapshots(events: &[usize]) -> (Vec<Node>, Arc<MemoryDepot>) {
    let (nodes, depot) = (Node::many(1, 2), Arc::new(MemoryDepot::default()));
    keep(&nodes[0], &depot, by_hand());
    nodes[0].add("v");
    events.iter().for_each(|events| append_and_export(&nodes[0], *events));
    (nodes, depot)
}

/// Adds the view to the second node, whose options these are; says how many events it processed until it had caught up.
fn restored_with(nodes: &[Node], depot: &Arc<MemoryDepot>, options: Options) -> u64 {
    // What the first one processes is not counted.
    if nodes[0].handle().status_of("v").is_ok() {
        nodes[0].wait("v").unwrap();
    }
    let before = applied(&nodes[1]);
    keep(&nodes[1], depot, options);
    nodes[1].add("v");
    nodes[1].wait("v").unwrap();
    let end = nodes[1].log.bounds(nodes[1].at(0)).unwrap().end.0;
    assert_eq!(nodes[1].applied("v", 0), (0..end).collect());
    nodes[1].health.check();
    applied(&nodes[1]) - before
}

fn restored(nodes: &[Node], depot: &Arc<MemoryDepot>) -> u64 {
    restored_with(nodes, depot, by_hand())
}

/// What was counted; how far the snapshots are behind changes when the keeper looks.
fn counts(node: &Node) -> Counts {
    Counts { lag_events: 0, ..node.handle().snapshot_counts() }
}

fn lag(node: &Node) -> u64 {
    node.handle().snapshot_counts().lag_events
}

#[test]
fn pro_2_a_node_without_state_begins_with_the_newest_snapshot() {
    let (mut nodes, depot) = with_snapshots(&[50, 159_950]);
    assert!(depot.names("/chunks/").len() > 2, "there are several chunks");
    append(&nodes[0], 70);
    assert_eq!(restored(&nodes, &depot), 70);
    assert_eq!(counts(&nodes[1]), Counts { restored: 1, ..Counts::default() });
    // What it has is used from now on.
    nodes[1].restart(true);
    append(&nodes[0], 30);
    assert_eq!(restored(&nodes, &depot), 30);
    assert_eq!(counts(&nodes[1]).restored, 0);
}

#[test]
fn a_damaged_snapshot_is_refused_for_the_older_one_and_then_for_the_log() {
    let (mut nodes, depot) = with_snapshots(&[300, 40]);
    let good = depot.objects.lock().clone();
    let (manifests, chunks) = (depot.manifests(), depot.names("/chunks/"));
    assert_eq!((manifests.len(), chunks.len()), (2, 2));
    for (number, name) in manifests.iter().chain(&chunks).enumerate() {
        let (is_newest, bytes) = (number % 2 == 1, good[name].len());
        // Its magic, version and checksum, what comes after, its middle and its end.
        for at in [0, 3, 4, 5, 8, 9, 13, bytes / 2, bytes - 1] {
            depot.objects.lock().clone_from(&good);
            depot.change(name, |bytes| bytes[at] ^= 1);
            nodes[1].restart(false);
            assert_eq!(restored(&nodes, &depot), if is_newest { 40 } else { 0 }, "{name} {at}");
            assert_eq!(counts(&nodes[1]).refused, u64::from(is_newest), "{name} {at}");
        }
    }
    let (first, second) = (&chunks[0], &chunks[1]);
    let damages: [&dyn Fn(); 6] = [
        &|| depot.change(second, |bytes| bytes.truncate(20)),
        &|| depot.change(second, Vec::clear),
        &|| depot.change(second, |bytes| bytes.push(0)),
        &|| drop(depot.objects.lock().remove(second)),
        &|| depot.change(second, |bytes| bytes.clone_from(&good[first].to_vec())),
        &|| depot.change(&manifests[1], |bytes| bytes.clone_from(&good[&manifests[0]].to_vec())),
    ];
    for damage in damages {
        depot.objects.lock().clone_from(&good);
        damage();
        nodes[1].restart(false);
        assert_eq!(restored(&nodes, &depot), 40);
    }
    for name in &chunks {
        depot.change(name, |bytes| bytes[9] ^= 1);
    }
    nodes[1].restart(false);
    assert_eq!(restored(&nodes, &depot), 340, "none is left");
    assert_eq!(counts(&nodes[1]).refused, 2);
}

#[test]
fn what_a_refused_snapshot_has_stored_is_removed() {
    let (mut nodes, depot) = with_snapshots(&[160_000]);
    let last = depot.names("/chunks/").pop().unwrap();
    depot.change(&last, |bytes| bytes[20] ^= 1);
    assert_eq!(restored(&nodes, &depot), 160_000);
    // As it is after a crash.
    nodes[1].restart(true);
    assert_eq!(restored(&nodes, &depot), 0);
}

#[test]
fn a_snapshot_of_another_log_definition_or_place_is_refused() {
    let (mut nodes, depot) = with_snapshots(&[100]);
    // The same streams, the same offsets, other events.
    let others = Node::many(1, 2);
    append(&others[0], 100);
    assert_eq!(restored(&others, &depot), 100);
    // A log that is not as long.
    let short = Node::many(1, 2);
    append(&short[0], 99);
    assert_eq!(restored(&short, &depot), 99);
    // Copied to another definition, and to another position.
    let objects = depot.objects.lock().clone();
    for (from, to) in
        [("/0000000000000000-", "/0000000000000001-"), ("/00000000000000000100-", "/00000000000000000099-")]
    {
        let copies = objects.iter().map(|(name, bytes)| (name.replace(from, to), bytes.clone()));
        *depot.objects.lock() = copies.collect();
        assert!(!depot.names(to).is_empty());
        nodes[1].restart(false);
        let before = applied(&nodes[1]);
        keep(&nodes[1], &depot, by_hand());
        let definition = u64::from(to.ends_with("1-"));
        let other = Ledger { definition, ..Ledger::new("v", nodes[1].stream.id, &nodes[1].health) };
        nodes[1].handle().add(Arc::new(other)).unwrap();
        nodes[1].wait("v").unwrap();
        assert_eq!(applied(&nodes[1]) - before, 100);
        assert_eq!(counts(&nodes[1]).refused, 1);
    }
}

#[test]
fn a_depot_that_fails_is_asked_again_and_then_done_without() {
    let (mut nodes, depot) = with_snapshots(&[100]);
    // The first node has asked for what it wants: when it began, when it stored, and when it looked what is due.
    poll(|| depot.asked.load(Ordering::SeqCst) >= 3);
    depot.failures.store(2, Ordering::SeqCst);
    assert_eq!(restored(&nodes, &depot), 0);
    assert_eq!(counts(&nodes[1]), Counts { restored: 1, failures: 2, ..Counts::default() });
    nodes[1].restart(false);
    depot.failures.store(3, Ordering::SeqCst);
    assert_eq!(restored(&nodes, &depot), 100);
    assert_eq!(counts(&nodes[1]), Counts { failures: 3, ..Counts::default() });
}

#[test]
fn a_node_that_is_far_behind_takes_a_snapshot_and_one_that_is_near_does_not() {
    let (mut nodes, depot) = with_snapshots(&[100]);
    assert_eq!(restored(&nodes, &depot), 0);
    // It is away.
    nodes[1].restart(true);
    append_and_export(&nodes[0], 500);
    assert_eq!(restored_with(&nodes, &depot, Options { replay_events_max: 500, ..by_hand() }), 500);
    nodes[1].restart(true);
    append_and_export(&nodes[0], 501);
    append(&nodes[0], 7);
    assert_eq!(restored_with(&nodes, &depot, Options { replay_events_max: 500, ..by_hand() }), 7);
}

#[test]
fn state_of_its_own_is_not_given_up_for_a_snapshot_that_is_damaged() {
    let (mut nodes, depot) = with_snapshots(&[100]);
    assert_eq!(restored(&nodes, &depot), 0);
    nodes[1].restart(true);
    append_and_export(&nodes[0], 200);
    let newest = depot.names("/chunks/").pop().unwrap();
    depot.change(&newest, |bytes| bytes[12] ^= 1);
    assert_eq!(restored_with(&nodes, &depot, Options { replay_events_max: 10, ..by_hand() }), 200);
    assert_eq!(counts(&nodes[1]).refused, 1);
}

#[test]
fn pro_3_parked_events_and_decisions_come_with_the_snapshot() {
    let nodes = Node::many(1, 2);
    nodes[0].sick(0, 1);
    nodes[0].sick(0, 2);
    nodes[0].append(0, &["a", "b", "c", "b", "c"]);
    let depot = Arc::new(MemoryDepot::default());
    keep(&nodes[0], &depot, by_hand());
    nodes[0].add("v");
    nodes[0].parked_events(2);
    let parked = |node: &Node| node.handle().status_of("v").unwrap().partitions[0].parked;
    poll(|| parked(&nodes[0]) == 2);
    nodes[0].handle().export("v", FIRST).unwrap();
    // Decided after the snapshot was made.
    block_on(nodes[0].handle().parked().drop_event(&"v/orders/0/1".parse().unwrap())).unwrap();
    keep(&nodes[1], &depot, by_hand());
    nodes[1].add("v");
    let waiting = |node: &Node| node.handle().status_of("v").unwrap().partitions[0].waiting;
    for node in &nodes {
        poll(|| parked(node) == 1 && waiting(node) == 2);
        assert_eq!(node.applied("v", 0), [0, 3].into());
        let page = node.handle().parked().ls(&ParkedFilter::default(), None, 9).unwrap();
        assert_eq!(page.events[0].why, "event 2 is sick");
    }
    assert_eq!(counts(&nodes[1]).restored, 1);
    nodes[1].heal(0, 2);
    block_on(nodes[1].handle().parked().retry(&"v/orders/0/2".parse().unwrap())).unwrap();
    for node in &nodes {
        poll(|| waiting(node) == 0);
        assert_eq!(node.applied("v", 0), [0, 2, 3, 4].into());
    }
    nodes[0].health.check();
}

#[test]
fn what_the_log_does_not_have_any_more_comes_from_the_snapshot() {
    let (mut nodes, depot) = with_snapshots(&[100]);
    append(&nodes[0], 50);
    pollster::block_on(nodes[0].log.trim(nodes[0].at(0), Offset(90))).unwrap();
    assert_eq!(restored(&nodes, &depot), 50);
    // It is away until the log does not have what it needs.
    nodes[1].restart(true);
    append_and_export(&nodes[0], 50);
    pollster::block_on(nodes[0].log.trim(nodes[0].at(0), Offset(190))).unwrap();
    assert_eq!(restored(&nodes, &depot), 0);
}

#[test]
fn a_snapshot_before_the_start_of_the_log_is_refused() {
    let (nodes, depot) = with_snapshots(&[100]);
    append(&nodes[0], 50);
    pollster::block_on(nodes[0].log.trim(nodes[0].at(0), Offset(120))).unwrap();
    keep(&nodes[1], &depot, by_hand());
    nodes[1].add("v");
    nodes[1].wait("v").unwrap();
    assert_eq!(nodes[1].applied("v", 0), (120..150).collect());
}

#[test]
fn a_partition_that_begins_with_a_snapshot_is_not_read_before_it_is_complete() {
    let (nodes, depot) = with_snapshots(&[160_000]);
    keep(&nodes[1], &depot, by_hand());
    nodes[1].add("v");
    let reading = nodes[1].handle().reading("v").unwrap();
    let all: BTreeSet<u64> = (0..160_000).collect();
    poll(|| match reading.check(FIRST) {
        Err(Error::NotBuilt { .. }) => false,
        outcome => {
            outcome.unwrap();
            assert!(nodes[1].applied("v", 0) == all);
            true
        }
    });
}

#[test]
fn a_view_that_is_built_anew_takes_no_snapshot() {
    let (nodes, _depot) = with_snapshots(&[100]);
    let before = applied(&nodes[0]);
    nodes[0].handle().rebuild("v").unwrap();
    let changed = nodes[0].handle().changed("v").unwrap();
    eventually(&changed, || nodes[0].handle().status_of("v").unwrap().building.is_none());
    assert_eq!(applied(&nodes[0]) - before, 100);
    assert_eq!(counts(&nodes[0]).restored, 0);
}
