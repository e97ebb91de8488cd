//! The receiving end step by step.

use super::*;
use crate::link::handshake::AgreedStream;
use tw_types::{Epoch, PartitionId};

mod relay;
mod restore;

/// What is left out on purpose, so that tests of promises are seen to fail.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::link) struct Broken {
    /// Blocks are appended as soon as they are new.
    pub(in crate::link) has_no_gate: bool,
    /// A gap is taken for what goes on.
    pub(in crate::link) takes_gaps: bool,
}

impl super::Inbound {
    pub(in crate::link) fn break_on_purpose(&mut self, has_no_gate: bool, takes_gaps: bool) {
        self.broken = Broken { has_no_gate, takes_gaps };
    }
}

const ME: RegionId = RegionId(1);
const A: RegionId = RegionId(2);
const B: RegionId = RegionId(3);
const EPOCH: Epoch = Epoch(1);
const STREAM: StreamId = StreamId(7);
const NOW_MS: u64 = 1_000_000;

fn at(partition: u32) -> StreamPartition {
    StreamPartition::new(STREAM, PartitionId(partition))
}

/// So many steps after a second before now.
fn hlc(steps: u64) -> Hlc {
    Hlc::new(NOW_MS - 1_000, 0).plus(steps)
}

fn origin(region: RegionId, sequence: u64) -> Origin {
    Origin { region, epoch: EPOCH, sequence: Sequence(sequence) }
}

/// The receiving end with two partitions of one stream, and its shell.
struct End {
    inbound: Inbound,
    clock: HlcClock,
    now_ms: u64,
    blocks: u64,
}

impl End {
    fn with(marks: &[(u32, Origin, Hlc)], stored: &Seen) -> Self {
        let known = |part: u32| {
            let of = marks.iter().filter(|(one, ..)| *one == part);
            Known { at: at(part), marks: of.map(|(_, origin, hlc)| (*origin, *hlc)).collect() }
        };
        let options =
            Options { window_bytes_max: 64 << 10, append_bytes_max: 64 << 10, ..Options::default() };
        let inbound = Inbound::start(ME, options, &[A, B], vec![known(0), known(1)], stored).unwrap();
        Self { inbound, clock: HlcClock::new(Hlc::ZERO, 500), now_ms: NOW_MS, blocks: 0 }
    }

    fn new() -> Self {
        Self::with(&[], &Seen::new())
    }

    fn step(&mut self, input: Input) -> Vec<Action> {
        let mut actions = Vec::new();
        self.inbound.step(input, &mut self.clock, self.now_ms, &mut actions);
        actions
    }

    fn connect(&mut self, peer: RegionId, partitions: u32) -> Vec<Action> {
        let stream = AgreedStream { id: STREAM, name: "orders".to_owned(), partitions };
        let streams = [(0, stream)].into_iter().collect();
        let name = "there".to_owned();
        self.step(Input::Connected(Agreed {
            protocol: 1,
            peer,
            name,
            epoch: EPOCH,
            stands_in: false,
            streams,
            notes: vec![],
        }))
    }

    /// Of each partition the end and what was sent.
    fn beat(&mut self, peer: RegionId, until: Hlc, sent: &[(u32, u64)]) -> Vec<Action> {
        let epochs = sent.iter().map(|(part, last)| crate::link::wire::Epochs {
            stream: 0,
            partition: PartitionId(*part),
            epochs: vec![(EPOCH, Sequence(*last))],
            sent: (EPOCH, Sequence(*last)),
        });
        let heartbeat = Heartbeat {
            now_ms: self.now_ms,
            until,
            seen: Seen::new(),
            relayed: None,
            epochs: epochs.collect(),
        };
        self.step(Input::Heartbeat { peer, heartbeat })
    }

    fn offer(&mut self, peer: RegionId, part: u32, first: Origin, first_hlc: Hlc, bytes: u64) -> Vec<Action> {
        self.blocks += 1;
        let (block, next_hlc) = (BlockId(self.blocks), Hlc::ZERO);
        let (stream, partition) = (0, PartitionId(part));
        let offer =
            Offer { block, stream, partition, first, count: 2, first_hlc, bytes, next_hlc, seen: None };
        self.step(Input::Block { peer, offer })
    }

