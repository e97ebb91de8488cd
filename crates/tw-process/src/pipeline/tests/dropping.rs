//! Drops of events that another pipeline of the view has parked.

use super::harness::{Harness, samples};
use crate::Options;
use crate::keys::Kind;
use crate::parked::{Fact, How, What};

#[test]
fn pro_1_a_drop_of_what_was_applied_here_comes_too_late() {
    let mut harness = Harness::new();
    harness.append(&samples(&["a", "b", "c"]));
    harness.settle();
    harness.is_dropped_elsewhere(1);
    harness.fold();
    harness.settle();
    harness.pass(100);
    harness.post();
    let (what, fact) = harness.facts().pop().unwrap();
    assert_eq!((what, fact.offset.0, fact.episode), (What::Released, 1, 0));
    assert_eq!(fact.how, Some(How::Applied));
    assert!(!harness.is_dropped(1));
    harness.lose_state();
    assert_eq!(harness.applied(), [0, 1, 2].into(), "a replay makes another state");
}

#[test]
fn pro_1_a_drop_of_what_is_still_to_come_is_in_time() {
    let mut harness = Harness::new();
    harness.append(&samples(&["a"]));
    harness.settle();
    harness.is_dropped_elsewhere(1);
    harness.fold();
    // While that is carried out, others come in.
    harness.is_dropped_elsewhere(2);
    harness.is_dropped_elsewhere(4);
    harness.store.after_snapshot(harness.folding());
    harness.settle();
    harness.append(&samples(&["a", "b", "c", "d"]));
    harness.pass(100);
    assert_eq!(harness.applied(), [0, 3].into());
    harness.post();
    assert_eq!(harness.facts().len(), 6, "nothing more is said of them");
    harness.lose_state();
    assert_eq!(harness.applied(), [0, 3].into());
}

#[test]
fn pro_3_a_drop_counts_although_there_is_no_room_to_carry_it_out() {
    let retry = tw_order::gate::Options { lanes_max: 1, ..tw_order::gate::Options::default() };
    let mut harness = Harness::with(Options { retry, ..Options::default() });
    harness.sick(0);
    harness.append(&samples(&["a", "a", "b"]));
    harness.settle();
    assert_eq!(harness.applied(), [2].into());
    // The one lane that there is room for is tried again and again.
    harness.is_dropped_elsewhere(1);
    harness.is_dropped_elsewhere(4);
    harness.fold();
    harness.append(&samples(&["b", "b"]));
    harness.settle();
    harness.heal(0);
    harness.pass(1_000);
    assert_eq!(harness.applied(), [0, 2, 3].into());
    harness.post();
    assert_eq!(harness.facts().len(), 4, "nothing more is said of them");
    assert_eq!(harness.entries(Kind::Told), 0);
    harness.lose_state();
    assert_eq!(harness.applied(), [0, 2, 3].into());
}

#[test]
fn pro_1_what_is_built_with_an_event_that_was_dropped_is_built_anew() {
    let mut harness = Harness::new();
    harness.is_built();
    harness.append(&samples(&["a", "b", "c"]));
    harness.pass(100);
    harness.is_dropped_elsewhere(1);
    harness.fold();
    harness.settle();
    assert!(harness.is_stale());
    harness.append(&samples(&["d"]));
    harness.pass(100);
    assert_eq!(harness.position(), 3, "nothing more is read for it");
    harness.post();
    assert_eq!(harness.facts().len(), 2, "where the view is read it is dropped");
}

#[test]
fn pro_1_what_is_built_without_an_event_that_was_not_dropped_after_all_is_built_anew() {
    let mut harness = Harness::new();
    harness.is_built();
    harness.is_dropped_elsewhere(1);
    harness.fold();
    harness.append(&samples(&["a", "b", "c"]));
    harness.pass(100);
    assert_eq!((harness.applied(), harness.is_stale()), ([0, 2].into(), false));
    // Whatever was told in between.
    harness.say(What::Parked, Fact { episode: 1, ..harness.fact(1) });
    harness.say(What::Released, Fact { how: Some(How::Applied), ..harness.fact(1) });
    harness.fold();
    harness.settle();
    assert_eq!((harness.is_dropped(1), harness.is_stale()), (false, true));
}
