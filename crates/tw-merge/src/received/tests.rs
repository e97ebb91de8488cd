//! Twice, missing, forked, closed.

use super::*;
use crate::testing::config;
use proptest::prelude::*;
use std::collections::BTreeMap;

const REGION: RegionId = RegionId(2);
const FIRST: Epoch = Epoch(1);
const SECOND: Epoch = Epoch(2);

fn span(epoch: Epoch, sequence: u64, count: u64, hlc: u64) -> Span {
    let first = Origin { region: REGION, epoch, sequence: Sequence(sequence) };
    Span::new(first, count, Hlc::from_u64(hlc)).unwrap()
}

fn mark(sequence: u64, hlc: u64) -> Mark {
    Mark { sequence: Sequence(sequence), hlc: Hlc::from_u64(hlc) }
}

/// Five events of the first epoch, at 100 and 200.
fn five() -> Received {
    let mut received = Received::new();
    assert_eq!(received.announce(REGION, &[(FIRST, Sequence(0))]), Ok(None));
    assert_eq!(received.receive(&span(FIRST, 1, 3, 100)), Offered::New { skip: 0 });
    assert_eq!(received.receive(&span(FIRST, 4, 2, 200)), Offered::New { skip: 0 });
    assert_eq!(received.reached(REGION, FIRST), Some(mark(5, 201)));
    received
}

#[test]
fn reg_3_what_is_known_is_a_duplicate_and_what_is_missing_a_gap() {
    let received = five();
    assert_eq!(received.offer(&span(FIRST, 1, 3, 100)), Offered::Duplicate);
    assert_eq!(received.offer(&span(FIRST, 2, 2, 101)), Offered::Duplicate);
    assert_eq!(received.offer(&span(FIRST, 4, 5, 200)), Offered::New { skip: 2 });
    assert_eq!(received.offer(&span(FIRST, 8, 1, 300)), Offered::Gap { from: Sequence(6), to: Sequence(7) });
    assert_eq!(Received::new().offer(&span(FIRST, 1, 1, 1)), Offered::Unannounced);
}

#[test]
fn a_known_sequence_with_another_timestamp_is_a_fork() {
    let received = five();
    let fork = |span: Span| matches!(received.offer(&span), Offered::Fork { .. });
    assert!(fork(span(FIRST, 4, 2, 199)) && fork(span(FIRST, 5, 3, 300)));
    assert!(fork(span(FIRST, 2, 1, 199)), "three more events had to fit between");
    assert!(fork(span(FIRST, 6, 1, 201)) && !fork(span(FIRST, 6, 1, 202)));
    assert!(fork(span(FIRST, 9, 1, 204)), "three events had to fit between");
    assert_eq!(
        received.offer(&span(FIRST, 5, 1, 300)),
        Offered::Fork { at: Sequence(5), known: Hlc::from_u64(201), told: Hlc::from_u64(300) }
    );
}

#[test]
fn a_closed_epoch_takes_nothing_beyond_its_end_and_the_next_one_waits_for_it() {
    let mut received = five();
    assert_eq!(received.offer(&span(SECOND, 1, 1, 900)), Offered::Unannounced);
    let missing = received.announce(REGION, &[(FIRST, Sequence(7)), (SECOND, Sequence(1))]);
    assert_eq!(missing, Ok(Some(Missing { epoch: FIRST, from: Sequence(6), to: Sequence(7) })));
    assert_eq!(received.offer(&span(SECOND, 1, 1, 900)), Offered::Early { epoch: FIRST });
    assert_eq!(received.offer(&span(FIRST, 6, 3, 300)), Offered::Closed { end: Sequence(7) });
    assert_eq!(received.receive(&span(FIRST, 6, 2, 300)), Offered::New { skip: 0 });
    assert_eq!(received.receive(&span(SECOND, 1, 1, 900)), Offered::New { skip: 0 });
    assert_eq!(received.offer(&span(FIRST, 6, 2, 300)), Offered::Duplicate);
    assert_eq!(received.last_hlc(REGION), Hlc::from_u64(900));
    assert_eq!(received.epochs(REGION), [(FIRST, Sequence(7)), (SECOND, Sequence(1))]);
    // What was said before that comes late and changes nothing.
    assert_eq!(received.announce(REGION, &[(FIRST, Sequence(5))]), Ok(None));
}

