//! Building views anew: beside the running one, over restarts, and with another definition.

use crate::support::ledger::Ledger;
use crate::support::node::{Node, block_on, eventually, poll};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tw_state::Store;
use tw_types::PartitionId;

fn generations(node: &Node) -> Vec<String> {
    let mut names = node.store.keyspaces().unwrap();
    names.retain(|name| name.starts_with("view."));
    names
}

fn is_built(node: &Node, name: &str) -> bool {
    node.handle().status_of(name).unwrap().building.is_none()
}

fn wait_until_built(node: &Node, name: &str) {
    eventually(&node.handle().changed(name).unwrap(), || is_built(node, name));
}

fn defined(node: &Node, definition: u64) -> Arc<Ledger> {
    Arc::new(Ledger { definition, ..Ledger::new("v", node.stream.id, &node.health) })
}

#[test]
fn pro_1_a_view_is_rebuilt_and_switched_while_events_come_in() {
    let node = Node::new(4);
    node.add("v");
    for partition in 0..4 {
        for _ in 0..20 {
            node.append(partition, &["a", "b", "c", "d", "e"]);
        }
    }
    node.wait("v").unwrap();
    let before = node.handle().reading("v").unwrap();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for partition in 0..4 {
            let (node, stop) = (&node, &stop);
            scope.spawn(move || {
                while !stop.load(Ordering::SeqCst) {
                    node.append(partition, &["a", "b"]);
                    // A pace that the workers can keep, also on a busy machine.
                    std::thread::park_timeout(Duration::from_micros(200));
                }
            });
        }
        for _ in 0..3 {
            node.handle().rebuild("v").unwrap();
            wait_until_built(&node, "v");
        }
        stop.store(true, Ordering::SeqCst);
    });
    node.wait("v").unwrap();
    let after = node.handle().reading("v").unwrap();
    assert_eq!(after.generation, before.generation + 3);
    for partition in 0..4 {
        let end = node.token().end(node.at(partition)).unwrap().0;
        assert_eq!(node.applied("v", partition), (0..end).collect());
    }
    node.health.check();
    // What somebody still reads is still there.
    let snapshot = node.store.snapshot();
    assert!(
        tw_process::committed_offset(snapshot.as_ref(), before.keyspace, PartitionId(0)).unwrap().is_some()
    );
    assert!(generations(&node).contains(&format!("view.{}", before.generation)));
}

#[test]
fn prj_2_a_reader_never_goes_back_when_a_rebuilt_view_takes_over() {
    let node = Node::new(1);
    node.add("v");
    for round in 0..30 {
        node.append(0, &["a", "b", "c"]);
        let token = node.token();
        node.wait("v").unwrap();
        if round % 3 == 0 {
            node.handle().rebuild("v").unwrap();
        }
        let reading = node.handle().reading("v").unwrap();
        let snapshot = node.store.snapshot();
        let offset = tw_process::committed_offset(snapshot.as_ref(), reading.keyspace, PartitionId(0));
        assert!(offset.unwrap().unwrap() >= token.end(node.at(0)).unwrap());
    }
}

#[test]
fn a_rebuild_goes_on_after_a_restart() {
    let mut node = Node::new(2);
    node.add("v");
    node.append(0, &["a", "b"]);
    node.append(1, &["c"]);
    node.wait("v").unwrap();
    let first = node.handle().reading("v").unwrap().generation;
    // A paused view does not switch, so the restart comes in between.
    node.handle().pause("v").unwrap();
    node.handle().rebuild("v").unwrap();
    let building = node.handle().status_of("v").unwrap().building.unwrap().generation;
    node.restart(true);
    node.add("v");
    wait_until_built(&node, "v");
    node.wait("v").unwrap();
    let generation = node.handle().reading("v").unwrap().generation;
    assert!(building > first);
    assert_eq!(generation, building);
    assert_eq!((node.applied("v", 0).len(), node.applied("v", 1).len()), (2, 1));
    node.health.check();
}

#[test]
fn a_changed_definition_is_built_beside_the_old_one() {
    let mut node = Node::new(1);
    node.handle().add(defined(&node, 1)).unwrap();
    node.append(0, &["a", "b"]);
    node.wait("v").unwrap();
    node.handle().pause("v").unwrap();
    node.handle().replace(defined(&node, 2)).unwrap();
    assert_eq!(node.handle().reading("v").unwrap().view.definition(), 1, "it is still the old one");
    let building = node.handle().status_of("v").unwrap().building.unwrap().generation;
    // After a restart, adding the old one and replacing it goes on where it was.
    node.restart(true);
    node.handle().add(defined(&node, 1)).unwrap();
    node.handle().pause("v").unwrap();
    assert_eq!(node.handle().reading("v").unwrap().view.definition(), 1);
    node.handle().replace(defined(&node, 2)).unwrap();
    assert_eq!(node.handle().status_of("v").unwrap().building.unwrap().generation, building);
    node.handle().resume("v").unwrap();
    wait_until_built(&node, "v");
    let reading = node.handle().reading("v").unwrap();
    assert_eq!((reading.view.definition(), reading.generation), (2, building));
    node.wait("v").unwrap();
    assert_eq!(node.applied("v", 0), [0, 1].into());
}