    /// Both regions are connected, and nothing was sent yet.
    fn connected() -> Self {
        let mut end = Self::new();
        for peer in [A, B] {
            end.connect(peer, 2);
            end.beat(peer, Hlc::ZERO, &[(0, 0), (1, 0)]);
        }
        end
    }
}

/// Block, skipped and appended sequences.
type Parts = Vec<(u64, u64, u64)>;

fn appends(actions: &[Action]) -> Vec<(u64, Parts)> {
    let appends = actions.iter().filter_map(|action| match action {
        Action::Append(append) => Some(append),
        _ => None,
    });
    let portion = |one: &Portion| (one.block.0, one.skip, one.span.count());
    appends.map(|append| (append.batch, append.portions.iter().map(portion).collect())).collect()
}

fn pulls(actions: &[Action]) -> Vec<(u32, u64)> {
    let entries = actions.iter().filter_map(|action| match action {
        Action::Pull { entries, .. } => Some(entries),
        _ => None,
    });
    entries.flatten().map(|entry| (entry.partition.0, entry.after.0)).collect()
}

fn dropped(actions: &[Action]) -> Vec<u64> {
    let drops = actions.iter().filter_map(|action| match action {
        Action::Drop { block } => Some(block.0),
        _ => None,
    });
    drops.collect()
}

fn parked(actions: &[Action]) -> Vec<String> {
    let parks = actions.iter().filter_map(|action| match action {
        Action::Park { parked, .. } => Some(parked.to_string()),
        _ => None,
    });
    parks.collect()
}

#[test]
fn a_connection_pulls_what_the_log_lacks_and_grants_the_window() {
    let mut end = End::with(&[(1, origin(A, 9), hlc(5))], &Seen::new());
    let actions = end.connect(A, 2);
    assert_eq!(pulls(&actions), [(0, 0), (1, 9)]);
    assert!(actions.contains(&Action::Credit { peer: A, bytes: 64 << 10 }), "{actions:?}");
}

#[test]
fn a_block_is_appended_when_its_region_has_said_that_nothing_comes_before_it() {
    let mut end = End::connected();
    assert_eq!(appends(&end.offer(A, 0, origin(A, 1), hlc(10), 100)), []);
    let actions = end.beat(A, hlc(20), &[(0, 2)]);
    assert_eq!(appends(&actions), [(1, vec![(1, 0, 2)])]);
    // One at a time, and each block is dropped when it is in the log.
    assert_eq!(appends(&end.offer(A, 0, origin(A, 3), hlc(30), 100)), []);
    assert_eq!(appends(&end.beat(A, hlc(40), &[(0, 4)])), []);
    let actions = end.step(Input::Appended { batch: 1 });
    assert_eq!((dropped(&actions), appends(&actions)), (vec![1], vec![(2, vec![(2, 0, 2)])]));
    end.step(Input::Appended { batch: 2 });
    let status = end.inbound.status(NOW_MS);
    assert_eq!(status.peers[0].partitions[0].received, Some((EPOCH, Sequence(4))));
    assert_eq!(status.peers[0].partitions[0].lag_events, Some(0));
    assert_eq!(end.inbound.latest().of(A), hlc(31));
}

#[test]
fn reg_3_a_gap_is_asked_for_once_and_what_was_under_way_is_left_out() {
    let mut end = End::connected();
    let actions = end.offer(A, 0, origin(A, 3), hlc(30), 100);
    assert_eq!((pulls(&actions), dropped(&actions)), (vec![(0, 0)], vec![1]));
    let actions = end.offer(A, 0, origin(A, 5), hlc(50), 100);
    assert_eq!((pulls(&actions), dropped(&actions)), (vec![], vec![2]));
    // A promise from before the sender went back does not count for it.
    assert_eq!(appends(&end.beat(A, hlc(60), &[(0, 6)])), []);
    end.beat(A, Hlc::ZERO, &[(0, 0)]);
    assert_eq!(end.inbound.seen().of(A), Hlc::ZERO);
    assert_eq!(appends(&end.offer(A, 0, origin(A, 1), hlc(10), 100)), [(1, vec![(3, 0, 2)])]);
    // What does not fit is asked for anew if that takes too long.
    let mut end = End::connected();
    end.offer(A, 0, origin(A, 3), hlc(30), 100);
    end.now_ms += 1_000;
    assert_eq!(pulls(&end.offer(A, 0, origin(A, 5), hlc(50), 100)), [(0, 0)]);
}

