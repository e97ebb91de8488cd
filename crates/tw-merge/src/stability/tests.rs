//! Who counts, who does not, and what is proposed.

use super::*;
use crate::Span;
use crate::delivery::{Delivery, Head};
use tw_types::{Origin, PartitionId, Sequence, StreamId, StreamPartition};

const HOUR_MS: u64 = 3_600_000;
const EPOCH: Epoch = Epoch(1);

fn region(number: u16) -> RegionId {
    RegionId(number)
}

fn hlc(number: u64) -> Hlc {
    Hlc::from_u64(number)
}

fn vector(entries: &[(u16, u64)]) -> Seen {
    entries.iter().map(|(of, until)| (region(*of), hlc(*until))).collect()
}

fn said(at: u64, entries: &[(u16, u64)]) -> Said {
    Said { at: hlc(at), seen: vector(entries) }
}

fn stamp(of: u16, at: u64) -> Stamp {
    Stamp { hlc: hlc(at), origin: Origin { region: region(of), epoch: EPOCH, sequence: Sequence(at) } }
}

/// The view of region 1 with so many members.
fn view(members: u16) -> Stability {
    let options = Options { silent_ms_max: HOUR_MS, retained_bytes_max: 1 << 20 };
    let mut stability = Stability::new(region(1), EPOCH, options, 0).unwrap();
    for other in 2..=members {
        stability.join(region(other), EPOCH, 0).unwrap();
    }
    stability
}

#[test]
fn a_change_is_stable_when_every_member_has_seen_it() {
    let mut view = view(3);
    view.here(&said(50, &[(1, 50), (2, 50), (3, 50)]));
    assert_eq!(view.stable(), &Seen::new(), "two have said nothing");
    view.heard(region(2), EPOCH, said(50, &[(1, 40), (3, 45)]), 1).unwrap();
    view.heard(region(3), EPOCH, said(50, &[(1, 30), (2, 35)]), 1).unwrap();
    view.here(&said(60, &[(1, 60), (2, 50), (3, 50)]));
    assert_eq!(view.stable(), &vector(&[(1, 30), (2, 35), (3, 45)]));
    assert!(view.is_stable(&stamp(1, 30)) && !view.is_stable(&stamp(1, 31)));
}

#[test]
fn what_a_region_says_counts_when_all_that_it_accepted_before_is_here() {
    let mut view = view(2);
    view.heard(region(2), EPOCH, said(50, &[(1, 40)]), 1).unwrap();
    for later in 51..60 {
        view.heard(region(2), EPOCH, said(later, &[(1, later)]), 1).unwrap();
    }
    view.here(&said(60, &[(1, 60), (2, 49)]));
    assert_eq!(view.stable(), &Seen::new(), "a change at 50 may not know of 40 and is not here");
    view.here(&said(60, &[(1, 60), (2, 50)]));
    assert_eq!(view.stable().of(region(1)), hlc(40), "the first was not pushed out by the later ones");
    view.here(&said(60, &[(1, 60), (2, 59)]));
    assert_eq!(view.stable().of(region(1)), hlc(59));
}

#[test]
fn who_joins_holds_everything_up_until_it_has_seen_what_is_stable() {
    let mut view = view(1);
    view.here(&said(50, &[(1, 50)]));
    view.join(region(2), EPOCH, 0).unwrap();
    view.here(&said(60, &[(1, 60)]));
    assert_eq!(view.stable(), &vector(&[(1, 50)]));
    let less = view.heard(region(2), EPOCH, said(70, &[(1, 49)]), 1);
    assert_eq!(less, Err(Error::SeenLess { region: region(2) }));
    view.heard(region(2), EPOCH, said(70, &[(1, 55)]), 1).unwrap();
    view.here(&said(80, &[(1, 80), (2, 70)]));
    assert_eq!(view.stable(), &vector(&[(1, 55), (2, 70)]));
}

