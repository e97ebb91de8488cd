//! Events that cannot be processed.

use super::harness::{Harness, samples};
use crate::keys::Kind;
use crate::parked::{How, What};
use crate::support::ledger::CLEAR;
use crate::support::world::Sample;
use std::sync::atomic::Ordering;

#[test]
fn pro_3_a_sick_event_blocks_its_subject_until_it_is_retried_with_success() {
    let mut harness = Harness::new();
    harness.sick(1);
    harness.append(&samples(&["a", "b", "c", "b", "a"]));
    harness.settle();
    assert_eq!(harness.applied(), [0, 2, 4].into());
    assert_eq!(harness.report().rejected.unwrap().1, "event 1 is sick");
    harness.heal(1);
    harness.pass(99);
    assert_eq!(harness.applied().len(), 3);
    harness.pass(10);
    assert_eq!(harness.applied().len(), 5);
    assert_eq!((harness.entries(Kind::Queue), harness.entries(Kind::Outbox)), (0, 0));
    harness.health.check();
}

#[test]
fn reg_1_a_sick_event_keeps_none_waiting_where_order_does_not_matter() {
    let mut harness = Harness::new();
    harness.health.unordered.store(true, Ordering::Relaxed);
    harness.sick(1);
    harness.sick(3);
    harness.append(&samples(&["a", "b", "c", "b", "b", "a"]));
    harness.pass(10_000);
    assert_eq!(harness.applied(), [0, 2, 4, 5].into());
    let counts = harness.report().cursor.counts;
    // Each of them waits by itself.
    assert_eq!((counts.lanes, counts.parked, counts.waiting), (2, 2, 2));
    harness.post();
    assert_eq!(harness.facts().iter().map(|(_, fact)| fact.offset.0).collect::<Vec<_>>(), [1, 3]);

    // A lost state comes to the same, and each of them is decided by itself.
    harness.lose_state();
    harness.pass(10_000);
    assert_eq!(harness.applied(), [0, 2, 4, 5].into());
    harness.heal(3);
    harness.decide(3, What::Retried);
    harness.decide(1, What::Dropped);
    harness.pass(10);
    assert_eq!(harness.applied(), [0, 2, 3, 4, 5].into());
    assert_eq!((harness.report().cursor.counts.lanes, harness.entries(Kind::Queue)), (0, 0));
    harness.health.check();
}

#[test]
fn pro_3_a_parked_event_waits_for_a_person() {
    let mut harness = Harness::new();
    harness.sick(1);
    harness.append(&samples(&["a", "b", "c", "b", "a"]));
    harness.pass(10_000);
    let counts = harness.report().cursor.counts;
    assert_eq!((counts.lanes, counts.parked, counts.waiting), (1, 1, 2));
    harness.post();
    let (what, fact) = harness.facts().pop().unwrap();
    assert_eq!((what, fact.offset.0, fact.attempts, fact.episode), (What::Parked, 1, Some(3), 0));
    assert_eq!(fact.why.as_deref(), Some("event 1 is sick"));
    assert_eq!(fact.event_subject.as_deref(), Some("b"));

    harness.decide(1, What::Retried);
    harness.pass(10);
    harness.post();
    let told: Vec<_> = harness.facts().iter().map(|(what, fact)| (*what, fact.episode)).collect();
    assert_eq!(told, [(What::Parked, 0), (What::Retried, 0), (What::Parked, 1)], "it is still sick");

    harness.heal(1);
    harness.decide(1, What::Retried);
    harness.pass(10);
    harness.post();
    assert_eq!(harness.applied().len(), 5);
    let (what, fact) = harness.facts().pop().unwrap();
    assert_eq!((what, fact.episode, fact.how), (What::Released, 1, Some(How::Applied)));
    for kind in [Kind::Queue, Kind::Note, Kind::Retrying, Kind::Parked, Kind::Told, Kind::Outbox] {
        assert_eq!(harness.entries(kind), 0, "{kind:?}");
    }
}

#[test]
fn pro_3_a_dropped_event_is_skipped_and_the_queue_goes_on() {
    let mut harness = Harness::new();
    harness.sick(1);
    harness.append(&samples(&["a", "b", "c", "b", "a"]));
    harness.pass(10_000);
    harness.decide(1, What::Dropped);
    harness.pass(10);
    assert_eq!(harness.applied(), [0, 2, 3, 4].into());
    assert_eq!(harness.report().cursor.counts.lanes, 0);
}

#[test]
fn pro_3_a_drop_outlives_what_a_slower_pipeline_says_of_the_event() {
    let mut harness = Harness::new();
    harness.sick(1);
    harness.append(&samples(&["a", "b", "c", "b", "a"]));
    harness.pass(10_000);
    harness.decide(1, What::Dropped);
    harness.pass(10);
    let fact = harness.facts().pop().unwrap().1;
    let fact = crate::parked::Fact { episode: fact.episode + 1, ..fact };
    harness.say(What::Parked, fact.clone());
    harness.fold();
    assert!(harness.is_dropped(1));
    harness.say(What::Released, crate::parked::Fact { how: Some(How::Rebuilt), ..fact });
    harness.fold();
    assert!(harness.is_dropped(1), "it ended because the other one is not used any more");
    harness.heal(1);
    harness.lose_state();
    harness.pass(10);
    assert_eq!(harness.applied(), [0, 2, 3, 4].into());
}

