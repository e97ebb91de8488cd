//! Storing snapshots: when, by whom, and what goes.

use super::*;
use std::sync::Barrier;
use std::sync::atomic::AtomicBool;

/// As often as it may be.
fn often() -> Options {
    Options {
        events_max: 1_000,
        interval_ms_max: 1_000,
        failure_ms_min: 1,
        failure_ms_max: 1,
        ..Options::default()
    }
}

#[test]
fn the_owner_stores_snapshots_and_others_do_not() {
    let (nodes, depot) = (Node::many(1, 2), Arc::new(MemoryDepot::default()));
    let owns = Arc::new(AtomicBool::new(false));
    let is_owner = owns.clone();
    let owner = move |_| is_owner.load(Ordering::SeqCst);
    nodes[0].handle().keep_snapshots(depot.clone(), often(), owner).unwrap();
    nodes[0].add("v");
    append(&nodes[0], 2_000);
    nodes[0].wait("v").unwrap();
    let refused = nodes[0].handle().export("v", FIRST);
    assert!(matches!(refused, Err(Error::NotOwner(at)) if at == nodes[0].at(0)), "{refused:?}");
    assert!(depot.objects.lock().is_empty());
    owns.store(true, Ordering::SeqCst);
    poll(|| depot.manifests().len() == 1);
    append(&nodes[0], 10);
    poll(|| depot.manifests().len() == 2);
    assert_eq!(counts(&nodes[0]).failures, 0);
    assert_eq!(restored(&nodes, &depot), 0);
}

#[test]
fn the_oldest_snapshots_go_with_all_that_is_of_them() {
    let (nodes, depot) = with_snapshots(&[100, 50, 50, 50]);
    let offsets = |part: &str| -> Vec<String> {
        let name = |name: &String| name.rsplit('/').find(|part| part.len() == 37).unwrap()[..20].to_owned();
        depot.names(part).iter().map(name).collect()
    };
    let kept = ["00000000000000000200", "00000000000000000250"];
    assert_eq!(
        (offsets("/manifests/"), offsets("/chunks/")),
        (kept.map(String::from).into(), kept.map(String::from).into())
    );
    nodes[0].handle().reconfigure_snapshots(Options { kept: 1, ..by_hand() }).unwrap();
    append_and_export(&nodes[0], 1);
    assert_eq!(depot.objects.lock().len(), 2);
    assert_eq!(restored(&nodes, &depot), 0);
}

#[test]
fn a_snapshot_that_was_cut_off_is_never_seen_and_goes_with_the_older_ones() {
    let (nodes, depot) = with_snapshots(&[100]);
    append(&nodes[0], 50);
    nodes[0].wait("v").unwrap();
    *depot.room.lock() = Some(1);
    let cut_off = nodes[0].handle().export("v", FIRST);
    assert!(matches!(cut_off, Err(Error::Depot(_))), "{cut_off:?}");
    *depot.room.lock() = None;
    let orphan = depot.names("/00000000000000000150-").remove(0);
    assert_eq!((depot.manifests().len(), depot.names("/chunks/").len()), (1, 2));
    assert_eq!(restored(&nodes, &depot), 50);
    append_and_export(&nodes[0], 1);
    assert!(depot.objects.lock().contains_key(&orphan), "another node could be about to store it");
    append_and_export(&nodes[0], 1);
    assert!(!depot.objects.lock().contains_key(&orphan));
}

#[test]
fn pro_2_an_old_and_a_new_owner_that_store_at_once_leave_two_right_snapshots() {
    let (mut nodes, depot) = (Node::many(1, 3), Arc::new(MemoryDepot::default()));
    append(&nodes[0], 300);
    for node in &nodes[..2] {
        keep(node, &depot, by_hand());
        node.add("v");
        node.wait("v").unwrap();
    }
    *depot.meeting.lock() = Some(Arc::new(Barrier::new(2)));
    std::thread::scope(|scope| {
        for node in &nodes[..2] {
            scope.spawn(move || node.handle().export("v", FIRST).unwrap());
        }
    });
    *depot.meeting.lock() = None;
    let manifests = depot.manifests();
    assert_eq!(manifests.len(), 2);
    // Each is right, whatever becomes of the other.
    for (removed, _) in manifests.iter().zip(0..) {
        let all = depot.objects.lock().clone();
        depot.objects.lock().remove(removed);
        nodes[2].restart(false);
        assert_eq!(restored(&nodes[1..], &depot), 0);
        *depot.objects.lock() = all;
    }
}