#[test]
fn a_member_that_has_written_nothing_since_it_last_spoke_is_heard_after_a_restart_of_this_region() {
    let mut before = view(2);
    before.heard(region(2), EPOCH, said(50, &[(1, 40), (2, 10)]), 1).unwrap();
    before.here(&said(60, &[(1, 60), (2, 50)]));
    assert_eq!(before.stable(), &vector(&[(1, 40), (2, 50)]));
    let mut view = view(2);
    view.restore(before.stable());
    // Its last event is at 10, and all that it accepted up to 70 is there.
    view.heard(region(2), EPOCH, said(70, &[(1, 45), (2, 10)]), 1).unwrap();
    view.here(&said(80, &[(1, 80), (2, 70)]));
    assert_eq!(view.stable(), &vector(&[(1, 45), (2, 70)]));
}

#[test]
fn a_copy_whose_clock_is_behind_what_is_stable_of_it_is_refused() {
    let mut view = view(1);
    view.restore(&vector(&[(2, 50)]));
    view.join(region(2), Epoch(2), 0).unwrap();
    let behind = view.heard(region(2), Epoch(2), said(49, &[(2, 50)]), 1);
    assert_eq!(behind, Err(Error::SeenLess { region: region(2) }));
    view.heard(region(2), Epoch(2), said(50, &[]), 1).unwrap();
}

#[test]
fn what_was_promised_of_a_region_that_is_gone_is_seen_after_a_start_that_is_told_where_it_ended() {
    // Region 9 wrote at 55 and promised 60; region 2 has that, and says so.
    let at = StreamPartition::new(StreamId(1), PartitionId(0));
    let first = Origin { region: region(9), epoch: EPOCH, sequence: Sequence(1) };
    let mut gate = Delivery::start(region(2), [(region(9), at, Hlc::ZERO)]).unwrap();
    gate.offer(at, Head { span: Span::new(first, 1, hlc(55)).unwrap(), seen: Seen::new() }).unwrap();
    gate.appended(region(9), at, hlc(55));
    gate.heartbeat(region(9), at, &[(EPOCH, Sequence(1))], hlc(60)).unwrap();
    let mut before = view(2);
    before.heard(region(2), EPOCH, Said { at: hlc(70), seen: gate.seen() }, 1).unwrap();
    before.here(&said(80, &[(1, 80), (2, 70), (9, 60)]));
    assert_eq!(before.stable().of(region(9)), hlc(60));
    // It is evicted, and both others start anew.
    let mut view = view(2);
    view.restore(before.stable());
    let mut started = Delivery::start(region(2), []).unwrap();
    started.resume(&gate.latest()).unwrap();
    let mut hear = |gate: &Delivery| {
        let mut seen = gate.seen();
        seen.raise(region(1), hlc(80));
        view.heard(region(2), EPOCH, Said { at: hlc(90), seen }, 2)
    };
    assert_eq!(hear(&started), Err(Error::SeenLess { region: region(2) }), "nobody says 60 again");
    started.resume(&vector(&[(9, 60)])).unwrap();
    assert_eq!(hear(&started), Ok(()));
}

#[test]
fn a_silent_region_is_proposed_for_eviction_and_comes_back_under_a_new_epoch_only() {
    let mut view = view(3);
    view.heard(region(2), EPOCH, said(1, &[]), HOUR_MS / 2).unwrap();
    assert_eq!(view.decide(HOUR_MS / 2), []);
    assert_eq!(view.decide(HOUR_MS), []);
    let silent = Reason::Silent { ms: HOUR_MS + 1 };
    assert_eq!(view.decide(HOUR_MS + 1), [Proposal::Evict { region: region(3), reason: silent }]);
    view.evicted(region(3));
    let refused = Err(Error::Evicted { region: region(3), epoch: EPOCH });
    assert_eq!(view.heard(region(3), EPOCH, said(9, &[]), HOUR_MS + 2), refused);
    assert_eq!(view.join(region(3), EPOCH, HOUR_MS + 2), refused);
    assert!(view.heard(region(3), Epoch(2), said(9, &[]), HOUR_MS + 2).is_err(), "it has to join first");
    view.join(region(3), Epoch(2), HOUR_MS + 2).unwrap();
    view.heard(region(3), Epoch(2), said(9, &[]), HOUR_MS + 2).unwrap();
    assert_eq!(
        view.join(region(3), EPOCH, HOUR_MS + 3).unwrap_err().to_string().split(':').next(),
        Some("region `3` came with epoch 1 and is a member with 2")
    );
}

