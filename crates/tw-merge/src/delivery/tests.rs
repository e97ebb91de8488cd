//! What may be appended, what waits for what, and what is given up.

use super::*;
use crate::{Seen, Span};
use tw_types::{Origin, PartitionId, StreamId};

const ME: RegionId = RegionId(1);
const A: RegionId = RegionId(2);
const B: RegionId = RegionId(3);
const EPOCH: Epoch = Epoch(1);

fn at(number: u32) -> StreamPartition {
    StreamPartition::new(StreamId(1), PartitionId(number))
}

fn hlc(number: u64) -> Hlc {
    Hlc::from_u64(number)
}

/// Two partitions of each of two regions, of which nothing is here.
fn gate() -> Delivery {
    let slots = [(A, at(0)), (A, at(1)), (B, at(0)), (B, at(1))];
    Delivery::start(ME, slots.map(|(region, at)| (region, at, Hlc::ZERO))).unwrap()
}

/// A block from `first` to `last`, which has seen that.
fn head(region: RegionId, sequence: u64, first: u64, last: u64, seen: &[(RegionId, u64)]) -> Head {
    let origin = Origin { region, epoch: EPOCH, sequence: Sequence(sequence) };
    let seen: Seen = seen.iter().map(|(region, until)| (*region, hlc(*until))).collect();
    Head { span: Span::new(origin, last - first + 1, hlc(first)).unwrap(), seen }
}

/// What is ready: region, partition, first and last timestamp.
fn ready(gate: &Delivery) -> Vec<(u16, u32, u64, u64)> {
    let portion = |portion: Portion| {
        let (first, last) = (portion.span.first_hlc().as_u64(), portion.span.last_hlc().as_u64());
        (portion.span.region().0, portion.at.partition.0, first, last)
    };
    gate.ready().into_iter().map(portion).collect()
}

fn append_all(gate: &mut Delivery) {
    for portion in gate.ready() {
        gate.appended(portion.span.region(), portion.at, portion.span.last_hlc());
    }
}

fn beat(gate: &mut Delivery, region: RegionId, number: u32, sequence: u64, until: u64) -> bool {
    gate.heartbeat(region, at(number), &[(EPOCH, Sequence(sequence))], hlc(until)).unwrap()
}

#[test]
fn reg_2_a_block_waits_for_what_its_writer_had_seen() {
    let mut gate = gate();
    gate.offer(at(0), head(B, 1, 20, 20, &[(A, 10)])).unwrap();
    beat(&mut gate, B, 1, 0, 30);
    assert_eq!(ready(&gate), []);
    let waiting = gate.waiting();
    let need = Need { region: A, at: None, until: hlc(10), here: Hlc::ZERO };
    assert_eq!((waiting.len(), &waiting[0].needs), (1, &vec![need]));
    gate.offer(at(1), head(A, 1, 10, 10, &[])).unwrap();
    beat(&mut gate, A, 0, 0, 12);
    assert_eq!(ready(&gate), [(2, 1, 10, 10)], "one step after the other");
    append_all(&mut gate);
    assert_eq!(ready(&gate), [(3, 0, 20, 20)]);
    append_all(&mut gate);
    assert_eq!((gate.waiting(), ready(&gate)), (vec![], vec![]));
    assert_eq!(gate.seen(), [(A, hlc(10)), (B, hlc(20))].into_iter().collect());
    assert_eq!(gate.latest(), gate.seen());
}

#[test]
fn reg_2_blocks_of_one_region_are_appended_in_the_order_of_time_whatever_partition_they_are_in() {
    let mut gate = gate();
    gate.offer(at(1), head(A, 1, 20, 21, &[])).unwrap();
    assert_eq!(ready(&gate), [], "the other partition may have something earlier");
    let need = Need { region: A, at: Some(at(0)), until: hlc(21), here: Hlc::ZERO };
    assert_eq!(gate.waiting()[0].needs, [need]);
    gate.offer(at(0), head(A, 1, 10, 12, &[])).unwrap();
    assert_eq!(ready(&gate), [(2, 0, 10, 12)]);
    append_all(&mut gate);
    assert_eq!((ready(&gate), gate.seen().of(A)), (vec![], hlc(12)));
    beat(&mut gate, A, 0, 3, 21);
    assert_eq!(ready(&gate), [(2, 1, 20, 21)]);
}