#[test]
fn prj_1_a_half_built_view_is_not_read_after_a_restart() {
    let mut node = Node::new(1);
    node.handle().add(defined(&node, 1)).unwrap();
    node.append(0, &["a", "b"]);
    node.wait("v").unwrap();
    node.handle().pause("v").unwrap();
    node.handle().replace(defined(&node, 2)).unwrap();
    let building = node.handle().status_of("v").unwrap().building.unwrap().generation;
    node.restart(true);
    // What was built is not what is defined; it was altered again before it was built.
    let health = node.health.clone();
    let at_work = health.sick.lock();
    node.handle().add_after(defined(&node, 3), &[defined(&node, 2), defined(&node, 1)], false).unwrap();
    let reading = node.handle().reading("v").unwrap();
    assert_eq!(reading.view.definition(), 1);
    assert_eq!(node.applied("v", 0), [0, 1].into(), "the complete one is read");
    drop(at_work);
    wait_until_built(&node, "v");
    let reading = node.handle().reading("v").unwrap();
    assert_eq!(reading.view.definition(), 3);
    assert!(reading.generation > building);
    node.wait("v").unwrap();
    assert_eq!(node.applied("v", 0), [0, 1].into());
    node.health.check();
}

#[test]
fn state_of_another_definition_is_not_used() {
    let mut node = Node::new(1);
    node.handle().add(defined(&node, 1)).unwrap();
    node.append(0, &["a", "b"]);
    node.wait("v").unwrap();
    let first = node.handle().reading("v").unwrap().generation;
    node.restart(true);
    let health = node.health.clone();
    let at_work = health.sick.lock();
    node.handle().add(defined(&node, 2)).unwrap();
    // It is not read before it holds what the other one held.
    let refused = |node: &Node| node.handle().reading("v").err().unwrap().to_string();
    assert_eq!(refused(&node), "view `v` is being built, 0 %: try again later");
    drop(at_work);
    node.wait("v").unwrap();
    let second = node.handle().reading("v").unwrap().generation;
    assert!(second > first);
    assert_eq!(node.applied("v", 0), [0, 1].into());
    // One that was half built becomes the one that will be read when only its definition is there after a restart.
    node.handle().pause("v").unwrap();
    node.handle().replace(defined(&node, 3)).unwrap();
    let third = node.handle().status_of("v").unwrap().building.unwrap().generation;
    node.restart(true);
    let at_work = health.sick.lock();
    node.handle().add(defined(&node, 3)).unwrap();
    assert_eq!(refused(&node), "view `v` is being built, 0 %: try again later");
    drop(at_work);
    node.wait("v").unwrap();
    assert_eq!(node.handle().reading("v").unwrap().generation, third);
    node.restart(true);
    assert_eq!(node.handle().stored().unwrap(), ["v"]);
    node.handle().add(defined(&node, 3)).unwrap();
    node.wait("v").unwrap();
    assert_eq!(node.applied("v", 0), [0, 1].into());
}

#[test]
fn pro_1_a_lost_state_is_repaired_by_replay_with_the_same_decisions() {
    let mut node = Node::new(2);
    node.add("v");
    node.sick(0, 1);
    node.sick(1, 0);
    node.append(0, &["a", "b", "a", "b"]);
    node.append(1, &["a", "b", "a"]);
    node.parked_events(2);
    block_on(node.handle().parked().drop_event(&"v/orders/0/1".parse().unwrap())).unwrap();
    node.parked_events(3);
    block_on(node.handle().parked().retry(&"v/orders/1/0".parse().unwrap())).unwrap();
    let said = node.parked_events(5);
    poll(|| {
        node.handle().status_of("v").unwrap().partitions.iter().map(|part| part.waiting).sum::<u64>() == 2
    });
    let applied = (node.applied("v", 0), node.applied("v", 1));
    node.heal(0, 1);
    node.restart(false);
    node.add("v");
    node.wait("v").unwrap();
    poll(|| node.handle().status_of("v").unwrap().partitions[1].parked > 0);
    assert_eq!((node.applied("v", 0), node.applied("v", 1)), applied, "the same decisions");
    assert_eq!(node.parked_events(5), said, "and nothing is said twice");
    node.health.check();
}