#[test]
fn a_depot_that_fails_is_tried_again_until_the_snapshot_is_there() {
    let (nodes, depot) = (Node::many(1, 1), Arc::new(MemoryDepot::default()));
    depot.failures.store(2, Ordering::SeqCst);
    *depot.room.lock() = Some(1);
    keep(&nodes[0], &depot, often());
    nodes[0].add("v");
    append(&nodes[0], 1_000);
    poll(|| counts(&nodes[0]).failures >= 3);
    assert_eq!(depot.manifests().len(), 0);
    *depot.room.lock() = None;
    poll(|| depot.manifests().len() == 1);
    poll(|| lag(&nodes[0]) == 0);
}

#[test]
fn a_node_that_takes_over_does_not_store_what_is_there() {
    let (nodes, depot) = with_snapshots(&[1_500]);
    keep(&nodes[1], &depot, Options { interval_ms_max: 604_800_000, ..often() });
    nodes[1].add("v");
    nodes[1].wait("v").unwrap();
    // It has asked.
    poll(|| counts(&nodes[1]).restored == 1 && depot.asked.load(Ordering::SeqCst) > 6);
    append(&nodes[1], 999);
    nodes[1].wait("v").unwrap();
    poll(|| lag(&nodes[1]) == 999);
    assert_eq!(depot.manifests().len(), 1);
    append(&nodes[1], 1);
    poll(|| depot.manifests().len() == 2);
}

#[test]
fn prj_1_a_view_that_was_built_anew_leaves_no_earlier_snapshot() {
    let (nodes, depot) = with_snapshots(&[100]);
    let earlier = depot.manifests();
    nodes[0].handle().reconfigure_snapshots(by_hand()).unwrap();
    // It knows the generation before it sees another one.
    poll(|| lag(&nodes[0]) == 0 && depot.asked.load(Ordering::SeqCst) >= 3);
    nodes[0].handle().rebuild("v").unwrap();
    poll(|| depot.manifests().len() == 1 && depot.manifests() != earlier);
    poll(|| depot.objects.lock().len() == 2);
    assert_eq!(restored(&nodes, &depot), 0);
}

#[test]
fn the_snapshots_of_a_view_that_is_removed_go_and_those_of_others_stay() {
    let (nodes, depot) = with_snapshots(&[100]);
    nodes[0].add("w");
    nodes[0].wait("w").unwrap();
    nodes[0].handle().export("w", FIRST).unwrap();
    assert_eq!(depot.manifests().len(), 2);
    nodes[0].handle().remove("v").unwrap();
    poll(|| depot.objects.lock().len() == 2);
    assert!(matches!(nodes[0].handle().export("v", FIRST), Err(Error::NoView(_))));
    let other = nodes[0].handle().export("w", PartitionId(1));
    assert!(matches!(other, Err(Error::NoPartition { .. })), "{other:?}");
}

#[test]
fn a_view_that_is_created_again_begins_without_the_snapshots_of_the_earlier_one() {
    let (mut nodes, depot) = (Node::many(1, 2), Arc::new(MemoryDepot::default()));
    keep(&nodes[0], &depot, by_hand());
    nodes[0].sick(0, 1);
    nodes[0].add("v");
    append(&nodes[0], 100);
    nodes[0].parked_events(1);
    nodes[0].handle().export("v", FIRST).unwrap();
    let objects = depot.objects.lock().clone();
    nodes[0].handle().remove("v").unwrap();
    nodes[0].parked_events(2);
    poll(|| depot.objects.lock().is_empty());
    // Another node had not heard of it yet, and stored it all the same.
    *depot.objects.lock() = objects;
    nodes[1].restart(false);
    keep(&nodes[1], &depot, by_hand());
    nodes[1].add("v");
    nodes[1].wait("v").unwrap();
    assert_eq!(counts(&nodes[1]), Counts { refused: 1, ..Counts::default() });
    nodes[1].parked_events(3);
}

#[test]
fn nothing_is_kept_where_no_depot_is_named() {
    let node = Node::new(1);
    node.add("v");
    assert!(matches!(node.handle().export("v", FIRST), Err(Error::NoDepot)));
    assert!(matches!(node.handle().reconfigure_snapshots(by_hand()), Err(Error::NoDepot)));
    let depot = Arc::new(MemoryDepot::default());
    let refused = node.handle().keep_snapshots(depot, Options { kept: 0, ..by_hand() }, |_| true);
    assert!(matches!(refused, Err(Error::InvalidOption { option: "kept", .. })), "{refused:?}");
}

#[test]
fn a_shutdown_does_not_wait_for_what_is_left_to_store() {
    let (nodes, depot) = (Node::many(1, 1), Arc::new(MemoryDepot::default()));
    keep(&nodes[0], &depot, often());
    nodes[0].add("v");
    append(&nodes[0], 2_000);
    nodes[0].wait("v").unwrap();
    nodes[0].handle().shutdown().unwrap();
    let left = depot.objects.lock().clone();
    drop(nodes);
    assert_eq!(*depot.objects.lock(), left, "nothing happens any more");
}
