//! Partitions that are assigned, taken away and forgotten while events come in.

use crate::support::ledger::CLEAR;
use crate::support::node::{LONG, Node, block_on, eventually, options, poll};
use crate::support::world;
use proptest::prelude::*;
use std::collections::BTreeSet;
use tw_log::Log;
use tw_process::{Assigned, Error, Options, ParkedFilter, Standing};
use tw_state::{Range, Store};
use tw_types::{Offset, PartitionId, Token};

fn listed(node: &Node, name: &str) -> Vec<u32> {
    let status = node.handle().status_of(name).unwrap();
    status.partitions.iter().map(|partition| partition.partition.0).collect()
}

fn opened(node: &Node, partition: u32) -> u64 {
    node.health.opened.lock().get(&PartitionId(partition)).copied().unwrap_or_default()
}

/// How many entries are stored of a partition of what is read.
fn entries(node: &Node, name: &str, partition: u32) -> usize {
    let keyspace = node.handle().reading(name).unwrap().keyspace;
    let snapshot = node.store.snapshot();
    let is_its = |key: &[u8]| match key.first() {
        Some(0) => key.get(2..6) == Some(&partition.to_be_bytes()),
        _ => key.get(1..5) == Some(&partition.to_be_bytes()),
    };
    snapshot.range(keyspace, Range::all()).filter(|entry| is_its(&entry.as_ref().unwrap().0)).count()
}

#[test]
fn clu_3_partitions_that_stay_do_not_pause() {
    // One of the two threads will be stuck with the partition that leaves.
    let node = Node::with(3, Options { worker_threads: 2, ..options() });
    node.add("v");
    node.append(0, &["a"]);
    node.append(1, &["a"]);
    node.wait("v").unwrap();
    node.health.hold(PartitionId(1));
    node.append(1, &["b"]);
    poll(|| node.health.stuck.lock().contains(&PartitionId(1)));
    for round in 0..50 {
        // What leaves cannot finish, and what comes and goes beside it does not matter either.
        node.assign(if round % 2 == 0 { &[0] } else { &[0, 2] });
        node.append(0, &["a", "b"]);
        node.wait_at("v", 0).unwrap();
        let status = node.handle().status_of("v").unwrap();
        assert_eq!(status.partitions[0].standing, Standing::Running);
    }
    assert_eq!(opened(&node, 0), 1, "it was opened once, at the start");
    node.assign(&[0, 1, 2]);
    assert_eq!(opened(&node, 1), 1, "its old pipeline has not ended");
    node.health.release();
    node.wait("v").unwrap();
    assert_eq!((node.applied("v", 0).len(), node.applied("v", 1).len()), (101, 2));
    node.health.check();
}

#[test]
fn only_assigned_partitions_are_processed_listed_and_waited_for() {
    let node = Node::new(4);
    node.assign(&[1, 3]);
    node.add("v");
    for partition in 0..4 {
        node.append(partition, &["a"]);
    }
    node.wait_at("v", 1).unwrap();
    node.wait_at("v", 3).unwrap();
    assert_eq!(listed(&node, "v"), [1, 3]);
    assert_eq!((opened(&node, 0), opened(&node, 2)), (0, 0));
    let error = node.wait("v").unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "partition {} of view `v` is not processed on this node: ask the one that it is assigned to",
            node.at(0)
        )
    );
    let token: Token = [(node.at(4), Offset(1))].into_iter().collect();
    assert!(matches!(node.wait_for("v", &token, LONG), Err(Error::NoPartition { .. })));
    let reading = node.handle().reading("v").unwrap();
    assert_eq!(reading.partitions().collect::<Vec<_>>(), [PartitionId(1), PartitionId(3)]);
    reading.check(PartitionId(1)).unwrap();
    assert!(matches!(reading.check(PartitionId(0)), Err(Error::NotAssigned { .. })));
    assert!(matches!(reading.check(PartitionId(4)), Err(Error::NoPartition { .. })));
    node.handle().assign(Assigned::All).unwrap();
    node.wait("v").unwrap();
    assert_eq!(listed(&node, "v"), [0, 1, 2, 3]);
}

