//! Views on threads: adding, waiting, pausing, failing, restarting.

use crate::support;
use crate::support::node::{LONG, Node, eventually, options, poll};
use crate::support::world;
use std::sync::Arc;
use std::time::Duration;
use tw_log::Log;
use tw_process::{Error, Options, Standing, committed_offset};
use tw_state::Store;
use tw_types::{Offset, PartitionId, Token};

#[test]
fn prj_2_a_token_waits_for_the_write_that_gave_it() {
    let node = Node::new(3);
    node.add("v");
    for round in 0..50 {
        let partition = round % 3;
        node.append(partition, &["a", "b"]);
        node.wait("v").unwrap();
        let reading = node.handle().reading("v").unwrap();
        let snapshot = node.store.snapshot();
        let offset = committed_offset(snapshot.as_ref(), reading.keyspace, PartitionId(partition));
        assert_eq!(offset.unwrap().unwrap(), node.token().end(node.at(partition)).unwrap());
    }
    node.health.check();
}

#[test]
fn a_token_that_is_not_reached_times_out_and_says_so() {
    let node = Node::new(1);
    node.add("v");
    let token: Token = [(node.at(0), Offset(7))].into_iter().collect();
    let error = node.wait_for("v", &token, Duration::from_millis(20)).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("view `v` has not reached `{token}` within 20 ms: try again, or allow more time")
    );
    let token: Token = [(node.at(3), Offset(7))].into_iter().collect();
    assert!(matches!(node.wait_for("v", &token, LONG), Err(Error::NoPartition { .. })));
    assert!(matches!(node.wait_for("w", &token, LONG), Err(Error::NoView(_))));
}

#[test]
fn a_paused_view_rests_until_it_is_resumed() {
    let node = Node::new(2);
    node.add("v");
    node.append(0, &["a"]);
    node.wait("v").unwrap();
    node.handle().pause("v").unwrap();
    let changed = node.handle().changed("v").unwrap();
    let standing = || node.handle().status_of("v").unwrap().partitions[0].standing;
    eventually(&changed, || standing() == Standing::Paused);
    node.append(0, &["b"]);
    let timeout = Duration::from_millis(50);
    assert!(matches!(node.wait_for("v", &node.token(), timeout), Err(Error::Timeout { .. })));
    assert_eq!(node.handle().status_of("v").unwrap().partitions[0].lag_events, 1);
    node.handle().resume("v").unwrap();
    node.wait("v").unwrap();
    assert_eq!(node.applied("v", 0), [0, 1].into());
}

#[test]
fn many_views_and_partitions_share_the_threads() {
    let node = Node::with(16, Options { worker_threads: 2, ..options() });
    let names: Vec<_> = (0..12).map(|view| format!("v{view}")).collect();
    for partition in 0..16 {
        for _ in 0..8 {
            node.append(partition, &["a"; 100]);
        }
    }
    for name in &names {
        node.add(name);
    }
    for name in &names {
        node.wait(name).unwrap();
    }
    for name in &names {
        for partition in 0..16 {
            assert_eq!(node.applied(name, partition).len(), 800);
        }
        let status = node.handle().status_of(name).unwrap();
        assert!(status.partitions.iter().all(|part| part.lag_events == 0 && part.lag_ms == 0));
    }
    node.health.check();
}

#[test]
fn a_view_that_replays_does_not_hold_back_another_one_on_the_same_thread() {
    let node = Node::with(1, Options { worker_threads: 1, ..options() });
    for _ in 0..400 {
        node.append(0, &["a"; 1_000]);
    }
    node.add("long");
    let busy = world::create(node.log.as_ref(), "small", 1);
    let small = support::ledger::Ledger::new("small", busy.id, &node.health);
    node.handle().add(Arc::new(small)).unwrap();
    world::append(node.log.as_ref(), &busy, 0, &[world::Sample::of("x")]);
    let at = tw_types::StreamPartition::new(busy.id, PartitionId(0));
    let token: Token = [(at, Offset(1))].into_iter().collect();
    node.wait_for("small", &token, LONG).unwrap();
    let lag = node.handle().status_of("long").unwrap().partitions[0].lag_events;
    assert!(lag > 0, "the small one had to wait until the long one was done");
    node.wait("long").unwrap();
}

