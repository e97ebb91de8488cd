//! Parked events as people see them.

use crate::support::node::{Node, block_on, eventually, id, options, poll};
use std::time::{Duration, Instant};
use tw_process::{Error, Options, ParkedFilter, committed};
use tw_state::Store as _;
use tw_types::PartitionId;

/// Waits until nothing of a view waits any more.
fn wait_until_free(node: &Node) {
    poll(|| node.sum(|partition| partition.waiting) == 0);
}

/// A node on which `count` subjects of each partition are parked, with one event waiting behind each.
fn with_parked(partitions: u32, count: u64) -> Node {
    let node = Node::new(partitions);
    for partition in 0..partitions {
        node.append_sick(partition, count);
    }
    node.add("v");
    // Otherwise a decision says once more that the event is parked, under the same id: it does not know of the first time.
    node.wait_until_folded(u64::from(partitions) * count);
    node
}

#[test]
fn a_parked_event_is_listed_and_shown_with_what_a_person_needs() {
    let node = with_parked(1, 2);
    let page = node.handle().parked().ls(&ParkedFilter::default(), None, 10).unwrap();
    assert_eq!((page.events.len(), page.next.as_ref()), (2, None));
    let event = &page.events[1];
    assert_eq!(event.id, id("v/orders/0/1"));
    assert_eq!((event.subject.as_deref(), event.event_type.as_str()), (Some("s1"), "step"));
    assert_eq!((event.why.as_str(), event.attempts, event.retrying), ("event 1 is sick", 2, false));
    let detail = block_on(node.handle().parked().show(&event.id)).unwrap();
    assert_eq!(detail.event.unwrap().event.data.bytes(), b"{}");
    assert_eq!(detail.waiting.iter().map(|offset| offset.0).collect::<Vec<_>>(), [3]);
    assert!(!detail.waiting_more);
    let missing = block_on(node.handle().parked().show(&id("v/orders/0/3"))).unwrap_err();
    assert_eq!(
        missing.to_string(),
        "no parked event is at `v/orders/0/3`: `tradewind parked ls` lists those that are"
    );
}

#[test]
fn pro_3_state_is_settled_only_where_no_event_waits_and_its_span_ends_with_the_assignment() {
    let node = with_parked(2, 1);
    node.wait("v").unwrap();
    let committed = |node: &Node, partition: u32| {
        let (reading, partition) = (node.handle().reading("v").unwrap(), PartitionId(partition));
        let snapshot = node.store.snapshot();
        let committed = committed(snapshot.as_ref(), reading.keyspace, partition).unwrap();
        (committed.end.unwrap().0, committed.settled, reading.span(partition))
    };
    // The events that wait count as seen.
    let (before, other) = (committed(&node, 0), committed(&node, 1));
    assert_eq!((before.0, before.1), (2, false));
    assert!(before.2.is_some() && before.2 != other.2);
    block_on(node.handle().parked().drop_event(&id("v/orders/0/0"))).unwrap();
    poll(|| committed(&node, 0).1);
    // The state has changed, and its end has not.
    assert_eq!(committed(&node, 0), (2, true, before.2));
    assert_eq!(committed(&node, 1), other);
    node.assign(&[1]);
    poll(|| node.handle().reading("v").unwrap().span(PartitionId(0)).is_none());
    node.assign(&[0, 1]);
    poll(|| node.handle().reading("v").unwrap().check(PartitionId(0)).is_ok());
    assert!(committed(&node, 0).2 > before.2 && committed(&node, 0).1);
    assert_eq!(committed(&node, 1), other);
    assert_eq!(node.handle().reading("v").unwrap().span(PartitionId(2)), None);
}