#[test]
fn prj_2_a_wait_ends_when_its_partition_is_taken_away() {
    let node = Node::new(2);
    node.add("v");
    let token: Token = [(node.at(1), Offset(9))].into_iter().collect();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| node.wait_for("v", &token, LONG));
        node.assign(&[0]);
        let error = waiting.join().unwrap().unwrap_err();
        assert!(matches!(error, Error::NotAssigned { at, .. } if at == node.at(1)), "{error}");
    });
}

#[test]
fn pro_1_a_partition_that_comes_back_goes_on_from_its_state() {
    let node = Node::new(2);
    node.add("v");
    node.append(1, &["a", "b"]);
    node.wait("v").unwrap();
    node.assign(&[0]);
    node.append(1, &["c"]);
    let applied = node.health.applied.load(std::sync::atomic::Ordering::SeqCst);
    node.assign(&[0, 1]);
    node.wait("v").unwrap();
    assert_eq!(node.health.applied.load(std::sync::atomic::Ordering::SeqCst), applied + 1);
    assert_eq!(node.applied("v", 1), [0, 1, 2].into());
    node.health.check();
}

#[test]
fn a_partition_that_comes_back_to_a_trimmed_log_stands_still_alone() {
    let node = Node::new(2);
    node.add("v");
    node.append(1, &["a"]);
    node.wait("v").unwrap();
    node.assign(&[0]);
    node.append(1, &["b", "c"]);
    pollster::block_on(node.log.trim(node.at(1), Offset(2))).unwrap();
    node.assign(&[0, 1]);
    let error = node.wait("v").unwrap_err();
    assert!(error.to_string().contains("were removed before they were processed"), "{error}");
    let reading = node.handle().reading("v").unwrap();
    assert!(matches!(reading.check(PartitionId(1)), Err(Error::Stopped { .. })));
    reading.check(PartitionId(0)).unwrap();
    node.append(0, &["a"]);
    node.wait_at("v", 0).unwrap();
}

#[test]
fn what_was_processed_is_committed_when_a_partition_is_taken_away() {
    let slow_commits = Options { commit_ms_min: 1_000, commit_ms_max: 60_000, ..options() };
    let node = Node::with(1, slow_commits);
    node.add("v");
    for _ in 0..20 {
        node.append(0, &["a", "b"]);
    }
    poll(|| node.health.applied.load(std::sync::atomic::Ordering::SeqCst) >= 40);
    node.assign(&[]);
    node.assign(&[0]);
    node.wait("v").unwrap();
    assert_eq!(node.health.applied.load(std::sync::atomic::Ordering::SeqCst), 40, "nothing twice");
    node.health.check();
}

#[test]
fn a_new_partition_is_not_read_before_it_has_caught_up() {
    let node = Node::new(2);
    node.assign(&[0]);
    node.add("v");
    node.append(1, &["a"; 100]);
    node.health.hold(PartitionId(1));
    node.assign(&[0, 1]);
    let reading = node.handle().reading("v").unwrap();
    let error = reading.check(PartitionId(1)).unwrap_err();
    assert_eq!(error.to_string(), "view `v` is being built, 0 %: try again later");
    reading.check(PartitionId(0)).unwrap();
    assert!(!node.handle().warmth(node.at(1)).opened);
    node.health.release();
    node.wait("v").unwrap();
    reading.check(PartitionId(1)).unwrap();
}

