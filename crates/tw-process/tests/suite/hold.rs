//! What is built anew waits until it is released, can be read before, and is compared at the same events.

use crate::support::ledger::{Ledger, applied};
use crate::support::node::{LONG, Node, block_on, eventually, poll};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tw_process::Error;
use tw_state::Store as _;
use tw_types::PartitionId;

const BOTH: [PartitionId; 2] = [PartitionId(0), PartitionId(1)];

fn defined(node: &Node, definition: u64) -> Arc<Ledger> {
    Arc::new(Ledger { definition, ..Ledger::new("v", node.stream.id, &node.health) })
}

/// A node with a view that is built anew and does not take over.
fn held() -> Node {
    let node = Node::new(2);
    node.handle().add(defined(&node, 1)).unwrap();
    node.append(0, &["a", "b"]);
    node.append(1, &["c"]);
    node.wait("v").unwrap();
    node.handle().hold("v").unwrap();
    node.handle().replace(defined(&node, 2)).unwrap();
    poll(|| node.handle().status_of("v").unwrap().building.unwrap().ready);
    node
}

#[test]
fn what_is_built_anew_takes_over_when_it_is_released() {
    let node = held();
    node.append(0, &["a"]);
    node.wait("v").unwrap();
    let status = node.handle().status_of("v").unwrap();
    assert!(status.on_hold && status.building.is_some());
    assert_eq!(node.handle().reading("v").unwrap().view.definition(), 1);
    let next = node.handle().reading_next("v").unwrap();
    assert_eq!(next.view.definition(), 2);
    node.handle().release("v").unwrap();
    let built = || node.handle().status_of("v").unwrap().building.is_none();
    eventually(&node.handle().changed("v").unwrap(), built);
    let reading = node.handle().reading("v").unwrap();
    assert_eq!((reading.view.definition(), reading.generation), (2, next.generation));
    node.wait("v").unwrap();
    assert_eq!((node.applied("v", 0).len(), node.applied("v", 1).len()), (3, 1));
    node.health.check();
}

#[test]
fn what_is_on_hold_stays_so_over_a_restart() {
    let mut node = held();
    let generation = node.handle().reading_next("v").unwrap().generation;
    node.restart(true);
    node.handle().add_after(defined(&node, 2), &[defined(&node, 1)], true).unwrap();
    poll(|| node.handle().status_of("v").unwrap().building.unwrap().ready);
    node.append(0, &["a"]);
    node.wait("v").unwrap();
    assert_eq!(node.handle().reading("v").unwrap().view.definition(), 1);
    assert_eq!(node.handle().reading_next("v").unwrap().generation, generation);
    node.health.check();
}

#[test]
fn a_definition_that_is_read_already_ends_the_build_of_another_one() {
    let node = held();
    let before = node.handle().reading("v").unwrap().generation;
    let given_up = node.handle().reading_next("v").unwrap().generation;
    node.handle().replace(defined(&node, 1)).unwrap();
    assert!(node.handle().status_of("v").unwrap().building.is_none());
    assert!(matches!(node.handle().reading_next("v"), Err(Error::NotBuilding(_))));
    node.append(0, &["a"]);
    node.wait("v").unwrap();
    assert_eq!(node.handle().reading("v").unwrap().generation, before);
    assert_eq!(node.applied("v", 0).len(), 3);
    poll(|| !node.store.keyspaces().unwrap().contains(&format!("view.{given_up}")));
    node.health.check();
}

#[test]
fn prj_1_two_generations_are_read_at_the_same_events_while_they_come_in() {
    let node = held();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for partition in 0..2 {
            let (node, stop) = (&node, &stop);
            scope.spawn(move || {
                while !stop.load(Ordering::SeqCst) {
                    node.append(partition, &["a", "b", "c"]);
                    // A pace that the workers can keep, also on a busy machine.
                    std::thread::park_timeout(Duration::from_micros(200));
                }
            });
        }
        for _ in 0..30 {
            let aligned = block_on(node.handle().align("v", &BOTH, LONG)).unwrap();
            let [old, new] = [node.handle().reading("v").unwrap(), node.handle().reading_next("v").unwrap()];
            for partition in BOTH {
                let store = node.store.as_ref();
                let [old, new] = [&old, &new].map(|one| applied(store, one.keyspace, partition));
                assert!(old == new, "{} and {} events of {partition}", old.len(), new.len());
            }
            drop(aligned);
        }
        stop.store(true, Ordering::SeqCst);
    });
    node.wait("v").unwrap();
    node.health.check();
}

#[test]
fn what_cannot_be_compared_is_refused_with_the_reason() {
    let node = held();
    let align = || block_on(node.handle().align("v", &BOTH, LONG));
    let first = align().unwrap();
    let soon = Duration::from_millis(20);
    let refused = block_on(node.handle().align("v", &BOTH, soon)).unwrap_err().to_string();
    assert!(refused.ends_with("they were not at the same events within 20 ms: try again"), "{refused}");
    std::thread::scope(|scope| {
        let second = scope.spawn(align);
        drop(first);
        drop(second.join().unwrap().unwrap());
    });
    node.handle().pause("v").unwrap();
    let refused = align().unwrap_err().to_string();
    assert!(
        refused.contains("partition 0 does not run now") || refused.contains("does not run"),
        "{refused}"
    );
    node.handle().resume("v").unwrap();
    drop(align().unwrap());
    node.handle().release("v").unwrap();
    let built = || node.handle().status_of("v").unwrap().building.is_none();
    eventually(&node.handle().changed("v").unwrap(), built);
    assert!(matches!(align(), Err(Error::NotBuilding(_))));
}