#[test]
fn pages_and_filters_find_every_event_once() {
    let node = with_parked(3, 20);
    let mut seen = Vec::new();
    let mut after = None;
    loop {
        let page = node.handle().parked().ls(&ParkedFilter::default(), after.as_ref(), 7).unwrap();
        seen.extend(page.events.into_iter().map(|event| event.id));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(seen.len(), 60);
    assert!(seen.is_sorted());
    let filter = ParkedFilter { subject: Some("s7".into()), ..ParkedFilter::default() };
    assert_eq!(node.handle().parked().ls(&filter, None, 100).unwrap().events.len(), 3);
    let filter = ParkedFilter { why: Some("event 19 is".into()), ..ParkedFilter::default() };
    assert_eq!(node.handle().parked().ls(&filter, None, 100).unwrap().events.len(), 3);
    let filter = ParkedFilter { view: Some("other".into()), ..ParkedFilter::default() };
    assert_eq!(node.handle().parked().ls(&filter, None, 100).unwrap().events.len(), 0);
}

#[test]
fn pro_3_decisions_about_many_events_are_carried_out() {
    let mut node = with_parked(3, 300);
    node.health.sick.lock().retain(|(_, offset)| offset.0 % 3 == 0);
    assert_eq!(block_on(node.handle().parked().retry_all(&ParkedFilter::default())).unwrap(), 900);
    // Parked, retried, and either released or parked again.
    node.parked_events(3 * 900);
    let filter = ParkedFilter { why: Some("is sick".into()), ..ParkedFilter::default() };
    assert_eq!(block_on(node.handle().parked().drop_all(&filter)).unwrap(), 300);
    wait_until_free(&node);
    node.restart(true);
    node.add("v");
    node.wait("v").unwrap();
    for partition in 0..3 {
        let expected = (0..600).filter(|offset| *offset >= 300 || offset % 3 != 0).collect();
        assert_eq!(node.applied("v", partition), expected);
    }
    node.health.check();
}

#[test]
fn more_decisions_than_can_be_retried_at_once_wait_for_their_turn() {
    let retry = tw_order::gate::Options { retrying_max: 4, lanes_max: 8, ..options().retry };
    let node = Node::with(1, Options { retry, ..options() });
    node.append_sick(0, 200);
    node.add("v");
    node.parked_events(200);
    node.health.sick.lock().clear();
    assert_eq!(block_on(node.handle().parked().retry_all(&ParkedFilter::default())).unwrap(), 200);
    node.parked_events(600);
    wait_until_free(&node);
    node.wait("v").unwrap();
    assert_eq!(node.applied("v", 0).len(), 400);
    node.health.check();
}

#[test]
fn a_decision_is_taken_once_however_often_it_is_asked_for() {
    let node = with_parked(1, 1);
    let parked = node.handle().parked();
    block_on(parked.drop_event(&id("v/orders/0/0"))).unwrap();
    // Either it is still being carried out, or it has been.
    let again = block_on(parked.drop_event(&id("v/orders/0/0")));
    assert!(matches!(again, Ok(()) | Err(Error::NotParked(_))), "{again:?}");
    wait_until_free(&node);
    assert!(matches!(block_on(parked.retry(&id("v/orders/0/0"))), Err(Error::NotParked(_))));
    assert_eq!(node.applied("v", 0), [1].into());
}

#[test]
fn pro_3_a_drop_that_is_not_carried_out_yet_is_for_good() {
    let node = with_parked(1, 1);
    // A paused view carries nothing out.
    node.handle().pause("v").unwrap();
    let parked = node.handle().parked();
    block_on(parked.drop_event(&id("v/orders/0/0"))).unwrap();
    poll(|| matches!(block_on(parked.retry(&id("v/orders/0/0"))), Err(Error::NotParked(_))));
    block_on(parked.drop_event(&id("v/orders/0/0"))).unwrap();
    assert_eq!(block_on(parked.retry_all(&ParkedFilter::default())).unwrap(), 0);
    node.handle().resume("v").unwrap();
    wait_until_free(&node);
    node.handle().rebuild("v").unwrap();
    let changed = node.handle().changed("v").unwrap();
    eventually(&changed, || node.handle().status_of("v").unwrap().building.is_none());
    node.wait("v").unwrap();
    assert_eq!(node.applied("v", 0), [1].into());
    let said = node.parked_events(2);
    assert_eq!(said[..2], ["parked v/orders/0/0", "dropped v/orders/0/0"]);
    assert!(
        said[2..].iter().all(|said| said.starts_with("retried")),
        "what came too late changes nothing: {said:?}"
    );
}

#[test]
fn pro_3_a_drop_of_what_is_applied_meanwhile_changes_nothing() {
    let mut node = with_parked(1, 1);
    node.handle().pause("v").unwrap();
    let parked = node.handle().parked();
    block_on(parked.retry(&id("v/orders/0/0"))).unwrap();
    node.wait_until_folded(2);
    node.heal(0, 0);
    // While the drop is being decided about, the event is applied and released.
    let (handle, folded) = (node.handle().clone(), node.folded());
    node.store.after_snapshot(move || {
        handle.resume("v").unwrap();
        poll(|| folded() >= 3);
    });
    block_on(parked.drop_event(&id("v/orders/0/0"))).unwrap();
    node.restart(false);
    node.add("v");
    node.wait("v").unwrap();
    assert_eq!(node.applied("v", 0), [0, 1].into(), "a replay drops what was applied");
}

#[test]
fn a_rebuilt_view_ends_what_is_no_longer_parked() {
    let node = with_parked(1, 2);
    node.heal(0, 0);
    node.handle().rebuild("v").unwrap();
    let changed = node.handle().changed("v").unwrap();
    eventually(&changed, || node.handle().status_of("v").unwrap().building.is_none());
    // The other one stays parked, or is parked again if the new generation was still trying it when it took over.
    poll(|| {
        let said = node.parked_events(3);
        let last = |id: &str| said.iter().rev().find(|line| line.ends_with(id)).map(String::as_str);
        last("0/0") == Some("released v/orders/0/0")
            && last("0/1") == Some("parked v/orders/0/1")
            && node.sum(|partition| partition.parked) == 1
    });
    block_on(node.handle().parked().drop_event(&id("v/orders/0/1"))).unwrap();
    wait_until_free(&node);
    assert_eq!(node.applied("v", 0), [0, 2, 3].into());
    node.health.check();
}

#[test]
fn a_removed_view_ends_everything_and_a_new_one_of_its_name_starts_afresh() {
    let node = with_parked(1, 2);
    block_on(node.handle().parked().drop_event(&id("v/orders/0/0"))).unwrap();
    node.parked_events(3);
    node.handle().remove("v").unwrap();
    assert_eq!(node.parked_events(4).last().unwrap(), "released v");
    node.add("v");
    let said = node.parked_events(6);
    assert_eq!(said[4..], ["parked v/orders/0/0", "parked v/orders/0/1"], "the drop is forgotten");
    assert_eq!(node.sum(|partition| partition.parked), 2);
}

#[test]
fn pro_3_a_new_view_waits_until_what_was_decided_about_an_earlier_one_of_its_name_is_forgotten() {
    let node = with_parked(1, 1);
    block_on(node.handle().parked().drop_event(&id("v/orders/0/0"))).unwrap();
    wait_until_free(&node);
    node.refuse_parked(true);
    node.handle().remove("v").unwrap();
    node.heal(0, 0);
    node.add("v");
    let refusals = node.refusals();
    poll(|| node.refusals() > refusals + 3);
    assert!(node.applied("v", 0).is_empty(), "it has begun with the drops of the earlier view");
    node.refuse_parked(false);
    node.wait("v").unwrap();
    assert_eq!(node.applied("v", 0), [0, 1].into());
}

#[test]
fn what_cannot_be_written_to_the_stream_of_parked_events_is_written_later() {
    let mut node = Node::new(1);
    node.sick(0, 0);
    node.refuse_parked(true);
    node.append(0, &["a", "b"]);
    node.add("v");
    node.wait("v").unwrap();
    poll(|| node.sum(|partition| partition.parked) > 0 && node.handle().parked().failure().is_some());
    assert!(node.handle().parked().failure().unwrap().contains("no room"));
    node.restart(true);
    node.add("v");
    node.refuse_parked(false);
    assert_eq!(node.parked_events(1), ["parked v/orders/0/0"]);
}

#[test]
fn the_stream_of_parked_events_is_tried_again_after_pauses() {
    const PAUSE_MS: u64 = 20;
    let node = Node::with(1, Options { failure_ms_min: PAUSE_MS, failure_ms_max: PAUSE_MS, ..options() });
    node.sick(0, 0);
    node.refuse_parked(true);
    let since = Instant::now();
    node.append(0, &["a"]);
    node.add("v");
    poll(|| node.refusals() >= 6);
    assert!(since.elapsed() >= Duration::from_millis(5 * PAUSE_MS), "{:?}", since.elapsed());
    node.refuse_parked(false);
    assert_eq!(node.parked_events(1), ["parked v/orders/0/0"]);
}