#[test]
fn a_forgotten_partition_leaves_nothing_and_begins_anew() {
    let mut node = Node::new(2);
    node.add("v");
    node.append(0, &["a"; 10]);
    node.append(1, &["a"; 3_000]);
    node.wait("v").unwrap();
    assert!(matches!(node.handle().forget(node.at(1)), Err(Error::Assigned(at)) if at == node.at(1)));
    node.assign(&[0]);
    let before = entries(&node, "v", 0);
    // Somebody reads it still.
    node.assign(&[0, 1]);
    node.wait("v").unwrap();
    let reading = node.handle().reading("v").unwrap();
    node.assign(&[0]);
    node.handle().forget(node.at(1)).unwrap();
    assert!(entries(&node, "v", 1) > 3_000, "it is being read");
    drop(reading);
    poll(|| entries(&node, "v", 1) == 0);
    assert_eq!(entries(&node, "v", 0), before);
    node.assign(&[0, 1]);
    node.wait("v").unwrap();
    assert_eq!(node.applied("v", 1).len(), 3_000);
    node.health.check();
    // Cut off before it has begun, it is done after the next start, whether the partition is assigned then or not.
    for assigned in [&[0][..], &[0, 1]] {
        let reading = node.handle().reading("v").unwrap();
        node.assign(&[0]);
        node.handle().forget(node.at(1)).unwrap();
        node.restart(true);
        drop(reading);
        node.assign(assigned);
        node.add("v");
        if assigned.len() == 1 {
            poll(|| entries(&node, "v", 1) == 0);
        }
        let applied = node.health.applied.load(std::sync::atomic::Ordering::SeqCst);
        node.assign(&[0, 1]);
        node.wait("v").unwrap();
        let again = node.health.applied.load(std::sync::atomic::Ordering::SeqCst) - applied;
        assert!(again <= 3_000 && node.applied("v", 1).len() == 3_000, "{again}");
        node.health.check();
    }
}

#[test]
fn a_rebuild_is_switched_when_the_assigned_partitions_have_caught_up() {
    let node = Node::new(3);
    node.add("v");
    for partition in 0..3 {
        node.append(partition, &["a"; 50]);
    }
    node.wait("v").unwrap();
    let before = node.handle().reading("v").unwrap().generation;
    // This one could not get on.
    node.health.hold(PartitionId(2));
    node.handle().rebuild("v").unwrap();
    node.assign(&[0, 1]);
    let changed = node.handle().changed("v").unwrap();
    eventually(&changed, || node.handle().status_of("v").unwrap().building.is_none());
    assert!(node.handle().reading("v").unwrap().generation > before);
    node.health.release();
    node.assign(&[0, 1, 2]);
    node.wait("v").unwrap();
    for partition in 0..3 {
        assert_eq!(node.applied("v", partition).len(), 50);
    }
    node.health.check();
}

#[test]
fn parked_events_are_those_of_assigned_partitions() {
    let node = Node::new(2);
    node.sick(0, 0);
    node.sick(1, 0);
    node.append(0, &["a"]);
    node.append(1, &["a"]);
    node.add("v");
    node.parked_events(2);
    node.assign(&[1]);
    let page = node.handle().parked().ls(&ParkedFilter::default(), None, 10).unwrap();
    let ids: Vec<_> = page.events.iter().map(|event| event.id.to_string()).collect();
    assert_eq!(ids, ["v/orders/1/0"]);
    let other = "v/orders/0/0".parse().unwrap();
    assert!(matches!(block_on(node.handle().parked().retry(&other)), Err(Error::NotAssigned { .. })));
    // What it decides is not about the other one.
    node.heal(0, 0);
    node.heal(1, 0);
    node.handle().rebuild("v").unwrap();
    let said = node.parked_events(3);
    assert_eq!(said[2..], ["released v/orders/1/0"]);
    node.assign(&[0, 1]);
    node.wait("v").unwrap();
    assert_eq!((node.applied("v", 0), node.applied("v", 1)), ([0].into(), [0].into()));
}

#[test]
fn warmth_says_how_far_a_partition_is_and_what_is_not_worth_waiting_for() {
    let node = Node::new(2);
    assert_eq!(node.handle().warmth(node.at(0)).views, 0);
    assert!(node.handle().warmth(node.at(0)).is_within(0), "there is nothing to warm");
    node.add("v");
    node.add("w");
    node.append(0, &["a", "b"]);
    node.wait("v").unwrap();
    node.wait("w").unwrap();
    let moved = node.handle().moved();
    let seen = moved.get();
    node.append(0, &["c"]);
    eventually(&moved, || node.handle().warmth(node.at(0)).is_within(0) && moved.get() > seen);
    // One of the two views rests, and then the other one fails again and again.
    node.handle().pause("w").unwrap();
    let warmth = node.handle().warmth(node.at(0));
    assert_eq!((warmth.views, warmth.opened), (2, true));
    assert_eq!(warmth.stuck, [("w".to_owned(), "it is paused".to_owned())]);
    node.health.panics.lock().insert((PartitionId(0), Offset(3)));
    node.append(0, &["d", "e"]);
    let stuck = || node.handle().warmth(node.at(0)).stuck;
    eventually(&moved, || stuck().len() == 2);
    assert_eq!(stuck()[0].0, "v");
    assert!(node.handle().warmth(node.at(0)).is_within(0));
    node.health.panics.lock().clear();
    eventually(&moved, || stuck().len() == 1 && node.handle().warmth(node.at(0)).is_within(0));
    // An event that clears all and cannot be processed holds everything behind it.
    node.sick(1, 0);
    let clear = world::Sample { subject: None, ty: CLEAR };
    world::append(node.log.as_ref(), &node.stream, 1, &[clear, world::Sample::of("a")]);
    let warmth = || node.handle().warmth(node.at(1));
    eventually(&moved, || warmth().stuck.len() == 2);
    assert_eq!(warmth().stuck[0].1, "an event that clears all is parked: offset 0: event 0 is sick");
    assert!(warmth().is_within(0));
    node.assign(&[1]);
    assert!(!node.handle().warmth(node.at(0)).opened, "it is not its business");
}