#[test]
fn pro_2_a_store_error_is_overcome_without_help() {
    let node = Node::new(2);
    node.add("v");
    node.add("w");
    for round in 0..20 {
        node.store.fail_after(round % 3, round % 2 == 0);
        node.append(round % 2, &["a", "b", "a"]);
        node.wait("v").unwrap();
        node.wait("w").unwrap();
    }
    assert_eq!(node.applied("v", 0).len(), 30);
    assert_eq!(node.applied("w", 1).len(), 30);
    node.health.check();
}

#[test]
fn trimmed_input_stops_one_view_and_not_the_others() {
    let node = Node::new(1);
    node.add("slow");
    node.add("fast");
    node.append(0, &["a", "b"]);
    node.wait("slow").unwrap();
    node.wait("fast").unwrap();
    node.handle().pause("slow").unwrap();
    let changed = node.handle().changed("slow").unwrap();
    let standing = || node.handle().status_of("slow").unwrap().partitions[0].standing;
    eventually(&changed, || standing() == Standing::Paused);
    node.append(0, &["c", "d"]);
    node.wait("fast").unwrap();
    pollster::block_on(node.log.trim(node.at(0), Offset(3))).unwrap();
    node.handle().resume("slow").unwrap();
    let error = node.wait("slow").unwrap_err();
    assert!(
        error.to_string().contains("were removed before they were processed: rebuild the view"),
        "{error}"
    );
    assert_eq!(standing(), Standing::Stopped);
    node.append(0, &["e"]);
    node.wait("fast").unwrap();
    // What the error recommends.
    node.handle().rebuild("slow").unwrap();
    eventually(&changed, || node.handle().status_of("slow").unwrap().building.is_none());
    node.wait("slow").unwrap();
    assert_eq!(node.applied("slow", 0), [3, 4].into());
    assert_eq!(node.handle().status_of("slow").unwrap().partitions[0].start, Offset(3));
}

#[test]
fn pro_2_a_shutdown_commits_what_was_processed() {
    let slow_commits = Options { commit_ms_min: 1_000, commit_ms_max: 60_000, ..options() };
    let mut node = Node::with(4, slow_commits);
    node.add("v");
    for _ in 0..20 {
        for partition in 0..4 {
            node.append(partition, &["a", "b"]);
        }
    }
    let applied = || node.health.applied.load(std::sync::atomic::Ordering::SeqCst);
    poll(|| applied() >= 160);
    node.handle().shutdown().unwrap();
    assert!(matches!(node.wait("v"), Err(Error::Closed)));
    assert!(matches!(node.handle().add(node.view("w")), Err(Error::Closed)));
    let before = applied();
    node.restart(true);
    node.add("v");
    node.wait("v").unwrap();
    assert_eq!(node.health.applied.load(std::sync::atomic::Ordering::SeqCst), before, "nothing twice");
    node.health.check();
}

#[test]
fn pro_1_a_restart_without_shutdown_goes_on_from_the_last_commit() {
    let mut node = Node::new(2);
    for round in 0..20 {
        node.add("v");
        node.append(round % 2, &["a", "b", "c"]);
        if round % 3 == 0 {
            node.wait("v").unwrap();
        }
        node.restart(true);
    }
    node.add("v");
    node.wait("v").unwrap();
    assert_eq!((node.applied("v", 0).len(), node.applied("v", 1).len()), (30, 30));
    node.health.check();
}

#[test]
fn a_removed_view_is_gone_and_its_name_is_free() {
    let node = Node::new(1);
    node.append(0, &["a"]);
    node.add("v");
    node.wait("v").unwrap();
    assert!(matches!(node.handle().add(node.view("v")), Err(Error::ViewExists(_))));
    let changed = node.handle().changed("v").unwrap();
    let seen = changed.get();
    node.handle().remove("v").unwrap();
    changed.wait_over(seen, LONG);
    assert!(matches!(node.handle().reading("v"), Err(Error::NoView(_))));
    assert!(matches!(node.handle().remove("v"), Err(Error::NoView(_))));
    assert!(node.handle().stored().unwrap().is_empty());
    node.add("v");
    node.wait("v").unwrap();
    assert_eq!(node.applied("v", 0), [0].into());
    assert!(matches!(node.handle().add(node.view("")), Err(Error::InvalidName(_))));
}