#[test]
fn what_was_seen_never_passes_a_block_that_is_held_back() {
    let mut gate = gate();
    gate.offer(at(0), head(A, 1, 10, 10, &[(B, 5)])).unwrap();
    assert!(!beat(&mut gate, A, 0, 0, 50), "said before the block was sent");
    assert!(beat(&mut gate, A, 0, 1, 50) && beat(&mut gate, A, 1, 0, 50));
    assert_eq!(gate.seen().of(A), hlc(9));
    assert_eq!(gate.known(A, at(0)), Some(hlc(9)));
    assert!(beat(&mut gate, B, 0, 0, 5) && beat(&mut gate, B, 1, 0, 5));
    append_all(&mut gate);
    assert_eq!((gate.seen().of(A), gate.latest().of(A)), (hlc(50), hlc(10)));
}

#[test]
fn blocks_that_overlap_are_kept_whole_if_it_is_known_what_follows_and_split_if_both_go_on() {
    let mut gate = gate();
    gate.offer(at(0), head(A, 1, 10, 14, &[])).unwrap();
    gate.offer(at(1), head(A, 1, 12, 13, &[])).unwrap();
    assert_eq!(ready(&gate), [], "a heartbeat may come");
    let mut whole = gate.clone();
    assert!(beat(&mut whole, A, 1, 2, 20));
    assert_eq!(ready(&whole), [(2, 0, 10, 14), (2, 1, 12, 13)]);
    // The other partition goes on within the first block.
    gate.followed(A, at(1), hlc(14));
    assert_eq!(ready(&gate), [(2, 0, 10, 13), (2, 1, 12, 13)]);
    append_all(&mut gate);
    assert_eq!((gate.seen().of(A), ready(&gate)), (hlc(13), vec![]));
    gate.offer(at(1), head(A, 3, 14, 18, &[])).unwrap();
    assert_eq!(ready(&gate), [], "the first goes on after 14, or it does not");
    gate.followed(A, at(0), hlc(30));
    gate.followed(A, at(1), hlc(31));
    assert_eq!(ready(&gate), [(2, 0, 14, 14), (2, 1, 14, 18)]);
}

#[test]
fn the_same_events_by_another_link_show_what_follows() {
    let mut gate = gate();
    gate.offer(at(0), head(A, 1, 10, 11, &[])).unwrap();
    gate.offer(at(1), head(A, 1, 11, 14, &[])).unwrap();
    assert_eq!(ready(&gate), []);
    assert_eq!(gate.offer(at(0), head(A, 1, 10, 13, &[])), Ok(Placed::Busy));
    assert_eq!(ready(&gate), [(2, 0, 10, 11), (2, 1, 11, 11)]);
}

#[test]
fn what_breaks_the_rules_of_time_is_refused() {
    let mut gate = gate();
    beat(&mut gate, A, 0, 0, 50);
    let late = gate.offer(at(0), head(A, 1, 50, 60, &[]));
    assert_eq!(late, Err(Error::Late { region: A, at: at(0), hlc: hlc(50), seen: hlc(50) }));
    let ahead = gate.offer(at(0), head(A, 1, 60, 60, &[(B, 60)]));
    assert_eq!(ahead, Err(Error::SeenTooLate { region: A, first: hlc(60), other: B, hlc: hlc(60) }));
    let unknown = gate.offer(at(7), head(A, 1, 60, 60, &[]));
    assert_eq!(unknown, Err(Error::UnknownPartition { region: A, at: at(7) }));
}

#[test]
fn a_partition_that_is_told_of_too_late_is_refused() {
    let mut gate = gate();
    assert!(beat(&mut gate, A, 0, 0, 50) && beat(&mut gate, A, 1, 0, 40));
    assert!(matches!(gate.add(A, at(2), hlc(39)), Err(Error::Late { .. })));
    gate.add(A, at(2), hlc(40)).unwrap();
    beat(&mut gate, A, 1, 0, 50);
    assert_eq!(gate.seen().of(A), hlc(40));
    gate.remove(A, at(2));
    assert_eq!(gate.seen().of(A), hlc(50));
}