#[test]
fn an_evicted_region_is_not_waited_for() {
    let mut view = view(3);
    view.heard(region(2), EPOCH, said(50, &[(1, 40)]), 1).unwrap();
    view.here(&said(60, &[(1, 60), (2, 50)]));
    assert_eq!(view.stable(), &Seen::new());
    view.evicted(region(3));
    view.here(&said(60, &[(1, 60), (2, 50)]));
    assert_eq!(view.stable(), &vector(&[(1, 40), (2, 50)]));
}

#[test]
fn of_many_silent_regions_a_minority_is_proposed_the_fullest_and_longest_first() {
    let mut view = view(5);
    for (other, heard_ms) in [(2, 30), (3, 20), (4, 10), (5, 40)] {
        view.heard(region(other), EPOCH, said(1, &[]), heard_ms).unwrap();
    }
    view.retained(region(5), (1 << 20) + 1);
    assert_eq!([view.decide(HOUR_MS / 2), view.decide(HOUR_MS)].map(|proposed| proposed.len()), [1, 1]);
    let proposed = view.decide(HOUR_MS + 50);
    let evict = |other, reason| Proposal::Evict { region: region(other), reason };
    let full = Reason::Retained { bytes: (1 << 20) + 1 };
    assert_eq!(proposed, [evict(5, full), evict(4, Reason::Silent { ms: HOUR_MS + 40 })]);
}

#[test]
fn a_region_that_stood_still_itself_proposes_nobody() {
    let mut view = view(3);
    assert_eq!(view.decide(1), []);
    assert_eq!(view.decide(10 * HOUR_MS), []);
    assert_eq!(view.decide(10 * HOUR_MS + HOUR_MS / 2), []);
    assert_eq!(view.decide(11 * HOUR_MS), []);
    assert_eq!(view.decide(11 * HOUR_MS + 1).len(), 1);
}

#[test]
fn a_drained_region_may_leave_when_all_others_have_what_it_accepted() {
    let mut view = view(3);
    view.drain(region(3), hlc(20));
    view.heard(region(2), EPOCH, said(50, &[(1, 40), (3, 19)]), 1).unwrap();
    view.heard(region(3), EPOCH, said(20, &[(1, 40)]), 1).unwrap();
    view.here(&said(60, &[(1, 60), (2, 51), (3, 20)]));
    assert_eq!(view.decide(1), []);
    view.heard(region(2), EPOCH, said(51, &[(1, 40), (3, 20)]), 1).unwrap();
    view.here(&said(60, &[(1, 60), (2, 51), (3, 20)]));
    assert_eq!(view.decide(1), [Proposal::Leave { region: region(3) }]);
    view.left(region(3));
    view.heard(region(2), EPOCH, said(52, &[(1, 59), (3, 20)]), 1).unwrap();
    view.here(&said(60, &[(1, 60), (2, 52), (3, 20)]));
    assert_eq!(view.stable().of(region(1)), hlc(59));
}

#[test]
fn options_outside_their_bounds_are_refused() {
    let wrong = Options { silent_ms_max: 999, ..Options::default() };
    let error = Stability::new(region(1), EPOCH, wrong, 0).unwrap_err();
    assert_eq!(error.to_string(), "option `silent_ms_max` is 999, outside 1000 to 2592000000 ms");
    let wrong = Options { retained_bytes_max: 0, ..Options::default() };
    assert!(wrong.check().is_err());
}