#[test]
fn announcements_that_contradict_what_is_known_change_nothing() {
    let mut received = five();
    let before = received.clone();
    let wrong: [(&[(Epoch, Sequence)], &str); 4] = [
        (&[], "at least one epoch"),
        (&[(SECOND, Sequence(0)), (FIRST, Sequence(5))], "rising order"),
        (&[(FIRST, Sequence(4)), (SECOND, Sequence(0))], "let it fetch back its tail first"),
        (&[(SECOND, Sequence(0))], "does not announce its epoch 1"),
    ];
    for (epochs, message) in wrong {
        let error = received.announce(REGION, epochs).unwrap_err().to_string();
        assert!(error.contains(message), "{error}");
        assert_eq!(received, before);
    }
    received.announce(REGION, &[(FIRST, Sequence(5)), (SECOND, Sequence(0))]).unwrap();
    let moved = received.announce(REGION, &[(FIRST, Sequence(6)), (SECOND, Sequence(0))]);
    assert!(matches!(moved, Err(Error::EndMoved { .. })));
}

#[test]
fn what_compaction_removed_is_passed() {
    let mut received = five();
    let last = Origin { region: REGION, epoch: FIRST, sequence: Sequence(9) };
    assert_eq!(received.pass(last, Hlc::from_u64(300)), Ok(Offered::New { skip: 0 }));
    assert_eq!(received.pass(last, Hlc::from_u64(300)), Ok(Offered::Duplicate));
    assert_eq!(received.receive(&span(FIRST, 10, 1, 400)), Offered::New { skip: 0 });
    let wrong = Origin { sequence: Sequence(11), ..last };
    assert!(matches!(received.pass(wrong, Hlc::from_u64(400)), Ok(Offered::Fork { .. })));
}

#[test]
fn a_seeded_partition_goes_on_after_the_snapshot() {
    let mut received = Received::new();
    let last = Origin { region: REGION, epoch: FIRST, sequence: Sequence(50) };
    received.seed(last, Hlc::from_u64(500)).unwrap();
    assert_eq!(received.offer(&span(FIRST, 50, 1, 500)), Offered::Duplicate);
    assert_eq!(received.offer(&span(FIRST, 51, 1, 501)), Offered::New { skip: 0 });
    assert!(matches!(received.seed(last, Hlc::from_u64(500)), Err(Error::NotEmpty { .. })));
}

#[test]
fn complete_epochs_are_retired_and_their_events_stay_duplicates() {
    let mut received = five();
    assert_eq!(received.retire(REGION, SECOND), Err(Error::Incomplete { region: REGION, epoch: FIRST }));
    received.announce(REGION, &[(FIRST, Sequence(5)), (SECOND, Sequence(0))]).unwrap();
    received.retire(REGION, SECOND).unwrap();
    assert_eq!(received.offer(&span(FIRST, 4, 2, 200)), Offered::Duplicate);
    assert_eq!(received.announce(REGION, &[(SECOND, Sequence(0))]), Ok(None));
    assert_eq!(received.offer(&span(SECOND, 1, 1, 900)), Offered::New { skip: 0 });
}

#[test]
fn one_region_or_epoch_too_many_is_refused() {
    let mut received = Received::new();
    let epochs = |count: u32| (1..=count).map(|epoch| (Epoch(epoch), Sequence(0))).collect::<Vec<_>>();
    assert_eq!(received.announce(REGION, &epochs(64)), Ok(None));
    let error = received.announce(REGION, &epochs(65)).unwrap_err();
    assert_eq!(error, Error::Epochs { region: REGION, max: EPOCHS_MAX });
    for region in 3..3 + REGIONS_MAX as u16 - 1 {
        received.announce(RegionId(region), &epochs(1)).unwrap();
    }
    let error = received.announce(RegionId(9_999), &epochs(1)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "region `9999` is one more than the 1024 that a partition takes events of: free one first"
    );
}