#[derive(Debug, Clone)]
enum Step {
    Append(u32, u8),
    Assign(BTreeSet<u32>),
    Forget(u32),
    Rebuild,
    Restart,
    Wait,
    FailStore(u32, bool),
}

const PARTITIONS: u32 = 4;

fn step() -> impl Strategy<Value = Step> {
    let partition = || 0..PARTITIONS;
    prop_oneof![
        6 => (partition(), 1u8..40).prop_map(|(partition, count)| Step::Append(partition, count)),
        6 => prop::collection::btree_set(partition(), 0..=4).prop_map(Step::Assign),
        2 => partition().prop_map(Step::Forget),
        1 => Just(Step::Rebuild),
        1 => Just(Step::Restart),
        2 => Just(Step::Wait),
        1 => (0u32..3, any::<bool>()).prop_map(|(commits, carried_out)| Step::FailStore(commits, carried_out)),
    ]
}

/// Every assigned partition holds every event once.
fn check(node: &Node, assigned: &BTreeSet<u32>) {
    for partition in assigned {
        node.wait_at("v", *partition).unwrap();
        let end = node.log.bounds(node.at(*partition)).unwrap().end.0;
        assert_eq!(node.applied("v", *partition), (0..end).collect());
    }
    node.health.check();
}

fn run(steps: &[Step]) {
    let mut node = Node::new(PARTITIONS);
    let mut assigned: BTreeSet<u32> = (0..PARTITIONS).collect();
    node.add("v");
    for step in steps {
        match step {
            Step::Append(partition, count) => {
                node.append(*partition, &["a", "b", "c"].repeat(usize::from(*count)));
            }
            Step::Assign(partitions) => {
                assigned.clone_from(partitions);
                node.assign(&partitions.iter().copied().collect::<Vec<_>>());
            }
            Step::Forget(partition) => match node.handle().forget(node.at(*partition)) {
                Err(Error::Assigned(_)) => assert!(assigned.contains(partition)),
                Err(Error::State(_)) => {}
                outcome => {
                    outcome.unwrap();
                    assert!(!assigned.contains(partition));
                }
            },
            Step::Rebuild => match node.handle().rebuild("v") {
                Ok(()) | Err(Error::State(_)) => {}
                Err(error) => panic!("{error}"),
            },
            Step::Restart => {
                node.store.fail_after(u32::MAX, false);
                node.restart(true);
                node.assign(&assigned.iter().copied().collect::<Vec<_>>());
                node.add("v");
            }
            Step::Wait => check(&node, &assigned),
            Step::FailStore(commits, carried_out) => node.store.fail_after(*commits, *carried_out),
        }
    }
    node.store.fail_after(u32::MAX, false);
    node.handle().assign(Assigned::All).unwrap();
    check(&node, &(0..PARTITIONS).collect());
    let changed = node.handle().changed("v").unwrap();
    eventually(&changed, || node.handle().status_of("v").unwrap().building.is_none());
    check(&node, &(0..PARTITIONS).collect());
    node.handle().shutdown().unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(tw_testing::cases(48)))]

    #[test]
    fn pro_1_whatever_is_assigned_when_every_event_counts_once(steps in prop::collection::vec(step(), 1..30)) {
        run(&steps);
    }
}