#[test]
fn a_new_epoch_goes_on_where_the_one_before_it_ended() {
    let mut end = End::connected();
    let beat = |until, sent| {
        let epochs = vec![(EPOCH, Sequence(2)), (Epoch(2), Sequence(2))];
        let one = |part, epochs, sent| crate::link::wire::Epochs {
            stream: 0,
            partition: PartitionId(part),
            epochs,
            sent,
        };
        let epochs = vec![one(0, epochs, sent), one(1, vec![(EPOCH, Sequence(0))], (EPOCH, Sequence(0)))];
        Input::Heartbeat {
            peer: A,
            heartbeat: Heartbeat { now_ms: NOW_MS, until, seen: Seen::new(), relayed: None, epochs },
        }
    };
    end.step(beat(Hlc::ZERO, (EPOCH, Sequence(0))));
    end.offer(A, 0, origin(A, 1), hlc(10), 100);
    let second = Origin { epoch: Epoch(2), ..origin(A, 1) };
    end.offer(A, 0, second, hlc(30), 100);
    let actions = end.step(beat(hlc(40), (Epoch(2), Sequence(2))));
    assert_eq!(appends(&actions), [(1, vec![(1, 0, 2)])]);
    assert_eq!(appends(&end.step(Input::Appended { batch: 1 })), [(2, vec![(2, 0, 2)])]);
    end.step(Input::Appended { batch: 2 });
    end.step(Input::Disconnected { peer: A });
    assert_eq!(pulls(&end.connect(A, 2)), [(0, 2), (0, 2), (1, 0)], "of each epoch what is here");
    // What lies beyond the end of the first one was never accepted.
    let actions = end.offer(A, 0, origin(A, 3), hlc(50), 100);
    assert!(
        parked(&actions)[0].starts_with("event 2.1.4 lies beyond 2, where its epoch ended"),
        "{actions:?}"
    );
}

#[test]
fn what_belongs_together_is_appended_at_once_and_regions_take_turns() {
    let mut end = End::connected();
    for part in 0..2 {
        end.offer(A, part, origin(A, 1), hlc(10 + u64::from(part)), 16 << 10);
        end.offer(B, part, origin(B, 1), hlc(20 + u64::from(part)), 20 << 10);
    }
    let seen = end.beat(A, hlc(30), &[(0, 2), (1, 2)]);
    assert_eq!(appends(&seen), [(1, vec![(1, 0, 2), (3, 0, 2)])], "both partitions of a region");
    end.beat(B, hlc(30), &[(0, 2), (1, 2)]);
    for part in 0..2 {
        end.offer(A, part, origin(A, 3), hlc(40 + u64::from(part)), 15 << 10);
    }
    end.beat(A, hlc(50), &[(0, 4), (1, 4)]);
    let actions = end.step(Input::Appended { batch: 1 });
    assert_eq!(appends(&actions), [(2, vec![(2, 0, 2), (4, 0, 2)])], "the other one is next");
    assert_eq!(appends(&end.step(Input::Appended { batch: 2 })), [(3, vec![(5, 0, 2), (6, 0, 2)])]);
}

#[test]
fn what_was_being_appended_when_the_connection_went_comes_again_and_enters_once() {
    let mut end = End::connected();
    end.offer(A, 0, origin(A, 1), hlc(10), 100);
    assert_eq!(appends(&end.beat(A, hlc(20), &[(0, 2)])), [(1, vec![(1, 0, 2)])]);
    end.offer(A, 1, origin(A, 1), hlc(30), 100);
    assert_eq!(dropped(&end.step(Input::Disconnected { peer: A })), [2], "what is being appended stays");
    assert_eq!(pulls(&end.connect(A, 2)), [(0, 0), (1, 0)]);
    end.beat(A, Hlc::ZERO, &[(0, 0), (1, 0)]);
    end.offer(A, 0, origin(A, 1), hlc(10), 100);
    end.offer(A, 0, origin(A, 3), hlc(30), 100);
    assert_eq!(dropped(&end.step(Input::Appended { batch: 1 })), [1, 3]);
    assert_eq!(appends(&end.beat(A, hlc(40), &[(0, 4)])), [(2, vec![(4, 0, 2)])]);
}