#[test]
fn a_handshake_tells_an_old_copy_from_one_that_went_on() {
    assert_eq!(compare(mark(5, 201), mark(9, 400), None), Standing::Fine { ahead: 4 });
    assert_eq!(compare(mark(5, 201), mark(9, 400), Some(Hlc::from_u64(201))), Standing::Fine { ahead: 4 });
    let behind = Standing::Behind { from: Sequence(6), to: Sequence(9) };
    assert_eq!(compare(mark(9, 400), mark(5, 201), Some(Hlc::from_u64(201))), behind);
    assert_eq!(
        compare(mark(9, 400), mark(5, 201), Some(Hlc::from_u64(200))),
        Standing::Fork { at: Sequence(5) }
    );
    assert_eq!(
        compare(mark(5, 201), mark(9, 400), Some(Hlc::from_u64(300))),
        Standing::Fork { at: Sequence(5) }
    );
    assert_eq!(compare(mark(5, 201), mark(5, 202), None), Standing::Fork { at: Sequence(5) });
    assert_eq!(compare(mark(5, 201), mark(9, 204), None), Standing::Fork { at: Sequence(5) });
    assert_eq!(compare(mark(0, 0), mark(9, 204), None), Standing::Fine { ahead: 9 });
}

proptest! {
    #![proptest_config(config(1_000))]

    /// One history, cut into blocks in many ways and offered in any order, again and again.
    #[test]
    fn reg_3_whatever_is_offered_each_event_is_taken_once_and_in_order(
        steps in prop::collection::vec(1u64..5, 20),
        offers in prop::collection::vec((0usize..20, 1u64..8), 1..200),
    ) {
        let times: Vec<u64> = steps.iter().scan(100, |at, step| { *at += step; Some(*at) }).collect();
        let mut received = Received::new();
        received.announce(REGION, &[(FIRST, Sequence(0))]).unwrap();
        let mut taken = BTreeMap::new();
        for (from, count) in offers {
            // A block's timestamps are in a row: it ends where there is a pause.
            let row = times[from..].windows(2).take_while(|pair| pair[1] == pair[0] + 1).count() as u64 + 1;
            let offered = span(FIRST, from as u64 + 1, count.min(row), times[from]);
            let reached = taken.len() as u64;
            match received.receive(&offered) {
                Offered::New { skip } => {
                    for sequence in offered.first().sequence.0 + skip..=offered.last().0 {
                        prop_assert_eq!(sequence, taken.len() as u64 + 1);
                        taken.insert(sequence, offered.hlc_at(Sequence(sequence)));
                    }
                }
                Offered::Duplicate => prop_assert!(offered.last().0 <= reached),
                Offered::Gap { from, to } => {
                    prop_assert_eq!((from.0, to.0 + 1), (reached + 1, offered.first().sequence.0));
                }
                other => prop_assert!(false, "{:?}", other),
            }
        }
        for (at, time) in taken.values().zip(times) {
            prop_assert_eq!(*at, Some(Hlc::from_u64(time)));
        }
    }

    /// A copy restored at some event goes on in the same epoch, later: whoever has more of the old one finds out, before anything
    /// is sent and with each block that touches what both have.
    #[test]
    fn a_copy_that_went_on_without_a_new_epoch_is_found_out(
        common in 1u64..10, lost in 1u64..10, anew in 1u64..20, pause in 1u64..1_000,
    ) {
        // One event in two units of time; the copy goes on after what was lost.
        let time = |sequence: u64| sequence * 2;
        let time_anew = |sequence: u64| time(common + lost) + pause + sequence * 2;
        let mut received = Received::new();
        received.announce(REGION, &[(FIRST, Sequence(0))]).unwrap();
        for sequence in 1..=common + lost {
            received.receive(&span(FIRST, sequence, 1, time(sequence)));
        }
        let (held, accepted) = (mark(common + lost, time(common + lost)), common + anew);
        let shorter = accepted.min(common + lost);
        let at_shorter = Hlc::from_u64(if anew < lost { time(shorter) } else { time_anew(shorter) });
        let standing = compare(held, mark(accepted, time_anew(accepted)), Some(at_shorter));
        prop_assert_eq!(standing, Standing::Fork { at: Sequence(shorter) });
        let last_known = span(FIRST, common + lost, 1, time_anew(common + lost));
        let is_fork = matches!(received.offer(&last_known), Offered::Fork { .. });
        prop_assert!(is_fork);
        let first_anew = span(FIRST, common + 1, 1, time_anew(common + 1));
        let is_fork = matches!(received.offer(&first_anew), Offered::Fork { .. });
        prop_assert!(is_fork);
    }
}