#[test]
fn pro_1_a_lost_state_makes_the_same_decisions_again() {
    let mut harness = Harness::new();
    harness.sick(1);
    harness.sick(2);
    harness.append(&samples(&["a", "b", "c", "b", "a", "c"]));
    harness.pass(10_000);
    harness.decide(1, What::Dropped);
    harness.pass(10);
    harness.post();
    let (applied, facts) = (harness.applied(), harness.facts());
    harness.heal(1);
    harness.lose_state();
    harness.pass(10_000);
    harness.post();
    assert_eq!(harness.applied(), applied, "a drop is for good");
    let parked = |facts: &[(What, crate::parked::Fact)]| -> Vec<_> {
        facts.iter().map(|(what, fact)| (*what, fact.offset.0, fact.episode)).collect()
    };
    let mut expected = parked(&facts);
    // The harness, unlike the parked service, does not leave out what was said already; its id is the same.
    expected.push((What::Parked, 2, 0));
    assert_eq!(parked(&harness.facts()), expected);
    harness.health.check();
}

#[test]
fn an_event_that_clears_all_frees_every_subject() {
    let mut harness = Harness::new();
    harness.sick(0);
    harness.sick(1);
    let mut events = samples(&["a", "b", "a"]);
    events.push(Sample { subject: None, ty: CLEAR });
    events.extend(samples(&["a", "b"]));
    harness.append(&events);
    harness.pass(10);
    assert_eq!(harness.applied(), [3, 4, 5].into());
    assert_eq!(harness.report().cursor.counts.waiting, 0);
    for kind in [Kind::Queue, Kind::Note, Kind::Retrying, Kind::Parked] {
        assert_eq!(harness.entries(kind), 0, "{kind:?}");
    }
    harness.health.check();
}

#[test]
fn what_was_parked_is_released_when_it_is_cleared() {
    let mut harness = Harness::new();
    harness.sick(0);
    harness.append(&samples(&["a", "b", "a"]));
    harness.pass(10_000);
    harness.append(&[Sample { subject: None, ty: CLEAR }]);
    harness.pass(10);
    harness.post();
    let (what, fact) = harness.facts().pop().unwrap();
    assert_eq!((what, fact.offset.0, fact.how), (What::Released, 0, Some(How::Cleared)));
}

#[test]
fn pro_1_a_clearing_event_that_cannot_be_processed_holds_everything_behind_it() {
    let mut harness = Harness::new();
    harness.sick(0);
    harness.sick(2);
    let mut events = samples(&["a", "b"]);
    events.push(Sample { subject: None, ty: CLEAR });
    events.extend(samples(&["a", "b"]));
    harness.append(&events);
    harness.pass(10);
    assert_eq!(harness.applied(), [1].into());
    assert_eq!(harness.position(), 3);
    harness.reopen();
    harness.pass(10_000);
    assert_eq!((harness.applied(), harness.report().cursor.counts.parked), ([1].into(), 2));
    harness.heal(2);
    harness.decide(2, What::Retried);
    harness.pass(10);
    assert_eq!(harness.applied(), [1, 2, 3, 4].into());
    harness.health.check();
}

#[test]
fn pro_1_what_was_dropped_behind_a_clearing_event_stays_dropped_when_that_is_late() {
    let mut harness = Harness::new();
    harness.sick(3);
    let mut events = samples(&["a", "b"]);
    events.push(Sample { subject: None, ty: CLEAR });
    events.extend(samples(&["a", "b"]));
    harness.append(&events);
    harness.pass(10_000);
    harness.decide(3, What::Dropped);
    harness.pass(10);
    assert_eq!(harness.applied(), [0, 1, 2, 4].into());
    harness.heal(3);
    harness.sick(2);
    harness.lose_state();
    assert_eq!(harness.position(), 3);
    harness.heal(2);
    harness.pass(10_000);
    assert_eq!(harness.applied(), [0, 1, 2, 4].into(), "a drop is for good");
}

#[test]
fn pro_3_events_without_subject_block_only_themselves() {
    let mut harness = Harness::new();
    harness.sick(1);
    let nobody = Sample { subject: None, ty: "step" };
    harness.append(&[nobody.clone(), nobody.clone(), nobody]);
    harness.pass(10);
    assert_eq!(harness.applied(), [0, 2].into());
}

#[test]
fn a_waiting_event_that_was_trimmed_is_parked_and_can_only_be_dropped() {
    let mut harness = Harness::new();
    harness.sick(0);
    harness.append(&samples(&["a", "a", "b", "a", "b"]));
    harness.pass(10);
    harness.append(&samples(&["a"]));
    harness.pass(10);
    harness.trim(4);
    harness.pass(10_000);
    harness.post();
    let why = harness.facts().pop().unwrap().1.why.unwrap();
    assert!(why.contains("removed from the log"), "{why}");
    harness.decide(0, What::Dropped);
    harness.pass(10);
    assert_eq!(harness.applied(), [2, 4, 5].into(), "one decision is enough for all that was removed");
    assert_eq!(harness.report().cursor.counts.lanes, 0);
}

#[test]
fn pro_3_when_every_event_is_sick_nothing_is_lost() {
    let mut harness = Harness::new();
    let events: Vec<_> = (0..3_000).map(|index| Sample::of(&format!("s{}", index % 1_500))).collect();
    for offset in 0..3_000 {
        harness.sick(offset);
    }
    harness.append(&events);
    harness.pass(50);
    assert!(harness.applied().is_empty());
    assert_eq!(harness.report().cursor.counts.waiting, 3_000);
    harness.health.sick.lock().clear();
    harness.pass(1_000);
    assert_eq!(harness.applied().len(), 3_000);
    harness.health.check();
}