#[test]
fn a_sender_that_ignores_its_credit_is_closed() {
    let mut end = End::connected();
    end.offer(A, 0, origin(A, 1), hlc(10), 60 << 10);
    // The last block may go beyond what is left.
    assert!(
        !end.offer(A, 0, origin(A, 3), hlc(30), 60 << 10)
            .iter()
            .any(|one| matches!(one, Action::Close { .. }))
    );
    let actions = end.offer(A, 0, origin(A, 5), hlc(50), 1);
    let reason = "region `2` sends a block although it has no credit: it must wait for some".to_owned();
    assert!(actions.contains(&Action::Close { peer: A, reason }));
    assert_eq!(dropped(&actions), [3, 2, 1]);
    assert_eq!(end.inbound.status(NOW_MS).peers[0].held_bytes, 0);
    assert_eq!(dropped(&end.offer(A, 0, origin(A, 7), hlc(70), 1)), [4], "it is not connected any more");
}

#[test]
fn credit_comes_back_with_what_was_appended() {
    let mut end = End::connected();
    end.offer(A, 0, origin(A, 1), hlc(10), 30 << 10);
    end.beat(A, hlc(20), &[(0, 2)]);
    let actions = end.step(Input::Appended { batch: 1 });
    assert!(actions.contains(&Action::Credit { peer: A, bytes: 30 << 10 }), "{actions:?}");
}

#[test]
fn events_of_a_third_region_park_the_partition_until_it_is_retried() {
    let mut end = End::connected();
    let actions = end.offer(A, 0, origin(B, 1), hlc(10), 100);
    assert!(parked(&actions)[0].starts_with("the block at 3.1.1 is not of region `2`: "));
    assert_eq!(dropped(&end.offer(A, 0, origin(A, 1), hlc(10), 100)), [2], "nothing more is taken");
    end.beat(A, hlc(90), &[(0, 0)]);
    assert_eq!(end.inbound.seen().of(A), Hlc::ZERO, "what is parked is not known");
    let actions = end.step(Input::Retry { peer: A, at: at(0) });
    assert!(actions.contains(&Action::Unpark { peer: A, at: at(0) }));
    assert_eq!(pulls(&actions), [(0, 0)]);
}

#[test]
fn another_history_parks_the_partition() {
    let mut end = End::with(&[(0, origin(A, 4), hlc(40))], &Seen::new());
    end.connect(A, 2);
    end.beat(A, Hlc::ZERO, &[(0, 6), (1, 0)]);
    let actions = end.offer(A, 0, origin(A, 4), hlc(70), 100);
    assert!(parked(&actions)[0].starts_with("event 2.1.4 has the timestamp "), "{actions:?}");
    assert_eq!(end.inbound.status(NOW_MS).peers[0].partitions[0].blocks, 0);
}

#[test]
fn what_the_log_refuses_is_parked_and_the_rest_is_tried_again_later() {
    let mut end = End::connected();
    end.offer(A, 0, origin(A, 1), hlc(10), 100);
    end.beat(A, hlc(11), &[(0, 2)]);
    end.offer(B, 1, origin(B, 1), hlc(20), 100);
    end.beat(B, hlc(30), &[(1, 2)]);
    let refused = Some((A, at(0), "it is read-only".to_owned()));
    let actions = end.step(Input::AppendFailed { batch: 1, refused });
    assert_eq!(
        parked(&actions),
        ["the log refuses it (it is read-only): remove the cause, then retry this partition"]
    );
    assert_eq!((dropped(&actions), appends(&actions)), (vec![1], vec![]));
    assert_eq!(end.inbound.wake_at_ms(end.now_ms), Some(NOW_MS + 1_000));
    end.now_ms += 1_000;
    assert_eq!(appends(&end.step(Input::Tick)), [(2, vec![(2, 0, 2)])]);
}