#[test]
fn what_a_step_stored_is_seen_after_a_start_before_any_heartbeat() {
    let mut gate = gate();
    gate.offer(at(0), head(B, 1, 20, 20, &[(A, 10)])).unwrap();
    beat(&mut gate, B, 1, 0, 20);
    let gone = RegionId(9);
    gate.resume(&[(A, hlc(9)), (ME, hlc(50)), (gone, hlc(60))].into_iter().collect()).unwrap();
    assert_eq!((gate.seen().of(gone), gate.latest().of(gone)), (hlc(60), hlc(60)));
    assert_eq!((gate.seen().of(A), gate.seen().of(ME), ready(&gate)), (hlc(9), Hlc::ZERO, vec![]));
    gate.resume(&[(A, hlc(10))].into_iter().collect()).unwrap();
    assert_eq!((gate.latest().of(A), ready(&gate)), (hlc(10), vec![(3, 0, 20, 20)]));
    let late = gate.offer(at(0), head(A, 1, 10, 10, &[]));
    assert!(matches!(late, Err(Error::Late { .. })));
}

#[test]
fn a_partition_that_is_received_only_now_takes_back_what_was_seen_until_it_has_come() {
    let mut gate = gate();
    gate.resume(&[(A, hlc(50))].into_iter().collect()).unwrap();
    gate.reopen(A, at(2), hlc(5)).unwrap();
    assert_eq!(gate.seen().of(A), hlc(5));
    gate.offer(at(1), head(A, 1, 60, 60, &[])).unwrap();
    beat(&mut gate, A, 0, 0, 70);
    gate.offer(at(2), head(A, 1, 10, 11, &[])).unwrap();
    gate.followed(A, at(2), hlc(61));
    assert_eq!(ready(&gate), [(2, 2, 10, 11), (2, 1, 60, 60)]);
    assert!(
        matches!(gate.offer(at(0), head(A, 1, 50, 50, &[])), Err(Error::Late { .. })),
        "what was here stays so"
    );
}

#[test]
fn one_heartbeat_of_many_partitions_says_as_much_as_one_of_each() {
    let (mut one, mut each) = (gate(), gate());
    for gate in [&mut one, &mut each] {
        gate.offer(at(0), head(A, 1, 10, 11, &[])).unwrap();
    }
    let announced = [(EPOCH, Sequence(2))];
    let partitions = [(at(0), &announced[..]), (at(1), &[]), (at(7), &[])];
    one.heartbeats(A, hlc(30), partitions);
    beat(&mut each, A, 0, 2, 30);
    beat(&mut each, A, 1, 0, 30);
    assert_eq!((one.seen(), ready(&one)), (each.seen(), ready(&each)));
    assert_eq!(ready(&one), [(2, 0, 10, 11)]);
}

#[test]
fn own_events_that_an_older_copy_lost_are_waited_for() {
    let mut gate = gate();
    gate.local(hlc(5));
    gate.offer(at(0), head(A, 1, 10, 10, &[(ME, 8)])).unwrap();
    beat(&mut gate, A, 1, 0, 10);
    assert_eq!(gate.waiting()[0].needs, [Need { region: ME, at: None, until: hlc(8), here: hlc(5) }]);
    gate.local(hlc(8));
    assert_eq!(ready(&gate), [(2, 0, 10, 10)]);
}

#[test]
fn what_nobody_has_any_more_is_given_up_and_told() {
    let mut gate = gate();
    gate.offer(at(0), head(B, 1, 20, 20, &[(A, 10)])).unwrap();
    beat(&mut gate, B, 1, 0, 20);
    beat(&mut gate, A, 0, 0, 7);
    let lost = gate.declare_lost(A, at(0), &[(EPOCH, Sequence(0))], hlc(15)).unwrap().unwrap();
    assert_eq!(
        (lost.after, lost.until, lost.released),
        (hlc(7), hlc(15), vec![]),
        "the other one may have it"
    );
    let lost = gate.declare_lost(A, at(1), &[(EPOCH, Sequence(0))], hlc(15)).unwrap().unwrap();
    assert_eq!(lost.released.iter().map(|one| one.hlc).collect::<Vec<_>>(), [hlc(20)]);
    assert_eq!(ready(&gate), [(3, 0, 20, 20)]);
    assert_eq!(gate.declare_lost(A, at(1), &[(EPOCH, Sequence(0))], hlc(15)), Ok(None));
    let late = gate.offer(at(0), head(A, 1, 10, 10, &[]));
    assert!(matches!(late, Err(Error::Late { .. })));
}

#[test]
fn a_held_block_is_given_back_and_can_come_again() {
    let mut gate = gate();
    let block = head(A, 1, 10, 10, &[]);
    gate.offer(at(0), block.clone()).unwrap();
    assert_eq!(gate.withdraw(A, at(0)), Some(block.clone()));
    assert_eq!(gate.withdraw(A, at(0)), None);
    assert_eq!(gate.offer(at(0), block), Ok(Placed::Held));
}