#[test]
fn a_stream_that_is_dropped_while_it_is_appended_leaves_nothing() {
    let mut end = End::connected();
    end.offer(A, 0, origin(A, 1), hlc(10), 100);
    end.offer(A, 0, origin(A, 3), hlc(13), 100);
    end.beat(A, hlc(20), &[(0, 4)]);
    assert_eq!(dropped(&end.step(Input::StreamDropped { stream: STREAM })), [2]);
    assert_eq!(dropped(&end.step(Input::Appended { batch: 1 })), [1]);
    let status = end.inbound.status(NOW_MS);
    assert!(status.peers.iter().all(|peer| peer.partitions.is_empty() && peer.held_bytes == 0));
    assert_eq!(dropped(&end.offer(A, 0, origin(A, 5), hlc(50), 100)), [3]);
}

#[test]
fn a_region_whose_clock_is_ahead_waits_until_local_time_has_come_near() {
    let mut end = End::connected();
    let ahead = Hlc::new(NOW_MS + 700, 0);
    let actions = end.offer(A, 0, origin(A, 1), ahead, 100);
    let retry_at_ms = NOW_MS + 200;
    let hlc = ahead.plus(1);
    assert!(actions.contains(&Action::Quarantined { region: A, hlc, retry_at_ms }), "{actions:?}");
    assert_eq!(end.inbound.wake_at_ms(end.now_ms), Some(retry_at_ms));
    assert!(end.clock.last() < ahead, "the clock has not learned of it");
    end.now_ms = retry_at_ms;
    assert!(end.step(Input::Tick).contains(&Action::Released { region: A }));
    assert_eq!(end.clock.last(), hlc);
    assert_eq!(appends(&end.beat(A, hlc, &[(0, 2)])), [(1, vec![(1, 0, 2)])]);
}

#[test]
fn reg_2_after_a_start_what_depends_on_a_region_that_is_cut_off_does_not_wait_for_it() {
    let stored: Seen = [(A, hlc(8))].into_iter().collect();
    let mut end = End::with(&[(0, origin(A, 4), hlc(8))], &stored);
    end.connect(B, 2);
    end.beat(B, Hlc::ZERO, &[(0, 0), (1, 0)]);
    let seen = |until| Some([(A, hlc(until))].into_iter().collect());
    let offer = |block, sequence, steps, until| Offer {
        block: BlockId(block),
        stream: 0,
        partition: PartitionId(0),
        first: origin(B, sequence),
        count: 1,
        first_hlc: hlc(steps),
        bytes: 100,
        next_hlc: Hlc::ZERO,
        seen: seen(until),
    };
    end.step(Input::Block { peer: B, offer: offer(1, 1, 20, 8) });
    end.step(Input::Block { peer: B, offer: offer(2, 2, 30, 9) });
    assert_eq!(appends(&end.beat(B, hlc(40), &[(0, 2)])), [(1, vec![(1, 0, 1)])]);
    assert_eq!(appends(&end.step(Input::Appended { batch: 1 })), [], "this one has seen more of it");
    assert_eq!(end.inbound.status(NOW_MS).waiting[0].needs[0].region, A);
}

#[test]
fn a_stream_that_is_replicated_only_now_is_received_from_its_beginning() {
    let mut end = End::connected();
    end.beat(A, hlc(50), &[]);
    assert_eq!(end.inbound.seen().of(A), hlc(50));
    let stream = StreamPartition::new(StreamId(8), PartitionId(0));
    end.inbound.add(&Known { at: stream, marks: vec![] }).unwrap();
    let named = |id, name: &str, partitions| AgreedStream { id, name: name.to_owned(), partitions };
    let streams =
        [(0, named(STREAM, "orders", 2)), (1, named(StreamId(8), "users", 1))].into_iter().collect();
    let agreed = Agreed {
        protocol: 1,
        peer: A,
        name: "a".to_owned(),
        epoch: EPOCH,
        stands_in: false,
        streams,
        notes: vec![],
    };
    let actions = end.step(Input::Connected(agreed));
    assert_eq!(pulls(&actions), [(0, 0), (1, 0), (0, 0)]);
    assert_eq!(end.inbound.seen().of(A), Hlc::ZERO, "of that stream nothing is here");
    let actions = end.offer(A, 0, origin(A, 1), hlc(60), 100);
    assert!(!actions.iter().any(|action| matches!(action, Action::Late { .. } | Action::Park { .. })));
}
